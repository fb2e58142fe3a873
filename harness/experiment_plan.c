/* experiment_plan.c - the cells that a call asks for, which of them are there, and which data are not: what `run` says at its
 * end and `--dry-run` beforehand; and whether the stages can draw what they train on. It trains and measures nothing; corpora are
 * opened for their hash, which is part of a cell. */
#include "checkpoint.h"
#include "experiment_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sentence about data, kept once. */
static void note(struct plan *p, const char *sentence) {
    for (int i = 0; i < p->note_count; i++)
        if (strcmp(p->notes[i], sentence) == 0) return;
    if (p->note_count < PLAN_NOTES) p->notes[p->note_count++] = xstrdup(sentence);
}

static void add(struct plan *p, const struct session *s, struct planned c) {
    struct error e = {""};
    int result =
        c.task ? experiment_cell(c.cell, s->x, c.row, c.seed, c.task, &e) : training_cell(c.cell, s->x, c.row, c.seed, c.stage, &e);
    if (result != 0) note(p, e.text);
    c.there = result == 0 && s->have(s, c.cell);
    p->cells = xrealloc(p->cells, (size_t)p->count + 1, sizeof *p->cells);
    p->cells[p->count++] = c;
}

/* Whether a task that the call asks for is measured after the stage, or after one that goes on with it. */
static bool leads_to_task(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage) {
    const struct experiment *x = s->x;
    for (int i = 0; i < x->task_count; i++)
        if (strcmp(x->tasks[i].after, stage->name) == 0 && row_measured(x, row, &x->tasks[i], seed) &&
            task_wanted(s->o, &x->tasks[i]))
            return true;
    for (int i = 0; i < x->stage_count; i++)
        if (strcmp(x->stages[i].from, stage->name) == 0 && row_trained(x, row, &x->stages[i], seed) &&
            leads_to_task(s, row, seed, &x->stages[i]))
            return true;
    return false;
}

/* Whether `train` goes through the stage on its way to the last. */
static bool on_the_way(const struct session *s, const struct stage_spec *stage) {
    for (const struct stage_spec *g = s->last; g; g = stage_find(s->x, g->from))
        if (g == stage) return true;
    return false;
}

void plan_make(struct plan *p, const struct session *s) {
    const struct experiment *x = s->x;
    for (int k = 0; k < x->seeds.count; k++)
        for (int i = 0; i < x->row_count; i++) {
            const struct row_spec *row = &x->rows[i];
            int64_t seed = x->seeds.seed[k];
            if (!pair_wanted(s, row, seed)) continue;
            for (int j = 0; j < x->stage_count; j++) {
                const struct stage_spec *g = &x->stages[j];
                if (!row_trained(x, row, g, seed) || (!s->folder && !on_the_way(s, g))) continue;
                if (s->o->tasks && !leads_to_task(s, row, seed, g)) continue;
                add(p, s, (struct planned){.row = row, .seed = seed, .stage = g, .asked = !s->o->tasks});
            }
            for (int j = 0; j < x->task_count && s->folder; j++) {
                const struct task_spec *t = &x->tasks[j];
                if (!row_measured(x, row, t, seed) || !task_wanted(s->o, t)) continue;
                add(p, s, (struct planned){.row = row, .seed = seed, .stage = stage_find(x, t->after), .task = t, .asked = true});
            }
        }
}

bool plan_trains(const struct plan *p, const struct session *s, const struct planned *training) {
    struct error ignored;
    bool needed = training->asked && !training->there;
    for (int i = 0; i < p->count && !needed; i++) {
        const struct planned *c = &p->cells[i];
        if (c->row != training->row || c->seed != training->seed) continue;
        if (c->task)
            needed = c->stage == training->stage && !c->there;
        else if (strcmp(c->stage->from, training->stage->name) == 0)
            needed = plan_trains(p, s, c);
    }
    if (!needed || !training->there) return needed;
    char *folder = checkpoint_folder(s->x, training->row, training->seed, training->stage, &ignored);
    char *file = xprintf("%s/model.safetensors", folder ? folder : "");
    bool here = (folder && whole_stage(file, training->row, training->stage)) ||
                kept_model(s, training->row, training->seed, training->stage);
    free(folder);
    free(file);
    return !here;
}

int plan_can_train(const struct plan *p, const struct session *s, struct error *e) {
    for (int i = 0; i < s->x->stage_count; i++)
        for (int j = 0; j < p->count; j++) {
            const struct planned *c = &p->cells[j];
            if (c->task || c->stage != &s->x->stages[i] || !plan_trains(p, s, c)) continue;
            struct error why;
            const struct tokenizer *t = tokenizer_open(s->x->tokenizer, &why);
            struct source *source = t ? stage_source(s->x, c->stage, t, c->seed, NULL, &why) : NULL;
            if (!source) return fail(e, "%s, [stage %s]: %s", s->x->path, c->stage->name, why.text);
            source->free(source);
            break;
        }
    return 0;
}

void plan_free(struct plan *p) {
    for (int i = 0; i < p->note_count; i++) free(p->notes[i]);
    free(p->cells);
    memset(p, 0, sizeof *p);
}
