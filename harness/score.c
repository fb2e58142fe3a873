/* score.c - see score.h. It knows files and identities; what the numbers mean is the task's. */
#include "score.h"
#include "checkpoint.h"
#include "csv_io.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDING 1e-4 /* a probability that came out above 1 by rounding */
#define MOST_NATS 1e4 /* -log of the least float32 is 103.3; sums of a few tokens are more */
#define NAMES_SHOWN 3 /* file names in a sentence */

int score_offered(const struct task *t, struct error *e) {
    if (t->score) return 0;
    struct text_buffer b = {0};
    for (int i = 0; tasks[i]; i++)
        if (tasks[i]->score) buffer_printf(&b, "%s%s", b.n ? ", " : "", tasks[i]->name);
    int result =
        fail(e, "the task '%s' cannot judge outputs of a foreign model; tasks that can: %s", t->name, b.n ? b.data : "none");
    buffer_free(&b);
    return result;
}

int score_refuse(const struct score_run *r, const char *const *keys, struct error *e) {
    for (int i = 0; r->options->table && r->options->table[i].key; i++)
        for (const char *const *k = keys; *k; k++)
            if (r->options->given[i] && !strcmp(*k, r->options->table[i].key))
                return fail(
                    e, "the option '%s' says how a model of ours is run; it means nothing for outputs that are there: leave it out",
                    *k);
    return 0;
}

/* ---- files ---- */
static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *score_path(const struct score_run *r, const char *sample) {
    return is_folder(r->place) ? xprintf("%s/%s.npy", r->place, sample) : xstrdup(r->place);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

struct names {
    const char **x;
    char **own; /* the same, to be freed */
    int count;
};

static int list_folder(struct names *n, const char *folder, struct error *e) {
    DIR *d = opendir(folder);
    if (!d) return fail(e, "%s: cannot open the folder", folder);
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.') continue;
        n->own = xrealloc(n->own, (size_t)n->count + 1, sizeof *n->own);
        n->own[n->count++] = xstrdup(f->d_name);
    }
    closedir(d);
    if (n->count) qsort(n->own, (size_t)n->count, sizeof *n->own, by_text);
    n->x = (const char **)n->own;
    return 0;
}

/* "a, b, c and 5 more" */
static void add_name(struct text_buffer *b, int seen, const char *name) {
    if (seen < NAMES_SHOWN) buffer_printf(b, "%s%s", seen ? ", " : "", name);
}
static void end_names(struct text_buffer *b, int seen) {
    if (seen > NAMES_SHOWN) buffer_printf(b, " and %d more", seen - NAMES_SHOWN);
}

int score_expect(const struct score_run *r, const char *const *samples, int count, struct error *e) {
    if (access(r->place, R_OK))
        return fail(e, "--nll %s: there is no such folder or file; it should be a folder with DOCUMENT.npy for each document",
                    r->place);
    if (!is_folder(r->place))
        return count == 1 ? 0
                          : fail(e,
                                 "--nll %s is one file, but %d documents are scored; name a folder with DOCUMENT.npy for each "
                                 "(%s.npy, ...)",
                                 r->place, count, samples[0]);
    struct names there = {0};
    struct text_buffer missing = {0}, extra = {0};
    int lacking = 0, left = 0, result = list_folder(&there, r->place, e);
    const char *first = NULL;
    bool *known = xcalloc((size_t)there.count, sizeof *known);
    const char **others = xcalloc((size_t)there.count, sizeof *others); /* files of no sample */
    for (int i = 0; i < count && result == 0; i++) {
        char *file = xprintf("%s.npy", samples[i]);
        const char **found =
            there.count ? bsearch(&(const char *){file}, there.x, (size_t)there.count, sizeof *there.x, by_text) : NULL;
        if (found) known[found - there.x] = true;
        if (!found) add_name(&missing, lacking++, file);
        if (!found && !first) first = samples[i];
        free(file);
    }
    for (int i = 0; i < there.count; i++)
        if (!known[i]) {
            others[left] = there.x[i];
            add_name(&extra, left++, there.x[i]);
        }
    end_names(&missing, lacking);
    end_names(&extra, left);
    if (result == 0 && lacking) {
        char *file = xprintf("%s.npy", first);
        const char *near = nearest_name(file, others, left);
        if (near)
            result = fail(
                e, "%s lacks %d of the %d files: %s; is '%s' one of them? A file is called as its document, with .npy after it",
                r->place, lacking, count, missing.data, near);
        else
            result =
                fail(e, "%s lacks %d of the %d files: %s; each document that is scored needs one (--documents N: only the first N)",
                     r->place, lacking, count, missing.data);
        free(file);
    }
    if (result == 0 && left)
        fprintf(stderr, "infinibench: %s holds %d file%s of no scored document, left out: %s\n", r->place, left,
                left == 1 ? "" : "s", extra.data);
    for (int i = 0; i < there.count; i++) free(there.own[i]);
    free(there.own);
    free(known);
    free(others);
    buffer_free(&missing);
    buffer_free(&extra);
    return result;
}

/* NaN fails every comparison, so the conditions are written as what must hold. */
static int check_values(const char *path, const struct score_nll *x, struct error *e) {
    for (int64_t i = 0; i < x->n; i++) {
        double v = x->nats[i];
        if (isnan(v)) return fail(e, "%s: the value at index %lld is NaN; the model's output is broken there", path, (long long)i);
        if (isinf(v))
            return fail(e,
                        "%s: the value at index %lld is infinite, a token of probability 0; a model that is judged by NLL has to "
                        "give every token a probability",
                        path, (long long)i);
        if (!(v >= -ROUNDING))
            return fail(
                e,
                "%s: the value at index %lld is %.9g; the negative log-likelihood of a token, -log p in nats, is never below 0%s",
                path, (long long)i, v, i == 0 ? ": was log p saved, or logits?" : "");
        if (v > MOST_NATS)
            return fail(e, "%s: the value at index %lld is %.9g nats, more than %g: no probability of a token is that small", path,
                        (long long)i, v, MOST_NATS);
        double size = x->bytes ? x->bytes[i] : 0;
        if (!(size >= 0 && size <= 1e9 && size == floor(size)))
            return fail(e, "%s: the bytes of the token at index %lld are %.9g; they should be a whole number, 0 or more", path,
                        (long long)i, size);
    }
    return 0;
}

int score_nll(struct score_run *r, const char *sample, struct score_nll *out, struct error *e) {
    char *path = score_path(r, sample), *bytes;
    size_t size;
    int64_t shape[4] = {0};
    int rank = 0, result = -1;
    double *data = NULL;
    *out = (struct score_nll){.n = 0};
    if (strlen(sample) >= SAMPLE_NAME) {
        fail(e, "the name of the document %s is longer than %d bytes, which samples.csv cannot hold; rename it", sample,
             SAMPLE_NAME - 1);
        free(path);
        return -1;
    }
    bytes = read_file(path, &size, e);
    if (bytes) data = npy_doubles(path, bytes, size, shape, &rank, e);
    if (data) {
        if (rank == 1)
            result = 0;
        else if (rank == 2 && shape[1] == 2)
            result = 0;
        else if (rank == 2)
            fail(e, "%s has shape (%lld, %lld); give (n,), nats of each token, or (n, 2), nats and bytes of each token", path,
                 (long long)shape[0], (long long)shape[1]);
        else
            fail(e, "%s has %d dimensions; give (n,), nats of each token, or (n, 2), nats and bytes of each token", path, rank);
    }
    if (result == 0) {
        int columns = rank;
        out->n = shape[0];
        out->nats = xcalloc((size_t)out->n, sizeof *out->nats);
        if (columns == 2) out->bytes = xcalloc((size_t)out->n, sizeof *out->bytes);
        for (int64_t i = 0; i < out->n; i++) {
            out->nats[i] = data[i * columns];
            if (out->bytes) out->bytes[i] = data[i * columns + 1];
        }
        result = check_values(path, out, e);
    }
    if (result == 0) {
        r->files = xrealloc(r->files, (size_t)r->file_count + 1, sizeof *r->files);
        r->files[r->file_count++] = (struct score_file){
            .sample = xstrdup(sample), .hash = hash64(bytes, size, 0), .values = out->n, .sized = out->bytes != NULL};
    } else
        score_nll_free(out);
    free(data);
    free(bytes);
    free(path);
    return result;
}

void score_nll_free(struct score_nll *n) {
    free(n->nats);
    free(n->bytes);
    *n = (struct score_nll){.n = 0};
}

/* ---- identity ---- */
static bool same_place(const struct result_row *a, const struct result_row *b) {
    return a->seed == b->seed && !strcmp(a->row, b->row) && !strcmp(a->task, b->task) && !strcmp(a->split, b->split);
}

bool score_replaced(const struct result_row *rows, int64_t count, int64_t i) {
    for (int64_t j = i + 1; j < count; j++)
        if (strcmp(rows[j].cell, rows[i].cell) != 0 && !strcmp(rows[j].architecture, FOREIGN) && same_place(&rows[i], &rows[j]))
            return true;
    return false;
}

/* A row of the experiment that has not run yet. */
static bool in_experiment(const char *folder, const char *row) {
    char *path = xprintf("%s/experiment.ini", folder), *head = xprintf("\n[row %s]\n", row);
    size_t size;
    char *text = access(path, R_OK) == 0 ? read_file(path, &size, NULL) : NULL;
    bool found = text && strstr(text, head);
    free(text);
    free(head);
    free(path);
    return found;
}

/* May the row stand in the folder? *experiment: what its rows say they belong to. */
static int check_row(const struct score_run *r, const char *split, char experiment[64], struct error *e) {
    int64_t n;
    struct result_row *rows = results_read(r->folder, &n, e), mine = {.seed = r->seed};
    if (!rows) return -1;
    int result = 0;
    const char *other = NULL;
    bool known = results_has_cell(r->results, r->cell);
    snprintf(mine.row, sizeof mine.row, "%s", r->row);
    snprintf(mine.task, sizeof mine.task, "%s", r->task->name);
    snprintf(mine.split, sizeof mine.split, "%s", split);
    for (int64_t i = 0; i < n && result == 0; i++) {
        snprintf(experiment, 64, "%s", rows[i].experiment);
        bool foreign = !strcmp(rows[i].architecture, FOREIGN);
        if (!foreign && !strcmp(rows[i].row, r->row))
            result = fail(e, "%s has a row '%s' that was trained here (%s); give the foreign model another --row", r->folder,
                          r->row, rows[i].architecture);
        if (foreign && same_place(&mine, &rows[i])) other = rows[i].cell;
    }
    if (result == 0 && in_experiment(r->folder, r->row))
        result = fail(e, "%s/experiment.ini has a row '%s'; give the foreign model another --row", r->folder, r->row);
    if (result == 0 && other && strcmp(other, r->cell) != 0) {
        if (known)
            result = fail(
                e, "these outputs were scored as row '%s' before (cell %s) and replaced since (cell %s); give them another --row",
                r->row, r->cell, other);
        else if (!r->replace)
            result = fail(e,
                          "%s has the row '%s', seed %lld, of other outputs or options (cell %s); give another --row, or "
                          "--replace: reports then show the new one, the old lines stay in results.csv",
                          r->folder, r->row, (long long)r->seed, other);
    }
    free(rows);
    return result;
}

int score_begin(struct score_run *r, const char *split, uint64_t data, struct error *e) {
    struct text_buffer b = {0};
    char *options = options_join(r->options, "\n", false), experiment[64] = "";
    r->data = data;
    buffer_printf(&b, "scored row=%s seed=%lld\ntokenizer=%s %016llx segment=%lld\ntask=%s version=%d\n%s\ndata=%016llx\n", r->row,
                  (long long)r->seed, r->tokenizer->name, (unsigned long long)r->tokenizer->hash, (long long)r->segment,
                  r->task->name, r->task->version, options, (unsigned long long)data);
    for (int i = 0; i < r->file_count; i++)
        buffer_printf(&b, "%s %016llx\n", r->files[i].sample, (unsigned long long)r->files[i].hash);
    snprintf(r->cell, sizeof r->cell, "%016llx", (unsigned long long)hash64(b.data, b.n, RESULTS_SCHEMA));
    snprintf(r->run, sizeof r->run, "%.20s-s%lld-%.8s", r->row, (long long)(r->seed % 1000000), r->cell);
    buffer_free(&b);
    free(options);
    r->results = results_open(r->folder, e);
    if (!r->results || check_row(r, split, experiment, e) != 0) return -1;
    if (results_has_cell(r->results, r->cell)) return 0;
    if (!*experiment) { /* a folder of its own: called as `run` would call it */
        const char *end = r->folder + strlen(r->folder);
        while (end > r->folder + 1 && end[-1] == '/') end--;
        const char *start = end;
        while (start > r->folder && start[-1] != '/') start--;
        snprintf(experiment, sizeof experiment, "%.*s", (int)(end - start), start);
    }
    r->out = cell_begin(r->results, r->cell, r->run, experiment, r->row, FOREIGN, "", r->seed, r->task->name, r->task->version);
    return 0;
}

void score_close(struct score_run *r) {
    cell_drop(r->out);
    results_close(r->results);
    for (int i = 0; i < r->file_count; i++) free(r->files[i].sample);
    free(r->files);
    r->files = NULL;
    r->file_count = 0;
    r->out = NULL;
    r->results = NULL;
}
