/* cli_score.c - `infinibench score`: the outputs of a foreign model, judged by a task, become a row of a results folder.
 *
 * The task reads and measures (score.h); here are the arguments, what runs/ID.json says, and the order in which things are
 * written: the description first, the measurements last, so that a row is never without its description. */
#include "cli.h"
#include "run_info.h"
#include "score.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT 128 /* of the preset micro */

/* The command as it can be given again. */
static char *command_text(int count, char **argv) {
    struct text_buffer b = {0};
    buffer_printf(&b, "infinibench score");
    for (int i = 0; i < count; i++) {
        bool plain = *argv[i] && !argv[i][strcspn(argv[i], " \t\n'\"\\$`*?[]{}()<>|&;~#!")];
        if (plain) {
            buffer_printf(&b, " %s", argv[i]);
            continue;
        }
        buffer_printf(&b, " '");
        for (const char *c = argv[i]; *c; c++) buffer_printf(&b, *c == '\'' ? "'\\''" : "%c", *c);
        buffer_printf(&b, "'");
    }
    return b.data;
}

/* What is known of a foreign row, and nothing else: no model, no training, no machine. */
static json_t *describe(const struct score_run *r, const char *command, double seconds) {
    json_t *j = json_object(), *files = json_array(), *tokenizer = json_object(), *task = json_object(), *list = json_object();
    json_object_set_new(j, "run", json_string(r->run));
    json_object_set_new(j, "foreign", json_true());
    json_object_set_new(j, "row", json_string(r->row));
    json_object_set_new(j, "architecture", json_string(FOREIGN));
    json_object_set_new(j, "seed", json_integer((json_int_t)r->seed));
    json_object_set_new(j, "command", json_string(command));
    run_program(j);
    json_object_set_new(tokenizer, "name", json_string(r->tokenizer->name));
    json_object_set_new(tokenizer, "hash", json_string(run_hex(r->tokenizer->hash)));
    json_object_set_new(j, "tokenizer", tokenizer);
    json_object_set_new(j, "segment", json_integer((json_int_t)r->segment));
    for (int i = 0; i < r->file_count; i++) {
        const struct score_file *f = &r->files[i];
        json_t *x = json_object();
        json_object_set_new(x, "sample", json_string(f->sample));
        json_object_set_new(x, "xxh3", json_string(run_hex(f->hash)));
        json_object_set_new(x, "tokens", json_integer((json_int_t)f->values));
        json_object_set_new(x, "own_tokenizer", json_boolean(f->sized));
        json_array_append_new(files, x);
    }
    json_object_set_new(j, "nll", json_string(r->place));
    json_object_set_new(j, "files", files);
    json_object_set_new(task, "cell", json_string(r->cell));
    json_object_set_new(task, "task", json_string(r->task->name));
    json_object_set_new(task, "version", json_integer(r->task->version));
    json_object_set_new(task, "options", run_option_object(r->options));
    json_object_set_new(task, "data", json_string(run_hex(r->data)));
    json_object_set_new(task, "wall_seconds", json_real(seconds));
    json_object_set_new(list, r->task->name, task);
    json_object_set_new(j, "tasks", list);
    return j;
}

static int save(struct score_run *r, const char *command, double seconds, struct error *e) {
    json_t *j = describe(r, command, seconds);
    int result = results_save_run(r->results, r->run, j, e);
    json_decref(j);
    if (result) return -1;
    result = cell_commit(r->out, e);
    r->out = NULL; /* freed by the commit */
    if (result) {
        char *path = xprintf("%s/runs/%s.json", r->folder, r->run);
        unlink(path);
        free(path);
    }
    return result;
}

int command_score(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"nll", false, NULL},     {"row", false, NULL},  {"out", false, NULL},    {"tokenizer", false, NULL},
                           {"segment", false, NULL}, {"seed", false, NULL}, {"replace", true, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags, .take_unknown = true};
    struct score_run r = {.segment = SEGMENT};
    (void)s;
    if (arguments_read(&a, count, argv, SCORE_USAGE, 1, 1, e) || flag_int(&a, "segment", SEGMENT, 1, &r.segment, e) ||
        flag_int(&a, "seed", 1, 0, &r.seed, e))
        return -1;
    r.task = task_find(a.word[0], e);
    if (!r.task || score_offered(r.task, e)) return -1;
    r.place = flag_value(&a, "nll");
    r.row = flag_value(&a, "row");
    r.folder = flag_value(&a, "out");
    r.replace = flag_value(&a, "replace") != NULL;
    if (!r.place || !r.row || !r.folder) return fail(e, "--nll, --row and --out are needed; usage: infinibench %s", SCORE_USAGE);
    if (check_row_name(r.row, e)) return -1;
    struct options options;
    char where[80];
    options_init(&options, r.task->options);
    snprintf(where, sizeof where, "task %s", r.task->name);
    for (int i = 0; i < a.extra_count; i++)
        if (options_set(&options, a.extra[i].key, a.extra[i].value, where, e)) return -1;
    r.options = &options;
    const char *tokenizer = flag_value(&a, "tokenizer");
    r.tokenizer = tokenizer_open(tokenizer ? tokenizer : "bytes", e);
    if (!r.tokenizer) return -1;
    double start = now();
    char *command = command_text(count, argv);
    int status = r.task->score(&r, e);
    if (!status && r.out)
        status = save(&r, command, now() - start, e);
    else if (!status && !progress_quiet)
        fprintf(stderr, "%s: these outputs were scored as row '%s' before; nothing to do\n", r.folder, r.row);
    free(command);
    score_close(&r);
    if (status) return -1;
    int64_t rows;
    struct result_row *read = results_read(r.folder, &rows, e);
    if (!read) return -1;
    print_results(read, rows, r.run);
    free(read);
    return 0;
}
