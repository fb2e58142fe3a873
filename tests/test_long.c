/* test_long.c - documents longer than anybody reads: counters beyond 2^30, 2^32 and 2^40 tokens, and memories that grow until they
 * are no numbers. Length is made up (stream_pretend) and growth accelerated (large keys); everything else is the engine as it is.
 */
#include "support/folder.h"
#include "support/variants.h"

#include "harness/stream.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCAB 11
#define TOKENS 480
static int32_t text[TOKENS];

static int make_text(void **state) {
    struct rng r;
    rng_seed(&r, 5, 0);
    for (int i = 0; i < TOKENS; i++) text[i] = (int32_t)(1 + rng_below(&r, VOCAB - 1));
    return folder_setup(state);
}

static struct stream *opened(struct model *m, int64_t segments) {
    struct stream *s = stream_open(m, 1, segments, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

static void read_text(struct stream *s, int64_t n, float *nll) {
    stream_score(s, (const int32_t *const[]){text}, &n, nll ? (float *const[]){nll} : NULL);
}

static void jump_on(struct stream *s, int64_t tokens) {
    int64_t round = stream_state(s)->period * 4; /* of segments of 4, too */
    stream_pretend(s, 0, tokens / round * round);
}

/* After 2^30 - a little, and after 2^40 tokens more, the same text scores the same bits; an architecture that cannot count so far
 * says so. */
static void test_counters(void **state) {
    (void)state;
    int refused = 0;
    for (const struct variant *v = variants; v->name; v++) {
        struct model *m = variant_model(v, "");
        struct stream *s = opened(m, 2), *far = opened(m, 2);
        float near[TOKENS], there[TOKENS];
        read_text(s, TOKENS, NULL); /* rings and banks are full */
        read_text(far, TOKENS, NULL);
        jump_on(far, SINCE_MOST - TOKENS - 100);
        for (int jump = 0; jump < 2; jump++) {
            read_text(s, TOKENS, near);
            read_text(far, TOKENS, there);
            if (stream_trouble(m, &e)) break;
            if (memcmp(near, there, sizeof near))
                fail_msg("%s: other scores after %lld tokens", v->name, (long long)stream_position(far, 0));
            assert_true(stream_state(far)->since[0] <= SINCE_MOST && stream_state(far)->head[0] <= SINCE_MOST);
            jump_on(far, (int64_t)1 << 40);
        }
        if (*m->trouble.text) {
            assert_says("rotates by position in the document and counts to 1073741824");
            assert_true(m->document_positions && isnan(there[TOKENS - 1]));
            refused++;
        } else {
            assert_true(stream_position(far, 0) > (int64_t)1 << 40);
            assert_int_equal(stream_writes(far, 0), stream_position(far, 0) / 4);
        }
        stream_close(s);
        stream_close(far);
        model_free(m);
    }
    assert_true(refused > 0);
}

/* Keys of one head of layer 1 grow without measure. */
static struct model *growing(const char *arch, const char *options) {
    struct model *m = engine_model(arch, options, VARIANT_SHAPE);
    engine_fill(m);
    const struct param *p = m->layer[1].wk;
    double *k = engine_download(m, p->leaf.data, p->n);
    for (int64_t i = p->n / 2; i < p->n; i++) k[i] *= 1e37;
    engine_upload(m, p->leaf.data, k, p->n);
    free(k);
    return m;
}

/* When the read overflows first: at the token that has no number, with the matrix or normaliser that has grown. When the state does
 * first: at the write. Either way what is said is what is found by hand, a segment at a time. */
static void test_growth(void **state) {
    (void)state;
    static const struct {
        const char *arch, *options;
        bool scored; /* nobody asks for scores: the state alone tells */
    } kinds[] = {{"infini", "update=linear", true},
                 {"infini", "update=linear", false},
                 {"infini", "update=delta", false},
                 {"linear_attention", "", true},
                 {"linear_attention", "", false}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct model *m = growing(kinds[i].arch, kinds[i].options);
        struct stream *s = opened(m, 1);
        int write = -1, score = -1;
        float nll[TOKENS];
        for (int at = 0; at < TOKENS && write < 0 && score < 0; at += 4) {
            stream_score(s, (const int32_t *const[]){text + at}, (const int64_t[]){4},
                         kinds[i].scored ? (float *const[]){nll + at} : NULL);
            for (int x = 0; x < m->state_count; x++) { /* [2 heads, ...]: head 1 of layer 1 grows, the rest is sound */
                const real *z = stream_state(s)->data[x];
                for (int64_t j = 0, width = m->states[x].width; j < width; j++)
                    if (m->states[x].layer == 1 && j >= width / 2)
                        write = fabsf((float)z[j]) < INFINITY ? write : at + 4;
                    else
                        assert_true(fabsf((float)z[j]) < 1e6f);
            }
            for (int j = at + 3; kinds[i].scored && j >= at; j--)
                if (!(fabsf(nll[j]) < INFINITY)) score = j + 1;
        }
        if ((kinds[i].scored ? score : write) < 8)
            fail_msg("%s %s: write %d, score %d", kinds[i].arch, kinds[i].options, write, score);
        stream_close(s);
        model_free(m);
        m = growing(kinds[i].arch, kinds[i].options);
        s = opened(m, 3);
        read_text(s, TOKENS, kinds[i].scored ? nll : NULL);
        assert_int_equal(stream_trouble(m, &e), -1);
        char where[160];
        if (score > 0)
            snprintf(where, sizeof where, "no number for token %d of a document: ", score);
        else
            snprintf(where, sizeof where, "is not finite after token %d of the document (memory write %d, tokens %d to %d)", write,
                     write / 4, write - 3, write);
        assert_says(where);
        assert_says(" of layer 1, head 1 (row 0)");
        assert_int_equal(stream_position(s, 0), TOKENS);
        for (int j = 0; kinds[i].scored && j < TOKENS; j++)
            assert_true(j + 1 < score ? fabsf(nll[j]) < INFINITY : j + 1 < score + 4 || isnan(nll[j]));
        float next[VOCAB];
        stream_next(s, next);
        assert_true(isnan(next[0]));
        stream_close(s);
        model_free(m);
    }
}

static void test_broken_model(void **state) {
    (void)state;
    struct model *m = engine_model("infini", "", VARIANT_SHAPE);
    engine_fill(m);
    double *w = engine_download(m, m->layer[1].w_up->leaf.data, m->layer[1].w_up->n);
    w[5] = NAN;
    engine_upload(m, m->layer[1].w_up->leaf.data, w, m->layer[1].w_up->n);
    free(w);
    struct stream *s = opened(m, 2);
    float nll[8];
    assert_int_equal(stream_trouble(m, &e), 0);
    read_text(s, 8, nll);
    assert_int_equal(stream_trouble(m, &e), -1);
    assert_says("no number for token 1 of a document: parameter layers.1.w_up[5] is not finite");
    stream_close(s);
    model_free(m);
}

/* A normaliser that has overflowed reads as 0: the loss stays a number and only the state tells. */
static void test_training(void **state) {
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        struct model *m = engine_model("infini", "update=linear", VARIANT_SHAPE);
        engine_fill(m);
        struct trainer *t = engine_trainer(m, (enum step_mode)mode, true, 1e-3, 50);
        struct step_result r;
        int index = layer_state(m, 0, "memory_norm"), step = 0;
        int64_t n = m->states[index].width * 2;
        assert_int_equal(trainer_step(t, &r, &e), 0);
        for (int failed = 0; !failed && step < 20; step++) {
            double *z = engine_download(m, t->state->data[index], n);
            for (int64_t i = 0; i < n; i++)
                if (i % 16 == 8) z[i] = INFINITY; /* head 1 of each row */
            engine_upload(m, t->state->data[index], z, n);
            free(z);
            failed = trainer_step(t, &r, &e) != 0;
        }
        assert_says("the normaliser z of layer 0, head 1 (row ");
        assert_says("is not finite after step");
        assert_true(step < 20);
        engine_trainer_free(t);
        model_free(m);
    }
}

/* States of the same name: matrices of a layer have heads, memory rows before the first layer have none. */
static void test_names_of_states(void **state) {
    (void)state;
    static const struct {
        const char *arch, *options, *name, *says;
    } kinds[] = {{"infini", "update=linear", "layers.1.memory", "the memory M of layer 1, head 1 (row 1)"},
                 {"delta_rule", "", "layers.0.fast_weight", "the fast weights S of layer 0, head 1 (row 1)"},
                 {"rmt", "memory_tokens=2", "memory", "the carried state 'memory' (row 1)"},
                 {"rnn", "", "layers.1.c", "the carried state 'layers.1.c' (row 1)"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct model *m = engine_model(kinds[i].arch, kinds[i].options, VARIANT_SHAPE "equal_parameters=no");
        struct state *s = state_create(m, 2, 1, &e);
        char name[160] = "";
        int at = 0;
        assert_non_null(s);
        while (strcmp(m->states[at].name, kinds[i].name)) at++;
        assert_false(state_bad(s, -1, name, sizeof name));
        double *x = engine_download(m, s->data[at], 2 * m->states[at].width);
        x[2 * m->states[at].width - 1] = INFINITY;
        engine_upload(m, s->data[at], x, 2 * m->states[at].width);
        assert_true(state_bad(s, -1, name, sizeof name));
        assert_string_equal(name, kinds[i].says);
        free(x);
        state_free(s);
        model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters),     cmocka_unit_test(test_names_of_states), cmocka_unit_test(test_growth),
        cmocka_unit_test(test_broken_model), cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests_name("long documents", tests, make_text, folder_teardown);
}
