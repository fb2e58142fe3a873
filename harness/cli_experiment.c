/* cli_experiment.c - commands on experiments and results: run, train, eval, report, compare, check. */
#include "check.h"
#include "checkpoint.h"
#include "cli.h"
#include "csv_io.h"
#include "report.h"
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int command_run(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"only", false, NULL},  {"tasks", false, NULL},       {"seed", false, NULL},
                           {"seeds", false, NULL}, {"jobs", false, NULL},        {"dry-run", true, NULL},
                           {"out", false, NULL},   {"checkpoints", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    int64_t seed, jobs;
    if (arguments_read(&a, count, argv, RUN_USAGE, 1, 1, e) || flag_int(&a, "seed", -1, 0, &seed, e) ||
        flag_int(&a, "jobs", 1, 1, &jobs, e))
        return -1;
    if (jobs > 1 && s->backend && !strcmp(s->backend, "cuda"))
        return fail(e, "--jobs %lld: with --backend cuda one cell at a time has the GPU; leave --jobs out", (long long)jobs);
    if (flag_value(&a, "checkpoints") && !*flag_value(&a, "checkpoints"))
        return fail(e, "--checkpoints is empty; it names a folder");
    struct experiment *x = experiment_read(a.word[0], flag_value(&a, "seeds"), e);
    if (!x) return -1;
    if (flag_value(&a, "checkpoints")) {
        free(x->checkpoints);
        x->checkpoints = xstrdup(flag_value(&a, "checkpoints"));
    }
    struct backend_info info;
    const struct kernels *k = backend(s, &info);
    struct run_options o = {.only = flag_value(&a, "only"),
                            .seed = seed,
                            .tasks = flag_value(&a, "tasks"),
                            .seeds = flag_value(&a, "seeds"),
                            .jobs = (int)jobs,
                            .dry_run = flag_value(&a, "dry-run") != NULL,
                            .out = flag_value(&a, "out"),
                            .threads = info.threads,
                            .k = k,
                            .info = &info};
    int status = experiment_run(x, &o, e);
    experiment_free(x);
    return status;
}

int command_train(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"row", false, NULL}, {"seed", false, NULL},   {"stage", false, NULL},
                           {"out", false, NULL}, {"dry-run", true, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    int64_t seed;
    if (arguments_read(&a, count, argv, TRAIN_USAGE, 1, 1, e) || flag_int(&a, "seed", -1, 0, &seed, e)) return -1;
    const char *row = flag_value(&a, "row"), *out = flag_value(&a, "out");
    bool dry = flag_value(&a, "dry-run") != NULL;
    if (!row) return fail(e, "--row is needed: which row of %s; usage: infinibench %s", a.word[0], TRAIN_USAGE);
    if (!out && !dry) return fail(e, "--out is needed: where the model goes; usage: infinibench %s", TRAIN_USAGE);
    if (can_write(out, "out", e) || not_input(out, "out", a.word[0], e)) return -1;
    struct experiment *x = experiment_read(a.word[0], NULL, e);
    if (!x) return -1;
    struct backend_info info;
    const struct kernels *k = backend(s, &info);
    struct run_options o = {.seed = seed, .jobs = 1, .dry_run = dry, .threads = info.threads, .k = k, .info = &info};
    int status = experiment_train(x, row, seed, flag_value(&a, "stage"), out, &o, e);
    experiment_free(x);
    return status;
}

/* ---- eval ---- */

/* Removes a folder of ours and all in it. */
static void remove_folder(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d));) {
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..")) continue;
        char *full = xprintf("%s/%s", path, f->d_name);
        if (unlink(full)) remove_folder(full);
        free(full);
    }
    if (d) closedir(d);
    rmdir(path);
}

static void print_number(double x) {
    if (isnan(x))
        printf(" %12s", "");
    else
        printf(" %12.6g", x);
}

void print_results(const struct result_row *r, int64_t count, const char *run) {
    int wide = 14;
    bool placed = false; /* lengths and writes are shown where a task has them */
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(r[i].run, run) != 0) continue;
        if ((int)strlen(r[i].condition) > wide) wide = (int)strlen(r[i].condition);
        placed = placed || r[i].context > 0 || r[i].writes >= 0;
    }
    printf("%-22s %-*s", "metric", wide, "condition");
    if (placed) printf(" %9s %6s", "context", "writes");
    printf(" %-8s %12s %12s %12s %12s %6s %s\n", "position", "value", "std. error", "low", "high", "n", "unit");
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(r[i].run, run) != 0) continue;
        printf("%-22s %-*s", r[i].metric, wide, *r[i].condition ? r[i].condition : "-");
        char context[24] = "", writes[24] = "";
        if (r[i].context > 0) snprintf(context, sizeof context, "%lld", (long long)r[i].context);
        if (r[i].writes >= 0) snprintf(writes, sizeof writes, "%lld", (long long)r[i].writes);
        if (placed) printf(" %9s %6s", context, writes);
        printf(" %-8s", r[i].position);
        if (isnan(r[i].standard_error) && r[i].value == floor(r[i].value))
            printf(" %12.0f", r[i].value);
        else
            print_number(r[i].value);
        print_number(r[i].standard_error);
        print_number(r[i].low);
        print_number(r[i].high);
        printf(" %6lld %s\n", (long long)r[i].n, r[i].unit);
    }
}

/* The lines of one run. */
static int write_lines(const char *folder, const char *run, const char *to, struct error *e) {
    struct text_buffer b = {0};
    char *from = xprintf("%s/results.csv", folder), *start = xprintf("%d,%s,", RESULTS_SCHEMA, run);
    size_t size;
    char *text = read_file(from, &size, e);
    for (const char *line = text, *next; line && *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        if (line == text || strncmp(line, start, strlen(start)) == 0) buffer_add(&b, line, (size_t)(next - line));
    }
    int status = text ? write_file(to, b.data, b.n, e) : -1;
    buffer_free(&b);
    free(text);
    free(from);
    free(start);
    return status;
}

/* What identifies an evaluation: the model by its bytes, the task with its options and version, the data that it reads. */
struct evaluation {
    char row[64], model[24], run[40], cell[20]; /* model: the checksum that our files carry, of any file */
    int64_t seed;                               /* that the model was trained with, where its file says so */
};

static int identify(struct evaluation *x, const struct task *task, const struct task_run *r, const char *path, const char *row,
                    struct error *e) {
    uint64_t data = 0;
    struct st_file f;
    if (task->data_hash && task->data_hash(r->options, r->tokenizer, &data, e)) return -1;
    if (st_read(path, &f, e)) return -1;
    st_checksum(x->model, f.tensors, f.count, (const char *const *)f.keys, (const char *const *)f.values, f.pairs);
    x->seed = st_meta(&f, "seed") ? atoll(st_meta(&f, "seed")) : 1;
    st_free(&f);
    char *options = options_join(r->options, " ", false);
    char *key = xprintf("%s %s %d %s %016llx", x->model, task->name, task->version, options, (unsigned long long)data);
    /* A seed that is no option of the task is in no key yet. */
    snprintf(x->cell, sizeof x->cell, "%016llx", (unsigned long long)hash64(key, strlen(key), task->draws ? r->seed : 0));
    snprintf(x->run, sizeof x->run, "eval-%.8s-%s", x->model + strlen("xxh3-"), x->cell);
    free(key);
    free(options);
    const char *base = strrchr(path, '/');
    snprintf(x->row, sizeof x->row, "%s", row ? row : base ? base + 1 : path);
    for (char *c = x->row; *c && !row; c++)
        if (!strchr("+-._", *c) && !isalnum((unsigned char)*c)) *c = '_';
    return 0;
}

/* The folder takes this row: it belongs to no experiment, whose reports show its own cells only, and has no other model of that
 * name. */
static int takes_row(const char *folder, const struct evaluation *x, struct error *e) {
    char *ini = xprintf("%s/experiment.ini", folder), *csv = xprintf("%s/results.csv", folder), model[20];
    int64_t count = 0;
    int status = 0;
    if (access(ini, F_OK) == 0)
        status = fail(e, "--out %s holds an experiment, whose report would not show this row; choose another folder", folder);
    struct result_row *rows = !status && access(csv, F_OK) == 0 ? results_read(folder, &count, e) : NULL;
    if (!status && access(csv, F_OK) == 0 && !rows) status = -1;
    snprintf(model, sizeof model, "eval-%.8s-", x->model + strlen("xxh3-"));
    for (int64_t i = 0; i < count && !status; i++)
        if (strcmp(rows[i].row, x->row) == 0 && strncmp(rows[i].run, model, strlen(model)) != 0)
            status = fail(
                e, "%s holds measurements of another model called '%s'; give this one a name with --row NAME, or another --out",
                folder, x->row);
    free(rows);
    free(ini);
    free(csv);
    return status;
}

/* Runs the task into `folder` and prints what it measured. */
static int evaluate(const char *folder, const struct task *task, struct task_run *r, const struct evaluation *x, const char *csv,
                    struct error *e) {
    struct results *out = results_open(folder, e);
    if (!out) return -1;
    int status = 0;
    if (results_has_cell(out, x->cell)) {
        if (!progress_quiet) fprintf(stderr, "measured before, by the same model, options and data: %s\n", folder);
    } else {
        r->out =
            cell_begin(out, x->cell, x->run, "eval", x->row, r->model->config.arch->name, "", x->seed, task->name, task->version);
        status = task->run(r, e) || stream_trouble(r->model, e) ? -1 : 0;
        if (status)
            cell_drop(r->out);
        else
            status = cell_commit(r->out, e);
    }
    results_close(out);
    if (status) return -1;
    int64_t rows;
    struct result_row *read = results_read(folder, &rows, e);
    if (!read) return -1;
    print_results(read, rows, x->run);
    free(read);
    return csv ? write_lines(folder, x->run, csv, e) : 0;
}

/* --seed is the task's own seed, by whatever name it has one; a task that draws nothing refuses it, lest it be thought to matter.
 * An option that is given by its name goes before. */
static int set_seed(struct options *o, const struct task *task, const char *seed, const char *where, struct error *e) {
    static const char *const names[] = {"seed", "sample_seed"};
    for (int i = 0; i < 2 && seed; i++)
        if (options_has(o, names[i])) return options_set(o, names[i], seed, where, e);
    if (!seed || task->draws) return 0;
    return fail(e, "%s draws nothing at random: --seed would change no number; leave it out", where);
}

int command_eval(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"model", false, NULL}, {"csv", false, NULL}, {"out", false, NULL},
                           {"seed", false, NULL},  {"row", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags, .take_unknown = true};
    int64_t seed;
    if (arguments_read(&a, count, argv, EVAL_USAGE, 1, 1, e) || flag_int(&a, "seed", 1, 0, &seed, e)) return -1;
    const struct task *task = task_find(a.word[0], e);
    if (!task) return -1;
    struct options options;
    options_init(&options, task->options);
    char where[80];
    snprintf(where, sizeof where, "task %s", task->name);
    if (set_seed(&options, task, flag_value(&a, "seed"), where, e)) return -1;
    for (int i = 0; i < a.extra_count; i++)
        if (options_set(&options, a.extra[i].key, a.extra[i].value, where, e)) return -1;
    const char *path = flag_value(&a, "model"), *out = flag_value(&a, "out"), *csv = flag_value(&a, "csv");
    if (!path) return fail(e, "--model is needed; usage: infinibench %s", EVAL_USAGE);
    if (flag_value(&a, "row") && check_row_name(flag_value(&a, "row"), e)) return -1;
    if (can_write(csv, "csv", e) || not_input(csv, "csv", path, e)) return -1;
    if (out && !*out) return fail(e, "--out is empty; it names a folder");
    const struct tokenizer *t;
    struct model *m = model_load(path, backend(s, NULL), &t, e);
    if (!m) return -1;
    struct task_run r = {.model = m, .tokenizer = t, .options = &options, .seed = (uint64_t)seed};
    struct evaluation x;
    if (identify(&x, task, &r, path, flag_value(&a, "row"), e) || (out && takes_row(out, &x, e))) {
        model_free(m);
        return -1;
    }
    const char *place = getenv("TMPDIR");
    char *temporary = xprintf("%s/infinibench-eval-XXXXXX", place && *place ? place : "/tmp");
    int status = -1;
    if (!out && !mkdtemp(temporary))
        fail(e, "cannot make a folder in %s; set TMPDIR, or name one with --out", place && *place ? place : "/tmp");
    else {
        status = evaluate(out ? out : temporary, task, &r, &x, csv, e);
        if (!out) remove_folder(temporary);
    }
    free(temporary);
    model_free(m);
    return status;
}

/* ---- results ---- */

int command_report(int count, char **argv, const struct setting *s, struct error *e) {
    (void)s;
    struct arguments a = {0};
    if (arguments_read(&a, count, argv, "report DIR", 1, 1, e)) return -1;
    return report(a.word[0], stdout, e);
}

int command_compare(int count, char **argv, const struct setting *s, struct error *e) {
    (void)s;
    struct flag flags[] = {{"row", false, NULL}, {"with", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    if (arguments_read(&a, count, argv, COMPARE_USAGE, 2, 2, e)) return -1;
    return report_compare(a.word[0], a.word[1], flag_value(&a, "row"), flag_value(&a, "with"), stdout, e);
}

int command_check(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"against", false, NULL}, {"rules", false, NULL},     {"partial", true, NULL}, {"seed", false, NULL},
                           {"all", true, NULL},      {"junit", false, NULL},     {"json", false, NULL},   {"update", true, NULL},
                           {"reason", false, NULL},  {"seed-cells", true, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    int64_t seed;
    (void)s;
    if (arguments_read(&a, count, argv, CHECK_USAGE, 1, 1, e) || flag_int(&a, "seed", -1, 0, &seed, e)) return -1;
    struct check_options o = {.folder = a.word[0],
                              .against = flag_value(&a, "against"),
                              .rules = flag_value(&a, "rules"),
                              .junit = flag_value(&a, "junit"),
                              .json = flag_value(&a, "json"),
                              .partial = flag_value(&a, "partial") != NULL,
                              .seed = seed,
                              .all = flag_value(&a, "all") != NULL,
                              .reason = flag_value(&a, "reason"),
                              .seed_cells = flag_value(&a, "seed-cells") != NULL};
    bool update = flag_value(&a, "update") != NULL;
    if (!o.against) return fail(e, "--against is needed: the committed expectations; usage: infinibench %s", CHECK_USAGE);
    if (o.reason && !update) return fail(e, "--reason goes with --update; usage: infinibench %s", CHECK_USAGE);
    if (o.seed_cells && !update) return fail(e, "--seed-cells goes with --update; usage: infinibench %s", CHECK_USAGE);
    o.partial = o.partial || o.seed_cells;
    if (update && (o.junit || o.json)) return fail(e, "--update judges nothing: no --junit, no --json");
    const char *inputs[] = {o.against, o.rules};
    for (int i = 0; i < 2; i++)
        if (not_input(o.junit, "junit", inputs[i], e) || not_input(o.json, "json", inputs[i], e)) return -1;
    return update ? check_update(&o, stdout, e) : check_run(&o, stdout, e);
}
