/* test_passkey_eval.c - reading passkey prompts with models: against token-by-token greedy decoding and scoring, what is shared or
 * left out changes nothing, the rows that the task writes, and what it refuses. Models have parameters from a formula: they know
 * nothing, but their answers depend on every token they can see. */
#include "harness/results.h"
#include "support/engine.h"
#include "support/folder.h"
#include "support/task_runs.h"
#include "tasks/passkey.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct tokenizer *tokenizer;

static int setup(void **state) {
    if (folder_setup(state)) return -1;
    tokenizer = tokenizer_open("sentencepiece:tasks/data/passkey-640.model", &e);
    if (!tokenizer) fprintf(stderr, "%s\n", e.text);
    return tokenizer ? 0 : -1;
}

static const struct kind {
    const char *arch, *options;
} kinds[] = {{"infini", "update=linear"},
             {"infini", "update=delta"},
             {"infini", "update=none"},
             {"transformer_xl", "cache=20"},
             {"memorizing", "memory=64 topk=4"},
             {"transformer", "window=48"},
             {"null", ""}};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

/* Non-digits are made unlikely, so that a digit is right by chance once in ten times. */
static struct model *make_model(int kind) {
    struct model *m = engine_model(kinds[kind].arch, kinds[kind].options,
                                   "layers=2 d_model=32 heads=2 kv_heads=2 head_dim=16 ffn=40 segment=32 vocab=640 tied=no");
    engine_fill(m);
    struct param *head = m->head;
    if (!head) return m;
    double *v = engine_download(m, head->leaf.data, head->n);
    bool *digit = xcalloc(640, sizeof *digit);
    for (int i = 0; i < 10; i++) {
        int32_t *tokens;
        CHECK(tokenizer->encode(tokenizer, (char[]){(char)('0' + i), 0}, 1, &tokens) == 1, "a digit");
        digit[tokens[0]] = true;
        free(tokens);
    }
    for (int64_t i = 0; i < head->n; i++) v[i] *= digit[i / 32] ? 2 : 0;
    engine_upload(m, head->leaf.data, v, head->n);
    free(digit);
    free(v);
    return m;
}

static struct passkey_text *make_text(enum passkey_haystack haystack, int needles) {
    struct passkey_shape shape = {.haystack = haystack, .evaluation = true, .value_length = 5, .needles = needles, .seed = 3};
    struct passkey_text *x = passkey_text_open(tokenizer, &shape, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}

static const struct passkey_plan standard = {.lengths = 2,
                                             .places = 3,
                                             .length = {300, 470},
                                             .samples = {7, 4},
                                             .place = {{"start", 0}, {"middle", 0.5}, {"end", 1}},
                                             .haystacks = 1,
                                             .rows = 3,
                                             .segments = 2,
                                             .greedy = true,
                                             .share = true,
                                             .tail = true};
#define MOST 7

static struct passkey_outcome *evaluate(struct model *m, const struct passkey_text *x, const struct passkey_plan *p) {
    int64_t most;
    struct passkey_outcome *o = passkey_evaluate(m, x, p, &most, &e);
    if (!o) fail_msg("%s", e.text);
    assert_int_equal(most, MOST);
    return o;
}

/* Equal in every bit (tolerance 0), or in what was said and nearly in nats. */
static void compare(const char *what, int kind, const struct passkey_outcome *a, const struct passkey_outcome *b,
                    double tolerance) {
    for (int l = 0; l < 2; l++)
        for (int p = 0; p < 3; p++)
            for (int i = 0; i < standard.samples[l]; i++) {
                const struct passkey_outcome *x = &a[(l * 3 + p) * MOST + i], *y = &b[(l * 3 + p) * MOST + i];
                if (x->exact != y->exact || x->right != y->right || x->writes != y->writes || x->tokens != y->tokens ||
                    !(fabs(x->nats - y->nats) <= tolerance))
                    fail_msg("%s %s, %s: length %d place %d sample %d: %d right, %.17g nats; %d, %.17g", kinds[kind].arch,
                             kinds[kind].options, what, l, p, i, x->right, x->nats, y->right, y->nats);
            }
}

/* Every sample by itself: the whole prompt, then greedily token by token; and once more with the right tokens. */
static void by_hand(struct passkey_outcome *out, struct model *m, const struct passkey_text *x, const struct passkey_plan *plan) {
    struct stream *s = stream_open(m, 1, 1, &e);
    struct prompt *p = xcalloc(1, sizeof *p);
    struct haystack h = {0};
    float *next = xcalloc(640, sizeof *next);
    stream_knock_out(s, plan->knock_out);
    for (int l = 0; l < plan->lengths; l++)
        for (int place = 0; place < plan->places; place++)
            for (int64_t i = 0; i < plan->samples[l]; i++) {
                int64_t groups = plan->haystacks ? plan->haystacks : MOST;
                struct passkey_sample sample;
                struct rng r;
                haystack_make(&h, x, 0x65766179u, i % groups, plan->length[l]);
                rng_seed(&r, x->shape.seed, hash64(&i, sizeof i, 0x65766c73u));
                passkey_sample(&sample, x, &h, &r);
                prompt_make(p, x, &h, &sample, plan->length[l], plan->place[place].depth, false);
                int32_t *tokens = xcalloc((size_t)p->n, sizeof *tokens);
                struct passkey_outcome *o = &out[(l * plan->places + place) * MOST + i];
                prompt_read(p, 0, p->n, tokens);
                *o = (struct passkey_outcome){.tokens = p->n + 1};
                for (int way = 0; way < 2; way++) { /* greedy, teacher-forced */
                    bool exact = true;
                    stream_reset(s, -1);
                    stream_score(s, (const int32_t *const[]){tokens}, &p->needle_end[0], NULL);
                    o->writes = -stream_writes(s, 0);
                    stream_score(s, (const int32_t *const[]){tokens + p->needle_end[0]},
                                 (const int64_t[]){p->answer - p->needle_end[0]}, NULL);
                    o->writes += stream_writes(s, 0);
                    for (int64_t k = p->answer; k < p->answer + 5; k++) {
                        stream_next(s, next);
                        int32_t said = largest_token(next, 640), fed = way ? tokens[k] : said;
                        exact = exact && said == tokens[k];
                        if (way) {
                            double sum = 0;
                            for (int j = 0; j < 640; j++) sum += exp((double)next[j]);
                            o->nats += log(sum) - (double)next[tokens[k]];
                        } else
                            o->right += said == tokens[k];
                        stream_score(s, (const int32_t *const[]){&fed}, (const int64_t[]){1}, NULL);
                    }
                    if (way) assert_int_equal(exact, o->exact); /* exact match does not depend on the way */
                    o->exact = exact;
                }
                free(tokens);
            }
    stream_close(s);
    haystack_free(&h);
    free(p);
    free(next);
}

static void test_by_hand(void **state) {
    (void)state;
    int right = 0, differ = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int text = 0; text < 3; text++) {
            struct model *m = make_model(kind);
            struct passkey_text *x = make_text(text == 2 ? HAYSTACK_DISTRACTORS
                                               : text    ? HAYSTACK_SHUFFLED
                                                         : HAYSTACK_REPEATED,
                                               text == 2 ? 3 : 1);
            struct passkey_plan plan = standard;
            plan.haystacks = text == 2 ? 0 : text ? 2 : 1;
            struct passkey_outcome *got = evaluate(m, x, &plan), want[6 * MOST] = {{0}};
            by_hand(want, m, x, &plan);
            compare("by hand", kind, got, want, 1e-4);
            plan.greedy = false;
            struct passkey_outcome *forced = evaluate(m, x, &plan);
            for (int i = 0; i < 6 * MOST; i++) {
                assert_int_equal(forced[i].exact, got[i].exact);
                right += got[i].right;
                differ += got[i].right != forced[i].right;
            }
            free(forced);
            free(got);
            passkey_text_free(x);
            model_free(m);
        }
    assert_true(right > 50 && differ > 20); /* there was something to be seen */
}

/* The shared trunk changes no bit. */
static void test_sharing(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int text = 0; text < 2; text++) {
            struct model *m = make_model(kind);
            struct passkey_text *x = make_text(text ? HAYSTACK_SHUFFLED : HAYSTACK_REPEATED, 1 + text);
            struct passkey_plan plan = standard, alone = standard;
            plan.haystacks = alone.haystacks = 1 + text;
            alone.share = false;
            struct passkey_outcome *shared = evaluate(m, x, &plan), *each = evaluate(m, x, &alone), *other;
            compare("sharing", kind, shared, each, 0);
            plan.rows = 1;
            plan.segments = 5;
            other = evaluate(m, x, &plan);
            compare("one row", kind, shared, other, 1e-4); /* calls of another size round differently */
            free(other);
            free(shared);
            free(each);
            passkey_text_free(x);
            model_free(m);
        }
}

/* What lies beyond the reach of an architecture need not be read; nor anything but the tail when the memory is knocked out. */
static void test_tails(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int needles = 1; needles < 4; needles += 2) {
            struct model *m = make_model(kind);
            struct passkey_text *x = make_text(HAYSTACK_REPEATED, needles);
            for (int mode = KNOCK_NONE; mode <= (kind < 2 ? KNOCK_ZERO : KNOCK_NONE); mode++) {
                struct passkey_plan plan = standard, whole = standard;
                plan.knock_out = whole.knock_out = (enum knock_out)mode;
                whole.share = whole.tail = false;
                struct passkey_outcome *short_one = evaluate(m, x, &plan), *long_one = evaluate(m, x, &whole);
                compare("tails", kind, short_one, long_one, 1e-4);
                free(short_one);
                free(long_one);
            }
            passkey_text_free(x);
            model_free(m);
        }
}

/* ---- the task ---- */

static const struct task *task(void) { return known_task("passkey"); }

/* Runs the task into FOLDER/name; -1 with the error. */
static int run_task(const char *name, struct model *m, const struct tokenizer *t, const char *const *pairs) {
    struct options o;
    options_init(&o, task()->options);
    for (; *pairs; pairs += 2)
        if (options_set(&o, pairs[0], pairs[1], "test", &e)) return -1;
    return run_into(name, task(), m, t, &o);
}
/* All keys and the answer's queries of one row, as they were shown; no more than that. */
#define INPUTS 480
static struct shown {
    double key[2][INPUTS][32], query[2][INPUTS][32];
    int64_t first_query;
} shown;
static void keep_shown(void *data, int64_t row, int layer, const char *what, int64_t first, int64_t n, int64_t width,
                       const real *values) {
    (void)data;
    assert_true(row == 0 && width == 32 && first + n <= INPUTS);
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < 32; j++)
            (strcmp(what, "key") ? shown.query : shown.key)[layer][first + i][j] = (double)values[i * 32 + j];
}
static double elu1(double x) { return x > 0 ? x + 1 : exp(x); }

/* The contrast from z against its definition: a mean over the keys of all whole segments. */
static void test_contrast(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct model *m = make_model(kind);
        struct passkey_text *x = make_text(HAYSTACK_REPEATED, 1);
        struct haystack h = {0};
        struct passkey_sample sample;
        struct prompt *p = xcalloc(1, sizeof *p);
        struct rng rng;
        int32_t *tokens = xcalloc(INPUTS, sizeof *tokens);
        float *logits = xcalloc(5 * 640, sizeof *logits);
        haystack_make(&h, x, 1, 0, 470);
        rng_seed(&rng, 3, 1);
        passkey_sample(&sample, x, &h, &rng);
        prompt_make(p, x, &h, &sample, 470, 0.3, false);
        prompt_read(p, 0, p->answer + 5, tokens);
        struct stream *s = stream_open(m, 1, 2, &e);
        struct passkey_contrast *c = contrast_open(m, p, 1, 5);
        for (int twice = 0; twice < 2; twice++) {
            stream_reset(s, -1);
            stream_watch(s, twice ? contrast_watch : keep_shown, c);
            stream_score(s, (const int32_t *const[]){tokens}, &p->answer, NULL);
            if (twice) contrast_memory(c, s);
            stream_logits(s, (const int32_t *const[]){tokens + p->answer}, (int64_t[]){5}, (float *const[]){logits});
        }
        int64_t written = p->answer / 32 * 32;
        assert_true(p->answer + 5 <= INPUTS && p->needle_end[0] < written);
        for (int layer = 0; layer < 2; layer++)
            for (int head = 0; head < 2; head++) {
                double contrast = 0, share = 0, got_share, got = contrast_value(c, layer, head, &got_share);
                for (int64_t i = p->answer; i < p->answer + 5; i++) {
                    double all = 0, best = 0, needle = 0;
                    for (int64_t t = 0; t < written; t++) {
                        double fit = 0;
                        for (int j = head * 16; j < head * 16 + 16; j++)
                            fit += elu1(shown.query[layer][i][j]) * elu1(shown.key[layer][t][j]);
                        all += fit;
                        if (t <= p->needle[0] || t > p->needle_end[0]) continue;
                        needle += fit;
                        if (fit > best) best = fit;
                    }
                    contrast += best / (all / (double)written) / 5;
                    share += needle / all / 5;
                }
                if (fabs(got / contrast - 1) > 1e-4 || fabs(got_share / share - 1) > 1e-4)
                    fail_msg("%s, layer %d head %d: contrast %.9g, expected %.9g; share %.9g, expected %.9g", kinds[kind].options,
                             layer, head, got, contrast, got_share, share);
            }
        contrast_close(c);
        stream_close(s);
        haystack_free(&h);
        passkey_text_free(x);
        free(p);
        free(tokens);
        free(logits);
        model_free(m);
    }
}

#define MEASURE(name, ...) run_task(name, m, tokenizer, (const char *const[]){__VA_ARGS__, NULL})

static const struct result_row *find(const struct result_row *r, int64_t n, const char *metric, int64_t context,
                                     const char *position, int64_t writes, const char *condition) {
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(r[i].metric, metric) && r[i].context == context && !strcmp(r[i].position, position) && r[i].writes == writes &&
            !strcmp(r[i].condition, condition))
            return &r[i];
    return NULL;
}

static void test_rows(void **state) {
    (void)state;
    struct model *m = make_model(0);
    if (MEASURE("rows", "length", "470, 300", "samples", "3, 5", "knock_out", "yes", "diagnostics", "yes", "rows", "2",
                "value_length", "3"))
        fail_msg("%s", e.text);
    char *path = in_folder("rows");
    int64_t n, samples;
    struct result_row *r = results_read(path, &n, &e);
    struct sample_row *s = samples_read(path, &samples, &e);
    static const char *const conditions[] = {"haystack=repeated;needles=1;value=digits;value_length=3",
                                             "haystack=repeated;knockout=off;needles=1;value=digits;value_length=3",
                                             "haystack=repeated;knockout=zero;needles=1;value=digits;value_length=3"};
    static const char *const places[] = {"start", "middle", "end"};
    assert_int_equal(samples, 3 * 3 * 8 * 2);
    for (int c = 0; c < 3; c++) {
        for (int l = 0; l < 2; l++) {
            int64_t length = l ? 470 : 300, count = l ? 3 : 5, by_writes = 0;
            double exact = 0, digits = 0;
            for (int p = 0; p < 3; p++) {
                const struct result_row *x = find(r, n, "exact_match", length, places[p], -1, conditions[c]);
                const struct result_row *d = find(r, n, "digit_accuracy", length, places[p], -1, conditions[c]);
                const struct result_row *t = find(r, n, "tokens", length, places[p], -1, conditions[c]);
                assert_true(x && d && t && find(r, n, "answer_nll", length, places[p], -1, conditions[c]));
                assert_true(x->n == count && d->n == count && t->value <= (double)length && t->value > (double)length - 7);
                struct interval w = wilson(llround(x->value * (double)count), count);
                assert_true(fabs(x->low - w.low) < 1e-6 && fabs(x->high - w.high) < 1e-6);
                exact += x->value * (double)count;
                digits += d->value * (double)count;
                double sum = 0;
                for (int64_t i = 0; i < samples; i++) {
                    char name[40];
                    int number;
                    snprintf(name, sizeof name, "L%d-%s-", (int)length, places[p]);
                    if (strcmp(s[i].condition, conditions[c]) || strncmp(s[i].sample, name, strlen(name)) ||
                        strcmp(s[i].metric, "digit_accuracy"))
                        continue;
                    assert_int_equal(sscanf(s[i].sample + strlen(name), "%d", &number), 1);
                    assert_true(number < count && s[i].weight == 1 && !strcmp(s[i].position, places[p]));
                    sum += s[i].value;
                }
                assert_true(fabs(sum / (double)count - d->value) < 1e-6);
            }
            for (int64_t i = 0; i < n; i++) {
                if (r[i].context != length || r[i].writes < 0 || strcmp(r[i].condition, conditions[c])) continue;
                assert_string_equal(r[i].position, "writes");
                if (!strcmp(r[i].metric, "exact_match")) by_writes += r[i].n, exact -= r[i].value * (double)r[i].n;
                if (!strcmp(r[i].metric, "digit_accuracy")) digits -= r[i].value * (double)r[i].n;
            }
            assert_int_equal(by_writes, 3 * count);
            assert_true(fabs(exact) < 1e-6 && fabs(digits) < 1e-5);
        }
        const struct result_row *x = find(r, n, "effective_length", 0, "all", -1, conditions[c]);
        assert_true(x && x->value == 0);
        assert_true(find(r, n, "digit_chance", 0, "all", -1, conditions[c])->value == 0.1);
    }
    assert_non_null(find(r, n, "memory_norm", 470, "1.1", -1, conditions[0]));
    assert_non_null(find(r, n, "gate", 0, "0.1", -1, conditions[0]));
    const struct result_row *share = find(r, n, "needle_share", 470, "1.1", -1, conditions[0]);
    assert_true(share && share->value > 0 && share->value < 1 && find(r, n, "contrast", 300, "0.0", -1, conditions[0]));
    assert_true(find(r, n, "z_norm", 470, "0.0", -1, conditions[0])->value >
                find(r, n, "z_norm", 300, "0.0", -1, conditions[0])->value);
    assert_null(find(r, n, "gate", 0, "0.1", -1, conditions[1]));
    free(r);
    free(s);
    free(path);
    /* A grid of depths, letters, several needles. */
    if (MEASURE("grid", "length", "400", "samples", "2", "depths", "3", "value", "letters", "needles", "2", "haystack",
                "distractors"))
        fail_msg("%s", e.text);
    path = in_folder("grid");
    r = results_read(path, &n, &e);
    static const char *const depths[] = {"0.00", "0.50", "1.00"};
    for (int p = 0; p < 3; p++)
        assert_non_null(find(r, n, "exact_match", 400, depths[p], -1, "haystack=distractors;needles=2;value=letters"));
    assert_true(fabs(find(r, n, "digit_chance", 0, "all", -1, "haystack=distractors;needles=2;value=letters")->value - 1.0 / 26) <
                1e-6);
    free(r);
    free(path);
    model_free(m);
}

/* What full attention cannot hold leaves a row with the reason. */
static void test_skipping(void **state) {
    (void)state;
    struct model *m =
        engine_model("transformer", "window=310", "layers=1 d_model=16 heads=1 kv_heads=1 head_dim=16 ffn=20 segment=32 vocab=640");
    engine_fill(m);
    int64_t n;
    for (int all = 0; all < 2; all++) {
        if (MEASURE(all ? "none" : "some", "length", all ? "320, 400" : "320, 300", "samples", "2")) fail_msg("%s", e.text);
        char *path = in_folder(all ? "none" : "some");
        struct result_row *r = results_read(path, &n, &e);
        const char *skipped = "haystack=repeated;needles=1;skipped=beyond the window of 310;value=digits";
        assert_non_null(find(r, n, "skipped", 320, "all", -1, skipped));
        assert_null(find(r, n, "exact_match", 320, "start", -1, "haystack=repeated;needles=1;value=digits"));
        assert_int_equal(all, !find(r, n, "exact_match", 300, "start", -1, "haystack=repeated;needles=1;value=digits"));
        free(r);
        free(path);
    }
    if (MEASURE("read", "length", "320", "samples", "2", "beyond_window", "measure")) fail_msg("%s", e.text);
    model_free(m);
}

static void test_errors(void **state) {
    (void)state;
    struct model *m = make_model(6);
#define REFUSED(needle, ...)                                                                                                       \
    assert_int_equal(MEASURE("refused", __VA_ARGS__), -1);                                                                         \
    assert_says(needle)
    REFUSED("length 60 is below the prompt's minimum of", "length", "1K, 60");
    REFUSED("8 needles of 16 symbols", "length", "300", "needles", "8", "value_length", "16");
    REFUSED("samples = 0; it must be at least 1", "samples", "0");
    REFUSED("samples: 'many' is not a whole number", "samples", "many");
    REFUSED("2 numbers of samples for 3 lengths", "length", "1K, 2K, 3K", "samples", "5, 6");
    REFUSED("length is empty", "length", ",");
    REFUSED("length 1024 is given twice", "length", "1K, 2K, 1024");
    REFUSED("'midle' is unknown; the nearest is middle", "positions", "start, midle");
    REFUSED("positions is empty", "positions", "");
    REFUSED("depths = 1", "depths", "1");
    REFUSED("haystack = 'rpeated' is unknown", "haystack", "rpeated");
    REFUSED("value_length = 2 is out of range", "value_length", "2");
    /* An experiment finds them before it trains: the cell's identity asks. */
    struct options o;
    uint64_t hash;
    options_init(&o, task()->options);
    assert_int_equal(task()->data_hash(&o, tokenizer, &hash, &e), 0);
    assert_true(hash == 0);
    assert_int_equal(options_set(&o, "positions", "midle", "test", &e), 0);
    assert_int_equal(task()->data_hash(&o, tokenizer, &hash, &e), -1);
    assert_says("'midle'");
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_sharing),  cmocka_unit_test(test_tails),
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_skipping), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_contrast),
    };
    return cmocka_run_group_tests_name("passkey_eval", tests, setup, folder_teardown);
}
