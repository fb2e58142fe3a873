/* ngram.h - an interpolated Witten-Bell n-gram over tokens, the floor under every trained model.
 *
 * p(w | u v) = (c(u v w) + T(u v) p(w | v)) / (c(u v) + T(u v)), T(u v) the number of different tokens seen after u v; the
 * recursion ends in p(w) = (c(w) + T / V) / (c + T), T the number of different tokens seen. (Witten and Bell 1991; Chen and Goodman
 * 1999.) */
#ifndef INFINIBENCH_NGRAM_H
#define INFINIBENCH_NGRAM_H

#include "harness/corpus.h"

#define NGRAM_MAX 3
struct ngram;
/* Counts all documents of c, each starting from BOS. order 1 .. NGRAM_MAX; vocabularies up to 2^20. */
struct ngram *ngram_fit(const struct corpus *c, int64_t vocab, int order);
void ngram_free(struct ngram *g);
/* -ln p of each token of a document, the first from BOS (and nothing before it). */
void ngram_score(const struct ngram *g, const int32_t *tokens, int64_t n, float *nll);

#endif
