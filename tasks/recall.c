/* recall.c - associative recall: what can be asked back of the pairs that a model has read, by their number and by the memory
 * writes since. Samples are made in recall_sample.c; here they are fed to a stream, judged and measured. */
#include "harness/task.h"
#include "recall.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 20240410
#define SAMPLE_STREAM 0x72656361u
#define CALL_TOKENS 2048 /* tokens of all rows in one call, as in language_modeling.c */
#define TAIL_TOKENS 256  /* tokens a row whose logits are taken at a time */
#define CONDITION 128    /* with its end; that of results.csv */

static const struct metric metrics[] = {
    {"exact_match", "fraction", 1},
    {"symbol_accuracy", "fraction", 1},
    {"answer_nll", "nats/symbol", -1},
    {"capacity", "pairs", 1},
    {"stale_match", "fraction", -1},
    {"exact_match_chance", "fraction", 0},
    {"symbol_accuracy_chance", "fraction", 0},
    {NULL, NULL, 0},
};

/* One question of one sample. */
struct answer {
    int64_t sample, writes;
    bool exact, stale;
    double right, nll;
};
struct job {
    const struct task_run *run;
    struct recall_maker maker;
    struct recall_layout layout;
    int64_t samples, segment;
    char condition[CONDITION];
    struct answer *answers; /* [samples * queries], samples in order */
};

/* ---- condition ---- */

/* kind and pairs, and every option that makes other samples than its default does, sorted by key. */
static int write_condition(char out[CONDITION], const struct options *o, const char *knock_out, int64_t pairs, struct error *e) {
    static const char *const keys[] = {"filler",  "gap",      "key_length", "key_letters", "kind",         "knockout", "pairs",
                                       "queries", "rewrites", "span",       "spread",      "value_length", "values"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char number[24];
        const char *value, *fallback = "";
        if (!strcmp(keys[i], "knockout"))
            value = knock_out;
        else if (!strcmp(keys[i], "pairs"))
            snprintf(number, sizeof number, "%" PRId64, pairs), value = number;
        else {
            value = options_text(o, keys[i]);
            for (const struct option *t = recall_options; t->key; t++)
                if (!strcmp(t->key, keys[i]) && strcmp(keys[i], "kind") != 0) fallback = t->fallback;
        }
        if (!strcmp(value, fallback)) continue;
        n += (size_t)snprintf(out + n, CONDITION - n, "%s%s=%s", n ? ";" : "", keys[i], value);
        if (n >= CONDITION)
            return fail(e, "the condition '%s...' is longer than %d characters: leave more options at their default", out,
                        CONDITION - 1);
    }
    return 0;
}

/* ---- feeding ---- */

struct rows {
    int64_t count, chunk; /* chunk: tokens a row without logits */
    struct recall_sample *sample;
    const int32_t **tokens;
    int64_t *n;
    float **logits; /* [TAIL_TOKENS, vocab] */
    float *kept;    /* [count][value_length, vocab]: an answer that may lie in two pieces of the tail */
};

static void feed_to(struct stream *s, struct rows *r, int64_t from, int64_t n, bool logits) {
    for (int64_t b = 0; b < r->count; b++) {
        r->tokens[b] = r->sample[b].tokens + from;
        r->n[b] = n;
    }
    if (logits)
        stream_logits(s, r->tokens, r->n, r->logits);
    else
        stream_score(s, r->tokens, r->n, NULL);
}

/* Is the answer that the model would give the key's value before the last? */
static bool is_stale(const struct job *j, const struct recall_sample *x, int64_t asked, const float *logits, int64_t vocab) {
    const struct recall_spec *s = &j->maker.spec;
    int64_t before = asked - 1;
    while (before >= 0 && x->key[before] != x->key[asked]) before--;
    if (before < 0) return false;
    return recall_judge(logits, x->tokens + j->layout.pair[before] + s->key_length, s->value_length, vocab).exact;
}

static void judge(struct job *j, int64_t sample, const struct recall_sample *x, int64_t query, const float *logits) {
    const struct recall_spec *s = &j->maker.spec;
    int64_t vocab = j->run->model->config.vocab, asked = x->asked[query];
    struct recall_verdict v = recall_judge(logits, x->tokens + recall_answer(s, &j->layout, query), s->value_length, vocab);
    j->answers[sample * j->layout.queries + query] =
        (struct answer){.sample = sample,
                        .writes = recall_writes_between(s, &j->layout, asked, query, j->segment),
                        .exact = v.exact,
                        .stale = s->rewrites > 1 && is_stale(j, x, asked, logits, vocab),
                        .right = (double)v.right,
                        .nll = v.nll};
}

/* All rows are of one layout: they stand at the same place all the time. */
static void run_rows(struct job *j, struct stream *s, struct rows *r, int64_t first, int64_t active) {
    const struct recall_spec *spec = &j->maker.spec;
    const struct recall_layout *l = &j->layout;
    int64_t vocab = j->run->model->config.vocab, length = spec->value_length, at = 0, head = recall_answer(spec, l, 0);
    stream_reset(s, -1);
    for (int64_t n; at < head; at += n) {
        n = head - at < r->chunk ? head - at : r->chunk;
        feed_to(s, r, at, n, false);
    }
    /* What follows the last answer is read by nobody. */
    int64_t end = recall_answer(spec, l, l->queries - 1) + length, query = 0;
    for (int64_t n; at < end; at += n) {
        n = end - at < TAIL_TOKENS ? end - at : TAIL_TOKENS;
        feed_to(s, r, at, n, true);
        for (int64_t i = 0; i < n && query < l->queries; i++) {
            int64_t symbol = at + i - recall_answer(spec, l, query);
            if (symbol < 0) continue;
            for (int64_t b = 0; b < active; b++)
                memcpy(r->kept + (b * length + symbol) * vocab, r->logits[b] + i * vocab, (size_t)vocab * sizeof *r->kept);
            if (symbol + 1 < length) continue;
            for (int64_t b = 0; b < active; b++) judge(j, first + b, &r->sample[b], query, r->kept + b * length * vocab);
            query++;
        }
    }
}

static void run_samples(struct job *j, struct stream *s, int64_t rows, int64_t chunk, const char *label) {
    const struct options *o = j->run->options;
    int64_t vocab = j->run->model->config.vocab, piece = j->layout.tokens < TAIL_TOKENS ? j->layout.tokens : TAIL_TOKENS;
    size_t b = (size_t)rows;
    struct rows r = {.count = rows,
                     .chunk = chunk,
                     .sample = xcalloc(b, sizeof *r.sample),
                     .tokens = xcalloc(b, sizeof *r.tokens),
                     .n = xcalloc(b, sizeof *r.n),
                     .logits = xcalloc(b, sizeof *r.logits),
                     .kept = xcalloc(b * (size_t)(j->maker.spec.value_length * vocab), sizeof *r.kept)};
    for (int64_t i = 0; i < rows; i++) r.logits[i] = xcalloc((size_t)(piece * vocab), sizeof **r.logits);
    struct progress p;
    progress_begin(&p, label, j->samples);
    for (int64_t first = 0; first < j->samples; first += rows) {
        int64_t active = j->samples - first < rows ? j->samples - first : rows;
        for (int64_t i = 0; i < rows; i++) { /* each has a stream of its own: more samples keep those there were */
            struct rng rng;
            rng_seed(&rng, (uint64_t)options_int(o, "sample_seed"),
                     SAMPLE_STREAM + ((uint64_t)j->layout.n << 32) + (uint64_t)(first + i));
            recall_draw(&j->maker, &j->layout, &rng, true, &r.sample[i]);
        }
        run_rows(j, s, &r, first, active);
        progress_update(&p, first + active, "samples");
    }
    progress_end(&p);
    for (int64_t i = 0; i < rows; i++) {
        recall_sample_free(&r.sample[i]);
        free(r.logits[i]);
    }
    free(r.sample);
    free(r.tokens);
    free(r.n);
    free(r.logits);
    free(r.kept);
}

/* ---- measuring ---- */

enum what { EXACT, SYMBOLS, NLL, STALE };

static double value_of(const struct answer *a, enum what what) {
    return what == EXACT ? a->exact : what == SYMBOLS ? a->right : what == NLL ? a->nll : a->stale;
}

/* Over the answers with low <= writes <= high. Wilson for shares of answers where a sample has one of them; else the answers of a
 * sample are no independent ones, and samples are resampled. */
static struct interval share(const struct job *j, enum what what, int64_t low, int64_t high, bool record, const char *metric) {
    double each = what == SYMBOLS || what == NLL ? (double)j->maker.spec.value_length : 1;
    double *value = xcalloc((size_t)j->samples, sizeof *value), *weight = xcalloc((size_t)j->samples, sizeof *weight), sum = 0;
    int64_t n = 0;
    bool single = each == 1 && what != NLL;
    for (int64_t s = 0; s < j->samples; s++) {
        value[n] = weight[n] = 0;
        for (int64_t q = 0; q < j->layout.queries; q++) {
            const struct answer *a = &j->answers[s * j->layout.queries + q];
            if (a->writes < low || a->writes > high) continue;
            value[n] += value_of(a, what);
            weight[n] += each;
        }
        if (!(weight[n] > 0)) continue;
        if (record) {
            char name[24];
            snprintf(name, sizeof name, "%06" PRId64, s);
            cell_sample(j->run->out, "generated", j->condition, metric, name, "all", value[n], weight[n]);
        }
        single = single && weight[n] == 1;
        sum += value[n++];
    }
    struct interval v = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN};
    if (n) v = single ? wilson((int64_t)sum, n) : bootstrap_ratio(value, weight, n, BOOTSTRAP_SEED);
    free(value);
    free(weight);
    return v;
}

static void put(const struct job *j, const char *metric, const char *unit, const char *position, int64_t writes,
                struct interval v) {
    if (!v.n) return;
    cell_measure(j->run->out, &(struct measurement){.split = "generated",
                                                    .condition = j->condition,
                                                    .metric = metric,
                                                    .unit = unit,
                                                    .position = position,
                                                    .context = j->layout.tokens,
                                                    .writes = writes,
                                                    .n = v.n,
                                                    .value = v.value,
                                                    .standard_error = v.standard_error,
                                                    .low = v.low,
                                                    .high = v.high});
}

static void measure(const struct job *j) {
    const struct recall_spec *s = &j->maker.spec;
    double n = (double)j->layout.n, v = recall_possible_values(s);
    struct interval exact = share(j, EXACT, 0, INT64_MAX, true, "exact_match");
    put(j, "exact_match", "fraction", "all", -1, exact);
    put(j, "symbol_accuracy", "fraction", "all", -1, share(j, SYMBOLS, 0, INT64_MAX, true, "symbol_accuracy"));
    put(j, "answer_nll", "nats/symbol", "all", -1, share(j, NLL, 0, INT64_MAX, true, "answer_nll"));
    if (s->rewrites > 1) put(j, "stale_match", "fraction", "all", -1, share(j, STALE, 0, INT64_MAX, true, "stale_match"));
    struct interval k = {.value = recall_capacity(n, v, exact.value),
                         .standard_error = n * v / (v - 1) * exact.standard_error,
                         .low = recall_capacity(n, v, exact.low),
                         .high = recall_capacity(n, v, exact.high),
                         .n = exact.n};
    put(j, "capacity", "pairs", "all", -1, k);
    struct interval chance = {.value = 1 / v, .standard_error = NAN, .low = NAN, .high = NAN, .n = j->samples};
    put(j, "exact_match_chance", "fraction", "all", -1, chance);
    chance.value = 1 / (double)s->values;
    put(j, "symbol_accuracy_chance", "fraction", "all", -1, chance);
    /* Where the pair lies: in the segment of the answer, or where only what is carried can bring it back. */
    put(j, "exact_match", "fraction", "local", -1, share(j, EXACT, 0, 0, false, NULL));
    put(j, "exact_match", "fraction", "memory", -1, share(j, EXACT, 1, INT64_MAX, false, NULL));
    int64_t most = 0;
    for (int64_t i = 0; i < j->samples * j->layout.queries; i++) most = j->answers[i].writes > most ? j->answers[i].writes : most;
    bool *there = xcalloc((size_t)most + 1, sizeof *there);
    for (int64_t i = 0; i < j->samples * j->layout.queries; i++) there[j->answers[i].writes] = true;
    for (int64_t w = 0; w <= most; w++) {
        if (!there[w]) continue;
        put(j, "exact_match", "fraction", "writes", w, share(j, EXACT, w, w, false, NULL));
        put(j, "symbol_accuracy", "fraction", "writes", w, share(j, SYMBOLS, w, w, false, NULL));
    }
    free(there);
}

/* ---- the task ---- */

static int run_pairs(struct job *j, struct stream *s, int64_t rows, int64_t chunk, int64_t pairs, struct error *e) {
    static const struct {
        enum knock_out mode;
        const char *name;
    } ways[] = {{KNOCK_NONE, ""}, {KNOCK_OFF, "off"}, {KNOCK_ZERO, "zero"}};
    const struct options *o = j->run->options;
    int count = options_bool(o, "knock_out") && memory_to_knock_out(j->run->model) ? 3 : 1, status = 0;
    if (recall_layout_make(&j->layout, &j->maker.spec, pairs, e)) return -1;
    j->answers = xcalloc((size_t)(j->samples * j->layout.queries), sizeof *j->answers);
    for (int i = 0; i < count && !status; i++) {
        char label[80];
        snprintf(label, sizeof label, "recall of %" PRId64 " pairs%s%s", pairs, *ways[i].name ? ", memory " : "", ways[i].name);
        status = write_condition(j->condition, o, ways[i].name, pairs, e);
        if (status) break;
        stream_knock_out(s, ways[i].mode);
        run_samples(j, s, rows, chunk, label);
        measure(j);
    }
    free(j->answers);
    recall_layout_free(&j->layout);
    return status;
}

static int run(struct task_run *r, struct error *e) {
    int64_t n = r->model->config.segment, rows = options_int(r->options, "rows");
    struct job j = {.run = r, .samples = options_int(r->options, "samples"), .segment = n};
    struct recall_spec spec;
    if (recall_read(&spec, r->options, n, e) || recall_maker_init(&j.maker, &spec, r->tokenizer, e)) return -1;
    if (rows > j.samples) rows = j.samples;
    int64_t segments = CALL_TOKENS / (rows * n) > 0 ? CALL_TOKENS / (rows * n) : 1;
    struct stream *s = stream_open(r->model, rows, segments, e);
    int status = s ? 0 : -1;
    for (int i = 0; i < spec.count && !status; i++) status = run_pairs(&j, s, rows, segments * n, spec.pairs[i], e);
    if (s) stream_close(s);
    recall_maker_free(&j.maker);
    return status;
}

extern const struct task task_recall;
const struct task task_recall = {
    .name = "recall",
    .version = 1,
    .summary = "key-value pairs are read and asked back: exact answers by number of pairs and of memory writes, pairs stored",
    .protocol =
        "A sample is pairs such as 'b7 ', filler, and questions such as '?b' whose answer '7' is scored, teacher-forced, in one "
        "pass "
        "from an empty state; exact: every symbol of the answer is the likeliest token of all. remember: one question a sample; "
        "rewrite: each key is written several times with another value each time, the last counts; multi_query: several questions. "
        "Every symbol is one token. No pair and no question is cut by a segment. Training and measured samples share no set of "
        "pairs where there are 1000 sets or more. Memory writes are counted from token positions, from the pair's last symbol to "
        "the prediction of the answer; 'local' is none, 'memory' one or more. capacity = n (v a - 1) / (v - 1) for a share a of "
        "exact "
        "answers, n pairs, v possible values. Intervals of one run: Wilson where a sample has one answer, else bootstrap over "
        "samples, 95 %.",
    .metrics = metrics,
    .options = recall_options,
    .run = run,
    .source = recall_source,
};
