/* fuzz_csv.c - any bytes as rows of results.csv, samples.csv or curves.csv, and as CSV of any columns. The first byte chooses. */
#include "fuzz.h"

#include "harness/csv_io.h"
#include "harness/results_files.h"

static int any_row(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct text_buffer *b = data;
    double real;
    int64_t whole;
    for (int i = 0; i < count; i++) {
        csv_text(b, fields[i], i + 1 < count ? ',' : '\n');
        if (csv_parse_real(path, line, "x", fields[i], true, &real, e)) fuzz_said(e);
        if (csv_parse_integer(path, line, "x", fields[i], &whole, e)) fuzz_said(e);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const head[] = {RESULTS_HEADER "\n", SAMPLES_HEADER "\n", CURVES_HEADER "\n", ""};
    static const char *const names[] = {"results.csv", "samples.csv", "curves.csv", "any.csv"};
    if (!size) return 0;
    int which = data[0] & 3;
    const char *folder = fuzz_folder(names[which]), *path = fuzz_file(head[which], data + 1, size - 1);
    struct error e = {""};
    int64_t n = 0;
    void *rows = NULL;
    if (which == 3) {
        struct text_buffer b = {0};
        bool torn = data[0] & 4;
        if (csv_read(path, NULL, torn, any_row, &b, &e)) fuzz_said(&e);
        buffer_free(&b);
        return 0;
    }
    if (which == 0) rows = results_read(folder, &n, &e);
    if (which == 1) rows = samples_read(folder, &n, &e);
    if (which == 2) rows = curves_read(folder, &n, &e);
    size_t each = which == 0 ? sizeof(struct result_row) : which == 1 ? sizeof(struct sample_row) : sizeof(struct curve_row);
    if (!rows) fuzz_said(&e);
    if (rows) fuzz_touch(rows, (size_t)n * each);
    free(rows);
    return 0;
}
