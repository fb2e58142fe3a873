/* test_score.c - outputs of foreign models: what is refused and how it is said, numbers by hand and against our own eval, other
 * tokenizers, identity of the cells, and how report and compare treat such rows. The commands are called as the program does. */
#include "harness/checkpoint.h"
#include "harness/cli.h"
#include "harness/report.h"
#include "harness/score.h"
#include "support/folder.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DOCUMENTS 3
static const char *const document[DOCUMENTS] = {"a.txt", "b.txt", "c.txt"};
static const int64_t length[DOCUMENTS] = {1000, 333, 40};
#define CORPUS " --corpus ./corpus"

/* ---- calling commands ---- */
static int redirect(int fd, const char *path) {
    int kept = dup(fd), file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(file, fd);
    close(file);
    return kept;
}
static void restore(int fd, int kept) {
    dup2(kept, fd);
    close(kept);
}

/* "score language_modeling --nll x": words without blanks in them. Output goes to out.txt and err.txt. */
static int call(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int call(const char *format, ...) {
    char text[1024], *words[64], *save = NULL;
    int count = 0, status = -1;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) words[count++] = w;
    const struct command *c = commands;
    while (c->name && strcmp(c->name, words[0]) != 0) c++;
    assert_non_null(c->name);
    const struct setting setting = {.threads = 0};
    e.text[0] = 0;
    fflush(stdout);
    fflush(stderr);
    int out = redirect(1, "out.txt"), err = redirect(2, "err.txt");
    status = c->run(count - 1, words + 1, &setting, &e);
    fflush(stdout);
    fflush(stderr);
    restore(1, out);
    restore(2, err);
    return status;
}
#define right(...)                                                                                                                 \
    do {                                                                                                                           \
        if (call(__VA_ARGS__) != 0) fail_msg("%s", e.text);                                                                        \
    } while (0)
#define wrong(...) assert_int_equal(call(__VA_ARGS__), -1)

static char *text_of(const char *path) {
    size_t n;
    char *text = read_file(path, &n, &e);
    if (!text) fail_msg("%s", e.text);
    return text;
}
#define assert_holds(path, needle) check_holds(path, needle, true, __FILE__, __LINE__)
#define assert_lacks(path, needle) check_holds(path, needle, false, __FILE__, __LINE__)
static void check_holds(const char *path, const char *needle, bool wanted, const char *file, int line) {
    char *text = text_of(path);
    if ((strstr(text, needle) != NULL) != wanted) {
        print_error("%s should %shold '%s':\n%s\n", path, wanted ? "" : "not ", needle, text);
        _fail(file, line);
    }
    free(text);
}
static bool there(const char *path) { return access(path, F_OK) == 0; }

/* ---- files ---- */
static int setup(void **state) {
    if (folder_setup(state) != 0 || chdir(folder) != 0) return -1;
    for (int s = 0; s < 3; s++)
        for (int d = 0; d < DOCUMENTS; d++) {
            static const char *const split[] = {"train", "validation", "test"};
            char name[64], text[2000];
            int64_t n = s == 0 ? 2000 : length[d];
            for (int64_t i = 0; i < n; i++) text[i] = "the lord said unto him go and "[(i * (d + 1) + i / 29 + s) % 30];
            snprintf(name, sizeof name, "corpus/%s/%s", split[s], document[d]);
            put(name, text, (size_t)n);
        }
    static const char x[] =
        "[experiment]\nseeds = 1\n[budget]\npreset = nano\nsteps = 4\nwarmup = 1\n[stage one]\nsource = ./corpus\n"
        "[row delta]\narchitecture = infini\nupdate = delta\n[row local]\narchitecture = infini\nupdate = none\n"
        "[task language_modeling]\ncorpus = ./corpus\n";
    put("x.ini", x, sizeof x - 1);
    return 0;
}
static int teardown(void **state) { return chdir("/") != 0 || folder_teardown(state); }

/* An array of doubles as '<f8'. */
static void put_wide(const char *path, const double *x, const int64_t *shape, int rank, const char *descr, const char *fortran) {
    char header[128], sizes[64];
    int64_t n = rank == 1 ? shape[0] : shape[0] * shape[1];
    if (rank == 1)
        snprintf(sizes, sizeof sizes, "(%lld,)", (long long)shape[0]);
    else
        snprintf(sizes, sizeof sizes, "(%lld, %lld)", (long long)shape[0], (long long)shape[1]);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    int used =
        snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, fortran, sizes);
    header[10 + used] = ' ';
    header[127] = '\n';
    struct piece pieces[] = {{header, sizeof header}, {x, (size_t)n * sizeof *x}};
    assert_int_equal(write_pieces(path, pieces, 2, &e), 0);
}

/* A whole folder: nats of token i of document d are base + i % 7 / 8. */
static void put_nll(const char *to, double base) {
    assert_int_equal(make_folders(to, &e), 0);
    for (int d = 0; d < DOCUMENTS; d++) {
        float x[1000];
        char *path = xprintf("%s/%s.npy", to, document[d]);
        for (int64_t i = 0; i < length[d]; i++) x[i] = (float)(base + (double)(i % 7) / 8);
        assert_int_equal(npy_write(path, x, &length[d], 1, &e), 0);
        free(path);
    }
}

static struct result_row find(const char *results, const char *row, const char *metric, const char *position) {
    int64_t n;
    struct result_row *r = results_read(results, &n, &e), found = {.n = -1};
    if (!r) fail_msg("%s", e.text);
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(r[i].row, row) && !strcmp(r[i].metric, metric) && !strcmp(r[i].position, position) && !*r[i].condition)
            found = r[i];
    free(r);
    return found;
}

/* ---- numbers ---- */
static void by_hand(void **state) {
    (void)state;
    put_nll("hand", 1);
    right("score language_modeling --nll hand --row h --out out/hand --segment 100" CORPUS);
    double nats = 0, first = 0, bytes = 0;
    for (int d = 0; d < DOCUMENTS; d++)
        for (int64_t i = 0; i < length[d]; i++) {
            double v = 1 + (double)(i % 7) / 8;
            nats += v;
            if (i >= 100 && i < 400) first += v, bytes++;
        }
    struct result_row r = find("out/hand", "h", "bits_per_byte", "all");
    assert_true(fabs(r.value - nats / log(2) / 1373) < 1e-8);
    assert_true(r.n == 3 && r.low <= r.value && r.high >= r.value && r.standard_error > 0);
    assert_string_equal(r.architecture, FOREIGN);
    assert_string_equal(r.stage, "");
    assert_string_equal(r.experiment, "hand");
    r = find("out/hand", "h", "bits_per_byte", "2-4");
    assert_true(fabs(r.value - first / log(2) / bytes) < 1e-8 && r.n == 2);
    assert_int_equal(find("out/hand", "h", "bits_per_byte", "17-64").n, -1);
    assert_true(fabs(find("out/hand", "h", "token_perplexity", "all").value - exp(nats / 1373)) < 1e-7);
    assert_true(find("out/hand", "h", "tokens", "all").value == 1373 && find("out/hand", "h", "bytes", "all").value == 1373);
    /* float64 of the same values: the same numbers, another cell because the files differ */
    int64_t n = length[2];
    double wide[1000];
    for (int64_t i = 0; i < n; i++) wide[i] = 1 + (double)(i % 7) / 8;
    wide[3] = -5e-5; /* rounding of a probability */
    put_wide("one.npy", wide, &n, 1, "<f8", "False");
    for (int64_t i = 0; i < 1000; i++) wide[i] = 0.1;
    n = length[0];
    put_wide("first.npy", wide, &n, 1, "<f8", "False");
    right("score language_modeling --nll first.npy --documents 1 --row w --out out/wide" CORPUS); /* a file for the only document */
    assert_true(fabs(find("out/wide", "w", "nll_sum", "all").value - 100) < 1e-7); /* not 1000 times 0.1f: 100.0000015 */
    wrong("score language_modeling --nll first.npy --row w --out out/wide" CORPUS);
    assert_says("first.npy is one file, but 3 documents are scored");
}

/* Outputs of our own model by `logits --nll`, judged as foreign ones: the numbers of `eval` and `run`, to the digit. */
static void like_our_own(void **state) {
    (void)state;
    right("train x.ini --row delta --out m.safetensors");
    static const char *const more[] = {"", " --split validation --documents 2", " --limit 500"};
    for (int k = 0; k < 3; k++) {
        char out[32], nll[32];
        snprintf(out, sizeof out, "own/e%d", k);
        snprintf(nll, sizeof nll, "own/nll%d", k);
        assert_int_equal(make_folders(nll, &e), 0);
        for (int d = 0; d < (k == 1 ? 2 : 3); d++) {
            char text[64];
            snprintf(text, sizeof text, "corpus/%s/%s", k == 1 ? "validation" : "test", document[d]);
            if (k == 2) { /* what the limit leaves */
                char *whole = text_of(text);
                snprintf(text, sizeof text, "cut.txt");
                put(text, whole, length[d] < 500 ? (size_t)length[d] : 500);
                free(whole);
            }
            right("logits --model m.safetensors --input %s --output %s/%s.npy --nll", text, nll, document[d]);
        }
        right("eval language_modeling --model m.safetensors --out %s" CORPUS "%s", out, more[k]);
        right("score language_modeling --nll %s --row s --out own/s%d --segment 32" CORPUS "%s", nll, k, more[k]);
        char foreign[32];
        snprintf(foreign, sizeof foreign, "own/s%d", k);
        int64_t n, m, same = 0;
        struct result_row *a = results_read(out, &n, &e), *b = results_read(foreign, &m, &e);
        for (int64_t i = 0; i < n; i++) {
            if (*a[i].condition) continue; /* knock-outs need the model */
            assert_true(same < m);
            const struct result_row *x = &a[i], *y = &b[same++];
            assert_string_equal(x->metric, y->metric);
            assert_string_equal(x->position, y->position);
            assert_string_equal(x->split, y->split);
            assert_string_equal(x->unit, y->unit);
            if (x->value != y->value || x->n != y->n || (x->low != y->low && !isnan(x->low)) ||
                (x->high != y->high && !isnan(x->high)) || (x->standard_error != y->standard_error && !isnan(x->low)))
                fail_msg("%s at %s: eval %.9g, score %.9g", x->metric, x->position, x->value, y->value);
        }
        assert_true(same == m && same > 8);
        struct sample_row *p = samples_read(out, &n, &e), *q = samples_read(foreign, &m, &e);
        same = 0;
        for (int64_t i = 0; i < n; i++) {
            if (*p[i].condition) continue;
            const struct sample_row *y = &q[same++];
            assert_string_equal(p[i].sample, y->sample);
            assert_string_equal(p[i].position, y->position);
            assert_true(p[i].value == y->value && p[i].weight == y->weight);
        }
        assert_int_equal(same, m);
        free(a);
        free(b);
        free(p);
        free(q);
    }
}

/* Another tokenizer: tokens of several bytes, some over the border of a position, some of none. */
static void other_tokenizer(void **state) {
    (void)state;
    assert_int_equal(make_folders("other", &e), 0);
    double total = 0, head = 0;
    int64_t tokens = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
        double x[1000][2];
        int64_t n = 0, at = 0;
        while (at < length[d]) {
            int64_t size = n % 4 == 3 ? 0 : 1 + (n * 5 + d) % 7;
            if (size > length[d] - at) size = length[d] - at;
            x[n][0] = 0.25 + (double)(n % 5);
            x[n][1] = (double)size;
            int64_t inside = at >= 32 ? 0 : at + size <= 32 ? size : 32 - at; /* bytes in segment 1 */
            if (size == 0)
                head += at > 0 && at <= 32 ? x[n][0] : 0;
            else
                head += x[n][0] * (double)inside / (double)size;
            total += x[n][0];
            at += size;
            n++;
        }
        x[n][0] = 3, x[n][1] = 0; /* an end mark */
        total += 3;
        n++;
        tokens += n;
        char *path = xprintf("other/%s.npy", document[d]);
        put_wide(path, &x[0][0], (const int64_t[]){n, 2}, 2, "<f8", "False");
        free(path);
    }
    right("score language_modeling --nll other --row o --out out/other --segment 32" CORPUS);
    assert_true(fabs(find("out/other", "o", "nll_sum", "all").value - total) < 1e-5);
    assert_true(find("out/other", "o", "tokens", "all").value == (double)tokens);
    assert_true(find("out/other", "o", "bytes", "all").value == 1373);
    assert_true(fabs(find("out/other", "o", "bits_per_byte", "all").value - total / log(2) / 1373) < 1e-7);
    assert_true(fabs(find("out/other", "o", "bits_per_byte", "1").value - head / log(2) / 96) < 1e-7);
    /* positions hold the same bytes as for the byte tokenizer, so the rows can be paired there */
    put_nll("hand", 1);
    right("score language_modeling --nll hand --row h --out out/bytes --segment 32" CORPUS);
    int64_t n, m;
    struct sample_row *p = samples_read("out/other", &n, &e), *q = samples_read("out/bytes", &m, &e);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) assert_true(!strcmp(p[i].sample, q[i].sample) && p[i].weight == q[i].weight);
    free(p);
    free(q);
    right("compare out/other out/bytes --row o --with h");
    assert_lacks("out.txt", "Note");
}

/* ---- what is refused ---- */
static void refusals(void **state) {
    (void)state;
    double x[2000];
    for (int i = 0; i < 2000; i++) x[i] = 1;
#define SCORE "score language_modeling --row r --out out/bad" CORPUS " --nll "
    wrong(SCORE "nowhere");
    assert_says("--nll nowhere: there is no such folder");
    put_nll("bad", 1);
    unlink("bad/b.txt.npy");
    unlink("bad/c.txt.npy");
    wrong(SCORE "bad");
    assert_says("bad lacks 2 of the 3 files: b.txt.npy, c.txt.npy; each document");
    put_nll("bad", 1);
    assert_int_equal(rename("bad/b.txt.npy", "bad/b.npy"), 0);
    wrong(SCORE "bad");
    assert_says("bad lacks 1 of the 3 files: b.txt.npy; is 'b.npy' one of them?");
    assert_int_equal(rename("bad/b.npy", "bad/b.txt.npy"), 0);
    struct {
        int64_t shape[2];
        int rank, at;
        double value;
        const char *descr, *fortran, *says;
    } cases[] = {
        {{332},
         1,
         0,
         1,
         "<f8",
         "False",
         "bad/b.txt.npy holds 332 values, b.txt has 333 tokens (bytes): one is missing; the first token"},
        {{300}, 1, 0, 1, "<f8", "False", "bad/b.txt.npy holds 300 values, expected 333, one for each token (bytes) of b.txt"},
        {{400}, 1, 0, 1, "<f8", "False", "bad/b.txt.npy holds 400 values, expected 333"},
        {{333}, 1, 7, NAN, "<f8", "False", "bad/b.txt.npy: the value at index 7 is NaN"},
        {{333}, 1, 8, INFINITY, "<f8", "False", "index 8 is infinite, a token of probability 0"},
        {{333}, 1, 9, -2e-4, "<f8", "False", "index 9 is -0.0002; the negative log-likelihood"},
        {{333}, 1, 0, -3, "<f8", "False", "was log p saved, or logits?"},
        {{333}, 1, 0, 1, "<i8", "False", "holds elements of type '<i8'; save it as float32"},
        {{333}, 1, 0, 1, ">f8", "False", "holds elements of type '>f8'; save it as float32 (little endian"},
        {{333, 1}, 2, 0, 1, "<f8", "False", "has shape (333, 1); give (n,)"},
        {{2, 333}, 2, 0, 1, "<f8", "False", "has shape (2, 333); give (n,)"},
        {{333, 2}, 2, 0, 1, "<f8", "True", "is in Fortran order; save it as numpy.ascontiguousarray"},
        {{332, 2}, 2, 0, 1, "<f8", "False", "its tokens have 332 bytes together, what is scored of b.txt has 333"},
        {{333, 2}, 2, 5, 0.5, "<f8", "False", "the bytes of the token at index 2 are 0.5; they should be a whole number"},
        {{333, 2}, 2, 5, -1, "<f8", "False", "the bytes of the token at index 2 are -1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double kept = x[cases[i].at];
        x[cases[i].at] = cases[i].value;
        put_wide("bad/b.txt.npy", x, cases[i].shape, cases[i].rank, cases[i].descr, cases[i].fortran);
        x[cases[i].at] = kept;
        wrong(SCORE "bad");
        assert_says(cases[i].says);
    }
    put("bad/b.txt.npy", "no array at all", 15);
    wrong(SCORE "bad");
    assert_says("bad/b.txt.npy is no NumPy array");
    put_nll("bad", 1);
    wrong(SCORE "bad --limit 500");
    assert_says("a.txt.npy holds 1000 values, expected 500, the tokens (bytes) of the first 500 bytes of a.txt");
    wrong(SCORE "bad --knock-out no");
    assert_says("the option 'knock_out' says how a model of ours is run");
    wrong(SCORE "bad --limt 5");
    assert_says("'limit'");
    wrong(SCORE "bad --tokenizer byte");
    assert_says("'bytes'");
    wrong("score language_modeling --nll bad --out out/bad" CORPUS);
    assert_says("--nll, --row and --out are needed");
    wrong("score language_modeling --nll bad --row a/b --out out/bad" CORPUS);
    assert_says("--row 'a/b' may hold letters");
    wrong("score language_model --nll bad --row a --out out/bad");
    assert_says("did you mean 'language_modeling'?");
    const struct task deaf = {.name = "deaf"};
    assert_int_equal(score_offered(&deaf, &e), -1);
    assert_says("the task 'deaf' cannot judge outputs of a foreign model; tasks that can: language_modeling");
    assert_false(there("out/bad")); /* nothing was written */
    /* a file of no document is named and left out */
    put("bad/d.txt.npy", "anything", 8);
    right(SCORE "bad");
    assert_holds("err.txt", "bad holds 1 file of no scored document, left out: d.txt.npy");
}

/* ---- identity ---- */
static int64_t cells_of(const char *results, const char *row) {
    int64_t n, m = 0;
    struct result_row *r = results_read(results, &n, &e);
    for (int64_t i = 0; i < n; i++) m += !strcmp(r[i].row, row) && !strcmp(r[i].metric, "nll_sum");
    free(r);
    return m;
}

static void identity(void **state) {
    (void)state;
#define ROW_I "score language_modeling --row i --out out/identity" CORPUS " --nll "
    put_nll("one", 1);
    put_nll("copy", 1);
    put_nll("two", 2);
    right(ROW_I "one");
    char *before = text_of("out/identity/results.csv"), *samples = text_of("out/identity/samples.csv");
    right(ROW_I "one");
    right(ROW_I "copy"); /* the same contents elsewhere */
    assert_holds("out.txt", "bits_per_byte");
    char *after = text_of("out/identity/results.csv");
    assert_string_equal(before, after);
    free(after);
    /* other contents under the same name */
    wrong(ROW_I "two");
    assert_says("has the row 'i', seed 1, of other outputs or options");
    assert_says("--replace");
    wrong(ROW_I "one --segment 64");
    assert_says("--replace");
    after = text_of("out/identity/results.csv");
    assert_string_equal(before, after);
    free(after);
    right(ROW_I "two --seed 2"); /* another seed is another cell of the row */
    right("score language_modeling --row j --out out/identity" CORPUS " --nll two");
    put_nll("three", 3);
    right(ROW_I "three --replace");
    assert_int_equal(cells_of("out/identity", "i"), 3);
    wrong(ROW_I "one --replace"); /* it would stay behind the later one */
    assert_says("replaced since");
    right(ROW_I "three");
    /* the earlier lines stay, the report shows the new one */
    after = text_of("out/identity/results.csv");
    assert_memory_equal(before, after, strlen(before));
    free(after);
    free(before);
    after = text_of("out/identity/samples.csv");
    assert_memory_equal(samples, after, strlen(samples));
    free(after);
    free(samples);
    right("report out/identity");
    double one = find("out/hand", "h", "bits_per_byte", "all").value; /* as of the replaced cell */
    char shown[32];
    snprintf(shown, sizeof shown, "%.4f", one);
    assert_holds("out/identity/report.md", "| i ");
    assert_lacks("out/identity/report.md", shown);
    /* a folder in use; nothing is lost */
    struct results *held = results_open("out/identity", &e);
    assert_non_null(held);
    wrong("score language_modeling --row k --out out/identity" CORPUS " --nll one");
    assert_says("in use by process");
    results_close(held);
    right("score language_modeling --row k --out out/identity" CORPUS " --nll one");
    assert_int_equal(cells_of("out/identity", "k"), 1);
}

/* runs/ID.json: what is known, no more. */
static void description(void **state) {
    (void)state;
    put_nll("hand", 1);
    right("score language_modeling --nll hand --row described --out out/json" CORPUS " --limit 1000");
    struct result_row r = find("out/json", "described", "nll_sum", "all");
    char *path = xprintf("out/json/runs/%s.json", r.run);
    json_t *j = json_load_file(path, 0, NULL), *task;
    assert_non_null(j);
    assert_true(json_is_true(json_object_get(j, "foreign")));
    assert_string_equal(
        json_string_value(json_object_get(j, "command")),
        "infinibench score language_modeling --nll hand --row described --out out/json --corpus ./corpus --limit 1000");
    assert_non_null(json_string_value(json_object_get(j, "date")));
    json_t *file = json_array_get(json_object_get(j, "files"), 1);
    assert_string_equal(json_string_value(json_object_get(file, "sample")), "b.txt");
    assert_int_equal(json_integer_value(json_object_get(file, "tokens")), 333);
    size_t size;
    char *bytes = read_file("hand/b.txt.npy", &size, &e), hex[20];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash64(bytes, size, 0));
    assert_string_equal(json_string_value(json_object_get(file, "xxh3")), hex);
    task = json_object_get(json_object_get(j, "tasks"), "language_modeling");
    assert_string_equal(json_string_value(json_object_get(task, "cell")), r.cell);
    assert_string_equal(json_string_value(json_object_get(json_object_get(task, "options"), "limit")), "1000");
    assert_int_equal(strlen(json_string_value(json_object_get(task, "data"))), 16);
    static const char *const unknown[] = {"model", "backend", "parameters", "stages", "peak_resident_bytes", "roof_gflops"};
    for (int i = 0; i < 6; i++) assert_null(json_object_get(j, unknown[i]));
    json_decref(j);
    free(bytes);
    free(path);
}

/* ---- beside our own rows ---- */
static void beside_ours(void **state) {
    (void)state;
    put_nll("hand", 1);
    put_nll("two", 2);
    right("run x.ini --out ours");
    char *rows = text_of("ours/results.csv");
#define INTO "score language_modeling --out ours" CORPUS " --nll "
    wrong(INTO "hand --row local");
    assert_says("ours has a row 'local' that was trained here (infini)");
    right(INTO "hand --row theirs --segment 32");
    right("run x.ini --out ours"); /* nothing is done twice, the foreign row stays */
    char *after = text_of("ours/results.csv");
    assert_memory_equal(rows, after, strlen(rows));
    right("report ours");
    assert_holds("ours/report.md", "| theirs |");
    assert_holds("ours/report.md", "Row theirs is a foreign model, judged by its outputs (hand)");
    assert_holds("out.txt", "language_modeling after stage one\n"); /* one table with ours: same text, same positions */
    assert_lacks("out.txt", "\nlanguage_modeling\n");
    assert_lacks("ours/report.md", "language_modeling-test");
    /* scored by other positions: a table of its own */
    right(INTO "two --row wider --segment 64");
    right("report ours");
    assert_holds("out.txt", "\nlanguage_modeling-test\n");
    free(rows);
    free(after);

    right("score language_modeling --nll hand --row theirs --out alone --segment 32" CORPUS);
    right("compare alone ours");
    assert_holds("out.txt", "theirs  language_modeling");
    assert_holds("out.txt", "+0.0000");
    right("compare alone ours --row theirs --with local");
    assert_holds("out.txt", "theirs - local  language_modeling  bits_per_byte");
    assert_holds("out.txt", "A - B by segment of the document");
    struct result_row a = find("alone", "theirs", "bits_per_byte", "all"), b = find("ours", "local", "bits_per_byte", "all");
    char shown[64];
    snprintf(shown, sizeof shown, "%.4f  %.4f", a.value, b.value);
    assert_holds("out.txt", shown);
    snprintf(shown, sizeof shown, "%+.4f [", a.value - b.value);
    assert_holds("out.txt", shown);
    right("compare ours ours --with local"); /* every row against one */
    assert_holds("out.txt", "delta - local");
    assert_holds("out.txt", "theirs - local");
    wrong("compare alone ours --row thiers");
    assert_says("alone has no row 'thiers'; did you mean 'theirs'?");
    wrong("compare alone ours --row theirs --with nobody");
    assert_says("ours has no row 'nobody'");
    /* what cannot be paired is said */
    right("score language_modeling --nll hand --row foreign --out seven --seed 7 --segment 32" CORPUS);
    wrong("compare seven ours --row foreign --with local");
    assert_says("have no seed in common");
    wrong("compare seven alone");
    assert_says("seven (foreign) and alone (theirs) have no row of the same name; pair two with --row ROW --with ROW");
    float x[500];
    const int64_t n = 500;
    for (int i = 0; i < 500; i++) x[i] = 1;
    assert_int_equal(npy_write("cut.npy", x, &n, 1, &e), 0);
    right("score language_modeling --nll cut.npy --documents 1 --limit 500 --row short --out cut --segment 32" CORPUS);
    wrong("compare cut ours --row short --with local");
    assert_says("a.txt has a weight (bytes scored) of 500 in A and 1000 in B");
    right("score language_modeling --nll two --row wide --out wide --segment 64" CORPUS);
    right("compare wide ours --row wide --with local");
    assert_holds("out.txt", "Note: position 1 of wide and local holds other parts of a document");
}

/* The identity of every cell of language_modeling holds version and options: they are those of results/quick. */
static void cells_stay(void **state) {
    (void)state;
    const struct task *t = task_find("language_modeling", &e);
    struct options o;
    assert_non_null(t);
    options_init(&o, t->options);
    char *text = options_join(&o, " ", false);
    assert_int_equal(t->version, 1);
    assert_string_equal(text, "corpus= documents=0 knock_out=yes limit=0 ngram=3 rows=1 segments=0 split=test");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),         cmocka_unit_test(like_our_own),
                                       cmocka_unit_test(other_tokenizer), cmocka_unit_test(refusals),
                                       cmocka_unit_test(identity),        cmocka_unit_test(description),
                                       cmocka_unit_test(beside_ours),     cmocka_unit_test(cells_stay)};
    return cmocka_run_group_tests_name("score", tests, setup, teardown);
}
