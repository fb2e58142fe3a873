/* rouge_pairs.c - reads pairs of candidate and references piece by piece and scores them over threads (see rouge_pairs.h).
 *
 * Text files may hold any bytes; what is not UTF-8 separates words (tasks/rouge.h). JSON has to be UTF-8. No means, no output. */
#include "rouge_pairs.h"
#include "csv_io.h"

#include <errno.h>
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)32 << 20) /* bytes of a piece, unless one pair is larger */

struct text_file {
    const char *path;
    char *data;
    size_t size, at;
};
struct pair_reader {
    const char *path;
    bool lines;
    int64_t line;
    struct text_file *files; /* NULL: JSONL */
    int count;
    FILE *jsonl;
    const char *candidate_key, *reference_key;
    char *row;
    size_t row_size;
};

void pairs_close(struct pair_reader *r) {
    if (!r) return;
    for (int i = 0; i < r->count; i++) free(r->files[i].data);
    free(r->files);
    if (r->jsonl) fclose(r->jsonl);
    free(r->row);
    free(r);
}

void pairs_drop(struct pair *pairs, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        free(pairs[i].references);
        json_decref(pairs[i].content);
    }
}

/* ---- text files ---- */

static int64_t count_lines(const struct text_file *f) {
    int64_t n = f->size && f->data[f->size - 1] != '\n';
    for (const char *p = f->data; (p = memchr(p, '\n', (size_t)(f->data + f->size - p))); p++) n++;
    return n;
}

struct pair_reader *pairs_open_texts(const char *const *paths, int count, bool lines, struct error *e) {
    struct pair_reader *r = xcalloc(1, sizeof *r);
    int64_t first = 0;
    r->path = paths[0];
    r->lines = lines;
    r->files = xcalloc((size_t)count, sizeof *r->files);
    for (int i = 0; i < count; i++) {
        struct text_file *f = &r->files[r->count++];
        f->path = paths[i];
        bool bad = !(f->data = read_file(paths[i], &f->size, e));
        int64_t n = bad || !lines ? 0 : count_lines(f);
        if (i == 0) first = n;
        if (!bad && lines && !n) bad = fail(e, "%s: empty; with --lines each line is a text", paths[i]);
        if (!bad && n != first)
            bad = fail(e, "%s has %lld lines, %s has %lld; with --lines line i of each makes a pair", paths[0], (long long)first,
                       paths[i], (long long)n);
        if (!bad) continue;
        pairs_close(r);
        return NULL;
    }
    return r;
}

/* The next line of a file, or all of it. */
static struct rouge_text next_text(struct text_file *f, bool lines) {
    const char *start = f->data + f->at, *end = lines ? memchr(start, '\n', f->size - f->at) : NULL;
    struct rouge_text t = {start, end ? (size_t)(end - start) : f->size - f->at};
    f->at += t.size + (end != NULL);
    return t;
}

static int64_t texts_next(struct pair_reader *r, struct pair *pairs, int64_t limit) {
    int64_t n = 0;
    while (n < limit && (r->lines ? r->files[0].at < r->files[0].size : r->line == 0)) {
        struct pair *p = &pairs[n++];
        *p = (struct pair){.candidate = next_text(&r->files[0], r->lines), .count = r->count - 1, .line = ++r->line};
        p->references = xcalloc((size_t)p->count, sizeof *p->references);
        for (int i = 0; i < p->count; i++) p->references[i] = next_text(&r->files[i + 1], r->lines);
    }
    return n;
}

/* ---- JSONL ---- */

struct pair_reader *pairs_open_jsonl(const char *path, const char *candidate_key, const char *reference_key, struct error *e) {
    FILE *f = fopen(path, "re");
    if (!f) {
        fail(e, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    struct pair_reader *r = xcalloc(1, sizeof *r);
    *r = (struct pair_reader){.path = path, .jsonl = f, .candidate_key = candidate_key, .reference_key = reference_key};
    return r;
}

static const char *kind_of(const json_t *j) {
    static const char *const kinds[] = {"an object", "a list", "a string", "a number", "a number", "true", "false", "null"};
    return kinds[json_typeof(j)];
}

static struct rouge_text text_of(const json_t *j) { return (struct rouge_text){json_string_value(j), json_string_length(j)}; }

static json_t *member(const struct pair_reader *r, const json_t *row, const char *key, const char *flag, struct error *e) {
    json_t *j = json_object_get(row, key), *value;
    if (j) return j;
    struct text_buffer names = {0};
    const char *name;
    json_object_foreach((json_t *)row, name, value) buffer_printf(&names, "%s%s", names.n ? ", " : "", name);
    fail(e, "%s:%lld: no key '%s'; choose with --%s among: %s", r->path, (long long)r->line, key, flag,
         names.n ? names.data : "(the object is empty)");
    buffer_free(&names);
    return NULL;
}

static int take_row(const struct pair_reader *r, json_t *row, struct pair *p, struct error *e) {
    long long line = (long long)r->line;
    *p = (struct pair){.line = r->line, .content = row};
    if (!json_is_object(row)) return fail(e, "%s:%lld: %s, expected an object {...}", r->path, line, kind_of(row));
    json_t *candidate = member(r, row, r->candidate_key, "candidate-key", e);
    json_t *reference = candidate ? member(r, row, r->reference_key, "reference-key", e) : NULL;
    if (!reference) return -1;
    if (!json_is_string(candidate))
        return fail(e, "%s:%lld: '%s' is %s, expected a string", r->path, line, r->candidate_key, kind_of(candidate));
    bool list = json_is_array(reference);
    if (!list && !json_is_string(reference))
        return fail(e, "%s:%lld: '%s' is %s, expected a string or a list of strings", r->path, line, r->reference_key,
                    kind_of(reference));
    if (list && !json_array_size(reference))
        return fail(e, "%s:%lld: '%s' is an empty list; a pair needs a reference", r->path, line, r->reference_key);
    p->candidate = text_of(candidate);
    p->count = list ? (int)json_array_size(reference) : 1;
    p->references = xcalloc((size_t)p->count, sizeof *p->references);
    for (int i = 0; i < p->count; i++) {
        const json_t *j = list ? json_array_get(reference, (size_t)i) : reference;
        if (!json_is_string(j))
            return fail(e, "%s:%lld: '%s'[%d] is %s, expected a string", r->path, line, r->reference_key, i, kind_of(j));
        p->references[i] = text_of(j);
    }
    return 0;
}

static int64_t jsonl_next(struct pair_reader *r, struct pair *pairs, int64_t limit, struct error *e) {
    int64_t n = 0, bad = 0;
    ssize_t length;
    for (size_t bytes = 0; !bad && n < limit && bytes < PIECE; bytes += (size_t)length) {
        errno = 0;
        if ((length = getline(&r->row, &r->row_size, r->jsonl)) < 0) {
            if (errno || ferror(r->jsonl)) bad = fail(e, "cannot read %s: %s", r->path, strerror(errno));
            break;
        }
        char *text = r->row;
        size_t size = (size_t)length;
        if (r->line++ == 0 && size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, size -= 3; /* a byte order mark */
        while (size && strchr(" \t\r\n", text[size - 1]) && text[size - 1]) size--;
        if (!size) continue;
        json_error_t why;
        json_t *row = json_loadb(text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
        if (row)
            bad = take_row(r, row, &pairs[n++], e);
        else
            bad = fail(e, "%s:%lld: not JSON (%s, byte %d of the line); each line should be an object", r->path, (long long)r->line,
                       why.text, why.position);
    }
    if (bad) pairs_drop(pairs, n);
    return bad ? -1 : n;
}

int64_t pairs_next(struct pair_reader *r, struct pair *pairs, int64_t limit, struct error *e) {
    return r->jsonl ? jsonl_next(r, pairs, limit, e) : texts_next(r, pairs, limit);
}

/* ---- scores ---- */

int pairs_score(const struct pair_reader *r, struct rouge *const *scorers, int threads, const struct pair *pairs, int64_t n,
                struct rouge_scores *out, struct error *e) {
    int64_t failed = n;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        struct error mine;
        if (rouge_score(scorers[omp_get_thread_num()], &out[i], pairs[i].candidate, pairs[i].references, pairs[i].count, &mine) ==
            0)
            continue;
#pragma omp critical(pairs_score)
        if (i < failed) {
            failed = i;
            fail(e, "%s:%lld: %s", r->path, (long long)pairs[i].line, mine.text);
        }
    }
    return failed < n ? -1 : 0;
}
