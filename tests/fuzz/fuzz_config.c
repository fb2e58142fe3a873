/* fuzz_config.c - any text as the configuration and as the data cursor in a checkpoint's metadata: what is accepted must have sizes
 * that can be planned with, and be read back from its own text form. */
#include "fuzz.h"

#include "harness/checkpoint.h"

static void next(struct source *s, int64_t row, struct document *d) {
    static const int32_t tokens[] = {1, 2, 3, 4, 5};
    (void)s, (void)row;
    *d = (struct document){.tokens = tokens, .n = 5, .carried = -1};
}
static char *save(const struct source *s) { return (void)s, xstrdup("here"); }
static int load(struct source *s, const char *text, struct error *e) {
    (void)s;
    return strcmp(text, "here") ? fail(e, "'%.20s' is no cursor", text) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct model_config c, again;
    struct error e = {""};
    char *text = xcalloc(size + 1, 1);
    memcpy(text, data, size);
    if (config_parse(&c, text, &e))
        fuzz_said(&e);
    else {
        char *form = config_text(&c);
        CHECK(config_parse(&again, form, &e) == 0, "%s: %s", form, e.text);
        free(form);
        struct model *plan = model_create(&c, NULL, 0, &e);
        if (plan) {
            fuzz_touch(&plan->elements, sizeof plan->elements);
            for (int64_t context = 1; context < INT64_MAX / 32; context *= 32) {
                int64_t carried = model_carried(&c, context);
                fuzz_touch(&carried, sizeof carried);
            }
        } else
            fuzz_said(&e);
        model_free(plan);
    }
    struct source s = {.name = "fuzz", .next = next, .save = save, .load = load};
    struct batcher *b = batcher_create(&s, 2, 2, 3);
    struct batch x;
    if (batcher_load(b, text, &e)) fuzz_said(&e);
    batcher_next(b, &x);
    fuzz_touch(x.tokens, 12 * sizeof *x.tokens);
    batcher_free(b);
    free(text);
    return 0;
}
