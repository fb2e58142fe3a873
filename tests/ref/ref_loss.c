/* ref_loss.c - cross-entropy, dot, sampling, inspection. */
#include "ref_private.h"

static void xent_fwd(double *nll, double *lse, const double *logits, const int32_t *target, int64_t rows, int64_t vocab) {
    for (int64_t r = 0; r < rows; r++) {
        const double *x = logits + r * vocab;
        double max = x[0], sum = 0;
        for (int64_t v = 1; v < vocab; v++) max = !(x[v] <= max) ? x[v] : max;
        for (int64_t v = 0; v < vocab; v++) sum += exp(x[v] - max);
        lse[r] = max + log(sum);
        nll[r] = target[r] < 0 ? 0 : lse[r] - x[target[r]];
    }
}

static void xent_bwd(struct gout_f64 dlogits, const double *dnll, const double *logits, const double *lse, const int32_t *target,
                     int64_t rows, int64_t vocab) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t v = 0; v < vocab; v++) {
            double p = exp(logits[r * vocab + v] - lse[r]);
            ref_put(dlogits, r * vocab + v, target[r] < 0 ? 0 : dnll[r] * (p - (v == target[r])));
        }
}

static void dot(double *out, const double *a, const double *b, double *tmp, int64_t n) {
    (void)tmp;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    *out = sum;
}

/* Symbols are put in order of falling probability (ties: smaller id), cut where the mass reaches top_p, and the first one taken at
 * which the running mass exceeds u times the mass of what is left. */
static void sample(int32_t *id, const double *logits, const double *u, double temperature, double top_p, double *tmp,
                   int32_t *order, int64_t rows, int64_t vocab) {
    for (int64_t r = 0; r < rows; r++) {
        const double *x = logits + r * vocab;
        double *p = tmp + r * vocab;
        int32_t *o = order + r * vocab;
        for (int64_t i = 0; i < vocab; i++) {
            int64_t at = i;
            for (; at > 0 && x[o[at - 1]] < x[i]; at--) o[at] = o[at - 1];
            o[at] = (int32_t)i;
        }
        if (temperature == 0) {
            id[r] = o[0];
            continue;
        }
        double sum = 0, mass = 0, running = 0;
        for (int64_t i = 0; i < vocab; i++) sum += p[i] = exp((x[o[i]] - x[o[0]]) / temperature);
        int64_t kept = 0;
        while (kept < vocab && (kept == 0 || mass < top_p * sum)) mass += p[kept++];
        id[r] = o[kept - 1];
        for (int64_t i = 0; i < kept; i++) {
            running += p[i];
            if (running > u[r] * mass) {
                id[r] = o[i];
                break;
            }
        }
    }
}

static int64_t first_bad(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return i;
    return -1;
}

void ref_loss(struct kernels_f64 *k) {
    k->xent_fwd = xent_fwd;
    k->xent_bwd = xent_bwd;
    k->dot = dot;
    k->sample = sample;
    k->first_bad = first_bad;
}
