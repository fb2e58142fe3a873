/* recall.h - samples of associative recall: what they say, where it stands, who judges an answer. recall_sample.c makes them and
 * trains on them, recall.c feeds them to a model and measures; tests read this header too. */
#ifndef INFINIBENCH_RECALL_H
#define INFINIBENCH_RECALL_H

#include "harness/corpus.h"

#define RECALL_SIZES 32 /* numbers of pairs in one list */
#define RECALL_PAIRS 4096
#define RECALL_LENGTH 8 /* symbols of a key or a value */

enum recall_kind { RECALL_REMEMBER, RECALL_REWRITE, RECALL_MULTI_QUERY };
enum recall_filler { RECALL_DOTS, RECALL_TEXT, RECALL_NOISE };

/* The options, read and checked. */
struct recall_spec {
    enum recall_kind kind;
    enum recall_filler filler;
    int64_t pairs[RECALL_SIZES];
    int count;                                             /* of pairs */
    int64_t key_length, key_letters, value_length, values; /* values: different symbols at a place of a value */
    int64_t rewrites;                                      /* how often a key is written */
    int64_t queries;                                       /* per sample, 0: every key once */
    int64_t spread;                                        /* pairs in a segment, 0: dense */
    int64_t gap;                                           /* segment boundaries between the last pair and the first query */
    int64_t span;                                          /* segments of a whole sample, 0: as many as it takes */
    int64_t segment;                                       /* tokens of a segment; 0: samples know of none */
    double answer_weight, text_weight;
};
extern const struct option recall_options[];
/* segment: of the model that is measured, taken where the options say none; 0: there is no model, it is a source. */
int recall_read(struct recall_spec *s, const struct options *o, int64_t segment, struct error *e);
double recall_possible_keys(const struct recall_spec *s);
double recall_possible_values(const struct recall_spec *s); /* v of the capacity estimate */

/* Where things stand in a sample of n pairs; the same for all of them. Token positions; token i is input i + 1, after BOS. */
struct recall_layout {
    int64_t n, writes, queries;
    int64_t *pair;  /* [writes] first token of a pair: key, value, ' ' */
    int64_t *query; /* [queries] '?', key, value, '\n' */
    int64_t tokens;
};
int recall_layout_make(struct recall_layout *l, const struct recall_spec *s, int64_t n, struct error *e);
void recall_layout_free(struct recall_layout *l);
/* First answer token of a query. */
int64_t recall_answer(const struct recall_spec *s, const struct recall_layout *l, int64_t query);
/* Memory writes of a model with segments of `segment` tokens between reading the pair's last value symbol and the first prediction
 * of the answer; 0: the pair ends in the segment of the answer, which local attention sees. */
int64_t recall_writes_between(const struct recall_spec *s, const struct recall_layout *l, int64_t pair, int64_t query,
                              int64_t segment);

struct recall_sample {
    int32_t *tokens; /* [tokens of the layout] */
    int64_t *key,
        *value;     /* [writes] numbers of what was written: digits of base key_letters and base values, first symbol highest */
    int64_t *asked; /* [queries] the write that holds the answer: the last one of its key */
};
void recall_sample_free(struct recall_sample *x);

/* Symbols and filler as tokens. Every symbol of keys, values and marks is encoded by itself: one token with every tokenizer. */
struct recall_maker {
    struct recall_spec spec;
    int32_t key[26], value[36], mark_query, mark_pair, mark_end;
    int32_t *filler; /* repeated from its start in every stretch; noise: drawn from */
    int64_t filler_n;
};
/* Errors: a tokenizer that needs more than one token for a symbol. */
int recall_maker_init(struct recall_maker *m, const struct recall_spec *s, const struct tokenizer *t, struct error *e);
void recall_maker_free(struct recall_maker *m);
/* A sample drawn from r into x, whose arrays are made on the first call for this layout. Samples of training and of evaluation have
 * no set of written pairs in common wherever there are at least RECALL_DISJOINT sets: a hash of the set says whose it is. */
#define RECALL_DISJOINT 1000
void recall_draw(const struct recall_maker *m, const struct recall_layout *l, struct rng *r, bool evaluation,
                 struct recall_sample *x);
/* Whose a set of pairs is: 1/8 belongs to evaluation. */
bool recall_is_evaluation(const struct recall_sample *x, int64_t writes);

/* One answer judged: logits [n, vocab] from which its n tokens were predicted, teacher-forced. */
struct recall_verdict {
    bool exact;    /* every token is the largest logit (of equal ones the smaller token); the same as greedy decoding */
    int64_t right; /* tokens that are */
    double nll;    /* nats, sum over the tokens */
};
struct recall_verdict recall_judge(const float *logits, const int32_t *answer, int64_t n, int64_t vocab);

/* k = n (v alpha - 1) / (v - 1), the pairs that are stored if the others are guessed: alpha = share of exact answers, v = possible
 * values (ARMT, Appendix B). Below 0 where fewer are right than guessing gives. */
double recall_capacity(double n, double v, double alpha);

struct source *recall_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e);

#endif
