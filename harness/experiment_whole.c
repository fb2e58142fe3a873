/* experiment_whole.c - `run` and `train` as a whole: the pairs of row and seed that lack something, one after the other or as jobs,
 * and the line that says what was done. A pair is done in experiment_run.c. */
#include "checkpoint.h"
#include "experiment_private.h"
#include "run_info.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOPPED "\nstopped: the same command goes on from the last checkpoint, and measures nothing twice\n"

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static bool have_cell(const struct session *s, const char *cell) {
    if (s->r && results_has_cell(s->r, cell)) return true;
    return s->known_count && bsearch(cell, s->known, s->known_count, sizeof *s->known, by_name);
}

/* The cells of a folder that this process only reads: of a plan, or that for which it is a job. */
static int read_known(struct session *s, const char *folder, struct error *e) {
    int64_t n;
    struct result_row *rows = results_read(folder, &n, e);
    if (!rows) return -1;
    s->known = xcalloc((size_t)n, sizeof *s->known);
    s->known_count = (size_t)n;
    for (int64_t i = 0; i < n; i++) memcpy(s->known[i], rows[i].cell, 20);
    qsort(s->known, s->known_count, sizeof *s->known, by_name);
    free(rows);
    return 0;
}

static int save_resolved(const struct session *s, struct error *e) {
    char *text = experiment_resolved(s->x), *path = xprintf("%s/experiment.ini", s->folder);
    struct text_buffer b = {0};
    buffer_printf(&b, "%s\n; The cells of this experiment; the report uses these and no others.\n", text);
    int result = cell_list(&b, s->x, e);
    if (result == 0) result = write_file(path, b.data, b.n, e);
    buffer_free(&b);
    free(path);
    free(text);
    return result;
}

static int run_pairs(struct session *s, struct error *e) {
    int failed = 0, all = 0;
    struct error first = {""};
    for (int k = 0; k < s->x->seeds.count; k++)
        for (int i = 0; i < s->x->row_count; i++) {
            const struct row_spec *row = &s->x->rows[i];
            int64_t seed = s->x->seeds.seed[k];
            bool missing;
            if (!pair_wanted(s, row, seed)) continue;
            all++;
            if (!pair_missing(s, row, seed, &missing, e)) return -1;
            if (!missing) continue;
            struct error one = {""};
            int result = pair_run(s, row, seed, &one);
            if (result == -2) return fail(e, "%s", one.text);
            if (result == 0) continue;
            fprintf(stderr, "%s seed %lld: %s\n", row->name, (long long)seed, one.text);
            if (failed++ == 0) fail(&first, "row %s, seed %lld: %s", row->name, (long long)seed, one.text);
        }
    if (!failed) return 0;
    return failed == 1 ? fail(e, "%s", first.text) : fail(e, "%d of %d models failed; the first: %.600s", failed, all, first.text);
}

/* One line when all is done; the plan is that of before. */
static void say_done(const struct session *s, const struct plan *p) {
    int models = 0, there = 0, trained = 0, measured = 0;
    bool complete = true, learnt = false;
    if (progress_quiet || !p->count) return;
    for (int i = 0; i < p->count; i++) {
        const struct planned *c = &p->cells[i], *next = i + 1 < p->count ? c + 1 : NULL;
        bool done = !c->there && s->have(s, c->cell);
        if (c->task) measured += done;
        learnt = learnt || (!c->task && done);
        complete = complete && (c->there || !c->asked);
        if (next && next->row == c->row && next->seed == c->seed) continue;
        models++;
        there += complete;
        trained += learnt;
        complete = true;
        learnt = false;
    }
    if (there == models) {
        fprintf(stderr, "%s: %d of %d models were there already in %s; --out DIR measures them anew\n", s->x->name, there, models,
                s->folder);
        return;
    }
    fprintf(stderr, "%s: %d model%s trained, %d task%s measured: %s (infinibench report %s)", s->x->name, trained,
            trained == 1 ? "" : "s", measured, measured == 1 ? "" : "s", s->folder, s->folder);
    if (there) fprintf(stderr, "; %d of %d models were there already", there, models);
    fprintf(stderr, "\n");
}

/* What --dry-run knows of the folder: nothing is made, locked or repaired. */
static int dry(struct session *s, struct error *e) {
    char *results = s->folder ? xprintf("%s/results.csv", s->folder) : NULL;
    int result = results && access(results, F_OK) == 0 ? read_known(s, s->folder, e) : 0;
    free(results);
    return result ? -1 : dry_run(s, stdout, e);
}

int experiment_run(const struct experiment *x, const struct run_options *o, struct error *e) {
    if (find_wanted(x, o, e) != 0) return -1;
    if (o->seed >= 0 && !seed_listed(&x->seeds, o->seed))
        return fail(e, "%s has no seed %lld; add it to seeds in [experiment], or say --seeds %lld", x->path, (long long)o->seed,
                    (long long)o->seed);
    const char *parent = getenv(JOB_VARIABLE);
    bool job = parent && *parent && !o->dry_run;
    char *folder = o->out ? xstrdup(o->out) : xprintf("results/%s", x->name);
    struct session s = {.x = x, .o = o, .have = have_cell, .folder = folder};
    struct plan plan = {0};
    int result = o->dry_run ? dry(&s, e) : job ? read_known(&s, parent, e) : 0;
    if (o->dry_run) goto out;
    if (!job) say_when_stopped(STOPPED);
    if (result == 0 && !(s.r = results_open(folder, e))) result = -1;
    if (result == 0 && !job) result = jobs_collect(s.r, e);
    if (result == 0 && !job) result = save_resolved(&s, e);
    if (result == 0 && !job) plan_make(&plan, &s);
    /* Where data are not here, what can be done without them is done. */
    if (result == 0 && !job && !plan.note_count) result = plan_can_train(&plan, &s, e);
    if (result == 0) result = o->jobs > 1 && !job ? jobs_run(&s, e) : run_pairs(&s, e);
    if (result == 0 && !job) say_done(&s, &plan);
    results_close(s.r);
out:
    plan_free(&plan);
    free(s.known);
    free(folder);
    return result;
}

/* The stage after which the model is saved: that of the name, or the last one that the row goes through with this seed; init where
 * there is none (*stage NULL). */
static int last_stage(const struct experiment *x, const struct row_spec *row, int64_t seed, const char *name,
                      const struct stage_spec **stage, struct error *e) {
    *stage = NULL;
    for (int i = 0; !name && i < x->stage_count; i++)
        if (row_trained(x, row, &x->stages[i], seed)) *stage = &x->stages[i];
    if (!name || strcmp(name, NO_STAGE) == 0) return 0;
    if (find_stage(x, name, stage, e) != 0) return -1;
    if (row_trained(x, row, *stage, seed)) return 0;
    return fail(e, "[row %s] does not go through [stage %s] with seed %lld; without --stage its last one is taken", row->name, name,
                (long long)seed);
}

int experiment_train(const struct experiment *x, const char *row, int64_t seed, const char *stage, const char *out,
                     const struct run_options *o, struct error *e) {
    const struct row_spec *r = find_row(x, row, e);
    if (!r) return -1;
    if (seed < 0) seed = r->seeds.seed[0];
    if (!seed_listed(&r->seeds, seed)) {
        bool of_file = seed_listed(&x->seeds, seed);
        return fail(e, "%s has no seed %lld%s%s; add it to seeds in [%s]", x->path, (long long)seed, of_file ? " for row " : "",
                    of_file ? r->name : "", of_file ? "row" : "experiment");
    }
    struct run_options one = *o;
    one.only = row;
    one.seed = seed;
    struct session s = {.x = x, .o = &one, .have = have_cell};
    if (last_stage(x, r, seed, stage, &s.last, e) != 0) return -1;
    if (o->dry_run) return dry(&s, e);
    struct plan plan = {0};
    plan_make(&plan, &s);
    int possible = plan.note_count ? 0 : plan_can_train(&plan, &s, e);
    plan_free(&plan);
    if (possible != 0) return -1;
    const struct tokenizer *t;
    say_when_stopped(STOPPED);
    struct model *m = train_to(&s, r, seed, s.last, &t, e);
    if (!m) return -1;
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)seed);
    const char *keys[] = {"experiment", "row", "seed", "stage"};
    const char *values[] = {x->name, r->name, text, s.last ? s.last->name : NO_STAGE};
    int result = model_save(out, m, t, keys, values, 4, e);
    if (result == 0 && !progress_quiet) fprintf(stderr, "wrote %s\n", out);
    model_free(m);
    return result;
}
