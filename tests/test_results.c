/* test_results.c - a results folder through everything that may happen to it: lock, quoting, torn lines, a kill between two files,
 * another schema, merging, and reports on it. */
#include "harness/csv_io.h"
#include "harness/report.h"
#include "harness/report_data.h"
#include "harness/results_files.h"
#include "support/folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static const char *in(const char *name) {
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[0], "%s/%s", folder, name);
    return path[next];
}

static struct results *opened(const char *name) {
    struct results *r = results_open(in(name), &e);
    if (!r) fail_msg("%s", e.text);
    return r;
}

static struct measurement value(const char *metric, double x) {
    return (struct measurement){.split = "test",
                                .condition = "",
                                .metric = metric,
                                .unit = "bits/byte",
                                .position = "all",
                                .writes = -1,
                                .n = 3,
                                .value = x,
                                .standard_error = NAN,
                                .low = NAN,
                                .high = NAN};
}

/* A cell with a measurement, two samples and a curve line. */
static void write_cell(struct results *r, const char *cell, const char *row, double x) {
    struct cell_writer *w = cell_begin(r, cell, "run-1", "x", row, "infini", "train", 1, "language_modeling", 1);
    struct measurement m = value("bits_per_byte", x);
    cell_measure(w, &m);
    cell_sample(w, "test", "", "bits_per_byte", "a.txt", "all", 100 * x, 100);
    cell_sample(w, "test", "", "bits_per_byte", "b, \"c\".txt", "all", 210 * x, 200);
    cell_curve(w, 1, 512, "loss", x);
    if (cell_commit(w, &e) != 0) fail_msg("%s", e.text);
}

static char *content_of(const char *results, const char *name) {
    char *path = xprintf("%s/%s/%s", folder, results, name);
    size_t n;
    char *text = read_file(path, &n, &e);
    free(path);
    assert_non_null(text);
    return text;
}

static void append_to(const char *results, const char *name, const char *text, const char *mode) {
    char *path = xprintf("%s/%s/%s", folder, results, name);
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    free(path);
}

static int64_t lines(const char *results, const char *name) {
    char *text = content_of(results, name);
    int64_t n = 0;
    for (const char *c = text; *c; c++) n += *c == '\n';
    free(text);
    return n;
}

static void round_trip(void **state) {
    (void)state;
    struct results *r = opened("round");
    struct cell_writer *w = cell_begin(r, "00000000000000aa", "run \"1\"", "exp,eriment", "row", "infini", "train", 42, "task", 3);
    struct measurement m = {.split = "test",
                            .condition = "knockout=off;x=\"y\", z",
                            .metric = "bits",
                            .unit = "",
                            .position = "2-4",
                            .context = 32768,
                            .writes = 7,
                            .n = 40,
                            .value = 1.0 / 3,
                            .standard_error = NAN,
                            .low = -1e-300,
                            .high = 12345678.9};
    cell_measure(w, &m);
    m.value = NAN;
    cell_measure(w, &m);
    cell_sample(w, "test", "", "bits", " two\nlines ", "all", 0.125, 8);
    assert_int_equal(cell_commit(w, &e), 0);
    assert_true(results_has_cell(r, "00000000000000aa") && !results_has_cell(r, "00000000000000ab"));
    results_close(r);
    int64_t n, s;
    struct result_row *x = results_read(in("round"), &n, &e);
    struct sample_row *y = samples_read(in("round"), &s, &e);
    assert_non_null(x);
    assert_non_null(y);
    assert_int_equal(n, 2);
    assert_int_equal(s, 1);
    assert_string_equal(x->run, "run \"1\"");
    assert_string_equal(x->experiment, "exp,eriment");
    assert_string_equal(x->condition, "knockout=off;x=\"y\", z");
    assert_true(x->seed == 42 && x->task_version == 3 && x->context == 32768 && x->writes == 7 && x->n == 40);
    assert_true(fabs(x->value - 1.0 / 3) < 1e-9 && isnan(x->standard_error) && x->low == -1e-300 && x->high == 12345678.9);
    assert_true(isnan(x[1].value));
    assert_string_equal(y->sample, " two lines ");
    assert_true(y->value == 0.125 && y->weight == 8);
    free(x);
    free(y);
    r = opened("round"); /* and the cell is still known */
    assert_true(results_has_cell(r, "00000000000000aa"));
    results_close(r);
}

static void lock(void **state) {
    (void)state;
    struct results *r = opened("lock");
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_null(results_open(in("lock"), &e));
    assert_says("in use");
    assert_says(pid);
    assert_says("lock");
    results_close(r);
    pid_t child = fork(); /* a process that dies without closing leaves no lock behind */
    if (child == 0) {
        results_open(in("lock"), &e);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    results_close(opened("lock"));
    assert_null(results_open("/proc/nowhere", &e));
    assert_says("/proc/nowhere");
}

static void foreign_files(void **state) {
    (void)state;
    results_close(opened("foreign"));
    append_to("foreign", "results.csv", "schema,run,what\n", "w");
    assert_null(results_open(in("foreign"), &e));
    assert_says("results.csv:1");
    assert_says("schema,run,what");
    assert_says("expected 'schema,run,experiment,row");
    append_to("foreign", "results.csv", RESULTS_HEADER "\n2,r,x,row,infini,s,1,t,1,test,,m,u,0,all,-1,1,1,,,,c\n", "w");
    assert_null(results_open(in("foreign"), &e));
    assert_says("schema 2");
    assert_says("schema 1");
    int64_t n;
    assert_null(results_read(in("foreign"), &n, &e));
    assert_says("results.csv:2: schema 2");
    append_to("foreign", "results.csv", RESULTS_HEADER "\n1,r,x,row,infini,s,one,t,1,test,,m,u,0,all,-1,1,1,,,,c\n", "w");
    assert_null(results_read(in("foreign"), &n, &e));
    assert_says("results.csv:2: column seed is 'one'");
    append_to("foreign", "results.csv", RESULTS_HEADER "\n1,r,x\n", "w");
    assert_null(results_read(in("foreign"), &n, &e));
    assert_says("results.csv:2: 3 fields, expected 22");
    assert_null(results_read(in("nowhere"), &n, &e));
    assert_says("/nowhere; it should be one");
}

static void torn_lines(void **state) {
    (void)state;
    struct results *r = opened("torn");
    write_cell(r, "c1", "a", 2);
    results_close(r);
    char *before[3] = {content_of("torn", "results.csv"), content_of("torn", "samples.csv"), content_of("torn", "curves.csv")};
    append_to("torn", "results.csv", "1,run-1,x,row,infini,train,1,langu", "a");
    append_to("torn", "samples.csv", "run-1,\"ro", "a");
    append_to("torn", "curves.csv", "r", "a");
    int64_t n;
    struct result_row *x = results_read(in("torn"), &n, &e); /* a reader leaves the torn line out */
    assert_non_null(x);
    assert_int_equal(n, 1);
    free(x);
    r = opened("torn");
    assert_true(results_has_cell(r, "c1"));
    for (int i = 0; i < 3; i++) {
        char *now = content_of("torn", i == 0 ? "results.csv" : i == 1 ? "samples.csv" : "curves.csv");
        assert_string_equal(now, before[i]);
        free(now);
        free(before[i]);
    }
    write_cell(r, "c2", "b", 2);
    results_close(r);
    assert_int_equal(lines("torn", "results.csv"), 3);
    /* whole lines whose cell never reached results.csv */
    append_to("torn", "samples.csv", "run-1,z,1,t,test,,m,s,all,1,1,c3\n", "a");
    append_to("torn", "curves.csv", "run-1,z,train,1,1,1,loss,1,c3\n", "a");
    results_close(opened("torn"));
    assert_int_equal(lines("torn", "samples.csv"), 5);
    assert_int_equal(lines("torn", "curves.csv"), 3);
}

/* What gzip makes of a file; the file goes. cut: bytes that are missing at its end. */
static void pack(const char *results, const char *name, int cut) {
    char *path = xprintf("%s/%s/%s", folder, results, name), *packed = xprintf("%s.gz", path);
    char *text = content_of(results, name);
    gzFile f = gzopen(packed, "wb9");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, text, (unsigned)strlen(text)), strlen(text));
    assert_int_equal(gzclose(f), Z_OK);
    assert_int_equal(unlink(path), 0);
    if (cut) {
        size_t n;
        char *bytes = read_file(packed, &n, &e);
        assert_int_equal(write_file(packed, bytes, n - (size_t)cut, &e), 0);
        free(bytes);
    }
    free(text);
    free(path);
    free(packed);
}

/* Killed at every byte of an append: what is there afterwards is the whole cell or nothing of it. */
static void killed_commit(void **state) {
    (void)state;
    struct results *r = opened("killed");
    write_cell(r, "c1", "a", 2);
    results_close(r);
    static const char *const names[] = {"samples.csv", "curves.csv", "results.csv"};
    char *old[3], *full[3], journal[96];
    for (int i = 0; i < 3; i++) old[i] = content_of("killed", names[i]);
    r = opened("killed");
    write_cell(r, "c2", "b", 3);
    results_close(r);
    for (int i = 0; i < 3; i++) full[i] = content_of("killed", names[i]);
    snprintf(journal, sizeof journal, "%zu %zu %zu end\n", strlen(old[0]), strlen(old[1]), strlen(old[2]));
    for (int i = 0; i < 3; i++)
        for (size_t cut = strlen(old[i]); cut <= strlen(full[i]); cut += 1 + (strlen(full[i]) - strlen(old[i])) / 7) {
            for (int j = 0; j < 3; j++) {
                char *part = xprintf("%.*s", (int)(j < i ? strlen(full[j]) : j > i ? strlen(old[j]) : cut), full[j]);
                append_to("killed", names[j], part, "w");
                free(part);
            }
            append_to("killed", "commit.tmp", journal, "w");
            int64_t n;
            struct result_row *seen = results_read(in("killed"), &n, &e); /* a reader sees what was there before, too */
            assert_true(seen && n == 1);
            free(seen);
            struct sample_row *samples = samples_read(in("killed"), &n, &e);
            assert_true(samples && n == 2);
            free(samples);
            if (cut % 2) pack("killed", names[i], 0);
            r = opened("killed");
            assert_true(results_has_cell(r, "c1") && !results_has_cell(r, "c2"));
            write_cell(r, "c2", "b", 3);
            results_close(r);
            for (int j = 0; j < 3; j++) {
                char *now = content_of("killed", names[j]);
                assert_string_equal(now, full[j]);
                free(now);
            }
        }
    for (int i = 0; i < 3; i++) free(old[i]), free(full[i]);
}

static void merging(void **state) {
    (void)state;
    struct results *a = opened("merge_a"), *b = opened("merge_b");
    write_cell(a, "c1", "a", 2);
    write_cell(b, "c1", "a", 9); /* there already: not taken */
    write_cell(b, "c2", "b, \"quoted\"", 3);
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(results_merge(a, b, &e), 0);
        assert_true(results_has_cell(a, "c2"));
        assert_int_equal(lines("merge_a", "results.csv"), 3);
        assert_int_equal(lines("merge_a", "samples.csv"), 5);
        assert_int_equal(lines("merge_a", "curves.csv"), 3);
    }
    results_close(a);
    results_close(b);
    int64_t n;
    struct result_row *x = results_read(in("merge_a"), &n, &e);
    assert_non_null(x);
    assert_string_equal(x[1].row, "b, \"quoted\"");
    assert_true(x[0].value == 2);
    free(x);
}

static void runs(void **state) {
    (void)state;
    struct results *r = opened("runs");
    json_t *j = json_pack("{s:s, s:f}", "commit", "abc", "roof_gflops", 400.5);
    assert_int_equal(results_save_run(r, "a-s1", j, &e), 0);
    json_decref(j);
    results_close(r);
    char *text = content_of("runs", "runs/a-s1.json");
    assert_non_null(strstr(text, "\"roof_gflops\": 400.5"));
    free(text);
}

/* Two rows over the same documents, one of them the local-only twin. */
static void fill_report(const char *name, double gain, bool manifest) {
    static const char *const positions[] = {"1", "2-4", "5-16", "17-64", "65+", "all"};
    struct results *r = opened(name);
    for (int row = 0; row < 2; row++) {
        struct cell_writer *w = cell_begin(r, row ? "cell-m" : "cell-n", row ? "m-s1" : "n-s1", "x",
                                           row ? "infini_linear" : "infini_none", "infini", "train", 1, "language_modeling", 1);
        for (int p = 0; p < 6; p++) {
            double sum = 0, weight = 0;
            for (int d = 0; d < 12; d++) {
                double bits = 2 + 0.1 * (d % 5) - (row ? gain * (p > 1) : 0), bytes = 1000 + 100 * d;
                char document[16];
                snprintf(document, sizeof document, "%d.txt", d);
                cell_sample(w, "test", "", "bits_per_byte", document, positions[p], bits * bytes, bytes);
                sum += bits * bytes, weight += bytes;
            }
            struct measurement m = value("bits_per_byte", sum / weight);
            m.position = positions[p];
            cell_measure(w, &m);
        }
        assert_int_equal(cell_commit(w, &e), 0);
    }
    results_close(r);
    if (manifest)
        append_to(name, "experiment.ini",
                  "[experiment]\ntitle = A <title> &\n    more\n[row infini_none]\narchitecture = infini\nupdate = none\n[row "
                  "infini_linear]\n"
                  "architecture = infini\nupdate = linear\n; cell infini_none 1 train language_modeling cell-n\n"
                  "; cell infini_linear 1 train language_modeling cell-m\n",
                  "w");
}

static char *printed(int (*print)(const char *, FILE *, struct error *), const char *name) {
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    int result = print(in(name), f, &e);
    fclose(f);
    if (result != 0) fail_msg("%s", e.text);
    return text;
}

static void reports(void **state) {
    (void)state;
    fill_report("report", 0.05, true);
    char *path = xstrdup(getenv("PATH") ? getenv("PATH") : "");
    setenv("PATH", "/nowhere", 1); /* no gnuplot: a line says so, the report is there */
    char *text = printed(report, "report");
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(text, "no pictures: "));
    assert_non_null(strstr(text, "-0.0500 [-0.0500, -0.0500]"));
    free(text);
    char *md = content_of("report", "report.md"), *html = content_of("report", "report.html");
    assert_non_null(strstr(md, "# A <title> & more"));
    assert_non_null(strstr(html, "A &lt;title&gt; &amp; more"));
    assert_non_null(strstr(md, "the row infini_none"));
    assert_non_null(strstr(md, "| infini\\_linear |"));
    assert_null(strstr(html, "<script"));
    free(md);
    free(html);
    /* a cell that experiment.ini does not list does not count */
    struct results *r = opened("report");
    struct cell_writer *w = cell_begin(r, "cell-old", "m-s1", "x", "infini_linear", "infini", "train", 1, "language_modeling", 1);
    struct measurement m = value("bits_per_byte", 99);
    cell_measure(w, &m);
    cell_sample(w, "test", "", "bits_per_byte", "0.txt", "all", 99000, 1000);
    assert_int_equal(cell_commit(w, &e), 0);
    results_close(r);
    struct report_data *d = report_load(in("report"), &e);
    assert_non_null(d);
    assert_int_equal(d->row_count, 2);
    assert_int_equal(d->twin, 0);
    assert_true(report_mean(d, 0, "infini_linear", "bits_per_byte", "", NULL) < 3);
    struct selection a = {.data = d, .section = 0, .row = "infini_linear", .condition = "", .metric = "bits_per_byte", .seed = -1},
                     b = a;
    b.row = "infini_none";
    struct interval i = report_difference(a, b);
    assert_true(i.n == 12 && fabs(i.value + 0.05) < 1e-9);
    a.positions = b.positions = 3; /* segments 1 to 4: no gain; the interval is 0 */
    i = report_difference(a, b);
    assert_true(i.n == 12 && fabs(i.value) < 1e-9);
    report_data_free(d);
    assert_int_equal(report(in("nothing"), stdout, &e), -1);
    assert_says("/nothing; it should be one");
}

/* Three seeds of a twin, two memories and another model over the same documents; the gain of a memory differs by seed. */
static void fill_seeds(const char *name) {
    static const char *const positions[] = {"1", "2-4", "5-16", "17-64", "65+", "all"};
    static const char *const rows[] = {"infini_none", "infini_linear", "infini_delta", "transformer_xl"};
    static const char *const conditions[] = {"", "knockout=off", "knockout=zero"};
    static const double gain[4][3] = {{0, 0, 0}, {0.010, 0.012, 0.014}, {-0.02, 0.02, 0.003}, {0.1, 0.1, 0.1}};
    struct results *r = opened(name);
    struct text_buffer ini = {0};
    buffer_printf(&ini, "[experiment]\ntitle = T\ntable = table2\nseeds = 1, 2, 3\n[budget]\ntokenizer = bytes\n[stage train]\n"
                        "steps = 77\nlimit = 500\n[task pg19]\nlimit = 600\nsplit = test\n");
    for (int row = 0; row < 4; row++) {
        buffer_printf(&ini, "[row %s]\narchitecture = %s\nsegment = 64\n", rows[row], row < 3 ? "infini" : "transformer_xl");
        if (row < 3) buffer_printf(&ini, "update = %s\n", rows[row] + 7);
        for (int seed = 0; seed < 3; seed++) {
            char cell[40], run[40];
            snprintf(cell, sizeof cell, "cell-%d-%d", row, seed);
            snprintf(run, sizeof run, "r%d-s%d", row, seed);
            buffer_printf(&ini, "; cell %s %d train pg19 %s\n", rows[row], seed + 1, cell);
            struct cell_writer *w = cell_begin(r, cell, run, "x", rows[row], row < 3 ? "infini" : "transformer_xl", "train",
                                               seed + 1, "language_modeling", 1);
            for (int k = 0; k < (row == 1 || row == 2 ? 3 : 1); k++)
                for (int p = 0; p < 6; p++) {
                    double sum = 0, weight = 0;
                    for (int d = 0; d < 20; d++) {
                        double bits =
                            2 + 0.1 * (d % 5) + 0.002 * ((d + 3 * row) % 4) - gain[row][seed] * (k == 0) + 0.05 * (k == 1);
                        double bytes = 1000 + 100 * d;
                        char document[16];
                        snprintf(document, sizeof document, "%d.txt", d);
                        cell_sample(w, "test", conditions[k], "bits_per_byte", document, positions[p], bits * bytes, bytes);
                        sum += bits * bytes, weight += bytes;
                    }
                    struct measurement m = value("bits_per_byte", sum / weight);
                    m.condition = conditions[k];
                    m.position = positions[p];
                    cell_measure(w, &m);
                }
            assert_int_equal(cell_commit(w, &e), 0);
        }
    }
    results_close(r);
    append_to(name, "experiment.ini", ini.data, "w");
    buffer_free(&ini);
}

/* The text of the line of the report that begins with a question. */
static char *line_with(const char *text, const char *words) {
    const char *at = strstr(text, words);
    if (!at) fail_msg("no '%s' in the report", words);
    return xprintf("%.*s", (int)strcspn(at, "\n"), at);
}

static void answers(void **state) {
    static const struct {
        const char *question, *by_seed, *answer;
    } cases[] = {
        {"Is infini\\_linear better than infini\\_none, its local-only twin, from segment 5 on?", "-0.0102, -0.0122, -0.0142",
         "yes |"},
        {"Is infini\\_delta better than infini\\_none, its local-only twin, from segment 5 on?", "+0.0198, -0.0202, -0.0032",
         "not shown"},
        {"Does infini\\_linear lose from segment 5 on when its gates are forced to 0?", "+0.06", "yes |"},
        {"Does infini\\_linear lose from segment 5 on when its memory reads 0?", "+0.0100, +0.0120, +0.0140", "yes |"},
        {"Is infini\\_linear better than transformer\\_xl over whole documents?", "+0.09", "no, the opposite"},
    };
    (void)state;
    fill_seeds("seeds");
    free(printed(report, "seeds"));
    char *md = content_of("seeds", "report.md");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *line = line_with(md, cases[i].question);
        if (!strstr(line, cases[i].by_seed) || !strstr(line, cases[i].answer)) fail_msg("%s", line);
        free(line);
    }
    struct report_data *d = report_load(in("seeds"), &e);
    struct selection a = {.data = d, .section = 0, .row = "infini_delta", .condition = "", .metric = "bits_per_byte", .seed = -1},
                     b = a;
    b.row = "infini_none";
    struct interval all = report_difference(a, b);
    assert_true(all.n == 20 && all.seeds == 3 && all.df >= 2 && all.df < 4 && all.low < -0.02 && all.high > 0.02);
    a.seed = b.seed = 2; /* one seed says that the memory helps */
    struct interval one = report_difference(a, b);
    assert_true(one.seeds == 1 && one.high < 0 && one.standard_error < all.standard_error / 5);
    assert_int_equal(d->sections[0].seed_count, 3);
    report_data_free(d);
    /* beside the paper: results/paper/table2.csv is found from the program's place; settings come from experiment.ini */
    char *line = line_with(md, "| Infini-Transformer (Linear) |");
    assert_non_null(strstr(line, "| 9.65 | -8.4 % |"));
    free(line);
    line = line_with(md, "| segment and key size |");
    assert_non_null(strstr(line, "N = 2048, d\\_key = 128 | N = 64, d\\_key = ? |"));
    free(line);
    line = line_with(md, "| test text |");
    assert_non_null(strstr(line, "test split, first 600 bytes"));
    free(line);
    assert_non_null(strstr(md, "Wu et al."));
    free(md);
}

static void compare(void **state) {
    (void)state;
    fill_report("left", 0.05, false);
    fill_report("right", 0.02, false);
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(report_compare(in("left"), in("right"), NULL, NULL, f, &e), 0);
    fclose(f);
    assert_non_null(strstr(text, "-0.0300 [-0.0300, -0.0300]"));
    assert_non_null(strstr(text, "+0.0000"));
    free(text);
}

/* Tables under gzip are read like plain ones and unpacked by who writes; a cut or foreign one is an error and stays. */
static void packed(void **state) {
    (void)state;
    struct results *r = opened("packed");
    for (int i = 0; i < 3; i++) {
        char cell[20];
        snprintf(cell, sizeof cell, "c%d", i);
        write_cell(r, cell, "infini_delta", 1.5 + i);
    }
    results_close(r);
    char *before[3];
    static const char *const names[] = {"results.csv", "samples.csv", "curves.csv"};
    for (int i = 0; i < 3; i++) {
        before[i] = content_of("packed", names[i]);
        pack("packed", names[i], 0);
    }
    int64_t n;
    struct sample_row *samples = samples_read(in("packed"), &n, &e);
    assert_non_null(samples);
    assert_int_equal(n, 6);
    assert_true(fabs(samples[5].value - 210 * 3.5) < 1e-6);
    free(samples);
    assert_int_not_equal(access(in("packed/samples.csv"), F_OK), 0); /* reading unpacks nothing */
    r = opened("packed");
    assert_true(results_has_cell(r, "c0") && results_has_cell(r, "c2"));
    write_cell(r, "c3", "infini_delta", 9);
    results_close(r);
    for (int i = 0; i < 3; i++) {
        char *now = content_of("packed", names[i]), *old = xprintf("packed/%s.gz", names[i]);
        assert_true(strlen(now) > strlen(before[i]));
        assert_memory_equal(now, before[i], strlen(before[i]));
        assert_int_not_equal(access(in(old), F_OK), 0);
        free(now);
        free(old);
    }
    /* Cut short, at its checksum and in the middle. */
    for (int cut = 4; cut < 60; cut += 40) {
        char *whole = content_of("packed", "samples.csv");
        pack("packed", "samples.csv", cut);
        assert_null(samples_read(in("packed"), &n, &e));
        assert_non_null(strstr(e.text, "samples.csv.gz: not a whole gzip file"));
        assert_null(results_open(in("packed"), &e));
        assert_non_null(strstr(e.text, "samples.csv.gz: not a whole gzip file"));
        assert_int_equal(access(in("packed/samples.csv.gz"), F_OK), 0); /* it is not lost */
        assert_int_not_equal(access(in("packed/samples.csv"), F_OK), 0);
        assert_int_equal(write_file(in("packed/samples.csv"), whole, strlen(whole), &e), 0);
        free(whole);
    }
    /* Both are there: the plain one counts. */
    samples = samples_read(in("packed"), &n, &e);
    assert_int_equal(n, 8);
    free(samples);
    assert_int_equal(unlink(in("packed/samples.csv")), 0);
    assert_int_equal(write_file(in("packed/samples.csv.gz"), before[1], strlen(before[1]), &e), 0); /* plain text of that name */
    assert_null(samples_read(in("packed"), &n, &e));
    assert_non_null(strstr(e.text, "no gzip header"));
    for (int i = 0; i < 3; i++) free(before[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),    cmocka_unit_test(lock),    cmocka_unit_test(foreign_files), cmocka_unit_test(torn_lines),
        cmocka_unit_test(killed_commit), cmocka_unit_test(merging), cmocka_unit_test(runs),          cmocka_unit_test(reports),
        cmocka_unit_test(answers),       cmocka_unit_test(compare), cmocka_unit_test(packed)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
