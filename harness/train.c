/* train.c - one training step in its three ways (layer by layer, segment by segment, recomputed segment by segment) and the
 * optimisers. Options and schedule are in train_config.c, the loop with checkpoints in train_loop.c. */
#include "faults.h"
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the step ---- */

/* What a step needs beside the public struct: copies of a batch cut by segment, and the states between recomputed segments. */
struct step_room {
    int32_t *tokens, *targets, *since, *len;
    real *weights;
    struct arena boundary;
    real *next[STATE_LIMIT];   /* recomputation: gradients of the states that leave the segment at hand */
    real **boundaries;         /* [(S+1) * state_count]: NULL where the state does not exist */
    int64_t *sizes;            /* the same: elements */
    size_t *kept;              /* [S]: where the kept indices of a segment begin */
    const struct batch *batch; /* of the step at hand */
    struct batch seen;         /* that of the last step; its arrays are the batcher's */
    int64_t first, count;      /* segments of the call at hand */
    bool gamma;                /* a memory has shown its factors */
    struct forward last;       /* the call whose carried states follow the step */
    bool recomputed;           /* they are in boundaries[0 ..] instead */
    real *losses;              /* [S] on the host */
    char bad[160];             /* a forward pass without backward, recomputed: the first tensor that is not finite */
};

static struct step_room *room_create(const struct model *m, bool plan) {
    const struct model_config *c = &m->config;
    size_t segments = (size_t)(c->batch * c->segments), tokens = segments * (size_t)c->segment;
    struct step_room *r = xcalloc(1, sizeof *r);
    if (!plan) {
        r->tokens = xcalloc(tokens, sizeof *r->tokens);
        r->targets = xcalloc(tokens, sizeof *r->targets);
        r->weights = xcalloc(tokens, sizeof *r->weights);
        r->since = xcalloc(segments, sizeof *r->since);
        r->len = xcalloc(segments, sizeof *r->len);
    }
    size_t slots = (size_t)(c->segments + 1) * (size_t)(m->state_count + 1);
    r->boundaries = xcalloc(slots, sizeof *r->boundaries);
    r->sizes = xcalloc(slots, sizeof *r->sizes);
    r->kept = xcalloc((size_t)c->segments, sizeof *r->kept);
    r->losses = xcalloc((size_t)c->segments, sizeof *r->losses);
    r->boundary.name = "states between segments";
    return r;
}

static void room_free(struct step_room *r) {
    if (!r) return;
    arena_release(&r->boundary);
    free(r->tokens);
    free(r->targets);
    free(r->weights);
    free(r->since);
    free(r->len);
    free(r->boundaries);
    free(r->sizes);
    free(r->kept);
    free(r->losses);
    free(r);
}

/* Keeps the factors that a memory wrote with: a chunk for each layer and call. */
static void keep_gamma(void *data, int layer, const char *what, const struct tensor *x) {
    struct trainer *t = data;
    const struct model_config *c = &t->model->config;
    if (t->tape.dry || strcmp(what, "gamma") != 0) return;
    t->room->gamma = true;
    RUN(&t->tape, move, t->gamma + (layer * c->segments + t->room->first) * c->batch * c->kv_heads, x->data,
        (size_t)x->n * sizeof(real));
}

double trainer_gamma(const struct trainer *t, int layer) {
    const struct model_config *c = &t->model->config;
    const struct batch *b = &t->room->seen;
    if (!t->room->gamma || !b->rows) return NAN;
    int64_t heads = c->kv_heads, n = c->segments * c->batch * heads, segments = t->room->count;
    real *host = xcalloc((size_t)n, sizeof *host);
    double sum = 0, written = 0;
    t->model->k->download(host, t->gamma + layer * n, (size_t)n * sizeof *host);
    for (int64_t row = 0; row < b->rows; row++)
        for (int64_t s = 0; s < b->segments; s++) {
            /* A chunk [B,S,G] for each call of so many segments. */
            int64_t cell = row * b->segments + s, at = s / segments * segments * b->rows + row * segments + s % segments;
            if (b->len[cell] < b->n || !b->since[cell] || (!s && !t->config.carry)) continue;
            for (int64_t g = 0; g < heads; g++) sum += (double)host[at * heads + g];
            written += (double)heads;
        }
    free(host);
    return sum / written;
}

/* Segments from .. from+count of the batch into the room, [B,count,N]; without carry no document reaches back beyond the step. */
static struct call cut(struct trainer *t, const struct batch *b, int64_t from, int64_t count) {
    struct step_room *r = t->room;
    r->first = from;
    r->count = count;
    for (int64_t row = 0; row < b->rows && !t->tape.dry; row++)
        for (int64_t s = 0; s < count; s++) {
            int64_t src = row * b->segments + from + s, dst = row * count + s;
            int64_t in_step = (from + s) * b->n;
            r->since[dst] = !t->config.carry && b->since[src] > in_step ? (int32_t)in_step : b->since[src];
            r->len[dst] = b->len[src];
            memcpy(r->tokens + dst * b->n, b->tokens + src * b->n, (size_t)b->n * sizeof *r->tokens);
            memcpy(r->targets + dst * b->n, b->targets + src * b->n, (size_t)b->n * sizeof *r->targets);
            bool same = b->since[src] == in_step; /* the document that the row of the step begins with, if it begins with one */
            if (t->carried_in && b->carried && b->carried[row] >= 0 && same)
                r->since[dst] += carried_in_since(b->carried[row], b->n);
            for (int64_t i = 0; i < b->n; i++) r->weights[dst * b->n + i] = (real)b->weights[src * b->n + i];
        }
    return (struct call){.batch = b->rows,
                         .segments = count,
                         .n = b->n,
                         .tokens = r->tokens,
                         .since = r->since,
                         .len = r->len,
                         .first = from,
                         .training = true,
                         .watch = t->model->config.arch->compressive ? keep_gamma : NULL,
                         .watch_data = t};
}

/* Forward of one call with its loss; *loss (backend) receives the sum of weight * nll, and the nll gets its seed. */
static void loss_forward(struct trainer *t, struct forward *f, const struct call *c, real *loss) {
    struct tape *tape = &t->tape;
    int64_t tokens = c->batch * c->segments * c->n;
    const int32_t *targets = tape_ints(tape, t->room->targets, tokens);
    real *weights = tape_reals(tape, t->room->weights, tokens);
    struct tensor *nll = op_xent(tape, model_forward(f, true), targets);
    tape->scratch.used = 0;
    double *tmp = arena_take(&tape->scratch, tape->dry, KERNEL_PARTIALS * sizeof *tmp);
    RUN(tape, dot, loss, nll->data, weights, tmp, tokens);
    tape_seed(tape, nll, weights);
    for (int i = 0; i < f->extras; i++) tape_seed_value(tape, f->extra[i].node, f->extra[i].weight);
}

static void step_layer_major(struct trainer *t, const struct batch *b, bool backward) {
    tape_reset(&t->tape);
    t->tape.record = true;
    struct call c = cut(t, b, 0, b->segments);
    struct forward f;
    forward_begin(&f, &t->tape, t->state, &c);
    if (t->carried_in) carried_in_start(t->carried_in, &f, b, c.since);
    loss_forward(t, &f, &c, t->loss);
    if (!backward) return;
    tape_backward(&t->tape);
    t->room->last = f;
}

static void step_segment_major(struct trainer *t, const struct batch *b, bool backward) {
    tape_reset(&t->tape);
    t->tape.record = true;
    struct forward f, next;
    for (int64_t s = 0; s < b->segments; s++) {
        struct call c = cut(t, b, s, 1);
        forward_begin(&next, &t->tape, t->state, &c);
        if (s > 0)
            forward_chain(&next, &f);
        else if (t->carried_in)
            carried_in_start(t->carried_in, &next, b, c.since);
        f = next;
        loss_forward(t, &f, &c, t->loss + s);
    }
    if (!backward) return;
    tape_backward(&t->tape);
    t->room->last = f;
}

/* The states that enter segment s as leaves over the copies kept between segments. */
static void enter(struct trainer *t, struct forward *f, int64_t s, bool needs_grad) {
    int count = t->model->state_count;
    for (int i = 0; i < count && s > 0; i++) {
        real *p = t->room->boundaries[s * count + i];
        int64_t n = t->room->sizes[s * count + i];
        if (p) f->in[i] = tape_leaf(&t->tape, t->model->states[i].name, p, f->batch, n / f->batch, needs_grad);
    }
}

/* "name[index] of operation op" of the first tensor on the tape that is not finite; of what was read from a memory also the layer,
 * head, row and token. first: segment of the step with which the tape begins. */
static void say_bad(const struct trainer *t, int64_t first, char *text, size_t size) {
    struct tape_bad bad;
    if (!tape_first_bad(&t->tape, &bad)) return;
    int used = snprintf(text, size, "%s[%lld] of operation %s", bad.tensor->name, (long long)bad.at, bad.node->op);
    bool memory = !strcmp(bad.node->op, "memory");
    if ((!memory && strcmp(bad.node->op, "fast_weight")) || bad.tensor != bad.node->out[0] || (size_t)used >= size) return;
    const struct memory_shape *m = &bad.node->shape.memory;
    const struct fast_weight_shape *w = &bad.node->shape.fast_weight;
    int64_t segments = memory ? m->segments : w->segments, n = memory ? m->n : w->n, heads = memory ? m->heads : w->heads;
    int64_t layers = t->model->config.layers, width = bad.tensor->shape[1], row = bad.at / width, of = bad.nth / layers;
    /* a node a layer and call; the calls of a step's segments follow each other, those of a filler come before */
    if (segments == 1 && !t->carried_in) first += of;
    snprintf(text + used, size - (size_t)used, " (layer %lld, head %lld, row %lld, token %lld of the step)",
             (long long)(bad.nth % layers), (long long)(bad.at % width / (width / heads)), (long long)(row / (segments * n)),
             (long long)(row % (segments * n) + first * n + 1));
}

/* First pass: states at the segment boundaries only. Second pass, last segment first: the segment again with a tape, its gradient,
 * and the gradient of the states that entered it. Same kernels on same values: the same bits as segment by segment. */
static void step_recompute(struct trainer *t, const struct batch *b, bool backward) {
    struct tape *tape = &t->tape;
    struct step_room *r = t->room;
    int count = t->model->state_count;
    struct forward f;
    r->boundary.used = 0;
    tape->kept.used = 0;
    tape->keep_mode = 1;
    tape->record = false;
    for (int64_t s = 0; s + 1 < b->segments; s++) {
        tape_reset(tape);
        struct call c = cut(t, b, s, 1);
        forward_begin(&f, tape, t->state, &c);
        enter(t, &f, s, false);
        r->kept[s] = tape->kept.used;
        model_forward(&f, false);
        for (int i = 0; i < count; i++) {
            int64_t slot = (s + 1) * count + i;
            r->boundaries[slot] = NULL;
            if (!f.out[i]) continue;
            r->sizes[slot] = f.out[i]->n;
            r->boundaries[slot] = arena_take(&r->boundary, tape->dry, (size_t)f.out[i]->n * sizeof(real));
            RUN(tape, move, r->boundaries[slot], f.out[i]->data, (size_t)f.out[i]->n * sizeof(real));
        }
    }
    real **next = r->next;
    memset(next, 0, (size_t)count * sizeof *next);
    tape->record = true;
    for (int64_t s = b->segments - 1; s >= 0; s--) {
        tape_reset(tape);
        tape->keep_mode = s + 1 < b->segments ? 2 : 0;
        tape->kept_cursor = r->kept[s];
        struct call c = cut(t, b, s, 1);
        forward_begin(&f, tape, t->state, &c);
        enter(t, &f, s, true);
        loss_forward(t, &f, &c, t->loss + s);
        if (!backward) { /* what went bad: segments come last first, so the earliest one has the last word */
            say_bad(t, s, r->bad, sizeof r->bad);
            continue;
        }
        for (int i = 0; i < count; i++)
            if (f.out[i] && next[i]) tape_seed(tape, f.out[i], next[i]);
        tape_backward(tape);
        if (s + 1 == b->segments) /* kept aside: recomputed segments still read the old values */
            for (int i = 0; i < count; i++) {
                r->boundaries[i] = NULL;
                if (!f.out[i] || t->model->states[i].kind != STATE_CARRIED) continue;
                r->sizes[i] = f.out[i]->n;
                r->boundaries[i] = arena_take(&r->boundary, tape->dry, (size_t)f.out[i]->n * sizeof(real));
                RUN(tape, move, r->boundaries[i], f.out[i]->data, (size_t)f.out[i]->n * sizeof(real));
            }
        for (int i = 0; i < count; i++) {
            next[i] = NULL;
            const real *g = s > 0 ? tape_grad(f.in[i]) : NULL;
            if (!g) continue;
            next[i] = arena_take(&r->boundary, tape->dry, (size_t)f.in[i]->n * sizeof(real));
            RUN(tape, move, next[i], g, (size_t)f.in[i]->n * sizeof(real));
        }
    }
    tape->keep_mode = 0;
}

/* The states that the step ends with become the carried ones; only once its loss is known to be finite. */
static void commit(struct trainer *t) {
    struct step_room *r = t->room;
    if (!r->recomputed) {
        forward_commit(&r->last, t->state);
        return;
    }
    for (int i = 0; i < t->model->state_count; i++)
        if (r->boundaries[i]) RUN(&t->tape, move, t->state->data[i], r->boundaries[i], (size_t)r->sizes[i] * sizeof(real));
}

static void run_step(struct trainer *t, const struct batch *b, bool backward) {
    struct model *m = t->model;
    for (int i = 0; i < m->param_count; i++) m->params[i]->beta = 0;
    enum step_mode mode = t->config.mode;
    if (!m->config.arch->layer_major && mode == STEP_LAYER_MAJOR) mode = STEP_SEGMENT_MAJOR;
    t->room->recomputed = mode == STEP_RECOMPUTE;
    if (mode == STEP_LAYER_MAJOR)
        step_layer_major(t, b, backward);
    else if (mode == STEP_SEGMENT_MAJOR)
        step_segment_major(t, b, backward);
    else
        step_recompute(t, b, backward);
    for (int i = 0; i < m->param_count && backward; i++)
        if (!m->params[i]->beta) RUN(&t->tape, fill, m->params[i]->grad, 0, m->params[i]->n);
}

/* ---- the trainer ---- */

void optimizer_sizes(enum optimizer_kind kind, const struct param *p, int64_t *m, int64_t *v) {
    *m = kind == OPTIMIZER_ADAMW ? p->n : p->shape[0];
    *v = kind == OPTIMIZER_ADAMW ? p->n : p->shape[1];
}

static size_t take_optimizer(struct trainer *t, bool dry) {
    t->optimizer.used = 0;
    for (int i = 0; i < t->model->param_count; i++) {
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, t->model->params[i], &m, &v);
        t->m[i] = arena_take(&t->optimizer, dry, (size_t)m * sizeof(real));
        t->v[i] = arena_take(&t->optimizer, dry, (size_t)v * sizeof(real));
    }
    t->hyper = arena_take(&t->optimizer, dry, HYPER_COUNT * sizeof(real));
    t->norm2 = arena_take(&t->optimizer, dry, sizeof(real));
    t->loss = arena_take(&t->optimizer, dry, (size_t)t->model->config.segments * sizeof(real));
    const struct model_config *c = &t->model->config;
    if (c->arch->compressive)
        t->gamma = arena_take(&t->optimizer, dry, (size_t)(c->layers * c->segments * c->batch * c->kv_heads) * sizeof(real));
    return t->optimizer.used;
}

static void optimizer_step(struct trainer *t) {
    struct model *m = t->model;
    struct tape *tape = &t->tape;
    const struct train_config *c = &t->config;
    double step = (double)t->step + 1;
    real hyper[HYPER_COUNT] = {0};
    hyper[HYPER_LR] = (real)schedule_rate(c, t->step);
    hyper[HYPER_C1] = (real)(1 - pow(c->b1, step));
    hyper[HYPER_C2] = (real)(1 - pow(c->b2, step));
    hyper[HYPER_ADAFACTOR_B2] = (real)(1 - pow(step, -0.8));
    RUN(tape, upload, t->hyper, hyper, sizeof hyper);
    tape->scratch.used = 0;
    double *tmp = arena_take(&tape->scratch, tape->dry, KERNEL_PARTIALS * sizeof *tmp);
    RUN(tape, sumsq, t->norm2, (real *)m->grads.base, tmp, (int64_t)(m->grads.peak / sizeof(real)));
    RUN(tape, clip, t->hyper, t->norm2, c->clip);
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = m->params[i];
        double rate = p->group != GROUP_GATE ? 1
                      : FAULT(gate_frozen)   ? 0
                                             : c->gate_rate,
               decay = p->group == GROUP_WEIGHT ? c->decay : 0;
        tape->scratch.used = 0;
        if (c->optimizer == OPTIMIZER_ADAMW) {
            RUN(tape, adamw, p->leaf.data, t->m[i], t->v[i], p->grad, t->hyper, rate, decay, c->b1, c->b2, c->eps, p->n);
        } else {
            real *room = tape_scratch(tape, p->n + p->shape[0] + 2 * KERNEL_PARTIALS);
            RUN(tape, adafactor, p->leaf.data, t->m[i], t->v[i], p->grad, t->hyper, rate, decay, 1e-30, 1e-3, 1.0,
                c->parameter_scale, room, p->shape[0], p->shape[1]);
        }
    }
}

/* Bytes by purpose, in the order of trainer_print_memory. */
static size_t purposes(const struct trainer *t, const char *names[10], size_t bytes[10]) {
    const struct model *m = t->model;
    const struct model_config *c = &m->config;
    const struct tape *a = &t->tape;
    const struct {
        const char *name;
        size_t bytes;
    } all[] = {{"parameters", m->values.peak},
               {"gradients", m->grads.peak},
               {"optimizer", t->optimizer.peak},
               {"activations", a->activations.peak},
               {"activation gradients", a->gradients.peak},
               {"carried state", state_need(m, c->batch, c->segments) + (t->carried_in ? carried_in_bytes(m) : 0)},
               {"states between segments", t->room->boundary.peak + a->kept.peak},
               {"scratch", a->scratch.peak}};
    size_t total = 0, n = sizeof all / sizeof *all;
    for (size_t i = 0; i < n; i++) names[i] = all[i].name, total += bytes[i] = all[i].bytes;
    names[n] = "total";
    bytes[n] = total;
    names[n + 1] = NULL;
    return total;
}

void trainer_print_memory(const struct trainer *t, FILE *out) {
    const char *names[10];
    size_t bytes[10];
    purposes(t, names, bytes);
    for (int i = 0; names[i]; i++) fprintf(out, "  %-24s %16zu bytes\n", names[i], bytes[i]);
}

size_t trainer_bytes(const struct trainer *t) {
    const char *names[10];
    size_t bytes[10];
    return purposes(t, names, bytes);
}

struct trainer *trainer_create(struct model *m, const struct train_config *c, struct source *s, struct error *e) {
    struct trainer *t = xcalloc(1, sizeof *t);
    const struct model_config *mc = &m->config;
    bool plan = !s || !m->k, carried_in = (s ? source_carries(s) : c->carried_in) && carried_in_possible(m);
    if (carried_in && c->mode == STEP_RECOMPUTE) {
        fail(e, "step_mode = recompute cannot start documents from carried-in states; use step_mode = layer or segment");
        free(t);
        return NULL;
    }
    if (carried_in && !(t->carried_in = carried_in_create(m, s, e))) {
        free(t);
        return NULL;
    }
    t->model = m;
    t->config = *c;
    t->config.gate_rate = mc->gate_rate;
    if (FAULT(rate_low)) t->config.lr /= 10;
    if (FAULT(rate_high)) t->config.lr *= 10;
    t->room = room_create(m, plan);
    tape_init(&t->tape, m->k);
    t->optimizer.name = "optimizer";
    struct model planned = *m;
    planned.k = NULL;
    t->state = state_create(&planned, mc->batch, mc->segments, e);
    if (!t->state || (carried_in && carried_in_open(t->carried_in, &planned, e))) {
        trainer_free(t);
        return NULL;
    }
    struct batch blank = {.rows = mc->batch, .segments = mc->segments, .n = mc->segment}; /* a dry pass looks at no token */
    tape_dry(&t->tape);
    take_optimizer(t, true);
    run_step(t, &blank, true);
    optimizer_step(t);
    state_free(t->state);
    t->state = NULL;
    if (carried_in) carried_in_open(t->carried_in, NULL, e);
    if (plan) return t;
    t->state = state_create(m, mc->batch, mc->segments, e);
    if (!t->state || (carried_in && carried_in_open(t->carried_in, m, e)) || tape_allocate(&t->tape, e) ||
        arena_allocate(&t->optimizer, m->k, 0, e) || arena_allocate(&t->room->boundary, m->k, 0, e)) {
        trainer_free(t);
        return NULL;
    }
    take_optimizer(t, false);
    t->batcher = batcher_create(s, mc->batch, mc->segments, mc->segment);
    return t;
}

int training_fits(const struct model_config *c, const struct train_config *tc, struct error *e) {
    struct model *m = model_create(c, NULL, 0, e);
    struct trainer *t = m ? trainer_create(m, tc, NULL, e) : NULL;
    uint64_t need = t ? trainer_bytes(t) : 0, there = available_memory();
    trainer_free(t);
    model_free(m);
    if (!t) return -1;
    if (need <= there) return 0;
    return fail(
        e,
        "training '%s' needs %llu bytes, but the machine has %llu free; use a smaller batch or preset, fewer segments a step, or "
        "step_mode = recompute",
        c->arch->name, (unsigned long long)need, (unsigned long long)there);
}

void trainer_free(struct trainer *t) {
    if (!t) return;
    tape_free(&t->tape);
    state_free(t->state);
    if (t->batcher) batcher_free(t->batcher);
    carried_in_free(t->carried_in);
    arena_release(&t->optimizer);
    room_free(t->room);
    free(t);
}

static double loss_of(struct trainer *t) {
    int64_t n = t->config.mode == STEP_LAYER_MAJOR && t->model->config.arch->layer_major ? 1 : t->model->config.segments;
    t->model->k->download(t->room->losses, t->loss, (size_t)n * sizeof *t->room->losses);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)t->room->losses[i];
    return sum;
}

/* Names what went bad first: a parameter, or the first tensor of the forward pass run once more. */
static int name_bad(struct trainer *t, const struct batch *b, double loss, struct error *e) {
    struct model *m = t->model;
    char text[192] = "no tensor of the forward pass (the loss itself overflowed)";
    for (int i = 0; i < m->param_count; i++) {
        int64_t at = m->k->first_bad(m->params[i]->leaf.data, m->params[i]->n);
        if (at >= 0) {
            snprintf(text, sizeof text, "parameter %s[%lld]", m->params[i]->name, (long long)at);
            goto say;
        }
    }
    t->room->bad[0] = 0;
    run_step(t, b, false);
    if (!t->room->recomputed)
        say_bad(t, 0, text, sizeof text);
    else if (t->room->bad[0])
        snprintf(text, sizeof text, "%s", t->room->bad);
say:
    return fail(e,
                "the loss is %g at step %lld; the first tensor that is not finite is %s; lower the learning rate (lr = %g) or the "
                "gate rate",
                isnan(loss) ? fabs(loss) : loss, (long long)t->step, text, t->config.lr);
}

/* After a commit: is what the rows carry on a number? */
static int check_states(const struct trainer *t, struct error *e) {
    char what[160];
    if (!state_bad(t->state, -1, what, sizeof what)) return 0;
    int64_t n = t->model->config.segments * t->model->config.segment;
    return fail(
        e,
        "%s is not finite after step %lld (tokens %lld to %lld of each row) although the loss is a number; lower the learning rate "
        "(lr = %g), or train on shorter documents",
        what, (long long)t->step, (long long)(t->step * n + 1), (long long)((t->step + 1) * n), t->config.lr);
}

/* The two halves of a step, as the backend may record them: between them the loss is read. */
static void forward_backward(void *data) {
    struct trainer *t = data;
    run_step(t, t->room->batch, true);
}
static void update(void *data) {
    struct trainer *t = data;
    commit(t);
    optimizer_step(t);
}

static double step_flops(const struct trainer *t, const struct batch *b) {
    double sum = t->carried_in && carried_in_filler(t->carried_in) ? carried_in_flops(&t->model->config) : 0;
    for (int64_t i = 0; i < b->rows * b->segments; i++) {
        int64_t before = b->since[i], in_step = i % b->segments * b->n;
        if (!t->config.carry && before > in_step) before = in_step; /* cut() */
        if (b->len[i]) sum += 3 * (double)b->len[i] * model_flops(&t->model->config, before, true);
    }
    return sum;
}

int trainer_step(struct trainer *t, struct step_result *r, struct error *e) {
    struct batch b;
    double start = now();
    batcher_next(t->batcher, &b);
    for (int64_t i = 0; i < b.rows * b.segments && t->model->document_positions; i++)
        if (b.since[i] >= since_of(SINCE_MOST, b.n))
            return fail(
                e, "step %lld: architecture %s counts positions to %lld, row %lld reads a longer document; cut it (limit = BYTES)",
                (long long)t->step, t->model->config.arch->name, (long long)SINCE_MOST, (long long)(i / b.segments));
    if (t->carried_in && b.misplaced)
        return fail(e,
                    "step %lld: %lld documents with a carried-in state start within the step; they must fill it: length and EOS a "
                    "multiple of segments x segment = %lld x %lld = %lld tokens (set segments of the stage, or the length)",
                    (long long)t->step, (long long)b.misplaced, (long long)b.segments, (long long)b.n,
                    (long long)(b.segments * b.n));
    double read = t->carried_in ? carried_in_prepare(t->carried_in, t->step, &b, e) : 0;
    if (read < 0) return -1;
    t->room->batch = &b;
    t->model->k->step(forward_backward, t);
    r->loss = loss_of(t);
    if (!(fabs(r->loss) < INFINITY)) return name_bad(t, &b, r->loss, e);
    r->lr = schedule_rate(&t->config, t->step);
    t->model->k->step(update, t);
    if (check_states(t, e)) return -1;
    real norm2;
    t->model->k->download(&norm2, t->norm2, sizeof norm2);
    r->grad_norm = sqrt((double)norm2);
    if (!(r->grad_norm < INFINITY)) {
        for (int i = 0; i < t->model->param_count; i++) {
            struct param *p = t->model->params[i];
            int64_t at = t->model->k->first_bad(p->grad, p->n);
            if (at >= 0)
                return fail(e,
                            "the gradient of %s[%lld] is not finite at step %lld although the loss is %g; lower the learning rate "
                            "(lr = %g)",
                            p->name, (long long)at, (long long)t->step, r->loss, t->config.lr);
        }
        return fail(e, "the gradient norm overflows at step %lld; lower the learning rate (lr = %g)", (long long)t->step,
                    t->config.lr);
    }
    struct call c = {.batch = b.rows, .segments = b.segments, .n = b.n, .training = true};
    for (int64_t row = 0; row < b.rows; row++) state_advance(t->state, &c, row);
    t->step++;
    t->tokens += b.scored;
    for (int64_t i = 0; i < b.rows * b.segments; i++) t->tokens_read += b.len[i];
    t->room->seen = b;
    t->flops += step_flops(t, &b) + read;
    t->seconds += now() - start;
    return 0;
}

double trainer_gradients(struct trainer *t, const struct batch *b) {
    run_step(t, b, true);
    commit(t);
    return loss_of(t);
}
