/* chronicle_source.c - training on chronicles: narrative, marker and summary with a weight per token, each document a function of
 * seed and number alone, so a cursor is a number. It does not know models; carried-in states are only asked for here (source.h). */
#include "chronicle.h"
#include "lessons.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HAYSTACK_STREAM 0x63686879u
#define SAMPLE_STREAM 0x6368736du

struct lessons {
    struct source source;
    struct chronicle_text *text;
    struct haystack haystack;
    struct narrative narrative;
    uint64_t seed, identity;
    int64_t length, shortest, next, most; /* most: tokens of a document */
    double answer_weight, carried;
    struct lesson_rows rows;
    int32_t *filler;
};

static void lessons_next(struct source *s, int64_t row, struct document *d) {
    struct lessons *l = s->data;
    struct lesson_row *m = lesson_row(&l->rows, row, l->most);
    const struct chronicle_shape *shape = &l->text->shape;
    const struct stretch *marker = &l->text->marker;
    struct rng r;
    int64_t number = l->next++;
    rng_seed(&r, l->seed, hash64(&number, sizeof number, SAMPLE_STREAM));
    double u = rng_uniform(&r), carried = draw_carried(l->carried, &r);
    int64_t length = llround((double)l->shortest * pow((double)l->length / (double)l->shortest, u));
    if (shape->segment) length = length / shape->segment * shape->segment;
    /* The plain filler is always the same; other haystacks are drawn anew for each document. */
    if (shape->filler.haystack != HAYSTACK_REPEATED)
        haystack_make(&l->haystack, l->text->filler, l->seed ^ HAYSTACK_STREAM, number, l->length);
    struct narrative *v = &l->narrative;
    narrative_make(v, l->text, &l->haystack, &r, length - marker->n);
    narrative_read(v, 0, v->n, m->tokens);
    memcpy(m->tokens + v->n, marker->tokens, (size_t)marker->n * sizeof *m->tokens);
    char *summary = chronicle_summary(v->event, v->events);
    int32_t *said;
    int64_t n = l->text->tokenizer->encode(l->text->tokenizer, summary, strlen(summary), &said);
    CHECK(length + n <= l->most, "a summary of %" PRId64 " tokens", n);
    memcpy(m->tokens + length, said, (size_t)n * sizeof *said);
    free(said);
    free(summary);
    /* The summary's tokens together get answer_weight times what all tokens get; so does the end that follows them. */
    float extra = (float)(l->answer_weight * (double)(length + n) / (double)n);
    for (int64_t i = 0; i < length + n; i++) m->weights[i] = 1 + (i >= length ? extra : 0);
    *d = (struct document){.tokens = m->tokens,
                           .weights = m->weights,
                           .n = length + n,
                           .carried = carried,
                           .text = shape->filler.haystack != HAYSTACK_REPEATED};
}

static char *lessons_save(const struct source *s) {
    const struct lessons *l = s->data;
    return lesson_save("chronicle", l->identity, l->seed, l->next);
}

static int lessons_load(struct source *s, const char *text, struct error *e) {
    struct lessons *l = s->data;
    return lesson_load("chronicle", text, l->identity, l->seed, &l->next, e);
}

static void lessons_free(struct source *s) {
    struct lessons *l = s->data;
    lesson_rows_free(&l->rows);
    free(l->filler);
    haystack_free(&l->haystack);
    chronicle_text_free(l->text);
    free(l);
}

static int take_options(struct lessons *l, const struct options *o, struct error *e) {
    int64_t segment = l->text->shape.segment;
    l->length = options_int(o, "length");
    l->shortest = options_int(o, "length_min") ? options_int(o, "length_min") : l->length;
    if (l->shortest > l->length)
        return fail(e, "chronicle: length_min = %" PRId64 " is more than length = %" PRId64, l->shortest, l->length);
    if (l->length > INT32_MAX / 2)
        return fail(e, "chronicle: a document of %" PRId64 " tokens to train on; take a shorter length", l->length);
    if (segment && (l->length % segment || l->shortest % segment))
        return fail(e, "chronicle: length = %" PRId64 " and length_min must be multiples of segment = %" PRId64 " (or segment = 0)",
                    l->length, segment);
    l->most = l->length + chronicle_summary_most(l->text, l->text->shape.events);
    l->answer_weight = options_real(o, "answer_weight");
    l->carried = options_real(o, "carried");
    return chronicle_fits(l->text, l->shortest, e);
}

struct source *chronicle_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e) {
    struct chronicle_shape shape;
    chronicle_shape(&shape, o, false);
    if (shape.events_min > shape.events)
        return fail(e, "chronicle: events_min = %d is more than events = %d", shape.events_min, shape.events), NULL;
    struct lessons *l = xcalloc(1, sizeof *l);
    l->source = (struct source){
        .name = "chronicle", .next = lessons_next, .save = lessons_save, .load = lessons_load, .free = lessons_free, .data = l};
    l->seed = hash64(&shape.filler.seed, sizeof shape.filler.seed, seed);
    shape.filler.seed = l->seed;
    l->text = chronicle_text_open(t, &shape, e);
    if (!l->text || take_options(l, o, e)) {
        lessons_free(&l->source);
        return NULL;
    }
    char *options = options_join(o, "\n", false);
    l->identity = hash64(options, strlen(options), t->hash ^ l->text->filler->book_hash);
    free(options);
    if (l->carried > 0) l->filler = take_filler(&l->source, l->text->filler, l->carried);
    haystack_make(&l->haystack, l->text->filler, l->seed ^ HAYSTACK_STREAM, -1, l->length);
    return &l->source;
}
