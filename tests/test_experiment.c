/* test_experiment.c - experiment files and their errors, what is and is not part of a cell, mixtures, and small runs: done once,
 * resumed, resolved. Training here is a few steps of the smallest preset on a made corpus. */
#include "harness/experiment.h"
#include "harness/mixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];
static struct error e;

#define assert_says(needle) check_says(needle, __FILE__, __LINE__)
static void check_says(const char *needle, const char *file, int line) {
    if (strstr(e.text, needle)) return;
    print_error("the error is '%s', it should say '%s'\n", e.text, needle);
    _fail(file, line);
}

static void put(const char *name, const char *text) {
    char *path = xprintf("%s/%s", root, name), *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(make_folders(path, &e), 0);
    *slash = '/';
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fwrite(text, 1, strlen(text), f);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static int setup(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/infinibench_experiment.XXXXXX");
    progress_quiet = true;
    if (!mkdtemp(root) || chdir(root) != 0) return -1; /* checkpoints go to build/checkpoints below */
    for (int i = 0; i < 6; i++) {
        char name[64], *text = xcalloc(6001, 1);
        for (int j = 0; j < 6000; j++) text[j] = "the quick brown fox jumps over "[(j * (i + 1) + j / 31) % 31];
        snprintf(name, sizeof name, "corpus/%s/%d.txt", i < 3 ? "train" : i < 5 ? "test" : "validation", i);
        put(name, text);
        free(text);
    }
    return 0;
}
static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return chdir("/") != 0 || system(command);
}

#define HEAD "[experiment]\ntitle = A test\nseeds = 1\n"
#define BUDGET "[budget]\npreset = nano\nsteps = 4\nlr = 1e-3\nwarmup = 1\n"
#define STAGE_ONE "[stage one]\nsource = ./corpus\n"
#define ROWS "[row null]\narchitecture = null\n[row local]\narchitecture = infini\nupdate = none\n"
#define TASK "[task language_modeling]\ncorpus = ./corpus\n"
#define ALL HEAD BUDGET STAGE_ONE ROWS TASK

static struct experiment *parsed(const char *text) {
    put("x.ini", text);
    struct experiment *x = experiment_read("x.ini", NULL, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}

static void refused(const char *text, const char *says, const char *also) {
    put("x.ini", text);
    struct experiment *x = experiment_read("x.ini", NULL, &e);
    if (x) fail_msg("accepted, should say '%s'", says);
    assert_says(says);
    assert_says(also);
}

static void errors(void **state) {
    (void)state;
    refused(HEAD BUDGET "[stagge one]\n", "x.ini:9: unknown section [stagge one]", "the nearest is 'stage'");
    refused(HEAD BUDGET "[budget]\n", "x.ini:9:", "there already (line 4)");
    refused(HEAD BUDGET "[row]\n", "x.ini:9:", "needs a name");
    refused(HEAD BUDGET "[row a b]\n", "x.ini:9:", "letters, digits");
    refused(HEAD "[budget]\npreset = nanno\n", "x.ini:5: unknown preset 'nanno'", "the nearest is 'nano'");
    refused(HEAD "[budget]\nsteps = 4\n", "x.ini:4:", "needs a preset");
    refused(HEAD BUDGET "stepps = 4\n" ROWS, "x.ini:9: unknown key 'stepps' in [budget]", "the nearest is 'steps'");
    refused(HEAD BUDGET "segmnt = 4\n" ROWS, "x.ini:9: unknown key 'segmnt'", "the nearest is 'segment'");
    refused(HEAD BUDGET "steps = 5\n", "x.ini:9: 'steps' is given already", "line 6");
    refused(HEAD BUDGET "clip = much\n" ROWS, "x.ini:9", "much");
    refused(HEAD BUDGET "tokenizer = bites\n" ROWS, "x.ini:9", "bytes");
    refused(HEAD BUDGET "[row a]\narchitecture = infinni\n", "x.ini:10: unknown architecture 'infinni'", "the nearest is 'infini'");
    refused(HEAD BUDGET "[row a]\nupdate = none\n", "x.ini:9", "needs an architecture");
    refused(HEAD BUDGET "[row a]\narchitecture = infini\nupdte = none\n", "x.ini:11: unknown key 'updte' in [row a]",
            "the nearest is 'update'");
    refused(HEAD BUDGET "[row a]\narchitecture = infini\nupdate = nothing\n", "x.ini:11", "nothing");
    refused(HEAD BUDGET ROWS "[task language_modelling]\n", "x.ini:14: unknown task", "the nearest is 'language_modeling'");
    refused(HEAD BUDGET ROWS "[task a]\ntask = language_modeling\nspilt = test\n", "x.ini:16: unknown key 'spilt'",
            "the nearest is 'split'");
    refused(HEAD BUDGET STAGE_ONE ROWS "[task language_modeling]\nafter = on\n", "x.ini:17: after = 'on' is no stage",
            "the nearest is 'one'");
    refused(HEAD BUDGET STAGE_ONE "[stage two]\nsource = ./corpus\nfrom = onee\n" ROWS, "x.ini:13: from = 'onee'",
            "the nearest is 'one'");
    refused(HEAD BUDGET "[stage one]\nsteps = 3\n" ROWS, "x.ini:9", "needs a source");
    refused(HEAD BUDGET "[stage one]\nsource = task:paskey\n" ROWS, "x.ini:10: source", "the nearest is 'passkey'");
    /* only what can be trained on is named, each once */
    refused(HEAD BUDGET "[stage one]\nsource = task:zzz\n" ROWS TASK "[task passkey]\n[task two]\ntask = passkey\n",
            "unknown task 'zzz'; known are passkey, two, ", "chronicle");
    assert_null(strstr(e.text, "language_modeling"));
    assert_null(strstr(strstr(e.text, "passkey") + 1, "passkey"));
    refused(HEAD BUDGET "[stage one]\nsource = task:language_modeling\n" ROWS, "x.ini:10: source", "cannot be trained on");
    refused(HEAD BUDGET "[stage one]\nsource = kjv:0\n" ROWS, "x.ini:10: source", "weight '0'");
    refused("[experiment]\nseeds = 1, two\n" BUDGET ROWS, "x.ini:2: seed 'two'", "whole number");
    refused("[experiment]\nseeds = 1, 1\n" BUDGET ROWS, "x.ini:2: seed 1", "twice");
    refused("[experiment]\nseeds = 1, 5-3\n" BUDGET ROWS, "x.ini:2: the range of seeds '5-3'", "empty");
    refused("[experiment]\nseeds = 1-40\n" BUDGET ROWS, "x.ini:2: more than", "32 seeds");
    refused("[experiment]\ntitel = a\n" BUDGET ROWS, "x.ini:2: unknown key 'titel'", "the nearest is 'title'");
    refused(HEAD BUDGET, "x.ini", "no [row NAME]");
    refused(HEAD BUDGET ROWS "nonsense\n", "x.ini:14:", "key = value");
    refused("preset = nano\n", "x.ini:1:", "before the first section");
    assert_null(experiment_read("nowhere.ini", NULL, &e));
    assert_says("nowhere.ini");
}

static void resolving(void **state) {
    (void)state;
    struct experiment *x = parsed(
        "; comment\n[experiment]\ntitle = A title that goes on\n    in a second line\npaper = P\nseeds = 3, 1K, 5-6\n"
        "[budget]\npreset = nano\nsegment = 16\nsteps = 7\n[stage a]\nsource = ./corpus:3, kjv:1\nlimit = 2K\n"
        "[stage b]\nsource = ./corpus\nlr = 0.5\nsteps = 9\n[stage c]\nsource = ./corpus\nfrom = a\n"
        "[row slow]\narchitecture = infini\nlr = 0.25\nlayers = 3\n" TASK "[task early]\ntask = language_modeling\nafter = a\n");
    assert_string_equal(x->name, "x");
    assert_string_equal(x->title, "A title that goes on in a second line");
    assert_true(x->seeds.count == 4 && x->seeds.seed[0] == 3 && x->seeds.seed[1] == 1024);
    assert_true(x->seeds.seed[2] == 5 && x->seeds.seed[3] == 6);
    assert_true(x->stage_count == 3 && x->row_count == 1 && x->task_count == 2);
    assert_int_equal(x->stages[0].limit, 2048);
    assert_string_equal(x->stages[0].from, "init");
    assert_string_equal(x->stages[1].from, "a");
    assert_string_equal(x->stages[2].from, "a");
    assert_int_equal(options_int(&x->stages[0].train, "steps"), 7);
    assert_int_equal(options_int(&x->stages[1].train, "steps"), 9);
    assert_true(fabs(options_real(&x->stages[0].train, "lr") - x->rows[0].config.rates[1]) < 1e-12); /* the preset's middle rate */
    assert_true(options_real(&x->stages[1].train, "lr") == 0.5);
    assert_int_equal(x->rows[0].config.layers, 3);
    assert_int_equal(x->rows[0].config.segment, 16);
    assert_int_equal(x->rows[0].override_count, 1);
    assert_string_equal(x->rows[0].overrides[0][1], "0.25");
    assert_string_equal(x->tasks[0].after, "c");
    assert_string_equal(x->tasks[1].after, "a");
    /* the resolved text reads back as itself */
    char *one = experiment_resolved(x);
    put("again/x.ini", one);
    struct experiment *y = experiment_read("again/x.ini", NULL, &e);
    if (!y) fail_msg("%s", e.text);
    char *two = experiment_resolved(y);
    assert_string_equal(one, two);
    free(one);
    free(two);
    experiment_free(x);
    experiment_free(y);
}

/* The cell of row 1 (local), first seed, task 0. */
static void cell_of(char cell[20], const char *text) {
    struct experiment *x = parsed(text);
    if (experiment_cell(cell, x, &x->rows[1], x->seeds.seed[0], &x->tasks[0], &e) != 0) fail_msg("%s", e.text);
    assert_int_equal(strlen(cell), 16);
    experiment_free(x);
}

static void identity(void **state) {
    static const char *const same[] = {
        "; comment\n\n" HEAD "; more\n" BUDGET STAGE_ONE ROWS TASK,
        "[experiment]\nseeds = 1\ntitle = Another title\npaper = Q\n" BUDGET STAGE_ONE ROWS TASK,
        HEAD "[budget]\nwarmup = 1\nlr = 0.001\nsteps = 4\npreset = nano\n" STAGE_ONE ROWS TASK, /* order, spelling */
        TASK ROWS STAGE_ONE BUDGET HEAD,
        HEAD BUDGET STAGE_ONE ROWS "[row third]\narchitecture = infini\n" TASK,             /* other rows and tasks */
        HEAD BUDGET STAGE_ONE "[stage two]\nsource = ./corpus\n" ROWS TASK "after = one\n", /* a later stage */
        HEAD BUDGET "[stage one]\nsource = ./corpus:7\n" ROWS TASK,                         /* the only component: any weight */
    };
    static const char *const other[] = {
        "[experiment]\nseeds = 2\n" BUDGET STAGE_ONE ROWS TASK,
        HEAD "[budget]\npreset = nano\nsteps = 5\nlr = 1e-3\nwarmup = 1\n" STAGE_ONE ROWS TASK,
        HEAD "[budget]\npreset = nano\nsteps = 4\nlr = 2e-3\nwarmup = 1\n" STAGE_ONE ROWS TASK,
        HEAD BUDGET "segment = 16\n" STAGE_ONE ROWS TASK,
        HEAD BUDGET "layers = 3\n" STAGE_ONE ROWS TASK,
        HEAD BUDGET "gate_rate = 3\n" STAGE_ONE ROWS TASK,
        HEAD BUDGET STAGE_ONE "limit = 1000\n" ROWS TASK,
        HEAD BUDGET STAGE_ONE "clip = 2\n" ROWS TASK,
        HEAD BUDGET "[stage one]\nsource = ./corpus, ./corpus\n" ROWS TASK,
        HEAD BUDGET "[stage other]\nsource = ./corpus\n" ROWS TASK,
        HEAD BUDGET STAGE_ONE "[stage two]\nsource = ./corpus\n" ROWS TASK,
        HEAD BUDGET STAGE_ONE ROWS TASK "split = validation\n",
        HEAD BUDGET STAGE_ONE ROWS TASK "after = init\n",
        HEAD BUDGET STAGE_ONE ROWS "[task again]\ntask = language_modeling\ncorpus = ./corpus\n",
        HEAD BUDGET STAGE_ONE "[row null]\narchitecture = null\n[row local]\narchitecture = infini\nupdate = linear\n" TASK,
        HEAD BUDGET STAGE_ONE "[row null]\narchitecture = null\n[row renamed]\narchitecture = infini\nupdate = none\n" TASK,
        HEAD BUDGET STAGE_ONE
        "[row null]\narchitecture = null\n[row local]\narchitecture = infini\nupdate = none\nlr = 1e-2\n" TASK,
    };
    char cell[20], second[20], seen[32][20];
    int n = 0;
    (void)state;
    cell_of(cell, ALL);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        cell_of(second, same[i]);
        if (strcmp(cell, second) != 0) fail_msg("case %zu changes the cell and should not", i);
    }
    memcpy(seen[n++], cell, 20);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        cell_of(second, other[i]);
        for (int j = 0; j < n; j++)
            if (strcmp(seen[j], second) == 0) fail_msg("case %zu gives the cell of case %d", i, j - 1);
        memcpy(seen[n++], second, 20);
    }
}

/* delta_rule had results before it had a convolution: without one its cells are what they were. */
static void identity_of_later_options(void **state) {
#define DELTA HEAD BUDGET STAGE_ONE "[row null]\narchitecture = null\n[row delta]\narchitecture = delta_rule\n"
    char cell[20], same[20], other[20];
    (void)state;
    cell_of(cell, DELTA TASK);
    cell_of(same, DELTA "conv_size = 0\n" TASK);
    cell_of(other, DELTA "conv_size = 4\n" TASK);
    assert_string_equal(cell, "e347af210686aa7c"); /* of the program before the option */
    assert_string_equal(same, cell);
    assert_string_not_equal(other, cell);
}

/* ---- mixtures ---- */
struct counter {
    int next;
    int32_t token[2];
};
static void count_next(struct source *s, int64_t row, struct document *d) {
    struct counter *c = s->data;
    (void)row;
    c->token[0] = ++c->next;
    c->token[1] = s->name[0];
    *d = (struct document){.tokens = c->token, .n = 2, .carried = -1};
}
static char *count_save(const struct source *s) { return xprintf("%d", ((struct counter *)s->data)->next); }
static int count_load(struct source *s, const char *text, struct error *error) {
    (void)error;
    ((struct counter *)s->data)->next = atoi(text);
    return 0;
}
static void count_free(struct source *s) {
    free(s->data);
    free(s);
}
static struct source *count_source(const char *name) {
    struct source *s = xcalloc(1, sizeof *s);
    *s = (struct source){.name = name,
                         .next = count_next,
                         .save = count_save,
                         .load = count_load,
                         .free = count_free,
                         .data = xcalloc(1, sizeof(struct counter))};
    return s;
}
static struct source *two_sources(uint64_t seed) {
    struct source *parts[2] = {count_source("a"), count_source("b")};
    return mixture_source(parts, (double[]){0.7, 0.3}, 2, seed);
}

static void mixtures(void **state) {
    (void)state;
    struct source *m = two_sources(5), *again = two_sources(5), *resumed = two_sources(99);
    int32_t first[400][2];
    int a = 0;
    char *cursor = NULL;
    for (int i = 0; i < 400; i++) {
        struct document d, f;
        if (i == 150) cursor = m->save(m);
        m->next(m, i % 3, &d);
        again->next(again, i % 3, &f);
        assert_memory_equal(d.tokens, f.tokens, 2 * sizeof(int32_t));
        memcpy(first[i], d.tokens, sizeof first[i]);
        a += d.tokens[1] == 'a';
    }
    assert_in_range(a, 240, 320); /* 280 expected, standard deviation 9 */
    assert_int_equal(resumed->load(resumed, cursor, &e), 0);
    for (int i = 150; i < 400; i++) {
        struct document d;
        resumed->next(resumed, i % 3, &d);
        assert_memory_equal(d.tokens, first[i], sizeof first[i]);
    }
    assert_int_equal(resumed->load(resumed, "something else", &e), -1);
    assert_says("mixture");
    cursor[strlen(cursor) - 1] = 0;
    assert_int_equal(resumed->load(resumed, cursor, &e), -1);
    free(cursor);
    m->free(m);
    again->free(again);
    resumed->free(resumed);
}

/* ---- runs ---- */
static struct run_options options;

static void run(const char *text, const char *out) {
    struct experiment *x = parsed(text);
    options.out = out;
    int result = experiment_run(x, &options, &e);
    experiment_free(x);
    if (result != 0) fail_msg("%s", e.text);
}

static char *text_of(const char *path) {
    size_t n;
    char *text = read_file(path, &n, &e);
    if (!text) fail_msg("%s", e.text);
    return text;
}

static int64_t cells(const char *folder, const char *row, const char *task) {
    int64_t n, m = 0;
    struct result_row *r = results_read(folder, &n, &e);
    if (!r) fail_msg("%s", e.text);
    char last[20] = "";
    for (int64_t i = 0; i < n; i++) {
        if (strcmp(r[i].row, row) != 0 || strcmp(r[i].task, task) != 0 || strcmp(r[i].cell, last) == 0) continue;
        memcpy(last, r[i].cell, sizeof last);
        m++;
    }
    free(r);
    return m;
}

static void nothing_twice(void **state) {
    (void)state;
    run(ALL, "out");
    char *results = text_of("out/results.csv"), *samples = text_of("out/samples.csv"), *curves = text_of("out/curves.csv");
    assert_int_equal(cells("out", "local", "training"), 1);
    assert_int_equal(cells("out", "local", "language_modeling"), 1);
    assert_non_null(strstr(curves, ",loss,"));
    run("; another comment\n" ALL, "out");
    char *now = text_of("out/results.csv");
    assert_string_equal(now, results);
    free(now);
    /* a changed task is measured again, nothing is trained again */
    run(HEAD BUDGET STAGE_ONE ROWS TASK "split = validation\n", "out");
    assert_int_equal(cells("out", "local", "training"), 1);
    assert_int_equal(cells("out", "local", "language_modeling"), 2);
    now = text_of("out/curves.csv");
    assert_string_equal(now, curves);
    free(now);
    /* one row's change leaves the others alone */
    run(HEAD BUDGET STAGE_ONE
        "[row null]\narchitecture = null\n[row local]\narchitecture = infini\nupdate = none\nlr = 1e-2\n" TASK,
        "out");
    assert_int_equal(cells("out", "local", "training"), 2);
    assert_int_equal(cells("out", "null", "training"), 1);
    now = text_of("out/experiment.ini");
    assert_non_null(strstr(now, "[row local]"));
    assert_non_null(strstr(now, "; cell local 1 one language_modeling "));
    free(now);
    free(results);
    free(samples);
    free(curves);
}

static void chosen_parts(void **state) {
    (void)state;
    struct experiment *x = parsed(ALL);
    options.out = "parts";
    options.only = "locl";
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("no row 'locl'; the nearest is 'local'");
    options.only = "local";
    options.seed = 5;
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("no seed 5");
    options.seed = -1;
    struct results *held = results_open("parts", &e);
    assert_non_null(held);
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("in use by process");
    results_close(held);
    assert_int_equal(experiment_run(x, &options, &e), 0);
    options.only = NULL;
    assert_int_equal(cells("parts", "local", "training"), 1);
    assert_int_equal(cells("parts", "null", "training"), 0);
    experiment_free(x);
}

/* The checkpoints are there, the results are not: the same numbers come out without a step of training, and after lost checkpoints
 * too. */
static void same_numbers(void **state) {
    (void)state;
    static const char *const two =
        HEAD BUDGET STAGE_ONE "[stage two]\nsource = ./corpus:0.5, corpus/../corpus:0.5\nsteps = 3\n" ROWS TASK;
    run(two, "first");
    run(two, "second");
    assert_int_equal(system("rm -rf build/checkpoints"), 0);
    run(two, "third");
    int64_t n[3];
    struct result_row *r[3] = {results_read("first", &n[0], &e), results_read("second", &n[1], &e),
                               results_read("third", &n[2], &e)};
    assert_true(n[0] == n[1] && n[0] == n[2] && n[0] > 20);
    for (int64_t i = 0; i < n[0]; i++) {
        if (strstr(r[0][i].metric, "second") || strcmp(r[0][i].metric, "roof_share") == 0) continue; /* times */
        for (int k = 1; k < 3; k++) {
            assert_string_equal(r[0][i].metric, r[k][i].metric);
            assert_string_equal(r[0][i].cell, r[k][i].cell);
            if (r[0][i].value != r[k][i].value)
                fail_msg("%s of %s: %.9g and %.9g", r[0][i].metric, r[0][i].row, r[0][i].value, r[k][i].value);
        }
    }
    for (int k = 0; k < 3; k++) free(r[k]);
}

/* A model that stays with the results: what is asked of it later is measured without training, and a later stage starts from it,
 * with the same numbers as if the checkpoints were still there; a model of another chain of stages is not taken. */
static void models_that_stay(void **state) {
#define KEPT HEAD BUDGET "[stage one]\nsource = ./corpus\nkeep = 1\n"
#define LOCAL "[row local]\narchitecture = infini\nupdate = none\n"
#define FIRST "[task first]\ntask = language_modeling\ncorpus = ./corpus\nafter = one\n"
    static const char more[] = KEPT "[stage two]\nsource = ./corpus\nsteps = 2\n" LOCAL FIRST
                                    "[task second]\ntask = language_modeling\ncorpus = ./corpus\nsplit = validation\nafter = one\n"
                                    "[task third]\ntask = language_modeling\ncorpus = ./corpus\nafter = two\n";
    (void)state;
    run(more, "whole");
    assert_int_equal(system("ls build/checkpoints/x/local-seed1-*/one > list.txt 2>&1"), 0);
    assert_int_equal(system("rm -rf build/checkpoints"), 0);
    run(KEPT LOCAL FIRST, "part");
    assert_int_equal(system("rm -rf build/checkpoints"), 0);
    run(more, "part");
    char *ini = text_of("part/experiment.ini");
    assert_non_null(strstr(ini, "\nkeep = 1\n"));
    free(ini);
    assert_int_not_equal(system("ls build/checkpoints/x/local-seed1-*/one > list.txt 2>&1"), 0); /* not trained again */
    struct error ignored;
    int64_t n[2];
    struct result_row *r[2] = {results_read("whole", &n[0], &ignored), results_read("part", &n[1], &ignored)};
    int compared = 0;
    for (int64_t i = 0; i < n[0]; i++)
        for (int64_t k = 0; k < n[1]; k++) {
            if (strcmp(r[0][i].cell, r[1][k].cell) || strcmp(r[0][i].metric, r[1][k].metric) ||
                strcmp(r[0][i].position, r[1][k].position) || strcmp(r[0][i].condition, r[1][k].condition) ||
                strcmp(r[0][i].metric, "bits_per_byte") != 0)
                continue;
            assert_true(r[0][i].value == r[1][k].value);
            compared++;
        }
    assert_true(compared >= 3);
    free(r[0]);
    free(r[1]);
    /* the checkpoint is here, the kept model is not: it is kept, without training */
    assert_int_equal(system("rm -rf whole/models && mkdir -p build && rm -rf build/checkpoints"), 0);
    run(more, "again");
    assert_int_equal(system("rm -rf again/models"), 0);
    run(more, "again");
    assert_int_equal(access("again/models/local-s1-one.safetensors", R_OK), 0);
    /* other steps, another model: trained */
    assert_int_equal(system("rm -rf build/checkpoints"), 0);
    run(HEAD BUDGET "[stage one]\nsource = ./corpus\nkeep = 1\nsteps = 5\n" LOCAL FIRST, "part");
    assert_int_equal(cells("part", "local", "training"), 3);
    refused(HEAD BUDGET "[stage one]\nsource = ./corpus\nkeep = 2\n" ROWS, "seed 2 of [stage one]", "not among the seeds of");
#undef KEPT
#undef LOCAL
#undef FIRST
}

static void after_stages(void **state) {
    (void)state;
    run(HEAD BUDGET STAGE_ONE
        "[row local]\narchitecture = infini\nupdate = none\n[task start]\ntask = language_modeling\ncorpus = ./corpus\nafter = "
        "init\n"
        "[task end]\ntask = language_modeling\ncorpus = ./corpus\n[task never]\ntask = language_modeling\nafter = none\n",
        "stages");
    int64_t n;
    struct result_row *r = results_read("stages", &n, &e);
    double start = NAN, end = NAN;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(r[i].metric, "bits_per_byte") == 0 && strcmp(r[i].position, "all") == 0 && !*r[i].condition)
            *(strcmp(r[i].stage, "init") == 0 ? &start : &end) = r[i].value;
    assert_true(start > 7 && end < start);
    assert_int_equal(cells("stages", "local", "language_modeling"), 2);
    free(r);
}

/* A stage with fewer seeds is trained and measured for those alone, and so is what comes after it. */
static void seeds_of_stages(void **state) {
    static const char text[] = "[experiment]\nseeds = 1, 2\ntable = table2\n" BUDGET STAGE_ONE
                               "[stage two]\nsource = ./corpus\nfrom = init\nseeds = 2\n[stage three]\nsource = ./corpus\n"
                               "[row local]\narchitecture = infini\nupdate = none\n[task one]\ntask = language_modeling\n"
                               "corpus = ./corpus\nafter = one\n[task three]\ntask = language_modeling\ncorpus = ./corpus\n";
    (void)state;
    run(text, "seeds");
    int64_t n;
    struct result_row *r = results_read("seeds", &n, &e);
    int seen[3][4] = {{0}}; /* stage, seed */
    for (int64_t i = 0; i < n; i++) {
        int stage = strcmp(r[i].stage, "one") == 0 ? 0 : strcmp(r[i].stage, "two") == 0 ? 1 : 2;
        if (strcmp(r[i].metric, "final_loss") == 0) seen[stage][r[i].seed]++;
        if (strcmp(r[i].metric, "bits_per_byte") == 0 && strcmp(r[i].position, "all") == 0) seen[stage][r[i].seed] += 10;
    }
    free(r);
    static const int expected[3][4] = {{0, 11, 11, 0}, {0, 0, 1, 0}, {0, 0, 11, 0}};
    assert_memory_equal(seen, expected, sizeof seen);
    char *before = text_of("seeds/results.csv"), *ini = text_of("seeds/experiment.ini");
    assert_non_null(strstr(ini, "\ntable = table2\n"));
    assert_null(strstr(ini, "; cell local 1 two"));
    assert_null(strstr(ini, "; cell local 1 three"));
    assert_non_null(strstr(ini, "; cell local 2 three three"));
    run(ini, "seeds"); /* the resolved text says the same: nothing is done again */
    char *after = text_of("seeds/results.csv");
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(ini);
    refused(HEAD BUDGET STAGE_ONE "seeds = 2\n" ROWS, "x.ini:11: seed 2 of [stage one]", "not among the seeds of [experiment]");
    refused("[experiment]\nseeds = 1, 2\n" BUDGET STAGE_ONE "seeds = 2\n[stage two]\nsource = ./corpus\nseeds = 1\n" ROWS,
            "seed 1 of [stage two]", "not among the seeds of [stage one]");
    refused("[experiment]\ntable = ../x\n" BUDGET ROWS, "x.ini:2: table = '../x'", "results/paper");
}

/* A row with fewer seeds, a stage for some rows, a task for some rows and some seeds. */
static void parts_of_the_plan(void **state) {
    static const char text[] =
        "[experiment]\nseeds = 1, 2\n" BUDGET STAGE_ONE
        "[stage two]\nsource = ./corpus\nsteps = 1\nonly = other\n[stage three]\nsource = ./corpus\nsteps = 1\n[row "
        "local]\narchitecture = infini\nupdate = none\nseeds = 2\n"
        "[row other]\narchitecture = infini\n[task all]\ntask = language_modeling\nafter = one\ncorpus = ./corpus\n"
        "[task some]\ntask = language_modeling\nafter = one\ncorpus = ./corpus\nlimit = 500\nonly = other\nseeds = 1\npart_of = "
        "all\n";
    (void)state;
    run(text, "plan");
    int64_t n;
    struct result_row *r = results_read("plan", &n, &e);
    int trained[2][3] = {{0}}, measured[2][3] = {{0}}; /* row, seed */
    for (int64_t i = 0; i < n; i++) {
        int row = strcmp(r[i].row, "other") == 0;
        trained[row][r[i].seed] += strcmp(r[i].metric, "final_loss") == 0;
        measured[row][r[i].seed] +=
            strcmp(r[i].metric, "bits_per_byte") == 0 && strcmp(r[i].position, "all") == 0 && !*r[i].condition;
    }
    free(r);
    /* local: stage one; other: three stages; measured after the first, seed 1 of other twice */
    static const int expected[2][3] = {{0, 0, 1}, {0, 3, 3}}, twice[2][3] = {{0, 0, 1}, {0, 2, 1}};
    assert_memory_equal(trained, expected, sizeof trained);
    assert_memory_equal(measured, twice, sizeof measured);
    char *before = text_of("plan/results.csv"), *ini = text_of("plan/experiment.ini");
    assert_null(strstr(ini, "; cell local 1"));
    assert_null(strstr(ini, "; cell local 2 three"));
    assert_non_null(strstr(ini, "\nonly = other\n"));
    assert_null(strstr(ini, "; cell local 2 one some"));
    assert_null(strstr(ini, "; cell other 2 one some"));
    assert_non_null(strstr(ini, "\npart_of = all\n"));
    int all = 0; /* the report shows the part as the whole: two cells of the row's seed 1, one of seed 2 */
    for (const char *at = ini; (at = strstr(at, "; cell other ")); at++) all += strstr(at, " one all ") == at + 14;
    assert_int_equal(all, 3);
    run(ini, "plan"); /* the resolved text says the same: nothing is done again */
    char *after = text_of("plan/results.csv");
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(ini);
    refused(HEAD BUDGET ROWS "seeds = 2\n", "seed 2 of [row local]", "not among the seeds of [experiment]");
    refused("[experiment]\nseeds = 1, 2\n" BUDGET STAGE_ONE "seeds = 2\n" ROWS TASK "seeds = 1\n",
            "seed 1 of [task language_modeling]", "not among the seeds of [stage one]");
    refused(HEAD BUDGET STAGE_ONE "only = locl\n" ROWS, "only: 'locl' is no row", "the nearest is 'local'");
    refused(HEAD BUDGET STAGE_ONE "only = local\n[stage two]\nsource = ./corpus\nonly = local, other\n" ROWS
                                  "[row other]\narchitecture = infini\n",
            "only = local, other", "not all of these rows go through [stage one]");
    refused(HEAD BUDGET ROWS TASK "only = locl\n", "only: 'locl' is no row", "the nearest is 'local'");
    refused(HEAD BUDGET ROWS TASK "part_of = language_modeling\n", "part_of = 'language_modeling' is no earlier section",
            "there is none: leave part_of out");
    refused(HEAD BUDGET ROWS TASK "[task b]\ntask = language_modeling\npart_of = languag_modeling\n",
            "with task = language_modeling and after = init", "the nearest is 'language_modeling'");
    refused(HEAD BUDGET ROWS TASK "only = ,\n", "only is empty", "leave it out");
}

int main(void) {
    struct backend_info info;
    memset(&info, 0, sizeof info);
    options = (struct run_options){.seed = -1, .jobs = 1, .k = kernels_cpu(0, &info), .info = &info};
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors),           cmocka_unit_test(resolving),
                                       cmocka_unit_test(identity),         cmocka_unit_test(identity_of_later_options),
                                       cmocka_unit_test(mixtures),         cmocka_unit_test(nothing_twice),
                                       cmocka_unit_test(chosen_parts),     cmocka_unit_test(same_numbers),
                                       cmocka_unit_test(models_that_stay), cmocka_unit_test(after_stages),
                                       cmocka_unit_test(seeds_of_stages),  cmocka_unit_test(parts_of_the_plan)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
