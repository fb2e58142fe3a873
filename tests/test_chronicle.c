/* test_chronicle.c - generated narratives: exact lengths, order, what lies where, halves that share nothing; judging summaries by
 * hand; the ceiling by hand and reached by a perfect summary; the source; and the task on small models against reading every budget
 * from the start, token by token. */
#include "harness/results.h"
#include "support/engine.h"
#include "support/folder.h"
#include "support/task_runs.h"
#include "tasks/chronicle.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct tokenizer *pieces;

static int setup(void **state) {
    if (folder_setup(state)) return -1;
    pieces = tokenizer_open("sentencepiece:tasks/data/chronicle-640.model", &e);
    if (!pieces) fprintf(stderr, "%s\n", e.text);
    return pieces ? 0 : -1;
}

/* "key=value key=value" */
static void set(struct options *o, const char *pairs) {
    char copy[512], *save = NULL;
    options_init(o, chronicle_options);
    snprintf(copy, sizeof copy, "%s", pairs);
    for (char *pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(pair, '=');
        *equal = 0;
        for (char *p = equal + 1; *p; p++)
            if (*p == '/') *p = ','; /* lists */
        if (options_set(o, pair, equal + 1, "test", &e)) fail_msg("%s", e.text);
    }
}

static struct chronicle_text *text_of(const struct tokenizer *t, const char *pairs, bool evaluation, int64_t first) {
    struct options o;
    struct chronicle_shape shape;
    set(&o, pairs);
    chronicle_shape(&shape, &o, evaluation);
    if (first) shape.first = first;
    struct chronicle_text *x = chronicle_text_open(t, &shape, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}

static bool same_tokens(const struct tokenizer *t, const int32_t *got, int64_t n, const char *text) {
    int32_t *want;
    int64_t count = t->encode(t, text, strlen(text), &want);
    bool same = count == n && !memcmp(got, want, (size_t)n * sizeof *got);
    free(want);
    return same;
}

/* ---- narratives ---- */

static const char *const shapes[] = {
    "length=128 events=4 distractors=1",
    "length=2048 events=8 distractors=5",
    "length=2048 events=16 distractors=20 segment=64 haystack=shuffled",
    "length=4096 events=8 distractors=3 places=even placement=sentence segment=0",
    "length=16384 events=4 distractors=0 places=log segment=32",
    "length=999 events=3 distractors=2 segment=0 end_share=0.5",
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static void check_item(const struct tokenizer *t, const struct narrative *v, const int32_t *tokens, const struct chronicle_line *l,
                       bool rumour, int64_t at, int64_t end, int64_t segment, bool *taken) {
    char sentence[CHRONICLE_SENTENCE], text[CHRONICLE_SENTENCE + 24];
    chronicle_sentence(sentence, l);
    snprintf(text, sizeof text, "%s%s", rumour ? " It is rumoured that in" : " In", sentence + 2);
    assert_true(at >= 0 && end <= v->n);
    if (!same_tokens(t, tokens + at, end - at, text)) fail_msg("'%s' does not stand at %" PRId64, text, at);
    if (segment) assert_int_equal((at + 1) / segment, end / segment); /* token i is input i + 1 */
    for (int64_t i = at; i < end; i++) {
        assert_false(taken[i]);
        taken[i] = true;
    }
}

static void narratives(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) { /* pieces, bytes; training, evaluation */
        const struct tokenizer *t = way % 2 ? tokenizer_bytes() : pieces;
        for (size_t k = 0; k < SHAPES; k++) {
            char pairs[128]; /* sentences of bytes are longer than these segments */
            snprintf(pairs, sizeof pairs, "%s%s", shapes[k], t == pieces ? "" : " segment=0");
            struct chronicle_text *x = text_of(t, pairs, way > 1, k == 4 ? 1024 : 0);
            const struct chronicle_shape *s = &x->shape;
            struct narrative *v = xcalloc(1, sizeof *v);
            struct haystack h = {.names = {0}};
            int64_t n = s->first * (t == pieces ? 1 : 8), least = INT64_MAX;
            if (k == 4) n = 16384;
            if (t != pieces && k == 0) n = 4096;
            haystack_make(&h, x->filler, 1, 0, n);
            int32_t *tokens = xcalloc((size_t)n, sizeof *tokens);
            bool *taken = xcalloc((size_t)n, sizeof *taken), fewer = false, end = false;
            assert_int_equal(chronicle_fits(x, n, &e), 0);
            for (int i = 0; i < 60; i++) {
                struct rng r;
                rng_seed(&r, 5, (uint64_t)i);
                narrative_make(v, x, &h, &r, n - x->marker.n);
                assert_int_equal(v->n, n - x->marker.n); /* exact */
                narrative_read(v, 0, v->n, tokens);
                memset(taken, 0, (size_t)n);
                assert_memory_equal(tokens, x->introduction.tokens, (size_t)x->introduction.n * sizeof *tokens);
                assert_true(v->events >= 1 && v->events <= s->events && v->rumours == s->rumours);
                if (way > 1) assert_int_equal(v->events, s->events);
                fewer = fewer || v->events < s->events;
                for (int j = 0; j < v->events; j++) {
                    check_item(t, v, tokens, &v->event[j], false, v->event_at[j], v->event_end[j], s->segment, taken);
                    assert_int_equal(v->event[j].year, j);
                    assert_int_equal(chronicle_kept(&v->event[j]), way > 1);
                    if (j) assert_true(v->event_at[j] >= v->event_end[j - 1]);
                    if (v->event_at[j] < least) least = v->event_at[j];
                    /* On a log scale: event j of 4 between half of 1024 and 16384 lies in its own part. */
                    if (k == 4 && way == 2) {
                        double low = 512 * pow(32, j / 4.0), high = 512 * pow(32, (j + 1) / 4.0);
                        assert_true((double)v->event_at[j] >= low - 32 && (double)v->event_at[j] <= high + 32);
                    }
                    if (s->places == PLACES_EVEN && way > 1)
                        assert_true(fabs((double)v->event_at[j] - (j + 0.5) / s->events * (double)v->n) < 40 + (way % 2) * 100);
                }
                end = end || (v->events && v->event_end[v->events - 1] == v->n);
                for (int j = 0; j < v->rumours; j++) {
                    check_item(t, v, tokens, &v->rumour[j], true, v->rumour_at[j], v->rumour_end[j], s->segment, taken);
                    assert_int_equal(chronicle_kept(&v->rumour[j]), way > 1);
                }
                /* What is left is the filler, in its order. */
                for (int64_t p = x->introduction.n, f = 0; p < v->n; p++)
                    if (!taken[p]) assert_int_equal(tokens[p], h.s.tokens[f++]);
                for (int64_t budget = 0; budget <= v->n; budget += 37) {
                    int want = 0;
                    for (int j = 0; j < v->events; j++) want += v->event_end[j] <= budget;
                    assert_int_equal(narrative_within(v, budget), want);
                }
                for (int64_t from = 0; from < v->n; from += 113) { /* pieces are the whole */
                    int32_t some[113];
                    int64_t count = v->n - from < 113 ? v->n - from : 113;
                    narrative_read(v, from, count, some);
                    assert_memory_equal(some, tokens + from, (size_t)count * sizeof *some);
                }
            }
            assert_int_equal(fewer, way < 2);
            if (k == 5 && way < 2) assert_true(end);
            haystack_free(&h);
            free(tokens);
            free(taken);
            free(v);
            chronicle_text_free(x);
        }
    }
}

/* Every word of the lists is one piece of the tokenizer that comes along: 12 tokens an event, 16 a rumour, in whatever combination.
 */
static void one_token_a_word(void **state) {
    (void)state;
    struct chronicle_text *x = text_of(pieces, "", true, 0);
    assert_int_equal(x->event_most, 12);
    assert_int_equal(x->rumour_most, 16);
    assert_int_equal(chronicle_summary_most(x, 8), 96);
    for (int i = 0; i < CHRONICLE_WORDS; i++) {
        char text[CHRONICLE_SENTENCE];
        chronicle_sentence(text, &(struct chronicle_line){i, i, i, i});
        assert_false(same_tokens(pieces, NULL, 0, text));
        int32_t *tokens;
        int64_t n = pieces->encode(pieces, text, strlen(text), &tokens);
        assert_true(n >= 11 && n <= 13); /* without its space the first word may be more */
        free(tokens);
    }
    int kept = 0;
    for (int who = 0; who < 16; who++)
        for (int where = 0; where < 16; where++)
            for (int what = 0; what < 16; what++) kept += chronicle_kept(&(struct chronicle_line){0, who, where, what});
    assert_true(kept > 430 && kept < 600); /* an eighth of 4096 */
    chronicle_text_free(x);
}

/* ---- judging ---- */

static struct narrative *two_events(void) {
    struct narrative *v = xcalloc(1, sizeof *v);
    v->n = 1000;
    v->events = 2;
    v->event[0] = (struct chronicle_line){0, 0, 0, 0}; /* miller of Ashford, ring */
    v->event[1] = (struct chronicle_line){1, 1, 1, 1}; /* baker of Milton, crown */
    v->rumours = 1;
    v->rumour[0] = (struct chronicle_line){1, 2, 2, 2}; /* smith of Norwood, sword */
    v->event_end[0] = 100;
    v->rumour_end[0] = 200;
    v->event_end[1] = 500;
    return v;
}
#define FIRST "In the first year the miller of Ashford found a ring."
#define SECOND "In the second year the baker of Milton found a crown."

static void judging_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *said;
        int64_t tokens;
        int named, invented, rumoured, words;
    } cases[] = {
        {"", 1000, 0, 0, 0, 0},
        {" " FIRST " " SECOND, 1000, 2, 0, 0, 6},
        {FIRST " " SECOND, 499, 1, 1, 0, 3}, /* the second was not read: it cannot be known */
        {SECOND " " FIRST, 1000, 2, 0, 0, 6},
        {FIRST " " FIRST, 1000, 1, 0, 0, 3},
        {FIRST " In the second year the smith of Norwood found a sword.", 1000, 1, 1, 1, 3},
        {FIRST " In the second year the smith of Norwood found a sword.", 150, 1, 1, 0, 3},
        {" In the first year the miller of Milton found a ring.", 1000, 0, 1, 0, 2},
        {" In the first year the miller of Milton found a ring. " FIRST, 1000, 1, 1, 0, 2}, /* words: the first one counts */
        {" In the first year the miller of Ashford found a ring", 1000, 0, 0, 0, 0},        /* no sentence */
        {" In the first year the miller of Ashford found a ring ring.", 1000, 0, 1, 0, 0},
        {" In the ninth year the miller of Ashford found a ring.", 1000, 0, 1, 0, 0},
        {" In the first year the dragon of Ashford found a ring.", 1000, 0, 1, 0, 0},
        {" Here we go. There and back again. " FIRST, 1000, 1, 2, 0, 3},
        {"....", 1000, 0, 4, 0, 0},
        {"\xff\xfe. In the " FIRST, 1000, 0, 2, 0, 0},
    };
    struct narrative *v = two_events();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chronicle_judgement j;
        chronicle_judge(&j, v, cases[i].tokens, cases[i].said);
        if (j.named != cases[i].named || j.invented != cases[i].invented || j.rumoured != cases[i].rumoured ||
            j.words != cases[i].words)
            fail_msg("'%s': %d named, %d invented, %d rumoured, %d words", cases[i].said, j.named, j.invented, j.rumoured, j.words);
    }
    char *longest = xcalloc(100001, 1);
    memset(longest, 'a', 99999);
    longest[99999] = '.';
    struct chronicle_judgement j;
    chronicle_judge(&j, v, 1000, longest);
    assert_true(j.named == 0 && j.invented == 1);
    free(longest);
    free(v);
}

/* Two events of 11 words, one of them read. ROUGE-1: P 11/11, R 11/22; ROUGE-2: 10/10, 10/21; ROUGE-L as ROUGE-1. */
static void ceiling_by_hand(void **state) {
    (void)state;
    struct chronicle_text *x = text_of(pieces, "events=2 distractors=1", true, 0);
    struct narrative *v = two_events();
    struct rouge *r = rouge_open(true);
    struct chronicle_outcome o;
    int64_t marker = x->marker.n;
    assert_int_equal(chronicle_score(&o, r, x, v, 300 + marker, 4, FIRST, &e), 0);
    double one = 2 * 0.5 / 1.5, two = 2 * (10.0 / 21) / (1 + 10.0 / 21);
    assert_true(o.within == 1 && o.words == 11 && o.reference_words == 22);
    assert_true(fabs(o.ceiling[ROUGE_1] - 100 * one) < 1e-9 && fabs(o.ceiling[ROUGE_L] - 100 * one) < 1e-9);
    assert_true(fabs(o.ceiling[ROUGE_2] - 100 * two) < 1e-9);
    assert_memory_equal(o.said, o.ceiling, sizeof o.said); /* the perfect summary reaches it */
    assert_true(o.floor[ROUGE_1] < o.ceiling[ROUGE_1] && o.floor[ROUGE_1] >= 100 * 2 * (7.0 / 22) / (1 + 0.5) - 1e-9);
    assert_int_equal(chronicle_score(&o, r, x, v, 1000, 4, FIRST " " SECOND, &e), 0);
    for (int k = 0; k < ROUGE_KINDS; k++) assert_true(fabs(o.ceiling[k] - 100) < 1e-9 && o.said[k] == o.ceiling[k]);
    assert_int_equal(chronicle_score(&o, r, x, v, 50, 4, FIRST, &e), 0); /* nothing read yet: there is nothing to be said */
    for (int k = 0; k < ROUGE_KINDS; k++) assert_true(o.ceiling[k] == 0 && o.floor[k] == 0);
    assert_true(o.j.named == 0 && o.j.invented == 1);
    rouge_close(r);
    free(v);
    chronicle_text_free(x);
}

/* A perfect summary reaches the ceiling at every budget, which rises with it; one that knows the form alone stays below. */
static void oracle(void **state) {
    (void)state;
    struct chronicle_text *x = text_of(pieces, "events=8 distractors=4 length=4096", true, 0);
    struct narrative *v = xcalloc(1, sizeof *v);
    struct haystack h = {.names = {0}};
    struct rouge *rouge = rouge_open(true);
    double below = 0;
    haystack_make(&h, x->filler, 1, 0, 4096);
    for (int i = 0; i < 20; i++) {
        struct rng r;
        double before[ROUGE_KINDS] = {0};
        rng_seed(&r, 7, (uint64_t)i);
        narrative_make(v, x, &h, &r, 4096 - x->marker.n);
        for (int64_t budget = 128; budget <= 4096; budget += 128) {
            int within = narrative_within(v, budget - x->marker.n);
            char *best = chronicle_summary(v->event, within);
            struct chronicle_outcome o;
            assert_int_equal(chronicle_score(&o, rouge, x, v, budget, i, best, &e), 0);
            free(best);
            assert_true(o.within == within && o.j.named == within && o.j.invented == 0 && o.j.words == 3 * within);
            for (int k = 0; k < ROUGE_KINDS; k++) {
                assert_true(o.said[k] == o.ceiling[k] && o.ceiling[k] >= before[k]);
                assert_true(o.floor[k] <= o.ceiling[k]);
                below += o.ceiling[k] - o.floor[k];
                before[k] = o.ceiling[k];
            }
        }
        assert_true(before[ROUGE_2] == 100);
    }
    assert_true(below > 20 * 32 * ROUGE_KINDS * 5); /* points, on average */
    haystack_free(&h);
    rouge_close(rouge);
    free(v);
    chronicle_text_free(x);
}

/* ---- the source ---- */

static struct source *source_of(const char *pairs) {
    struct options o;
    set(&o, pairs);
    return chronicle_source(&o, pieces, 3, &e);
}

static void training(void **state) {
    (void)state;
    struct source *s = source_of("length=256 events=4 distractors=2 segment=64 answer_weight=2 carried=50");
    if (!s) fail_msg("%s", e.text);
    assert_non_null(s->filler);
    struct batcher *b = batcher_create(s, 3, 5, 64);
    bool counts[5] = {false}, carried = false, empty = false;
    for (int step = 0; step < 40; step++) {
        struct batch x;
        batcher_next(b, &x);
        assert_int_equal(x.misplaced, 0); /* every document fills whole steps */
        for (int row = 0; row < 3; row++) {
            const int32_t *in = x.tokens + row * 5 * 64, *target = x.targets + row * 5 * 64;
            const float *weight = x.weights + row * 5 * 64;
            int n = 0;
            for (int i = 0; i < 5; i++) assert_int_equal(x.since[row * 5 + i], 64 * i);
            while (target[256 + n] > 0) n++;
            assert_true(n % 12 == 0 && n / 12 >= 1 && n / 12 <= 4); /* the summary has the last segment for itself */
            assert_int_equal(target[256 + n], TOKEN_BOS);
            assert_int_equal(x.len[row * 5 + 4], n + 1);
            counts[n / 12] = true;
            carried = carried || x.carried[row] > 0;
            empty = empty || x.carried[row] == 0;
            size_t size;
            char *said = pieces->decode(pieces, target + 256, n, &size), *read = pieces->decode(pieces, in + 1, 256, &size);
            for (char *p = said; *p;) { /* every sentence of the summary stands in the narrative, and not as a rumour */
                char *stop = strchr(p, '.'), kept = stop[1];
                stop[1] = 0;
                assert_non_null(strstr(read, p));
                stop[1] = kept;
                p = stop + 1;
            }
            assert_true(!strcmp(read + strlen(read) - 24, " The chronicle in short:"));
            free(said);
            free(read);
            double text = 0, summary = 0;
            for (int i = 0; i < 256; i++) text += (double)weight[i];
            for (int i = 256; i < 256 + n; i++) summary += (double)weight[i];
            /* The summary's tokens have 1 each and together twice what all tokens have. */
            double want = (n + 2.0 * (256 + n)) / 256;
            if (!(fabs(summary / text / want - 1) < 1e-4)) fail_msg("weights %g, %g", summary / text, want);
        }
    }
    for (int i = 1; i < 5; i++) assert_true(counts[i]);
    assert_true(carried && empty);
    batcher_free(b);
    /* The cursor gives the same document again. */
    struct document d, again;
    char *cursor = s->save(s);
    s->next(s, 0, &d);
    int32_t *kept = xcalloc((size_t)d.n, sizeof *kept);
    memcpy(kept, d.tokens, (size_t)d.n * sizeof *kept);
    int64_t n = d.n;
    s->next(s, 0, &d);
    assert_int_equal(s->load(s, cursor, &e), 0);
    s->next(s, 0, &again);
    assert_true(again.n == n && !memcmp(kept, again.tokens, (size_t)n * sizeof *kept));
    assert_int_equal(s->load(s, "passkey 0 seed 1 document 2", &e), -1);
    assert_says("none of the task chronicle");
    struct source *other = source_of("length=256 events=5 distractors=2 segment=64");
    assert_int_equal(other->load(other, cursor, &e), -1);
    assert_says("start afresh");
    other->free(other);
    free(cursor);
    free(kept);
    s->free(s);
    /* A mixture of lengths: multiples of the segment between the two. */
    s = source_of("length=1024 length_min=256 events=4 distractors=0 segment=128");
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 200; i++) {
        s->next(s, 0, &d);
        int64_t at = d.n - 12 * (d.n % 128 / 12);
        assert_int_equal(at % 128, 0);
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    assert_true(least == 256 && most >= 768 && most <= 1024);
    s->free(s);
}

static void source_errors(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"length=128 events=16", "length 128 is too short for 16 events and 4 distractors; it takes "},
        {"length=1000", "must be multiples of segment = 128"},
        {"length=256 length_min=512", "length_min = 512 is more than length = 256"},
        {"events=3 events_min=4", "events_min = 4 is more than events = 3"},
        {"segment=16", "does not fit into a segment of 16"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(source_of(wrong[i][0]));
        assert_says(wrong[i][1]);
    }
}

/* ---- the task ---- */

static const struct kind {
    const char *arch, *options;
} kinds[] = {{"infini", "update=linear"},
             {"infini", "update=delta"},
             {"infini", "update=none"},
             {"transformer_xl", "cache=40"},
             {"memorizing", "memory=64 topk=4"},
             {"transformer", "window=48"},
             {"null", ""}};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

/* Parameters by a formula; of the head those rows that the task's sentences and the end use, so that something is said. */
static struct model *make_model(int kind) {
    struct model *m =
        engine_model(kinds[kind].arch, kinds[kind].options,
                     "layers=2 d_model=32 heads=2 kv_heads=2 head_dim=16 ffn=40 segment=64 segments=2 batch=2 vocab=640 "
                     "tied=no");
    engine_fill(m);
    if (!m->head) return m;
    double *v = engine_download(m, m->head->leaf.data, m->head->n);
    bool *used = xcalloc(640, sizeof *used);
    used[TOKEN_BOS] = true;
    for (int i = 0; i < 16; i++) {
        char text[CHRONICLE_SENTENCE + 1] = " ";
        int32_t *tokens;
        chronicle_sentence(text + 1, &(struct chronicle_line){i, i, i, i});
        text[CHRONICLE_SENTENCE] = 0;
        int64_t n = pieces->encode(pieces, text, strlen(text), &tokens);
        for (int64_t k = 0; k < n; k++) used[tokens[k]] = true;
        free(tokens);
    }
    for (int64_t i = 0; i < m->head->n; i++) v[i] *= used[i / 32] ? 2 : 0;
    engine_upload(m, m->head->leaf.data, v, m->head->n);
    free(used);
    free(v);
    return m;
}

static const struct task *task(void) { return known_task("chronicle"); }

static int run_task(const char *name, struct model *m, const char *pairs) {
    struct options o;
    set(&o, pairs);
    return run_into(name, task(), m, pieces, &o);
}

static void is(const struct result_row *r, double want, const char *what) {
    if (!r) fail_msg("%s: there is no such row", what);
    if (!(fabs(r->value - want) <= 1e-6 * (1 + fabs(want)))) fail_msg("%s: %.9g, expected %.9g", what, r->value, want);
}

#define SAMPLES 5
#define BUDGETS 3
static const int64_t budgets[BUDGETS] = {128, 320, 512};
#define OPTIONS "length=512 budgets=512/128/320 samples=5 rows=2 events=4 distractors=2 segment=64 haystack=shuffled "

/* One sample at one budget, from the start, token by token. */
static void by_hand(struct chronicle_outcome *o, struct model *m, const struct chronicle_text *x, const struct narrative *v,
                    struct rouge *rouge, int b, int64_t sample, enum knock_out mode) {
    struct stream *s = stream_open(m, 1, 1, &e);
    int32_t tokens[512], said[60];
    float *next = xcalloc(640, sizeof *next);
    int64_t n = budgets[b] - x->marker.n, count = 0, length = budgets[b];
    narrative_read(v, 0, n, tokens);
    memcpy(tokens + n, x->marker.tokens, (size_t)x->marker.n * sizeof *tokens);
    stream_knock_out(s, mode);
    stream_score(s, (const int32_t *const[]){tokens}, &length, NULL);
    for (bool stop = false; !stop && count < 60;) {
        stream_next(s, next);
        said[count] = largest_token(next, 640);
        stop = said[count] == TOKEN_BOS;
        if (!stop) stream_score(s, (const int32_t *const[]){&said[count++]}, (const int64_t[]){1}, NULL);
    }
    char *text = pieces->decode(pieces, said, count, NULL);
    if (chronicle_score(o, rouge, x, v, budgets[b], sample, text, &e)) fail_msg("%s", e.text);
    o->stopped = count < 60;
    free(text);
    free(next);
    stream_close(s);
}

static void task_by_hand(void **state) {
    (void)state;
    struct chronicle_text *x = text_of(pieces, OPTIONS, true, budgets[0]);
    double most = 0, different = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int mode = KNOCK_NONE; mode <= (kind < 2 ? KNOCK_ZERO : KNOCK_NONE); mode++) {
            struct model *m = make_model(kind);
            char name[24];
            const char *condition = mode == KNOCK_NONE  ? "distractors=2;events=4;haystack=shuffled;places=random"
                                    : mode == KNOCK_OFF ? "distractors=2;events=4;haystack=shuffled;knockout=off;places=random"
                                                        : "distractors=2;events=4;haystack=shuffled;knockout=zero;places=random";
            snprintf(name, sizeof name, "task-%d", kind);
            if (!mode && run_task(name, m, OPTIONS "knock_out=yes most=60 beyond_window=measure")) fail_msg("%s", e.text);
            char *path = in_folder(name);
            int64_t n;
            struct result_row *r = results_read(path, &n, &e);
            struct rouge *rouge = rouge_open(true);
            struct narrative *v = xcalloc(1, sizeof *v);
            struct haystack h = {.names = {0}};
            double within = 0, named = 0;
            for (int b = 0; b < BUDGETS; b++) {
                double sum[ROUGE_KINDS] = {0}, ceiling = 0, words = 0, stopped = 0, invented = 0;
                within = named = 0;
                for (int64_t i = 0; i < SAMPLES; i++) {
                    struct chronicle_outcome o;
                    struct rng rng;
                    haystack_make(&h, x->filler, 0x63686576u, i, 512);
                    rng_seed(&rng, 1, hash64(&i, sizeof i, 0x63687376u));
                    narrative_make(v, x, &h, &rng, 512 - x->marker.n);
                    by_hand(&o, m, x, v, rouge, b, i, (enum knock_out)mode);
                    for (int k = 0; k < ROUGE_KINDS; k++) sum[k] += o.said[k] / SAMPLES;
                    ceiling += o.ceiling[ROUGE_2] / SAMPLES;
                    words += o.words / SAMPLES;
                    stopped += o.stopped / (double)SAMPLES;
                    invented += o.j.invented / (double)SAMPLES;
                    within += o.within;
                    named += o.j.named;
                }
                is(find_row_of(r, n, "rouge1", budgets[b], condition), sum[ROUGE_1], "rouge1");
                is(find_row_of(r, n, "rouge2", budgets[b], condition), sum[ROUGE_2], "rouge2");
                is(find_row_of(r, n, "rougeL", budgets[b], condition), sum[ROUGE_L], "rougeL");
                is(find_row_of(r, n, "overall", budgets[b], condition), cbrt(sum[ROUGE_1] * sum[ROUGE_2] * sum[ROUGE_L]),
                   "overall");
                is(find_row_of(r, n, "ceiling_rouge2", budgets[b], condition), ceiling, "ceiling_rouge2");
                is(find_row_of(r, n, "output_words", budgets[b], condition), words, "output_words");
                is(find_row_of(r, n, "stopped", budgets[b], condition), stopped, "stopped");
                is(find_row_of(r, n, "events_invented", budgets[b], condition), invented, "events_invented");
                if (within > 0) is(find_row_of(r, n, "events_named", budgets[b], condition), named / within, "events_named");
                most = fmax(most, sum[ROUGE_1]);
                different += words;
            }
            double by_writes = 0;
            for (int64_t i = 0; i < n; i++)
                if (r[i].writes >= 0 && r[i].context == 512 && !strcmp(r[i].condition, condition)) {
                    assert_string_equal(r[i].position, "writes");
                    by_writes += (double)r[i].n;
                }
            assert_true(by_writes > 0);
            haystack_free(&h);
            rouge_close(rouge);
            free(v);
            free(r);
            free(path);
            model_free(m);
        }
    assert_true(most > 5 && different > 20); /* there was something to be scored */
    chronicle_text_free(x);
}

static void task_errors(void **state) {
    (void)state;
    struct model *m = make_model(0), *window = make_model(5);
    static const char *const wrong[][2] = {
        {"length=512 budgets=1024", "budget 1024 is more than length = 512"},
        {"length=512 budgets=100", "100 is no multiple of segment = 128"},
        {"length=512 budgets=256/x", "'x' is not a whole number"},
        {"length=512 budgets=256/256", "budget 256 is given twice"},
        {"length=256 events=16", "length 256 is too short"},
        {"length=4096 segment=0 budgets=10", "below the"},
        {"length=1000", "1000 is no multiple of segment"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct options o;
        uint64_t hash;
        assert_int_equal(run_task("errors", m, wrong[i][0]), -1);
        assert_says(wrong[i][1]);
        set(&o, wrong[i][0]); /* before anything is trained */
        assert_int_equal(task()->data_hash(&o, pieces, &hash, &e), -1);
        assert_says(wrong[i][1]);
    }
    /* A transformer reads no further than its window: such budgets are left out, with the reason. */
    assert_int_equal(run_task("window", window, OPTIONS), 0);
    char *path = in_folder("window");
    int64_t n;
    struct result_row *r = results_read(path, &n, &e);
    assert_int_equal(n, BUDGETS);
    const struct result_row *x =
        find_row_of(r, n, "skipped", 512, "distractors=2;events=4;haystack=shuffled;places=random;skipped=beyond the window of 48");
    assert_true(x && x->value == 1);
    free(r);
    free(path);
    model_free(m);
    model_free(window);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narratives),      cmocka_unit_test(one_token_a_word), cmocka_unit_test(judging_by_hand),
        cmocka_unit_test(ceiling_by_hand), cmocka_unit_test(oracle),           cmocka_unit_test(training),
        cmocka_unit_test(source_errors),   cmocka_unit_test(task_by_hand),     cmocka_unit_test(task_errors),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
