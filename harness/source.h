/* source.h - where training tokens come from: documents with a loss weight per token, laid into batch rows of segments. */
#ifndef INFINIBENCH_SOURCE_H
#define INFINIBENCH_SOURCE_H

#include "util.h"

/* A document as a source gives it: n tokens (no BOS) and a weight for predicting each of them (NULL: all 1); EOS weighs what the
 * last token weighs. The memory stays valid until the next call of next() for the same row, load() included: a batcher gets the
 * open documents of a checkpoint back by loading the cursor from before each of them and calling next() again.
 *
 * carried: the state with which the document starts (docs/methods.md, "Carried-in states"). It is read only where the source has a
 * filler or texts. Such a document must begin with a training step, so it and its EOS fill whole steps: n + 1 a multiple of S x N.
 */
struct document {
    const int32_t *tokens;
    const float *weights;
    int64_t n;
    double carried; /* start state: < 0 empty, m >= 0: as after 6 + 3 m segments; not above CARRIED_LIMIT */
    int text;       /* of what: 0 the source's filler (s6 + m (s6 - s3)), k: the source's text k - 1, really read */
};
#define CARRIED_LIMIT 1e8
/* Text without a period, from which states at many lengths are read; when it ends it begins again. */
struct carried_text {
    const int32_t *tokens;
    int64_t n;
    double most; /* largest multiplier that documents ask for: no more is read than it needs; 0: all of the text */
};
#define CARRIED_TEXTS 4
struct source {
    const char *name;
    /* The next document for a batch row; deterministic given (seed, how often it was called). */
    void (*next)(struct source *s, int64_t row, struct document *d);
    /* The cursor as text for checkpoints, and back. */
    char *(*save)(const struct source *s); /* malloc'd */
    int (*load)(struct source *s, const char *text, struct error *e);
    void (*free)(struct source *s);
    void *data;
    const int32_t *filler; /* tokens that are repeated to make carried-in states, fixed for the source's life; NULL: none */
    int64_t filler_n;
    struct carried_text texts[CARRIED_TEXTS]; /* fixed for the source's life */
    int text_count;
};
static inline bool source_carries(const struct source *s) { return s->filler || s->text_count; }

/* One training step for B rows: S segments of N. Inputs start with BOS (0); targets are the document and then EOS (0). A document's
 * last segment may be partial: padded, unscored (target -1, weight 0), not written to memory; the next document starts with the
 * next segment (since = 0). weights sum to 1 over the step. */
struct batch {
    int64_t rows, segments, n;
    int32_t *tokens, *targets; /* [B,S,N] */
    float *weights;            /* [B,S,N] */
    int32_t *since, *len;      /* [B,S] */
    double *carried;           /* [B] of the document that starts with the row's first segment, -1: none; NULL: all -1 */
    int *text;                 /* [B] its text; NULL: all 0 */
    int64_t misplaced;         /* documents with a carried-in state that start elsewhere in the step: an error */
    int64_t scored;            /* tokens with a weight */
    double weight_sum;         /* before normalisation */
};
struct batcher; /* holds the open document of each row */
struct batcher *batcher_create(struct source *s, int64_t rows, int64_t segments, int64_t n);
void batcher_free(struct batcher *b);
void batcher_next(struct batcher *b, struct batch *out); /* out's arrays belong to the batcher */
char *batcher_save(const struct batcher *b);             /* positions in the open documents and the source's cursor; malloc'd */
int batcher_load(struct batcher *b, const char *text, struct error *e);

#endif
