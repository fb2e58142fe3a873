/* fuzz_tokenizer.c - any bytes as the model of a SentencePiece tokenizer: loading, and, of one that is accepted, that texts come
 * back. It contains the file that it tests, whose loader is not public (tokenizers are never freed there). The library itself is
 * not instrumented; that it takes what it is given is found out by what it hands back. */
#include "fuzz.h"

#include "../../harness/tokenizer_sentencepiece.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "  In the beginning\n\n\xe2\x96\x81\xff 1984 \xc3\xa9t\xc3\xa9\t.";
    struct error e = {""};
    struct data *d = load("input", (const char *)data, size, &e);
    if (!d) {
        fuzz_said(&e);
        return 0;
    }
    const struct tokenizer t = {.name = "fuzz", .vocab = spm_vocab(d->model), .data = d};
    int32_t *tokens;
    size_t n;
    int64_t count = encode(&t, text, sizeof text - 1, &tokens);
    char *back = decode(&t, tokens, count, &n);
    CHECK(n == sizeof text - 1 && !memcmp(back, text, n), "another text came back");
    free(back);
    free(tokens);
    release(d);
    return 0;
}
