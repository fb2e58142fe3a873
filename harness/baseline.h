/* baseline.h - what an architecture is: one file in baselines/, one `const struct baseline`, one line in baselines/registry.c.
 *
 * All architectures share the decoder (model.h); a baseline replaces the mixer of each layer and says what is carried from segment
 * to segment. It writes its forward pass once, for S >= 1 segments a call (layer by layer), composed from ops.h. A call with S = 1
 * repeated must give the same as one call with S (a test holds it to that). */
#ifndef INFINIBENCH_BASELINE_H
#define INFINIBENCH_BASELINE_H

#include "ops.h"

struct model;
struct model_config;
struct forward;

/* What is carried. CARRIED: a tensor [B,width] that the forward reads from f->in[i] and whose successor it puts into f->out[i]
 * (differentiable). RING: rows of history kept in place, never differentiated; capacity = rows + segments*n of a call, rounded up
 * to segments, so that a recomputed read sees what the first one saw. STEP: like CARRIED but growing within a training step and
 * gone after it (keys of the step's earlier segments, with gradient): f->in[i] is NULL in the first segment of a step, no storage,
 * width 0. */
enum state_kind { STATE_CARRIED, STATE_RING, STATE_STEP };
struct state_spec {
    char name[48];
    int layer; /* -1: of the whole model */
    enum state_kind kind;
    int64_t rows, width; /* CARRIED: rows 1; RING: history rows an output may read */
    struct param *init;  /* initial value of a CARRIED state (copied at a reset, gradient flows to it); NULL: zero */
    /* A CARRIED state that fills up: `step` elements for every `every` tokens after the first `after`; every 0: all of it with the
     * first write. */
    int64_t step, every, after;
};

/* One call: B batch rows, S segments of n tokens. Integer arrays are in backend memory. */
struct forward {
    struct tape *tape;
    struct model *model;
    int64_t batch, segments, n; /* n = the configured segment length, or less for a single partial segment */
    int64_t lead, trail;        /* memory rows around the tokens, counted in n (0 unless the baseline has rows) */
    bool training;
    /* NULL, or shown what a mixer has computed on its way; nothing may change. infini: "query" and "key", before the feature map;
     * in training "gamma" instead (op_memory). */
    void (*watch)(void *data, int layer, const char *what, const struct tensor *x);
    void *watch_data;
    const int32_t *tokens;       /* [B,T] inputs */
    const int32_t *knocked;      /* [layers,heads] enum knock_out of the memory of a head; NULL: none, as in training */
    const int32_t *since;        /* [B,S] tokens of the document before the segment; 0: a document starts, state is reset */
    const int32_t *len;          /* [B,S] tokens in the segment; < n: partial, never written to any memory */
    const real *whole, *partial; /* [B,S] 1 and 0 where len == n (whole), 0 and 1 elsewhere */
    /* since and len on the host, for what follows from them alone; not to be read in a dry pass. Room there for B*S of each to be
     * uploaded by tape_ints and tape_reals. */
    const int32_t *host_since, *host_len;
    int32_t *host_ints;
    real *host_reals;
    const int32_t *head;                         /* [B] rows written to the rings before this call */
    const int32_t *pos_segment;                  /* [B,T] position in the segment */
    const int32_t *pos_document;                 /* [B,T] position in the document */
    struct tensor *rope_segment, *rope_document; /* made on first use by forward_rope() */
    int64_t *capacity;                           /* rows of each ring */
    int64_t first;                               /* index of the first segment of this call in its step: ring offset = first * n */
    struct tensor **in, **out;                   /* carried states, by index of model->states; NULL for rings */
    real **ring;                                 /* storage of rings, by index of model->states */
    struct {
        const char *name;
        struct tensor *node; /* one element or more; their sum times weight joins the training loss, never a score */
        double weight;
    } extra[8];
    int extras;
};

/* What a mixer gets: x [B*T,D] is the layer's input (residual stream), h its RMSNorm. */
struct mixer_input {
    struct tensor *x, *h;
    struct param *norm;
};

/* A row of the Infini-attention paper's Table 1: the memory of one text by formula, in the table's letters. N: segment length, S:
 * segments read (N S: tokens), l: layers, H: heads of keys and values, d_key = d_value: head size, d_model: width. */
struct footprint {
    const char *model;              /* as in the table */
    const char *formula, *length;   /* elements; context length in tokens */
    const char *update, *retrieval; /* of the memory */
    /* Both as numbers after `context` tokens, exactly; COUNT_OVERFLOW where they do not fit (count_times, count_plus). */
    int64_t (*elements)(const struct model_config *c, int64_t context);
    int64_t (*tokens)(const struct model_config *c, int64_t context);
};

struct baseline {
    const char *name, *paper, *summary;
    const struct option *options; /* ends with key NULL */
    int version;
    /* Sentence in e if the options do not fit the shape. May be NULL. */
    int (*check)(const struct model_config *c, struct error *e);
    /* Declares parameters and states of a layer (layer -1: of the model) with model_param and model_state. */
    void (*declare)(struct model *m, int layer);
    /* The mixer: returns A W_O, [B*T,D], without the residual. */
    struct tensor *(*forward)(struct forward *f, int layer, struct mixer_input in);
    /* Whole-model override (null): logits [B*T,V] from tokens alone; then forward is not used. NULL otherwise. */
    struct tensor *(*logits)(struct forward *f);
    /* Memory rows of its own around the tokens of a segment (one segment a call): counts, and the rows before and after the tokens
     * [B,rows,D] (layer -1); end gets the outputs of those rows after the last layer, to put into f->out. All NULL: none. */
    void (*rows)(const struct model_config *c, int64_t *lead, int64_t *trail);
    void (*begin)(struct forward *f, struct tensor **lead, struct tensor **trail);
    void (*end)(struct forward *f, struct tensor *lead, struct tensor *trail);
    /* Parameters of the mixer beyond the four d x d products, per layer on average; the FFN width absorbs them. */
    double (*extra_params)(const struct model_config *c);
    /* Parameters that come on top of that equal number, since the language model's loss does not train them; NULL: none. */
    double (*apart)(const struct model_config *c);
    /* The row of Table 1 that these options make of the architecture. */
    const struct footprint *(*footprint)(const struct model_config *c);
    /* Elements really carried from segment to segment after `context` tokens, whole segments of them (model_carried), per batch row
     * (at unbounded context: what the arena holds), and elements that one query of the last segment can attend to. What is carried
     * may differ from the formula: docs/methods.md. */
    int64_t (*carried)(const struct model_config *c, int64_t context);
    int64_t (*attended)(const struct model_config *c, int64_t context);
    /* FLOPs of the mixing (not of the four products) per token of one segment, all layers, with `before` tokens of the document
     * before the segment; forward only. */
    double (*mixing_flops)(const struct model_config *c, int64_t before, bool training);
    /* How many earlier tokens can influence an output: 0, finite, UNBOUNDED. A tail that begins at a segment boundary at least that
     * far back gives the same outputs. */
    int64_t (*reach)(const struct model_config *c);
    bool layer_major; /* may process all segments of a step layer by layer */
    bool compressive; /* heads mix a memory d_key x d_value with what they see: tasks knock it out (op_mix) and count N/d_key */
    bool additive;    /* its carried states grow by what is read: carried-in states mean something (docs/methods.md) */
};

extern const struct baseline *const baselines[]; /* registry.c; ends with NULL */
const struct baseline *baseline_find(const char *name, struct error *e);
/* Rotation tables of this call over [B*T, E]. */
struct tensor *forward_rope(struct forward *f, bool document);
/* The successor of a carried state in a call of one segment: next where the segment is whole, previous where it is partial (a
 * partial segment is never written to a memory). Shapes [B, ...]. */
struct tensor *forward_keep(struct forward *f, struct tensor *next, struct tensor *previous);
/* The mixer of architectures whose memory is rows around the tokens: softmax attention over [lead; tokens; trail] of one segment
 * with rotary positions by row, A W_O. lead_step: see struct attention_shape. */
struct tensor *forward_with_rows(struct forward *f, int layer, struct mixer_input in, int64_t lead_step);
/* For footprints (footprint.c): nothing; the whole text; the open segment; keys and values of so many positions in every layer. */
int64_t footprint_nothing(const struct model_config *c, int64_t context);
int64_t footprint_text(const struct model_config *c, int64_t context);
int64_t footprint_segment(const struct model_config *c, int64_t context);
int64_t footprint_kv(const struct model_config *c, int64_t rows);
extern const struct footprint footprint_local; /* segments that do not know each other: nothing is carried */
/* Joins the training loss. */
void add_loss(struct forward *f, const char *name, struct tensor *node, double weight);

#endif
