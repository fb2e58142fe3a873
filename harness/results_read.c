/* results_read.c - reads results.csv, samples.csv and curves.csv into arrays, without the lock.
 *
 * A last line without its end (somebody is writing) is left out. It does not choose which cells are current; report_data.c does. */
#include "csv_io.h"
#include "results_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reading {
    char *rows;
    size_t size;
    int64_t count, capacity;
};

static void *next_row(struct reading *r) {
    if (r->count == r->capacity) {
        r->capacity = r->capacity * 2 + 64;
        r->rows = xrealloc(r->rows, (size_t)r->capacity, r->size);
    }
    void *row = r->rows + (size_t)r->count++ * r->size;
    memset(row, 0, r->size);
    return row;
}

static int text_field(char *to, size_t size, const char *path, int line, const char *column, const char *text, struct error *e) {
    if (strlen(text) >= size)
        return fail(e, "%s:%d: column %s has %zu characters, at most %zu are known: '%.60s...'", path, line, column, strlen(text),
                    size - 1, text);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

#define TEXT(field, i)                                                                                                             \
    if (text_field(x->field, sizeof x->field, path, line, #field, f[i], e) != 0) return -1
#define INTEGER(field, i)                                                                                                          \
    if (csv_parse_integer(path, line, #field, f[i], &x->field, e) != 0) return -1
#define REAL(field, i, empty)                                                                                                      \
    if (csv_parse_real(path, line, #field, f[i], empty, &x->field, e) != 0) return -1

static int result_line(void *data, const char *path, int line, int count, char **f, struct error *e) {
    struct result_row *x = next_row(data);
    int64_t schema;
    (void)count;
    if (csv_parse_integer(path, line, "schema", f[0], &schema, e) != 0) return -1;
    if (schema != RESULTS_SCHEMA)
        return fail(e, "%s:%d: schema %lld, this program reads schema %d", path, line, (long long)schema, RESULTS_SCHEMA);
    TEXT(run, 1);
    TEXT(experiment, 2);
    TEXT(row, 3);
    TEXT(architecture, 4);
    TEXT(stage, 5);
    INTEGER(seed, 6);
    TEXT(task, 7);
    INTEGER(task_version, 8);
    TEXT(split, 9);
    TEXT(condition, 10);
    TEXT(metric, 11);
    TEXT(unit, 12);
    INTEGER(context, 13);
    TEXT(position, 14);
    INTEGER(writes, 15);
    REAL(value, 16, false);
    INTEGER(n, 17);
    REAL(standard_error, 18, true);
    REAL(low, 19, true);
    REAL(high, 20, true);
    TEXT(cell, 21);
    return 0;
}

static int sample_line(void *data, const char *path, int line, int count, char **f, struct error *e) {
    struct sample_row *x = next_row(data);
    (void)count;
    TEXT(run, 0);
    TEXT(row, 1);
    INTEGER(seed, 2);
    TEXT(task, 3);
    TEXT(split, 4);
    TEXT(condition, 5);
    TEXT(metric, 6);
    TEXT(sample, 7);
    TEXT(position, 8);
    REAL(value, 9, true);
    REAL(weight, 10, true);
    TEXT(cell, 11);
    return 0;
}

static int curve_line(void *data, const char *path, int line, int count, char **f, struct error *e) {
    struct curve_row *x = next_row(data);
    (void)count;
    TEXT(run, 0);
    TEXT(row, 1);
    TEXT(stage, 2);
    INTEGER(seed, 3);
    INTEGER(step, 4);
    INTEGER(tokens, 5);
    TEXT(metric, 6);
    REAL(value, 7, true);
    TEXT(cell, 8);
    return 0;
}

int results_journal(const char *folder, int64_t length[FILES], struct error *e) {
    char *path = xprintf("%s/commit.tmp", folder);
    size_t size;
    char *text = access(path, F_OK) == 0 ? read_file(path, &size, e) : NULL;
    long long was[FILES];
    int result = text ? 1 : access(path, F_OK) == 0 ? -1 : 0; /* there and not to be read; it may have gone in between */
    if (text && (sscanf(text, "%lld %lld %lld end", &was[0], &was[1], &was[2]) != FILES || !strstr(text, "end")))
        /* write_file is atomic: cannot happen short of a full rewrite by hand */
        result = fail(e, "%s: not a journal of this program; if nothing else uses the folder, remove the file", path);
    for (int i = 0; i < FILES && result == 1; i++) length[i] = was[i];
    free(text);
    free(path);
    return result;
}

static void *read_all(const char *folder, enum results_file file, const char *name, const char *header, csv_row row, size_t size,
                      int64_t *count, struct error *e) {
    struct reading r = {.size = size};
    char *path = xprintf("%s/%s", folder, name);
    int64_t length[FILES];
    /* A commit that has not ended does not count yet. */
    size_t most = results_journal(folder, length, NULL) == 1 && length[file] >= 0 ? (size_t)length[file] : SIZE_MAX;
    int result = csv_read_part(path, header, true, most, row, &r, e);
    if (result != 0 && access(folder, F_OK) != 0)
        fail(e, "there is no folder %s; it should be one that `infinibench run` has written", folder);
    free(path);
    *count = r.count;
    if (result == 0) return r.rows ? r.rows : xcalloc(1, size);
    free(r.rows);
    return NULL;
}

struct result_row *results_read(const char *folder, int64_t *count, struct error *e) {
    return read_all(folder, RESULTS, "results.csv", RESULTS_HEADER, result_line, sizeof(struct result_row), count, e);
}

struct sample_row *samples_read(const char *folder, int64_t *count, struct error *e) {
    return read_all(folder, SAMPLES, "samples.csv", SAMPLES_HEADER, sample_line, sizeof(struct sample_row), count, e);
}

struct curve_row *curves_read(const char *folder, int64_t *count, struct error *e) {
    return read_all(folder, CURVES, "curves.csv", CURVES_HEADER, curve_line, sizeof(struct curve_row), count, e);
}
