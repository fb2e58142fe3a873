/* test_recall.c - associative recall: what a sample says and where, judging against logits by hand, the capacity estimate, training
 * as a source, and the whole task on a small model. */
#include "harness/results_files.h"
#include "harness/task.h"
#include "support/folder.h"
#include "tasks/recall.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct task task_recall;

/* Options from "key=value key=value". -1 with e if one is refused. */
static int set(struct options *o, const char *text) {
    options_init(o, recall_options);
    char *copy = xstrdup(text);
    int status = 0;
    for (char *word = strtok(copy, " "); word && !status; word = strtok(NULL, " ")) {
        char *equal = strchr(word, '=');
        *equal = 0;
        status = options_set(o, word, equal + 1, "task recall", &e);
    }
    free(copy);
    return status;
}

/* A spec, a maker of bytes and the layout of its first number of pairs. */
struct made {
    struct recall_maker maker;
    struct recall_layout layout;
};
static struct made make(const char *text) {
    struct options o;
    struct made m = {.layout = {0}};
    struct recall_spec s;
    if (set(&o, text) || recall_read(&s, &o, 0, &e) || recall_maker_init(&m.maker, &s, tokenizer_bytes(), &e) ||
        recall_layout_make(&m.layout, &s, s.pairs[0], &e))
        fail_msg("%s: %s", text, e.text);
    return m;
}
static void unmake(struct made *m) {
    recall_layout_free(&m->layout);
    recall_maker_free(&m->maker);
}
static struct recall_sample draw(const struct made *m, uint64_t seed, bool evaluation) {
    struct recall_sample x = {0};
    struct rng r;
    rng_seed(&r, seed, 7);
    recall_draw(&m->maker, &m->layout, &r, evaluation, &x);
    return x;
}
static char *text_of(const struct made *m, const struct recall_sample *x) {
    return tokenizer_bytes()->decode(tokenizer_bytes(), x->tokens, m->layout.tokens, NULL);
}

/* ---- samples ---- */

/* What the text of a sample says, read by a program that knows only the format. Returns the number of pairs; pairs and questions
 * are strings of key and value. */
#define MOST 600
struct reading {
    char pair[MOST][20], question[MOST][20];
    int pair_at[MOST], question_at[MOST], pairs, questions, length;
};
static struct reading *read_text(const char *text) {
    struct reading *r = xcalloc(1, sizeof *r);
    for (const char *c = text; *c;) {
        bool asked = *c == '?';
        size_t n = strspn(c + asked, "abcdefghijklmnopqrstuvwxyz");
        size_t v = strspn(c + asked + n, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n && v && c[asked + n + v] == (asked ? '\n' : ' ')) {
            char *out = asked ? r->question[r->questions] : r->pair[r->pairs];
            snprintf(out, 20, "%.*s", (int)(n + v), c + asked);
            if (asked)
                r->question_at[r->questions++] = (int)(c - text);
            else
                r->pair_at[r->pairs++] = (int)(c - text);
            c += asked + n + v + 1;
        } else {
            c++;
        }
    }
    r->length = (int)strlen(text);
    return r;
}

static size_t key_size(const char *pair) { return strspn(pair, "abcdefghijklmnopqrstuvwxyz"); }

static void a_dense_sample_to_the_letter(void **state) {
    (void)state;
    struct made m = make("pairs=3 gap=0");
    struct recall_sample x = draw(&m, 1, false);
    char *text = text_of(&m, &x);
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
    unmake(&m);
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
        struct made m = make(ways[w]);
        const struct recall_spec *s = &m.maker.spec;
        bool all[26] = {false};
        for (uint64_t seed = 0; seed < 60; seed++) {
            struct recall_sample x = draw(&m, seed, seed % 2);
            char *text = text_of(&m, &x);
            struct reading *r = read_text(text);
            assert_int_equal(r->length, m.layout.tokens);
            assert_int_equal(r->pairs, m.layout.writes);
            assert_int_equal(r->questions, m.layout.queries);
            int different = 0;
            for (int i = 1; i < r->pairs; i++) assert_int_equal(text[r->pair_at[i] - 1], ' ');
            for (int i = 0; i < r->pairs; i++) {
                size_t k = key_size(r->pair[i]);
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
                size_t k = key_size(r->question[q]);
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
        unmake(&m);
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
        assert_int_equal(set(&o, ways[w].text), 0);
        if (!ways[w].segments) { /* four pairs and the question never fit in one segment of 16 with BOS */
            assert_int_equal(recall_read(&spec, &o, 0, &e), -1);
            assert_says("span = 1");
            continue;
        }
        struct made m = make(ways[w].text);
        const struct recall_spec *s = &m.maker.spec;
        struct recall_sample x = draw(&m, 3, false);
        char *text = text_of(&m, &x);
        struct reading *r = read_text(text);
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
        unmake(&m);
    }
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The set of pairs of a sample as a sorted text. */
static char *set_of(const struct made *m, const struct recall_sample *x) {
    char *text = text_of(m, x), *out = xcalloc(1, 4096), *words[MOST];
    struct reading *r = read_text(text);
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
    struct made m = make("pairs=2 gap=0"), rewritten = make("kind=rewrite rewrites=2 pairs=2 gap=0 key_letters=6");
    for (int w = 0; w < 2; w++) {
        const struct made *x = w ? &rewritten : &m;
        char **sets[2];
        int met = 0, repeated = 0;
        for (int side = 0; side < 2; side++) {
            sets[side] = xcalloc(DRAWS, sizeof **sets);
            for (int i = 0; i < DRAWS; i++) {
                struct recall_sample s = draw(x, (uint64_t)i, side == 1);
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
    unmake(&m);
    unmake(&rewritten);
    /* Too few sets to divide: 26 * 10 of one pair. Both sides draw from all. */
    struct made one = make("pairs=1 gap=0");
    bool seen[2][260] = {{false}};
    for (uint64_t i = 0; i < 8000; i++) {
        struct recall_sample s = draw(&one, i, i % 2);
        seen[i % 2][s.key[0] * 10 + s.value[0]] = true;
        recall_sample_free(&s);
    }
    for (int i = 0; i < 260; i++) assert_true(seen[0][i] && seen[1][i]);
    unmake(&one);
}

/* Values are uniform, also when rewritten; every write is asked for equally often. */
static void draws_are_even(void **state) {
    (void)state;
    enum { DRAWS = 6000 };
    struct made m = make("pairs=4 values=5 gap=0");
    int value[5] = {0}, asked[4] = {0};
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct recall_sample s = draw(&m, i, false);
        value[s.value[2]]++;
        asked[s.asked[0]]++;
        recall_sample_free(&s);
    }
    for (int i = 0; i < 5; i++) assert_true(abs(value[i] - DRAWS / 5) < 160); /* 5 standard deviations */
    for (int i = 0; i < 4; i++) assert_true(abs(asked[i] - DRAWS / 4) < 170);
    unmake(&m);
}

/* ---- judging ---- */

static void judging_by_hand(void **state) {
    (void)state;
    /* three symbols out of four tokens */
    const float logits[] = {0, 1, 2, 0, /**/ 1, 1, 1, 1, /**/ -1, 5, -1, 4};
    struct recall_verdict v = recall_judge(logits, (const int32_t[]){2, 0, 1}, 3, 4);
    assert_true(v.exact && v.right == 3);
    double want = log(2 + exp(1.0) + exp(2.0)) - 2 + log(4.0) + log(2 * exp(-1.0) + exp(5.0) + exp(4.0)) - 5;
    assert_true(fabs(v.nll - want) < 1e-6);
    v = recall_judge(logits, (const int32_t[]){2, 1, 1}, 3, 4); /* of equal ones the smaller token is given */
    assert_true(!v.exact && v.right == 2);
    v = recall_judge(logits, (const int32_t[]){3, 3, 3}, 3, 4);
    assert_true(!v.exact && v.right == 0);
    assert_true(fabs(v.nll - (want + 2 + 0 + 1)) < 1e-6);
    const float nan[] = {0, NAN, 2, 0};
    v = recall_judge(nan, (const int32_t[]){2}, 1, 4); /* something that is not a number is no right answer */
    assert_true(!v.exact && v.right == 0);
    v = recall_judge(nan, (const int32_t[]){1}, 1, 4);
    assert_true(!v.exact && v.right == 0 && isnan(v.nll));
    const float far[] = {-3000, 3000};
    v = recall_judge(far, (const int32_t[]){0}, 1, 2);
    assert_true(fabs(v.nll - 6000) < 1e-6);
}

static struct model *small_model(const char *arch, const char *shape) {
    struct model_config c = {0};
    assert_int_equal(config_preset(&c, "nano", &e), 0);
    c.arch = baseline_find(arch, &e);
    options_init(&c.options, c.arch->options);
    assert_int_equal(config_set(&c, "segment", shape, "test", &e), 0);
    assert_int_equal(config_finish(&c, &e), 0);
    struct model *m = model_create(&c, kernels_cpu(1, NULL), 5, &e);
    if (!m) fail_msg("%s", e.text);
    /* '0' and '1' win in turns: some answers are right. */
    real *head = xcalloc((size_t)m->head->n, sizeof *head);
    m->k->download(head, m->head->leaf.data, (size_t)m->head->n * sizeof *head);
    for (int64_t i = 0; i < 2 * c.d; i++) head['0' * c.d + i] *= 40;
    m->k->upload(m->head->leaf.data, head, (size_t)m->head->n * sizeof *head);
    free(head);
    return m;
}

static void feed_one(struct stream *s, const int32_t *tokens, int64_t n, float *logits) {
    if (logits)
        stream_logits(s, &tokens, &n, &logits);
    else
        stream_score(s, &tokens, &n, NULL);
}

/* What greedy decoding gives is judged exact, teacher-forced; any other answer is not. */
static void teacher_forcing_is_greedy_decoding(void **state) {
    (void)state;
    struct model *m = small_model("infini", "16");
    struct made k = make("pairs=9 gap=1 segment=16 value_length=4 values=36");
    struct stream *s = stream_open(m, 1, 2, &e);
    assert_non_null(s);
    float *next = xcalloc(256, sizeof *next), *logits = xcalloc(4 * 256, sizeof *logits);
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct recall_sample x = draw(&k, seed, true);
        int64_t head = recall_answer(&k.maker.spec, &k.layout, 0);
        int32_t greedy[4];
        stream_reset(s, -1);
        feed_one(s, x.tokens, head, NULL);
        for (int i = 0; i < 4; i++) {
            stream_next(s, next);
            greedy[i] = 0;
            for (int32_t w = 1; w < 256; w++)
                if (next[w] > next[greedy[i]]) greedy[i] = w;
            feed_one(s, &greedy[i], 1, NULL);
        }
        for (int wrong = -1; wrong < 4; wrong++) { /* -1: none; else this symbol is another one */
            int32_t answer[4];
            memcpy(answer, greedy, sizeof answer);
            if (wrong >= 0) answer[wrong] = (answer[wrong] + 1) % 256;
            stream_reset(s, -1);
            feed_one(s, x.tokens, head, NULL);
            feed_one(s, answer, 4, logits);
            assert_int_equal(recall_judge(logits, answer, 4, 256).exact, wrong < 0);
        }
        recall_sample_free(&x);
    }
    free(next);
    free(logits);
    stream_close(s);
    unmake(&k);
    model_free(m);
}

static void capacity_by_hand(void **state) {
    (void)state;
    for (double n = 1; n < 300; n += 37)
        for (double v = 2; v < 2000; v *= 3) {
            assert_true(fabs(recall_capacity(n, v, 1 / v)) < 1e-12);
            assert_true(fabs(recall_capacity(n, v, 1) - n) < 1e-9);
            /* k of n are known and the others guessed: alpha = (k + (n - k) / v) / n gives k back */
            for (double k = 0; k <= n; k += 1) assert_true(fabs(recall_capacity(n, v, (k + (n - k) / v) / n) - k) < 1e-9);
        }
    assert_true(fabs(recall_capacity(20, 10, 0.55) - 10) < 1e-12); /* 20 (5.5 - 1) / 9 */
    assert_true(recall_capacity(20, 10, 0) < 0);
}

/* ---- the task ---- */

static const struct result_row *row_of(const struct result_row *x, int64_t n, const char *condition, const char *metric,
                                       const char *position, int64_t writes) {
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(x[i].condition, condition) && !strcmp(x[i].metric, metric) && !strcmp(x[i].position, position) &&
            x[i].writes == writes)
            return &x[i];
    return NULL;
}

static struct result_row *run_task(const char *name, struct model *m, const char *options, int64_t *count,
                                   struct sample_row **samples, int64_t *sample_count) {
    struct options o;
    assert_int_equal(set(&o, options), 0);
    char *place = in_folder(name);
    struct results *r = results_open(place, &e);
    if (!r) fail_msg("%s", e.text);
    struct task_run run = {.model = m, .tokenizer = tokenizer_bytes(), .options = &o, .seed = 1};
    run.out = cell_begin(r, "00000000000000cc", "run", "x", "row", m->config.arch->name, "", 1, "recall", task_recall.version);
    if (task_recall.run(&run, &e)) fail_msg("%s", e.text);
    assert_int_equal(cell_commit(run.out, &e), 0);
    results_close(r);
    struct result_row *rows = results_read(place, count, &e);
    *samples = samples_read(place, sample_count, &e);
    assert_true(rows && *samples);
    free(place);
    return rows;
}

/* Judged again from one long pass of logits over each sample, one at a time, tallied by hand. */
static void the_task_adds_up(void **state) {
    (void)state;
    static const char *const ways[] = {
        "pairs=7 gap=1 segment=8 samples=30 rows=4 values=3",
        "pairs=7 gap=0 samples=11 rows=30 value_length=2",
        "kind=multi_query pairs=20 gap=0 samples=5 rows=2 value_length=2 key_length=2", /* 120 tokens of questions */
        "kind=multi_query pairs=90 gap=0 samples=2 rows=2 key_length=2",                /* more than one piece of the tail */
        "kind=rewrite pairs=3 rewrites=3 gap=2 samples=30 rows=8 spread=1 values=2",
    };
    struct model *m = small_model("infini", "8");
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct options o;
        struct recall_spec spec;
        struct recall_maker maker;
        struct recall_layout l;
        int64_t count, lines;
        struct sample_row *samples;
        char name[24], condition[128];
        snprintf(name, sizeof name, "task-%zu", w);
        struct result_row *rows = run_task(name, m, ways[w], &count, &samples, &lines);
        set(&o, ways[w]);
        assert_int_equal(recall_read(&spec, &o, 8, &e), 0);
        assert_int_equal(recall_maker_init(&maker, &spec, tokenizer_bytes(), &e), 0);
        assert_int_equal(recall_layout_make(&l, &spec, spec.pairs[0], &e), 0);
        snprintf(condition, sizeof condition, "%s", rows[0].condition);
        int64_t n = options_int(&o, "samples"), right = 0, exact = 0, local = 0, local_n = 0, answers = n * l.queries;
        double nll = 0;
        float *logits = xcalloc((size_t)(l.tokens * 256), sizeof *logits);
        struct stream *s = stream_open(m, 1, 1, &e);
        for (int64_t i = 0; i < n; i++) {
            struct recall_sample x = {0};
            struct rng r;
            rng_seed(&r, 1, 0x72656361u + ((uint64_t)l.n << 32) + (uint64_t)i);
            recall_draw(&maker, &l, &r, true, &x);
            stream_reset(s, -1);
            feed_one(s, x.tokens, l.tokens, logits);
            for (int64_t q = 0; q < l.queries; q++) {
                int64_t a = recall_answer(&spec, &l, q);
                struct recall_verdict v = recall_judge(logits + a * 256, x.tokens + a, spec.value_length, 256);
                bool here = recall_writes_between(&spec, &l, x.asked[q], q, 8) == 0;
                exact += v.exact;
                right += v.right;
                nll += v.nll;
                local_n += here;
                local += here && v.exact;
            }
            recall_sample_free(&x);
        }
        const struct result_row *p = row_of(rows, count, condition, "exact_match", "all", -1);
        assert_true(p && p->context == l.tokens && p->n == n);
        assert_true(exact > 0 || spec.value_length > 1);
        assert_true(fabs(p->value - (double)exact / (double)answers) < 1e-9);
        if (l.queries == 1) {
            struct interval i = wilson(exact, n);
            assert_true(fabs(p->low - i.low) < 1e-8 && fabs(p->high - i.high) < 1e-8);
        }
        const struct result_row *k = row_of(rows, count, condition, "capacity", "all", -1);
        double v = recall_possible_values(&spec);
        assert_true(k && fabs(k->value - recall_capacity((double)l.n, v, p->value)) < 1e-6);
        assert_true(fabs(k->low - recall_capacity((double)l.n, v, p->low)) < 1e-6);
        p = row_of(rows, count, condition, "symbol_accuracy", "all", -1);
        assert_true(p && fabs(p->value - (double)right / (double)(answers * spec.value_length)) < 1e-9);
        p = row_of(rows, count, condition, "answer_nll", "all", -1);
        assert_true(p && fabs(p->value - nll / (double)(answers * spec.value_length)) < 1e-5 * p->value);
        p = row_of(rows, count, condition, "exact_match", "local", -1);
        assert_int_equal(!p, !local_n);
        if (p) assert_true(fabs(p->value - (double)local / (double)local_n) < 1e-9);
        if (spec.gap) assert_null(p);
        assert_int_equal(!row_of(rows, count, condition, "stale_match", "all", -1), spec.rewrites == 1);
        p = row_of(rows, count, condition, "symbol_accuracy_chance", "all", -1);
        assert_true(p && fabs(p->value - 1 / (double)spec.values) < 1e-9);
        /* Groups by writes make up all. */
        double sum = 0;
        int64_t weight = 0;
        for (int64_t i = 0; i < count; i++)
            if (!strcmp(rows[i].metric, "exact_match") && rows[i].writes >= 0 && !strcmp(rows[i].condition, condition)) {
                sum += rows[i].value * (double)rows[i].n;
                weight += rows[i].n;
            }
        if (l.queries == 1) {
            assert_int_equal(weight, n);
            assert_true(fabs(sum - (double)exact) < 1e-6);
        }
        double total = 0;
        for (int64_t i = 0; i < lines; i++)
            if (!strcmp(samples[i].metric, "answer_nll") && !strcmp(samples[i].condition, condition)) total += samples[i].value;
        assert_true(fabs(total - nll) < 1e-5 * nll);
        stream_close(s);
        free(logits);
        free(rows);
        free(samples);
        recall_layout_free(&l);
        recall_maker_free(&maker);
    }
    model_free(m);
}

/* Conditions tell kinds, numbers and knock-outs apart; more samples keep those there were. */
static void conditions_and_prefixes(void **state) {
    (void)state;
    struct model *m = small_model("infini", "8"), *twin = small_model("transformer", "8");
    int64_t n, lines, more_n, more_lines;
    struct sample_row *samples, *more;
    struct result_row *x = run_task("cond", m, "pairs=2,5 samples=6 spread=1 gap=2", &n, &samples, &lines);
    static const char *const names[] = {"gap=2;kind=remember;pairs=2;spread=1", "gap=2;kind=remember;knockout=off;pairs=5;spread=1",
                                        "gap=2;kind=remember;knockout=zero;pairs=2;spread=1"};
    for (int i = 0; i < 3; i++) assert_non_null(row_of(x, n, names[i], "capacity", "all", -1));
    struct result_row *y = run_task("more", twin, "pairs=2 samples=9 spread=1 gap=2", &more_n, &more, &more_lines);
    for (int64_t i = 0; i < more_n; i++) assert_string_equal(y[i].condition, names[0]); /* no memory, nothing to take out */
    free(more);
    free(y);
    y = run_task("again", m, "pairs=2 samples=9 spread=1 gap=2 rows=2 knock_out=no", &more_n, &more, &more_lines);
    int same = 0;
    for (int64_t i = 0; i < lines; i++)
        for (int64_t k = 0; k < more_lines; k++)
            if (!strcmp(samples[i].condition, more[k].condition) && !strcmp(samples[i].metric, more[k].metric) &&
                !strcmp(samples[i].sample, more[k].sample)) {
                assert_true(fabs(samples[i].value - more[k].value) < 1e-4);
                same++;
            }
    assert_int_equal(same, 3 * 6);
    free(samples);
    free(more);
    free(x);
    free(y);
    model_free(m);
    model_free(twin);
}

/* ---- training ---- */

static struct source *source_of(const char *options, uint64_t seed) {
    struct options o;
    assert_int_equal(set(&o, options), 0);
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
        struct reading *r = read_text(text);
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
        if (set(&o, wrong[i].options) == 0 && recall_read(&s, &o, 128, &e) == 0) fail_msg("taken: %s", wrong[i].options);
        assert_says(wrong[i].says);
    }
    struct options o;
    assert_int_equal(set(&o, "pairs=2"), 0);
    assert_null(task_recall.source(&o, tokenizer_bytes(), 1, &e)); /* there is no model to take the segment from */
    assert_says("a source needs segment");
    struct tokenizer odd = *tokenizer_bytes();
    odd.name = "odd";
    odd.encode = two_tokens;
    assert_int_equal(set(&o, "pairs=2 segment=16"), 0);
    assert_null(task_recall.source(&o, &odd, 1, &e));
    assert_says("the tokenizer odd makes 2 tokens of '?'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_sample_to_the_letter),
        cmocka_unit_test(samples_mean_what_they_say),
        cmocka_unit_test(segments_hold_what_they_should),
        cmocka_unit_test(training_and_evaluation_share_no_set_of_pairs),
        cmocka_unit_test(draws_are_even),
        cmocka_unit_test(judging_by_hand),
        cmocka_unit_test(teacher_forcing_is_greedy_decoding),
        cmocka_unit_test(capacity_by_hand),
        cmocka_unit_test(the_task_adds_up),
        cmocka_unit_test(conditions_and_prefixes),
        cmocka_unit_test(a_source_repeats_and_resumes),
        cmocka_unit_test(a_source_weighs_answers),
        cmocka_unit_test(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
