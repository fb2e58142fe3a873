/* summarize.c - book summaries: the first tokens of a text are read, a summary is said, and ROUGE says how near it comes to the
 * references; with controls of the same length that no model makes. Books are in summarize_books.c, training in
 * summarize_source.c. */
#include "reading.h"
#include "summarize.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONTROL_STREAM 0x73756d63u

static const struct metric metrics[] = {
    {"overall", SUMMARY_UNIT, 1},    {"rouge1", SUMMARY_UNIT, 1},
    {"rouge2", SUMMARY_UNIT, 1},     {"rougeL", SUMMARY_UNIT, 1},
    {"rougeLsum", SUMMARY_UNIT, 1},  {"output_words", "words", 0},
    {"reference_words", "words", 0}, {"read_tokens", "tokens", 0},
    {"stopped", "fraction", 0},      {NULL, NULL, 0},
};

const struct option summarize_options[] = {
    {"corpus", OPTION_TEXT, "booksum", 0, 0, NULL, "booksum, or a folder with SPLIT.jsonl by its path"},
    {"split", OPTION_TEXT, "test", 0, 0, NULL, "evaluation: the file SPLIT.jsonl"},
    {"train", OPTION_TEXT, "train", 0, 0, NULL, "the split that is trained on, and whose summaries are the control 'random'"},
    {"limit", OPTION_INT, "0", 0, 1e15, NULL, "bytes of each text, 0: all"},
    {"documents", OPTION_INT, "0", 0, 1e9, NULL, "evaluation: the first so many texts of the split, 0: all"},
    {"length", OPTION_INT, "4096", 1, 1e9, NULL, "tokens of a text that are read before the marker"},
    {"budgets", OPTION_TEXT, "", 0, 0, NULL, "evaluation: instead of length a list, e.g. 1K, 4K, 16K"},
    {"marker", OPTION_TEXT, "\\n\\nSummary:\\n", 0, 0, NULL, "what stands between text and summary; \\n is a new line"},
    {"summary_tokens", OPTION_INT, "1024", 1, 1e6, NULL, "training: tokens of a summary; a longer one is cut and does not end"},
    {"text_weight", OPTION_REAL, "0", 0, 1e6, NULL,
     "training: loss weight of a token of text and marker; one of the summary has 1"},
    {"most", OPTION_INT, "1024", 1, 1e6, NULL, "tokens of a summary that is said; the paper's 1024"},
    {"decoding", OPTION_CHOICE, "sampled", 0, 0, "sampled|greedy", "of summaries; sampled: by temperature and top_p"},
    {"temperature", OPTION_REAL, "0.5", 1e-3, 100, NULL, "sampled; the paper's"},
    {"top_p", OPTION_REAL, "0.95", 1e-9, 1, NULL, "sampled; the paper's"},
    {"seed", OPTION_INT, "1", 0, 1e15, NULL, "of the drawing of tokens, of the control 'random', of the order of training"},
    {"controls", OPTION_BOOL, "yes", 0, 0, NULL,
     "also score texts of as many words as the summary said: first words, most frequent words, a random training summary"},
    {"stemmer", OPTION_BOOL, "yes", 0, 0, NULL, "ROUGE with the Porter stemmer, as the tables of the literature"},
    {"rows", OPTION_INT, "8", 1, 4096, NULL, "texts at a time"},
    {"knock_out", OPTION_BOOL, "no", 0, 0, NULL,
     "measure models with compressive memory also with the memory off and with it zero"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

int64_t summarize_marker(const struct options *o, const struct tokenizer *t, int32_t **tokens) {
    char text[OPTION_LENGTH];
    size_t n = 0;
    for (const char *p = options_text(o, "marker"); *p; p++) {
        bool line = p[0] == '\\' && p[1] == 'n';
        text[n++] = line ? '\n' : *p;
        p += line;
    }
    return t->encode(t, text, n, tokens);
}

/* ---- controls ---- */

enum control { SAID, LEAD, FREQUENT, RANDOM, CONTROLS };
static const char *const control_names[CONTROLS] = {"", "baseline=lead", "baseline=frequent", "baseline=random"};

/* The first `words` words of a text, as they stand; malloc'd. */
static char *first_words(const char *text, int64_t words) {
    const char *end = text;
    while (words-- > 0 && *end) {
        while (isspace((unsigned char)*end)) end++;
        while (*end && !isspace((unsigned char)*end)) end++;
    }
    return xprintf("%.*s", (int)(end - text), text);
}

struct counted {
    const char *word;
    int length;
    int64_t times, first;
};

static int by_word(const void *a, const void *b) {
    const struct counted *x = a, *y = b;
    int n = x->length < y->length ? x->length : y->length, d = strncasecmp(x->word, y->word, (size_t)n);
    if (d || x->length != y->length) return d ? d : x->length - y->length;
    return (x->first > y->first) - (x->first < y->first);
}

static int by_times(const void *a, const void *b) {
    const struct counted *x = a, *y = b;
    if (x->times != y->times) return x->times < y->times ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

/* The `words` most frequent different words (letters and digits, whatever their case) of a text, most frequent first; fewer where
 * it has fewer. */
static char *frequent_words(const char *text, int64_t words) {
    struct counted *w = NULL;
    size_t n = 0, room = 0, kept = 0, used = 0, total = 1;
    for (const char *p = text; *p;) {
        while (*p && !isalnum((unsigned char)*p)) p++;
        const char *start = p;
        while (isalnum((unsigned char)*p)) p++;
        if (p == start) break;
        if (n == room) w = xrealloc(w, room = room ? 2 * room : 1024, sizeof *w);
        w[n] = (struct counted){start, (int)(p - start), 1, (int64_t)n};
        n++;
    }
    if (n) qsort(w, n, sizeof *w, by_word);
    for (size_t i = 0; i < n; i++) {
        if (kept && w[kept - 1].length == w[i].length && !strncasecmp(w[kept - 1].word, w[i].word, (size_t)w[i].length))
            w[kept - 1].times++;
        else
            w[kept++] = w[i];
    }
    if (kept) qsort(w, kept, sizeof *w, by_times);
    if ((int64_t)kept > words) kept = (size_t)words;
    for (size_t i = 0; i < kept; i++) total += (size_t)w[i].length + 1;
    char *out = xcalloc(total, 1);
    for (size_t i = 0; i < kept; i++) used += (size_t)sprintf(out + used, "%s%.*s", i ? " " : "", w[i].length, w[i].word);
    free(w);
    return out;
}

/* Training summaries drawn one after the other until they have as many words. */
static char *random_summary(const struct books *train, int64_t words, uint64_t seed, int64_t number) {
    struct rng r;
    rng_seed(&r, seed, hash64(&number, sizeof number, CONTROL_STREAM));
    char *all = xstrdup("");
    while (summary_words(all) < (double)words) {
        const struct book *b = &train->book[rng_below(&r, train->count)];
        char *longer = xprintf("%s%s%s", all, *all ? "\n" : "", b->summaries[rng_below(&r, b->count)]);
        free(all);
        all = longer;
    }
    char *out = first_words(all, words);
    free(all);
    return out;
}

/* ---- reading and judging ---- */

struct job {
    const struct task_run *run;
    const struct books *books, *train; /* train NULL: no controls */
    int count, budgets;                /* texts that are read */
    int64_t budget[READING_BUDGETS];
    int32_t **tokens, *marker; /* [count] */
    int64_t *n, marker_n;      /* [count] */
    struct decoding decoding;
    struct rouge *rouge;
    char condition[128];
    struct reading reading;
    int64_t first;                       /* text of row 0 */
    double *f1, *words, *read, *stopped; /* [budgets][controls][count](kinds); of what was said: [budgets][count] */
    double *reference_words;             /* [count] */
    struct progress progress;
};

static double *f1_of(const struct job *j, int budget, int control, int text) {
    return j->f1 + ((((int64_t)budget * CONTROLS + control) * j->count) + text) * ROUGE_KINDS;
}
static int64_t place(const struct job *j, int budget, int control, int text) {
    return ((int64_t)budget * CONTROLS + control) * j->count + text;
}

static void read_row(void *data, int64_t row, int64_t from, int64_t n, int32_t *out) {
    const struct job *j = data;
    memcpy(out, j->tokens[j->first + row] + from, (size_t)n * sizeof *out);
}

/* Texts of a batch beyond the last one: row r reads nothing. */
static int64_t target_of(const struct job *j, int budget, int64_t row) {
    int64_t text = j->first + row;
    if (text >= j->count) return 0;
    return j->n[text] < j->budget[budget] ? j->n[text] : j->budget[budget];
}

static char *sample_name(const struct job *j, int budget, int text) {
    return xprintf("L%" PRId64 "-%s", j->budget[budget], j->books->book[text].id);
}

static int judge(struct job *j, int budget, int64_t row, bool controls, struct error *e) {
    const struct tokenizer *t = j->run->tokenizer;
    int text = (int)(j->first + row), status = 0;
    const struct book *b = &j->books->book[text];
    const struct generation *g = &j->reading.said[row];
    int64_t n = target_of(j, budget, row);
    char *said[CONTROLS] = {t->decode(t, g->tokens, g->n, NULL)}, *name = sample_name(j, budget, text);
    cell_said(j->run->out, options_text(j->run->options, "split"), j->condition, j->budget[budget], name, said[SAID]);
    free(name);
    int64_t words = (int64_t)summary_words(said[SAID]);
    if (controls) {
        char *seen = t->decode(t, j->tokens[text], n, NULL);
        said[LEAD] = first_words(seen, words);
        said[FREQUENT] = frequent_words(seen, words);
        said[RANDOM] = random_summary(j->train, words, j->decoding.seed, text);
        free(seen);
    }
    for (int c = 0; c < CONTROLS && !status; c++) {
        if (!said[c]) continue;
        status = summary_score(j->rouge, f1_of(j, budget, c, text), said[c], (const char *const *)b->summaries, b->count, e);
        j->words[place(j, budget, c, text)] = summary_words(said[c]);
    }
    j->read[budget * j->count + text] = (double)n;
    j->stopped[budget * j->count + text] = g->end == GENERATION_STOPPED;
    for (int c = 0; c < CONTROLS; c++) free(said[c]);
    return status;
}

static int run_batch(struct job *j, bool controls, struct error *e) {
    int64_t *target = xcalloc((size_t)j->reading.rows, sizeof *target), left = j->count - j->first;
    int64_t texts = left < j->reading.rows ? left : j->reading.rows;
    int status = 0;
    reading_restart(&j->reading);
    for (int64_t r = 0; r < j->reading.rows; r++) j->reading.said[r].number = (uint64_t)(j->first + r);
    for (int b = 0; b < j->budgets && !status; b++) {
        for (int64_t r = 0; r < j->reading.rows; r++) target[r] = target_of(j, b, r);
        reading_ask(&j->reading, target, j->marker, j->marker_n, &j->decoding);
        for (int64_t r = 0; r < texts && !status; r++) status = judge(j, b, r, controls, e);
        progress_update(&j->progress, j->first * j->budgets + (b + 1) * texts, "summaries; %" PRId64 " tokens", j->budget[b]);
    }
    free(target);
    return status;
}

/* ---- measures ---- */

static void measure(const struct job *j, int budget, int control) {
    const struct summary_place p = {.out = j->run->out,
                                    .split = options_text(j->run->options, "split"),
                                    .condition = control == SAID ? j->condition : control_names[control],
                                    .context = j->budget[budget]};
    const double *f1 = f1_of(j, budget, control, 0), *words = j->words + place(j, budget, control, 0);
    summary_rouge(&p, "", f1, j->count, ROUGE_KINDS);
    summary_ratio(&p, "output_words", "words", "all", -1, words, NULL, j->count);
    summary_ratio(&p, "reference_words", "words", "all", -1, j->reference_words, NULL, j->count);
    for (int i = 0; i < j->count; i++) {
        char *name = sample_name(j, budget, i);
        for (int k = 0; k < ROUGE_KINDS; k++)
            cell_sample(p.out, p.split, p.condition, rouge_names[k], name, "all", f1[i * ROUGE_KINDS + k], 1);
        cell_sample(p.out, p.split, p.condition, "output_words", name, "all", words[i], 1);
        free(name);
    }
    if (control != SAID) return;
    summary_ratio(&p, "read_tokens", "tokens", "all", -1, j->read + budget * j->count, NULL, j->count);
    summary_ratio(&p, "stopped", "fraction", "all", -1, j->stopped + budget * j->count, NULL, j->count);
}

static int measure_way(struct job *j, enum knock_out mode, struct error *e) {
    static const char *const ways[] = {"", "knockout=off", "knockout=zero"}; /* as enum knock_out */
    int64_t rows = options_int(j->run->options, "rows");
    bool controls = j->train && mode == KNOCK_NONE, greedy = !(j->decoding.temperature > 0);
    snprintf(j->condition, sizeof j->condition, "%s%s%s", greedy ? "decoding=greedy" : "", greedy && mode ? ";" : "", ways[mode]);
    static const char *const labels[] = {"summarize", "summarize, memory off", "summarize, memory zero"};
    progress_begin(&j->progress, labels[mode], (int64_t)j->count * j->budgets);
    int status =
        reading_open(&j->reading, j->run->model, rows < j->count ? rows : j->count, j->decoding.most, mode, read_row, j, e);
    for (j->first = 0; j->first < j->count && !status; j->first += j->reading.rows) status = run_batch(j, controls, e);
    progress_end(&j->progress);
    for (int b = 0; b < j->budgets && !status; b++)
        for (int c = 0; c < (controls ? CONTROLS : 1); c++) measure(j, b, c);
    reading_close(&j->reading);
    return status;
}

/* ---- the run ---- */

static void encode_texts(struct job *j, const struct tokenizer *t) {
    int64_t most = j->budget[j->budgets - 1];
    for (int i = 0; i < j->count; i++) {
        const struct book *b = &j->books->book[i];
        j->n[i] = t->encode(t, b->text, strlen(b->text), &j->tokens[i]);
        if (j->n[i] > most) j->n[i] = most;
        for (int k = 0; k < b->count; k++) j->reference_words[i] += summary_words(b->summaries[k]) / b->count;
    }
}

static int run_all(struct job *j, struct error *e) {
    const struct options *o = j->run->options;
    size_t count = (size_t)j->count, all = (size_t)j->budgets * count;
    j->tokens = xcalloc(count, sizeof *j->tokens);
    j->n = xcalloc(count, sizeof *j->n);
    j->reference_words = xcalloc(count, sizeof *j->reference_words);
    j->f1 = xcalloc(all * CONTROLS * ROUGE_KINDS, sizeof *j->f1);
    j->words = xcalloc(all * CONTROLS, sizeof *j->words);
    j->read = xcalloc(all, sizeof *j->read);
    j->stopped = xcalloc(all, sizeof *j->stopped);
    encode_texts(j, j->run->tokenizer);
    j->marker_n = summarize_marker(o, j->run->tokenizer, &j->marker);
    j->rouge = rouge_open(options_bool(o, "stemmer"));
    int ways = options_bool(o, "knock_out") && memory_to_knock_out(j->run->model) ? 3 : 1, status = 0;
    for (int i = 0; i < ways && !status; i++) status = measure_way(j, (enum knock_out)i, e);
    rouge_close(j->rouge);
    for (size_t i = 0; i < count; i++) free(j->tokens[i]);
    free(j->tokens);
    free(j->n);
    free(j->reference_words);
    free(j->f1);
    free(j->words);
    free(j->read);
    free(j->stopped);
    free(j->marker);
    return status;
}

static int run(struct task_run *t, struct error *e) {
    const struct options *o = t->options;
    const char *corpus = options_text(o, "corpus");
    struct job j = {.run = t,
                    .decoding = {.temperature = options_choice(o, "decoding") == 0 ? options_real(o, "temperature") : 0,
                                 .top_p = options_real(o, "top_p"),
                                 .most = options_int(o, "most"),
                                 .stop = TOKEN_BOS, /* also the end of a document */
                                 .seed = (uint64_t)options_int(o, "seed")}};
    j.budgets = reading_budgets(o, j.budget, "summarize", e);
    if (j.budgets < 0 || decoding_check(&j.decoding, t->model, e)) return -1;
    struct books *books = books_open(corpus, options_text(o, "split"), options_int(o, "limit"), e), *train = NULL;
    int64_t documents = options_int(o, "documents");
    int status = books ? 0 : -1;
    /* Of the training texts only their summaries are needed. */
    if (!status && options_bool(o, "controls") && !(train = books_open(corpus, options_text(o, "train"), 4096, e))) status = -1;
    if (!status) {
        j.books = books;
        j.train = train;
        j.count = documents && documents < books->count ? (int)documents : books->count;
        status = run_all(&j, e);
    }
    books_free(books);
    books_free(train);
    return status;
}

/* Asked before anything is trained: so options that cannot be are found here, not hours later. */
static int data_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    int64_t budget[READING_BUDGETS];
    uint64_t both[2] = {0};
    size_t room = sizeof((struct result_row *)0)->split;
    (void)t;
    if (strlen(options_text(o, "split")) >= room)
        return fail(e, "summarize: split = %.60s: a name of a split has %zu characters at most", options_text(o, "split"),
                    room - 1);
    if (reading_budgets(o, budget, "summarize", e) < 0 ||
        books_hash(options_text(o, "corpus"), options_text(o, "split"), options_int(o, "limit"), &both[0], e))
        return -1;
    /* Without controls nothing of it is measured; a source that needs it and lacks it says so itself. */
    if (books_hash(options_text(o, "corpus"), options_text(o, "train"), options_int(o, "limit"), &both[1], e) &&
        options_bool(o, "controls"))
        return -1;
    *hash = hash64(both, sizeof both, 0);
    return 0;
}

extern const struct task task_summarize;
const struct task task_summarize = {
    .name = "summarize",
    .version = 1,
    .summary = "a summary of the first tokens of a book: ROUGE against human summaries, with controls of the same length",
    .protocol =
        "The first `length` tokens of a text are read (all of a shorter one), each budget of `budgets` in its turn, then the "
        "marker, "
        "then the model says a summary until it gives the end of the document or `most` tokens; state is reset before each text. "
        "ROUGE: F1 of rouge_score 0.1.2, of several references the largest of each kind, mean over texts, x 100; overall: "
        "geometric "
        "mean of the means of ROUGE-1, -2 and -L. Since length dominates ROUGE, the words said stand beside every score, and three "
        "controls have as many words for each text: baseline=lead, the first words of what was read; baseline=frequent, its most "
        "frequent different words, the most frequent first; baseline=random, a training summary drawn at random. Intervals of one "
        "run: "
        "bootstrap over texts, 95 %.",
    .metrics = metrics,
    .options = summarize_options,
    .run = run,
    .source = summarize_source,
    .data_hash = data_hash,
};
