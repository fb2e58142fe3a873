/* summarize.h - the parts of the task summarize: books with summaries out of a JSONL file, training on them. */
#ifndef INFINIBENCH_SUMMARIZE_H
#define INFINIBENCH_SUMMARIZE_H

#include "harness/generate.h"
#include "summary.h"

#define SUMMARIZE_LINE 67108864 /* bytes of a line of JSONL */

#define BOOK_ID 80 /* bytes of an id: with the budget before it the name of a sample */

struct book {
    char *id, *text;
    char **summaries;
    int count; /* of summaries, >= 1; text and summaries have a word (summary_words) or more */
};
struct books {
    char *path; /* of the JSONL file */
    struct book *book;
    int count;
    uint64_t hash; /* over ids, texts and summaries */
};
/* FOLDER/SPLIT.jsonl of a corpus (corpus_locate). A line is an object:
 *   id, or bid and source (BookSum); text or book, or a file of it: text_file, path or book_path; summary or summaries (list), or a
 *   file of one: summary_path (BookSum: JSON whose "summary" is a list of paragraphs or a string; else plain text).
 * Files are looked for below the folder and the one above it; leading folders of their paths that are not there are left out. limit
 * > 0: only the first bytes of each text. Errors name file, line and key. */
struct books *books_open(const char *corpus, const char *split, int64_t limit, struct error *e);
void books_free(struct books *b);
/* Hash of the bytes of a split; the file is read. */
int books_hash(const char *corpus, const char *split, int64_t limit, uint64_t *hash, struct error *e);

extern const struct option summarize_options[];
/* The marker of the options ("\n" written as \n) as tokens; malloc'd. */
int64_t summarize_marker(const struct options *o, const struct tokenizer *t, int32_t **tokens);
struct source *summarize_source(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e);

#endif
