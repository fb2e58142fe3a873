/* ref_private.h - the groups of the reference table, and how a gradient is put into its place. */
#ifndef INFINIBENCH_REF_PRIVATE_H
#define INFINIBENCH_REF_PRIVATE_H

#include "ref.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ref_elementwise(struct kernels_f64 *k);
void ref_norm(struct kernels_f64 *k);
void ref_loss(struct kernels_f64 *k);
void ref_attention(struct kernels_f64 *k);
void ref_memory(struct kernels_f64 *k);
void ref_rnn(struct kernels_f64 *k);
void ref_fast_weight(struct kernels_f64 *k);
void ref_short_conv(struct kernels_f64 *k);
void ref_bank(struct kernels_f64 *k);
void ref_optim(struct kernels_f64 *k);

/* One element of a gradient that is computed whole. */
static inline void ref_put(struct gout_f64 g, int64_t i, double value) {
    if (g.p) g.p[i] = g.beta ? g.p[i] + value : value;
}

/* A gradient that is summed element by element: zeroed first where beta is 0. */
static inline void ref_start(struct gout_f64 g, int64_t n) {
    for (int64_t i = 0; g.p && !g.beta && i < n; i++) g.p[i] = 0;
}

static inline void ref_sum(struct gout_f64 g, int64_t i, double value) {
    if (g.p) g.p[i] += value;
}

static inline int64_t ref_mod(int64_t a, int64_t n) {
    int64_t r = a % n;
    return r < 0 ? r + n : r;
}

#endif
