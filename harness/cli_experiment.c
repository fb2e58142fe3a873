/* cli_experiment.c - commands on experiments and results: run, train, eval, report, compare, check. */
#include "check.h"
#include "checkpoint.h"
#include "cli.h"
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
    if (can_write(out, "out", e)) return -1;
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

static int copy_file(const char *from, const char *to, struct error *e) {
    size_t size;
    char *text = read_file(from, &size, e);
    if (!text) return -1;
    int status = write_file(to, text, size, e);
    free(text);
    return status;
}

/* Runs the task into `folder` and prints what it measured. */
static int evaluate(const char *folder, const struct task *task, struct task_run *r, const char *model_path, const char *csv,
                    struct error *e) {
    struct results *out = results_open(folder, e);
    if (!out) return -1;
    char run[40], cell[20], *options = options_join(r->options, " ", false), *key;
    struct stat st = {0};
    stat(model_path, &st);
    key = xprintf("%s %s %d %s %lld %lld", model_path, task->name, task->version, options, (long long)st.st_size,
                  (long long)st.st_mtime);
    /* A seed that is no option of the task is in no key yet; 1 is left out, as it always was. */
    snprintf(cell, sizeof cell, "%016llx", (unsigned long long)hash64(key, strlen(key), task->draws && r->seed != 1 ? r->seed : 0));
    snprintf(run, sizeof run, "eval-%s", cell);
    free(key);
    free(options);
    char row[64];
    const char *base = strrchr(model_path, '/');
    snprintf(row, sizeof row, "%s", base ? base + 1 : model_path);
    for (char *c = row; *c; c++) /* names of rows hold no blanks: pictures count words */
        if (!strchr("+-._", *c) && !isalnum((unsigned char)*c)) *c = '_';
    int status = 0;
    if (!results_has_cell(out, cell)) {
        r->out =
            cell_begin(out, cell, run, "eval", row, r->model->config.arch->name, "", (int64_t)r->seed, task->name, task->version);
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
    print_results(read, rows, run);
    free(read);
    if (!csv) return 0;
    char *from = xprintf("%s/results.csv", folder);
    status = copy_file(from, csv, e);
    free(from);
    return status;
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
    struct flag flags[] = {
        {"model", false, NULL}, {"csv", false, NULL}, {"out", false, NULL}, {"seed", false, NULL}, {NULL, false, NULL}};
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
    if (can_write(csv, "csv", e)) return -1;
    const struct tokenizer *t;
    struct model *m = model_load(path, backend(s, NULL), &t, e);
    if (!m) return -1;
    struct task_run r = {.model = m, .tokenizer = t, .options = &options, .seed = (uint64_t)seed};
    const char *place = getenv("TMPDIR");
    char *temporary = xprintf("%s/infinibench-eval-XXXXXX", place && *place ? place : "/tmp");
    int status = -1;
    if (!out && !mkdtemp(temporary))
        fail(e, "cannot make a folder in %s; set TMPDIR, or name one with --out", place && *place ? place : "/tmp");
    else {
        status = evaluate(out ? out : temporary, task, &r, path, csv, e);
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
    struct flag flags[] = {{"against", false, NULL}, {"rules", false, NULL}, {"partial", true, NULL}, {"seed", false, NULL},
                           {"all", true, NULL},      {"junit", false, NULL}, {"json", false, NULL},   {"update", true, NULL},
                           {"reason", false, NULL},  {NULL, false, NULL}};
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
                              .reason = flag_value(&a, "reason")};
    bool update = flag_value(&a, "update") != NULL;
    if (!o.against) return fail(e, "--against is needed: the committed expectations; usage: infinibench %s", CHECK_USAGE);
    if (o.reason && !update) return fail(e, "--reason goes with --update; usage: infinibench %s", CHECK_USAGE);
    if (update && (o.junit || o.json)) return fail(e, "--update judges nothing: no --junit, no --json");
    return update ? check_update(&o, stdout, e) : check_run(&o, stdout, e);
}
