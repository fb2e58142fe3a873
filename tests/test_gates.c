/* test_gates.c - single heads knocked out, and the task gates: kinds of heads by hand, masks against the knock-out of all heads, a
 * model in which one head carries everything, broken numbers, what cannot be, and the report of made-up results. */
#include "harness/csv_io.h"
#include "harness/report.h"
#include "harness/results_files.h"
#include "harness/task.h"
#include "support/engine.h"
#include "support/folder.h"
#include "support/task_runs.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* after the engine: it has a macro fail() */

#define SHAPE "layers=2 d_model=32 heads=2 kv_heads=2 head_dim=16 ffn=40 segment=16 vocab=256 tied=no"
enum { LAYERS = 2, HEADS = 2, ALL = LAYERS * HEADS, TOKENS = 100 };

static const struct {
    const char *arch, *options;
} kinds[] = {{"infini", "update=linear"},
             {"infini", "update=delta first_segment=bypass"},
             {"memorizing", "memory=64 topk=4"},
             {"infini", "update=none"},
             {"transformer", "window=0"}};
enum { LINEAR, DELTA, MEMORIZING, NONE, TRANSFORMER };

static struct model *make_model(int kind) {
    struct model *m = engine_model(kinds[kind].arch, kinds[kind].options, SHAPE);
    engine_fill(m);
    return m;
}

static void set_gates(struct model *m, const double gate[ALL]) {
    for (int layer = 0; layer < LAYERS; layer++) {
        double beta[HEADS];
        for (int h = 0; h < HEADS; h++) beta[h] = log(gate[layer * HEADS + h] / (1 - gate[layer * HEADS + h]));
        const struct param *p = layer_gate(m, layer);
        if (p) engine_upload(m, p->leaf.data, beta, HEADS);
    }
}

/* ---- masks ---- */

/* how NULL: as opened; all: stream_knock_out. */
static void scores(float out[TOKENS], struct model *m, const int32_t *how, int all) {
    int32_t tokens[TOKENS];
    const int32_t *t = tokens;
    int64_t n = TOKENS;
    float *nll = out;
    struct stream *s = stream_open(m, 1, 2, &e);
    if (!s) fail_msg("%s", e.text);
    for (int i = 0; i < TOKENS; i++) tokens[i] = (int32_t)(1 + (i * i * 7 + i) % 90);
    if (all) stream_knock_out(s, (enum knock_out)all);
    if (how) stream_knock_out_heads(s, how);
    stream_score(s, &t, &n, &nll);
    stream_close(s);
}

static void masks(void **state) {
    (void)state;
    for (int kind = 0; kind < NONE; kind++) {
        struct model *m = make_model(kind);
        float plain[TOKENS], got[TOKENS], all[TOKENS];
        int32_t how[ALL] = {0};
        scores(plain, m, NULL, 0);
        scores(got, m, how, KNOCK_OFF); /* an empty mask takes back what was knocked out */
        assert_memory_equal(got, plain, sizeof got);
        for (int mode = KNOCK_OFF; mode <= KNOCK_ZERO; mode++) {
            scores(all, m, NULL, mode);
            for (int i = 0; i < ALL; i++) how[i] = mode;
            scores(got, m, how, 0);
            assert_memory_equal(got, all, sizeof got);
            assert_memory_not_equal(got, plain, sizeof got);
            /* Knocked out one after the other, every head that has a gate changes something. */
            for (int i = 0; i < ALL; i++) {
                float one[TOKENS];
                memset(how, 0, sizeof how);
                how[i] = mode;
                scores(one, m, how, 0);
                assert_int_equal(memcmp(one, plain, sizeof one) != 0, layer_gate(m, i / HEADS) != NULL);
                assert_int_equal(memcmp(one, all, sizeof one) != 0, 1);
            }
        }
        model_free(m);
    }
    struct model *none = make_model(NONE); /* nothing to knock out */
    float plain[TOKENS], got[TOKENS];
    scores(plain, none, NULL, 0);
    scores(got, none, NULL, KNOCK_OFF);
    assert_memory_equal(got, plain, sizeof got);
    model_free(none);
}

/* The memory of a head that is knocked out is not read: what it holds, a NaN too, does not matter; a NaN elsewhere comes through.
 */
static void a_broken_memory_is_not_read(void **state) {
    (void)state;
    enum { N = 3, E = 5 };
    const struct kernels *k = kernels_cpu(1, NULL);
    for (int mode = KNOCK_OFF; mode <= KNOCK_ZERO; mode++)
        for (int bad = 0; bad < 3; bad++) {
            real mem[N * HEADS * E], local[N * HEADS * E], out[N * HEADS * E], beta[HEADS] = {0.5f, -1};
            int32_t since[1] = {7}, how[HEADS] = {mode, KNOCK_NONE};
            for (int i = 0; i < N * HEADS * E; i++) mem[i] = local[i] = (real)(i + 1);
            if (bad == 1)
                for (int t = 0; t < N; t++) mem[t * HEADS * E] = NAN;
            if (bad == 2)
                for (int t = 0; t < N; t++) mem[t * HEADS * E + E] = INFINITY;
            k->mix_fwd(out, mem, local, beta, since, how, MIX_GATED, 1, 1, N, HEADS, E);
            double g = 1 / (1 + exp(-0.5));
            for (int t = 0; t < N; t++)
                for (int i = 0; i < E; i++) {
                    int at = t * HEADS * E + i;
                    assert_true(fabs((double)out[at] - (mode == KNOCK_OFF ? 1 : 1 - g) * (at + 1)) < 1e-5 * (at + 1));
                    assert_int_equal(!isfinite(out[at + E]), bad == 2 && !i);
                }
        }
}

/* ---- the task ---- */

extern const struct task task_gates, task_language_modeling, task_passkey;

/* The task with options "key", "value", ..., NULL into a folder of its name. */
static int run_task(const struct task *task, const char *name, struct model *m, const char *const *options) {
    struct options o;
    options_init(&o, task->options);
    for (int i = 0; options[i]; i += 2)
        if (options_set(&o, options[i], options[i + 1], "the test", &e)) fail_msg("%s", e.text);
    uint64_t hash;
    if (task->data_hash(&o, tokenizer_bytes(), &hash, &e)) return -1;
    return run_into(name, task, m, tokenizer_bytes(), &o);
}
#define RUN_TASK(task, name, m, ...) run_task(&task_##task, name, m, (const char *const[]){__VA_ARGS__, NULL})

struct table {
    struct result_row *row;
    int64_t n;
};

static struct table read_table(const char *name) {
    char *place = in_folder(name);
    struct table t;
    t.row = results_read(place, &t.n, &e);
    if (!t.row) fail_msg("%s", e.text);
    free(place);
    return t;
}

static const struct result_row *find(const struct table *t, const char *metric, const char *condition, const char *position) {
    for (int64_t i = 0; i < t->n; i++)
        if (!strcmp(t->row[i].metric, metric) && !strcmp(t->row[i].condition, condition) && !strcmp(t->row[i].position, position))
            return &t->row[i];
    fail_msg("no %s under '%s' at %s", metric, condition, position);
    return NULL;
}
#define VALUE(t, metric, condition, position) find(&(t), metric, condition, position)->value

static void kinds_by_hand(void **state) {
    (void)state;
    static const double gate[ALL] = {0.05, 0.5, 0.95, 0.099};
    static const char *const places[ALL] = {"0.0", "0.1", "1.0", "1.1"};
    static const double kind[ALL] = {-1, 0, 1, -1};
    struct model *m = engine_model("infini", "update=linear gate_init=-2", SHAPE);
    set_gates(m, gate);
    if (RUN_TASK(gates, "kinds", m, "measure", "none")) fail_msg("%s", e.text);
    struct table t = read_table("kinds");
    for (int i = 0; i < ALL; i++) {
        assert_true(fabs(VALUE(t, "gate", "", places[i]) - gate[i]) < 1e-6);
        assert_true(fabs(VALUE(t, "gate_initial", "", places[i]) - 1 / (1 + exp(2))) < 1e-6);
        assert_true(VALUE(t, "head_kind", "", places[i]) == kind[i]);
    }
    assert_true(VALUE(t, "share_local", "", "all") == 0.5 && VALUE(t, "share_mixer", "", "all") == 0.25);
    assert_true(VALUE(t, "share_memory", "", "all") == 0.25 && find(&t, "share_memory", "", "all")->n == ALL);
    double squares = 0; /* what the gates moved by */
    for (int i = 0; i < ALL; i++) squares += pow(gate[i] - 1 / (1 + exp(2)), 2) / ALL;
    assert_true(fabs(VALUE(t, "gate_moved", "", "all") - sqrt(squares)) < 1e-6 && squares > 0.1);
    assert_true(VALUE(t, "share_moved", "", "all") == 1);
    assert_int_equal(t.n, 3 * ALL + 5);
    free(t.row);
    assert_int_equal(head_kind(0.1), HEAD_MIXER); /* the borders belong to the mixers */
    assert_int_equal(head_kind(0.9), HEAD_MIXER);
    model_free(m);
}

/* A gate that stays put, or differs by rounding, has not moved; one that has moved a little more has, in both directions. */
static void gates_that_stay(void **state) {
    (void)state;
    const double start = 1 / (1 + exp(2));
    struct model *m = engine_model("infini", "update=linear gate_init=-2", SHAPE);
    static const struct {
        double by[ALL], share;
    } cases[] = {{{0, 0, 0, 0}, 0}, {{0, 5e-7, -5e-7, 0}, 0}, {{0, 5e-7, 0, 2e-6}, 0.25}, {{0, -2e-6, 5e-7, 2e-6}, 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double gate[ALL];
        char name[24];
        for (int h = 0; h < ALL; h++) gate[h] = start + cases[i].by[h];
        set_gates(m, gate);
        snprintf(name, sizeof name, "stay-%d", (int)i);
        if (RUN_TASK(gates, name, m, "measure", "none")) fail_msg("%s", e.text);
        struct table t = read_table(name);
        if (VALUE(t, "share_moved", "", "all") != cases[i].share)
            fail_msg("case %d: a share of %g has moved, not %g", (int)i, VALUE(t, "share_moved", "", "all"), cases[i].share);
        assert_int_equal(find(&t, "share_moved", "", "all")->n, ALL);
        free(t.row);
    }
    model_free(m);
}

/* Outputs of all heads but one are cut off. */
static struct model *one_head_carries(int layer, int head) {
    struct model *m = make_model(LINEAR);
    for (int l = 0; l < LAYERS; l++) {
        struct param *wo = m->layer[l].wo;
        double *w = engine_download(m, wo->leaf.data, wo->n);
        for (int64_t i = 0; i < wo->n; i++)
            if (l != layer || i % 32 / 16 != head) w[i] = 0;
        engine_upload(m, wo->leaf.data, w, wo->n);
        free(w);
    }
    return m;
}

static void put_texts(void) {
    char text[600];
    for (int k = 0; k < 3; k++) {
        char *name = xprintf("texts/test/%d.txt", k);
        for (int i = 0; i < 600; i++) text[i] = (char)(' ' + (i * (k + 3) + i * i / 7) % 60);
        put(name, text, (size_t)(600 - 150 * k));
        free(name);
    }
}

static void the_head_that_carries_everything(void **state) {
    (void)state;
    put_texts();
    char *texts = in_folder("texts");
    struct model *m = one_head_carries(1, 0);
    if (RUN_TASK(gates, "carries", m, "measure", "passkey, bits_per_byte", "corpus", texts, "length", "700", "samples", "3",
                 "positions", "start", "seed", "5"))
        fail_msg("%s", e.text);
    if (RUN_TASK(language_modeling, "carries-text", m, "corpus", texts)) fail_msg("%s", e.text);
    if (RUN_TASK(passkey, "carries-keys", m, "length", "700", "samples", "3", "positions", "start", "seed", "5", "knock_out",
                 "yes"))
        fail_msg("%s", e.text);
    struct table t = read_table("carries"), text = read_table("carries-text"), keys = read_table("carries-keys");
    static const char *const texts_of[] = {"", "knockout=off", "knockout=zero"};
    static const char *const keys_of[] = {"haystack=repeated;needles=1;value=digits",
                                          "haystack=repeated;knockout=off;needles=1;value=digits",
                                          "haystack=repeated;knockout=zero;needles=1;value=digits"};
    /* As trained and with all heads knocked out: what the other tasks measure, to the bit. */
    for (int way = 0; way < 3; way++) {
        const struct result_row *a = find(&t, "bits_per_byte", texts_of[way], "all"),
                                *b = find(&text, "bits_per_byte", texts_of[way], "all");
        assert_true(a->value == b->value && a->low == b->low && a->n == 3);
        a = find(&t, "answer_nll", keys_of[way], "all");
        b = find(&keys, "answer_nll", keys_of[way], "start");
        assert_true(a->value == b->value && a->high == b->high && a->n == 3 && a->context == 700);
        assert_true(VALUE(t, "exact_match", keys_of[way], "all") == VALUE(keys, "exact_match", keys_of[way], "start"));
    }
    for (int way = 1; way < 3; way++) {
        static const char *const places[ALL] = {"0.0", "0.1", "1.0", "1.1"};
        double all = VALUE(t, "bits_per_byte_change", texts_of[way], "all");
        assert_true(fabs(all) > 1e-5);
        assert_true(fabs(all - (VALUE(t, "bits_per_byte", texts_of[way], "all") - VALUE(t, "bits_per_byte", "", "all"))) < 1e-7);
        for (int i = 0; i < ALL; i++) {
            const struct result_row *bits = find(&t, "bits_per_byte_change", texts_of[way], places[i]);
            const struct result_row *nats = find(&t, "answer_nll_change", keys_of[way], places[i]);
            if (i == 2) { /* the carrier: all that the memory is worth (a tail is read of prompts without any memory: rounding) */
                assert_true(bits->value == all && bits->low <= all && bits->high >= all && bits->low < bits->high);
                assert_true(fabs(nats->value - VALUE(t, "answer_nll_change", keys_of[way], "all")) < 1e-4 &&
                            fabs(nats->value) > 1e-5);
            } else {
                assert_true(bits->value == 0 && bits->low == 0 && bits->high == 0 && nats->value == 0);
                assert_true(VALUE(t, "exact_match_change", keys_of[way], places[i]) == 0);
            }
        }
    }
    /* Chosen heads, one way. */
    if (RUN_TASK(gates, "chosen", m, "corpus", texts, "heads", "1.1, 0.0", "knock_out", "zero")) fail_msg("%s", e.text);
    struct table chosen = read_table("chosen");
    int changes = 0;
    for (int64_t i = 0; i < chosen.n; i++) changes += !strcmp(chosen.row[i].metric, "bits_per_byte_change");
    assert_int_equal(changes, 3);
    assert_true(VALUE(chosen, "bits_per_byte_change", "knockout=zero", "0.0") == 0);
    assert_true(VALUE(chosen, "bits_per_byte", "knockout=zero", "all") == VALUE(t, "bits_per_byte", "knockout=zero", "all"));
    free(chosen.row);
    free(t.row);
    free(text.row);
    free(keys.row);
    free(texts);
    model_free(m);
}

/* Memorizing has gates in one layer; models without any are skipped with a reason, not an error. */
static void other_architectures(void **state) {
    (void)state;
    put_texts();
    char *texts = in_folder("texts");
    struct model *m = make_model(MEMORIZING);
    if (RUN_TASK(gates, "memorizing", m, "corpus", texts)) fail_msg("%s", e.text);
    struct table t = read_table("memorizing");
    int gates = 0, changes = 0;
    for (int64_t i = 0; i < t.n; i++) {
        gates += !strcmp(t.row[i].metric, "gate");
        changes += !strcmp(t.row[i].metric, "bits_per_byte_change");
    }
    assert_int_equal(gates, HEADS);
    assert_int_equal(changes, 2 * (1 + HEADS));
    free(t.row);
    assert_true(RUN_TASK(gates, "no-gate", m, "corpus", texts, "heads", "1.0"));
    assert_says("gates: heads: layer 1 of this memorizing has no gate");
    model_free(m);
    for (int kind = NONE; kind <= TRANSFORMER; kind++) {
        char name[24];
        m = make_model(kind);
        snprintf(name, sizeof name, "skipped-%d", kind);
        if (RUN_TASK(gates, name, m, "corpus", texts)) fail_msg("%s", e.text);
        t = read_table(name);
        assert_int_equal(t.n, 1);
        assert_string_equal(t.row->metric, "skipped");
        assert_string_equal(t.row->condition,
                            kind == NONE ? "skipped=no gates without a memory" : "skipped=the architecture has no gates");
        assert_true(t.row->value == 1 && t.row->n == 0);
        free(t.row);
        model_free(m);
    }
    free(texts);
}

static void what_cannot_be(void **state) {
    (void)state;
    struct model *m = make_model(LINEAR);
    assert_true(RUN_TASK(gates, "bad", m, "heads", "2.0", "measure", "none"));
    assert_says("there is no head 2.0; the model has layers 0 to 1 with heads 0 to 1");
    assert_true(RUN_TASK(gates, "bad", m, "heads", "0.2", "measure", "none"));
    assert_says("there is no head 0.2");
    assert_true(RUN_TASK(gates, "bad", m, "heads", "0", "measure", "none"));
    assert_says("'0' is not layer.head");
    assert_true(RUN_TASK(gates, "bad", m, "measure", "bits_per_bite"));
    assert_says("gates: measure: 'bits_per_bite' is unknown; the nearest is bits_per_byte");
    assert_true(RUN_TASK(gates, "bad", m, "knock_out", "away"));
    assert_says("gates: knock_out: 'away' is unknown; there are off and zero");
    assert_true(RUN_TASK(gates, "bad", m, "measure", "none, passkey"));
    assert_says("none stands alone");
    assert_true(RUN_TASK(gates, "bad", m, "measure", "passkey", "length", "20"));
    assert_says("below the prompt's minimum");
    engine_upload(m, layer_gate(m, 1)->leaf.data, (double[]){0, NAN}, HEADS);
    assert_true(RUN_TASK(gates, "bad", m, "measure", "none"));
    assert_says("the gate of head 1.1 is not a number");
    model_free(m);
}

/* ---- the report ---- */

static void put_value(struct cell_writer *w, const char *metric, const char *condition, const char *position, struct interval v) {
    cell_measure(w, &(struct measurement){.split = "test",
                                          .condition = condition,
                                          .metric = metric,
                                          .unit = "",
                                          .position = position,
                                          .writes = -1,
                                          .n = v.n,
                                          .value = v.value,
                                          .standard_error = v.standard_error,
                                          .low = v.low,
                                          .high = v.high});
}

static struct interval plain(double x) {
    return (struct interval){.value = x, .standard_error = NAN, .low = NAN, .high = NAN, .n = 1};
}
static struct interval about(double x, double half) { return (struct interval){x, half / 2, x - half, x + half, 8, 0, 0}; }

/* row "both": a head of each kind in layer 0, mixers above; row "mixers": all near one half; row "window": skipped. */
static void fill(const char *name) {
    static const double gate[2][6] = {{0.02, 0.98, 0.3, 0.5, 0.6, 0.44}, {0.45, 0.55, 0.5, 0.5, 0.41, 0.59}};
    static const char *const rows[] = {"both", "mixers", "window"};
    char *path = in_folder(name), *file = xprintf("%s/experiment.ini", name);
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Gates\nseeds = 1\n[budget]\ntokenizer = bytes\n[task gates]\nafter = train\n");
    for (int row = 0; row < 3; row++) {
        buffer_printf(&ini, "[row %s]\narchitecture = %s\n; cell %s 1 train gates c%d\n; cell %s 1 train training t%d\n", rows[row],
                      row < 2 ? "infini" : "transformer", rows[row], row, rows[row], row);
        char cell[2][16];
        snprintf(cell[0], sizeof cell[0], "c%d", row);
        snprintf(cell[1], sizeof cell[1], "t%d", row);
        struct cell_writer *w =
            cell_begin(r, cell[0], "run", name, rows[row], row < 2 ? "infini" : "transformer", "train", 1, "gates", 1);
        if (row == 2) put_value(w, "skipped", "skipped=the architecture has no gates", "all", plain(1));
        for (int h = 0; h < 6 && row < 2; h++) {
            char place[16];
            snprintf(place, sizeof place, "%d.%d", h / 3, h % 3);
            put_value(w, "gate", "", place, plain(gate[row][h]));
            put_value(w, "gate_initial", "", place, plain(0.5));
            put_value(w, "bits_per_byte_change", "knockout=off", place, about(0.01 * h, 0.015));
            put_value(w, "bits_per_byte_change", "knockout=zero", place, about(h == 1 ? 0.25 : 0, 0.001));
        }
        for (int way = 0; way < 2 && row < 2; way++) {
            put_value(w, "bits_per_byte", way ? "knockout=zero" : "knockout=off", "all", about(2.5 + way, 0.1));
            put_value(w, "bits_per_byte_change", way ? "knockout=zero" : "knockout=off", "all", about(0.5 - 0.2 * way, 0.1));
        }
        if (row < 2) put_value(w, "bits_per_byte", "", "all", about(2, 0.1));
        assert_int_equal(cell_commit(w, &e), 0);
        w = cell_begin(r, cell[1], "run", name, rows[row], "infini", "train", 1, "training", 1);
        put_value(w, "parameters", "", "all", plain(1000));
        for (int64_t step = 10; step <= 100 && row < 2; step += 10)
            for (int h = 0; h < 6; h++) {
                char metric[24];
                snprintf(metric, sizeof metric, "gate.%d.%d", h / 3, h % 3);
                cell_curve(w, step, step * 10, metric, 0.001 * (double)step + 0.1 * h);
            }
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    put(file, ini.data, ini.n);
    buffer_free(&ini);
    free(path);
    free(file);
}

static void has(const char *text, const char *part, int line) {
    if (strstr(text, part)) return;
    print_error("'%s' is not in:\n%s\n", part, text);
    _fail(__FILE__, line);
}
#define HAS(text, part) has(text, part, __LINE__)

static void made_up_report(void **state) {
    (void)state;
    fill("made");
    char *path = in_folder("made"), *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (report(path, f, &e)) fail_msg("%s", e.text);
    fclose(f);
    char *md = content("made/report.md"), *tsv = content("made/heads.tsv"), *bars = content("made/heads-histogram.tsv");
    HAS(md, "window is left out: the architecture has no gates.");
    HAS(md, "both: both kinds of heads of the paper appear: 2 of 6 heads are specialised (1 local, 1 memory), 3 of 6 mix near one "
            "half");
    HAS(md, "Not each layer has a head of short range: 1 of 2 layers have one with a gate below 0.1, 2 below 0.5.");
    HAS(md, "mixers: of the paper's two kinds only mixers appear: 0 of 6 heads are specialised (0 local, 0 memory), 6 of 6 mix");
    HAS(md, "| both | 6 | 0.50 | 1 (17 %) | 4 (67 %) | 1 (17 %) | 3 (50 %) | 0.47 | 0.020 to 0.980 | 1 of 2 |");
    HAS(md, "| both | bits per byte | 2.000 [1.900, 2.100] | 8 | off | +0.5000 [+0.4000, +0.6000] | 1.2 (gate 0.440) | "
            "+0.0500 [+0.0350, +0.0650] | 4 of 6 | +0.1500 |");
    HAS(md, "| both | bits per byte | 2.000 [1.900, 2.100] | 8 | zero | +0.3000 [+0.2000, +0.4000] | 0.1 (gate 0.980) | "
            "+0.2500 [+0.2490, +0.2510] | 1 of 6 | +0.2500 |");
    HAS(md, "| both | 0.1 | 0.50 | 0.980 | memory | +0.0100 [-0.0050, +0.0250] | +0.2500 [+0.2490, +0.2510] |");
    HAS(text, "mixers: of the paper's two kinds only mixers appear");
    /* The picture's numbers: 25 % is step 20 or 30 (nearest, the first), 50 % step 50. */
    HAS(tsv, "both 0 0 0 0.5 .50\n");
    HAS(tsv, "both 1 1 2 0.52 .52\n");
    HAS(tsv, "both 2 1 2 0.55 .55\n");
    HAS(tsv, "both 3 0 1 0.98 .98\n");
    HAS(tsv, "both 4 1 2 50 50\n");
    HAS(tsv, "both 5 0 1 250 250\n");
    /* After training, and at step 50: 0.05, 0.15, .. 0.55. */
    HAS(bars, "both 0.0 0.1 1 1\n");
    HAS(bars, "both 0.6 0.7 1 0\n");
    HAS(bars, "both 0.9 1.0 1 0\n");
    HAS(bars, "mixers 0.5 0.6 4 1\n");
    if (!strstr(text, "no pictures: ")) {
        char *svg = content("made/heads.svg"), *second = content("made/heads-histogram.svg");
        HAS(svg, "</svg>");
        HAS(second, "</svg>");
        HAS(second, "half of the steps");
        HAS(md, "(heads.svg)");
        free(svg);
        free(second);
    } else if (!strstr(text, "gnuplot is not installed")) {
        fail_msg("%s", text);
    }
    free(md);
    free(tsv);
    free(bars);
    free(text);
    free(path);
}

/* Where no gates were logged while training there is no line of them, and no word of it. */
static void report_without_curves(void **state) {
    (void)state;
    fill("unlogged");
    char *path = in_folder("unlogged"), *curves = content("unlogged/curves.csv"), *text = NULL;
    size_t n;
    put("unlogged/curves.csv", curves, strcspn(curves, "\n") + 1); /* the header */
    FILE *f = open_memstream(&text, &n);
    if (report(path, f, &e)) fail_msg("%s", e.text);
    fclose(f);
    char *md = content("unlogged/report.md"), *bars = content("unlogged/heads-histogram.tsv");
    HAS(md, "Heads by gate: bars after training, dotted where all gates started.");
    HAS(bars, "both 0.0 0.1 1 NaN\n");
    if (!strstr(text, "no pictures: ")) {
        char *svg = content("unlogged/heads-histogram.svg");
        HAS(svg, "after training");
        assert_null(strstr(svg, ">NaN<"));
        assert_null(strstr(svg, "half of the steps"));
        free(svg);
    }
    free(md);
    free(bars);
    free(text);
    free(curves);
    free(path);
}

int main(void) {
    progress_quiet = true;
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks),
                                       cmocka_unit_test(a_broken_memory_is_not_read),
                                       cmocka_unit_test(kinds_by_hand),
                                       cmocka_unit_test(gates_that_stay),
                                       cmocka_unit_test(the_head_that_carries_everything),
                                       cmocka_unit_test(other_architectures),
                                       cmocka_unit_test(what_cannot_be),
                                       cmocka_unit_test(made_up_report),
                                       cmocka_unit_test(report_without_curves)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
