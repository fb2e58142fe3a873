/* documents.h - whole documents of a corpus scored by a stream, each token exactly once, the first from BOS; state is carried
 * through a document and reset before the next. For the tasks that measure bits per byte. */
#ifndef INFINIBENCH_DOCUMENTS_H
#define INFINIBENCH_DOCUMENTS_H

#include "harness/task.h"

#define CALL_TOKENS 2048 /* tokens a call by default: large enough for the products, small enough for the cache */
#define BUCKETS 5        /* positions: segments 1, 2-4, 5-16, 17-64, 65+ of the document */

/* What the scores of a document add up to, by bucket. */
struct document_sums {
    double nats[BUCKETS], bytes[BUCKETS], tokens;
};
struct scoring {
    struct cell_writer *out;
    const struct corpus *corpus;
    int64_t segment;
    int32_t *token_bytes;       /* [vocab] */
    struct document_sums *sums; /* [count] */
    int count;
};

/* The options corpus, split, limit and documents are read: the corpus that they name, else that of the training, else kjv. */
struct corpus *documents_open(const struct options *o, const struct corpus *train, const char *split, const struct tokenizer *t,
                              size_t limit, struct error *e);
/* struct task's data_hash: 0 without a corpus: experiment_cell.c asks with the name of the one that the training stage read. */
int documents_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e);
int documents_count(const struct options *o, const struct corpus *c);
int32_t *documents_token_bytes(const struct tokenizer *t); /* bytes that each token stands for; malloc'd */
int documents_bucket(int64_t token, int64_t segment);
void scoring_add(struct scoring *j, int d, int64_t token, double nats);
void scoring_add_tokens(struct scoring *j, int d, int64_t first, int64_t n, const float *nll);
/* Feeds every document to a row of the stream, chunk tokens at a time, and adds up its scores. */
void documents_score(struct scoring *j, struct stream *s, int64_t rows, int64_t chunk, const char *label);

#endif
