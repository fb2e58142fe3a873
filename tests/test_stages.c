/* test_stages.c - stages with a shape of their own, with options of the task they train on, with carried-in states: read, resolved,
 * hashed, planned, trained. The registry of tasks is this file's: it has a made task that can be trained on. */
#include "harness/checkpoint.h"
#include "harness/experiment_private.h"
#include "support/filler.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the made task ---- */

static const struct option made_options[] = {
    {"length", OPTION_INT, "127", 1, 1e6, NULL, "tokens of a document; 127 and EOS fill nano's step"},
    {"filler", OPTION_INT, "0", 0, 9, NULL, "tokens of the filler, 0: none; every other document then starts from m = 20"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL}};
static const struct metric made_metrics[] = {{NULL, NULL, 0}};
static struct source *made_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *error) {
    static const int32_t filler[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    (void)seed;
    int64_t n = options_int(o, "filler");
    if (options_int(o, "length") == 5) return (fail)(error, "made: 5 is too short"), NULL;
    return filler_source(options_int(o, "length"), t->vocab, n ? filler : NULL, n, (double[]){-1, 20}, 2);
}
static int made_run(struct task_run *r, struct error *error) {
    (void)r;
    return (fail)(error, "the made task measures nothing");
}
static const struct task task_made = {.name = "made",
                                      .version = 1,
                                      .summary = "",
                                      .protocol = "",
                                      .metrics = made_metrics,
                                      .options = made_options,
                                      .run = made_run,
                                      .source = made_source};
extern const struct task task_language_modeling;
const struct task *const tasks[] = {&task_language_modeling, &task_made, NULL};
const struct task *task_find(const char *name, struct error *error) {
    for (int i = 0; tasks[i]; i++)
        if (strcmp(tasks[i]->name, name) == 0) return tasks[i];
    (fail)(error, "unknown task '%s'", name);
    return NULL;
}

/* ---- texts ---- */

#define HEAD "[experiment]\ntitle = A test\nseeds = 1\n"
#define BUDGET "[budget]\npreset = nano\nsteps = 3\nlr = 1e-3\nwarmup = 1\n"
#define STAGE "[stage one]\nsource = task:made\n"
#define ROWS "[row linear]\narchitecture = infini\n[row xl]\narchitecture = transformer_xl\n"
#define TASK "[task language_modeling]\ncorpus = ./corpus\n"
#define NEVER_MADE "[task made]\nafter = none\n"

static int setup(void **state) {
    if (folder_setup(state) || chdir(folder) != 0) return -1;
    for (int i = 0; i < 4; i++) {
        char name[64], *text = xcalloc(3001, 1);
        for (int j = 0; j < 3000; j++) text[j] = "the quick brown fox jumps over "[(j * (i + 1) + j / 31) % 31];
        snprintf(name, sizeof name, "corpus/%s/%d.txt", i < 1 ? "train" : i < 3 ? "test" : "validation", i);
        put(name, text, 3000);
        free(text);
    }
    return 0;
}
static int teardown(void **state) { return chdir("/") != 0 || folder_teardown(state); }

static struct experiment *parsed(const char *text) {
    put("x.ini", text, strlen(text));
    struct experiment *x = experiment_read("x.ini", NULL, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}

static void refused(const char *text, const char *says, const char *also) {
    put("x.ini", text, strlen(text));
    if (experiment_read("x.ini", NULL, &e)) fail_msg("accepted, should say '%s'", says);
    assert_says(says);
    assert_says(also);
}

static void errors(void **state) {
    (void)state;
#define S HEAD BUDGET STAGE /* the next line is 11 */
    refused(S "segmnts = 3\n" ROWS, "x.ini:11: unknown key 'segmnts' in [stage one]", "the nearest is 'segments'");
    refused(S "batch = 0\n" ROWS, "x.ini:11, [stage one]: batch = '0'", "whole number from 1");
    refused(S "segments = many\n" ROWS, "x.ini:11, [stage one]: segments = 'many'", "whole number");
    refused(S "segment = 8\n" ROWS, "x.ini:11: unknown key 'segment' in [stage one]", "the nearest is 'segments'");
    refused(S "made.lenght = 5\n" ROWS, "x.ini:11: unknown key 'made.lenght' in [stage one]: the task made has no option 'lenght'",
            "the nearest is 'length'");
    refused(S "mode.length = 5\n" ROWS, "x.ini:11: 'mode.length' in [stage one]: its source has no task 'mode'",
            "the nearest is 'made'");
    refused(S "made.length = x\n" ROWS, "x.ini:11, [stage one]: length = 'x'", "whole number");
    refused(S "made.length = 0\n" ROWS, "x.ini:11, [stage one]: length = 0 is out of range", "1 to 1000000");
    refused(S "made.length = 5\nmade.length = 6\n" ROWS, "x.ini:12: 'made.length' is given already", "line 11");
    refused(HEAD BUDGET "[stage one]\nsource = ./corpus\nmade.length = 5\n" ROWS, "x.ini:11: 'made.length'", "names no task");
    refused(S "segments = 99999\n[row a]\narchitecture = infini\nsegment = 1000000\n", "x.ini:9: [stage one] with [row a]",
            "2^31 tokens");
}

static void resolving(void **state) {
    (void)state;
    struct experiment *x = parsed(
        HEAD BUDGET "[stage short]\nsource = task:made\nsegments = 2\nbatch = 1K\nmade.length = 63\n[stage long]\nsource = "
                    "task:longer:0.5, task:made:0.5, kjv\nlonger.length = 1K\nmade.length = 7\n"
                    "[row wide]\narchitecture = infini\nsegments = 3\nbatch = 5\n[task longer]\ntask = made\nlength = 9\nfiller "
                    "= 2\nafter = none\n");
    struct model_config c;
    assert_true(x->stages[0].segments == 2 && x->stages[0].batch == 1024 && x->stages[1].segments == 0 && x->stages[1].batch == 0);
    stage_config(&c, &x->rows[0], &x->stages[0]);
    assert_true(c.segments == 2 && c.batch == 1024);
    stage_config(&c, &x->rows[0], &x->stages[1]);
    assert_true(c.segments == 3 && c.batch == 5);
    stage_config(&c, &x->rows[0], NULL);
    assert_true(c.segments == 3 && c.batch == 5);
    struct source_part parts[SOURCE_PARTS];
    int n;
    assert_int_equal(source_parse(x, &x->stages[0], parts, &n, &e), 0);
    assert_true(n == 1 && options_int(&parts[0].options, "length") == 63 && options_int(&parts[0].options, "filler") == 0);
    assert_int_equal(source_parse(x, &x->stages[1], parts, &n, &e), 0);
    assert_true(n == 3 && options_int(&parts[0].options, "length") == 1024 && options_int(&parts[0].options, "filler") == 2);
    assert_int_equal(options_int(&parts[1].options, "length"), 7);
    assert_int_equal(options_int(&x->tasks[0].options, "length"), 9); /* the section itself keeps its own */
    char *one = experiment_resolved(x);
    assert_non_null(strstr(one, "\nsegments = 2\n"));
    assert_non_null(strstr(one, "\nbatch = 1024\n"));
    assert_non_null(strstr(one, "\nlonger.length = 1024\n"));
    put("again/x.ini", one, strlen(one));
    struct experiment *y = experiment_read("again/x.ini", NULL, &e);
    if (!y) fail_msg("%s", e.text);
    char *two = experiment_resolved(y);
    assert_string_equal(one, two);
    free(one);
    free(two);
    experiment_free(x);
    experiment_free(y);
}

static void cell_of(char cell[20], const char *text) {
    struct experiment *x = parsed(text);
    if (experiment_cell(cell, x, &x->rows[0], 1, &x->tasks[0], &e) != 0) fail_msg("%s", e.text);
    experiment_free(x);
}

/* Two texts have equal cells where, and only where, the same is trained and measured. */
static void identity(void **state) {
    static const struct {
        int class;
        const char *text;
    } cases[] = {
        {0, HEAD BUDGET STAGE ROWS TASK},
        {0, HEAD BUDGET STAGE "batch = 4\nsegments = 4\n" ROWS TASK}, /* what the row has anyway */
        {0, HEAD BUDGET STAGE "made.length = 127\n" ROWS TASK},
        {0, HEAD BUDGET STAGE "made.length = 127\n" ROWS TASK "[task made]\nlength = 7\nafter = none\n"},
        {1, HEAD BUDGET STAGE "batch = 2\n" ROWS TASK},
        {2, HEAD BUDGET STAGE "segments = 2\n" ROWS TASK},
        {3, HEAD BUDGET STAGE "batch = 2\nsegments = 2\n" ROWS TASK},
        {4, HEAD BUDGET STAGE "made.length = 63\n" ROWS TASK},
        {4, HEAD BUDGET STAGE ROWS TASK "[task made]\nlength = 63\nafter = none\n"},
        {5, HEAD BUDGET STAGE "made.filler = 3\n" ROWS TASK},
        {6, HEAD BUDGET STAGE "[stage two]\nsource = task:made\n" ROWS TASK},
        {7, HEAD BUDGET STAGE "[stage two]\nsource = task:made\nsegments = 2\n" ROWS TASK},
        {8, HEAD BUDGET STAGE "segments = 2\n[stage two]\nsource = task:made\n" ROWS TASK},
        {0, HEAD BUDGET STAGE "[stage two]\nsource = task:made\nsegments = 2\n" ROWS TASK "after = one\n"},
    };
    char cells[16][20];
    int n = (int)(sizeof cases / sizeof *cases);
    (void)state;
    for (int i = 0; i < n; i++) cell_of(cells[i], cases[i].text);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if ((strcmp(cells[i], cells[j]) == 0) != (cases[i].class == cases[j].class)) fail_msg("cases %d and %d", i, j);
}

/* ---- runs ---- */

static struct run_options options;

static bool nothing(const struct session *s, const char *cell) {
    (void)s, (void)cell;
    return false;
}

static void run(const char *text, const char *out) {
    struct experiment *x = parsed(text);
    options.out = out;
    int result = experiment_run(x, &options, &e);
    experiment_free(x);
    if (result != 0) fail_msg("%s", e.text);
}

static double value_of(const char *out, const char *row, const char *stage, const char *metric) {
    int64_t n;
    struct result_row *r = results_read(out, &n, &e);
    double value = NAN;
    if (!r) fail_msg("%s", e.text);
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(r[i].row, row) && !strcmp(r[i].stage, stage) && !strcmp(r[i].metric, metric) && !*r[i].condition &&
            !strcmp(r[i].position, "all"))
            value = r[i].value;
    free(r);
    return value;
}

static char *text_of(const char *path) {
    char *text = read_file(path, NULL, &e);
    if (!text) fail_msg("%s", e.text);
    return text;
}

/* A short stage, a long one, one that learns nothing: what each trains on, what goes on from one to the next, what the checkpoint
 * says. */
static void a_curriculum(void **state) {
    (void)state;
    static const char rows[] = "[row linear]\narchitecture = infini\n[row full]\narchitecture = transformer\n";
    char *text = xprintf("%s%s[stage a]\nsource = task:made\nsegments = 2\nbatch = 6\nmade.length = 63\n"
                         "[stage b]\nsource = task:made\nsegments = 6\nbatch = 2\nmade.length = 191\nsteps = 4\n"
                         "[stage c]\nsource = task:made\nlr = 0\nsegments = 3\nmade.length = 95\n%s"
                         "[task a]\ntask = language_modeling\ncorpus = ./corpus\nafter = a\n"
                         "[task b]\ntask = language_modeling\ncorpus = ./corpus\nafter = b\n"
                         "[task c]\ntask = language_modeling\ncorpus = ./corpus\nafter = c\n",
                         HEAD, BUDGET, rows);
    run(text, "out");
    static const char *const names[] = {"linear", "full"};
    for (int k = 0; k < 2; k++) {
        assert_true(value_of("out", names[k], "a", "tokens_seen") == 3 * 6 * 64);
        assert_true(value_of("out", names[k], "a", "tokens_read") == 3 * 6 * 64);
        assert_true(value_of("out", names[k], "b", "tokens_seen") == 4 * 2 * 192);
        assert_true(value_of("out", names[k], "c", "tokens_seen") == 3 * 4 * 96);
        double a = value_of("out", names[k], "a", "bits_per_byte"), b = value_of("out", names[k], "b", "bits_per_byte");
        double c = value_of("out", names[k], "c", "bits_per_byte");
        assert_true(isfinite(a) && isfinite(b) && a != b);
        /* the last stage changes no parameter: infini measures the same to the bit; the full transformer's window is the last
         * stage's */
        assert_true(k == 0 ? b == c : b != c);
    }
    struct experiment *x = parsed(text);
    static const int64_t shapes[3][2] = {{6, 2}, {2, 6}, {4, 3}};
    for (int i = 0; i < 3; i++) {
        char hash[20];
        assert_int_equal(chain_hash(hash, x, &x->rows[0], 1, &x->stages[i], &e), 0);
        char *path = xprintf("build/checkpoints/x/linear-seed1-%s/%s/model.safetensors", hash, x->stages[i].name);
        struct model *m = model_load(path, options.k, NULL, &e);
        if (!m) fail_msg("%s", e.text);
        assert_true(m->config.batch == shapes[i][0] && m->config.segments == shapes[i][1]);
        model_free(m);
        free(path);
    }
    experiment_free(x);
    char *before = text_of("out/results.csv");
    run(text, "out");
    char *after = text_of("out/results.csv"), *curves = text_of("out/curves.csv");
    assert_string_equal(before, after);
    assert_non_null(strstr(curves, ",memory_norm.0,"));
    assert_non_null(strstr(curves, ",z_norm.1,"));
    assert_null(strstr(curves, ",z_norm.2,"));
    free(before);
    free(after);
    free(curves);
    free(text);
}

/* FLOP by formula end where the context ends: with the document within a step, with the step where no state is carried. */
static void flops_end_with_the_context(void **state) {
    (void)state;
    run(HEAD BUDGET "[stage whole]\nsource = task:made\nsegments = 2\nbatch = 6\nmade.length = 63\n"
                    "[stage within]\nsource = task:made\nsegments = 6\nbatch = 2\nmade.length = 63\n"
                    "[stage longer]\nsource = task:made\nsegments = 2\nbatch = 6\nmade.length = 383\n" NEVER_MADE
                    "[row full]\narchitecture = transformer\n[row xl]\narchitecture = transformer_xl\n"
                    "[row cut]\narchitecture = transformer_xl\ncarry = no\n",
        "context");
    static const char *const names[] = {"full", "xl", "cut"};
    for (int k = 0; k < 3; k++) {
        double whole = value_of("context", names[k], "whole", "flops_per_token"),
               within = value_of("context", names[k], "within", "flops_per_token"),
               longer = value_of("context", names[k], "longer", "flops_per_token");
        assert_true(fabs(within - whole) < 1e-9 * whole);
        assert_true(k == 1 ? longer > 1.001 * whole : fabs(longer - whole) < 1e-9 * whole);
    }
}

/* A stage whose source gives carried-in states: the architectures that can, and those that train without. */
static void carried_in(void **state) {
    (void)state;
    static const char text[] =
        HEAD BUDGET STAGE "[stage carried]\nsource = task:made:0.9, task:plain:0.1\nmade.filler = 7\n" ROWS TASK NEVER_MADE
                          "[task plain]\ntask = made\nafter = none\n";
    run(text, "carried");
    double plain = value_of("carried", "linear", "one", "train_flops"),
           with = value_of("carried", "linear", "carried", "train_flops");
    struct experiment *x = parsed(text);
    assert_true(fabs(with - plain - 3 * carried_in_flops(&x->rows[0].config)) < 1e-7 * with);
    assert_true(value_of("carried", "xl", "one", "train_flops") == value_of("carried", "xl", "carried", "train_flops"));
    assert_true(isfinite(value_of("carried", "linear", "carried", "bits_per_byte")));
    experiment_free(x);
    FILE *p = popen("cat carried/runs/*.json | tr -d ' \\n'", "r");
    assert_non_null(p);
    char *json = xcalloc(1 << 16, 1), *at = json;
    size_t n = fread(json, 1, (1 << 16) - 1, p);
    assert_true(n > 100);
    assert_int_equal(pclose(p), 0);
    int yes = 0, no = 0;
    for (; (at = strstr(at, "\"carried_in\":")); at++) *(at[13] == 't' ? &yes : &no) += 1;
    assert_true(yes == 1 && no == 3); /* of two rows and two stages */
    free(json);
    /* different fillers in one stage */
    x = parsed(HEAD BUDGET
               "[stage one]\nsource = task:made, task:other\n[row a]\narchitecture = infini\n[task made]\nfiller = 3\nafter = "
               "none\n[task other]\ntask = made\nfiller = 4\nafter = none\n");
    options.out = "fillers";
    progress_quiet = true;
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("carried-in states of made and other have different fillers");
    experiment_free(x);
    /* a later stage that cannot draw is said before the first is trained */
    x = parsed(HEAD BUDGET STAGE "made.length = 63\nsegments = 2\n[stage two]\nsource = task:made\nmade.length = 5\n[row a]\n"
                                 "architecture = infini\n" NEVER_MADE);
    options.out = "later";
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("[stage two]: made: 5 is too short");
    assert_true(isnan(value_of("later", "a", "one", "tokens_seen")));
    FILE *plan = tmpfile();
    assert_int_equal(dry_run(&(struct session){.x = x, .o = &options, .have = nothing, .folder = "later"}, plan, &e), -1);
    fclose(plan);
    assert_says("[stage two]: made: 5 is too short");
    experiment_free(x);
    /* a document that does not fill its step */
    x = parsed(HEAD BUDGET STAGE "made.filler = 3\nmade.length = 128\n[row a]\narchitecture = infini\n");
    options.out = "lengths";
    assert_int_equal(experiment_run(x, &options, &e), -1);
    assert_says("segments x segment = 4 x 32 = 128 tokens");
    experiment_free(x);
}

static void dry(void **state) {
    (void)state;
    struct experiment *x = parsed(HEAD BUDGET STAGE "segments = 2\nmade.length = 63\n[stage two]\nsource = task:made\nbatch = "
                                                    "7\nmade.filler = 2\n"
                                                    "[stage three]\nonly = xl\nsource = task:made\n" ROWS TASK);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_non_null(out);
    struct session s = {.x = x, .o = &options, .have = nothing, .folder = "none"};
    assert_int_equal(dry_run(&s, out, &e), 0);
    assert_int_equal(fclose(out), 0);
    static const char *const says[] = {
        "made.length = 63",
        "a training step: 4 rows x 2 segments x 32 tokens = 256 tokens",
        "7 rows x 4 segments x 32 tokens = 896 tokens; starts from carried-in states, 6 segments of filler",
        "= 896 tokens; no carried-in states: transformer_xl carries no state that grows by what is read",
        "    memory: ",
        "total"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (!strstr(text, says[i])) fail_msg("'%s' is not in:\n%s", says[i], text);
    int three = 0;
    for (const char *at = text; (at = strstr(at, "[stage three]")); at++) three++;
    assert_int_equal(three, 1); /* of the row that goes through it */
    free(text);
    experiment_free(x);
}

int main(void) {
    struct backend_info info;
    memset(&info, 0, sizeof info);
    options = (struct run_options){.seed = -1, .jobs = 1, .k = kernels_cpu(0, &info), .info = &info};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(resolving),
        cmocka_unit_test(identity),
        cmocka_unit_test(a_curriculum),
        cmocka_unit_test(flops_end_with_the_context),
        cmocka_unit_test(carried_in),
        cmocka_unit_test(dry),
    };
    return cmocka_run_group_tests_name("stages", tests, setup, teardown);
}
