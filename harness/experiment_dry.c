/* experiment_dry.c - `run --dry-run`: what an experiment would build and cost, row by row.
 *
 * Models and trainers are made without a backend: they plan as for the real allocation and take no memory. No data is opened and
 * nothing is written. */
#include "experiment_private.h"

#include <stdlib.h>
#include <string.h>

#define PLAN_DOCUMENT 32768 /* tokens of the document over which a plan averages */

static void print_bytes(FILE *out, double bytes) {
    const char *unit = "bytes";
    if (bytes >= 1073741824)
        bytes /= 1073741824, unit = "GiB";
    else if (bytes >= 1048576)
        bytes /= 1048576, unit = "MiB";
    else if (bytes >= 1024)
        bytes /= 1024, unit = "KiB";
    fprintf(out, unit[0] == 'b' ? "%.0f %s" : "%.2f %s", bytes, unit);
}

static int dry_row(const struct experiment *x, const struct row_spec *r, FILE *out, struct error *e) {
    const struct model_config *c = &r->config;
    struct model *m = model_create(c, NULL, 1, e);
    if (!m) return fail(e, "[row %s]: %s", r->name, e->text);
    int64_t step_tokens = c->segment * c->segments, contexts[3] = {step_tokens, PLAN_DOCUMENT, 1048576};
    fprintf(out, "[row %s] %s, %lld parameters\n", r->name, c->arch->name, (long long)m->elements);
    fprintf(out, "  shape: %lld layers x %lld (%lld heads x %lld, %lld for keys and values), FFN %lld, vocabulary %lld\n",
            (long long)c->layers, (long long)c->d, (long long)c->heads, (long long)c->e, (long long)c->kv_heads,
            (long long)c->ffn_used, (long long)c->vocab);
    fprintf(out, "  a training step: %lld rows x %lld segments x %lld tokens = %lld tokens; N/d_key = %g\n", (long long)c->batch,
            (long long)c->segments, (long long)c->segment, (long long)(c->batch * step_tokens), (double)c->segment / (double)c->e);
    for (int i = 0; i < 3; i++) {
        if (i && contexts[i] == contexts[0]) continue;
        int64_t carried = c->arch->carried ? c->arch->carried(c, contexts[i]) : 0;
        fprintf(out, "  after %7lld tokens: carries %lld elements (", (long long)contexts[i], (long long)carried);
        print_bytes(out, (double)carried * (double)sizeof(real));
        int64_t attended = c->arch->attended ? c->arch->attended(c, contexts[i]) : 0;
        fprintf(out, "), a query attends to %lld (", (long long)attended);
        print_bytes(out, (double)attended * (double)sizeof(real));
        fprintf(out, "), %.4g MFLOP a token forward\n", model_flops(c, contexts[i], false) / 1e6);
    }
    double training = 0;
    int64_t segments = (PLAN_DOCUMENT + c->segment - 1) / c->segment;
    for (int64_t i = 0; i < segments; i++) training += 3 * model_flops(c, i * c->segment, true) / (double)segments;
    fprintf(out, "  %.4g MFLOP a token in training (forward and backward), mean over a document of %d tokens\n", training / 1e6,
            PLAN_DOCUMENT);
    for (int i = 0; i < x->stage_count; i++) {
        struct options options;
        struct train_config config;
        stage_train_options(&options, r, &x->stages[i]);
        train_config_from(&config, &options);
        double tokens = (double)config.steps * (double)(c->batch * step_tokens);
        fprintf(out, "  [stage %s] %lld steps, %.4g tokens, %.4g FLOP, source %s\n", x->stages[i].name, (long long)config.steps,
                tokens, tokens * training, x->stages[i].source);
        if (i > 0) continue; /* the arenas are those of every stage */
        struct trainer *t = trainer_create(m, &config, NULL, e);
        if (t)
            trainer_print_memory(t, out);
        else
            fprintf(out, "  %s\n", e->text);
        trainer_free(t);
    }
    model_free(m);
    return 0;
}

int dry_run(const struct experiment *x, const struct run_options *o, FILE *out, struct error *e) {
    fprintf(out, "%s: %s\n%d rows, %d seed%s, %d stage%s, %d task%s\n", x->name, x->title, x->row_count, x->seed_count,
            x->seed_count == 1 ? "" : "s", x->stage_count, x->stage_count == 1 ? "" : "s", x->task_count,
            x->task_count == 1 ? "" : "s");
    for (int i = 0; i < x->row_count; i++) {
        if (o->only && strcmp(o->only, x->rows[i].name) != 0) continue;
        if (dry_row(x, &x->rows[i], out, e) != 0) return -1;
    }
    return 0;
}
