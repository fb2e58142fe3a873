/* tape.h - tensors, arenas and the tape that runs the backward pass. The differentiable operations are in ops.h.
 *
 * A tape records nodes while `record` is set; tape_backward runs them in reverse. Memory comes from arenas whose size a dry pass of
 * the same code measures (tape->dry: nothing is computed, every allocation is counted), so nothing is allocated inside a step.
 * Gradients of activations live in a pool and are freed as soon as their producer's backward has run; a gradient that several
 * tensors have in common (residual sums) is shared by reference and copied only when somebody must add to it. */
#ifndef INFINIBENCH_TAPE_H
#define INFINIBENCH_TAPE_H

#include "kernels/kernels.h"
#include "util.h"

/* A growing block of backend memory; in a dry pass only counted. */
struct arena {
    const char *name;
    const struct kernels *k;
    char *base;
    size_t used, peak, capacity;
};
/* Fixes the capacity at `bytes` (at least peak) and allocates. */
int arena_allocate(struct arena *a, const struct kernels *k, size_t bytes, struct error *e);
void arena_release(struct arena *a);
/* Takes bytes (64-byte aligned) until used is set back; in a dry pass only counts. */
void *arena_take(struct arena *a, bool dry, size_t bytes);

struct gradient; /* a reference-counted block of the pool */

struct tensor {
    const char *name; /* for messages; never NULL */
    real *data;       /* not to be touched in a dry pass */
    int64_t n;        /* elements */
    int64_t shape[4];
    int rank;
    bool needs_grad;
    struct gradient *grad; /* during backward; NULL: none yet */
    struct param *param;   /* leaf that is a parameter: its gradient goes to the parameter's block */
};

enum init_kind { INIT_NORMAL, INIT_ZERO, INIT_ONE, INIT_UNIFORM, INIT_LOG_RATE, INIT_STEP };
enum param_group { GROUP_WEIGHT, GROUP_NORM, GROUP_GATE }; /* learning-rate multiplier and weight decay per group */

struct param {
    char name[64];
    int64_t shape[2]; /* rows, cols; a vector is 1 x n */
    int64_t n;
    enum init_kind init;
    double std; /* INIT_NORMAL: standard deviation; INIT_UNIFORM: half width; INIT_LOG_RATE: log of (0, std]; INIT_STEP: softplus^-1
                   of log-uniform [1e-3, std] */
    enum param_group group;
    struct tensor leaf; /* data points into the parameter arena */
    real *grad;         /* into the gradient arena */
    int beta;           /* 0 until the first contribution of a step */
};

struct node;
struct tape;
typedef void (*backward_fn)(struct tape *t, struct node *n);

struct node {
    const char *op;
    backward_fn backward;
    struct tensor *out[3], *in[9];
    const real *saved[6];
    real *work; /* scratch that the node took in the forward pass */
    const int32_t *ints[4];
    int64_t size[6];
    double scalar[3];
    int flag;
    union {
        struct attention_shape attention;
        struct memory_shape memory;
        struct fast_weight_shape fast_weight;
        struct bank_shape bank;
        struct rnn_shape rnn;
        struct short_conv_shape conv;
    } shape;
};

struct tape {
    const struct kernels *k;
    bool record, dry;
    struct arena activations, scratch, gradients; /* scratch is reset after every operation */
    struct host_arena *host;                      /* nodes and tensors: kept between steps */
    struct grad_pool *pool;
    struct node **nodes;
    int count, capacity;
    /* Integers that a recomputed forward must see again (top-k indices): 1 keep, 2 replay. */
    int keep_mode;
    struct arena kept;
    size_t kept_cursor;
};

void tape_init(struct tape *t, const struct kernels *k);
void tape_free(struct tape *t);
/* Starts a dry pass: forgets sizes. Run the step (forward and backward), then tape_allocate. */
void tape_dry(struct tape *t);
size_t tape_bytes(const struct tape *t); /* what tape_allocate will take */
int tape_allocate(struct tape *t, struct error *e);
/* Forgets all nodes and activations. */
void tape_reset(struct tape *t);
/* Without recording, memory taken since a mark can be given back (a layer's inner tensors once its output is made). */
struct tape_mark {
    size_t activations, host;
};
struct tape_mark tape_mark(struct tape *t);
void tape_rewind(struct tape *t, struct tape_mark m);

/* New tensor in the activation arena, contents undefined. */
struct tensor *tape_tensor(struct tape *t, const char *name, int rank, const int64_t *shape);
struct tensor *tape_tensor2(struct tape *t, const char *name, int64_t a, int64_t b);
struct tensor *tape_tensor3(struct tape *t, const char *name, int64_t a, int64_t b, int64_t c);
struct tensor *tape_tensor4(struct tape *t, const char *name, int64_t a, int64_t b, int64_t c, int64_t d);
/* A leaf over memory that somebody else owns. */
struct tensor *tape_leaf(struct tape *t, const char *name, real *data, int64_t rows, int64_t width, bool needs_grad);
/* Copies host data to backend memory that lives until reset. */
const int32_t *tape_ints(struct tape *t, const int32_t *host, int64_t n);
real *tape_reals(struct tape *t, const real *host, int64_t n); /* host NULL: uninitialised */
int32_t *tape_int_buffer(struct tape *t, int64_t n);
void **tape_pointers(struct tape *t, int64_t n); /* host memory until reset, all NULL */
real *tape_scratch(struct tape *t, int64_t n);   /* valid until the operation ends */

/* Place for values that the recomputed forward must find again: keep_mode 1 hands out new places, 2 the same ones in the same
 * order. */
void *tape_keep(struct tape *t, size_t bytes);

struct node *tape_node(struct tape *t, const char *op, backward_fn backward);
/* True when the tape records and one of the inputs needs a gradient. */
bool tape_wants(const struct tape *t, struct tensor *const *in, int count);

/* Inside a backward: the gradient of an output (NULL: none arrived), and where to put the gradient of an input. */
const real *tape_grad(const struct tensor *x);
struct gout tape_grad_out(struct tape *t, struct tensor *x);
/* The gradient of x gains that of y, by reference where x has none yet. Same number of elements. */
void tape_grad_share(struct tape *t, struct tensor *x, struct tensor *y);
/* Sets the gradient of x to data (copied), the start of a backward; adds if there is one. */
void tape_seed(struct tape *t, struct tensor *x, const real *data);
void tape_seed_value(struct tape *t, struct tensor *x, double value);
/* Runs all recorded nodes in reverse and forgets them. Gradients of leaves that are no parameters stay readable until reset. */
void tape_backward(struct tape *t);
/* The first recorded tensor with a NaN or Inf, in forward order; false if all are finite. */
struct tape_bad {
    const struct node *node;
    const struct tensor *tensor;
    int64_t at; /* index in the tensor */
    int nth;    /* operations of the node's kind before it on the tape */
};
bool tape_first_bad(const struct tape *t, struct tape_bad *bad);

/* Calls a kernel unless the pass is dry: its arguments are not evaluated then, so nothing may be taken from an arena inside them.
 */
#define RUN(t, slot, ...)                                                                                                          \
    do {                                                                                                                           \
        if (!(t)->dry) (t)->k->slot(__VA_ARGS__);                                                                                  \
    } while (0)

#endif
