/* ops_private.h - how an operation begins and records itself; for ops.c and ops_sequence.c alone. */
#ifndef INFINIBENCH_OPS_PRIVATE_H
#define INFINIBENCH_OPS_PRIVATE_H

#include "ops.h"

static inline void begin(struct tape *t) { t->scratch.used = 0; }

static inline struct node *record(struct tape *t, const char *op, backward_fn backward, struct tensor *out,
                                  struct tensor *const *in, int count) {
    if (!tape_wants(t, in, count)) return NULL;
    struct node *n = tape_node(t, op, backward);
    for (int i = 0; i < count; i++) n->in[i] = in[i];
    n->out[0] = out;
    out->needs_grad = true;
    return n;
}
#define RECORD(op, backward, out, ...)                                                                                             \
    record(t, op, backward, out, (struct tensor *[]){__VA_ARGS__},                                                                 \
           (int)(sizeof(struct tensor *[]){__VA_ARGS__} / sizeof(struct tensor *)))

static inline const real *values(const struct tensor *x) { return x ? x->data : NULL; }

#endif
