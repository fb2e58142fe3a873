/* fuzz_jsonl.c - any bytes as JSONL: pairs for ROUGE with their scores, and books in the layout of BookSum. */
#include "fuzz.h"

#include "harness/rouge_pairs.h"
#include "tasks/summarize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rouge *scorer;
    struct pair pairs[8];
    struct rouge_scores scores[8];
    struct error e = {""};
    if (!scorer) scorer = rouge_open(true);
    const char *folder = fuzz_folder("split.jsonl"), *path = fuzz_file("", data, size);
    struct pair_reader *r = pairs_open_jsonl(path, "summary", "text", &e);
    CHECK(r, "%s", e.text);
    int64_t n;
    while ((n = pairs_next(r, pairs, 8, &e)) > 0) {
        if (pairs_score(r, &scorer, 1, pairs, n, scores, &e))
            fuzz_said(&e);
        else
            fuzz_touch(scores, (size_t)n * sizeof *scores);
        pairs_drop(pairs, n);
    }
    if (n < 0) fuzz_said(&e);
    pairs_close(r);
    struct books *b = books_open(folder, "split", 4096, &e);
    if (!b) fuzz_said(&e);
    for (int i = 0; b && i < b->count; i++) {
        fuzz_touch(b->book[i].text, strlen(b->book[i].text));
        for (int k = 0; k < b->book[i].count; k++) fuzz_touch(b->book[i].summaries[k], strlen(b->book[i].summaries[k]));
    }
    books_free(b);
    return 0;
}
