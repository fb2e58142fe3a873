/* report.c - report.md, report.html and the pictures of a results folder.
 *
 * Only what the folder's files hold is printed; nothing is measured. Tables are made in report_tables.c, text in report_html.c,
 * pictures in plot.c, what is said of program and machine in report_facts.c. */
#include "report.h"
#include "plot.h"
#include "report_document.h"
#include "report_retrieval.h"
#include "task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts of a report ---- */
static void say_what(struct page *doc, const struct report_data *d) {
    if (d->paper && *d->paper) document_text(doc, "Paper: %s", d->paper);
    struct text_buffer seeds = {0};
    for (int i = 0; i < d->seed_count; i++) buffer_printf(&seeds, "%s%lld", i ? ", " : "", (long long)d->seeds[i]);
    document_text(doc, "Experiment %s; seed%s %s. All numbers are in results.csv, samples.csv and curves.csv beside this file.",
                  d->name, d->seed_count == 1 ? "" : "s", seeds.data ? seeds.data : "-");
    buffer_free(&seeds);
}

void report_title(struct page *doc, const struct report_data *d, int s) {
    const struct report_section *x = &d->sections[s];
    const char *after = *x->stage ? ", after stage " : ""; /* eval and score know of no stage */
    if (strcmp(x->name, x->task) == 0)
        document_heading(doc, "%s%s%s", x->task, after, x->stage);
    else
        document_heading(doc, "%s (task %s)%s%s", x->name, x->task, after, x->stage);
}

void report_protocol(struct page *doc, const struct report_section *s) {
    struct error ignored;
    const struct task *t = task_find(s->task, &ignored);
    if (!t) return;
    if (t->version == s->version)
        document_text(doc, "Protocol: %s", t->protocol);
    else
        document_text(doc, "Measured by version %lld of the task; this program has version %d, whose protocol may differ: %s",
                      (long long)s->version, t->version, t->protocol);
}

void report_table(struct page *doc, struct table *t, FILE *out, const char *title) {
    document_text(doc, "%s:", title);
    document_table(doc, t);
    if (out) {
        fprintf(out, "%s\n", title);
        table_print(t, out);
        fputc('\n', out);
    }
    table_free(t);
}

void report_figures(struct page *doc, const struct report_data *d, int section, int group, const struct plots *plots) {
    for (int i = 0; i < plots->count; i++)
        if (plots->figure[i].section == section && plots->figure[i].group == group)
            document_figure(doc, d->folder, plots->figure[i].name, plots->figure[i].caption);
}

/* "; its learning rate is 0.006, that of infini_linear 0.003": where it differs from a row with a memory, else "". */
static void twin_rates(char *out, size_t size, const struct report_data *d, const char *stage) {
    double own = report_rate(d, d->rows[d->twin].name, stage);
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < d->row_count; i++) {
        double rate = report_rate(d, d->rows[i].name, stage);
        if (!row_has_memory(&d->rows[i]) || !(fabs(rate - own) > 1e-9) || n >= size) continue;
        if (!n) n += (size_t)snprintf(out, size, "; its learning rate is %g", own);
        if (n < size) n += (size_t)snprintf(out + n, size - n, ", that of %s %g", d->rows[i].name, rate);
    }
}

/* Rows with an asterisk at their parameters. */
static void say_apart(struct page *doc, const struct report_data *d) {
    for (int i = 0; i < d->row_count; i++) {
        double formula, apart;
        report_shape(d, d->rows[i].name, &formula, &apart);
        if (apart > 0)
            document_text(doc, "* %s: %s of them come on top of the equal number; the language model's loss does not train them.",
                          d->rows[i].name, show_number(apart));
    }
}

static void language_section(struct page *doc, const struct report_data *d, int s, const struct plots *plots, FILE *out) {
    struct table t;
    report_title(doc, d, s);
    report_protocol(doc, &d->sections[s]);
    main_table(&t, d, s);
    document_table(doc, &t);
    fprintf(out, "%s%s%s\n", d->sections[s].name, *d->sections[s].stage ? " after stage " : "", d->sections[s].stage);
    table_print(&t, out);
    fputc('\n', out);
    table_free(&t);
    say_apart(doc, d);
    int seeds = d->sections[s].seed_count;
    document_text(doc,
                  "Bits per byte: ratio of sums over documents. %s State, in elements for 32,768 tokens of a document: by the "
                  "formula of the paper's Table 1, really carried from segment to segment, and those that one query attends to. "
                  "Memory off and memory zero: bits per byte with the compressive memory knocked out minus bits per byte as "
                  "trained, on the same documents (off: gate forced to 0; zero: the memory reads 0, the gate stays).",
                  seeds > 1 ? "Intervals, 95 %: Student's t over documents and training seeds, which are crossed: the squared "
                              "standard error is that of 10,000 bootstrap resamples of documents plus the variance between seeds."
                            : "Intervals, 95 %: 10,000 bootstrap resamples of documents; there is one training seed, so the spread "
                              "between training runs is not in them.");
    if (seeds > 1) {
        document_text(doc, "Bits per byte by training seed:");
        seed_table(&t, d, s);
        document_table(doc, &t);
        table_free(&t);
    }
    position_table(&t, d, s);
    report_table(doc, &t, out, "Bits per byte by segment of the document");
    difference_table(&t, d, s);
    if (d->twins > 1) {
        say_no_twin(doc, d);
    } else if (d->twin >= 0 && t.count) {
        char rates[400];
        twin_rates(rates, sizeof rates, d, d->sections[s].stage);
        document_text(
            doc,
            "Difference to the local-only twin, the row %s (Infini-attention with update = none: the same model without "
            "the memory%s). Below 0 is better than the twin. Both rows read the same documents%s; differences are taken "
            "within the pairs. Detectable: the smallest true difference that a test at 5 %% finds with a power of 80 %% at "
            "this spread.",
            d->rows[d->twin].name, rates, seeds > 1 ? " with the same training seeds" : "");
        document_table(doc, &t);
        fprintf(out, "Bits per byte minus the local-only twin %s\n", d->rows[d->twin].name);
        table_print(&t, out);
        fputc('\n', out);
    } else {
        document_text(doc, "This experiment has no local-only twin (architecture infini with update = none), or only the twin: no "
                           "memory claim can be made from it.");
    }
    table_free(&t);
    answer_table(&t, d, s);
    if (t.count)
        report_table(doc, &t, out, "Questions and answers (differences within pairs of documents and seeds; below 0 is better)");
    table_free(&t);
    report_figures(doc, d, s, 0, plots);
}

static void other_section(struct page *doc, const struct report_data *d, int s) {
    struct table t;
    int left_out;
    report_title(doc, d, s);
    report_protocol(doc, &d->sections[s]);
    long_table(&t, d, s, &left_out);
    document_table(doc, &t);
    table_free(&t);
    if (left_out) document_text(doc, "%d more lines are in results.csv.", left_out);
}

static int save(const struct report_data *d, const char *name, const struct text_buffer *b, struct error *e) {
    char *path = xprintf("%s/%s", d->folder, name);
    int result = write_file(path, b->data, b->n, e);
    free(path);
    return result;
}

int report(const char *folder, FILE *out, struct error *e) {
    struct report_data *d = report_load(folder, e);
    if (!d) return -1;
    struct plots plots;
    if (plots_draw(&plots, d, e) != 0) {
        plots_free(&plots);
        report_data_free(d);
        return -1;
    }
    struct page doc;
    document_begin(&doc, d->title ? d->title : d->name);
    say_what(&doc, d);
    for (int i = 0; i < d->section_count; i++)
        if (strcmp(d->sections[i].task, "language_modeling") == 0) language_section(&doc, d, i, &plots, out);
    for (int i = 0; i < d->section_count; i++) {
        const char *task = d->sections[i].task;
        if (strcmp(task, "passkey") == 0)
            passkey_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "recall") == 0)
            recall_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "memory") == 0)
            memory_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "gates") == 0)
            heads_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "summarize") == 0)
            summarize_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "chronicle") == 0)
            chronicle_section(&doc, d, i, &plots, out);
        else if (strcmp(task, "language_modeling") != 0 && strcmp(task, "training") != 0)
            other_section(&doc, d, i);
    }
    gates_section(&doc, d, &plots, out);
    struct error problem = {""};
    if (paper_section(&doc, d, out, &problem) < 0) document_text(&doc, "The paper's numbers could not be read: %s.", problem.text);
    struct table cost;
    cost_table(&cost, d);
    if (cost.count) {
        document_heading(&doc, "Training");
        report_table(
            &doc, &cost, out,
            "Cost of training (FLOP by formula, products only; roof: the machine's own GEMM rate, measured in the same run; "
            "– where "
            "other work on the machine spoilt it)");
        document_text(&doc, "A line holds all stages that led from initialisation to the last one named, summed, mean over the "
                            "seeds that have it; lines of equal stages compare. Training tokens: those read, with a loss on them "
                            "or not; tokens that only carry state in are in the FLOP and the time. FLOP/token and tokens/s are by "
                            "these tokens.");
    }
    for (int i = 0; i < d->section_count; i++)
        if (strcmp(d->sections[i].task, "training") == 0) report_figures(&doc, d, i, 0, &plots);
    facts_section(&doc, d);
    if (plots.notice[0]) document_text(&doc, "%s%s.", "This report has ", plots.notice);
    document_end(&doc);
    int result = save(d, "report.md", &doc.md, e);
    if (result == 0) result = save(d, "report.html", &doc.html, e);
    if (result == 0) {
        if (plots.notice[0]) fprintf(out, "%s\n", plots.notice);
        fprintf(out, "%s/report.md, report.html%s\n", d->folder, plots.count ? ", pictures as .svg and .png" : "");
    }
    buffer_free(&doc.md);
    buffer_free(&doc.html);
    plots_free(&plots);
    report_data_free(d);
    return result;
}
