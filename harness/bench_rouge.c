/* bench_rouge.c - `infinibench bench rouge`: pairs scored per second, texts in memory, one thread and all.
 *
 * The pairs are those of a JSONL file (keys prediction and summary; scripts/bench_rouge.py compares with the Python package on the
 * same ones) or generated: suffixed words of a fixed frequency law, up to two texts of 100,000 words. */
#include "bench.h"
#include "csv_io.h"
#include "rouge_pairs.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS 5
#define SECONDS 0.2 /* of a repeat, at least */

struct load {
    const char *name;
    int64_t pairs, words, line; /* words of a text and of one of its lines; line 0: all */
};

/* A text of about the words that English has: few of them often, many inflected. */
static char *make_text(struct rng *r, int64_t words, int64_t line) {
    static const char *const endings[] = {"", "", "s", "ed", "ing", "ation", "ly", "ness"};
    struct text_buffer b = {0};
    for (int64_t i = 0; i < words; i++) {
        double u = rng_uniform(r);
        buffer_printf(&b, "%s%llx%s",
                      i == 0                  ? ""
                      : line && i % line == 0 ? ".\n"
                                              : " ",
                      (long long)(20000 * u * u * u) * 7919 + 16, endings[rng_below(r, 8)]);
    }
    return b.data;
}

/* Seconds for all pairs once, at that many threads: the median of some repeats. */
static double measure(const struct pair_reader *r, const struct pair *pairs, int64_t n, int threads, bool stem) {
    struct rouge **scorers = xcalloc((size_t)threads, sizeof *scorers);
    struct rouge_scores *scores = xcalloc((size_t)n, sizeof *scores);
    double times[REPEATS];
    int count = 0;
    for (int i = 0; i < threads; i++) scorers[i] = rouge_open(stem);
    for (int k = 0; k < REPEATS && (k == 0 || times[0] < 1); k++) { /* what takes long is measured once */
        double start = now();
        int64_t rounds = 0;
        do {
            struct error why;
            CHECK(pairs_score(r, scorers, threads, pairs, n, scores, &why) == 0, "%s", why.text);
            rounds++;
        } while (now() - start < SECONDS);
        times[count++] = (now() - start) / (double)rounds;
    }
    for (int i = 0; i < threads; i++) rouge_close(scorers[i]);
    free(scorers);
    free(scores);
    return bench_median(times, count);
}

static void show(FILE *csv, const char *name, const struct pair_reader *r, const struct pair *pairs, int64_t n, int threads) {
    double one = measure(r, pairs, n, 1, true), all = n > 1 && threads > 1 ? measure(r, pairs, n, threads, true) : one;
    printf("  %-44s %8lld %16.4g %16.4g %14.1f\n", name, (long long)n, (double)n / one, (double)n / all,
           (double)peak_resident() / 1048576);
    for (int k = 0; csv && k < 2; k++) {
        struct text_buffer b = {0};
        csv_text(&b, name, ',');
        fprintf(csv, "rouge,%s%d threads,%.3f,0,%.6g,0,pairs\n", b.data, k ? threads : 1, (k ? all : one) / (double)n * 1e6,
                (double)n / (k ? all : one));
        buffer_free(&b);
    }
    fflush(stdout);
}

static void bench_generated(FILE *csv, int threads) {
    static const struct load loads[] = {{"100 words, lines of 20", 512, 100, 20},
                                        {"400 words, lines of 20", 256, 400, 20},
                                        {"1,000 words, one line", 64, 1000, 0},
                                        {"100,000 words, lines of 20", 1, 100000, 20},
                                        {"100,000 words, one line", 1, 100000, 0}};
    struct rng r;
    rng_seed(&r, 1, 0x726f756765);
    for (size_t k = 0; k < sizeof loads / sizeof *loads; k++) {
        const struct load *l = &loads[k];
        struct pair *pairs = xcalloc((size_t)l->pairs, sizeof *pairs);
        struct rouge_text *texts = xcalloc((size_t)l->pairs * 2, sizeof *texts);
        for (int64_t i = 0; i < 2 * l->pairs; i++) {
            char *text = make_text(&r, l->words, l->line);
            texts[i] = (struct rouge_text){text, strlen(text)};
        }
        for (int64_t i = 0; i < l->pairs; i++)
            pairs[i] = (struct pair){.candidate = texts[2 * i], .references = &texts[2 * i + 1], .count = 1, .line = i + 1};
        show(csv, l->name, NULL, pairs, l->pairs, threads);
        for (int64_t i = 0; i < 2 * l->pairs; i++) free((char *)texts[i].bytes);
        free(texts);
        free(pairs);
    }
}

static void print_heading(int threads) {
    char all[32];
    snprintf(all, sizeof all, "%d thread%s", threads, threads == 1 ? "" : "s");
    printf("rouge1, rouge2, rougeL, rougeLsum with stemming, pairs/s\n  %-44s %8s %16s %16s %14s\n", "candidate and reference",
           "pairs", "one thread", all, "peak MiB");
}

static int bench_file(FILE *csv, const char *path, int threads, struct error *e) {
    struct pair_reader *r = pairs_open_jsonl(path, "prediction", "summary", e);
    if (!r) return -1;
    struct pair *pairs = NULL;
    int64_t n = 0, more = 1;
    while (more > 0) {
        pairs = xrealloc(pairs, (size_t)n + 256, sizeof *pairs);
        more = pairs_next(r, pairs + n, 256, e);
        if (more > 0) n += more;
    }
    if (more == 0 && n == 0) more = fail(e, "%s: no pairs in it", path);
    if (more == 0) {
        print_heading(threads);
        show(csv, path, r, pairs, n, threads);
    }
    pairs_drop(pairs, n);
    free(pairs);
    pairs_close(r);
    return (int)more;
}

int bench_rouge(FILE *csv, const char *jsonl, int threads, struct error *e) {
    if (!threads) threads = omp_get_max_threads();
    if (jsonl) return bench_file(csv, jsonl, threads, e);
    print_heading(threads);
    bench_generated(csv, threads);
    return 0;
}
