/* documents.c - whole documents of a corpus fed to a stream and their scores added up by document and position: what the tasks
 * language_modeling and gates share. What is measured of the sums is the task's business. */
#include "documents.h"

#include <stdlib.h>
#include <string.h>

static char *corpus_place(const struct options *o, const struct corpus *train, struct error *e) {
    const char *name = options_text(o, "corpus");
    if (*name) return corpus_locate(name, e);
    return train ? xstrdup(train->path) : corpus_locate("kjv", e);
}

struct corpus *documents_open(const struct options *o, const struct corpus *train, const char *split, const struct tokenizer *t,
                              size_t limit, struct error *e) {
    char *path = corpus_place(o, train, e);
    if (!path) return NULL;
    struct corpus *c = corpus_open(path, split, t, limit, e);
    free(path);
    return c;
}

int documents_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    *hash = 0;
    if (!*options_text(o, "corpus")) return 0;
    struct corpus *c = documents_open(o, NULL, options_text(o, "split"), t, (size_t)options_int(o, "limit"), e);
    if (!c) return -1;
    *hash = c->hash;
    corpus_free(c);
    return 0;
}

int documents_count(const struct options *o, const struct corpus *c) {
    int64_t documents = options_int(o, "documents");
    return documents && documents < c->count ? (int)documents : c->count;
}

int32_t *documents_token_bytes(const struct tokenizer *t) {
    int32_t *bytes = xcalloc((size_t)t->vocab, sizeof *bytes);
    for (int32_t i = 0; i < t->vocab; i++) {
        size_t size = 0;
        char *text = t->decode(t, &i, 1, &size);
        bytes[i] = (int32_t)size;
        free(text);
    }
    return bytes;
}

int documents_bucket(int64_t token, int64_t segment) {
    int64_t s = token / segment + 1;
    return s <= 1 ? 0 : s <= 4 ? 1 : s <= 16 ? 2 : s <= 64 ? 3 : 4;
}

void scoring_add(struct scoring *j, int d, int64_t token, double nats) {
    int b = documents_bucket(token, j->segment);
    j->sums[d].nats[b] += nats;
    j->sums[d].bytes[b] += j->token_bytes[j->corpus->texts[d].tokens[token]];
    j->sums[d].tokens++;
}

void scoring_add_tokens(struct scoring *j, int d, int64_t first, int64_t n, const float *nll) {
    for (int64_t i = 0; i < n; i++) scoring_add(j, d, first + i, (double)nll[i]);
}

/* Orders documents from the longest to the shortest, so that parallel rows end together. */
static const struct text *sort_texts;
static int longer_first(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    int64_t p = sort_texts[x].n, q = sort_texts[y].n;
    return p != q ? (p < q) - (p > q) : (x > y) - (x < y);
}

void documents_score(struct scoring *j, struct stream *s, int64_t rows, int64_t chunk, const char *label) {
    const int32_t **tokens = xcalloc((size_t)rows, sizeof *tokens);
    float **nll = xcalloc((size_t)rows, sizeof *nll);
    int64_t *n = xcalloc((size_t)rows, sizeof *n), *at = xcalloc((size_t)rows, sizeof *at), total = 0, done = 0;
    int *doc = xcalloc((size_t)rows, sizeof *doc), *order = xcalloc((size_t)j->count, sizeof *order), next = 0;
    for (int d = 0; d < j->count; d++) {
        order[d] = d;
        total += j->corpus->texts[d].n;
    }
    sort_texts = j->corpus->texts;
    qsort(order, (size_t)j->count, sizeof *order, longer_first);
    memset(j->sums, 0, (size_t)j->count * sizeof *j->sums);
    for (int64_t r = 0; r < rows; r++) {
        nll[r] = xcalloc((size_t)chunk, sizeof **nll);
        doc[r] = -1;
    }
    struct progress p;
    progress_begin(&p, label, total);
    for (;;) {
        int active = 0;
        for (int64_t r = 0; r < rows; r++) {
            if (doc[r] < 0 && next < j->count) {
                doc[r] = order[next++];
                at[r] = 0;
                stream_reset(s, r);
            }
            n[r] = 0;
            if (doc[r] < 0) continue;
            const struct text *text = &j->corpus->texts[doc[r]];
            n[r] = text->n - at[r] < chunk ? text->n - at[r] : chunk;
            tokens[r] = text->tokens + at[r];
            active++;
        }
        if (!active) break;
        stream_score(s, tokens, n, nll);
        for (int64_t r = 0; r < rows; r++) {
            if (doc[r] < 0) continue;
            scoring_add_tokens(j, doc[r], at[r], n[r], nll[r]);
            at[r] += n[r];
            done += n[r];
            if (at[r] == j->corpus->texts[doc[r]].n) doc[r] = -1;
        }
        progress_update(&p, done, "tokens");
    }
    progress_end(&p);
    for (int64_t r = 0; r < rows; r++) free(nll[r]);
    free(tokens);
    free(nll);
    free(n);
    free(at);
    free(doc);
    free(order);
}
