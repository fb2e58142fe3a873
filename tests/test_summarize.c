/* test_summarize.c - books out of JSONL files, good and bad; controls by hand; the source; and the task on a small model against
 * reading every text from the start, token by token. */
#include "harness/results.h"
#include "support/engine.h"
#include "support/folder.h"
#include "support/task_runs.h"
#include "tasks/summarize.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

/* ---- books ---- */

static struct books *open_lines(const char *lines, int64_t limit) {
    char *place = in_folder("c");
    put_text("c/test.jsonl", lines);
    struct books *b = books_open(place, "test", limit, &e);
    free(place);
    return b;
}

static void layouts(void **state) {
    (void)state;
    put_text("c/texts/1.txt", "a text in a file, na\xc3\xafve");
    put_text("pg19/train/2.txt", "beside the folder");
    put_text("c/all_chapterized_books/9-chapters/book_clean.txt", "a chapterized book");
    put_text("c/finished_summaries/s/T/overview.txt",
             "{\"name\": \"n\", \"summary\": [\"One.\", \"Two \\u00e9.\"], \"analysis\": []}");
    put_text("c/finished_summaries/g/T/overview.txt", "plain text, no JSON");
    put_text("c/finished_summaries/w/T/overview.txt", "\n{\"summary\": \"One string\"}\n");
    struct books *b = /* with a byte order mark */
        open_lines("\xef\xbb\xbf{\"id\": \"a\", \"text\": \"x\\ny\", \"summary\": \"s\", \"year\": 1, \"more\": null}\n"
                   "\n  \n"
                   "{\"id\": \"b\", \"text_file\": \"texts/1.txt\", \"summary\": \"first of two\", \"summaries\": [\"first of "
                   "two\", \"other\"]}\r\n"
                   "{\"id\": \"c\", \"path\": \"pg19/train/2.txt\", \"summaries\": [\"s\"]}\n"
                   "{\"bid\": \"9\", \"source\": \"s\", \"title\": \"T\", \"summary_path\": "
                   "\"/export/longsum/booksumm/finished_summaries/s/T/overview.txt\", \"book_path\": "
                   "\"/export/longsum/booksumm/all_chapterized_books/9-chapters/book_clean.txt\"}\n"
                   "{\"bid\": \"9\", \"source\": \"g\", \"book\": \"in the line\", \"summary_path\": "
                   "\"finished_summaries/g/T/overview.txt\"}\n"
                   "{\"bid\": \"9\", \"source\": \"w\", \"book\": \"x\", \"summary_path\": "
                   "\"finished_summaries/w/T/overview.txt\"}",
                   0);
    if (!b) fail_msg("%s", e.text);
    static const struct {
        const char *id, *text, *summary;
        int count;
    } want[] = {{"a", "x\ny", "s", 1},
                {"b", "a text in a file, na\xc3\xafve", "first of two", 2},
                {"c", "beside the folder", "s", 1},
                {"9-s", "a chapterized book", "One.\nTwo \xc3\xa9.", 1},
                {"9-g", "in the line", "plain text, no JSON", 1},
                {"9-w", "x", "One string", 1}};
    assert_int_equal(b->count, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(b->book[i].id, want[i].id);
        assert_string_equal(b->book[i].text, want[i].text);
        assert_string_equal(b->book[i].summaries[0], want[i].summary);
        assert_int_equal(b->book[i].count, want[i].count);
    }
    uint64_t hash = b->hash;
    books_free(b);
    b = open_lines("{\"id\": \"a\", \"text\": \"na\\u00efve\", \"summary\": \"s\"}\n{\"id\": \"b\", \"text_file\": "
                   "\"texts/1.txt\", \"summary\": "
                   "\"s\"}\n",
                   3);
    if (!b) fail_msg("%s", e.text);
    assert_string_equal(b->book[0].text, "na"); /* not half a character */
    assert_string_equal(b->book[1].text, "a t");
    assert_true(b->hash != hash);
    books_free(b);
}

static void errors(void **state) {
    (void)state;
    put_text("c/bad.txt", "ok \xff no");
    put_text("c/zero.txt", "");
    put_text("c/cut.json", "{\"name\": \"n\", \"summary\": [\"One.\", \"Tw");
    put_text("c/other.json", "{\"summary\": [\"One.\", 2]}");
    put_text("c/null.json", "{\"summary\": \"a\\u0000b\"}");
    put_text("c/none.json", "{\"analysis\": [\"One.\"]}");
    static const char *const wrong[][2] = {
        {"", "test.jsonl holds no line with a book"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary\": \"s\"}\n{\"id\": \"b\"", "test.jsonl:2: no JSON at byte"},
        {"[1]", "test.jsonl:1: a line should be an object"},
        {"{\"text\": \"x\", \"summary\": \"s\"}", "test.jsonl:1: the key id (or bid) is missing"},
        {"{\"id\": 7, \"text\": \"x\", \"summary\": \"s\"}", "the key id (or bid) is missing or no string"},
        {"{\"id\": \"a\", \"summary\": \"s\"}", "test.jsonl:1: 'a' has no text"},
        {"{\"id\": \"a\", \"text\": \" \\n\", \"summary\": \"s\"}", "test.jsonl:1: the text of 'a' is empty"},
        {"{\"id\": \"a\", \"text_file\": \"none.txt\", \"summary\": \"s\"}",
         "test.jsonl:1: text_file = 'none.txt' is there neither"},
        {"{\"id\": \"a\", \"text_file\": \"bad.txt\", \"summary\": \"s\"}", "bad.txt is not UTF-8 at offset 3"},
        {"{\"id\": \"a\", \"text_file\": \"zero.txt\", \"summary\": \"s\"}", "the text of 'a' is empty"},
        {"{\"id\": \"a\", \"text\": \"x\"}", "test.jsonl:1: 'a' has no reference"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary\": \"  \"}", "test.jsonl:1: summary of 'a' is empty"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summaries\": []}", "'a' has no reference"},
        /* What separates words is no word, whichever of the six it is. */
        {"{\"id\": \"a\", \"text\": \"x\", \"summary\": \"\\f\\u000b\"}",
         "test.jsonl:1: summary of 'a' is empty, there is no word"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summaries\": [\"s\", \"\\u000b\"]}", "a summary in summaries of 'a' is empty"},
        {"{\"id\": \"a\", \"text\": \" \\f\\u000b\\r\", \"summary\": \"s\"}",
         "test.jsonl:1: the text of 'a' is empty, there is no word"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summaries\": [\"s\", \"\"]}", "a summary in summaries of 'a' is empty"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summaries\": [\"s\", 3]}", "summaries[1] of 'a' is no string"},
        {"{\"id\": \"a\", \"text\": \"x\xff\", \"summary\": \"s\"}", "test.jsonl:1: no JSON at byte"},
        {"{\"id\": \"a\", \"text\": \"x\\u0000y\", \"summary\": \"s\"}", "holds \\u0000, a byte 0, which is the end-of-text token"},
        {"[\n{\"id\": \"a\", \"text\": \"x\", \"summary\": \"s\"}\n]",
         "each line should be an object {...} with id, text and summary"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary\": \"s\"}\n{\"id\": \"a\", \"text\": \"y\", \"summary\": \"s\"}",
         "test.jsonl:2: id 'a' stands in an earlier line too"},
        {"{\"id\": \"012345678901234567890123456789012345678901234567890123456789012345678901234567890\", \"text\": \"x\", "
         "\"summary\": \"s\"}",
         "has 81 bytes, samples.csv holds 80"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary_path\": \"none.txt\"}", "summary_path = 'none.txt' is there neither"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary_path\": \"cut.json\"}",
         "summary_path = 'cut.json' begins as JSON and is none"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary_path\": \"other.json\"}",
         "'other.json' is JSON whose key summary is missing, or neither"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary_path\": \"null.json\"}", "(its line 1: a string holds \\u0000, a byte 0)"},
        {"{\"id\": \"a\", \"text\": \"x\", \"summary_path\": \"none.json\"}", "'none.json' is JSON whose key summary is missing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct books *b = open_lines(wrong[i][0], 0);
        if (b) fail_msg("'%s' was taken", wrong[i][0]);
        assert_says(wrong[i][1]);
    }
    char *place = in_folder("c");
    assert_null(books_open(place, "tset", 0, &e));
    assert_says("there is no file");
    put_text("c/folder.jsonl/x", "");
    assert_null(books_open(place, "folder", 0, &e));
    assert_says("folder.jsonl: Is a directory");
    char *loop = in_folder("c/loop.jsonl");
    assert_int_equal(symlink("loop.jsonl", loop), 0);
    assert_null(books_open(place, "loop", 0, &e));
    assert_says("cannot open");
    free(loop);
    free(place);
    assert_null(books_open("boksum", "test", 0, &e));
    assert_says("the nearest known name is 'booksum'");
}

/* A line of 100 MB is an error that names the line; one below the limit is read. */
static void long_lines(void **state) {
    (void)state;
    size_t n = 100u << 20, small = 20u << 20;
    char *line = xcalloc(n + 100, 1);
    size_t head = (size_t)sprintf(line, "{\"id\": \"a\", \"summary\": \"s\", \"text\": \"");
    memset(line + head, 'x', n);
    sprintf(line + head + small, "\"}\n");
    struct books *b = open_lines(line, 100);
    if (!b) fail_msg("%s", e.text);
    assert_int_equal(strlen(b->book[0].text), 100);
    books_free(b);
    memset(line + head, 'x', n);
    sprintf(line + head + n, "\"}\n");
    assert_null(open_lines(line, 0));
    assert_says("test.jsonl:1: the line is longer than 67108864 bytes; put the text into a file of its own");
    free(line);
}

/* ---- the source ---- */

static void set(struct options *o, const char *corpus, const char *pairs) {
    char copy[512], *save = NULL;
    options_init(o, summarize_options);
    if (options_set(o, "corpus", corpus, "test", &e)) fail_msg("%s", e.text);
    snprintf(copy, sizeof copy, "%s", pairs);
    for (char *pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(pair, '=');
        *equal = 0;
        for (char *p = equal + 1; *p; p++)
            if (*p == '/') *p = ',';
        if (options_set(o, pair, equal + 1, "test", &e)) fail_msg("%s", e.text);
    }
}

static char *corpus_of_three(void) {
    put_text("d/train.jsonl",
             "{\"id\": \"a\", \"text\": \"abcdefghij\", \"summary\": \"one\"}\n"
             "{\"id\": \"b\", \"text\": \"kl\", \"summaries\": [\"zwei\", \"drei and more words than there is room\"]}\n"
             "{\"id\": \"c\", \"text\": \"mnopq\", \"summary\": \"vier\"}\n");
    return in_folder("d");
}

static void training(void **state) {
    (void)state;
    char *corpus = corpus_of_three();
    struct options o;
    struct document d;
    set(&o, corpus, "length=6 summary_tokens=8 marker=\\n= text_weight=0.25");
    struct source *s = summarize_source(&o, tokenizer_bytes(), 2, &e);
    if (!s) fail_msg("%s", e.text);
    int seen[3] = {0}, cut = 0, second = 0;
    for (int i = 0; i < 30; i++) {
        char *cursor = s->save(s);
        s->next(s, 1, &d);
        char text[40] = "";
        for (int64_t k = 0; k < d.n; k++) text[k] = (char)d.tokens[k];
        const char *const want[] = {"abcdef\n=one", "kl\n=zwei", "kl\n=drei and", "mnopq\n=vier"};
        int which = 0;
        while (which < 4 && strcmp(text, want[which]) != 0) which++;
        if (which == 4) fail_msg("'%s'", text);
        seen[which > 1 ? which - 1 : which]++;
        cut += which == 2;
        second += which == 1;
        int64_t begin = strchr(text, '=') - text + 1;
        for (int64_t k = 0; k < d.n; k++) {
            bool last = which == 2 && k == d.n - 1; /* a summary that is cut does not end there */
            assert_true(d.weights[k] == (k < begin ? 0.25f : last ? 0 : 1));
        }
        assert_true(d.carried < 0);
        if (i % 3 == 2)
            assert_true(seen[0] == i / 3 + 1 && seen[1] == i / 3 + 1 && seen[2] == i / 3 + 1); /* every book once an epoch */
        struct document again;
        assert_int_equal(s->load(s, cursor, &e), 0);
        s->next(s, 0, &again);
        assert_true(again.n == d.n && !memcmp(again.tokens, d.tokens, (size_t)d.n * sizeof *d.tokens));
        free(cursor);
    }
    assert_true(cut > 0 && second > 0);
    assert_int_equal(s->load(s, "chronicle 0 seed 1 document 2", &e), -1);
    assert_says("none of the task summarize");
    s->free(s);
    free(corpus);
}

/* ---- the task ---- */

static const struct task *task(void) { return known_task("summarize"); }

static int run_task(const char *name, struct model *m, const char *corpus, const char *pairs) {
    struct options o;
    set(&o, corpus, pairs);
    return run_into(name, task(), m, tokenizer_bytes(), &o);
}

static const struct result_row *find(const struct result_row *r, int64_t n, const char *metric, int64_t context,
                                     const char *condition) {
    const struct result_row *row = find_row_of(r, n, metric, context, condition);
    if (!row) fail_msg("there is no row %s at %d under '%s'", metric, (int)context, condition);
    return row;
}

/* Of "at at at ...", of which each letter is likely after the one before it; the end too is possible. */
static struct model *make_model(const char *arch, const char *options) {
    struct model *m =
        engine_model(arch, options,
                     "layers=2 d_model=32 heads=2 kv_heads=2 head_dim=16 ffn=40 segment=16 segments=2 batch=2 vocab=256 "
                     "tied=no");
    engine_fill(m);
    double *v = engine_download(m, m->head->leaf.data, m->head->n), *embed = engine_download(m, m->embed->leaf.data, m->embed->n);
    for (int64_t i = 32; i < m->head->n; i++) v[i] = 0;
    for (const char *p = "at at"; p[1] && p[2]; p++)
        for (int i = 0; i < 32; i++) v[p[1] * 32 + i] = 8 * embed[p[0] * 32 + i];
    engine_upload(m, m->head->leaf.data, v, m->head->n);
    free(embed);
    free(v);
    return m;
}

static const char *const books[3] = {
    "Tea is at a seat as East is tea and it is a test of a TEA at sea, a tea at east, is it a tea or a seat? it is a tea.", "is it",
    "eat at ease, said a, at a test it sits as a state is at ease; it eats at tea as it sat."};
static const char *const summaries[3] = {"a tea is a seat at east", "it is", "it sat at ease and it eats"};
static const char *const trained[3][2] = {{"it is a seat"}, {"a state at sea", "eat it"}, {"is at tea"}};

static void put_books(void) {
    char test[1200], train[600];
    size_t n = 0, k = 0;
    for (int i = 0; i < 3; i++) {
        n += (size_t)sprintf(test + n, "{\"id\": \"t%d\", \"text\": \"%s\", \"summaries\": [\"%s\", \"a at tat aa\"]}\n", i,
                             books[i], summaries[i]);
        k += (size_t)sprintf(train + k, "{\"id\": \"r%d\", \"text\": \"x\", \"summaries\": [\"%s\"", i, trained[i][0]);
        k += (size_t)sprintf(train + k, trained[i][1] ? ", \"%s\"]}\n" : "]}\n", trained[i][1]);
    }
    put_text("d/test.jsonl", test);
    put_text("d/train.jsonl", train);
}

/* ---- controls by hand ---- */

/* What follows the first so many words of a text goes. */
static void keep_words(char *text, double words) {
    for (; words > 0 && *text; words--) {
        text += strspn(text, " \n");
        text += strcspn(text, " \n");
    }
    *text = 0;
}

/* The most frequent words of a text, the first of equal ones first: as often as it takes, the largest count that is left. Returns
 * how many different words there are. */
static int frequent_by_hand(char *out, const char *text, double words) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char word[80][16];
    int times[80], count = 0;
    for (const char *p = text; *(p += strcspn(p, letters)); p += strspn(p, letters)) {
        char one[16];
        int k = 0;
        snprintf(one, sizeof one, "%.*s", (int)strspn(p, letters), p);
        while (k < count && strcasecmp(word[k], one) != 0) k++;
        if (k == count) strcpy(word[count], one), times[count++] = 0;
        times[k]++;
    }
    *out = 0;
    for (int n = 0; n < count && n < (int)words; n++) {
        int best = 0;
        for (int k = 1; k < count; k++)
            if (times[k] > times[best]) best = k;
        sprintf(out + strlen(out), "%s ", word[best]);
        times[best] = 0;
    }
    return count;
}

/* Training summaries for text number i, by the draws of the task with seed 1. */
static void random_by_hand(char *out, int64_t i, double words) {
    struct rng r;
    rng_seed(&r, 1, hash64(&i, sizeof i, 0x73756d63u));
    for (*out = 0; summary_words(out) < words;) {
        int book = (int)rng_below(&r, 3), which = (int)rng_below(&r, trained[book][1] ? 2 : 1);
        sprintf(out + strlen(out), "%s%s", *out ? "\n" : "", trained[book][which]);
    }
    keep_words(out, words);
}

enum { SAID, LEAD, FREQUENT, RANDOM, TEXTS };
static const char *const conditions[TEXTS] = {"decoding=greedy", "baseline=lead", "baseline=frequent", "baseline=random"};

/* Greedily, token by token, after the first `length` bytes of a text and the marker ":\n". */
static void say_by_hand(char *out, struct model *m, const char *seen, int64_t length, int most) {
    struct stream *s = stream_open(m, 1, 1, &e);
    int32_t text[80], said;
    float *next = xcalloc(256, sizeof *next);
    for (int64_t k = 0; k < length; k++) text[k] = (unsigned char)seen[k];
    text[length] = ':', text[length + 1] = '\n';
    stream_score(s, (const int32_t *const[]){text}, (const int64_t[]){length + 2}, NULL);
    for (int count = 0; count < most; count++) {
        stream_next(s, next);
        said = largest_token(next, 256);
        if (said == TOKEN_BOS) break;
        *out++ = (char)said;
        stream_score(s, (const int32_t *const[]){&said}, (const int64_t[]){1}, NULL);
    }
    *out = 0;
    free(next);
    stream_close(s);
}

#define MOST 20 /* bytes: fewer words than a text has different ones */

/* Returns the largest ROUGE-1 of what was said; cut: texts with more different words than were said. */
static double check_budget(const struct result_row *r, int64_t rows, struct model *m, struct rouge *rouge, int64_t budget,
                           int *cut) {
    double sum[TEXTS][ROUGE_KINDS] = {{0}}, words[TEXTS] = {0}, read = 0;
    for (int i = 0; i < 3; i++) {
        int64_t length = (int64_t)strlen(books[i]) < budget ? (int64_t)strlen(books[i]) : budget;
        char text[TEXTS][1400];
        snprintf(text[LEAD], sizeof *text, "%.*s", (int)length, books[i]);
        say_by_hand(text[SAID], m, text[LEAD], length, MOST);
        double said = summary_words(text[SAID]);
        *cut += frequent_by_hand(text[FREQUENT], text[LEAD], said) > said;
        random_by_hand(text[RANDOM], i, said);
        keep_words(text[LEAD], said);
        read += (double)length / 3;
        for (int c = 0; c < TEXTS; c++) {
            double f1[ROUGE_KINDS];
            assert_int_equal(summary_score(rouge, f1, text[c], (const char *const[]){summaries[i], "a at tat aa"}, 2, &e), 0);
            for (int k = 0; k < ROUGE_KINDS; k++) sum[c][k] += f1[k] / 3;
            words[c] += summary_words(text[c]) / 3;
        }
    }
    for (int c = 0; c < TEXTS; c++) {
        for (int k = 0; k < ROUGE_KINDS; k++)
            if (!(fabs(find(r, rows, rouge_names[k], budget, conditions[c])->value - sum[c][k]) < 1e-6))
                fail_msg("%s of %s at %d: expected %g", rouge_names[k], conditions[c], (int)budget, sum[c][k]);
        assert_true(fabs(find(r, rows, "overall", budget, conditions[c])->value -
                         cbrt(sum[c][ROUGE_1] * sum[c][ROUGE_2] * sum[c][ROUGE_L])) < 1e-6);
        const struct result_row *x = find(r, rows, "output_words", budget, conditions[c]);
        assert_true(fabs(x->value - words[c]) < 1e-6 && x->n == 3);
    }
    assert_true(fabs(words[RANDOM] - words[SAID]) < 1e-6 && words[LEAD] <= words[SAID]); /* as long as the summary */
    assert_true(fabs(find(r, rows, "read_tokens", budget, conditions[SAID])->value - read) < 1e-6);
    assert_true(find(r, rows, "stopped", budget, conditions[SAID])->value >= 0);
    return sum[SAID][ROUGE_1];
}

static void task_by_hand(void **state) {
    (void)state;
    put_books();
    char *corpus = in_folder("d");
    static const char *const kinds[][2] = {{"infini", "update=linear"}, {"transformer_xl", "cache=20"}, {"infini", "update=none"}};
    double most = 0;
    int cut = 0;
    for (int kind = 0; kind < 3; kind++) {
        struct model *m = make_model(kinds[kind][0], kinds[kind][1]);
        char name[16], pairs[100];
        snprintf(name, sizeof name, "sum-%d", kind);
        snprintf(pairs, sizeof pairs, "budgets=20/64 decoding=greedy most=%d rows=2 marker=:\\n stemmer=no", MOST);
        if (run_task(name, m, corpus, pairs)) fail_msg("%s", e.text);
        char *path = in_folder(name);
        int64_t rows;
        struct result_row *r = results_read(path, &rows, &e);
        struct rouge *rouge = rouge_open(false);
        most = fmax(most, check_budget(r, rows, m, rouge, 20, &cut));
        most = fmax(most, check_budget(r, rows, m, rouge, 64, &cut));
        rouge_close(rouge);
        free(r);
        free(path);
        model_free(m);
    }
    assert_true(most > 5 && cut > 2); /* there was something to be scored, and to be chosen */
    free(corpus);
}

/* Of the greedy condition at 4096 tokens: how many summaries ended by themselves, how many words they had on average. */
static void check_ends(struct model *m, const char *corpus, const char *name, double stopped, double words) {
    if (run_task(name, m, corpus, "most=50 decoding=greedy")) fail_msg("%s", e.text);
    char *path = in_folder(name);
    int64_t n;
    struct result_row *r = results_read(path, &n, &e);
    const struct result_row *x = find(r, n, "stopped", 4096, "decoding=greedy");
    assert_true(x->n == 3 && x->value == stopped);
    assert_true(find(r, n, "output_words", 4096, "decoding=greedy")->value == words);
    free(r);
    free(path);
}

/* Words said, each weighing by the text that it is of, so that no two ways are equal by chance. */
static double words_said(const char *name, const char *condition) {
    char *path = in_folder(name);
    int64_t n;
    double words = 0;
    struct sample_row *s = samples_read(path, &n, &e);
    for (int64_t k = 0; k < n; k++)
        if (!strcmp(s[k].condition, condition)) words += s[k].value * (1 + (double)s[k].sample[strlen(s[k].sample) - 1]);
    free(s);
    free(path);
    return words;
}

/* Of several references the one that is nearest counts, whichever it is. */
static void several_references(void **state) {
    (void)state;
    struct rouge *r = rouge_open(true);
    static const char *const references[] = {"nothing of it", "a tea at sea", "tea"};
    double f1[ROUGE_KINDS];
    for (int count = 1; count < 4; count++) {
        assert_int_equal(summary_score(r, f1, "a tea at sea", references, count, &e), 0);
        for (int k = 0; k < ROUGE_KINDS; k++) assert_true(f1[k] == (count > 1 ? 100 : 0));
    }
    rouge_close(r);
}

/* Sampled texts are the same for the same seed and in whatever rows; a model that cannot say the stop token ends by length. */
static void sampling_and_stops(void **state) {
    (void)state;
    char *corpus = corpus_of_three();
    put_text("d/test.jsonl",
             "{\"id\": \"x\", \"text\": \"a tea\", \"summary\": \"a seat\"}\n{\"id\": \"y\", \"text\": \"it sat\", \"summary\": "
             "\"sat it\"}\n{\"id\": \"z\", \"text\": \"tea\", \"summary\": \"tea\"}\n");
    struct model *m = make_model("infini", "update=linear");
    static const char *const ways[] = {"most=50 rows=1 temperature=20", "most=50 rows=3 temperature=20",
                                       "most=50 rows=2 temperature=20 seed=2", "most=50 temperature=20 top_p=1e-9",
                                       "most=50 decoding=greedy"};
    double words[5];
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "way-%d", i);
        if (run_task(name, m, corpus, ways[i])) fail_msg("%s", e.text);
        words[i] = words_said(name, i < 4 ? "" : "decoding=greedy");
    }
    assert_true(words[0] == words[1] && words[0] != words[2]);
    assert_true(words[3] == words[4] && words[3] != words[0]); /* a top_p that leaves one token: the largest */
    /* Every summary ends by its length where the model never gives the end: a score, no error. */
    double *v = engine_download(m, m->head->leaf.data, m->head->n);
    double *norm = engine_download(m, m->final_norm->leaf.data, m->final_norm->n);
    memset(v, 0, (size_t)m->head->n * sizeof *v);
    for (int64_t i = 0; i < 32; i++) v['a' * 32 + i] = 100 * norm[i], v['b' * 32 + i] = -100 * norm[i];
    engine_upload(m, m->head->leaf.data, v, m->head->n);
    check_ends(m, corpus, "endless", 0, 1);
    /* Where all tokens are equal the first one is said, which is the end: nothing is said, and nothing is a score too. */
    memset(v, 0, (size_t)m->head->n * sizeof *v);
    engine_upload(m, m->head->leaf.data, v, m->head->n);
    check_ends(m, corpus, "silent", 1, 0);
    free(v);
    free(norm);
    struct options o;
    uint64_t hash;
    set(&o, corpus, "split=a_split_with_a_long_name");
    assert_int_equal(task()->data_hash(&o, tokenizer_bytes(), &hash, &e), -1);
    assert_says("a name of a split has 23 characters at most");
    /* A marker of more tokens than can be seen: nothing before it is read. */
    struct model *twin = make_model("infini", "update=none");
    for (int rows = 1; rows < 4; rows += 2) {
        char name[32], set_to[120];
        snprintf(name, sizeof name, "marker%d", rows);
        snprintf(set_to, sizeof set_to,
                 "budgets=20/64 decoding=greedy most=4 rows=%d marker=at_at_at_at_at_at_at_at_at_at_at_at_at_at:", rows);
        if (run_task(name, twin, corpus, set_to)) fail_msg("%s", e.text);
    }
    model_free(twin);
    assert_int_equal(run_task("bad", m, corpus, "split=none"), -1);
    assert_says("none.jsonl");
    assert_int_equal(run_task("bad", m, corpus, "budgets=1K/1024"), -1);
    assert_says("budget 1024 is given twice");
    model_free(m);
    free(corpus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts),
        cmocka_unit_test(errors),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(training),
        cmocka_unit_test(task_by_hand),
        cmocka_unit_test(sampling_and_stops),
        cmocka_unit_test(several_references),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
