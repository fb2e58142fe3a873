/* cli_list.c - `infinibench list`: architectures, tasks, experiments, presets, the keys of an experiment file. */
#include "cli.h"
#include "shapes.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static void list_option(const struct option *o) {
    static const char *const types[] = {"whole number", "number", "yes|no", "", "text"};
    printf("    %-18s %-12s %-28s %s\n", o->key, o->fallback && *o->fallback ? o->fallback : "-",
           option_type(o) == OPTION_CHOICE ? o->choices : types[option_type(o)], o->help ? o->help : "");
}

static void list_options(const struct option *o) {
    for (; o && o->key; o++) list_option(o);
}

static void print_architecture(const struct baseline *b) {
    printf("  %s: %s (%s)\n", b->name, b->summary, b->paper);
    list_options(b->options);
}

static int list_architectures(const char *name, struct error *e) {
    const struct baseline *one = name ? baseline_find(name, e) : NULL;
    if (name && !one) return -1;
    printf("Architectures (option, default, values, meaning)\n");
    for (int i = 0; baselines[i]; i++)
        if (!name || baselines[i] == one) print_architecture(baselines[i]);
    return 0;
}

void print_task(const struct task *t) {
    printf("  %s, version %d: %s\n    %s\n    metrics:", t->name, t->version, t->summary, t->protocol);
    for (const struct metric *m = t->metrics; m && m->name; m++)
        printf("%s %s%s%s%s%s", m == t->metrics ? "" : ",", m->name, *m->unit ? " [" : "", m->unit, *m->unit ? "]" : "",
               m->direction > 0   ? " (higher is better)"
               : m->direction < 0 ? " (lower is better)"
                                  : "");
    printf("\n");
    if (t->score) printf("    also for outputs of a foreign model: infinibench score %s --nll FOLDER ...\n", t->name);
    list_options(t->options);
}

static int list_tasks(const char *name, struct error *e) {
    const struct task *one = name ? task_find(name, e) : NULL;
    if (name && !one) return -1;
    printf("Tasks\n");
    for (int i = 0; tasks[i]; i++)
        if (!name || tasks[i] == one) print_task(tasks[i]);
    return 0;
}

static int list_experiments(const char *name, struct error *unused) {
    glob_t g;
    (void)name, (void)unused;
    printf("Experiments\n");
    if (glob("tasks/experiments/*.ini", 0, NULL, &g)) {
        printf("  none in tasks/experiments; run from the top folder of the repository\n");
        return 0;
    }
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct error e;
        struct experiment *x = experiment_read(g.gl_pathv[i], NULL, &e);
        if (!x) {
            printf("  %s: cannot be read: %s\n", g.gl_pathv[i], e.text);
            continue;
        }
        printf("  %s: %s\n    rows:", g.gl_pathv[i], x->title ? x->title : "");
        for (int r = 0; r < x->row_count; r++) printf(" %s", x->rows[r].name);
        printf("\n    tasks:");
        for (int t = 0; t < x->task_count; t++) printf(" %s", x->tasks[t].name);
        printf("\n");
        experiment_free(x);
    }
    globfree(&g);
    return 0;
}

static int list_presets(const char *name, struct error *unused) {
    (void)name, (void)unused;
    printf("Presets\n  %-8s %6s %7s %12s %12s %8s %9s %6s  %s\n", "name", "layers", "d_model", "heads", "FFN", "segment",
           "segments", "batch", "learning rates");
    for (int i = 0; preset_names[i]; i++) {
        struct model_config c = {0};
        struct error e;
        if (config_preset(&c, preset_names[i], &e)) continue;
        char heads[32], ffn[40];
        snprintf(heads, sizeof heads, "%lld x %lld", (long long)c.heads, (long long)c.e);
        snprintf(ffn, sizeof ffn, "%lld %s", (long long)c.ffn, c.ffn_relu ? "relu" : "swiglu");
        printf("  %-8s %6lld %7lld %12s %12s %8lld %9lld %6lld  %g %g %g\n", preset_names[i], (long long)c.layers, (long long)c.d,
               heads, ffn, (long long)c.segment, (long long)c.segments, (long long)c.batch, c.rates[0], c.rates[1], c.rates[2]);
    }
    struct shape *list = xcalloc(SHAPE_LIMIT, sizeof *list);
    struct error e = {""};
    int count = shapes_read(list, &e);
    printf("Shapes of public models, for infinibench memory\n  %-16s %6s %7s %9s %9s %9s %8s %9s %12s  %s\n", "name", "layers",
           "d_model", "heads", "KV heads", "head_dim", "bytes", "context", "parameters", "source");
    for (int i = 0; i < count; i++) {
        const struct shape *x = &list[i];
        if (x->preset) continue;
        char parameters[32] = "-";
        if (x->parameters) snprintf(parameters, sizeof parameters, "%.4g B", (double)x->parameters / 1e9);
        printf("  %-16s %6lld %7lld %9lld %9lld %9lld %8lld %9lld %12s  %s\n", x->name, (long long)x->config.layers,
               (long long)x->config.d, (long long)x->config.heads, (long long)x->config.kv_heads, (long long)x->config.e,
               (long long)x->bytes, (long long)x->context, parameters, x->source);
    }
    if (count < 0) printf("  %s\n", e.text);
    free(list);
    return 0;
}

static int list_keys(const char *name, struct error *unused) {
    (void)name, (void)unused;
    printf("Keys of an experiment file (harness/experiment.h has the format; tasks/experiments/quick.ini is one)\n");
    const char *last = "";
    for (const struct section_key *k = experiment_keys; k->section; k++) {
        bool named = strcmp(k->section, "experiment") != 0 && strcmp(k->section, "budget") != 0;
        if (strcmp(k->section, last) != 0) printf("  [%s%s]\n", k->section, named ? " NAME" : "");
        last = k->section;
        printf("    %-18s %s\n", k->key, k->help);
    }
    printf("  Shape, in [budget] and [row]; batch and segments also in [stage] (key, default, values, meaning; -: the preset's)\n");
    for (int i = 0; config_key(i); i++) list_option(config_key(i));
    printf("  Training, in [budget], [stage] and [row] (a [row]'s goes before a [stage]'s; lr without one: the preset's middle "
           "rate)\n");
    list_options(train_options);
    printf("  SECTION.key = value in [stage]: an option of the task SECTION of its source, in this stage\n");
    return 0;
}

int command_list(int count, char **argv, const struct setting *s, struct error *e) {
    static const char *const kinds[] = {"architectures", "tasks", "experiments", "presets", "keys"};
    static int (*const print[])(const char *name, struct error *e) = {list_architectures, list_tasks, list_experiments,
                                                                      list_presets, list_keys};
    enum { KINDS = 5, NAMED = 2 }; /* of the first ones a single one can be asked for */
    (void)s;
    struct arguments a = {0};
    if (arguments_read(&a, count, argv, LIST_USAGE, 0, 2, e)) return -1;
    for (int i = 0; i < KINDS; i++) {
        if (a.count && strcmp(a.word[0], kinds[i]) != 0) continue;
        if (a.count > 1 && i >= NAMED) return fail(e, "list %s takes no name; usage: infinibench %s", kinds[i], LIST_USAGE);
        int status = print[i](a.count > 1 ? a.word[1] : NULL, e);
        if (a.count || status) return status;
    }
    if (!a.count) return 0;
    const char *near = nearest_name(a.word[0], kinds, KINDS);
    return fail(e, "unknown list '%s'%s%s%s; lists: architectures, tasks, experiments, presets, keys", a.word[0],
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
