/* optim.c - the norm of the gradient, clipping, AdamW, Adafactor.
 *
 * Rates, bias corrections and the clip factor come from the hyper vector; schedules are made above. Sums over many elements go by
 * KERNEL_PARTIALS runs in order: the same bits at any thread count. */
#include "loops.h"
#include <math.h>
#include <string.h>

static double add_runs(const double *partial) {
    double all = 0;
    for (int run = 0; run < KERNEL_PARTIALS; run++) all += partial[run];
    return all;
}

static void sumsq(real *out, const real *x, double *tmp, int64_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = run_start(n, run); i < run_start(n, run + 1); i++) sum += (double)x[i] * (double)x[i];
        tmp[run] = sum;
    }
    *out = (real)add_runs(tmp);
}

/* NaN stays NaN, also where nothing is clipped. */
static void clip(real *hyper, const real *sum, double max_norm) {
    double s = (double)*sum;
    hyper[HYPER_CLIP] = s != s ? *sum : max_norm <= 0 || s <= max_norm * max_norm ? 1 : (real)(max_norm / sqrt(s));
}

static void adamw(real *p, real *m, real *v, const real *g, const real *hyper, double rate, double decay, double b1, double b2,
                  double eps, int64_t n) {
    real factor = hyper[HYPER_CLIP], lr = (real)(hyper[HYPER_LR] * rate), keep1 = (real)b1, keep2 = (real)b2;
    real new1 = (real)(1 - b1), new2 = (real)(1 - b2), c1 = 1 / hyper[HYPER_C1], c2 = 1 / hyper[HYPER_C2];
    real tiny = (real)eps, shrink = (real)decay;
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) {
        real d = factor * g[i];
        real mi = keep1 * m[i] + new1 * d, vi = keep2 * v[i] + new2 * (d * d);
        m[i] = mi;
        v[i] = vi;
        p[i] -= lr * (mi * c1 / (sqrtf(vi * c2) + tiny) + shrink * p[i]);
    }
}

/* What a thread does in the last two passes of Adafactor is one of these: whole rows of the matrix, or a stretch of the only row.
 */
struct stretch {
    int64_t row, last_row, from, to; /* rows row .. last_row-1, columns from .. to-1 */
};

static struct stretch stretch_of(int64_t run, int64_t rows, int64_t cols) {
    struct stretch s = {0, 1, run_start(cols, run), run_start(cols, run + 1)};
    if (rows > 1) s = (struct stretch){run_start(rows, run), run_start(rows, run + 1), 0, cols};
    return s;
}

/* r, c: the decaying means of g'^2 + eps1 by row and by column; for a single row the whole second moment, in c. `work` holds
 * min(rows, KERNEL_PARTIALS) rows of column sums. */
static void adafactor_moments(real *r, real *c, const real *g, real factor, real keep, real eps1, real *work, int64_t rows,
                              int64_t cols) {
    real fresh = 1 - keep;
    if (rows == 1) {
#pragma omp parallel for simd schedule(static) if (parallel : cols >= PARALLEL_MIN)
        for (int64_t j = 0; j < cols; j++) c[j] = keep * c[j] + fresh * (factor * g[j] * (factor * g[j]) + eps1);
        return;
    }
    int64_t runs = rows < KERNEL_PARTIALS ? rows : KERNEL_PARTIALS;
#pragma omp parallel for schedule(static) if (rows * cols >= PARALLEL_MIN)
    for (int64_t run = 0; run < runs; run++) {
        real *sum = work + run * cols;
        memset(sum, 0, (size_t)cols * sizeof *sum);
        for (int64_t i = run_start(rows, run); i < run_start(rows, run + 1); i++) {
            const real *row = g + i * cols;
            real all = 0;
#pragma omp simd reduction(+ : all)
            for (int64_t j = 0; j < cols; j++) {
                real d = factor * row[j], square = d * d + eps1;
                sum[j] += square;
                all += square;
            }
            r[i] = keep * r[i] + fresh * (all / (real)cols);
        }
    }
    for (int64_t run = 1; run < runs; run++) STORE_EACH(work, 1, 0, cols, work[run * cols + i]);
    STORE_EACH(c, 0, 0, cols, keep * c[i] + fresh * (work[i] / (real)rows));
}

static void adafactor(real *p, real *r, real *c, const real *g, const real *hyper, double rate, double decay, double eps1,
                      double eps2, double clip_rms, int parameter_scale, real *tmp, int64_t rows, int64_t cols) {
    real *u = tmp, *ratio = tmp + rows * cols, *u_sums = ratio + rows, *p_sums = u_sums + KERNEL_PARTIALS;
    real factor = hyper[HYPER_CLIP];
    double lr = (double)hyper[HYPER_LR] * rate;
    adafactor_moments(r, c, g, factor, hyper[HYPER_ADAFACTOR_B2], (real)eps1, u, rows, cols);
    double mean = 0;
    for (int64_t i = 0; i < rows && rows > 1; i++) mean += (double)r[i];
    mean /= (double)rows;
    /* r / mean(r) first: r c would underflow where the gradient is 0 and both are eps1 */
    for (int64_t i = 0; i < rows; i++) ratio[i] = rows > 1 ? (real)((double)r[i] / mean) : 1;
#pragma omp parallel for schedule(static) if (rows * cols >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        struct stretch s = stretch_of(run, rows, cols);
        double u_sum = 0, p_sum = 0;
        for (int64_t i = s.row; i < s.last_row; i++) {
            const real *gr = g + i * cols, *pr = p + i * cols;
            real *ur = u + i * cols, share = ratio[i], u_row = 0, p_row = 0;
#pragma omp simd reduction(+ : u_row, p_row)
            for (int64_t j = s.from; j < s.to; j++) {
                real v = factor * gr[j] / sqrtf(share * c[j]);
                ur[j] = v;
                u_row += v * v;
                p_row += pr[j] * pr[j];
            }
            u_sum += (double)u_row;
            p_sum += (double)p_row;
        }
        u_sums[run] = (real)u_sum;
        p_sums[run] = (real)p_sum;
    }
    double u_all = 0, p_all = 0, count = (double)rows * (double)cols;
    for (int run = 0; run < KERNEL_PARTIALS; run++) {
        u_all += (double)u_sums[run];
        p_all += (double)p_sums[run];
    }
    /* written so that a NaN among the updates reaches the parameters */
    double u_rms = sqrt(u_all / count), p_rms = sqrt(p_all / count);
    double divisor = u_rms / clip_rms <= 1 ? 1 : u_rms / clip_rms, scale = p_rms <= eps2 ? eps2 : p_rms;
    real step = (real)(lr * (parameter_scale ? scale : 1) / divisor), shrink = (real)(lr * decay);
    int64_t n = rows * cols;
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) p[i] -= step * u[i] + shrink * p[i];
}

void ISA_FN(cpu_optim)(struct kernels *k) {
    k->sumsq = sumsq;
    k->clip = clip;
    k->adamw = adamw;
    k->adafactor = adafactor;
}
