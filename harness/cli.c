/* cli.c - the table of commands, reading of arguments. */
#include "cli.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const struct command commands[] = {
    {"list", LIST_USAGE, "what there is to choose from, with options and defaults; keys: those of an experiment file",
     command_list},
    {"run", RUN_USAGE, "trains and measures an experiment; goes on where it stopped, does nothing twice", command_run},
    {"train", TRAIN_USAGE, "trains one model of an experiment and saves it as it is after its last stage, or --stage",
     command_train},
    {"eval", EVAL_USAGE, "one measurement of one model (its options: eval TASK --help)", command_eval},
    {"score", SCORE_USAGE, "judges the outputs of a foreign model with the task's own measures (docs/scoring.md)", command_score},
    {"logits", LOGITS_USAGE, "teacher-forced logits (or NLL in nats) of a text as float32, row i from the tokens before i",
     command_logits},
    {"generate", GENERATE_USAGE, "continues a text; temperature 0 takes the most probable token", command_generate},
    {"rouge", ROUGE_USAGE,
     "ROUGE-1, -2, -L, -Lsum of texts, text lines or JSONL rows against one or more references (docs/methods.md)", command_rouge},
    {"memory", MEMORY_USAGE, "what a text leaves in memory by formula: Table 1 of the paper for any shape; presets: list presets",
     command_memory},
    {"report", "report DIR", "tables and pictures of a results folder as Markdown, HTML, SVG and PNG", command_report},
    {"compare", COMPARE_USAGE,
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
    if (!k && s->backend && !strcmp(s->backend, "cuda"))
        k = kernels_cuda(s->products, &known, why, sizeof why), memory_of_device = k != NULL;
    if (!k) k = kernels_cpu(s->threads, &known);
    if (info) *info = known;
    return k;
}

/* The backend takes what it knows of the variable and passes over the rest: a slip would be measured as something else. */
static int check_isa(struct error *e) {
    const char *isa = getenv("INFINIBENCH_ISA");
    if (!isa || !*isa || !strcmp(isa, "base") || !strcmp(isa, "v3") || !strcmp(isa, "v4")) return 0;
    return fail(e, "INFINIBENCH_ISA '%s' is not base, v3 or v4", isa);
}

int backend_check(const struct setting *s, struct error *e) {
    static const char *const names[] = {"cpu", "cuda"}, *const kinds[] = {"fp32", "tf32", "bf16"};
    bool cuda = s->backend && !strcmp(s->backend, "cuda");
    char why[256];
    if (check_isa(e)) return -1;
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
    for (struct flag *f = a->flags; f && f->name; f++) {
        size_t i = 0; /* --head_dim is --head-dim, as options of architectures and tasks are both */
        while (name[i] && (name[i] == f->name[i] || (name[i] == '_' && f->name[i] == '-'))) i++;
        if (!name[i] && !f->name[i]) return f;
    }
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
        if (f && f->value && !f->is_switch) return fail(e, "--%s is given twice: '%s' and '%s'", f->name, f->value, value);
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

int check_row_name(const char *row, struct error *e) {
    for (const char *c = row; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.+", *c))
            return fail(e, "--row '%.70s' may hold letters, digits and - _ . + only", row);
    if (!*row || strlen(row) > 63) return fail(e, "--row '%.70s' should have 1 to 63 characters", row);
    return 0;
}

int flag_int(const struct arguments *a, const char *name, int64_t fallback, int64_t min, int64_t *value, struct error *e) {
    const char *text = flag_value(a, name);
    *value = fallback;
    if (!text) return 0;
    int bad = parse_int(text, value);
    if (bad == PARSE_BEYOND) return fail(e, "--%s '%s' is beyond 2^63", name, text);
    if (bad || *value < min) return fail(e, "--%s '%s' is not a whole number of at least %lld", name, text, (long long)min);
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
