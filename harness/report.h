/* report.h - report.md, report.html and pictures (gnuplot) of a results folder; only what its files hold. */
#ifndef INFINIBENCH_REPORT_H
#define INFINIBENCH_REPORT_H

#include "results.h"

/* Writes FOLDER/report.md, report.html, *.svg, *.png and prints the main table to out. Without gnuplot the report is written
 * without pictures and one line says how to get them. */
int report(const char *folder, FILE *out, struct error *e);
/* Paired differences between two folders (infinibench compare): rows of equal name; with `row` only that one; with `with` the rows
 * of a (or `row`) against that row of b. Both may be NULL. */
int report_compare(const char *a, const char *b, const char *row, const char *with, FILE *out, struct error *e);

#endif
