/* test_check.c - the accuracy gate: tolerances by hand and by simulation, verdicts, its files, updates and what they refuse. */
#include "harness/check_private.h"
#include "harness/results.h"
#include "support/folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RULES                                                                                                                      \
    "task,stage,row,condition,position,metric,kind,bound\n"                                                                        \
    "t,*,*,*,*,count,exact,0\nt,*,*,*,*,logit,exact,0.01\nt,*,*,*,*,bits,statistical,\nt,*,secret,*,*,loss,ignored,\n"             \
    "t,*,*,*,*,loss,statistical,\n"

/* One measurement of a seed; row "a", "b" ... */
struct value {
    const char *row, *metric;
    double value;
};

/* A folder with the values of one seed after the other: values [seeds][n]. */
static void fill(const char *name, const struct value *v, int seeds, int n, const double *shift) {
    char *path = in_folder(name);
    struct results *r = results_open(path, &e);
    assert_non_null(r);
    for (int s = 0; s < seeds; s++)
        for (int i = 0; i < n; i++) {
            char cell[32];
            snprintf(cell, sizeof cell, "c-%d-%d", s, i);
            struct cell_writer *w = cell_begin(r, cell, "run", "x", v[i].row, "infini", "train", s + 1, "t", 1);
            cell_measure(w, &(struct measurement){.split = "test",
                                                  .condition = "k=1",
                                                  .metric = v[i].metric,
                                                  .position = "all",
                                                  .writes = -1,
                                                  .n = 1,
                                                  .value = v[i].value + (shift ? shift[s * n + i] : 0),
                                                  .standard_error = NAN,
                                                  .low = NAN,
                                                  .high = NAN});
            assert_int_equal(cell_commit(w, &e), 0);
        }
    results_close(r);
    free(path);
}

static struct check_options options(const char *folder_name, const char *against) {
    static char a[2][300];
    snprintf(a[0], sizeof a[0], "%s/%s", folder, folder_name);
    snprintf(a[1], sizeof a[1], "%s/%s", folder, against);
    return (struct check_options){.folder = a[0], .against = a[1], .seed = -1};
}

/* What check or update prints; *status: what it returns. */
static char *said(int (*f)(const struct check_options *, FILE *, struct error *), const struct check_options *o, int *status) {
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    *status = f(o, out, &e);
    fclose(out);
    return text;
}

static int status_of(int (*f)(const struct check_options *, FILE *, struct error *), const struct check_options *o) {
    int status;
    free(said(f, o, &status));
    return status;
}

static char *file(const char *name) {
    char *path = in_folder(name);
    size_t n;
    char *text = read_file(path, &n, &e);
    free(path);
    return text;
}

static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

/* Student's t at 0.99995 with 19 and 0.99995 with 247 degrees of freedom, at 0.995 with 2: by Simpson's rule in another program. */
static void tolerance(void **state) {
    (void)state;
    assert_true(fabs(check_tolerance(1, 19, 20, 1, 100) / (4.897461588876695 * sqrt(1.05)) - 1) < 1e-6);
    assert_true(fabs(check_tolerance(0.5, 247, 20, 5, 100) / (3.9550697841306715 * 0.5 * sqrt(0.25)) - 1) < 1e-6);
    assert_true(fabs(check_tolerance(1, 2, 1, 1, 1) / (9.924843200919042 * sqrt(2)) - 1) < 1e-6);
}

/* ---- false alarms ---- */
enum { FAMILIES = 5, ROWS = 6, CELLS = FAMILIES * ROWS, SEEDS = 20, RUNS = 1500 };

/* What a training seed gives in row i of a family: independent rows, rows that share what all of a seed read, rows that scatter
 * from 1 to 1 + i times as much. */
static double drawn(struct rng *r, int kind, int row, double shared) {
    double x = rng_normal(r);
    return kind == 0 ? x : kind == 1 ? 0.99 * shared + 0.14 * x : (1 + row) * x;
}

/* Of 1500 measurements of 20 seeds, each held against one more seed, how many raise an alarm at all. */
static int alarms_of(int kind, int *caught) {
    static double x[CELLS][SEEDS];
    struct rule rule = {.kind = CHECK_STATISTICAL, .bound = NAN};
    struct cell room[CELLS];
    struct cells cells = {.x = room, .count = CELLS};
    struct rng r;
    int alarms = 0;
    rng_seed(&r, 7, (uint64_t)kind + 1);
    for (int run = 0; run < RUNS; run++) {
        double now[CELLS];
        for (int s = 0; s <= SEEDS; s++) /* the last is the one that is judged */
            for (int family = 0; family < FAMILIES; family++) {
                double shared = rng_normal(&r);
                for (int i = 0; i < ROWS; i++)
                    *(s < SEEDS ? &x[family * ROWS + i][s] : &now[family * ROWS + i]) = drawn(&r, kind, i, shared);
            }
        for (int i = 0; i < CELLS; i++) {
            struct cell *c = &room[i];
            *c = (struct cell){.rule = &rule, .seeds = SEEDS};
            snprintf(c->key.metric, sizeof c->key.metric, "m%d", i / ROWS);
            snprintf(c->key.row, sizeof c->key.row, "r%d", i % ROWS);
            for (int s = 0; s < SEEDS; s++) c->mean += x[i][s] / SEEDS;
            for (int s = 0; s < SEEDS; s++) c->squares += (x[i][s] - c->mean) * (x[i][s] - c->mean);
        }
        bool alarm = false;
        for (int i = 0; i < CELLS; i++) {
            struct expectation e1 = {.kind = CHECK_STATISTICAL, .value = room[i].mean, .seeds = SEEDS};
            struct cell one = {.seeds = 1, .mean = now[i]};
            check_spread(&cells, &room[i], &e1);
            alarm = alarm || !check_judge(&e1, &one, CELLS).good;
            one.mean = 10;
            if (i == 0) *caught += !check_judge(&e1, &one, CELLS).good;
        }
        alarms += alarm;
    }
    return alarms;
}

static void false_alarms(void **state) {
    (void)state;
    /* 1 % of 1500 is 15; 30 and more would happen once in 3000 times. Shared rows and loud ones raise fewer: Bonferroni, and the
     * larger of two spreads. */
    for (int kind = 0; kind < 3; kind++) {
        int caught = 0, alarms = alarms_of(kind, &caught);
        if (alarms >= 30) fail_msg("rows of kind %d: %d false alarms in %d runs", kind, alarms, RUNS);
        if (kind < 2) assert_true(caught > RUNS * 99 / 100);
    }
}

static const struct value measured[] = {{"a", "count", 7}, {"a", "logit", 0.5},   {"a", "bits", 2},
                                        {"b", "bits", 3},  {"secret", "loss", 9}, {"b", "unruled", 1}};
#define MEASURED 6
/* Three seeds: a's bits are 2 - 0.1, 2, 2 + 0.1, b's 3 - 0.2, 3, 3 + 0.2. */
static const double shifts[3 * MEASURED] = {0, 0.001, -0.1, -0.2, 1, 0, 0, 0, 0, 0, 2, 0, 0, -0.001, 0.1, 0.2, 3, 0};

static void measure(const char *where) {
    char *rules = xprintf("%s/rules.csv", where);
    put_text(rules, RULES);
    free(rules);
}

static void first_measurement(void **state) {
    (void)state;
    int status;
    measure("g");
    fill("three", measured, 3, MEASURED, shifts);
    struct check_options o = options("three", "g/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "4 added"));
    assert_non_null(strstr(text, "3 seeds, spreads measured anew"));
    free(text);
    struct expectations x;
    assert_int_equal(expectations_read(&x, o.against, false, &e), 0);
    assert_int_equal(x.count, 4);
    assert_int_equal(expectations_statistical(&x), 2);
    /* a's variance is 0.01, b's 0.04; pooled 0.025; b scatters more and keeps its own; degrees of freedom are those of one row */
    const struct expectation *a = &x.x[0], *b = &x.x[3];
    assert_string_equal(a->key.row, "a");
    assert_string_equal(a->key.metric, "bits");
    assert_true(fabs(a->spread - sqrt(0.025)) < 1e-8 && a->df == 2 && a->seeds == 3 && fabs(a->value - 2) < 1e-9);
    assert_true(fabs(b->spread - 0.2) < 1e-8 && b->df == 2 && fabs(b->value - 3) < 1e-9);
    expectations_free(&x);
    assert_null(file("g/history.csv")); /* nothing had to be excused */
    assert_int_equal(status_of(check_run, &o), 0);
}

/* A seed of its own, with what is changed. */
static int judge(const char *name, const char *row, const char *metric, double value, char **text) {
    struct value v[MEASURED];
    int status;
    memcpy(v, measured, sizeof v);
    for (int i = 0; i < MEASURED; i++)
        if (strcmp(v[i].row, row) == 0 && strcmp(v[i].metric, metric) == 0) v[i].value = value;
    fill(name, v, 1, MEASURED, NULL);
    struct check_options o = options(name, "g/expected.csv");
    *text = said(check_run, &o, &status);
    return status;
}

static void verdicts(void **state) {
    (void)state;
    char *text;
    double limit = check_tolerance(sqrt(0.025), 2, 3, 1, 2);
    assert_int_equal(judge("same", "a", "bits", 2, &text), 0);
    assert_non_null(strstr(text, "PASS: 4 of 4 cells pass"));
    free(text);
    assert_int_equal(judge("inside", "a", "bits", 2 + 0.999 * limit, &text), 0);
    free(text);
    assert_int_equal(judge("outside", "a", "bits", 2 - 1.001 * limit, &text), 1);
    assert_non_null(strstr(text, "FAIL: 3 of 4 cells pass"));
    char *errors = xprintf("%+.1f", -1.001 * limit / (sqrt(0.025) * sqrt(1 / 3.0 + 1)));
    if (!strstr(text, errors)) fail_msg("no %s in %s", errors, text);
    free(errors);
    free(text);
    assert_int_equal(judge("count", "a", "count", 8, &text), 1);
    free(text);
    assert_int_equal(judge("logit", "a", "logit", 0.5099, &text), 0);
    free(text);
    assert_int_equal(judge("logit2", "a", "logit", 0.4899, &text), 1);
    free(text);
    assert_int_equal(judge("nan", "b", "bits", NAN, &text), 1);
    free(text);
}

/* What was not measured fails, unless the run was a part; what nobody expects fails. */
static void missing(void **state) {
    (void)state;
    int status;
    fill("part", measured, 1, 3, NULL);
    struct check_options o = options("part", "g/expected.csv");
    char *text = said(check_run, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "MISSING"));
    free(text);
    o.partial = true;
    assert_int_equal(status_of(check_run, &o), 0);
    static const struct value more[] = {
        {"a", "count", 7}, {"a", "logit", 0.5}, {"a", "bits", 2}, {"b", "bits", 3}, {"new", "bits", 1}};
    fill("more", more, 1, 5, NULL);
    o = options("more", "g/expected.csv");
    text = said(check_run, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "UNEXPECTED"));
    free(text);
    static const struct value other[] = {{"z", "unruled", 1}};
    fill("other", other, 1, 1, NULL);
    o = options("other", "g/expected.csv");
    o.partial = true;
    assert_int_equal(status_of(check_run, &o), -1);
    assert_says("none of the cells");
}

/* Two failures, a name that needs escaping; JUnit XML and JSON say the same. */
static void reports(void **state) {
    (void)state;
    static const struct value v[] = {{"a", "count", 7}, {"a", "logit", 0.7}, {"a", "bits", 9}, {"b", "bits", 3}};
    fill("bad", v, 1, 4, NULL);
    struct check_options o = options("bad", "g/expected.csv");
    assert_int_equal(status_of(check_run, &o), 1);
    char *xml = file("bad/junit.xml"), *path = in_folder("bad/check.json");
    assert_non_null(strstr(xml, "<testsuite name=\"infinibench check\" tests=\"4\" failures=\"2\""));
    assert_non_null(
        strstr(xml, "name=\"a after train: bits (k=1)\"><failure type=\"FAIL\" message=\"expected 2, measured 9, tolerance "));
    assert_non_null(strstr(xml, "standard errors off\"/></testcase>"));
    int open = 0;
    for (const char *c = xml; *c; c++) open += *c == '<' ? 1 : *c == '>' ? -1 : 0, assert_true(open == 0 || open == 1);
    json_error_t je;
    json_t *j = json_load_file(path, 0, &je);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "verdict")), "fail");
    assert_int_equal(json_integer_value(json_object_get(j, "failed")), 2);
    json_t *worst = json_array_get(json_object_get(j, "cells"), 0);
    assert_string_equal(json_string_value(json_object_get(worst, "outcome")), "FAIL");
    assert_true(fabs(json_number_value(json_object_get(worst, "expected")) - json_number_value(json_object_get(worst, "measured")) +
                     json_number_value(json_object_get(worst, "difference"))) < 1e-9);
    json_decref(j);
    free(path);
    free(xml);
}

/* One seed: what is within tolerance stays; what is not needs a reason, which is kept. */
static void update_one(void **state) {
    (void)state;
    int status;
    char *before = file("g/expected.csv");
    struct check_options o = options("same", "g/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "stays as it is"));
    free(text);
    o = options("bad", "g/expected.csv");
    text = said(check_update, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "refused: 2 cells"));
    assert_non_null(strstr(text, "beyond tolerance"));
    free(text);
    o.reason = "";
    assert_int_equal(status_of(check_update, &o), 1);
    char *after = file("g/expected.csv");
    assert_string_equal(before, after);
    free(after);
    assert_null(file("g/history.csv"));
    o.reason = "a new \"kernel\", measured";
    assert_int_equal(status_of(check_update, &o), 0);
    struct expectations x;
    assert_int_equal(expectations_read(&x, o.against, false, &e), 0);
    assert_true(x.count == 4 && x.x[0].value == 9 && x.x[0].seeds == 1 && x.x[0].df == 2 &&
                fabs(x.x[0].spread - sqrt(0.025)) < 1e-8);
    assert_true(x.x[3].value == 3 && x.x[3].seeds == 3);
    expectations_free(&x);
    text = file("g/history.csv");
    assert_non_null(strstr(text, ",a,train,t,k=1,bits,0,all,-1,beyond tolerance,2,9,"));
    assert_non_null(strstr(text, "\"a new \"\"kernel\"\", measured\"\n"));
    free(text);
    assert_int_equal(status_of(check_run, &o), 0);
    put_text("g/expected.csv", before);
    free(before);
}

/* Cells that go, spreads that widen, seeds that are missing, cells that do not vary or vary although they are exact. */
static void update_refuses(void **state) {
    (void)state;
    int status;
    fill("gone", measured, 3, 3, (double[]){0, 0, -0.1, 0, 0, 0, 0, 0, 0.1});
    struct check_options o = options("gone", "g/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "1 gone"));
    free(text);
    o.partial = true; /* the rest stays; the spread of one row of two alone is smaller */
    text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "3 replaced"));
    assert_non_null(strstr(text, "Each seed against expectations from the others: 0 of 3 seeds would raise an alarm"));
    free(text);
    text = file("g/history.csv"); /* kept, with an empty reason */
    assert_non_null(strstr(text, ",a,train,t,k=1,bits,0,all,-1,replaced,2,2,"));
    free(text);
    struct expectations x;
    assert_int_equal(expectations_read(&x, o.against, false, &e), 0);
    assert_int_equal(x.count, 4);
    expectations_free(&x);
    double wide[3 * MEASURED];
    for (int i = 0; i < 3 * MEASURED; i++) wide[i] = i % MEASURED < 2 ? 0 : 3 * shifts[i];
    fill("wide", measured, 3, MEASURED, wide);
    o = options("wide", "g/expected.csv");
    text = said(check_update, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "wider tolerance"));
    free(text);
    measure("h");
    fill("exact", measured, 2, MEASURED, (double[2 * MEASURED]){0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0});
    o = options("exact", "h/expected.csv");
    assert_int_equal(status_of(check_update, &o), -1);
    assert_says("count of a (t, k=1) is exact within 0 by the rules, but seeds differ from 7 to 8");
    fill("constant", measured, 2, MEASURED, NULL);
    o = options("constant", "h/expected.csv");
    assert_int_equal(status_of(check_update, &o), -1);
    assert_says("is the same for all 2 seeds");
    o.seed = 1;
    assert_int_equal(status_of(check_update, &o), -1);
    assert_says("the spread of bits (t after train, k=1) was never measured");
    fill("uneven", measured, 2, MEASURED, NULL);
    fill("uneven2", measured, 1, 1, NULL);
    char *uneven = in_folder("uneven"), *lines = xprintf("%s/results.csv", uneven);
    size_t n;
    char *all = read_file(lines, &n, &e), *last = strstr(all, "b,infini,train,2,t");
    while (last > all && last[-1] != '\n') last--;
    assert_int_equal(write_file(lines, all, (size_t)(last - all), &e), 0);
    o = options("uneven", "h/expected.csv");
    assert_int_equal(status_of(check_update, &o), -1);
    assert_says("finish the run first");
    free(all);
    free(lines);
    free(uneven);
    char *none = file("h/expected.csv");
    assert_null(none);
}

/* One sample more or less never is an alarm where the rules say so, however little seeds scatter. */
static void floors(void **state) {
    (void)state;
    struct rule rule = {.kind = CHECK_STATISTICAL, .bound = 1};
    struct expectation x = {.kind = CHECK_STATISTICAL, .value = 1, .spread = 1e-6, .df = 19, .seeds = 20};
    struct cell c = {.rule = &rule, .seeds = 1, .mean = 1 - 1 / 20.0, .floor = rule.bound / 20};
    assert_true(check_judge(&x, &c, 100).good);
    c.mean = 1 - 2 / 20.0;
    assert_false(check_judge(&x, &c, 100).good);
    put_text("share/rules.csv", "task,stage,row,condition,position,metric,kind,bound\nt,*,*,*,*,bits,statistical,1\n");
    static const struct value v[] = {{"a", "bits", 2}};
    fill("share3", v, 3, 1, (double[]){0, -1e-6, 0});
    struct check_options o = options("share3", "share/expected.csv");
    assert_int_equal(status_of(check_update, &o), 0);
    static const struct value flipped[] = {{"a", "bits", 1}}, two[] = {{"a", "bits", 0}};
    fill("share1", flipped, 1, 1, NULL); /* n = 1: a sample is worth 1 */
    o = options("share1", "share/expected.csv");
    assert_int_equal(status_of(check_run, &o), 0);
    fill("share0", two, 1, 1, NULL);
    o = options("share0", "share/expected.csv");
    assert_int_equal(status_of(check_run, &o), 1);
}

/* An event of one seed in ten is seen when each seed is held against the others. */
static void left_out(void **state) {
    (void)state;
    int status;
    double shift[10];
    for (int i = 0; i < 10; i++) shift[i] = i == 6 ? 5 : 0.01 * (i % 3);
    static const struct value v[] = {{"a", "bits", 2}};
    fill("rare", v, 10, 1, shift);
    measure("rare-g");
    struct check_options o = options("rare", "rare-g/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(
        strstr(text, "1 of 10 seeds would raise an alarm, in 1 cells\n    seed 7: a after train, t bits (k=1): 7, expected 2.01"));
    free(text);
}

/* What depends on the seed alone is exact for that seed: not judged for another, not taken from several. */
static void of_one_seed(void **state) {
    (void)state;
    int status;
    put_text("seed/rules.csv",
             "task,stage,row,condition,position,metric,kind,bound\nt,*,*,*,*,count,seed,0\nt,*,*,*,*,bits,statistical,\n");
    struct value v[] = {{"a", "count", 7}, {"a", "bits", 2}};
    double shift[] = {0, 0, 1, 0.1, 2, -0.1};
    fill("seed3", v, 3, 2, shift);
    struct check_options o = options("seed3", "seed/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "1 added"));
    free(text);
    o.seed = 2;
    o.partial = true;
    text = said(check_update, &o, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "1 added"));
    free(text);
    text = file("seed/expected.csv");
    assert_non_null(strstr(text, "a,train,t,test,k=1,count,0,seed 2,-1,exact,8,0,,\n"));
    free(text);
    o.partial = false;
    assert_int_equal(status_of(check_run, &o), 0);
    o.seed = 3; /* 9, and nothing is expected of seed 3 */
    assert_int_equal(status_of(check_run, &o), 0);
    o.seed = -1;
    assert_int_equal(status_of(check_run, &o), 0);
    assert_int_equal(status_of(check_update, &o), 0);
    shift[2] = 2;
    fill("seed3b", v, 2, 2, shift);
    o = options("seed3b", "seed/expected.csv");
    o.seed = 2;
    text = said(check_run, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "seed 2"));
    free(text);
}

/* All that cannot be expected is said at once; so is a task that was only skipped. */
static void problems(void **state) {
    (void)state;
    int status;
    measure("p");
    static const struct value v[] = {{"a", "bits", 2}, {"b", "count", 3}, {"c", "skipped", 1}, {"a", "skipped", 1}};
    fill("problems", v, 2, 4, (double[]){0, 0, 0, 0, 0, 1, 0, 0});
    struct check_options o = options("problems", "p/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, -1);
    assert_says("bits of a (t, k=1) is the same for all 2 seeds");
    assert_non_null(strstr(text, "count of b (t, k=1) is exact within 0"));
    assert_non_null(strstr(text, "t of c after train was only skipped (k=1): nothing guards it"));
    assert_null(strstr(text, "t of a after train was only skipped"));
    free(text);
}

/* Runs of two programs are not taken together without a reason. */
static void programs(void **state) {
    (void)state;
    int status;
    measure("m");
    fill("mixed", measured, 3, MEASURED, shifts);
    put_text("mixed/runs/a.json", "{\"commit\": \"0123456789abcdef\", \"dirty\": false}");
    put_text("mixed/runs/b.json", "{\"commit\": \"0123456789abcdef\", \"dirty\": true}");
    struct check_options o = options("mixed", "m/expected.csv");
    char *text = said(check_update, &o, &status);
    assert_int_equal(status, 1);
    assert_non_null(strstr(text, "more than one program: a.json of commit 0123456789ab, b.json of 0123456789ab with changes"));
    free(text);
    put_text("mixed/runs/b.json", "{\"commit\": \"fedcba9876543210\", \"dirty\": false}");
    assert_int_equal(status_of(check_update, &o), 1);
    assert_null(file("m/expected.csv"));
    o.reason = "only a comment changed";
    assert_int_equal(status_of(check_update, &o), 0);
    put_text("mixed/runs/b.json", "{");
    assert_int_equal(check_programs(o.folder, &e), -1);
    assert_says("b.json is not JSON");
}

static void broken_files(void **state) {
    (void)state;
    static const struct {
        const char *expected, *says;
    } cases[] = {
        {"row,metric\n", "expected 'row,stage,task"},
        {"a,s,t,x,,m,0,all,-1,exact,x,1,,\n", "expected.csv:2: column value is 'x'"},
        {"a,s,t,x,,m,0,all,-1,exakt,1,1,,\n", "expected.csv:2: kind 'exakt' is not exact or statistical"},
        {"a,s,t,x,,m,0,all,-1,exact,1,-1,,\n", "expected.csv:2: value must be finite"},
        {"a,s,t,x,,m,0,all,-1,statistical,1,0.1,,20\n", "expected.csv:2: column df"},
        {"a,s,t,x,,m,0,all,-1,statistical,1,0,19,20\n", "expected.csv:2: a statistical cell needs spread above 0"},
        {"a,s,t,x,,m,0,all,-1,exact,1,1,,\na,s,t,x,,m,0,all,-1,exact,2,1,,\n", "there twice"},
        {"", "no cell is expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text =
            xprintf("%s%s", i ? "row,stage,task,split,condition,metric,context,position,writes,kind,value,spread,df,seeds\n" : "",
                    cases[i].expected);
        put_text("broken/expected.csv", text);
        free(text);
        struct check_options o = options("same", "broken/expected.csv");
        assert_int_equal(status_of(check_run, &o), -1);
        assert_says(cases[i].says);
    }
    put_text("broken/rules.csv", "task,stage,row,condition,position,metric,kind,bound\nt,*,*,*,*,bits,statistical,-3\n");
    struct check_options o = options("same", "g/expected.csv");
    char *rules = in_folder("broken/rules.csv");
    o.rules = rules;
    assert_int_equal(status_of(check_run, &o), -1);
    assert_says("rules.csv:2: an ignored cell has no bound, a statistical one none or a number of samples");
    free(rules);
    o = options("nowhere", "g/expected.csv");
    assert_int_equal(status_of(check_run, &o), -1);
    assert_says("nowhere");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tolerance),  cmocka_unit_test(false_alarms),   cmocka_unit_test(first_measurement),
        cmocka_unit_test(verdicts),   cmocka_unit_test(missing),        cmocka_unit_test(reports),
        cmocka_unit_test(update_one), cmocka_unit_test(update_refuses), cmocka_unit_test(floors),
        cmocka_unit_test(left_out),   cmocka_unit_test(of_one_seed),    cmocka_unit_test(problems),
        cmocka_unit_test(programs),   cmocka_unit_test(broken_files)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
