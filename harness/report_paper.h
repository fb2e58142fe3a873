/* report_paper.h - the paper's own numbers as read from results/paper/TABLE.csv; for the files that set ours beside them. */
#ifndef INFINIBENCH_REPORT_PAPER_H
#define INFINIBENCH_REPORT_PAPER_H

#include "report_document.h"

enum { PAPER_KIND, PAPER_NAME, PAPER_OURS, PAPER_SECTION, PAPER_VALUE, PAPER_UNIT, PAPER_NOTE, PAPER_COLUMNS };
struct paper_line {
    char *field[PAPER_COLUMNS];
    double value; /* of kind row */
};
struct paper {
    struct paper_line *line;
    int count;
};
/* The line of kind row of a model in a section; NULL: there is none. */
const struct paper_line *paper_find(const struct paper *p, const char *name, const char *section);
/* report_paper_passkey.c. 1: the folder has nothing that belongs into it. */
int paper_passkey_table(struct table *t, const struct report_data *d, const struct paper *p);
int paper_summary_table(struct table *t, const struct report_data *d, const struct paper *p); /* report_paper_summary.c */

#endif
