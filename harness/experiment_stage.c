/* experiment_stage.c - stages of an experiment: their keys, their sources, and what they change of a row (training options, shape
 * of the step, options of a task that is trained on). */
#include "experiment_parse.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct stage_spec *stage_find(const struct experiment *x, const char *name) {
    for (int i = 0; i < x->stage_count; i++)
        if (strcmp(x->stages[i].name, name) == 0) return &x->stages[i];
    return NULL;
}

bool seed_listed(const struct seed_list *l, int64_t seed) {
    bool has = false;
    for (int i = 0; i < l->count; i++) has = has || l->seed[i] == seed;
    return has;
}

bool row_trained(const struct experiment *x, const struct row_spec *row, const struct stage_spec *stage, int64_t seed) {
    return seed_listed(&row->seeds, seed) && (!stage || (seed_listed(&stage->seeds, seed) && (stage->rows >> (row - x->rows) & 1)));
}

bool row_measured(const struct experiment *x, const struct row_spec *row, const struct task_spec *task, int64_t seed) {
    return strcmp(task->after, NEVER) != 0 && (task->rows >> (row - x->rows) & 1) && seed_listed(&task->seeds, seed) &&
           row_trained(x, row, stage_find(x, task->after), seed);
}

/* ---- reading ---- */
static bool given(const struct options *o, const char *key) {
    for (int i = 0; o->table && o->table[i].key; i++)
        if (strcmp(o->table[i].key, key) == 0) return o->given[i];
    return false;
}

int read_stage(struct parse *p, struct experiment *x, struct section *s, const struct options *train,
               const struct model_config *c) {
    if (x->stage_count == EXPERIMENT_LIMIT) return parse_complain(p, s->line, "more than %d stages", EXPERIMENT_LIMIT);
    struct stage_spec *g = &x->stages[x->stage_count];
    struct entry *source = parse_entry(s, "source"), *limit = parse_entry(s, "limit"), *from = parse_entry(s, "from");
    struct entry *seeds = parse_entry(s, "seeds"), *keep = parse_entry(s, "keep");
    parse_entry(s, "only"); /* waits for the rows */
    g->rows = UINT64_MAX;
    snprintf(g->name, sizeof g->name, "%.39s", s->name);
    if (!source) return parse_complain(p, s->line, "[stage %s] needs a source, for example source = kjv", s->name);
    if (strlen(source->value) >= sizeof g->source)
        return parse_complain(p, source->line, "source is longer than %zu characters", sizeof g->source - 1);
    snprintf(g->source, sizeof g->source, "%s", source->value);
    if (limit && (parse_int(limit->value, &g->limit) != 0 || g->limit < 0))
        return parse_complain(p, limit->line, "limit = '%s' is not a number of bytes (suffixes K, M); 0: whole files",
                              limit->value);
    snprintf(g->from, sizeof g->from, "%.39s", from ? from->value : x->stage_count ? x->stages[x->stage_count - 1].name : NO_STAGE);
    if (strcmp(g->from, NO_STAGE) != 0 && !stage_find(x, g->from)) {
        const char *names[EXPERIMENT_LIMIT + 1] = {NO_STAGE};
        for (int i = 0; i < x->stage_count; i++) names[i + 1] = x->stages[i].name;
        char more[512];
        parse_hint(more, sizeof more, g->from, names, x->stage_count + 1);
        return parse_complain(p, from->line, "from = '%s' is no stage before this one; %s", g->from, more);
    }
    const struct stage_spec *before = stage_find(x, g->from);
    char where[64] = "[experiment]";
    if (before) snprintf(where, sizeof where, "[stage %s]", before->name);
    if (parse_some_seeds(p, s, seeds, before ? &before->seeds : &x->seeds, where, &g->seeds) != 0) return -1;
    snprintf(where, sizeof where, "[stage %s]", g->name);
    if (keep && parse_some_seeds(p, s, keep, &g->seeds, where, &g->keep) != 0) return -1;
    g->train = *train;
    struct model_config shape = *c;
    for (int i = 0; i < s->count; i++) {
        struct entry *k = &s->entries[i];
        char at[256];
        parse_where(at, p, s, k->line);
        if (k->used || strchr(k->key, '.')) continue; /* SECTION.key waits for the tasks */
        if (strcmp(k->key, "batch") == 0 || strcmp(k->key, "segments") == 0) {
            if (config_set(&shape, k->key, k->value, at, p->e) != 0) return -1;
            *(k->key[0] == 'b' ? &g->batch : &g->segments) = k->key[0] == 'b' ? shape.batch : shape.segments;
            continue;
        }
        if (!options_has(&g->train, k->key)) return parse_unknown(p, s, k, false, train_options, NULL);
        if (options_set(&g->train, k->key, k->value, at, p->e) != 0) return -1;
    }
    if (options_has(&g->train, "lr") && !given(&g->train, "lr") && c->rates[1] > 0) { /* the preset's middle rate */
        char value[40];
        snprintf(value, sizeof value, "%.9g", c->rates[1]);
        if (options_set(&g->train, "lr", value, p->path, p->e) != 0) return -1;
    }
    x->stage_count++;
    return 0;
}

/* SECTION.key = value: an option of a task in the stage's source. */
static int read_task_option(struct parse *p, struct stage_spec *g, struct section *s, struct entry *k,
                            const struct source_part *parts, int count) {
    const char *dot = strrchr(k->key, '.'), *names[SOURCE_PARTS], *key = dot + 1;
    char section[64], at[256], more[512];
    const struct source_part *part = NULL;
    int known = 0;
    snprintf(section, sizeof section, "%.*s", (int)(dot - k->key), k->key);
    for (int i = 0; i < count; i++) {
        if (!parts[i].task) continue;
        names[known++] = parts[i].name;
        if (!part && strcmp(parts[i].name, section) == 0) part = &parts[i];
    }
    if (!known)
        return parse_complain(p, k->line, "'%s' sets an option of a task, but source = %s of [stage %s] names no task (task:NAME)",
                              k->key, g->source, g->name);
    if (!part) {
        parse_hint(more, sizeof more, section, names, known);
        return parse_complain(p, k->line, "'%s' in [stage %s]: its source has no task '%s'; %s", k->key, g->name, section, more);
    }
    if (!options_has(&part->options, key)) {
        const char *options[OPTION_LIMIT];
        int n = 0;
        for (const struct option *o = part->options.table; o && o->key; o++) options[n++] = o->key;
        parse_hint(more, sizeof more, key, options, n);
        return parse_complain(p, k->line, "unknown key '%s' in [stage %s]: the task %s has no option '%s'; %s", k->key, g->name,
                              part->task->name, key, more);
    }
    if (g->option_count == STAGE_OPTIONS)
        return parse_complain(p, k->line, "more than %d task options in [stage %s]", STAGE_OPTIONS, g->name);
    struct options checked = part->options;
    parse_where(at, p, s, k->line);
    if (options_set(&checked, key, k->value, at, p->e) != 0) return -1;
    struct stage_option *o = &g->options[g->option_count++];
    snprintf(o->section, sizeof o->section, "%s", section);
    snprintf(o->key, sizeof o->key, "%s", key);
    for (int i = 0; checked.table[i].key; i++)
        if (strcmp(checked.table[i].key, key) == 0) snprintf(o->value, sizeof o->value, "%s", checked.value[i]);
    return 0;
}

int finish_stage(struct parse *p, struct experiment *x, struct section *s) {
    struct stage_spec *g = NULL;
    struct source_part parts[SOURCE_PARTS];
    struct error inner;
    int n;
    for (int i = 0; i < x->stage_count && !g; i++)
        if (strcmp(x->stages[i].name, s->name) == 0) g = &x->stages[i];
    CHECK(g, "[stage %s] was not read", s->name);
    struct entry *rows = parse_entry(s, "only");
    const struct stage_spec *before = stage_find(x, g->from);
    if (rows && parse_rows(p, x, rows, &g->rows) != 0) return -1;
    if (rows && before && (g->rows & ~before->rows))
        return parse_complain(p, rows->line, "only = %s: not all of these rows go through [stage %s] before it", rows->value,
                              before->name);
    if (!rows && before) g->rows = before->rows;
    if (source_parse(x, g, parts, &n, &inner) != 0) return parse_complain(p, parse_entry(s, "source")->line, "%s", inner.text);
    for (int i = 0; i < s->count; i++)
        if (strchr(s->entries[i].key, '.') && read_task_option(p, g, s, &s->entries[i], parts, n) != 0) return -1;
    for (int i = 0; i < x->row_count; i++) {
        struct model_config c;
        stage_config(&c, &x->rows[i], g);
        if (config_finish(&c, &inner) != 0)
            return parse_complain(p, s->line, "[stage %s] with [row %s]: %s", g->name, x->rows[i].name, inner.text);
        if (c.ffn_used != x->rows[i].config.ffn_used)
            return parse_complain(p, s->line,
                                  "[stage %s] with [row %s]: batch and segments change the parameters (FFN width %lld, not %lld)",
                                  g->name, x->rows[i].name, (long long)c.ffn_used, (long long)x->rows[i].config.ffn_used);
    }
    return 0;
}

/* ---- what a stage is made of ---- */
/* The tasks that can be trained on, sections of the experiment first, each name once. */
static void hint_trainable(char *out, size_t size, const struct experiment *x, const char *word) {
    const char *names[64 + EXPERIMENT_LIMIT];
    int known = 0;
    for (int i = 0; i < x->task_count; i++)
        if (x->tasks[i].task->source) names[known++] = x->tasks[i].name;
    int sections = known;
    for (int i = 0; tasks[i] && i < 64; i++) {
        bool again = false;
        for (int k = 0; k < sections; k++) again = again || strcmp(names[k], tasks[i]->name) == 0;
        if (tasks[i]->source && !again) names[known++] = tasks[i]->name;
    }
    parse_hint(out, size, word, names, known);
}

int source_parse(const struct experiment *x, const struct stage_spec *stage, struct source_part parts[SOURCE_PARTS], int *count,
                 struct error *e) {
    const char *text = stage->source;
    double sum = 0;
    *count = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        const char *next = at + n + (at[n] == ',');
        while (n && isspace((unsigned char)at[0])) at++, n--;
        while (n && isspace((unsigned char)at[n - 1])) n--;
        if (*count == SOURCE_PARTS) return fail(e, "source = %s: more than %d components", text, SOURCE_PARTS);
        struct source_part *part = &parts[(*count)++];
        if (n == 0 || n >= sizeof part->name) return fail(e, "source = %s: a component is empty or too long", text);
        memset(part, 0, sizeof *part);
        memcpy(part->name, at, n);
        part->weight = 1;
        char *colon = strrchr(part->name, ':'), *end;
        if (colon && colon[1]) {
            double w = strtod(colon + 1, &end);
            if (!*end) {
                if (!(w > 0 && isfinite(w)))
                    return fail(e, "source = %s: the weight '%s' is not a number above 0", text, colon + 1);
                part->weight = w;
                *colon = 0;
            }
        }
        if (strncmp(part->name, "task:", 5) == 0) {
            memmove(part->name, part->name + 5, strlen(part->name + 5) + 1);
            for (int i = 0; i < x->task_count && !part->task; i++)
                if (strcmp(x->tasks[i].name, part->name) == 0) part->task = x->tasks[i].task, part->options = x->tasks[i].options;
            for (int i = 0; tasks[i] && !part->task; i++)
                if (strcmp(tasks[i]->name, part->name) == 0) {
                    part->task = tasks[i];
                    options_init(&part->options, tasks[i]->options);
                }
            if (!part->task || !part->task->source) {
                char more[512];
                hint_trainable(more, sizeof more, x, part->name);
                return part->task ? fail(e, "source = %s: the task %s cannot be trained on; %s", text, part->task->name, more)
                                  : fail(e, "source = %s: unknown task '%s'; %s", text, part->name, more);
            }
        }
        for (int i = 0; part->task && i < stage->option_count; i++)
            if (strcmp(stage->options[i].section, part->name) == 0 &&
                options_set(&part->options, stage->options[i].key, stage->options[i].value, stage->name, e) != 0)
                return -1;
        sum += part->weight;
        at = next;
    }
    if (*count == 0) return fail(e, "source is empty; for example source = kjv");
    for (int i = 0; i < *count; i++) parts[i].weight /= sum;
    return 0;
}

void stage_train_options(struct options *out, const struct row_spec *row, const struct stage_spec *stage) {
    *out = stage->train;
    for (int i = 0; i < row->override_count; i++) {
        struct error e;
        int result = options_set(out, row->overrides[i][0], row->overrides[i][1], row->name, &e);
        CHECK(result == 0, "%s", e.text);
    }
}

void stage_config(struct model_config *out, const struct row_spec *row, const struct stage_spec *stage) {
    *out = row->config;
    if (stage && stage->batch) out->batch = stage->batch;
    if (stage && stage->segments) out->segments = stage->segments;
}
