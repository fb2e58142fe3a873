/* golden.c - loads a golden state, sets the model's parameters by the formula, compares logits and every gradient. */
#include "golden.h"
#include "engine.h"
#include "../../harness/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_names[] = {"transformer_full",   "transformer_window",
                                    "transformer_xl",     "memorizing",
                                    "infini_none",        "infini_linear",
                                    "infini_delta",       "infini_delta_gamma",
                                    "infini_gqa",         "rmt",
                                    "rmt_bptt",           "autocompressor",
                                    "autocompressor_cut", "autocompressor_last",
                                    "rnn_lstm",           "rnn_gru",
                                    "compressive",        "compressive_long",
                                    "compressive_short",  "compressive_max",
                                    "linear_attention",   "delta_rule_sum",
                                    "delta_rule_l2",      "delta_rule_gated",
                                    "delta_rule_conv",    NULL};

static const struct st_tensor *need(const struct st_file *f, const char *name, const char *dtype) {
    const struct st_tensor *t = st_find(f, name);
    CHECK(t, "the golden file has no tensor '%s'", name);
    CHECK(!strcmp(t->dtype, dtype), "tensor '%s' is %s, not %s", name, t->dtype, dtype);
    return t;
}

static int64_t elements(const struct st_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

static double *doubles(const struct st_tensor *t) {
    int64_t n = elements(t);
    double *x = xcalloc((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, (const char *)t->data + (size_t)i * sizeof v, sizeof v);
        x[i] = v;
    }
    return x;
}

static int32_t *ints(const struct st_tensor *t) {
    int32_t *x = xcalloc((size_t)elements(t), sizeof *x);
    memcpy(x, t->data, (size_t)elements(t) * sizeof *x);
    return x;
}

static struct text_batch *text_of(const struct st_file *f) {
    struct text_batch *x = xcalloc(1, sizeof *x);
    x->batch = atoll(st_meta(f, "batch"));
    x->segments = atoll(st_meta(f, "segments"));
    x->n = atoll(st_meta(f, "segment"));
    x->tokens = ints(need(f, "tokens", "I32"));
    x->targets = ints(need(f, "targets", "I32"));
    x->since = ints(need(f, "since", "I32"));
    x->len = ints(need(f, "len", "I32"));
    int64_t n = x->batch * x->segments * x->n;
    double *w = doubles(need(f, "weights", "F32")), sum = 0;
    x->weights = xcalloc((size_t)n, sizeof *x->weights);
    for (int64_t i = 0; i < n; i++) sum += w[i];
    for (int64_t i = 0; i < n; i++) x->weights[i] = (float)(w[i] / sum);
    free(w);
    return x;
}

/* Rows that are no padding. */
static int compare_logits(const char *name, const char *way, const double *got, const struct st_file *f, const struct text_batch *x,
                          double tolerance) {
    double *want = doubles(need(f, "logits", "F32"));
    int64_t T = x->segments * x->n, V = atoll(st_meta(f, "vocab")), at = 0;
    double worst = 0;
    for (int64_t r = 0; r < x->batch * T; r++) {
        if (r % x->n >= x->len[r / x->n]) continue;
        int64_t i;
        double error = engine_error(got + r * V, want + r * V, V, 1, &i);
        if (!(error <= worst)) {
            worst = error;
            at = r * V + i;
        }
    }
    int bad = !(worst <= tolerance);
    if (bad)
        fprintf(stderr, "%s, %s: logits[row %lld, token %lld, symbol %lld] = %.9g, golden %.9g, error %.3g > %.3g\n", name, way,
                (long long)(at / V / T), (long long)(at / V % T), (long long)(at % V), got[at], want[at], worst, tolerance);
    free(want);
    return bad;
}

static int compare_gradients(const char *name, const char *way, struct model *m, const struct st_file *f, double tolerance) {
    int bad = 0, seen = 0;
    for (int p = 0; p < m->param_count; p++) {
        struct param *q = m->params[p];
        char key[96];
        snprintf(key, sizeof key, "grad.%s", q->name);
        const struct st_tensor *t = st_find(f, key);
        if (!t || elements(t) != q->n || t->shape[0] != q->shape[0]) {
            fprintf(stderr, "%s: parameter %s [%lld,%lld] is not in the golden file with this shape\n", name, q->name,
                    (long long)q->shape[0], (long long)q->shape[1]);
            bad++;
            continue;
        }
        seen++;
        int64_t at;
        double *want = doubles(t), *got = engine_download(m, q->grad, q->n), error = engine_error(got, want, q->n, 1e-6, &at);
        if (!(error <= tolerance)) {
            fprintf(stderr, "%s, %s: gradient of %s[%lld] = %.9g, golden %.9g, error %.3g > %.3g of the largest\n", name, way,
                    q->name, (long long)at, got[at], want[at], error, tolerance);
            bad++;
        }
        free(want);
        free(got);
    }
    for (int i = 0; i < f->count; i++) seen -= !strncmp(f->tensors[i].name, "grad.", 5);
    if (seen != 0 && !bad) fprintf(stderr, "%s: the golden file has %d gradients that the model lacks\n", name, -seen), bad++;
    return bad;
}

int golden_check(const char *name, double logits_tolerance, double gradient_tolerance) {
    static const char *const ways[] = {"layer-major", "segment-major", "recompute"};
    struct error e = {""};
    struct st_file f;
    char *path = xprintf("tests/golden/%s.safetensors", name);
    CHECK(st_read(path, &f, &e) == 0, "%s", e.text);
    CHECK(st_meta(&f, "format") && !strcmp(st_meta(&f, "format"), "infinibench-golden-1"), "%s: another format", path);
    struct model *m = engine_model(st_meta(&f, "architecture"), st_meta(&f, "options"), st_meta(&f, "shape"));
    engine_fill(m);
    struct text_batch *x = text_of(&f);
    int64_t T = x->segments * x->n, V = m->config.vocab;
    int bad = 0;

    double *logits = engine_logits(m, NULL, x, 0, x->segments, KNOCK_NONE);
    bad += compare_logits(name, "one call", logits, &f, x, logits_tolerance);
    if (m->state_count) { /* segment by segment through the carried state; without a state the segments would not know each other */
        CHECK(st_find(&f, "logits")->shape[1] == T, "logits of %lld tokens", (long long)T);
        struct state *s = state_create(m, x->batch, 1, &e);
        CHECK(s, "%s", e.text);
        for (int64_t seg = 0; seg < x->segments; seg++) {
            double *part = engine_logits(m, s, x, seg, 1, KNOCK_NONE);
            for (int64_t b = 0; b < x->batch; b++)
                memcpy(logits + (b * T + seg * x->n) * V, part + b * x->n * V, (size_t)(x->n * V) * sizeof *part);
            free(part);
        }
        state_free(s);
        bad += compare_logits(name, "a segment a call", logits, &f, x, logits_tolerance);
    }
    free(logits);
    double want = atof(st_meta(&f, "loss"));
    for (int mode = STEP_LAYER_MAJOR; mode <= STEP_RECOMPUTE; mode++) {
        double loss = engine_gradients(m, (enum step_mode)mode, x);
        if (!(fabs(loss - want) <= logits_tolerance * fabs(want))) {
            fprintf(stderr, "%s, %s: loss %.9g, golden %.9g\n", name, ways[mode], loss, want);
            bad++;
        }
        bad += compare_gradients(name, ways[mode], m, &f, gradient_tolerance);
    }
    engine_text_free(x);
    model_free(m);
    st_free(&f);
    free(path);
    return bad;
}
