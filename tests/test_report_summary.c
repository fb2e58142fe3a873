/* test_report_summary.c - reports of summarize and chronicle on made-up results: ceiling and floor around the rows, knock-out,
 * skipped budgets, two seeds, controls, paired questions and the lengths they depend on, the tables behind the pictures, the
 * paper's table. Expected figures are worked out here. */
#include "harness/report.h"
#include "harness/report_retrieval.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NONE, LINEAR, FULL, ROWS };
static const char *const rows[ROWS] = {"infini_none", "infini_linear", "transformer"};
static const int64_t budgets[2] = {1024, 131072}, book_budgets[2] = {2048, 6144};
#define SAMPLES 20

static void put_value(struct cell_writer *w, const char *split, const char *condition, const char *metric, int64_t context,
                      const char *position, int64_t writes, double x, double half) {
    struct measurement m = {.split = split,
                            .condition = condition,
                            .metric = metric,
                            .unit = "",
                            .position = position,
                            .context = context,
                            .writes = writes,
                            .n = SAMPLES,
                            .value = x,
                            .standard_error = half / 2,
                            .low = x - half,
                            .high = x + half};
    cell_measure(w, &m);
}

static double named_of(int row, int64_t seed, int way, int b) {
    if (row != LINEAR || way) return 0;
    return (seed == 1 ? 0.75 : 0.5) - 0.25 * b;
}

static void fill_chronicle(struct cell_writer *w, int row, int64_t seed) {
    static const char *const conditions[] = {"distractors=4;events=8;haystack=repeated;places=log",
                                             "distractors=4;events=8;haystack=repeated;knockout=off;places=log",
                                             "distractors=4;events=8;haystack=repeated;knockout=zero;places=log"};
    for (int b = 0; b < 2; b++) {
        if (row == FULL && b) {
            put_value(w, "generated", "distractors=4;events=8;haystack=repeated;places=log;skipped=beyond the window of 4224",
                      "skipped", budgets[b], "all", -1, 1, 0);
            continue;
        }
        for (int way = 0; way < (row == LINEAR ? 3 : 1); way++) {
            const char *c = conditions[way];
            double named = named_of(row, seed, way, b);
            put_value(w, "generated", c, "overall", budgets[b], "all", -1, 20 + 40 * named + 10 * b, 2);
            put_value(w, "generated", c, "events_named", budgets[b], "all", -1, named, 0.1);
            put_value(w, "generated", c, "words_named", budgets[b], "all", -1, 0.5 + named / 2, 0.1);
            put_value(w, "generated", c, "ceiling_overall", budgets[b], "all", -1, b ? 100 : 31.25, 0);
            put_value(w, "generated", c, "floor_overall", budgets[b], "all", -1, b ? 61.5 : 17.5, 1);
            put_value(w, "generated", c, "events_within", budgets[b], "all", -1, b ? 8 : 1, 0);
            put_value(w, "generated", c, "output_words", budgets[b], "all", -1, 44 - 2 * way, 1);
            put_value(w, "generated", c, "reference_words", budgets[b], "all", -1, 88, 0);
            put_value(w, "generated", c, "events_named", budgets[b], "writes", b ? 512 : 4, named, 0.1);
            put_value(w, "generated", c, "events_named", budgets[b], "writes", 2, named, 0.1); /* at both budgets */
            for (int i = 0; i < SAMPLES; i++) { /* each sample has four events of which so many are named */
                char name[40];
                snprintf(name, sizeof name, "L%lld-%d", (long long)budgets[b], i);
                cell_sample(w, "generated", c, "events_named", name, "all", 4 * named, 4);
            }
        }
    }
}

/* Above the first words and the frequent ones; a random summary is better for every second text, by as much as it is worse for the
 * others. The twin says less than a tenth fewer words, full attention more than that. */
static void fill_summaries(struct cell_writer *w, int row) {
    static const char *const conditions[] = {"", "baseline=lead", "baseline=frequent", "baseline=random", "knockout=zero"};
    static const double better[] = {0, -1, -2, 0, -3}, words[ROWS] = {112.5, 123.5, 100};
    for (int b = 0; b < 2; b++)
        for (int c = 0; c < (row == LINEAR ? 5 : 4); c++) {
            static const char *const metrics[] = {"rouge1", "rouge2", "rougeL", "rougeLsum", "overall"};
            int64_t budget = book_budgets[b];
            double base = 10 * row + b + 5;
            for (int k = 0; k < 5; k++)
                put_value(w, "validation", conditions[c], metrics[k], budget, "all", -1, base + better[c] + 0.25 * k, 0.5);
            put_value(w, "validation", conditions[c], "output_words", budget, "all", -1, words[row], 3);
            put_value(w, "validation", conditions[c], "reference_words", budget, "all", -1, 410.25, 3);
            for (int i = 0; i < SAMPLES; i++) {
                char name[40];
                snprintf(name, sizeof name, "L%lld-book%d", (long long)budget, i);
                cell_sample(w, "validation", conditions[c], "rouge1", name, "all", base + better[c] + (c == 3 ? i % 2 ? 1 : -1 : 0),
                            1);
            }
            if (c && c < 4) continue;
            put_value(w, "validation", conditions[c], "stopped", budget, "all", -1, 0.35, 0.1);
            put_value(w, "validation", conditions[c], "read_tokens", budget, "all", -1, b ? 5980.25 : 2048, 0);
        }
}

static void fill(void) {
    char *path = in_folder("r");
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Books\ntable = table4\nseeds = 1, 2\n[budget]\ntokenizer = bytes\nsegment = 64\nlr "
                        "= 0.003\n[stage pretrain]\nlr = 0.002\n"
                        "[stage fine_tune]\nlr = 0.001\n");
    for (int row = 0; row < ROWS; row++) {
        const char *architecture = row == FULL ? "transformer" : "infini";
        buffer_printf(&ini, "[row %s]\narchitecture = %s\n", rows[row], architecture);
        if (row != FULL) buffer_printf(&ini, "update = %s\n", rows[row] + 7);
        for (int task = 0; task < 2; task++)
            for (int64_t seed = 1; seed <= (row == LINEAR ? 2 : 1); seed++) {
                char cell[64];
                const char *name = task ? "squality" : "length", *kind = task ? "summarize" : "chronicle";
                snprintf(cell, sizeof cell, "c%d-%d-%d", row, task, (int)seed);
                buffer_printf(&ini, "; cell %s %d done %s %s\n", rows[row], (int)seed, name, cell);
                struct cell_writer *w = cell_begin(r, cell, "run", "books", rows[row], architecture, "done", seed, kind, 1);
                if (task)
                    fill_summaries(w, row);
                else
                    fill_chronicle(w, row, seed);
                assert_int_equal(cell_commit(w, &e), 0);
            }
    }
    buffer_printf(&ini, "[task length]\ntask = chronicle\n[task squality]\ntask = summarize\ntemperature = 0.5\n");
    results_close(r);
    put("r/experiment.ini", ini.data, ini.n);
    buffer_free(&ini);
    free(path);
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("'%s' is not in\n%.6000s", part, text);
}

static void reports(void **state) {
    (void)state;
    fill();
    char *path = in_folder("r");
    FILE *out = tmpfile();
    if (report(path, out, &e)) fail_msg("%s", e.text);
    fclose(out);
    free(path);
    char *md = content("r/report.md");
    /* chronicle */
    has(md, "1K (n = 20)"); /* narratives: two seeds read the same ones */
    has(md, "| lists only what was read: all events within reach, nothing else | 31.2 [31.2, 31.2] | 100.0 [100.0, 100.0] |");
    has(md, "| floor: as many events, their words drawn | 17.5 ");
    has(md, "| infini\\_none | 20.0 [18.0, 22.0]; 44.0 | 30.0 [28.0, 32.0]; 44.0 |");
    has(md, "| infini\\_linear, memory off | 20.0 ");
    has(md, "| transformer | 20.0 [18.0, 22.0]; 44.0 | skipped |");
    has(md, "| infini\\_linear | 45.0 "); /* mean of the seeds: 20 + 40 * 0.625 */
    has(md, "| infini\\_linear | 62.5 "); /* events named, per cent */
    has(md, "| infini\\_linear, memory zero | words said | 40.0 [39.0, 41.0] |");
    has(md, "| words of the reference | 88.0 [88.0, 88.0] |");
    has(md, "4–7"); /* writes */
    /* two lengths of the same narratives: none of 20, not of 40; two seeds 0.75 and 0.5, 0.5 and 0.25 */
    has(md, "| infini\\_none | 0.0 [0.0, 16.1] | 0.0 [0.0, 16.1] | 0.0 [0.0, 16.1] |");
    has(md, "| infini\\_linear | 50.0 [");
    has(md, "512–1023");
    has(md, "Is infini\\_linear better than infini\\_none, its local-only twin?");
    /* the head has n of its own metric */
    has(md, "| row | 1K (n = 20) | 128K (n = 20) |\n|:--|--:|--:|\n| infini\\_none | 0.0 [0.0, 16.1]");
    has(md, "no upper bound");
    has(md, "yes: +75.0 ["); /* the paired difference at 1K, in points */
    /* summarize */
    /* two seeds that agree: t of 19 degrees of freedom times 0.25 */
    has(md, "| infini\\_linear | 6K | 5 980 | 20 | 16.00 [15.48, 16.52] | 16.25 ");
    has(md, "| infini\\_linear: the most frequent words | 6K | 5 980 | 20 | 14.00 ");
    has(md, "| infini\\_linear, memory zero | 2K | 2 048 | 20 | 12.00 ");
    has(md, "| 123.5 | 410.2 | 35 % |");
    has(md, "| Does infini\\_linear say more than the first words of the text, as many? | yes: +1.0 [+1.0, +1.0], n 20; 123.5 "
            "against 123.5 words |");
    has(md, "| Does transformer say more than the most frequent words, as many? | yes: +2.0 [");
    has(md, "| Does infini\\_linear say more than a random training summary, as many? | not shown: +0.0 [");
    has(md, "| Does infini\\_linear lose when its memory reads 0? | yes: +3.0 [");
    has(md, "its local-only twin? | yes: +10.0 [+10.0, +10.0], n 20; 123.5 against 112.5 words |");
    has(md,
        "| Is infini\\_linear better than transformer? | lengths differ, not comparable: -10.0 [-10.0, -10.0], n 20; 123.5 against "
        "100.0 words |");
    /* the paper */
    has(md, "Beside the paper's Table 4");
    has(md, "| paper: Infini-Transformer (Linear + Delta) | 40.0 | 8.8 | 17.9 | 18.5 | – |");
    has(md, "- BART: taken over by the paper from Bertsch et al. 2023");
    has(md, "- Infini-Transformer (Linear): arXiv 2404.07143v2, Table 4.");
    has(md, "| learning rate of fine-tuning | 0.0001 | 0.001 |");
    has(md,
        "| squality, infini\\_linear | 16.00 [15.48, 16.52] | 16.25 [15.73, 16.77] | 16.50 [15.98, 17.02] | 17.00 [16.48, 17.52] | "
        "123.5 | 5 980 | 6K | 20 |");
    has(md, "| squality, a random training summary, as long as infini\\_none's | 6.00 ");
    has(md, "not verified by anybody here: 18.02 at 16K");
    /* the tables behind the pictures */
    char *tsv = content("r/chronicle-rouge.tsv");
    has(tsv, "ceiling - 1024 31.25\nceiling - 131072 100\n\n\nfloor - 1024 17.5\n");
    has(tsv, "infini_none - 1024 20 18 22 20\ninfini_none - 131072 30 28 32 20\n\n\n");
    has(tsv, "transformer - 1024 20 18 22 20\n\n\n");
    free(tsv);
    tsv = content("r/chronicle-events.tsv");
    has(tsv, "infini_none - 1024 0 0 16.1125 20\n"); /* no share is below 0; Wilson of none of 20 */
    free(tsv);
    tsv = content("r/chronicle-words.tsv");
    has(tsv, "infini_none - 1024 50 40 60 20\n");
    free(tsv);
    tsv = content("r/summaries-rouge.tsv");
    has(tsv, "infini_none - 2048 6 5.5 6.5 20\ninfini_none - 6144 7 6.5 7.5 20\n\n\n");
    assert_null(strstr(tsv, "ceiling"));
    free(tsv);
    if (strstr(md, "gnuplot is not installed")) {
        free(md);
        return;
    }
    has(md, "(summaries-rouge.svg)");
    char *svg = content("r/chronicle-rouge.svg");
    has(svg, "lists only what was read");
    free(svg);
    svg = content("r/summaries-rouge.svg");
    has(svg, "budget of tokens (a shorter text is read whole)");
    has(svg, "transformer");
    free(svg);
    free(md);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reports)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
