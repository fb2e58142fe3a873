/* passkey.h - the parts of the task passkey: its text, its prompts, streaming them, judging answers, training on it.
 *
 * Counting. A document is prompt, answer and a full stop, n tokens without BOS. Token i is input i + 1 (input 0 is BOS) and is
 * predicted at input i. Segment of an input: its number / N. `length` counts what a model reads: n + 1 <= length. */
#ifndef INFINIBENCH_PASSKEY_H
#define INFINIBENCH_PASSKEY_H

#include "harness/generate.h"
#include "harness/task.h"

#define PASSKEY_NEEDLES 8
#define PASSKEY_SYMBOLS 16 /* longest value */
#define PASSKEY_NAMES 256  /* "north gate": all pairs of two lists */
#define PASSKEY_LENGTHS 16
#define PASSKEY_PLACES 101

enum passkey_haystack { HAYSTACK_REPEATED, HAYSTACK_SHUFFLED, HAYSTACK_BOOK, HAYSTACK_DISTRACTORS };
/* What the text is made of, from the options. */
struct passkey_shape {
    enum passkey_haystack haystack;
    bool letters, evaluation; /* evaluation: keys of the evaluation half, book text of the test split */
    int value_length, needles;
    uint64_t seed;
    const char *corpus; /* book */
    int64_t limit;      /* bytes of each book, 0: all */
};

struct stretch {
    const int32_t *tokens;
    int64_t n;
};
/* Tokens [from, from + n) of stretches that lie one after the other. */
void stretches_read(const struct stretch *s, int count, int64_t from, int64_t n, int32_t *out);
/* Sentences one after the other: sentence i is tokens[end[i-1]] .. tokens[end[i]-1]. */
struct sentences {
    int32_t *tokens;
    int64_t *end;
    int64_t n, count, room, end_room;
};
/* The fixed sentences as tokens of a tokenizer. */
struct passkey_text {
    const struct tokenizer *tokenizer;
    struct passkey_shape shape;
    struct stretch introduction, filler[5], remember, stop;
    struct stretch said[PASSKEY_NAMES + 1];  /* " The pass key of the NAME is"; the last: without a name */
    struct stretch again[PASSKEY_NAMES + 1]; /* " is the pass key of the NAME." */
    struct stretch asked[PASSKEY_NAMES +
                         1]; /* " What is the pass key of the NAME? The pass key of the NAME is" and the space before a value */
    int32_t space, symbol[26];
    struct sentences book; /* empty unless the haystack is one */
    uint64_t book_hash;
};
/* Errors: a tokenizer in which a digit (or letter) is not one token, a corpus that is not there. */
struct passkey_text *passkey_text_open(const struct tokenizer *t, const struct passkey_shape *shape, struct error *e);
void passkey_text_free(struct passkey_text *x);
/* Hash of the books that training and evaluation read; 0 without book text. */
int passkey_book_hash(const struct passkey_shape *shape, uint64_t *hash, struct error *e);

/* Is this value kept for evaluation? One in eight is, by the hash of its characters; training never draws these. */
bool passkey_kept(const char *value);
/* Draws value_length digits or letters of the shape's half. */
void passkey_draw_value(const struct passkey_text *x, struct rng *r, char value[PASSKEY_SYMBOLS + 1]);

/* What lies around the needles: sentences from the start, and who may be asked for. */
struct haystack {
    struct sentences s;
    int names[PASSKEY_NAMES]; /* shuffled: needles take of the first 32, distractors of the others */
};
/* Draws haystack number `index` of `stream`, at least `tokens` long. The repeated one is always the same. */
void haystack_make(struct haystack *h, const struct passkey_text *x, uint64_t stream, int64_t index, int64_t tokens);
void haystack_free(struct haystack *h);

/* The needles of a sample: number 0 is asked for; the others lie at `place` of the haystack's sentences. */
struct passkey_sample {
    char value[PASSKEY_NEEDLES][PASSKEY_SYMBOLS + 1];
    int name[PASSKEY_NEEDLES];
    double place[PASSKEY_NEEDLES];
};
void passkey_sample(struct passkey_sample *s, const struct passkey_text *x, const struct haystack *h, struct rng *r);

/* A document, as stretches of tokens that belong to the text and the haystack, or to itself. */
struct prompt {
    struct stretch stretch[2 * PASSKEY_NEEDLES + 3];
    int count, needles;
    int64_t n, sentences;                                         /* tokens; filler sentences */
    int64_t needle[PASSKEY_NEEDLES], needle_end[PASSKEY_NEEDLES]; /* in the order of the sample: first token, one after the last */
    int64_t query, answer;                                        /* first tokens */
    int32_t own[(PASSKEY_NEEDLES + 1) * 160];
};
/* The shortest length (BOS included) that holds the needles of any sample; the introduction, needles, query, answer, full stop. */
int64_t passkey_minimum(const struct passkey_text *x);
/* Lays a sample into the haystack: as many whole sentences as fit into `length`, the needle after the fraction `depth` of them.
 * With `anywhere` the filler fills `length` to the token, and needles lie after that fraction of its tokens. */
void prompt_make(struct prompt *p, const struct passkey_text *x, const struct haystack *h, const struct passkey_sample *s,
                 int64_t length, double depth, bool anywhere);
/* Tokens [from, from + n) of the document. */
void prompt_read(const struct prompt *p, int64_t from, int64_t n, int32_t *out);
/* Memory writes after the needle's last token was read and before the answer's first symbol is predicted, in segments of n. */
int64_t prompt_writes(const struct prompt *p, int64_t n);

/* ---- judging ---- */
struct passkey_judgement {
    int right, until; /* symbols that are right; those before the first wrong one */
    bool exact;
    double nats; /* of all symbols */
    int32_t said[PASSKEY_SYMBOLS];
};
/* logits [n, vocab], row i = the distribution of symbol i given the right ones before it. A symbol is what is largest among all
 * tokens (ties: the smaller number); NaN is never right. */
void passkey_judge(struct passkey_judgement *j, const float *logits, int64_t vocab, const int32_t *answer, int n);

/* ---- contrast: how well a compressive memory hears the needle (infini with a memory only) ---- */
struct passkey_contrast;
/* For the first `rows` rows of a stream that will read these prompts, whose answers have `symbols` symbols. */
struct passkey_contrast *contrast_open(const struct model *m, const struct prompt *prompts, int rows, int symbols);
void contrast_close(struct passkey_contrast *x);
stream_watcher contrast_watch;                                            /* data: the contrast */
void contrast_memory(struct passkey_contrast *x, const struct stream *s); /* after the prompts, before the answers */
/* c = sigma(q) sigma(k*) / mean_t sigma(q) sigma(k_t) of a query head, mean over rows and symbols (1: no better than any other
 * token); share: what the needle's tokens together have of the weights. After the answers. */
double contrast_value(const struct passkey_contrast *x, int layer, int64_t head, double *share);
int contrast_samples(const struct passkey_contrast *x); /* that it is the mean of: the first batch */

/* ---- evaluation ---- */
struct passkey_place {
    char name[12];
    double depth;
};
struct passkey_outcome {
    bool exact;
    int right;
    double nats;
    int64_t writes, tokens;
};
struct passkey_plan {
    int lengths, places; /* in ascending order */
    int64_t length[PASSKEY_LENGTHS], samples[PASSKEY_LENGTHS];
    struct passkey_place place[PASSKEY_PLACES];
    int64_t haystacks, rows, segments;
    bool greedy, share, tail; /* share: read once what samples share (no: once a sample); tail: read only what is within reach */
    enum knock_out knock_out; /* of all heads */
    const int32_t *knocked;   /* instead of it, [layers,heads]: of single heads (stream.h); NULL: none */
    const char *label;        /* of the progress line; NULL: from knock_out */
    /* Called after the prompt of the first sample of each length at the last place; may be NULL. */
    void (*look)(void *data, const struct stream *s, int64_t length);
    /* Called after the answers of the first samples of each length at the first place, if its needle is in the memory; may be NULL.
     */
    void (*listen)(void *data, const struct passkey_contrast *x, int64_t length);
    void *data;
};
/* The plan that the options describe. */
int passkey_plan_read(struct passkey_plan *p, const struct passkey_text *x, const struct options *o, struct error *e);
/* The condition of results: sorted key=value pairs; what is NULL is left out. */
void passkey_condition(char out[128], const struct passkey_shape *s, const char *knock_out, const char *skipped);
/* out[(length * places + place) * most + sample], most = the largest number of samples; malloc'd. NULL: error. */
struct passkey_outcome *passkey_evaluate(struct model *m, const struct passkey_text *x, const struct passkey_plan *plan,
                                         int64_t *most, struct error *e);

/* Tokens that the architecture transformer attends to and was trained on; 0: another one, or one that attends to its segment. */
int64_t trained_window(const struct model *m);

/* ---- training ---- */
/* The multiplier of a document's carried-in state: 0 for a quarter of them, otherwise log-uniform in 1 .. most; -1 where most is 0.
 */
double draw_carried(double most, struct rng *r);
/* Gives the source what carried-in states are made of: one period of the plain filler; of a haystack that has none a text about as
 * long as the longest that is asked for. The tokens, to be freed after the source. */
int32_t *take_filler(struct source *s, const struct passkey_text *x, double carried);
struct source *passkey_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e);
/* The shape that the options describe. */
void passkey_shape(struct passkey_shape *s, const struct options *o, bool evaluation);
extern const struct option passkey_options[];

#endif
