/* gate_check.c - `infinibench check`: do the results of a folder lie within the tolerances of a reference?
 *
 * NaN fails, a value that is not there fails. It changes nothing but check.xml in the folder and does not judge intervals:
 * tolerances are stated in the reference. */
#include "gate_check.h"
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE_HEADER "row,metric,position,condition,value,tolerance"

struct line {
    char row[64], metric[48], position[24], condition[128];
    double value, tolerance, found, difference;
    int values;
    bool good;
};
struct lines {
    struct line *x;
    int count;
};

static int keep(char *to, size_t size, const char *path, int number, const char *column, const char *text, struct error *e) {
    if (strlen(text) >= size) return fail(e, "%s:%d: column %s is longer than %zu characters", path, number, column, size - 1);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int read_line(void *data, const char *path, int number, int count, char **f, struct error *e) {
    struct lines *all = data;
    (void)count;
    all->x = xrealloc(all->x, (size_t)all->count + 1, sizeof *all->x);
    struct line *l = &all->x[all->count++];
    memset(l, 0, sizeof *l);
    if (keep(l->row, sizeof l->row, path, number, "row", f[0], e) ||
        keep(l->metric, sizeof l->metric, path, number, "metric", f[1], e) ||
        keep(l->position, sizeof l->position, path, number, "position", f[2], e) ||
        keep(l->condition, sizeof l->condition, path, number, "condition", f[3], e) ||
        csv_parse_real(path, number, "value", f[4], false, &l->value, e) ||
        csv_parse_real(path, number, "tolerance", f[5], false, &l->tolerance, e))
        return -1;
    if (!(l->tolerance >= 0) || !isfinite(l->value))
        return fail(e, "%s:%d: value must be finite and tolerance 0 or more", path, number);
    return 0;
}

/* Mean over the seeds in the last section that has the metric. */
static void look_up(struct line *l, const struct report_data *d) {
    double sum = 0;
    int section = -1;
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *r = &d->results[i];
        if (strcmp(r->row, l->row) != 0 || strcmp(r->metric, l->metric) != 0 || strcmp(r->condition, l->condition) != 0 ||
            strcmp(r->position, *l->position ? l->position : "all") != 0)
            continue;
        if (d->result_section[i] != section) sum = 0, l->values = 0;
        section = d->result_section[i];
        sum += r->value;
        l->values++;
    }
    l->found = l->values ? sum / l->values : NAN;
    l->difference = l->found - l->value;
    l->good = fabs(l->difference) <= l->tolerance; /* false for NaN */
}

static int write_xml(const struct lines *all, int failures, const char *folder, const char *reference, struct error *e) {
    struct text_buffer b = {0};
    char *path = xprintf("%s/check.xml", folder);
    buffer_printf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"");
    buffer_escape(&b, reference);
    buffer_printf(&b, "\" tests=\"%d\" failures=\"%d\">\n", all->count, failures);
    for (int i = 0; i < all->count; i++) {
        const struct line *l = &all->x[i];
        buffer_printf(&b, "<testcase classname=\"");
        buffer_escape(&b, l->row);
        buffer_printf(&b, "\" name=\"");
        buffer_escape(&b, l->metric);
        if (*l->position) buffer_printf(&b, " at "), buffer_escape(&b, l->position);
        if (*l->condition) buffer_printf(&b, " with "), buffer_escape(&b, l->condition);
        if (l->good)
            buffer_printf(&b, "\"/>\n");
        else if (!l->values)
            buffer_printf(&b, "\"><failure message=\"not in the results\"/></testcase>\n");
        else
            buffer_printf(&b, "\"><failure message=\"%.9g, expected %.9g within %.3g\"/></testcase>\n", l->found, l->value,
                          l->tolerance);
    }
    buffer_printf(&b, "</testsuite>\n</testsuites>\n");
    int result = write_file(path, b.data, b.n, e);
    free(path);
    buffer_free(&b);
    return result;
}

int gate_check(const char *folder, const char *reference, FILE *out, struct error *e) {
    static const char *const heads[] = {"<row",      "<metric", "<position",  "<condition", "expected",
                                        "tolerance", "found",   "difference", "<"};
    struct lines all = {0};
    struct report_data *d = NULL;
    int failures = 0, result = 2;
    if (csv_read(reference, REFERENCE_HEADER, false, read_line, &all, e) != 0) goto end;
    if (all.count == 0) {
        fail(e, "%s: no line to check", reference);
        goto end;
    }
    if (!(d = report_load(folder, e))) goto end;
    struct table t = {.heads = heads, .columns = 9};
    for (int i = 0; i < all.count; i++) {
        struct line *l = &all.x[i];
        look_up(l, d);
        failures += !l->good;
        table_cell(&t, "%s", l->row);
        table_cell(&t, "%s", l->metric);
        table_cell(&t, "%s", *l->position ? l->position : "all");
        table_cell(&t, "%s", *l->condition ? l->condition : "–");
        table_cell(&t, "%.6g", l->value);
        table_cell(&t, "%.3g", l->tolerance);
        if (l->values) {
            table_cell(&t, "%.6g", l->found);
            table_cell(&t, "%+.3g", l->difference);
        } else {
            table_cell(&t, "missing");
            table_cell(&t, "–");
        }
        table_cell(&t, l->good ? "pass" : "FAIL");
    }
    table_print(&t, out);
    table_free(&t);
    fprintf(out, "%d of %d checks pass\n", all.count - failures, all.count);
    if (write_xml(&all, failures, d->folder, reference, e) == 0) result = failures ? 1 : 0;
end:
    report_data_free(d);
    free(all.x);
    return result;
}
