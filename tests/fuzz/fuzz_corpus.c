/* fuzz_corpus.c - any bytes as a text of a corpus, whole and cut at a limit (the first byte), and its tokens there and back. */
#include "fuzz.h"

#include "harness/corpus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error e = {""};
    if (!size) return 0;
    const char *path = fuzz_file("", data + 1, size - 1);
    const struct tokenizer *t = tokenizer_bytes();
    for (int i = 0; i < 2; i++) {
        size_t n, limit = i ? data[0] : 0;
        int64_t words = -1;
        char *text = corpus_text(path, limit, &n, &words, &e);
        if (!text) {
            fuzz_said(&e);
            continue;
        }
        CHECK(strlen(text) == n && words >= 0 && words <= (int64_t)n && (!limit || n <= limit), "%zu bytes, %lld words", n,
              (long long)words);
        int32_t *tokens;
        int64_t count = t->encode(t, text, n, &tokens);
        char *back = t->decode(t, tokens, count, NULL);
        CHECK(!strcmp(text, back), "another text came back");
        free(back);
        free(tokens);
        free(text);
    }
    return 0;
}
