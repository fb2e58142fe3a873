/* recall_sample.c - makes samples of associative recall and trains on them. It feeds nothing to a model; recall.c does.
 *
 * A pair is key, value and a blank: "ab7 "; a query is '?', key, value and a newline: "?ab7\n"; filler ends in a blank. Keys are
 * lower-case letters, values digits and capitals, so that the two never mix and no mark is needed between them. With a known
 * segment length neither a pair nor a query is cut by a boundary: what is asked is what a memory holds, not what a cut does. */
#include "recall.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STRING(x) #x
#define TEXT(x) STRING(x)
#define EVALUATION_SHARE 8
#define TRIES 4096 /* 1/8 is missed so often with probability 1e-237: an empty class, not bad luck */
#define SAMPLE_TOKENS ((int64_t)1 << 27)

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char *const fillers[] = {
    [RECALL_DOTS] = ".",
    /* The paper's own (appendix B). */
    [RECALL_TEXT] = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ",
    [RECALL_NOISE] = "!\"#$%&'()*+,-/:;<=>@",
};

const struct option recall_options[] = {
    {"kind", OPTION_CHOICE, "remember", 0, 0, "remember|rewrite|multi_query",
     "one question a sample; keys written several times, the last value counts; several questions a sample"},
    {"pairs", OPTION_TEXT, "1,2,4,8,16", 0, 0, NULL,
     "numbers of pairs (of keys, if they are rewritten): each is measured; training draws one of them for each sample"},
    {"key_length", OPTION_INT, "1", 1, RECALL_LENGTH, NULL, "letters of a key"},
    {"key_letters", OPTION_INT, "26", 2, 26, NULL, "different letters in keys, from a"},
    {"value_length", OPTION_INT, "1", 1, RECALL_LENGTH, NULL, "symbols of a value"},
    {"values", OPTION_INT, "10", 2, 36, NULL, "different symbols in values, from 0 to 9, then A to Z: chance is 1 of so many"},
    {"rewrites", OPTION_INT, "3", 2, 1000, NULL, "rewrite: how often each key is written"},
    {"queries", OPTION_INT, "0", 0, RECALL_PAIRS, NULL, "multi_query: questions a sample, 0: every key once"},
    {"spread", OPTION_INT, "0", 0, RECALL_PAIRS, NULL,
     "pairs in each segment, the rest of it is filler; 0: one after the other without filler"},
    {"gap", OPTION_INT, "1", 0, 1e6, NULL,
     "segment boundaries between the last pair and the first question: 1 puts every pair out of the local window"},
    {"span", OPTION_INT, "0", 0, 1e6, NULL,
     "segments of a whole sample, by more filler before the questions; 0: as many as it takes. A divisor of the segments of a "
     "training step cuts no sample"},
    {"segment", OPTION_INT, "0", 0, 1e6, NULL,
     "tokens of a segment for spread, gap and span; 0: those of the model that is measured"},
    {"filler", OPTION_CHOICE, "dots", 0, 0, "dots|text|noise", "dots, the paper's filler sentences, or random punctuation"},
    {"samples", OPTION_INT, "200", 1, 1e6, NULL, "samples measured for each number of pairs"},
    {"rows", OPTION_INT, "16", 1, 4096, NULL, "samples at a time"},
    {"sample_seed", OPTION_INT, "1", 0, 1e9, NULL, "of the measured samples; equal for all models, so that differences are paired"},
    {"knock_out", OPTION_BOOL, "yes", 0, 0, NULL,
     "measure models with compressive memory also with the memory off and with it zero"},
    {"answer_weight", OPTION_REAL, "1", 0, 1e6, NULL, "training: loss weight of a token of an answer"},
    {"text_weight", OPTION_REAL, "0.001", 0, 1e6, NULL,
     "training: loss weight of any other token; small because keys and values are random and cannot be learnt"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

/* ---- options ---- */

static int read_sizes(struct recall_spec *s, const char *text, struct error *e) {
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ", ");
        char word[24] = "";
        if (n) {
            int64_t x;
            if (n < sizeof word) memcpy(word, at, n);
            if (parse_int(word, &x) != 0 || x < 1 || x > RECALL_PAIRS)
                return fail(e, "pairs = %s: '%.*s' is not a whole number from 1 to " TEXT(RECALL_PAIRS), text, (int)n, at);
            for (int i = 0; i < s->count; i++)
                if (s->pairs[i] == x) return fail(e, "pairs = %s: %" PRId64 " is given twice", text, x);
            if (s->count == RECALL_SIZES) return fail(e, "pairs = %s: more than " TEXT(RECALL_SIZES) " numbers", text);
            s->pairs[s->count++] = x;
        }
        at += n + (at[n] != 0);
    }
    return s->count ? 0 : fail(e, "pairs is empty; give at least one number, for example pairs = 1,2,4");
}

double recall_possible_keys(const struct recall_spec *s) { return pow((double)s->key_letters, (double)s->key_length); }
double recall_possible_values(const struct recall_spec *s) { return pow((double)s->values, (double)s->value_length); }

int recall_read(struct recall_spec *s, const struct options *o, int64_t segment, struct error *e) {
    *s = (struct recall_spec){.kind = (enum recall_kind)options_choice(o, "kind"),
                              .filler = (enum recall_filler)options_choice(o, "filler"),
                              .key_length = options_int(o, "key_length"),
                              .key_letters = options_int(o, "key_letters"),
                              .value_length = options_int(o, "value_length"),
                              .values = options_int(o, "values"),
                              .rewrites = options_int(o, "rewrites"),
                              .queries = options_int(o, "queries"),
                              .spread = options_int(o, "spread"),
                              .gap = options_int(o, "gap"),
                              .span = options_int(o, "span"),
                              .segment = options_int(o, "segment"),
                              .answer_weight = options_real(o, "answer_weight"),
                              .text_weight = options_real(o, "text_weight")};
    if (read_sizes(s, options_text(o, "pairs"), e)) return -1;
    if (!s->segment) s->segment = segment;
    if (!s->segment && (s->spread || s->gap || s->span))
        return fail(e, "spread, gap and span count segments: a source needs segment = the tokens of one (or all three 0)");
    if (s->kind != RECALL_MULTI_QUERY && s->queries)
        return fail(e, "queries = %" PRId64 " is for kind = multi_query; the other kinds ask one question a sample", s->queries);
    if (s->kind != RECALL_REWRITE) s->rewrites = 1;
    if (s->kind != RECALL_MULTI_QUERY) s->queries = 1;
    if (!(s->answer_weight > 0 || s->text_weight > 0))
        return fail(e, "answer_weight and text_weight are both 0: nothing is learnt");
    for (int i = 0; i < s->count; i++) { /* what cannot be laid out is said before anything is run */
        struct recall_layout l;
        if ((double)s->pairs[i] > recall_possible_keys(s))
            return fail(e,
                        "pairs = %" PRId64 " need as many different keys; %" PRId64 " letters at %" PRId64
                        " places give %.0f: raise key_length or key_letters",
                        s->pairs[i], s->key_letters, s->key_length, recall_possible_keys(s));
        if (s->queries > s->pairs[i])
            return fail(e, "queries = %" PRId64 " of pairs = %" PRId64 ": a key is asked for once at most", s->queries,
                        s->pairs[i]);
        if (recall_layout_make(&l, s, s->pairs[i], e)) return -1;
        recall_layout_free(&l);
    }
    return 0;
}

/* ---- places ---- */

/* The first token at or after p whose input begins a segment; input 0 is BOS. */
static int64_t next_start(int64_t p, int64_t segment) { return (p + segment) / segment * segment - 1; }

/* p, or the next start of a segment if `size` tokens from p on would be cut. */
static int64_t uncut(int64_t p, int64_t size, int64_t segment) {
    return segment && (p + 1) / segment != (p + size) / segment ? next_start(p, segment) : p;
}

static int64_t place_queries(struct recall_layout *l, int64_t p, int64_t size, int64_t segment) {
    for (int64_t i = 0; i < l->queries; i++) {
        p = uncut(p, size, segment);
        l->query[i] = p;
        p += size;
    }
    return p;
}

static int too_long(const struct recall_spec *s, int64_t n, struct error *e) {
    return fail(e, "pairs = %" PRId64 " with gap = %" PRId64 " and span = %" PRId64 " take more than %" PRId64 " tokens a sample",
                n, s->gap, s->span, SAMPLE_TOKENS);
}

int recall_layout_make(struct recall_layout *l, const struct recall_spec *s, int64_t n, struct error *e) {
    int64_t pair = s->key_length + s->value_length + 1, query = pair + 1, segment = s->segment, p = 0;
    if (segment && (query > segment || (s->spread ? s->spread : 1) * pair >= segment)) /* the first segment holds BOS too */
        return fail(e, "%" PRId64 " pairs of %" PRId64 " tokens do not fit in a segment of %" PRId64 " tokens beside BOS: %s",
                    s->spread ? s->spread : 1, pair, segment, s->spread > 1 ? "lower spread" : "shorten keys and values");
    if ((s->gap + s->span) > SAMPLE_TOKENS / (segment ? segment : 1) || n * s->rewrites > SAMPLE_TOKENS / pair ||
        (s->spread && n * s->rewrites / s->spread > SAMPLE_TOKENS / segment))
        return too_long(s, n, e);
    *l = (struct recall_layout){.n = n, .writes = n * s->rewrites, .queries = s->queries ? s->queries : n};
    l->pair = xcalloc((size_t)l->writes, sizeof *l->pair);
    l->query = xcalloc((size_t)l->queries, sizeof *l->query);
    for (int64_t i = 0; i < l->writes; i++) {
        if (s->spread && i && i % s->spread == 0) p = next_start(p, segment);
        p = uncut(p, pair, segment);
        l->pair[i] = p;
        p += pair;
    }
    /* The last pair, its blank included, lies in one segment: the gap is counted from there. */
    if (s->gap) p = (p / segment + s->gap) * segment - 1;
    if (s->span) {
        int64_t asked = place_queries(l, segment - 1, query, segment) - segment, from = p; /* last input, from a segment's start */
        p = (s->span - 1 - asked / segment) * segment - 1;
        if (p < from || p < 0) {
            int64_t end = place_queries(l, next_start(from, segment), query, segment);
            recall_layout_free(l);
            return fail(e,
                        "pairs = %" PRId64 " with their questions take %" PRId64 " segments of %" PRId64 " tokens, span = %" PRId64,
                        n, end / segment + 1, segment, s->span);
        }
    }
    l->tokens = place_queries(l, p, query, segment);
    return 0;
}

void recall_layout_free(struct recall_layout *l) {
    free(l->pair);
    free(l->query);
    *l = (struct recall_layout){0};
}

int64_t recall_answer(const struct recall_spec *s, const struct recall_layout *l, int64_t query) {
    return l->query[query] + 1 + s->key_length;
}

int64_t recall_writes_between(const struct recall_spec *s, const struct recall_layout *l, int64_t pair, int64_t query,
                              int64_t segment) {
    int64_t read = l->pair[pair] + s->key_length + s->value_length; /* input of the last value symbol: its token, after BOS */
    return recall_answer(s, l, query) / segment - read / segment;   /* token a is predicted at input a */
}

/* ---- contents ---- */

static int32_t one_token(const struct tokenizer *t, char symbol, struct error *e) {
    int32_t *tokens, token;
    int64_t n = t->encode(t, &symbol, 1, &tokens);
    token = n == 1 ? tokens[0] : -1;
    free(tokens);
    if (token < 0)
        fail(e, "the tokenizer %s makes %" PRId64 " tokens of '%c'; recall needs one for each symbol", t->name, n, symbol);
    return token;
}

int recall_maker_init(struct recall_maker *m, const struct recall_spec *s, const struct tokenizer *t, struct error *e) {
    *m = (struct recall_maker){.spec = *s};
    bool ok = (m->mark_query = one_token(t, '?', e)) >= 0 && (m->mark_pair = one_token(t, ' ', e)) >= 0 &&
              (m->mark_end = one_token(t, '\n', e)) >= 0;
    for (int i = 0; i < 26 && ok; i++) ok = (m->key[i] = one_token(t, (char)('a' + i), e)) >= 0;
    for (int i = 0; i < 36 && ok; i++) ok = (m->value[i] = one_token(t, digits[i], e)) >= 0;
    if (!ok) return -1;
    const char *text = fillers[s->filler];
    if (s->filler != RECALL_NOISE) {
        m->filler_n = t->encode(t, text, strlen(text), &m->filler);
        return 0;
    }
    m->filler_n = (int64_t)strlen(text);
    m->filler = xcalloc((size_t)m->filler_n, sizeof *m->filler);
    for (int64_t i = 0; i < m->filler_n && ok; i++) ok = (m->filler[i] = one_token(t, text[i], e)) >= 0;
    if (!ok) recall_maker_free(m);
    return ok ? 0 : -1;
}

void recall_maker_free(struct recall_maker *m) {
    free(m->filler);
    m->filler = NULL;
}

void recall_sample_free(struct recall_sample *x) {
    free(x->tokens);
    free(x->key);
    free(x->value);
    free(x->asked);
    *x = (struct recall_sample){0};
}

static void swap(int64_t *a, int64_t *b) {
    int64_t x = *a;
    *a = *b;
    *b = x;
}

static int64_t power(int64_t base, int64_t n) { return n ? base * power(base, n - 1) : 1; }

/* n different numbers below `all` in random order. */
static void draw_different(struct rng *r, int64_t *out, int64_t n, int64_t all) {
    if (all <= 8 * n) {
        int64_t *deck = xcalloc((size_t)all, sizeof *deck);
        for (int64_t i = 0; i < all; i++) deck[i] = i;
        for (int64_t i = 0; i < n; i++) {
            swap(&deck[i], &deck[i + rng_below(r, all - i)]);
            out[i] = deck[i];
        }
        free(deck);
        return;
    }
    /* Of so many that one which is taken already comes up rarely: it is drawn again. */
    int64_t *sorted = xcalloc((size_t)n, sizeof *sorted);
    for (int64_t have = 0; have < n;) {
        int64_t x = rng_below(r, all), low = 0, high = have;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (sorted[middle] < x)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < have && sorted[low] == x) continue;
        memmove(sorted + low + 1, sorted + low, (size_t)(have - low) * sizeof *sorted);
        sorted[low] = x;
        out[have++] = x;
    }
    free(sorted);
}

/* What is written in which order, and what is asked. */
static void draw_pairs(const struct recall_maker *m, const struct recall_layout *l, struct rng *r, struct recall_sample *x) {
    const struct recall_spec *s = &m->spec;
    int64_t keys = power(s->key_letters, s->key_length), values = power(s->values, s->value_length), n = l->n;
    int64_t *name = xcalloc((size_t)n, sizeof *name), *last = xcalloc((size_t)n, sizeof *last);
    draw_different(r, name, n, keys);
    for (int64_t i = 0; i < l->writes; i++) x->key[i] = i % n;
    for (int64_t i = l->writes - 1; i > 0 && s->rewrites > 1; i--) swap(&x->key[i], &x->key[rng_below(r, i + 1)]);
    for (int64_t i = 0; i < n; i++) last[i] = -1;
    for (int64_t i = 0; i < l->writes; i++) {
        int64_t k = x->key[i], before = last[k] < 0 ? -1 : x->value[last[k]];
        /* A key that is written again gets another value: an answer of the old one is wrong. */
        x->value[i] = before < 0 ? rng_below(r, values) : rng_below(r, values - 1);
        x->value[i] += before >= 0 && x->value[i] >= before;
        x->key[i] = name[k];
        last[k] = i;
    }
    for (int64_t i = 0; i < l->queries; i++) {
        swap(&last[i], &last[i + rng_below(r, n - i)]);
        x->asked[i] = last[i];
    }
    free(name);
    free(last);
}

bool recall_is_evaluation(const struct recall_sample *x, int64_t writes) {
    /* A sum: the order of the pairs, and where they stand, make no other set of them. */
    uint64_t hash = 0;
    for (int64_t i = 0; i < writes; i++)
        hash += hash64((const int64_t[2]){x->key[i], x->value[i]}, 2 * sizeof(int64_t), EVALUATION_SHARE);
    return hash % EVALUATION_SHARE == 0;
}

static void spell(int32_t *out, const int32_t *symbols, int64_t base, int64_t length, int64_t number) {
    for (int64_t i = length - 1; i >= 0; i--, number /= base) out[i] = symbols[number % base];
}

static void write_tokens(const struct recall_maker *m, const struct recall_layout *l, struct rng *r, struct recall_sample *x) {
    const struct recall_spec *s = &m->spec;
    int64_t at = 0, pair = s->key_length + s->value_length + 1;
    for (int64_t i = 0; i < l->writes + l->queries; i++) {
        bool question = i >= l->writes;
        int64_t start = question ? l->query[i - l->writes] : l->pair[i], w = question ? x->asked[i - l->writes] : i;
        for (int64_t j = 0; at < start; at++, j++)
            x->tokens[at] = m->filler[s->filler == RECALL_NOISE ? rng_below(r, m->filler_n) : j % m->filler_n];
        if (at && x->tokens[at - 1] != m->mark_end) x->tokens[at - 1] = m->mark_pair; /* no filler runs into a key */
        if (question) x->tokens[at++] = m->mark_query;
        spell(x->tokens + at, m->key, s->key_letters, s->key_length, x->key[w]);
        spell(x->tokens + at + s->key_length, m->value, s->values, s->value_length, x->value[w]);
        at += pair;
        x->tokens[at - 1] = question ? m->mark_end : m->mark_pair;
    }
    CHECK(at == l->tokens, "%" PRId64 " tokens of a layout of %" PRId64, at, l->tokens);
}

/* log of the number of sets of pairs; at least so many where keys are written again. */
static double log_sets(const struct recall_spec *s, int64_t n) {
    double keys = recall_possible_keys(s), k = (double)n;
    return lgamma(keys + 1) - lgamma(k + 1) - lgamma(keys - k + 1) + k * log(recall_possible_values(s));
}

void recall_draw(const struct recall_maker *m, const struct recall_layout *l, struct rng *r, bool evaluation,
                 struct recall_sample *x) {
    if (!x->tokens) {
        x->tokens = xcalloc((size_t)l->tokens, sizeof *x->tokens);
        x->key = xcalloc((size_t)l->writes, sizeof *x->key);
        x->value = xcalloc((size_t)l->writes, sizeof *x->value);
        x->asked = xcalloc((size_t)l->queries, sizeof *x->asked);
    }
    bool divided = log_sets(&m->spec, l->n) >= log(RECALL_DISJOINT);
    int tries = 0;
    do draw_pairs(m, l, r, x);
    while (divided && recall_is_evaluation(x, l->writes) != evaluation && ++tries < TRIES);
    CHECK(tries < TRIES, "no sample of %" PRId64 " pairs belongs to %s", l->n, evaluation ? "evaluation" : "training");
    write_tokens(m, l, r, x);
}

/* ---- judging ---- */

struct recall_verdict recall_judge(const float *logits, const int32_t *answer, int64_t n, int64_t vocab) {
    struct recall_verdict v = {.exact = true};
    for (int64_t i = 0; i < n; i++, logits += vocab) {
        float mine = logits[answer[i]];
        double sum = 0, most = -INFINITY;
        bool largest = true;
        for (int64_t w = 0; w < vocab; w++) {
            /* Written so that a NaN on either side is no right answer. */
            if (w != answer[i] && !(w < answer[i] ? mine > logits[w] : mine >= logits[w])) largest = false;
            most = fmax(most, (double)logits[w]);
        }
        for (int64_t w = 0; w < vocab; w++) sum += exp((double)logits[w] - most);
        v.right += largest;
        v.exact = v.exact && largest;
        v.nll += log(sum) + most - (double)mine;
    }
    return v;
}

double recall_capacity(double n, double v, double alpha) { return n * (v * alpha - 1) / (v - 1); }

/* ---- training ---- */

#define CURSOR "recall %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 "%n"
#define SOURCE_STREAM 0x7265636cu

/* The sample of a batch row: a document stays valid until the row asks again. */
struct room {
    struct recall_sample sample[RECALL_SIZES]; /* by number of pairs */
};
struct trainer_source {
    struct source source;
    struct recall_maker maker;
    struct recall_layout layout[RECALL_SIZES];
    float *weights[RECALL_SIZES]; /* [tokens]: the same for all samples of a layout */
    struct room *rooms;
    int64_t rows;
    struct rng rng;
};

static void source_next(struct source *source, int64_t row, struct document *d) {
    struct trainer_source *s = source->data;
    if (row >= s->rows) {
        s->rooms = xrealloc(s->rooms, (size_t)row + 1, sizeof *s->rooms);
        memset(s->rooms + s->rows, 0, (size_t)(row + 1 - s->rows) * sizeof *s->rooms);
        s->rows = row + 1;
    }
    int i = (int)rng_below(&s->rng, s->maker.spec.count);
    struct recall_sample *x = &s->rooms[row].sample[i];
    recall_draw(&s->maker, &s->layout[i], &s->rng, false, x);
    *d = (struct document){.tokens = x->tokens, .weights = s->weights[i], .n = s->layout[i].tokens, .carried = -1};
}

static char *source_save(const struct source *source) {
    const uint64_t *w = ((const struct trainer_source *)source->data)->rng.s;
    return xprintf("recall %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64, w[0], w[1], w[2], w[3]);
}

static int source_load(struct source *source, const char *text, struct error *e) {
    struct trainer_source *s = source->data;
    uint64_t w[4];
    int end = 0;
    if (sscanf(text, CURSOR, &w[0], &w[1], &w[2], &w[3], &end) != 4 || text[end] || !(w[0] | w[1] | w[2] | w[3]))
        return fail(e, "the checkpoint's data cursor is not one of task recall: '%.60s'", text);
    memcpy(s->rng.s, w, sizeof w);
    return 0;
}

static void source_free(struct source *source) {
    struct trainer_source *s = source->data;
    for (int i = 0; i < RECALL_SIZES; i++) {
        for (int64_t row = 0; row < s->rows; row++) recall_sample_free(&s->rooms[row].sample[i]);
        recall_layout_free(&s->layout[i]);
        free(s->weights[i]);
    }
    free(s->rooms);
    recall_maker_free(&s->maker);
    free(s);
}

struct source *recall_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e) {
    struct recall_spec spec;
    struct recall_maker maker;
    if (recall_read(&spec, o, 0, e) || recall_maker_init(&maker, &spec, t, e)) return NULL;
    struct trainer_source *s = xcalloc(1, sizeof *s);
    s->source = (struct source){
        .name = "recall", .next = source_next, .save = source_save, .load = source_load, .free = source_free, .data = s};
    s->maker = maker;
    for (int i = 0; i < spec.count; i++) {
        struct recall_layout *l = &s->layout[i];
        if (recall_layout_make(l, &spec, spec.pairs[i], e)) {
            source_free(&s->source);
            return NULL;
        }
        s->weights[i] = xcalloc((size_t)l->tokens, sizeof **s->weights);
        for (int64_t j = 0; j < l->tokens; j++) s->weights[i][j] = (float)spec.text_weight;
        for (int64_t q = 0; q < l->queries; q++)
            for (int64_t j = 0; j < spec.value_length; j++)
                s->weights[i][recall_answer(&spec, l, q) + j] = (float)spec.answer_weight;
    }
    rng_seed(&s->rng, seed, SOURCE_STREAM);
    return &s->source;
}
