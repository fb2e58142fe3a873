/* check_update.c - `infinibench check --update`: new expectations from a results folder, old and new side by side, and the reasons
 * of what changed beyond its tolerance.
 *
 * Spreads are those of check_spread.c. One training seed measures no spread: an update from fewer seeds than the file has leaves
 * the spreads, and the cells that are within tolerance, as they are. */
#include "check_private.h"
#include "report_document.h"
#include "run_info.h"

#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_HEADER "date,commit,row,stage,task,condition,metric,context,position,writes,change,old,new,tolerance,reason"
#define LARGEST 10 /* replaced cells that are shown */
#define WIDER 1.5  /* a tolerance that grows by more needs a reason */

enum change { KEPT, REPLACED, BEYOND, WIDENED, ADDED, GONE };
static const char *const change_names[] = {"kept", "replaced", "beyond tolerance", "wider tolerance", "added", "gone"};
struct line {
    enum change change;
    const struct check_key *key;
    const struct expectation *old; /* NULL: added */
    struct expectation new;        /* not of GONE */
    double tolerance, before;      /* the new one and the old one, for one seed */
};
struct update {
    struct line *x;
    int count;
    struct expectations expected, written;
    struct cells cells;
    int problems; /* cells that cannot be expected */
    bool anew;    /* enough seeds: everything is measured anew */
    int64_t seeds;
};

static bool statistical(const struct cell *c) { return c->rule && c->rule->kind == CHECK_STATISTICAL; }

/* ---- spreads ---- */
static int family_spread(const struct update *u, const struct cell *c, struct expectation *x, struct error *e) {
    check_spread(&u->cells, c, x);
    if (x->spread > 0) return 0;
    return fail(e, "%s of %s (%s, %s) is the same for all %lld seeds, and so in every row: make it exact in the rules",
                c->key.metric, c->key.row, c->key.task, check_place(&c->key), (long long)c->seeds);
}

/* The spread that the file has for its family. */
static int known_spread(const struct update *u, const struct cell *c, struct expectation *x, struct error *e) {
    for (int i = 0; i < u->expected.count; i++) {
        const struct expectation *other = &u->expected.x[i];
        if (other->kind != CHECK_STATISTICAL || !check_same_family(&other->key, &c->key)) continue;
        if (x->df > 0 && other->spread < x->spread) continue;
        x->spread = other->spread;
        x->df = other->df;
    }
    if (x->df > 0) return 0;
    return fail(
        e,
        "the spread of %s (%s after %s, %s) was never measured; one needs a folder of 2 or more training seeds (run --seeds 1-20)",
        c->key.metric, c->key.task, c->key.stage, check_place(&c->key));
}

/* ---- old against new ---- */
static int new_expectation(const struct update *u, const struct cell *c, const struct expectation *old, struct expectation *x,
                           struct error *e) {
    *x = (struct expectation){.key = c->key,
                              .kind = c->rule->kind == CHECK_STATISTICAL ? CHECK_STATISTICAL : CHECK_EXACT,
                              .value = c->mean,
                              .spread = c->rule->bound};
    if (!(fabs(c->mean) < INFINITY))
        return fail(e, "%s of %s (%s, %s) is not a finite number", c->key.metric, c->key.row, c->key.task, check_place(&c->key));
    if (x->kind == CHECK_EXACT) {
        if (c->most - c->least <= x->spread) return 0;
        return fail(e, "%s of %s (%s, %s) is exact within %g by the rules, but seeds differ from %.9g to %.9g", c->key.metric,
                    c->key.row, c->key.task, check_place(&c->key), x->spread, c->least, c->most);
    }
    x->seeds = c->seeds;
    x->spread = 0;
    if (u->anew) return family_spread(u, c, x, e);
    if (old && old->kind == CHECK_STATISTICAL) {
        x->spread = old->spread;
        x->df = old->df;
        return 0;
    }
    return known_spread(u, c, x, e);
}

/* The tolerance for one seed; floor: of the cell. */
static double one_seed(const struct expectation *x, double floor, int64_t cells) {
    if (x->kind == CHECK_EXACT) return x->spread;
    return fmax(floor, check_tolerance(x->spread, x->df, x->seeds, 1, cells));
}

static struct line *add_line(struct update *u) {
    u->x = xrealloc(u->x, (size_t)u->count + 1, sizeof *u->x);
    struct line *l = &u->x[u->count++];
    memset(l, 0, sizeof *l);
    return l;
}

/* All problems are said, lest each takes an update of its own; the sentence of the error is the first. */
static void add_problem(struct update *u, const struct error *why, FILE *out, struct error *e) {
    fprintf(out, "%s\n", why->text);
    if (!u->problems++) *e = *why;
}

/* A task that is skipped for a row and measures nothing else there guards nothing of it. */
static void unguarded(struct update *u, FILE *out, struct error *e) {
    for (int i = 0; i < u->cells.skips; i++) {
        const struct check_key *k = &u->cells.skipped[i];
        struct error why;
        int c = 0;
        while (c < u->cells.count &&
               (strcmp(u->cells.x[c].key.row, k->row) != 0 || strcmp(u->cells.x[c].key.stage, k->stage) != 0 ||
                strcmp(u->cells.x[c].key.task, k->task) != 0))
            c++;
        if (c < u->cells.count) continue;
        fail(&why,
             "%s of %s after %s was only skipped (%s): nothing guards it; change the experiment, or let the rules ignore `skipped`",
             k->task, k->row, k->stage, check_place(k));
        add_problem(u, &why, out, e);
    }
}

static int decide(struct update *u, const struct check_options *o, FILE *out, struct error *e) {
    struct error why;
    int64_t before = expectations_statistical(&u->expected), after = 0;
    for (int i = 0; i < u->cells.count; i++) after += statistical(&u->cells.x[i]);
    for (int i = 0; i < u->expected.count && o->partial; i++) /* kept: the file will judge them too */
        after += u->expected.x[i].kind == CHECK_STATISTICAL && !cells_find(&u->cells, &u->expected.x[i].key);
    for (int i = 0; i < u->expected.count; i++) {
        const struct expectation *old = &u->expected.x[i];
        const struct cell *c = cells_find(&u->cells, &old->key);
        struct line *l = add_line(u);
        *l = (struct line){.key = &old->key, .old = old, .new = *old, .before = one_seed(old, c ? c->floor : 0, before)};
        if (!c && (o->partial || check_of_seed(&old->key))) continue; /* kept as it is */
        if (!c || !c->rule) {
            l->change = GONE;
            continue;
        }
        if (new_expectation(u, c, old, &l->new, &why) != 0) {
            add_problem(u, &why, out, e);
            continue;
        }
        l->tolerance = one_seed(&l->new, c->floor, u->anew ? after : before);
        if (old->kind != l->new.kind || !check_judge(old, c, before).good)
            l->change = BEYOND;
        else if (l->tolerance > WIDER * l->before)
            l->change = WIDENED;
        else if (u->anew || (old->kind == CHECK_EXACT && l->new.spread != old->spread))
            l->change = REPLACED;
        else
            l->new = *old;
    }
    for (int i = 0; i < u->cells.count; i++) {
        const struct cell *c = &u->cells.x[i];
        if (!c->rule || expectations_find(&u->expected, &c->key)) continue;
        struct line *l = add_line(u);
        *l = (struct line){.change = ADDED, .key = &c->key};
        if (new_expectation(u, c, NULL, &l->new, &why) != 0) add_problem(u, &why, out, e);
        l->tolerance = one_seed(&l->new, c->floor, u->anew ? after : before + 1);
    }
    unguarded(u, out, e);
    return u->problems ? -1 : 0;
}

/* All statistical cells come from as many seeds; -1: they do not. */
static int count_seeds(struct update *u, const char *folder, struct error *e) {
    for (int i = 0; i < u->cells.count; i++) {
        const struct cell *c = &u->cells.x[i];
        if (!statistical(c)) continue;
        if (u->seeds && c->seeds != u->seeds)
            return fail(e, "%s: %s of %s (%s, %s) has %lld seeds, others have %lld; finish the run first", folder, c->key.metric,
                        c->key.row, c->key.task, check_place(&c->key), (long long)c->seeds, (long long)u->seeds);
        u->seeds = c->seeds;
    }
    int64_t most = 0;
    for (int i = 0; i < u->expected.count; i++)
        if (u->expected.x[i].seeds > most) most = u->expected.x[i].seeds;
    u->anew = u->seeds >= 2 && u->seeds >= most;
    return 0;
}

/* ---- showing and writing ---- */
static bool needs_reason(enum change c) { return c == BEYOND || c == WIDENED || c == GONE; }

static void show_line(struct table *t, const struct line *l) {
    char number[4][40] = {"–", "–", "–", "–"};
    if (l->old)
        snprintf(number[0], sizeof number[0], "%.9g", l->old->value), snprintf(number[2], sizeof number[2], "%.3g", l->before);
    if (l->change != GONE)
        snprintf(number[1], sizeof number[1], "%.9g", l->new.value), snprintf(number[3], sizeof number[3], "%.3g", l->tolerance);
    table_cell(t, "%s", l->key->row);
    table_cell(t, "%s", l->key->stage);
    table_cell(t, "%s", l->key->task);
    table_cell(t, "%s", l->key->metric);
    table_cell(t, "%s", check_place(l->key));
    for (int k = 0; k < 4; k++) table_cell(t, "%s", number[k]);
    table_cell(t, "%s", change_names[l->change]);
}

/* Share of its old tolerance that a replaced cell has moved by. */
static double moved(const struct line *l) {
    double off = fabs(l->new.value - l->old->value);
    return l->change != REPLACED ? -1 : off == 0 ? 0 : off / l->before;
}

static int by_move(const void *a, const void *b) {
    double x = moved(*(const struct line *const *)a), y = moved(*(const struct line *const *)b);
    return (x < y) - (x > y);
}

/* What needs a reason; of what is replaced the largest changes, of what is added the number. all: everything that changes. */
static void show(const struct update *u, bool all, FILE *out) {
    static const char *const heads[] = {"<row", "<after", "<task",         "<metric",       "<where",
                                        "old",  "new",    "old tolerance", "new tolerance", "<"};
    struct table t = {.heads = heads, .columns = 10};
    const struct line **replaced = xcalloc((size_t)u->count + 1, sizeof *replaced);
    int counts[6] = {0}, shown = 0, n = 0;
    for (int i = 0; i < u->count; i++) {
        const struct line *l = &u->x[i];
        counts[l->change]++;
        if (l->change == REPLACED) replaced[n++] = l;
        if (l->change == KEPT || l->change == REPLACED || (!all && l->change == ADDED)) continue;
        show_line(&t, l);
        shown++;
    }
    if (n) qsort(replaced, (size_t)n, sizeof *replaced, by_move);
    for (int i = 0; i < n && (all || i < LARGEST); i++, shown++) show_line(&t, replaced[i]);
    if (shown) table_print(&t, out);
    table_free(&t);
    free(replaced);
    fprintf(out, "%s", shown ? "\n" : "");
    for (int c = KEPT; c <= GONE; c++) fprintf(out, "%s%d %s", c ? ", " : "", counts[c], change_names[c]);
    fprintf(out, "; %lld seed%s%s%s\n", (long long)u->seeds, u->seeds == 1 ? "" : "s",
            u->anew ? ", spreads measured anew" : ": spreads stay as they are",
            !all && (n > LARGEST || counts[ADDED]) ? "; --all shows every change" : "");
    if (u->anew) check_left_out(&u->cells, all, out);
}

/* Stands in history.csv: whatever had an old value; what is added, if there is a reason for it. */
static bool noted(const struct line *l, const struct check_options *o) {
    return l->change != KEPT && (l->change != ADDED || o->reason);
}

static int write_history(const struct update *u, const struct check_options *o, struct error *e) {
    const char *slash = strrchr(o->against, '/');
    char *path = xprintf("%.*shistory.csv", slash ? (int)(slash + 1 - o->against) : 0, o->against);
    struct text_buffer b = {0};
    size_t size = 0;
    char *before = access(path, F_OK) == 0 ? read_file(path, &size, e) : xstrdup(HISTORY_HEADER "\n");
    int result = before ? 0 : -1;
    json_t *program = json_object();
    run_program(program);
    const char *commit = json_string_value(json_object_get(program, "commit")); /* NULL: this is no git tree */
    if (before) buffer_printf(&b, "%s", before);
    for (int i = 0; i < u->count; i++) {
        const struct line *l = &u->x[i];
        if (!noted(l, o)) continue;
        csv_text(&b, json_string_value(json_object_get(program, "date")), ',');
        csv_text(&b, commit ? commit : "", ',');
        csv_text(&b, l->key->row, ',');
        csv_text(&b, l->key->stage, ',');
        csv_text(&b, l->key->task, ',');
        csv_text(&b, l->key->condition, ',');
        csv_text(&b, l->key->metric, ',');
        csv_integer(&b, l->key->context, ',');
        csv_text(&b, l->key->position, ',');
        csv_integer(&b, l->key->writes, ',');
        csv_text(&b, change_names[l->change], ',');
        csv_number(&b, l->old ? l->old->value : NAN, ',');
        csv_number(&b, l->change == GONE ? NAN : l->new.value, ',');
        csv_number(&b, l->old ? l->before : NAN, ',');
        csv_text(&b, o->reason ? o->reason : "", '\n');
    }
    if (result == 0) result = write_file(path, b.data, b.n, e);
    json_decref(program);
    buffer_free(&b);
    free(before);
    free(path);
    return result;
}

int check_programs(const char *folder, struct error *e) {
    char *pattern = xprintf("%s/runs/*.json", folder);
    struct {
        char commit[64], name[200];
        bool dirty;
    } first = {"", "", false};
    glob_t g;
    int status = glob(pattern, 0, NULL, &g), mixed = 0;
    free(pattern);
    if (status == GLOB_NOMATCH) return 0;
    if (status != 0) return fail(e, "%s/runs cannot be read", folder);
    for (size_t i = 0; i < g.gl_pathc && mixed == 0; i++) {
        json_t *j = json_load_file(g.gl_pathv[i], 0, NULL);
        const char *text = json_string_value(json_object_get(j, "commit")), *name = strrchr(g.gl_pathv[i], '/') + 1;
        const char *commit = text ? text : "unknown";
        bool dirty = json_is_true(json_object_get(j, "dirty"));
        if (!j)
            mixed = fail(e, "%s is not JSON; its program is not known", g.gl_pathv[i]);
        else if (i && (dirty != first.dirty || strncmp(commit, first.commit, sizeof first.commit - 1) != 0)) {
            fail(e, "%s holds runs of more than one program: %s of commit %.12s%s, %s of %.12s%s", folder, first.name, first.commit,
                 first.dirty ? " with changes" : "", name, commit, dirty ? " with changes" : "");
            mixed = 1;
        } else if (!i) {
            snprintf(first.commit, sizeof first.commit, "%s", commit);
            snprintf(first.name, sizeof first.name, "%s", name);
            first.dirty = dirty;
        }
        json_decref(j);
    }
    globfree(&g);
    return mixed;
}

static void collect(struct update *u) {
    u->written.x = xcalloc((size_t)u->count + 1, sizeof *u->written.x);
    for (int i = 0; i < u->count; i++)
        if (u->x[i].change != GONE) u->written.x[u->written.count++] = u->x[i].new;
    qsort(u->written.x, (size_t)u->written.count, sizeof *u->written.x, check_key_order);
}

static int finish(struct update *u, const struct check_options *o, FILE *out, struct error *e) {
    int wanting = 0, changes = 0, notes = 0;
    struct error why;
    for (int i = 0; i < u->count; i++) {
        wanting += needs_reason(u->x[i].change);
        changes += u->x[i].change != KEPT;
        notes += noted(&u->x[i], o);
    }
    if (!changes) return fprintf(out, "%s stays as it is\n", o->against), 0;
    int mixed = check_programs(o->folder, &why);
    if (mixed < 0) return *e = why, -1;
    if (mixed && !(o->reason && *o->reason))
        return fprintf(out, "refused: %s; measure all with one, or say why that is no matter: --reason \"...\"\n", why.text), 1;
    if (wanting && !(o->reason && *o->reason)) {
        fprintf(
            out,
            "refused: %d cells left their tolerance, went, or want a wider one; say why: --reason \"...\" (kept in history.csv)\n",
            wanting);
        return 1;
    }
    collect(u);
    if (!u->written.count) return fail(e, "%s: no cell would be left", o->against);
    /* First the reason: a change without one would be worse than a reason without a change. */
    if (notes && write_history(u, o, e) != 0) return -1;
    if (expectations_write(&u->written, o->against, e) != 0) return -1;
    fprintf(out, "%s: %d cells, %lld of them statistical\n", o->against, u->written.count,
            (long long)expectations_statistical(&u->written));
    return 0;
}

int check_update(const struct check_options *o, FILE *out, struct error *e) {
    struct update u = {0};
    struct rules rules = {0};
    int result = expectations_read(&u.expected, o->against, true, e);
    if (result == 0) result = rules_read(&rules, o->rules, o->against, e);
    if (result == 0) result = cells_read(&u.cells, o, &rules, &u.expected, e);
    if (result == 0) result = count_seeds(&u, o->folder, e);
    if (result == 0) result = decide(&u, o, out, e);
    if (result == 0) {
        show(&u, o->all, out);
        result = finish(&u, o, out, e);
    }
    free(u.x);
    free(u.written.x);
    expectations_free(&u.expected);
    cells_free(&u.cells);
    rules_free(&rules);
    return result;
}
