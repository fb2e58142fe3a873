/* ngram.c - counts in one open-addressed table per order, probabilities by recursion (see ngram.h). */
#include "ngram.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_BITS 20

struct entry {
    uint64_t key;             /* tokens packed, plus one so that 0 is free */
    int64_t count, followers; /* followers: of a context, the number of different tokens after it */
};
struct counts {
    struct entry *entry;
    size_t size, used; /* size is a power of two */
};
struct ngram {
    int order;
    int64_t vocab;
    struct counts grams[NGRAM_MAX];    /* [k]: k+1 tokens; count */
    struct counts contexts[NGRAM_MAX]; /* [k]: k tokens; count of tokens after it, followers */
};

static size_t slot_of(const struct counts *c, uint64_t key) {
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (c->size - 1);
    while (c->entry[i].key && c->entry[i].key != key) i = (i + 1) & (c->size - 1);
    return i;
}

static struct entry *counts_add(struct counts *c, uint64_t key) {
    if (2 * (c->used + 1) > c->size) {
        struct counts bigger = {.size = c->size ? 2 * c->size : 1024};
        bigger.entry = xcalloc(bigger.size, sizeof *bigger.entry);
        for (size_t i = 0; i < c->size; i++)
            if (c->entry[i].key) bigger.entry[slot_of(&bigger, c->entry[i].key)] = c->entry[i];
        bigger.used = c->used;
        free(c->entry);
        *c = bigger;
    }
    struct entry *x = &c->entry[slot_of(c, key)];
    if (!x->key) {
        x->key = key;
        c->used++;
    }
    return x;
}

static struct entry counts_get(const struct counts *c, uint64_t key) {
    return c->size ? c->entry[slot_of(c, key)] : (struct entry){0};
}

/* The k tokens before position i (BOS before the document) packed; false when they reach beyond BOS. */
static bool context_key(const int32_t *tokens, int64_t i, int k, uint64_t *key) {
    if (i - k < -1) return false;
    *key = 0;
    for (int64_t j = i - k; j < i; j++) *key = *key << TOKEN_BITS | (uint64_t)(j < 0 ? TOKEN_BOS : tokens[j]);
    return true;
}

struct ngram *ngram_fit(const struct corpus *c, int64_t vocab, int order) {
    CHECK(order >= 1 && order <= NGRAM_MAX && vocab < (1 << TOKEN_BITS), "n-gram of order %d over %lld tokens", order,
          (long long)vocab);
    struct ngram *g = xcalloc(1, sizeof *g);
    g->order = order;
    g->vocab = vocab;
    for (int d = 0; d < c->count; d++) {
        const struct text *text = &c->texts[d];
        for (int64_t i = 0; i < text->n; i++) {
            uint64_t key;
            for (int k = 0; k < order && context_key(text->tokens, i, k, &key); k++) {
                struct entry *gram = counts_add(&g->grams[k], (key << TOKEN_BITS | (uint64_t)text->tokens[i]) + 1);
                struct entry *context = counts_add(&g->contexts[k], key + 1);
                context->count++;
                context->followers += gram->count == 0;
                gram->count++;
            }
        }
    }
    return g;
}

void ngram_free(struct ngram *g) {
    if (!g) return;
    for (int k = 0; k < NGRAM_MAX; k++) {
        free(g->grams[k].entry);
        free(g->contexts[k].entry);
    }
    free(g);
}

void ngram_score(const struct ngram *g, const int32_t *tokens, int64_t n, float *nll) {
    for (int64_t i = 0; i < n; i++) {
        double p = 1.0 / (double)g->vocab;
        uint64_t key;
        for (int k = 0; k < g->order && context_key(tokens, i, k, &key); k++) {
            struct entry context = counts_get(&g->contexts[k], key + 1);
            if (!context.count) break; /* never seen: longer contexts were not seen either */
            struct entry gram = counts_get(&g->grams[k], (key << TOKEN_BITS | (uint64_t)tokens[i]) + 1);
            p = ((double)gram.count + (double)context.followers * p) / (double)(context.count + context.followers);
        }
        nll[i] = (float)-log(p);
    }
}
