/* test_passkey.c - the text of the task passkey: prompts against an independent spelling of them, lengths, places, memory writes,
 * values, haystacks, judging, the training source, the tokenizer, and what is refused. Reading prompts with models:
 * test_passkey_eval.c. */
#include "support/folder.h"
#include "tasks/passkey.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PIECES "sentencepiece:tasks/data/passkey-640.model"
static const char introduction[] =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz "
    "you about the important information there.";
static const char *const period[5] = {" The grass is green.", " The sky is blue.", " The sun is yellow.", " Here we go.",
                                      " There and back again."};

static const struct tokenizer *open_tokenizer(const char *name) {
    const struct tokenizer *t = tokenizer_open(name, &e);
    if (!t) fail_msg("%s", e.text);
    return t;
}
static struct passkey_text *open_text(const struct tokenizer *t, struct passkey_shape shape) {
    if (!shape.value_length) shape.value_length = 5;
    if (!shape.needles) shape.needles = 1;
    struct passkey_text *x = passkey_text_open(t, &shape, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}
static int64_t tokens_of(const struct tokenizer *t, const char *text) {
    int32_t *tokens;
    int64_t n = t->encode(t, text, strlen(text), &tokens);
    free(tokens);
    return n;
}
/* The document as text. */
static char *spell(const struct passkey_text *x, const struct prompt *p, int32_t **tokens) {
    int32_t *all = xcalloc((size_t)p->n, sizeof *all);
    prompt_read(p, 0, p->n, all);
    char *text = x->tokenizer->decode(x->tokenizer, all, p->n, NULL);
    if (tokens)
        *tokens = all;
    else
        free(all);
    return text;
}
/* The writes between needle and question, segment by segment. */
static int64_t count_writes(const struct prompt *p, int64_t n) {
    int64_t writes = 0;
    bool seen = false;
    for (int64_t input = 0; input < p->answer; input++) { /* input i is token i - 1; the answer is predicted at input `answer` */
        if (input == p->needle_end[0]) seen = true;
        if ((input + 1) % n == 0 && seen) writes++;
    }
    return writes;
}

/* The paper's prompt to the letter at every place, as long as whole sentences allow. */
static void test_prompts(void **state) {
    (void)state;
    static const char *const names[] = {"bytes", PIECES};
    for (int k = 0; k < 2; k++) {
        const struct tokenizer *t = open_tokenizer(names[k]);
        struct passkey_text *x = open_text(t, (struct passkey_shape){.evaluation = true});
        struct haystack h = {0};
        struct prompt *p = xcalloc(1, sizeof *p);
        haystack_make(&h, x, 1, 0, 4000);
        int64_t least = passkey_minimum(x);
        for (int64_t length = least; length < least + 1500; length += 37)
            for (int depth = 0; depth <= 10; depth++) {
                struct passkey_sample s;
                struct rng r;
                rng_seed(&r, (uint64_t)length, (uint64_t)depth);
                passkey_sample(&s, x, &h, &r);
                prompt_make(p, x, &h, &s, length, depth / 10.0, false);
                int64_t before = llround(depth / 10.0 * (double)p->sentences);
                char want[8000], needle[200];
                int at = snprintf(want, sizeof want, "%s", introduction), needle_at = 0;
                snprintf(needle, sizeof needle, " The pass key is %s. Remember it. %s is the pass key.", s.value[0], s.value[0]);
                for (int64_t i = 0; i <= p->sentences; i++) {
                    if (i == before) {
                        needle_at = at;
                        at += sprintf(want + at, "%s", needle);
                    }
                    if (i < p->sentences) at += sprintf(want + at, "%s", period[i % 5]);
                }
                at += sprintf(want + at, " What is the pass key? The pass key is ");
                int answer_at = at;
                sprintf(want + at, "%s.", s.value[0]);
                int32_t *tokens, *whole;
                char *got = spell(x, p, &tokens);
                assert_string_equal(got, want);
                int64_t n = t->encode(t, want, strlen(want), &whole);
                assert_int_equal(n, p->n);
                assert_memory_equal(whole, tokens, (size_t)n * sizeof *whole);
                assert_true(n + 1 <= length && n + 1 + tokens_of(t, period[p->sentences % 5]) > length);
                assert_int_equal(n + 1 == length || length > least, 1);
                want[answer_at - 1] = 0; /* the space before the value is a token */
                assert_int_equal(p->answer, tokens_of(t, want) + 1);
                want[needle_at] = 0;
                assert_int_equal(p->needle[0], tokens_of(t, want));
                assert_int_equal(p->needle_end[0], p->needle[0] + tokens_of(t, needle));
                if (depth == 0) assert_int_equal(p->needle[0], tokens_of(t, introduction));
                if (depth == 10) assert_int_equal(p->needle_end[0], p->query);
                for (int64_t segment = 1; segment < 300; segment += 17)
                    assert_int_equal(prompt_writes(p, segment), count_writes(p, segment));
                for (int i = 0; i < 5; i++) {
                    size_t size;
                    char *digit = t->decode(t, tokens + p->answer + i, 1, &size);
                    assert_true(size == 1 && *digit == s.value[0][i]);
                    free(digit);
                }
                int32_t some[7];
                prompt_read(p, p->needle[0] - 3, 7, some);
                assert_memory_equal(some, tokens + p->needle[0] - 3, sizeof some);
                free(got);
                free(tokens);
                free(whole);
            }
        free(p);
        haystack_free(&h);
        passkey_text_free(x);
    }
}

/* One to eight named needles anywhere: all of them are there, the one asked for lies where it should. */
static void test_needles(void **state) {
    (void)state;
    const struct tokenizer *t = open_tokenizer(PIECES);
    for (int needles = 2; needles <= PASSKEY_NEEDLES; needles++)
        for (int letters = 0; letters < 2; letters++) {
            struct passkey_text *x =
                open_text(t, (struct passkey_shape){.needles = needles, .letters = letters, .value_length = 3 + needles});
            struct haystack h = {0};
            struct prompt *p = xcalloc(1, sizeof *p);
            haystack_make(&h, x, 1, 7, 2000);
            for (int i = 0; i < 30; i++) {
                struct passkey_sample s;
                struct rng r;
                rng_seed(&r, (uint64_t)i, 5);
                passkey_sample(&s, x, &h, &r);
                int64_t length = i ? 1000 + i : passkey_minimum(x);
                prompt_make(p, x, &h, &s, length, i % 3 / 2.0, false);
                char *text = spell(x, p, NULL), name[64], line[300];
                assert_true(p->n + 1 <= length && (!i || p->n + 1 + 6 > length));
                for (int j = 0; j < needles; j++) {
                    int32_t first[64];
                    assert_int_equal(strlen(s.value[j]), 3 + needles);
                    for (int k = 0; k < j; k++) assert_int_not_equal(s.name[j], s.name[k]);
                    char *said = t->decode(t, x->said[s.name[j]].tokens, x->said[s.name[j]].n, NULL);
                    assert_int_equal(sscanf(said, " The pass key of the %63[a-z ]", name), 1);
                    name[strlen(name) - 3] = 0; /* " is" */
                    snprintf(line, sizeof line, " The pass key of the %s is %s. Remember it. %s is the pass key of the %s.", name,
                             s.value[j], s.value[j], name);
                    assert_non_null(strstr(text, line));
                    assert_true(p->needle_end[j] - p->needle[j] <= 64);
                    prompt_read(p, p->needle[j], p->needle_end[j] - p->needle[j], first);
                    char *back = t->decode(t, first, p->needle_end[j] - p->needle[j], NULL);
                    assert_string_equal(back, line);
                    snprintf(line, sizeof line, " What is the pass key of the %s? The pass key of the %s is %s.", name, name,
                             s.value[j]);
                    char *end = text + strlen(text) - strlen(line);
                    assert_int_equal(!strcmp(end, line), j == 0);
                    free(back);
                    free(said);
                }
                assert_int_equal(prompt_writes(p, 40), count_writes(p, 40));
                free(text);
            }
            free(p);
            haystack_free(&h);
            passkey_text_free(x);
        }
}

/* Training and evaluation never share a value; the halves are drawn evenly and repeatably. */
static void test_values(void **state) {
    (void)state;
    int kept = 0;
    char value[PASSKEY_SYMBOLS + 1];
    for (int i = 0; i < 100000; i++) {
        snprintf(value, sizeof value, "%05d", i);
        kept += passkey_kept(value);
    }
    assert_true(kept > 12000 && kept < 13000);
    for (int letters = 0; letters < 2; letters++)
        for (int evaluation = 0; evaluation < 2; evaluation++) {
            struct passkey_text *x =
                open_text(tokenizer_bytes(),
                          (struct passkey_shape){.letters = letters, .evaluation = evaluation, .value_length = letters ? 16 : 3});
            struct rng r;
            int seen[128] = {0};
            rng_seed(&r, 3, 1);
            for (int i = 0; i < 4000; i++) {
                passkey_draw_value(x, &r, value);
                assert_int_equal(strlen(value), letters ? 16 : 3);
                assert_int_equal(passkey_kept(value), evaluation);
                for (char *c = value; *c; c++) seen[(int)*c]++;
            }
            for (int c = letters ? 'a' : '0'; c <= (letters ? 'z' : '9'); c++) assert_true(seen[c] > (letters ? 2000 : 700));
            passkey_text_free(x);
        }
}

/* What the haystacks hold; number and stream alone decide. */
static void test_haystacks(void **state) {
    (void)state;
    const struct tokenizer *t = open_tokenizer(PIECES);
    put("books/train/a", "One two three. Four five!\n\nSix \"seven eight?\" nine", 50);
    put("books/test/a", "The end of it all.", 18);
    char *books = in_folder("books");
    for (int kind = HAYSTACK_REPEATED; kind <= HAYSTACK_DISTRACTORS; kind++) {
        struct passkey_text *x = open_text(t, (struct passkey_shape){.haystack = (enum passkey_haystack)kind, .corpus = books});
        struct haystack h = {0}, again = {0}, other = {0};
        haystack_make(&h, x, 1, 5, 3000);
        haystack_make(&again, x, 1, 5, 700);
        haystack_make(&other, x, 1, 6, 3000);
        assert_true(h.s.n >= 3000);
        assert_memory_equal(h.s.tokens, again.s.tokens, 700 * sizeof(int32_t)); /* a longer one begins like a shorter one */
        assert_memory_equal(h.names, again.names, sizeof h.names);
        assert_int_equal(!memcmp(h.s.tokens, other.s.tokens, 700 * sizeof(int32_t)), kind == HAYSTACK_REPEATED);
        int distractors = 0;
        for (int64_t i = 0; i < h.s.count; i++) {
            int64_t from = i ? h.s.end[i - 1] : 0, n = h.s.end[i] - from;
            char *line = t->decode(t, h.s.tokens + from, n, NULL), value[20];
            bool filler = false;
            for (int j = 0; j < 5; j++) filler = filler || !strcmp(line, period[j]);
            if (kind == HAYSTACK_DISTRACTORS && i % 6 == 5) {
                assert_int_equal(sscanf(line, " The pass key of the %*s %*s is %5[0-9].", value), 1);
                assert_false(passkey_kept(value)); /* distractors too are of the half that is drawn from */
                for (int j = 0; j < 32; j++) {     /* their names are never asked for */
                    char *said = t->decode(t, x->said[h.names[j]].tokens, x->said[h.names[j]].n, NULL);
                    assert_int_not_equal(strncmp(line, said, strlen(said)), 0);
                    free(said);
                }
                distractors++;
            } else if (kind == HAYSTACK_BOOK) {
                static const char *const sentences[] = {" One two three.", " Four five!", " Six \"seven eight?\"", " nine"};
                bool known = false;
                for (int j = 0; j < 4; j++) known = known || !strcmp(line, sentences[j]);
                assert_true(known);
            } else
                assert_true(filler);
            free(line);
        }
        assert_int_equal(distractors > 50, kind == HAYSTACK_DISTRACTORS);
        if (kind == HAYSTACK_SHUFFLED) /* each period holds every sentence once */
            for (int64_t i = 0; i + 5 <= h.s.count; i += 5) assert_int_equal(h.s.end[i + 4] - (i ? h.s.end[i - 1] : 0), 24);
        haystack_free(&h);
        haystack_free(&again);
        haystack_free(&other);
        passkey_text_free(x);
    }
    /* Evaluation reads the test split; the hash covers both. */
    struct passkey_text *x = open_text(t, (struct passkey_shape){.haystack = HAYSTACK_BOOK, .corpus = books, .evaluation = true});
    assert_int_equal(x->book.count, 1);
    passkey_text_free(x);
    uint64_t one, two;
    struct passkey_shape shape = {.haystack = HAYSTACK_BOOK, .corpus = books}, shorter = shape;
    shorter.limit = 20;
    assert_int_equal(passkey_book_hash(&shape, &one, &e), 0);
    assert_int_equal(passkey_book_hash(&shorter, &two, &e), 0);
    assert_true(one != two && one);
    shape.haystack = HAYSTACK_SHUFFLED;
    assert_int_equal(passkey_book_hash(&shape, &two, &e), 0);
    assert_true(two == 0);
    free(books);
}

static void test_judging(void **state) {
    (void)state;
    struct passkey_judgement j;
    const int32_t answer[3] = {1, 3, 0};
    float logits[3][4] = {{0, 2, 1, -1}, {1, 0, 0, 1.5f}, {5, 0, 0, 0}};
    double nats = 0;
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) sum += exp((double)logits[i][k]);
        nats += log(sum) - (double)logits[i][answer[i]];
    }
    passkey_judge(&j, &logits[0][0], 4, answer, 3);
    assert_true(j.exact && j.right == 3 && j.until == 3 && fabs(j.nats - nats) < 1e-12);
    logits[1][2] = 2; /* another token is larger: the middle one is wrong, the last right again */
    passkey_judge(&j, &logits[0][0], 4, answer, 3);
    assert_true(!j.exact && j.right == 2 && j.until == 1 && j.said[0] == 1 && j.said[1] == 2 && j.said[2] == 0);
    logits[1][2] = 1.5f; /* a tie goes to the smaller number, here the wrong one */
    passkey_judge(&j, &logits[0][0], 4, answer, 3);
    assert_true(!j.exact && j.right == 2 && j.said[1] == 2);
    logits[1][2] = 0;
    logits[2][0] = NAN; /* a NaN is never right */
    passkey_judge(&j, &logits[0][0], 4, answer, 3);
    assert_true(!j.exact && j.right == 2 && j.until == 2 && j.said[2] == -1 && isnan(j.nats));
    logits[2][0] = 1000; /* large values do not overflow */
    passkey_judge(&j, &logits[0][0], 4, answer, 3);
    assert_true(j.exact && isfinite(j.nats));
    /* The intervals that stand beside it: Wilson, 95 % (infini_attention.md 8.3). */
    static const struct {
        int64_t right, n;
        double low, high;
    } known[] = {{10, 10, 0.722, 1},    {50, 50, 0.929, 1},      {100, 100, 0.963, 1},
                 {500, 500, 0.9924, 1}, {94, 100, 0.875, 0.972}, {0, 20, 0, 0.161}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct interval w = wilson(known[i].right, known[i].n);
        assert_true(fabs(w.low - known[i].low) < 6e-4 && fabs(w.high - known[i].high) < 6e-4);
    }
}

/* ---- training ---- */

static struct source *open_source(const char *const *pairs, const char *tokenizer, uint64_t seed) {
    struct options o;
    options_init(&o, passkey_options);
    for (; *pairs; pairs += 2)
        if (options_set(&o, pairs[0], pairs[1], "test", &e)) return NULL;
    return passkey_source(&o, open_tokenizer(tokenizer), seed, &e);
}
#define SOURCE(seed, ...) open_source((const char *const[]){__VA_ARGS__, NULL}, PIECES, seed)

static void test_source(void **state) {
    (void)state;
    struct source *s = SOURCE(7, "length", "512", "end_share", "0.5", "answer_weight", "2", "carried", "1000");
    assert_non_null(s);
    assert_int_equal(s->filler_n, 24);
    const struct tokenizer *t = open_tokenizer(PIECES);
    char *filler = t->decode(t, s->filler, s->filler_n, NULL);
    assert_string_equal(filler, " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.");
    free(filler);
    int ends = 0, empty = 0, large = 0, early = 0;
    for (int i = 0; i < 400; i++) {
        struct document d;
        char value[20], said[20];
        s->next(s, i % 3, &d);
        assert_int_equal(d.n, 511);
        char *text = t->decode(t, d.tokens, d.n, NULL), *needle = strstr(text, " The pass key is ");
        assert_non_null(needle);
        assert_int_equal(sscanf(needle, " The pass key is %5[0-9].", value), 1);
        assert_false(passkey_kept(value));
        char *last = text + strlen(text) - 6;
        assert_int_equal(sscanf(last, "%5[0-9].", said), 1);
        assert_string_equal(said, value);
        ends += strstr(needle + 40, "The grass is") == NULL && strstr(needle + 40, "again.") == NULL;
        early += needle - text < 700;
        double all = 0, answer = 0;
        for (int64_t k = 0; k < d.n; k++) {
            bool inside = k >= d.n - 6 && k < d.n - 1;
            assert_true(inside ? d.weights[k] > 1 : d.weights[k] == 1);
            all += 1;
            answer += inside ? (double)d.weights[k] - 1 : 0;
        }
        assert_true(fabs(answer / all - 2) < 1e-5);
        assert_true(d.carried == 0 || (d.carried >= 1 && d.carried <= 1000));
        empty += d.carried == 0;
        large += d.carried > 31.6;
        free(text);
    }
    assert_true(ends > 170 && ends < 250 && early > 40);
    assert_true(empty > 70 && empty < 130 && large > 110 &&
                large < 190); /* a quarter; half of the others above the geometric middle */
    s->free(s);
    /* Lengths between two, and nothing carried in. */
    s = SOURCE(7, "length", "1K", "length_min", "200", "haystack", "shuffled", "needles", "2");
    int64_t least = 2000, most = 0;
    for (int i = 0; i < 100; i++) {
        struct document d;
        s->next(s, 0, &d);
        assert_true(d.n + 1 <= 1024 && d.n + 1 > 190 && d.carried < 0);
        least = d.n < least ? d.n : least;
        most = d.n > most ? d.n : most;
    }
    assert_true(least < 260 && most > 800);
    assert_false(source_carries(s));
    s->free(s);
    /* A haystack without a period lends a text that is long enough for what is asked of it. */
    s = SOURCE(7, "length", "1K", "haystack", "shuffled", "carried", "10");
    assert_true(!s->filler && s->text_count == 1 && s->texts[0].n >= 384 * 12);
    struct document lent;
    s->next(s, 0, &lent);
    assert_int_equal(lent.text, 1);
    s->free(s);
}

/* Between whole sentences, or anywhere: then to the token as long as asked for, with what stands around the needle the filler. */
static void test_placement(void **state) {
    (void)state;
    const struct tokenizer *t = open_tokenizer(PIECES);
    for (int anywhere = 0; anywhere < 2; anywhere++) {
        struct source *s = SOURCE(7, "length", "300", "placement", anywhere ? "anywhere" : "sentence");
        int64_t within = 0, seen[300] = {0}, places = 0, shorter = 0;
        for (int i = 0; i < 600; i++) {
            struct document d;
            s->next(s, 0, &d);
            char *text = t->decode(t, d.tokens, d.n, NULL), *needle = strstr(text, " The pass key is "),
                 *query = strstr(text, " What is");
            char *after = strstr(needle, "is the pass key.") + strlen("is the pass key."), haystack[4000];
            int n = snprintf(haystack, sizeof haystack, "%.*s%.*s", (int)(needle - text) - (int)strlen(introduction),
                             text + strlen(introduction), (int)(query - after), after);
            for (int j = 0, k = 0; j < n; k = (k + 1) % 5) /* the periods, the last cut where the prompt is full */
                for (const char *p = period[k]; *p && j < n; p++, j++) assert_int_equal(haystack[j], *p);
            within += needle[-1] != '.';
            shorter += d.n + 1 < 300;
            *needle = 0;
            places += !seen[tokens_of(t, text)]++;
            free(text);
        }
        s->free(s);
        assert_true(anywhere ? within > 300 && places > 180 && shorter == 0 : within == 0 && places < 50 && shorter > 0);
    }
}

/* The same options and seed give the same documents, also from a cursor and through the batcher; others are refused. */
static void test_resume(void **state) {
    (void)state;
    static const char *const haystacks[] = {"repeated", "shuffled", "distractors"};
    for (int k = 0; k < 3; k++) {
        struct source *a = SOURCE(7, "length", "300", "haystack", haystacks[k], "carried", "50"), *b;
        b = SOURCE(7, "length", "300", "haystack", haystacks[k], "carried", "50");
        struct batcher *first = batcher_create(a, 3, 4, 32), *second = batcher_create(b, 3, 4, 32);
        struct batch x, y;
        for (int i = 0; i < 5; i++) batcher_next(first, &x);
        char *saved = batcher_save(first);
        for (int i = 0; i < 2; i++) batcher_next(second, &y); /* it has been elsewhere */
        if (batcher_load(second, saved, &e)) fail_msg("%s", e.text);
        for (int i = 0; i < 7; i++) {
            batcher_next(first, &x);
            batcher_next(second, &y);
            assert_memory_equal(x.tokens, y.tokens, 3 * 4 * 32 * sizeof *x.tokens);
            assert_memory_equal(x.weights, y.weights, 3 * 4 * 32 * sizeof *x.weights);
            assert_memory_equal(x.since, y.since, 3 * 4 * sizeof *x.since);
        }
        free(saved);
        batcher_free(first);
        batcher_free(second);
        struct document d, f;
        char *cursor = a->save(a);
        assert_int_equal(b->load(b, cursor, &e), 0);
        a->next(a, 0, &d);
        b->next(b, 2, &f);
        assert_true(d.n == f.n && d.carried == f.carried);
        assert_memory_equal(d.tokens, f.tokens, (size_t)d.n * sizeof *d.tokens);
        struct source *c = SOURCE(8, "length", "300", "haystack", haystacks[k], "carried", "50");
        assert_int_equal(c->load(c, cursor, &e), -1);
        assert_says("with seed");
        c->next(c, 0, &f);
        assert_true(d.n != f.n || memcmp(d.tokens, f.tokens, (size_t)d.n * sizeof *d.tokens) != 0);
        c->free(c);
        c = SOURCE(7, "length", "301", "haystack", haystacks[k], "carried", "50");
        assert_int_equal(c->load(c, cursor, &e), -1);
        assert_says("other options");
        assert_int_equal(c->load(c, "corpus 1", &e), -1);
        assert_says("none of the task passkey");
        c->free(c);
        free(cursor);
        a->free(a);
        b->free(b);
    }
}

static void test_source_errors(void **state) {
    (void)state;
    assert_null(SOURCE(1, "length", "32K, 64K"));
    assert_says("a training source needs one length");
    assert_null(SOURCE(1, "length", "20"));
    assert_says("below the prompt's minimum of");
    assert_null(SOURCE(1, "length", "120", "needles", "8"));
    assert_says("8 needles of 5 symbols");
    assert_null(SOURCE(1, "length", "500", "length_min", "600"));
    assert_says("length_min = 600 is more than length = 500");
    assert_null(SOURCE(1, "haystack", "boook"));
    assert_says("haystack = 'boook' is unknown; it may be repeated");
    assert_null(SOURCE(1, "needles", "9"));
    assert_says("needles = 9 is out of range");
    assert_null(SOURCE(1, "haystack", "book", "corpus", "./no/such"));
    assert_says("./no/such");
    assert_null(SOURCE(1, "haystack", "book", "corpus", "kjw"));
    assert_says("'kjv'");
}

/* A tokenizer that joins digits. */
static int64_t pairs_encode(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens) {
    (void)t;
    *tokens = xcalloc(n, sizeof **tokens);
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        bool two = i + 1 < n && text[i] >= '0' && text[i] <= '9' && text[i + 1] >= '0' && text[i + 1] <= '9';
        (*tokens)[count++] = two ? 256 + (text[i] - '0') * 10 + text[i + 1] - '0' : (unsigned char)text[i];
        i += two;
    }
    return count;
}

static void test_tokenizers(void **state) {
    (void)state;
    struct tokenizer pairs = *tokenizer_bytes();
    pairs.name = "pairs";
    pairs.encode = pairs_encode;
    struct passkey_shape shape = {.value_length = 5, .needles = 1};
    assert_null(passkey_text_open(&pairs, &shape, &e));
    assert_says("pairs does not write digits one by one");
    shape.letters = true;
    struct passkey_text *x = passkey_text_open(&pairs, &shape, &e);
    assert_non_null(x);
    passkey_text_free(x);
    /* The committed model: every word of the task is a token; so the minimum is that of the words. */
    const struct tokenizer *t = open_tokenizer(PIECES);
    assert_int_equal(t->vocab, 640);
    x = open_text(t, (struct passkey_shape){.needles = 1});
    int64_t filler = 0;
    for (int i = 0; i < 5; i++) filler += x->filler[i].n;
    assert_int_equal(filler, 24);
    assert_int_equal(x->introduction.n, 29);
    for (int i = 0; i < PASSKEY_NAMES; i++) {
        assert_int_equal(x->said[i].n, 8);
        assert_int_equal(x->again[i].n, 9);
        assert_int_equal(x->asked[i].n, 18);
    }
    assert_int_equal(x->said[PASSKEY_NAMES].n + x->again[PASSKEY_NAMES].n + x->asked[PASSKEY_NAMES].n, 4 + 5 + 10);
    assert_int_equal(passkey_minimum(x), 1 + 29 + 4 + 6 + 1 + 3 + 6 + 5 + 10 + 6 + 1);
    passkey_text_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts),   cmocka_unit_test(test_needles),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_haystacks), cmocka_unit_test(test_judging),       cmocka_unit_test(test_source),
        cmocka_unit_test(test_resume),    cmocka_unit_test(test_source_errors), cmocka_unit_test(test_tokenizers),
        cmocka_unit_test(test_placement),
    };
    return cmocka_run_group_tests_name("passkey", tests, folder_setup, folder_teardown);
}
