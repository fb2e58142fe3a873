/* test_util.c - options and nearest names, random streams, files that appear whole. */
#include "harness/util.h"
#include "support/folder.h"

#include <math.h>
#include <pty.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- options ---- */

static const struct option table[] = {{"update", OPTION_CHOICE, "linear", 0, 0, "linear|delta|delta_gamma|none", "rule"},
                                      {"lr", OPTION_REAL, "1e-3", 0, 1, NULL, "rate"},
                                      {"segment", OPTION_INT, "2K", 1, 1e9, NULL, "tokens"},
                                      {"shift", OPTION_INT, "0", 0, 0, NULL, "unbounded"},
                                      {"carry", OPTION_BOOL, "off", 0, 0, NULL, "switch"},
                                      {"title", OPTION_TEXT, "", 0, 0, NULL, "words"},
                                      {0}};

static void test_options_values(void **state) {
    (void)state;
    struct options o;
    options_init(&o, table);
    assert_int_equal(options_choice(&o, "update"), 0);
    assert_true(options_real(&o, "lr") == 1e-3);
    assert_int_equal(options_int(&o, "segment"), 2048);
    assert_false(options_bool(&o, "carry"));
    assert_string_equal(options_text(&o, "title"), "");
    assert_true(options_has(&o, "lr"));
    assert_false(options_has(&o, "rate"));
    const char *const set[][2] = {{"update", "delta"}, {"lr", "0.25"},    {"segment", "1M"},
                                  {"shift", "-3K"},    {"carry", "True"}, {"title", "a b"}};
    for (size_t i = 0; i < 6; i++) assert_int_equal(options_set(&o, set[i][0], set[i][1], "test", &e), 0);
    assert_int_equal(options_choice(&o, "update"), 1);
    assert_true(options_real(&o, "lr") == 0.25);
    assert_int_equal(options_int(&o, "segment"), 1048576);
    assert_int_equal(options_int(&o, "shift"), -3072);
    assert_true(options_bool(&o, "carry"));
    char *text = options_join(&o, ";", false);
    assert_string_equal(text, "carry=yes;lr=0.25;segment=1048576;shift=-3072;title=a b;update=delta");
    free(text);
    options_init(&o, table);
    assert_int_equal(options_set(&o, "lr", "1e-3", "test", &e), 0);
    text = options_join(&o, " ", true);
    assert_string_equal(text, "lr=0.001"); /* one spelling per value */
    free(text);
}

/* An option that came later is in no text before it is set to something else than its default. */
static void test_options_later(void **state) {
    (void)state;
    static const struct option late[] = {{"old", OPTION_INT, "1", 0, 9, NULL, ""},
                                         {"size", OPTION_INT | OPTION_LATER, "2K", 0, 1e9, NULL, ""},
                                         {"kind", OPTION_CHOICE | OPTION_LATER, "a", 0, 0, "a|b", ""},
                                         {0}};
    struct options o;
    options_init(&o, late);
    static const char *const set[][3] = {{"old", "1", "old=1"},
                                         {"size", "2048", "old=1"},
                                         {"size", "2049", "old=1;size=2049"},
                                         {"kind", "b", "kind=b;old=1;size=2049"},
                                         {"size", "2K", "kind=b;old=1"}};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        assert_int_equal(options_set(&o, set[i][0], set[i][1], "test", &e), 0);
        char *text = options_join(&o, ";", false);
        assert_string_equal(text, set[i][2]);
        free(text);
    }
    assert_int_equal(options_int(&o, "size"), 2048);
    assert_int_equal(options_choice(&o, "kind"), 1);
    assert_int_equal(options_set(&o, "size", "x", "test", &e), -1);
    assert_says("size = 'x' is not a whole number");
}

static void test_options_errors(void **state) {
    (void)state;
    struct options o;
    const struct {
        const char *key, *value, *says;
    } bad[] = {
        {"updat", "delta", "architecture infini has no option 'updat'; the nearest is 'update'"},
        {"Update-", "delta", "the nearest is 'update'"},
        {"zzzzzz", "1", "it has: update, lr, segment, shift, carry, title"},
        {"update", "gamma", "update = 'gamma' is unknown; it may be linear, delta, delta_gamma or none"},
        {"lr", "1.5", "lr = 1.5 is out of range; it may be 0 to 1"},
        {"lr", "nan", "lr = 'nan' is not a number"},
        {"lr", "0.1x", "is not a number"},
        {"segment", "0", "segment = 0 is out of range; it may be 1 to 1000000000"},
        {"segment", "12.5", "segment = '12.5' is not a whole number"},
        {"segment", "", "is not a whole number"},
        {"segment", "9223372036854775807K", "is not a whole number"},
        {"carry", "maybe", "carry = 'maybe' is neither yes nor no"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options_init(&o, table);
        assert_int_equal(options_set(&o, bad[i].key, bad[i].value, "architecture infini", &e), -1);
        assert_says(bad[i].says);
        assert_string_equal(options_text(&o, "update"), "linear");
    }
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(options_set(&o, "title", longer, "test", &e), -1);
    assert_says("too long");
    options_init(&o, NULL);
    assert_int_equal(options_set(&o, "a", "b", "architecture null", &e), -1);
    assert_says("architecture null has no option 'a'; it takes none");
    assert_int_equal(options_set(&o, "a", "b", "x", NULL), -1); /* nobody listens */
}

static void test_nearest_name(void **state) {
    (void)state;
    const char *const names[] = {"infini", "transformer", "transformer_xl", "memorizing"};
    assert_string_equal(nearest_name("infni", names, 4), "infini");
    assert_string_equal(nearest_name("Transformer-XL", names, 4), "transformer_xl");
    assert_string_equal(nearest_name("transfomer", names, 4), "transformer");
    assert_null(nearest_name("lstm", names, 4));
    assert_null(nearest_name("", names, 4));
    assert_null(nearest_name("x", names, 0));
    /* what the word begins, or is a part of, before what only looks like it */
    static const char *const rows[] = {"infini_none", "infini_linear", "infini_delta"};
    assert_string_equal(nearest_name("infini_lin", rows, 3), "infini_linear");
    assert_string_equal(nearest_name("linear", rows, 3), "infini_linear");
    assert_string_equal(nearest_name("infini_deltas2", rows, 3), "infini_delta");
    static const char *const flags[] = {"seed", "no-stem", "csv", "head", "threads"};
    assert_string_equal(nearest_name("stem", flags, 5), "no-stem");
    assert_string_equal(nearest_name("read", flags, 5), "head"); /* one slip goes before a part */
    assert_null(nearest_name("o", flags, 5));
    assert_string_equal(nearest_name("cvs", flags, 5), "csv"); /* two neighbours that changed places are one slip */
    assert_null(nearest_name("vcs", (const char *const[]){"csx"}, 1));
}

/* ---- random numbers ---- */

static void test_rng(void **state) {
    (void)state;
    struct rng a, b, c;
    rng_seed(&a, 7, 0);
    rng_seed(&b, 7, 0);
    for (int i = 0; i < 1000; i++) assert_true(rng_next(&a) == rng_next(&b));
    c = a; /* the state is all there is */
    double x = rng_normal(&a);
    assert_true(rng_normal(&c) == x);
    /* Streams of a seed, and seeds of a stream, have no number in common. */
    struct rng many[64];
    for (int i = 0; i < 64; i++) rng_seed(&many[i], (uint64_t)(i / 8), (uint64_t)(i % 8));
    uint64_t seen[64 * 32];
    for (int i = 0; i < 64 * 32; i++) {
        seen[i] = rng_next(&many[i / 32]);
        for (int j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
    }
    double sum = 0, squares = 0, mean = 0;
    int counts[6] = {0}, n = 200000;
    for (int i = 0; i < n; i++) {
        double u = rng_uniform(&a), z = rng_normal(&a);
        assert_true(u >= 0 && u < 1 && isfinite(z));
        mean += u / n;
        sum += z / n;
        squares += z * z / n;
        counts[rng_below(&a, 6)]++;
    }
    assert_true(fabs(mean - 0.5) < 0.005 && fabs(sum) < 0.02 && fabs(squares - 1) < 0.02);
    for (int i = 0; i < 6; i++) assert_true(abs(counts[i] - n / 6) < 1000);
    assert_int_equal(rng_below(&a, 1), 0);
    assert_true(rng_below(&a, INT64_MAX) >= 0);
}

/* ---- files ---- */

static void test_files(void **state) {
    (void)state;
    put("deep/er/file", "abc\0def", 7);
    char *path = xprintf("%s/deep/er/file", folder), *inside = xprintf("%s/x", path);
    size_t n;
    char *bytes = read_file(path, &n, &e);
    assert_non_null(bytes);
    assert_int_equal(n, 7);
    assert_memory_equal(bytes, "abc\0def\0", 8);
    free(bytes);
    assert_null(read_file("/nonexistent/file", &n, &e));
    assert_says("cannot open /nonexistent/file: No such file");
    assert_null(read_file(folder, &n, &e));
    assert_says("Is a directory");
    assert_int_equal(write_file("/nonexistent/file", "x", 1, &e), -1);
    assert_says("cannot create /nonexistent/file.tmp: No such file");
    assert_int_equal(make_folders(inside, &e), -1);
    assert_says("a file is in its place");
    bytes = read_file("/proc/self/status", &n, &e); /* a file whose size is not known */
    assert_non_null(bytes);
    assert_int_equal(strlen(bytes), n);
    free(bytes);
    free(path);
    free(inside);
    assert_true(resident() > 1 << 18 && peak_resident() >= resident() / 2 && available_memory() > 1 << 20);
}

/* A process killed at any crash point leaves the old file or the new one. */
static void test_write_is_atomic(void **state) {
    (void)state;
    char *path = xprintf("%s/atomic", folder);
    int old_seen = 0, new_seen = 0, finished = 0;
    for (int at = 1; at < 10 && !finished; at++) {
        assert_int_equal(write_file(path, "old", 3, &e), 0);
        pid_t child = fork();
        if (!child) {
            char text[16];
            snprintf(text, sizeof text, "%d", at);
            setenv("INFINIBENCH_TEST_KILL_AT", text, 1);
            if (!freopen("/dev/null", "w", stderr)) _exit(9);
            _exit(write_file(path, "newer", 5, NULL) ? 8 : 0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        finished = WIFEXITED(status);
        if (finished) assert_int_equal(WEXITSTATUS(status), 0);
        size_t n;
        char *bytes = read_file(path, &n, &e);
        assert_non_null(bytes);
        if (!strcmp(bytes, "old"))
            old_seen++;
        else if (!strcmp(bytes, "newer"))
            new_seen++;
        else
            fail_msg("the file holds '%s'", bytes);
        free(bytes);
    }
    assert_true(finished && old_seen == 1 && new_seen == 2);
    free(path);
}

static void test_can_write(void **state) {
    (void)state;
    assert_int_equal(can_write(NULL, "csv", &e), 0);
    assert_int_equal(can_write("new.csv", "csv", &e), 0);
    assert_int_equal(can_write("/dev/null", "csv", &e), 0);
    assert_int_equal(access("new.csv", F_OK), -1); /* asking makes nothing */
    assert_int_equal(can_write("nowhere/new.csv", "csv", &e), -1);
    assert_string_equal(e.text, "--csv: cannot write nowhere/new.csv: there is no folder nowhere");
    assert_int_equal(can_write("/", "out", &e), -1);
    assert_non_null(strstr(e.text, "it is a folder"));
    assert_int_equal(can_write("", "out", &e), -1);
}

/* What a progress line of 2 s ago looks like on a terminal of so many columns; 0: standard error is a file. */
static void shown(char *out, size_t size, int columns, int64_t first) {
    int master = -1, to = -1, kept = dup(STDERR_FILENO);
    FILE *file = NULL;
    struct winsize rows = {.ws_row = 24, .ws_col = (unsigned short)columns};
    if (columns)
        assert_int_equal(openpty(&master, &to, NULL, NULL, &rows), 0);
    else
        assert_non_null(file = tmpfile()), to = fileno(file);
    bool quiet = progress_quiet;
    progress_quiet = false;
    struct progress p;
    progress_begin(&p, "größe seed 1 train", 600);
    p.start -= 10;
    p.first = first;
    dup2(to, STDERR_FILENO);
    progress_update(&p, 400, "loss %.4f", 1.25);
    dup2(kept, STDERR_FILENO);
    progress_quiet = quiet;
    ssize_t n = columns ? read(master, out, size - 1) : pread(to, out, size - 1, 0);
    assert_true(n > 0);
    out[n] = 0;
    close(kept);
    if (file) return (void)fclose(file);
    close(to);
    close(master);
}

/* A line that is wider than the terminal would stand there again with each update. */
static void test_progress(void **state) {
    (void)state;
    char text[400];
    shown(text, sizeof text, 0, 0);
    assert_string_equal(text, "größe seed 1 train 400/600 (66%)  loss 1.2500  10s, 5s left\n");
    shown(text, sizeof text, 0, 300); /* 100 steps in 10 s: those of an earlier run took none of this time */
    assert_string_equal(text, "größe seed 1 train 400/600 (66%)  loss 1.2500  10s, 20s left\n");
    shown(text, sizeof text, 200, 0);
    assert_string_equal(text, "\r\033[Kgröße seed 1 train 400/600 (66%)  loss 1.2500  10s, 5s left");
    shown(text, sizeof text, 20, 0);
    assert_string_equal(text, "\r\033[Kgröße seed 1 trai");
    shown(text, sizeof text, 4, 0);
    assert_string_equal(text, "\r\033[Kgr"); /* no half character */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_values),
        cmocka_unit_test(test_options_later),
        cmocka_unit_test(test_options_errors),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_can_write),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_rng),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_write_is_atomic),
    };
    return cmocka_run_group_tests_name("util", tests, folder_setup, folder_teardown);
}
