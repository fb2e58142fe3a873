/* passkey_text.c - what the task passkey says: its sentences as tokens, its values, and the haystacks around the needles. Where the
 * needles lie is decided in passkey_prompt.c.
 *
 * The sentences are those of appendix B of the Infini-attention paper (arXiv 2404.07143), its second "There and ack again" spelt
 * like the first. Every piece but the first begins with its space, so that tokens of joined pieces are those of the joined text. */
#include "passkey.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The tokenizer of the task is trained on the strings between these marks (scripts/train_passkey_tokenizer.sh). */
/* sentences begin */
#define INTRODUCTION                                                                                                               \
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the "     \
    "important information there."
#define KEY " The pass key"
#define OF " of the "
#define IS " is"
#define REMEMBER " Remember it."
#define AGAIN " is the pass key"
#define WHAT " What is the pass key"
static const char *const filler[5] = {" The grass is green.", " The sky is blue.", " The sun is yellow.", " Here we go.",
                                      " There and back again."};
static const char *const adjective[16] = {"north", "south",  "east",  "west",  "upper", "lower",  "old",    "new",
                                          "great", "little", "white", "black", "red",   "golden", "hidden", "broken"};
static const char *const noun[16] = {"gate", "tower", "house",  "field", "river", "garden", "bridge", "well",
                                     "road", "wall",  "temple", "city",  "hill",  "valley", "ship",   "market"};
/* sentences end */

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define UNNAMED PASSKEY_NAMES
#define ASKED_NAMES 32      /* of a haystack's shuffled names those that its needles take */
#define LONGEST_SENTENCE 24 /* words; a longer one of a book is cut, so that the budget can be filled */

/* ---- tokens ---- */

static struct stretch encode(const struct tokenizer *t, const char *text) {
    int32_t *tokens;
    int64_t n = t->encode(t, text, strlen(text), &tokens);
    return (struct stretch){tokens, n};
}

/* Encodes a format with the name of number i in it (none if there is none). */
static struct stretch encode_named(const struct tokenizer *t, const char *before, const char *between, const char *after, int i) {
    char name[48] = "", text[256];
    if (i < UNNAMED) snprintf(name, sizeof name, OF "%s %s", adjective[i / 16], noun[i % 16]);
    snprintf(text, sizeof text, "%s%s%s%s%s", before, name, between, *between ? name : "", after);
    return encode(t, text);
}

static int one_token(const struct tokenizer *t, const char *text, int32_t *token) {
    struct stretch s = encode(t, text);
    bool one = s.n == 1;
    *token = one ? s.tokens[0] : -1;
    free((void *)s.tokens);
    return one ? 0 : -1;
}

/* Every symbol is one token, and digits stay apart when they stand together. */
static int encode_symbols(struct passkey_text *x, struct error *e) {
    const struct tokenizer *t = x->tokenizer;
    const char *symbols = x->shape.letters ? LETTERS : DIGITS;
    if (one_token(t, " ", &x->space)) return fail(e, "passkey: the tokenizer %s has no token for a space", t->name);
    for (int i = 0; symbols[i]; i++)
        if (one_token(t, (char[]){symbols[i], 0}, &x->symbol[i]))
            return fail(e, "passkey: the %s '%c' is not one token of %s; values are compared token by token",
                        x->shape.letters ? "letter" : "digit", symbols[i], t->name);
    if (x->shape.letters) return 0; /* given letter by letter, also where the tokenizer would join them */
    struct stretch s = encode(t, " " DIGITS ".");
    bool same = s.n >= 11 && s.tokens[0] == x->space && !memcmp(s.tokens + 1, x->symbol, 10 * sizeof(int32_t));
    free((void *)s.tokens);
    if (same) return 0;
    return fail(e,
                "passkey: %s does not write digits one by one, so values cannot be compared token by token; train it with "
                "scripts/train_tokenizer.sh, which splits digits, or take value = letters",
                t->name);
}

/* ---- books ---- */

static void add_sentence(struct sentences *s, const int32_t *tokens, int64_t n) {
    if (s->n + n > s->room) s->tokens = xrealloc(s->tokens, (size_t)(s->room = 2 * (s->n + n) + 64), sizeof *s->tokens);
    if (s->count == s->end_room) s->end = xrealloc(s->end, (size_t)(s->end_room = 2 * s->end_room + 64), sizeof *s->end);
    memcpy(s->tokens + s->n, tokens, (size_t)n * sizeof *tokens);
    s->end[s->count++] = s->n += n;
}

static void sentences_free(struct sentences *s) {
    free(s->tokens);
    free(s->end);
}

/* Does the word that ends at p end a sentence? */
static bool ends_sentence(const char *word, const char *p) {
    while (p > word && strchr("\"')", p[-1])) p--;
    return p > word && strchr(".!?", p[-1]);
}

/* Cuts a text into sentences: white space becomes single blanks, a sentence ends after . ! or ? or with its 24th word. */
static void add_text(struct sentences *s, const struct tokenizer *t, const char *text) {
    size_t room = 256, used = 0;
    char *line = xcalloc(room, 1);
    int words = 0;
    for (const char *p = text; *p;) {
        while (isspace((unsigned char)*p)) p++;
        const char *word = p;
        while (*p && !isspace((unsigned char)*p)) p++;
        size_t n = (size_t)(p - word);
        if (n) {
            if (used + n + 2 > room) line = xrealloc(line, room = 2 * (used + n + 2), 1);
            line[used++] = ' ';
            memcpy(line + used, word, n);
            used += n;
            words++;
        }
        if (words && (!*p || words == LONGEST_SENTENCE || ends_sentence(word, p))) {
            int32_t *tokens;
            int64_t count = t->encode(t, line, used, &tokens);
            add_sentence(s, tokens, count);
            free(tokens);
            used = 0;
            words = 0;
        }
    }
    free(line);
}

static struct corpus *open_books(const struct passkey_shape *shape, const char *split, struct error *e) {
    char *path = corpus_locate(shape->corpus, e);
    struct corpus *c = path ? corpus_open(path, split, tokenizer_bytes(), (size_t)shape->limit, e) : NULL;
    free(path);
    return c;
}

static int read_books(struct passkey_text *x, struct error *e) {
    struct corpus *c = open_books(&x->shape, x->shape.evaluation ? "test" : "train", e);
    if (!c) return -1;
    for (int i = 0; i < c->count; i++) add_text(&x->book, x->tokenizer, c->texts[i].bytes);
    x->book_hash = c->hash;
    corpus_free(c);
    return x->book.count ? 0 : fail(e, "passkey: the books of %s hold no words", x->shape.corpus);
}

int passkey_book_hash(const struct passkey_shape *shape, uint64_t *hash, struct error *e) {
    /* Every cell of an experiment asks again. */
    static char *known;
    static uint64_t known_hash;
    *hash = 0;
    if (shape->haystack != HAYSTACK_BOOK) return 0;
    char *key = xprintf("%s %lld", shape->corpus, (long long)shape->limit);
    if (!known || strcmp(known, key) != 0) {
        uint64_t both[2];
        for (int i = 0; i < 2; i++) {
            struct corpus *c = open_books(shape, i ? "test" : "train", e);
            if (!c) {
                free(key);
                return -1;
            }
            both[i] = c->hash;
            corpus_free(c);
        }
        free(known);
        known = xstrdup(key);
        known_hash = hash64(both, sizeof both, 0);
    }
    free(key);
    *hash = known_hash;
    return 0;
}

/* ---- the text ---- */

struct passkey_text *passkey_text_open(const struct tokenizer *t, const struct passkey_shape *shape, struct error *e) {
    struct passkey_text *x = xcalloc(1, sizeof *x);
    x->tokenizer = t;
    x->shape = *shape;
    if (encode_symbols(x, e) || (shape->haystack == HAYSTACK_BOOK && read_books(x, e))) {
        passkey_text_free(x);
        return NULL;
    }
    x->shape.corpus = NULL; /* belongs to the options */
    x->introduction = encode(t, INTRODUCTION);
    for (int i = 0; i < 5; i++) x->filler[i] = encode(t, filler[i]);
    x->remember = encode(t, REMEMBER);
    x->stop = encode(t, ".");
    for (int i = 0; i <= PASSKEY_NAMES; i++) {
        x->said[i] = encode_named(t, KEY, "", IS, i);
        x->again[i] = encode_named(t, AGAIN, "", ".", i);
        x->asked[i] = encode_named(t, WHAT, "?" KEY, IS, i);
    }
    return x;
}

void passkey_text_free(struct passkey_text *x) {
    if (!x) return;
    free((void *)x->introduction.tokens);
    for (int i = 0; i < 5; i++) free((void *)x->filler[i].tokens);
    free((void *)x->remember.tokens);
    free((void *)x->stop.tokens);
    for (int i = 0; i <= PASSKEY_NAMES; i++) {
        free((void *)x->said[i].tokens);
        free((void *)x->again[i].tokens);
        free((void *)x->asked[i].tokens);
    }
    sentences_free(&x->book);
    free(x);
}

/* ---- values ---- */

bool passkey_kept(const char *value) { return hash64(value, strlen(value), 0x70617373u) % 8 == 0; }

void passkey_draw_value(const struct passkey_text *x, struct rng *r, char value[PASSKEY_SYMBOLS + 1]) {
    const char *symbols = x->shape.letters ? LETTERS : DIGITS;
    do {
        for (int i = 0; i < x->shape.value_length; i++) value[i] = symbols[rng_below(r, x->shape.letters ? 26 : 10)];
        value[x->shape.value_length] = 0;
    } while (passkey_kept(value) != x->shape.evaluation);
}

/* ---- haystacks ---- */

static void shuffle(int *order, int n, struct rng *r) {
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(r, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* " The pass key of the NAME is VALUE.": what a needle says, with a name nobody asks for. */
static void add_distractor(struct haystack *h, const struct passkey_text *x, struct rng *r) {
    char value[PASSKEY_SYMBOLS + 1];
    int name = h->names[ASKED_NAMES + rng_below(r, PASSKEY_NAMES - ASKED_NAMES)];
    int32_t line[256];
    int64_t n = 0;
    passkey_draw_value(x, r, value);
    CHECK(x->said[name].n + x->stop.n + PASSKEY_SYMBOLS + 1 <= 256, "a distractor of more than 256 tokens");
    for (int64_t i = 0; i < x->said[name].n; i++) line[n++] = x->said[name].tokens[i];
    line[n++] = x->space;
    for (int i = 0; value[i]; i++) line[n++] = x->symbol[value[i] - (x->shape.letters ? 'a' : '0')];
    for (int64_t i = 0; i < x->stop.n; i++) line[n++] = x->stop.tokens[i];
    add_sentence(&h->s, line, n);
}

void haystack_make(struct haystack *h, const struct passkey_text *x, uint64_t stream, int64_t index, int64_t tokens) {
    struct rng r;
    int order[5] = {0, 1, 2, 3, 4};
    rng_seed(&r, x->shape.seed, hash64(&index, sizeof index, stream));
    h->s.n = h->s.count = 0;
    for (int i = 0; i < PASSKEY_NAMES; i++) h->names[i] = i;
    shuffle(h->names, PASSKEY_NAMES, &r);
    if (x->shape.haystack == HAYSTACK_BOOK) {
        const struct sentences *b = &x->book; /* from a sentence drawn at random on; after the last comes the first */
        for (int64_t i = rng_below(&r, b->count); h->s.n < tokens; i = (i + 1) % b->count) {
            int64_t from = i ? b->end[i - 1] : 0;
            add_sentence(&h->s, b->tokens + from, b->end[i] - from);
        }
        return;
    }
    while (h->s.n < tokens) {
        if (x->shape.haystack == HAYSTACK_SHUFFLED) shuffle(order, 5, &r);
        for (int i = 0; i < 5; i++) add_sentence(&h->s, x->filler[order[i]].tokens, x->filler[order[i]].n);
        if (x->shape.haystack == HAYSTACK_DISTRACTORS) add_distractor(h, x, &r);
    }
}

void haystack_free(struct haystack *h) {
    sentences_free(&h->s);
    memset(h, 0, sizeof *h);
}

void passkey_sample(struct passkey_sample *s, const struct passkey_text *x, const struct haystack *h, struct rng *r) {
    int names[ASKED_NAMES];
    memcpy(names, h->names, sizeof names);
    shuffle(names, ASKED_NAMES, r);
    for (int i = 0; i < x->shape.needles; i++) {
        passkey_draw_value(x, r, s->value[i]);
        s->name[i] = x->shape.needles > 1 ? names[i] : UNNAMED;
        s->place[i] = rng_uniform(r);
    }
}
