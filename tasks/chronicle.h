/* chronicle.h - the parts of the task chronicle: its words, its narratives, judging summaries, training on them.
 *
 * A narrative is an introduction and filler in which events ("In the third year the miller of Ashford found a ring.") lie in the
 * order of their years, and rumours that are not to be listed. A marker follows, and then the summary: the events' sentences in
 * order. Token i is input i + 1 (input 0 is BOS). `length` and a budget count the tokens before the summary, the marker included:
 * what a model has read when it says the summary's first word. */
#ifndef INFINIBENCH_CHRONICLE_H
#define INFINIBENCH_CHRONICLE_H

#include "passkey.h"
#include "summary.h"

#define CHRONICLE_EVENTS 16 /* most; so many ordinals there are */
#define CHRONICLE_RUMOURS 64
#define CHRONICLE_WORDS 16   /* of each list */
#define CHRONICLE_TOKENS 192 /* of an event or a rumour, also of bytes */

enum chronicle_places { PLACES_EVEN, PLACES_RANDOM, PLACES_LOG };
struct chronicle_shape {
    struct passkey_shape filler; /* repeated, shuffled, book; its `evaluation` and `seed` count for events too */
    enum chronicle_places places;
    bool anywhere; /* items anywhere in the filler, else between whole sentences */
    int events, events_min, rumours;
    int64_t segment; /* no event or rumour is cut by segments of so many tokens; 0: they may be */
    int64_t first;   /* log places: events begin at half of this many tokens */
    double end_share;
};
/* What happened: numbers of words. */
struct chronicle_line {
    int year, who, where, what;
};
struct chronicle_text {
    const struct tokenizer *tokenizer;
    struct chronicle_shape shape;
    struct passkey_text *filler;
    struct stretch introduction, marker;
    int64_t event_most, rumour_most; /* tokens of the longest event and rumour */
};
struct chronicle_text *chronicle_text_open(const struct tokenizer *t, const struct chronicle_shape *shape, struct error *e);
void chronicle_text_free(struct chronicle_text *x);

/* Is this combination of who, where and what kept for evaluation? One in eight is, by hash; training never draws these. */
bool chronicle_kept(const struct chronicle_line *l);
/* Draws who, where and what of the shape's half. */
void chronicle_draw(const struct chronicle_text *x, struct rng *r, struct chronicle_line *l);
/* "In the third year the miller of Ashford found a ring." into out. */
#define CHRONICLE_SENTENCE 160
void chronicle_sentence(char out[CHRONICLE_SENTENCE], const struct chronicle_line *l);
/* The sentences of some events in their order, each after a space; malloc'd. */
char *chronicle_summary(const struct chronicle_line *events, int count);
/* Tokens of the longest summary of `events` events. */
int64_t chronicle_summary_most(const struct chronicle_text *x, int events);

struct narrative {
    struct stretch stretch[2 * (CHRONICLE_EVENTS + CHRONICLE_RUMOURS) + 2];
    int count, events, rumours;
    int64_t n; /* tokens, without marker */
    struct chronicle_line event[CHRONICLE_EVENTS], rumour[CHRONICLE_RUMOURS];
    int64_t event_at[CHRONICLE_EVENTS], event_end[CHRONICLE_EVENTS]; /* first token, one after the last */
    int64_t rumour_at[CHRONICLE_RUMOURS], rumour_end[CHRONICLE_RUMOURS];
    int32_t own[CHRONICLE_EVENTS + CHRONICLE_RUMOURS][CHRONICLE_TOKENS];
};
/* 0, or a sentence that says the shortest length (tokens before the summary) that holds everything. */
int chronicle_fits(const struct chronicle_text *x, int64_t length, struct error *e);
/* Draws events, rumours and their places from r, and lays them into n tokens of the haystack (at least n long). In evaluation there
 * are `events` events, in training events_min .. events. */
void narrative_make(struct narrative *v, const struct chronicle_text *x, const struct haystack *h, struct rng *r, int64_t n);
void narrative_read(const struct narrative *v, int64_t from, int64_t n, int32_t *out);
/* Events that end within the first `tokens` tokens. */
int narrative_within(const struct narrative *v, int64_t tokens);

/* ---- judging ---- */
struct chronicle_judgement {
    int named;    /* events within what was read whose sentence was said */
    int invented; /* sentences said that are none of these; those of rumours among them */
    int rumoured; /* sentences of rumours within what was read */
    int words;    /* who, where and what right in the first sentence said of an event's year; of 3 an event */
    bool is_named[CHRONICLE_EVENTS];
};
/* A sentence ends with a full stop; what follows the last one is none. One that is said again counts once. */
void chronicle_judge(struct chronicle_judgement *j, const struct narrative *v, int64_t tokens, const char *said);

struct chronicle_outcome {                                              /* of a sample at a budget */
    double said[ROUGE_KINDS], ceiling[ROUGE_KINDS], floor[ROUGE_KINDS]; /* F1 x 100 */
    double words, reference_words;
    int within;                       /* events within the budget */
    int64_t writes[CHRONICLE_EVENTS]; /* of them, since they were read; the caller's */
    struct chronicle_judgement j;
    bool stopped; /* the caller's */
};
/* Judges what was said after `budget` tokens of a narrative, beside the best summary and one that knows the form alone. */
int chronicle_score(struct chronicle_outcome *o, struct rouge *rouge, const struct chronicle_text *x, const struct narrative *v,
                    int64_t budget, int64_t sample, const char *said, struct error *e);

/* ---- training ---- */
extern const struct option chronicle_options[];
void chronicle_shape(struct chronicle_shape *s, const struct options *o, bool evaluation);
struct source *chronicle_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e);

#endif
