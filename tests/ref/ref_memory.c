/* ref_memory.c - the compressive memory of Infini-attention, token by token, and the gate that mixes it in. */
#include "ref_private.h"

struct ref_gamma ref_gamma;

static double sigma(double x) { return x > 0 ? x + 1 : exp(x); }

static double sigma_slope(double x) { return x > 0 ? 1 : exp(x); }

static int is_empty(const double *z, int64_t e) {
    for (int64_t i = 0; i < e; i++)
        if (!(z[i] == 0)) return 0;
    return 1;
}

/* y[j] = sum_i f(x)_i M[i,j] / (sum_i f(x)_i z_i + eps); 0 from an empty memory (M == NULL) */
static void memory_read(double *y, const double *x, const double *M, const double *z, double eps, int64_t e, int64_t f) {
    double den = eps;
    for (int64_t i = 0; M && i < e; i++) den += sigma(x[i]) * z[i];
    for (int64_t j = 0; j < f; j++) {
        double num = 0;
        for (int64_t i = 0; M && i < e; i++) num += sigma(x[i]) * M[i * f + j];
        y[j] = M ? num / den : 0;
    }
}

/* With n = f.z + eps, w = (dy.y)/n: df = dy M^T / n - w z; dM += f^T dy / n; dz -= f w. Adds to dx, dM, dz. */
static void memory_read_bwd(double *dx, double *dM, double *dz, const double *dy, const double *x, const double *M, const double *z,
                            double eps, int64_t e, int64_t f) {
    if (!M) return;
    double den = eps, w = 0;
    for (int64_t i = 0; i < e; i++) den += sigma(x[i]) * z[i];
    for (int64_t j = 0; j < f; j++) {
        double y = 0;
        for (int64_t i = 0; i < e; i++) y += sigma(x[i]) * M[i * f + j] / den;
        w += dy[j] * y / den;
    }
    for (int64_t i = 0; i < e; i++) {
        double df = -w * z[i];
        for (int64_t j = 0; j < f; j++) {
            df += dy[j] * M[i * f + j] / den;
            dM[i * f + j] += sigma(x[i]) * dy[j] / den;
        }
        dz[i] -= sigma(x[i]) * w;
        dx[i] += df * sigma_slope(x[i]);
    }
}

static double gamma_of(const struct memory_shape *a, const double *k, const double *z) {
    if (a->update != MEMORY_DELTA_GAMMA) return 1;
    double dot = 0, norm = 0;
    for (int64_t i = 0; z && i < a->e; i++) {
        dot += sigma(k[i]) * z[i];
        norm += sigma(k[i]) * sigma(k[i]);
    }
    double gamma = z ? 1 - dot / norm : 1;
    if (gamma < 0) return 0;
    return gamma > 1 ? 1 : gamma;
}

/* The memory that segment s of (b, g) starts with: NULL where it is empty. */
static const double *start_of(const double *m, const double *z, const int32_t *since, const struct memory_shape *a, int64_t b,
                              int64_t s, int64_t g, const double **zs) {
    int64_t at = (s * a->batch + b) * a->kv_heads + g;
    int reset = since[b * a->segments + s] == 0 || is_empty(z + at * a->e, a->e);
    *zs = reset ? NULL : z + at * a->e;
    return reset ? NULL : m + at * a->e * a->f;
}

static void memory_fwd(double *out, double *m, double *z, double *gamma_mean, const double *q, const double *k, const double *v,
                       const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
    double *r = calloc((size_t)(F ? F : 1), sizeof *r);
    for (int64_t b = 0; b < B; b++)
        for (int64_t s = 0; s < S; s++) {
            for (int64_t h = 0; h < H; h++) {
                const double *zs, *M = start_of(m, z, since, a, b, s, h / (H / G), &zs);
                for (int64_t t = s * N; t < (s + 1) * N; t++)
                    memory_read(out + ((b * T + t) * H + h) * F, q + ((b * T + t) * H + h) * E, M, zs, a->eps, E, F);
            }
            for (int64_t g = 0; g < G; g++) {
                const double *zs, *M = start_of(m, z, since, a, b, s, g, &zs);
                double *next = m + (((s + 1) * B + b) * G + g) * E * F, *znext = z + (((s + 1) * B + b) * G + g) * E, mean = 0;
                for (int64_t i = 0; i < E * F; i++) next[i] = M ? M[i] : 0;
                for (int64_t i = 0; i < E; i++) znext[i] = zs ? zs[i] : 0;
                for (int64_t t = s * N; t < (s + 1) * N && !(len[b * S + s] < N); t++) {
                    const double *key = k + ((b * T + t) * G + g) * E, *value = v + ((b * T + t) * G + g) * F;
                    double gamma = gamma_of(a, key, zs);
                    if (ref_gamma.mode == REF_GAMMA_RECORD) ref_gamma.values[(b * G + g) * T + t] = gamma;
                    if (ref_gamma.mode == REF_GAMMA_REPLAY) gamma = ref_gamma.values[(b * G + g) * T + t];
                    mean += gamma / (double)N;
                    memory_read(r, key, a->update == MEMORY_LINEAR ? NULL : M, zs, a->eps, E, F);
                    for (int64_t i = 0; i < E; i++) {
                        znext[i] += gamma * sigma(key[i]);
                        for (int64_t j = 0; j < F; j++) next[i * F + j] += sigma(key[i]) * (value[j] - r[j]);
                    }
                }
                if (gamma_mean) gamma_mean[(b * S + s) * G + g] = mean;
            }
        }
    free(r);
}

static void memory_bwd(struct gout_f64 dq, struct gout_f64 dk, struct gout_f64 dv, double *dm, double *dz, const double *dout,
                       const double *m, const double *z, const double *q, const double *k, const double *v, const int32_t *since,
                       const int32_t *len, double *tmp, const struct memory_shape *a) {
    (void)tmp;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
    size_t room = (size_t)(E * F + 2 * E + 2 * F + 1);
    double *dM = calloc(room, sizeof *dM), *dZ = dM + E * F, *dx = dZ + E, *r = dx + E, *de = r + F;
    for (int64_t b = 0; b < B; b++)
        for (int64_t g = 0; g < G; g++)
            for (int64_t s = S - 1; s >= 0; s--) {
                const double *zs, *M = start_of(m, z, since, a, b, s, g, &zs);
                double *up = dm + (b * G + g) * E * F, *zup = dz + (b * G + g) * E;
                int written = !(len[b * S + s] < N);
                for (int64_t i = 0; i < E * F; i++) dM[i] = up[i];
                for (int64_t i = 0; i < E; i++) dZ[i] = zup[i];
                for (int64_t t = s * N; t < (s + 1) * N; t++) {
                    const double *key = k + ((b * T + t) * G + g) * E, *value = v + ((b * T + t) * G + g) * F;
                    for (int64_t h = g * (H / G); h < (g + 1) * (H / G); h++) {
                        const double *dy = dout + ((b * T + t) * H + h) * F, *query = q + ((b * T + t) * H + h) * E;
                        for (int64_t i = 0; i < E; i++) dx[i] = 0;
                        memory_read_bwd(dx, dM, dZ, dy, query, M, zs, a->eps, E, F);
                        for (int64_t i = 0; i < E; i++) ref_put(dq, ((b * T + t) * H + h) * E + i, dx[i]);
                    }
                    /* m' = M + f(k)^T (v - r), z' = z + gamma f(k) */
                    const double *Mr = a->update == MEMORY_LINEAR ? NULL : M;
                    double gamma = gamma_of(a, key, zs);
                    memory_read(r, key, Mr, zs, a->eps, E, F);
                    for (int64_t j = 0; j < F; j++) {
                        double dv_j = 0;
                        for (int64_t i = 0; written && i < E; i++) dv_j += sigma(key[i]) * up[i * F + j];
                        ref_put(dv, ((b * T + t) * G + g) * F + j, dv_j);
                        de[j] = -dv_j;
                    }
                    for (int64_t i = 0; i < E; i++) {
                        double df = written ? gamma * zup[i] : 0;
                        for (int64_t j = 0; written && j < F; j++) df += (value[j] - r[j]) * up[i * F + j];
                        dx[i] = written ? df * sigma_slope(key[i]) : 0; /* what is not written has no effect at all */
                    }
                    if (written) memory_read_bwd(dx, dM, dZ, de, key, Mr, zs, a->eps, E, F);
                    for (int64_t i = 0; i < E; i++) ref_put(dk, ((b * T + t) * G + g) * E + i, dx[i]);
                }
                int reset = since[b * S + s] == 0;
                for (int64_t i = 0; i < E * F; i++) up[i] = reset ? 0 : dM[i];
                for (int64_t i = 0; i < E; i++) zup[i] = reset ? 0 : dZ[i];
            }
    free(dM);
}

static double gate_of(double beta) { return 1 / (1 + exp(-beta)); }

static void mix_fwd(double *out, const double *mem, const double *local, const double *beta, const int32_t *since,
                    const int32_t *knocked, int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads, int64_t e) {
    for (int64_t row = 0; row < batch * segments * n; row++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < e; i++) {
                int64_t at = (row * heads + h) * e + i;
                int way = knocked ? knocked[h] : KNOCK_NONE;
                double g = gate_of(beta[h]);
                if (way == KNOCK_OFF || (way == KNOCK_NONE && mode == MIX_BYPASS && since[row / n] == 0))
                    out[at] = local[at];
                else if (way == KNOCK_ZERO)
                    out[at] = (1 - g) * local[at];
                else
                    out[at] = g * mem[at] + (1 - g) * local[at];
            }
}

static void mix_bwd(struct gout_f64 dmem, struct gout_f64 dlocal, struct gout_f64 dbeta, const double *dout, const double *mem,
                    const double *local, const double *beta, const int32_t *since, int mode, double *tmp, int64_t batch,
                    int64_t segments, int64_t n, int64_t heads, int64_t e) {
    (void)tmp;
    ref_start(dbeta, heads);
    for (int64_t row = 0; row < batch * segments * n; row++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < e; i++) {
                int64_t at = (row * heads + h) * e + i;
                int passed = mode == MIX_BYPASS && since[row / n] == 0;
                double g = gate_of(beta[h]), d = dout[at];
                ref_put(dmem, at, passed ? 0 : g * d);
                ref_put(dlocal, at, passed ? d : (1 - g) * d);
                ref_sum(dbeta, h, passed ? 0 : g * (1 - g) * (mem[at] - local[at]) * d);
            }
}

void ref_memory(struct kernels_f64 *k) {
    k->memory_fwd = memory_fwd;
    k->memory_bwd = memory_bwd;
    k->mix_fwd = mix_fwd;
    k->mix_bwd = mix_bwd;
}
