/* test_recall_task.c - associative recall judged and measured: logits by hand, the capacity estimate, greedy decoding, and the
 * whole task on a small model against a tally of its own. Samples are in test_recall.c. */
#include "harness/results_files.h"
#include "harness/task.h"
#include "support/folder.h"
#include "support/recall_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct task task_recall;

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
    struct made k = recall_make("pairs=9 gap=1 segment=16 value_length=4 values=36");
    struct stream *s = stream_open(m, 1, 2, &e);
    assert_non_null(s);
    float *next = xcalloc(256, sizeof *next), *logits = xcalloc(4 * 256, sizeof *logits);
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct recall_sample x = recall_drawn(&k, seed, true);
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
    recall_unmake(&k);
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
    assert_int_equal(recall_set(&o, options), 0);
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
        recall_set(&o, ways[w]);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judging_by_hand),         cmocka_unit_test(teacher_forcing_is_greedy_decoding),
        cmocka_unit_test(capacity_by_hand),        cmocka_unit_test(the_task_adds_up),
        cmocka_unit_test(conditions_and_prefixes),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
