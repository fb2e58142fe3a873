/* engine.c - small models with parameters from a formula, texts, calls and steps for the tests of the whole engine. */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call, what) ((call) ? (fprintf(stderr, "%s: %s\n", what, e.text), abort()) : (void)0)

int64_t engine_longest = 40;
const struct kernels *engine_kernels;

/* ---- the formula ---- */

static uint64_t fnv1a64(const char *name) {
    uint64_t h = 0xCBF29CE484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001B3u;
    return h;
}

double formula_uniform(const char *name, int64_t i) {
    uint64_t x = fnv1a64(name) + (uint64_t)i + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return (double)(x >> 11) * 0x1p-52 - 1;
}

double formula_value(const char *param, int64_t i) {
    static const struct {
        const char *name;
        double offset, scale;
    } table[] = {{"norm1", 1, 0.1},       {"norm2", 1, 0.1},        {"final_norm", 1, 0.1},
                 {"embed", 0, 1},         {"beta", 0, 1},           {"qk_scale", 3, 1},
                 {"memory_gate", 0, 1},   {"rel_bias", 0, 1},       {"u", 0, 0.5},
                 {"v", 0, 0.5},           {"memory_init", 0, 1},    {"memory_norm", 1, 0.1},
                 {"summary_embed", 0, 1}, {"summary_norm", 1, 0.1}, {"head_norm", 1, 0.1}};
    const char *dot = strrchr(param, '.'), *last = dot ? dot + 1 : param;
    for (size_t j = 0; j < sizeof table / sizeof *table; j++)
        if (!strcmp(table[j].name, last)) return table[j].offset + table[j].scale * formula_uniform(param, i);
    return 0.3 * formula_uniform(param, i);
}

/* ---- models ---- */

/* Calls set(key, value) for "key=value key=value". */
static void each_pair(const char *text, void (*set)(void *, const char *, const char *), void *data) {
    char *copy = xstrdup(text ? text : ""), *rest = copy, *pair;
    while ((pair = strtok_r(rest, " ", &rest))) {
        char *value = strchr(pair, '=');
        CHECK(value, "'%s' is not key=value", pair);
        *value++ = 0;
        set(data, pair, value);
    }
    free(copy);
}

static void set_shape(void *data, const char *key, const char *value) {
    struct error e = {""};
    MUST(config_set(data, key, value, "test shape", &e) != 0, key);
}

static void set_option(void *data, const char *key, const char *value) {
    struct error e = {""};
    MUST(options_set(data, key, value, "test options", &e) != 0, key);
}

struct model *engine_model(const char *arch, const char *options, const char *shape) {
    struct error e = {""};
    struct model_config c;
    memset(&c, 0, sizeof c);
    MUST(config_preset(&c, "nano", &e), "preset nano");
    c.arch = baseline_find(arch, &e);
    MUST(!c.arch, arch);
    options_init(&c.options, c.arch->options);
    each_pair(shape, set_shape, &c);
    each_pair(options, set_option, &c.options);
    MUST(config_finish(&c, &e), arch);
    struct model *m = model_create(&c, engine_kernels ? engine_kernels : kernels_cpu(1, NULL), 1, &e);
    MUST(!m, arch);
    return m;
}

void engine_upload(const struct model *m, real *data, const double *values, int64_t n) {
    real *host = xcalloc((size_t)n, sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = (real)values[i];
    m->k->upload(data, host, (size_t)n * sizeof *host);
    free(host);
}

double *engine_download(const struct model *m, const real *data, int64_t n) {
    real *host = xcalloc((size_t)n, sizeof *host);
    double *values = xcalloc((size_t)n, sizeof *values);
    m->k->download(host, data, (size_t)n * sizeof *host);
    for (int64_t i = 0; i < n; i++) values[i] = host[i];
    free(host);
    return values;
}

void engine_fill(struct model *m) {
    for (int p = 0; p < m->param_count; p++) {
        struct param *q = m->params[p];
        double *v = xcalloc((size_t)q->n, sizeof *v);
        for (int64_t i = 0; i < q->n; i++) v[i] = formula_value(q->name, i);
        engine_upload(m, q->leaf.data, v, q->n);
        free(v);
    }
}

double *engine_all_values(struct model *m) {
    double *all = xcalloc((size_t)m->elements, sizeof *all), *at = all;
    for (int p = 0; p < m->param_count; at += m->params[p++]->n) {
        double *v = engine_download(m, m->params[p]->leaf.data, m->params[p]->n);
        memcpy(at, v, (size_t)m->params[p]->n * sizeof *v);
        free(v);
    }
    return all;
}

void engine_set_values(struct model *m, const double *v) {
    for (int p = 0; p < m->param_count; v += m->params[p++]->n) engine_upload(m, m->params[p]->leaf.data, v, m->params[p]->n);
}

double *engine_all_gradients(struct model *m) {
    double *all = xcalloc((size_t)m->elements, sizeof *all), *at = all;
    for (int p = 0; p < m->param_count; at += m->params[p++]->n) {
        double *v = engine_download(m, m->params[p]->grad, m->params[p]->n);
        memcpy(at, v, (size_t)m->params[p]->n * sizeof *v);
        free(v);
    }
    return all;
}

/* ---- texts ---- */

struct text_batch *engine_text(int64_t batch, int64_t segments, int64_t n, int64_t vocab, const int *documents, const int *lens) {
    struct text_batch *x = xcalloc(1, sizeof *x);
    int64_t T = segments * n;
    x->batch = batch;
    x->segments = segments;
    x->n = n;
    x->tokens = xcalloc((size_t)(batch * T), sizeof *x->tokens);
    x->targets = xcalloc((size_t)(batch * T), sizeof *x->targets);
    x->weights = xcalloc((size_t)(batch * T), sizeof *x->weights);
    x->since = xcalloc((size_t)(batch * segments), sizeof *x->since);
    x->len = xcalloc((size_t)(batch * segments), sizeof *x->len);
    double sum = 0;
    for (int64_t i = 0; i < batch * segments; i++) {
        int starts = i % segments == 0 || (documents && documents[i]);
        x->since[i] = starts ? 0 : x->since[i - 1] + (int32_t)n;
        x->len[i] = lens ? lens[i] : (int32_t)n;
    }
    for (int64_t i = 0; i < batch * T; i++) {
        int64_t s = i / n, t = i % n;
        x->targets[i] = -1;
        if (t >= x->len[s]) continue;
        int last = t + 1 == x->len[s] && ((s + 1) % segments == 0 || x->since[s + 1] == 0);
        int32_t here = 1 + (int32_t)floor((formula_uniform("text", i) + 1) / 2 * (double)(vocab - 1));
        int32_t next = 1 + (int32_t)floor((formula_uniform("text", i + 1) + 1) / 2 * (double)(vocab - 1));
        x->tokens[i] = x->since[s] + t == 0 ? 0 : here;
        x->targets[i] = last ? 0 : next;
        x->weights[i] = (float)(1 + 0.5 * formula_uniform("text weight", i));
        sum += x->weights[i];
    }
    for (int64_t i = 0; i < batch * T; i++) x->weights[i] = (float)(x->weights[i] / sum);
    return x;
}

void engine_text_free(struct text_batch *b) {
    free(b->tokens);
    free(b->targets);
    free(b->weights);
    free(b->since);
    free(b->len);
    free(b);
}

struct batch engine_batch(const struct text_batch *b) {
    struct batch out = {.rows = b->batch,
                        .segments = b->segments,
                        .n = b->n,
                        .tokens = b->tokens,
                        .targets = b->targets,
                        .weights = b->weights,
                        .since = b->since,
                        .len = b->len,
                        .weight_sum = 1};
    for (int64_t i = 0; i < b->batch * b->segments * b->n; i++) out.scored += b->weights[i] > 0;
    return out;
}

static int32_t *columns(const int32_t *x, int64_t batch, int64_t width, int64_t from, int64_t count) {
    int32_t *out = xcalloc((size_t)(batch * count), sizeof *out);
    for (int64_t b = 0; b < batch; b++) memcpy(out + b * count, x + b * width + from, (size_t)count * sizeof *out);
    return out;
}

struct text_batch *engine_slice(const struct text_batch *b, int64_t first, int64_t segments) {
    struct text_batch *x = xcalloc(1, sizeof *x);
    int64_t width = b->segments * b->n, from = first * b->n, count = segments * b->n;
    *x = (struct text_batch){.batch = b->batch, .segments = segments, .n = b->n};
    x->tokens = columns(b->tokens, b->batch, width, from, count);
    x->targets = columns(b->targets, b->batch, width, from, count);
    x->since = columns(b->since, b->batch, b->segments, first, segments);
    x->len = columns(b->len, b->batch, b->segments, first, segments);
    x->weights = xcalloc((size_t)(b->batch * count), sizeof *x->weights);
    for (int64_t i = 0; i < b->batch * count; i++) x->weights[i] = b->weights[i / count * width + from + i % count];
    return x;
}

/* ---- calls ---- */

/* Of an architecture that takes one segment a call: one after the other. */
static double *logits_by_segment(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments,
                                 const int32_t *knocked) {
    struct error e = {""};
    struct state *own = NULL;
    int64_t piece = b->n * m->config.vocab;
    double *out = xcalloc((size_t)(b->batch * segments * piece), sizeof *out);
    if (!s) MUST(!(s = own = state_create(m, b->batch, 1, &e)), "state");
    for (int64_t i = 0; i < segments; i++) {
        double *x = engine_logits_heads(m, s, b, first + i, 1, knocked);
        for (int64_t row = 0; row < b->batch; row++)
            memcpy(out + (row * segments + i) * piece, x + row * piece, (size_t)piece * sizeof *out);
        free(x);
    }
    if (own) state_free(own);
    return out;
}

double *engine_logits_heads(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments,
                            const int32_t *knocked) {
    struct error e = {""};
    struct state *own = NULL;
    if (segments > 1 && !m->config.arch->layer_major) return logits_by_segment(m, s, b, first, segments, knocked);
    if (!s) MUST(!(s = own = state_create(m, b->batch, segments, &e)), "state");
    struct text_batch *x = engine_slice(b, first, segments);
    struct call c = {.batch = b->batch,
                     .segments = segments,
                     .n = b->n,
                     .tokens = x->tokens,
                     .since = x->since,
                     .len = x->len,
                     .knocked = knocked};
    struct tape t;
    struct forward f;
    double *out = NULL;
    tape_init(&t, m->k);
    for (int pass = 0; pass < 2; pass++) { /* dry, then real */
        if (pass == 0)
            tape_dry(&t);
        else
            MUST(tape_allocate(&t, &e), "tape");
        memset(&f, 0, sizeof f);
        forward_begin(&f, &t, s, &c);
        struct tensor *logits = model_forward(&f, true);
        if (pass) {
            out = engine_download(m, logits->data, logits->n);
            forward_commit(&f, s);
            for (int64_t row = 0; row < b->batch; row++) state_advance(s, &c, row);
        }
    }
    tape_free(&t);
    engine_text_free(x);
    if (own) state_free(own);
    return out;
}

double *engine_logits(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments,
                      enum knock_out knock_out) {
    int64_t heads = m->config.layers * m->config.heads;
    int32_t *knocked = xcalloc((size_t)heads, sizeof *knocked);
    for (int64_t i = 0; i < heads; i++) knocked[i] = (int32_t)knock_out;
    double *out = engine_logits_heads(m, s, b, first, segments, knock_out == KNOCK_NONE ? NULL : knocked);
    free(knocked);
    return out;
}

double engine_loss(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments) {
    double *logits = engine_logits(m, s, b, first, segments, KNOCK_NONE), loss = 0;
    int64_t T = segments * b->n, all = b->segments * b->n, V = m->config.vocab;
    for (int64_t r = 0; r < b->batch * T; r++) {
        int64_t at = r / T * all + first * b->n + r % T;
        if (b->targets[at] < 0) continue;
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++) max = fmax(max, logits[r * V + v]);
        for (int64_t v = 0; v < V; v++) sum += exp(logits[r * V + v] - max);
        loss += b->weights[at] * (max + log(sum) - logits[r * V + b->targets[at]]);
    }
    free(logits);
    return loss;
}

/* ---- training ---- */

#define SOURCE_ROWS 16
struct formula_source {
    struct source s;
    int64_t vocab, count[SOURCE_ROWS];
    int32_t *tokens[SOURCE_ROWS];
};

static void source_next(struct source *s, int64_t row, struct document *d) {
    struct formula_source *f = (struct formula_source *)s;
    CHECK(row < SOURCE_ROWS, "row %lld", (long long)row);
    int64_t id = f->count[row]++ * SOURCE_ROWS + row;
    d->n = 1 + (int64_t)floor((formula_uniform("document", id) + 1) / 2 * (double)engine_longest);
    d->weights = NULL;
    d->carried = -1;
    f->tokens[row] = xrealloc(f->tokens[row], (size_t)d->n, sizeof *f->tokens[row]);
    for (int64_t i = 0; i < d->n; i++)
        f->tokens[row][i] =
            1 + (int32_t)floor((formula_uniform("document token", id * 100000 + i) + 1) / 2 * (double)(f->vocab - 1));
    d->tokens = f->tokens[row];
}

static char *source_save(const struct source *s) {
    (void)s;
    return xstrdup("");
}

static int source_load(struct source *s, const char *text, struct error *e) {
    (void)s;
    (void)text;
    return fail(e, "the formula's documents cannot be resumed");
}

static void source_free(struct source *s) {
    struct formula_source *f = (struct formula_source *)s;
    for (int i = 0; i < SOURCE_ROWS; i++) free(f->tokens[i]);
    free(f);
}

static struct source *formula_source(int64_t vocab) {
    struct formula_source *f = xcalloc(1, sizeof *f);
    f->s = (struct source){
        .name = "formula", .next = source_next, .save = source_save, .load = source_load, .free = source_free, .data = f};
    f->vocab = vocab;
    return &f->s;
}

static struct {
    struct trainer *trainer;
    struct source *source;
} open_trainers[8];

void engine_trainer_free(struct trainer *t) {
    trainer_free(t);
    for (int i = 0; i < 8; i++)
        if (open_trainers[i].trainer == t) {
            open_trainers[i].source->free(open_trainers[i].source);
            open_trainers[i].trainer = NULL;
            return;
        }
    CHECK(false, "this trainer was not made by engine_trainer");
}

struct trainer *engine_trainer(struct model *m, enum step_mode mode, bool carry, double lr, int64_t steps) {
    struct error e = {""};
    struct options o;
    struct train_config c;
    options_init(&o, train_options);
    train_config_from(&c, &o);
    c.mode = mode;
    c.carry = carry;
    c.lr = lr;
    c.steps = steps;
    c.warmup = 0;
    struct source *source = formula_source(m->config.vocab);
    struct trainer *t = trainer_create(m, &c, source, &e);
    MUST(!t, "trainer");
    for (int i = 0; i < 8; i++)
        if (!open_trainers[i].trainer) {
            open_trainers[i].trainer = t;
            open_trainers[i].source = source;
            return t;
        }
    CHECK(false, "more than 8 trainers at once");
}

double engine_gradients(struct model *m, enum step_mode mode, const struct text_batch *b) {
    struct trainer *t = engine_trainer(m, mode, false, 1e-3, 10);
    struct batch x = engine_batch(b);
    double loss = trainer_gradients(t, &x);
    engine_trainer_free(t);
    return loss;
}

/* ---- comparisons ---- */

double engine_error(const double *a, const double *b, int64_t n, double floor_, int64_t *at) {
    double largest = floor_, worst = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(b[i]));
    if (at) *at = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!(d <= worst)) {
            worst = isfinite(d) ? d : INFINITY;
            if (at) *at = i;
        }
        if (!isfinite(a[i]) || !isfinite(b[i])) worst = INFINITY;
    }
    return worst == 0 ? 0 : worst / largest;
}

int engine_same(const double *a, const double *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(a[i] == b[i])) return 0;
    return 1;
}
