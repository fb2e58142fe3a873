/* state.c - what is carried between calls: storage for B rows, counted, reset and copied row by row. */
#include "faults.h"
#include "model.h"

#include <math.h>
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

/* Least common multiple of the rings' capacities. */
static int64_t common_period(const struct state *s) {
    int64_t period = 1;
    for (int i = 0; i < s->model->state_count; i++) {
        if (s->model->states[i].kind != STATE_RING || !s->model->states[i].rows) continue;
        int64_t a = period, b = s->capacity[i];
        while (b) {
            int64_t rest = a % b;
            a = b, b = rest;
        }
        period = count_times(period / a, s->capacity[i]);
    }
    return period;
}

struct state *state_create(struct model *m, int64_t batch, int64_t segments, struct error *e) {
    struct state *s = xcalloc(1, sizeof *s);
    s->model = m;
    s->batch = batch;
    s->segments = segments;
    int64_t n = m->config.segment;
    for (int i = 0; i < m->state_count; i++) s->capacity[i] = capacity(m, i, segments);
    s->arena.name = "carried state";
    s->period = common_period(s);
    if (s->period > SINCE_MOST) {
        fail(e,
             "architecture %s: its rings come round together only after %lld rows, %lld are the most; make one of their sizes a "
             "multiple of "
             "the other",
             m->config.arch->name, (long long)s->period, (long long)SINCE_MOST);
        free(s);
        return NULL;
    }
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
    int64_t head = s->head[row] + whole * n;
    s->head[row] = (int32_t)(head < SINCE_MOST ? head : head % s->period);
    s->since[row] = since_of(s->since[row] + whole * n, n);
}

/* What element `at` of all rows of carried tensor i is. */
static void describe(const struct state *s, int i, int64_t at, char *text, size_t size) {
    static const struct {
        const char *name, *word;
    } known[] = {{"memory", "memory M"},
                 {"memory_norm", "normaliser z"},
                 {"fast_weight", "fast weights S"},
                 {"fast_weight_norm", "normaliser z"}};
    const struct state_spec *p = s->model->states + i;
    const char *dot = strrchr(p->name, '.'), *name = dot ? dot + 1 : p->name, *word = NULL;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strcmp(name, known[k].name)) word = known[k].word;
    if (word && p->layer >= 0) /* [kv_heads, ...] of each row; the memory of rmt is before the layers and has no heads */
        snprintf(text, size, "the %s of layer %d, head %lld (row %lld)", word, p->layer,
                 (long long)(at % p->width / (p->width / s->model->config.kv_heads)), (long long)(at / p->width));
    else
        snprintf(text, size, "the carried state '%s' (row %lld)", p->name, (long long)(at / p->width));
}

bool state_bad(const struct state *s, int64_t row, char *text, size_t size) {
    const struct model *m = s->model;
    for (int i = 0; i < m->state_count; i++) {
        int64_t width = m->states[i].width, first = row < 0 ? 0 : row * width, n = row < 0 ? s->batch * width : width;
        int64_t at = m->states[i].kind == STATE_CARRIED ? m->k->first_bad(s->data[i] + first, n) : -1;
        if (at < 0) continue;
        describe(s, i, first + at, text, size);
        return true;
    }
    return false;
}

double state_largest(const struct state *s, int64_t row, char *text, size_t size) {
    const struct model *m = s->model;
    double largest = 0;
    for (int i = 0; i < m->state_count; i++) {
        int64_t width = m->states[i].width;
        if (m->states[i].kind != STATE_CARRIED) continue;
        real *host = xcalloc((size_t)width, sizeof *host);
        m->k->download(host, s->data[i] + row * width, (size_t)width * sizeof *host);
        for (int64_t j = 0; j < width; j++) {
            double x = fabs((double)host[j]);
            if (!(x > largest)) continue;
            largest = x;
            describe(s, i, row * width + j, text, size);
        }
        free(host);
    }
    return largest;
}
