/* memory.c - what a text leaves in memory: by the paper's formula, as really carried, as attended to, and in the process.
 *
 * One text of random tokens is streamed to each of the contexts in turn; what is carried is counted in the state that the stream
 * holds by then (state_live), not taken from a formula. Values of the state do not matter and are not looked at. For named shapes
 * (harness/shapes.h) only the formula is computed. The formulas are those of the architectures' files.
 */
#include "harness/footprint.h"
#include "harness/shapes.h"
#include "harness/task.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXTS 32
#define SHAPES 16
#define CALL_TOKENS 2048 /* a call */

static const struct metric metrics[] = {
    {"formula_elements", "elements", -1}, {"formula_bytes", "bytes", -1},
    {"ratio_to_memorizing", "ratio", 1},  {"attended_elements", "elements", 0},
    {"carried_elements", "elements", -1}, {"carried_bytes", "bytes", -1},
    {"counter_bytes", "bytes", -1},       {"arena_bytes", "bytes", -1},
    {"parameter_bytes", "bytes", 0},      {"resident_bytes", "bytes", -1},
    {"resident_peak_bytes", "bytes", -1}, {"resident_growth_bytes", "bytes", -1},
    {"tokens_per_second", "tokens/s", 1}, {NULL, NULL, 0},
};

static const struct option options[] = {
    {"contexts", OPTION_TEXT, "2K, 8K, 32K, 128K, 512K, 1M", 0, 0, NULL, "tokens after which is counted, a rising list"},
    {"stream", OPTION_INT, "0", 0, 1e15, NULL, "stream no further than this; formulas go on. 0: to the last context"},
    {"resident", OPTION_BOOL, "no", 0, 0, NULL, "measure resident memory of the process and tokens/s"},
    {"shapes", OPTION_TEXT, "", 0, 0, NULL, "also the formula at these shapes, e.g. paper, llama-3-8b (list presets)"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

struct plan {
    int64_t context[CONTEXTS];
    int contexts;
    struct shape shape[SHAPES];
    int shapes;
};

static int read_plan(struct plan *p, const struct options *o, struct error *e) {
    p->contexts = parse_rising(options_text(o, "contexts"), p->context, CONTEXTS, "memory: contexts", e);
    if (p->contexts < 0) return -1;
    char *names = xstrdup(options_text(o, "shapes")), *rest = NULL;
    int status = 0;
    for (char *w = strtok_r(names, ", ", &rest); w && !status; w = strtok_r(NULL, ", ", &rest))
        status = p->shapes == SHAPES ? fail(e, "memory: shapes has more than %d names", SHAPES)
                                     : shape_find(&p->shape[p->shapes++], w, e);
    free(names);
    return status;
}

static void measure(struct cell_writer *w, const char *condition, const char *metric, int64_t context, double value) {
    const struct metric *m = metrics;
    while (strcmp(m->name, metric) != 0) m++;
    cell_value(w, &(struct measurement){.split = "generated",
                                        .condition = condition,
                                        .metric = metric,
                                        .unit = m->unit,
                                        .position = "all",
                                        .context = context,
                                        .n = 1,
                                        .value = value});
}

/* ---- by formula ---- */

static int formulas(struct cell_writer *w, const struct model_config *c, const char *condition, int64_t bytes, const struct plan *p,
                    struct error *e) {
    const struct footprint *f = c->arch->footprint ? c->arch->footprint(c) : NULL;
    if (!f) return fail(e, "memory: architecture %s declares no memory footprint", c->arch->name);
    for (int k = 0; k < p->contexts; k++) {
        int64_t elements = f->elements(c, p->context[k]), size = count_times(elements, bytes);
        double ratio = footprint_ratio(c, p->context[k]);
        if (size == COUNT_OVERFLOW)
            return fail(e, "memory: %s after %lld tokens: the bytes exceed 2^63; choose a smaller context", f->model,
                        (long long)p->context[k]);
        measure(w, condition, "formula_elements", p->context[k], (double)elements);
        measure(w, condition, "formula_bytes", p->context[k], (double)size);
        if (!isnan(ratio)) measure(w, condition, "ratio_to_memorizing", p->context[k], ratio);
    }
    return 0;
}

static int named_shapes(struct task_run *r, const struct plan *p, struct error *e) {
    for (int i = 0; i < p->shapes; i++) {
        const struct shape *x = &p->shape[i];
        struct model_config c = x->config;
        char condition[80];
        c.arch = r->model->config.arch;
        c.options = r->model->config.options;
        snprintf(condition, sizeof condition, "shape=%s", x->name);
        if (formulas(r->out, &c, condition, x->bytes, p, e)) return -1;
        if (x->parameters) measure(r->out, condition, "parameter_bytes", 0, (double)x->parameters * (double)x->bytes);
    }
    return 0;
}

/* ---- really ---- */

struct reading {
    struct stream *stream;
    int32_t *tokens;
    float *nll;
    int64_t chunk, vocab;
    struct rng rng;
    struct progress progress;
};

static void feed(struct reading *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x->tokens[i] = (int32_t)(1 + rng_below(&x->rng, x->vocab - 1));
    stream_score(x->stream, (const int32_t *const *)&x->tokens, &n, &x->nll);
}

static void measure_state(struct cell_writer *w, const struct stream *s, int64_t context) {
    int64_t live = state_live(stream_state(s), 0);
    measure(w, "", "carried_elements", context, (double)live);
    measure(w, "", "carried_bytes", context, (double)live * (double)sizeof(real));
    measure(w, "", "counter_bytes", context, (double)stream_counter_bytes(s, 0));
    measure(w, "", "arena_bytes", context, (double)stream_state_bytes(s));
}

static void read_on(struct task_run *r, struct reading *x, const struct plan *p, int64_t stream) {
    bool resident_too = options_bool(r->options, "resident"), peak = resident_too && peak_forget();
    double before = (double)resident();
    for (int k = 0; k < p->contexts && p->context[k] <= stream; k++) {
        double start = now();
        int64_t from = stream_position(x->stream, 0);
        for (int64_t at; (at = stream_position(x->stream, 0)) < p->context[k];) {
            feed(x, p->context[k] - at < x->chunk ? p->context[k] - at : x->chunk);
            progress_update(&x->progress, stream_position(x->stream, 0), "resident %.0f MiB", (double)resident() / 1048576);
        }
        double seconds = now() - start;
        measure_state(r->out, x->stream, p->context[k]);
        if (!resident_too) continue;
        double size = (double)resident();
        measure(r->out, "", "resident_bytes", p->context[k], size);
        measure(r->out, "", "resident_growth_bytes", p->context[k], size - before);
        if (peak) measure(r->out, "", "resident_peak_bytes", p->context[k], (double)peak_resident());
        measure(r->out, "", "tokens_per_second", p->context[k], (double)(p->context[k] - from) / seconds);
    }
}

static int read_text(struct task_run *r, const struct plan *p, int64_t stream, struct error *e) {
    int64_t n = r->model->config.segment, segments = n < CALL_TOKENS ? CALL_TOKENS / n : 1;
    struct reading x = {.chunk = segments * n, .vocab = r->model->config.vocab};
    malloc_trim(0); /* what models before this one have left does not count */
    x.stream = stream_open(r->model, 1, segments, e);
    if (!x.stream) return -1;
    x.tokens = xcalloc((size_t)x.chunk, sizeof *x.tokens);
    x.nll = xcalloc((size_t)x.chunk, sizeof *x.nll);
    rng_seed(&x.rng, r->seed, hash64("memory", 6, 0));
    /* The first calls touch every buffer that a call works in; the text begins after them. */
    feed(&x, x.chunk);
    feed(&x, n > 1 ? n - 1 : 1);
    stream_reset(x.stream, -1);
    int64_t last = 0;
    for (int k = 0; k < p->contexts; k++)
        if (p->context[k] <= stream) last = p->context[k];
    progress_begin(&x.progress, "memory", last);
    read_on(r, &x, p, stream);
    progress_end(&x.progress);
    stream_close(x.stream);
    free(x.tokens);
    free(x.nll);
    return 0;
}

static int run(struct task_run *r, struct error *e) {
    const struct model_config *c = &r->model->config;
    struct plan *p = xcalloc(1, sizeof *p);
    int64_t stream = options_int(r->options, "stream");
    int status = read_plan(p, r->options, e);
    if (!status) status = formulas(r->out, c, "", sizeof(real), p, e);
    if (!status) {
        for (int k = 0; k < p->contexts; k++)
            measure(r->out, "", "attended_elements", p->context[k],
                    c->arch->attended ? (double)c->arch->attended(c, p->context[k]) : 0);
        measure(r->out, "", "parameter_bytes", 0, (double)r->model->elements * (double)sizeof(real));
        status = named_shapes(r, p, e);
    }
    if (!status) status = read_text(r, p, stream ? stream : p->context[p->contexts - 1], e);
    free(p);
    return status;
}

/* The shapes' numbers: their file may change. */
static int data_hash(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e) {
    struct plan *p = xcalloc(1, sizeof *p);
    int status = read_plan(p, o, e);
    (void)t;
    *hash = 0;
    for (int i = 0; i < p->shapes && !status; i++) {
        const struct model_config *c = &p->shape[i].config;
        int64_t n[] = {c->layers, c->d, c->heads, c->kv_heads, c->e, c->segment, p->shape[i].bytes, p->shape[i].parameters};
        *hash = hash64(n, sizeof n, *hash);
    }
    free(p);
    return status;
}

const struct task task_memory = {
    .name = "memory",
    .version = 2,
    .summary = "state carried, state attended to, the paper's formula, and resident memory, by context length",
    .protocol =
        "one text of random tokens, streamed in constant memory; after each context: formula_elements by the row of the paper's "
        "Table 1 (bank of the whole text where it has one), carried_elements counted in the state that is held (whole segments; "
        "a cache that is not full counts the rows that are), counter_bytes beside it (counters, indices, inputs of the open "
        "segment), arena_bytes with spare rows, attended_elements of one query, ratio_to_memorizing = formula of Memorizing "
        "Transformers at equal shape (bank of the whole text, cache of one segment) over the row's. resident_bytes: of the "
        "process; growth: since the first calls; peak: since then; tokens/s of the part since the context before",
    .metrics = metrics,
    .options = options,
    .run = run,
    .data_hash = data_hash,
    .draws = true,
};
