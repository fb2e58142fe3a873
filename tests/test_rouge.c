/* test_rouge.c - ROUGE against values of the Python package (tests/golden/rouge_pairs.jsonl, made by scripts/rouge_golden.py), the
 * stemmer against NLTK's, subsequences against a plain table, properties, memory. Runs in the top folder. */
#include "tasks/rouge_private.h"

#include "harness/csv_io.h"
#include "support/folder.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rouge_text text_of(const char *s) { return (struct rouge_text){s, strlen(s)}; }

static struct rouge_scores score(struct rouge *r, struct rouge_text candidate, const struct rouge_text *references, int count) {
    struct rouge_scores s;
    if (rouge_score(r, &s, candidate, references, count, &e)) fail_msg("%s", e.text);
    return s;
}

static struct rouge_scores score_texts(bool stem, const char *candidate, const char *reference) {
    struct rouge *r = rouge_open(stem);
    struct rouge_text t = text_of(reference);
    struct rouge_scores s = score(r, text_of(candidate), &t, 1);
    rouge_close(r);
    return s;
}

/* ---- against the package ---- */

static void hold(int line, const char *mode, const struct rouge_scores *s, const json_t *values) {
    for (int i = 0; i < 3 * ROUGE_KINDS; i++) {
        const struct rouge_value *v = &s->kind[i / 3];
        double found = i % 3 == 0 ? v->precision : i % 3 == 1 ? v->recall : v->f1;
        double expected = json_real_value(json_array_get(values, (size_t)i));
        if (!(fabs(found - expected) <= 1e-12))
            fail_msg("rouge_pairs.jsonl:%d, %s, value %d of %s: %.17g, the package has %.17g", line, mode, i % 3,
                     rouge_names[i / 3], found, expected);
    }
    double product = s->kind[ROUGE_1].f1 * s->kind[ROUGE_2].f1 * s->kind[ROUGE_L].f1;
    assert_true(fabs(s->overall - pow(product, 1.0 / 3)) <= 1e-12);
}

/* All values, with one scorer for all lines: what it keeps between texts must not show. */
static void golden_pairs(void **state) {
    size_t size;
    char *data = read_file("tests/golden/rouge_pairs.jsonl", &size, &e), *rest = NULL;
    struct rouge *stemmed = rouge_open(true), *plain = rouge_open(false);
    int line = 0, several = 0;
    (void)state;
    assert_non_null(data);
    for (char *row = strtok_r(data, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest)) {
        json_t *j = json_loads(row, JSON_ALLOW_NUL, NULL);
        assert_non_null(j);
        if (line++ == 0) {
            assert_string_equal(json_string_value(json_object_get(json_object_get(j, "versions"), "rouge_score")), "0.1.2");
            json_decref(j);
            continue;
        }
        const json_t *c = json_object_get(j, "candidate"), *list = json_object_get(j, "references");
        const json_t *with = json_object_get(j, "stem"), *without = json_object_get(j, "plain");
        struct rouge_text references[8], candidate = {json_string_value(c), json_string_length(c)};
        int count = (int)json_array_size(list);
        assert_true(count > 0 && count <= 8 && json_array_size(with) == 12);
        several += count > 1;
        for (int i = 0; i < count; i++) {
            const json_t *t = json_array_get(list, (size_t)i);
            references[i] = (struct rouge_text){json_string_value(t), json_string_length(t)};
        }
        struct rouge_scores s = score(stemmed, candidate, references, count), p = score(plain, candidate, references, count);
        hold(line, "stemmed", &s, with);
        hold(line, "plain", &p, without ? without : with);
        json_decref(j);
    }
    assert_true(line > 300 && several > 50);
    rouge_close(stemmed);
    rouge_close(plain);
    free(data);
}

static void stems(void **state) {
    size_t size;
    char *data = read_file("tests/golden/porter_words.txt", &size, &e), *rest = NULL;
    int count = 0;
    (void)state;
    assert_non_null(data);
    for (char *row = strtok_r(data, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest), count++) {
        char word[64], expected[64], found[64];
        assert_int_equal(sscanf(row, "%63s %63s", word, expected), 2);
        memcpy(found, word, sizeof word);
        int64_t n = rouge_stem(found, (int64_t)strlen(word));
        if (n != (int64_t)strlen(expected) || memcmp(found, expected, (size_t)n) != 0)
            fail_msg("%s: '%.*s', NLTK has '%s'", word, (int)n, found, expected);
    }
    assert_true(count > 1900);
    free(data);
}

/* ---- subsequences against a table ---- */

enum { LONGEST = 300 };
static int table[LONGEST + 1][LONGEST + 1];

/* rouge_scorer.py: _lcs_table and _backtrack_norec. */
static int by_table(const int32_t *a, int m, const int32_t *b, int n, bool *hit) {
    for (int i = 1; i <= m; i++)
        for (int j = 1; j <= n; j++) {
            int up = table[i - 1][j], side = table[i][j - 1];
            table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : up > side ? up : side;
        }
    for (int i = m, j = n; i > 0 && j > 0;) {
        if (a[i - 1] == b[j - 1])
            hit[--i] = true, j--;
        else if (table[i][j - 1] > table[i - 1][j])
            j--;
        else
            i--;
    }
    return table[m][n];
}

/* Few different tokens make ties; lengths cross the strips of 64 rows; keep = 0 computes every strip twice. */
static void subsequences(void **state) {
    static const size_t keep[] = {0, 6000, LCS_KEEP};
    static int32_t a[LONGEST], b[LONGEST];
    struct lcs l = {0};
    struct rng r;
    (void)state;
    rng_seed(&r, 3, 1);
    for (int trial = 0; trial < 1500; trial++) {
        int limit = trial % 3 == 0 ? 12 : trial % 3 == 1 ? 70 : LONGEST, tokens = 1 + (int)rng_below(&r, trial % 2 ? 3 : 40);
        int m = (int)rng_below(&r, limit + 1), n = (int)rng_below(&r, limit + 1), sentences = 0, start = 0;
        int64_t end[LONGEST];
        bool expected[LONGEST] = {false}, found[LONGEST];
        for (int i = 0; i < m; i++) a[i] = (int32_t)rng_below(&r, tokens);
        for (int j = 0; j < n; j++) b[j] = (int32_t)rng_below(&r, tokens);
        bool unused[LONGEST] = {false};
        assert_int_equal(lcs_length(&l, tokens, a, m, b, n), by_table(a, m, b, n, unused));
        while (start < n) {
            int length = 1 + (int)rng_below(&r, trial % 5 ? n : 9);
            if (length > n - start) length = n - start;
            by_table(a, m, b + start, length, expected);
            end[sentences++] = start += length;
        }
        for (int k = 0; k < 3; k++) {
            memset(found, 0, sizeof found);
            lcs_union(&l, tokens, a, m, b, end, sentences, found, keep[k]);
            assert_memory_equal(found, expected, sizeof found);
        }
    }
    lcs_free(&l);
}

/* ---- properties ---- */

static char *random_text(struct rng *r, int words, int line) {
    struct text_buffer b = {0};
    buffer_add(&b, "", 0);
    for (int i = 0; i < words; i++)
        buffer_printf(&b, "%s%dings", i == 0 ? "" : line && i % line == 0 ? "\n" : " ", (int)rng_below(r, 30));
    return b.data;
}

static void identity_and_exchange(void **state) {
    struct rng r;
    (void)state;
    rng_seed(&r, 4, 1);
    for (int trial = 0; trial < 100; trial++) {
        int line = (int)rng_below(&r, 20);
        char *a = random_text(&r, 2 + (int)rng_below(&r, 150), line), *b = random_text(&r, (int)rng_below(&r, 150), line);
        struct rouge_scores same = score_texts(true, a, a), ab = score_texts(true, a, b), ba = score_texts(true, b, a);
        for (int i = 0; i < ROUGE_KINDS; i++) {
            const struct rouge_value *v = &same.kind[i];
            assert_true(v->precision == 1 && v->recall == 1 && v->f1 == 1);
            if (i == ROUGE_LSUM) continue; /* the union is taken over the candidate's lines only */
            assert_true(ab.kind[i].precision == ba.kind[i].recall && ab.kind[i].recall == ba.kind[i].precision);
            assert_true(fabs(ab.kind[i].f1 - ba.kind[i].f1) <= 1e-15);
        }
        assert_true(same.overall == 1);
        if (!line) assert_memory_equal(&ab.kind[ROUGE_LSUM], &ab.kind[ROUGE_L], sizeof *ab.kind);
        assert_true(ab.candidate_words == (int64_t)ba.reference_words);
        free(a);
        free(b);
    }
}

static void vectors(void **state) {
    (void)state;
    struct rouge_scores s = score_texts(false, "testing", "testing one two");
    assert_true(s.kind[ROUGE_1].precision == 1 && fabs(s.kind[ROUGE_1].recall - 1.0 / 3) <= 1e-15 && s.kind[ROUGE_2].f1 == 0);
    assert_true(s.candidate_words == 1 && s.reference_words == 3 && s.overall == 0);
    s = score_texts(false, "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5");
    assert_true(fabs(s.kind[ROUGE_LSUM].recall - 0.8) <= 1e-15 && fabs(s.kind[ROUGE_LSUM].precision - 0.4) <= 1e-15);
    /* two references of equal F1, 2/3: the first counts */
    struct rouge_text references[2] = {text_of("a"), text_of("a b c d")};
    struct rouge *r = rouge_open(true);
    assert_true(score(r, text_of("a b"), references, 2).kind[ROUGE_1].precision == 0.5);
    rouge_close(r);
    assert_true(fabs(rouge_overall(0.5, 0.25, 0.125) - 0.25) <= 1e-15);
}

/* Bytes that are not UTF-8 separate, whatever surrounds them; the two letters that lower-casing makes are found all the same. */
static void broken_bytes(void **state) {
    static const struct {
        const char *bytes, *same;
    } cases[] = {{"ab\xff"
                  "cd\x80 e",
                  "ab cd e"},
                 {"\xf0\xc4\xb0x", "i x"},
                 {"\xe2\x84", ""},
                 {"a\xc4", "a"},
                 {"\xe2\xe2\x84\xaa\xaa"
                  "elvin",
                  "k elvin"},
                 {"\xed\xa0\x80surrogate", "surrogate"},
                 {"\xc4\xb0\xc4\xb0", "i i"},
                 {"caf\xe9 latin", "caf latin"}};
    struct rouge *r = rouge_open(true);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rouge_text same = text_of(cases[i].same);
        struct rouge_scores s = score(r, text_of(cases[i].bytes), &same, 1);
        if (s.candidate_words != (int64_t)s.reference_words || (s.candidate_words && s.kind[ROUGE_L].f1 != 1))
            fail_msg("case %zu: %lld words, F1 %g", i, (long long)s.candidate_words, s.kind[ROUGE_L].f1);
    }
    struct rouge_text zeros = {"a\0b\0", 4}, parts = text_of("a b");
    assert_true(score(r, zeros, &parts, 1).kind[ROUGE_2].f1 == 1);
    char *random = xcalloc(5000, 1);
    struct rng g;
    rng_seed(&g, 5, 1);
    for (int k = 0; k < 50; k++) {
        for (int i = 0; i < 5000; i++) random[i] = (char)rng_below(&g, 256);
        struct rouge_text t = {random, 5000};
        assert_true(score(r, t, &t, 1).kind[ROUGE_LSUM].f1 == 1);
    }
    free(random);
    rouge_close(r);
}

/* Two texts of 100,000 words on one line: the table would have 10^10 numbers. */
static void long_texts(void **state) {
    struct rng g;
    (void)state;
    rng_seed(&g, 6, 1);
    char *a = random_text(&g, 100000, 0), *b = random_text(&g, 100000, 0);
    uint64_t before = peak_resident();
    struct rouge_scores s = score_texts(true, a, b), same = score_texts(true, a, a);
    uint64_t grown = peak_resident() - before;
    assert_true(s.kind[ROUGE_LSUM].f1 == s.kind[ROUGE_L].f1 && s.kind[ROUGE_L].f1 > 0.2 && same.kind[ROUGE_LSUM].f1 == 1);
    if (grown > (uint64_t)48 << 20) fail_msg("%.1f MiB", (double)grown / 1048576);
    free(a);
    free(b);
}

static void too_long(void **state) {
    size_t n = 2 * 1100000;
    char *a = xcalloc(n + 1, 1);
    struct rouge *r = rouge_open(true);
    struct rouge_scores s;
    (void)state;
    for (size_t i = 0; i < n; i++) a[i] = i % 2 ? ' ' : 'a';
    struct rouge_text t = {a, n}, few = {a, 200};
    assert_int_equal(rouge_score(r, &s, t, &t, 1, &e), -1);
    assert_says("1100000 words");
    assert_true(score(r, t, &few, 1).kind[ROUGE_L].recall == 1); /* one long text is nothing to refuse */
    /* Lines of a word take as many steps as lines of 64: 700,000 of them against 26,000 words would take minutes. */
    for (size_t i = 1; i < n; i += 2) a[i] = '\n';
    struct rouge_text lines = {a, 1400000}, candidate = {a, 52000};
    assert_int_equal(rouge_score(r, &s, candidate, &lines, 1, &e), -1);
    assert_says("26000 words and a reference of 700000 in 700000 lines are too long");
    few.size = 2; /* one word: what counts is the lines of the reference */
    assert_int_equal(rouge_score(r, &s, lines, &few, 1, &e), 0);
    rouge_close(r);
    free(a);
}

/* More words than are kept between texts: the vocabulary starts anew and nothing moves. */
static void many_words(void **state) {
    struct rouge *r = rouge_open(true);
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct text_buffer b = {0};
        for (int i = 0; i < 600000; i++) buffer_printf(&b, "%xly ", i + k * 600000);
        struct rouge_text t = {b.data, b.n}, first = text_of("hopping 0ly");
        struct rouge_scores s = score(r, first, &t, 1);
        assert_true(s.kind[ROUGE_1].precision == (k == 0 ? 0.5 : 0) && s.reference_words == 600000);
        buffer_free(&b);
    }
    rouge_close(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_pairs), cmocka_unit_test(stems),        cmocka_unit_test(subsequences),
        cmocka_unit_test(vectors),      cmocka_unit_test(broken_bytes), cmocka_unit_test(long_texts),
        cmocka_unit_test(too_long),     cmocka_unit_test(many_words),   cmocka_unit_test(identity_and_exchange)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
