/* run_info.c - collects what runs/ID.json says: commit, compiler, libraries, machine, resolved options.
 *
 * It measures nothing but reads what is known; experiment_run.c adds stages and tasks. */
#include "run_info.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef BUILD_FLAGS
#define BUILD_FLAGS "unknown"
#endif

const char *run_hex(uint64_t value) {
    static char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return text;
}

/* The first line of what a command prints; false if it failed. */
static bool command_line(const char *command, char *out, int size) {
    FILE *f = popen(command, "r");
    out[0] = 0;
    if (!f) return false;
    if (!fgets(out, size, f)) out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    while (fgetc(f) != EOF) {
    }
    return pclose(f) == 0;
}

void run_program(json_t *j) {
    char commit[128], dirty[128], date[40];
    /* Of the tree that the program lies in, not of whatever repository it is called from. */
    char *self = realpath("/proc/self/exe", NULL), *slash = self ? strrchr(self, '/') : NULL;
    if (slash) *slash = 0;
    setenv("INFINIBENCH_SELF", self ? self : ".", 1);
    free(self);
    bool git = command_line("cd \"$INFINIBENCH_SELF\" && { git rev-parse HEAD 2>/dev/null || cat ../COMMIT 2>/dev/null; }", commit,
                            sizeof commit);
    bool status = git && command_line("git -C \"$INFINIBENCH_SELF\" status --porcelain --untracked-files=no -- :/ 2>/dev/null",
                                      dirty, sizeof dirty);
    time_t t = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    json_object_set_new(j, "date", json_string(date));
    json_object_set_new(j, "commit", git ? json_string(commit) : json_null());
    json_object_set_new(j, "dirty", status ? json_boolean(dirty[0] != 0) : json_null());
#ifdef __clang__
    json_object_set_new(j, "compiler", json_string("clang " __clang_version__));
#else
    json_object_set_new(j, "compiler", json_string("gcc " __VERSION__));
#endif
    json_object_set_new(j, "flags", json_string(BUILD_FLAGS));
}

json_t *run_option_object(const struct options *o) {
    json_t *j = json_object();
    for (int i = 0; o->table && o->table[i].key; i++) json_object_set_new(j, o->table[i].key, json_string(o->value[i]));
    return j;
}

json_t *run_describe(const struct session *s, const struct row_spec *row, int64_t seed, const char *run) {
    const struct experiment *x = s->x;
    char *path = xprintf("%s/runs/%s.json", results_folder(s->r), run);
    json_t *j = json_load_file(path, 0, NULL);
    free(path);
    if (!json_is_object(j)) {
        json_decref(j);
        j = json_object();
    }
    json_object_set_new(j, "run", json_string(run));
    json_object_set_new(j, "experiment", json_string(x->name));
    json_object_set_new(j, "title", json_string(x->title));
    json_object_set_new(j, "row", json_string(row->name));
    json_object_set_new(j, "architecture", json_string(row->config.arch->name));
    json_object_set_new(j, "architecture_version", json_integer(row->config.arch->version));
    json_object_set_new(j, "seed", json_integer(seed));
    run_program(j);
    const struct backend_info *b = s->o->info;
    if (b)
        json_object_set_new(j, "backend",
                            json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "backend", b->backend, "device", b->device, "blas",
                                      b->library, "core", b->core, "instruction_set", b->isa, "threads", b->threads, "note",
                                      b->note));
    char *config = config_text(&row->config);
    json_object_set_new(j, "model", json_string(config));
    free(config);
    json_t *tokenizer = json_object();
    const struct tokenizer *tok = tokenizer_open(x->tokenizer, NULL);
    json_object_set_new(tokenizer, "name", json_string(x->tokenizer));
    if (tok) json_object_set_new(tokenizer, "hash", json_string(run_hex(tok->hash)));
    json_object_set_new(j, "tokenizer", tokenizer);
    json_t *options = json_object(), *stages = json_object(), *task_options = json_object();
    for (int i = 0; i < x->stage_count; i++) {
        struct options o;
        stage_train_options(&o, row, &x->stages[i]);
        json_object_set_new(stages, x->stages[i].name, run_option_object(&o));
    }
    for (int i = 0; i < x->task_count; i++)
        json_object_set_new(task_options, x->tasks[i].name, run_option_object(&x->tasks[i].options));
    json_object_set_new(options, "architecture", run_option_object(&row->config.options));
    json_object_set_new(options, "stages", stages);
    json_object_set_new(options, "tasks", task_options);
    json_object_set_new(j, "options", options);
    if (!json_is_object(json_object_get(j, "stages"))) json_object_set_new(j, "stages", json_object());
    if (!json_is_object(json_object_get(j, "tasks"))) json_object_set_new(j, "tasks", json_object());
    return j;
}
