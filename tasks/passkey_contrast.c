/* passkey_contrast.c - how well a compressive memory hears the needle, by layer and head.
 *
 * The read of the linear rule is an average of all values that were written, with weights proportional to sigma(q) sigma(k_t). Of T
 * tokens the needle's token k* has the weight c / T with the contrast c = sigma(q) sigma(k*) / mean_t sigma(q) sigma(k_t), and the
 * mean is sigma(q) z / T. Far away a needle is heard only if c grows as T does, that is if the keys of the haystack have almost no
 * support where q has it. Measured at the queries from which the answer's symbols are predicted; k*: the token of the needle that
 * the query fits best. For the delta rule c describes the normaliser only, which it shares with the linear rule. */
#include "passkey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct passkey_contrast {
    const struct model *model;
    int rows, symbols;
    int64_t heads, kv_heads, e, layers;
    struct contrast_row {
        int64_t key, keys, query; /* first input of the needle, its inputs, first input of the answer's queries */
        int64_t written;          /* tokens in the memory */
        double *k, *q, *z;        /* sigma of [layer][key][kv head][e], [layer][symbol][head][e]; [layer][kv head][e] */
    } * row;
};

/* ELU + 1. */
static double feature(double x) { return x > 0 ? x + 1 : exp(x); }

struct passkey_contrast *contrast_open(const struct model *m, const struct prompt *prompts, int rows, int symbols) {
    const struct model_config *c = &m->config;
    struct passkey_contrast *x = xcalloc(1, sizeof *x);
    *x = (struct passkey_contrast){m, rows, symbols, c->heads, c->kv_heads, c->e, c->layers, xcalloc((size_t)rows, sizeof *x->row)};
    for (int r = 0; r < rows; r++) {
        struct contrast_row *w = &x->row[r];
        w->key = prompts[r].needle[0] + 1;
        w->keys = prompts[r].needle_end[0] - prompts[r].needle[0];
        w->query = prompts[r].answer;
        w->k = xcalloc((size_t)(x->layers * w->keys * x->kv_heads * x->e), sizeof *w->k);
        w->q = xcalloc((size_t)(x->layers * symbols * x->heads * x->e), sizeof *w->q);
        w->z = xcalloc((size_t)(x->layers * x->kv_heads * x->e), sizeof *w->z);
    }
    return x;
}

void contrast_close(struct passkey_contrast *x) {
    for (int r = 0; x && r < x->rows; r++) {
        free(x->row[r].k);
        free(x->row[r].q);
        free(x->row[r].z);
    }
    if (x) free(x->row);
    free(x);
}

void contrast_watch(void *data, int64_t row, int layer, const char *what, int64_t first, int64_t n, int64_t width,
                    const real *values) {
    struct passkey_contrast *x = data;
    if (row >= x->rows) return;
    struct contrast_row *w = &x->row[row];
    bool key = strcmp(what, "key") == 0;
    int64_t from = key ? w->key : w->query, count = key ? w->keys : x->symbols;
    double *to = key ? w->k : w->q;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = from + i - first;
        if (at < 0 || at >= n) continue;
        for (int64_t j = 0; j < width; j++) to[(layer * count + i) * width + j] = feature((double)values[at * width + j]);
    }
}

void contrast_memory(struct passkey_contrast *x, const struct stream *s) {
    const struct state *state = stream_state(s);
    int64_t width = x->kv_heads * x->e;
    real *host = xcalloc((size_t)(state->batch * width), sizeof *host);
    for (int layer = 0; layer < x->layers; layer++) {
        x->model->k->download(host, state->data[layer_state(x->model, layer, "memory_norm")],
                              (size_t)(state->batch * width) * sizeof *host);
        for (int r = 0; r < x->rows; r++) {
            x->row[r].written = stream_writes(s, r) * x->model->config.segment;
            for (int64_t j = 0; j < width; j++) x->row[r].z[layer * width + j] = (double)host[r * width + j];
        }
    }
    free(host);
}

int contrast_samples(const struct passkey_contrast *x) { return x->rows; }

double contrast_value(const struct passkey_contrast *x, int layer, int64_t head, double *share) {
    int64_t group = head / (x->heads / x->kv_heads);
    double contrast = 0, whole = 0;
    for (int r = 0; r < x->rows; r++) {
        const struct contrast_row *w = &x->row[r];
        for (int i = 0; i < x->symbols; i++) {
            const double *q = w->q + ((layer * x->symbols + i) * x->heads + head) * x->e;
            const double *z = w->z + (layer * x->kv_heads + group) * x->e;
            double all = 0, best = 0, needle = 0;
            for (int64_t j = 0; j < x->e; j++) all += q[j] * z[j];
            for (int64_t t = 0; t < w->keys; t++) {
                const double *k = w->k + ((layer * w->keys + t) * x->kv_heads + group) * x->e;
                double fit = 0;
                for (int64_t j = 0; j < x->e; j++) fit += q[j] * k[j];
                needle += fit;
                best = fmax(best, fit);
            }
            contrast += best * (double)w->written / all;
            whole += needle / all;
        }
    }
    if (share) *share = whole / (x->rows * x->symbols);
    return contrast / (x->rows * x->symbols);
}
