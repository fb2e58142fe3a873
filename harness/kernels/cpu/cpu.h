/* cpu.h - how the CPU backend is put together; private to harness/kernels/cpu.
 *
 * vec/ holds the vectorised kernels in plain C. The Makefile compiles every file of vec/ once per instruction set with -DISA=base
 * (the compiler's default target), and on x86-64 also -DISA=v3 (-march=x86-64-v3) and -DISA=v4 (-march=x86-64-v4
 * -mprefer-vector-width=512); cpu.c asks the processor and fills the table from the best one. So no intrinsics, no run-time
 * branch in a kernel. Everything with external linkage in vec/ is named through ISA_FN, everything else is static. */
#ifndef INFINIBENCH_CPU_H
#define INFINIBENCH_CPU_H

#include "../kernels.h"

#ifndef ISA
#define ISA base
#endif
#define ISA_CAT2(a, b) a##_##b
#define ISA_CAT(a, b) ISA_CAT2(a, b)
#define ISA_FN(name) ISA_CAT(name, ISA)

/* Each file of vec/ puts its kernels into the table. */
#define CPU_VEC_GROUPS(isa)                                                                                                        \
    void cpu_elementwise_##isa(struct kernels *k); /* fill .. reset_rows_bwd, swiglu, relu */                                      \
    void cpu_norm_##isa(struct kernels *k);        /* rmsnorm, add_rmsnorm, headnorm */                                            \
    void cpu_embed_##isa(struct kernels *k);       /* embed, rope_table, rope */                                                   \
    void cpu_loss_##isa(struct kernels *k);        /* xent, dot, sample, first_bad */                                              \
    void cpu_optim_##isa(struct kernels *k);       /* sumsq, clip, adamw, adafactor */                                             \
    void cpu_attention_##isa(struct kernels *k);   /* attention_fwd, attention_bwd */                                              \
    void cpu_memory_##isa(struct kernels *k);      /* memory_fwd, memory_bwd, mix_fwd, mix_bwd */                                  \
    void cpu_rnn_##isa(struct kernels *k);         /* rnn_fwd, rnn_bwd */                                                          \
    void cpu_fast_weight_##isa(struct kernels *k); /* fast_weight_fwd, fast_weight_bwd */                                          \
    void cpu_feature_##isa(struct kernels *k);     /* feature, sigmoid, decay */                                                   \
    void cpu_short_conv_##isa(struct kernels *k);  /* short_conv_fwd, short_conv_bwd */                                            \
    void cpu_bank_##isa(struct kernels *k);        /* ring_*, topk, hits_* */
CPU_VEC_GROUPS(base)
CPU_VEC_GROUPS(v3)
CPU_VEC_GROUPS(v4)

/* gemm.c: rows are split among our OpenMP threads, each calling single-threaded BLAS on its own rows. */
void cpu_gemm_init(struct kernels *k);
/* One single-threaded product on the calling thread, same meaning as the slot `gemm`; for use inside parallel kernels. */
void cpu_gemm1(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n, int64_t k,
               int64_t lda, int64_t ldb, int64_t ldc);
/* Per-thread scratch of the calling thread, at least CPU_SCRATCH floats, 64-byte aligned, allocated by init. */
#define CPU_SCRATCH (1 << 18)
real *cpu_scratch(void);
int cpu_threads(void);

/* A float exp that vectorises: relative error under 2 ulp on [-87, 88], 0 below, inf above, NaN stays NaN. Defined in vec/vmath.h.
 */
#endif
