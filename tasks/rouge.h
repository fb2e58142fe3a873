/* rouge.h - ROUGE-1, -2, -L and -Lsum of a text against references, equal to Google's rouge_score 0.1.2 (docs/methods.md).
 *
 * Tokens are what that package sees: runs of [a-z0-9] of the lower-cased text, words of more than three characters stemmed by
 * NLTK's Porter stemmer. Bytes that are not UTF-8 separate words, as Python's errors="replace" has it. Nothing is read from files
 * here. */
#ifndef INFINIBENCH_ROUGE_H
#define INFINIBENCH_ROUGE_H

#include "harness/util.h"

enum rouge_kind { ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM, ROUGE_KINDS };
extern const char *const rouge_names[ROUGE_KINDS]; /* "rouge1" ... "rougeLsum" */

struct rouge_value {
    double precision, recall, f1; /* 0 .. 1; all 0 where candidate or reference has no word */
};
struct rouge_scores {
    struct rouge_value kind[ROUGE_KINDS]; /* each of the reference with the largest F1 of that kind, the first of equal ones */
    double overall;                       /* of this text alone; of a corpus: rouge_overall of the mean F1s */
    int64_t candidate_words;
    double reference_words; /* mean over the references */
};
struct rouge_text {
    const char *bytes; /* any bytes, zeros too */
    size_t size;
};
/* Words and working memory; kept between calls, so that each word is stemmed once. For one thread at a time. */
struct rouge;
struct rouge *rouge_open(bool stem); /* stem: the package's use_stemmer */
void rouge_close(struct rouge *r);   /* NULL: nothing */
/* Scores one candidate against count >= 1 references. Sentences of rougeLsum are lines. Memory is linear in the texts, time is
 * words x words / 64 steps of a few nanoseconds, where each line of the reference counts as whole 64s of words: many short lines
 * cost lines x words. Fails where the product exceeds ROUGE_PAIR_LIMIT, one to two minutes. */
#define ROUGE_PAIR_LIMIT 1e12
int rouge_score(struct rouge *r, struct rouge_scores *out, struct rouge_text candidate, const struct rouge_text *references,
                int count, struct error *e);
/* The geometric mean of the three F1 (SCROLLS, and the BookSum table of the Infini-attention paper). */
double rouge_overall(double f1_1, double f1_2, double f1_l);

#endif
