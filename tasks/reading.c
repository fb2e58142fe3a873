/* reading.c - rows of long texts that are read on from budget to budget and asked at each. It knows neither texts nor scores. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

#define CALL_TOKENS 2048 /* tokens of all rows in one call */

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int reading_budgets(const struct options *o, int64_t budget[READING_BUDGETS], const char *task, struct error *e) {
    int n = *options_text(o, "budgets") ? options_ints(o, "budgets", budget, READING_BUDGETS, task, e) : 1;
    if (n < 0) return -1;
    if (!*options_text(o, "budgets")) budget[0] = options_int(o, "length");
    qsort(budget, (size_t)n, sizeof *budget, by_size);
    for (int i = 1; i < n; i++)
        if (budget[i] == budget[i - 1]) return fail(e, "%s: budget %lld is given twice", task, (long long)budget[i]);
    return n;
}

int reading_open(struct reading *r, struct model *m, int64_t rows, int64_t most, enum knock_out knock_out, reading_text *text,
                 void *data, struct error *e) {
    size_t b = (size_t)rows;
    int64_t n = m->config.segment, segments = CALL_TOKENS / (rows * n) > 0 ? CALL_TOKENS / (rows * n) : 1;
    *r = (struct reading){.rows = rows, .n = n, .chunk = segments * n, .text = text, .data = data};
    r->reach = knock_out == KNOCK_NONE || !m->config.arch->compressive ? m->config.arch->reach(&m->config)
                                                                       : n - 1; /* without memory: the own segment */
    r->said = xcalloc(b, sizeof *r->said);
    r->at = xcalloc(b, sizeof *r->at);
    r->origin = xcalloc(b, sizeof *r->origin);
    r->tokens = xcalloc(b, sizeof *r->tokens);
    r->count = xcalloc(b, sizeof *r->count);
    r->kept = xcalloc(b, sizeof *r->kept);
    for (size_t i = 0; i < b; i++) {
        r->tokens[i] = xcalloc((size_t)r->chunk, sizeof **r->tokens);
        r->said[i].tokens = xcalloc((size_t)most, sizeof *r->said->tokens);
    }
    r->stream = stream_open(m, rows, segments, e);
    if (r->stream) stream_knock_out(r->stream, knock_out);
    return r->stream ? 0 : -1;
}

void reading_close(struct reading *r) {
    for (int64_t i = 0; i < r->rows; i++) {
        free(r->tokens[i]);
        free(r->said[i].tokens);
    }
    free(r->said);
    free(r->at);
    free(r->origin);
    free(r->tokens);
    free(r->count);
    free(r->kept);
    stream_close(r->stream);
}

void reading_restart(struct reading *r) {
    stream_reset(r->stream, -1);
    memset(r->at, 0, (size_t)r->rows * sizeof *r->at);
    memset(r->origin, 0, (size_t)r->rows * sizeof *r->origin);
}

/* The summary's first token is predicted at the input of number target + marker; nothing before `first` can influence it. */
static void read_on(struct reading *r, const int64_t *target, int64_t marker) {
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t first = r->reach == UNBOUNDED ? 0 : target[i] + marker - r->reach - 1;
        if (first > target[i]) first = target[i]; /* the marker alone is more than what can be seen */
        int64_t origin = first > 0 ? first / r->n * r->n : 0;
        if (origin <= r->at[i]) continue;
        stream_reset(r->stream, i);
        r->at[i] = r->origin[i] = origin;
    }
    for (bool more = true; more;) {
        more = false;
        for (int64_t i = 0; i < r->rows; i++) {
            int64_t n = r->chunk - (r->at[i] - r->origin[i]) % r->n, left = target[i] - r->at[i];
            r->count[i] = n = n < left ? n : left;
            if (!n) continue;
            r->text(r->data, i, r->at[i], n, r->tokens[i]);
            r->at[i] += n;
            more = true;
        }
        if (more) stream_score(r->stream, (const int32_t *const *)r->tokens, r->count, NULL);
    }
}

void reading_ask(struct reading *r, const int64_t *target, const int32_t *marker, int64_t marker_n, const struct decoding *d) {
    const int32_t **fed = xcalloc((size_t)r->rows, sizeof *fed);
    for (int64_t i = 0; i < r->rows; i++)
        CHECK(target[i] >= r->at[i], "token %lld after token %lld", (long long)target[i], (long long)r->at[i]);
    read_on(r, target, marker_n);
    for (int64_t i = 0; i < r->rows; i++) {
        r->kept[i] = stream_snapshot(r->stream, i);
        fed[i] = marker;
        r->count[i] = marker_n;
        r->said[i].n = 0;
    }
    stream_score(r->stream, fed, r->count, NULL);
    generate(r->stream, d, r->said, r->rows, NULL, NULL);
    for (int64_t i = 0; i < r->rows; i++) {
        stream_restore(r->stream, i, r->kept[i]);
        snapshot_free(r->kept[i]);
    }
    free(fed);
}
