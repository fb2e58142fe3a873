/* corpus.h - folders of text files (one document a file, split folders train, validation, test as in the PG19 release), the
 * tokenizers, and the source that trains on a corpus. */
#ifndef INFINIBENCH_CORPUS_H
#define INFINIBENCH_CORPUS_H

#include "source.h"

/* Also EOS. No text gives it: byte 0 may not occur in a corpus; in a SentencePiece model it is the piece <s>. */
#define TOKEN_BOS 0

/* decode(encode(text)) is the text, byte for byte; the texts of single tokens, joined, are the text of all. */
struct tokenizer {
    const char *name; /* "bytes", "sentencepiece:pg19-4096" */
    int64_t vocab;
    uint64_t hash; /* part of every checkpoint */
    /* tokens of text[0..n) into a malloc'd array; number of tokens returned. Not for several threads at once. */
    int64_t (*encode)(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens);
    /* malloc'd text, 0-terminated */
    char *(*decode)(const struct tokenizer *t, const int32_t *tokens, int64_t n, size_t *size);
    void *data;
};
const struct tokenizer *tokenizer_bytes(void);
/* "sentencepiece:NAME" (NAME.model where data_places says, below sentencepiece/) or "sentencepiece:path/to/x.model" (shipped_file).
 * Errors say where it was looked for and which command makes it. The hash is that of the file's contents. */
const struct tokenizer *tokenizer_sentencepiece(const char *name, struct error *e);
/* By name, one of the above; an unknown one is an error that names the nearest. Tokenizers are never freed. */
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
/* Length of the UTF-8 sequence at p (n > 0 bytes left), 0 if there is none: overlong forms, surrogates and values beyond U+10FFFF
 * are none. */
size_t utf8_length(const unsigned char *p, size_t n);
/* One text file, checked as those of a corpus: malloc'd, 0-terminated; words may be NULL. An empty file gives a text of size 0. */
char *corpus_text(const char *path, size_t limit, size_t *size, int64_t *words, struct error *e);
/* Resolves a corpus name of an experiment: "kjv" -> build/data/kjv (or share folder), "pg19", "math", "booksum" ->
 * $INFINIBENCH_DATA/NAME or
 * ../shared/data/NAME; a path with a slash is taken as it is. malloc'd; says what to run when it is missing. */
char *corpus_locate(const char *name, struct error *e);
/* Where data may lie, in the order of preference: $INFINIBENCH_DATA/NAME, then what the project made itself (build/data of the
 * current folder or of the program's build, the installed share folder) or ../shared/data. malloc'd paths; returns how many. */
#define DATA_PLACES 5
int data_places(const char *name, bool made_here, char *places[DATA_PLACES]);
/* A file that comes with the program, by its path in the repository ("tasks/data/x.model"): below the current folder, or below that
 * of the program's build or installation. malloc'd; NULL: it is nowhere. */
char *shipped_file(const char *path);
/* Training source: whole documents in a seeded order, reshuffled every epoch; each call gives the next document of the shared order
 * to the row that asks. The corpus must outlive it. */
struct source *corpus_source(const struct corpus *c, uint64_t seed);

#endif
