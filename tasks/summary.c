/* summary.c - what the tasks summarize and chronicle measure of summaries: ROUGE with intervals, and lengths. ROUGE itself is in
 * rouge.c. */
#include "summary.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 20240410

int summary_score(struct rouge *r, double f1[ROUGE_KINDS], const char *said, const char *const *references, int count,
                  struct error *e) {
    struct rouge_text *texts = xcalloc((size_t)count, sizeof *texts);
    struct rouge_scores s;
    for (int i = 0; i < count; i++) texts[i] = (struct rouge_text){references[i], strlen(references[i])};
    int status = rouge_score(r, &s, (struct rouge_text){said, strlen(said)}, texts, count, e);
    for (int k = 0; k < ROUGE_KINDS && !status; k++) f1[k] = 100 * s.kind[k].f1;
    free(texts);
    return status;
}

static void measure(const struct summary_place *p, const char *metric, const char *unit, const char *position, int64_t writes,
                    const struct interval *v) {
    cell_measure(p->out, &(struct measurement){.split = p->split,
                                               .condition = p->condition,
                                               .metric = metric,
                                               .unit = unit,
                                               .position = position,
                                               .context = p->context,
                                               .writes = writes,
                                               .n = v->n,
                                               .value = v->value,
                                               .standard_error = v->standard_error,
                                               .low = v->low,
                                               .high = v->high});
}

/* Of means of F1 x 100. */
static double overall(const double *mean) { return rouge_overall(mean[ROUGE_1], mean[ROUGE_2], mean[ROUGE_L]); }

void summary_rouge(const struct summary_place *p, const char *prefix, const double *f1, int64_t n, int kinds) {
    struct interval v[ROUGE_KINDS + 1];
    char name[48];
    bootstrap_means(v, f1, n, ROUGE_KINDS, overall, BOOTSTRAP_SEED);
    for (int k = 0; k <= kinds; k++) {
        snprintf(name, sizeof name, "%s%s", prefix, k < kinds ? rouge_names[k] : "overall");
        measure(p, name, SUMMARY_UNIT, "all", -1, &v[k < kinds ? k : ROUGE_KINDS]);
    }
}

void summary_ratio(const struct summary_place *p, const char *metric, const char *unit, const char *position, int64_t writes,
                   const double *value, const double *weight, int64_t n) {
    double *kept = xcalloc((size_t)n, sizeof *kept), *by = xcalloc((size_t)n, sizeof *by);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) { /* what weighs nothing is none of the texts that are resampled */
        if (weight && !(weight[i] > 0)) continue;
        kept[count] = value[i];
        by[count++] = weight ? weight[i] : 1;
    }
    if (count) {
        struct interval v = bootstrap_ratio(kept, by, count, BOOTSTRAP_SEED);
        measure(p, metric, unit, position, writes, &v);
    }
    free(kept);
    free(by);
}

double summary_words(const char *text) {
    double n = 0;
    while (*text) {
        while (isspace((unsigned char)*text)) text++;
        n += *text != 0;
        while (*text && !isspace((unsigned char)*text)) text++;
    }
    return n;
}
