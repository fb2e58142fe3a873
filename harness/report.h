/* report.h - report.md, report.html and pictures (gnuplot) of a results folder; only what its files hold. */
#ifndef INFINIBENCH_REPORT_H
#define INFINIBENCH_REPORT_H

#include "results.h"

/* Writes FOLDER/report.md, report.html, *.svg, *.png and prints the main table to out. Without gnuplot the report is written
 * without pictures and one line says how to get them. */
int report(const char *folder, FILE *out, struct error *e);
/* Paired differences between two folders (infinibench compare). */
int report_compare(const char *a, const char *b, FILE *out, struct error *e);

#endif
