/* test_recall.c - samples of associative recall: what they say and where, who gets which, with every tokenizer; training on them;
 * what does not fit is said. Judging and measuring are in test_recall_task.c. */
#include "harness/task.h"
#include "support/folder.h"
#include "support/recall_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct task task_recall;

/* ---- samples ---- */

static void a_dense_sample_to_the_letter(void **state) {
    (void)state;
    struct made m = recall_make("pairs=3 gap=0");
    struct recall_sample x = recall_drawn(&m, 1, false);
    char *text = recall_text(&m, &x);
    assert_int_equal(m.layout.tokens, 3 * 3 + 4);
    assert_int_equal(strlen(text), 13);
    for (int i = 0; i < 3; i++) {
        assert_true(text[3 * i] >= 'a' && text[3 * i] <= 'z' && text[3 * i + 1] >= '0' && text[3 * i + 1] <= '9');
        assert_int_equal(text[3 * i + 2], ' ');
        assert_int_equal(text[3 * i] - 'a', x.key[i]);
        assert_int_equal(text[3 * i + 1] - '0', x.value[i]);
    }
    assert_int_equal(text[9], '?');
    assert_memory_equal(text + 10, text + 3 * x.asked[0], 2);
    assert_int_equal(text[12], '\n');
    assert_int_equal(recall_answer(&m.maker.spec, &m.layout, 0), 11);
    free(text);
    recall_sample_free(&x);
    recall_unmake(&m);
}

/* Keys differ, every question is answered by what was written last, questions differ, symbols are of the alphabet. */
static void samples_mean_what_they_say(void **state) {
    (void)state;
    static const char *const ways[] = {
        "pairs=26 gap=0",
        "pairs=40 key_length=2 key_letters=7 value_length=3 values=36 gap=2 segment=32",
        "pairs=12 kind=multi_query gap=1 segment=16",
        "pairs=12 kind=multi_query queries=5 gap=0 values=2",
        "pairs=5 kind=rewrite rewrites=6 gap=1 segment=20 values=2",
        "pairs=5 kind=rewrite rewrites=6 gap=1 segment=20 spread=1 filler=text value_length=2",
        "pairs=9 gap=3 segment=24 spread=2 filler=noise span=12",
        "pairs=49 key_length=2 key_letters=7 gap=0",
    };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct made m = recall_make(ways[w]);
        const struct recall_spec *s = &m.maker.spec;
        bool all[26] = {false};
        for (uint64_t seed = 0; seed < 60; seed++) {
            struct recall_sample x = recall_drawn(&m, seed, seed % 2);
            char *text = recall_text(&m, &x);
            struct reading *r = recall_reading(text);
            assert_int_equal(r->length, m.layout.tokens);
            assert_int_equal(r->pairs, m.layout.writes);
            assert_int_equal(r->questions, m.layout.queries);
            int different = 0;
            for (int i = 1; i < r->pairs; i++) assert_int_equal(text[r->pair_at[i] - 1], ' ');
            for (int i = 0; i < r->pairs; i++) {
                size_t k = recall_key_size(r->pair[i]);
                int before = i - 1;
                assert_int_equal(k, s->key_length);
                assert_int_equal(strlen(r->pair[i]), s->key_length + s->value_length);
                for (size_t j = 0; j < k; j++) assert_true(r->pair[i][j] < 'a' + s->key_letters);
                assert_int_equal(r->pair_at[i], m.layout.pair[i]);
                all[r->pair[i][0] - 'a'] = true;
                while (before >= 0 && strncmp(r->pair[before], r->pair[i], k)) before--;
                different += before < 0;
                if (before >= 0) assert_string_not_equal(r->pair[before], r->pair[i]);
            }
            assert_int_equal(different, m.layout.n);
            for (int q = 0; q < r->questions; q++) {
                size_t k = recall_key_size(r->question[q]);
                int last = r->pairs - 1;
                while (last >= 0 && strncmp(r->pair[last], r->question[q], k)) last--;
                assert_true(last >= 0);
                assert_string_equal(r->pair[last], r->question[q]);
                assert_int_equal(last, x.asked[q]);
                assert_int_equal(r->question_at[q], m.layout.query[q]);
                for (int p = 0; p < q; p++) assert_true(x.asked[p] != x.asked[q]);
            }
            free(r);
            free(text);
            recall_sample_free(&x);
        }
        for (int i = 0; i < s->key_letters; i++) assert_true(all[i]);
        recall_unmake(&m);
    }
}

/* spread, gap and span in segments, counted from the text alone: input i + 1 is token i. */
static void segments_hold_what_they_should(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int segment, spread, gap, segments; /* segments: of the whole sample */
    } ways[] = {
        {"pairs=5 gap=1 spread=1 segment=16", 16, 1, 1, 6},
        {"pairs=5 gap=4 spread=1 segment=16", 16, 1, 4, 9},
        {"pairs=6 gap=1 spread=3 segment=16", 16, 3, 1, 3},
        {"pairs=7 gap=2 spread=3 segment=10", 10, 3, 2, 5},
        {"pairs=10 gap=1 segment=8", 8, 0, 1, 6},
        {"pairs=10 gap=1 segment=8 span=11", 8, 0, 1, 11},
        {"pairs=4 gap=0 segment=16 span=1", 16, 0, 0, 0},
        {"pairs=2 gap=1 segment=16 span=2", 16, 0, 1, 2},
        {"kind=multi_query pairs=8 gap=1 segment=16 span=4", 16, 0, 1, 4},
        {"kind=rewrite pairs=2 rewrites=4 spread=1 gap=1 segment=12", 12, 1, 1, 9},
    };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct options o;
        struct recall_spec spec;
        assert_int_equal(recall_set(&o, ways[w].text), 0);
        if (!ways[w].segments) { /* four pairs and the question never fit in one segment of 16 with BOS */
            assert_int_equal(recall_read(&spec, &o, 0, &e), -1);
            assert_says("span = 1");
            continue;
        }
        struct made m = recall_make(ways[w].text);
        const struct recall_spec *s = &m.maker.spec;
        struct recall_sample x = recall_drawn(&m, 3, false);
        char *text = recall_text(&m, &x);
        struct reading *r = recall_reading(text);
        int n = ways[w].segment, held[100] = {0}, last = 0, pair = (int)(s->key_length + s->value_length);
        for (int i = 0; i < r->pairs; i++) {
            int first = (r->pair_at[i] + 1) / n;
            last = (r->pair_at[i] + 1 + pair) / n; /* with its blank */
            assert_int_equal(first, last);
            held[first]++;
        }
        if (ways[w].spread)
            for (int i = 0; i < last; i++) assert_int_equal(held[i], ways[w].spread);
        for (int q = 0; q < r->questions; q++) {
            int first = (r->question_at[q] + 1) / n, end = (r->question_at[q] + 1 + pair + 1) / n;
            assert_int_equal(first, end);
            if (!q && !s->span) assert_int_equal(first - last, ways[w].gap);
            if (!q) assert_true(first - last >= ways[w].gap);
            assert_int_equal((r->question_at[q] + 1) % n == 0, !q || first != (r->question_at[q - 1] + 1) / n);
            /* writes: boundaries between the value as input and the prediction of the answer */
            int p = (int)x.asked[q], read = r->pair_at[p] + pair, answer = r->question_at[q] + 1 + (int)s->key_length, writes = 0;
            for (int input = read + 1; input <= answer; input++) writes += input % n == 0;
            assert_int_equal(recall_writes_between(s, &m.layout, p, q, n), writes);
            writes = 0;
            for (int input = read + 1; input <= answer; input++) writes += input % 5 == 0; /* another model's segments */
            assert_int_equal(recall_writes_between(s, &m.layout, p, q, 5), writes);
        }
        /* The newline is the last input. */
        assert_int_equal(r->length / n + 1, ways[w].segments);
        free(r);
        free(text);
        recall_sample_free(&x);
        recall_unmake(&m);
    }
}

/* A learnt tokenizer says the same, symbol by symbol: also letters that its corpus lacks, which are byte pieces. */
static void every_tokenizer_says_the_same(void **state) {
    (void)state;
    char *text = xcalloc(40000, 1), command[300], name[128];
    struct rng r;
    rng_seed(&r, 1, 1);
    for (int n = 0; n < 39900;) {
        for (int64_t i = 2 + rng_below(&r, 6); i; i--) text[n++] = (char)('a' + rng_below(&r, 4 + i));
        n += sprintf(text + n, "%s", rng_below(&r, 9) ? " " : rng_below(&r, 2) ? ". " : " 7401\n");
    }
    put("corpus/train/a.txt", text, strlen(text));
    free(text);
    snprintf(command, sizeof command, "scripts/train_tokenizer.sh %s/corpus 320 %s/tiny.model >/dev/null", folder, folder);
    assert_int_equal(system(command), 0);
    snprintf(name, sizeof name, "sentencepiece:%s/tiny.model", folder);
    const struct tokenizer *t = tokenizer_open(name, &e);
    if (!t) fail_msg("%s", e.text);
    static const char *const ways[] = {"pairs=9 key_length=2 value_length=3 values=36 gap=2 segment=16",
                                       "pairs=26 gap=0 values=36 kind=multi_query", "pairs=4 gap=5 segment=32 filler=noise",
                                       "pairs=3 gap=3 segment=100 filler=text spread=1"};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct made bytes = recall_make(ways[w]), learnt = {.layout = bytes.layout};
        if (recall_maker_init(&learnt.maker, &bytes.maker.spec, t, &e)) fail_msg("%s", e.text);
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct recall_sample x = recall_drawn(&bytes, seed, false), y = recall_drawn(&learnt, seed, false);
            char *a = recall_text(&bytes, &x), *b = t->decode(t, y.tokens, bytes.layout.tokens, NULL);
            if (w < 3) assert_string_equal(a, b);
            struct reading *p = recall_reading(a), *q = recall_reading(b);
            assert_int_equal(p->pairs, q->pairs);
            assert_memory_equal(p->pair, q->pair, sizeof p->pair);
            assert_memory_equal(p->question, q->question, sizeof p->question);
            free(p);
            free(q);
            free(a);
            free(b);
            recall_sample_free(&x);
            recall_sample_free(&y);
        }
        recall_maker_free(&learnt.maker);
        recall_unmake(&bytes);
    }
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The set of pairs of a sample as a sorted text. */
static char *set_of(const struct made *m, const struct recall_sample *x) {
    char *text = recall_text(m, x), *out = xcalloc(1, 4096), *words[RECALL_MOST];
    struct reading *r = recall_reading(text);
    for (int i = 0; i < r->pairs; i++) words[i] = r->pair[i];
    qsort(words, (size_t)r->pairs, sizeof *words, by_text);
    for (int i = 0; i < r->pairs; i++) strcat(strcat(out, words[i]), " ");
    free(r);
    free(text);
    return out;
}

static void training_and_evaluation_share_no_set_of_pairs(void **state) {
    (void)state;
    /* 26 * 25 / 2 * 100 = 32,500 sets of two pairs: 4,000 draws of each side meet often, were they not kept apart. */
    enum { DRAWS = 4000 };
    struct made m = recall_make("pairs=2 gap=0"), rewritten = recall_make("kind=rewrite rewrites=2 pairs=2 gap=0 key_letters=6");
    for (int w = 0; w < 2; w++) {
        const struct made *x = w ? &rewritten : &m;
        char **sets[2];
        int met = 0, repeated = 0;
        for (int side = 0; side < 2; side++) {
            sets[side] = xcalloc(DRAWS, sizeof **sets);
            for (int i = 0; i < DRAWS; i++) {
                struct recall_sample s = recall_drawn(x, (uint64_t)i, side == 1);
                assert_int_equal(recall_is_evaluation(&s, x->layout.writes), side);
                sets[side][i] = set_of(x, &s);
                recall_sample_free(&s);
            }
            qsort(sets[side], DRAWS, sizeof **sets, by_text);
            for (int i = 1; i < DRAWS; i++) repeated += !strcmp(sets[side][i], sets[side][i - 1]);
        }
        for (int i = 0; i < DRAWS; i++) met += bsearch(&sets[0][i], sets[1], DRAWS, sizeof **sets, by_text) != NULL;
        assert_int_equal(met, 0);
        assert_true(repeated > 100);
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < DRAWS; i++) free(sets[side][i]);
            free(sets[side]);
        }
    }
    recall_unmake(&m);
    recall_unmake(&rewritten);
    /* Too few sets to divide: 26 * 10 of one pair. Both sides draw from all. */
    struct made one = recall_make("pairs=1 gap=0");
    bool seen[2][260] = {{false}};
    for (uint64_t i = 0; i < 8000; i++) {
        struct recall_sample s = recall_drawn(&one, i, i % 2);
        seen[i % 2][s.key[0] * 10 + s.value[0]] = true;
        recall_sample_free(&s);
    }
    for (int i = 0; i < 260; i++) assert_true(seen[0][i] && seen[1][i]);
    recall_unmake(&one);
}

/* Values are uniform, also when rewritten; every write is asked for equally often. */
static void draws_are_even(void **state) {
    (void)state;
    enum { DRAWS = 6000 };
    struct made m = recall_make("pairs=4 values=5 gap=0");
    int value[5] = {0}, asked[4] = {0};
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct recall_sample s = recall_drawn(&m, i, false);
        value[s.value[2]]++;
        asked[s.asked[0]]++;
        recall_sample_free(&s);
    }
    for (int i = 0; i < 5; i++) assert_true(abs(value[i] - DRAWS / 5) < 160); /* 5 standard deviations */
    for (int i = 0; i < 4; i++) assert_true(abs(asked[i] - DRAWS / 4) < 170);
    recall_unmake(&m);
}

/* ---- training ---- */

static struct source *source_of(const char *options, uint64_t seed) {
    struct options o;
    assert_int_equal(recall_set(&o, options), 0);
    struct source *s = task_recall.source(&o, tokenizer_bytes(), seed, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

static uint64_t next_hash(struct source *s, int64_t row) {
    struct document d;
    s->next(s, row, &d);
    uint64_t h = hash64(d.tokens, (size_t)d.n * sizeof *d.tokens, 0);
    return hash64(d.weights, (size_t)d.n * sizeof *d.weights, h);
}

static void a_source_repeats_and_resumes(void **state) {
    (void)state;
    static const char options[] = "kind=multi_query pairs=1,3,6 gap=1 segment=16 value_length=2 filler=noise";
    struct source *a = source_of(options, 4), *b = source_of(options, 4), *c = source_of(options, 5);
    int same = 0;
    for (int64_t i = 0; i < 40; i++) {
        uint64_t h = next_hash(a, i % 3);
        assert_true(h == next_hash(b, i % 3));
        same += h == next_hash(c, i % 3);
    }
    assert_int_equal(same, 0);
    /* The document of a row stays while others ask and while the cursor is put back. */
    struct document d, other;
    a->next(a, 0, &d);
    uint64_t kept = hash64(d.tokens, (size_t)d.n * sizeof *d.tokens, 0);
    char *cursor = a->save(a);
    uint64_t ahead[30];
    for (int i = 0; i < 30; i++) ahead[i] = next_hash(a, 1 + i % 9);
    assert_int_equal(a->load(a, cursor, &e), 0);
    assert_true(kept == hash64(d.tokens, (size_t)d.n * sizeof *d.tokens, 0));
    assert_int_equal(c->load(c, cursor, &e), 0);
    for (int i = 0; i < 30; i++) assert_true(next_hash(a, 1 + i % 9) == ahead[i] && next_hash(c, 0) == ahead[i]);
    free(cursor);
    static const char *const broken[] = {"", "recall", "recall 1 2 3", "recall 0 0 0 0", "recall 1 2 3 4 5", "corpus 1 2 3 4"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_int_equal(a->load(a, broken[i], &e), -1);
        assert_says("data cursor");
    }
    b->next(b, 2, &other);
    a->free(a);
    b->free(b);
    c->free(c);
}

/* Weights are on the answers; samples of a span fill whole steps; none belongs to evaluation. */
static void a_source_weighs_answers(void **state) {
    (void)state;
    struct source *s = source_of(
        "kind=multi_query pairs=4,9 queries=3 gap=1 segment=16 span=4 answer_weight=2 text_weight=0.25 value_length=2", 1);
    int seen[10] = {0};
    for (int i = 0; i < 200; i++) {
        struct document d;
        s->next(s, i % 5, &d);
        char *text = tokenizer_bytes()->decode(tokenizer_bytes(), d.tokens, d.n, NULL);
        struct reading *r = recall_reading(text);
        float *want = xcalloc((size_t)d.n, sizeof *want);
        for (int64_t j = 0; j < d.n; j++) want[j] = 0.25f;
        for (int q = 0; q < r->questions; q++) want[r->question_at[q] + 2] = want[r->question_at[q] + 3] = 2;
        assert_int_equal(r->questions, 3);
        assert_memory_equal(want, d.weights, (size_t)d.n * sizeof *want);
        assert_int_equal(d.n / 16 + 1, 4);
        seen[r->pairs]++;
        free(want);
        free(r);
        free(text);
    }
    assert_true(seen[4] > 60 && seen[9] > 60 && seen[4] + seen[9] == 200);
    struct batcher *b = batcher_create(s, 3, 4, 16);
    for (int step = 0; step < 5; step++) {
        struct batch x;
        batcher_next(b, &x);
        for (int64_t i = 0; i < 3; i++) /* each row of a step is one sample, from its start to EOS */
            for (int64_t k = 0; k < 4; k++) assert_int_equal(x.since[i * 4 + k], 16 * k);
    }
    char *saved = batcher_save(b);
    struct batch x;
    batcher_next(b, &x);
    uint64_t h = hash64(x.tokens, 3 * 4 * 16 * sizeof *x.tokens, 0);
    assert_int_equal(batcher_load(b, saved, &e), 0);
    batcher_next(b, &x);
    assert_true(h == hash64(x.tokens, 3 * 4 * 16 * sizeof *x.tokens, 0));
    free(saved);
    batcher_free(b);
    s->free(s);
}

/* ---- errors ---- */

static int64_t two_tokens(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens) {
    (void)t;
    *tokens = xcalloc(2 * n, sizeof **tokens);
    for (size_t i = 0; i < 2 * n; i++) (*tokens)[i] = (unsigned char)text[i / 2];
    return 2 * (int64_t)n;
}

static void what_does_not_fit_is_said(void **state) {
    (void)state;
    static const struct {
        const char *options, *says;
    } wrong[] = {
        {"pairs=27", "give 26: raise key_length or key_letters"},
        {"pairs=4,10 key_length=2 key_letters=3", "pairs = 10 need as many different keys"},
        {"pairs=", "pairs is empty"},
        {"pairs=0", "'0' is not a whole number from 1 to 4096"},
        {"pairs=3,x", "'x' is not a whole number"},
        {"pairs=3,3", "3 is given twice"},
        {"pairs=5000", "'5000'"},
        {"samples=0", "samples = 0 is out of range"},
        {"values=37", "values = 37"},
        {"values=1", "values = 1"},
        {"key_letters=27", "key_letters = 27"},
        {"queries=2", "queries = 2 is for kind = multi_query"},
        {"kind=multi_query queries=3 pairs=2", "queries = 3 of pairs = 2"},
        {"pairs=9 spread=9 segment=16", "9 pairs of 3 tokens do not fit in a segment of 16 tokens beside BOS: lower spread"},
        {"pairs=1 key_length=8 value_length=8 segment=16", "shorten keys and values"},
        {"pairs=20 span=3 segment=16 key_length=2", "take 7 segments of 16 tokens, span = 3"},
        {"gap=1000000 segment=1000000", "tokens a sample"},
        {"answer_weight=0 text_weight=0", "nothing is learnt"},
        {"kind=recall", "kind"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct options o;
        struct recall_spec s;
        if (recall_set(&o, wrong[i].options) == 0 && recall_read(&s, &o, 128, &e) == 0) fail_msg("taken: %s", wrong[i].options);
        assert_says(wrong[i].says);
    }
    struct options o;
    assert_int_equal(recall_set(&o, "pairs=2"), 0);
    assert_null(task_recall.source(&o, tokenizer_bytes(), 1, &e)); /* there is no model to take the segment from */
    assert_says("a source needs segment");
    struct tokenizer odd = *tokenizer_bytes();
    odd.name = "odd";
    odd.encode = two_tokens;
    assert_int_equal(recall_set(&o, "pairs=2 segment=16"), 0);
    assert_null(task_recall.source(&o, &odd, 1, &e));
    assert_says("the tokenizer odd makes 2 tokens of '?'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_sample_to_the_letter),
        cmocka_unit_test(samples_mean_what_they_say),
        cmocka_unit_test(segments_hold_what_they_should),
        cmocka_unit_test(every_tokenizer_says_the_same),
        cmocka_unit_test(training_and_evaluation_share_no_set_of_pairs),
        cmocka_unit_test(draws_are_even),
        cmocka_unit_test(a_source_repeats_and_resumes),
        cmocka_unit_test(a_source_weighs_answers),
        cmocka_unit_test(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
