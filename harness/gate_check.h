/* gate_check.h - the accuracy gate: results of a folder against committed reference values. */
#ifndef INFINIBENCH_GATE_CHECK_H
#define INFINIBENCH_GATE_CHECK_H

#include "util.h"

/* Compares every line of the reference CSV (columns row,metric,position,condition,value,tolerance) with the mean over seeds of that
 * metric in the folder: passes when |found - value| <= tolerance. Prints a table to out and writes FOLDER/check.xml (JUnit).
 * 0 all pass, 1 something failed or is missing in the folder, 2 the folder or the reference cannot be read (e). */
int gate_check(const char *folder, const char *reference, FILE *out, struct error *e);

#endif
