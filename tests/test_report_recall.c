/* test_report_recall.c - reports and comparisons of recall on made-up results: panels of many rows, several training seeds, several
 * questions a sample; and what holds for every report: later cells, controls, limits. */
#include "harness/report.h"
#include "harness/report_retrieval.h"
#include "support/folder.h"
#include "support/made_results.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int64_t all_right[3] = {50, 50, 50}, some_right[3] = {50, 40, 20};

/* Eleven rows of recall are more than one picture holds: those that differ in a last number share a panel, the others have one. */
static void capacity_panels(void **state) {
    static const char *const names[] = {"a_4", "b_8", "a_16", "a_64", "b_32", "alone_32", "none", "a_b_4", "x", "y", "a_"};
    char *path = in_folder("panels");
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    (void)state;
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Panels\nseeds = 1\n[task recall]\ntask = recall\n");
    for (int row = 0; row < 11; row++) {
        buffer_printf(&ini, "[row %s]\narchitecture = rnn\n; cell %s 1 last recall c%d\n", names[row], names[row], row);
        char cell[16];
        snprintf(cell, sizeof cell, "c%d", row);
        struct cell_writer *w = cell_begin(r, cell, "run", "panels", names[row], "rnn", "last", 1, "recall", 1);
        fill_recall(w, "", some_right);
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    put("panels/experiment.ini", ini.data, ini.n);
    char *text = printed("panels");
    if (strstr(text, "no pictures")) fail_msg("%s", text);
    if (!strstr(text, "gnuplot is not installed")) {
        char *svg = content("panels/recall-capacity.svg");
        static const char *const words[] = {">a<",  ">b<",  ">others<",   ">4<",     ">8<", ">16<",
                                            ">64<", ">32<", ">alone_32<", ">a_b_4<", ">a_<"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (!strstr(svg, words[i])) fail_msg("no %s in the picture", words[i]);
        assert_null(strstr(svg, ">a_4<"));
        assert_null(strstr(svg, "NaN"));
        free(svg);
    }
    free(text);
    free(path);
    buffer_free(&ini);
}

/* Two training seeds over the same samples, all answers of `all` right: intervals have a width and hold the seeds as such; of a
 * sample with eight questions each counts. */
static void seeds(void **state) {
    static const char *const names[] = {"all", "some"};
    char *path = in_folder("two");
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    (void)state;
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Two\nseeds = 1, 2\n[task recall]\ntask = recall\n");
    for (int row = 0; row < 2; row++) {
        buffer_printf(&ini, "[row %s]\narchitecture = rnn\n", names[row]);
        for (int seed = 1; seed < 3; seed++) {
            char cell[32];
            snprintf(cell, sizeof cell, "c%d.%d", row, seed);
            buffer_printf(&ini, "; cell %s %d last recall %s\n", names[row], seed, cell);
            struct cell_writer *w = cell_begin(r, cell, "run", "two", names[row], "rnn", "last", seed, "recall", 1);
            fill_recall(w, "", row ? some_right : all_right);
            for (int i = 0; i < 40; i++) {
                char name[16];
                snprintf(name, sizeof name, "%06d", i);
                cell_sample(w, "generated", "kind=multi_query;pairs=8", "exact_match", name, "all", row ? 1 : 8, 8);
            }
            for (int k = 0; k < 70; k++) { /* more conditions than a table of old held */
                char condition[40];
                snprintf(condition, sizeof condition, "kind=many;pairs=%d", k);
                cell_sample(w, "generated", condition, "symbol_accuracy", "0", "all", row, 1);
                cell_sample(w, "generated", condition, "symbol_accuracy", "1", "all", 0, 1);
            }
            put_value(w, "kind=rewrite;pairs=4", "exact_match", 100, "all", -1, wilson(20, 50));
            put_value(w, "kind=rewrite;pairs=4", "exact_match_chance", 100, "all", -1, plain(0.1, 50));
            assert_int_equal(cell_commit(w, &e), 0);
        }
    }
    results_close(r);
    put("two/experiment.ini", ini.data, ini.n);
    free(printed("two"));
    char *md = content("two/report.md");
    struct interval w = wilson(50, 50); /* the samples of one seed: the other answers the same */
    char *cells = xprintf("| %.2f [%.2f, %.2f] |", 4.0, capacity(4, w.low), capacity(4, w.high));
    check_line(md, "## recall", "| all | capacity (pairs) |", cells, __LINE__);
    free(cells);
    w = wilson(150, 150);
    cells = xprintf("| 100.0 [%.1f, 100.0] |", 100 * w.low);
    check_line(md, "by memory writes between pair", "| all |", cells, __LINE__);
    free(cells);
    char *rewrite = strstr(md, "Condition: kind rewrite"), *next = rewrite ? strstr(rewrite + 1, "Condition:") : NULL;
    assert_non_null(rewrite);
    if (next) *next = 0; /* values of rewritten keys are more than the keys */
    assert_null(strstr(rewrite, "the commonest value"));
    free(md);
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(report_compare(path, path, "all", "some", f, &e), 0);
    fclose(f);
    const char *answers = strstr(text, "Exact match (%)");
    assert_non_null(answers);
    check_line(answers, "", "kind=multi_query;pairs=8", "100.0   12.5", __LINE__);
    struct report_data *d = report_load(path, &e);
    struct selection a = {.data = d,
                          .row = "all",
                          .condition = "kind=remember;pairs=4",
                          .metric = "exact_match",
                          .position = "all",
                          .seed = -1},
                     b = a;
    b.row = "some";
    while (strcmp(d->sections[a.section].task, "recall") != 0) a.section++;
    b.section = a.section;
    struct interval v = report_difference_shares(a, b), one = paired_shares(20, 0, 100);
    assert_true(v.low < one.low - 0.01); /* 50 samples, not 100 */
    cells = xprintf("100.0   80.0   +20.0 [%+.1f, %+.1f]  100", 100 * v.low, 100 * v.high);
    check_line(answers, "", "kind=remember;pairs=4", cells, __LINE__);
    check_line(text, "", "kind=many;pairs=69", "-0.5000", __LINE__);
    free(cells);
    report_data_free(d);
    free(text);
    free(path);
    buffer_free(&ini);
}

/* Without a list of cells a later one replaces all of an earlier one that measured some of the same. */
static void replaced(void **state) {
    (void)state;
    char *path = in_folder("evals");
    struct results *r = results_open(path, &e);
    for (int k = 0; k < 2; k++) {
        struct cell_writer *w = cell_begin(r, k ? "new" : "old", "run", "eval", "m", "infini", "", 1, "passkey", 1);
        for (int l = 0; l < 2 - k; l++)
            put_value(w, "haystack=repeated;needles=1;value=digits", "exact_match", 512 << l, "start", -1, wilson(10 * k, 10));
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    struct report_data *d = report_load(path, &e);
    assert_true(d && d->result_count == 1 && d->results[0].value >= 1);
    report_data_free(d);
    free(path);
}

/* Controls stand with the condition that they control; more rows than a report holds are an error, not left out. */
static void controls_and_limits(void **state) {
    (void)state;
    char *path = in_folder("full");
    struct results *r = results_open(path, &e);
    struct cell_writer *w = cell_begin(r, "c", "run", "x", "m", "infini", "", 1, "summarize", 1);
    put_value(w, "decoding=greedy", "overall", 512, "all", -1, plain(0.2, 5));
    put_value(w, "baseline=lead", "overall", 512, "all", -1, plain(0.1, 5));
    assert_int_equal(cell_commit(w, &e), 0);
    struct report_data *d = report_load(path, &e);
    struct group g[RETRIEVAL_LIMIT];
    assert_non_null(d);
    assert_int_equal(groups_of(g, d, 0), 1);
    assert_string_equal(g->condition, "decoding=greedy");
    report_data_free(d);
    for (int i = 0; i < REPORT_ROWS; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        w = cell_begin(r, name, "run", "x", name, "infini", "", 1, "summarize", 1);
        put_value(w, "decoding=greedy", "overall", 512, "all", -1, plain(0.2, 5));
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    assert_null(report_load(path, &e));
    assert_non_null(strstr(e.text, "more rows than a report holds (64)"));
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(capacity_panels), cmocka_unit_test(seeds), cmocka_unit_test(replaced),
                                       cmocka_unit_test(controls_and_limits)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
