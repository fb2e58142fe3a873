/* recall_text.c - see recall_text.h. */
#include "recall_text.h"
#include "folder.h"

#include <stdlib.h>
#include <string.h>

int recall_set(struct options *o, const char *text) {
    options_init(o, recall_options);
    char *copy = xstrdup(text);
    int status = 0;
    for (char *word = strtok(copy, " "); word && !status; word = strtok(NULL, " ")) {
        char *equal = strchr(word, '=');
        *equal = 0;
        status = options_set(o, word, equal + 1, "task recall", &e);
    }
    free(copy);
    return status;
}

struct made recall_make(const char *text) {
    struct options o;
    struct made m = {.layout = {0}};
    struct recall_spec s;
    if (recall_set(&o, text) || recall_read(&s, &o, 0, &e) || recall_maker_init(&m.maker, &s, tokenizer_bytes(), &e) ||
        recall_layout_make(&m.layout, &s, s.pairs[0], &e))
        CHECK(false, "%s: %s", text, e.text);
    return m;
}
void recall_unmake(struct made *m) {
    recall_layout_free(&m->layout);
    recall_maker_free(&m->maker);
}
struct recall_sample recall_drawn(const struct made *m, uint64_t seed, bool evaluation) {
    struct recall_sample x = {0};
    struct rng r;
    rng_seed(&r, seed, 7);
    recall_draw(&m->maker, &m->layout, &r, evaluation, &x);
    return x;
}
char *recall_text(const struct made *m, const struct recall_sample *x) {
    return tokenizer_bytes()->decode(tokenizer_bytes(), x->tokens, m->layout.tokens, NULL);
}

struct reading *recall_reading(const char *text) {
    struct reading *r = xcalloc(1, sizeof *r);
    for (const char *c = text; *c;) {
        bool asked = *c == '?';
        size_t n = strspn(c + asked, "abcdefghijklmnopqrstuvwxyz");
        size_t v = strspn(c + asked + n, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n && v && c[asked + n + v] == (asked ? '\n' : ' ')) {
            char *out = asked ? r->question[r->questions] : r->pair[r->pairs];
            snprintf(out, 20, "%.*s", (int)(n + v), c + asked);
            if (asked)
                r->question_at[r->questions++] = (int)(c - text);
            else
                r->pair_at[r->pairs++] = (int)(c - text);
            c += asked + n + v + 1;
        } else {
            c++;
        }
    }
    r->length = (int)strlen(text);
    return r;
}

size_t recall_key_size(const char *pair) { return strspn(pair, "abcdefghijklmnopqrstuvwxyz"); }
