/* check_cells.c - what a results folder has measured, as the gate sees it: its current cells, taken together over training seeds.
 */
#include "check_private.h"
#include "report_data.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED_POSITION "seed "

struct reading { /* one measurement of one seed */
    struct check_key key;
    int64_t seed, n; /* n: samples */
    double value;
};

static int by_key_and_seed(const void *a, const void *b) {
    const struct reading *x = a, *y = b;
    int order = check_key_order(&x->key, &y->key);
    return order ? order : (x->seed > y->seed) - (x->seed < y->seed);
}

static bool fits(const char *pattern, const char *text) { return fnmatch(pattern, text, 0) == 0; }

/* The first rule that has it; NULL: none. */
static const struct rule *rule_of(const struct rules *all, const struct check_key *k) {
    for (int i = 0; i < all->count; i++) {
        const struct rule *r = &all->x[i];
        if (fits(r->task, k->task) && fits(r->stage, k->stage) && fits(r->row, k->row) && fits(r->condition, k->condition) &&
            fits(r->position, k->position) && fits(r->metric, k->metric))
            return r;
    }
    return NULL;
}

/* Readings [from, to) of one key. */
static struct cell cell_of(const struct reading *r, int64_t from, int64_t to, const struct rule *rule) {
    struct cell c = {.key = r[from].key, .rule = rule, .seeds = to - from, .least = r[from].value, .most = r[from].value};
    if (rule && rule->kind == CHECK_STATISTICAL && rule->bound > 0 && r[from].n > 0) c.floor = rule->bound / (double)r[from].n;
    for (int64_t i = from; i < to; i++) {
        double step = r[i].value - c.mean;
        c.mean += step / (double)(i - from + 1);
        c.squares += step * (r[i].value - c.mean);
        c.least = r[i].value < c.least || isnan(r[i].value) ? r[i].value : c.least;
        c.most = r[i].value > c.most || isnan(r[i].value) ? r[i].value : c.most;
    }
    return c;
}

static int gather(struct cells *all, struct reading *r, int64_t n, const struct check_options *o, const struct rules *rules,
                  const struct expectations *expected, struct error *e) {
    bool alone = true; /* all of one seed */
    if (n) qsort(r, (size_t)n, sizeof *r, by_key_and_seed);
    all->values = xcalloc((size_t)n + 1, sizeof *all->values);
    all->seed = xcalloc((size_t)n + 1, sizeof *all->seed);
    for (int64_t i = 0; i < n; i++) {
        all->values[i] = r[i].value;
        all->seed[i] = r[i].seed;
        alone = alone && r[i].seed == r[0].seed;
    }
    for (int64_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && check_key_order(&r[to].key, &r[from].key) == 0; to++)
            if (r[to].seed == r[to - 1].seed)
                return fail(e,
                            "%s: %s of %s after %s (%s, %s), seed %lld, is measured twice: two sections of the experiment cannot "
                            "be told apart",
                            o->folder, r[to].key.metric, r[to].key.row, r[to].key.stage, r[to].key.task, check_place(&r[to].key),
                            (long long)r[to].seed);
        const struct rule *rule = rule_of(rules, &r[from].key);
        if (strcmp(r[from].key.metric, "skipped") == 0 && !rule && !o->seed_cells) {
            all->skipped = xrealloc(all->skipped, (size_t)all->skips + 1, sizeof *all->skipped);
            all->skipped[all->skips++] = r[from].key;
        }
        if (rule && rule->kind == CHECK_IGNORED) rule = NULL;
        if (rule ? rule->kind == CHECK_SEED && !alone : !expectations_find(expected, &r[from].key)) continue;
        if (o->seed_cells && !(rule && rule->kind == CHECK_SEED)) continue;
        all->x = xrealloc(all->x, (size_t)all->count + 1, sizeof *all->x);
        struct cell *c = &all->x[all->count++];
        *c = cell_of(r, from, to, rule);
        c->values = all->values + from;
        c->seed = all->seed + from;
        if (rule && rule->kind == CHECK_SEED)
            snprintf(c->key.position, sizeof c->key.position, SEED_POSITION "%lld", (long long)r[from].seed);
    }
    if (all->count) qsort(all->x, (size_t)all->count, sizeof *all->x, check_key_order); /* positions may have changed */
    return 0;
}

int cells_read(struct cells *all, const struct check_options *o, const struct rules *rules, const struct expectations *expected,
               struct error *e) {
    *all = (struct cells){0};
    struct report_data *d = report_load(o->folder, e);
    if (!d) return -1;
    struct reading *r = xcalloc((size_t)d->result_count + 1, sizeof *r);
    int64_t n = 0;
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *x = &d->results[i];
        struct reading *to = &r[n];
        memset(to, 0, sizeof *to);
        memcpy(to->key.row, x->row, sizeof to->key.row);
        memcpy(to->key.stage, x->stage, sizeof to->key.stage);
        memcpy(to->key.task, x->task, sizeof to->key.task);
        memcpy(to->key.split, x->split, sizeof to->key.split);
        memcpy(to->key.condition, x->condition, sizeof to->key.condition);
        memcpy(to->key.metric, x->metric, sizeof to->key.metric);
        memcpy(to->key.position, x->position, sizeof to->key.position);
        to->key.context = x->context;
        to->key.writes = x->writes;
        to->seed = x->seed;
        to->n = x->n;
        to->value = x->value;
        n += o->seed < 0 || o->seed == x->seed;
    }
    int result = gather(all, r, n, o, rules, expected, e);
    free(r);
    report_data_free(d);
    if (result != 0) cells_free(all);
    return result;
}

void cells_free(struct cells *all) {
    free(all->x);
    free(all->skipped);
    free(all->values);
    free(all->seed);
    *all = (struct cells){0};
}

bool check_of_seed(const struct check_key *key) { return strncmp(key->position, SEED_POSITION, strlen(SEED_POSITION)) == 0; }

const struct cell *cells_find(const struct cells *all, const struct check_key *key) {
    return all->count ? bsearch(key, all->x, (size_t)all->count, sizeof *all->x, check_key_order) : NULL;
}
