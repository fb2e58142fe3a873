/* passkey_source.c - training on passkey prompts: documents with a weight per token, each a function of seed and number alone, so a
 * cursor is a number. It does not know models; carried-in states are only asked for here (source.h). */
#include "passkey.h"
#include "lessons.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HAYSTACK_STREAM 0x706b6879u
#define SAMPLE_STREAM 0x706b736du
#define TEXT_TOKENS 2097152 /* most that are read of a haystack that has no period */

struct lessons {
    struct source source;
    struct passkey_text *text;
    struct haystack haystack;
    struct prompt prompt;
    uint64_t seed, identity;
    int64_t length, shortest, next;
    double end_share, answer_weight, carried;
    bool anywhere;
    struct lesson_rows rows;
    int32_t *filler;
};

double draw_carried(double most, struct rng *r) {
    double quarter = rng_uniform(r), u = rng_uniform(r);
    if (!(most > 0)) return -1;
    return quarter < 0.25 ? 0 : exp(u * log(most));
}

static void lessons_next(struct source *s, int64_t row, struct document *d) {
    struct lessons *l = s->data;
    struct lesson_row *m = lesson_row(&l->rows, row, l->length);
    const struct passkey_shape *shape = &l->text->shape;
    struct passkey_sample sample;
    struct rng r;
    int64_t number = l->next++;
    rng_seed(&r, l->seed, hash64(&number, sizeof number, SAMPLE_STREAM));
    double u = rng_uniform(&r), end = rng_uniform(&r), depth = rng_uniform(&r), carried = draw_carried(l->carried, &r);
    int64_t length = llround((double)l->shortest * pow((double)l->length / (double)l->shortest, u));
    /* The plain filler is always the same; everything else is drawn anew for each document. */
    if (shape->haystack != HAYSTACK_REPEATED || shape->needles > 1)
        haystack_make(&l->haystack, l->text, l->seed ^ HAYSTACK_STREAM, number, l->length);
    passkey_sample(&sample, l->text, &l->haystack, &r);
    struct prompt *p = &l->prompt;
    prompt_make(p, l->text, &l->haystack, &sample, length, end < l->end_share ? 1 : depth, l->anywhere);
    prompt_read(p, 0, p->n, m->tokens);
    /* The answer's tokens together get answer_weight times what all tokens get. */
    float extra = (float)(l->answer_weight * (double)p->n / shape->value_length);
    for (int64_t i = 0; i < p->n; i++) m->weights[i] = 1 + (i >= p->answer && i < p->answer + shape->value_length ? extra : 0);
    *d = (struct document){
        .tokens = m->tokens, .weights = m->weights, .n = p->n, .carried = carried, .text = shape->haystack != HAYSTACK_REPEATED};
}

static char *lessons_save(const struct source *s) {
    const struct lessons *l = s->data;
    return lesson_save("passkey", l->identity, l->seed, l->next);
}

static int lessons_load(struct source *s, const char *text, struct error *e) {
    struct lessons *l = s->data;
    return lesson_load("passkey", text, l->identity, l->seed, &l->next, e);
}

static void lessons_free(struct source *s) {
    struct lessons *l = s->data;
    lesson_rows_free(&l->rows);
    free(l->filler);
    haystack_free(&l->haystack);
    passkey_text_free(l->text);
    free(l);
}

/* A period is 3 segments, of up to 128 tokens in the presets that learn this. */
int32_t *take_filler(struct source *s, const struct passkey_text *x, double carried) {
    bool periodic = x->shape.haystack == HAYSTACK_REPEATED;
    double wanted = 384 * (carried + 2);
    int64_t least = periodic ? 1 : wanted < TEXT_TOKENS ? (int64_t)wanted : TEXT_TOKENS;
    struct haystack h = {.names = {0}};
    haystack_make(&h, x, x->shape.seed ^ HAYSTACK_STREAM, -1, least);
    int64_t n = periodic ? h.s.end[4] : h.s.end[h.s.count - 1];
    int32_t *filler = xcalloc((size_t)n, sizeof *filler);
    memcpy(filler, h.s.tokens, (size_t)n * sizeof *filler);
    haystack_free(&h);
    if (periodic) {
        s->filler = filler;
        s->filler_n = n;
    } else {
        s->texts[s->text_count++] = (struct carried_text){filler, n, carried};
    }
    return filler;
}

static int take_options(struct lessons *l, const struct options *o, struct error *e) {
    int64_t least = passkey_minimum(l->text);
    const char *length = options_text(o, "length");
    if (parse_int(length, &l->length))
        return fail(e,
                    "passkey: length = '%s': a training source needs one length, e.g. 1280; length_min makes a mixture of lengths",
                    length);
    l->shortest = options_int(o, "length_min");
    if (!l->shortest) l->shortest = l->length;
    if (l->shortest > l->length)
        return fail(e, "passkey: length_min = %" PRId64 " is more than length = %" PRId64, l->shortest, l->length);
    if (l->shortest < least)
        return fail(
            e, "passkey: length %" PRId64 " is below the prompt's minimum of %" PRId64 " tokens (%d needle%s of %d symbols, %s)",
            l->shortest, least, l->text->shape.needles, l->text->shape.needles > 1 ? "s" : "", l->text->shape.value_length,
            l->text->tokenizer->name);
    if (l->length > INT32_MAX / 2)
        return fail(e, "passkey: a document of %" PRId64 " tokens to train on; take a shorter length", l->length);
    l->end_share = options_real(o, "end_share");
    l->anywhere = options_choice(o, "placement") == 0;
    l->answer_weight = options_real(o, "answer_weight");
    l->carried = options_real(o, "carried");
    return 0;
}

struct source *passkey_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e) {
    struct passkey_shape shape;
    passkey_shape(&shape, o, false);
    struct lessons *l = xcalloc(1, sizeof *l);
    l->source = (struct source){
        .name = "passkey", .next = lessons_next, .save = lessons_save, .load = lessons_load, .free = lessons_free, .data = l};
    l->seed = hash64(&shape.seed, sizeof shape.seed, seed);
    shape.seed = l->seed;
    l->text = passkey_text_open(t, &shape, e);
    if (!l->text || take_options(l, o, e)) {
        lessons_free(&l->source);
        return NULL;
    }
    char *options = options_join(o, "\n", false);
    l->identity = hash64(options, strlen(options), t->hash ^ l->text->book_hash);
    free(options);
    if (l->carried > 0) l->filler = take_filler(&l->source, l->text, l->carried);
    haystack_make(&l->haystack, l->text, l->seed ^ HAYSTACK_STREAM, -1, l->length);
    return &l->source;
}
