/* rouge_pairs.h - candidates and references out of text files or a JSONL file, scored over threads. For the command line. */
#ifndef INFINIBENCH_ROUGE_PAIRS_H
#define INFINIBENCH_ROUGE_PAIRS_H

#include "tasks/rouge.h"

struct pair {
    struct rouge_text candidate, *references;
    int count;     /* references, >= 1 */
    int64_t line;  /* in the file, from 1 */
    void *content; /* what the texts lie in; NULL: the reader has them */
};
struct pair_reader;
/* paths[0]: the candidates, the others references, count of them in all. Each file is one text, or with lines one text a line; then
 * all have as many lines. */
struct pair_reader *pairs_open_texts(const char *const *paths, int count, bool lines, struct error *e);
/* Each line an object: the candidate is a string, the reference a string or a list of strings. Blank lines are left out. */
struct pair_reader *pairs_open_jsonl(const char *path, const char *candidate_key, const char *reference_key, struct error *e);
/* The next pairs, at most limit and as many as fit some memory: how many; 0 at the end, -1 with e filled. pairs_drop frees them. */
int64_t pairs_next(struct pair_reader *r, struct pair *pairs, int64_t limit, struct error *e);
void pairs_drop(struct pair *pairs, int64_t n);
void pairs_close(struct pair_reader *r); /* NULL: nothing */

/* scorers: one a thread. An error is that of the first pair that failed, with its file and line. */
int pairs_score(const struct pair_reader *r, struct rouge *const *scorers, int threads, const struct pair *pairs, int64_t n,
                struct rouge_scores *out, struct error *e);

#endif
