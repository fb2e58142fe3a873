/* task_runs.h - a task run on a model as an experiment would, into a results folder of its own. */
#ifndef INFINIBENCH_TEST_TASK_RUNS_H
#define INFINIBENCH_TEST_TASK_RUNS_H

#include "../../harness/task.h"

const struct task *known_task(const char *name); /* the test fails where there is none */
/* Into FOLDER/name (folder.h), seed 1; -1 and the sentence in e (nothing is written then). */
int run_into(const char *name, const struct task *task, struct model *m, const struct tokenizer *t, const struct options *o);
/* The first row of a metric at this context and condition that is of no number of memory writes; NULL: none. */
const struct result_row *find_row_of(const struct result_row *r, int64_t n, const char *metric, int64_t context,
                                     const char *condition);

#endif
