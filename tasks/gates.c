/* gates.c - what the gates of a memory have learnt: sigmoid(beta) of every layer and head, how many heads are specialised and how
 * many mix (section 4.2 of the Infini-attention paper), and what each head's memory is worth: bits per byte, or retrieval of a pass
 * key, with that head alone knocked out and with all of them.
 *
 * Scoring is that of the tasks language_modeling (documents.c) and passkey (passkey_eval.c). It trains nothing; gates during
 * training are in curves.csv. */
#include "documents.h"
#include "passkey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_SEED 20240410

static const struct metric metrics[] = {
    {"gate", "fraction", 0},
    {"gate_initial", "fraction", 0},
    {"head_kind", "", 0},
    {"gate_moved", "fraction", 0},
    {"share_moved", "fraction", 0},
    {"share_local", "fraction", 0},
    {"share_mixer", "fraction", 0},
    {"share_memory", "fraction", 0},
    {"bits_per_byte", "bits/byte", -1},
    {"bits_per_byte_change", "bits/byte", 0},
    {"exact_match", "fraction", 1},
    {"exact_match_change", "fraction", 0},
    {"answer_nll", "nats/token", -1},
    {"answer_nll_change", "nats/token", 0},
    {"skipped", "", 0},
    {NULL, NULL, 0},
};

static const struct option options[] = {
    {"measure", OPTION_TEXT, "bits_per_byte", 0, 0, NULL,
     "what is measured with heads knocked out: bits_per_byte, passkey, or both in a list; none: the gates alone"},
    {"knock_out", OPTION_TEXT, "off, zero", 0, 0, NULL,
     "how a head is knocked out: off (its gate is 0), zero (its memory reads 0, the gate stays)"},
    {"heads", OPTION_TEXT, "all", 0, 0, NULL,
     "heads that are knocked out one by one, as layer.head from 0: 0.1, 2.3; or all, none"},
    {"corpus", OPTION_TEXT, "", 0, 0, NULL,
     "bits per byte: kjv, pg19, math or a folder with split folders; empty: what the model was trained on, else kjv"},
    {"split", OPTION_CHOICE, "test", 0, 0, "test|validation|train", "bits per byte: which documents are scored"},
    {"limit", OPTION_INT, "0", 0, 1e15, NULL, "bits per byte: bytes of each document that are scored, 0: all"},
    {"documents", OPTION_INT, "0", 0, 1e9, NULL, "bits per byte: documents that are scored, in order of their names, 0: all"},
    {"length", OPTION_TEXT, "4K", 0, 0, NULL, "passkey: tokens that are read, one length or a list"},
    {"samples", OPTION_TEXT, "25", 0, 0, NULL, "passkey: samples at each length and position"},
    {"positions", OPTION_TEXT, "start, middle", 0, 0, NULL,
     "passkey: where the needle lies; all positions count together, and the end needs no memory"},
    {"haystack", OPTION_CHOICE, "repeated", 0, 0, "repeated|shuffled|distractors", "passkey: what lies around the needle"},
    {"seed", OPTION_INT, "1", 0, 1e15, NULL, "passkey: of keys, positions and haystacks"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

/* ---- options ---- */

enum { BITS, PASSKEY, MEASURES };
static const char *const measure_names[] = {"bits_per_byte", "passkey", "none"};
static const char *const way_names[] = {"off", "zero"};

/* Which of the names stand in the list; `none` is the last one and stands alone. */
static int read_names(bool *wanted, const struct options *o, const char *key, const char *const *names, int count,
                      struct error *e) {
    char word[40];
    int found = 0;
    for (const char *at = options_text(o, key); (at = list_next(at, word, sizeof word)); found++) {
        int i = 0;
        while (i < count && strcmp(word, names[i]) != 0) i++;
        const char *near = nearest_name(word, names, count);
        if (i == count)
            return fail(e, "gates: %s: '%s' is unknown; %s%s%s%s", key, word, near ? "the nearest is " : "there are ",
                        near ? near : names[0], near ? "" : " and ", near ? "" : names[1]);
        wanted[i] = true;
    }
    return found ? 0 : fail(e, "gates: %s is empty; there are %s and %s", key, names[0], names[1]);
}

struct wanted {
    bool measure[MEASURES + 1], way[2];
};

static int read_wanted(struct wanted *w, const struct options *o, struct error *e) {
    memset(w, 0, sizeof *w);
    if (read_names(w->measure, o, "measure", measure_names, MEASURES + 1, e) || read_names(w->way, o, "knock_out", way_names, 2, e))
        return -1;
    if (w->measure[MEASURES] && (w->measure[BITS] || w->measure[PASSKEY]))
        return fail(e, "gates: measure = %s; none stands alone", options_text(o, "measure"));
    return 0;
}

/* The options of the task passkey that this task passes on. */
static int passkey_settings(struct options *out, const struct options *o, struct error *e) {
    static const char *const texts[] = {"length", "samples", "positions", NULL};
    static const char *const haystacks[] = {"repeated", "shuffled", "distractors"};
    char number[32];
    options_init(out, passkey_options);
    for (int i = 0; texts[i]; i++)
        if (options_set(out, texts[i], options_text(o, texts[i]), "task gates", e)) return -1;
    snprintf(number, sizeof number, "%lld", (long long)options_int(o, "seed"));
    if (options_set(out, "seed", number, "task gates", e)) return -1;
    return options_set(out, "haystack", haystacks[options_choice(o, "haystack")], "task gates", e);
}

/* The prompts of the task passkey; NULL: error. */
static struct passkey_text *passkey_open(struct passkey_plan *plan, const struct options *o, const struct tokenizer *t,
                                         struct error *e) {
    struct options settings;
    struct passkey_shape shape;
    if (passkey_settings(&settings, o, e)) return NULL;
    passkey_shape(&shape, &settings, true);
    struct passkey_text *x = passkey_text_open(t, &shape, e);
    if (x && passkey_plan_read(plan, x, &settings, e)) {
        passkey_text_free(x);
        return NULL;
    }
    return x;
}

/* Asked before anything is trained: so options that cannot be are found here, not hours later. */
static int data_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    struct wanted w;
    *hash = 0;
    if (read_wanted(&w, o, e)) return -1;
    if (w.measure[PASSKEY]) {
        struct passkey_plan plan;
        struct passkey_text *x = passkey_open(&plan, o, t, e);
        if (!x) return -1;
        passkey_text_free(x);
    }
    return w.measure[BITS] ? documents_hash(o, t, hash, e) : 0;
}

/* ---- the gates themselves ---- */

struct job {
    const struct task_run *run;
    int64_t heads, all;   /* heads of a layer; layers times heads */
    bool *gated, *chosen; /* [all] has a gate; is knocked out by itself */
    struct wanted wanted;
};

static struct interval plain(double value, int64_t n) {
    return (struct interval){.value = value, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
}

static void put(const struct job *j, const char *split, const char *condition, const char *metric, const char *unit,
                int64_t context, const char *position, struct interval v) {
    cell_measure(j->run->out, &(struct measurement){.split = split,
                                                    .condition = condition,
                                                    .metric = metric,
                                                    .unit = unit,
                                                    .position = position,
                                                    .context = context,
                                                    .writes = -1,
                                                    .n = v.n,
                                                    .value = v.value,
                                                    .standard_error = v.standard_error,
                                                    .low = v.low,
                                                    .high = v.high});
}

/* "layer.head"; -1: "all". */
static const char *place_of(const struct job *j, int64_t head, char room[48]) {
    if (head < 0)
        snprintf(room, 48, "all");
    else
        snprintf(room, 48, "%lld.%lld", (long long)(head / j->heads), (long long)(head % j->heads));
    return room;
}

static int measure_gates(struct job *j, struct error *e) {
    double *gate = xcalloc((size_t)j->all, sizeof *gate), *initial = xcalloc((size_t)j->all, sizeof *initial);
    int64_t count[3] = {0}, n = 0, others = 0; /* others: gates that are not what they were */
    int status = 0;
    char room[48];
    double moved = 0;
    model_gates(j->run->model, gate, initial);
    for (int64_t i = 0; i < j->all && !status; i++) {
        if (!j->gated[i]) continue;
        const char *place = place_of(j, i, room);
        enum head_kind kind = head_kind(gate[i]);
        if (isnan(gate[i])) status = fail(e, "gates: the gate of head %s is not a number; the model is broken", place);
        count[kind]++;
        n++;
        others += fabs(gate[i] - initial[i]) > 1e-6; /* more than rounding */
        moved += (gate[i] - initial[i]) * (gate[i] - initial[i]);
        put(j, "model", "", "gate", "fraction", 0, place, plain(gate[i], 1));
        put(j, "model", "", "gate_initial", "fraction", 0, place, plain(initial[i], 1));
        put(j, "model", "", "head_kind", "", 0, place, plain((double)kind - HEAD_MIXER, 1));
    }
    put(j, "model", "", "gate_moved", "fraction", 0, "all", plain(sqrt(moved / (double)n), n));
    put(j, "model", "", "share_moved", "fraction", 0, "all", plain((double)others / (double)n, n));
    static const char *const shares[] = {"share_local", "share_mixer", "share_memory"};
    for (int k = 0; k < 3; k++) put(j, "model", "", shares[k], "fraction", 0, "all", plain((double)count[k] / (double)n, n));
    free(gate);
    free(initial);
    return status;
}

/* ---- heads knocked out ---- */

/* One evaluation: nothing, all heads or one head knocked out. */
struct way {
    enum knock_out mode;
    int64_t head;     /* -1: all */
    int32_t *knocked; /* [all] */
    const char *name; /* of the mode; NULL: as trained */
    char label[96];   /* of the progress line */
};

/* The i-th evaluation, 0 as trained; false: there are no more. */
static bool next_way(struct way *w, const struct job *j, int64_t i, const char *what) {
    char room[48];
    int64_t at = i - 1;
    int k = 0;
    w->name = NULL;
    w->mode = KNOCK_NONE;
    w->head = -1;
    memset(w->knocked, 0, (size_t)j->all * sizeof *w->knocked);
    snprintf(w->label, sizeof w->label, "gates, %s", what);
    if (at < 0) return true;
    for (; k < 2; k++) { /* all heads, then one after the other */
        if (!j->wanted.way[k]) continue;
        if (at-- == 0) break;
        for (w->head = 0; w->head < j->all; w->head++)
            if (j->chosen[w->head] && at-- == 0) break;
        if (w->head < j->all) break;
        w->head = -1;
    }
    if (k == 2) return false;
    w->name = way_names[k];
    w->mode = k ? KNOCK_ZERO : KNOCK_OFF;
    for (int64_t h = 0; h < j->all; h++) w->knocked[h] = w->head < 0 || h == w->head ? (int32_t)w->mode : KNOCK_NONE;
    snprintf(w->label, sizeof w->label, "gates, %s, %s %s %s", what, w->head < 0 ? "memory" : "head",
             w->head < 0 ? "of all heads" : place_of(j, w->head, room), w->name);
    return true;
}

static int measure_bits(struct job *j, struct error *e) {
    const struct task_run *r = j->run;
    const struct options *o = r->options;
    struct corpus *c = documents_open(o, r->train, options_text(o, "split"), r->tokenizer, (size_t)options_int(o, "limit"), e);
    if (!c) return -1;
    int64_t segment = r->model->config.segment, segments = CALL_TOKENS / segment > 0 ? CALL_TOKENS / segment : 1;
    struct stream *s = stream_open(r->model, 1, segments, e);
    if (!s) {
        corpus_free(c);
        return -1;
    }
    struct scoring x = {.corpus = c, .segment = segment, .count = documents_count(o, c)};
    size_t n = (size_t)x.count;
    double *bits = xcalloc(n, sizeof *bits), *size = xcalloc(n, sizeof *size), *trained = xcalloc(n, sizeof *trained);
    struct way w = {.knocked = xcalloc((size_t)j->all, sizeof *w.knocked)};
    x.token_bytes = documents_token_bytes(r->tokenizer);
    x.sums = xcalloc(n, sizeof *x.sums);
    for (int64_t i = 0; next_way(&w, j, i, "bits per byte"); i++) {
        char condition[64] = "", room[48];
        const char *place = place_of(j, w.head, room);
        if (w.name) snprintf(condition, sizeof condition, "knockout=%s", w.name);
        stream_knock_out_heads(s, w.knocked);
        documents_score(&x, s, 1, segments * segment, w.label);
        for (int d = 0; d < x.count; d++) {
            bits[d] = size[d] = 0;
            for (int b = 0; b < BUCKETS; b++) {
                bits[d] += x.sums[d].nats[b] / log(2.0);
                size[d] += x.sums[d].bytes[b];
            }
            cell_sample(r->out, c->split, condition, "bits_per_byte", c->texts[d].name, place, bits[d], size[d]);
        }
        if (!i) memcpy(trained, bits, n * sizeof *bits);
        put(j, c->split, condition, "bits_per_byte", "bits/byte", 0, place, bootstrap_ratio(bits, size, x.count, BOOTSTRAP_SEED));
        if (i)
            put(j, c->split, condition, "bits_per_byte_change", "bits/byte", 0, place,
                bootstrap_paired(bits, size, trained, size, x.count, BOOTSTRAP_SEED));
    }
    stream_close(s);
    corpus_free(c);
    free(bits);
    free(size);
    free(trained);
    free(w.knocked);
    free(x.token_bytes);
    free(x.sums);
    return 0;
}

/* The samples of one length at all positions together; trained: the same as trained, or NULL. */
static void measure_answers(const struct job *j, const struct passkey_text *x, const struct passkey_plan *plan, int l, int64_t most,
                            const struct way *w, const struct passkey_outcome *o, const struct passkey_outcome *trained) {
    int64_t samples = plan->samples[l], n = samples * plan->places, exact = 0, only = 0, only_trained = 0, length = plan->length[l];
    double *nats = xcalloc((size_t)n, sizeof *nats), *before = xcalloc((size_t)n, sizeof *before);
    double *symbols = xcalloc((size_t)n, sizeof *symbols);
    char condition[128], room[48], name[64];
    const char *place = place_of(j, w->head, room);
    passkey_condition(condition, &x->shape, w->name, NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = ((int64_t)l * plan->places + i / samples) * most + i % samples;
        nats[i] = o[at].nats;
        symbols[i] = x->shape.value_length;
        exact += o[at].exact;
        before[i] = trained[at].nats;
        only += o[at].exact && !trained[at].exact;
        only_trained += trained[at].exact && !o[at].exact;
        snprintf(name, sizeof name, "L%lld-%s-%lld", (long long)length, plan->place[i / samples].name, (long long)(i % samples));
        cell_sample(j->run->out, "generated", condition, "exact_match", name, place, o[at].exact, 1);
        cell_sample(j->run->out, "generated", condition, "answer_nll", name, place, nats[i], symbols[i]);
    }
    put(j, "generated", condition, "exact_match", "fraction", length, place, wilson(exact, n));
    put(j, "generated", condition, "answer_nll", "nats/token", length, place, bootstrap_ratio(nats, symbols, n, BOOTSTRAP_SEED));
    if (w->name) {
        put(j, "generated", condition, "exact_match_change", "fraction", length, place, paired_shares(only, only_trained, n));
        put(j, "generated", condition, "answer_nll_change", "nats/token", length, place,
            bootstrap_paired(nats, symbols, before, symbols, n, BOOTSTRAP_SEED));
    }
    free(nats);
    free(before);
    free(symbols);
}

static int measure_passkey(struct job *j, struct error *e) {
    struct passkey_plan plan;
    struct passkey_text *x = passkey_open(&plan, j->run->options, j->run->tokenizer, e);
    struct passkey_outcome *trained = NULL;
    struct way w = {.knocked = xcalloc((size_t)j->all, sizeof *w.knocked)};
    int status = x ? 0 : -1;
    for (int64_t i = 0; !status && next_way(&w, j, i, "passkey"); i++) {
        int64_t most;
        plan.knock_out = w.head < 0 ? w.mode : KNOCK_NONE;
        plan.knocked = w.head < 0 ? NULL : w.knocked;
        plan.label = w.label;
        struct passkey_outcome *o = passkey_evaluate(j->run->model, x, &plan, &most, e);
        if (!o) {
            status = -1;
            break;
        }
        if (!trained) trained = o;
        for (int l = 0; l < plan.lengths; l++) measure_answers(j, x, &plan, l, most, &w, o, trained);
        if (o != trained) free(o);
    }
    free(trained);
    free(w.knocked);
    passkey_text_free(x);
    return status;
}

/* ---- the run ---- */

/* heads = all | none | layer.head, ... */
static int choose_heads(struct job *j, struct error *e) {
    const char *list = options_text(j->run->options, "heads");
    const struct model_config *c = &j->run->model->config;
    bool all = !strcmp(list, "all");
    char word[40];
    for (int64_t i = 0; i < j->all; i++) j->chosen[i] = all && j->gated[i];
    if (all || !strcmp(list, "none")) return 0;
    for (const char *at = list; (at = list_next(at, word, sizeof word));) {
        char *dot = strchr(word, '.');
        int64_t layer, head;
        if (dot) *dot = 0;
        if (!dot || parse_int(word, &layer) || parse_int(dot + 1, &head)) {
            if (dot) *dot = '.';
            return fail(e, "gates: heads: '%s' is not layer.head, as in 0.1, 2.3 (or all, none)", word);
        }
        if (layer < 0 || layer >= c->layers || head < 0 || head >= c->heads)
            return fail(e, "gates: heads: there is no head %lld.%lld; the model has layers 0 to %lld with heads 0 to %lld",
                        (long long)layer, (long long)head, (long long)c->layers - 1, (long long)c->heads - 1);
        if (!j->gated[layer * j->heads + head])
            return fail(e, "gates: heads: layer %lld of this %s has no gate", (long long)layer, c->arch->name);
        j->chosen[layer * j->heads + head] = true;
    }
    return 0;
}

static void skip(struct job *j) {
    const struct model_config *c = &j->run->model->config;
    bool twin = options_has(&c->options, "update");
    put(j, "model", twin ? "skipped=no gates without a memory" : "skipped=the architecture has no gates", "skipped", "", 0, "all",
        plain(1, 0));
    fprintf(stderr, "gates: skipped: %s%s has no gates between a memory and the local attention\n", c->arch->name,
            twin ? " without a memory (update = none)" : "");
}

static int run(struct task_run *r, struct error *e) {
    const struct model *m = r->model;
    struct job j = {.run = r, .heads = m->config.heads, .all = m->config.layers * m->config.heads};
    if (read_wanted(&j.wanted, r->options, e)) return -1;
    int64_t gated = 0;
    j.gated = xcalloc((size_t)j.all, sizeof *j.gated);
    j.chosen = xcalloc((size_t)j.all, sizeof *j.chosen);
    for (int64_t i = 0; i < j.all; i++) gated += j.gated[i] = layer_gate(m, i / j.heads) != NULL;
    int status = 0;
    if (!gated)
        skip(&j);
    else
        status = choose_heads(&j, e) || measure_gates(&j, e) || (j.wanted.measure[BITS] && measure_bits(&j, e)) ||
                         (j.wanted.measure[PASSKEY] && measure_passkey(&j, e))
                     ? -1
                     : 0;
    free(j.gated);
    free(j.chosen);
    return status;
}

extern const struct task task_gates;
const struct task task_gates = {
    .name = "gates",
    .version = 1,
    .summary = "gates by layer and head, kinds of heads, and what each head's memory is worth when it is knocked out",
    .protocol =
        "gate = sigmoid(beta) of the model, gate_initial that of its initialisation, position layer.head; gate_moved: the "
        "difference, root "
        "mean square over heads; share_moved: of heads whose gate moved by more than 1e-6. head_kind: -1 below 0.1 "
        "(specialised, local), 0 from 0.1 to 0.9 (mixer), 1 above 0.9 (specialised, memory); share_*: of all heads. Then the same "
        "texts once as trained, once with the memory of all heads (position all) and once with that of each head alone "
        "(layer.head) "
        "knocked out; everything else of the forward pass, the writing of the memories too, stays. knockout=off: the gate of the "
        "head forced to 0, its local part unscaled; knockout=zero: its memory reads 0, its local part keeps 1 - g. "
        "*_change: knocked out minus as trained, paired over documents or samples. bits_per_byte as the task language_modeling "
        "scores documents; bootstrap over documents. exact_match and answer_nll as the task passkey, all positions together; "
        "exact_match: Wilson, its change: Tango's paired interval; answer_nll: bootstrap over samples. 95 %. Models without gates "
        "are skipped.",
    .metrics = metrics,
    .options = options,
    .run = run,
    .data_hash = data_hash,
};
