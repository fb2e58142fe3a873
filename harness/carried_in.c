/* carried_in.c - carried-in states (see carried_in.h): the filler's run and the arithmetic on its states, all by differentiable
 * operations, and the states that texts left. The multipliers are tensors: nothing here branches on them. */
#include "carried_in.h"
#include "corpus.h"
#include "stream.h"

#include <math.h>
#include <stdlib.h>

#define READ_SEGMENTS 32 /* of a text in one call */

struct carried_in {
    struct model *model;
    struct state *state; /* of one row; what it holds is never read: the filler is a document of its own */
    int64_t rows, step;  /* rows of the step; segments of filler in one call */
    int32_t *tokens;     /* [6 N] BOS, then the filler over and over */
    int32_t since[CARRIED_IN_SEGMENTS], len[CARRIED_IN_SEGMENTS];
    int32_t *goes_on;   /* [B] 1 where f->in is kept */
    real *once, *times; /* [B] factors of s6 and of s6 - s3 */
    bool filler;
    struct carried_text texts[CARRIED_TEXTS];
    int text_count;
    struct state *read;   /* of the texts, a row each: text x CARRIED_IN_LENGTHS + length */
    struct state *picked; /* [B] those that the step starts from, 0 elsewhere */
    /* the sample of each row's text: [calls][B][step N] inputs; [calls][B][step] since and len; how often it counts, 0 elsewhere */
    int32_t *sample, *sample_since, *sample_len;
    real *often, *minus_often;
};

bool carried_in_possible(const struct model *m) {
    for (int i = 0; i < m->state_count; i++)
        if (m->states[i].kind != STATE_CARRIED) return false;
    return m->state_count > 0 && m->config.arch->additive;
}

static int check_tokens(const struct model *m, const char *what, const int32_t *tokens, int64_t n, int64_t least, struct error *e) {
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= m->config.vocab)
            return fail(e, "the source's %s holds token %d, the vocabulary %lld", what, tokens[i], (long long)m->config.vocab);
    if (n < 1) return fail(e, "the source's %s is empty", what);
    if (n < least)
        return fail(e, "the source's %s has %lld tokens, states are read from %lld (%d segments) on", what, (long long)n,
                    (long long)least, CARRIED_IN_SEGMENTS);
    return 0;
}

struct carried_in *carried_in_create(const struct model *m, const struct source *s, struct error *e) {
    int64_t length = m->config.segment, n = s ? s->filler_n : 0;
    const int32_t *filler = s ? s->filler : NULL;
    if (filler && check_tokens(m, "filler", filler, n, 1, e)) return NULL;
    for (int i = 0; s && i < s->text_count; i++)
        if (check_tokens(m, "text", s->texts[i].tokens, s->texts[i].n, CARRIED_IN_SEGMENTS * length, e)) return NULL;
    struct carried_in *c = xcalloc(1, sizeof *c);
    c->rows = m->config.batch;
    c->step = m->config.arch->layer_major ? CARRIED_IN_SEGMENTS / 2 : 1;
    c->tokens = xcalloc((size_t)(CARRIED_IN_SEGMENTS * length), sizeof *c->tokens);
    c->goes_on = xcalloc((size_t)c->rows, sizeof *c->goes_on);
    c->once = xcalloc((size_t)c->rows, sizeof *c->once);
    c->times = xcalloc((size_t)c->rows, sizeof *c->times);
    c->sample = xcalloc((size_t)(c->rows * CARRIED_IN_SEGMENTS * length), sizeof *c->sample);
    c->sample_since = xcalloc((size_t)(c->rows * CARRIED_IN_SEGMENTS), sizeof *c->sample_since);
    c->sample_len = xcalloc((size_t)(c->rows * CARRIED_IN_SEGMENTS), sizeof *c->sample_len);
    c->often = xcalloc((size_t)c->rows, sizeof *c->often);
    c->minus_often = xcalloc((size_t)c->rows, sizeof *c->minus_often);
    c->filler = !s || filler;
    c->text_count = s ? s->text_count : 0;
    for (int i = 0; i < c->text_count; i++) c->texts[i] = s->texts[i];
    for (int64_t i = 0; i < CARRIED_IN_SEGMENTS * length; i++) c->tokens[i] = i == 0 ? TOKEN_BOS : filler ? filler[(i - 1) % n] : 0;
    for (int64_t i = 0; i < CARRIED_IN_SEGMENTS; i++) {
        c->since[i] = (int32_t)(i * length);
        c->len[i] = (int32_t)length;
    }
    return c;
}

static void close_states(struct carried_in *c) {
    state_free(c->state);
    state_free(c->read);
    state_free(c->picked);
    c->state = c->read = c->picked = NULL;
}

int carried_in_open(struct carried_in *c, struct model *m, struct error *e) {
    close_states(c);
    c->model = m;
    if (m && !(c->state = state_create(m, 1, c->step, e))) return -1;
    if (!m || !c->text_count) return 0;
    c->read = state_create(m, c->text_count * CARRIED_IN_LENGTHS, 1, e);
    c->picked = c->read ? state_create(m, c->rows, c->step, e) : NULL;
    return c->picked ? 0 : -1;
}

void carried_in_free(struct carried_in *c) {
    if (!c) return;
    close_states(c);
    free(c->tokens);
    free(c->goes_on);
    free(c->once);
    free(c->times);
    free(c->sample);
    free(c->sample_since);
    free(c->sample_len);
    free(c->often);
    free(c->minus_often);
    free(c);
}

size_t carried_in_bytes(const struct model *m) {
    return state_need(m, 1, m->config.arch->layer_major ? CARRIED_IN_SEGMENTS / 2 : 1);
}

/* The carried tensors after 3 and after 6 segments of filler. */
static void run_filler(struct carried_in *c, struct tape *t, struct tensor **half, struct tensor **whole) {
    struct forward f, previous;
    int64_t n = c->model->config.segment;
    for (int64_t first = 0; first < CARRIED_IN_SEGMENTS; first += c->step) {
        struct call call = {.batch = 1,
                            .segments = c->step,
                            .n = n,
                            .tokens = c->tokens + first * n,
                            .since = c->since + first,
                            .len = c->len + first,
                            .training = true};
        forward_begin(&f, t, c->state, &call);
        if (first) forward_chain(&f, &previous);
        model_forward(&f, false);
        previous = f;
        struct tensor **to = first + c->step == CARRIED_IN_SEGMENTS / 2 ? half
                             : first + c->step == CARRIED_IN_SEGMENTS   ? whole
                                                                        : NULL;
        for (int i = 0; to && i < c->model->state_count; i++) {
            CHECK(f.out[i], "'%s' was not written", c->model->states[i].name);
            to[i] = f.out[i];
        }
    }
}

/* ---- texts ---- */

/* Multiplier of kept state k of a text: 0, then evenly on a log scale to the whole periods of 3 segments that it has. */
static double kept_multiplier(const struct carried_in *c, int text, int k) {
    double most =
        floor(((double)(c->texts[text].n / c->model->config.segment) - CARRIED_IN_SEGMENTS) / (CARRIED_IN_SEGMENTS / 2.0));
    if (c->texts[text].most > 0) most = fmin(most, ceil(c->texts[text].most));
    return k == 0 || most < 1 ? 0 : floor(pow(most, (double)k / (CARRIED_IN_LENGTHS - 1)) + 1e-9);
}

static int nearest_kept(const struct carried_in *c, int text, double m) {
    int best = 0;
    double least = INFINITY;
    for (int k = 0; k < CARRIED_IN_LENGTHS; k++) {
        double x = fabs(log((2 + m) / (2 + kept_multiplier(c, text, k)))); /* 6 + 3 m segments */
        if (x < least) least = x, best = k;
    }
    return best;
}

/* Reads every text, from another place on each time, and keeps the states on the way. */
static double read_texts(struct carried_in *c, int64_t time, struct error *e) {
    const struct model_config *m = &c->model->config;
    double flops = 0, head = 2 * (double)m->d * (double)m->vocab;
    struct stream *s = stream_open(c->model, 1, READ_SEGMENTS, e);
    if (!s) return -1;
    for (int x = 0; x < c->text_count; x++) {
        const struct carried_text *text = &c->texts[x];
        int64_t at = (int64_t)(hash64(&time, sizeof time, 0) % (uint64_t)text->n), position = 0;
        stream_reset(s, -1);
        for (int k = 0; k < CARRIED_IN_LENGTHS; k++) {
            int64_t end = carried_in_since(kept_multiplier(c, x, k), m->segment);
            while (position < end) {
                int64_t left = text->n - at, take = end - position < left ? end - position : left;
                const int32_t *tokens = text->tokens + at;
                stream_score(s, &tokens, &take, NULL);
                position += take;
                at = (at + take) % text->n;
            }
            state_copy_row(c->read, x * CARRIED_IN_LENGTHS + k, stream_state(s), 0);
        }
        flops += (double)position * (model_flops(m, position, true) - head);
    }
    if (stream_trouble(c->model, e)) flops = -1;
    stream_close(s);
    return flops;
}

int64_t carried_in_sample(int64_t step, int64_t row, int64_t n) {
    int64_t both[2] = {step, row};
    return (int64_t)(hash64(both, sizeof both, 1) % (uint64_t)n);
}

/* Lays out the samples of the rows: those without a text read BOS, and count nothing. */
static void lay_samples(struct carried_in *c, int64_t step, const struct batch *b) {
    int64_t n = c->model->config.segment;
    for (int64_t row = 0; row < c->rows; row++) {
        bool given = row < b->rows && b->carried[row] >= 0 && b->text[row];
        const struct carried_text *text = given ? &c->texts[b->text[row] - 1] : NULL;
        int64_t at = given ? carried_in_sample(step, row, text->n) : 0;
        int32_t since = carried_in_since(given ? b->carried[row] : 0, n);
        for (int64_t s = 0; s < CARRIED_IN_SEGMENTS; s++) {
            int64_t to = (s / c->step * c->rows + row) * c->step + s % c->step;
            c->sample_since[to] = since + (int32_t)(s * n);
            c->sample_len[to] = (int32_t)n;
            for (int64_t i = 0; i < n; i++) c->sample[to * n + i] = given ? text->tokens[(at + s * n + i) % text->n] : TOKEN_BOS;
        }
        c->often[row] = given ? (real)(since / (double)(CARRIED_IN_SEGMENTS * n)) : 0;
        c->minus_often[row] = -c->often[row];
    }
}

double carried_in_prepare(struct carried_in *c, int64_t step, struct batch *b, struct error *e) {
    double flops = 0;
    if (!c->text_count) return 0;
    if (step % CARRIED_IN_EVERY == 0) flops = read_texts(c, step / CARRIED_IN_EVERY, e);
    for (int i = 0; i < c->model->state_count; i++) c->model->k->fill(c->picked->data[i], 0, c->rows * c->model->states[i].width);
    for (int64_t row = 0; row < b->rows; row++) {
        if (b->carried[row] < 0 || !b->text[row]) continue;
        int text = b->text[row] - 1, k = nearest_kept(c, text, b->carried[row]);
        b->carried[row] = kept_multiplier(c, text, k);
        state_copy_row(c->picked, row, c->read, text * CARRIED_IN_LENGTHS + k);
    }
    lay_samples(c, step, b);
    return flops < 0 ? flops : flops + (double)c->rows * carried_in_flops(&c->model->config);
}

struct state *carried_in_states(const struct carried_in *c) {
    return c ? c->read : NULL;
}

/* ---- the start of a step ---- */

/* Adds s6 + m (s6 - s3) to every state, once and times the factors of s6 and of the difference. */
static void add_filler(struct carried_in *c, struct tape *t, struct tensor **start) {
    static const real plus = 1, minus = -1;
    int count = c->model->state_count;
    struct tensor **s3 = (struct tensor **)tape_pointers(t, count), **s6 = (struct tensor **)tape_pointers(t, count);
    run_filler(c, t, s3, s6);
    const real *a = tape_reals(t, &plus, 1), *b = tape_reals(t, &minus, 1);
    struct tensor *once = tape_leaf(t, "carried_in", tape_reals(t, c->once, c->rows), c->rows, 1, false);
    struct tensor *times = tape_leaf(t, "multiplier", tape_reals(t, c->times, c->rows), c->rows, 1, false);
    for (int i = 0; i < count; i++) {
        const int64_t column[2] = {s6[i]->n, 1}; /* the one row of the filler goes to all rows as a product of rank one */
        struct tensor *period = op_axpby(t, a, s6[i], b, s3[i], 1);
        struct tensor *with = op_linear(t, once, op_reshape(t, s6[i], 2, column), start[i]);
        start[i] = op_linear(t, times, op_reshape(t, period, 2, column), with);
    }
}

/* Adds the states of the texts to every state; their values as they were read, their gradient that of the samples. */
static void add_texts(struct carried_in *c, struct tape *t, struct tensor **start) {
    static const real plus = 1, minus = -1;
    struct forward f, previous;
    int64_t n = c->model->config.segment;
    const real *one = tape_reals(t, &plus, 1), *less = tape_reals(t, &minus, 1);
    const real *often = tape_reals(t, c->often, c->rows), *minus_often = tape_reals(t, c->minus_often, c->rows);
    for (int64_t first = 0; first < CARRIED_IN_SEGMENTS; first += c->step) {
        struct call call = {.batch = c->rows,
                            .segments = c->step,
                            .n = n,
                            .tokens = c->sample + first * c->rows * n,
                            .since = c->sample_since + first * c->rows,
                            .len = c->sample_len + first * c->rows,
                            .training = true};
        forward_begin(&f, t, c->picked, &call);
        if (first) forward_chain(&f, &previous);
        model_forward(&f, false);
        previous = f;
    }
    for (int i = 0; i < c->model->state_count; i++) {
        struct tensor *read = tape_leaf(t, "read", c->picked->data[i], c->rows, c->model->states[i].width, false);
        struct tensor *added = op_axpby(t, one, f.out[i], less, read, 1);
        struct tensor *nothing = op_axpby(t, often, added, minus_often, op_detach(t, added), c->rows); /* but a gradient */
        start[i] = op_axpby(t, one, start[i], one, op_axpby(t, one, read, one, nothing, 1), 1);
    }
}

void carried_in_start(struct carried_in *c, struct forward *f, const struct batch *x, const int32_t *since) {
    struct tape *t = f->tape;
    for (int64_t b = 0; b < c->rows && !t->dry; b++) {
        bool given = x->carried && x->carried[b] >= 0, filler = given && !(x->text && x->text[b]);
        c->goes_on[b] = !given && since[b * f->segments] > 0;
        c->once[b] = filler;
        c->times[b] = filler ? (real)x->carried[b] : 0;
    }
    const int32_t *goes_on = tape_ints(t, c->goes_on, c->rows);
    for (int i = 0; i < c->model->state_count; i++) f->in[i] = op_reset_rows(t, f->in[i], NULL, goes_on, 1, c->rows);
    if (c->filler) add_filler(c, t, f->in);
    if (c->text_count) add_texts(c, t, f->in);
}

int32_t carried_in_since(double m, int64_t n) {
    double segments = CARRIED_IN_SEGMENTS + CARRIED_IN_SEGMENTS / 2 * m, most = (double)((1 << 30) / n);
    return (int32_t)((int64_t)(segments < most ? segments : most) * n);
}

bool carried_in_filler(const struct carried_in *c) { return c->filler; }

double carried_in_flops(const struct model_config *c) {
    double sum = 0, head = 2 * (double)c->d * (double)c->vocab;
    for (int64_t s = 0; s < CARRIED_IN_SEGMENTS; s++) sum += 3 * (double)c->segment * (model_flops(c, s * c->segment, true) - head);
    return sum;
}
