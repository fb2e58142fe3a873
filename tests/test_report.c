/* test_report.c - what reports of all tasks have in common, on made-up results: the twin and its learning rate, the cost of a chain
 * of stages, program and machine by row, numbers as they are printed. Expected figures are worked out here. */
#include "harness/report.h"
#include "harness/report_document.h"
#include "harness/report_retrieval.h"
#include "support/folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void put_value(struct cell_writer *w, const char *metric, const char *position, double x) {
    struct measurement m = {.split = "test",
                            .condition = "",
                            .metric = metric,
                            .unit = "",
                            .position = position,
                            .writes = -1,
                            .n = 12,
                            .value = x,
                            .standard_error = NAN,
                            .low = NAN,
                            .high = NAN};
    cell_measure(w, &m);
}

static void training(struct results *r, struct text_buffer *ini, const char *row, int seed, const char *stage, double tokens,
                     double seconds, double share) {
    char cell[64];
    snprintf(cell, sizeof cell, "%.8s%d%.8s", row, seed, stage);
    buffer_printf(ini, "; cell %s %d %s training %s\n", row, seed, stage, cell);
    struct cell_writer *w = cell_begin(r, cell, row, "made up", row, "infini", stage, seed, "training", 1);
    put_value(w, "parameters", "all", 1000);
    put_value(w, "tokens_seen", "all", tokens);
    if (strcmp(stage, "four") == 0) put_value(w, "tokens_read", "all", 2 * tokens); /* a stage with a loss on half of it */
    put_value(w, "train_flops", "all", 10 * tokens);
    put_value(w, "wall_seconds", "all", seconds);
    put_value(w, "roof_share", "all", share);
    assert_int_equal(cell_commit(w, &e), 0);
}

static void language(struct results *r, struct text_buffer *ini, const char *row, int seed, const char *stage, double bits) {
    static const char *const positions[] = {"1", "5-16", "all"};
    char cell[64];
    snprintf(cell, sizeof cell, "%.8s%dbits", row, seed);
    buffer_printf(ini, "; cell %s %d %s books %s\n", row, seed, stage, cell);
    struct cell_writer *w = cell_begin(r, cell, row, "made up", row, "infini", stage, seed, "language_modeling", 1);
    for (int p = 0; p < 3; p++) {
        put_value(w, "bits_per_byte", positions[p], bits);
        for (int i = 0; i < 12; i++) {
            char name[16];
            snprintf(name, sizeof name, "%d.txt", i);
            cell_sample(w, "test", "", "bits_per_byte", name, positions[p], 1000 * (bits + 0.01 * (i % 3)), 1000);
        }
    }
    assert_int_equal(cell_commit(w, &e), 0);
}

static char *report_of(const char *name) {
    char *path = in_folder(name), *file = xprintf("%s/report.md", name), *text;
    FILE *out = tmpfile();
    if (report(path, out, &e)) fail_msg("%s", e.text);
    fclose(out);
    text = content(file);
    free(path);
    free(file);
    return text;
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("'%s' is not in\n%.6000s", part, text);
}

static void close_folder(struct results *r, const char *name, struct text_buffer *ini) {
    char *file = xprintf("%s/experiment.ini", name);
    results_close(r);
    put(file, ini->data, ini->n);
    buffer_free(ini);
    free(file);
}

static struct results *opened(const char *name) {
    char *path = in_folder(name);
    struct results *r = results_open(path, &e);
    free(path);
    assert_non_null(r);
    return r;
}

/* The first of several local-only rows was the twin, and well tuned rows were set against a badly tuned one. */
static void search_over_rates(void **state) {
    static const char *const rows[] = {"none_1e-3", "none_3e-3", "linear_3e-3"};
    struct text_buffer ini = {0};
    struct results *r = opened("rates");
    (void)state;
    buffer_printf(&ini, "[experiment]\ntitle = Rates\nseeds = 1\n[stage train]\nlr = 0.003\nfrom = init\n");
    for (int i = 0; i < 3; i++) {
        buffer_printf(&ini, "[row %s]\narchitecture = infini\nupdate = %s\n", rows[i], i < 2 ? "none" : "linear");
        if (i == 0) buffer_printf(&ini, "lr = 0.001\n");
        language(r, &ini, rows[i], 1, "train", 2 - 0.1 * i);
    }
    close_folder(r, "rates", &ini);
    char *md = report_of("rates"), *path = in_folder("rates");
    has(md, "Several local-only rows: no twin, and no questions are answered from a search over learning rates.");
    assert_null(strstr(md, "Difference to the local-only twin"));
    assert_null(strstr(md, "Questions and answers"));
    assert_null(strstr(md, "difference.svg"));
    struct report_data *d = report_load(path, &e);
    assert_true(d && d->twin == -1 && d->twins == 2);
    assert_true(fabs(report_rate(d, "none_1e-3", "train") - 0.001) < 1e-12);
    assert_true(fabs(report_rate(d, "linear_3e-3", "train") - 0.003) < 1e-12);
    assert_true(isnan(report_rate(d, "linear_3e-3", "other")));
    report_data_free(d);
    free(path);
    free(md);
}

/* Two stages from initialisation and one beside them; the second seed has not come to the end. */
static void chains(void **state) {
    struct text_buffer ini = {0};
    struct results *r = opened("chains");
    (void)state;
    buffer_printf(&ini, "[experiment]\ntitle = Chains\nseeds = 1, 2\n[stage apart]\nfrom = init\n[stage one]\nfrom = init\n"
                        "[stage two]\nfrom = one\n[stage three]\nfrom = two\n[task books]\ntask = language_modeling\n"
                        "[row infini_none]\narchitecture = infini\nupdate = none\nlr = 0.006\n"
                        "[row infini_linear]\narchitecture = infini\nupdate = linear\nlr = 0.003\n");
    for (int row = 0; row < 2; row++) {
        const char *name = row ? "infini_linear" : "infini_none";
        training(r, &ini, name, 1, "apart", 50000, 5, 0.5);
        training(r, &ini, name, 1, "one", 1000, 1, 0.5);
        training(r, &ini, name, 2, "one", 9000, 3, 0.5); /* must not be in the sums of seed 1 */
        training(r, &ini, name, 1, "two", 2000, 2, 0.5);
        training(r, &ini, name, 1, "three", 4000, 7, 0.25);
        language(r, &ini, name, 1, "three", 2 - 0.1 * row);
    }
    training(r, &ini, "infini_linear", 1, "four", 10, 1, 1.5); /* no stage of experiment.ini, and above the roof */
    close_folder(r, "chains", &ini);
    char *md = report_of("chains");
    /* 1 + 2 + 4 thousand tokens in 1 + 2 + 7 seconds; of the roof (0.5 * 3 + 0.25 * 7) / 10 */
    has(md, "| infini\\_none | infini | – | one + … + three (3 stages) | 7.00 k | 10.0 | 700 | 32 % | 70.0 k | 10.0 s |");
    has(md, "| infini\\_linear | infini | – | one + … + three (3 stages) | 7.00 k |");
    has(md, "| infini\\_linear | infini | – | four | 20.0 | 5.00 | 20.0 | – | 100 | 1.0 s |");
    assert_null(strstr(md, "| two |")); /* only on the way */
    assert_null(strstr(md, "| one + two |"));
    has(md, "Training tokens: those read, with a loss on them or not");
    has(md, "the same model without the memory; its learning rate is 0.006, that of infini_linear 0.003)");
    has(md, "infini\\_linear better than infini\\_none, its local-only twin, from segment 5 on?");
    char *path = in_folder("chains");
    struct report_data *d = report_load(path, &e);
    assert_true(d && report_cost(d, "three", "infini_none", "train_flops") == 70000);
    assert_true(report_cost(d, "one", "infini_none", "tokens_seen") == 5000); /* mean of the seeds */
    assert_true(isnan(report_cost(d, "four", "infini_none", "tokens_seen")));
    report_data_free(d);
    free(path);
    free(md);
}

/* Student's t is not a bootstrap, and must not be called so. */
static void how_intervals_came(void **state) {
    (void)state;
    for (int seeds = 1; seeds <= 2; seeds++) {
        char name[24];
        struct text_buffer ini = {0};
        snprintf(name, sizeof name, "seeds%d", seeds);
        struct results *r = opened(name);
        buffer_printf(&ini, "[experiment]\ntitle = Seeds\nseeds = 1\n[row infini_none]\narchitecture = infini\nupdate = none\n"
                            "[row infini_linear]\narchitecture = infini\nupdate = linear\n");
        for (int seed = 1; seed <= seeds; seed++) {
            language(r, &ini, "infini_none", seed, "train", 2);
            language(r, &ini, "infini_linear", seed, "train", 1.9 - 0.01 * seed);
        }
        close_folder(r, name, &ini);
        char *md = report_of(name);
        if (strstr(md, "difference.svg")) { /* there is gnuplot */
            has(md, seeds > 1 ? "pairs of documents: Student's t, training seeds" : "pairs of documents: bootstrap over up to 12");
            has(md, seeds > 1 ? "95 % intervals (Student's t, " : "95 % intervals (bootstrap over up to 12");
        }
        has(md, "Intervals of one run: percentile bootstrap");
        free(md);
    }
}

static void save_run(struct results *r, const char *run, const char *date, const char *commit, int threads) {
    json_t *j = json_pack("{s:s, s:s, s:b, s:s, s:s, s:{s:s, s:i}}", "date", date, "commit", commit, "dirty", 0, "compiler", "gcc",
                          "flags", "-O3", "backend", "device", "CPU", "threads", threads);
    assert_int_equal(results_save_run(r, run, j, &e), 0);
    json_decref(j);
}

static void program_and_machine(void **state) {
    struct text_buffer ini = {0};
    struct results *r = opened("facts");
    (void)state;
    buffer_printf(&ini,
                  "[experiment]\ntitle = Facts\n[row infini_none]\narchitecture = infini\nupdate = none\n[row infini_linear]\n"
                  "architecture = infini\nupdate = linear\n[row rmt]\narchitecture = rmt\n");
    language(r, &ini, "infini_none", 1, "train", 2);
    language(r, &ini, "infini_linear", 1, "train", 2);
    language(r, &ini, "rmt", 1, "train", 2);
    save_run(r, "infini_none", "2026-03-01T00:00:00Z", "bbbb", 1);
    save_run(r, "infini_linear", "2026-02-01T00:00:00Z", "aaaa", 1);
    save_run(r, "rmt", "2026-04-01T00:00:00Z", "bbbb", 1);
    close_folder(r, "facts", &ini);
    char *md = report_of("facts");
    has(md,
        "- Commit aaaa: rows infini_linear.\n- Commit bbbb: rows infini_none, rmt.\n- Compiler: gcc; flags: -O3.\n- Machine: CPU, "
        "1 thread, ");
    free(md);
}

static const struct {
    int seed, length, right; /* of 20 */
} keys[] = {{1, 1024, 20}, {1, 2048, 20}, {1, 4096, 10}, {2, 1024, 20}, {2, 2048, 18}};

/* Seed 2 stops at 2K: a curve over all lengths is that of seed 1. */
static void seeds_of_all_lengths(void **state) {
    static const char condition[] = "haystack=repeated;needles=1;value=digits";
    struct text_buffer ini = {0};
    struct results *r = opened("lengths");
    (void)state;
    buffer_printf(&ini, "[experiment]\ntitle = Lengths\ntable = table3\n[task fine_tuned]\ntask = passkey\n[row infini_linear]\n"
                        "architecture = infini\nupdate = linear\n");
    for (int seed = 1; seed <= 2; seed++) {
        char cell[16];
        snprintf(cell, sizeof cell, "c%d", seed);
        buffer_printf(&ini, "; cell infini_linear %d train fine_tuned %s\n", seed, cell);
        struct cell_writer *w = cell_begin(r, cell, "run", "lengths", "infini_linear", "infini", "train", seed, "passkey", 1);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            struct interval v = wilson(keys[i].right, 20);
            struct measurement m = {.split = "generated", .condition = condition, .metric = "exact_match", .unit = "fraction"};
            m.context = keys[i].length, m.writes = -1, m.n = v.n;
            m.value = v.value, m.standard_error = v.standard_error, m.low = v.low, m.high = v.high;
            for (int p = 0; passkey_places[p] && keys[i].seed == seed; p++) {
                m.position = passkey_places[p];
                cell_measure(w, &m);
            }
        }
        assert_int_equal(cell_commit(w, &e), 0);
    }
    close_folder(r, "lengths", &ini);
    char *md = report_of("lengths");
    has(md, "| row | position | 1K (n = 20) | 2K (n = 20) | 4K (n = 20) |");
    has(md, "| infini\\_linear | start | 100.0 [83.9, 100.0] | 100.0 [83.9, 100.0] | 50.0 [");
    has(md, "show the training seed with all lengths (1)");
    has(md, "| infini\\_linear | start | 2 | 100.0 | 90.0 | – |");
    has(md, "| infini\\_linear | 2K, ≥ 2K |");
    has(md, "ours: exact match | 100/100/100, n 20 | 100/100/100, n 20 | 50/50/50, n 20 |");
    free(md);
}

/* No event named of 36: a bootstrap of zeros has no width. */
static void no_success(void **state) {
    struct text_buffer ini = {0};
    struct results *r = opened("zeros");
    (void)state;
    buffer_printf(&ini, "[experiment]\ntitle = Zeros\n; cell rmt 1 train told c\n[row rmt]\narchitecture = rmt\n");
    struct cell_writer *w = cell_begin(r, "c", "run", "zeros", "rmt", "rmt", "train", 1, "chronicle", 1);
    static const char *const metrics[] = {"events_named", "stopped", "overall"};
    for (int k = 0; k < 3; k++) {
        struct measurement m = {.split = "generated", .condition = "", .metric = metrics[k], .unit = "", .position = "all"};
        m.context = 64, m.writes = -1, m.n = 36, m.value = m.low = m.high = k == 1;
        cell_measure(w, &m);
    }
    assert_int_equal(cell_commit(w, &e), 0);
    close_folder(r, "zeros", &ini);
    char *path = in_folder("zeros");
    struct report_data *d = report_load(path, &e);
    assert_non_null(d);
    struct probe p = {.d = d, .row = "rmt", .condition = "", .writes_low = -1, .writes_high = -1};
    p.metric = "events_named";
    struct interval v = probe_value(&p).value, none = wilson(0, 36), all = wilson(36, 36);
    assert_true(v.value <= 0 && v.low <= 0 && fabs(v.high - none.high) < 1e-12 && v.high > 0.09);
    p.metric = "stopped";
    v = probe_value(&p).value;
    assert_true(v.value >= 1 && fabs(v.low - all.low) < 1e-12 && v.high >= 1);
    p.metric = "overall"; /* no share: left as the task wrote it */
    v = probe_value(&p).value;
    assert_true(v.low >= 0 && v.high <= 0);
    report_data_free(d);
    free(path);
}

/* What three training seeds say of the same 36 narratives, and of one of them at three budgets. */
static void seeds_share_samples(void **state) {
    struct text_buffer ini = {0};
    struct results *r = opened("shared");
    (void)state;
    buffer_printf(&ini, "[experiment]\ntitle = Shared\nseeds = 1, 2, 3\n[row rmt]\narchitecture = rmt\n");
    for (int seed = 1; seed <= 3; seed++) {
        char cell[16];
        snprintf(cell, sizeof cell, "c%d", seed);
        buffer_printf(&ini, "; cell rmt %d train told %s\n", seed, cell);
        struct cell_writer *w = cell_begin(r, cell, "run", "shared", "rmt", "rmt", "train", seed, "chronicle", 1);
        static const char *const metrics[] = {"events_named", "stopped", "words_named", "overall", "digit_accuracy"};
        static const double values[] = {0, 1, 1.0 / 72, 99, 0.05};
        for (int k = 0; k < 5; k++) {
            struct measurement m = {.split = "generated", .condition = "", .metric = metrics[k], .unit = "", .position = "all"};
            m.context = 64, m.writes = -1, m.n = 36, m.value = values[k];
            m.standard_error = k == 3 ? 1.0 : k == 2 ? 0.0138 : k == 4 ? 0.01 : 0;
            m.low = m.high = values[k];
            cell_measure(w, &m);
        }
        for (int k = 0; k < 2; k++) { /* by writes: 4 of 10 and 2 of 30 narratives */
            struct measurement m = {
                .split = "generated", .condition = "", .metric = "events_named", .unit = "", .position = "writes"};
            m.context = k ? 128 : 64, m.writes = 2, m.n = k ? 30 : 10, m.value = k ? 2.0 / 30 : 0.4;
            m.standard_error = k ? 0.04 : 0.16, m.low = 0, m.high = 1;
            cell_measure(w, &m);
        }
        assert_int_equal(cell_commit(w, &e), 0);
    }
    close_folder(r, "shared", &ini);
    char *path = in_folder("shared");
    struct report_data *d = report_load(path, &e);
    assert_non_null(d);
    struct probe p = {.d = d, .row = "rmt", .condition = "", .metric = "events_named", .position = "all"};
    p.writes_low = p.writes_high = -1;
    struct pooled x = probe_value(&p);
    struct interval none = wilson(0, 36), all = wilson(36, 36);
    assert_true(x.samples == 36 && x.value.n == 108 && fabs(x.value.high - none.high) < 1e-12); /* was Wilson of 108 */
    p.metric = "stopped";
    assert_true(fabs(probe_value(&p).value.low - all.low) < 1e-12);
    p.metric = "words_named"; /* one event of 72, [-0.014, 0.042]: it excludes no more than none does */
    assert_true(fabs(probe_value(&p).value.high - none.high) < 1e-12);
    p.metric = "digit_accuracy"; /* [0.03, 0.07] is away from both ends and left as it is */
    assert_true(probe_value(&p).value.high < 0.08 && none.high > 0.09);
    p.metric = "overall"; /* 99 +- 1.98 or more */
    x = probe_value(&p);
    assert_true(x.value.low < 97.1 && x.value.low > 96 && x.value.high <= 100 && x.value.high > 99.99);
    p.metric = "events_named", p.position = "writes", p.writes_low = p.writes_high = 2;
    p.nested = true;
    struct values one = {.v = {1}, .n = 1};
    p.seeds = &one;
    x = probe_value(&p); /* (10 * 0.4 + 30 / 15) / 40 = 0.15; error (10 * 0.16 + 30 * 0.04) / 40 = 0.07 */
    assert_true(x.samples == 30 && fabs(x.value.value - 0.15) < 1e-6 && fabs(x.value.low - (0.15 - 1.96 * 0.07)) < 1e-4);
    assert_true(fabs(x.value.high - (0.15 + 1.96 * 0.07)) < 1e-4);
    p.seeds = NULL;
    x = probe_value(&p);
    assert_true(x.samples == 30 && x.seeds == 3 && fabs(x.value.standard_error - 0.07) < 1e-6);
    report_data_free(d);
    free(path);
}

/* Differences of shares, of two or more parts a sample: a width where none differs, no end beyond 1. */
static void differences_of_shares(void **state) {
    struct text_buffer ini = {0};
    struct results *r = opened("shares");
    (void)state;
    buffer_printf(&ini,
                  "[experiment]\ntitle = Shares\nseeds = 1, 2, 3\n[row gru]\narchitecture = rnn\n[row rmt]\narchitecture = rmt\n");
    for (int row = 0; row < 2; row++)
        for (int seed = 1; seed <= 3; seed++) {
            const char *name = row ? "rmt" : "gru";
            char cell[32];
            snprintf(cell, sizeof cell, "%s%d", name, seed);
            buffer_printf(&ini, "; cell %s %d train told %s\n", name, seed, cell);
            struct cell_writer *w = cell_begin(r, cell, "run", "shares", name, name, "train", seed, "chronicle", 1);
            put_value(w, "events_named", "all", 0);
            for (int i = 0; i < 50; i++) {
                char sample[16];
                snprintf(sample, sizeof sample, "n%02d", i);
                cell_sample(w, "generated", "", "none", sample, "all", 0, 4);
                cell_sample(w, "generated", "", "all", sample, "all", row ? 0 : 4, 4);
                cell_sample(w, "generated", "", "spread", sample, "all", row || seed == 3 ? 0 : 4, 4);
            }
            assert_int_equal(cell_commit(w, &e), 0);
        }
    close_folder(r, "shares", &ini);
    char *path = in_folder("shares");
    struct report_data *d = report_load(path, &e);
    assert_non_null(d);
    struct selection a = {.data = d, .row = "gru", .condition = "", .metric = "none", .seed = -1, .position = "all"}, b = a;
    b.row = "rmt";
    for (int one = 0; one < 2; one++) { /* all seeds, and seed 1 alone */
        a.seed = b.seed = one ? 1 : -1;
        a.metric = b.metric = "none";
        struct interval v = report_difference_shares(a, b), known = paired_shares(0, 0, 50);
        assert_true(v.value == 0 && v.low == known.low && v.high == known.high); /* was [0, 0] */
        a.metric = b.metric = "all";
        v = report_difference_shares(a, b), known = paired_shares(50, 0, 50);
        assert_true(v.value == 1 && v.low == known.low && v.high == known.high);
    }
    a.seed = b.seed = -1;
    a.metric = b.metric = "spread"; /* 1, 1, 0: Student's t reaches from -0.77 to 2.1 */
    struct interval v = report_difference_shares(a, b), whole = report_difference(a, b);
    assert_true(whole.high > 2 && whole.low > -1 && v.low == whole.low && v.high == 1);
    report_data_free(d);
    free(path);
}

/* The report of rows r0, r1, ... with these bits per byte (a hundredth more, as language() has it). */
static char *rows_with(const char *results, const double *bits, int rows) {
    struct text_buffer ini = {0};
    struct results *r = opened(results);
    buffer_printf(&ini, "[experiment]\ntitle = Rows\n");
    for (int i = 0; i < rows; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        buffer_printf(&ini, "[row %s]\narchitecture = rmt\n", name);
        language(r, &ini, name, 1, "train", bits[i]);
    }
    close_folder(r, results, &ini);
    return report_of(results);
}

/* A row that would squeeze the others together is named instead of drawn; of few rows all are drawn. */
static void far_rows(void **state) {
    const double bits[] = {3.5, 2.2, 2.0, 2.9, 2.3, 2.1}; /* median 2.2, best 2.0: up to 3.0 they are drawn */
    (void)state;
    char *md = rows_with("far", bits, 6), *few = rows_with("few", bits, 4);
    if (strstr(md, "gnuplot is not installed")) skip();
    has(md, "paired and narrower. Not drawn, because far above: r0 (3.510).");
    char *drawn = content("far/positions.tsv");
    assert_null(strstr(drawn, "r0 "));
    has(drawn, "r3 ");
    assert_null(strstr(few, "Not drawn"));
    free(drawn);
    drawn = content("few/positions.tsv");
    has(drawn, "r0 ");
    free(drawn);
    free(md);
    free(few);
}

/* The key of many rows stands below the picture. */
static void many_rows(void **state) {
    double bits[12];
    (void)state;
    for (int i = 0; i < 12; i++) bits[i] = 2 + 0.1 * i;
    char *md = rows_with("many", bits, 12);
    if (strstr(md, "gnuplot is not installed")) skip();
    has(md, "(positions.svg)");
    char *svg = content("many/positions.svg");
    has(svg, "</svg>");
    has(svg, ">r11<");
    free(svg);
    free(md);
}

static void numbers(void **state) {
    struct interval v = {.value = -0.00004, .low = -0.00002, .high = 7.1};
    (void)state;
    assert_string_equal(show_interval(v, 4, true), "+0.0000 [+0.0000, +7.1000]"); /* was -0.0000 [-0.0000, ... */
    assert_string_equal(show_interval(v, 1, false), "0.0 [0.0, 7.1]");
    v.low = -7.1;
    assert_string_equal(show_interval(v, 1, true), "+0.0 [-7.1, +7.1]");
    v.value = -0.06;
    assert_string_equal(show_interval(v, 1, true), "-0.1 [-7.1, +7.1]");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(search_over_rates),
                                       cmocka_unit_test(chains),
                                       cmocka_unit_test(how_intervals_came),
                                       cmocka_unit_test(program_and_machine),
                                       cmocka_unit_test(seeds_of_all_lengths),
                                       cmocka_unit_test(no_success),
                                       cmocka_unit_test(seeds_share_samples),
                                       cmocka_unit_test(differences_of_shares),
                                       cmocka_unit_test(far_rows),
                                       cmocka_unit_test(many_rows),
                                       cmocka_unit_test(numbers)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
