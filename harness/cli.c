/* cli.c - the table of commands, reading of arguments, `list`. */
#include "cli.h"
#include "shapes.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

const struct command commands[] = {
    {"list", "list [architectures|tasks|experiments|presets]", "what there is to choose from, with options and defaults",
     command_list},
    {"run", RUN_USAGE, "trains and measures an experiment; goes on where it stopped, does nothing twice", command_run},
    {"train", "train X.ini --row ROW --out CKPT [--seed N] [--dry-run]", "trains one model of an experiment and saves it",
     command_train},
    {"eval", "eval TASK --model CKPT [--OPTION VALUE ...] [--csv FILE] [--out DIR] [--seed N]", "one measurement of one model",
     command_eval},
    {"score", SCORE_USAGE, "judges the outputs of a foreign model with the task's own measures (docs/scoring.md)", command_score},
    {"logits", "logits --model CKPT --input FILE --output X.npy [--nll] [--last K] [--segments S]",
     "teacher-forced logits (or NLL in nats) of a text as float32, row i from the tokens before i", command_logits},
    {"generate", "generate --model CKPT --prompt FILE [--tokens N] [--temperature T] [--top-p P] [--seed N]",
     "continues a text; temperature 0 takes the most probable token", command_generate},
    {"rouge", ROUGE_USAGE,
     "ROUGE-1, -2, -L, -Lsum of texts, text lines or JSONL rows against one or more references (docs/methods.md)", command_rouge},
    {"memory", MEMORY_USAGE, "what a text leaves in memory by formula: Table 1 of the paper for any shape; presets: list presets",
     command_memory},
    {"report", "report DIR", "tables and pictures of a results folder as Markdown, HTML, SVG and PNG", command_report},
    {"compare", "compare DIR DIR [--row ROW] [--with ROW]",
     "paired differences between two results folders: rows of equal name, or one row with one of another name", command_compare},
    {"check", CHECK_USAGE,
     "the accuracy gate: exit status 1 when a number left its tolerance; --update: new expectations (docs/ci.md)", command_check},
    {"bench", BENCH_USAGE,
     "kernels and training steps against this machine's own GEMM roof; streaming at growing context; ROUGE, pairs per second",
     command_bench},
    {"info", "info CKPT", "configuration, metadata and tensors of a model file", command_info},
    {NULL, NULL, NULL, NULL},
};

const struct kernels *backend(const struct setting *s, struct backend_info *info) {
    static const struct kernels *k;
    static struct backend_info known;
    char why[256];
    if (!k && s->backend && !strcmp(s->backend, "cuda")) k = kernels_cuda(s->products, &known, why, sizeof why);
    if (!k) k = kernels_cpu(s->threads, &known);
    if (info) *info = known;
    return k;
}

int backend_check(const struct setting *s, struct error *e) {
    static const char *const names[] = {"cpu", "cuda"}, *const kinds[] = {"fp32", "tf32", "bf16"};
    bool cuda = s->backend && !strcmp(s->backend, "cuda");
    char why[256];
    if (s->backend && !cuda && strcmp(s->backend, "cpu") != 0) {
        const char *near = nearest_name(s->backend, names, 2);
        return fail(e, "unknown backend '%s'%s%s%s; backends: cpu, cuda", s->backend, near ? "; did you mean '" : "",
                    near ? near : "", near ? "'?" : "");
    }
    if (s->products && !cuda) return fail(e, "--products is of --backend cuda; the CPU multiplies in fp32");
    bool known = !s->products;
    for (int i = 0; i < 3; i++) known |= s->products && !strcmp(s->products, kinds[i]);
    if (!known) return fail(e, "unknown --products '%s'; there are fp32, tf32 (the default), bf16", s->products);
    if (cuda && !kernels_cuda(s->products, NULL, why, sizeof why)) return fail(e, "--backend cuda: %s", why);
    return 0;
}

/* ---- arguments ---- */

static struct flag *find_flag(const struct arguments *a, const char *name) {
    for (struct flag *f = a->flags; f && f->name; f++)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}

static int unknown_flag(const struct arguments *a, const char *name, const char *usage, struct error *e) {
    const char *names[OPTION_LIMIT];
    int count = 0;
    for (struct flag *f = a->flags; f && f->name && count < OPTION_LIMIT; f++) names[count++] = f->name;
    const char *near = nearest_name(name, names, count);
    return fail(e, "unknown option '--%s'%s%s%s; usage: infinibench %s", name, near ? "; did you mean '--" : "", near ? near : "",
                near ? "'?" : "", usage);
}

int arguments_read(struct arguments *a, int count, char **argv, const char *usage, int min_words, int max_words, struct error *e) {
    for (int i = 0; i < count; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            if (a->count == max_words) return fail(e, "'%s' is one operand too many; usage: infinibench %s", argv[i], usage);
            a->word[a->count++] = argv[i];
            continue;
        }
        char name[64];
        const char *equal = strchr(argv[i], '='), *value = NULL;
        size_t n = equal ? (size_t)(equal - argv[i] - 2) : strlen(argv[i] + 2);
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), argv[i] + 2);
        struct flag *f = find_flag(a, name);
        if (!f && !a->take_unknown) return unknown_flag(a, name, usage, e);
        if (f && f->is_switch) {
            if (equal) return fail(e, "--%s takes no value; usage: infinibench %s", name, usage);
            value = "";
        } else if (equal)
            value = equal + 1;
        else if (i + 1 < count)
            value = argv[++i];
        else
            return fail(e, "--%s needs a value; usage: infinibench %s", name, usage);
        if (f) {
            f->value = value;
            continue;
        }
        if (a->extra_count == OPTION_LIMIT) return fail(e, "more than %d options", OPTION_LIMIT);
        for (char *c = name; *c; c++)
            if (*c == '-') *c = '_';
        memcpy(a->extra[a->extra_count].key, name, sizeof name);
        a->extra[a->extra_count++].value = value;
    }
    if (a->count < min_words) return fail(e, "an operand is missing; usage: infinibench %s", usage);
    return 0;
}

const char *flag_value(const struct arguments *a, const char *name) {
    struct flag *f = find_flag(a, name);
    return f ? f->value : NULL;
}

int flag_int(const struct arguments *a, const char *name, int64_t fallback, int64_t min, int64_t *value, struct error *e) {
    const char *text = flag_value(a, name);
    *value = fallback;
    if (!text) return 0;
    if (parse_int(text, value) || *value < min)
        return fail(e, "--%s '%s' is not a whole number of at least %lld", name, text, (long long)min);
    return 0;
}

int flag_real(const struct arguments *a, const char *name, double fallback, double min, double max, double *value,
              struct error *e) {
    const char *text = flag_value(a, name);
    *value = fallback;
    if (!text) return 0;
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value >= min && *value <= max))
        return fail(e, "--%s '%s' is not a number from %g to %g", name, text, min, max);
    return 0;
}

/* ---- list ---- */

static void list_options(const struct option *o) {
    static const char *const types[] = {"whole number", "number", "yes|no", "", "text"};
    for (; o && o->key; o++)
        printf("    %-18s %-12s %-28s %s\n", o->key, o->fallback && *o->fallback ? o->fallback : "-",
               o->type == OPTION_CHOICE ? o->choices : types[o->type], o->help ? o->help : "");
}

static void list_architectures(void) {
    printf("Architectures (option, default, values, meaning)\n");
    for (int i = 0; baselines[i]; i++) {
        printf("  %s: %s (%s)\n", baselines[i]->name, baselines[i]->summary, baselines[i]->paper);
        list_options(baselines[i]->options);
    }
}

static void list_tasks(void) {
    printf("Tasks\n");
    for (int i = 0; tasks[i]; i++) {
        const struct task *t = tasks[i];
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
}

static void list_experiments(void) {
    glob_t g;
    printf("Experiments\n");
    if (glob("tasks/experiments/*.ini", 0, NULL, &g)) {
        printf("  none in tasks/experiments; run from the top folder of the repository\n");
        return;
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
}

static void list_presets(void) {
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
}

int command_list(int count, char **argv, const struct setting *s, struct error *e) {
    static const char *const kinds[] = {"architectures", "tasks", "experiments", "presets"};
    static void (*const print[])(void) = {list_architectures, list_tasks, list_experiments, list_presets};
    (void)s;
    struct arguments a = {0};
    if (arguments_read(&a, count, argv, commands[0].usage, 0, 1, e)) return -1;
    for (int i = 0; i < 4; i++) {
        if (a.count && strcmp(a.word[0], kinds[i]) != 0) continue;
        print[i]();
        if (a.count) return 0;
    }
    if (!a.count) return 0;
    const char *near = nearest_name(a.word[0], kinds, 4);
    return fail(e, "unknown list '%s'%s%s%s; lists: architectures, tasks, experiments, presets", a.word[0],
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
