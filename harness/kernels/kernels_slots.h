/* kernels_slots.h - the table of kernels: the one interface between everything above and a backend.
 *
 * This file has no include guard: it is a template over `real` and is included by kernels.h (real = float in the product,
 * real = double when the whole engine is built on the fp64 reference for the tests) and once more by tests/ref/ref.h under other
 * names, so that a float kernel and its fp64 reference can stand in one program.
 *
 * RULES OF ALL SLOTS
 *  - Row-major. Outputs first, then inputs, then scalars, sizes last; sizes are int64_t. Shapes are in brackets by named dimension:
 *    B batch rows, S segments, N tokens of a segment, T = S*N tokens of a call, R rows (any product of those), D width,
 *    H query heads, G key/value heads (H a multiple of G; query head h reads key/value head h / (H/G)), E head size, V vocabulary.
 *  - Nothing aliases anything unless the slot says so.
 *  - `struct gout` is a gradient output: beta 0 overwrites and NEVER reads (it may hold NaN), beta 1 adds to what is there;
 *    p == NULL means "not wanted". Plain outputs are overwritten and never read.
 *  - Reductions have a fixed order at equal thread count (and where stated at any thread count).
 *  - No kernel allocates. What needs room takes `tmp` with the size stated. Fixed-size tiles on the stack or in per-thread
 *    buffers made by init() are the backend's own business.
 *  - NaN and Inf propagate; no kernel may hide them (write !(x <= y), not x > y, where it matters).
 *  - "FLOP" counts products only, 2 per multiply-add. "bytes" is the least traffic.
 */

struct gout {
    real *p;
    int beta;
};

struct kernels {
    const char *name; /* "cpu", "cuda", "ref" */

    /* ---- memory ------------------------------------------------------------------------------------------------------- */
    void *(*alloc)(size_t bytes);                                   /* zeroed, 64-byte aligned; NULL when there is none */
    void (*release)(void *p, size_t bytes);                         /* what alloc gave */
    void (*upload)(void *device, const void *host, size_t bytes);   /* host -> backend */
    void (*download)(void *host, const void *device, size_t bytes); /* backend -> host, waits */
    void (*move)(void *dst, const void *src, size_t bytes);         /* backend -> backend, may overlap */
    void (*sync)(void);
    /* Runs body(data). It may call any slot that neither waits nor allocates (not alloc, release, download, sync, first_bad), with
     * arguments that depend on the configuration alone. A backend may remember the calls and issue them at once when the same pair
     * comes again with the same calls; body may then be run twice, so it must not change what it reads. */
    void (*step)(void (*body)(void *), void *data);

    /* ---- products ----------------------------------------------------------------------------------------------------- */
    /* C[m,n] = alpha * op(A) op(B) + beta * C, op(X) = X or X^T (ta, tb: 0 or 1); A is m x k (k x m if ta) with leading dimension
     * lda, B k x n (n x k if tb), ldb, C ldc. beta 0 never reads C. FLOP 2mnk. */
    void (*gemm)(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n, int64_t k,
                 int64_t lda, int64_t ldb, int64_t ldc);
    /* The same for i < batch at c + i*sc, a + i*sa, b + i*sb. sa or sb may be 0 (shared operand); sc may not. */
    void (*gemm_batched)(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                         int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int64_t sc, int64_t sa, int64_t sb, int64_t batch);

    /* ---- elementwise -------------------------------------------------------------------------------------------------- */
    void (*fill)(real *x, double value, int64_t n);
    void (*add)(real *out, const real *a, const real *b, int64_t n);         /* out may be a or b */
    void (*scale)(struct gout out, const real *x, double factor, int64_t n); /* out = factor x (+ out); factor 1: accumulate */
    void (*axpby)(real *out, const real *a, const real *x, const real *b, const real *y, int64_t rows, int64_t width);
    /* out[r,i] = a[r] x[r,i] + b[r] y[r,i], a, b [rows]; arithmetic on carried states with a factor per row. out may be x or y. */
    void (*rowscale)(struct gout out, const real *a, const real *x, int64_t rows,
                     int64_t width);                                                           /* out[r,i] = a[r] x[r,i] (+ out) */
    void (*add_bias)(real *out, const real *x, const real *bias, int64_t rows, int64_t width); /* out[r,i] = x[r,i] + bias[i] */
    /* dbias[i] = sum_r dy[r,i]. tmp: KERNEL_PARTIALS * width. Rows are cut into KERNEL_PARTIALS runs of equal length (the last ones
     * shorter or empty), partial sums are added in order: the same bits at any thread count. */
    void (*column_sum)(struct gout dbias, const real *dy, real *tmp, int64_t rows, int64_t width);
    /* out[b,i] = since[b*stride] == 0 ? init[i] (0 where init == NULL) : x[b,i]; the reset of carried state at a document start.
     * bwd: dx[b,i] = since == 0 ? 0 : dy[b,i]; dinit[i] = sum over reset rows of dy[b,i], b ascending. */
    void (*reset_rows)(real *out, const real *x, const real *init, const int32_t *since, int64_t stride, int64_t batch,
                       int64_t width);
    void (*reset_rows_bwd)(struct gout dx, struct gout dinit, const real *dy, const int32_t *since, int64_t stride, int64_t batch,
                           int64_t width);

    /* ---- normalisation ------------------------------------------------------------------------------------------------ */
    /* RMSNorm: rstd[r] = 1/sqrt(mean_i x[r,i]^2 + eps), y[r,i] = x[r,i] rstd[r] w[i]. Saved for backward: x, rstd. */
    void (*rmsnorm_fwd)(real *y, real *rstd, const real *x, const real *w, double eps, int64_t rows, int64_t width);
    /* dx = rstd (dy w - x rstd^2 mean(dy w x)); dw[i] = sum_r dy x rstd. tmp: KERNEL_PARTIALS * width, order as column_sum.
     * extra (or NULL) [rows,width] is added to dx: the gradient that reaches x by the residual path, saved one pass.
     * extra may be the same memory as dx.p when dx.beta == 0. */
    void (*rmsnorm_bwd)(struct gout dx, struct gout dw, const real *dy, const real *x, const real *w, const real *rstd,
                        const real *extra, real *tmp, int64_t rows, int64_t width);
    /* sum = a + b; y, rstd = RMSNorm(sum): the residual sum and the norm after it in one pass. sum may be a or b. */
    void (*add_rmsnorm_fwd)(real *sum, real *y, real *rstd, const real *a, const real *b, const real *w, double eps, int64_t rows,
                            int64_t width);
    /* L2 normalisation of each head with a learned scale (meliad normalize_kq): rinv[r,h] = 1/sqrt(sum_e x^2 + eps),
     * y[r,h,e] = x rinv scale[h] (scale NULL: 1). tmp of bwd: KERNEL_PARTIALS * heads. */
    void (*headnorm_fwd)(real *y, real *rinv, const real *x, const real *scale, double eps, int64_t rows, int64_t heads, int64_t e);
    void (*headnorm_bwd)(struct gout dx, struct gout dscale, const real *dy, const real *x, const real *scale, const real *rinv,
                         real *tmp, int64_t rows, int64_t heads, int64_t e);

    /* ---- embedding, position ------------------------------------------------------------------------------------------ */
    void (*embed_fwd)(real *out, const real *table, const int32_t *ids, int64_t rows,
                      int64_t width); /* out[r,:] = table[ids[r],:] */
    /* dtable[ids[r],:] += dout[r,:], r ascending for every row of the table (same bits at any thread count). */
    void (*embed_bwd)(struct gout dtable, const real *dout, const int32_t *ids, int64_t rows, int64_t vocab, int64_t width);
    /* cs[r, e] = cos(pos[r] w_e), cs[r, E/2+e] = sin(pos[r] w_e), w_e = base^(-2e/E), e < E/2; angles in double. pos[r] < 2^31. */
    void (*rope_table)(real *cs, const int32_t *pos, double base, int64_t rows, int64_t e);
    /* Rotation of halves: y[e] = x[e] c - x[E/2+e] s; y[E/2+e] = x[e] s + x[E/2+e] c, per row and head. inverse 1: transposed (the
     * backward). out.p may be x when beta is 0. */
    void (*rope)(struct gout out, const real *x, const real *cs, int inverse, int64_t rows, int64_t heads, int64_t e);

    /* ---- feed-forward ------------------------------------------------------------------------------------------------- */
    void (*swiglu_fwd)(real *out, const real *gate, const real *up, int64_t n); /* out = gate / (1 + exp(-gate)) * up */
    /* dgate, dup may be the memory of gate, up (beta 0). */
    void (*swiglu_bwd)(struct gout dgate, struct gout dup, const real *dout, const real *gate, const real *up, int64_t n);
    void (*relu_fwd)(real *out, const real *x, int64_t n);
    void (*relu_bwd)(struct gout dx, const real *dout, const real *x, int64_t n); /* derivative 0 at 0 */

    /* ---- loss --------------------------------------------------------------------------------------------------------- */
    /* nll[r] = lse[r] - logits[r, target[r]], lse = log sum_v exp(logits[r,v]) (with the maximum taken out). Rows with target < 0
     * are not scored: nll 0. */
    void (*xent_fwd)(real *nll, real *lse, const real *logits, const int32_t *target, int64_t rows, int64_t vocab);
    /* dlogits[r,v] = dnll[r] (exp(logits - lse) - [v == target]), 0 for target < 0. dlogits.p may be logits (beta 0). */
    void (*xent_bwd)(struct gout dlogits, const real *dnll, const real *logits, const real *lse, const int32_t *target,
                     int64_t rows, int64_t vocab);
    /* *out = sum_i a[i] b[i], accumulated in double over KERNEL_PARTIALS runs in order. tmp: KERNEL_PARTIALS doubles. */
    void (*dot)(real *out, const real *a, const real *b, double *tmp, int64_t n);

    /* ---- attention ---------------------------------------------------------------------------------------------------- */
    /* Causal segment attention over an own and a cached set of keys. For batch row b, query row t, segment s = t / segment with
     * start p = s * segment, a key at position a (relative to the first query of the call; negative = before the call) is visible
     * iff lo(t) <= a <= hi(t) lo(t) = max(p - since[b,s], p - back, window > 0 ? t - window + 1 : -inf, -cache) hi(t) = t; with
     * memory rows (lead, trail): lead-1 for t < lead, T-1 for t >= T-trail, else t; with lead_step the first attention_empty() lead
     * rows hold nothing: they see each other (so that all is finite) and nobody else sees them. Positions a >= (own_from_segment ?
     * p : 0) are read from k, v [B,T,G,E] row a; smaller ones from kc, vc [B,cache_rows,G,E] row a + cache. (Transformer-XL:
     * own_from_segment 1, the cache holds detached history and the call's earlier segments.) score(t,a) = scale * (q_t . k_a + (rel
     * ? qr_t . rel_{t-a} : 0)) + (bias ? bias[h, t-a] : 0), rel [distances,H,E] and bias [H,distances] by index t-a (never by the
     * reshape trick); distances > the largest t-a that is visible. With rel or bias, lead = trail = 0. out[b,t,h,:] = sum_a
     * softmax_a(score) v_a; lse[b,h,t] saved for backward. Every query sees at least itself. FLOP 4 E per visible (query head,
     * pair) (+ 2 E with rel). No L x L matrix: tiles. */
    void (*attention_fwd)(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                          const real *qr, const real *rel, const real *bias, const int32_t *since,
                          const struct attention_shape *shape);
    /* tmp: attention_tmp(shape) elements (see kernels.h). dkc, dvc rows that no query sees get 0 (beta 0). */
    void (*attention_bwd)(struct gout dq, struct gout dk, struct gout dv, struct gout dkc, struct gout dvc, struct gout dqr,
                          struct gout drel, struct gout dbias, const real *dout, const real *out, const real *lse, const real *q,
                          const real *k, const real *v, const real *kc, const real *vc, const real *qr, const real *rel,
                          const real *bias, const int32_t *since, real *tmp, const struct attention_shape *shape);

    /* ---- compressive memory (Infini-attention, arXiv 2404.07143 eq. 7-9) ------------------------------------------------ */
    /* For every batch row and key/value head a scan over the segments of the call; f = sigma(x) = x > 0 ? x + 1 : exp(x),
     * elementwise. read   out_t = f(q_t) M / (f(q_t) . z + eps)           with M = m[s], z = z[s] of the segment's start; exactly 0
     * if it is empty write  m[s+1] = M + f(K)^T (V - R), z[s+1] = z + sum_t gamma_t f(k_t) linear: R = 0, gamma = 1;   delta: R_t =
     * f(k_t) M / (f(k_t) . z + eps), gamma = 1 delta_gamma: R as delta, gamma_t = clip(1 - f(k_t).z / |f(k_t)|^2, 0, 1), a constant
     * for the gradient since[b,s] == 0: M and z of that segment are 0 (a document starts). len[b,s] < N: nothing is written, m[s+1]
     * = M, z[s+1] = z. q [B,T,H,E], k [B,T,G,E], v [B,T,G,F], out [B,T,H,F], m [S+1,B,G,E,F], z [S+1,B,G,E]; m[0], z[0] are inputs,
     * the others outputs, all are saved for backward. gamma_mean [B,S,G] or NULL. M and z are fp32 at least. Query head h reads
     * memory h/(H/G). FLOP per token and head: read 2E(F+1), write 2E F (+1 for z), delta + 2E(F+1). */
    void (*memory_fwd)(real *out, real *m, real *z, real *gamma_mean, const real *q, const real *k, const real *v,
                       const int32_t *since, const int32_t *len, const struct memory_shape *shape);
    /* dm [B,G,E,F], dz [B,G,E]: on entry the gradient of m[S], z[S], on return that of m[0], z[0]. tmp: memory_tmp(shape). */
    void (*memory_bwd)(struct gout dq, struct gout dk, struct gout dv, real *dm, real *dz, const real *dout, const real *m,
                       const real *z, const real *q, const real *k, const real *v, const int32_t *since, const int32_t *len,
                       real *tmp, const struct memory_shape *shape);
    /* out[b,t,h,:] = g mem + (1 - g) local, g = 1/(1 + exp(-beta[h])) (eq. 10). mode: MIX_GATED; MIX_BYPASS: rows of segments with
     * since[b,s] == 0 take local unscaled. knocked [H], or NULL (none): enum knock_out of each head, before which mode does not
     * count: KNOCK_OFF: g = 0, mem is not read; KNOCK_ZERO: mem taken as 0 and not read, (1 - g) kept. */
    void (*mix_fwd)(real *out, const real *mem, const real *local, const real *beta, const int32_t *since, const int32_t *knocked,
                    int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads, int64_t e);
    /* Of a forward without knocked heads. dmem, dlocal may be dout's memory (one of them, beta 0). tmp: KERNEL_PARTIALS * heads
     * (rows cut as in column_sum). */
    void (*mix_bwd)(struct gout dmem, struct gout dlocal, struct gout dbeta, const real *dout, const real *mem, const real *local,
                    const real *beta, const int32_t *since, int mode, real *tmp, int64_t batch, int64_t segments, int64_t n,
                    int64_t heads, int64_t e);

    /* ---- recurrence (LSTM, GRU; PyTorch's conventions) ------------------------------------------------------------------- */
    /* A scan over the T tokens of the call, all batch rows side by side. x0 .. x3 [B,T,H] are the gates' products with the input, w
     * [4H,H] (LSTM) or [3H,H] (GRU) is the recurrent matrix, bias [4,H]; H the state's width, s = 1/(1 + exp(-x)). With a = w h:
     *   LSTM  i = s(x0 + a0 + bias0), f = s(x1 + a1 + bias1 + forget), g = tanh(x2 + a2 + bias2), o = s(x3 + a3 + bias3);
     *         c' = f c + i g, h' = o tanh(c')
     *   GRU   r = s(x0 + a0 + bias0), z = s(x1 + a1 + bias1), m = a2 + bias2, n = tanh(x2 + bias3 + r m); h' = (1 - z) n + z h
     * out [B,T,H] = h'. h, c [T+1,B,H]: what token t reads; h[T], c[T] what the call leaves. h[0], c[0] hold the carried state on
     * entry. since[b,s] == 0: h and c of the segment's first token are 0. len[b,s] < N: nothing is written, the next segment reads
     * what the first token of this one read. gates [T,B,4,H] = i f g o | r z n m. h, c, gates are saved for backward. GRU: x3, c
     * NULL. The same bits at any thread count. FLOP per token 2 H times the rows of w. tmp: rnn_tmp(shape). */
    void (*rnn_fwd)(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2, const real *x3,
                    const real *w, const real *bias, const int32_t *since, const int32_t *len, real *tmp,
                    const struct rnn_shape *shape);
    /* da [T,B,4,H]: the gradients of bias0 .. bias3 before the sum over tokens. So dbias is the column sum of da, and dw [rows,H]
     * is da^T h over tokens and batch rows, of da the first `rows` columns; both are the caller's. dx are da in another order. dh,
     * dc [B,H]: on entry the gradient of h[T], c[T], on return that of h[0], c[0] before the reset. tmp: rnn_tmp(shape). */
    void (*rnn_bwd)(struct gout dx0, struct gout dx1, struct gout dx2, struct gout dx3, real *da, real *dh, real *dc,
                    const real *dout, const real *gates, const real *h, const real *c, const real *w, const int32_t *since,
                    const int32_t *len, real *tmp, const struct rnn_shape *shape);

    /* ---- fast weights (linear attention, arXiv 2006.16236; delta rule, 2102.11174; chunkwise 2406.06484, gated 2412.06464) ------
     */
    /* For every batch row and key/value head a scan over the tokens of the call; token t writes, then is read for:
     * S = exp(decay_t) S;  sum: u = v_t, z = z + k_t;  delta: u = beta_t (v_t - S^T k_t);  S = S + k_t u^T;
     * out_t = S^T q_t (delta), S^T q_t / (q_t . z + eps) (sum).
     * q, k come with their features. since[b,s] == 0: S and z are 0 at the start of that segment. len[b,s] < N: its tokens see each
     * other, but the state after the segment is the one before it. q [B,T,H,E], k [B,T,G,E], v [B,T,G,F], out [B,T,H,F], m
     * [S+1,B,G,E,F], z [S+1,B,G,E] (sum; NULL with delta): m[0], z[0] are inputs, the others outputs, all are saved for backward.
     * beta [B,T,G] (delta; NULL with sum), decay [B,T,G] <= 0 or NULL (delta only). Query head h reads state h/(H/G). FLOP per
     * token and head, of the recurrence: read 2EF (sum 2E(F+1)), write 2EF, delta + 2EF; in chunks of C about C(E+F) more. The same
     * bits at any thread count. */
    void (*fast_weight_fwd)(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                            const real *decay, const int32_t *since, const int32_t *len, const struct fast_weight_shape *shape);
    /* dm [B,G,E,F], dz [B,G,E] (or NULL): on entry the gradient of m[S], z[S], on return that of m[0], z[0]. tmp:
     * fast_weight_tmp(shape). */
    void (*fast_weight_bwd)(struct gout dq, struct gout dk, struct gout dv, struct gout dbeta, struct gout ddecay, real *dm,
                            real *dz, const real *dout, const real *m, const real *z, const real *q, const real *k, const real *v,
                            const real *beta, const real *decay, const int32_t *since, const int32_t *len, real *tmp,
                            const struct fast_weight_shape *shape);
    /* y = f(x), f = x > 0 ? x + 1 : exp(x); normalised 1: each row of E divided by its sum. */
    void (*feature_fwd)(real *y, const real *x, int normalised, int64_t rows, int64_t e);
    void (*feature_bwd)(struct gout dx, const real *dy, const real *x, int normalised, int64_t rows, int64_t e);
    void (*sigmoid_fwd)(real *y, const real *x, int64_t n);                        /* y = 1/(1 + exp(-x)) */
    void (*sigmoid_bwd)(struct gout dx, const real *dy, const real *x, int64_t n); /* dx = dy y (1 - y) */
    /* y[r,h] = -exp(log_rate[h]) log(1 + exp(x[r,h] + bias[h])): the log decay of a gated delta rule. */
    void (*decay_fwd)(real *y, const real *x, const real *log_rate, const real *bias, int64_t rows, int64_t heads);
    /* tmp: 2 * KERNEL_PARTIALS * heads; rows are cut as in column_sum. */
    void (*decay_bwd)(struct gout dx, struct gout dlog_rate, struct gout dbias, const real *dy, const real *x, const real *log_rate,
                      const real *bias, real *tmp, int64_t rows, int64_t heads);

    /* ---- short convolution (DeltaNet, arXiv 2406.06484) ------------------------------------------------------------------ */
    /* Each channel over its last K tokens, then SiLU: p[b,t,i] = sum_j w[j,i] x~[b,t-K+1+j,i], out = p / (1 + exp(-p)).
     * x, out [B,T,D], w [K,D] (row K-1: the token itself). x~ before a segment are the K-1 rows tail[s] that the segments before
     * it have left: tail [S+1,B,K-1,D] (NULL with K 1), tail[0] holds the carried rows on entry; since[b,s] == 0: tail[s] is set to
     * 0; tail[s+1] = the last K-1 rows of tail[s] followed by x of segment s, len[b,s] < N: tail[s]. All of tail and x are saved
     * for backward. FLOP 2 K per element of out. */
    void (*short_conv_fwd)(real *out, real *tail, const real *x, const real *w, const int32_t *since, const int32_t *len,
                           const struct short_conv_shape *shape);
    /* dtail [B,K-1,D]: on entry the gradient of tail[S], on return that of tail[0] before the reset. dw is summed over the rows of
     * x cut as in column_sum: the same bits at any thread count. tmp: short_conv_tmp(shape). FLOP 6 K. */
    void (*short_conv_bwd)(struct gout dx, struct gout dw, real *dtail, const real *dout, const real *tail, const real *x,
                           const real *w, const int32_t *since, const int32_t *len, real *tmp,
                           const struct short_conv_shape *shape);

    /* ---- banks, rings, retrieval ---------------------------------------------------------------------------------------- */
    /* A ring is [B, capacity, width]; head[b] counts rows ever written to row b of the batch (slot = count mod capacity).
     * write: ring[b, (head[b] + offset + r) mod capacity] = x[b,r], r < rows. read: the same slots into out; offset may be
     * negative. */
    void (*ring_write)(real *ring, const real *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                       int64_t capacity, int64_t width);
    void (*ring_read)(real *out, const real *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                      int64_t capacity, int64_t width);
    /* Exact top-k by inner product (Memorizing Transformers). Query t of segment s sees the last n = min(since[b,s], visible) rows
     * before count head[b] + offset + s * segment. index[b,t,h,j] = slot of the j-th best key of head h, best first (ties: the
     * older row), -1 beyond n. keys [B,capacity,H,E]. FLOP 2E per (query head, visible row). */
    void (*topk)(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since,
                 const struct bank_shape *shape);
    /* out[b,t,h,:] = sum_j p_j values[slot_j], p = softmax_j(q . keys[slot_j]); 0 where there is no hit. p [B,T,H,topk] saved
     * (0 beyond the hits). Keys and values are constants for the gradient. FLOP 4E topk per query head. */
    void (*hits_fwd)(real *out, real *p, const real *q, const real *keys, const real *values, const int32_t *index,
                     const struct bank_shape *shape);
    void (*hits_bwd)(struct gout dq, const real *dout, const real *p, const real *q, const real *keys, const real *values,
                     const int32_t *index, const struct bank_shape *shape);

    /* ---- optimisers ----------------------------------------------------------------------------------------------------- */
    /* hyper (in backend memory, so that a step can be replayed): see enum hyper in kernels.h. */
    void (*sumsq)(real *out, const real *x, double *tmp, int64_t n); /* *out = sum x^2 as in dot */
    /* hyper[HYPER_CLIP] = sumsq <= max_norm^2 or max_norm <= 0 ? 1 : max_norm / sqrt(sumsq); NaN stays NaN. */
    void (*clip)(real *hyper, const real *sumsq, double max_norm);
    /* AdamW (Loshchilov and Hutter 2019): g' = clip g; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2;
     * p -= lr rate ( (m / c1) / (sqrt(v / c2) + eps) + decay p ), c1 = hyper[HYPER_C1] = 1 - b1^t, c2 likewise. */
    void (*adamw)(real *p, real *m, real *v, const real *g, const real *hyper, double rate, double decay, double b1, double b2,
                  double eps, int64_t n);
    /* Adafactor (Shazeer and Stern 2018, algorithms 4 and 5) for p [rows,cols]: with g' = clip g, b2 = hyper[HYPER_ADAFACTOR_B2] =
     * 1 - t^-0.8: r_i = b2 r_i + (1-b2) mean_j (g'^2 + eps1), c_j likewise over i, vhat_ij = r_i c_j / mean_i r_i (rows == 1:
     * unfactored, v in c); u = g'/sqrt(vhat); u /= max(1, rms(u)/clip_rms); p -= lr rate (parameter_scale ? max(rms(p), eps2) : 1)
     * u + lr rate decay p. tmp: rows*cols + rows + 2*KERNEL_PARTIALS. */
    void (*adafactor)(real *p, real *r, real *c, const real *g, const real *hyper, double rate, double decay, double eps1,
                      double eps2, double clip_rms, int parameter_scale, real *tmp, int64_t rows, int64_t cols);

    /* ---- sampling, inspection ------------------------------------------------------------------------------------------- */
    /* id[r] drawn from softmax(logits/temperature) cut to the smallest set of most probable symbols whose mass reaches top_p (ties:
     * smaller id), by the uniform number u[r] in [0,1); temperature 0: argmax (ties: smaller id). tmp: rows * vocab, order: rows *
     * vocab. */
    void (*sample)(int32_t *id, const real *logits, const real *u, double temperature, double top_p, real *tmp, int32_t *order,
                   int64_t rows, int64_t vocab);
    /* Index of the first element that is NaN or infinite, -1 if none (waits). Tested by bits or by x - x != 0, under any flags. */
    int64_t (*first_bad)(const real *x, int64_t n);
};
