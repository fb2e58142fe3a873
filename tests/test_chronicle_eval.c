/* test_chronicle_eval.c - the task chronicle: on small models against reading every budget from the start, token by token, and
 * every measure of it against sums and counts by hand. */
#include "harness/results.h"
#include "support/chronicle_runs.h"
#include "support/engine.h"
#include "support/folder.h"
#include "support/task_runs.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    chronicle_set(&o, pairs);
    return run_into(name, task(), m, pieces, &o);
}

static void is(const struct result_row *r, double want, const char *what) {
    if (!r) fail_msg("%s: there is no such row", what);
    if (!(fabs(r->value - want) <= 1e-6 * (1 + fabs(want)))) fail_msg("%s: %.9g, expected %.9g", what, r->value, want);
}

#define SAMPLES 5
#define BUDGETS 3
#define EVENTS 4
#define SEGMENT 64 /* of the models */
static const int64_t budgets[BUDGETS] = {128, 320, 512};
#define OPTIONS "length=512 budgets=512/128/320 samples=5 rows=2 events=4 distractors=2 segment=64 haystack=shuffled "

/* Narrative i, as the task draws it; it points into the haystack. */
static void draw(struct narrative *v, struct haystack *h, const struct chronicle_text *x, int64_t i) {
    struct rng r;
    haystack_make(h, x->filler, 0x63686576u, i, 512);
    rng_seed(&r, x->shape.filler.seed, hash64(&i, sizeof i, 0x63687376u));
    narrative_make(v, x, h, &r, 512 - x->marker.n);
}

/* Memory writes by counting them: token i is input i + 1, a segment is written before the first input of the next one, and what is
 * said first is predicted at the input of number `budget`. */
static void count_writes(struct chronicle_outcome *o, const struct narrative *v, int64_t budget) {
    for (int i = 0; i < o->within; i++) {
        o->writes[i] = 0;
        for (int64_t input = v->event_end[i] + 1; input <= budget; input++) o->writes[i] += input % SEGMENT == 0;
    }
}

/* ---- rows against what happened ---- */

/* Events by writes: each class has its row, of the samples with an event in it. Returns how many classes there are. */
static int check_writes(const struct result_row *r, int64_t n, int64_t context, const char *condition,
                        const struct chronicle_outcome *o) {
    int classes = 0, rows = 0;
    for (int low = 0; low <= 512 / SEGMENT; low = low ? 2 * low : 1) {
        const struct result_row *row = NULL;
        double named = 0, all = 0;
        int samples = 0;
        for (int i = 0; i < SAMPLES; i++) {
            double before = all;
            for (int k = 0; k < o[i].within; k++)
                if (o[i].writes[k] >= low && o[i].writes[k] <= (low ? 2 * low - 1 : 0)) all++, named += o[i].j.is_named[k];
            samples += all > before;
        }
        for (int64_t i = 0; i < n; i++)
            if (r[i].writes == low && r[i].context == context && !strcmp(r[i].condition, condition)) row = &r[i], rows++;
        if (!row && !all) continue;
        is(row, all > 0 ? named / all : -1, "events_named by writes");
        assert_string_equal(row->metric, "events_named");
        assert_string_equal(row->position, "writes");
        assert_int_equal(row->n, samples);
        classes++;
    }
    assert_int_equal(rows, classes);
    return classes;
}

/* Every row of a budget against sums over the samples. */
static void check_rows(const struct result_row *r, int64_t n, int64_t context, const char *condition,
                       const struct chronicle_outcome *o) {
    static const char *const prefix[] = {"", "ceiling_", "floor_"};
    double f1[3][ROUGE_KINDS] = {{0}}, within = 0, named = 0, right = 0, invented = 0, rumoured = 0, words = 0, reference = 0,
           stopped = 0;
    for (int i = 0; i < SAMPLES; i++) {
        for (int k = 0; k < ROUGE_KINDS; k++) {
            f1[0][k] += o[i].said[k] / SAMPLES;
            f1[1][k] += o[i].ceiling[k] / SAMPLES;
            f1[2][k] += o[i].floor[k] / SAMPLES;
        }
        within += o[i].within;
        named += o[i].j.named;
        right += o[i].j.words;
        invented += o[i].j.invented;
        rumoured += o[i].j.rumoured;
        words += o[i].words;
        reference += o[i].reference_words;
        stopped += o[i].stopped;
    }
    for (int way = 0; way < 3; way++)
        for (int k = ROUGE_1; k <= ROUGE_L + 1; k++) {
            char name[32];
            snprintf(name, sizeof name, "%s%s", prefix[way], k <= ROUGE_L ? rouge_names[k] : "overall");
            is(find_row_of(r, n, name, context, condition),
               k <= ROUGE_L ? f1[way][k] : cbrt(f1[way][ROUGE_1] * f1[way][ROUGE_2] * f1[way][ROUGE_L]), name);
        }
    const struct {
        const char *metric;
        double sum, of;
    } sums[] = {{"events_named", named, within},         {"words_named", right, 3 * within}, {"events_invented", invented, SAMPLES},
                {"rumours_named", rumoured, SAMPLES},    {"events_within", within, SAMPLES}, {"output_words", words, SAMPLES},
                {"reference_words", reference, SAMPLES}, {"stopped", stopped, SAMPLES}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        const struct result_row *row = find_row_of(r, n, sums[i].metric, context, condition);
        if (sums[i].of > 0)
            is(row, sums[i].sum / sums[i].of, sums[i].metric);
        else
            assert_null(row);
    }
}

/* ---- reading ---- */

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
    count_writes(o, v, budgets[b]);
    free(text);
    free(next);
    stream_close(s);
}

static void task_by_hand(void **state) {
    (void)state;
    struct chronicle_text *x = chronicle_text_of(pieces, OPTIONS, true, budgets[0]);
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
            for (int b = 0; b < BUDGETS; b++) {
                struct chronicle_outcome o[SAMPLES];
                for (int64_t i = 0; i < SAMPLES; i++) {
                    draw(v, &h, x, i);
                    by_hand(&o[i], m, x, v, rouge, b, i, (enum knock_out)mode);
                    most = fmax(most, o[i].said[ROUGE_1]);
                    different += o[i].words;
                }
                check_rows(r, n, budgets[b], condition, o);
                assert_true(check_writes(r, n, budgets[b], condition, o) > 0);
            }
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

/* ---- measures of texts that the test says ---- */

/* A tokenizer that gives these texts, one after the other, whatever was generated. */
static struct {
    char *text[SAMPLES * BUDGETS];
    int next;
} script;
static char *next_text(const struct tokenizer *t, const int32_t *tokens, int64_t n, size_t *size) {
    (void)t, (void)tokens, (void)n, (void)size;
    return xstrdup(script.text[script.next++]);
}

/* Every second event, known or not; the first rumour; an event of the last year with one word of three right. Sample 4 says nothing
 * at the first budget. */
static int make_lines(struct chronicle_line *line, const struct narrative *v, int64_t i, int b) {
    int n = 0;
    if (i == 4 && b == 0) return 0;
    for (int k = (int)i % 2; k < EVENTS; k += 2) line[n++] = v->event[k];
    line[n++] = v->rumour[0];
    line[n] = v->event[EVENTS - 1];
    line[n].where = (line[n].where + 1) % CHRONICLE_WORDS;
    line[n].what = (line[n].what + 1) % CHRONICLE_WORDS;
    return n + 1;
}

static void score_text(double f1[ROUGE_KINDS], struct rouge *rouge, const struct chronicle_line *line, int n,
                       const struct narrative *v) {
    char *text = chronicle_summary(line, n), *full = chronicle_summary(v->event, EVENTS);
    assert_int_equal(summary_score(rouge, f1, text, (const char *const[]){full}, 1, &e), 0);
    free(text);
    free(full);
}

/* What these lines are worth after `read` tokens, plainly. */
static void expect(struct chronicle_outcome *o, const struct chronicle_text *x, const struct narrative *v, struct rouge *rouge,
                   int64_t budget, int64_t i, const struct chronicle_line *line, int n) {
    int64_t read = budget - x->marker.n;
    struct chronicle_line drawn[EVENTS];
    bool asked[EVENTS] = {false};
    struct rng r;
    *o = (struct chronicle_outcome){.words = 11 * n, .reference_words = 11 * EVENTS};
    while (o->within < EVENTS && v->event_end[o->within] <= read) o->within++;
    for (int k = 0; k < n; k++) {
        const struct chronicle_line *l = &line[k], *event = &v->event[l->year];
        bool known = l->year < o->within;
        if (known && !asked[l->year]) o->j.words += (l->who == event->who) + (l->where == event->where) + (l->what == event->what);
        asked[l->year] = true;
        if (known && k < n - 2) /* the last two are rumour and half of an event */
            o->j.named++, o->j.is_named[l->year] = true;
        else
            o->j.invented++;
        o->j.rumoured += k == n - 2 && v->rumour_end[0] <= read;
    }
    rng_seed(&r, x->shape.filler.seed, hash64(&i, sizeof i, 0x6368666cu));
    for (int k = 0; k < o->within; k++) {
        drawn[k].year = k;
        do {
            drawn[k].who = (int)rng_below(&r, 16);
            drawn[k].where = (int)rng_below(&r, 16);
            drawn[k].what = (int)rng_below(&r, 16);
        } while (!chronicle_kept(&drawn[k]));
    }
    score_text(o->said, rouge, line, n, v);
    score_text(o->ceiling, rouge, v->event, o->within, v);
    score_text(o->floor, rouge, drawn, o->within, v);
}

/* Returns how many events have a segment's first input for their last token. */
static int check_measures(const char *name, const char *pairs) {
    struct chronicle_text *x = chronicle_text_of(pieces, pairs, true, budgets[0]);
    struct rouge *rouge = rouge_open(true);
    struct narrative *v = xcalloc(1, sizeof *v);
    struct haystack h = {.names = {0}};
    struct chronicle_outcome o[BUDGETS][SAMPLES];
    double named = 0, right = 0, rumoured = 0, classes = 0;
    int first = 0;
    script.next = 0;
    for (int64_t i = 0; i < SAMPLES; i++) { /* in the order in which the task asks one row */
        draw(v, &h, x, i);
        for (int k = 0; k < EVENTS; k++) first += v->event_end[k] % SEGMENT == 0;
        for (int b = 0; b < BUDGETS; b++) {
            struct chronicle_line line[EVENTS];
            int count = make_lines(line, v, i, b);
            script.text[script.next++] = chronicle_summary(line, count);
            expect(&o[b][i], x, v, rouge, budgets[b], i, line, count);
            count_writes(&o[b][i], v, budgets[b]);
            named += o[b][i].j.named;
            right += o[b][i].j.words - 3 * o[b][i].j.named;
            rumoured += o[b][i].j.rumoured;
        }
    }
    struct model *m = make_model(2);
    struct tokenizer says = *pieces;
    struct options options;
    chronicle_set(&options, pairs);
    says.decode = next_text;
    script.next = 0;
    if (run_into(name, task(), m, &says, &options)) fail_msg("%s", e.text);
    assert_int_equal(script.next, SAMPLES * BUDGETS);
    char *path = in_folder(name);
    int64_t n;
    struct result_row *r = results_read(path, &n, &e);
    for (int b = 0; b < BUDGETS; b++) {
        check_rows(r, n, budgets[b], "distractors=2;events=4;haystack=shuffled;places=random", o[b]);
        classes += check_writes(r, n, budgets[b], "distractors=2;events=4;haystack=shuffled;places=random", o[b]);
    }
    assert_true(named > 5 && right > 0 && rumoured > 3 && classes > 6); /* there was something of everything */
    for (int i = 0; i < SAMPLES * BUDGETS; i++) free(script.text[i]);
    free(r);
    free(path);
    model_free(m);
    haystack_free(&h);
    free(v);
    rouge_close(rouge);
    chronicle_text_free(x);
    return first;
}

/* Where no segment may cut an event, and where one may: then the first input of a segment counts too. */
static void measures(void **state) {
    (void)state;
    assert_int_equal(check_measures("says", OPTIONS "rows=1 most=1"), 0);
    assert_true(check_measures("cut", OPTIONS "rows=1 most=1 segment=0 seed=2") > 0);
}

/* ROUGE-1 of what is said at all budgets, decoded that way. */
static void rouge_by(double out[BUDGETS], const char *name, struct model *m, const char *decoding, const char *condition) {
    char pairs[256];
    snprintf(pairs, sizeof pairs, OPTIONS "most=30 %s", decoding);
    if (run_task(name, m, pairs)) fail_msg("%s", e.text);
    char *path = in_folder(name);
    int64_t n;
    struct result_row *r = results_read(path, &n, &e);
    for (int b = 0; b < BUDGETS; b++) {
        const struct result_row *x = find_row_of(r, n, "rouge1", budgets[b], condition);
        if (!x) fail_msg("there is no row under '%s'", condition);
        out[b] = x->value;
    }
    free(r);
    free(path);
}

/* Sampled: with a top_p or a temperature that leave one token it is the greedy decoding, with neither it is not. */
static void sampled(void **state) {
    (void)state;
    struct model *m = make_model(0);
    static const char *const ways[] = {"top_p=1e-9 temperature=5", "top_p=1 temperature=0.001", "top_p=1 temperature=5"},
                             *const names[] = {"one-piece", "cold", "hot"};
    double greedy[BUDGETS], drawn[3][BUDGETS];
    rouge_by(greedy, "greedy", m, "decoding=greedy", "distractors=2;events=4;haystack=shuffled;places=random");
    for (int i = 0; i < 3; i++) {
        char decoding[80];
        snprintf(decoding, sizeof decoding, "decoding=sampled %s", ways[i]);
        rouge_by(drawn[i], names[i], m, decoding, "decoding=sampled;distractors=2;events=4;haystack=shuffled;places=random");
    }
    assert_memory_equal(drawn[0], greedy, sizeof greedy);
    assert_memory_equal(drawn[1], greedy, sizeof greedy);
    assert_memory_not_equal(drawn[2], greedy, sizeof greedy);
    model_free(m);
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
        chronicle_set(&o, wrong[i][0]); /* before anything is trained */
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
        cmocka_unit_test(task_by_hand),
        cmocka_unit_test(measures),
        cmocka_unit_test(sampled),
        cmocka_unit_test(task_errors),
    };
    return cmocka_run_group_tests(tests, chronicle_setup, folder_teardown);
}
