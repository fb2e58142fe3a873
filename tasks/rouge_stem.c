/* rouge_stem.c - the Porter stemmer as NLTK has it (nltk.stem.porter, mode NLTK_EXTENSIONS), which is what rouge_score uses.
 *
 * It is neither Porter's paper nor his own program: irregular forms, "ies" and "ied" of short words, y after a consonant, "alli"
 * before the other rules of step 2, "bli", "fulli" and "logi", and *o of two letters are NLTK's. Easy to get wrong: the first rule
 * whose suffix fits ends its list, whether its condition holds or not; a double l, s or z ends step 1b; digits are consonants. */
#include "rouge_private.h"

#include <string.h>

struct word {
    char *c;
    int64_t n;
};
struct rule {
    const char *suffix, *replacement;
};

static bool is_vowel(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

/* Is letter i a consonant: y is one at the start and after a vowel. */
static bool is_consonant(const char *w, int64_t i) {
    bool turned = false;
    for (; i > 0 && w[i] == 'y'; i--) turned = !turned;
    return is_vowel(w[i]) == turned;
}

/* Porter's m of the first n letters: how often a consonant follows a vowel. */
static int64_t measure(const char *w, int64_t n) {
    int64_t m = 0;
    bool before = true; /* no vowel is before the first letter */
    for (int64_t i = 0; i < n; i++) {
        bool consonant = w[i] == 'y' ? i == 0 || !before : !is_vowel(w[i]);
        m += consonant && !before;
        before = consonant;
    }
    return m;
}

static bool has_vowel(const char *w, int64_t n) {
    for (int64_t i = 0; i < n; i++) /* the first y after a consonant is a vowel, and so is one after another y */
        if (is_vowel(w[i]) || (w[i] == 'y' && i > 0)) return true;
    return false;
}

static bool ends_double_consonant(const char *w, int64_t n) { return n >= 2 && w[n - 1] == w[n - 2] && is_consonant(w, n - 1); }

/* *o: consonant, vowel, consonant other than w, x, y; or, NLTK's, two letters of which the first is a vowel. */
static bool ends_cvc(const char *w, int64_t n) {
    if (n == 2) return !is_consonant(w, 0) && is_consonant(w, 1);
    return n >= 3 && is_consonant(w, n - 3) && !is_consonant(w, n - 2) && is_consonant(w, n - 1) && !strchr("wxy", w[n - 1]);
}

static bool ends_with(const struct word *w, const char *suffix) {
    int64_t k = (int64_t)strlen(suffix);
    return w->n >= k && memcmp(w->c + w->n - k, suffix, (size_t)k) == 0;
}

static void put_end(struct word *w, int64_t stem, const char *replacement) {
    size_t k = strlen(replacement);
    memcpy(w->c + stem, replacement, k);
    w->n = stem + (int64_t)k;
}

/* The first rule whose suffix fits; its replacement is made if the measure of the stem is above least. */
static void apply(struct word *w, const struct rule *rules, int64_t least) {
    for (; rules->suffix; rules++) {
        if (!ends_with(w, rules->suffix)) continue;
        int64_t stem = w->n - (int64_t)strlen(rules->suffix);
        bool holds = measure(w->c, stem) > least;
        if (!strcmp(rules->suffix, "logi")) holds = measure(w->c, w->n - 3) > 0; /* the l counts to the stem: theologi */
        if (!strcmp(rules->suffix, "ion")) holds = holds && (w->c[stem - 1] == 's' || w->c[stem - 1] == 't');
        if (holds) put_end(w, stem, rules->replacement);
        return;
    }
}

static void step1a(struct word *w) {
    if (ends_with(w, "ies"))
        w->n -= w->n == 4 ? 1 : 2; /* dies: die; flies: fli */
    else if (ends_with(w, "sses"))
        w->n -= 2;
    else if (ends_with(w, "s") && !ends_with(w, "ss"))
        w->n -= 1;
}

static void step1b(struct word *w) {
    if (ends_with(w, "ied")) {
        w->n -= w->n == 4 ? 1 : 2; /* died: die; spied: spi */
        return;
    }
    if (ends_with(w, "eed")) {
        if (measure(w->c, w->n - 3) > 0) w->n -= 1;
        return;
    }
    int64_t stem = ends_with(w, "ed") ? w->n - 2 : ends_with(w, "ing") ? w->n - 3 : 0;
    if (!has_vowel(w->c, stem)) return;
    w->n = stem;
    if (ends_with(w, "at") || ends_with(w, "bl") || ends_with(w, "iz"))
        put_end(w, stem, "e");
    else if (ends_double_consonant(w->c, stem))
        w->n -= !strchr("lsz", w->c[stem - 1]);
    else if (measure(w->c, stem) == 1 && ends_cvc(w->c, stem))
        put_end(w, stem, "e");
}

static void step1c(struct word *w) {
    if (ends_with(w, "y") && w->n > 2 && is_consonant(w->c, w->n - 2)) w->c[w->n - 1] = 'i';
}

static void step2(struct word *w) {
    static const struct rule rules[] = {
        {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},   {"izer", "ize"},  {"bli", "ble"},
        {"entli", "ent"},   {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"}, {"ator", "ate"},
        {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"},
        {"biliti", "ble"},  {"fulli", "ful"},   {"logi", "log"},    {NULL, NULL}};
    if (ends_with(w, "alli") && measure(w->c, w->n - 4) > 0) w->n -= 2; /* and once more: rationalli, rational, ration */
    apply(w, rules, 0);
}

static void step3(struct word *w) {
    static const struct rule rules[] = {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
                                        {"ical", "ic"},  {"ful", ""},   {"ness", ""},    {NULL, NULL}};
    apply(w, rules, 0);
}

static void step4(struct word *w) {
    static const struct rule rules[] = {{"al", ""},   {"ance", ""}, {"ence", ""}, {"er", ""},    {"ic", ""},
                                        {"able", ""}, {"ible", ""}, {"ant", ""},  {"ement", ""}, {"ment", ""},
                                        {"ent", ""},  {"ion", ""},  {"ou", ""},   {"ism", ""},   {"ate", ""},
                                        {"iti", ""},  {"ous", ""},  {"ive", ""},  {"ize", ""},   {NULL, NULL}};
    apply(w, rules, 1);
}

static void step5(struct word *w) {
    if (ends_with(w, "e")) {
        int64_t m = measure(w->c, w->n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w->c, w->n - 1))) w->n -= 1;
    }
    if (ends_with(w, "ll") && measure(w->c, w->n - 1) > 1) w->n -= 1;
}

int64_t rouge_stem(char *c, int64_t n) {
    static const struct rule irregular[] = {
        {"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
        {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
        {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
        {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"},
        {NULL, NULL}};
    struct word w = {c, n};
    for (const struct rule *i = irregular; n <= 8 && i->suffix; i++)
        if ((int64_t)strlen(i->suffix) == n && ends_with(&w, i->suffix)) {
            put_end(&w, 0, i->replacement);
            return w.n;
        }
    if (n <= 2) return n;
    step1a(&w);
    step1b(&w);
    step1c(&w);
    step2(&w);
    step3(&w);
    step4(&w);
    step5(&w);
    return w.n;
}
