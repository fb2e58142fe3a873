/* test_generate.c - continuations against teacher forcing for every architecture, drawing by temperature and top-p against the
 * distribution in closed form, and how texts end. */
#include "harness/generate.h"
#include "support/variants.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCAB 11
#define MOST 19 /* almost five segments of four */
#define ROWS 3
#define EACH for (const struct variant *v = variants; v->name; v++)

static const int32_t letters[24] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4};
static const int64_t prompt[ROWS] = {0, 7, 22}; /* nothing; a partial last segment; another one */

struct seen {
    float logits[ROWS][MOST + 1][VOCAB];
    int32_t token[ROWS][MOST + 1];
    int64_t n[ROWS];
};

static void see(void *data, int64_t row, int32_t token, const float *logits) {
    struct seen *x = data;
    int64_t i = x->n[row]++;
    assert_true(i <= MOST);
    x->token[row][i] = token;
    memcpy(x->logits[row][i], logits, sizeof x->logits[row][i]);
}

static struct stream *opened(struct model *m, int64_t rows) {
    struct error e;
    struct stream *s = stream_open(m, rows, 3, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

/* Rows with prompts of three lengths continued; out: ROWS texts. */
static void run(struct model *m, const struct decoding *d, struct generation out[ROWS], struct seen *x) {
    static int32_t room[ROWS][MOST];
    const int32_t *const tokens[ROWS] = {letters, letters, letters};
    struct stream *s = opened(m, ROWS);
    stream_score(s, tokens, prompt, NULL);
    memset(x, 0, sizeof *x);
    for (int b = 0; b < ROWS; b++) out[b] = (struct generation){.tokens = room[b], .number = (uint64_t)b};
    generate(s, d, out, ROWS, see, x);
    for (int b = 0; b < ROWS; b++) assert_int_equal(stream_position(s, b), prompt[b] + out[b].n);
    stream_close(s);
}

/* Every distribution is the one of reading prompt and continuation in one go, and greedy decoding takes its largest. */
static void teacher_forcing(void **state) {
    (void)state;
    int architectures = 0;
    for (const struct variant *v = variants; v->name; v++) {
        bool again = false;
        for (const struct variant *w = variants; w != v; w++) again = again || !strcmp(w->arch, v->arch);
        architectures += !again;
    }
    assert_true(architectures >= 5);
    EACH {
        struct model *m = variant_model(v, "");
        for (int way = 0; way < 2; way++) { /* greedy, drawn */
            struct decoding d = {.temperature = way ? 1 : 0, .top_p = 1, .most = MOST, .stop = -1, .seed = 5};
            struct generation g[ROWS];
            static struct seen x;
            run(m, &d, g, &x);
            for (int b = 0; b < ROWS; b++) {
                int32_t text[64];
                float logits[64 * VOCAB];
                int64_t n = prompt[b] + MOST;
                assert_true(g[b].n == MOST && g[b].end == GENERATION_FULL && x.n[b] == MOST);
                memcpy(text, letters, sizeof *text * (size_t)prompt[b]);
                memcpy(text + prompt[b], g[b].tokens, sizeof *text * MOST);
                struct stream *s = opened(m, 1);
                stream_logits(s, (const int32_t *const[]){text}, &n, (float *const[]){logits});
                for (int i = 0; i < MOST; i++) {
                    const float *want = logits + (prompt[b] + i) * VOCAB, *got = x.logits[b][i];
                    float largest = -INFINITY, second = -INFINITY;
                    for (int k = 0; k < VOCAB; k++) {
                        if (!(fabsf(got[k] - want[k]) <= 2e-5f * (1 + fabsf(want[k]))))
                            fail_msg("%s, row %d, token %d, logit %d: %.9g, not %.9g", v->name, b, i, k, (double)got[k],
                                     (double)want[k]);
                        if (want[k] > largest)
                            second = largest, largest = want[k];
                        else if (want[k] > second)
                            second = want[k];
                    }
                    assert_int_equal(x.token[b][i], g[b].tokens[i]);
                    if (!way && largest - second > 1e-4f) assert_int_equal(g[b].tokens[i], largest_token(want, VOCAB));
                }
                stream_close(s);
            }
        }
        model_free(m);
    }
}

static struct model *linear_model(void) {
    const struct variant *v = variants;
    while (strcmp(v->name, "infini linear") != 0) v++;
    return variant_model(v, "");
}

static struct model *constant_model(void) { /* null: the same distribution everywhere, that of its parameters */
    struct variant v = {.name = "null", .arch = "null", .options = "", .shape = ""};
    return variant_model(&v, "");
}

/* Frequencies of 6000 draws against softmax(logits / temperature), cut to the smallest set that reaches top_p. */
static void drawing(void **state) {
    (void)state;
    struct model *m = constant_model();
    static const double ways[][2] = {{1, 1}, {0.5, 1}, {0.5, 0.95}, {2, 0.6}, {0.5, 1e-9}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        enum { DRAWS = 6000 };
        static int32_t tokens[DRAWS];
        struct decoding d = {.temperature = ways[w][0], .top_p = ways[w][1], .most = DRAWS, .stop = -1, .seed = 3};
        struct generation g = {.tokens = tokens};
        struct stream *s = opened(m, 1);
        float logits[VOCAB];
        double p[VOCAB], sum = 0, kept = 0, chi = 0;
        bool in[VOCAB] = {false};
        int64_t count[VOCAB] = {0};
        int classes = 0;
        stream_next(s, logits);
        for (int k = 0; k < VOCAB; k++) sum += p[k] = exp((double)logits[k] / d.temperature);
        while (kept < d.top_p * sum * (1 - 1e-12)) {
            int best = -1;
            for (int k = 0; k < VOCAB; k++)
                if (!in[k] && (best < 0 || p[k] > p[best])) best = k;
            in[best] = true;
            kept += p[best];
            classes++;
        }
        generate(s, &d, &g, 1, NULL, NULL);
        assert_int_equal(g.n, DRAWS);
        for (int i = 0; i < DRAWS; i++) count[tokens[i]]++;
        for (int k = 0; k < VOCAB; k++) {
            double want = in[k] ? DRAWS * p[k] / kept : 0;
            if (!in[k] && count[k]) fail_msg("temperature %g, top-p %g: token %d was cut off and drawn", d.temperature, d.top_p, k);
            if (in[k]) chi += ((double)count[k] - want) * ((double)count[k] - want) / want;
        }
        /* Mean classes - 1, variance twice that: five standard deviations. */
        if (!(chi <= classes - 1 + 5 * sqrt(2.0 * (classes - 1)) + 1e-9))
            fail_msg("temperature %g, top-p %g: chi-square %g of %d classes", d.temperature, d.top_p, chi, classes);
        stream_close(s);
    }
    model_free(m);
}

/* A row draws by its own number, wherever it stands; another seed or number draws otherwise. */
static void numbers(void **state) {
    (void)state;
    struct model *m = linear_model();
    int32_t room[5][MOST];
    struct decoding d = {.temperature = 1, .top_p = 0.95, .most = MOST, .stop = -1, .seed = 9};
    struct generation all[3], alone = {.tokens = room[3], .number = 7}, other = {.tokens = room[4], .number = 7};
    for (int b = 0; b < 3; b++) all[b] = (struct generation){.tokens = room[b], .number = b == 2 ? 7 : 4};
    struct stream *s = opened(m, 3);
    generate(s, &d, all, 3, NULL, NULL);
    stream_reset(s, -1);
    generate(s, &d, &alone, 1, NULL, NULL);
    d.seed = 10;
    stream_reset(s, -1);
    generate(s, &d, &other, 1, NULL, NULL);
    assert_memory_equal(room[0], room[1], sizeof room[0]);
    assert_memory_equal(room[2], room[3], sizeof room[2]);
    assert_memory_not_equal(room[0], room[2], sizeof room[0]);
    assert_memory_not_equal(room[3], room[4], sizeof room[3]);
    stream_close(s);
    model_free(m);
}

/* The stop token ends a row and is not said; given tokens are read as they are; logits that are no numbers end a row. */
static void ends(void **state) {
    (void)state;
    struct model *m = linear_model();
    struct decoding d = {.top_p = 1, .most = MOST, .stop = -1};
    struct generation g[ROWS];
    static struct seen x;
    int32_t whole[ROWS][MOST];
    run(m, &d, g, &x);
    for (int b = 0; b < ROWS; b++) memcpy(whole[b], g[b].tokens, sizeof whole[b]);
    d.stop = whole[2][9];
    run(m, &d, g, &x);
    for (int b = 0; b < ROWS; b++) {
        int64_t want = 0;
        while (want < MOST && whole[b][want] != d.stop) want++;
        assert_int_equal(g[b].n, want);
        assert_int_equal(g[b].end, want < MOST ? GENERATION_STOPPED : GENERATION_FULL);
        assert_memory_equal(g[b].tokens, whole[b], (size_t)want * sizeof **whole);
        assert_int_equal(x.n[b], want < MOST ? want + 1 : want);
    }
    assert_int_equal(g[2].end, GENERATION_STOPPED);
    d.stop = -1;
    int32_t room[MOST];
    for (int64_t given = 0; given <= MOST; given += 6) { /* a prefix of its own text changes nothing */
        struct stream *s = opened(m, 1);
        struct generation one = {.tokens = room, .n = given};
        stream_score(s, (const int32_t *const[]){letters}, &prompt[1], NULL);
        memset(room, 0, sizeof room);
        memcpy(room, whole[1], (size_t)given * sizeof *room);
        generate(s, &d, &one, 1, NULL, NULL);
        assert_int_equal(one.n, MOST);
        assert_memory_equal(room, whole[1], sizeof room);
        stream_close(s);
    }
    struct error e;
    d.stop = VOCAB;
    assert_int_equal(decoding_check(&d, m, &e), -1);
    assert_non_null(strstr(e.text, "stop token 11 is none of the model's 11 tokens"));
    d.stop = VOCAB - 1;
    assert_int_equal(decoding_check(&d, m, &e), 0);
    d.stop = -1;
    struct param *last = m->final_norm;
    double *values = engine_download(m, last->leaf.data, last->n);
    values[0] = NAN;
    engine_upload(m, last->leaf.data, values, last->n);
    free(values);
    for (int way = 0; way < 2; way++) {
        d.temperature = way;
        run(m, &d, g, &x);
        for (int b = 0; b < ROWS; b++) assert_true(g[b].n == 0 && g[b].end == GENERATION_BROKEN);
    }
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(teacher_forcing), cmocka_unit_test(drawing), cmocka_unit_test(numbers),
                                       cmocka_unit_test(ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
