/* report_document.h - a report written once and rendered three ways: Markdown, self-contained HTML, aligned text for a terminal. */
#ifndef INFINIBENCH_REPORT_DOCUMENT_H
#define INFINIBENCH_REPORT_DOCUMENT_H

#include "plot.h"

struct page {
    struct text_buffer md, html;
};
struct table {
    const char *const *heads; /* columns; a head that begins with '<' is aligned left (the sign is not shown) */
    int columns, count;
    char **cells; /* count cells, row by row */
};
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_free(struct table *t);
void table_print(const struct table *t, FILE *out);

void document_begin(struct page *d, const char *title);
void document_end(struct page *d);
void document_heading(struct page *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void document_text(struct page *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void document_item(struct page *d, const char *format, ...) __attribute__((format(printf, 2, 3))); /* of a list */
void document_table(struct page *d, const struct table *t);
/* name: the picture NAME.svg in folder; left out where the file is not there. */
void document_figure(struct page *d, const char *folder, const char *name, const char *caption);

/* report_tables.c: static memory, good for a few cells of one line */
const char *show_number(double x);  /* 1.05 M */
const char *show_integer(double x); /* 131 072 */
const char *show_bytes(double x);
const char *show_seconds(double x);
const char *show_interval(struct interval i, int digits, bool sign);
/* x, or 0 where so many digits would print "-0.0". */
double unsigned_zero(double x, int digits);
#define FAR_POSITIONS (1u << 2 | 1u << 3 | 1u << 4) /* segments 5 and later: where a memory claim is decided */
struct selection select_row(const struct report_data *d, int section, const char *row, const char *condition, unsigned positions);

void main_table(struct table *t, const struct report_data *d, int section);
void position_table(struct table *t, const struct report_data *d, int section);
void difference_table(struct table *t, const struct report_data *d, int section);
void seed_table(struct table *t, const struct report_data *d, int section);
/* report.c: what the sections of all tasks have. report_table: with its title, in the document and on the terminal; frees the
 * table. */
void report_title(struct page *doc, const struct report_data *d, int section);
void report_protocol(struct page *doc, const struct report_section *s);
void report_table(struct page *doc, struct table *t, FILE *out, const char *title);
/* The pictures of a section; group: of that base condition (report_retrieval.h), 0 where a section has none. */
void report_figures(struct page *doc, const struct report_data *d, int section, int group, const struct plots *plots);

/* report_passkey.c, report_recall.c, report_memory.c: whole sections; tables that both have. */
void passkey_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out);
void recall_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out);
void memory_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out);
/* report_summary.c: sections of summarize and of chronicle. */
void summarize_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out);
void chronicle_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out);
struct group;
void writes_table(struct table *t, const struct group *g);
void heads_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots,
                   FILE *out);                                                                           /* report_heads.c */
void gates_section(struct page *doc, const struct report_data *d, const struct plots *plots, FILE *out); /* report_gates.c */
/* report_answers.c: exact match against the twin, without the memory, against other rows, by length or number of pairs. */
void passkey_answers(struct table *t, const struct group *g);
void recall_answers(struct table *t, const struct group *g);
void summary_answers(struct table *t, const struct group *g, bool events); /* events named, else ROUGE-1 */
/* Says why there are no answers where there are several local-only rows; else nothing. */
void say_no_twin(struct page *doc, const struct report_data *d);
/* report_answers.c: the questions that an experiment with a local-only twin answers, each with its figure. */
void answer_table(struct table *t, const struct report_data *d, int section);
/* report_paper.c: ours beside the paper's own numbers, results/paper/TABLE.csv. 1: there is no such table. */
int paper_section(struct page *doc, const struct report_data *d, FILE *out, struct error *e);
/* report_cost.c: a line for each row and each stage after which something is measured of it. */
void cost_table(struct table *t, const struct report_data *d);
/* report_facts.c: "Program and machine". */
void facts_section(struct page *doc, const struct report_data *d);
void long_table(struct table *t, const struct report_data *d, int section, int *left_out);

#endif
