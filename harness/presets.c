/* presets.c - named shapes, and the text form of a model's configuration. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

struct preset_row {
    const char *name;
    int64_t layers, d, heads, e, ffn;
    bool relu;
    int64_t segment, segments, batch, vocab;
    double rates[3];
};
/* The segment length of micro and tiny keeps a step's products large on two cores; N/d_key is 4, the paper's is 16: printed. */
static const struct preset_row presets[] = {
    {"nano", 2, 64, 2, 32, 128, false, 32, 4, 4, 256, {1e-3, 3e-3, 6e-3}},
    {"micro", 4, 128, 4, 32, 352, false, 128, 4, 4, 256, {1e-3, 3e-3, 6e-3}},
    {"tiny", 6, 256, 4, 64, 704, false, 256, 4, 4, 256, {5e-4, 1e-3, 3e-3}},
    {"small", 8, 512, 8, 64, 1408, false, 512, 8, 8, 256, {3e-4, 1e-3, 2e-3}},
    {"paper", 12, 1024, 8, 128, 4096, true, 2048, 16, 64, 32000, {1e-4, 3e-4, 1e-3}},
};
#define PRESETS ((int)(sizeof presets / sizeof *presets))
const char *const preset_names[] = {"nano", "micro", "tiny", "small", "paper", NULL};

int config_preset(struct model_config *c, const char *preset, struct error *e) {
    for (int i = 0; i < PRESETS; i++) {
        const struct preset_row *p = presets + i;
        if (strcmp(p->name, preset)) continue;
        *c = (struct model_config){.arch = c->arch,
                                   .options = c->options,
                                   .layers = p->layers,
                                   .d = p->d,
                                   .heads = p->heads,
                                   .kv_heads = p->heads,
                                   .e = p->e,
                                   .ffn = p->ffn,
                                   .ffn_relu = p->relu,
                                   .segment = p->segment,
                                   .segments = p->segments,
                                   .batch = p->batch,
                                   .vocab = p->vocab,
                                   .equal_parameters = true,
                                   .norm_eps = 1e-5,
                                   .rope_base = 10000,
                                   .gate_rate = 10};
        snprintf(c->preset, sizeof c->preset, "%s", p->name);
        memcpy(c->rates, p->rates, sizeof c->rates);
        return 0;
    }
    const char *near = nearest_name(preset, preset_names, PRESETS);
    return fail(e, "unknown preset '%s'%s%s%s; presets: nano, micro, tiny, small, paper", preset, near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
}

/* ---- shape keys: one table for reading and writing ---- */

static const struct {
    struct option o; /* no default: the preset's */
    size_t at;
} keys[] = {
#define AT(field) offsetof(struct model_config, field)
    {{"batch", OPTION_INT, NULL, 1, 1e9, NULL, "rows of a training step"}, AT(batch)},
    {{"d_model", OPTION_INT, NULL, 1, 1e6, NULL, "width of the residual stream"}, AT(d)},
    {{"equal_parameters", OPTION_BOOL, "yes", 0, 1, NULL, "the feed-forward part gives up what a mixer needs more"},
     AT(equal_parameters)},
    {{"ffn", OPTION_INT, NULL, 1, 1e7, NULL, "width of the feed-forward part, before equal_parameters"}, AT(ffn)},
    {{"ffn_kind", OPTION_CHOICE, NULL, 0, 1, "swiglu|relu", "three matrices with a gate, or two with ReLU"}, AT(ffn_relu)},
    {{"gate_rate", OPTION_REAL, "10", 0, 1e6, NULL, "learning rate of the gates, as a multiple of lr"}, AT(gate_rate)},
    {{"head_dim", OPTION_INT, NULL, 1, 1e5, NULL, "width of a head, even"}, AT(e)},
    {{"heads", OPTION_INT, NULL, 1, 1e5, NULL, "query heads of a layer"}, AT(heads)},
    {{"kv_heads", OPTION_INT, NULL, 1, 1e5, NULL, "key and value heads; heads is a multiple of it"}, AT(kv_heads)},
    {{"layers", OPTION_INT, NULL, 1, 127, NULL, "layers"}, AT(layers)},
    {{"norm_eps", OPTION_REAL, "1e-5", 0, 1, NULL, "added to the mean square in RMSNorm"}, AT(norm_eps)},
    {{"rope_base", OPTION_REAL, "10000", 1, 1e12, NULL, "base of the rotary positions"}, AT(rope_base)},
    {{"segment", OPTION_INT, NULL, 1, 1e7, NULL, "tokens of a segment"}, AT(segment)},
    {{"segments", OPTION_INT, NULL, 1, 1e5, NULL, "segments of a training step; the gradient goes through all of them"},
     AT(segments)},
    {{"tied", OPTION_BOOL, "no", 0, 1, NULL, "one matrix for embedding and logits"}, AT(tied)},
    {{"vocab", OPTION_INT, NULL, 2, 1e8, NULL, "symbols, at least those of the tokenizer, which is the default"}, AT(vocab)},
};
#define KEYS ((int)(sizeof keys / sizeof *keys))

const struct option *config_key(int i) { return i < KEYS ? &keys[i].o : NULL; }

int config_set(struct model_config *c, const char *key, const char *value, const char *where, struct error *e) {
    for (int i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].o.key, key)) continue;
        void *at = (char *)c + keys[i].at;
        switch (keys[i].o.type) {
        case OPTION_INT:
        case OPTION_REAL: {
            int64_t whole = 0;
            char *end = NULL;
            double x = strtod(value, &end);
            bool ok = end != value && *end == 0;
            if (keys[i].o.type == OPTION_INT) ok = parse_int(value, &whole) == 0, x = (double)whole;
            if (!ok || !(x >= keys[i].o.min && x <= keys[i].o.max))
                return fail(e, "%s: %s = '%s' is not %s from %g to %g", where, key, value,
                            keys[i].o.type == OPTION_INT ? "a whole number" : "a number", keys[i].o.min, keys[i].o.max);
            if (keys[i].o.type == OPTION_INT)
                *(int64_t *)at = whole;
            else
                *(double *)at = x;
            return 0;
        }
        case OPTION_BOOL:
            if (strcmp(value, "yes") && strcmp(value, "no"))
                return fail(e, "%s: %s = '%s' is neither 'yes' nor 'no'", where, key, value);
            *(bool *)at = !strcmp(value, "yes");
            return 0;
        case OPTION_TEXT:
            break;
        case OPTION_CHOICE:
            if (strcmp(value, "swiglu") && strcmp(value, "relu"))
                return fail(e, "%s: ffn_kind = '%s' is neither 'swiglu' nor 'relu'", where, value);
            *(bool *)at = !strcmp(value, "relu");
            return 0;
        }
    }
    return 1;
}

/* ---- text form: "architecture=infini;batch=4;...;option.update=linear;preset=micro" ---- */

char *config_text(const struct model_config *c) {
    char *text = xprintf("architecture=%s;preset=%s", c->arch->name, c->preset);
    for (int i = 0; i < KEYS; i++) {
        const void *at = (const char *)c + keys[i].at;
        char *next = NULL;
        switch (keys[i].o.type) {
        case OPTION_INT:
            next = xprintf("%s;%s=%lld", text, keys[i].o.key, (long long)*(const int64_t *)at);
            break;
        case OPTION_REAL:
            next = xprintf("%s;%s=%.17g", text, keys[i].o.key, *(const double *)at);
            break;
        case OPTION_BOOL:
            next = xprintf("%s;%s=%s", text, keys[i].o.key, *(const bool *)at ? "yes" : "no");
            break;
        case OPTION_TEXT:
            continue;
        case OPTION_CHOICE:
            next = xprintf("%s;%s=%s", text, keys[i].o.key, *(const bool *)at ? "relu" : "swiglu");
            break;
        }
        free(text);
        text = next;
    }
    for (int i = 0; c->arch->options && c->arch->options[i].key; i++) {
        if (!option_counts(&c->options, i)) continue;
        char *next = xprintf("%s;option.%s=%s", text, c->arch->options[i].key, c->options.value[i]);
        free(text);
        text = next;
    }
    return text;
}

int config_parse(struct model_config *c, const char *text, struct error *e) {
    memset(c, 0, sizeof *c);
    char *copy = xstrdup(text), *save = NULL;
    int bad = config_preset(c, "nano", e);
    for (char *pair = strtok_r(copy, ";", &save); pair && !bad; pair = strtok_r(NULL, ";", &save)) {
        char *value = strchr(pair, '=');
        if (!value) {
            bad = fail(e, "the configuration holds '%s' without a value", pair);
            break;
        }
        *value++ = 0;
        if (!strcmp(pair, "architecture")) {
            c->arch = baseline_find(value, e);
            if (!c->arch)
                bad = -1;
            else
                options_init(&c->options, c->arch->options);
        } else if (!strcmp(pair, "preset")) {
            snprintf(c->preset, sizeof c->preset, "%.*s", (int)sizeof c->preset - 1, value);
        } else if (!strncmp(pair, "option.", 7)) {
            bad = c->arch ? options_set(&c->options, pair + 7, value, "the stored configuration", e)
                          : fail(e, "the configuration names option '%s' before its architecture", pair + 7);
        } else {
            bad = config_set(c, pair, value, "the stored configuration", e);
            if (bad > 0) bad = fail(e, "the configuration has an unknown key '%s': was it written by a newer version?", pair);
        }
    }
    free(copy);
    if (!bad && !c->arch) bad = fail(e, "the configuration names no architecture");
    return bad ? -1 : config_finish(c, e);
}

int config_finish(struct model_config *c, struct error *e) {
    if (c->heads % c->kv_heads)
        return fail(e, "heads = %lld is not a multiple of kv_heads = %lld", (long long)c->heads, (long long)c->kv_heads);
    if (c->e % 2) return fail(e, "head_dim = %lld is odd; rotary positions turn pairs: choose an even head size", (long long)c->e);
    if (c->d % c->heads)
        return fail(e, "d_model = %lld is not divisible by heads = %lld; set heads, or head_dim and heads so that they fit",
                    (long long)c->d, (long long)c->heads);
    if ((double)c->segment * (double)c->segments >= 2147483648.0) return fail(e, "segment * segments exceeds 2^31 tokens");
    c->ffn_used = c->ffn;
    if (c->arch->logits) return 0; /* null has no layers */
    if (c->arch->check && c->arch->check(c, e)) return -1;
    double extra = c->arch->extra_params ? c->arch->extra_params(c) : 0;
    if (!c->equal_parameters || extra == 0) return 0;
    /* The coarsest width that keeps the parameter count within half a percent: products like multiples of 8. */
    double per_column = (c->ffn_relu ? 2.0 : 3.0) * (double)c->d;
    double layer = 2.0 * (double)(c->d * c->e) * (double)(c->heads + c->kv_heads) + per_column * (double)c->ffn;
    for (int64_t step = 8; step >= 1; step /= 2) {
        double want = ((double)c->ffn - extra / per_column) / (double)step;
        c->ffn_used = (int64_t)(want + 0.5) * step;
        double miss = extra + per_column * (double)(c->ffn_used - c->ffn);
        if ((miss < 0 ? -miss : miss) <= 0.005 * layer) break;
    }
    if (c->ffn_used < 1)
        return fail(e,
                    "the mixer of '%s' needs %.0f parameters a layer, more than the feed-forward part (ffn = %lld) can give up; "
                    "set equal_parameters = no",
                    c->arch->name, extra, (long long)c->ffn);
    return 0;
}
