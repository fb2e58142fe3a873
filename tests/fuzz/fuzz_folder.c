/* fuzz_folder.c - any bytes as a results folder: three CSV files, the journal, experiment.ini, expectations and rules of the gate,
 * one table packed in place of the plain one. Opened for writing (repair, roll-back), then again, which must give the same; read
 * for a report; held against the expectations. Parts of the input are divided by a line "%". */
#include "fuzz.h"

#include "harness/check.h"
#include "harness/report_data.h"

static char folder[40];
static const char *const names[] = {"results.csv",    "samples.csv",  "curves.csv", "commit.tmp",
                                    "experiment.ini", "expected.csv", "rules.csv",  "samples.csv.gz"};
enum { PARTS = sizeof names / sizeof *names, PACKED = PARTS - 1 };

static char *at(const char *name) { return xprintf("%s/%s", folder, name); }

static void put(const char *name, const char *head, const uint8_t *data, size_t size) {
    char *path = at(name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fputs(head, f) >= 0 && fwrite(data, 1, size, f) == size && fclose(f) == 0, "no file %s", path);
    free(path);
}

/* The verdict on the folder, as `infinibench check` gives it. */
static void judge(void) {
    struct error e = {""};
    char *expected = at("expected.csv");
    struct check_options o = {.folder = folder, .against = expected, .junit = "/dev/null", .json = "/dev/null", .seed = -1};
    FILE *out = fopen("/dev/null", "w");
    CHECK(out, "no /dev/null");
    if (access(expected, R_OK) == 0 && check_run(&o, out, &e) < 0) fuzz_said(&e);
    fclose(out);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const heads[] = {RESULTS_HEADER "\n",
                                        SAMPLES_HEADER "\n",
                                        CURVES_HEADER "\n",
                                        "",
                                        "",
                                        CHECK_EXPECTED_HEADER "\n",
                                        CHECK_RULES_HEADER "\n",
                                        ""};
    struct error e = {""};
    if (!*folder) {
        progress_quiet = true;
        snprintf(folder, sizeof folder, "/dev/shm/infinibench-fuzz.%d", (int)getpid());
        CHECK(make_folders(folder, NULL) == 0, "no folder");
    }
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *end = data;
        while (end < data + size && !(end[0] == '%' && (end + 1 == data + size || end[1] == '\n'))) end++;
        size_t n = (size_t)(end - data), skip = end < data + size ? 2 : 0;
        char *path = at(names[i]);
        if (n || i < 3)
            put(names[i], heads[i], data, n);
        else
            unlink(path);
        free(path);
        if (n && i == PACKED) { /* it is read where the plain one is missing */
            char *plain = at("samples.csv");
            unlink(plain);
            free(plain);
        }
        skip = skip > size - n ? size - n : skip;
        data = end + skip;
        size -= n + skip;
    }
    struct report_data *d = report_load(folder, &e);
    if (!d) fuzz_said(&e);
    if (d)
        for (int i = 0; i < d->row_count; i++) {
            double x = report_training(d, d->rows[i].name, "parameters");
            struct interval b = report_bits(d, 0, d->rows[i].name, -1);
            fuzz_touch(&x, sizeof x);
            fuzz_touch(&b, sizeof b);
        }
    report_data_free(d);
    judge();
    struct results *r = results_open(folder, &e);
    if (!r) {
        fuzz_said(&e);
        return 0;
    }
    results_close(r);
    r = results_open(folder, &e);
    CHECK(r, "a repaired folder does not open: %s", e.text);
    results_close(r);
    return 0;
}
