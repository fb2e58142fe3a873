/* corpus.c - folders of text files: reading and checking them, finding them by name, and the source that trains on one.
 * It cleans nothing and downloads nothing: a text is its bytes. Preparing corpora is the scripts' work. */
#include "corpus.h"
#include "results.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

size_t utf8_length(const unsigned char *p, size_t n) {
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    size_t length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < length) return 0;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80, high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return length;
}

/* White space as Python's str.split sees it, so that word counts are those of the published tables. p is valid UTF-8. */
static bool is_space(const unsigned char *p, size_t length) {
    if (length == 1) return *p == ' ' || (*p >= 9 && *p <= 13) || (*p >= 0x1c && *p <= 0x1f);
    if (length == 2) return p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0);
    if (length != 3) return false;
    unsigned c = (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Checks text and counts its words. */
static int check_text(const char *path, const char *text, size_t size, int64_t *words, struct error *e) {
    const unsigned char *p = (const unsigned char *)text;
    bool inside = false;
    *words = 0;
    for (size_t i = 0; i < size;) {
        if (!p[i]) return fail(e, "%s holds a byte 0 at offset %zu, which is the end-of-text token; remove it", path, i);
        size_t length = utf8_length(p + i, size - i);
        if (!length)
            return fail(e, "%s is not UTF-8 at offset %zu (byte 0x%02x); convert it, e.g. with iconv -t UTF-8", path, i, p[i]);
        bool space = is_space(p + i, length);
        if (!space && !inside) ++*words;
        inside = !space;
        i += length;
    }
    return 0;
}

/* The whole file, or its first `limit` bytes less a sequence that the cut would split. */
static char *read_text(const char *path, size_t limit, size_t *size, struct error *e) {
    if (!limit) return read_file(path, size, e);
    FILE *f = fopen(path, "rbe");
    if (!f) return fail(e, "cannot open %s: %s", path, strerror(errno)), NULL;
    struct stat st;
    size_t room = !fstat(fileno(f), &st) && st.st_size > 0 && (size_t)st.st_size < limit ? (size_t)st.st_size : limit;
    char *text = xcalloc(room + 2, 1);
    size_t n = fread(text, 1, room + 1, f);
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad) {
        free(text);
        return fail(e, "cannot read %s", path), NULL;
    }
    if (n > limit) { /* one byte more was read to see whether the cut falls inside a sequence */
        n = limit;
        for (int i = 0; i < 3 && n > 1 && (text[n] & 0xc0) == 0x80; i++) n--;
    }
    text[n] = 0;
    *size = n;
    return text;
}

char *corpus_text(const char *path, size_t limit, size_t *size, int64_t *words, struct error *e) {
    int64_t count;
    char *text = read_text(path, limit, size, e);
    if (!text || !check_text(path, text, *size, words ? words : &count, e)) return text;
    free(text);
    return NULL;
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct text *)a)->name, ((const struct text *)b)->name); }

/* Adds the names of the folder's text files. */
static int list_files(struct corpus *c, const char *folder, struct error *e) {
    DIR *d = opendir(folder);
    if (!d) {
        if (errno != ENOENT && errno != ENOTDIR) return fail(e, "cannot open the folder %s: %s", folder, strerror(errno));
        if (access(c->path, F_OK))
            return fail(e, "there is no corpus at %s; it should hold the folders train, validation and test", c->path);
        return fail(e, "the corpus %s has no folder '%s' with a text file per document", c->path, c->split);
    }
    int capacity = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        size_t n = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || (n > 4 && !strcmp(entry->d_name + n - 4, ".csv"))) continue;
        char *path = xprintf("%s/%s", folder, entry->d_name);
        struct stat st;
        bool regular = !stat(path, &st) && S_ISREG(st.st_mode);
        free(path);
        if (!regular) continue;
        if (n >= SAMPLE_NAME) {
            fail(e, "the name of the document %s/%s is longer than %d bytes, which samples.csv cannot hold; rename it", folder,
                 entry->d_name, SAMPLE_NAME - 1);
            closedir(d); /* ends entry too */
            return -1;
        }
        if (c->count == capacity)
            c->texts = xrealloc(c->texts, (size_t)(capacity = capacity ? capacity * 2 : 64), sizeof *c->texts);
        c->texts[c->count++] = (struct text){.name = xstrdup(entry->d_name)};
    }
    closedir(d);
    if (!c->count) return fail(e, "the folder %s holds no text files", folder);
    qsort(c->texts, (size_t)c->count, sizeof *c->texts, by_name);
    return 0;
}

struct corpus *corpus_open(const char *path, const char *split, const struct tokenizer *t, size_t limit, struct error *e) {
    struct corpus *c = xcalloc(1, sizeof *c);
    c->path = xstrdup(path);
    snprintf(c->split, sizeof c->split, "%s", split);
    char *folder = xprintf("%s/%s", path, split);
    int rc = list_files(c, folder, e);
    c->hash = hash64(t->name, strlen(t->name), t->hash);
    struct progress p;
    progress_begin(&p, "reading texts", c->count);
    for (int i = 0; i < c->count && !rc; i++) {
        struct text *x = &c->texts[i];
        char *file = xprintf("%s/%s", folder, x->name);
        x->bytes = corpus_text(file, limit, &x->size, &x->words, e);
        if (!x->bytes)
            rc = -1;
        else if (!x->size)
            rc = fail(e, "%s is empty; remove it or fill it", file);
        free(file);
        if (rc) break;
        x->n = t->encode(t, x->bytes, x->size, &x->tokens);
        c->tokens += x->n;
        c->words += x->words;
        c->bytes += x->size;
        c->hash = hash64(x->name, strlen(x->name) + 1, c->hash);
        c->hash = hash64(x->bytes, x->size, c->hash);
        progress_update(&p, i + 1, NULL);
    }
    progress_end(&p);
    free(folder);
    if (!rc) return c;
    corpus_free(c);
    return NULL;
}

void corpus_free(struct corpus *c) {
    if (!c) return;
    for (int i = 0; i < c->count; i++) {
        free(c->texts[i].name);
        free(c->texts[i].bytes);
        free(c->texts[i].tokens);
    }
    free(c->texts);
    free(c->path);
    free(c);
}

/* ---- finding ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* The folder of the running program; malloc'd. */
static char *program_folder(void) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash) *slash = 0;
    return xstrdup(slash ? exe : ".");
}

int data_places(const char *name, bool made_here, char *places[DATA_PLACES]) {
    const char *data = getenv("INFINIBENCH_DATA");
    int count = 0;
    if (data && *data) places[count++] = xprintf("%s/%s", data, name);
    if (!made_here) {
        places[count++] = xprintf("../shared/data/%s", name);
        return count;
    }
    char *exe = program_folder();
    places[count++] = xprintf("build/data/%s", name);
    places[count++] = xprintf("%s/../data/%s", exe, name);    /* build/release/infinibench */
    places[count++] = xprintf("%s/../../data/%s", exe, name); /* build/release/tests/test_x */
    places[count++] = xprintf("%s/../share/infinibench/%s", exe, name);
    free(exe);
    return count;
}

char *shipped_file(const char *path) {
    static const char *const up[] = {"/../..", "/../../..", "/../share/infinibench"}; /* build/release, build/release/tests, bin */
    if (!access(path, R_OK)) return xstrdup(path);
    if (*path == '/') return NULL;
    char *exe = program_folder(), *found = NULL;
    for (size_t i = 0; i < sizeof up / sizeof *up && !found; i++) {
        char *place = xprintf("%s%s/%s", exe, up[i], path);
        if (!access(place, R_OK))
            found = place;
        else
            free(place);
    }
    free(exe);
    return found;
}

char *corpus_locate(const char *name, struct error *e) {
    if (strchr(name, '/')) {
        if (is_folder(name)) return xstrdup(name);
        return fail(e,
                    "there is no corpus at %s; it should be a folder with train, validation and test (of summaries: with "
                    "SPLIT.jsonl)",
                    name),
               NULL;
    }
    bool kjv = !strcmp(name, "kjv");
    const char *data = getenv("INFINIBENCH_DATA");
    char *tries[DATA_PLACES], *found = NULL;
    int count = data_places(name, kjv, tries);
    for (int i = 0; i < count; i++) {
        if (!found && is_folder(tries[i]))
            found = tries[i];
        else
            free(tries[i]);
    }
    if (found) return found;
    if (kjv)
        return fail(e, "the corpus 'kjv' is not prepared; run scripts/prepare_kjv.sh build/data/kjv (or make reproduce)"), NULL;
    static const char *const known[] = {"kjv", "pg19", "math", "booksum"};
    const char *near = nearest_name(name, known, 4);
    if (near && strcmp(near, name)) return fail(e, "there is no corpus '%s'; the nearest known name is '%s'", name, near), NULL;
    if (near) /* pg19, math, booksum: there is a script of that name */
        return fail(e,
                    "there is no corpus '%s' in ../shared/data%s%s; scripts/download_%s.sh DIR/%s gets %s (docs/data.md), then "
                    "set INFINIBENCH_DATA to DIR; or name a folder by its path",
                    name, data && *data ? " nor in " : "", data && *data ? data : "", name, name,
                    strcmp(name, "booksum") ? "it" : "its books, not their summaries"),
               NULL;
    return fail(e,
                "there is no corpus '%s' in ../shared/data%s%s; set INFINIBENCH_DATA to the folder that holds %s, or name "
                "a folder by its path, with a / in it: ./%s",
                name, data && *data ? " nor in " : "", data && *data ? data : "", name, name),
           NULL;
}

/* ---- the training source ---- */

struct walk {
    const struct corpus *corpus;
    uint64_t seed;
    int64_t epoch;
    int position; /* documents of this epoch that were given */
    int *order;
};

/* The order of an epoch depends on seed and epoch alone. */
static void shuffle(struct walk *w) {
    struct rng r;
    rng_seed(&r, w->seed, hash64("corpus order", 12, (uint64_t)w->epoch));
    for (int i = 0; i < w->corpus->count; i++) w->order[i] = i;
    for (int i = w->corpus->count - 1; i > 0; i--) {
        int j = (int)rng_below(&r, i + 1), kept = w->order[i];
        w->order[i] = w->order[j];
        w->order[j] = kept;
    }
}

static void walk_next(struct source *s, int64_t row, struct document *d) {
    (void)row;
    struct walk *w = s->data;
    if (w->position == w->corpus->count) {
        w->position = 0;
        w->epoch++;
        shuffle(w);
    }
    const struct text *x = &w->corpus->texts[w->order[w->position++]];
    *d = (struct document){.tokens = x->tokens, .n = x->n, .carried = -1};
}

static char *walk_save(const struct source *s) {
    const struct walk *w = s->data;
    return xprintf("corpus %016" PRIx64 " seed %" PRIu64 " epoch %" PRId64 " position %d", w->corpus->hash, w->seed, w->epoch,
                   w->position);
}

static int walk_load(struct source *s, const char *text, struct error *e) {
    struct walk *w = s->data;
    uint64_t hash, seed;
    int64_t epoch;
    int position, end = -1;
    if (sscanf(text, "corpus %" SCNx64 " seed %" SCNu64 " epoch %" SCNd64 " position %d%n", &hash, &seed, &epoch, &position,
               &end) != 4 ||
        end < 0 || text[end])
        return fail(e, "the data cursor '%.60s' is none of a corpus", text);
    if (hash != w->corpus->hash)
        return fail(e,
                    "the texts of %s/%s are not those of the checkpoint (hash %016" PRIx64 ", then %016" PRIx64
                    "); restore them or start afresh",
                    w->corpus->path, w->corpus->split, w->corpus->hash, hash);
    if (seed != w->seed)
        return fail(e, "the checkpoint read its corpus with seed %" PRIu64 ", this run has %" PRIu64, seed, w->seed);
    if (epoch < 0 || position < 0 || position > w->corpus->count) return fail(e, "the data cursor '%.60s' is out of range", text);
    w->epoch = epoch;
    w->position = position;
    shuffle(w);
    return 0;
}

static void walk_free(struct source *s) {
    struct walk *w = s->data;
    free(w->order);
    free(w);
    free(s);
}

struct source *corpus_source(const struct corpus *c, uint64_t seed) {
    CHECK(c->count > 0, "an empty corpus");
    struct walk *w = xcalloc(1, sizeof *w);
    *w = (struct walk){.corpus = c, .seed = seed, .order = xcalloc((size_t)c->count, sizeof(int))};
    shuffle(w);
    struct source *s = xcalloc(1, sizeof *s);
    *s = (struct source){.name = "corpus", .next = walk_next, .save = walk_save, .load = walk_load, .free = walk_free, .data = w};
    return s;
}
