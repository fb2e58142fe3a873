/* test_report_passkey.c - reports of passkey and recall on made-up results: several seeds, positions, lengths, knock-out, a depth
 * grid, missing and skipped cells. Expected figures are worked out here from the samples, not read from the report's own functions.
 */
#include "harness/report.h"
#include "harness/report_retrieval.h"
#include "support/folder.h"
#include "support/made_results.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NONE, LINEAR, DELTA, FULL, ROWS };
static const char *const rows[ROWS] = {"infini_none", "infini_linear", "infini_delta", "transformer"};
static const char *const ways[] = {"", "off", "zero"};
static const int64_t lengths[] = {32768, 131072};
static const int64_t samples[] = {40, 20};

/* How many of the first samples are right: the memory finds the needle, less well in seed 2; at the end everybody does. */
static int64_t right_of(int row, int64_t seed, int way, const char *stage, int length, int place) {
    int64_t n = samples[length];
    if (place == 2) return n;
    if (row == NONE || way || strcmp(stage, "pretrain") == 0) return 0;
    if (row == DELTA) return n;
    return seed == 1 ? n - 2 - length : n / 2;
}

static const char *condition_of(int way) {
    static char text[CONDITION_SIZE];
    snprintf(text, sizeof text, "haystack=repeated%s%s;needles=1;value=digits", way ? ";knockout=" : "", ways[way]);
    return text;
}

/* Lengths number first up to last. */
static void fill_lengths(struct cell_writer *w, int row, int64_t seed, int way, const char *stage, int first, int last) {
    const char *condition = condition_of(way);
    for (int l = first; l <= last; l++) {
        int64_t far = 0, near = 0;
        for (int p = 0; p < 3; p++) {
            int64_t n = samples[l], right = right_of(row, seed, way, stage, l, p);
            if (row == DELTA && l == 1 && p == 1) continue; /* a cell that is missing */
            for (int64_t i = 0; i < n; i++) {
                char name[48];
                snprintf(name, sizeof name, "L%lld-%s-%lld", (long long)lengths[l], passkey_places[p], (long long)i);
                cell_sample(w, "generated", condition, "exact_match", name, passkey_places[p], i < right, 1);
                cell_sample(w, "generated", condition, "digit_accuracy", name, passkey_places[p], i < right ? 1 : 0.2, 1);
            }
            double digits = (double)(right + 0.2 * (double)(n - right)) / (double)n;
            put_value(w, condition, "exact_match", lengths[l], passkey_places[p], -1, wilson(right, n));
            put_value(w, condition, "digit_accuracy", lengths[l], passkey_places[p], -1,
                      (struct interval){digits, 0.01, digits - 0.02, digits + 0.02, n, 0, 0});
            put_value(w, condition, "tokens", lengths[l], passkey_places[p], -1, plain((double)lengths[l] - 5, n));
            *(p == 2 ? &near : &far) += right;
        }
        int64_t n = samples[l];
        put_value(w, condition, "exact_match", lengths[l], "all", lengths[l] / 64, wilson(far / 2, n));
        put_value(w, condition, "exact_match", lengths[l], "all", 0, wilson(near, n));
    }
    for (int h = 0; h < 2 && row == LINEAR && !way; h++) { /* two heads; the norm of the longer prompt was not measured */
        put_value(w, condition, "gate", 0, h ? "0.1" : "0.0", -1, plain(0.25 + 0.5 * h, 1));
        if (first == 0) put_value(w, condition, "memory_norm", lengths[0], h ? "0.1" : "0.0", -1, plain(10 + 20 * h, 1));
    }
    put_value(w, condition, "digit_chance", 0, "all", -1, plain(0.1, 0));
}

static void fill_skipped(struct cell_writer *w) {
    for (int l = 0; l < 2; l++)
        put_value(w, "haystack=repeated;needles=1;skipped=beyond the window of 1280;value=digits", "skipped", lengths[l], "all", -1,
                  plain(1, 0));
}

static void fill_depths(struct cell_writer *w, int row) {
    for (int k = 0; k <= 4; k++) {
        char position[8];
        snprintf(position, sizeof position, "%.2f", 0.25 * k);
        put_value(w, condition_of(0), "exact_match", 32768, position, -1,
                  wilson(k == 4 || row == DELTA ? 10
                         : row == LINEAR        ? 2 * k
                                                : 0,
                         10));
    }
}

/* Of 1, 4 and 16 pairs the linear memory recalls 50, 40 and 20 of 50 samples, the twin 5. */
static int64_t recalled(int row, int way, int k) {
    static const int64_t linear[] = {50, 40, 20};
    return row == NONE || way ? 5 : row == DELTA ? 50 : linear[k];
}

static const struct {
    const char *name, *task, *stage;
} sections[] = {{"zero_shot", "passkey", "pretrain"},
                {"fine_tuned", "passkey", "finetune"},
                {"depth", "passkey", "finetune"},
                {"recall", "recall", "finetune"}};

static void fill(const char *name) {
    char *path = in_folder(name), *file = xprintf("%s/experiment.ini", name);
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Keys & <needles>\ntable = table3\nseeds = 1, 2\n[budget]\ntokenizer = bytes\n"
                        "segment = 64\n[task fine_tuned]\ntask = passkey\nhaystack = repeated\n");
    for (int row = 0; row < ROWS; row++) {
        const char *architecture = row == FULL ? "transformer" : "infini";
        buffer_printf(&ini, "[row %s]\narchitecture = %s\n", rows[row], architecture);
        if (row != FULL) buffer_printf(&ini, "update = %s\n", rows[row] + 7);
        for (int s = 0; s < 4; s++)
            for (int64_t seed = 1; seed <= (row == LINEAR && s == 1 ? 2 : 1); seed++) {
                char cell[64];
                snprintf(cell, sizeof cell, "c%d-%d-%d", row, s, (int)seed);
                buffer_printf(&ini, "; cell %s %d %s %s %s\n", rows[row], (int)seed, sections[s].stage, sections[s].name, cell);
                struct cell_writer *w =
                    cell_begin(r, cell, "run", "keys", rows[row], architecture, sections[s].stage, seed, sections[s].task, 1);
                bool divided = row == LINEAR && s == 1 && seed == 1; /* its longer length in a cell of its own (part_of) */
                for (int way = 0; way < (row == LINEAR && s != 2 ? 3 : 1); way++) {
                    if (s < 2 && row != FULL) fill_lengths(w, row, seed, way, sections[s].stage, 0, !divided);
                    if (s == 3)
                        fill_recall(w, ways[way], (int64_t[]){recalled(row, way, 0), recalled(row, way, 1), recalled(row, way, 2)});
                }
                if (s < 2 && row == FULL) fill_skipped(w);
                if (s == 2) fill_depths(w, row);
                assert_int_equal(cell_commit(w, &e), 0);
                if (!divided) continue;
                buffer_printf(&ini, "; cell %s 1 %s %s more\n", rows[row], sections[s].stage, sections[s].name);
                w = cell_begin(r, "more", "run", "keys", rows[row], architecture, sections[s].stage, seed, sections[s].task, 1);
                for (int way = 0; way < 3; way++) fill_lengths(w, row, seed, way, sections[s].stage, 1, 1);
                assert_int_equal(cell_commit(w, &e), 0);
            }
    }
    results_close(r);
    put(file, ini.data, ini.n);
    buffer_free(&ini);
    free(path);
    free(file);
}

#define assert_line(heading, words, part) check_line(md, heading, words, part, __LINE__)

/* "95.0 [83.5, 98.6]"; of n answers of so many training seeds, which are to the same samples: Wilson with those of one. */
static const char *of_seeds(int64_t right, int64_t n, int64_t seeds) {
    static char text[4][48];
    static int next;
    struct interval w = wilson_share((double)right / (double)n, n / seeds);
    next = (next + 1) % 4;
    snprintf(text[next], sizeof text[0], "%.1f [%.1f, %.1f]", 100 * w.value, 100 * w.low, 100 * w.high);
    return text[next];
}

static const char *percent(int64_t right, int64_t n) { return of_seeds(right, n, 1); }

static char *md; /* the report of the folder "keys", made once */

static int setup(void **state) {
    if (folder_setup(state) != 0) return -1;
    fill("keys");
    char *path = xstrdup(getenv("PATH") ? getenv("PATH") : "");
    setenv("PATH", "/nowhere", 1); /* no gnuplot */
    char *text = printed("keys");
    setenv("PATH", path, 1);
    free(path);
    bool notice = strstr(text, "no pictures: ") != NULL;
    free(text);
    md = content("keys/report.md");
    return notice ? 0 : -1;
}

static int teardown(void **state) {
    free(md);
    return folder_teardown(state);
}

static void by_length(void **state) {
    static const char fine[] = "## fine_tuned (task passkey), after stage finetune";
    (void)state;
    /* two seeds together: 38 + 20 of 80, 17 + 10 of 40; n stands in the cells because rows differ */
    char *cells = xprintf("| %s, n 80 | %s, n 40 |", of_seeds(58, 80, 2), of_seeds(27, 40, 2));
    assert_line(fine, "| infini\\_linear | start |", cells);
    free(cells);
    cells = xprintf("| %s, n 40 | –", percent(40, 40));
    assert_line(fine, "| infini\\_delta | middle |", cells);
    free(cells);
    assert_line(fine, "| transformer | all |", "| skipped | skipped |");
    assert_line(fine, "- transformer skipped", "32K, 128K: beyond the window of 1280.");
    assert_line(fine, "Exact match: all symbols", "Chance: 0.001 %");
    /* before fine-tuning all rows have one seed: n in the head */
    assert_line("## zero_shot", "| row | position |", "32K (n = 40) | 128K (n = 20) |");
    cells = xprintf("| %s | %s |", percent(0, 40), percent(0, 20));
    assert_line("## zero_shot", "| infini\\_linear | middle |", cells);
    free(cells);
    assert_line(fine, "Exact match (%) by training seed", "");
    assert_line("by training seed:", "| infini\\_linear | start | 1 |", "| 95.0 | 85.0 |");
    assert_line("by training seed:", "| infini\\_linear | start | 2 |", "| 50.0 | 50.0 |");
    const char *seeds = strstr(md, "by training seed:");
    char *table = xprintf("%.*s", (int)(strstr(seeds, "Digit accuracy") - seeds), seeds);
    assert_null(strstr(table, "infini\\_delta")); /* rows of one seed are not in it */
    free(table);
    assert_line(fine, "Digit accuracy (%)", "chance: 10.0 % a symbol");
    assert_line("## fine_tuned", "Tokens really read", "32K 32 763, 128K 131 067");
    const char *at = strstr(strstr(md, fine), "Effective length");
    check_line(at, "Effective", "| infini\\_linear |", "| 32K, none | 32K, none | 128K | 32K, none |", __LINE__);
    check_line(at, "Effective", "| infini\\_delta |", "| 128K | 32K | 128K | 32K |", __LINE__);
    check_line(at, "Effective", "| infini\\_none |", "| none | none | 128K | none |", __LINE__);
    check_line(md, "Gates and compressive memory", "| infini\\_linear | 0 |", "| 0.50 (0.25 to 0.75) | 20 | – | – | – |", __LINE__);
    check_line(at, "knocked out", "| infini\\_linear | memory off | start |", of_seeds(0, 80, 2), __LINE__);
    check_line(at, "knocked out", "| infini\\_linear | memory zero | end |", of_seeds(80, 80, 2), __LINE__);
}

static void compared(void **state) {
    (void)state;
    char *text = NULL, *path = in_folder("keys");
    size_t n;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(report_compare(path, path, "infini_linear", "infini_none", f, &e), 0);
    fclose(f);
    struct interval v = paired_shares(38, 0, 40); /* seed 1, the only one of both; the middle and the end likewise */
    char *cells = xprintf("95.0    0.0  +95.0 [%+.1f, %+.1f]  40", 100 * v.low, 100 * v.high);
    const char *at = strstr(text, "Exact match (%)"), *fine_tuned = at ? strstr(at, "fine_tuned  haystack") : NULL;
    assert_non_null(fine_tuned);
    check_line(fine_tuned, "", "32K, start", cells, __LINE__);
    check_line(fine_tuned, "", "32K, end", "100.0  100.0", __LINE__);
    check_line(fine_tuned, "", "128K, middle", "85.0    0.0", __LINE__);
    assert_non_null(strstr(at, "recall"));
    free(cells);
    free(text);
    free(path);
}

static void digits(void **state) {
    char *path = in_folder("keys");
    (void)state;
    struct report_data *d = report_load(path, &e);
    struct group g[RETRIEVAL_LIMIT];
    char room[CONDITION_SIZE];
    int section = 0;
    assert_non_null(d);
    while (strcmp(d->sections[section].name, "fine_tuned") != 0) section++;
    assert_int_equal(groups_of(g, d, section), 1);
    assert_string_equal(g->condition, "haystack=repeated;needles=1;value=digits");
    struct probe p = group_probe(g, "infini_linear", 0, room);
    p.metric = "digit_accuracy", p.position = "start", p.context = 32768;
    struct pooled x = probe_value(&p); /* seed 1: (38 + 2 * 0.2) / 40 = 0.96, seed 2: 0.6 */
    assert_true(x.seeds == 2 && x.value.n == 80 && fabs(x.value.value - 0.78) < 1e-9);
    /* between seeds: variance 2 * 0.18^2 / 2, error within 0.01: the interval is Student's t and wide */
    assert_true(fabs(x.value.standard_error - sqrt(0.18 * 0.18 + 0.0001)) < 1e-9 && x.value.df >= 1 && x.value.df < 1.1);
    /* 0.78 - 12.7 * 0.18 is no share, nor is 0.78 + 12.7 * 0.18 */
    assert_true(x.value.low >= 0 && x.value.low < 1e-9 && x.value.high <= 1 && x.value.high > 1 - 1e-9);
    assert_true(passkey_chance(g) == 0.1);
    assert_null(passkey_skipped(g, "infini_linear", 32768));
    report_data_free(d);
    free(path);
}

static void questions(void **state) {
    (void)state;
    const char *at = strstr(strstr(md, "## fine_tuned"), "Questions and answers");
    assert_non_null(at);
    /* delta against the twin: all 40 pairs differ one way; Tango by hand: n (1 - d) / (1 + d) = z^2 */
    char *yes = xprintf("yes: +100.0 [+%.1f, +100.0], n 40", 100 * (40 - 3.841459) / (40 + 3.841459));
    check_line(at, "Questions", "| Is infini\\_delta better than infini\\_none, its local-only twin: start? |", yes, __LINE__);
    free(yes);
    check_line(at, "Questions", "| Is infini\\_delta better than infini\\_none, its local-only twin: middle? |", ", n 40 | – |",
               __LINE__);
    check_line(at, "Questions", "| Does infini\\_linear lose when its gates are forced to 0: start? |", "not shown: +72.5 [",
               __LINE__);
    assert_null(strstr(at, "twin: end?"));
    at = strstr(md, "Questions and answers"); /* before fine-tuning nobody finds anything */
    char *no = xprintf("not shown: +0.0 [-%.1f, +%.1f], n 20, detectable", 100 * 3.841459 / (20 + 3.841459),
                       100 * 3.841459 / (20 + 3.841459));
    check_line(at, "Questions", "| Is infini\\_linear better than infini\\_none, its local-only twin: middle? |", no, __LINE__);
    free(no);
    check_line(at, "## recall", "| Is infini\\_linear better than infini\\_none, its local-only twin? |", "| yes: +90.0 [",
               __LINE__);
    check_line(at, "## recall", "| Is infini\\_delta better than infini\\_linear (linear update)? |", "| not shown: +0.0 [",
               __LINE__);
    check_line(at, "## recall", "| Is infini\\_linear better than transformer? |", "not shown: +0.0 [", __LINE__);
}

static void depth_and_writes(void **state) {
    (void)state;
    assert_line("## depth", "Exact match (%) by depth", "n = 10 a cell");
    assert_line("## depth", "| row | length |", "| 0 % | 25 % | 50 % | 75 % | 100 % |");
    assert_line("## depth", "| infini\\_linear | 32K |", "| 0.0 | 20.0 | 40.0 | 60.0 | 100.0 |");
    assert_null(strstr(strstr(md, "## depth"), "by length and position")); /* a grid has no start, middle, end */
    const char *at = strstr(strstr(md, "## fine_tuned"), "by memory writes between needle");
    assert_non_null(at);
    check_line(at, "writes", "| row |", "| 0 | 512 | 2048 |", __LINE__);
    char *cells = xprintf("| %s, n 120 | %s, n 80 | %s, n 40 |", of_seeds(120, 120, 2), of_seeds(58, 80, 2), of_seeds(27, 40, 2));
    check_line(at, "writes", "| infini\\_linear |", cells, __LINE__);
    free(cells);
}

static void recall(void **state) {
    (void)state;
    char *cells = xprintf("| %s | %s | %s |", percent(50, 50), percent(40, 50), percent(20, 50));
    assert_line("## recall", "| infini\\_linear | exact match (%) |", cells);
    free(cells);
    struct interval w = wilson(40, 50);
    cells = xprintf("| %.2f [%.2f, %.2f] |", capacity(4, w.value), capacity(4, w.low), capacity(4, w.high));
    assert_line("## recall", "| infini\\_linear | capacity (pairs) |", cells);
    free(cells);
    assert_line("## recall", "| row |", "1 pair (n = 50) | 4 pairs (n = 50) | 16 pairs (n = 50) |");
    assert_line("## recall", "Capacity:", "Chance: 10 % exact, 10 % a symbol.");
    assert_line("## recall", "| the commonest value, whatever the key | exact match (%) |",
                "| 100.0 | 38.3 | "); /* 1; 0.3835, below it in binary */
    assert_line("## recall", "| the commonest value, whatever the key | capacity (pairs) |",
                "| 1.00 | 1.26 | "); /* 4 (3.835 - 1) / 9 */
    assert_line("by memory writes between pair", "| infini\\_linear |", percent(110, 150));
    assert_line("Recall with the compressive memory", "| infini\\_linear | memory zero | exact match (%) |", percent(5, 50));
}

static void beside_the_paper(void **state) {
    (void)state;
    static const char heading[] = "## Beside the paper's Table 3";
    assert_line(heading, "| after | model |", "| 32K | 128K | 256K | 512K | 1M |");
    assert_line(heading, "| zero\\_shot | Infini-Transformer (Linear) |", "| 14/13/98 | 11/14/100 | 6/3/100 | 6/7/99 | 8/6/98 |");
    assert_line(heading, "| fine\\_tuned | Infini-Transformer (Linear + Delta) |",
                "| 100/100/100 | 100/100/99 | 100/100/99 | 100/100/100 | 100/100/100 |");
    assert_line(heading, "| fine\\_tuned | infini\\_linear | ours: exact match |",
                "| 72.5/72.5/100, n 80 | 67.5/67.5/100, n 40 | – |");
    assert_line(heading, "| fine\\_tuned | infini\\_linear | ours: digit accuracy |", "| 78/78/100, n 80 | 74/74/100, n 40 |");
    assert_line(heading, "| fine\\_tuned | infini\\_delta | ours: exact match |", "| 100/100/100, n 40 | 100/–/100, n 20 |");
    assert_line(heading, "| fine\\_tuned | infini\\_none | ours: exact match |", "| 0/0/100, n 40 |"); /* not in the paper */
    assert_line(heading, "| segment and key size |", "N = 64");
    assert_line(heading, "| samples a cell |", "not stated");
}

/* Every tag that is opened is closed, in order; text holds no bare '<'. */
static void well_formed(void **state) {
    char *html = content("keys/report.html"), stack[32][16];
    int depth = 0;
    (void)state;
    assert_non_null(strstr(html, "Keys &amp; &lt;needles&gt;"));
    assert_null(strstr(html, "<script"));
    for (const char *at = strchr(html, '<'); at; at = strchr(at + 1, '<')) {
        char name[16] = "";
        bool closes = at[1] == '/';
        size_t n = strspn(at + 1 + closes, "abcdefghijklmnopqrstuvwxyz123456789");
        if (strncmp(at, "<!DOCTYPE", 9) == 0) continue;
        if (!n || n >= sizeof name) fail_msg("a '<' that begins no tag: %.40s", at);
        snprintf(name, sizeof name, "%.*s", (int)n, at + 1 + closes);
        if (strcmp(name, "meta") == 0) continue;
        if (!closes) {
            assert_true(depth < 32);
            memcpy(stack[depth++], name, sizeof name);
        } else if (depth == 0 || strcmp(stack[--depth], name) != 0) {
            fail_msg("</%s> closes nothing: %.60s", name, at);
        }
    }
    assert_int_equal(depth, 0);
    free(html);
}

static void conditions(void **state) {
    char out[CONDITION_SIZE];
    (void)state;
    condition_with(out, "haystack=repeated;needles=1;value=digits", "knockout=off");
    assert_string_equal(out, "haystack=repeated;knockout=off;needles=1;value=digits");
    condition_with(out, "", "pairs=4");
    assert_string_equal(out, "pairs=4");
    condition_with(out, "kind=remember", "pairs=4");
    assert_string_equal(out, "kind=remember;pairs=4");
    condition_with(out, "kind=remember", "a=1");
    assert_string_equal(out, "a=1;kind=remember");
    condition_with(out, "kind=remember;spread=2", NULL);
    assert_string_equal(out, "kind=remember;spread=2");
    condition_base(out, "kind=remember;knockout=zero;pairs=16;spread=2");
    assert_string_equal(out, "kind=remember;spread=2");
    condition_base(out, "pairs=16");
    assert_string_equal(out, "");
    assert_string_equal(condition_value("value=digits;value_length=7", "value_length"), "7");
    assert_string_equal(condition_value("value=digits;value_length=7", "value"), "digits");
    assert_string_equal(condition_value("value=digits", "val"), "");
    double depth = -1;
    assert_true(depth_of("0.30", &depth) && depth == 0.3 && depth_of("1.00", &depth) && depth == 1);
    assert_true(!depth_of("1.01", &depth) && !depth_of("2-4", &depth) && !depth_of("start", &depth) && !depth_of("0.3x", &depth));
    assert_string_equal(show_length(32768), "32K");
    assert_string_equal(show_length(10 << 20), "10M");
    assert_string_equal(show_length(5000), "5 000");
}

/* With gnuplot: every picture as SVG and PNG, and in both documents. */
static void pictures(void **state) {
    static const char *const names[] = {"passkey-length-zero_shot", "passkey-length-fine_tuned", "passkey-depth-depth",
                                        "passkey-writes-fine_tuned", "recall-capacity"};
    (void)state;
    char *text = printed("keys");
    bool none = strstr(text, "gnuplot is not installed") != NULL;
    if (!none && strstr(text, "no pictures")) fail_msg("%s", text);
    free(text);
    if (none) skip();
    char *now = content("keys/report.md"), *html = content("keys/report.html");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *svg = xprintf("keys/%s.svg", names[i]), *png = xprintf("keys/%s.png", names[i]);
        char *a = content(svg), *b = content(png), *link = xprintf("(%s.svg)", names[i]);
        assert_non_null(strstr(a, "</svg>"));
        assert_null(strstr(a, "NaN"));
        assert_memory_equal(b + 1, "PNG", 3);
        if (!strstr(now, link)) fail_msg("no %s in report.md", link);
        free(a);
        free(b);
        free(svg);
        free(png);
        free(link);
    }
    assert_non_null(strstr(now, "n = 20 to 80 a point"));
    assert_non_null(strstr(html, "<figure>"));
    free(now);
    free(html);
}

/* A grid of 2 initial gates x 2 learning rates, one cell missing; the budget's rate where a row says none. */
static void gates(void **state) {
    (void)state;
    char *path = in_folder("gates");
    struct results *r = results_open(path, &e);
    struct text_buffer ini = {0};
    assert_non_null(r);
    buffer_printf(&ini, "[experiment]\ntitle = Gates\nseeds = 1\n[budget]\ngate_rate = 100\n[task found]\ntask = passkey\n");
    for (int row = 0; row < 4; row++) {
        char name[16], cell[16];
        snprintf(name, sizeof name, "g%d", row);
        snprintf(cell, sizeof cell, "c%d", row);
        buffer_printf(&ini, "[row %s]\narchitecture = infini\nupdate = linear\ngate_init = %d\n", name, row / 2 ? 4 : -4);
        if (row % 2 == 0) buffer_printf(&ini, "gate_rate = 1\n");
        if (row == 2) continue;
        buffer_printf(&ini, "; cell %s 1 last found %s\n", name, cell);
        struct cell_writer *w = cell_begin(r, cell, "run", "gates", name, "infini", "last", 1, "passkey", 1);
        for (int p = 0; p < 3; p++)
            put_value(w, condition_of(0), "exact_match", 512, passkey_places[p], -1, wilson(p == 2 ? 10 : row + 2 * p, 10));
        for (int h = 0; h < 2; h++)
            put_value(w, condition_of(0), "gate", 0, h ? "0.1" : "0.0", -1, plain(0.2 * (h + 1) + 0.1 * row, 1));
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    put("gates/experiment.ini", ini.data, ini.n);
    char *text = printed("gates"), *before = md;
    md = content("gates/report.md");
    assert_line("## Gates", "| initial gate", "found, 512: start / middle / end (%)");
    assert_line("## Gates", "| 0.02 | 1 |", "| 0 / 20 / 100 | 0.30 (0.20 to 0.40) |");
    assert_line("## Gates", "| 0.02 | 100 |", "| 10 / 30 / 100 | 0.40 (0.30 to 0.50) |");
    assert_line("## Gates", "| 0.98 | 1 |", "| – | – |");
    assert_line("## Gates", "| 0.98 | 100 |", "| 30 / 50 / 100 | 0.60 (0.50 to 0.70) |");
    if (!strstr(text, "gnuplot is not installed")) {
        char *svg = content("gates/gates.svg"), *tsv = content("gates/gates.tsv");
        assert_non_null(strstr(svg, "</svg>"));
        assert_non_null(strstr(tsv, "found 1 1 40 0.50–0.70 10"));
        assert_non_null(strstr(md, "(gates.svg)"));
        free(svg);
        free(tsv);
    }
    char *other = content("keys/report.md"); /* rows that are no grid */
    assert_null(strstr(other, "## Gates: initial value"));
    free(other);
    free(text);
    free(md);
    md = before;
    free(path);
    buffer_free(&ini);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),  cmocka_unit_test(by_length),
        cmocka_unit_test(compared),    cmocka_unit_test(digits),
        cmocka_unit_test(questions),   cmocka_unit_test(depth_and_writes),
        cmocka_unit_test(recall),      cmocka_unit_test(beside_the_paper),
        cmocka_unit_test(well_formed), cmocka_unit_test(pictures),
        cmocka_unit_test(gates),

    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
