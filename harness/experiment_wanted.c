/* experiment_wanted.c - what a call of `run` asks for: rows (--only), tasks (--tasks), seeds (--seed). It runs nothing. */
#include "experiment_private.h"

#include <string.h>

static bool in_list(const char *list, const char *name) {
    char word[64];
    for (const char *at = list; at && (at = list_next(at, word, sizeof word));)
        if (strcmp(word, name) == 0) return true;
    return !list;
}

bool row_wanted(const struct run_options *o, const struct row_spec *row) { return in_list(o->only, row->name); }

bool task_wanted(const struct run_options *o, const struct task_spec *task) { return in_list(o->tasks, task->name); }

bool pair_wanted(const struct session *s, const struct row_spec *row, int64_t seed) {
    return row_wanted(s->o, row) && (s->o->seed < 0 || s->o->seed == seed) && seed_listed(&row->seeds, seed);
}

/* Whether name is among count names of the experiment; what: "row", "task". */
static int find_name(const struct experiment *x, const char *what, const char *name, const char *const *names, int count,
                     struct error *e) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return i;
    const char *near = nearest_name(name, names, count);
    struct text_buffer all = {0};
    for (int i = 0; i < count; i++) buffer_printf(&all, "%s %s", i ? "," : "", names[i]);
    if (near)
        fail(e, "%s has no %s '%s'; the nearest is '%s'", x->path, what, name, near);
    else
        fail(e, "%s has no %s '%s'; its %ss are%s", x->path, what, name, what, all.data);
    buffer_free(&all);
    return -1;
}

const struct row_spec *find_row(const struct experiment *x, const char *name, struct error *e) {
    const char *names[EXPERIMENT_LIMIT];
    for (int i = 0; i < x->row_count; i++) names[i] = x->rows[i].name;
    int at = find_name(x, "row", name, names, x->row_count, e);
    return at < 0 ? NULL : &x->rows[at];
}

int find_stage(const struct experiment *x, const char *name, const struct stage_spec **stage, struct error *e) {
    const char *names[EXPERIMENT_LIMIT];
    for (int i = 0; i < x->stage_count; i++) names[i] = x->stages[i].name;
    int at = find_name(x, "stage", name, names, x->stage_count, e);
    if (at >= 0) *stage = &x->stages[at];
    return at < 0 ? -1 : 0;
}

/* What --only and --tasks ask for is there. */
int find_wanted(const struct experiment *x, const struct run_options *o, struct error *e) {
    const char *names[EXPERIMENT_LIMIT];
    char name[64];
    const char *lists[] = {o->only, o->tasks};
    for (int i = 0; i < 2; i++)
        if (lists[i] && !list_next(lists[i], name, sizeof name))
            return fail(e, "--%s names nothing (a variable that is not set?); leave it out for all", i ? "tasks" : "only");
    for (const char *at = o->only; at && (at = list_next(at, name, sizeof name));)
        if (!find_row(x, name, e)) return -1;
    for (int i = 0; i < x->task_count; i++) names[i] = x->tasks[i].name;
    for (const char *at = o->tasks; at && (at = list_next(at, name, sizeof name));)
        if (find_name(x, "task", name, names, x->task_count, e) < 0) return -1;
    return 0;
}
