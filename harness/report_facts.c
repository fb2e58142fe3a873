/* report_facts.c - "Program and machine" of a report: which commit, compiler and machine the runs in use had, and of which rows,
 * where they had several.
 *
 * Only what runs/ID.json holds; nothing is asked of this machine. */
#include "report_document.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The order of the lines; several facts of a kind are told apart by their rows. */
enum kind { MISSING, FOREIGN_ROW, COMMIT, COMPILER, MACHINE };
struct fact {
    enum kind kind;
    char *text, date[32]; /* date: of its first run */
    bool of[REPORT_ROWS][REPORT_SEEDS];
};
struct facts {
    struct fact *fact;
    int count;
};

static int seed_index(const struct report_data *d, int64_t seed) {
    for (int i = 0; i < d->seed_count; i++)
        if (d->seeds[i] == seed) return i;
    return 0;
}

/* Takes text. */
static void add_fact(struct facts *f, const struct report_data *d, enum kind kind, char *text, const char *date,
                     const struct result_row *r) {
    int i = 0, row = report_row_index(d, r->row);
    while (i < f->count && (f->fact[i].kind != kind || strcmp(f->fact[i].text, text) != 0)) i++;
    if (i < f->count) {
        free(text);
    } else {
        f->fact = xrealloc(f->fact, (size_t)++f->count, sizeof *f->fact);
        memset(&f->fact[i], 0, sizeof f->fact[i]);
        f->fact[i].kind = kind;
        f->fact[i].text = text;
        snprintf(f->fact[i].date, sizeof f->fact[i].date, "%.31s", date);
    }
    if (strcmp(date, f->fact[i].date) < 0) snprintf(f->fact[i].date, sizeof f->fact[i].date, "%.31s", date);
    if (row >= 0) f->fact[i].of[row][seed_index(d, r->seed)] = true;
}

static int by_kind_and_date(const void *a, const void *b) {
    const struct fact *x = a, *y = b;
    int c = (x->kind > y->kind) - (x->kind < y->kind);
    if (!c) c = strcmp(x->date, y->date);
    return c ? c : strcmp(x->text, y->text);
}

static const char *text_of(const json_t *j, const char *key) {
    const char *s = json_string_value(json_object_get(j, key));
    return s && *s ? s : "unknown";
}

static void run_facts(struct facts *f, const struct report_data *d, const struct result_row *r, const json_t *j) {
    const json_t *b = json_object_get(j, "backend");
    const char *date = text_of(j, "date");
    if (!j) {
        add_fact(f, d, MISSING, xstrdup("Some runs have no runs/ID.json; their program and machine are not known"), "", r);
        return;
    }
    if (json_is_true(json_object_get(j, "foreign")))
        add_fact(f, d, FOREIGN_ROW,
                 xprintf("Row %s is a foreign model, judged by its outputs (%s): its training and its machine are not known here",
                         r->row, text_of(j, "nll")),
                 date, r);
    if (json_is_string(json_object_get(j, "commit")))
        add_fact(f, d, COMMIT,
                 xprintf("Commit %.12s%s", text_of(j, "commit"),
                         json_is_true(json_object_get(j, "dirty")) ? ", with uncommitted changes" : ""),
                 date, r);
    else
        add_fact(f, d, COMMIT, xstrdup("Built outside a git checkout, the commit is not known"), date, r);
    add_fact(f, d, COMPILER, xprintf("Compiler: %s; flags: %s", text_of(j, "compiler"), text_of(j, "flags")), date, r);
    if (!b) return;
    long long threads = json_integer_value(json_object_get(b, "threads"));
    add_fact(f, d, MACHINE,
             xprintf("Machine: %s, %lld thread%s, backend %s (%s); BLAS: %s, core type %s", text_of(b, "device"), threads,
                     threads == 1 ? "" : "s", text_of(b, "backend"), text_of(b, "instruction_set"), text_of(b, "blas"),
                     text_of(b, "core")),
             date, r);
}

/* "rows infini_linear (seeds 2, 3), rmt"; the seeds only where the experiment has several. */
static void say_rows(struct text_buffer *b, const struct report_data *d, const struct fact *f) {
    int rows = 0;
    for (int i = 0; i < d->row_count; i++) {
        int seeds = 0;
        for (int k = 0; k < d->seed_count; k++) seeds += f->of[i][k];
        if (!seeds) continue;
        buffer_printf(b, "%s%s", rows++ ? ", " : "rows ", d->rows[i].name);
        if (d->seed_count < 2) continue;
        const char *before = seeds > 1 ? " (seeds " : " (seed ";
        for (int k = 0; k < d->seed_count; k++) {
            if (!f->of[i][k]) continue;
            buffer_printf(b, "%s%lld", before, (long long)d->seeds[k]);
            before = ", ";
        }
        buffer_printf(b, ")");
    }
}

static void say_fact(struct page *doc, const struct report_data *d, const struct facts *f, int i) {
    const struct fact *x = &f->fact[i];
    struct text_buffer b = {0};
    /* one line of its kind holds for all rows */
    bool several = (i && f->fact[i - 1].kind == x->kind) || (i + 1 < f->count && f->fact[i + 1].kind == x->kind);
    if (several && x->kind >= COMMIT) say_rows(&b, d, x);
    if (b.n)
        document_item(doc, "%s: %s.", x->text, b.data);
    else
        document_item(doc, "%s.", x->text);
    buffer_free(&b);
}

void facts_section(struct page *doc, const struct report_data *d) {
    struct facts f = {0};
    double low = INFINITY, high = 0;
    for (int64_t i = 0; i < d->result_count; i++) {
        if (i && strcmp(d->results[i].run, d->results[i - 1].run) == 0) continue;
        char *path = xprintf("%s/runs/%s.json", d->folder, d->results[i].run);
        json_t *j = json_load_file(path, 0, NULL);
        double roof = json_real_value(json_object_get(j, "roof_gflops"));
        run_facts(&f, d, &d->results[i], j);
        if (roof > 0) low = fmin(low, roof), high = fmax(high, roof);
        json_decref(j);
        free(path);
    }
    if (f.count) qsort(f.fact, (size_t)f.count, sizeof *f.fact, by_kind_and_date);
    document_heading(doc, "Program and machine");
    for (int i = 0; i < f.count; i++) say_fact(doc, d, &f, i);
    if (high > 0 && lround(low) == lround(high))
        document_item(doc, "Roof, the machine's own single-precision GEMM rate measured in the same run: %.0f GFLOP/s.", high);
    else if (high > 0)
        document_item(doc, "Roof, the machine's own single-precision GEMM rate measured in the same runs: %.0f to %.0f GFLOP/s.",
                      low, high);
    for (int i = 0; i < f.count; i++) free(f.fact[i].text);
    free(f.fact);
}
