/* passkey.c - retrieval of a passkey from a long text: options, plan, metrics. The text is in passkey_text.c, the prompts in
 * passkey_prompt.c, reading them in passkey_eval.c, training on them in passkey_source.c.
 *
 * A prompt has at most `length` tokens (BOS, answer and full stop included), filled with whole sentences. Exact match and digit
 * accuracy are those of greedy decoding. Results go by position, and by memory writes between needle and query, which are counted
 * for each sample from where its tokens lie. */
#include "passkey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 20240410
#define ENOUGH 0.9 /* exact match of the effective length */

static const struct metric metrics[] = {
    {"exact_match", "fraction", 1},
    {"digit_accuracy", "fraction", 1},
    {"answer_nll", "nats/token", -1},
    {"effective_length", "tokens", 1},
    {"digit_chance", "fraction", 0},
    {"tokens", "tokens", 0},
    {"skipped", "", 0},
    {"memory_norm", "", 0},
    {"z_norm", "", 0},
    {"gate", "fraction", 0},
    {"contrast", "ratio", 1},
    {"needle_share", "fraction", 1},
    {NULL, NULL, 0},
};

const struct option passkey_options[] = {
    {"length", OPTION_TEXT, "32K", 0, 0, NULL,
     "tokens that are read, BOS and answer included; evaluation: a list, e.g. 32K, 128K, 1M"},
    {"length_min", OPTION_INT, "0", 0, 1e9, NULL, "training: lengths log-uniform from here to length; 0: all of them length"},
    {"samples", OPTION_TEXT, "100", 0, 0, NULL,
     "samples at each length and position; a list goes with the lengths, e.g. 500, 100, 20"},
    {"positions", OPTION_TEXT, "start, middle, end", 0, 0, NULL,
     "where the needle lies: start (no filler before it), middle, end (none after it)"},
    {"depths", OPTION_INT, "0", 0, PASSKEY_PLACES, NULL,
     "instead of positions a grid of depths, e.g. 11: 0.00, 0.10 .. 1.00; 0: none"},
    {"end_share", OPTION_REAL, "0", 0, 1, NULL, "training: share of documents whose needle is at the end, the others uniform"},
    {"haystack", OPTION_CHOICE, "repeated", 0, 0, "repeated|shuffled|book|distractors",
     "the paper's filler, its sentences in random order, book text, or filler with pass keys of other names"},
    {"haystacks", OPTION_INT, "0", 0, 1e6, NULL,
     "evaluation: different haystacks among the samples; 0: one each. Samples of one share what is read before the needle"},
    {"corpus", OPTION_TEXT, "kjv", 0, 0, NULL, "book text: kjv, pg19, math or a folder; train to train on, test to evaluate"},
    {"limit", OPTION_INT, "262144", 0, 1e15, NULL, "bytes of each book, 0: all"},
    {"value", OPTION_CHOICE, "digits", 0, 0, "digits|letters", "what a pass key is made of"},
    {"value_length", OPTION_INT, "5", 3, PASSKEY_SYMBOLS, NULL,
     "symbols of a pass key; 3 because keys are divided between training and evaluation"},
    {"needles", OPTION_INT, "1", 1, PASSKEY_NEEDLES, NULL,
     "pass keys in a text; more than one have names and one of them is asked for"},
    {"placement", OPTION_CHOICE, "anywhere", 0, 0, "anywhere|sentence",
     "training: the needle anywhere in the filler, also within a sentence, or between whole sentences as in evaluation"},
    {"answer_weight", OPTION_REAL, "1", 0, 1e6, NULL, "training: loss of the answer's tokens together against that of all tokens"},
    {"carried", OPTION_REAL, "0", 0, CARRIED_LIMIT, NULL,
     "training: start from a state as if m periods of filler had been read, m log-uniform in 1 .. carried, 0 for a quarter; 0: "
     "empty"},
    {"seed", OPTION_INT, "1", 0, 1e15, NULL,
     "of keys, positions and haystacks; equal for all rows and training seeds at evaluation"},
    {"decoding", OPTION_CHOICE, "greedy", 0, 0, "greedy|forced",
     "digit accuracy after a wrong digit: given what the model said, or the right ones"},
    {"rows", OPTION_INT, "8", 1, 4096, NULL, "samples at a time"},
    {"segments", OPTION_INT, "0", 0, 4096, NULL, "segments of a row in one call, 0: about 2048 tokens over all rows"},
    {"beyond_window", OPTION_CHOICE, "skip", 0, 0, "skip|measure", "lengths beyond the window of the architecture transformer"},
    {"knock_out", OPTION_BOOL, "no", 0, 0, NULL,
     "measure models with compressive memory also with the memory off and with it zero"},
    {"diagnostics", OPTION_BOOL, "no", 0, 0, NULL,
     "norms of the compressive memory and contrast of the needle at each length, and gates, by layer and head"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

/* ---- options ---- */

void passkey_shape(struct passkey_shape *s, const struct options *o, bool evaluation) {
    *s = (struct passkey_shape){.haystack = (enum passkey_haystack)options_choice(o, "haystack"),
                                .letters = options_choice(o, "value") == 1,
                                .evaluation = evaluation,
                                .value_length = (int)options_int(o, "value_length"),
                                .needles = (int)options_int(o, "needles"),
                                .seed = (uint64_t)options_int(o, "seed"),
                                .corpus = options_text(o, "corpus"),
                                .limit = options_int(o, "limit")};
}

static int read_places(struct passkey_plan *p, const struct options *o, struct error *e) {
    static const char *const names[] = {"start", "middle", "end"};
    int64_t depths = options_int(o, "depths");
    bool wanted[3] = {false};
    char word[40];
    if (depths == 1) return fail(e, "passkey: depths = 1; a grid has at least 2 (0.00 and 1.00), or use positions");
    for (int64_t i = 0; i < depths; i++) {
        struct passkey_place *x = &p->place[p->places++];
        x->depth = (double)i / (double)(depths - 1);
        snprintf(x->name, sizeof x->name, "%.2f", x->depth);
    }
    if (depths) return 0;
    for (const char *at = options_text(o, "positions"); (at = list_next(at, word, sizeof word));) {
        int i = 0;
        while (i < 3 && strcmp(word, names[i]) != 0) i++;
        const char *near = nearest_name(word, names, 3);
        if (i == 3)
            return fail(e, "passkey: positions: '%s' is unknown; %s%s", word,
                        near ? "the nearest is " : "there are start, middle and end; depths makes a grid", near ? near : "");
        wanted[i] = true;
    }
    for (int i = 0; i < 3; i++) {
        if (!wanted[i]) continue;
        struct passkey_place *x = &p->place[p->places++];
        x->depth = 0.5 * i;
        snprintf(x->name, sizeof x->name, "%s", names[i]);
    }
    return p->places ? 0 : fail(e, "passkey: positions is empty; there are start, middle and end");
}

int passkey_plan_read(struct passkey_plan *p, const struct passkey_text *x, const struct options *o, struct error *e) {
    *p = (struct passkey_plan){.haystacks = x->shape.haystack == HAYSTACK_REPEATED ? 1 : options_int(o, "haystacks"),
                               .rows = options_int(o, "rows"),
                               .segments = options_int(o, "segments"),
                               .greedy = options_choice(o, "decoding") == 0,
                               .share = true,
                               .tail = true};
    int lengths = options_ints(o, "length", p->length, PASSKEY_LENGTHS, "passkey", e);
    int samples = lengths < 0 ? -1 : options_ints(o, "samples", p->samples, PASSKEY_LENGTHS, "passkey", e);
    if (samples < 0 || read_places(p, o, e)) return -1;
    if (samples != 1 && samples != lengths)
        return fail(e, "passkey: %d numbers of samples for %d lengths; give one, or one for each length", samples, lengths);
    int64_t least = passkey_minimum(x);
    for (int i = 0; i < lengths; i++) {
        if (samples == 1) p->samples[i] = p->samples[0];
        if (p->samples[i] > 1000000) return fail(e, "passkey: samples = %lld; a million are allowed", (long long)p->samples[i]);
        if (p->length[i] < least)
            return fail(e, "passkey: length %lld is below the prompt's minimum of %lld tokens (%d needle%s of %d symbols, %s)",
                        (long long)p->length[i], (long long)least, x->shape.needles, x->shape.needles > 1 ? "s" : "",
                        x->shape.value_length, x->tokenizer->name);
        if (p->length[i] > INT32_MAX / 2)
            return fail(e, "passkey: length %lld; positions are counted up to %d", (long long)p->length[i], INT32_MAX / 2);
        for (int j = i; j > 0 && p->length[j] <= p->length[j - 1];
             j--) { /* ascending: the shared part of a length goes on in the next */
            int64_t length = p->length[j], n = p->samples[j];
            if (length == p->length[j - 1]) return fail(e, "passkey: length %lld is given twice", (long long)length);
            p->length[j] = p->length[j - 1];
            p->samples[j] = p->samples[j - 1];
            p->length[j - 1] = length;
            p->samples[j - 1] = n;
        }
    }
    p->lengths = lengths;
    return 0;
}

/* Asked before anything is trained: so options that cannot be are found here, not hours later. */
static int data_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    struct passkey_shape shape, plain_text;
    struct passkey_plan plan;
    passkey_shape(&shape, o, true);
    plain_text = shape;
    plain_text.haystack = HAYSTACK_REPEATED; /* books are read for their hash only */
    struct passkey_text *x = passkey_text_open(t, &plain_text, e);
    int status = x ? passkey_plan_read(&plan, x, o, e) : -1;
    passkey_text_free(x);
    return status ? -1 : passkey_book_hash(&shape, hash, e);
}

/* ---- results ---- */

struct report {
    struct cell_writer *out;
    const struct passkey_text *x;
    const struct passkey_plan *plan;
    const struct passkey_outcome *outcome;
    int64_t most;
    char condition[128];
};

void passkey_condition(char out[128], const struct passkey_shape *s, const char *knock_out, const char *skipped) {
    static const char *const haystacks[] = {"repeated", "shuffled", "book", "distractors"};
    char length[32] = "";
    if (s->value_length != 5) snprintf(length, sizeof length, ";value_length=%d", s->value_length);
    snprintf(out, 128, "haystack=%s%s%s;needles=%d%s%s;value=%s%s", haystacks[s->haystack], knock_out ? ";knockout=" : "",
             knock_out ? knock_out : "", s->needles, skipped ? ";skipped=" : "", skipped ? skipped : "",
             s->letters ? "letters" : "digits", length);
}

static void measure(const struct report *r, const char *metric, const char *unit, int64_t context, const char *position,
                    int64_t writes, struct interval v) {
    cell_measure(r->out, &(struct measurement){.split = "generated",
                                               .condition = r->condition,
                                               .metric = metric,
                                               .unit = unit,
                                               .position = position,
                                               .context = context,
                                               .writes = writes,
                                               .n = v.n,
                                               .value = v.value,
                                               .standard_error = v.standard_error,
                                               .low = v.low,
                                               .high = v.high});
}

static struct interval plain(double value, int64_t n) {
    return (struct interval){.value = value, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
}

/* The three metrics and the mean length of some samples. */
static void measure_samples(const struct report *r, int64_t context, const char *position, int64_t writes,
                            const struct passkey_outcome *const *o, int64_t n) {
    double *value = xcalloc((size_t)n, sizeof *value), *weight = xcalloc((size_t)n, sizeof *weight),
           symbols = r->x->shape.value_length, tokens = 0;
    int64_t exact = 0;
    for (int64_t i = 0; i < n; i++) {
        exact += o[i]->exact;
        tokens += (double)o[i]->tokens;
        value[i] = o[i]->right;
        weight[i] = symbols;
    }
    measure(r, "exact_match", "fraction", context, position, writes, wilson(exact, n));
    measure(r, "digit_accuracy", "fraction", context, position, writes, bootstrap_ratio(value, weight, n, BOOTSTRAP_SEED));
    for (int64_t i = 0; i < n; i++) value[i] = o[i]->nats;
    measure(r, "answer_nll", "nats/token", context, position, writes, bootstrap_ratio(value, weight, n, BOOTSTRAP_SEED));
    if (writes < 0) measure(r, "tokens", "tokens", context, position, -1, plain(tokens / (double)n, n));
    free(value);
    free(weight);
}

static const struct passkey_outcome *outcome(const struct report *r, int l, int p, int64_t i) {
    return &r->outcome[((int64_t)l * r->plan->places + p) * r->most + i];
}

static double exact_rate(const struct report *r, int l, int p) {
    double exact = 0;
    for (int64_t i = 0; i < r->plan->samples[l]; i++) exact += outcome(r, l, p, i)->exact;
    return exact / (double)r->plan->samples[l];
}

/* The samples of a length at one place, or of all places with as many writes. */
static void measure_length(const struct report *r, int l) {
    const struct passkey_plan *plan = r->plan;
    int64_t n = plan->samples[l], all = n * plan->places, count, length = plan->length[l];
    const struct passkey_outcome **some = xcalloc((size_t)all, sizeof *some);
    for (int p = 0; p < plan->places; p++) {
        for (int64_t i = 0; i < n; i++) {
            char name[64];
            const struct passkey_outcome *o = some[i] = outcome(r, l, p, i);
            snprintf(name, sizeof name, "L%lld-%s-%lld", (long long)length, plan->place[p].name, (long long)i);
            cell_sample(r->out, "generated", r->condition, "exact_match", name, plan->place[p].name, o->exact, 1);
            cell_sample(r->out, "generated", r->condition, "digit_accuracy", name, plan->place[p].name,
                        (double)o->right / r->x->shape.value_length, 1);
        }
        measure_samples(r, length, plan->place[p].name, -1, some, n);
    }
    for (int64_t writes = -1;;) {
        int64_t next = INT64_MAX;
        for (int64_t i = 0; i < all; i++) {
            int64_t w = outcome(r, l, (int)(i / n), i % n)->writes;
            if (w > writes && w < next) next = w;
        }
        if (next == INT64_MAX) break;
        writes = next;
        count = 0;
        for (int64_t i = 0; i < all; i++)
            if (outcome(r, l, (int)(i / n), i % n)->writes == writes) some[count++] = outcome(r, l, (int)(i / n), i % n);
        measure_samples(r, length, "writes", writes, some, count);
    }
    free(some);
}

/* The longest length up to which exact match is high enough, at one place (-1: at all of them). */
static void measure_effective(const struct report *r, int place) {
    double longest = 0;
    int64_t n = 0;
    bool good = true;
    for (int l = 0; l < r->plan->lengths; l++) {
        for (int p = 0; p < r->plan->places; p++)
            if (place < 0 || p == place) {
                good = good && exact_rate(r, l, p) >= ENOUGH;
                n += r->plan->samples[l];
            }
        if (good) longest = (double)r->plan->length[l];
    }
    measure(r, "effective_length", "tokens", 0, place < 0 ? "all" : r->plan->place[place].name, -1, plain(longest, n));
}

static void measure_all(const struct report *r) {
    for (int l = 0; l < r->plan->lengths; l++) measure_length(r, l);
    for (int p = -1; p < r->plan->places; p++) measure_effective(r, p);
    measure(r, "digit_chance", "fraction", 0, "all", -1, plain(r->x->shape.letters ? 1.0 / 26 : 0.1, 1));
}

/* ---- diagnostics ---- */

struct norms {
    const struct report *report;
    const struct model *model;
};

/* Euclidean norms of M and z of every layer and (key/value) head, in the first row. */
static void measure_norms(void *data, const struct stream *s, int64_t length) {
    const struct norms *x = data;
    const struct state *state = stream_state(s);
    int64_t heads = x->model->config.kv_heads;
    for (int i = 0; i < x->model->state_count; i++) {
        const struct state_spec *spec = &x->model->states[i];
        const char *dot = strrchr(spec->name, '.'), *last = dot ? dot + 1 : spec->name;
        bool memory = !strcmp(last, "memory");
        if (spec->kind != STATE_CARRIED || (!memory && strcmp(last, "memory_norm") != 0)) continue;
        real *host = xcalloc((size_t)spec->width, sizeof *host);
        x->model->k->download(host, state->data[i], (size_t)spec->width * sizeof *host);
        for (int64_t h = 0; h < heads; h++) {
            double sum = 0;
            char position[48];
            for (int64_t j = h * (spec->width / heads); j < (h + 1) * (spec->width / heads); j++)
                sum += (double)host[j] * (double)host[j];
            snprintf(position, sizeof position, "%d.%lld", spec->layer, (long long)h);
            measure(x->report, memory ? "memory_norm" : "z_norm", "", length, position, -1, plain(sqrt(sum), 1));
        }
        free(host);
    }
}

/* Contrast and the needle's share of the weights, of every layer and query head. */
static void measure_contrast(void *data, const struct passkey_contrast *c, int64_t length) {
    const struct norms *x = data;
    for (int layer = 0; layer < x->model->config.layers; layer++)
        for (int64_t h = 0; h < x->model->config.heads; h++) {
            char position[48];
            double share, contrast = contrast_value(c, layer, h, &share);
            snprintf(position, sizeof position, "%d.%lld", layer, (long long)h);
            measure(x->report, "contrast", "ratio", length, position, -1, plain(contrast, contrast_samples(c)));
            measure(x->report, "needle_share", "fraction", length, position, -1, plain(share, contrast_samples(c)));
        }
}

static void measure_gates(const struct report *r, const struct model *m) {
    int64_t heads = m->config.heads, all = m->config.layers * heads;
    double *gate = xcalloc((size_t)all, sizeof *gate);
    model_gates(m, gate, NULL);
    for (int64_t i = 0; i < all; i++) {
        char position[48];
        snprintf(position, sizeof position, "%lld.%lld", (long long)(i / heads), (long long)(i % heads));
        if (layer_gate(m, i / heads)) measure(r, "gate", "fraction", 0, position, -1, plain(gate[i], 1));
    }
    free(gate);
}

/* ---- the run ---- */

int64_t trained_window(const struct model *m) {
    const struct model_config *c = &m->config;
    if (strcmp(c->arch->name, "transformer") != 0 || options_choice(&c->options, "stride") == 1) return 0;
    int64_t window = options_int(&c->options, "window");
    return window ? window : c->segment * c->segments;
}

/* Lengths that the window of full attention cannot hold leave the plan: a row with the reason, a line on stderr. */
static void skip_lengths(struct report *r, struct passkey_plan *p, const struct model *m) {
    int64_t window = trained_window(m);
    char reason[48];
    while (window && p->lengths && p->length[p->lengths - 1] > window) {
        int64_t length = p->length[--p->lengths];
        snprintf(reason, sizeof reason, "beyond the window of %lld", (long long)window);
        passkey_condition(r->condition, &r->x->shape, NULL, reason);
        measure(r, "skipped", "", length, "all", -1, plain(1, 0));
        fprintf(stderr,
                "passkey: length %lld skipped: %s tokens that this transformer attends to (beyond_window = measure reads on)\n",
                (long long)length, reason);
    }
}

static int run(struct task_run *t, struct error *e) {
    const struct options *o = t->options;
    static const struct {
        enum knock_out mode;
        const char *name;
    } ways[] = {{KNOCK_NONE, NULL}, {KNOCK_OFF, "off"}, {KNOCK_ZERO, "zero"}};
    struct passkey_shape shape;
    struct passkey_plan plan;
    passkey_shape(&shape, o, true);
    struct passkey_text *x = passkey_text_open(t->tokenizer, &shape, e);
    if (!x || passkey_plan_read(&plan, x, o, e)) {
        passkey_text_free(x);
        return -1;
    }
    struct report r = {.out = t->out, .x = x, .plan = &plan};
    struct norms norms = {&r, t->model};
    if (options_choice(o, "beyond_window") == 0) skip_lengths(&r, &plan, t->model);
    int count = options_bool(o, "knock_out") && memory_to_knock_out(t->model) ? 3 : 1, status = 0;
    for (int i = 0; i < count && plan.lengths && !status; i++) {
        passkey_condition(r.condition, &shape, ways[i].name, NULL);
        plan.knock_out = ways[i].mode;
        plan.look = !i && options_bool(o, "diagnostics") && memory_to_knock_out(t->model) ? measure_norms : NULL;
        plan.listen = plan.look ? measure_contrast : NULL;
        plan.data = &norms;
        struct passkey_outcome *outcomes = passkey_evaluate(t->model, x, &plan, &r.most, e);
        if (!outcomes) {
            status = -1;
            break;
        }
        r.outcome = outcomes;
        if (plan.look) measure_gates(&r, t->model);
        measure_all(&r);
        free(outcomes);
    }
    passkey_text_free(x);
    return status;
}

extern const struct task task_passkey;
const struct task task_passkey = {
    .name = "passkey",
    .version = 1,
    .summary = "retrieval of a pass key from a long text, by position, length and memory writes",
    .protocol =
        "The prompt of appendix B of the Infini-attention paper: introduction, whole filler sentences, the needle, whole filler "
        "sentences, the "
        "question; at most `length` tokens with BOS, answer and full stop, the exact number in the metric tokens. start: no filler "
        "before the "
        "needle; middle: as many sentences before as after; end: none after; depth f: the fraction f of the sentences before. "
        "Values are "
        "drawn from the eighth of all values that training never draws. State is carried through a prompt and reset before the "
        "next. Greedy "
        "decoding; exact_match: all symbols right (Wilson), digit_accuracy: share of right symbols, chance 0.1 (letters 1/26) and "
        "answer_nll: "
        "nats a symbol given the right ones before it (bootstrap over samples), 95 %. writes: segments that were written to memory "
        "after "
        "the needle's last token was read and before the first symbol is predicted, 0 = needle and question in one segment. "
        "effective_length: the longest length up to which exact match is at least 0.9 at all positions measured. What samples "
        "share before "
        "the needle is read once; architectures of finite reach read only the tail that can influence the answer.",
    .metrics = metrics,
    .options = passkey_options,
    .run = run,
    .source = passkey_source,
    .data_hash = data_hash,
};
