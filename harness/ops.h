/* ops.h - the differentiable operations that architectures are composed of. Shapes as in kernels_slots.h: R rows, D width, B batch
 * rows, T = S*N tokens, H query heads, G key/value heads, E head size. Each records one node and has its own backward. */
#ifndef INFINIBENCH_OPS_H
#define INFINIBENCH_OPS_H

#include "tape.h"

/* y = x w^T (+ add): x [R,in], w [out,in], add [R,out] or NULL. */
struct tensor *op_linear(struct tape *t, struct tensor *x, struct tensor *w, struct tensor *add);
struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b);
struct tensor *op_add_bias(struct tape *t, struct tensor *x, struct tensor *bias);
struct tensor *op_scale(struct tape *t, struct tensor *x, double factor);
/* out = a x + b y with a factor per row (a, b [rows] in backend memory): arithmetic on carried states. */
struct tensor *op_axpby(struct tape *t, const real *a, struct tensor *x, const real *b, struct tensor *y, int64_t rows);
/* The same values without a gradient path; for parameters too. */
struct tensor *op_detach(struct tape *t, struct tensor *x);
struct tensor *op_reshape(struct tape *t, struct tensor *x, int rank, const int64_t *shape); /* same memory */
/* x where the document goes on, init (a vector, or NULL: zero) where since[b*stride] == 0. */
struct tensor *op_reset_rows(struct tape *t, struct tensor *x, struct tensor *init, const int32_t *since, int64_t stride,
                             int64_t batch);

/* Rows of several tensors one after the other within each batch row: parts [B,rows_i,D] -> [B,sum rows_i,D]; NULL parts are
 * skipped. */
struct tensor *op_concat_rows(struct tape *t, struct tensor *const *parts, int count, int64_t batch, int64_t width);
/* Rows from .. from+rows of each batch row: [B,*,D] -> [B,rows,D]. */
struct tensor *op_slice_rows(struct tape *t, struct tensor *x, int64_t from, int64_t rows, int64_t batch, int64_t width);

struct tensor *op_rmsnorm(struct tape *t, struct tensor *x, struct tensor *w, double eps);
/* *sum = a + b and its norm. */
struct tensor *op_add_rmsnorm(struct tape *t, struct tensor **sum, struct tensor *a, struct tensor *b, struct tensor *w,
                              double eps);
struct tensor *op_headnorm(struct tape *t, struct tensor *x, struct tensor *scale, double eps,
                           int64_t heads); /* scale may be NULL */
struct tensor *op_embed(struct tape *t, struct tensor *table, const int32_t *ids, int64_t rows);
struct tensor *op_rope_table(struct tape *t, const int32_t *pos, double base, int64_t rows, int64_t e);
struct tensor *op_rope(struct tape *t, struct tensor *x, struct tensor *table, int64_t heads);
struct tensor *op_swiglu(struct tape *t, struct tensor *gate, struct tensor *up);
struct tensor *op_relu(struct tape *t, struct tensor *x);

/* kc, vc, qr, rel, bias may be NULL. Gradients go to whatever needs one. */
struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k, struct tensor *v, struct tensor *kc,
                            struct tensor *vc, struct tensor *qr, struct tensor *rel, struct tensor *bias, const int32_t *since,
                            const struct attention_shape *shape);
/* Compressive memory over the segments of the call. m0, z0 -> *m1, *z1 (the state after the last segment). gamma, or NULL: the mean
 * factor [B*S,G] that the tokens of a segment wrote to z with (MEMORY_DELTA_GAMMA; 1 else, 0 where nothing was written). */
struct tensor *op_memory(struct tape *t, struct tensor **m1, struct tensor **z1, struct tensor **gamma, struct tensor *q,
                         struct tensor *k, struct tensor *v, struct tensor *m0, struct tensor *z0, const int32_t *since,
                         const int32_t *len, const struct memory_shape *shape);
/* Fast weights over the segments of the call: m0 (and z0 with FAST_WEIGHT_SUM, NULL else) -> *m1 (*z1). q, k with their features;
 * beta with FAST_WEIGHT_DELTA; decay or NULL. */
struct tensor *op_fast_weight(struct tape *t, struct tensor **m1, struct tensor **z1, struct tensor *q, struct tensor *k,
                              struct tensor *v, struct tensor *beta, struct tensor *decay, struct tensor *m0, struct tensor *z0,
                              const int32_t *since, const int32_t *len, const struct fast_weight_shape *shape);
struct tensor *op_feature(struct tape *t, struct tensor *x, bool normalised, int64_t e); /* ELU + 1 of each head, its sum 1 */
/* Each channel of x over its last shape->size tokens with weights w [size,width], then SiLU. tail0 -> *tail1 are the last size - 1
 * rows of x, carried [B,(size-1)*width]; size 1: nothing is, tail0 and tail1 NULL. */
struct tensor *op_short_conv(struct tape *t, struct tensor **tail1, struct tensor *x, struct tensor *w, struct tensor *tail0,
                             const int32_t *since, const int32_t *len, const struct short_conv_shape *shape);
struct tensor *op_sigmoid(struct tape *t, struct tensor *x);
struct tensor *op_decay(struct tape *t, struct tensor *x, struct tensor *log_rate, struct tensor *bias); /* x [R,heads] */
/* knocked [heads] in backend memory, or NULL: enum knock_out of each head; without recording only. */
struct tensor *op_mix(struct tape *t, struct tensor *mem, struct tensor *local, struct tensor *beta, const int32_t *since,
                      const int32_t *knocked, int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads);

/* Rings are carried storage, never differentiated; the read is a fresh tensor [B, rows, width]. */
void op_ring_write(struct tape *t, real *ring, struct tensor *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                   int64_t capacity);
struct tensor *op_ring_read(struct tape *t, const real *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                            int64_t capacity, int64_t width);
/* LSTM or GRU over the tokens of the call. x: the four (GRU: three, then NULL) products with the input; h0, c0 -> *h1, *c1 (GRU: c0
 * NULL, *c1 is left alone). */
struct tensor *op_rnn(struct tape *t, struct tensor **h1, struct tensor **c1, struct tensor *const *x, struct tensor *w,
                      struct tensor *bias, struct tensor *h0, struct tensor *c0, const int32_t *since, const int32_t *len,
                      const struct rnn_shape *shape);
/* Top-k over a bank and attention over the hits, [B,T,H,E]; gradient to q only. */
struct tensor *op_retrieve(struct tape *t, struct tensor *q, const real *keys, const real *values, const int32_t *head,
                           const int32_t *since, const struct bank_shape *shape);

/* Half the sum of the squares, [1,1]. */
struct tensor *op_half_sumsq(struct tape *t, struct tensor *x);
/* nll [R] of the targets (backend memory; < 0: not scored). */
struct tensor *op_xent(struct tape *t, struct tensor *logits, const int32_t *target);

#endif
