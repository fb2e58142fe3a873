/* passkey_eval.c - streams passkey prompts through a model, rows of samples at a time, and judges the answers.
 *
 * Memory does not grow with the length (the haystack's tokens apart: 4 bytes each). What samples share is read once: the trunk, a
 * stream of one row, reads introduction and haystack up to a needle; its state is copied into the rows of the samples. A further
 * needle or a greater length continues the trunk. An architecture of finite reach reads only the tail that can matter, from a
 * segment's start on. Neither may change an answer (tests/test_passkey.c). What is measured of the outcomes is decided in
 * passkey.c. */
#include "passkey.h"

#include <stdlib.h>
#include <string.h>

#define CALL_TOKENS 2048 /* tokens a call when `segments` is 0: large enough for the products, small enough for the cache */
#define HAYSTACK_STREAM 0x65766179u
#define SAMPLE_STREAM 0x65766c73u

struct evaluation {
    struct model *m;
    const struct passkey_text *x;
    const struct passkey_plan *plan;
    struct passkey_outcome *out;
    int64_t most, n, reach, segments, chunk; /* n: segment length; chunk: tokens a row and feed */
    /* the trunk */
    struct stream *trunk;
    struct snapshot *far;                             /* the furthest state that was left behind */
    int64_t far_position, origin, group, trunk_group; /* group: lengths and places so far */
    int32_t *line;                                    /* [chunk] */
    /* samples */
    struct stream *stream;
    int64_t rows, open_rows;
    struct prompt *prompt; /* [rows] */
    int64_t *at, *count;   /* [rows] next token of the prompt; tokens of this feed */
    int32_t **token;       /* [rows][chunk] */
    float **logits;        /* [rows][symbols * vocab] */
    struct snapshot **kept;
    struct haystack haystack;
    struct progress progress;
    double done, work;
    struct error *e;
};

static void knock_out(struct stream *s, const struct passkey_plan *plan) {
    if (plan->knocked)
        stream_knock_out_heads(s, plan->knocked);
    else
        stream_knock_out(s, plan->knock_out);
}

static int64_t less(int64_t a, int64_t b) { return a < b ? a : b; }

/* Tokens from position (of the stream, which begins at a segment's start) that fill calls of whole segments. */
static int64_t portion(const struct evaluation *v, int64_t position, int64_t left) {
    int64_t take = v->chunk - position % v->n;
    return less(take, left);
}

/* ---- the trunk ---- */

static void trunk_drop(struct evaluation *v) {
    snapshot_free(v->far);
    v->far = NULL;
    v->far_position = 0;
    v->origin = 0;
    stream_reset(v->trunk, -1);
}

/* Moves the trunk to token `target` of a prompt, having begun at token `origin`; what lies between is the same for every prompt of
 * this haystack if origin is 0, otherwise for those of one length and place. */
static void trunk_to(struct evaluation *v, const struct prompt *p, int64_t origin, int64_t target) {
    int64_t position = stream_position(v->trunk, 0);
    bool goes_on = origin == v->origin && v->trunk_group == v->group && origin + position <= target;
    if ((origin || v->origin) && !goes_on)
        trunk_drop(v);
    else if (!origin && target < position) {
        if (position > v->far_position) {
            snapshot_free(v->far);
            v->far = stream_snapshot(v->trunk, 0);
            v->far_position = position;
        }
        stream_reset(v->trunk, -1);
    }
    if (v->far && v->far_position <= target && v->far_position > stream_position(v->trunk, 0)) stream_restore(v->trunk, 0, v->far);
    v->origin = origin;
    v->trunk_group = v->group;
    for (int64_t at; (at = stream_position(v->trunk, 0)) < target - origin;) {
        int64_t n = portion(v, at, target - origin - at);
        prompt_read(p, origin + at, n, v->line);
        stream_score(v->trunk, (const int32_t *const[]){v->line}, &n, NULL);
        progress_update(&v->progress, (int64_t)v->done, "tokens; shared part at %lld", (long long)(origin + at + n));
    }
}

/* ---- a batch of samples ---- */

/* First token of the tail that can influence the answer of the prompt, at a segment's start; see `reach` in baseline.h. */
static int64_t tail_start(const struct evaluation *v, const struct prompt *p) {
    int64_t first = p->answer - v->reach - 1;
    return v->plan->tail && v->reach != UNBOUNDED && first > 0 ? first / v->n * v->n : 0;
}

/* Up to which token, from `origin` on, all prompts of the batch are equal; whole calls only. So every call, of the trunk and of the
 * samples, begins where it would begin without sharing, and sharing changes no bit (products round by where a row stands in a
 * call). */
static int64_t shared_until(const struct evaluation *v, int rows, int64_t origin) {
    int64_t until = v->prompt[0].answer, call = v->segments * v->n;
    if (origin && v->x->shape.needles > 1) return origin;
    for (int r = 0; r < rows; r++) {
        const struct prompt *p = &v->prompt[r];
        for (int i = 0; i < p->needles; i++)
            if (p->needle_end[i] > origin && p->needle[i] < until) until = p->needle[i] > origin ? p->needle[i] : origin;
        if (v->x->shape.needles > 1 && p->query < until) until = p->query;
    }
    return origin + (until - origin) / call * call;
}

/* Puts every row to where its prompt parts from the others; returns the first token that is still to be read. */
static int64_t read_shared(struct evaluation *v, int rows, int64_t origin) {
    int64_t shared = shared_until(v, rows, origin);
    struct snapshot *s = NULL;
    stream_reset(v->stream, -1);
    for (int r = 0; r < rows && shared > origin; r++) {
        if (!v->plan->share) trunk_drop(v);
        if (!s || !v->plan->share) {
            snapshot_free(s);
            trunk_to(v, &v->prompt[r], origin, shared);
            s = stream_snapshot(v->trunk, 0);
        }
        stream_restore(v->stream, r, s);
    }
    snapshot_free(s);
    return shared;
}

/* Brings every row to the first symbol of its answer. */
static void read_prompts(struct evaluation *v, int rows, double estimate) {
    int64_t origin = INT64_MAX, fed = 0;
    for (int r = 0; r < rows; r++) origin = less(origin, tail_start(v, &v->prompt[r]));
    int64_t shared = read_shared(v, rows, origin);
    for (int r = 0; r < rows; r++) v->at[r] = shared;
    for (bool more = true; more;) {
        more = false;
        for (int64_t r = 0; r < v->open_rows; r++) {
            int64_t left = r < rows ? v->prompt[r].answer - v->at[r] : 0;
            v->count[r] = left ? portion(v, v->at[r] - origin, left) : 0;
            if (!v->count[r]) continue;
            prompt_read(&v->prompt[r], v->at[r], v->count[r], v->token[r]);
            v->at[r] += v->count[r];
            fed += v->count[r];
            more = true;
        }
        if (!more) break;
        stream_score(v->stream, (const int32_t *const *)v->token, v->count, NULL);
        progress_update(&v->progress, (int64_t)(v->done + ((double)fed < estimate ? (double)fed : estimate)), "tokens");
    }
}

/* Symbols that the model says one after the other, for rows that have said a wrong one before the last: from there on teacher
 * forcing shows something else than greedy decoding. */
static void decode_greedily(struct evaluation *v, int rows, struct passkey_judgement *j, const int32_t *const *answer) {
    int symbols = v->x->shape.value_length;
    struct generation *g = xcalloc((size_t)rows, sizeof *g);
    for (int r = 0; r < rows; r++) {
        bool goes = j[r].until < symbols - 1 && j[r].said[j[r].until] >= 0;
        g[r] = (struct generation){.tokens = j[r].said, .n = goes ? j[r].until + 1 : symbols};
        if (goes) stream_restore(v->stream, r, v->kept[r]);
    }
    /* A row that says nothing more keeps its judgement; what it has read does not matter any longer. */
    generate(v->stream, &(struct decoding){.most = symbols, .stop = -1}, g, rows, NULL, NULL);
    for (int r = 0; r < rows; r++) {
        for (int64_t i = g[r].n; i < symbols; i++) j[r].said[i] = -1;
        j[r].right = 0;
        for (int i = 0; i < symbols; i++) j[r].right += j[r].said[i] == answer[r][i];
    }
    free(g);
}

/* Answers of all rows: one pass with the right symbols, and a greedy one where it says something else. */
static void read_answers(struct evaluation *v, int rows, struct passkey_judgement *j) {
    int symbols = v->x->shape.value_length;
    const int32_t *answer[4096];
    int32_t room[PASSKEY_SYMBOLS];
    bool wrong = false;
    CHECK(rows <= 4096, "%d rows", rows);
    for (int64_t r = 0; r < v->open_rows; r++) {
        v->count[r] = r < rows ? symbols : 0;
        if (r >= rows) continue;
        const struct prompt *p = &v->prompt[r];
        prompt_read(p, p->answer, symbols, room);
        answer[r] = p->stretch[p->count - 1].tokens + (p->answer - p->query);
        CHECK(!memcmp(answer[r], room, (size_t)symbols * sizeof *room), "an answer that is not where it should be");
        if (v->plan->greedy) v->kept[r] = stream_snapshot(v->stream, r);
    }
    stream_logits(v->stream, answer, v->count, v->logits);
    stream_watch(v->stream, NULL, NULL); /* what is said greedily is no answer to listen to */
    for (int r = 0; r < rows; r++) {
        passkey_judge(&j[r], v->logits[r], v->m->config.vocab, answer[r], symbols);
        wrong = wrong || j[r].until < symbols - 1;
    }
    if (v->plan->greedy && wrong) decode_greedily(v, rows, j, answer);
    for (int r = 0; r < rows; r++) {
        snapshot_free(v->kept[r]);
        v->kept[r] = NULL;
    }
}

/* ---- all of it ---- */

static int64_t groups(const struct evaluation *v) { return less(v->plan->haystacks ? v->plan->haystacks : v->most, v->most); }

/* Samples of length l that read haystack h: h, h + groups, ... */
static int64_t group_size(const struct evaluation *v, int l, int64_t h) {
    int64_t n = v->plan->samples[l], g = groups(v);
    return n > h ? (n - h + g - 1) / g : 0;
}

/* Tokens that a sample will read after what it shares, about. */
static double estimate(const struct evaluation *v, int l, int p) {
    double length = (double)v->plan->length[l], rest = v->plan->share ? (1 - v->plan->place[p].depth) * length : length;
    double most = v->reach != UNBOUNDED && v->plan->tail ? (double)(v->reach + v->n) : length;
    return (rest < most ? rest : most) + 64;
}

static void close_rows(struct evaluation *v) {
    for (int64_t r = 0; r < v->open_rows; r++) {
        free(v->token[r]);
        free(v->logits[r]);
    }
    stream_close(v->stream);
    free(v->prompt);
    free(v->at);
    free(v->count);
    free(v->token);
    free(v->logits);
    free(v->kept);
    v->stream = NULL;
    v->open_rows = 0;
}

static int open_rows(struct evaluation *v, int64_t rows) {
    if (rows == v->open_rows) return 0;
    close_rows(v);
    size_t n = (size_t)rows, vocab = (size_t)v->m->config.vocab;
    v->stream = stream_open(v->m, rows, v->segments, v->e);
    v->prompt = xcalloc(n, sizeof *v->prompt);
    v->at = xcalloc(n, sizeof *v->at);
    v->count = xcalloc(n, sizeof *v->count);
    v->token = xcalloc(n, sizeof *v->token);
    v->logits = xcalloc(n, sizeof *v->logits);
    v->kept = xcalloc(n, sizeof *v->kept);
    v->open_rows = rows;
    for (int64_t r = 0; r < rows; r++) {
        v->token[r] = xcalloc((size_t)v->chunk, sizeof **v->token);
        v->logits[r] = xcalloc((size_t)v->x->shape.value_length * vocab, sizeof **v->logits);
    }
    if (!v->stream) return -1;
    knock_out(v->stream, v->plan);
    return 0;
}

/* All samples of haystack h at one length and place. */
static int run_group(struct evaluation *v, int64_t h, int l, int p) {
    const struct passkey_plan *plan = v->plan;
    v->group++;
    int64_t size = group_size(v, l, h), batches = (size + v->rows - 1) / v->rows;
    struct passkey_judgement *j = xcalloc((size_t)v->rows, sizeof *j);
    int status = size ? open_rows(v, (size + batches - 1) / batches) : 0; /* batches of equal size: no row idles */
    for (int64_t first = 0; first < size && !status; first += v->open_rows) {
        int rows = (int)less(v->open_rows, size - first);
        for (int r = 0; r < rows; r++) {
            struct passkey_sample sample;
            struct rng rng;
            int64_t number = h + (first + r) * groups(v);
            rng_seed(&rng, v->x->shape.seed, hash64(&number, sizeof number, SAMPLE_STREAM));
            passkey_sample(&sample, v->x, &v->haystack, &rng);
            prompt_make(&v->prompt[r], v->x, &v->haystack, &sample, plan->length[l], plan->place[p].depth, false);
        }
        double work = estimate(v, l, p) * rows;
        struct passkey_contrast *contrast = NULL;
        if (plan->listen && !h && !first && !p && prompt_writes(&v->prompt[0], v->n)) {
            contrast = contrast_open(v->m, v->prompt, rows, v->x->shape.value_length);
            stream_watch(v->stream, contrast_watch, contrast);
        }
        read_prompts(v, rows, work);
        if (contrast) contrast_memory(contrast, v->stream);
        if (plan->look && !h && !first && p == plan->places - 1) plan->look(plan->data, v->stream, plan->length[l]);
        read_answers(v, rows, j);
        if (contrast) plan->listen(plan->data, contrast, plan->length[l]);
        contrast_close(contrast);
        for (int r = 0; r < rows; r++) {
            int64_t number = h + (first + r) * groups(v);
            v->out[((int64_t)l * plan->places + p) * v->most + number] =
                (struct passkey_outcome){.exact = j[r].exact,
                                         .right = j[r].right,
                                         .nats = j[r].nats,
                                         .writes = prompt_writes(&v->prompt[r], v->n),
                                         .tokens = v->prompt[r].n + 1};
        }
        v->done += work;
        progress_update(&v->progress, (int64_t)v->done, "tokens; length %lld, %s", (long long)plan->length[l], plan->place[p].name);
    }
    free(j);
    return status;
}

static int run_all(struct evaluation *v) {
    const struct passkey_plan *plan = v->plan;
    for (int64_t h = 0; h < groups(v); h++) {
        int longest = -1;
        for (int l = 0; l < plan->lengths; l++)
            if (group_size(v, l, h)) longest = l;
        if (longest < 0) continue;
        haystack_make(&v->haystack, v->x, HAYSTACK_STREAM, h, plan->length[longest]);
        trunk_drop(v);
        for (int l = 0; l <= longest; l++)
            for (int p = 0; p < plan->places; p++)
                if (run_group(v, h, l, p)) return -1;
    }
    return 0;
}

struct passkey_outcome *passkey_evaluate(struct model *m, const struct passkey_text *x, const struct passkey_plan *plan,
                                         int64_t *most, struct error *e) {
    struct evaluation v = {.m = m, .x = x, .plan = plan, .n = m->config.segment, .rows = plan->rows, .e = e};
    /* Without a compressive memory the own segment is left; others attend beyond it by other ways too. */
    bool memory = plan->knocked || plan->knock_out == KNOCK_NONE || !m->config.arch->compressive;
    v.reach = memory ? m->config.arch->reach(&m->config) : v.n - 1;
    for (int l = 0; l < plan->lengths; l++)
        if (plan->samples[l] > v.most) v.most = plan->samples[l];
    int64_t widest = 1;
    for (int l = 0; l < plan->lengths; l++)
        if (group_size(&v, l, 0) > widest) widest = group_size(&v, l, 0);
    v.rows = less(v.rows, widest);
    v.segments = plan->segments ? plan->segments : CALL_TOKENS / (v.rows * v.n);
    if (v.segments < 1) v.segments = 1;
    v.chunk = v.segments * v.n * (1 + CALL_TOKENS / (v.segments * v.n));
    v.out = xcalloc((size_t)(plan->lengths * plan->places * v.most), sizeof *v.out);
    v.line = xcalloc((size_t)v.chunk, sizeof *v.line);
    for (int l = 0; l < plan->lengths; l++)
        for (int p = 0; p < plan->places; p++) v.work += estimate(&v, l, p) * (double)plan->samples[l];
    v.trunk = stream_open(m, 1, v.segments, e);
    int status = -1;
    if (v.trunk) {
        knock_out(v.trunk, plan);
        progress_begin(&v.progress,
                       plan->label                     ? plan->label
                       : plan->knock_out == KNOCK_OFF  ? "passkey, memory off"
                       : plan->knock_out == KNOCK_ZERO ? "passkey, memory zero"
                                                       : "passkey",
                       (int64_t)v.work);
        status = run_all(&v);
        progress_end(&v.progress);
    }
    close_rows(&v);
    stream_close(v.trunk);
    snapshot_free(v.far);
    haystack_free(&v.haystack);
    free(v.line);
    *most = v.most;
    if (!status) return v.out;
    free(v.out);
    return NULL;
}
