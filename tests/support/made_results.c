/* made_results.c - see made_results.h. */
#include "made_results.h"
#include "folder.h"

#include "../../harness/report.h"
#include "../../harness/report_retrieval.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct measurement value(const char *condition, const char *metric, int64_t context, const char *position, int64_t writes,
                                struct interval v) {
    return (struct measurement){.split = "generated",
                                .condition = condition,
                                .metric = metric,
                                .unit = "",
                                .position = position,
                                .context = context,
                                .writes = writes,
                                .n = v.n,
                                .value = v.value,
                                .standard_error = v.standard_error,
                                .low = v.low,
                                .high = v.high};
}

void put_value(struct cell_writer *w, const char *condition, const char *metric, int64_t context, const char *position,
               int64_t writes, struct interval v) {
    struct measurement m = value(condition, metric, context, position, writes, v);
    cell_measure(w, &m);
}

struct interval plain(double x, int64_t n) {
    return (struct interval){.value = x, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
}

double capacity(double n, double share) { return n * (10 * share - 1) / 9; }

void fill_recall(struct cell_writer *w, const char *way, const int64_t rights[3]) {
    static const int pairs[] = {1, 4, 16};
    for (int k = 0; k < 3; k++) {
        char condition[CONDITION_SIZE];
        int64_t right = rights[k];
        snprintf(condition, sizeof condition, "kind=remember%s%s;pairs=%d", *way ? ";knockout=" : "", way, pairs[k]);
        for (int64_t i = 0; i < 50; i++) {
            char name[24];
            snprintf(name, sizeof name, "%06lld", (long long)i);
            cell_sample(w, "generated", condition, "exact_match", name, "all", i < right, 1);
        }
        struct interval x = wilson(right, 50), c = {.n = 50};
        c.value = capacity(pairs[k], x.value), c.low = capacity(pairs[k], x.low), c.high = capacity(pairs[k], x.high);
        c.standard_error = pairs[k] * 10.0 / 9 * x.standard_error;
        put_value(w, condition, "exact_match", 100 + k, "all", -1, x);
        put_value(w, condition, "exact_match", 100 + k, "all", 1, x);
        put_value(w, condition, "capacity", 100 + k, "all", -1, c);
        put_value(w, condition, "exact_match_chance", 100 + k, "all", -1, plain(0.1, 50));
        put_value(w, condition, "symbol_accuracy_chance", 100 + k, "all", -1, plain(0.1, 50));
    }
}

char *printed(const char *name) {
    char *text = NULL, *path = in_folder(name);
    size_t n;
    FILE *f = open_memstream(&text, &n);
    int result = report(path, f, &e);
    fclose(f);
    free(path);
    if (result != 0) fail_msg("%s", e.text);
    return text;
}

/* From a heading on, the line that begins with `words` must hold `part`. */
void check_line(const char *text, const char *heading, const char *words, const char *part, int line) {
    const char *at = strstr(text, heading);
    if (at) at = strstr(at, words);
    if (!at) {
        print_error("no '%s' after '%s'\n", words, heading);
        _fail(__FILE__, line);
        return;
    }
    char *found = xprintf("%.*s", (int)strcspn(at, "\n"), at);
    if (!strstr(found, part)) {
        print_error("'%s' is not in: %s\n", part, found);
        _fail(__FILE__, line);
    }
    free(found);
}
