/* cli_rouge.c - `infinibench rouge`: ROUGE of texts against references, means with intervals, values of each pair on request.
 *
 * tasks/rouge.c scores, rouge_pairs.c reads; here are arguments, the mean over pairs and how it is shown. */
#include "cli.h"
#include "report_document.h"
#include "rouge_pairs.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 256 /* pairs read and scored together */

/* A pair as a row of numbers; what `overall` is in row[COLUMNS] is of the pair alone and enters no mean. */
enum { CANDIDATE_WORDS = 3 * ROUGE_KINDS, REFERENCE_WORDS, COLUMNS };
struct scored {
    double *rows; /* [n][COLUMNS] */
    int64_t n, size, no_candidate, no_reference;
    struct text_buffer csv;
    bool keep_csv;
};

static void take_scores(struct scored *d, const struct rouge_scores *s, const struct pair *p) {
    if (d->n == d->size) {
        d->size = d->size ? 2 * d->size : BATCH;
        d->rows = xrealloc(d->rows, (size_t)d->size * COLUMNS, sizeof *d->rows);
    }
    double *row = d->rows + d->n++ * COLUMNS;
    for (int i = 0; i < ROUGE_KINDS; i++) {
        row[3 * i] = s->kind[i].precision;
        row[3 * i + 1] = s->kind[i].recall;
        row[3 * i + 2] = s->kind[i].f1;
    }
    row[CANDIDATE_WORDS] = (double)s->candidate_words;
    row[REFERENCE_WORDS] = s->reference_words;
    d->no_candidate += s->candidate_words == 0;
    d->no_reference += s->reference_words == 0;
    if (!d->keep_csv) return;
    buffer_printf(&d->csv, "%lld,%lld,%d,%lld,%.17g", (long long)d->n, (long long)p->line, p->count, (long long)s->candidate_words,
                  s->reference_words);
    for (int i = 0; i < 3 * ROUGE_KINDS; i++) buffer_printf(&d->csv, ",%.17g", row[i]);
    buffer_printf(&d->csv, ",%.17g\n", s->overall);
}

static int score_all(struct pair_reader *r, struct scored *d, bool stem, int threads, struct error *e) {
    struct rouge **scorers = xcalloc((size_t)threads, sizeof *scorers);
    struct pair *pairs = xcalloc(BATCH, sizeof *pairs);
    struct rouge_scores *scores = xcalloc(BATCH, sizeof *scores);
    struct progress progress;
    int64_t n, bad = 0;
    progress_begin(&progress, "pairs", 0);
    for (int i = 0; i < threads; i++) scorers[i] = rouge_open(stem);
    while (!bad && (n = pairs_next(r, pairs, BATCH, e)) != 0) {
        if (n < 0) {
            bad = -1;
            break;
        }
        bad = pairs_score(r, scorers, threads, pairs, n, scores, e);
        for (int64_t i = 0; i < n && !bad; i++) take_scores(d, &scores[i], &pairs[i]);
        pairs_drop(pairs, n);
        progress_update(&progress, d->n, NULL);
    }
    progress_end(&progress);
    for (int i = 0; i < threads; i++) rouge_close(scorers[i]);
    free(scorers);
    free(pairs);
    free(scores);
    return (int)bad;
}

static double overall_of(const double *mean) {
    return rouge_overall(mean[3 * ROUGE_1 + 2], mean[3 * ROUGE_2 + 2], mean[3 * ROUGE_L + 2]);
}

static void print_means(const struct scored *d, uint64_t seed, bool stem) {
    static const char *const heads[] = {"<score", "precision", "recall", "F1", "words", "reference words"};
    struct interval mean[COLUMNS + 1];
    struct table t = {.heads = heads, .columns = 6};
    bootstrap_means(mean, d->rows, d->n, COLUMNS, overall_of, seed);
    for (int i = 0; i <= ROUGE_KINDS; i++) {
        table_cell(&t, "%s", i < ROUGE_KINDS ? rouge_names[i] : "overall");
        for (int k = 0; k < 3; k++) {
            if (i < ROUGE_KINDS)
                table_cell(&t, "%s", show_interval(mean[3 * i + k], 4, false));
            else
                table_cell(&t, "%s", k < 2 ? "–" : show_interval(mean[COLUMNS], 4, false));
        }
        table_cell(&t, "%.1f", mean[CANDIDATE_WORDS].value);
        table_cell(&t, "%.1f", mean[REFERENCE_WORDS].value);
    }
    printf("%lld pair%s, words %s; overall: geometric mean of the F1 of rouge1, rouge2, rougeL\n", (long long)d->n,
           d->n == 1 ? "" : "s", stem ? "stemmed" : "as they stand");
    if (d->n > 1) printf("in brackets: 95 %%, bootstrap over pairs (10,000 resamples, seed %lld)\n", (long long)seed);
    if (d->no_candidate)
        printf("%lld candidate%s no word in a-z, 0-9: scores 0\n", (long long)d->no_candidate,
               d->no_candidate == 1 ? " has" : "s have");
    if (d->no_reference)
        printf("%lld pair%s no word in any reference: scores 0\n", (long long)d->no_reference,
               d->no_reference == 1 ? " has" : "s have");
    printf("\n");
    table_print(&t, stdout);
    table_free(&t);
}

static void csv_header(struct text_buffer *b) {
    buffer_printf(b, "pair,line,references,candidate_words,reference_words");
    for (int i = 0; i < ROUGE_KINDS; i++)
        buffer_printf(b, ",%s_precision,%s_recall,%s_f1", rouge_names[i], rouge_names[i], rouge_names[i]);
    buffer_printf(b, ",overall\n");
}

/* The reader that the arguments ask for. */
static struct pair_reader *open_pairs(const struct arguments *a, struct error *e) {
    const char *candidate = flag_value(a, "candidate"), *reference = flag_value(a, "reference"), *jsonl = flag_value(a, "jsonl");
    const char *candidate_key = flag_value(a, "candidate-key"), *reference_key = flag_value(a, "reference-key");
    const char *paths[10] = {candidate, reference};
    int count = 2;
    if (jsonl && (candidate || reference || flag_value(a, "lines") || a->count))
        fail(e, "--jsonl names both texts by keys; it does not go with --candidate, --reference or --lines");
    else if (jsonl)
        return pairs_open_jsonl(jsonl, candidate_key ? candidate_key : "prediction", reference_key ? reference_key : "summary", e);
    else if (!candidate || !reference)
        fail(e, "rouge needs --candidate FILE and --reference FILE, or --jsonl FILE; usage: infinibench " ROUGE_USAGE);
    else if (candidate_key || reference_key)
        fail(e, "--candidate-key and --reference-key go with --jsonl");
    else {
        for (int i = 0; i < a->count; i++) paths[count++] = a->word[i];
        return pairs_open_texts(paths, count, flag_value(a, "lines") != NULL, e);
    }
    return NULL;
}

int command_rouge(int count, char **argv, const struct setting *s, struct error *e) {
    struct flag flags[] = {{"candidate", false, NULL}, {"reference", false, NULL},     {"lines", true, NULL},
                           {"jsonl", false, NULL},     {"candidate-key", false, NULL}, {"reference-key", false, NULL},
                           {"no-stem", true, NULL},    {"csv", false, NULL},           {"seed", false, NULL},
                           {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    int64_t seed;
    if (arguments_read(&a, count, argv, ROUGE_USAGE, 0, 8, e) || flag_int(&a, "seed", 1, 0, &seed, e) ||
        can_write(flag_value(&a, "csv"), "csv", e))
        return -1;
    static const char *const inputs[] = {"jsonl", "candidate", "reference"};
    for (int i = 0; i < 3; i++)
        if (not_input(flag_value(&a, "csv"), "csv", flag_value(&a, inputs[i]), e)) return -1;
    for (int i = 0; i < a.count; i++)
        if (not_input(flag_value(&a, "csv"), "csv", a.word[i], e)) return -1;
    struct pair_reader *r = open_pairs(&a, e);
    if (!r) return -1;
    const char *csv = flag_value(&a, "csv");
    bool stem = !flag_value(&a, "no-stem");
    struct scored d = {.keep_csv = csv != NULL};
    if (csv) csv_header(&d.csv);
    int status = score_all(r, &d, stem, s->threads ? s->threads : omp_get_max_threads(), e);
    if (!status && !d.n) status = fail(e, "%s: no pairs in it; each line should be an object", flag_value(&a, "jsonl"));
    if (!status && csv) status = write_file(csv, d.csv.data, d.csv.n, e);
    if (!status) print_means(&d, (uint64_t)seed, stem);
    pairs_close(r);
    buffer_free(&d.csv);
    free(d.rows);
    return status;
}
