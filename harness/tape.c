/* tape.c - arenas, the pool of activation gradients, and the backward sweep. Knows no operation; those are in ops.c. */
#include "tape.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 64
/* In a dry pass addresses are counted from here; never dereferenced, but not NULL, so that "no gradient" stays distinguishable. */
#define DRY_BASE ((char *)(uintptr_t)4096)

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

/* ---- arenas ---- */

int arena_allocate(struct arena *a, const struct kernels *k, size_t bytes, struct error *e) {
    arena_release(a);
    a->k = k;
    a->capacity = aligned(bytes > a->peak ? bytes : a->peak);
    a->used = 0;
    if (a->capacity == 0) return 0;
    a->base = k->alloc(a->capacity);
    if (!a->base)
        return fail(e, "not enough memory: %.1f MB for %s; use a smaller batch, fewer segments a step or recompute = segment",
                    (double)a->capacity / 1e6, a->name);
    return 0;
}

void arena_release(struct arena *a) {
    if (a->base && a->base != DRY_BASE) a->k->release(a->base, a->capacity);
    a->base = NULL;
    a->used = a->capacity = 0;
}

void *arena_take(struct arena *a, bool dry, size_t bytes) {
    size_t at = a->used;
    a->used += aligned(bytes ? bytes : 1);
    if (a->used > a->peak) a->peak = a->used;
    if (dry) return DRY_BASE + at;
    CHECK(a->used <= a->capacity, "arena '%s' needs %zu bytes but the dry pass measured %zu", a->name, a->used, a->capacity);
    return a->base + at;
}

/* ---- host memory for nodes and tensors: chunks that are kept between steps ---- */

#define CHUNK (1 << 18)
struct host_arena {
    char **chunks;
    int count;
    size_t used; /* over all chunks: chunk = used / CHUNK */
};

static void *host_take(struct host_arena *h, size_t bytes) {
    bytes = aligned(bytes);
    CHECK(bytes <= CHUNK, "a host object of %zu bytes", bytes);
    if (h->used % CHUNK + bytes > CHUNK) h->used = (h->used / CHUNK + 1) * CHUNK;
    size_t chunk = h->used / CHUNK;
    while ((int)chunk >= h->count) {
        h->chunks = xrealloc(h->chunks, (size_t)h->count + 1, sizeof *h->chunks);
        h->chunks[h->count++] = xcalloc(1, CHUNK);
    }
    void *p = h->chunks[chunk] + h->used % CHUNK;
    h->used += bytes;
    memset(p, 0, bytes);
    return p;
}

/* ---- pool of gradients: best fit over offsets, neighbours merged; deterministic, so the dry pass sees the same peak ---- */

struct gradient {
    size_t offset, bytes;
    real *data;
    int refs;
};
struct hole {
    size_t offset, bytes;
};
struct grad_pool {
    struct hole *holes; /* sorted by offset */
    int count, room;
    size_t end, peak;
};

static size_t pool_take(struct grad_pool *p, size_t bytes) {
    int best = -1;
    for (int i = 0; i < p->count; i++)
        if (p->holes[i].bytes >= bytes && (best < 0 || p->holes[i].bytes < p->holes[best].bytes)) best = i;
    if (best >= 0) {
        size_t at = p->holes[best].offset;
        p->holes[best].offset += bytes;
        p->holes[best].bytes -= bytes;
        if (p->holes[best].bytes == 0) {
            p->count--;
            memmove(p->holes + best, p->holes + best + 1, (size_t)(p->count - best) * sizeof *p->holes);
        }
        return at;
    }
    size_t at = p->end;
    if (p->count && p->holes[p->count - 1].offset + p->holes[p->count - 1].bytes == p->end) at = p->holes[--p->count].offset;
    p->end = at + bytes;
    if (p->end > p->peak) p->peak = p->end;
    return at;
}

static void pool_give(struct grad_pool *p, size_t offset, size_t bytes) {
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        p->holes = xrealloc(p->holes, (size_t)p->room, sizeof *p->holes);
    }
    int i = 0;
    while (i < p->count && p->holes[i].offset < offset) i++;
    memmove(p->holes + i + 1, p->holes + i, (size_t)(p->count - i) * sizeof *p->holes);
    p->holes[i] = (struct hole){offset, bytes};
    p->count++;
    if (i + 1 < p->count && offset + bytes == p->holes[i + 1].offset) {
        p->holes[i].bytes += p->holes[i + 1].bytes;
        p->count--;
        memmove(p->holes + i + 1, p->holes + i + 2, (size_t)(p->count - i - 1) * sizeof *p->holes);
    }
    if (i > 0 && p->holes[i - 1].offset + p->holes[i - 1].bytes == p->holes[i].offset) {
        p->holes[i - 1].bytes += p->holes[i].bytes;
        p->count--;
        memmove(p->holes + i, p->holes + i + 1, (size_t)(p->count - i) * sizeof *p->holes);
    }
}

static struct gradient *gradient_new(struct tape *t, int64_t n) {
    struct gradient *g = host_take(t->host, sizeof *g);
    g->bytes = aligned((size_t)n * sizeof(real));
    g->offset = pool_take(t->pool, g->bytes);
    g->refs = 1;
    if (t->pool->peak > t->gradients.peak) t->gradients.peak = t->pool->peak;
    if (!t->dry)
        CHECK(g->offset + g->bytes <= t->gradients.capacity, "the gradient pool needs %zu bytes but the dry pass measured %zu",
              g->offset + g->bytes, t->gradients.capacity);
    g->data = (real *)((t->dry ? DRY_BASE : t->gradients.base) + g->offset);
    return g;
}

static void gradient_drop(struct tape *t, struct gradient *g) {
    if (--g->refs == 0) pool_give(t->pool, g->offset, g->bytes);
}

/* ---- the tape ---- */

void tape_init(struct tape *t, const struct kernels *k) {
    memset(t, 0, sizeof *t);
    t->k = k;
    t->host = xcalloc(1, sizeof *t->host);
    t->pool = xcalloc(1, sizeof *t->pool);
    t->activations.name = "activations";
    t->scratch.name = "scratch";
    t->gradients.name = "activation gradients";
    t->kept.name = "kept indices";
}

void tape_free(struct tape *t) {
    if (!t->host) return;
    for (int i = 0; i < t->host->count; i++) free(t->host->chunks[i]);
    free(t->host->chunks);
    free(t->host);
    free(t->pool->holes);
    free(t->pool);
    free(t->nodes);
    arena_release(&t->activations);
    arena_release(&t->scratch);
    arena_release(&t->gradients);
    arena_release(&t->kept);
    memset(t, 0, sizeof *t);
}

static struct arena *tape_arena(struct tape *t, int i) {
    struct arena *all[] = {&t->activations, &t->scratch, &t->gradients, &t->kept};
    return i < 4 ? all[i] : NULL;
}

void tape_dry(struct tape *t) {
    for (int i = 0; tape_arena(t, i); i++) {
        arena_release(tape_arena(t, i));
        tape_arena(t, i)->peak = 0;
    }
    t->pool->peak = 0;
    tape_reset(t);
    t->dry = true;
}

size_t tape_bytes(const struct tape *t) {
    return aligned(t->activations.peak) + aligned(t->scratch.peak) + aligned(t->gradients.peak) + aligned(t->kept.peak);
}

int tape_allocate(struct tape *t, struct error *e) {
    tape_reset(t);
    t->dry = false;
    for (int i = 0; tape_arena(t, i); i++)
        if (arena_allocate(tape_arena(t, i), t->k, tape_arena(t, i)->peak, e)) return -1;
    return 0;
}

void tape_reset(struct tape *t) {
    t->activations.used = t->scratch.used = 0;
    t->host->used = 0;
    t->count = 0;
    t->pool->count = 0;
    t->pool->end = 0;
}

struct tape_mark tape_mark(struct tape *t) {
    return (struct tape_mark){t->activations.used, t->host->used};
}

void tape_rewind(struct tape *t, struct tape_mark m) {
    CHECK(!t->record, "memory is given back only on a tape that does not record");
    t->activations.used = m.activations;
    t->host->used = m.host;
}

struct tensor *tape_tensor(struct tape *t, const char *name, int rank, const int64_t *shape) {
    struct tensor *x = host_take(t->host, sizeof *x);
    x->name = name;
    x->rank = rank;
    x->n = 1;
    for (int i = 0; i < rank; i++) {
        x->shape[i] = shape[i];
        x->n *= shape[i];
    }
    x->data = arena_take(&t->activations, t->dry, (size_t)x->n * sizeof(real));
    return x;
}

struct tensor *tape_tensor2(struct tape *t, const char *name, int64_t a, int64_t b) {
    return tape_tensor(t, name, 2, (const int64_t[]){a, b});
}
struct tensor *tape_tensor3(struct tape *t, const char *name, int64_t a, int64_t b, int64_t c) {
    return tape_tensor(t, name, 3, (const int64_t[]){a, b, c});
}
struct tensor *tape_tensor4(struct tape *t, const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    return tape_tensor(t, name, 4, (const int64_t[]){a, b, c, d});
}

struct tensor *tape_leaf(struct tape *t, const char *name, real *data, int64_t rows, int64_t width, bool needs_grad) {
    struct tensor *x = host_take(t->host, sizeof *x);
    x->name = name;
    x->rank = 2;
    x->shape[0] = rows;
    x->shape[1] = width;
    x->n = rows * width;
    x->data = data;
    x->needs_grad = needs_grad;
    return x;
}

const int32_t *tape_ints(struct tape *t, const int32_t *host, int64_t n) {
    int32_t *p = tape_int_buffer(t, n);
    RUN(t, upload, p, host, (size_t)n * sizeof *p);
    return p;
}

real *tape_reals(struct tape *t, const real *host, int64_t n) {
    real *p = arena_take(&t->activations, t->dry, (size_t)n * sizeof *p);
    if (host) RUN(t, upload, p, host, (size_t)n * sizeof *p);
    return p;
}

int32_t *tape_int_buffer(struct tape *t, int64_t n) { return arena_take(&t->activations, t->dry, (size_t)n * sizeof(int32_t)); }

void **tape_pointers(struct tape *t, int64_t n) { return host_take(t->host, (size_t)(n + 1) * sizeof(void *)); }

real *tape_scratch(struct tape *t, int64_t n) { return arena_take(&t->scratch, t->dry, (size_t)n * sizeof(real)); }

void *tape_keep(struct tape *t, size_t bytes) {
    if (t->keep_mode == 2) { /* replay: the same order of requests gives the same places */
        void *p = (t->dry ? DRY_BASE : t->kept.base) + t->kept_cursor;
        t->kept_cursor += aligned(bytes);
        return p;
    }
    return arena_take(&t->kept, t->dry, bytes);
}

struct node *tape_node(struct tape *t, const char *op, backward_fn backward) {
    struct node *n = host_take(t->host, sizeof *n);
    n->op = op;
    n->backward = backward;
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 512;
        t->nodes = xrealloc(t->nodes, (size_t)t->capacity, sizeof *t->nodes);
    }
    t->nodes[t->count++] = n;
    return n;
}

bool tape_wants(const struct tape *t, struct tensor *const *in, int count) {
    if (!t->record) return false;
    for (int i = 0; i < count; i++)
        if (in[i] && in[i]->needs_grad) return true;
    return false;
}

const real *tape_grad(const struct tensor *x) { return x && x->grad ? x->grad->data : NULL; }

struct gout tape_grad_out(struct tape *t, struct tensor *x) {
    if (!x || !x->needs_grad) return (struct gout){NULL, 0};
    if (x->param) {
        struct gout g = {x->param->grad, x->param->beta};
        x->param->beta = 1;
        return g;
    }
    if (!x->grad) {
        x->grad = gradient_new(t, x->n);
        return (struct gout){x->grad->data, 0};
    }
    if (x->grad->refs > 1) { /* shared with another tensor: adding needs a copy of our own */
        struct gradient *old = x->grad;
        x->grad = gradient_new(t, x->n);
        RUN(t, move, x->grad->data, old->data, (size_t)x->n * sizeof(real));
        gradient_drop(t, old);
    }
    return (struct gout){x->grad->data, 1};
}

void tape_grad_share(struct tape *t, struct tensor *x, struct tensor *y) {
    if (!x || !x->needs_grad || !y->grad) return;
    CHECK(x->n == y->n, "'%s' has %lld elements, '%s' %lld", x->name, (long long)x->n, y->name, (long long)y->n);
    if (!x->param && !x->grad) {
        x->grad = y->grad;
        x->grad->refs++;
        return;
    }
    const real *from = y->grad->data;
    struct gout g = tape_grad_out(t, x);
    RUN(t, scale, g, from, 1.0, x->n);
}

void tape_seed(struct tape *t, struct tensor *x, const real *data) {
    struct gout g = tape_grad_out(t, x);
    if (g.p) RUN(t, scale, g, data, 1.0, x->n);
}

void tape_seed_value(struct tape *t, struct tensor *x, double value) {
    real *tmp = tape_scratch(t, x->n);
    RUN(t, fill, tmp, value, x->n);
    tape_seed(t, x, tmp);
}

void tape_backward(struct tape *t) {
    bool record = t->record;
    t->record = false;
    for (int i = t->count - 1; i >= 0; i--) {
        struct node *n = t->nodes[i];
        bool arrived = false;
        for (int o = 0; o < 3; o++) arrived |= n->out[o] && n->out[o]->grad;
        t->scratch.used = 0;
        if (arrived) n->backward(t, n);
        for (int o = 0; o < 3; o++)
            if (n->out[o] && n->out[o]->grad) {
                gradient_drop(t, n->out[o]->grad);
                n->out[o]->grad = NULL;
            }
    }
    t->count = 0;
    t->record = record;
}

bool tape_first_bad(const struct tape *t, struct tape_bad *bad) {
    for (int i = 0; i < t->count; i++)
        for (int o = 0; o < 3; o++) {
            const struct tensor *x = t->nodes[i]->out[o];
            if (!x) continue;
            int64_t at = t->k->first_bad(x->data, x->n);
            if (at < 0) continue;
            *bad = (struct tape_bad){.node = t->nodes[i], .tensor = x, .at = at};
            for (int j = 0; j < i; j++) bad->nth += !strcmp(t->nodes[j]->op, t->nodes[i]->op);
            return true;
        }
    return false;
}
