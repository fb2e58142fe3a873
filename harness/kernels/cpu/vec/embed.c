/* embed.c - rows of the embedding table, rotary positions. Ids and positions are not checked here: who reads them from a file does.
 */
#include "loops.h"
#include <math.h>
#include <string.h>

static void embed_fwd(real *out, const real *table, const int32_t *ids, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) memcpy(out + r * width, table + ids[r] * width, (size_t)width * sizeof *out);
}

/* Columns a thread owns at a time: one cache line. */
#define COLUMNS 16

/* The threads share the columns, and each goes through all rows in order: no two threads write one element, and the order of the
 * additions is that of the rows whatever the number of threads. */
static void embed_bwd(struct gout dtable, const real *dout, const int32_t *ids, int64_t rows, int64_t vocab, int64_t width) {
    if (!dtable.p) return;
    int64_t lines = (width + COLUMNS - 1) / COLUMNS, parts = cpu_threads();
    if (parts > lines) parts = lines;
#pragma omp parallel for schedule(static, 1) if ((rows + vocab) * width >= PARALLEL_MIN)
    for (int64_t t = 0; t < parts; t++) {
        int64_t lo = lines * t / parts * COLUMNS, hi = lines * (t + 1) / parts * COLUMNS;
        if (hi > width) hi = width;
        if (!dtable.beta)
            for (int64_t v = 0; v < vocab; v++) memset(dtable.p + v * width + lo, 0, (size_t)(hi - lo) * sizeof(real));
        for (int64_t r = 0; r < rows; r++) {
            const real *d = dout + r * width;
            STORE_EACH(dtable.p + ids[r] * width, 1, lo, hi, d[i]);
        }
    }
}

/* Frequencies that are kept on the stack at a time. */
#define FREQUENCIES 64

static void rope_table(real *cs, const int32_t *pos, double base, int64_t rows, int64_t e) {
    int64_t half = e / 2;
    for (int64_t lo = 0; lo < half; lo += FREQUENCIES) {
        double w[FREQUENCIES];
        int64_t count = half - lo < FREQUENCIES ? half - lo : FREQUENCIES;
        for (int64_t i = 0; i < count; i++) w[i] = pow(base, -2.0 * (double)(lo + i) / (double)e);
#pragma omp parallel for schedule(static) if (rows * count >= PARALLEL_MIN / 16)
        for (int64_t r = 0; r < rows; r++) {
            real *c = cs + r * e + lo, *s = c + half;
            for (int64_t i = 0; i < count; i++) {
                double angle = (double)pos[r] * w[i];
                c[i] = (real)cos(angle);
                s[i] = (real)sin(angle);
            }
        }
    }
}

/* One head; sign +1 forward, -1 inverse. Both halves are read before either is written: out may be x. */
static void rotate(real *out, int beta, const real *x, const real *c, const real *s, real sign, int64_t half) {
    if (beta) {
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            real a = x[i], b = x[half + i], si = sign * s[i];
            out[i] += a * c[i] - b * si;
            out[half + i] += a * si + b * c[i];
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            real a = x[i], b = x[half + i], si = sign * s[i];
            out[i] = a * c[i] - b * si;
            out[half + i] = a * si + b * c[i];
        }
    }
}

static void rope(struct gout out, const real *x, const real *cs, int inverse, int64_t rows, int64_t heads, int64_t e) {
    if (!out.p) return;
#pragma omp parallel for schedule(static) if (rows * heads * e >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (r * heads + h) * e;
            rotate(out.p + at, out.beta, x + at, cs + r * e, cs + r * e + e / 2, inverse ? -1 : 1, e / 2);
        }
}

void ISA_FN(cpu_embed)(struct kernels *k) {
    k->embed_fwd = embed_fwd;
    k->embed_bwd = embed_bwd;
    k->rope_table = rope_table;
    k->rope = rope;
}
