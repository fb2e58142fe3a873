/* main.c - `infinibench COMMAND ...`: finds the command, prints errors as one line, turns them into exit codes.
 *
 * 0 fine, 1 a check failed, 2 bad usage or input. */
#include "cli.h"
#include <csv.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#ifndef BUILD_FLAGS
#define BUILD_FLAGS "unknown"
#endif

#ifdef __clang__
#define COMPILER "" /* named in __VERSION__ */
#else
#define COMPILER "gcc "
#endif

static void print_help(FILE *out) {
    fprintf(out, "infinibench " VERSION ": trains, runs and measures long-context architectures on equal terms\n\n");
    for (const struct command *c = commands; c->name; c++) fprintf(out, "  infinibench %s\n      %s\n", c->usage, c->summary);
    fprintf(out, "  infinibench help [COMMAND], COMMAND --help\n  infinibench --version\n\n"
                 "Everywhere: --threads N (default: OMP_NUM_THREADS or all cores), --quiet (no progress), --backend cpu|cuda,\n"
                 "--products fp32|tf32|bf16 (how a GPU rounds the factors of matrix products; default tf32).\n"
                 "Exit codes: 0 fine, 1 the check failed, 2 bad usage or input.\n\n");
    print_environment(out);
}

/* Where --help stands among the arguments of a command; 0: nowhere. */
static int find_help(int argc, char **argv) {
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return i;
    return 0;
}

static int print_version(const struct setting *s) {
    struct backend_info info;
    backend(s, &info);
    printf("infinibench %s\ncompiler   %s%s\nflags      %s\nbackend    %s, instruction set %s, %d threads\ndevice     %s\nlibrary  "
           "  %s\n"
           "core type  %s (%s)\nlibraries  jansson %s, xxHash %u.%u.%u, libcsv %d.%d.%d\n",
           VERSION, COMPILER, __VERSION__, BUILD_FLAGS, info.backend, info.isa, info.threads, info.device, info.library, info.core,
           info.note, jansson_version_str(), XXH_versionNumber() / 10000, XXH_versionNumber() / 100 % 100,
           XXH_versionNumber() % 100, CSV_MAJOR, CSV_MINOR, CSV_RELEASE);
    return 0;
}

static const struct command *find_command(const char *name, struct error *e) {
    const char *names[32];
    int count = 0;
    for (const struct command *c = commands; c->name; c++) {
        names[count++] = c->name;
        if (!strcmp(c->name, name)) return c;
    }
    names[count++] = "help";
    const char *near = nearest_name(name, names, count);
    if (near)
        fail(e, "unknown command '%s'; did you mean '%s'? (infinibench help lists all)", name, near);
    else
        fail(e, "unknown command '%s'; infinibench help lists all", name);
    return NULL;
}

static int complain(const struct error *e) {
    fprintf(stderr, "infinibench: %s\n", e->text);
    return 2;
}

/* Takes --quiet, --threads, --backend and --products out of argv, wherever they stand. */
static int take_settings(int *argc, char **argv, struct setting *s, struct error *e) {
    static const struct {
        const char *name, *example;
    } known[] = {{"--threads", "2"}, {"--backend", "cpu"}, {"--products", "fp32"}};
    const char *values[3] = {NULL, NULL, NULL};
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        bool taken = !strcmp(argv[i], "--quiet");
        if (taken) progress_quiet = true;
        for (int j = 0; j < 3 && !taken; j++) {
            size_t n = strlen(known[j].name);
            if (strncmp(argv[i], known[j].name, n) != 0 || (argv[i][n] && argv[i][n] != '=')) continue;
            taken = true;
            if (!argv[i][n] && i + 1 == *argc)
                return fail(e, "%s needs a value, as in %s %s", known[j].name, known[j].name, known[j].example);
            values[j] = argv[i][n] ? argv[i] + n + 1 : argv[++i];
        }
        if (!taken) argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    *argc = kept;
    int64_t n = 0;
    if (values[0] && (parse_int(values[0], &n) || n < 1 || n > 4096))
        return fail(e, "--threads '%s' is not a whole number from 1 to 4096", values[0]);
    s->threads = (int)n;
    s->backend = values[1];
    s->products = values[2];
    return backend_check(s, e);
}

int main(int argc, char **argv) {
    cpu_choose_core(argv);
    struct error e = {""};
    struct setting s = {0};
    if (take_settings(&argc, argv, &s, &e)) return complain(&e);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) return print_version(&s);
    bool help = !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");
    const char *name = help ? (argc > 2 ? argv[2] : NULL) : argv[1];
    if (!name || !strcmp(name, "help")) {
        print_help(stdout);
        return 0;
    }
    const struct command *c = find_command(name, &e);
    if (!c) return complain(&e);
    if (help || find_help(argc, argv)) {
        const char *word = help ? (argc > 3 ? argv[3] : NULL) : argv[2]; /* a task, before any flag */
        return print_command_help(c, word && word[0] != '-' ? word : NULL, &e) ? complain(&e) : 0;
    }
    int status = c->run(argc - 2, argv + 2, &s, &e);
    if (status < 0) return complain(&e);
    if (fflush(stdout) || ferror(stdout)) {
        fail(&e, "cannot write to standard output: is the disk full or the pipe closed?");
        return complain(&e);
    }
    return status;
}
