/* fuzz_rouge.c - any bytes as texts of ROUGE: words, stems, sentences. The input is cut in three at its first two bytes of value
 * 255. */
#include "fuzz.h"

#include "tasks/rouge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rouge *scorer[2];
    struct rouge_text t[3];
    struct error e = {""};
    for (int i = 0; i < 2; i++)
        if (!scorer[i]) scorer[i] = rouge_open(i);
    for (int i = 0; i < 3; i++) {
        const uint8_t *cut = i < 2 && size ? memchr(data, 255, size) : NULL;
        t[i] = (struct rouge_text){(const char *)data, cut ? (size_t)(cut - data) : size};
        size -= t[i].size + (cut != NULL);
        data += t[i].size + (cut != NULL);
    }
    for (int i = 0; i < 2; i++) {
        struct rouge_scores s;
        if (rouge_score(scorer[i], &s, t[0], t + 1, 2, &e)) {
            fuzz_said(&e);
            continue;
        }
        for (int k = 0; k < ROUGE_KINDS; k++)
            CHECK(s.kind[k].f1 >= 0 && s.kind[k].f1 <= 1 && s.kind[k].precision <= 1 && s.kind[k].recall <= 1, "%s of %g",
                  rouge_names[k], s.kind[k].f1);
    }
    return 0;
}
