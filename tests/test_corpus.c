/* test_corpus.c - corpora and their errors, finding them, the order of documents, the layout of batches. The texts are made here;
 * the King James corpus is looked at only where it is prepared. */
#include "harness/corpus.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- corpora ---- */

static struct corpus *open_corpus(const char *name, size_t limit) {
    char *path = xprintf("%s/%s", folder, name);
    struct corpus *c = corpus_open(path, "train", tokenizer_bytes(), limit, &e);
    free(path);
    return c;
}

static void test_corpus(void **state) {
    (void)state;
    put("good/train/b.txt", "two  words\n", 11);
    put("good/train/a.txt", "caf\xc3\xa9\xe2\x80\x83\xf0\x9f\x98\x80 x", 14); /* U+2003 is white space */
    put("good/train/list.csv", "", 0);
    put("good/train/.hidden", "\0", 1);
    put("good/train/folder/x.txt", "not read", 8);
    struct corpus *c = open_corpus("good", 0);
    assert_non_null(c);
    assert_int_equal(c->count, 2);
    assert_string_equal(c->texts[0].name, "a.txt");
    assert_int_equal(c->texts[0].words, 3);
    assert_int_equal(c->texts[1].words, 2);
    assert_int_equal(c->tokens, 25);
    assert_int_equal(c->bytes, 25);
    assert_int_equal(c->texts[0].tokens[3], 0xc3);
    size_t n;
    char *text = tokenizer_bytes()->decode(tokenizer_bytes(), c->texts[0].tokens, c->texts[0].n, &n);
    assert_int_equal(n, 14);
    assert_string_equal(text, c->texts[0].bytes);
    free(text);
    uint64_t hash = c->hash;
    corpus_free(c);
    /* Cuts at a sequence boundary: 4 and 5 bytes end before and after the e with its accent. */
    const size_t limits[] = {3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 100}, kept[] = {3, 3, 5, 5, 5, 8, 8, 8, 12, 13, 14};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        c = open_corpus("good", limits[i]);
        assert_non_null(c);
        assert_int_equal(c->texts[0].size, kept[i]);
        assert_true((c->hash == hash) == (limits[i] >= 14));
        corpus_free(c);
    }
    put("good/train/b.txt", "two words!\n", 11);
    c = open_corpus("good", 0);
    assert_non_null(c);
    assert_true(c->hash != hash);
    corpus_free(c);
}

static void test_corpus_errors(void **state) {
    (void)state;
    assert_null(open_corpus("nowhere", 0));
    assert_says("there is no corpus at");
    put("half/test/a.txt", "x", 1);
    assert_null(open_corpus("half", 0));
    assert_says("has no folder 'train'");
    put("bare/train/x.csv", "x", 1);
    assert_null(open_corpus("bare", 0));
    assert_says("/bare/train holds no text files");
    char *wide = xprintf("wide/train/%096d", 7);
    put(wide, "x", 1);
    assert_null(open_corpus("wide", 0));
    assert_says("is longer than 95 bytes, which samples.csv cannot hold");
    free(wide);
    const struct {
        const char *bytes, *says;
        size_t n;
    } bad[] = {
        {"", "bad.txt is empty", 0},
        {"ab\0cd", "bad.txt holds a byte 0 at offset 2", 5},
        {"ab\xff", "bad.txt is not UTF-8 at offset 2 (byte 0xff)", 3},
        {"a\x80", "offset 1 (byte 0x80)", 2},             /* a continuation without a start */
        {"abc\xc3", "offset 3 (byte 0xc3)", 4},           /* cut off */
        {"\xc0\x80", "offset 0 (byte 0xc0)", 2},          /* overlong 0 */
        {"\xc1\xbf", "offset 0 (byte 0xc1)", 2},          /* overlong, two bytes */
        {"x\xe0\x9f\xbf", "offset 1 (byte 0xe0)", 4},     /* overlong, three */
        {"x\xf0\x8f\xbf\xbf", "offset 1 (byte 0xf0)", 5}, /* overlong, four */
        {"xy\xed\xa0\x80", "offset 2 (byte 0xed)", 5},    /* surrogate D800 */
        {"xy\xed\xbf\xbf", "offset 2 (byte 0xed)", 5},    /* surrogate DFFF */
        {"\xf4\x90\x80\x80", "offset 0 (byte 0xf4)", 4},  /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", "offset 0 (byte 0xf5)", 4},  /* never a start */
        {"\xe2\x82x", "offset 0 (byte 0xe2)", 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("bad/train/bad.txt", bad[i].bytes, bad[i].n);
        assert_null(open_corpus("bad", 0));
        assert_says(bad[i].says);
    }
    const char edges[] = "\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf";
    put("bad/train/bad.txt", edges, sizeof edges - 1);
    struct corpus *c = open_corpus("bad", 0);
    assert_non_null(c);
    corpus_free(c);
}

static void test_names(void **state) {
    (void)state;
    assert_ptr_equal(tokenizer_open("bytes", &e), tokenizer_bytes());
    assert_null(tokenizer_open("byte", &e));
    assert_says("unknown tokenizer 'byte'; the nearest is 'bytes'");
    setenv("INFINIBENCH_DATA", folder, 1);
    put("pg19/train/a.txt", "x", 1);
    char *path = corpus_locate("pg19", &e), *expected = xprintf("%s/pg19", folder);
    assert_string_equal(path, expected);
    free(path);
    path = corpus_locate(expected, &e);
    assert_string_equal(path, expected);
    free(path);
    free(expected);
    assert_null(corpus_locate("pg119", &e));
    assert_says("there is no corpus 'pg119'; the nearest known name is 'pg19'");
    assert_null(corpus_locate("wikipedia", &e));
    assert_says(
        "set INFINIBENCH_DATA to the folder that holds wikipedia, or name a folder by its path, with a / in it: ./wikipedia");
    setenv("INFINIBENCH_DATA", "/nonexistent", 1);
    char *math = corpus_locate("math", &e); /* it is there where ../shared/data is */
    if (!math)
        assert_says("there is no corpus 'math' in ../shared/data nor in /nonexistent; scripts/download_math.sh DIR/math gets it "
                    "(docs/data.md), "
                    "then set INFINIBENCH_DATA to DIR");
    free(math);
    char *books = corpus_locate("booksum", &e); /* the same */
    if (!books) assert_says("scripts/download_booksum.sh DIR/booksum gets its books, not their summaries (docs/data.md)");
    free(books);
    setenv("INFINIBENCH_DATA", folder, 1);
    assert_null(corpus_locate("./none", &e));
    assert_says(
        "there is no corpus at ./none; it should be a folder with train, validation and test (of summaries: with SPLIT.jsonl)");
    unsetenv("INFINIBENCH_DATA");
}

/* ---- sources and batches ---- */

/* A corpus whose tokens name their document and place: token = 1 + (37 document + place) % 255, place part of the check. */
static const int lengths[] = {1, 5, 8, 7, 64, 33, 100, 16, 15, 17};
static void put_counted(void) {
    for (int i = 0; i < 10; i++) {
        char name[48], bytes[128];
        for (int j = 0; j < lengths[i]; j++) bytes[j] = (char)(1 + (37 * i + j) % 120);
        snprintf(name, sizeof name, "count/train/%02d", i);
        put(name, bytes, (size_t)lengths[i]);
    }
}

/* Walks the batches like a model would, checks every promise of source.h, counts the documents that ended per row. */
struct reader {
    int document[8], place[8];
};
static void read_batch(const struct corpus *c, struct reader *r, const struct batch *b, int *finished, const float *doc_weights) {
    double sum = 0, raw = 0;
    int64_t scored = 0;
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t s = 0; s < b->segments; s++) {
            int64_t cell = i * b->segments + s, n = b->n;
            const int32_t *in = b->tokens + cell * n, *out = b->targets + cell * n;
            const float *w = b->weights + cell * n;
            if (r->document[i] < 0) { /* a new document: found by its first tokens */
                assert_int_equal(b->since[cell], 0);
                assert_int_equal(in[0], TOKEN_BOS);
                int found = -1;
                for (int d = 0; d < c->count; d++)
                    if (out[0] == c->texts[d].tokens[0]) found = d;
                assert_true(found >= 0);
                r->document[i] = found;
                r->place[i] = 0;
            }
            const struct text *x = &c->texts[r->document[i]];
            assert_int_equal(b->since[cell], r->place[i]);
            assert_true(r->place[i] % n == 0);
            int64_t left = x->n + 1 - r->place[i];
            assert_int_equal(b->len[cell], left < n ? left : n);
            for (int64_t j = 0; j < n; j++) {
                int64_t p = r->place[i] + j;
                if (j >= b->len[cell]) {
                    assert_int_equal(out[j], -1);
                    assert_true(w[j] == 0 && in[j] >= 0);
                    continue;
                }
                assert_int_equal(in[j], p ? x->tokens[p - 1] : TOKEN_BOS);
                assert_int_equal(out[j], p < x->n ? x->tokens[p] : TOKEN_BOS);
                double weight = doc_weights ? (double)doc_weights[p < x->n ? p : x->n - 1] : 1;
                raw += weight;
                scored += weight > 0;
                assert_true(fabs((double)w[j] * b->weight_sum - weight) < 1e-5);
            }
            for (int64_t j = 0; j < n; j++) sum += (double)w[j];
            r->place[i] += b->len[cell];
            if (r->place[i] == x->n + 1) {
                finished[r->document[i]]++;
                r->document[i] = -1;
            }
        }
    assert_int_equal(b->scored, scored);
    assert_true(fabs(b->weight_sum - raw) < 1e-6 * raw + 1e-12);
    assert_true(raw > 0 ? fabs(sum - 1) < 1e-5 : sum == 0);
}

static void test_batches(void **state) {
    (void)state;
    put_counted();
    struct corpus *c = open_corpus("count", 0);
    assert_non_null(c);
    const int64_t shapes[][3] = {{1, 1, 8}, {3, 4, 8}, {8, 1, 16}, {2, 3, 5}, {4, 2, 128}, {1, 7, 1}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct source *s = corpus_source(c, 11);
        struct batcher *b = batcher_create(s, shapes[k][0], shapes[k][1], shapes[k][2]);
        struct reader r;
        memset(&r, 255, sizeof r);
        int finished[10] = {0}, fewest = 0;
        for (int step = 0; step < 3000 && fewest < 3; step++) {
            struct batch x;
            batcher_next(b, &x);
            read_batch(c, &r, &x, finished, NULL);
            fewest = finished[0];
            for (int i = 1; i < 10; i++) fewest = finished[i] < fewest ? finished[i] : fewest;
        }
        assert_true(fewest >= 3); /* every document comes round in every epoch */
        batcher_free(b);
        s->free(s);
    }
    corpus_free(c);
}

/* One epoch gives each document once; another seed another order; the next epoch another order. */
static void test_order(void **state) {
    (void)state;
    put_counted();
    struct corpus *c = open_corpus("count", 0);
    assert_non_null(c);
    const int32_t *order[3][20];
    for (int k = 0; k < 3; k++) {
        struct source *s = corpus_source(c, k == 2 ? 12 : 11);
        for (int i = 0; i < 20; i++) {
            struct document d;
            s->next(s, k == 1 ? i % 3 : 0, &d); /* who asks does not matter */
            order[k][i] = d.tokens;
            for (int j = i / 10 * 10; j < i; j++) assert_ptr_not_equal(order[k][j], d.tokens);
        }
        s->free(s);
    }
    assert_memory_equal(order[0], order[1], sizeof order[0]);
    assert_true(memcmp(order[0], order[2], sizeof order[0]) != 0);
    assert_true(memcmp(order[0], order[0] + 10, sizeof order[0] / 2) != 0);
    corpus_free(c);
}

/* Stopped at any step and continued from the saved text, the batches are the same. */
static void test_resume(void **state) {
    (void)state;
    put_counted();
    struct corpus *c = open_corpus("count", 0);
    assert_non_null(c);
    struct source *s = corpus_source(c, 5);
    struct batcher *b = batcher_create(s, 3, 2, 8);
    for (int step = 0; step < 60; step++) {
        char *text = batcher_save(b);
        struct source *s2 = corpus_source(c, 5);
        struct batcher *b2 = batcher_create(s2, 3, 2, 8), *b3 = batcher_create(s2, 3, 2, 8);
        struct batch x, y;
        batcher_next(b3, &x); /* a used source is put back as well */
        assert_int_equal(batcher_load(b2, text, &e), 0);
        char *again = batcher_save(b2);
        assert_string_equal(text, again);
        struct batcher *ahead = b2;
        struct source *s4 = corpus_source(c, 5);
        struct batcher *b4 = batcher_create(s4, 3, 2, 8);
        assert_int_equal(batcher_load(b4, text, &e), 0);
        for (int more = 0; more < 20; more++) {
            batcher_next(ahead, &x);
            batcher_next(b4, &y);
            assert_memory_equal(x.tokens, y.tokens, 3 * 2 * 8 * sizeof(int32_t));
            assert_memory_equal(x.since, y.since, 3 * 2 * sizeof(int32_t));
        }
        assert_int_equal(batcher_load(b4, text, &e), 0);
        batcher_next(b, &x);
        batcher_next(b4, &y);
        assert_memory_equal(x.tokens, y.tokens, 3 * 2 * 8 * sizeof(int32_t));
        assert_memory_equal(x.targets, y.targets, 3 * 2 * 8 * sizeof(int32_t));
        assert_memory_equal(x.weights, y.weights, 3 * 2 * 8 * sizeof(float));
        assert_memory_equal(x.since, y.since, 3 * 2 * sizeof(int32_t));
        assert_memory_equal(x.len, y.len, 3 * 2 * sizeof(int32_t));
        free(text);
        free(again);
        batcher_free(b2);
        batcher_free(b3);
        batcher_free(b4);
        s2->free(s2);
        s4->free(s4);
    }
    char *text = batcher_save(b);
    struct batcher *other = batcher_create(s, 3, 2, 16);
    assert_int_equal(batcher_load(other, text, &e), -1);
    assert_says("the checkpoint has batch 3 of 2 segments of 8 tokens, this run 3 of 2 of 16");
    assert_int_equal(batcher_load(b, "{\"source\":", &e), -1);
    assert_says("damaged");
    struct source *seeded = corpus_source(c, 6);
    struct batcher *b5 = batcher_create(seeded, 3, 2, 8);
    assert_int_equal(batcher_load(b5, text, &e), -1);
    assert_says("with seed 5, this run has 6");
    put("count/train/03", "changed", 7);
    struct corpus *changed = open_corpus("count", 0);
    struct source *s6 = corpus_source(changed, 5);
    struct batcher *b6 = batcher_create(s6, 3, 2, 8);
    assert_int_equal(batcher_load(b6, text, &e), -1);
    assert_says("are not those of the checkpoint");
    free(text);
    batcher_free(b);
    batcher_free(other);
    batcher_free(b5);
    batcher_free(b6);
    s->free(s);
    seeded->free(seeded);
    s6->free(s6);
    corpus_free(c);
    corpus_free(changed);
}

/* A source with weights: one document of 20 tokens again and again. */
struct fixed {
    int32_t tokens[20];
    float weights[20];
};
static void fixed_next(struct source *s, int64_t row, struct document *d) {
    (void)row;
    struct fixed *f = s->data;
    *d = (struct document){.tokens = f->tokens, .weights = f->weights, .n = 20, .carried = -1};
}
static char *fixed_save(const struct source *s) { return (void)s, xstrdup("\"quoted\" and \n lines"); }

static void test_weights(void **state) {
    (void)state;
    struct fixed f;
    for (int variant = 0; variant < 2; variant++) {
        for (int i = 0; i < 20; i++) f.tokens[i] = 1 + i, f.weights[i] = variant ? 0 : i < 15 ? 0 : (float)(i - 13);
        struct text text = {.tokens = f.tokens, .n = 20};
        struct corpus c = {.texts = &text, .count = 1};
        struct source s = {.name = "fixed", .next = fixed_next, .save = fixed_save, .data = &f};
        struct batcher *b = batcher_create(&s, 2, 3, 8);
        struct reader r;
        memset(&r, 255, sizeof r);
        int finished[1] = {0};
        for (int i = 0; i < 4; i++) {
            struct batch x;
            batcher_next(b, &x);
            read_batch(&c, &r, &x, finished, f.weights);
            assert_int_equal(x.scored, variant ? 0 : 12);
        }
        assert_int_equal(finished[0], 8);
        char *saved = batcher_save(b);
        assert_non_null(strstr(saved, "quoted"));
        free(saved);
        batcher_free(b);
    }
}

/* The prepared King James text, where it is: 66 books, ASCII, no verse numbers, disjoint splits. */
static void test_kjv(void **state) {
    (void)state;
    char *path = corpus_locate("kjv", &e);
    if (!path) skip();
    const char *const splits[] = {"train", "validation", "test"};
    const int counts[] = {51, 7, 8};
    size_t bytes[3], big[3] = {0};
    for (int i = 0; i < 3; i++) {
        struct corpus *c = corpus_open(path, splits[i], tokenizer_bytes(), 0, &e);
        assert_non_null(c);
        assert_int_equal(c->count, counts[i]);
        bytes[i] = c->bytes;
        for (int j = 0; j < c->count; j++) {
            const struct text *x = &c->texts[j];
            big[i] += x->size > 65536;
            assert_int_equal(x->bytes[x->size - 1], '\n');
            assert_null(strstr(x->bytes, "  "));
            assert_null(strstr(x->bytes, "\n\n\n"));
            for (size_t k = 0; k < x->size; k++) assert_false(x->bytes[k] >= '0' && x->bytes[k] <= '9');
        }
        corpus_free(c);
    }
    double all = (double)(bytes[0] + bytes[1] + bytes[2]);
    for (int i = 1; i < 3; i++) {
        assert_true((double)bytes[i] / all > 0.08 && (double)bytes[i] / all < 0.12);
        assert_true(big[i] >= 3);
    }
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),  cmocka_unit_test(test_corpus_errors), cmocka_unit_test(test_names),
        cmocka_unit_test(test_batches), cmocka_unit_test(test_order),         cmocka_unit_test(test_resume),
        cmocka_unit_test(test_weights), cmocka_unit_test(test_kjv),
    };
    return cmocka_run_group_tests_name("corpus", tests, folder_setup, folder_teardown);
}
