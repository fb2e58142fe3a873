/* kernel_cases.h - one table of kernel cases, run against any table of kernels in several ways.
 *
 * A slot is described by its buffers in the order of its arguments (kernel_make*.c), by a call in single and in double precision
 * (kernel_calls.h), and, if it is a backward, by its forward. A row (kernel_rows.c) is a slot with sizes. The runner
 * (kernel_run.c) knows nothing about any single kernel. */
#ifndef INFINIBENCH_KERNEL_CASES_H
#define INFINIBENCH_KERNEL_CASES_H

#include "../ref/ref.h"

enum { CASE_BUFFERS = 24, CASE_SIZES = 18, CASE_SCALARS = 6, CASE_ALIASES = 4 };

enum buffer_role { ROLE_IN, ROLE_OUT, ROLE_INOUT, ROLE_GRAD, ROLE_TMP };
enum buffer_type { TYPE_REAL, TYPE_INT, TYPE_DOUBLE };

struct buffer {
    const char *name;
    enum buffer_role role;
    enum buffer_type type;
    int64_t n;        /* elements; 0: the argument is NULL */
    double *f;        /* contents on entry (of GRAD with beta 1), rounded to float */
    int32_t *i;       /* the same of integers */
    int wrt;          /* GRAD, INOUT gradients: the buffer whose first n elements it is the gradient of; -1: none */
    double magnitude; /* errors are measured against this where it is above the largest reference value */
};

struct kernel_case {
    const struct kernel_slot *slot;
    int64_t d[CASE_SIZES];
    double s[CASE_SCALARS];
    struct attention_shape attention;
    struct memory_shape memory;
    struct fast_weight_shape fast_weight;
    struct bank_shape bank;
    struct rnn_shape rnn;
    struct short_conv_shape conv;
    struct buffer buf[CASE_BUFFERS];
    int count;
    int alias[CASE_ALIASES][2]; /* {output, input}: may be the same memory (beta 0) */
    int aliases, alias_all;     /* all pairs at once too */
    double terms, factor;       /* tolerance = factor * FLT_EPSILON * sqrt(terms) * largest reference value */
    double flop, bytes;
    double *gamma; /* of delta_gamma, held constant by finite differences */
    uint64_t random;
    char label[160];
};

struct kernel_slot {
    const char *name;
    void (*make)(struct kernel_case *c);
    void (*call)(const struct kernels *k, void **p, int beta, const struct kernel_case *c);
    void (*call_f64)(const struct kernels_f64 *k, void **p, int beta, const struct kernel_case *c);
    /* For a backward: sum(output gradient * output) of the reference forward on the inputs p (doubles, in argument order);
     * save 1: what the forward saves for the backward is stored into p. */
    double (*forward)(const struct kernel_case *c, void **p, int save);
};

struct kernel_row {
    const char *slot;
    int64_t d[CASE_SIZES];
    double s[CASE_SCALARS];
};

/* kernel_calls.c, kernel_rows.c */
extern const struct kernel_slot kernel_slot_table[];
extern const int kernel_slot_count;
extern const struct kernel_row kernel_row_table[], kernel_perf_table[];
extern const int kernel_row_count, kernel_perf_count;

/* kernel_run.c. The runs return 1 and say why in `why` when the kernels fail. */
enum { WHY = 400 };
struct kernel_case *kernel_case_new(const struct kernel_row *row);
void kernel_case_free(struct kernel_case *c);
int kernel_check(const struct kernels *k, const struct kernel_case *c, char *why);
int kernel_gradient(const struct kernel_case *c, char *why);
int kernel_repeats(const struct kernels *k, const struct kernel_case *c, char *why);
int kernel_sentinels(const struct kernels *k, const struct kernel_case *c, char *why);
void kernel_results(const struct kernels *k, const struct kernel_case *c, void **p);
double kernel_seconds(const struct kernels *k, const struct kernel_case *c, double at_least);

/* For make functions: append the next buffer. */
double case_uniform(struct kernel_case *c);
double case_normal(struct kernel_case *c);
struct buffer *case_buffer(struct kernel_case *c, const char *name, enum buffer_role role, enum buffer_type type, int64_t n,
                           int wrt);
double *case_in(struct kernel_case *c, const char *name, int64_t n, double spread);
void case_out(struct kernel_case *c, const char *name, int64_t n);
double *case_inout(struct kernel_case *c, const char *name, int64_t n, double spread, int wrt);
void case_grad(struct kernel_case *c, const char *name, int64_t n, int wrt);
int32_t *case_ints(struct kernel_case *c, const char *name, int64_t n);
void case_tmp(struct kernel_case *c, enum buffer_type type, int64_t n);
void case_alias(struct kernel_case *c, int output, int input);

#define KERNEL_SLOTS(X, B)                                                                                                         \
    X(gemm)                                                                                                                        \
    X(gemm_batched)                                                                                                                \
    X(fill)                                                                                                                        \
    X(add)                                                                                                                         \
    X(scale)                                                                                                                       \
    X(axpby)                                                                                                                       \
    X(rowscale)                                                                                                                    \
    X(add_bias) X(column_sum) X(reset_rows) B(reset_rows_bwd) X(rmsnorm_fwd) B(rmsnorm_bwd) X(add_rmsnorm_fwd) X(headnorm_fwd)     \
        B(headnorm_bwd) X(embed_fwd) B(embed_bwd) X(rope_table) B(rope) X(swiglu_fwd) B(swiglu_bwd) X(relu_fwd) B(relu_bwd)        \
            X(xent_fwd) B(xent_bwd) X(dot) X(attention_fwd) B(attention_bwd) X(memory_fwd) B(memory_bwd) X(fast_weight_fwd)        \
                B(fast_weight_bwd) X(feature_fwd) B(feature_bwd) X(sigmoid_fwd) B(sigmoid_bwd) X(decay_fwd) B(decay_bwd)           \
                    X(short_conv_fwd) B(short_conv_bwd)                                                                            \
                    X(mix_fwd) B(mix_bwd) X(rnn_fwd) B(rnn_bwd) X(ring_write) X(ring_read) X(topk) X(hits_fwd) B(hits_bwd)         \
                        X(sumsq) X(clip) X(adamw) X(adafactor) X(sample) X(first_bad)
#define KERNEL_MAKE(name) void make_##name(struct kernel_case *c);
#define KERNEL_MAKE_BWD(name) KERNEL_MAKE(name) double fwd_##name(const struct kernel_case *c, void **p, int save);
KERNEL_SLOTS(KERNEL_MAKE, KERNEL_MAKE_BWD)

#endif
