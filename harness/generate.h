/* generate.h - continuations of what a stream has read, token by token from its carried state.
 *
 * What is said is read like any text: a segment is written to the memory when it is complete, and what the prompt left of its last
 * segment stays local until then. So the distributions are those of teacher forcing on prompt and continuation. */
#ifndef INFINIBENCH_GENERATE_H
#define INFINIBENCH_GENERATE_H

#include "stream.h"

struct decoding {
    double temperature, top_p; /* temperature 0: the largest logit, of equal ones the smaller token; top_p in (0, 1] */
    int64_t most;              /* tokens of a continuation, the stop token not counted */
    int32_t stop;              /* ends a continuation and is no part of it; -1: there is none */
    uint64_t seed;
};
enum generation_end {
    GENERATION_FULL,    /* it has `most` tokens */
    GENERATION_STOPPED, /* the model gave the stop token */
    GENERATION_BROKEN   /* its logits are no numbers: nothing can be drawn from them */
};
struct generation {  /* of one row */
    int32_t *tokens; /* room for `most`; the caller's */
    int64_t n;       /* before: tokens that are given and read as they are (a row that has `most` is left
                        alone); after: those and what was said */
    uint64_t number; /* of the row's random numbers: equal numbers draw equally, whatever rows stand beside it */
    enum generation_end end;
};
/* A stop token that the model cannot say is an error: its texts would only end by their length. */
int decoding_check(const struct decoding *d, const struct model *m, struct error *e);
/* Continues rows 0 .. count - 1 of the stream; the state goes on with what was said. watcher (or NULL) sees every token with the
 * logits that it was taken from, the stop token too. */
typedef void generation_watcher(void *data, int64_t row, int32_t token, const float *logits);
void generate(struct stream *s, const struct decoding *d, struct generation *rows, int64_t count, generation_watcher *watcher,
              void *data);
/* The token with the largest logit (ties: the smaller one); -1 where a logit is NaN. */
int32_t largest_token(const float *logits, int64_t vocab);

#endif
