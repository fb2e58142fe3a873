/* rouge.c - texts to words, words to numbers, numbers to scores (see rouge.h).
 *
 * Follows rouge_score 0.1.2 (tokenize.py, rouge_scorer.py, scoring.py) with split_summaries off; each value is computed by the same
 * operations in the same order. It knows neither files nor corpora: cli_rouge.c and tasks do. */
#include "harness/faults.h"
#include "rouge_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_WORDS ((int64_t)1 << 20) /* beyond these the vocabulary starts anew with the next text */
#define KEPT_BYTES ((size_t)64 << 20)

const char *const rouge_names[ROUGE_KINDS] = {"rouge1", "rouge2", "rougeL", "rougeLsum"};

struct word { /* as it stands in a text, or a stem, or both */
    uint64_t hash, call;
    size_t at; /* in bytes */
    int64_t n;
    int32_t stem;  /* the word that it is counted as; -1: not looked up yet */
    int32_t token; /* its number in the call it was last seen in */
};
struct tokens {
    int32_t *id;
    int64_t *end; /* of each line with a word in it */
    int64_t n, lines, size, line_size;
};
struct bigram {
    uint64_t key;
    int64_t count;
};
struct rouge {
    bool stem;
    struct word *words;
    int32_t *slots; /* number of a word plus 1; 0: free */
    char *bytes;
    int64_t word_count, word_size, slot_count; /* slot_count: a power of two */
    size_t byte_count, byte_size;
    uint64_t call; /* tokens are numbered anew in each call, so that tables by token stay small */
    int64_t token_count;
    char *buffer; /* the word that is being read */
    size_t buffer_size;
    struct tokens candidate, reference;
    int64_t *count; /* by token */
    int64_t count_size;
    struct bigram *bigrams;
    int64_t bigram_size;
    bool *hit;
    int64_t hit_size;
    struct lcs lcs;
};

/* ---- words ---- */

static void forget_words(struct rouge *r) {
    free(r->words);
    free(r->slots);
    free(r->bytes);
    r->words = NULL;
    r->bytes = NULL;
    r->word_count = r->word_size = 0;
    r->byte_count = r->byte_size = 0;
    r->slot_count = 1024;
    r->slots = xcalloc((size_t)r->slot_count, sizeof *r->slots);
}

struct rouge *rouge_open(bool stem) {
    struct rouge *r = xcalloc(1, sizeof *r);
    r->stem = stem && !FAULT(no_stemming);
    forget_words(r);
    return r;
}

void rouge_close(struct rouge *r) {
    if (!r) return;
    free(r->words);
    free(r->slots);
    free(r->bytes);
    free(r->buffer);
    free(r->candidate.id);
    free(r->candidate.end);
    free(r->reference.id);
    free(r->reference.end);
    free(r->count);
    free(r->bigrams);
    free(r->hit);
    lcs_free(&r->lcs);
    free(r);
}

static void more_slots(struct rouge *r) {
    r->slot_count *= 2;
    free(r->slots);
    r->slots = xcalloc((size_t)r->slot_count, sizeof *r->slots);
    for (int64_t i = 0; i < r->word_count; i++) {
        uint64_t s = r->words[i].hash & (uint64_t)(r->slot_count - 1);
        while (r->slots[s]) s = (s + 1) & (uint64_t)(r->slot_count - 1);
        r->slots[s] = (int32_t)i + 1;
    }
}

/* The number of a word, a new one if it was never seen. */
static int32_t find_word(struct rouge *r, const char *c, int64_t n) {
    uint64_t hash = hash64(c, (size_t)n, 0), s = hash & (uint64_t)(r->slot_count - 1);
    for (; r->slots[s]; s = (s + 1) & (uint64_t)(r->slot_count - 1)) {
        const struct word *w = &r->words[r->slots[s] - 1];
        if (w->hash == hash && w->n == n && !memcmp(r->bytes + w->at, c, (size_t)n)) return r->slots[s] - 1;
    }
    if (r->word_count == r->word_size) {
        r->word_size = r->word_size ? 2 * r->word_size : 512;
        r->words = xrealloc(r->words, (size_t)r->word_size, sizeof *r->words);
    }
    if (r->byte_count + (size_t)n > r->byte_size) {
        r->byte_size = 2 * r->byte_size + (size_t)n + 4096;
        r->bytes = xrealloc(r->bytes, r->byte_size, 1);
    }
    CHECK(r->word_count < INT32_MAX / 2, "%lld different words", (long long)r->word_count);
    int32_t number = (int32_t)r->word_count++;
    r->words[number] = (struct word){.hash = hash, .at = r->byte_count, .n = n, .stem = -1};
    memcpy(r->bytes + r->byte_count, c, (size_t)n);
    r->byte_count += (size_t)n;
    r->slots[s] = number + 1;
    if (2 * r->word_count > r->slot_count) more_slots(r);
    return number;
}

/* The number, in this call, of the word in the buffer; it may be overwritten by its stem. */
static int32_t token_of(struct rouge *r, int64_t n) {
    int32_t number = find_word(r, r->buffer, n), stem = r->words[number].stem;
    if (stem < 0) {
        stem = r->stem && n > 3 ? find_word(r, r->buffer, rouge_stem(r->buffer, n)) : number;
        r->words[number].stem = stem;
    }
    struct word *w = &r->words[stem];
    if (w->call != r->call) {
        w->call = r->call;
        w->token = (int32_t)r->token_count++;
    }
    return w->token;
}

/* ---- texts ---- */

/* [a-z0-9] of the lower-cased byte; 0: separates words. */
static char letter(unsigned char c) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return (char)c;
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : 0;
}

/* The two characters beyond ASCII of which Python's lower() makes ASCII letters: U+0130 (an i and a dot, which separates) and the
 * Kelvin sign. Their first bytes never continue another character, so they are found in broken UTF-8 just as a decoder would. */
static char foreign_letter(const unsigned char *c, size_t left, size_t *used) {
    if (left >= 2 && c[0] == 0xc4 && c[1] == 0xb0) return *used = 2, 'i';
    if (left >= 3 && c[0] == 0xe2 && c[1] == 0x84 && c[2] == 0xaa) return *used = 3, 'k';
    return 0;
}

static void add_token(struct tokens *t, int32_t id) {
    if (t->n == t->size) {
        t->size = t->size ? 2 * t->size : 256;
        t->id = xrealloc(t->id, (size_t)t->size, sizeof *t->id);
    }
    t->id[t->n++] = id;
}

static void end_line(struct tokens *t) {
    if (t->n == (t->lines ? t->end[t->lines - 1] : 0)) return; /* no words: it cannot score */
    if (t->lines == t->line_size) {
        t->line_size = t->line_size ? 2 * t->line_size : 64;
        t->end = xrealloc(t->end, (size_t)t->line_size, sizeof *t->end);
    }
    t->end[t->lines++] = t->n;
}

static void read_text(struct rouge *r, struct rouge_text text, struct tokens *t) {
    const unsigned char *c = (const unsigned char *)text.bytes;
    int64_t n = 0;
    t->n = t->lines = 0;
    for (size_t i = 0; i < text.size;) {
        size_t used = 1;
        char x = letter(c[i]);
        bool dotted = false;
        if (c[i] >= 0x80) {
            x = foreign_letter(c + i, text.size - i, &used);
            dotted = x == 'i';
        }
        if (x) {
            if ((size_t)n == r->buffer_size) {
                r->buffer_size = 2 * r->buffer_size + 64;
                r->buffer = xrealloc(r->buffer, r->buffer_size, 1);
            }
            r->buffer[n++] = x;
        }
        if (n && (!x || dotted)) {
            add_token(t, token_of(r, n));
            n = 0;
        }
        if (c[i] == '\n') end_line(t);
        i += used;
    }
    if (n) add_token(t, token_of(r, n));
    end_line(t);
}

/* ---- scores ---- */

/* rouge_score's scoring.fmeasure of counts; the caller sees to it that neither is of nothing. */
static struct rouge_value value_of(int64_t hits, int64_t candidate, int64_t reference) {
    struct rouge_value v = {.precision = (double)hits / (double)candidate, .recall = (double)hits / (double)reference};
    if (v.precision + v.recall > 0) v.f1 = 2 * v.precision * v.recall / (v.precision + v.recall);
    return v;
}

static void count_tokens(int64_t *count, const struct tokens *t) {
    for (int64_t i = 0; i < t->n; i++) count[t->id[i]]++;
}

static void clear_tokens(int64_t *count, const struct tokens *t) {
    for (int64_t i = 0; i < t->n; i++) count[t->id[i]] = 0;
}

/* Each token of the reference takes one of the candidate: the sum of the smaller counts. */
static int64_t common_tokens(struct rouge *r) {
    int64_t hits = 0;
    count_tokens(r->count, &r->candidate);
    for (int64_t i = 0; i < r->reference.n; i++)
        if (r->count[r->reference.id[i]] > 0) r->count[r->reference.id[i]]--, hits++;
    clear_tokens(r->count, &r->candidate);
    return hits;
}

/* Where a pair of neighbours is in a table of that size, or the free place where it would be. */
static struct bigram *find_bigram(const struct rouge *r, uint64_t size, uint64_t key) {
    uint64_t at = (key * 0x9E3779B97F4A7C15u) >> 20 & (size - 1);
    while (r->bigrams[at].count && r->bigrams[at].key != key) at = (at + 1) & (size - 1);
    return &r->bigrams[at];
}

static uint64_t bigram_key(const int32_t *id) { return (uint64_t)id[0] << 32 | (uint64_t)id[1]; }

/* The same for pairs of neighbours. The table holds those of the shorter text. An entry that is used up keeps its place: counts are
 * one more than what is left. */
static int64_t common_bigrams(struct rouge *r) {
    const struct tokens *few = &r->candidate, *many = &r->reference;
    int64_t size = 64, hits = 0;
    if (few->n > many->n) few = &r->reference, many = &r->candidate;
    while (size < 2 * few->n) size *= 2;
    if (size > r->bigram_size) {
        r->bigrams = xrealloc(r->bigrams, (size_t)size, sizeof *r->bigrams);
        r->bigram_size = size;
    }
    memset(r->bigrams, 0, (size_t)size * sizeof *r->bigrams);
    for (int64_t i = 1; i < few->n; i++) {
        uint64_t key = bigram_key(few->id + i - 1);
        struct bigram *b = find_bigram(r, (uint64_t)size, key);
        *b = (struct bigram){.key = key, .count = b->count ? b->count + 1 : 2};
    }
    for (int64_t i = 1; i < many->n; i++) {
        struct bigram *b = find_bigram(r, (uint64_t)size, bigram_key(many->id + i - 1));
        if (b->count > 1) b->count--, hits++;
    }
    return hits;
}

/* Pairs of words that the table has, each line of the reference as whole strips of 64 rows: what common_lines really walks. */
static double table_size(const struct tokens *candidate, const struct tokens *reference) {
    int64_t rows = 0;
    for (int64_t s = 0; s < reference->lines; s++) rows += (reference->end[s] - (s ? reference->end[s - 1] : 0) + 63) / 64 * 64;
    return (double)rows * (double)candidate->n;
}

/* Union of the longest common subsequences of each line of the reference with all lines of the candidate; no token counts more
 * often than the candidate has it (nor than the reference: each place there counts once). */
static int64_t common_lines(struct rouge *r) {
    const struct tokens *c = &r->candidate, *t = &r->reference;
    int64_t hits = 0, start = 0;
    count_tokens(r->count, c);
    if (t->n > r->hit_size) {
        r->hit = xrealloc(r->hit, (size_t)t->n, sizeof *r->hit);
        r->hit_size = t->n;
    }
    memset(r->hit, 0, (size_t)t->n * sizeof *r->hit);
    for (int64_t s = 0; s < t->lines; start = t->end[s++]) {
        lcs_union(&r->lcs, r->token_count, t->id + start, t->end[s] - start, c->id, c->end, c->lines, r->hit + start, LCS_KEEP);
        for (int64_t i = start; i < t->end[s]; i++)
            if (r->hit[i] && r->count[t->id[i]] > 0) r->count[t->id[i]]--, hits++;
    }
    clear_tokens(r->count, c);
    return hits;
}

static void score_one(struct rouge *r, struct rouge_value v[ROUGE_KINDS]) {
    const struct tokens *c = &r->candidate, *t = &r->reference;
    memset(v, 0, ROUGE_KINDS * sizeof *v);
    if (!c->n || !t->n) return;
    if (r->token_count > r->count_size) {
        free(r->count);
        r->count_size = 2 * r->token_count;
        r->count = xcalloc((size_t)r->count_size, sizeof *r->count);
    }
    v[ROUGE_1] = value_of(common_tokens(r), c->n, t->n);
    if (c->n > 1 && t->n > 1) v[ROUGE_2] = value_of(common_bigrams(r), c->n - 1, t->n - 1);
    v[ROUGE_L] = value_of(lcs_length(&r->lcs, r->token_count, t->id, t->n, c->id, c->n), c->n, t->n);
    v[ROUGE_LSUM] = value_of(common_lines(r), c->n, t->n);
}

double rouge_overall(double f1_1, double f1_2, double f1_l) { return cbrt(f1_1 * f1_2 * f1_l); }

int rouge_score(struct rouge *r, struct rouge_scores *out, struct rouge_text candidate, const struct rouge_text *references,
                int count, struct error *e) {
    CHECK(count > 0, "%d references", count);
    if (r->word_count > KEPT_WORDS || r->byte_count > KEPT_BYTES) forget_words(r);
    r->call++;
    r->token_count = 0;
    memset(out, 0, sizeof *out);
    read_text(r, candidate, &r->candidate);
    out->candidate_words = r->candidate.n;
    int64_t words = 0;
    for (int k = 0; k < count; k++) {
        struct rouge_value v[ROUGE_KINDS];
        read_text(r, references[k], &r->reference);
        words += r->reference.n;
        if (table_size(&r->candidate, &r->reference) > ROUGE_PAIR_LIMIT)
            return fail(e,
                        "a candidate of %lld words and a reference of %lld in %lld lines are too long for a common subsequence "
                        "(%.0e pairs of words are allowed, a line of the reference counting as whole 64s); cut them",
                        (long long)r->candidate.n, (long long)r->reference.n, (long long)r->reference.lines, ROUGE_PAIR_LIMIT);
        score_one(r, v);
        for (int i = 0; i < ROUGE_KINDS; i++)
            if (k == 0 || v[i].f1 > out->kind[i].f1) out->kind[i] = v[i];
    }
    out->reference_words = (double)words / count;
    out->overall = rouge_overall(out->kind[ROUGE_1].f1, out->kind[ROUGE_2].f1, out->kind[ROUGE_L].f1);
    return 0;
}
