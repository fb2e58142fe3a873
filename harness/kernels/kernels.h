/* kernels.h - backends and the shapes their kernels take. The table itself, with the contract of every slot, is kernels_slots.h. */
#ifndef INFINIBENCH_KERNELS_H
#define INFINIBENCH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifndef INFINI_REAL
#define INFINI_REAL float
#endif
typedef INFINI_REAL real;

/* Number of runs that long reductions are cut into; fixed, so that their bits do not depend on the thread count. */
#define KERNEL_PARTIALS 64

/* A window or reach without bound. */
#define UNBOUNDED (INT64_MAX / 4)

/* attention_fwd, attention_bwd; see the slot for the meaning. cache <= cache_rows; kc, vc are NULL when cache_rows == 0. */
struct attention_shape {
    int64_t batch, queries, heads, kv_heads, e;
    int64_t segment;           /* N; queries is a multiple of it, or queries < segment (a partial one, alone) */
    int64_t back, window;      /* positions before the segment start that are visible (0 .. UNBOUNDED); sliding window, 0 = none */
    int64_t cache, cache_rows; /* rows of kc, vc before the call's first position, and all rows per batch row */
    int own_from_segment;
    int64_t lead, trail; /* memory rows around the tokens; 0, or one segment a call */
    double scale;
    int64_t distances; /* rows of rel, columns of bias; 0 without them */
    int64_t lead_step; /* lead rows that a segment of the document adds (0: all are there); see the slot */
};

enum memory_update { MEMORY_NONE, MEMORY_LINEAR, MEMORY_DELTA, MEMORY_DELTA_GAMMA };

struct memory_shape {
    int64_t batch, segments, n, heads, kv_heads, e, f; /* e key size, f value size */
    int update;                                        /* enum memory_update, not MEMORY_NONE */
    double eps;
};

enum mix_mode { MIX_GATED, MIX_BYPASS };
enum knock_out { KNOCK_NONE, KNOCK_OFF, KNOCK_ZERO }; /* evaluation only: g forced to 0; A_mem = 0 with (1-g) kept */

enum rnn_cell { RNN_LSTM, RNN_GRU };

struct rnn_shape {
    int64_t batch, segments, n, width; /* width: of the state */
    int cell;                          /* enum rnn_cell */
    double forget;                     /* LSTM: added to the forget gate's bias */
};

enum fast_weight_rule { FAST_WEIGHT_SUM, FAST_WEIGHT_DELTA };

struct fast_weight_shape {
    int64_t batch, segments, n, heads, kv_heads, e, f; /* e key size, f value size */
    int rule;                                          /* enum fast_weight_rule */
    int64_t chunk;                                     /* tokens worked out together, 1 .. 64; 0: 64. Changes rounding only */
    double eps;                                        /* FAST_WEIGHT_SUM */
};

struct short_conv_shape {
    int64_t batch, segments, n, width, size; /* size: tokens that an output sees, itself included; >= 1 */
};

struct bank_shape {
    int64_t batch, segments, n, heads, e;
    int64_t capacity, visible, topk; /* capacity >= visible + offset + segments * n */
    int64_t offset;                  /* rows written since head before this call (earlier segments of the step) */
};

/* Elements of the hyper vector that optimiser kernels read. */
enum hyper { HYPER_LR, HYPER_C1, HYPER_C2, HYPER_ADAFACTOR_B2, HYPER_CLIP, HYPER_COUNT };

#include "kernels_slots.h"

/* Lead rows that hold nothing yet, `since` tokens into the document: all but the last lead_step for each whole segment. */
static inline int64_t attention_empty(const struct attention_shape *a, int64_t since) {
    int64_t tokens = a->segment - a->lead - a->trail, filled = a->lead_step ? a->lead_step * (since / tokens) : a->lead;
    return filled < a->lead ? a->lead - filled : 0;
}

/* Elements of tmp for the backward kernels. Attention: delta [B,H,T], and per batch row the gradients of rel and bias. */
static inline int64_t attention_tmp(const struct attention_shape *a) {
    return a->batch * a->heads * (a->queries + a->distances * (a->e + 1));
}
/* Memory: for each (batch row, key/value head, query head of its group) the rows of f(q), f(k), and three rows of values. */
static inline int64_t memory_tmp(const struct memory_shape *a) {
    return a->batch * a->heads * (a->n * (3 * a->e + 3 * a->f + 4) + a->e * (a->f + 1));
}

/* Recurrence: the matrix in another order, and a state of h and c. */
static inline int64_t rnn_tmp(const struct rnn_shape *a) { return 4 * a->width * (a->width + 64) + 2 * a->batch * a->width; }
/* Rows of the recurrent matrix: a gate of `width` rows each. */
static inline int64_t rnn_rows(const struct rnn_shape *a) { return (a->cell == RNN_LSTM ? 4 : 3) * a->width; }
/* Fast weights: for each (batch row, key/value head) the states at the chunks of a segment (of at most 32 tokens: a backend may
 * take shorter chunks than asked for), a gradient, two transposed states. */
static inline int64_t fast_weight_tmp(const struct fast_weight_shape *a) {
    int64_t chunk = a->chunk > 0 && a->chunk < 32 ? a->chunk : 32, chunks = (a->n + chunk - 1) / chunk;
    return a->batch * a->kv_heads * ((chunks + 1) * a->e * (a->f + 1) + 2 * a->f * (a->e + 16));
}

/* Short convolution: the gradient before SiLU, that of the rows carried out of each segment, the runs of the weights' gradient. */
static inline int64_t short_conv_tmp(const struct short_conv_shape *a) {
    return a->width * (a->batch * a->segments * (a->n + a->size - 1) + KERNEL_PARTIALS * a->size);
}

/* What a backend found out about the machine; printed by `bench kernels`, stored with every run. */
struct backend_info {
    char backend[16], device[96], library[96], core[48], isa[16];
    int threads;
    char note[160]; /* how the core type was chosen */
};

/* The CPU backend (OpenBLAS, OpenMP, vectorised C; instruction set chosen at run time). threads 0: OMP_NUM_THREADS or all cores.
 * Call cpu_choose_core() first thing in main: it may re-execute the program once with a better OPENBLAS_CORETYPE (Debian 12's
 * OpenBLAS 0.3.21 does not know newer AMD cores); a user's own setting is left alone, and INFINIBENCH_NO_REEXEC=1 forbids it. */
void cpu_choose_core(char **argv);
const struct kernels *kernels_cpu(int threads, struct backend_info *info);
/* Sets the number of threads of the CPU backend (the one owner of threads); returns what is in force. */
int kernels_cpu_threads(int threads);
/* Measured single-precision GEMM roof in GFLOP/s at the threads in force: median of several runs at rows x k x n, best shape. */
double kernels_cpu_roof(void);
/* Measured memory bandwidth in GB/s (triad over 256 MiB). */
double kernels_cpu_bandwidth(void);

/* The CUDA backend (cuBLAS, own kernels; one GPU, one stream). products: "fp32", "tf32" or "bf16", how matrix products round their
 * factors (NULL: tf32); storage, sums and the compressive memory are fp32 always. NULL, and a sentence in `why`, where it cannot be
 * had: no GPU, no cuBLAS, or a program that was built without it. */
const struct kernels *kernels_cuda(const char *products, struct backend_info *info, char *why, size_t size);

#endif
