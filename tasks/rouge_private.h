/* rouge_private.h - the parts of ROUGE that only rouge.c and its test know: the stemmer and longest common subsequences. */
#ifndef INFINIBENCH_ROUGE_PRIVATE_H
#define INFINIBENCH_ROUGE_PRIVATE_H

#include "rouge.h"

/* rouge_stem.c: NLTK's Porter stemmer, mode NLTK_EXTENSIONS, of a word of [a-z0-9], in place. Returns the new length, at most n. */
int64_t rouge_stem(char *word, int64_t n);

/* rouge_lcs.c: working memory, zeroed before its first use and freed by lcs_free. Tokens are numbers 0 .. tokens - 1. */
struct lcs {
    uint64_t *mask; /* by token: where it stands in the strip; all 0 between calls */
    uint64_t *carry, *column;
    int64_t *at;
    int64_t mask_size, carry_size, column_size, at_size;
};
void lcs_free(struct lcs *l);
/* Length of the longest common subsequence of a[m] and b[n]. */
int64_t lcs_length(struct lcs *l, int64_t tokens, const int32_t *a, int64_t m, const int32_t *b, int64_t n);
/* For each of the sentences b[end[s-1] .. end[s]) the longest common subsequence with a[m] that rouge_score reads out of its table:
 * sets hit[i] for the positions i of a that are in any of them. end rises; end[sentences-1] is the length of b. keep: bytes that
 * may be spent to keep columns instead of computing them twice (the result does not depend on it). */
#define LCS_KEEP ((size_t)32 << 20)
void lcs_union(struct lcs *l, int64_t tokens, const int32_t *a, int64_t m, const int32_t *b, const int64_t *end, int64_t sentences,
               bool *hit, size_t keep);

#endif
