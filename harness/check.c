/* check.c - the verdict of the gate: each expectation against what a folder has, as a table, JUnit XML and JSON.
 *
 * NaN fails, what is missing fails, and so does a cell of the rules that nobody expects yet: a new architecture is not guarded
 * until it has expectations. It changes no expectation (check_update.c does). */
#include "check_private.h"
#include "report_document.h"
#include "stats.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING (1 + 1e-9) /* 1 - 0.95 is a little more than 0.05 */
#define NEAREST 8           /* cells that pass in the table of a run with few failures */

enum outcome { PASSES, FAILS, MISSING, UNEXPECTED };
static const char *const outcome_names[] = {"pass", "FAIL", "MISSING", "UNEXPECTED"};

struct verdict {
    const struct check_key *key;
    const struct expectation *x; /* NULL: unexpected */
    const struct cell *c;        /* NULL: missing */
    struct judgement j;
    enum outcome outcome;
    double used; /* share of the tolerance; INFINITY where there is none */
};
struct verdicts {
    struct verdict *x;
    int count, failed;
    int64_t statistical; /* cells of the whole file: what the false alarms are divided among */
};

double check_tolerance(double spread, double df, int64_t n, int64_t k, int64_t cells) {
    double p = 1 - CHECK_FALSE_ALARMS / (2 * (double)(cells > 0 ? cells : 1));
    static double of_p, of_df, quantile; /* of the last call: cells of a file have mostly the same */
    if (p != of_p || df != of_df) {
        quantile = t_quantile(p, df);
        of_p = p;
        of_df = df;
    }
    return quantile * spread * sqrt(1 / (double)n + 1 / (double)k);
}

struct judgement check_judge(const struct expectation *x, const struct cell *c, int64_t statistical) {
    struct judgement j = {.errors = NAN};
    if (x->kind == CHECK_STATISTICAL) {
        j.measured = c->mean;
        j.tolerance = check_tolerance(x->spread, x->df, x->seeds, c->seeds, statistical);
        if (j.tolerance < c->floor * ROUNDING) j.tolerance = c->floor * ROUNDING;
        j.errors = (c->mean - x->value) / (x->spread * sqrt(1 / (double)x->seeds + 1 / (double)c->seeds));
    } else { /* of several seeds the one that is farthest off */
        j.measured = fabs(c->most - x->value) >= fabs(c->least - x->value) || isnan(c->most) ? c->most : c->least;
        j.tolerance = x->spread;
    }
    j.difference = j.measured - x->value;
    j.good = fabs(j.difference) <= j.tolerance; /* false for NaN */
    return j;
}

/* ---- judging ---- */
static int by_badness(const void *a, const void *b) {
    const struct verdict *x = a, *y = b;
    bool good_x = x->outcome == PASSES, good_y = y->outcome == PASSES;
    if (good_x != good_y) return good_x - good_y;
    if (x->used != y->used) return x->used > y->used ? -1 : 1;
    return check_key_order(x->key, y->key);
}

static void judge(struct verdicts *all, const struct check_options *o, const struct expectations *expected,
                  const struct cells *cells) {
    all->statistical = expectations_statistical(expected);
    all->x = xcalloc((size_t)(expected->count + cells->count) + 1, sizeof *all->x);
    for (int i = 0; i < expected->count; i++) {
        const struct expectation *x = &expected->x[i];
        const struct cell *c = cells_find(cells, &x->key);
        if (!c && (o->partial || check_of_seed(&x->key))) continue;
        struct verdict *v = &all->x[all->count++];
        *v = (struct verdict){.key = &x->key, .x = x, .c = c, .outcome = MISSING, .used = INFINITY};
        if (!v->c) continue;
        v->j = check_judge(x, v->c, all->statistical);
        v->outcome = v->j.good ? PASSES : FAILS;
        double off = fabs(v->j.difference);
        v->used = off == 0 ? 0 : isnan(off) || v->j.tolerance == 0 ? INFINITY : off / v->j.tolerance;
    }
    for (int i = 0; i < cells->count; i++)
        if (!expectations_find(expected, &cells->x[i].key) && !check_of_seed(&cells->x[i].key))
            all->x[all->count++] =
                (struct verdict){.key = &cells->x[i].key, .c = &cells->x[i], .outcome = UNEXPECTED, .used = INFINITY};
    for (int i = 0; i < all->count; i++) all->failed += all->x[i].outcome != PASSES;
    if (all->count) qsort(all->x, (size_t)all->count, sizeof *all->x, by_badness);
}

/* ---- the table ---- */
static void errors_cell(struct table *t, const struct verdict *v) {
    if (v->x && v->c && v->x->kind == CHECK_STATISTICAL)
        table_cell(t, "%+.1f", v->j.errors);
    else
        table_cell(t, "–");
}

static void print_cells(const struct verdicts *all, bool every, FILE *out) {
    static const char *const heads[] = {"<row",     "<after",    "<task",      "<metric",     "<where", "expected",
                                        "measured", "tolerance", "difference", "std. errors", "<"};
    struct table t = {.heads = heads, .columns = 11};
    int shown = every ? all->count : all->failed + NEAREST;
    for (int i = 0; i < shown && i < all->count; i++) {
        const struct verdict *v = &all->x[i];
        int digits = v->x && v->x->kind == CHECK_EXACT ? 9 : 6;
        table_cell(&t, "%s", v->key->row);
        table_cell(&t, "%s", v->key->stage);
        table_cell(&t, "%s", v->key->task);
        table_cell(&t, "%s", v->key->metric);
        table_cell(&t, "%s", check_place(v->key));
        char number[4][40] = {"–", "–", "–", "–"};
        if (v->x) snprintf(number[0], sizeof number[0], "%.*g", digits, v->x->value);
        if (v->c) snprintf(number[1], sizeof number[1], "%.*g", digits, v->x ? v->j.measured : v->c->mean);
        if (v->x && v->c) {
            snprintf(number[2], sizeof number[2], "%.3g", v->j.tolerance);
            snprintf(number[3], sizeof number[3], "%+.3g", v->j.difference);
        }
        for (int k = 0; k < 4; k++) table_cell(&t, "%s", number[k]);
        errors_cell(&t, v);
        table_cell(&t, "%s", outcome_names[v->outcome]);
    }
    table_print(&t, out);
    table_free(&t);
}

/* A line a task: how many cells, how many fail, how much of its tolerance the one that is nearest to it uses. */
static void print_tasks(const struct verdicts *all, FILE *out) {
    static const char *const heads[] = {"<task", "exact cells", "statistical cells", "fail",
                                        "most of a tolerance that is used, statistical"};
    struct table t = {.heads = heads, .columns = 5};
    for (int i = 0; i < all->count; i++) {
        const char *task = all->x[i].key->task;
        int seen = 0, exact = 0, statistical = 0, failed = 0;
        double used = 0;
        while (seen < i && strcmp(all->x[seen].key->task, task) != 0) seen++;
        if (seen < i) continue;
        for (int k = i; k < all->count; k++) {
            const struct verdict *v = &all->x[k];
            if (strcmp(v->key->task, task) != 0) continue;
            bool measured = v->x && v->x->kind == CHECK_STATISTICAL;
            exact += v->x && !measured;
            statistical += measured;
            failed += v->outcome != PASSES;
            if (measured && v->used > used) used = v->used;
        }
        table_cell(&t, "%s", task);
        table_cell(&t, "%d", exact);
        table_cell(&t, "%d", statistical);
        table_cell(&t, "%d", failed);
        if (statistical)
            table_cell(&t, "%.0f %%", 100 * used);
        else
            table_cell(&t, "–");
    }
    fprintf(out, "\n");
    table_print(&t, out);
    table_free(&t);
}

/* ---- files ---- */

/* What a failure says in JUnit XML. */
static void add_sentence(struct text_buffer *b, const struct verdict *v) {
    if (v->outcome == MISSING)
        buffer_printf(b, "expected %.9g, not measured", v->x->value);
    else if (v->outcome == UNEXPECTED)
        buffer_printf(b, "measured %.9g, nothing is expected: infinibench check --update", v->c->mean);
    else
        buffer_printf(b, "expected %.9g, measured %.9g, tolerance %.3g", v->x->value, v->j.measured, v->j.tolerance);
    if (v->outcome == FAILS && v->x->kind == CHECK_STATISTICAL) buffer_printf(b, ", %.1f standard errors off", v->j.errors);
}

static int write_junit(const struct verdicts *all, const char *path, struct error *e) {
    struct text_buffer b = {0};
    buffer_printf(
        &b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"infinibench check\" tests=\"%d\" failures=\"%d\">\n",
        all->count, all->failed);
    buffer_printf(&b, "<testsuite name=\"infinibench check\" tests=\"%d\" failures=\"%d\" errors=\"0\" skipped=\"0\">\n",
                  all->count, all->failed);
    for (int i = 0; i < all->count; i++) {
        const struct verdict *v = &all->x[i];
        char *name = xprintf("%s after %s: %s (%s)", v->key->row, v->key->stage, v->key->metric, check_place(v->key));
        buffer_printf(&b, "<testcase classname=\"");
        buffer_escape(&b, v->key->task);
        buffer_printf(&b, "\" name=\"");
        buffer_escape(&b, name);
        free(name);
        if (v->outcome == PASSES) {
            buffer_printf(&b, "\"/>\n");
            continue;
        }
        buffer_printf(&b, "\"><failure type=\"%s\" message=\"", outcome_names[v->outcome]);
        add_sentence(&b, v);
        buffer_printf(&b, "\"/></testcase>\n");
    }
    buffer_printf(&b, "</testsuite>\n</testsuites>\n");
    int result = write_file(path, b.data, b.n, e);
    buffer_free(&b);
    return result;
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *json_cell(const struct verdict *v) {
    const struct check_key *k = v->key;
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:s}", "row", k->row, "stage", k->stage, "task", k->task,
                          "split", k->split, "condition", k->condition, "metric", k->metric, "context", (json_int_t)k->context,
                          "position", k->position, "writes", (json_int_t)k->writes, "outcome", outcome_names[v->outcome]);
    if (v->x) {
        json_object_set_new(j, "kind", json_string(check_kinds[v->x->kind]));
        json_object_set_new(j, "expected", json_real(v->x->value));
    }
    if (v->c) {
        json_object_set_new(j, "measured", number(v->x ? v->j.measured : v->c->mean));
        json_object_set_new(j, "seeds", json_integer((json_int_t)v->c->seeds));
    }
    if (v->x && v->c) {
        json_object_set_new(j, "tolerance", number(v->j.tolerance));
        json_object_set_new(j, "difference", number(v->j.difference));
        json_object_set_new(j, "standard_errors", number(v->j.errors));
    }
    return j;
}

static int write_json(const struct verdicts *all, const struct check_options *o, const char *path, struct error *e) {
    json_t *cells = json_array();
    for (int i = 0; i < all->count; i++) json_array_append_new(cells, json_cell(&all->x[i]));
    json_t *j = json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:f, s:o}", "verdict", all->failed ? "fail" : "pass", "folder", o->folder,
                          "against", o->against, "cells_checked", all->count, "failed", all->failed, "statistical_cells",
                          (json_int_t)all->statistical, "false_alarms", CHECK_FALSE_ALARMS, "cells", cells);
    char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    int result = -1;
    if (text) {
        struct text_buffer b = {0};
        buffer_printf(&b, "%s\n", text);
        result = write_file(path, b.data, b.n, e);
        buffer_free(&b);
    } else
        fail(e, "%s: the verdict cannot be written as JSON: a name in it is not UTF-8", path);
    free(text);
    json_decref(j);
    return result;
}

static int write_files(const struct verdicts *all, const struct check_options *o, FILE *out, struct error *e) {
    char *junit = o->junit ? xstrdup(o->junit) : xprintf("%s/junit.xml", o->folder);
    char *json = o->json ? xstrdup(o->json) : xprintf("%s/check.json", o->folder);
    int result = write_junit(all, junit, e);
    if (result == 0) result = write_json(all, o, json, e);
    if (result == 0) fprintf(out, "%s, %s\n", junit, json);
    free(junit);
    free(json);
    return result;
}

int check_run(const struct check_options *o, FILE *out, struct error *e) {
    struct expectations expected = {0};
    struct rules rules = {0};
    struct cells cells = {0};
    struct verdicts all = {0};
    int result = expectations_read(&expected, o->against, false, e);
    if (result == 0) result = rules_read(&rules, o->rules, o->against, e);
    if (result == 0) result = cells_read(&cells, o, &rules, &expected, e);
    if (result == 0) judge(&all, o, &expected, &cells);
    if (result == 0 && !all.count) result = fail(e, "%s: none of the cells of %s was measured", o->folder, o->against);
    if (result == 0) {
        print_cells(&all, o->all, out);
        print_tasks(&all, out);
        fprintf(out, "\n%s: %d of %d cells pass; false alarms of %lld statistical cells together: %g %% of runs\n",
                all.failed ? "FAIL" : "PASS", all.count - all.failed, all.count, (long long)all.statistical,
                100 * CHECK_FALSE_ALARMS);
        result = write_files(&all, o, out, e);
    }
    if (result == 0) result = all.failed ? 1 : 0;
    free(all.x);
    cells_free(&cells);
    rules_free(&rules);
    expectations_free(&expected);
    return result;
}
