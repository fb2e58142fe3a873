/* test_chronicle.c - generated narratives: exact lengths, order, what lies where, halves that share nothing; judging summaries by
 * hand; the ceiling by hand and reached by a perfect summary; the source. The task that measures is in test_chronicle_eval.c. */
#include "support/chronicle_runs.h"
#include "support/folder.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
            struct chronicle_text *x = chronicle_text_of(t, pairs, way > 1, k == 4 ? 1024 : 0);
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
    struct chronicle_text *x = chronicle_text_of(pieces, "", true, 0);
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
    struct chronicle_text *x = chronicle_text_of(pieces, "events=2 distractors=1", true, 0);
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
    struct chronicle_text *x = chronicle_text_of(pieces, "events=8 distractors=4 length=4096", true, 0);
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
    chronicle_set(&o, pairs);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narratives),      cmocka_unit_test(one_token_a_word), cmocka_unit_test(judging_by_hand),
        cmocka_unit_test(ceiling_by_hand), cmocka_unit_test(oracle),           cmocka_unit_test(training),
        cmocka_unit_test(source_errors),
    };
    return cmocka_run_group_tests(tests, chronicle_setup, folder_teardown);
}
