/* experiment_dry.c - `run --dry-run`: what an experiment would build and cost, row by row.
 *
 * Models and trainers are made without a backend: they plan as for the real allocation and take no memory. Data are opened only to
 * know which cells are there; nothing is written. */
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

static void print_step(FILE *out, const struct model_config *c) {
    fprintf(out, "a training step: %lld rows x %lld segments x %lld tokens = %lld tokens", (long long)c->batch,
            (long long)c->segments, (long long)c->segment, (long long)(c->batch * c->segments * c->segment));
}

/* Mean FLOPs of a token in training, over a document of PLAN_DOCUMENT tokens. */
static double training_flops(const struct model_config *c) {
    double sum = 0;
    int64_t segments = (PLAN_DOCUMENT + c->segment - 1) / c->segment;
    for (int64_t i = 0; i < segments; i++) sum += 3 * model_flops(c, i * c->segment, true) / (double)segments;
    return sum;
}

/* A stage is built as it would be trained: its own shape of a step, with carried-in states where its source gives them. todo: the
 * seeds that are trained, of all. */
static int dry_stage(const struct experiment *x, const struct row_spec *r, const struct stage_spec *stage,
                     const struct seed_list *todo, int all, bool table, FILE *out, struct error *e) {
    struct options options;
    struct train_config config;
    struct model_config c;
    const struct tokenizer *tokenizer = tokenizer_open(x->tokenizer, e);
    stage_train_options(&options, r, stage);
    train_config_from(&config, &options);
    stage_config(&c, r, stage);
    struct model *m = tokenizer ? model_create(&c, NULL, 1, e) : NULL;
    if (!m) return -1;
    config.carried_in = stage_carried_in(x, stage, tokenizer);
    bool carried_in = config.carried_in && carried_in_possible(m);
    double step = (double)(c.batch * c.segments * c.segment), steps = (double)config.steps, training = training_flops(&c);
    fprintf(out, "  [stage %s] %lld steps, %.4g tokens, %.4g FLOP, source %s\n", stage->name, (long long)config.steps, steps * step,
            steps * (step * training + (carried_in ? carried_in_flops(&c) : 0)), stage->source);
    if (todo->count < all) {
        fprintf(out, "    %d of %d seeds are trained already; to train:", all - todo->count, all);
        for (int i = 0; i < todo->count; i++) fprintf(out, " %lld", (long long)todo->seed[i]);
        fprintf(out, "\n");
    }
    for (int i = 0; i < stage->option_count; i++)
        fprintf(out, "    %s.%s = %s\n", stage->options[i].section, stage->options[i].key, stage->options[i].value);
    fprintf(out, "    ");
    print_step(out, &c);
    if (carried_in)
        fprintf(out, "; starts from carried-in states, %d segments of filler", CARRIED_IN_SEGMENTS);
    else if (config.carried_in)
        fprintf(out, "; no carried-in states: %s carries no state that grows by what is read", c.arch->name);
    fprintf(out, "\n");
    struct trainer *t = trainer_create(m, &config, NULL, e);
    if (!t)
        fprintf(out, "    %s\n", e->text);
    else if (table)
        trainer_print_memory(t, out);
    else {
        fprintf(out, "    memory: ");
        print_bytes(out, (double)trainer_bytes(t));
        fprintf(out, "\n");
    }
    trainer_free(t);
    model_free(m);
    return 0;
}

/* The seeds of a row that the plan trains in a stage; *all: that go through it. */
static struct seed_list to_train(const struct plan *p, const struct session *s, const struct row_spec *r,
                                 const struct stage_spec *stage, int *all) {
    struct seed_list todo = {.count = 0};
    *all = 0;
    for (int i = 0; i < p->count; i++) {
        const struct planned *c = &p->cells[i];
        if (c->task || c->row != r || c->stage != stage) continue;
        ++*all;
        if (plan_trains(p, s, c)) todo.seed[todo.count++] = c->seed;
    }
    return todo;
}

/* Cells of a row that the call asks for (r NULL: of all rows); *missing: that are not there; measured: of tasks only. */
static int count_cells(const struct plan *p, const struct row_spec *r, bool measured, int *missing) {
    int n = 0;
    *missing = 0;
    for (int i = 0; i < p->count; i++) {
        const struct planned *c = &p->cells[i];
        if ((r && c->row != r) || !c->asked || (measured && !c->task)) continue;
        n++;
        *missing += !c->there;
    }
    return n;
}

static int dry_row(const struct session *s, const struct plan *p, const struct row_spec *r, FILE *out, struct error *e) {
    const struct experiment *x = s->x;
    const struct model_config *c = &r->config;
    int missing, all = count_cells(p, r, false, &missing);
    if (all && !missing) {
        fprintf(out, "[row %s] nothing to do: %d of %d cells are there\n", r->name, all, all);
        return 0;
    }
    struct model *m = model_create(c, NULL, 1, e);
    if (!m) return fail(e, "[row %s]: %s", r->name, e->text);
    int64_t step_tokens = c->segment * c->segments, contexts[3] = {step_tokens, PLAN_DOCUMENT, 1048576};
    fprintf(out, "[row %s] %s, %lld parameters", r->name, c->arch->name, (long long)m->elements);
    if (c->arch->apart && c->arch->apart(c) > 0)
        fprintf(out, ", %.0f of them on top of the equal number and trained by a loss of their own", c->arch->apart(c));
    fprintf(out, "\n");
    fprintf(out, "  shape: %lld layers x %lld (%lld heads x %lld, %lld for keys and values), FFN %lld, vocabulary %lld\n",
            (long long)c->layers, (long long)c->d, (long long)c->heads, (long long)c->e, (long long)c->kv_heads,
            (long long)c->ffn_used, (long long)c->vocab);
    fprintf(out, "  ");
    print_step(out, c);
    fprintf(out, "; N/d_key = %g\n", (double)c->segment / (double)c->e);
    for (int i = 0; i < 3; i++) {
        if (i && contexts[i] == contexts[0]) continue;
        int64_t carried = model_carried(c, contexts[i]);
        fprintf(out, "  after %7lld tokens: %lld elements by formula, carries %lld (", (long long)contexts[i],
                (long long)c->arch->footprint(c)->elements(c, contexts[i]), (long long)carried);
        print_bytes(out, (double)carried * (double)sizeof(real));
        int64_t attended = c->arch->attended ? c->arch->attended(c, contexts[i]) : 0;
        fprintf(out, "), a query attends to %lld (", (long long)attended);
        print_bytes(out, (double)attended * (double)sizeof(real));
        fprintf(out, "), %.4g MFLOP a token forward\n", model_flops(c, contexts[i], false) / 1e6);
    }
    fprintf(out, "  %.4g MFLOP a token in training (forward and backward), mean over a document of %d tokens\n",
            training_flops(c) / 1e6, PLAN_DOCUMENT);
    int status = 0, shown = 0;
    for (int i = 0; i < x->stage_count && status == 0; i++) {
        struct seed_list todo = to_train(p, s, r, &x->stages[i], &all);
        if (all && !todo.count)
            fprintf(out, "  [stage %s] is trained already\n", x->stages[i].name);
        else if (all)
            status = dry_stage(x, r, &x->stages[i], &todo, all, shown++ == 0, out, e);
    }
    all = count_cells(p, r, true, &missing);
    if (all) fprintf(out, "  to measure: %d of %d task cells\n", missing, all);
    model_free(m);
    return status;
}

static int print_plan(const struct session *s, const struct plan *p, FILE *out, struct error *e) {
    const struct experiment *x = s->x;
    int missing, all = count_cells(p, NULL, false, &missing);
    fprintf(out, "%s: %s\n%d rows, %d seed%s, %d stage%s, %d task%s\n", x->name, x->title, x->row_count, x->seeds.count,
            x->seeds.count == 1 ? "" : "s", x->stage_count, x->stage_count == 1 ? "" : "s", x->task_count,
            x->task_count == 1 ? "" : "s");
    if (s->folder && all)
        fprintf(out, "%d of %d cells are there already in %s%s\n", all - missing, all, s->folder,
                all > missing ? "; --out DIR measures them anew" : "");
    for (int i = 0; i < p->note_count; i++) fprintf(out, "not here: %s\n", p->notes[i]);
    for (int i = 0; i < x->row_count; i++)
        if (row_wanted(s->o, &x->rows[i]) && dry_row(s, p, &x->rows[i], out, e) != 0) return -1;
    if (!p->note_count) return plan_can_train(p, s, e);
    if (p->note_count == 1) return fail(e, "%s cannot run: %s", x->path, p->notes[0]);
    return fail(e, "%s cannot run: %d of its data are not here; the first: %.500s", x->path, p->note_count, p->notes[0]);
}

int dry_run(const struct session *s, FILE *out, struct error *e) {
    struct plan p = {0};
    plan_make(&p, s);
    int result = print_plan(s, &p, out, e);
    plan_free(&p);
    return result;
}
