/* filler.h - a source of documents with carried-in states for tests. */
#ifndef INFINIBENCH_TEST_FILLER_H
#define INFINIBENCH_TEST_FILLER_H

#include "../../harness/source.h"

/* Document i has n tokens 1 .. vocab-1 by a formula of i, and starts from multipliers[i % count] (< 0: empty). The cursor is i.
 * filler NULL: the same documents without the feature. Who gives the source a text (source.h) gets every other document from it,
 * without a filler every one. */
struct source *filler_source(int64_t n, int64_t vocab, const int32_t *filler, int64_t filler_n, const double *multipliers,
                             int64_t count);

#endif
