/* summarize_source.c - training on books and their summaries: the first tokens of the text, the marker, a summary; the loss is on
 * the summary. A document is a function of seed and number alone, so a cursor is a number. */
#include "summarize.h"
#include "lessons.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_STREAM 0x73756d6fu
#define SUMMARY_STREAM 0x73756d73u

struct tokens {
    int32_t *token;
    int64_t n;
};
struct entry { /* a book as tokens */
    struct tokens text, *summary;
    int summaries;
};
struct lessons {
    struct source source;
    struct entry *entry;
    int count;
    struct tokens marker;
    uint64_t seed, identity;
    int64_t next, length, most, epoch; /* epoch: of the order */
    int *order;
    float text_weight;
    struct lesson_rows rows;
};

/* The order of an epoch depends on seed and epoch alone. */
static void shuffle(struct lessons *l, int64_t epoch) {
    struct rng r;
    rng_seed(&r, l->seed, hash64(&epoch, sizeof epoch, ORDER_STREAM));
    for (int i = 0; i < l->count; i++) l->order[i] = i;
    for (int i = l->count - 1; i > 0; i--) {
        int j = (int)rng_below(&r, i + 1), kept = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = kept;
    }
    l->epoch = epoch;
}

static void lessons_next(struct source *s, int64_t row, struct document *d) {
    struct lessons *l = s->data;
    struct lesson_row *m = lesson_row(&l->rows, row, l->length + l->marker.n + l->most);
    int64_t number = l->next++;
    if (number / l->count != l->epoch) shuffle(l, number / l->count);
    const struct entry *x = &l->entry[l->order[number % l->count]];
    struct rng r;
    rng_seed(&r, l->seed, hash64(&number, sizeof number, SUMMARY_STREAM));
    const struct tokens *summary = &x->summary[rng_below(&r, x->summaries)];
    int64_t n = x->text.n, said = summary->n < l->most ? summary->n : l->most, begin = n + l->marker.n;
    memcpy(m->tokens, x->text.token, (size_t)n * sizeof *m->tokens);
    memcpy(m->tokens + n, l->marker.token, (size_t)l->marker.n * sizeof *m->tokens);
    memcpy(m->tokens + begin, summary->token, (size_t)said * sizeof *m->tokens);
    for (int64_t i = 0; i < begin + said; i++) m->weights[i] = i < begin ? l->text_weight : 1;
    /* The end weighs what the last token weighs: a summary that is cut does not end where it is cut. */
    if (said < summary->n) m->weights[begin + said - 1] = 0;
    *d = (struct document){.tokens = m->tokens, .weights = m->weights, .n = begin + said, .carried = -1};
}

static char *lessons_save(const struct source *s) {
    const struct lessons *l = s->data;
    return lesson_save("summarize", l->identity, l->seed, l->next);
}

static int lessons_load(struct source *s, const char *text, struct error *e) {
    struct lessons *l = s->data;
    return lesson_load("summarize", text, l->identity, l->seed, &l->next, e);
}

static void lessons_free(struct source *s) {
    struct lessons *l = s->data;
    lesson_rows_free(&l->rows);
    for (int i = 0; i < l->count; i++) {
        for (int k = 0; k < l->entry[i].summaries; k++) free(l->entry[i].summary[k].token);
        free(l->entry[i].summary);
        free(l->entry[i].text.token);
    }
    free(l->entry);
    free(l->order);
    free(l->marker.token);
    free(l);
}

static struct tokens encode(const struct tokenizer *t, const char *text, int64_t most) {
    struct tokens x;
    x.n = t->encode(t, text, strlen(text), &x.token);
    if (x.n > most) x.n = most;
    x.token = xrealloc(x.token, (size_t)x.n + 1, sizeof *x.token);
    return x;
}

struct source *summarize_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e) {
    struct books *b = books_open(options_text(o, "corpus"), options_text(o, "train"), options_int(o, "limit"), e);
    if (!b) return NULL;
    struct lessons *l = xcalloc(1, sizeof *l);
    uint64_t own = (uint64_t)options_int(o, "seed");
    l->source = (struct source){
        .name = "summarize", .next = lessons_next, .save = lessons_save, .load = lessons_load, .free = lessons_free, .data = l};
    l->seed = hash64(&own, sizeof own, seed);
    l->length = options_int(o, "length");
    l->most = options_int(o, "summary_tokens");
    l->text_weight = (float)options_real(o, "text_weight");
    l->marker.n = summarize_marker(o, t, &l->marker.token);
    l->count = b->count;
    l->entry = xcalloc((size_t)b->count, sizeof *l->entry);
    l->order = xcalloc((size_t)b->count, sizeof *l->order);
    l->epoch = -1;
    for (int i = 0; i < b->count; i++) {
        struct entry *x = &l->entry[i];
        x->text = encode(t, b->book[i].text, l->length);
        x->summaries = b->book[i].count;
        x->summary = xcalloc((size_t)x->summaries, sizeof *x->summary);
        for (int k = 0; k < x->summaries; k++) x->summary[k] = encode(t, b->book[i].summaries[k], INT32_MAX);
    }
    char *options = options_join(o, "\n", false);
    l->identity = hash64(options, strlen(options), t->hash ^ b->hash);
    free(options);
    books_free(b);
    return &l->source;
}
