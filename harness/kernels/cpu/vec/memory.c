/* memory.c - the compressive memory of Infini-attention (read, write, and their gradient through the segments) and the gate that
 * mixes it with local attention.
 *
 * One thread owns a (batch row, key/value head) for the whole scan; what is summed is summed in a fixed order, so the bits do not
 * depend on the number of threads. Tokens go in runs of ROWS that stay near; a memory of E x F up to
 * CPU_SCRATCH / 2 fits (E rounded up to vectors). The products are too small for BLAS to be quick (see tile.h). Gradients of gamma:
 * none, it is a constant.
 *
 * A memory whose z is 0 everywhere is empty: its read is exactly 0 and has no gradient, as at a document start. */
#include "../../../faults.h"
#include "../cpu.h"
#include "tile.h"
#include "vmath.h"
#include <string.h>

#define ROWS 64

/* f [rows,e] = ELU(x) + 1. */
static void features(real *restrict f, const real *x, int64_t ld, int64_t rows, int64_t e) {
    for (int64_t r = 0; r < rows; r++) { /* rows lie apart by all heads: the prefetcher does not follow */
        if (r + 16 < rows) row_soon(x + (r + 16) * ld, e);
#pragma omp simd
        for (int64_t i = 0; i < e; i++) f[r * e + i] = v_elu1(x[r * ld + i]);
    }
}

/* inverse[r] = 1/(f_r . z + eps) */
static void normalisers(real *inverse, const real *f, const real *z, double eps, int64_t rows, int64_t e) {
    for (int64_t r = 0; r < rows; r++) inverse[r] = 1 / (tile_dot(f + r * e, z, e) + (real)eps);
}

static void scale_rows(real *x, int64_t ld, const real *factor, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++) x[r * ld + i] *= factor[r];
}

static int all_zero(const real *x, int64_t n) {
    int other = 0;
    for (int64_t i = 0; i < n; i++) other |= !(x[i] == 0);
    return !other;
}

/* gamma_t = clip(1 - f.z/|f|^2, 0, 1); NaN stays NaN. f == 0 adds nothing to z whatever gamma is. */
static real gamma_of(const real *f, const real *z, int64_t e) {
    real norm = tile_dot(f, f, e), g = norm == 0 ? 1 : 1 - tile_dot(f, z, e) / norm;
    return g < 0 ? 0 : g > 1 ? 1 : g;
}

/* v - read(f(k)) of a run of tokens, [rows,f]; M NULL: v itself. */
static void deviations(real *restrict d, const real *v, int64_t ldv, const real *fk, const real *inverse, const real *M,
                       int64_t rows, int64_t e, int64_t f) {
    if (M) tile_nn(d, f, fk, e, M, f, rows, f, e, 0);
    for (int64_t r = 0; r < rows; r++)
        if (M) {
#pragma omp simd
            for (int64_t j = 0; j < f; j++) d[r * f + j] = v[r * ldv + j] - d[r * f + j] * inverse[r];
        } else
            memcpy(d + r * f, v + r * ldv, (size_t)f * sizeof *d);
}

/* Where (b, g) finds its things. */
struct place {
    const struct memory_shape *a;
    int64_t b, g, ldk, ldv, ldq, ldo;
};

static struct place place_of(const struct memory_shape *a, int64_t task) {
    return (struct place){
        a, task / a->kv_heads, task % a->kv_heads, a->kv_heads * a->e, a->kv_heads * a->f, a->heads * a->e, a->heads * a->f};
}

/* What the queries of segment s read of M, z; M NULL: nothing is there, zeros. */
static void read_segment(const struct place *p, real *out, const real *q, const real *M, const real *z, int64_t s) {
    const struct memory_shape *a = p->a;
    int64_t N = a->n, T = a->segments * N, H = a->heads, E = a->e, F = a->f, group = H / a->kv_heads;
    real *fx = cpu_scratch(), inverse[ROWS];
    for (int64_t t = s * N; t < (s + 1) * N; t += ROWS)
        for (int64_t h = p->g * group; h < (p->g + 1) * group; h++) {
            int64_t rows = min64(ROWS, (s + 1) * N - t), at = (p->b * T + t) * H + h;
            real *o = out + at * F;
            if (!M) {
                for (int64_t r = 0; r < rows; r++) memset(o + r * p->ldo, 0, (size_t)F * sizeof *o);
                continue;
            }
            features(fx, q + at * E, p->ldq, rows, E);
            normalisers(inverse, fx, z, a->eps, rows, E);
            tile_nn(o, p->ldo, fx, E, M, F, rows, F, E, 0);
            scale_rows(o, p->ldo, inverse, rows, F);
        }
}

static void scan_fwd(const struct place *p, real *out, real *m, real *z, real *gamma_mean, const real *q, const real *k,
                     const real *v, const int32_t *since, const int32_t *len) {
    const struct memory_shape *a = p->a;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, G = a->kv_heads, E = a->e, F = a->f;
    real *fx = cpu_scratch(), *dev = fx + ROWS * E, inverse[ROWS];
    for (int64_t s = 0; s < S; s++) {
        int64_t from = (s * B + p->b) * G + p->g, to = ((s + 1) * B + p->b) * G + p->g;
        real *next = m + to * E * F, *znext = z + to * E;
        const real *zs = z + from * E;
        int empty = since[p->b * S + s] == 0 || all_zero(zs, E);
        const real *M = empty ? NULL : m + from * E * F, *Mr = a->update == MEMORY_LINEAR ? NULL : M;
        if (!FAULT(read_after_write)) read_segment(p, out, q, M, zs, s);
        if (M)
            memcpy(next, M, (size_t)(E * F) * sizeof *next);
        else
            memset(next, 0, (size_t)(E * F) * sizeof *next);
        if (M)
            memcpy(znext, zs, (size_t)E * sizeof *znext);
        else
            memset(znext, 0, (size_t)E * sizeof *znext);
        int written = len[p->b * S + s] >= N;
        double gammas = 0;
        for (int64_t t = s * N; written && t < (s + 1) * N; t += ROWS) {
            int64_t rows = min64(ROWS, (s + 1) * N - t), at = (p->b * T + t) * G + p->g;
            const real *value = v + at * F;
            int64_t ldv = p->ldv;
            features(fx, k + at * E, p->ldk, rows, E);
            if (Mr) {
                normalisers(inverse, fx, zs, a->eps, rows, E);
                for (int64_t r = 0; r < rows && FAULT(delta_sign); r++) inverse[r] = -inverse[r];
                deviations(dev, value, ldv, fx, inverse, Mr, rows, E, F);
                value = dev;
                ldv = F;
            }
            tile_tn(next, F, fx, E, value, ldv, E, F, rows, 1);
            for (int64_t r = 0; r < rows; r++) {
                real gamma = a->update == MEMORY_DELTA_GAMMA && M ? gamma_of(fx + r * E, zs, E) : 1;
                gammas += gamma;
#pragma omp simd
                for (int64_t i = 0; i < E; i++) znext[i] += gamma * fx[r * E + i];
            }
        }
        if (FAULT(read_after_write)) read_segment(p, out, q, next, znext, s);
        if (gamma_mean) gamma_mean[(p->b * S + s) * G + p->g] = (real)(gammas / (double)N);
    }
}

static void memory_fwd(real *out, real *m, real *z, real *gamma_mean, const real *q, const real *k, const real *v,
                       const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    int64_t tasks = a->batch * a->kv_heads;
    scratch_holds(ROWS * (a->e + a->f), CPU_SCRATCH, "memory_fwd");
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        struct place p = place_of(a, task);
        scan_fwd(&p, out, m, z, gamma_mean, q, k, v, since, len);
    }
}

/* Backward of y = f M / n, n = f.z + eps: df [rows,e] = (dy M^T - (f . dy M^T)/n z) / n and dm += f^T (dy/n), dz -= f^T w with
 * w = (f . dy M^T)/n^2 = (dy.y)/n. dy [rows,f] is scaled by 1/n in place; mt is M^T [f,e] at stride ldt. */
static void read_bwd(real *restrict df, real *restrict dy, const real *f, const real *mt, int64_t ldt, const real *z, real *dm,
                     real *restrict dz, double eps, int64_t rows, int64_t e, int64_t width) {
    real inverse[ROWS];
    normalisers(inverse, f, z, eps, rows, e);
    scale_rows(dy, width, inverse, rows, width);
    tile_nn(df, e, dy, width, mt, ldt, rows, e, width, 0);
    tile_tn(dm, width, f, e, dy, width, e, width, rows, 1);
    for (int64_t r = 0; r < rows; r++) {
        const real *fr = f + r * e;
        real w = tile_dot(fr, df + r * e, e) * inverse[r];
#pragma omp simd
        for (int64_t i = 0; i < e; i++) {
            df[r * e + i] -= w * z[i];
            dz[i] -= w * fr[i];
        }
    }
}

/* Puts df f'(x) of a run into the gradient of x; f' = min(f, 1), written so that NaN stays. df NULL: zeros. */
static void put_rows(struct gout g, int64_t at, int64_t ld, const real *df, const real *f, int64_t rows, int64_t e) {
    if (!g.p || (!df && g.beta)) return;
    for (int64_t r = 0; r < rows; r++) {
        real *to = g.p + at + r * ld;
        if (!df)
            memset(to, 0, (size_t)e * sizeof *to);
        else if (g.beta)
#pragma omp simd
            for (int64_t i = 0; i < e; i++) to[i] += df[r * e + i] * (f[r * e + i] > 1 ? 1 : f[r * e + i]);
        else
#pragma omp simd
            for (int64_t i = 0; i < e; i++) to[i] = df[r * e + i] * (f[r * e + i] > 1 ? 1 : f[r * e + i]);
    }
}

/* tmp of one owner: the gradient of the segment's end, then runs of f, df, another df, dy and dev; M^T and the transposed gradient
 * of the end are in scratch. */
static void scan_bwd(const struct place *p, struct gout dq, struct gout dk, struct gout dv, real *dm, real *dz, const real *dout,
                     const real *m, const real *z, const real *q, const real *k, const real *v, const int32_t *since,
                     const int32_t *len, real *tmp) {
    const struct memory_shape *a = p->a;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f, group = H / G;
    int64_t run = min64(ROWS, N), ldt = lanes_up(E);
    real *end = tmp, *zend = end + E * F, *fx = zend + E, *df = fx + run * E, *dr = df + run * E, *dy = dr + run * E;
    real *dev = dy + run * F, *mt = cpu_scratch(), *endt = mt + F * ldt, inverse[ROWS];
    for (int64_t s = S - 1; s >= 0; s--) {
        int64_t from = (s * B + p->b) * G + p->g;
        const real *zs = z + from * E;
        int reset = since[p->b * S + s] == 0, empty = reset || all_zero(zs, E), written = len[p->b * S + s] >= N;
        const real *M = empty ? NULL : m + from * E * F, *Mr = a->update == MEMORY_LINEAR ? NULL : M;
        if (M) tile_transpose(mt, ldt, M, F, E, F, 1);
        if (written) {
            memcpy(end, dm, (size_t)(E * F) * sizeof *end);
            memcpy(zend, dz, (size_t)E * sizeof *zend);
            tile_transpose(endt, ldt, end, F, E, F, 1);
        }
        for (int64_t t = s * N; t < (s + 1) * N; t += ROWS) {
            int64_t rows = min64(ROWS, (s + 1) * N - t);
            for (int64_t h = p->g * group; h < (p->g + 1) * group; h++) {
                int64_t at = (p->b * T + t) * H + h;
                if (M) {
                    features(fx, q + at * E, p->ldq, rows, E);
                    for (int64_t r = 0; r < rows; r++) memcpy(dy + r * F, dout + at * F + r * p->ldo, (size_t)F * sizeof *dy);
                    read_bwd(df, dy, fx, mt, ldt, zs, dm, dz, a->eps, rows, E, F);
                }
                put_rows(dq, at * E, p->ldq, M ? df : NULL, fx, rows, E);
            }
            int64_t at = (p->b * T + t) * G + p->g;
            if (!written) {
                put_rows(dk, at * E, p->ldk, NULL, NULL, rows, E);
                put_rows(dv, at * F, p->ldv, NULL, NULL, rows, F);
                continue;
            }
            /* m' = M + f(k)^T dev, dev = v - read: dv = f(k) dm', df = dev dm'^T + gamma dz' + read's share for dy = -dv */
            features(fx, k + at * E, p->ldk, rows, E);
            if (Mr) normalisers(inverse, fx, zs, a->eps, rows, E);
            deviations(dev, v + at * F, p->ldv, fx, inverse, Mr, rows, E, F);
            tile_nn(dy, F, fx, E, end, F, rows, F, E, 0);
            if (dv.p)
                for (int64_t r = 0; r < rows; r++) {
                    real *to = dv.p + at * F + r * p->ldv;
#pragma omp simd
                    for (int64_t j = 0; j < F; j++) to[j] = dv.beta ? to[j] + dy[r * F + j] : dy[r * F + j];
                }
            if (Mr) {
                for (int64_t i = 0; i < rows * F; i++) dy[i] = -dy[i];
                read_bwd(dr, dy, fx, mt, ldt, zs, dm, dz, a->eps, rows, E, F);
            }
            if (!dk.p) continue;
            tile_nn(df, E, dev, F, endt, ldt, rows, E, F, 0);
            for (int64_t r = 0; r < rows; r++) {
                real gamma = a->update == MEMORY_DELTA_GAMMA && M ? gamma_of(fx + r * E, zs, E) : 1;
#pragma omp simd
                for (int64_t i = 0; i < E; i++) df[r * E + i] += gamma * zend[i] + (Mr ? dr[r * E + i] : 0);
            }
            put_rows(dk, at * E, p->ldk, df, fx, rows, E);
        }
        if (reset) {
            memset(dm, 0, (size_t)(E * F) * sizeof *dm);
            memset(dz, 0, (size_t)E * sizeof *dz);
        }
    }
}

static void memory_bwd(struct gout dq, struct gout dk, struct gout dv, real *dm, real *dz, const real *dout, const real *m,
                       const real *z, const real *q, const real *k, const real *v, const int32_t *since, const int32_t *len,
                       real *tmp, const struct memory_shape *a) {
    int64_t tasks = a->batch * a->kv_heads, E = a->e, F = a->f, room = memory_tmp(a) / (tasks > 0 ? tasks : 1);
    scratch_holds(2 * F * lanes_up(E), CPU_SCRATCH, "memory_bwd");
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        struct place p = place_of(a, task);
        scan_bwd(&p, dq, dk, dv, dm + task * E * F, dz + task * E, dout, m, z, q, k, v, since, len, tmp + task * room);
    }
}

/* The gate in every mode is out = g mem + l local; whether mem is read at all is told apart from g = 0, which would make NaN of
 * Inf. */
struct gate {
    real g, l, slope; /* slope: of g by beta */
    int reads;
};

static struct gate gate_of(real beta, int mode, int first, int knocked) {
    if (knocked == KNOCK_OFF || (knocked == KNOCK_NONE && mode == MIX_BYPASS && first)) return (struct gate){0, 1, 0, 0};
    real g = 1 / (1 + expf(-beta));
    return (struct gate){g, 1 - g, g * (1 - g), knocked == KNOCK_NONE};
}

#define GATES 16 /* heads whose gates are at hand while rows go by */

static void mix_fwd(real *out, const real *mem, const real *local, const real *beta, const int32_t *since, const int32_t *knocked,
                    int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads, int64_t e) {
    int64_t width = heads * e;
#pragma omp parallel for schedule(static) if (batch * segments * n * width > 32768)
    for (int64_t segment = 0; segment < batch * segments; segment++)
        for (int64_t h0 = 0; h0 < heads; h0 += GATES) {
            int64_t h1 = min64(h0 + GATES, heads);
            struct gate gates[GATES];
            for (int64_t h = h0; h < h1; h++)
                gates[h - h0] = gate_of(beta[h], mode, since[segment] == 0, knocked ? knocked[h] : KNOCK_NONE);
            for (int64_t t = segment * n; t < (segment + 1) * n; t++)
                for (int64_t h = h0; h < h1; h++) {
                    struct gate x = gates[h - h0];
                    int64_t at = t * width + h * e;
                    if (x.reads)
#pragma omp simd
                        for (int64_t i = at; i < at + e; i++) out[i] = x.g * mem[i] + x.l * local[i];
                    else
#pragma omp simd
                        for (int64_t i = at; i < at + e; i++) out[i] = x.l * local[i];
                }
        }
}

/* One row of one head: returns the sum of dout (mem - local). d may be the memory of dmem or dlocal, so both are made from one
 * vector of d before the next is read. */
static real mix_row_bwd(struct gout dmem, struct gout dlocal, const real *d, const real *mem, const real *local,
                        const struct gate *x, int64_t at, int64_t e) {
    vf sums = {0};
    real sum = 0, g = x->reads ? x->g : 0;
    int64_t i = at;
    for (; i + LANES <= at + e; i += LANES) {
        vf di = vf_load(d + i), zero = {0}, a = di * g, b = di * x->l;
        if (!x->reads) a = zero; /* not 0 times Inf */
        if (x->reads) sums += di * (vf_load(mem + i) - vf_load(local + i));
        if (dmem.p) vf_store(dmem.p + i, dmem.beta ? vf_load(dmem.p + i) + a : a);
        if (dlocal.p) vf_store(dlocal.p + i, dlocal.beta ? vf_load(dlocal.p + i) + b : b);
    }
    for (; i < at + e; i++) {
        real di = d[i], a = x->reads ? di * g : 0, b = di * x->l;
        if (x->reads) sum += di * (mem[i] - local[i]);
        if (dmem.p) dmem.p[i] = dmem.beta ? dmem.p[i] + a : a;
        if (dlocal.p) dlocal.p[i] = dlocal.beta ? dlocal.p[i] + b : b;
    }
    for (int j = 0; j < LANES; j++) sum += sums[j];
    return sum;
}

static void mix_bwd(struct gout dmem, struct gout dlocal, struct gout dbeta, const real *dout, const real *mem, const real *local,
                    const real *beta, const int32_t *since, int mode, real *tmp, int64_t batch, int64_t segments, int64_t n,
                    int64_t heads, int64_t e) {
    int64_t rows = batch * segments * n, width = heads * e, run = (rows + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS;
#pragma omp parallel for schedule(static) if (rows * width > 32768)
    for (int64_t part = 0; part < KERNEL_PARTIALS; part++)
        for (int64_t h0 = 0; h0 < heads; h0 += GATES) {
            int64_t h1 = min64(h0 + GATES, heads), last = -1;
            struct gate gates[GATES];
            double sums[GATES] = {0};
            for (int64_t t = min64(part * run, rows); t < min64((part + 1) * run, rows); t++) {
                if (t / n != last) { /* another segment */
                    last = t / n;
                    for (int64_t h = h0; h < h1; h++) gates[h - h0] = gate_of(beta[h], mode, since[last] == 0, KNOCK_NONE);
                }
                for (int64_t h = h0; h < h1; h++) {
                    real sum = mix_row_bwd(dmem, dlocal, dout, mem, local, &gates[h - h0], t * width + h * e, e);
                    if (gates[h - h0].reads) sums[h - h0] += (double)gates[h - h0].slope * (double)sum;
                }
            }
            for (int64_t h = h0; h < h1; h++) tmp[part * heads + h] = (real)sums[h - h0];
        }
    for (int64_t h = 0; dbeta.p && h < heads; h++) {
        double sum = 0;
        for (int64_t part = 0; part < KERNEL_PARTIALS; part++) sum += (double)tmp[part * heads + h];
        dbeta.p[h] = dbeta.beta ? dbeta.p[h] + (real)sum : (real)sum;
    }
}

void ISA_FN(cpu_memory)(struct kernels *k) {
    k->memory_fwd = memory_fwd;
    k->memory_bwd = memory_bwd;
    k->mix_fwd = mix_fwd;
    k->mix_bwd = mix_bwd;
}
