/* chronicle_text.c - what the task chronicle says: its words and sentences, its narratives, and what a said summary names. The
 * filler is the passkey's. Reading and scoring narratives is in chronicle.c, training on them in chronicle_source.c. */
#include "chronicle.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The tokenizer of the task is trained on the strings between these marks (scripts/train_chronicle_tokenizer.sh). */
/* sentences begin */
#define INTRODUCTION "This is a chronicle of many years. Remember what happened in each of them."
#define MARKER " The chronicle in short:"
#define RUMOUR " It is rumoured that in the %s year the %s of %s found a %s."
#define EVENT " In the %s year the %s of %s found a %s."
static const char *const ordinal[CHRONICLE_EVENTS] = {"first",      "second",     "third",     "fourth",   "fifth",    "sixth",
                                                      "seventh",    "eighth",     "ninth",     "tenth",    "eleventh", "twelfth",
                                                      "thirteenth", "fourteenth", "fifteenth", "sixteenth"};
static const char *const who[CHRONICLE_WORDS] = {"miller",    "baker",    "smith",   "farmer",  "sailor", "soldier",
                                                 "priest",    "doctor",   "teacher", "hunter",  "weaver", "singer",
                                                 "carpenter", "merchant", "painter", "shepherd"};
static const char *const where[CHRONICLE_WORDS] = {"Ashford",  "Milton",  "Norwood",  "Kingston", "Weston",  "Preston",
                                                   "Burton",   "Langley", "Hartford", "Oakham",   "Redhill", "Stanton",
                                                   "Thornton", "Walton",  "Whitby",   "Winford"};
static const char *const what[CHRONICLE_WORDS] = {"ring", "crown", "sword", "lamp",   "book", "coin",  "bell", "map",
                                                  "key",  "cup",   "drum",  "mirror", "rope", "stone", "boat", "flute"};
/* sentences end */

static struct stretch encode(const struct tokenizer *t, const char *text) {
    int32_t *tokens;
    int64_t n = t->encode(t, text, strlen(text), &tokens);
    return (struct stretch){tokens, n};
}

static void say(char out[CHRONICLE_SENTENCE], bool rumour, const struct chronicle_line *l) {
    if (rumour)
        snprintf(out, CHRONICLE_SENTENCE, RUMOUR, ordinal[l->year], who[l->who], where[l->where], what[l->what]);
    else
        snprintf(out, CHRONICLE_SENTENCE, EVENT, ordinal[l->year], who[l->who], where[l->where], what[l->what]);
}

void chronicle_sentence(char out[CHRONICLE_SENTENCE], const struct chronicle_line *l) {
    char spaced[CHRONICLE_SENTENCE];
    say(spaced, false, l);
    snprintf(out, CHRONICLE_SENTENCE, "%s", spaced + 1);
}

char *chronicle_summary(const struct chronicle_line *events, int count) {
    char *out = xcalloc((size_t)count * CHRONICLE_SENTENCE + 1, 1);
    for (int i = 0; i < count; i++) say(out + strlen(out), false, &events[i]);
    return out;
}

/* ---- the text ---- */

/* The number of the word that costs most tokens. */
static int longest(const struct tokenizer *t, const char *const *words, int count) {
    int best = 0;
    int64_t most = 0;
    for (int i = 0; i < count; i++) {
        char word[40];
        snprintf(word, sizeof word, " %s", words[i]);
        struct stretch s = encode(t, word);
        if (s.n > most) most = s.n, best = i;
        free((void *)s.tokens);
    }
    return best;
}

/* Tokens of the longest sentence of its kind: a text's tokens are those of its words together, with every tokenizer. */
static int64_t most_tokens(const struct tokenizer *t, bool rumour) {
    struct chronicle_line l = {longest(t, ordinal, CHRONICLE_EVENTS), longest(t, who, CHRONICLE_WORDS),
                               longest(t, where, CHRONICLE_WORDS), longest(t, what, CHRONICLE_WORDS)};
    char text[CHRONICLE_SENTENCE];
    say(text, rumour, &l);
    struct stretch s = encode(t, text);
    free((void *)s.tokens);
    return s.n;
}

struct chronicle_text *chronicle_text_open(const struct tokenizer *t, const struct chronicle_shape *shape, struct error *e) {
    struct chronicle_text *x = xcalloc(1, sizeof *x);
    x->tokenizer = t;
    x->shape = *shape;
    x->filler = passkey_text_open(t, &shape->filler, e);
    x->introduction = encode(t, INTRODUCTION);
    x->marker = encode(t, MARKER);
    x->event_most = most_tokens(t, false);
    x->rumour_most = most_tokens(t, true);
    int64_t most = x->rumour_most > x->event_most ? x->rumour_most : x->event_most;
    int status = x->filler ? 0 : -1;
    if (!status && most > CHRONICLE_TOKENS)
        status = fail(e, "chronicle: %s makes %" PRId64 " tokens of a sentence; at most %d", t->name, most, CHRONICLE_TOKENS);
    if (!status && shape->segment && most >= shape->segment)
        status = fail(e,
                      "chronicle: a sentence of up to %" PRId64 " tokens (%s) does not fit into a segment of %" PRId64
                      "; take larger segments or segment = 0",
                      most, t->name, shape->segment);
    if (!status) return x;
    chronicle_text_free(x);
    return NULL;
}

void chronicle_text_free(struct chronicle_text *x) {
    if (!x) return;
    passkey_text_free(x->filler);
    free((void *)x->introduction.tokens);
    free((void *)x->marker.tokens);
    free(x);
}

int64_t chronicle_summary_most(const struct chronicle_text *x, int events) { return events * x->event_most; }

bool chronicle_kept(const struct chronicle_line *l) {
    return hash64((const int32_t[3]){l->who, l->where, l->what}, 3 * sizeof(int32_t), 0x6368726fu) % 8 == 0;
}

void chronicle_draw(const struct chronicle_text *x, struct rng *r, struct chronicle_line *l) {
    do {
        l->who = (int)rng_below(r, CHRONICLE_WORDS);
        l->where = (int)rng_below(r, CHRONICLE_WORDS);
        l->what = (int)rng_below(r, CHRONICLE_WORDS);
    } while (chronicle_kept(l) != x->shape.filler.evaluation);
}

/* ---- narratives ---- */

/* An event or a rumour on its way into the narrative. */
struct item {
    int index;
    bool rumour;
    double place; /* 0 .. 1 */
    int64_t n;
};

/* Tokens p .. p + n - 1 are inputs p + 1 .. p + n; where they begin so that no segment cuts them. */
static int64_t not_before(int64_t p, int64_t n, int64_t segment) {
    return segment && (p + 1) / segment != (p + n) / segment ? (p + n) / segment * segment - 1 : p;
}
static int64_t not_after(int64_t p, int64_t n, int64_t segment) {
    return segment && (p + 1) / segment != (p + n) / segment ? (p + n) / segment * segment - 1 - n : p;
}

/* The latest places of all items; returns that of the first, or where it would be (below 0). */
static int64_t latest_places(int64_t *latest, const struct item *items, int count, int64_t n, int64_t segment) {
    for (int i = count - 1; i >= 0; i--) n = latest[i] = not_after(n - items[i].n, items[i].n, segment);
    return n;
}

int chronicle_fits(const struct chronicle_text *x, int64_t length, struct error *e) {
    struct item items[CHRONICLE_EVENTS + CHRONICLE_RUMOURS];
    int64_t latest[CHRONICLE_EVENTS + CHRONICLE_RUMOURS];
    int count = x->shape.events + x->shape.rumours;
    /* Where segments may not cut them it depends on their order: all count as the longest, which is enough for any. */
    int64_t most = x->rumour_most > x->event_most ? x->rumour_most : x->event_most;
    for (int i = 0; i < count; i++)
        items[i].n = x->shape.segment && x->shape.rumours ? most : i < x->shape.events ? x->event_most : x->rumour_most;
    for (int64_t least = length;; least += x->shape.segment ? x->shape.segment : 1) {
        if (latest_places(latest, items, count, least - x->marker.n, x->shape.segment) < x->introduction.n) continue;
        if (least == length) return 0;
        return fail(
            e, "chronicle: length %" PRId64 " is too short for %d events and %d distractors; it takes %" PRId64 " tokens (%s%s)",
            length, x->shape.events, x->shape.rumours, least, x->tokenizer->name,
            x->shape.segment ? ", none cut by a segment" : "");
    }
}

static double draw_place(const struct chronicle_text *x, struct rng *r, int i, int events, int64_t n) {
    double u = rng_uniform(r), low = (double)x->shape.first / 2 / (double)n;
    switch (x->shape.places) {
    case PLACES_EVEN:
        return (i + 0.5) / events;
    case PLACES_LOG:
        return low < 1 ? low * pow(1 / low, (i + u) / events) : u;
    default:
        return u;
    }
}

static void sort_places(double *place, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && place[j] < place[j - 1]; j--) {
            double kept = place[j];
            place[j] = place[j - 1];
            place[j - 1] = kept;
        }
}

/* Draws what happens and where: items in the order of their places, events in the order of their years. */
static int draw_items(struct narrative *v, struct item *items, const struct chronicle_text *x, struct rng *r, int64_t n) {
    const struct chronicle_shape *s = &x->shape;
    double place[CHRONICLE_EVENTS];
    int count = 0;
    v->events = s->filler.evaluation ? s->events : s->events_min + (int)rng_below(r, s->events - s->events_min + 1);
    v->rumours = s->rumours;
    for (int i = 0; i < v->events; i++) {
        v->event[i].year = i;
        chronicle_draw(x, r, &v->event[i]);
        place[i] = draw_place(x, r, i, v->events, n);
    }
    sort_places(place, v->events);
    if (rng_uniform(r) < s->end_share) place[v->events - 1] = 1;
    for (int i = 0; i < v->events; i++) items[count++] = (struct item){.index = i, .place = place[i]};
    for (int i = 0; i < v->rumours; i++) {
        v->rumour[i].year = (int)rng_below(r, s->events);
        chronicle_draw(x, r, &v->rumour[i]);
        struct item rumour = {.index = i, .rumour = true, .place = rng_uniform(r)};
        int j = count++;
        for (; j > 0 && items[j - 1].place > rumour.place; j--) items[j] = items[j - 1];
        items[j] = rumour;
    }
    return count;
}

/* Tokens of whole sentences of the haystack, at most n. */
static int64_t whole_sentences(const struct haystack *h, int64_t n) {
    int64_t low = 0, high = h->s.count;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (h->s.end[middle - 1] <= n)
            low = middle;
        else
            high = middle - 1;
    }
    return low ? h->s.end[low - 1] : 0;
}

static void add(struct narrative *v, struct stretch s) {
    if (s.n) v->stretch[v->count++] = s;
    v->n += s.n;
}

void narrative_make(struct narrative *v, const struct chronicle_text *x, const struct haystack *h, struct rng *r, int64_t n) {
    struct item items[CHRONICLE_EVENTS + CHRONICLE_RUMOURS];
    int64_t latest[CHRONICLE_EVENTS + CHRONICLE_RUMOURS], segment = x->shape.segment, used = 0; /* of the haystack */
    v->count = 0;
    v->n = 0;
    int count = draw_items(v, items, x, r, n);
    for (int i = 0; i < count; i++) {
        char text[CHRONICLE_SENTENCE];
        say(text, items[i].rumour, items[i].rumour ? &v->rumour[items[i].index] : &v->event[items[i].index]);
        struct stretch s = encode(x->tokenizer, text);
        memcpy(v->own[i], s.tokens, (size_t)s.n * sizeof *s.tokens);
        items[i].n = s.n;
        free((void *)s.tokens);
    }
    int64_t first = latest_places(latest, items, count, n, segment);
    CHECK(first >= x->introduction.n && h->s.n >= n, "%" PRId64 " tokens of %" PRId64 " for %d items", n, h->s.n, count);
    add(v, x->introduction);
    for (int i = 0; i <= count; i++) {
        int64_t at = n;
        if (i < count) {
            at = (int64_t)(items[i].place * (double)n);
            if (!x->shape.anywhere) at = v->n - used + whole_sentences(h, at - (v->n - used));
            at = not_before(at > v->n ? at : v->n, items[i].n, segment);
            if (at > latest[i]) at = latest[i];
        }
        int64_t filler = at - v->n;
        add(v, (struct stretch){h->s.tokens + used, filler});
        used += filler;
        if (i == count) break;
        add(v, (struct stretch){v->own[i], items[i].n});
        (items[i].rumour ? v->rumour_at : v->event_at)[items[i].index] = at;
        (items[i].rumour ? v->rumour_end : v->event_end)[items[i].index] = v->n;
    }
}

void narrative_read(const struct narrative *v, int64_t from, int64_t n, int32_t *out) {
    CHECK(from >= 0 && n >= 0 && from + n <= v->n, "tokens %" PRId64 " to %" PRId64 " of a narrative of %" PRId64, from, from + n,
          v->n);
    stretches_read(v->stretch, v->count, from, n, out);
}

int narrative_within(const struct narrative *v, int64_t tokens) {
    int n = 0;
    while (n < v->events && v->event_end[n] <= tokens) n++;
    return n;
}

/* ---- judging ---- */

static int find_word(const char *const *words, int count, const char *word) {
    for (int i = 0; i < count; i++)
        if (!strcmp(words[i], word)) return i;
    return -1;
}

/* A sentence of n bytes without its full stop, as a line; false: it says nothing of that form. */
static bool parse(const char *text, size_t n, struct chronicle_line *l) {
    char copy[CHRONICLE_SENTENCE], word[4][32], again[CHRONICLE_SENTENCE];
    while (n && (*text == ' ' || *text == '\n')) text++, n--;
    if (n + 2 > sizeof copy) return false;
    snprintf(copy, sizeof copy, "%.*s.", (int)n, text);
    if (sscanf(copy, "In the %31s year the %31s of %31s found a %31[a-z]", word[0], word[1], word[2], word[3]) != 4) return false;
    *l = (struct chronicle_line){find_word(ordinal, CHRONICLE_EVENTS, word[0]), find_word(who, CHRONICLE_WORDS, word[1]),
                                 find_word(where, CHRONICLE_WORDS, word[2]), find_word(what, CHRONICLE_WORDS, word[3])};
    if (l->year < 0 || l->who < 0 || l->where < 0 || l->what < 0) return false;
    chronicle_sentence(again, l);
    return !strcmp(copy, again); /* nothing more, nothing less */
}

static bool equal(const struct chronicle_line *a, const struct chronicle_line *b) {
    return a->year == b->year && a->who == b->who && a->where == b->where && a->what == b->what;
}

static void judge_line(struct chronicle_judgement *j, const struct narrative *v, int64_t tokens, const struct chronicle_line *l,
                       bool *asked) {
    bool known = l->year < narrative_within(v, tokens), rumour = false;
    const struct chronicle_line *event = &v->event[l->year];
    if (known && !asked[l->year]) j->words += (l->who == event->who) + (l->where == event->where) + (l->what == event->what);
    asked[l->year] = true;
    if (known && equal(l, event)) {
        j->named += !j->is_named[l->year];
        j->is_named[l->year] = true;
        return;
    }
    j->invented++;
    for (int i = 0; i < v->rumours; i++) rumour = rumour || (v->rumour_end[i] <= tokens && equal(l, &v->rumour[i]));
    j->rumoured += rumour;
}

void chronicle_judge(struct chronicle_judgement *j, const struct narrative *v, int64_t tokens, const char *said) {
    bool asked[CHRONICLE_EVENTS] = {false};
    *j = (struct chronicle_judgement){.named = 0};
    for (const char *stop; (stop = strchr(said, '.')); said = stop + 1) {
        struct chronicle_line l;
        if (parse(said, (size_t)(stop - said), &l))
            judge_line(j, v, tokens, &l, asked);
        else
            j->invented++;
    }
}
