/* test_memory.c - memory footprints: Table 1 and the memory column of Table 2 by hand, counts that do not fit, shapes of public
 * models, and the state that is really carried against every architecture's own count of it, to the byte. */
#include "harness/footprint.h"
#include "harness/report_memory.h"
#include "harness/shapes.h"
#include "harness/stream.h"
#include "harness/task.h"
#include "support/folder.h"
#include "support/variants.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

extern const struct task task_memory;

/* ---- counting ---- */

static void counts_do_not_wrap(void **state) {
    (void)state;
    const int64_t most = INT64_MAX - 1, half = INT64_C(1) << 62;
    assert_true(count_times(most, 1) == most && count_times(1, most) == most && count_plus(most, 0) == most);
    assert_true(count_plus(most, 1) == COUNT_OVERFLOW && count_plus(half, half) == COUNT_OVERFLOW);
    assert_true(count_times(half, 2) == COUNT_OVERFLOW && count_times(half - 1, 2) == most);
    assert_true(count_times(half, half) == COUNT_OVERFLOW); /* 2^124: 0 when it wraps */
    assert_true(count_times(COUNT_OVERFLOW, 0) == COUNT_OVERFLOW && count_plus(COUNT_OVERFLOW, 0) == COUNT_OVERFLOW);
    assert_true(count_times(0, most) == 0);
}

static void lists_of_contexts(void **state) {
    (void)state;
    int64_t x[3];
    assert_int_equal(parse_rising("2K, 3000,1M", x, 3, "contexts", &e), 3);
    assert_true(x[0] == 2048 && x[1] == 3000 && x[2] == 1048576);
    static const char *const bad[][2] = {{"2K,2K", "'2K' is no number of a rising list"},
                                         {"-1", "'-1'"},
                                         {"0", "'0'"},
                                         {"", "empty"},
                                         {"1,2,3,4", "more than 3 numbers"},
                                         {"2,x", "'x'"},
                                         {"9999999999999M", "'9999999999999M' is beyond 2^63"},
                                         {"9223372036854775808", "'9223372036854775808' is beyond 2^63"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse_rising(bad[i][0], x, 3, "contexts", &e), -1);
        assert_says(bad[i][1]);
    }
}

/* ---- Table 1 ---- */

static struct model_config rows[FOOTPRINT_ROWS];
static int row_count;

static void rows_of(const struct model_config *shape) { row_count = footprint_rows(rows, shape); }

static const struct model_config *row_of(const char *model) {
    for (int i = 0; i < row_count; i++)
        if (strcmp(rows[i].arch->footprint(&rows[i])->model, model) == 0) return &rows[i];
    fail_msg("Table 1 has no row '%s'", model);
    return NULL;
}

static int64_t elements(const char *model, int64_t context) {
    const struct model_config *c = row_of(model);
    return c->arch->footprint(c)->elements(c, context);
}

static int64_t tokens(const char *model, int64_t context) {
    const struct model_config *c = row_of(model);
    return c->arch->footprint(c)->tokens(c, context);
}

static struct model_config preset(const char *name) {
    struct shape x;
    if (shape_find(&x, name, &e)) fail_msg("%s", e.text);
    return x.config;
}

static void the_papers_sizes(void **state) {
    (void)state;
    struct model_config paper = preset("paper");
    rows_of(&paper);
    assert_true(elements("Transformer-XL", 65000) == 50331648);
    assert_true(elements("Memorizing Transformers", 65000) == 183451648);
    assert_true(elements("RMT", 65000) == 2457600);
    assert_true(elements("Infini-Transformers", 65000) == 1585152);
    assert_true(elements("Transformer (KV cache)", 65000) == 1597440000);   /* 2 x 12 x 8 x 128 x 65,000 */
    assert_true(elements("Compressive Transformer", 65000) == 50331648);    /* 1024 x (2048 + 2048) x 12 */
    assert_true(elements("AutoCompressors", 65000) == 1024 * 50 * 32 * 12); /* the 32nd segment is not full */
    assert_true(elements("AutoCompressors", 32 * 2048) == 1024 * 50 * 32 * 12);
    assert_true(elements("AutoCompressors", 32 * 2048 + 1) == 1024 * 50 * 33 * 12);
    assert_true(elements("Unigram (null)", 65000) == 0);
    assert_true(tokens("Transformer-XL", 65000) == 2048 * 12);
    assert_true(tokens("Compressive Transformer", 65000) == (2048 * 2 + 2048) * 12);
    assert_true(tokens("Infini-Transformers", 65000) == 65000 && tokens("Memorizing Transformers", 65000) == 65000);
    static const struct {
        const char *model;
        double ratio;
    } exact[] = {{"Transformer-XL", 183451648.0 / 50331648},
                 {"RMT", 183451648.0 / 2457600},
                 {"Infini-Transformers", 183451648.0 / 1585152},
                 {"Memorizing Transformers", 1}};
    for (size_t i = 0; i < 4; i++) assert_true(footprint_ratio(row_of(exact[i].model), 65000) == exact[i].ratio);
    assert_true(isnan(footprint_ratio(row_of("Unigram (null)"), 65000)));
}

/* The paper prints millions and ratios of them: ours, rounded in its way, are those. And its formulas are ours, letter by letter.
 */
static void the_papers_table(void **state) {
    (void)state;
    struct paper_memory p = {.count = 0};
    struct model_config paper = preset("paper");
    double base = NAN;
    int numbers = 0;
    rows_of(&paper);
    if (paper_memory_read(&p, &e)) fail_msg("%s", e.text);
    assert_int_equal(p.count, 6);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < p.count; i++) {
            const struct model_config *c = row_of(p.field[i][P_MODEL]);
            const struct footprint *f = c->arch->footprint(c);
            assert_string_equal(f->length, p.field[i][P_LENGTH]);
            assert_string_equal(f->update, p.field[i][P_UPDATE]);
            assert_string_equal(f->retrieval, p.field[i][P_RETRIEVAL]);
            if (!*p.field[i][P_NOTE]) assert_string_equal(f->formula, p.field[i][P_FOOTPRINT]);
            if (!p.context[i]) continue;
            char *end;
            double printed = strtod(p.field[i][P_SIZE], &end), step = strchr(p.field[i][P_SIZE], '.') ? 0.1 : 1;
            assert_string_equal(end, "M");
            assert_true(fabs((double)f->elements(c, p.context[i]) / 1e6 - printed) <= step / 2);
            double ratio = strtod(p.field[i][P_RATIO], NULL), digit = strchr(p.field[i][P_RATIO], '.') ? 0.1 : 1;
            if (ratio == 1) base = printed;
            if (pass) assert_true(fabs(base / printed - ratio) <= digit / 2);
            numbers += pass;
        }
    assert_int_equal(numbers, 4);
    paper_memory_free(&p);
}

static void a_model_of_500_billion(void **state) {
    (void)state;
    struct model_config c = preset("paper");
    c.layers = 96, c.d = 16384, c.heads = c.kv_heads = 128, c.e = 128;
    rows_of(&c);
    int64_t bytes = count_times(elements("Transformer (KV cache)", 20000), 2);
    assert_true(bytes == INT64_C(125829120000)); /* 2 x 16384 x 20,000 x 96 x 2 */
    assert_true(fabs((double)bytes / 1e9 - 126) < 0.5);
}

/* The product is the true one, or it is said that it does not fit: never something else. */
static void sizes_that_do_not_fit(void **state) {
    (void)state;
    struct model_config c = preset("paper");
    c.layers = c.heads = c.kv_heads = c.e = c.d = c.segment = 1;
    rows_of(&c);
    int64_t half = INT64_C(1) << 62;
    assert_true(elements("Transformer (KV cache)", half - 1) == INT64_MAX - 1);
    assert_true(elements("Transformer (KV cache)", half) == COUNT_OVERFLOW);
    assert_true(elements("Memorizing Transformers", half - 2) == INT64_MAX - 1);
    assert_true(elements("Memorizing Transformers", half - 1) == COUNT_OVERFLOW);
    struct rng r;
    rng_seed(&r, 1, 1);
    int fits = 0, overflows = 0;
    for (int i = 0; i < 4000; i++) {
        c.layers = 1 + rng_below(&r, INT64_C(1) << rng_below(&r, 30)),
        c.kv_heads = 1 + rng_below(&r, INT64_C(1) << rng_below(&r, 20));
        c.heads = c.kv_heads, c.e = 1 + rng_below(&r, INT64_C(1) << rng_below(&r, 20)), c.d = 1 + rng_below(&r, INT64_C(1) << 20);
        c.segment = 1 + rng_below(&r, INT64_C(1) << rng_below(&r, 20));
        int64_t t = 1 + rng_below(&r, INT64_C(1) << rng_below(&r, 62));
        rows_of(&c);
        long double h = (long double)c.heads, n = (long double)c.segment, l = (long double)c.layers, x = (long double)c.e;
        const struct {
            const char *model;
            long double size;
        } want[] = {{"Transformer (KV cache)", 2 * l * h * x * (long double)t},
                    {"Transformer-XL", 2 * x * h * n * l},
                    {"Memorizing Transformers", 2 * x * h * ((long double)t + n * l)},
                    {"Infini-Transformers", x * (x + 1) * h * l},
                    {"RMT", (long double)c.d * ceill(n * 100 / 2048) * l * 2},
                    {"AutoCompressors", (long double)c.d * ceill(n * 50 / 2048) * l * ceill((long double)t / n)}};
        for (int k = 0; k < 6; k++) {
            int64_t got = elements(want[k].model, t);
            bool fit = want[k].size < 0x1p63L * (1 - 1e-15L);
            if (fabsl(want[k].size / 0x1p63L - 1) < 1e-15L) continue; /* decided by a digit that long double does not have */
            if (fit)
                assert_true(fabsl((long double)got - want[k].size) <= want[k].size * 1e-17L);
            else
                assert_true(got == COUNT_OVERFLOW);
            fits += fit, overflows += !fit;
        }
    }
    assert_true(fits > 1000 && overflows > 1000);
}

/* ---- shapes ---- */

static void shapes_of_public_models(void **state) {
    (void)state;
    struct shape *x = xcalloc(SHAPE_LIMIT, sizeof *x), one;
    int n = shapes_read(x, &e), with_parameters = 0;
    if (n < 0) fail_msg("%s", e.text);
    for (int i = 0; i < n; i++) {
        const struct model_config *c = &x[i].config;
        assert_int_equal(shape_check(c, x[i].name, &e), 0);
        assert_true(x[i].source[0] && x[i].context > 0 && x[i].bytes > 0);
        if (!x[i].parameters || x[i].preset) continue;
        /* queries, keys, values and output of all layers are less than the parameters; the rest is some times as many */
        double mixers = 2.0 * (double)c->layers * (double)c->d * (double)c->e * (double)(c->heads + c->kv_heads);
        assert_true(mixers < (double)x[i].parameters && (double)x[i].parameters < 20 * mixers);
        with_parameters++;
    }
    assert_true(with_parameters >= 14);
    free(x);
    assert_int_equal(shape_find(&one, "llama-3-8b", &e), 0);
    rows_of(&one.config);
    assert_true(count_times(elements("Transformer (KV cache)", 1048576), one.bytes) == INT64_C(137438953472)); /* 128 KiB a token */
    assert_int_equal(shape_find(&one, "llama3-8b", &e), -1);
    assert_says("unknown preset 'llama3-8b'; did you mean 'llama-3-8b'");
    struct model_config c = preset("paper");
    c.heads = 6, c.kv_heads = 4;
    assert_int_equal(shape_check(&c, "here", &e), -1);
    assert_says("here: heads = 6 is not a multiple of kv_heads = 4");
    c.heads = 0;
    assert_int_equal(shape_check(&c, "here", &e), -1);
    assert_says("here: heads = 0");
}

/* ---- what is really carried ---- */

#define POISON 12345.678

/* Elements of the state's storage that no longer hold what was put there before. */
static int64_t written(const struct state *s) {
    int64_t n = 0;
    for (int i = 0; i < s->model->state_count; i++)
        for (int64_t j = 0; j < s->capacity[i] * s->model->states[i].width; j++) n += s->data[i][j] != (real)POISON;
    return n;
}

static int check_text(const struct variant *v, struct model *m, int64_t context, int64_t segments) {
    const struct model_config *c = &m->config;
    struct stream *s = stream_open(m, 1, segments, &e);
    if (!s) fail_msg("%s", e.text);
    struct state *held = (struct state *)stream_state(s);
    int32_t *text = xcalloc((size_t)context, sizeof *text);
    int bad = 0;
    for (int i = 0; i < m->state_count; i++)
        for (int64_t j = 0; j < held->capacity[i] * m->states[i].width; j++) held->data[i][j] = (real)POISON;
    for (int64_t i = 0; i < context; i++) text[i] = (int32_t)(1 + i * i % (c->vocab - 1));
    int64_t most = context % c->segment ? 5 : segments * c->segment; /* in uneven pieces, or in whole segments */
    for (int64_t at = 0, n; at < context; at += n) {
        n = context - at < most ? context - at : most;
        const int32_t *piece = text + at;
        stream_score(s, &piece, &n, NULL);
    }
    int64_t live = state_live(held, 0), analytic = model_carried(c, context), whole = context / c->segment * c->segment;
    size_t counters = 8 + 4 + 4 + 4 + (size_t)(context % c->segment) * 4;
    if (live != analytic)
        bad++, fprintf(stderr, "%s: %d tokens: %d carried, %d by its own count\n", v->name, (int)context, (int)live, (int)analytic);
    if (stream_counter_bytes(s, 0) != counters) bad++, fprintf(stderr, "%s: %d tokens: counters\n", v->name, (int)context);
    /* As long as no ring has to forget and no open segment lies in its spare rows, what was written is what is carried. */
    bool full = false;
    for (int i = 0; i < m->state_count; i++) full = full || (m->states[i].kind == STATE_RING && whole > m->states[i].rows);
    for (int i = 0; i < m->state_count; i++) full = full || m->states[i].every; /* its empty part is written as 0 */
    if (!full && whole == context && written(held) != live)
        bad++, fprintf(stderr, "%s: %d tokens: %d elements written, %d carried\n", v->name, (int)context, (int)written(held),
                       (int)live);
    /* A store that fills from the start of the document: as much as it counts is there, the rest is 0. */
    for (int i = 0; i < m->state_count; i++) {
        int64_t there = 0, width = m->states[i].width, counted = whole / c->segment * m->states[i].step;
        if (!m->states[i].every || m->states[i].after || !whole) continue;
        for (int64_t j = 0; j < width; j++) there += held->data[i][j] != 0;
        if (there != (counted < width ? counted : width))
            bad++, fprintf(stderr, "%s: %d tokens: %d elements in %s\n", v->name, (int)context, (int)there, m->states[i].name);
    }
    stream_reset(s, -1);
    if (state_live(held, 0) != 0) bad++, fprintf(stderr, "%s: something is carried after a reset\n", v->name);
    stream_close(s);
    free(text);
    return bad;
}

static const char *const shapes[] = {"",
                                     "segment=3",
                                     "segment=1",
                                     "heads=4 kv_heads=2 head_dim=4",
                                     "heads=4 kv_heads=1 head_dim=6 d_model=20",
                                     "layers=3 segment=8"};
static const int64_t contexts[] = {1, 3, 4, 7, 8, 12, 13, 21, 33, 48};

/* Memorizing Transformers do not share keys between heads, a recurrent layer has none; a compressed row stands for 2 or 4 tokens.
 */
static struct model *shaped(const struct variant *v, const char *shape) {
    bool heads = strcmp(v->arch, "memorizing") == 0 || strcmp(v->arch, "rnn") == 0, pairs = strcmp(v->arch, "compressive") == 0;
    if ((heads && strstr(shape, "kv_heads")) || (pairs && (strstr(shape, "segment=3") || strstr(shape, "segment=1")))) return NULL;
    return variant_model(v, shape);
}

static void carried_is_what_the_architecture_says(void **state) {
    (void)state;
    int bad = 0, built = 0;
    for (const struct variant *v = variants; v->name; v++)
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
            struct model *m = shaped(v, shapes[k]);
            if (!m) continue;
            built++;
            for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++)
                for (int segments = 1; segments < 4; segments += 2) bad += check_text(v, m, contexts[i], segments);
            model_free(m);
        }
    assert_int_equal(bad, 0);
    assert_true(built > 70);
}

/* Once every ring is full: the formula is what is carried, Transformer-XL's twice that where heads x head size is the width. */
static void formula_and_carried(void **state) {
    (void)state;
    for (const struct variant *v = variants; v->name; v++)
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
            struct model *m = shaped(v, shapes[k]);
            if (!m) continue;
            const struct model_config *c = &m->config;
            bool bank = strcmp(v->arch, "memorizing") == 0;
            int64_t context = bank ? options_int(&c->options, "memory") / c->segment * c->segment : 480;
            int64_t formula = c->arch->footprint(c)->elements(c, context), carried = model_carried(c, context);
            if (strcmp(v->arch, "transformer") == 0 && strcmp(c->arch->footprint(c)->model, "Transformer (KV cache)") == 0)
                assert_true(formula == 2 * c->layers * c->kv_heads * c->e * context); /* carried ends at the trained length */
            else if (strcmp(v->arch, "transformer_xl") == 0)
                assert_true(formula * c->d == carried * 2 * c->kv_heads * c->e);
            else if (strcmp(v->arch, "rmt") == 0 && carried) /* the table counts every layer, twice; it enters at the first */
                assert_true(formula == carried * 2 * c->layers);
            else if (strcmp(v->arch, "autocompressor") == 0) /* every layer, and all segments where `kept` are carried */
                assert_true(formula * options_int(&c->options, "kept") ==
                            carried * c->layers * ((context + c->segment - 1) / c->segment));
            else if (bank && context < options_int(&c->options, "cache"))
                assert_true(formula > carried); /* the cache is not full yet */
            else
                assert_true(formula == carried);
            model_free(m);
        }
}

/* A query of the first segment sees its own segment and no memory of it; one of the second, what the first left. */
static void attended_by_segment(void **state) {
    (void)state;
    static const char *const names[] = {"transformer", "transformer_xl", "memorizing", "infini", "compressive", "autocompressor"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model_config c = preset("micro");
        c.arch = baseline_find(names[i], NULL);
        options_init(&c.options, c.arch->options);
        int64_t own = footprint_kv(&c, c.segment), second = c.arch->attended(&c, 2 * c.segment);
        assert_true(c.arch->attended(&c, c.segment) == own);
        assert_true(second > own);
        if (strcmp(names[i], "memorizing") == 0) assert_true(second == 2 * own + own / c.layers); /* one layer has the bank */
        if (strcmp(names[i], "infini") == 0) assert_true(second == own + c.arch->footprint(&c)->elements(&c, 2 * c.segment));
    }
}

/* By hand at micro with the options as they come: 4 layers, 4 heads of 32, segments of 128, so a position is 1,024 elements. */
static void attended_by_hand(void **state) {
    (void)state;
    enum {
        ROW = 2 * 4 * 4 * 32,
        BANK = ROW / 4,
        MEMORY = 4 * 4 * 32 * 33,
        DELTA = 4 * 4 * 32 * 32,
        CONV = 4 * 3 * 3 * 128,
        TIMES = 4
    };
    static const int64_t after[TIMES] = {100, 128, 256, 1048576};
    static const struct {
        const char *arch, *key, *value;
        int64_t elements[TIMES];
    } want[] = {
        {"null", NULL, NULL, {0, 0, 0, 0}},
        {"transformer", NULL, NULL, {100 * ROW, 128 * ROW, 256 * ROW, 512 * ROW}}, /* the trained length */
        {"transformer", "window", "128", {100 * ROW, 128 * ROW, 128 * ROW, 128 * ROW}},
        {"transformer_xl", NULL, NULL, {100 * ROW, 128 * ROW, 256 * ROW, 256 * ROW}},
        {"memorizing", NULL, NULL, {100 * ROW, 128 * ROW, 256 * ROW + 128 * BANK, 256 * ROW + 8192 * BANK}},
        {"infini", NULL, NULL, {100 * ROW, 128 * ROW, 128 * ROW + MEMORY, 128 * ROW + MEMORY}},
        {"infini", "update", "none", {100 * ROW, 128 * ROW, 128 * ROW, 128 * ROW}},
        {"compressive", NULL, NULL, {100 * ROW, 128 * ROW, 256 * ROW, 384 * ROW}},    /* a cache of 128 and 128 compressed rows */
        {"rmt", NULL, NULL, {107 * ROW, 135 * ROW, 135 * ROW, 135 * ROW}},            /* 128 x 100 / 2048 memory rows, rounded up */
        {"autocompressor", NULL, NULL, {100 * ROW, 128 * ROW, 132 * ROW, 192 * ROW}}, /* 4 summaries a segment, 64 at most */
        {"rnn", NULL, NULL, {4 * 2 * 128, 4 * 2 * 128, 4 * 2 * 128, 4 * 2 * 128}},    /* h and c of every layer */
        {"linear_attention", NULL, NULL, {MEMORY, MEMORY, MEMORY, MEMORY}},
        {"delta_rule", NULL, NULL, {DELTA, DELTA, DELTA, DELTA}},
        {"delta_rule", "conv_size", "4", {DELTA + CONV, DELTA + CONV, DELTA + CONV, DELTA + CONV}}, /* 3 rows of q, k, v */
    };
    const int count = sizeof want / sizeof *want;
    for (int i = 0; i < count; i++) {
        struct model_config c = preset("micro");
        c.arch = baseline_find(want[i].arch, NULL);
        options_init(&c.options, c.arch->options);
        if (want[i].key) assert_int_equal(options_set(&c.options, want[i].key, want[i].value, "test", &e), 0);
        for (int k = 0; k < TIMES; k++)
            if (c.arch->attended(&c, after[k]) != want[i].elements[k])
                fail_msg("%s attends to %lld elements after %lld tokens, not %lld", want[i].arch,
                         (long long)c.arch->attended(&c, after[k]), (long long)after[k], (long long)want[i].elements[k]);
    }
    for (int i = 0; baselines[i]; i++) {
        bool known = false;
        for (int k = 0; k < count; k++) known = known || strcmp(want[k].arch, baselines[i]->name) == 0;
        if (!known) fail_msg("what %s attends to is not counted by hand", baselines[i]->name);
    }
}

/* An architecture without a row, or that no variant tests, is noticed here. */
static void every_architecture_has_its_row(void **state) {
    (void)state;
    for (int i = 0; baselines[i]; i++) {
        bool known = false;
        for (const struct variant *v = variants; v->name; v++) known = known || strcmp(v->arch, baselines[i]->name) == 0;
        if (!known || !baselines[i]->footprint) fail_msg("architecture %s has no footprint or no variant", baselines[i]->name);
        struct model_config c = preset("micro");
        c.arch = baselines[i];
        options_init(&c.options, c.arch->options);
        const struct footprint *f = c.arch->footprint(&c);
        assert_true(f && *f->model && *f->formula && *f->length && *f->update && *f->retrieval && f->elements && f->tokens);
    }
    struct model_config c = preset("micro");
    rows_of(&c);
    for (int i = 0; i < row_count; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(rows[i].arch->footprint(&rows[i])->model, rows[j].arch->footprint(&rows[j])->model);
}

/* ---- the task ---- */

static double value_of(const struct result_row *r, int64_t n, const char *condition, const char *metric, int64_t context) {
    for (int64_t i = 0; i < n; i++)
        if (strcmp(r[i].condition, condition) == 0 && strcmp(r[i].metric, metric) == 0 && r[i].context == context)
            return r[i].value;
    return NAN;
}

static void the_task(void **state) {
    (void)state;
    struct model *m = engine_model("infini", "update=delta", "segment=16");
    struct options o;
    options_init(&o, task_memory.options);
    assert_int_equal(options_set(&o, "contexts", "10, 100, 1000, 1M", "test", &e), 0);
    assert_int_equal(options_set(&o, "stream", "1000", "test", &e), 0);
    assert_int_equal(options_set(&o, "resident", "yes", "test", &e), 0);
    assert_int_equal(options_set(&o, "shapes", "paper, llama-3-8b", "test", &e), 0);
    char *place = in_folder("task");
    struct results *r = results_open(place, &e);
    struct task_run run = {.model = m, .tokenizer = tokenizer_bytes(), .options = &o, .seed = 1};
    run.out = cell_begin(r, "00000000000000cc", "run", "x", "row", "infini", "", 1, "memory", task_memory.version);
    if (task_memory.run(&run, &e)) fail_msg("%s", e.text);
    assert_int_equal(cell_commit(run.out, &e), 0);
    results_close(r);
    int64_t n;
    struct result_row *x = results_read(place, &n, &e);
    const int64_t all = 2 * 2 * 32 * 33; /* nano: 2 layers, 2 heads of 32 */
    for (int i = 0; i < 3; i++) {
        int64_t context = (int64_t[]){10, 100, 1000}[i];
        assert_true(value_of(x, n, "", "carried_elements", context) == (double)(i ? all : 0)); /* 10 tokens: no segment is full */
        assert_true(value_of(x, n, "", "carried_bytes", context) == (double)(i ? all : 0) * 4);
        assert_true(value_of(x, n, "", "counter_bytes", context) == (double)(20 + 4 * (context % 16)));
        assert_true(value_of(x, n, "", "formula_elements", context) == (double)all);
        assert_true(value_of(x, n, "", "arena_bytes", context) >= (double)all * 4);
        assert_true(value_of(x, n, "", "attended_elements", context) ==
                    (double)((context < 16 ? 0 : all) + 2 * 2 * 2 * 32 * (context < 16 ? context : 16)));
        assert_true(value_of(x, n, "", "tokens_per_second", context) > 0);
        assert_true(value_of(x, n, "", "resident_bytes", context) > 1e6);
        assert_true(value_of(x, n, "", "resident_growth_bytes", context) < 16e6);
        double peak = value_of(x, n, "", "resident_peak_bytes", context);
        assert_true(isnan(peak) || peak >= value_of(x, n, "", "resident_bytes", context) - 1e6);
    }
    assert_true(isnan(value_of(x, n, "", "carried_elements", 1048576)));
    assert_true(value_of(x, n, "", "formula_elements", 1048576) == (double)all);
    assert_true(fabs(value_of(x, n, "", "ratio_to_memorizing", 1000) - 2 * 2 * 32 * (1000.0 + 2 * 16) / (double)all) < 1e-6);
    assert_true(value_of(x, n, "shape=paper", "formula_elements", 1000) == 1585152);
    assert_true(value_of(x, n, "shape=llama-3-8b", "formula_bytes", 1000) == 128.0 * 129 * 8 * 32 * 2);
    assert_true(value_of(x, n, "shape=llama-3-8b", "parameter_bytes", 0) == 2 * 8030261248.0);
    free(x);
    free(place);
    /* what cannot be done is said before anything is read */
    uint64_t hash, same;
    assert_int_equal(task_memory.data_hash(&o, run.tokenizer, &hash, &e), 0);
    assert_int_equal(options_set(&o, "shapes", "paper", "test", &e), 0);
    assert_int_equal(task_memory.data_hash(&o, run.tokenizer, &same, &e), 0);
    assert_true(hash != same);
    assert_int_equal(options_set(&o, "shapes", "paper, llama", "test", &e), 0);
    assert_int_equal(task_memory.run(&run, &e), -1);
    assert_says("unknown preset 'llama'");
    assert_int_equal(options_set(&o, "shapes", "", "test", &e), 0);
    assert_int_equal(options_set(&o, "contexts", "2K, 1K", "test", &e), 0);
    assert_int_equal(task_memory.run(&run, &e), -1);
    assert_says("rising");
    model_free(m);
}

static void the_peak_can_be_forgotten(void **state) {
    (void)state;
    size_t size = 96 << 20;
    /* not malloc: a sanitizer keeps what is freed */
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    memset(p, 1, size);
    assert_true(p[size / 2] == 1);
    uint64_t high = peak_resident();
    assert_int_equal(munmap(p, size), 0);
    assert_true(high >= size);
    if (!peak_forget()) skip(); /* not every kernel lets a process do it */
    assert_true(peak_resident() < high - size / 2 && peak_resident() >= resident() - (4 << 20));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_do_not_wrap),
        cmocka_unit_test(lists_of_contexts),
        cmocka_unit_test(the_papers_sizes),
        cmocka_unit_test(the_papers_table),
        cmocka_unit_test(a_model_of_500_billion),
        cmocka_unit_test(sizes_that_do_not_fit),
        cmocka_unit_test(shapes_of_public_models),
        cmocka_unit_test(carried_is_what_the_architecture_says),
        cmocka_unit_test(formula_and_carried),
        cmocka_unit_test(attended_by_segment),
        cmocka_unit_test(attended_by_hand),
        cmocka_unit_test(every_architecture_has_its_row),
        cmocka_unit_test(the_task),
        cmocka_unit_test(the_peak_can_be_forgotten),
    };
    return cmocka_run_group_tests_name("memory", tests, folder_setup, folder_teardown);
}
