/* registry.c - the tasks: a line each. */
#include "harness/task.h"
#include <string.h>

#define TASKS(X)                                                                                                                   \
    X(language_modeling) X(passkey) X(recall) X(memory) X(gates) X(summarize) X(chronicle) X(fixed_logits) X(fixed_rouge)

#define DECLARE(name) extern const struct task task_##name;
#define ADDRESS(name) &task_##name,
TASKS(DECLARE)
const struct task *const tasks[] = {TASKS(ADDRESS) NULL};

const struct task *task_find(const char *name, struct error *e) {
    const char *names[64] = {NULL};
    int count = 0;
    for (; tasks[count] && count < 64; count++) {
        names[count] = tasks[count]->name;
        if (!strcmp(tasks[count]->name, name)) return tasks[count];
    }
    const char *near = nearest_name(name, names, count);
    if (near) {
        fail(e, "unknown task '%s'; did you mean '%s'? (infinibench list tasks)", name, near);
        return NULL;
    }
    char all[512] = "";
    for (int i = 0; i < count; i++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s %s", i ? "," : "", names[i]);
    }
    fail(e, "unknown task '%s'; tasks:%s", name, all);
    return NULL;
}
