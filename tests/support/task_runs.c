/* task_runs.c - see task_runs.h. */
#include "task_runs.h"
#include "folder.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int run_into(const char *name, const struct task *task, struct model *m, const struct tokenizer *t, const struct options *o) {
    char *path = in_folder(name);
    struct results *r = results_open(path, &e);
    free(path);
    if (!r) fail_msg("%s", e.text);
    struct task_run run = {.model = m, .tokenizer = t, .options = o, .seed = 1};
    run.out = cell_begin(r, "0123456789abcdef", "run", "x", "row", m->config.arch->name, "one", 1, task->name, task->version);
    int status = task->run(&run, &e);
    if (status)
        cell_drop(run.out);
    else if (cell_commit(run.out, &e))
        fail_msg("%s", e.text);
    results_close(r);
    return status;
}

const struct task *known_task(const char *name) {
    const struct task *t = task_find(name, &e);
    if (!t) fail_msg("%s", e.text);
    return t;
}

const struct result_row *find_row_of(const struct result_row *r, int64_t n, const char *metric, int64_t context,
                                     const char *condition) {
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(r[i].metric, metric) && r[i].context == context && r[i].writes < 0 && !strcmp(r[i].condition, condition))
            return &r[i];
    return NULL;
}
