/* state.c - what is carried between calls: storage for B rows, counted, reset and copied row by row. */
#include "faults.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>

static size_t row_bytes(const struct state *s, int i) {
    return (size_t)s->capacity[i] * (size_t)s->model->states[i].width * sizeof(real);
}

static int64_t capacity(const struct model *m, int i, int64_t segments) {
    const struct state_spec *p = m->states + i;
    int64_t n = m->config.segment;
    return p->kind == STATE_RING && p->rows ? (p->rows + segments * n + n - 1) / n * n : 1;
}

size_t state_need(const struct model *m, int64_t batch, int64_t segments) {
    size_t bytes = 0;
    for (int i = 0; i < m->state_count; i++)
        bytes += ((size_t)(batch * capacity(m, i, segments) * m->states[i].width) * sizeof(real) + 63) / 64 * 64;
    return bytes;
}

struct state *state_create(struct model *m, int64_t batch, int64_t segments, struct error *e) {
    struct state *s = xcalloc(1, sizeof *s);
    s->model = m;
    s->batch = batch;
    s->segments = segments;
    int64_t n = m->config.segment;
    for (int i = 0; i < m->state_count; i++) s->capacity[i] = capacity(m, i, segments);
    s->arena.name = "carried state";
    if (m->k && arena_allocate(&s->arena, m->k, state_need(m, batch, segments), e)) {
        free(s);
        return NULL;
    }
    size_t at = 0;
    for (int i = 0; i < m->state_count; i++) {
        s->data[i] = (real *)((uintptr_t)s->arena.base + at);
        at += ((size_t)batch * row_bytes(s, i) + 63) / 64 * 64;
    }
    s->since = xcalloc((size_t)batch, sizeof *s->since);
    s->head = xcalloc((size_t)batch, sizeof *s->head);
    int64_t lead = 0, trail = 0;
    if (m->config.arch->rows) m->config.arch->rows(&m->config, &lead, &trail);
    if (!m->k) return s; /* a plan: nobody looks at positions */
    s->stage = xcalloc((size_t)(2 * batch * segments * (n + lead + trail)), sizeof *s->stage);
    s->share = xcalloc((size_t)(2 * batch * segments), sizeof *s->share);
    return s;
}

void state_free(struct state *s) {
    if (!s) return;
    arena_release(&s->arena);
    free(s->since);
    free(s->head);
    free(s->stage);
    free(s->share);
    free(s);
}

void state_reset(struct state *s, int64_t row) {
    for (int64_t b = 0; b < s->batch && !FAULT(stale_cache); b++)
        if (row < 0 || b == row) s->since[b] = 0;
}

void state_copy_row(struct state *dst, int64_t to, const struct state *src, int64_t from) {
    for (int i = 0; i < src->model->state_count; i++) {
        size_t bytes = row_bytes(src, i);
        CHECK(row_bytes(dst, i) == bytes, "rows of state '%s' differ in size", src->model->states[i].name);
        src->model->k->move((char *)dst->data[i] + (size_t)to * bytes, (const char *)src->data[i] + (size_t)from * bytes, bytes);
    }
    dst->since[to] = src->since[from];
    dst->head[to] = src->head[from];
}

size_t state_bytes(const struct state *s) { return s->arena.capacity; }

int64_t state_carried(const struct state *s) {
    int64_t n = 0;
    for (int i = 0; i < s->model->state_count; i++) n += s->model->states[i].rows * s->model->states[i].width;
    return n;
}

int64_t state_live(const struct state *s, int64_t row) {
    int64_t n = 0, seen = s->since[row];
    for (int i = 0; i < s->model->state_count && seen; i++) {
        const struct state_spec *p = s->model->states + i;
        if (p->kind == STATE_RING)
            n += (seen < p->rows ? seen : p->rows) * p->width;
        else if (p->every) {
            int64_t filled = seen > p->after ? (seen - p->after) / p->every * p->step : 0;
            n += filled < p->width ? filled : p->width;
        } else
            n += p->rows * p->width;
    }
    return n;
}

void state_advance(struct state *s, const struct call *c, int64_t row) {
    int64_t whole = 0, n = s->model->config.segment;
    if (c->training)
        whole = c->segments; /* rings of all rows move in step; partial segments are followed by a reset */
    else
        while (whole < c->segments && c->len[row * c->segments + whole] == n) whole++;
    s->head[row] += (int32_t)(whole * n);
    s->since[row] += (int32_t)(whole * n);
}
