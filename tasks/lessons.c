/* lessons.c - room for the documents of a source, and its cursor (see lessons.h). It knows no task. */
#include "lessons.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct lesson_row *lesson_row(struct lesson_rows *r, int64_t row, int64_t most) {
    if (row >= r->count) {
        r->row = xrealloc(r->row, (size_t)(row + 1), sizeof *r->row);
        memset(r->row + r->count, 0, (size_t)(row + 1 - r->count) * sizeof *r->row);
        r->count = row + 1;
    }
    struct lesson_row *m = &r->row[row];
    if (!m->tokens) {
        m->tokens = xcalloc((size_t)most, sizeof *m->tokens);
        m->weights = xcalloc((size_t)most, sizeof *m->weights);
    }
    return m;
}

void lesson_rows_free(struct lesson_rows *r) {
    for (int64_t i = 0; i < r->count; i++) {
        free(r->row[i].tokens);
        free(r->row[i].weights);
    }
    free(r->row);
}

char *lesson_save(const char *task, uint64_t identity, uint64_t seed, int64_t next) {
    return xprintf("%s %016" PRIx64 " seed %" PRIu64 " document %" PRId64, task, identity, seed, next);
}

int lesson_load(const char *task, const char *text, uint64_t identity, uint64_t seed, int64_t *next, struct error *e) {
    uint64_t of, drawn;
    int64_t document;
    int end = -1;
    size_t n = strlen(task);
    if (strncmp(text, task, n) != 0 ||
        sscanf(text + n, " %" SCNx64 " seed %" SCNu64 " document %" SCNd64 "%n", &of, &drawn, &document, &end) != 3 || end < 0 ||
        text[n + (size_t)end] || document < 0)
        return fail(e, "the data cursor '%.60s' is none of the task %s", text, task);
    if (of != identity)
        return fail(
            e, "the checkpoint read documents of the task %s with other options, another tokenizer or other texts; start afresh",
            task);
    if (drawn != seed)
        return fail(e, "the checkpoint read documents of the task %s with seed %" PRIu64 ", this run has %" PRIu64 "; start afresh",
                    task, drawn, seed);
    *next = document;
    return 0;
}
