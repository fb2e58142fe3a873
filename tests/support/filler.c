/* filler.c - a source of documents with carried-in states for tests (see filler.h). */
#include "filler.h"

#include <stdlib.h>
#include <string.h>

#define ROWS 16
struct made {
    struct source source;
    int64_t n, vocab, next, count;
    double multipliers[16];
    int32_t *tokens[ROWS], *filler;
};

static void made_next(struct source *s, int64_t row, struct document *d) {
    struct made *x = s->data;
    struct rng r;
    CHECK(row < ROWS, "row %lld", (long long)row);
    rng_seed(&r, (uint64_t)x->next, 77);
    if (!x->tokens[row]) x->tokens[row] = xcalloc((size_t)x->n, sizeof(int32_t));
    for (int64_t i = 0; i < x->n; i++) x->tokens[row][i] = 1 + (int32_t)rng_below(&r, x->vocab - 1);
    *d = (struct document){.tokens = x->tokens[row], .n = x->n, .carried = x->multipliers[x->next % x->count]};
    d->text = s->text_count && (!s->filler || x->next % 2);
    x->next++;
}
static char *made_save(const struct source *s) { return xprintf("%lld", (long long)((const struct made *)s->data)->next); }
static int made_load(struct source *s, const char *text, struct error *e) {
    return parse_int(text, &((struct made *)s->data)->next) ? fail(e, "'%s' is no cursor", text) : 0;
}
static void made_free(struct source *s) {
    struct made *x = s->data;
    for (int i = 0; i < ROWS; i++) free(x->tokens[i]);
    free(x->filler);
    free(x);
}

struct source *filler_source(int64_t n, int64_t vocab, const int32_t *filler, int64_t filler_n, const double *multipliers,
                             int64_t count) {
    struct made *x = xcalloc(1, sizeof *x);
    CHECK(count <= 16, "%lld multipliers", (long long)count);
    x->source =
        (struct source){.name = "made", .next = made_next, .save = made_save, .load = made_load, .free = made_free, .data = x};
    x->n = n, x->vocab = vocab, x->count = count;
    memcpy(x->multipliers, multipliers, (size_t)count * sizeof *multipliers);
    if (filler) {
        x->filler = xcalloc((size_t)filler_n + 1, sizeof *x->filler);
        memcpy(x->filler, filler, (size_t)filler_n * sizeof *filler);
        x->source.filler = x->filler, x->source.filler_n = filler_n;
    }
    return &x->source;
}
