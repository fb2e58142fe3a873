/* stream.c - feeding documents to a model whose state is carried (see stream.h).
 *
 * The inputs of a document are BOS and then its tokens: input i is token i-1, and the distribution at input i scores token i. State
 * advances by whole segments only. What has been fed of the open segment is kept as `pending` inputs and is fed again with the next
 * call, so one token at a time gives what a prefill gives. The tape does not record; its arenas are measured by a dry pass when the
 * stream is opened, so memory does not grow with the number of tokens. */
#include "stream.h"
#include "corpus.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct snapshot {
    struct state *state;
    int64_t position;
    int32_t last, *pending;
};

struct stream {
    struct model *model;
    struct state *state;
    struct tape tape;
    int32_t *knocked; /* [layers,heads] enum knock_out */
    stream_watcher *watcher;
    void *watcher_data;
    int64_t rows, segments, n, vocab; /* n: the model's segment length */
    int64_t most;                     /* segments that a call may have; 1 once something went bad, to see where */
    int64_t *position;                /* [rows] tokens fed since reset */
    int32_t *last;                    /* [rows] the next input: the last token fed, BOS at first */
    int32_t *pending;                 /* [rows,n] inputs of the open segment: position % n of them */
    /* one call */
    int32_t *tokens, *targets; /* [rows, segments*n] */
    int32_t *since, *len;      /* [rows, segments] */
    int64_t *taken;            /* [rows] new tokens in this call */
    int64_t *done;             /* [rows] tokens of this feed that earlier calls have taken */
    real *host;                /* download of NLL or of logits */
};

/* Runs the forward of one call on the tape. want: 0 states only, 1 NLL, 2 logits. Returns what was wanted. */
static struct tensor *call_forward(struct stream *s, struct forward *f, struct call *c, int want) {
    tape_reset(&s->tape);
    memset(f, 0, sizeof *f);
    forward_begin(f, &s->tape, s->state, c);
    struct tensor *logits = model_forward(f, want > 0);
    if (want != 1) return logits;
    return op_xent(&s->tape, logits, tape_ints(&s->tape, s->targets, c->batch * c->segments * c->n));
}

static void plan(struct stream *s, int64_t segments, int64_t n) {
    for (int want = 0; want < 3; want++) {
        struct call c = {.batch = s->rows,
                         .segments = segments,
                         .n = n,
                         .tokens = s->tokens,
                         .since = s->since,
                         .len = s->len,
                         .knocked = s->knocked};
        struct forward f;
        call_forward(s, &f, &c, want);
        if (n == s->n) forward_commit(&f, s->state);
    }
}

struct stream *stream_open(struct model *m, int64_t rows, int64_t segments, struct error *e) {
    CHECK(rows > 0 && segments > 0, "stream of %lld rows, %lld segments", (long long)rows, (long long)segments);
    struct stream *s = xcalloc(1, sizeof *s);
    size_t b = (size_t)rows;
    s->model = m;
    s->rows = rows;
    s->segments = m->config.arch->layer_major ? segments : 1;
    s->most = s->segments;
    s->n = m->config.segment;
    s->vocab = m->config.vocab;
    s->position = xcalloc(b, sizeof *s->position);
    s->last = xcalloc(b, sizeof *s->last);
    s->taken = xcalloc(b, sizeof *s->taken);
    s->done = xcalloc(b, sizeof *s->done);
    s->pending = xcalloc(b * (size_t)s->n, sizeof *s->pending);
    s->knocked = xcalloc((size_t)(m->config.layers * m->config.heads), sizeof *s->knocked);
    size_t t = b * (size_t)(s->segments * s->n);
    s->tokens = xcalloc(t, sizeof *s->tokens);
    s->targets = xcalloc(t, sizeof *s->targets);
    s->since = xcalloc(b * (size_t)s->segments, sizeof *s->since);
    s->len = xcalloc(b * (size_t)s->segments, sizeof *s->len);
    s->state = state_create(m, rows, s->segments, e);
    if (!s->state) {
        stream_close(s);
        return NULL;
    }
    tape_init(&s->tape, m->k);
    tape_dry(&s->tape);
    plan(s, s->segments, s->n);
    if (s->segments > 1) plan(s, 1, s->n);
    if (s->n > 1) plan(s, 1, s->n - 1);
    state_reset(s->state, -1);
    size_t need = tape_bytes(&s->tape) + t * (size_t)s->vocab * sizeof *s->host, have = available_memory();
    if (need > have) {
        fail(e,
             "streaming %lld rows of %lld segments needs %.1f MiB (%zu bytes) and %.1f MiB are available: use fewer rows or "
             "segments a call",
             (long long)rows, (long long)s->segments, (double)need / 1048576, need, (double)have / 1048576);
        stream_close(s);
        return NULL;
    }
    if (tape_allocate(&s->tape, e)) {
        stream_close(s);
        return NULL;
    }
    s->host = xcalloc(t * (size_t)s->vocab, sizeof *s->host);
    stream_reset(s, -1);
    return s;
}

void stream_close(struct stream *s) {
    if (!s) return;
    if (s->tape.k) tape_free(&s->tape);
    if (s->state) state_free(s->state);
    free(s->position);
    free(s->last);
    free(s->pending);
    free(s->knocked);
    free(s->tokens);
    free(s->targets);
    free(s->since);
    free(s->len);
    free(s->taken);
    free(s->done);
    free(s->host);
    free(s);
}

void stream_knock_out(struct stream *s, enum knock_out mode) {
    for (int64_t i = 0; i < s->model->config.layers * s->model->config.heads; i++) s->knocked[i] = (int32_t)mode;
}

void stream_knock_out_heads(struct stream *s, const int32_t *how) {
    memcpy(s->knocked, how, (size_t)(s->model->config.layers * s->model->config.heads) * sizeof *how);
}

bool memory_to_knock_out(const struct model *m) {
    for (int i = 0; i < m->state_count && m->config.arch->compressive; i++)
        if (m->states[i].kind == STATE_CARRIED) return true;
    return false;
}

void stream_watch(struct stream *s, stream_watcher *watcher, void *data) {
    s->watcher = watcher;
    s->watcher_data = data;
}

void stream_reset(struct stream *s, int64_t row) {
    for (int64_t b = row < 0 ? 0 : row; b < (row < 0 ? s->rows : row + 1); b++) {
        s->position[b] = 0;
        s->last[b] = TOKEN_BOS;
    }
    state_reset(s->state, row);
}

/* Lays taken[b] new tokens of row b after its pending inputs. Returns the segments that the longest row needs; *n their length: the
 * configured one, or that of the longest row when no row fills a segment. */
static int64_t lay_out(struct stream *s, const int32_t *const *tokens, int64_t *n) {
    int64_t longest = 0;
    for (int64_t b = 0; b < s->rows; b++) {
        int64_t total = s->taken[b] ? s->position[b] % s->n + s->taken[b] : 0;
        if (total > longest) longest = total;
    }
    int64_t segments = (longest + s->n - 1) / s->n;
    *n = segments == 1 ? longest : s->n;
    int64_t width = segments * *n;
    for (int64_t b = 0; b < s->rows; b++) {
        int32_t *in = s->tokens + b * width, *out = s->targets + b * width;
        int64_t k = s->taken[b], p = k ? s->position[b] % s->n : 0, start = s->state->since[b];
        const int32_t *fresh = k ? tokens[b] + s->done[b] : NULL;
        for (int64_t i = 0; i < width; i++) {
            in[i] = TOKEN_BOS;
            out[i] = -1;
        }
        if (p) memcpy(in, s->pending + b * s->n, (size_t)p * sizeof *in);
        if (k) in[p] = s->last[b];
        for (int64_t i = 0; i < k; i++) {
            CHECK(fresh[i] >= 0 && fresh[i] < s->vocab, "token %d outside the vocabulary of %lld", fresh[i], (long long)s->vocab);
            if (i + 1 < k) in[p + i + 1] = fresh[i];
            out[p + i] = fresh[i];
        }
        for (int64_t j = 0; j < segments; j++) {
            int64_t left = p + k - j * *n, whole = (p + k) / s->n;
            s->len[b * segments + j] = (int32_t)(left < 0 ? 0 : left > *n ? *n : left);
            s->since[b * segments + j] = since_of(start + (j < whole ? j : whole) * s->n, s->n);
        }
    }
    return segments;
}

/* Keeps the inputs of the open segment and the next input of every row after a call of the given width. */
static void keep_pending(struct stream *s, const int32_t *const *tokens, int64_t width) {
    for (int64_t b = 0; b < s->rows; b++) {
        int64_t k = s->taken[b];
        if (!k) continue;
        int64_t total = s->position[b] % s->n + k, whole = total / s->n * s->n;
        memcpy(s->pending + b * s->n, s->tokens + b * width + whole, (size_t)(total - whole) * sizeof *s->pending);
        s->position[b] += k;
        s->done[b] += k;
        s->last[b] = tokens[b][s->done[b] - 1];
    }
}

/* The watch of a call, row by row: only rows that are fed. */
static void show(void *data, int layer, const char *what, const struct tensor *x) {
    struct stream *s = data;
    int64_t width = x->shape[x->rank - 1], inputs = x->n / width / s->rows;
    real *host = xcalloc((size_t)x->n, sizeof *host);
    s->model->k->download(host, x->data, (size_t)x->n * sizeof *host);
    for (int64_t b = 0; b < s->rows; b++)
        if (s->taken[b])
            s->watcher(s->watcher_data, b, layer, what, s->position[b] / s->n * s->n, s->position[b] % s->n + s->taken[b], width,
                       host + b * inputs * width);
    free(host);
}

/* ---- trouble ---- */

int stream_trouble(const struct model *m, struct error *e) { return *m->trouble.text ? fail(e, "%s", m->trouble.text) : 0; }

/* Rotations go by position in the document, which kernels count in 31 bits. */
static bool too_long(struct stream *s, int64_t b, int64_t more) {
    if (!s->model->document_positions || s->position[b] + more <= SINCE_MOST) return false;
    fail(&s->model->trouble,
         "architecture %s rotates by position in the document and counts to %lld; a document goes beyond it at token %lld: cut it",
         s->model->config.arch->name, (long long)SINCE_MOST, (long long)s->position[b]);
    return true;
}

/* Are the carried tensors after a call of so many segments numbers? Their row b was fed if taken[b]. */
static bool states_bad(struct stream *s, const struct forward *f) {
    const struct model *m = s->model;
    for (int i = 0; i < m->state_count; i++)
        if (f->out[i] && m->states[i].kind == STATE_CARRIED && m->k->first_bad(f->out[i]->data, f->out[i]->n) >= 0) return true;
    return false;
}

static void say_state(struct stream *s) {
    char what[160] = "a carried state";
    state_bad(s->state, -1, what, sizeof what);
    int64_t b = 0;
    while (b + 1 < s->rows && (!s->taken[b] || !state_bad(s->state, b, what, sizeof what))) b++;
    int64_t end = (s->position[b] + s->taken[b]) / s->n * s->n;
    fail(&s->model->trouble,
         "%s is not finite after token %lld of the document (memory write %lld, tokens %lld to %lld); what is read from there on "
         "has no "
         "meaning: measure shorter documents, or train a model whose memory grows less",
         what, (long long)end, (long long)(end / s->n), (long long)(end - s->n + 1), (long long)end);
}

/* The first of n values at x that is not finite, -1: none. */
static int64_t first_bad(const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] - x[i] == 0)) return i;
    return -1;
}

#define GROWN 1e30 /* products with such a state leave single precision */

/* Why row b has no number for token `token` of its document. */
static void say_score(struct stream *s, int64_t b, int64_t token) {
    const struct model *m = s->model;
    char where[160] = "", why[256] = "its parameters are finite: damaged, or its training diverged";
    double largest = state_largest(s->state, b, where, sizeof where);
    if (largest > GROWN) snprintf(why, sizeof why, "%s has grown to %g, and what is read from it overflows", where, largest);
    for (int j = 0; j < m->param_count; j++) {
        int64_t at = m->k->first_bad(m->params[j]->leaf.data, m->params[j]->n);
        if (at < 0) continue;
        snprintf(why, sizeof why, "parameter %s[%lld] is not finite: the file is damaged or its training diverged",
                 m->params[j]->name, (long long)at);
        break;
    }
    fail(&s->model->trouble, "the model gives no number for token %lld of a document: %s", (long long)token, why);
}

/* What is left of a feed has no numbers. */
static void give_up(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *out, int64_t per) {
    for (int64_t b = 0; b < s->rows; b++) {
        int64_t left = n[b] - s->done[b];
        for (int64_t i = 0; out && out[b] && i < left * per; i++) out[b][s->done[b] * per + i] = NAN;
        if (!left) continue;
        s->position[b] += left;
        s->last[b] = tokens[b][n[b] - 1];
    }
}

/* ---- feeding ---- */

/* The loop of all feeds. want: 0 states only, 1 NLL, 2 logits. */
static void feed(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *out, int want) {
    int64_t per = want == 2 ? s->vocab : 1;
    memset(s->done, 0, (size_t)s->rows * sizeof *s->done);
    for (;;) {
        int64_t any = 0, length;
        for (int64_t b = 0; b < s->rows; b++) {
            int64_t room = s->most * s->n - s->position[b] % s->n, left = n[b] - s->done[b];
            s->taken[b] = left < room ? left : room;
            any += s->taken[b];
            if (s->taken[b] && !*s->model->trouble.text) too_long(s, b, s->taken[b]);
        }
        if (!any) return;
        if (*s->model->trouble.text) {
            give_up(s, tokens, n, out, per);
            return;
        }
        int64_t segments = lay_out(s, tokens, &length), width = segments * length;
        bool whole = length == s->n;
        if (want || whole) { /* an open segment nobody asks about is computed when somebody does */
            struct call c = {.batch = s->rows,
                             .segments = segments,
                             .n = length,
                             .tokens = s->tokens,
                             .since = s->since,
                             .len = s->len,
                             .knocked = s->knocked,
                             .watch = s->watcher ? show : NULL,
                             .watch_data = s};
            struct forward f;
            struct tensor *y = call_forward(s, &f, &c, want);
            bool bad = whole && states_bad(s, &f);
            if (want) s->model->k->download(s->host, y->data, (size_t)(s->rows * width * per) * sizeof *s->host);
            int64_t row = -1, at = -1; /* of a score that is no number */
            for (int64_t b = 0; want && b < s->rows && at < 0; b++)
                if (s->taken[b] && out && out[b])
                    at = first_bad(s->host + ((row = b) * width + s->position[b] % s->n) * per, s->taken[b] * per);
            if ((bad || at >= 0) && segments > 1) { /* which segment is it? */
                s->most = 1;
                continue;
            }
            if (at >= 0) say_score(s, row, s->position[row] + at / per + 1);
            for (int64_t b = 0; want && b < s->rows; b++) {
                if (!s->taken[b] || !out || !out[b]) continue;
                const real *from = s->host + (b * width + s->position[b] % s->n) * per;
                float *to = out[b] + s->done[b] * per;
                for (int64_t i = 0; i < s->taken[b] * per; i++) to[i] = (float)from[i];
            }
            if (whole) { /* otherwise no row has filled a segment: nothing may be written */
                forward_commit(&f, s->state);
                for (int64_t b = 0; b < s->rows; b++) state_advance(s->state, &c, b);
            }
            if (bad && !*s->model->trouble.text) say_state(s);
        }
        keep_pending(s, tokens, width);
    }
}

void stream_score(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *nll) {
    feed(s, tokens, n, nll, nll ? 1 : 0);
}

void stream_logits(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *out) {
    feed(s, tokens, n, out, out ? 2 : 0);
}

void stream_next(struct stream *s, float *out) {
    if (*s->model->trouble.text) {
        for (int64_t i = 0; i < s->rows * s->vocab; i++) out[i] = NAN;
        return;
    }
    int64_t longest = 0;
    for (int64_t b = 0; b < s->rows; b++) {
        int64_t total = s->position[b] % s->n + 1;
        if (total > longest) longest = total;
    }
    for (int64_t b = 0; b < s->rows; b++) {
        int64_t p = s->position[b] % s->n;
        int32_t *in = s->tokens + b * longest;
        for (int64_t i = 0; i < longest; i++) in[i] = i < p ? s->pending[b * s->n + i] : i == p ? s->last[b] : TOKEN_BOS;
        s->len[b] = (int32_t)(p + 1);
        s->since[b] = s->state->since[b];
    }
    struct call c = {.batch = s->rows,
                     .segments = 1,
                     .n = longest,
                     .tokens = s->tokens,
                     .since = s->since,
                     .len = s->len,
                     .knocked = s->knocked};
    struct forward f;
    struct tensor *y =
        call_forward(s, &f, &c, 2); /* not committed: the open segment is computed again when its next token is known */
    s->model->k->download(s->host, y->data, (size_t)(s->rows * longest * s->vocab) * sizeof *s->host);
    for (int64_t b = 0; b < s->rows; b++) {
        const real *from = s->host + (b * longest + s->position[b] % s->n) * s->vocab;
        for (int64_t i = 0; i < s->vocab; i++) out[b * s->vocab + i] = (float)from[i];
        if (!*s->model->trouble.text && first_bad(from, s->vocab) >= 0) say_score(s, b, s->position[b] + 1);
    }
}

void stream_pretend(struct stream *s, int64_t row, int64_t tokens) {
    struct state *x = s->state;
    CHECK(tokens >= 0 && tokens % s->n == 0 && tokens % x->period == 0,
          "%lld tokens are not whole segments and rounds of the rings", (long long)tokens);
    s->position[row] += tokens;
    x->since[row] = since_of(x->since[row] + tokens, s->n);
    int64_t head = x->head[row] + tokens;
    x->head[row] = (int32_t)(head < SINCE_MOST ? head : head % x->period);
}

int64_t stream_position(const struct stream *s, int64_t row) { return s->position[row]; }
int64_t stream_writes(const struct stream *s, int64_t row) { return s->position[row] / s->n; }

void stream_fork(struct stream *s, int64_t to, int64_t from) {
    if (to == from) return;
    state_copy_row(s->state, to, s->state, from);
    s->position[to] = s->position[from];
    s->last[to] = s->last[from];
    memcpy(s->pending + to * s->n, s->pending + from * s->n, (size_t)s->n * sizeof *s->pending);
}

struct snapshot *stream_snapshot(struct stream *s, int64_t row) {
    struct snapshot *p = xcalloc(1, sizeof *p);
    struct error e;
    p->state = state_create(s->model, 1, s->segments, &e);
    CHECK(p->state, "snapshot: %s", e.text);
    state_copy_row(p->state, 0, s->state, row);
    p->position = s->position[row];
    p->last = s->last[row];
    p->pending = xcalloc((size_t)s->n, sizeof *p->pending);
    memcpy(p->pending, s->pending + row * s->n, (size_t)s->n * sizeof *p->pending);
    return p;
}

void stream_restore(struct stream *s, int64_t row, const struct snapshot *p) {
    state_copy_row(s->state, row, p->state, 0);
    s->position[row] = p->position;
    s->last[row] = p->last;
    memcpy(s->pending + row * s->n, p->pending, (size_t)s->n * sizeof *p->pending);
}

void snapshot_free(struct snapshot *p) {
    if (!p) return;
    state_free(p->state);
    free(p->pending);
    free(p);
}

size_t stream_state_bytes(const struct stream *s) { return state_bytes(s->state); }
size_t stream_counter_bytes(const struct stream *s, int64_t row) {
    size_t counters = sizeof *s->position + sizeof *s->last + sizeof *s->state->since + sizeof *s->state->head;
    return counters + (size_t)(s->position[row] % s->n) * sizeof *s->pending;
}
const struct state *stream_state(const struct stream *s) { return s->state; }

struct tensor **stream_unroll(struct tape *t, struct state *scratch, const int32_t *tokens, int64_t rows, int64_t segments,
                              struct tensor **in) {
    struct model *m = scratch->model;
    int64_t n = m->config.segment, step = m->config.arch->layer_major ? segments : 1;
    CHECK(rows == scratch->batch && step <= scratch->segments, "the scratch state has %lld rows of %lld segments",
          (long long)scratch->batch, (long long)scratch->segments);
    size_t width = (size_t)(step * n);
    int32_t *piece = xcalloc((size_t)rows * width, sizeof *piece), *since = xcalloc((size_t)(rows * step), sizeof *since);
    int32_t *len = xcalloc((size_t)(rows * step), sizeof *len);
    struct forward f, previous;
    if (!in) state_reset(scratch, -1);
    for (int64_t first = 0; first < segments; first += step) {
        struct call c = {.batch = rows, .segments = step, .n = n, .tokens = piece, .since = since, .len = len, .first = first};
        for (int64_t b = 0; b < rows; b++) {
            memcpy(piece + b * (int64_t)width, tokens + (b * segments + first) * n, width * sizeof *piece);
            int64_t before = in && scratch->since[b] == 0 ? n : scratch->since[b]; /* a given state has seen something */
            for (int64_t j = 0; j < step; j++) {
                since[b * step + j] = (int32_t)(before + (first + j) * n);
                len[b * step + j] = (int32_t)n;
            }
        }
        memset(&f, 0, sizeof f);
        forward_begin(&f, t, scratch, &c);
        for (int i = 0; !first && in && i < m->state_count; i++)
            if (m->states[i].kind == STATE_CARRIED && in[i]) f.in[i] = in[i];
        if (first) forward_chain(&f, &previous);
        model_forward(&f, false);
        previous = f;
        /* Rings of the scratch move on, so that a further call with `in` goes on from here; carried values stay on the tape. */
        for (int64_t b = 0; !t->dry && first + step >= segments && b < rows; b++) {
            scratch->since[b] = (int32_t)(since[b * step + step - 1] + n);
            scratch->head[b] += (int32_t)(segments * n);
        }
    }
    free(piece);
    free(since);
    free(len);
    return f.out;
}
