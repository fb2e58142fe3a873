/* tokenizer.c - the byte tokenizer: token = byte, 256 symbols, byte 0 is BOS and EOS (TOKEN_BOS) and may not occur in a text.
 * It also finds a tokenizer by its name. The one that is learnt is in tokenizer_sentencepiece.c. */
#include "corpus.h"

#include <stdlib.h>
#include <string.h>

static int64_t bytes_encode(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens) {
    (void)t;
    *tokens = xcalloc(n, sizeof **tokens);
    for (size_t i = 0; i < n; i++) (*tokens)[i] = (unsigned char)text[i];
    return (int64_t)n;
}

static char *bytes_decode(const struct tokenizer *t, const int32_t *tokens, int64_t n, size_t *size) {
    (void)t;
    char *text = xcalloc((size_t)n + 1, 1);
    for (int64_t i = 0; i < n; i++) text[i] = (char)(unsigned char)tokens[i];
    if (size) *size = (size_t)n;
    return text;
}

const struct tokenizer *tokenizer_bytes(void) {
    /* The hash is that of the name: nothing is learnt. */
    static const struct tokenizer t = {
        .name = "bytes", .vocab = 256, .hash = 0x6279746573323536u, .encode = bytes_encode, .decode = bytes_decode};
    return &t;
}

const struct tokenizer *tokenizer_open(const char *name, struct error *e) {
    static const char *const names[] = {"bytes", "sentencepiece"};
    if (!strcmp(name, "bytes")) return tokenizer_bytes();
    if (!strncmp(name, "sentencepiece:", 14)) return tokenizer_sentencepiece(name, e);
    const char *near = nearest_name(name, names, 2);
    if (near && !strcmp(near, "bytes"))
        fail(e, "unknown tokenizer '%s'; the nearest is 'bytes'", name);
    else
        fail(e, "unknown tokenizer '%s'; %s 'sentencepiece:' with the name or path of a model, e.g. sentencepiece:pg19-4096", name,
             near ? "the nearest is" : "there are 'bytes' and");
    return NULL;
}
