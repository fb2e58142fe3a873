/* kernel_calls.h - how each slot is called from a case: a template over T (element type), KERNELS, GOUT and CALL(name); no guard.
 * A, I, Z, G: real, integer, double and gradient argument number i; D, S: size and scalar number i of the row. */
#define BEGIN(name)                                                                                                                \
    static void CALL(name)(const KERNELS *k, void **p, int beta, const struct kernel_case *c) {                                    \
        (void)beta, (void)c;
#define END }
#define A(i) ((T *)p[i])
#define I(i) ((int32_t *)p[i])
#define Z(i) ((double *)p[i])
#define G(i) ((GOUT){p[i], beta})
#define D(i) (c->d[i])
#define S(i) (c->s[i])

BEGIN(gemm) k->gemm(A(0), A(1), A(2), (int)D(0), (int)D(1), S(0), S(1), D(2), D(3), D(4), D(5), D(6), D(7));
END BEGIN(gemm_batched) k->gemm_batched(A(0), A(1), A(2), (int)D(0), (int)D(1), S(0), S(1), D(2), D(3), D(4), D(5), D(6), D(7),
                                        D(8), D(9), D(10), D(11));
END BEGIN(fill) k->fill(A(0), S(0), D(0));
END BEGIN(add) k->add(A(0), A(1), A(2), D(0));
END BEGIN(scale) k->scale(G(0), A(1), S(0), D(0));
END BEGIN(axpby) k->axpby(A(0), A(1), A(2), A(3), A(4), D(0), D(1));
END BEGIN(rowscale) k->rowscale(G(0), A(1), A(2), D(0), D(1));
END BEGIN(add_bias) k->add_bias(A(0), A(1), A(2), D(0), D(1));
END BEGIN(column_sum) k->column_sum(G(0), A(1), A(2), D(0), D(1));
END BEGIN(reset_rows) k->reset_rows(A(0), A(1), A(2), I(3), D(2), D(0), D(1));
END BEGIN(reset_rows_bwd) k->reset_rows_bwd(G(0), G(1), A(2), I(3), D(2), D(0), D(1));
END BEGIN(rmsnorm_fwd) k->rmsnorm_fwd(A(0), A(1), A(2), A(3), S(0), D(0), D(1));
END BEGIN(rmsnorm_bwd) k->rmsnorm_bwd(G(0), G(1), A(2), A(3), A(4), A(5), A(6), A(7), D(0), D(1));
END BEGIN(add_rmsnorm_fwd) k->add_rmsnorm_fwd(A(0), A(1), A(2), A(3), A(4), A(5), S(0), D(0), D(1));
END BEGIN(headnorm_fwd) k->headnorm_fwd(A(0), A(1), A(2), A(3), S(0), D(0), D(1), D(2));
END BEGIN(headnorm_bwd) k->headnorm_bwd(G(0), G(1), A(2), A(3), A(4), A(5), A(6), D(0), D(1), D(2));
END BEGIN(embed_fwd) k->embed_fwd(A(0), A(1), I(2), D(0), D(2));
END BEGIN(embed_bwd) k->embed_bwd(G(0), A(1), I(2), D(0), D(1), D(2));
END BEGIN(rope_table) k->rope_table(A(0), I(1), S(0), D(0), D(1));
END BEGIN(rope) k->rope(G(0), A(1), A(2), (int)D(3), D(0), D(1), D(2));
END BEGIN(swiglu_fwd) k->swiglu_fwd(A(0), A(1), A(2), D(0));
END BEGIN(swiglu_bwd) k->swiglu_bwd(G(0), G(1), A(2), A(3), A(4), D(0));
END BEGIN(relu_fwd) k->relu_fwd(A(0), A(1), D(0));
END BEGIN(relu_bwd) k->relu_bwd(G(0), A(1), A(2), D(0));
END BEGIN(xent_fwd) k->xent_fwd(A(0), A(1), A(2), I(3), D(0), D(1));
END BEGIN(xent_bwd) k->xent_bwd(G(0), A(1), A(2), A(3), I(4), D(0), D(1));
END BEGIN(dot) k->dot(A(0), A(1), A(2), Z(3), D(0));
END BEGIN(attention_fwd) k->attention_fwd(A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9), I(10), &c->attention);
END BEGIN(attention_bwd) k->attention_bwd(G(0), G(1), G(2), G(3), G(4), G(5), G(6), G(7), A(8), A(9), A(10), A(11), A(12), A(13),
                                          A(14), A(15), A(16), A(17), A(18), I(19), A(20), &c->attention);
END BEGIN(memory_fwd) k->memory_fwd(A(0), A(1), A(2), A(3), A(4), A(5), A(6), I(7), I(8), &c->memory);
END BEGIN(memory_bwd) k->memory_bwd(G(0), G(1), G(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9), A(10), I(11), I(12), A(13),
                                    &c->memory);
END BEGIN(fast_weight_fwd) k->fast_weight_fwd(A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), I(8), I(9), &c->fast_weight);
END BEGIN(fast_weight_bwd) k->fast_weight_bwd(G(0), G(1), G(2), G(3), G(4), A(5), A(6), A(7), A(8), A(9), A(10), A(11), A(12),
                                              A(13), A(14), I(15), I(16), A(17), &c->fast_weight);
END BEGIN(feature_fwd) k->feature_fwd(A(0), A(1), (int)D(2), D(0), D(1));
END BEGIN(feature_bwd) k->feature_bwd(G(0), A(1), A(2), (int)D(2), D(0), D(1));
END BEGIN(sigmoid_fwd) k->sigmoid_fwd(A(0), A(1), D(0));
END BEGIN(sigmoid_bwd) k->sigmoid_bwd(G(0), A(1), A(2), D(0));
END BEGIN(decay_fwd) k->decay_fwd(A(0), A(1), A(2), A(3), D(0), D(1));
END BEGIN(decay_bwd) k->decay_bwd(G(0), G(1), G(2), A(3), A(4), A(5), A(6), A(7), D(0), D(1));
END BEGIN(short_conv_fwd) k->short_conv_fwd(A(0), A(1), A(2), A(3), I(4), I(5), &c->conv);
END BEGIN(short_conv_bwd) k->short_conv_bwd(G(0), G(1), A(2), A(3), A(4), A(5), A(6), I(7), I(8), A(9), &c->conv);
END BEGIN(mix_fwd) k->mix_fwd(A(0), A(1), A(2), A(3), I(4), D(5) < 2 ? NULL : I(5), D(5) % 4 == 1 ? MIX_BYPASS : MIX_GATED, D(0),
                              D(1), D(2), D(3), D(4));
END BEGIN(mix_bwd) k->mix_bwd(G(0), G(1), G(2), A(3), A(4), A(5), A(6), I(7), (int)D(5), A(8), D(0), D(1), D(2), D(3), D(4));
END BEGIN(rnn_fwd) k->rnn_fwd(A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8), A(9), I(10), I(11), A(12), &c->rnn);
END BEGIN(rnn_bwd) k->rnn_bwd(G(0), G(1), G(2), G(3), A(4), A(5), A(6), A(7), A(8), A(9), A(10), A(11), I(12), I(13), A(14),
                              &c->rnn);
END BEGIN(ring_write) k->ring_write(A(0), A(1), I(2), D(4), D(0), D(1), D(2), D(3));
END BEGIN(ring_read) k->ring_read(A(0), A(1), I(2), D(4), D(0), D(1), D(2), D(3));
END BEGIN(topk) k->topk(I(0), A(1), A(2), I(3), I(4), &c->bank);
END BEGIN(hits_fwd) k->hits_fwd(A(0), A(1), A(2), A(3), A(4), I(5), &c->bank);
END BEGIN(hits_bwd) k->hits_bwd(G(0), A(1), A(2), A(3), A(4), A(5), I(6), &c->bank);
END BEGIN(sumsq) k->sumsq(A(0), A(1), Z(2), D(0));
END BEGIN(clip) k->clip(A(0), A(1), S(0));
END BEGIN(adamw) k->adamw(A(0), A(1), A(2), A(3), A(4), S(0), S(1), S(2), S(3), S(4), D(0));
END BEGIN(adafactor) k->adafactor(A(0), A(1), A(2), A(3), A(4), S(0), S(1), S(2), S(3), S(4), (int)D(2), A(5), D(0), D(1));
END BEGIN(sample) k->sample(I(0), A(1), A(2), S(0), S(1), A(3), I(4), D(0), D(1));
END BEGIN(first_bad) int32_t found = (int32_t)k->first_bad(A(1), D(0));
k->upload(I(0), &found, sizeof found);
END

#undef BEGIN
#undef END
#undef A
#undef I
#undef Z
#undef G
#undef D
#undef S
