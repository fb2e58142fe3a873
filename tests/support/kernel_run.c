/* kernel_run.c - runs a case: check against the reference, finite differences, sentinels, time. */
#include "kernel_cases.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GUARD = 64 }; /* elements before and after every buffer */

/* ---- building a case ---------------------------------------------------------------------------------------------------- */

static uint64_t bits64(uint64_t *state) { /* splitmix64 */
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double case_uniform(struct kernel_case *c) { return (double)(bits64(&c->random) >> 11) * 0x1p-53; }

double case_normal(struct kernel_case *c) {
    double u = case_uniform(c), v = case_uniform(c);
    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

struct buffer *case_buffer(struct kernel_case *c, const char *name, enum buffer_role role, enum buffer_type type, int64_t n,
                           int wrt) {
    if (c->count == CASE_BUFFERS) abort();
    struct buffer *b = &c->buf[c->count++];
    size_t room = (size_t)(n > 0 ? n : 1);
    *b = (struct buffer){name, role, type, n, NULL, NULL, wrt, 0};
    if (type == TYPE_INT)
        b->i = calloc(room, sizeof *b->i);
    else
        b->f = calloc(room, sizeof *b->f);
    return b;
}

static double *random_buffer(struct kernel_case *c, const char *name, enum buffer_role role, int64_t n, double spread, int wrt) {
    double *f = case_buffer(c, name, role, TYPE_REAL, n, wrt)->f;
    for (int64_t i = 0; i < n; i++) f[i] = (float)(spread * case_normal(c));
    return f;
}

double *case_in(struct kernel_case *c, const char *name, int64_t n, double spread) {
    return random_buffer(c, name, ROLE_IN, n, spread, -1);
}

void case_out(struct kernel_case *c, const char *name, int64_t n) { case_buffer(c, name, ROLE_OUT, TYPE_REAL, n, -1); }

double *case_inout(struct kernel_case *c, const char *name, int64_t n, double spread, int wrt) {
    return random_buffer(c, name, ROLE_INOUT, n, spread, wrt);
}

void case_grad(struct kernel_case *c, const char *name, int64_t n, int wrt) { random_buffer(c, name, ROLE_GRAD, n, 1, wrt); }

int32_t *case_ints(struct kernel_case *c, const char *name, int64_t n) { return case_buffer(c, name, ROLE_IN, TYPE_INT, n, -1)->i; }

void case_tmp(struct kernel_case *c, enum buffer_type type, int64_t n) { case_buffer(c, "tmp", ROLE_TMP, type, n, -1); }

void case_alias(struct kernel_case *c, int output, int input) {
    c->alias[c->aliases][0] = output;
    c->alias[c->aliases++][1] = input;
}

static void *contents_f64(const struct buffer *b) {
    if (b->n == 0) return NULL;
    size_t bytes = (size_t)b->n * (b->type == TYPE_INT ? sizeof *b->i : sizeof *b->f);
    void *p = malloc(bytes);
    return memcpy(p, b->type == TYPE_INT ? (void *)b->i : (void *)b->f, bytes);
}

static void free_all(const struct kernel_case *c, void **p) {
    for (int i = 0; i < c->count; i++) free(p[i]);
}

struct kernel_case *kernel_case_new(const struct kernel_row *row) {
    struct kernel_case *c = calloc(1, sizeof *c);
    for (int i = 0; i < kernel_slot_count; i++)
        if (!strcmp(kernel_slot_table[i].name, row->slot)) c->slot = &kernel_slot_table[i];
    if (!c->slot) {
        fprintf(stderr, "kernel_rows.c: no slot is called '%s'\n", row->slot);
        abort();
    }
    memcpy(c->d, row->d, sizeof c->d);
    memcpy(c->s, row->s, sizeof c->s);
    c->random = 1;
    c->terms = 1;
    c->factor = 4;
    int last = CASE_SIZES - 1, at = 0;
    while (last > 0 && row->d[last] == 0) last--;
    for (int i = 0; i <= last; i++) {
        c->random = c->random * 31 + (uint64_t)row->d[i];
        if (row->d[i] >= UNBOUNDED)
            at += snprintf(c->label + at, sizeof c->label - (size_t)at, "%sinf", i ? " " : "");
        else
            at += snprintf(c->label + at, sizeof c->label - (size_t)at, "%s%lld", i ? " " : "", (long long)row->d[i]);
    }
    c->slot->make(c);
    if (c->bytes == 0)
        for (int i = 0; i < c->count; i++) {
            const struct buffer *b = &c->buf[i];
            if (b->role != ROLE_TMP && b->name[0] != '(') c->bytes += (double)b->n * 4 * (b->role == ROLE_INOUT ? 2 : 1);
        }
    if (c->slot->forward) { /* what the forward saves */
        void *p[CASE_BUFFERS];
        for (int i = 0; i < c->count; i++) p[i] = contents_f64(&c->buf[i]);
        c->slot->forward(c, p, 1);
        for (int i = 0; i < c->count; i++)
            for (int64_t j = 0; c->buf[i].type == TYPE_REAL && j < c->buf[i].n; j++) c->buf[i].f[j] = (float)((double *)p[i])[j];
        free_all(c, p);
    }
    return c;
}

void kernel_case_free(struct kernel_case *c) {
    for (int i = 0; i < c->count; i++) {
        free(c->buf[i].f);
        free(c->buf[i].i);
    }
    free(c->gamma);
    free(c);
}

/* ---- running the reference and the kernels ------------------------------------------------------------------------------ */

static int is_result(const struct buffer *b) { return b->role == ROLE_OUT || b->role == ROLE_INOUT || b->role == ROLE_GRAD; }

static int starts_undefined(const struct buffer *b, int beta) {
    return b->role == ROLE_OUT || b->role == ROLE_TMP || (b->role == ROLE_GRAD && beta == 0);
}

static void run_reference(const struct kernel_case *c, void **p, int beta) {
    for (int i = 0; i < c->count; i++) {
        p[i] = contents_f64(&c->buf[i]);
        for (int64_t j = 0; starts_undefined(&c->buf[i], beta) && c->buf[i].type != TYPE_INT && j < c->buf[i].n; j++)
            ((double *)p[i])[j] = NAN;
    }
    c->slot->call_f64(kernels_ref(), p, beta, c);
}

struct run {
    void *base[CASE_BUFFERS]; /* guard zone, buffer, guard zone */
    void *p[CASE_BUFFERS];
    size_t size[CASE_BUFFERS];
    void *device[CASE_BUFFERS], *argument[CASE_BUFFERS]; /* base and p in the backend's memory */
    size_t all[CASE_BUFFERS];                            /* bytes with guards */
};

struct how {
    int beta;
    uint32_t wanted;   /* bit i: gradient buffer i is wanted */
    int shift;         /* elements by which buffers are moved off their alignment */
    uint32_t aliases;  /* bit j: alias j is used */
    int nan_at;        /* buffer that gets a NaN; -1: none */
    int64_t nan_index; /* where */
};
static const struct how PLAIN = {0, ~0u, 0, 0, -1, 0};

static size_t element_size(const struct buffer *b) {
    return b->type == TYPE_REAL ? sizeof(real) : b->type == TYPE_INT ? sizeof(int32_t) : sizeof(double);
}

/* Buffers with their contents, here and in the backend's memory. */
static void prepare_run(const struct kernels *k, const struct kernel_case *c, struct run *r, struct how how) {
    memset(r, 0, sizeof *r);
    for (int i = 0; i < c->count; i++) {
        const struct buffer *b = &c->buf[i];
        size_t size = element_size(b), before = (size_t)(GUARD + how.shift) * size, all = before + ((size_t)b->n + GUARD) * size;
        r->size[i] = size;
        if (b->n == 0 || (b->role == ROLE_GRAD && !(how.wanted >> i & 1))) continue;
        r->base[i] = aligned_alloc(64, (all + 63) / 64 * 64);
        memset(r->base[i], 0x7f, all); /* floats 3.39e38; doubles and int32 likewise odd */
        r->p[i] = (char *)r->base[i] + before;
        for (int64_t j = 0; j < b->n; j++)
            if (b->type == TYPE_INT)
                ((int32_t *)r->p[i])[j] = starts_undefined(b, how.beta) ? 0x7f7f7f7f : b->i[j];
            else if (b->type == TYPE_DOUBLE)
                ((double *)r->p[i])[j] = NAN;
            else
                ((real *)r->p[i])[j] = starts_undefined(b, how.beta) ? (real)NAN : (real)b->f[j];
        if (how.nan_at == i) ((real *)r->p[i])[how.nan_index] = (real)NAN;
        r->all[i] = all;
        r->device[i] = k->alloc(all);
        k->upload(r->device[i], r->base[i], all);
        r->argument[i] = (char *)r->device[i] + before;
    }
    for (int j = 0; j < c->aliases; j++)
        if (how.aliases >> j & 1) {
            r->argument[c->alias[j][0]] = r->argument[c->alias[j][1]];
            r->p[c->alias[j][0]] = r->p[c->alias[j][1]];
        }
}

static void release_run(const struct kernels *k, struct run *r) {
    for (int i = 0; i < CASE_BUFFERS; i++) k->release(r->device[i], r->all[i]);
}

static void run_kernels(const struct kernels *k, const struct kernel_case *c, struct run *r, struct how how) {
    prepare_run(k, c, r, how);
    c->slot->call(k, r->argument, how.beta, c);
    for (int i = 0; i < c->count; i++)
        if (r->device[i]) k->download(r->base[i], r->device[i], r->all[i]);
    release_run(k, r);
}

static void free_run(struct run *r) {
    for (int i = 0; i < CASE_BUFFERS; i++) free(r->base[i]);
}

static int complain(char *why, const struct kernel_case *c, const char *fmt, const char *name, double a, double b, double d) {
    int n = snprintf(why, WHY, "%s [%s]: ", c->slot->name, c->label);
    snprintf(why + n, (size_t)(WHY - n), fmt, name, a, b, d);
    return 1;
}

static double value_of(const struct buffer *b, const void *p, int64_t j) {
    return b->type == TYPE_INT ? ((const int32_t *)p)[j] : ((const real *)p)[j];
}

/* Largest error of each result against the reference. */
static int compare(const struct kernel_case *c, const struct run *r, void **ref, uint32_t wanted, const char *what, char *why) {
    for (int i = 0; i < c->count; i++) {
        const struct buffer *b = &c->buf[i];
        if (!is_result(b) || b->n == 0 || (b->role == ROLE_GRAD && !(wanted >> i & 1))) continue;
        double largest = b->magnitude, worst = 0, expected = 0, got = 0;
        int64_t at = -1;
        for (int64_t j = 0; b->type == TYPE_REAL && j < b->n; j++) largest = fmax(largest, fabs(((double *)ref[i])[j]));
        double tolerance = b->type == TYPE_INT ? 0 : c->factor * FLT_EPSILON * sqrt(c->terms) * fmax(largest, 1e-30);
        for (int64_t j = 0; j < b->n; j++) {
            double want = b->type == TYPE_INT ? ((int32_t *)ref[i])[j] : ((double *)ref[i])[j], have = value_of(b, r->p[i], j);
            double error = want == have || (isnan(want) && isnan(have)) ? 0 : fabs(have - want);
            if (!(error <= tolerance) && (at < 0 || !(error <= worst))) {
                worst = error;
                at = j;
                expected = want;
                got = have;
            }
        }
        if (at >= 0) {
            int n = complain(why, c, "%s[%.0f] = %.9g, reference %.9g", b->name, (double)at, got, expected);
            n = (int)strlen(why);
            snprintf(why + n, (size_t)(WHY - n), ", error %.3g is %.3g of the tolerance (%s)", worst, worst / tolerance, what);
            return 1;
        }
    }
    return 0;
}

int kernel_check(const struct kernels *k, const struct kernel_case *c, char *why) {
    int failed = 0, grads = 0;
    for (int i = 0; i < c->count; i++) grads += c->buf[i].role == ROLE_GRAD;
    for (int beta = 0; beta < (grads ? 2 : 1) && !failed; beta++) {
        void *ref[CASE_BUFFERS];
        struct run r;
        struct how how = PLAIN;
        how.beta = beta;
        run_reference(c, ref, beta);
        run_kernels(k, c, &r, how);
        failed = compare(c, &r, ref, ~0u, beta ? "beta 1" : "beta 0", why);
        free_run(&r);
        free_all(c, ref);
    }
    return failed;
}

/* All buffers after a call with beta 0, as doubles or integers, for tests that know better what they should be; kernels NULL: the
 * reference. Free each. */
void kernel_results(const struct kernels *k, const struct kernel_case *c, void **p) {
    run_reference(c, p, 0);
    if (!k) return;
    struct run r;
    run_kernels(k, c, &r, PLAIN);
    for (int i = 0; i < c->count; i++)
        for (int64_t j = 0; j < c->buf[i].n; j++)
            if (c->buf[i].type == TYPE_INT)
                ((int32_t *)p[i])[j] = ((int32_t *)r.p[i])[j];
            else if (c->buf[i].type == TYPE_REAL)
                ((double *)p[i])[j] = (double)((real *)r.p[i])[j];
    free_run(&r);
}

/* ---- gradients ---------------------------------------------------------------------------------------------------------- */

/* The reference backward against central differences of the reference forward, along directions and for single elements. */
int kernel_gradient(const struct kernel_case *c, char *why) {
    if (!c->slot->forward) return 0;
    struct kernel_case work = *c; /* exact saved values instead of rounded ones */
    void *p[CASE_BUFFERS], *res[CASE_BUFFERS];
    for (int i = 0; i < c->count; i++) p[i] = contents_f64(&c->buf[i]);
    c->slot->forward(c, p, 1);
    for (int i = 0; i < c->count; i++)
        if (c->buf[i].type == TYPE_REAL && c->buf[i].n) work.buf[i].f = p[i];
    run_reference(&work, res, 0);
    int failed = 0;
    for (int i = 0; i < c->count && !failed; i++) {
        const struct buffer *b = &c->buf[i];
        if (b->wrt < 0 || b->n == 0) continue;
        double *x = p[b->wrt], *g = res[i], norm = 0;
        for (int64_t j = 0; j < b->n; j++) norm += g[j] * g[j];
        norm = sqrt(norm) + 1e-3;
        double *keep = malloc((size_t)b->n * sizeof *keep), *dir = malloc((size_t)b->n * sizeof *dir);
        memcpy(keep, x, (size_t)b->n * sizeof *keep);
        for (int round = 0; round < 8 && !failed; round++) {
            int64_t single = round < 4 ? -1 : (int64_t)(case_uniform(&work) * (double)b->n);
            double along = 0, size = 0, h = 1e-5;
            for (int64_t j = 0; j < b->n; j++) {
                dir[j] = single < 0 ? case_normal(&work) : j == single;
                along += dir[j] * g[j];
                size += dir[j] * dir[j];
            }
            for (int64_t j = 0; j < b->n; j++) x[j] = keep[j] + h * dir[j];
            double up = c->slot->forward(c, p, 0);
            for (int64_t j = 0; j < b->n; j++) x[j] = keep[j] - h * dir[j];
            double slope = (up - c->slot->forward(c, p, 0)) / (2 * h);
            memcpy(x, keep, (size_t)b->n * sizeof *keep);
            double tolerance = 1e-6 * (fabs(along) + norm) + 1e-10 / h * (fabs(up) * 1e-4 + 1e-3) + 1e-8 * sqrt(size);
            if (!(fabs(slope - along) <= tolerance))
                failed = complain(why, c, "%s: slope %.10g by differences, %.10g by the backward, tolerance %.3g", b->name, slope,
                                  along, tolerance);
        }
        free(keep);
        free(dir);
    }
    free_all(c, p);
    free_all(c, res);
    return failed;
}

/* ---- sentinels ---------------------------------------------------------------------------------------------------------- */

static int guards_hold(const struct kernel_case *c, const struct run *r, int shift, char *why) {
    for (int i = 0; i < c->count; i++) {
        const struct buffer *b = &c->buf[i];
        if (!r->base[i]) continue;
        const unsigned char *base = r->base[i];
        size_t before = (size_t)(GUARD + shift) * r->size[i], body = (size_t)b->n * r->size[i], after = GUARD * r->size[i];
        for (size_t j = 0; j < before + after; j++)
            if (base[j < before ? j : j + body] != 0x7f)
                return !complain(why, c, j < before ? "writes before %s (byte %.0f)" : "writes behind %s (byte %.0f)", b->name,
                                 j < before ? (double)j - (double)before : (double)(j - before), 0, 0);
        if (b->role != ROLE_IN) continue;
        for (int64_t j = 0; j < b->n; j++) {
            double is = value_of(b, base + before, j), was = b->type == TYPE_INT ? b->i[j] : (real)b->f[j];
            if (!(is == was || (isnan(is) && isnan(was))))
                return !complain(why, c, "changes its input %s[%.0f]", b->name, (double)j, 0, 0);
        }
    }
    return 1;
}

static int same_bits(const struct kernel_case *c, const struct run *a, const struct run *b, const char *what, char *why) {
    for (int i = 0; i < c->count; i++)
        if (is_result(&c->buf[i]) && a->p[i] && b->p[i] && memcmp(a->p[i], b->p[i], (size_t)c->buf[i].n * a->size[i]))
            return !complain(why, c, what, c->buf[i].name, 0, 0, 0);
    return 1;
}

/* A NaN in an input reaches every result that it reaches in the reference. */
static int nan_passes(const struct kernels *k, const struct kernel_case *c, char *why) {
    int failed = 0;
    for (int i = 0; i < c->count && !failed; i++) {
        struct buffer *b = (struct buffer *)&c->buf[i];
        if ((b->role != ROLE_IN && b->role != ROLE_INOUT) || b->type != TYPE_REAL) continue;
        for (int round = 0; round < 3 && round < b->n && !failed; round++) {
            int64_t at = round == 0 ? 0 : round == 1 ? b->n - 1 : b->n / 2;
            double keep = b->f[at];
            void *ref[CASE_BUFFERS];
            struct run r;
            struct how how = PLAIN;
            how.nan_at = i;
            how.nan_index = at;
            b->f[at] = NAN;
            run_reference(c, ref, 0);
            b->f[at] = keep;
            run_kernels(k, c, &r, how);
            for (int o = 0; o < c->count && !failed; o++) {
                int64_t want = 0, have = 0;
                for (int64_t j = 0; is_result(&c->buf[o]) && c->buf[o].type == TYPE_REAL && j < c->buf[o].n; j++) {
                    want += isnan(((double *)ref[o])[j]) != 0;
                    have += isnan(value_of(&c->buf[o], r.p[o], j)) != 0;
                }
                if (want > 0 && have == 0)
                    failed = complain(why, c, "a NaN in %s[%.0f] is hidden: result %.0f has none", b->name, (double)at, o, 0);
            }
            free_run(&r);
            free_all(c, ref);
        }
    }
    return !failed;
}

int kernel_repeats(const struct kernels *k, const struct kernel_case *c, char *why) {
    struct run first, second;
    run_kernels(k, c, &first, PLAIN);
    run_kernels(k, c, &second, PLAIN);
    int good = guards_hold(c, &first, 0, why) && same_bits(c, &first, &second, "%s differs between two equal calls", why);
    free_run(&first);
    free_run(&second);
    return !good;
}

int kernel_sentinels(const struct kernels *k, const struct kernel_case *c, char *why) {
    struct run first, r;
    struct how how = PLAIN;
    uint32_t grads = 0;
    for (int i = 0; i < c->count; i++)
        if (c->buf[i].role == ROLE_GRAD && c->buf[i].n) grads |= 1u << i;
    run_kernels(k, c, &first, how);
    int good = !kernel_repeats(k, c, why);
    for (int beta = 0; good && beta < (grads ? 2 : 1); beta++) { /* no alignment but that of the type */
        how = PLAIN;
        how.shift = 1;
        how.beta = beta;
        run_kernels(k, c, &r, how);
        good = guards_hold(c, &r, 1, why);
        free_run(&r);
    }
    for (uint32_t j = 0; good && c->aliases && j < (1u << c->aliases); j++) {
        how = PLAIN;
        how.aliases = j;
        if (j == 0 || ((j & (j - 1)) && !c->alias_all)) continue;
        run_kernels(k, c, &r, how);
        good = same_bits(c, &first, &r, "%s differs when an output is the memory of an input", why);
        free_run(&r);
    }
    if (good && (grads & (grads - 1))) { /* each gradient alone, and all but one */
        void *ref[CASE_BUFFERS];
        run_reference(c, ref, 0);
        for (int i = 0; good && i < 2 * c->count; i++)
            if (grads >> i / 2 & 1) {
                how = PLAIN;
                how.wanted = i % 2 ? 1u << i / 2 : grads & ~(1u << i / 2);
                run_kernels(k, c, &r, how);
                good = guards_hold(c, &r, 0, why) && !compare(c, &r, ref, how.wanted, "some gradients not wanted", why);
                free_run(&r);
            }
        free_all(c, ref);
    }
    free_run(&first);
    return !(good && (c->flop > 4e6 || nan_passes(k, c, why)));
}

/* ---- time --------------------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call: the median of at least five runs that last `at_least` seconds together. */
double kernel_seconds(const struct kernels *k, const struct kernel_case *c, double at_least) {
    struct run r;
    double times[200], begin = 0;
    int n = 0;
    prepare_run(k, c, &r, PLAIN);
    c->slot->call(k, r.argument, 0, c);
    k->sync();
    for (begin = now(); n < 200 && (n < 5 || now() - begin < at_least); n++) {
        double t = now();
        c->slot->call(k, r.argument, 0, c);
        k->sync();
        times[n] = now() - t;
    }
    release_run(k, &r);
    free_run(&r);
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && times[j] < times[j - 1]; j--) {
            double t = times[j];
            times[j] = times[j - 1];
            times[j - 1] = t;
        }
    return times[n / 2];
}
