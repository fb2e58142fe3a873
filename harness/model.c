/* model.c - parameters and the forward pass of the decoder; the mixers are in baselines/. */
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- declaration ---- */

struct param *model_param(struct model *m, int layer, const char *name, int64_t rows, int64_t cols, enum init_kind init, double std,
                          enum param_group group) {
    CHECK(m->param_count < PARAM_LIMIT, "more than %d parameters", PARAM_LIMIT);
    struct param *p = xcalloc(1, sizeof *p);
    if (layer >= 0)
        snprintf(p->name, sizeof p->name, "layers.%d.%s", layer, name);
    else
        snprintf(p->name, sizeof p->name, "%s", name);
    CHECK(!model_find(m, p->name), "parameter '%s' is declared twice", p->name);
    p->shape[0] = rows, p->shape[1] = cols, p->n = rows * cols;
    p->init = init, p->std = std, p->group = group;
    m->params[m->param_count++] = p;
    m->elements += p->n;
    return p;
}

int model_state(struct model *m, int layer, const char *name, enum state_kind kind, int64_t rows, int64_t width,
                struct param *init) {
    CHECK(m->state_count < STATE_LIMIT, "more than %d states", STATE_LIMIT);
    struct state_spec *s = m->states + m->state_count;
    if (layer >= 0)
        snprintf(s->name, sizeof s->name, "layers.%d.%s", layer, name);
    else
        snprintf(s->name, sizeof s->name, "%s", name);
    s->layer = layer, s->kind = kind, s->rows = rows, s->width = width, s->init = init;
    return m->state_count++;
}

void model_constant(struct model *m, const char *name, const double *host, int64_t rows, int64_t width) {
    CHECK(m->constant_count < 8, "more than 8 constants");
    struct model_constant *c = m->constants + m->constant_count++;
    snprintf(c->name, sizeof c->name, "%s", name);
    c->rows = rows, c->width = width;
    if (!m->k) return; /* a plan */
    size_t n = (size_t)(rows * width);
    real *converted = xcalloc(n, sizeof *converted);
    for (size_t i = 0; i < n; i++) converted[i] = (real)host[i];
    c->data = m->k->alloc(n * sizeof *converted);
    CHECK(c->data, "no memory for the table '%s'", name);
    m->k->upload(c->data, converted, n * sizeof *converted);
    free(converted);
}

struct tensor *constant_leaf(struct forward *f, const char *name) {
    for (int i = 0; i < f->model->constant_count; i++) {
        struct model_constant *c = f->model->constants + i;
        if (!strcmp(c->name, name)) return tape_leaf(f->tape, c->name, c->data, c->rows, c->width, false);
    }
    CHECK(false, "there is no table '%s'", name);
}

struct param *model_find(const struct model *m, const char *name) {
    for (int i = 0; i < m->param_count; i++)
        if (!strcmp(m->params[i]->name, name)) return m->params[i];
    return NULL;
}

struct param *layer_param(const struct model *m, int layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "layers.%d.%s", layer, name);
    struct param *p = model_find(m, layer >= 0 ? full : name);
    CHECK(p, "there is no parameter '%s'", layer >= 0 ? full : name);
    return p;
}

int layer_state(const struct model *m, int layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "layers.%d.%s", layer, name);
    for (int i = 0; i < m->state_count; i++)
        if (!strcmp(m->states[i].name, layer >= 0 ? full : name)) return i;
    CHECK(false, "there is no state '%s'", layer >= 0 ? full : name);
}

/* Weights draw from N(0, 1/fan_in); the two products that write into the residual stream are smaller by sqrt(2 layers), so that the
 * stream keeps its scale with depth. */
static void declare(struct model *m) {
    const struct model_config *c = &m->config;
    if (c->arch->logits) {
        c->arch->declare(m, -1);
        return;
    }
    double in = 1 / sqrt((double)c->d), deep = 1 / sqrt(2.0 * (double)c->layers);
    int64_t q = c->heads * c->e, kv = c->kv_heads * c->e, f = c->ffn_used;
    m->embed = model_param(m, -1, "embed", c->vocab, c->d, INIT_NORMAL, c->tied ? in : 1, GROUP_WEIGHT);
    m->layer = xcalloc((size_t)c->layers, sizeof *m->layer);
    c->arch->declare(m, -1);
    for (int l = 0; l < c->layers; l++) {
        struct layer_params *p = m->layer + l;
        p->norm1 = model_param(m, l, "norm1", 1, c->d, INIT_ONE, 0, GROUP_NORM);
        p->wq = model_param(m, l, "wq", q, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        p->wk = model_param(m, l, "wk", kv, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        p->wv = model_param(m, l, "wv", kv, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        p->wo = model_param(m, l, "wo", c->d, q, INIT_NORMAL, deep / sqrt((double)q), GROUP_WEIGHT);
        c->arch->declare(m, l);
        p->norm2 = model_param(m, l, "norm2", 1, c->d, INIT_ONE, 0, GROUP_NORM);
        if (!c->ffn_relu) p->w_gate = model_param(m, l, "w_gate", f, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        p->w_up = model_param(m, l, "w_up", f, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        p->w_down = model_param(m, l, "w_down", c->d, f, INIT_NORMAL, deep / sqrt((double)f), GROUP_WEIGHT);
    }
    m->final_norm = model_param(m, -1, "final_norm", 1, c->d, INIT_ONE, 0, GROUP_NORM);
    m->head = c->tied ? m->embed : model_param(m, -1, "head", c->vocab, c->d, INIT_NORMAL, 0.5 * in, GROUP_WEIGHT);
}

struct model *model_create(const struct model_config *c, const struct kernels *k, uint64_t seed, struct error *e) {
    if (c->e > HEAD_MOST) {
        fail(e, "head_dim = %lld: the kernels hold a memory of %d x %d for each head at most; take more heads", (long long)c->e,
             HEAD_MOST, HEAD_MOST);
        return NULL;
    }
    struct model *m = xcalloc(1, sizeof *m);
    m->config = *c;
    m->k = k;
    declare(m);
    /* Each parameter starts on a cache line. */
    size_t bytes = 0;
    for (int i = 0; i < m->param_count; i++) bytes += ((size_t)m->params[i]->n * sizeof(real) + 63) / 64 * 64;
    m->values.name = "parameters";
    m->grads.name = "parameter gradients";
    m->values.peak = m->grads.peak = bytes;
    uint64_t there = available_memory();
    if (k && 2 * (uint64_t)bytes > there) {
        fail(e, "parameters and their gradients need %llu bytes but the machine has %llu free; choose a smaller preset or shape",
             2 * (unsigned long long)bytes, (unsigned long long)there);
        model_free(m);
        return NULL;
    }
    if (k && (arena_allocate(&m->values, k, bytes, e) || arena_allocate(&m->grads, k, bytes, e))) {
        model_free(m);
        return NULL;
    }
    size_t at = k ? 0 : 4096; /* in a plan nobody looks behind the addresses, but they are not NULL */
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = m->params[i];
        p->leaf = (struct tensor){.name = p->name,
                                  .data = (real *)((uintptr_t)m->values.base + at),
                                  .n = p->n,
                                  .shape = {p->shape[0], p->shape[1]},
                                  .rank = 2,
                                  .needs_grad = true,
                                  .param = p};
        p->grad = (real *)((uintptr_t)m->grads.base + at);
        at += ((size_t)p->n * sizeof(real) + 63) / 64 * 64;
        if (!k) continue;
        real *host = xcalloc((size_t)p->n, sizeof *host);
        struct rng r;
        rng_seed(&r, seed, hash64(p->name, strlen(p->name), 0));
        for (int64_t j = 0; j < p->n; j++) switch (p->init) {
            case INIT_NORMAL:
                host[j] = (real)(p->std * rng_normal(&r));
                break;
            case INIT_UNIFORM:
                host[j] = (real)(p->std * (2 * rng_uniform(&r) - 1));
                break;
            case INIT_ONE:
                host[j] = p->std != 0 ? (real)p->std : 1;
                break; /* std: another constant than one */
            case INIT_LOG_RATE:
                host[j] = (real)log(p->std * (1 - rng_uniform(&r)));
                break;
            case INIT_STEP: /* log(exp(step) - 1), step = 1e-3 (std / 1e-3)^u */
                host[j] = (real)log(expm1(1e-3 * pow(p->std / 1e-3, rng_uniform(&r))));
                break;
            case INIT_ZERO:
                break;
            }
        k->upload(p->leaf.data, host, (size_t)p->n * sizeof *host);
        free(host);
    }
    return m;
}

void model_free(struct model *m) {
    if (!m) return;
    for (int i = 0; i < m->param_count; i++) free(m->params[i]);
    arena_release(&m->values);
    arena_release(&m->grads);
    for (int i = 0; i < m->constant_count; i++)
        if (m->constants[i].data)
            m->k->release(m->constants[i].data, (size_t)(m->constants[i].rows * m->constants[i].width) * sizeof(real));
    free(m->layer);
    free(m);
}

double model_flops(const struct model_config *c, int64_t before, bool training) {
    if (c->arch->logits) return 0;
    double d = (double)c->d, e = (double)c->e, f = (double)c->ffn_used;
    double layer = 2 * d * e * (double)(c->heads + c->kv_heads) + (c->ffn_relu ? 2 : 3) * d * f;
    return 2 * ((double)c->layers * layer + d * (double)c->vocab) + c->arch->mixing_flops(c, before, training);
}

int64_t model_carried(const struct model_config *c, int64_t context) {
    return c->arch->carried ? c->arch->carried(c, context / c->segment * c->segment) : 0;
}

/* ---- gates ---- */

const struct param *layer_gate(const struct model *m, int64_t layer) {
    static const char *const names[] = {"beta", "memory_gate"};
    const struct param *p = NULL;
    for (int i = 0; i < 2 && !p; i++) {
        char name[64];
        snprintf(name, sizeof name, "layers.%lld.%s", (long long)layer, names[i]);
        p = model_find(m, name);
    }
    CHECK(!p || p->n == m->config.heads, "%s has %lld elements for %lld heads", p->name, (long long)p->n,
          (long long)m->config.heads);
    return p;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

int64_t model_gates(const struct model *m, double *gate, double *initial) {
    int64_t heads = m->config.heads, count = 0;
    for (int64_t l = 0; l < m->config.layers; l++) {
        const struct param *p = layer_gate(m, l);
        real *beta = xcalloc((size_t)heads, sizeof *beta);
        if (p) m->k->download(beta, p->leaf.data, (size_t)heads * sizeof *beta);
        for (int64_t h = 0; h < heads; h++) {
            gate[l * heads + h] = p ? sigmoid((double)beta[h]) : NAN;
            if (initial) initial[l * heads + h] = p ? sigmoid(p->init == INIT_ZERO ? 0 : p->std) : NAN;
        }
        if (p) count += heads;
        free(beta);
    }
    return count;
}

enum head_kind head_kind(double gate) {
    return gate < HEAD_LOCAL_BELOW ? HEAD_LOCAL : gate > HEAD_MEMORY_ABOVE ? HEAD_MEMORY : HEAD_MIXER;
}

/* ---- forward ---- */

void forward_begin(struct forward *f, struct tape *t, struct state *s, const struct call *c) {
    struct model *m = s->model;
    memset(f, 0, sizeof *f);
    f->tape = t;
    f->model = m;
    f->batch = c->batch, f->segments = c->segments, f->n = c->n;
    f->training = c->training, f->first = c->first;
    f->watch = c->watch, f->watch_data = c->watch_data;
    CHECK(c->batch == s->batch, "a call of %lld rows on a state of %lld", (long long)c->batch, (long long)s->batch);
    CHECK(c->first + c->segments <= s->segments, "a call of %lld segments, the state has room for %lld",
          (long long)(c->first + c->segments), (long long)s->segments);
    CHECK(c->n == m->config.segment || c->segments == 1, "a short segment of %lld must stand alone", (long long)c->n);
    int64_t rows = c->batch * c->segments, tokens = rows * c->n;
    if (m->config.arch->rows) m->config.arch->rows(&m->config, &f->lead, &f->trail);
    CHECK(!(f->lead + f->trail) || c->segments == 1, "memory rows need one segment a call");
    f->n += f->lead + f->trail;
    f->tokens = tape_ints(t, c->tokens, tokens);
    if (c->knocked) f->knocked = tape_ints(t, c->knocked, m->config.layers * m->config.heads);
    f->since = tape_ints(t, c->since, rows);
    f->len = tape_ints(t, c->len, rows);
    f->host_since = c->since, f->host_len = c->len, f->host_ints = s->stage, f->host_reals = s->share;
    f->head = tape_ints(t, s->head, c->batch);
    int64_t all = rows * f->n;
    int32_t *pos = s->stage;
    for (int64_t r = 0; r < rows && !t->dry; r++)
        for (int64_t i = 0; i < f->n; i++) {
            pos[r * f->n + i] = (int32_t)i;
            pos[all + r * f->n + i] = c->since[r] + (int32_t)i;
        }
    real *whole = s->share;
    for (int64_t r = 0; r < rows && !t->dry; r++) whole[rows + r] = 1 - (whole[r] = c->len[r] == c->n);
    f->whole = tape_reals(t, whole, rows);
    f->partial = tape_reals(t, whole + rows, rows);
    f->pos_segment = tape_ints(t, pos, all);
    f->pos_document = tape_ints(t, pos + all, all);
    f->in = (struct tensor **)tape_pointers(t, m->state_count);
    f->out = (struct tensor **)tape_pointers(t, m->state_count);
    f->ring = s->data;
    f->capacity = s->capacity;
    for (int i = 0; i < m->state_count; i++)
        if (m->states[i].kind == STATE_CARRIED)
            f->in[i] = tape_leaf(t, m->states[i].name, s->data[i], c->batch, m->states[i].width, false);
}

void forward_chain(struct forward *next, const struct forward *previous) {
    for (int i = 0; i < next->model->state_count; i++)
        if (previous->out[i]) next->in[i] = previous->out[i];
}

void forward_commit(struct forward *f, struct state *s) {
    for (int i = 0; i < f->model->state_count; i++)
        if (f->out[i] && f->model->states[i].kind == STATE_CARRIED)
            RUN(f->tape, move, s->data[i], f->out[i]->data, (size_t)f->out[i]->n * sizeof(real));
}

struct tensor *forward_rope(struct forward *f, bool document) {
    if (document) f->model->document_positions = true;
    struct tensor **table = document ? &f->rope_document : &f->rope_segment;
    if (!*table)
        *table = op_rope_table(f->tape, document ? f->pos_document : f->pos_segment, f->model->config.rope_base,
                               f->batch * f->segments * f->n, f->model->config.e);
    return *table;
}

struct tensor *forward_keep(struct forward *f, struct tensor *next, struct tensor *previous) {
    CHECK(f->segments == 1, "a state is kept segment by segment");
    return op_axpby(f->tape, f->whole, next, f->partial, previous, f->batch);
}

struct tensor *forward_with_rows(struct forward *f, int layer, struct mixer_input in, int64_t lead_step) {
    const struct model_config *c = &f->model->config;
    const struct layer_params *p = f->model->layer + layer;
    struct tape *t = f->tape;
    struct attention_shape shape = {.batch = f->batch,
                                    .queries = f->n,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->lead + c->segment + f->trail,
                                    .own_from_segment = 1,
                                    .lead = f->lead,
                                    .trail = f->trail,
                                    .lead_step = lead_step,
                                    .scale = 1 / sqrt((double)c->e)};
    struct tensor *q = op_linear(t, in.h, &p->wq->leaf, NULL), *k = op_linear(t, in.h, &p->wk->leaf, NULL);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL), *rope = forward_rope(f, false);
    struct tensor *a = op_attention(t, op_rope(t, q, rope, c->heads), op_rope(t, k, rope, c->kv_heads), v, NULL, NULL, NULL, NULL,
                                    NULL, f->since, &shape);
    return op_linear(t, a, &p->wo->leaf, NULL);
}

void add_loss(struct forward *f, const char *name, struct tensor *node, double weight) {
    CHECK(f->extras < 8, "more than 8 extra losses");
    f->extra[f->extras].name = name;
    f->extra[f->extras].node = node;
    f->extra[f->extras++].weight = weight;
}

static struct tensor *feed_forward(struct forward *f, const struct layer_params *p, struct tensor *h) {
    struct tape *t = f->tape;
    struct tensor *up = op_linear(t, h, &p->w_up->leaf, NULL);
    struct tensor *inner = p->w_gate ? op_swiglu(t, op_linear(t, h, &p->w_gate->leaf, NULL), up) : op_relu(t, up);
    return op_linear(t, inner, &p->w_down->leaf, NULL);
}

/* Without recording, what a layer leaves behind is copied into places taken before the layers, and its inner tensors are given
 * back: the next layer works in the same, cache-warm memory. */
struct keep {
    struct tensor *x, **out;
};

static void keep_begin(struct forward *f, struct keep *k, struct tensor *x) {
    k->x = tape_tensor2(f->tape, "residual", x->shape[0], x->n / x->shape[0]);
    k->out = (struct tensor **)tape_pointers(f->tape, f->model->state_count);
    for (int i = 0; i < f->model->state_count; i++)
        if (f->in[i]) k->out[i] = tape_tensor2(f->tape, f->in[i]->name, f->batch, f->in[i]->n / f->batch);
}

static void keep_layer(struct forward *f, struct keep *k, struct tensor *x, struct tensor *y, int layer) {
    RUN(f->tape, add, k->x->data, x->data, y->data, x->n);
    for (int i = 0; i < f->model->state_count; i++)
        if (f->model->states[i].layer == layer && f->out[i]) {
            RUN(f->tape, move, k->out[i]->data, f->out[i]->data, (size_t)f->out[i]->n * sizeof(real));
            f->out[i] = k->out[i];
        }
}

struct tensor *model_forward(struct forward *f, bool want_logits) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    struct tape *t = f->tape;
    if (c->arch->logits) return want_logits ? c->arch->logits(f) : NULL;
    int64_t tokens = f->n - f->lead - f->trail;
    struct tensor *x = op_embed(t, &m->embed->leaf, f->tokens, f->batch * f->segments * tokens), *y = NULL;
    if (c->arch->begin) {
        struct tensor *parts[3] = {NULL, x, NULL};
        c->arch->begin(f, &parts[0], &parts[2]);
        x = op_concat_rows(t, parts, 3, f->batch, c->d);
    }
    struct keep keep = {0};
    bool rewind = !t->record && !f->training; /* a training step's first pass of two keeps everything */
    if (rewind) {
        keep_begin(f, &keep, x);
    }
    for (int l = 0; l < c->layers; l++) {
        const struct layer_params *p = m->layer + l;
        struct tape_mark mark = tape_mark(t);
        struct tensor *h =
            y ? op_add_rmsnorm(t, &x, x, y, &p->norm1->leaf, c->norm_eps) : op_rmsnorm(t, x, &p->norm1->leaf, c->norm_eps);
        struct tensor *a = c->arch->forward(f, l, (struct mixer_input){x, h, p->norm1});
        struct tensor *h2 = op_add_rmsnorm(t, &x, x, a, &p->norm2->leaf, c->norm_eps);
        y = feed_forward(f, p, h2);
        if (rewind) {
            keep_layer(f, &keep, x, y, l);
            if (l > 0) tape_rewind(t, mark); /* layer 0 made the tables that the others share */
            x = keep.x;
            y = NULL;
        }
    }
    struct tensor *h = y ? op_add_rmsnorm(t, &x, x, y, &m->final_norm->leaf, c->norm_eps)
                         : (want_logits || c->arch->end ? op_rmsnorm(t, x, &m->final_norm->leaf, c->norm_eps) : NULL);
    if (c->arch->end) {
        struct tensor *lead = f->lead ? op_slice_rows(t, x, 0, f->lead, f->batch, c->d) : NULL;
        struct tensor *trail = f->trail ? op_slice_rows(t, x, f->n - f->trail, f->trail, f->batch, c->d) : NULL;
        c->arch->end(f, lead, trail);
        h = op_slice_rows(t, h, f->lead, tokens, f->batch, c->d);
    }
    return want_logits ? op_linear(t, h, &m->head->leaf, NULL) : NULL;
}
