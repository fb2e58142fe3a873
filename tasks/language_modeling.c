/* language_modeling.c - perplexity and bits per byte of whole documents.
 *
 * Each token of a text is scored exactly once, the first from BOS; state is carried through a document and reset before the next.
 * Sums are in double. Scores by position ask whether a model gains from the earlier parts of a document; knock-out asks whether the
 * gain comes from the compressive memory. Outputs of a foreign model are added up and measured by the same functions. */
#include "documents.h"
#include "harness/score.h"
#include "ngram.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 20240410

static const char *const bucket_name[BUCKETS] = {"1", "2-4", "5-16", "17-64", "65+"};

static const struct metric metrics[] = {
    {"bits_per_byte", "bits/byte", -1},
    {"token_perplexity", "", -1},
    {"word_perplexity", "", -1},
    {"nll_sum", "nats", 0},
    {"tokens", "tokens", 0},
    {"words", "words", 0},
    {"bytes", "bytes", 0},
    {"ngram3_bits_per_byte", "bits/byte", 0},
    {NULL, NULL, 0},
};

static const struct option options[] = {
    {"corpus", OPTION_TEXT, "", 0, 0, NULL,
     "kjv, pg19, math or a folder with split folders; empty: what the model was trained on, else kjv"},
    {"split", OPTION_CHOICE, "test", 0, 0, "test|validation|train", "which documents are scored"},
    {"limit", OPTION_INT, "0", 0, 1e15, NULL, "bytes of each document that are scored, 0: all"},
    {"documents", OPTION_INT, "0", 0, 1e9, NULL, "documents that are scored, in order of their names, 0: all"},
    {"rows", OPTION_INT, "1", 1, 4096, NULL, "documents at a time; 1 because the segments of a call fill the processor already"},
    {"segments", OPTION_INT, "0", 0, 4096, NULL, "segments of a document in one call, 0: about 2048 tokens"},
    {"knock_out", OPTION_BOOL, "yes", 0, 0, NULL, "score models with compressive memory also with the memory off and with it zero"},
    {"ngram", OPTION_CHOICE, "3", 0, 0, "0|3",
     "beside the null model also score a 3-gram of the training split over the same documents"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

/* Ratio of sums over documents at a position (bucket, or -1: all); samples are written beside it. */
static struct interval ratio_at(struct scoring *j, const char *split, const char *condition, const char *metric, int bucket) {
    double *bits = xcalloc((size_t)j->count, sizeof *bits), *bytes = xcalloc((size_t)j->count, sizeof *bytes);
    int64_t n = 0;
    for (int d = 0; d < j->count; d++) {
        double nats = 0, size = 0;
        for (int b = 0; b < BUCKETS; b++)
            if (bucket < 0 || b == bucket) {
                nats += j->sums[d].nats[b];
                size += j->sums[d].bytes[b];
            }
        if (!(size > 0)) continue;
        bits[n] = nats / log(2.0);
        bytes[n++] = size;
        cell_sample(j->out, split, condition, metric, j->corpus->texts[d].name, bucket < 0 ? "all" : bucket_name[bucket],
                    nats / log(2.0), size);
    }
    struct interval v = {.n = 0};
    if (n) v = bootstrap_ratio(bits, bytes, n, BOOTSTRAP_SEED);
    free(bits);
    free(bytes);
    return v;
}

static void measure_bits(struct scoring *j, const char *condition, const char *metric) {
    for (int b = -1; b < BUCKETS; b++) {
        struct interval v = ratio_at(j, j->corpus->split, condition, metric, b);
        if (!v.n) continue;
        cell_measure(j->out, &(struct measurement){.split = j->corpus->split,
                                                   .condition = condition,
                                                   .metric = metric,
                                                   .unit = "bits/byte",
                                                   .position = b < 0 ? "all" : bucket_name[b],
                                                   .writes = -1,
                                                   .n = v.n,
                                                   .value = v.value,
                                                   .standard_error = v.standard_error,
                                                   .low = v.low,
                                                   .high = v.high});
    }
}

static void measure_count(struct scoring *j, const char *condition, const char *metric, const char *unit, double value) {
    cell_value(j->out, &(struct measurement){.split = j->corpus->split,
                                             .condition = condition,
                                             .metric = metric,
                                             .unit = unit,
                                             .position = "all",
                                             .n = j->count,
                                             .value = value});
}

/* exp of nats per token or per word, interval by the bootstrap over documents (standard error to first order). */
static void measure_perplexity(struct scoring *j, const char *condition, const char *metric, bool words) {
    double *nats = xcalloc((size_t)j->count, sizeof *nats), *units = xcalloc((size_t)j->count, sizeof *units);
    double all = 0;
    for (int d = 0; d < j->count; d++) {
        for (int b = 0; b < BUCKETS; b++) nats[d] += j->sums[d].nats[b];
        units[d] = words ? (double)j->corpus->texts[d].words : j->sums[d].tokens;
        all += units[d];
    }
    if (all > 0) {
        struct interval v = bootstrap_ratio(nats, units, j->count, BOOTSTRAP_SEED);
        cell_measure(j->out, &(struct measurement){.split = j->corpus->split,
                                                   .condition = condition,
                                                   .metric = metric,
                                                   .unit = "",
                                                   .position = "all",
                                                   .writes = -1,
                                                   .n = j->count,
                                                   .value = exp(v.value),
                                                   .standard_error = exp(v.value) * v.standard_error,
                                                   .low = exp(v.low),
                                                   .high = exp(v.high)});
    }
    free(nats);
    free(units);
}

static void measure(struct scoring *j, const char *condition) {
    double nats = 0, tokens = 0, words = 0, bytes = 0;
    for (int d = 0; d < j->count; d++) {
        for (int b = 0; b < BUCKETS; b++) nats += j->sums[d].nats[b];
        tokens += j->sums[d].tokens;
        words += (double)j->corpus->texts[d].words;
        bytes += (double)j->corpus->texts[d].size;
    }
    measure_bits(j, condition, "bits_per_byte");
    measure_perplexity(j, condition, "token_perplexity", false);
    measure_perplexity(j, condition, "word_perplexity", true);
    measure_count(j, condition, "nll_sum", "nats", nats);
    measure_count(j, condition, "tokens", "tokens", tokens);
    measure_count(j, condition, "words", "words", words);
    measure_count(j, condition, "bytes", "bytes", bytes);
}

/* The 3-gram of the training split over the same documents. */
static int measure_ngram(struct scoring *j, const struct task_run *r, struct error *e) {
    struct corpus *train =
        documents_open(r->options, r->train, "train", r->tokenizer, 0, e); /* whole, whatever a stage read of it */
    if (!train) return -1;
    struct ngram *g = ngram_fit(train, r->tokenizer->vocab, 3);
    memset(j->sums, 0, (size_t)j->count * sizeof *j->sums);
    for (int d = 0; d < j->count; d++) {
        const struct text *text = &j->corpus->texts[d];
        float *nll = xcalloc((size_t)text->n, sizeof *nll);
        ngram_score(g, text->tokens, text->n, nll);
        scoring_add_tokens(j, d, 0, text->n, nll);
        free(nll);
    }
    measure_bits(j, "", "ngram3_bits_per_byte");
    ngram_free(g);
    corpus_free(train);
    return 0;
}

static int run(struct task_run *r, struct error *e) {
    const struct options *o = r->options;
    struct model *m = r->model;
    struct corpus *c = documents_open(o, r->train, options_text(o, "split"), r->tokenizer, (size_t)options_int(o, "limit"), e);
    if (!c) return -1;
    int64_t rows = options_int(o, "rows"), segments = options_int(o, "segments");
    struct scoring j = {.out = r->out, .corpus = c, .segment = m->config.segment, .count = documents_count(o, c)};
    if (rows > j.count) rows = j.count;
    if (!segments) segments = CALL_TOKENS / (rows * j.segment);
    if (segments < 1) segments = 1;
    struct stream *s = stream_open(m, rows, segments, e);
    if (!s) {
        corpus_free(c);
        return -1;
    }
    j.token_bytes = documents_token_bytes(r->tokenizer);
    j.sums = xcalloc((size_t)j.count, sizeof *j.sums);
    static const struct {
        enum knock_out mode;
        const char *condition, *label;
    } ways[] = {{KNOCK_NONE, "", "language modeling"},
                {KNOCK_OFF, "knockout=off", "language modeling, memory off"},
                {KNOCK_ZERO, "knockout=zero", "language modeling, memory zero"}};
    int count = options_bool(o, "knock_out") && memory_to_knock_out(m) ? 3 : 1, status = 0;
    for (int i = 0; i < count; i++) {
        stream_knock_out(s, ways[i].mode);
        documents_score(&j, s, rows, segments * j.segment, ways[i].label);
        measure(&j, ways[i].condition);
    }
    if (!strcmp(m->config.arch->name, "null") && !strcmp(options_text(o, "ngram"), "3")) status = measure_ngram(&j, r, e);
    stream_close(s);
    corpus_free(c);
    free(j.token_bytes);
    free(j.sums);
    return status;
}

/* ---- outputs of a foreign model ---- */

static int wrong_length(const struct score_run *r, const struct text *t, int64_t got, struct error *e) {
    char *path = score_path(r, t->name);
    int64_t limit = options_int(r->options, "limit");
    if (got == t->n - 1)
        fail(e, "%s holds %lld values, %s has %lld tokens (%s): one is missing; the first token is scored too, from BOS", path,
             (long long)got, t->name, (long long)t->n, r->tokenizer->name);
    else if (got > t->n && limit)
        fail(e,
             "%s holds %lld values, expected %lld, the tokens (%s) of the first %zu bytes of %s; score only these, or leave out "
             "--limit",
             path, (long long)got, (long long)t->n, r->tokenizer->name, t->size, t->name);
    else
        fail(e,
             "%s holds %lld values, expected %lld, one for each token (%s) of %s; for another tokenizer name it with "
             "--tokenizer, or give (n, 2): nats and bytes of each token",
             path, (long long)got, (long long)t->n, r->tokenizer->name, t->name);
    free(path);
    return -1;
}

static int wrong_bytes(const struct score_run *r, const struct text *t, double got, struct error *e) {
    char *path = score_path(r, t->name);
    fail(e,
         "%s: its tokens have %.0f bytes together, what is scored of %s has %zu; the second column is the bytes of the text that "
         "each token stands for%s",
         path, got, t->name, t->size,
         options_int(r->options, "limit") ? " (--limit cuts a text before it is cut into tokens)" : "");
    free(path);
    return -1;
}

/* Tokens of another tokenizer are laid over ours: one that reaches over the border of a position is divided by its bytes, so that
 * a position holds the same text for every model. One of 0 bytes (an end mark, say) counts where it stands. */
static void add_foreign(struct scoring *j, int d, const struct score_nll *x) {
    const struct text *t = &j->corpus->texts[d];
    struct document_sums *s = &j->sums[d];
    int64_t at = 0, left = j->token_bytes[t->tokens[0]];
    for (int64_t i = 0; i < x->n; i++) {
        double share = x->bytes[i] > 0 ? x->nats[i] / x->bytes[i] : 0, part = 0; /* part: bytes in position b so far */
        int b = documents_bucket(at, j->segment);
        for (int64_t rest = (int64_t)x->bytes[i]; rest > 0;) {
            while (left == 0 && at + 1 < t->n) left = j->token_bytes[t->tokens[++at]];
            int here = documents_bucket(at, j->segment);
            if (here != b) {
                s->nats[b] += share * part;
                s->bytes[b] += part;
                b = here;
                part = 0;
            }
            int64_t take = left && left < rest ? left : rest; /* left is 0 only after the last of our tokens */
            left -= left ? take : 0;
            rest -= take;
            part += (double)take;
        }
        s->nats[b] += part == x->bytes[i] ? x->nats[i] : share * part;
        s->bytes[b] += part;
    }
    s->tokens += (double)x->n;
}

static int add_document(struct score_run *r, struct scoring *j, int d, struct error *e) {
    const struct text *t = &j->corpus->texts[d];
    struct score_nll x;
    if (score_nll(r, t->name, &x, e)) return -1;
    int status = 0;
    double bytes = 0;
    for (int64_t i = 0; x.bytes && i < x.n; i++) bytes += x.bytes[i];
    if (!x.bytes && x.n != t->n)
        status = wrong_length(r, t, x.n, e);
    else if (x.bytes && bytes != (double)t->size)
        status = wrong_bytes(r, t, bytes, e);
    else if (x.bytes)
        add_foreign(j, d, &x);
    else
        for (int64_t i = 0; i < x.n; i++) scoring_add(j, d, i, x.nats[i]);
    score_nll_free(&x);
    return status;
}

static int score(struct score_run *r, struct error *e) {
    static const char *const ours[] = {"rows", "segments", "knock_out", "ngram", NULL};
    const struct options *o = r->options;
    if (score_refuse(r, ours, e)) return -1;
    struct corpus *c = documents_open(o, NULL, options_text(o, "split"), r->tokenizer, (size_t)options_int(o, "limit"), e);
    if (!c) return -1;
    struct scoring j = {.corpus = c, .segment = r->segment, .count = documents_count(o, c)};
    const char **names = xcalloc((size_t)j.count, sizeof *names);
    for (int d = 0; d < j.count; d++) names[d] = c->texts[d].name;
    j.token_bytes = documents_token_bytes(r->tokenizer);
    j.sums = xcalloc((size_t)j.count, sizeof *j.sums);
    int status = score_expect(r, names, j.count, e);
    for (int d = 0; d < j.count && !status; d++) status = add_document(r, &j, d, e);
    if (!status) status = score_begin(r, c->split, c->hash, e);
    if (!status && r->out) {
        j.out = r->out;
        measure(&j, "");
    }
    corpus_free(c);
    free(names);
    free(j.token_bytes);
    free(j.sums);
    return status;
}

extern const struct task task_language_modeling;
const struct task task_language_modeling = {
    .name = "language_modeling",
    .version = 1,
    .summary = "perplexity per token and per word, and bits per byte, of whole documents; by position; with the memory knocked out",
    .protocol =
        "Each document is read from its start, state is carried through it and reset before the next. Each token is scored exactly "
        "once given all tokens before it that the architecture can see, the first from BOS. bits_per_byte = sum of -log2 p / "
        "bytes, "
        "token_perplexity = exp(nats / tokens), word_perplexity = exp(nats / words of the original text). Positions are segments "
        "of "
        "the document, counted from 1. Intervals of one run: percentile bootstrap over documents, 95 %. knockout=off: memory gate "
        "forced to "
        "0; "
        "knockout=zero: memory reads 0 and the local part keeps its factor 1 - g.",
    .metrics = metrics,
    .options = options,
    .run = run,
    .source = NULL,
    .data_hash = documents_hash,
    .score = score,
};
