/* generate.c - continuations of what a stream has read: greedy, by temperature and top-p, several rows at once. It knows no text:
 * encoding prompts and decoding what was said is the caller's. */
#include "generate.h"

#include <math.h>
#include <stdlib.h>

/* What drawing a token of each row needs, in host and backend memory. */
struct sampler {
    const struct kernels *k;
    int64_t rows, vocab;
    float *logits; /* [rows, vocab] of the next token */
    real *host_logits, *host_u, *backend_logits, *backend_u, *tmp;
    int32_t *ids, *backend_ids, *order;
    struct rng *rng; /* [rows] */
};

int decoding_check(const struct decoding *d, const struct model *m, struct error *e) {
    if (d->stop >= m->config.vocab)
        return fail(e, "the stop token %d is none of the model's %lld tokens: its texts would only end by their length",
                    (int)d->stop, (long long)m->config.vocab);
    return 0;
}

int32_t largest_token(const float *logits, int64_t vocab) {
    int32_t best = -1;
    for (int64_t i = 0; i < vocab; i++) {
        if (isnan(logits[i])) return -1;
        if (best < 0 || logits[i] > logits[best]) best = (int32_t)i;
    }
    return best;
}

static void sampler_open(struct sampler *p, const struct kernels *k, int64_t rows, int64_t vocab) {
    size_t r = (size_t)rows, all = r * (size_t)vocab;
    *p = (struct sampler){.k = k, .rows = rows, .vocab = vocab};
    p->logits = xcalloc(all, sizeof *p->logits);
    p->ids = xcalloc(r, sizeof *p->ids);
    p->rng = xcalloc(r, sizeof *p->rng);
    p->host_logits = xcalloc(all, sizeof *p->host_logits);
    p->host_u = xcalloc(r, sizeof *p->host_u);
    p->backend_logits = k->alloc(all * sizeof(real));
    p->backend_u = k->alloc(r * sizeof(real));
    p->tmp = k->alloc(all * sizeof(real));
    p->backend_ids = k->alloc(r * sizeof(int32_t));
    p->order = k->alloc(all * sizeof(int32_t));
    CHECK(p->backend_logits && p->backend_u && p->tmp && p->backend_ids && p->order, "no memory to draw from %zu logits", all);
}

static void sampler_close(struct sampler *p) {
    size_t r = (size_t)p->rows, all = r * (size_t)p->vocab;
    p->k->release(p->backend_logits, all * sizeof(real));
    p->k->release(p->backend_u, r * sizeof(real));
    p->k->release(p->tmp, all * sizeof(real));
    p->k->release(p->backend_ids, r * sizeof(int32_t));
    p->k->release(p->order, all * sizeof(int32_t));
    free(p->logits);
    free(p->ids);
    free(p->rng);
    free(p->host_logits);
    free(p->host_u);
}

/* A token of every row into p->ids; -1: none can be drawn. Only rows that go on use up a random number. */
static void draw(struct sampler *p, const struct decoding *d, const bool *open) {
    for (int64_t b = 0; b < p->rows; b++) {
        p->ids[b] = largest_token(p->logits + b * p->vocab, p->vocab);
        if (p->ids[b] >= 0 && !isfinite(p->logits[b * p->vocab + p->ids[b]])) p->ids[b] = -1;
    }
    if (!(d->temperature > 0)) return;
    for (int64_t b = 0; b < p->rows; b++) {
        bool good = open[b] && p->ids[b] >= 0;
        p->host_u[b] = open[b] ? (real)rng_uniform(&p->rng[b]) : 0;
        if (!(p->host_u[b] < 1)) p->host_u[b] = (real)0.99999994; /* rounded up to 1 */
        for (int64_t i = b * p->vocab; i < (b + 1) * p->vocab; i++) p->host_logits[i] = good ? (real)p->logits[i] : 0;
    }
    size_t all = (size_t)(p->rows * p->vocab);
    int32_t *drawn = xcalloc((size_t)p->rows, sizeof *drawn);
    p->k->upload(p->backend_logits, p->host_logits, all * sizeof(real));
    p->k->upload(p->backend_u, p->host_u, (size_t)p->rows * sizeof(real));
    p->k->sample(p->backend_ids, p->backend_logits, p->backend_u, d->temperature, d->top_p, p->tmp, p->order, p->rows, p->vocab);
    p->k->download(drawn, p->backend_ids, (size_t)p->rows * sizeof *drawn);
    for (int64_t b = 0; b < p->rows; b++)
        if (p->ids[b] >= 0) p->ids[b] = drawn[b];
    free(drawn);
}

void generate(struct stream *s, const struct decoding *d, struct generation *rows, int64_t count, generation_watcher *watcher,
              void *data) {
    const struct state *state = stream_state(s);
    size_t all = (size_t)state->batch;
    CHECK(count <= state->batch, "%lld rows of a stream of %lld", (long long)count, (long long)state->batch);
    struct sampler p;
    sampler_open(&p, state->model->k, state->batch, state->model->config.vocab);
    const int32_t **fed = xcalloc(all, sizeof *fed);
    int64_t *n = xcalloc(all, sizeof *n), left = 0;
    bool *open = xcalloc(all, sizeof *open);
    for (int64_t b = 0; b < count; b++) {
        rng_seed(&p.rng[b], d->seed, hash64("sampling", 8, rows[b].number));
        rows[b].end = GENERATION_FULL;
        open[b] = rows[b].n < d->most;
        left += open[b];
        fed[b] = rows[b].tokens;
        n[b] = open[b] ? rows[b].n : 0;
    }
    stream_score(s, fed, n, NULL);
    while (left) {
        stream_next(s, p.logits);
        draw(&p, d, open);
        for (int64_t b = 0; b < count; b++) {
            struct generation *g = &rows[b];
            n[b] = 0;
            if (!open[b]) continue;
            if (watcher) watcher(data, b, p.ids[b], p.logits + b * p.vocab);
            if (p.ids[b] < 0 || p.ids[b] == d->stop) {
                g->end = p.ids[b] < 0 ? GENERATION_BROKEN : GENERATION_STOPPED;
                open[b] = false;
            } else {
                fed[b] = g->tokens + g->n;
                n[b] = 1;
                g->tokens[g->n++] = p.ids[b];
                open[b] = g->n < d->most;
            }
            left -= !open[b];
        }
        stream_score(s, fed, n, NULL);
    }
    sampler_close(&p);
    free(fed);
    free(n);
    free(open);
}
