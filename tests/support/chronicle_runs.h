/* chronicle_runs.h - options and texts of the task chronicle from one line, and its tokenizer. */
#ifndef INFINIBENCH_TEST_CHRONICLE_RUNS_H
#define INFINIBENCH_TEST_CHRONICLE_RUNS_H

#include "../../tasks/chronicle.h"

extern const struct tokenizer *pieces; /* the task's; opened by chronicle_setup */
int chronicle_setup(void **state);     /* a folder too (folder.h) */
/* Options from "key=value key=value", '/' in lists; the test fails where one is refused. */
void chronicle_set(struct options *o, const char *pairs);
/* first > 0: where log places begin, else as the options say; the test fails where there is no such text. */
struct chronicle_text *chronicle_text_of(const struct tokenizer *t, const char *pairs, bool evaluation, int64_t first);

#endif
