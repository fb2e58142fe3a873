/* corpus.h - folders of text files (one document a file, split folders train, validation, test as in the PG19 release), the byte
 * tokenizer, and the source that trains on a corpus. */
#ifndef INFINIBENCH_CORPUS_H
#define INFINIBENCH_CORPUS_H

#include "source.h"

#define TOKEN_BOS 0 /* also EOS: byte 0, which may not occur in a corpus */

struct tokenizer {
    char name[32]; /* "bytes" */
    int64_t vocab;
    uint64_t hash; /* part of every checkpoint */
    /* tokens of text[0..n) into a malloc'd array; number of tokens returned */
    int64_t (*encode)(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens);
    /* malloc'd text, 0-terminated */
    char *(*decode)(const struct tokenizer *t, const int32_t *tokens, int64_t n, size_t *size);
    void *data;
};
const struct tokenizer *tokenizer_bytes(void);
/* By name ("bytes"); an unknown one is an error that names the nearest. */
const struct tokenizer *tokenizer_open(const char *name, struct error *e);

struct text {
    char *name; /* file name without folder */
    char *bytes;
    size_t size;   /* bytes */
    int64_t words; /* of the original text: runs of non-white-space */
    int32_t *tokens;
    int64_t n; /* tokens */
};
struct corpus {
    char *path;
    char split[16];
    struct text *texts; /* sorted by file name */
    int count;
    int64_t tokens, words;
    size_t bytes;
    uint64_t hash; /* over names and contents */
};
/* Reads PATH/SPLIT/ (all regular files but *.csv and hidden ones). Errors name the file: missing or empty folder, empty file, byte
 * 0, not UTF-8 (with the offset). limit > 0: only the first `limit` bytes of each file, cut at a UTF-8 boundary. */
struct corpus *corpus_open(const char *path, const char *split, const struct tokenizer *t, size_t limit, struct error *e);
void corpus_free(struct corpus *c);
/* Resolves a corpus name of an experiment: "kjv" -> build/data/kjv (or share folder), "pg19", "math" -> $INFINIBENCH_DATA/NAME or
 * ../shared/data/NAME; a path with a slash is taken as it is. malloc'd; says what to run when it is missing. */
char *corpus_locate(const char *name, struct error *e);
/* Training source: whole documents in a seeded order, reshuffled every epoch; each call gives the next document of the shared order
 * to the row that asks. The corpus must outlive it. */
struct source *corpus_source(const struct corpus *c, uint64_t seed);

#endif
