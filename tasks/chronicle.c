/* chronicle.c - ROUGE against input length with a known ceiling: options, reading narratives up to each budget, measures. Words and
 * narratives are in chronicle_text.c, training on them in chronicle_source.c.
 *
 * The budgets of a sample share what was read: rows of samples are read on to a budget, asked, put back, and read on. Memory does
 * not grow with the length (the narrative's tokens apart: 4 bytes each). An architecture of finite reach reads only the tail that
 * can influence the summary, from a segment's start on. */
#include "chronicle.h"
#include "reading.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HAYSTACK_STREAM 0x63686576u
#define SAMPLE_STREAM 0x63687376u
#define FLOOR_STREAM 0x6368666cu

static const struct metric metrics[] = {
    {"overall", SUMMARY_UNIT, 1},
    {"rouge1", SUMMARY_UNIT, 1},
    {"rouge2", SUMMARY_UNIT, 1},
    {"rougeL", SUMMARY_UNIT, 1},
    {"events_named", "fraction", 1},
    {"words_named", "fraction", 1},
    {"events_invented", "a summary", -1},
    {"rumours_named", "a summary", -1},
    {"ceiling_overall", SUMMARY_UNIT, 0},
    {"floor_overall", SUMMARY_UNIT, 0},
    {"events_within", "a narrative", 0},
    {"output_words", "words", 0},
    {"reference_words", "words", 0},
    {"stopped", "fraction", 0},
    {"skipped", "", 0},
    {NULL, NULL, 0},
};

const struct option chronicle_options[] = {
    {"length", OPTION_INT, "4096", 1, 1e9, NULL, "tokens before the summary: narrative and marker, BOS not counted"},
    {"length_min", OPTION_INT, "0", 0, 1e9, NULL, "training: lengths log-uniform from here to length; 0: all of them length"},
    {"budgets", OPTION_TEXT, "", 0, 0, NULL,
     "evaluation: tokens that are read before the summary is asked for, a list of at most length, e.g. 1K, 4K, 16K; empty: length"},
    {"samples", OPTION_INT, "50", 1, 1e6, NULL, "evaluation: narratives; each is asked at every budget"},
    {"events", OPTION_INT, "8", 1, CHRONICLE_EVENTS, NULL, "recorded events of a narrative, one a year"},
    {"events_min", OPTION_INT, "1", 1, CHRONICLE_EVENTS, NULL, "training: events uniform from here to events"},
    {"distractors", OPTION_INT, "4", 0, CHRONICLE_RUMOURS, NULL, "rumours of a narrative: of the same form, not to be listed"},
    {"places", OPTION_CHOICE, "random", 0, 0, "even|random|log",
     "of events: even, uniform, or evenly on a log scale from half the shortest budget to length (at least one a doubling)"},
    {"placement", OPTION_CHOICE, "anywhere", 0, 0, "anywhere|sentence",
     "events and rumours anywhere in the filler, also within a sentence, or between whole sentences where segment allows it"},
    {"end_share", OPTION_REAL, "0", 0, 1, NULL, "training: share of narratives whose last event is at the end"},
    {"segment", OPTION_INT, "128", 0, 1e6, NULL,
     "no event is cut by segments of so many tokens, and lengths are multiples of it: the summary starts with a segment; 0: "
     "anywhere"},
    {"haystack", OPTION_CHOICE, "repeated", 0, 0, "repeated|shuffled|book",
     "the pass key's filler, its sentences in random order, or book text"},
    {"corpus", OPTION_TEXT, "kjv", 0, 0, NULL, "book text: kjv, pg19, math or a folder; train to train on, test to evaluate"},
    {"limit", OPTION_INT, "262144", 0, 1e15, NULL, "bytes of each book, 0: all"},
    {"answer_weight", OPTION_REAL, "1", 0, 1e6, NULL, "training: loss of the summary's tokens together against that of all tokens"},
    {"carried", OPTION_REAL, "0", 0, CARRIED_LIMIT, NULL,
     "training: start from a state as if m periods of filler had been read, m log-uniform in 1 .. carried, 0 for a quarter; 0: "
     "empty"},
    {"seed", OPTION_INT, "1", 0, 1e15, NULL,
     "of events, places and haystacks; equal for all rows and training seeds at evaluation"},
    {"decoding", OPTION_CHOICE, "greedy", 0, 0, "greedy|sampled", "of summaries; sampled: by temperature and top_p"},
    {"temperature", OPTION_REAL, "0.5", 1e-3, 100, NULL, "sampled; the paper's"},
    {"top_p", OPTION_REAL, "0.95", 1e-9, 1, NULL, "sampled; the paper's"},
    {"most", OPTION_INT, "0", 0, 1e6, NULL, "tokens of a summary; 0: as many as the longest reference has, and one event more"},
    {"stemmer", OPTION_BOOL, "yes", 0, 0, NULL, "ROUGE with the Porter stemmer, as the tables of the literature"},
    {"rows", OPTION_INT, "8", 1, 4096, NULL, "samples at a time"},
    {"beyond_window", OPTION_CHOICE, "skip", 0, 0, "skip|measure", "budgets beyond the window of the architecture transformer"},
    {"knock_out", OPTION_BOOL, "no", 0, 0, NULL,
     "measure models with compressive memory also with the memory off and with it zero"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

void chronicle_shape(struct chronicle_shape *s, const struct options *o, bool evaluation) {
    *s = (struct chronicle_shape){.filler = {.haystack = (enum passkey_haystack)options_choice(o, "haystack"),
                                             .evaluation = evaluation,
                                             .value_length = 5,
                                             .needles = 1,
                                             .seed = (uint64_t)options_int(o, "seed"),
                                             .corpus = options_text(o, "corpus"),
                                             .limit = options_int(o, "limit")},
                                  .places = (enum chronicle_places)options_choice(o, "places"),
                                  .anywhere = options_choice(o, "placement") == 0,
                                  .events = (int)options_int(o, "events"),
                                  .events_min = (int)options_int(o, "events_min"),
                                  .rumours = (int)options_int(o, "distractors"),
                                  .segment = options_int(o, "segment"),
                                  .first = options_int(o, options_int(o, "length_min") ? "length_min" : "length"),
                                  .end_share = evaluation ? 0 : options_real(o, "end_share")};
}

/* ---- the plan ---- */

struct job {
    const struct task_run *run;
    const struct chronicle_text *x;
    struct rouge *rouge;
    int budgets;
    int64_t budget[READING_BUDGETS], length, samples; /* budgets ascending */
    struct decoding decoding;
    char condition[128];
    struct chronicle_outcome *outcomes; /* [budgets][samples] */
    int64_t rows, n;                    /* n: the model's segment */
    struct reading reading;
    struct narrative *narrative; /* [rows] */
    struct haystack *haystack;   /* [rows] */
    struct progress progress;
};

/* Lengths and budgets, ascending. */
static int read_plan(struct job *j, struct chronicle_shape *shape, const struct options *o, struct error *e) {
    int64_t segment = options_int(o, "segment");
    j->length = options_int(o, "length");
    j->samples = options_int(o, "samples");
    j->budgets = reading_budgets(o, j->budget, "chronicle", e);
    if (j->budgets < 0) return -1;
    if (j->length > INT32_MAX / 2)
        return fail(e, "chronicle: length = %" PRId64 "; positions are counted up to %d", j->length, INT32_MAX / 2);
    if (j->budget[j->budgets - 1] > j->length)
        return fail(e, "chronicle: budget %" PRId64 " is more than length = %" PRId64, j->budget[j->budgets - 1], j->length);
    for (int i = 0; i <= j->budgets && segment; i++) {
        int64_t n = i < j->budgets ? j->budget[i] : j->length;
        if (n % segment)
            return fail(e, "chronicle: %" PRId64 " is no multiple of segment = %" PRId64 "; the summary is to start with a segment",
                        n, segment);
    }
    shape->first = j->budget[0];
    return 0;
}

static int check_text(const struct chronicle_text *x, const struct job *j, struct error *e) {
    if (j->budget[0] < x->introduction.n + x->marker.n)
        return fail(e, "chronicle: budget %" PRId64 " is below the %" PRId64 " tokens of introduction and marker (%s)",
                    j->budget[0], x->introduction.n + x->marker.n, x->tokenizer->name);
    return chronicle_fits(x, j->length, e);
}

/* Asked before anything is trained: so options that cannot be are found here, not hours later. */
static int data_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    struct chronicle_shape shape;
    struct job j = {.budgets = 0};
    chronicle_shape(&shape, o, true);
    if (read_plan(&j, &shape, o, e)) return -1;
    struct passkey_shape filler = shape.filler;
    shape.filler.haystack = HAYSTACK_REPEATED; /* books are read for their hash only */
    struct chronicle_text *x = chronicle_text_open(t, &shape, e);
    int status = x ? check_text(x, &j, e) : -1;
    chronicle_text_free(x);
    return status ? -1 : passkey_book_hash(&filler, hash, e);
}

/* Sorted key=value pairs; what is NULL is left out. */
static void set_condition(struct job *j, const char *knock_out, const char *skipped) {
    static const char *const places[] = {"even", "random", "log"}, *const haystacks[] = {"repeated", "shuffled", "book"};
    const struct chronicle_shape *s = &j->x->shape;
    snprintf(j->condition, sizeof j->condition, "%sdistractors=%d;events=%d;haystack=%s%s%s;places=%s%s%s",
             j->decoding.temperature > 0 ? "decoding=sampled;" : "", s->rumours, s->events, haystacks[s->filler.haystack],
             knock_out ? ";knockout=" : "", knock_out ? knock_out : "", places[s->places], skipped ? ";skipped=" : "",
             skipped ? skipped : "");
}

/* ---- reading and judging ---- */

static void read_row(void *data, int64_t row, int64_t from, int64_t n, int32_t *out) {
    const struct job *j = data;
    narrative_read(&j->narrative[row], from, n, out);
}

/* A summary of as many events as lie within the budget that knows the form alone: its words are drawn. */
static char *blind_summary(const struct chronicle_text *x, int within, int64_t sample) {
    struct chronicle_line line[CHRONICLE_EVENTS];
    struct rng r;
    rng_seed(&r, x->shape.filler.seed, hash64(&sample, sizeof sample, FLOOR_STREAM));
    for (int i = 0; i < within; i++) {
        line[i].year = i;
        chronicle_draw(x, &r, &line[i]);
    }
    return chronicle_summary(line, within);
}

int chronicle_score(struct chronicle_outcome *o, struct rouge *rouge, const struct chronicle_text *x, const struct narrative *v,
                    int64_t budget, int64_t sample, const char *said, struct error *e) {
    int64_t read = budget - x->marker.n;
    int within = narrative_within(v, read);
    char *full = chronicle_summary(v->event, v->events), *best = chronicle_summary(v->event, within);
    char *blind = blind_summary(x, within, sample);
    const char *const reference[] = {full};
    *o = (struct chronicle_outcome){.within = within, .words = summary_words(said), .reference_words = summary_words(full)};
    chronicle_judge(&o->j, v, read, said);
    int status = summary_score(rouge, o->said, said, reference, 1, e);
    if (!status) status = summary_score(rouge, o->ceiling, best, reference, 1, e);
    if (!status) status = summary_score(rouge, o->floor, blind, reference, 1, e);
    free(full);
    free(best);
    free(blind);
    return status;
}

static void sample_name(char name[64], int64_t budget, int64_t number) {
    snprintf(name, 64, "L%" PRId64 "-%" PRId64, budget, number);
}

static int judge(struct job *j, int budget, int64_t row, int64_t sample, struct error *e) {
    const struct tokenizer *t = j->run->tokenizer;
    const struct generation *g = &j->reading.said[row];
    const struct narrative *v = &j->narrative[row];
    struct chronicle_outcome *o = &j->outcomes[budget * j->samples + sample];
    char *text = t->decode(t, g->tokens, g->n, NULL);
    int status = chronicle_score(o, j->rouge, j->x, v, j->budget[budget], sample, text, e);
    o->stopped = g->end == GENERATION_STOPPED;
    char name[64];
    sample_name(name, j->budget[budget], sample);
    cell_said(j->run->out, "generated", j->condition, j->budget[budget], name, text);
    /* Token i is input i + 1, and the summary's first token is predicted at the input of number `budget`. */
    for (int i = 0; i < o->within; i++) o->writes[i] = j->budget[budget] / j->n - v->event_end[i] / j->n;
    free(text);
    return status;
}

/* All budgets of the rows of samples from `first` on. Rows beyond the last sample are read and not judged. */
static int run_batch(struct job *j, int64_t first, struct error *e) {
    const struct stretch *marker = &j->x->marker;
    int64_t *target = xcalloc((size_t)j->rows, sizeof *target), left = j->samples - first, judged = left < j->rows ? left : j->rows;
    int status = 0;
    for (int64_t r = 0; r < j->rows; r++) {
        struct rng rng;
        int64_t number = first + r;
        haystack_make(&j->haystack[r], j->x->filler, HAYSTACK_STREAM, number, j->length);
        rng_seed(&rng, j->x->shape.filler.seed, hash64(&number, sizeof number, SAMPLE_STREAM));
        narrative_make(&j->narrative[r], j->x, &j->haystack[r], &rng, j->length - marker->n);
        j->reading.said[r].number = (uint64_t)number;
    }
    reading_restart(&j->reading);
    for (int b = 0; b < j->budgets && !status; b++) {
        for (int64_t r = 0; r < j->rows; r++) target[r] = j->budget[b] - marker->n;
        reading_ask(&j->reading, target, marker->tokens, marker->n, &j->decoding);
        for (int64_t r = 0; r < judged && !status; r++) status = judge(j, b, r, first + r, e);
        progress_update(&j->progress, first * j->budgets + (b + 1) * judged, "summaries; %" PRId64 " tokens", j->budget[b]);
    }
    free(target);
    return status;
}

/* ---- measures ---- */

enum column { NAMED, WORDS_RIGHT, INVENTED, RUMOURED, WITHIN, OUTPUT, REFERENCE, STOPPED };

static double column(const struct chronicle_outcome *o, enum column c) {
    switch (c) {
    case NAMED:
        return o->j.named;
    case WORDS_RIGHT:
        return o->j.words;
    case INVENTED:
        return o->j.invented;
    case RUMOURED:
        return o->j.rumoured;
    case WITHIN:
        return o->within;
    case OUTPUT:
        return o->words;
    case REFERENCE:
        return o->reference_words;
    default:
        return o->stopped;
    }
}

/* Events by memory writes since they were read, in classes of powers of two: 0, 1, 2-3, 4-7 ... under the first of each. */
static void measure_writes(const struct job *j, const struct summary_place *p, const struct chronicle_outcome *o) {
    double *value = xcalloc((size_t)j->samples, sizeof *value), *weight = xcalloc((size_t)j->samples, sizeof *weight);
    for (int64_t low = 0; low <= j->length / j->n; low = low ? 2 * low : 1) {
        for (int64_t s = 0; s < j->samples; s++) {
            value[s] = weight[s] = 0;
            for (int i = 0; i < o[s].within; i++)
                if (o[s].writes[i] >= low && o[s].writes[i] < (low ? 2 * low : 1)) {
                    weight[s]++;
                    value[s] += o[s].j.is_named[i];
                }
        }
        summary_ratio(p, "events_named", "fraction", "writes", low, value, weight, j->samples);
    }
    free(value);
    free(weight);
}

static void record(const struct job *j, const struct summary_place *p, const struct chronicle_outcome *o, int64_t number) {
    char name[64];
    sample_name(name, p->context, number);
    for (int k = ROUGE_1; k <= ROUGE_L; k++)
        cell_sample(p->out, p->split, j->condition, rouge_names[k], name, "all", o->said[k], 1);
    cell_sample(p->out, p->split, j->condition, "output_words", name, "all", o->words, 1);
    if (o->within) cell_sample(p->out, p->split, j->condition, "events_named", name, "all", o->j.named, o->within);
}

static void measure_budget(const struct job *j, int b) {
    const struct chronicle_outcome *o = j->outcomes + b * j->samples;
    const struct summary_place p = {.out = j->run->out, .split = "generated", .condition = j->condition, .context = j->budget[b]};
    int64_t n = j->samples;
    double *f1 = xcalloc((size_t)(n * ROUGE_KINDS), sizeof *f1), *value = xcalloc((size_t)n, sizeof *value);
    double *within = xcalloc((size_t)n, sizeof *within), *words = xcalloc((size_t)n, sizeof *words);
    static const char *const prefix[] = {"", "ceiling_", "floor_"};
    for (int way = 0; way < 3; way++) {
        for (int64_t s = 0; s < n; s++)
            memcpy(f1 + s * ROUGE_KINDS, way == 0 ? o[s].said : way == 1 ? o[s].ceiling : o[s].floor, sizeof o->said);
        summary_rouge(&p, prefix[way], f1, n, ROUGE_L + 1);
    }
    for (int64_t s = 0; s < n; s++) {
        within[s] = o[s].within;
        words[s] = 3 * o[s].within;
        record(j, &p, &o[s], s);
    }
    static const struct {
        enum column column;
        const char *metric, *unit;
    } measures[] = {{NAMED, "events_named", "fraction"},        {WORDS_RIGHT, "words_named", "fraction"},
                    {INVENTED, "events_invented", "a summary"}, {RUMOURED, "rumours_named", "a summary"},
                    {WITHIN, "events_within", "a narrative"},   {OUTPUT, "output_words", "words"},
                    {REFERENCE, "reference_words", "words"},    {STOPPED, "stopped", "fraction"}};
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
        enum column c = measures[i].column;
        for (int64_t s = 0; s < n; s++) value[s] = column(&o[s], c);
        summary_ratio(&p, measures[i].metric, measures[i].unit, "all", -1, value,
                      c == NAMED         ? within
                      : c == WORDS_RIGHT ? words
                                         : NULL,
                      n);
    }
    measure_writes(j, &p, o);
    free(f1);
    free(value);
    free(within);
    free(words);
}

/* ---- the run ---- */

/* Budgets that the window of full attention cannot hold with a summary leave the plan: a row with the reason, a line on stderr. */
static void skip_budgets(struct job *j) {
    int64_t window = trained_window(j->run->model);
    char reason[48];
    snprintf(reason, sizeof reason, "beyond the window of %" PRId64, window);
    while (window && j->budgets && j->budget[j->budgets - 1] + chronicle_summary_most(j->x, j->x->shape.events) > window) {
        int64_t budget = j->budget[--j->budgets];
        set_condition(j, NULL, reason);
        cell_value(j->run->out, &(struct measurement){.split = "generated",
                                                      .condition = j->condition,
                                                      .metric = "skipped",
                                                      .unit = "",
                                                      .position = "all",
                                                      .context = budget,
                                                      .value = 1});
        fprintf(stderr,
                "chronicle: %" PRId64 " tokens skipped: with the summary %s tokens that this transformer attends to "
                "(beyond_window = measure reads on)\n",
                budget, reason);
    }
}

static int measure_way(struct job *j, enum knock_out mode, const char *name, struct error *e) {
    set_condition(j, name, NULL);
    progress_begin(&j->progress, name ? (*name == 'o' ? "chronicle, memory off" : "chronicle, memory zero") : "chronicle",
                   j->samples * j->budgets);
    j->narrative = xcalloc((size_t)j->rows, sizeof *j->narrative);
    j->haystack = xcalloc((size_t)j->rows, sizeof *j->haystack);
    int status = reading_open(&j->reading, j->run->model, j->rows, j->decoding.most, mode, read_row, j, e);
    for (int64_t first = 0; first < j->samples && !status; first += j->rows) status = run_batch(j, first, e);
    progress_end(&j->progress);
    for (int b = 0; b < j->budgets && !status; b++) measure_budget(j, b);
    for (int64_t r = 0; r < j->rows; r++) haystack_free(&j->haystack[r]);
    free(j->narrative);
    free(j->haystack);
    reading_close(&j->reading);
    return status;
}

static int run(struct task_run *t, struct error *e) {
    static const char *const ways[] = {NULL, "off", "zero"}; /* as enum knock_out */
    const struct options *o = t->options;
    struct chronicle_shape shape;
    struct job j = {.run = t, .n = t->model->config.segment, .rows = options_int(o, "rows")};
    chronicle_shape(&shape, o, true);
    if (read_plan(&j, &shape, o, e)) return -1;
    struct chronicle_text *x = chronicle_text_open(t->tokenizer, &shape, e);
    int status = x ? check_text(x, &j, e) : -1;
    if (!status) {
        j.x = x;
        j.decoding = (struct decoding){.temperature = options_choice(o, "decoding") ? options_real(o, "temperature") : 0,
                                       .top_p = options_real(o, "top_p"),
                                       .most = options_int(o, "most"),
                                       .stop = TOKEN_BOS, /* also the end of a document */
                                       .seed = shape.filler.seed};
        if (!j.decoding.most) j.decoding.most = chronicle_summary_most(x, shape.events + 1);
        status = decoding_check(&j.decoding, t->model, e);
        if (options_choice(o, "beyond_window") == 0) skip_budgets(&j);
    }
    if (!status && j.budgets) {
        j.rouge = rouge_open(options_bool(o, "stemmer"));
        if (j.rows > j.samples) j.rows = j.samples;
        j.outcomes = xcalloc((size_t)(j.budgets * j.samples), sizeof *j.outcomes);
        int count = options_bool(o, "knock_out") && memory_to_knock_out(t->model) ? 3 : 1;
        for (int i = 0; i < count && !status; i++) status = measure_way(&j, (enum knock_out)i, ways[i], e);
        free(j.outcomes);
        rouge_close(j.rouge);
    }
    chronicle_text_free(x);
    return status;
}

extern const struct task task_chronicle;
const struct task task_chronicle = {
    .name = "chronicle",
    .version = 1,
    .summary = "a summary of the events in a long narrative: ROUGE against input length, with its known ceiling",
    .protocol =
        "A narrative of `length` tokens: filler with recorded events in the order of their years ('In the third year the miller of "
        "Ashford found a ring.') and rumours of the same form. At each budget the first tokens of the narrative are read, then the "
        "marker (counted in the budget), then the model says the summary until it gives the end of the document or `most` tokens. "
        "Reference: the sentences of all events of the narrative, in order. ceiling: ROUGE of the summary that lists exactly the "
        "events within the budget. floor: that of a summary of as many events whose words are drawn at random. events_named: share "
        "of the events within the budget whose sentence was said exactly; position writes: by memory writes between the event's "
        "last token and the summary's first, in classes of powers of two. words_named: who, where and what right in the first "
        "sentence of an event's year, chance 1/16. events_invented: sentences a summary that are no event within the budget; "
        "rumours_named: those of rumours. Combinations of who, where and what are drawn from the eighth that training never draws. "
        "ROUGE: F1 of rouge_score 0.1.2, x 100; overall: geometric mean of the means of ROUGE-1, -2, -L. State is reset before "
        "each "
        "narrative; budgets of one narrative share what was read. Architectures of finite reach read only the tail that can "
        "influence the summary. Intervals of one run: bootstrap over narratives, 95 %.",
    .metrics = metrics,
    .options = chronicle_options,
    .run = run,
    .source = chronicle_source,
    .data_hash = data_hash,
};
