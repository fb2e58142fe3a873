/* fixed_rouge.c - ROUGE of fixed texts: exact expectations for the regression gate. It needs no model and no file.
 *
 * The texts have what scorers differ in: inflected words, punctuation and numbers, several references, lines, letters beyond
 * ASCII, a candidate that is empty. Their scores were computed once by Google's rouge_score 0.1.2 (tests/golden/rouge_pairs.jsonl
 * holds many more). */
#include "harness/task.h"
#include "rouge.h"

#include <math.h>
#include <string.h>

static const struct metric metrics[] = {{"rouge1", "F1 x 100", 0},    {"rouge2", "F1 x 100", 0},       {"rougeL", "F1 x 100", 0},
                                        {"rougeLsum", "F1 x 100", 0}, {"candidate_words", "words", 0}, {NULL, NULL, 0}};

static const struct option options[] = {
    {"stemmer", OPTION_BOOL, "yes", 0, 0, NULL, "the Porter stemmer, as the tables of the literature"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

static const struct pair {
    const char *name, *candidate, *references[2];
} pairs[] = {
    {"inflected",
     "The kings were running and the organized singers sang relational songs happily.",
     {"A king runs; the organization of singing singers relates a happy song.", NULL}},
    {"references",
     "In the third year the miller of Ashford found a ring in the river.",
     {"In the third year a miller of Ashford finds rings.", "The river gave the miller of Ashford a ring in his 3rd year."}},
    {"lines",
     "The water rose for forty days.\nThe ark was lifted above the earth.\nA dove returned.",
     {"Forty days the waters were rising.\nA dove was returning with a leaf.\nThe ark lifted up.", NULL}},
    {"letters",
     "Caf\303\251 No. 7 co-operates: 12,345 visitors, 3.5% fewer.",
     {"The cafe no 7 cooperated; 12345 visitors (3,5 % fewer)", NULL}},
    {"empty", "", {"Something was said.", NULL}},
};

static void measure(const struct task_run *r, const char *pair, const char *metric, const char *unit, double value) {
    cell_value(r->out,
               &(struct measurement){
                   .split = "fixed", .condition = "", .metric = metric, .unit = unit, .position = pair, .n = 1, .value = value});
}

static struct rouge_text text_of(const char *words) { return (struct rouge_text){words, strlen(words)}; }

static int run(struct task_run *r, struct error *e) {
    struct rouge *scorer = rouge_open(options_bool(r->options, "stemmer"));
    int status = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !status; i++) {
        const struct pair *p = &pairs[i];
        struct rouge_text references[2] = {text_of(p->references[0]), text_of(p->references[1] ? p->references[1] : "")};
        struct rouge_scores s;
        status = rouge_score(scorer, &s, text_of(p->candidate), references, p->references[1] ? 2 : 1, e);
        if (status) break;
        for (int k = 0; k < ROUGE_KINDS; k++) measure(r, p->name, rouge_names[k], "F1 x 100", 100 * s.kind[k].f1);
        measure(r, p->name, "candidate_words", "words", (double)s.candidate_words);
    }
    rouge_close(scorer);
    return status;
}

const struct task task_fixed_rouge = {.name = "fixed_rouge",
                                      .version = 1,
                                      .summary = "ROUGE of fixed texts: exact expectations of the regression gate",
                                      .protocol = "Five pairs of texts that stand in the program; F1 x 100; no model takes part.",
                                      .metrics = metrics,
                                      .options = options,
                                      .run = run};
