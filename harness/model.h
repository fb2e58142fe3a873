/* model.h - the decoder that all architectures share, its parameters, its carried state.
 *
 * x = E[token]; per layer x += mixer(RMSNorm(x)), x += FFN(RMSNorm(x)); logits = RMSNorm(x) W_head^T. No biases. */
#ifndef INFINIBENCH_MODEL_H
#define INFINIBENCH_MODEL_H

#include "baseline.h"

struct model_config {
    char preset[16];
    const struct baseline *arch;
    struct options options;                     /* of the architecture */
    int64_t layers, d, heads, kv_heads, e, ffn; /* e: head size; ffn: width before the architecture's compensation */
    bool ffn_relu;                              /* two matrices with ReLU instead of SwiGLU */
    int64_t segment, segments, batch;           /* N, S of a training step, B */
    int64_t vocab;
    bool tied, equal_parameters;           /* equal_parameters: the FFN width absorbs what the mixer needs (default) */
    double norm_eps, rope_base, gate_rate; /* learning-rate multiplier of the gate group */
    double rates[3];                       /* the preset's three learning rates to choose from */
    int64_t ffn_used;                      /* after compensation: parameter counts equal within 1 % */
};
struct preset_row;                       /* presets in presets.c */
extern const char *const preset_names[]; /* ends with NULL */
/* Fills all but arch and options from a preset name. */
int config_preset(struct model_config *c, const char *preset, struct error *e);
/* The i-th shape key, which may be set in [budget] or a row; NULL: there are no more. Defaults are the preset's. */
const struct option *config_key(int i);
/* Sets a shape key. 0 taken, -1 bad value, 1 not such a key. */
int config_set(struct model_config *c, const char *key, const char *value, const char *where, struct error *e);
/* Checks the shape, lets the architecture check its options, computes ffn_used. */
int config_finish(struct model_config *c, struct error *e);
/* One line "key=value ..." (sorted, complete) of everything that defines the model; malloc'd. */
char *config_text(const struct model_config *c);
int config_parse(struct model_config *c, const char *text, struct error *e); /* inverse of config_text */

#define PARAM_LIMIT 2304 /* 127 layers of any architecture */
#define STATE_LIMIT 1024
struct model {
    struct model_config config;
    const struct kernels *k;
    struct param *params[PARAM_LIMIT];
    int param_count;
    int64_t elements;           /* of all parameters */
    struct arena values, grads; /* contiguous, same order */
    struct state_spec states[STATE_LIMIT];
    int state_count;
    struct model_constant { /* tables that are computed, not learnt: backend memory, in no checkpoint */
        char name[32];
        real *data;
        int64_t rows, width;
    } constants[8];
    int constant_count;
    bool document_positions; /* a mixer rotates by position in the document: it cannot go beyond SINCE_MOST tokens */
    struct error trouble;    /* what a stream over the model could not go on with; see stream_trouble */
    /* handles the decoder itself needs */
    struct param *embed, *head, *final_norm;
    struct layer_params {
        struct param *norm1, *norm2, *wq, *wk, *wv, *wo, *w_gate, *w_up, *w_down;
    } * layer;
};
/* Builds and initialises. Every tensor draws from its own stream (seed, hash of its name), so that architectures share the values
 * of the tensors they have in common. */
/* k NULL: a plan only, nothing is allocated or computed (dry runs). Errors: heads wider than HEAD_MOST, no memory. */
#define HEAD_MOST 256 /* scratch of a thread holds two memories of this width: harness/kernels/cpu */
struct model *model_create(const struct model_config *c, const struct kernels *k, uint64_t seed, struct error *e);
void model_free(struct model *m);
/* For declare(): name is prefixed "layers.L." when layer >= 0. */
struct param *model_param(struct model *m, int layer, const char *name, int64_t rows, int64_t cols, enum init_kind init, double std,
                          enum param_group group);
/* Copies host data [rows,width] to backend memory under a name; for declare(m, -1). */
void model_constant(struct model *m, const char *name, const double *host, int64_t rows, int64_t width);
struct tensor *constant_leaf(struct forward *f, const char *name); /* as a tensor without gradient; CHECKs */
int model_state(struct model *m, int layer, const char *name, enum state_kind kind, int64_t rows, int64_t width,
                struct param *init);
struct param *model_find(const struct model *m, const char *full_name);        /* NULL if there is none */
struct param *layer_param(const struct model *m, int layer, const char *name); /* CHECKs */
int layer_state(const struct model *m, int layer, const char *name);           /* index into states; CHECKs */
/* The parameter [1,heads] whose sigmoid mixes the memory into the heads of a layer; NULL: the layer has no gate. */
const struct param *layer_gate(const struct model *m, int64_t layer);
/* sigmoid of it as [layers,heads], NaN where there is none; initial (or NULL): at initialisation. Returns how many there are. */
int64_t model_gates(const struct model *m, double *gate, double *initial);
/* The two kinds of heads of the paper (section 4.2) and what lies between: specialised near 0 (local) or near 1 (memory), mixer. */
enum head_kind { HEAD_LOCAL, HEAD_MIXER, HEAD_MEMORY };
#define HEAD_LOCAL_BELOW 0.1
#define HEAD_MEMORY_ABOVE 0.9
enum head_kind head_kind(double gate);
/* FLOPs per token, forward: products only, mean over the segments of a training step / with `before` tokens before the segment. */
double model_flops(const struct model_config *c, int64_t before, bool training);
/* Elements that a batch row carries once `context` tokens have been read: of its whole segments (an open one is written nowhere);
 * COUNT_OVERFLOW where they do not fit. */
int64_t model_carried(const struct model_config *c, int64_t context);

/* ---- carried state of B rows ---- */
struct state {
    struct model *model;
    int64_t batch, segments; /* rows; segments a call may have (spare rows of the rings) */
    struct arena arena;
    real *data[STATE_LIMIT];
    int64_t capacity[STATE_LIMIT]; /* rows of a ring per batch row; 1 for carried tensors */
    int32_t *since, *head;         /* host, [B]: tokens of the document so far (since_of), rows written (by state.period) */
    int64_t period; /* every ring comes round after so many rows: heads beyond SINCE_MOST are counted again from below */
    int32_t *stage; /* host room for the positions of a call */
    real *share;    /* host room for forward.whole and partial */
};
size_t state_need(const struct model *m, int64_t batch, int64_t segments); /* bytes that state_create will take */
struct state *state_create(struct model *m, int64_t batch, int64_t segments, struct error *e);
void state_free(struct state *s);
void state_reset(struct state *s, int64_t row); /* -1: all. since = 0; contents are dropped at the next read */
void state_copy_row(struct state *dst, int64_t to, const struct state *src, int64_t from); /* same capacities */
size_t state_bytes(const struct state *s);                                                 /* allocated */
/* Is a carried tensor not finite? Names the first: layer, head, matrix or normaliser, and the row. row -1: any. */
bool state_bad(const struct state *s, int64_t row, char *text, size_t size);
/* The largest magnitude that the row carries, and where; 0: nothing. */
double state_largest(const struct state *s, int64_t row, char *text, size_t size);
/* Elements carried per row, counted from the arena: rings without their spare rows; counters apart. */
int64_t state_carried(const struct state *s);
/* Elements of them that hold something of the row's document by now: a ring those rows that its tokens have filled, a carried
 * tensor all once there was a write, or what its segments have added. */
int64_t state_live(const struct state *s, int64_t row);

/* ---- forward ---- */
struct call { /* host side of one call */
    int64_t batch, segments, n;
    const int32_t *tokens; /* [B,T] */
    const int32_t *since;  /* [B,S] */
    const int32_t *len;    /* [B,S] */
    int64_t first;
    bool training;
    const int32_t *knocked;                                                         /* [layers,heads] enum knock_out, or NULL */
    void (*watch)(void *data, int layer, const char *what, const struct tensor *x); /* see struct forward */
    void *watch_data;
};
/* Uploads, runs the layers; in/out of f->in are set up by the caller through forward_begin. Returns logits [B*T,V]; with
 * want_logits false only the states are computed (NULL). */
void forward_begin(struct forward *f, struct tape *t, struct state *s, const struct call *c);
struct tensor *model_forward(struct forward *f, bool want_logits);
/* The call's f->out become the next call's f->in (segment by segment within a step). */
void forward_chain(struct forward *next, const struct forward *previous);
/* Writes f->out into the state and advances since and head by the whole segments of the call(s) (advance: segments of each row). */
void forward_commit(struct forward *f, struct state *s);
void state_advance(struct state *s, const struct call *c, int64_t row);

#endif
