/* report_compare.c - `infinibench compare`: paired differences between the rows of two results folders.
 *
 * A document counts as the same in both where name, seed and weight (its bytes) agree; rows that scored other parts of a document
 * are not compared, and a line says so. Whole documents first, then by position where the positions hold the same text. Answers
 * that are right or wrong (exact match of passkey and recall) are paired sample by sample, by length and position. */
#include "report.h"
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct side {
    struct report_data *d;
    const char *folder;
};
struct comparison {
    struct side a, b;
    const char *row, *with; /* the pair in hand */
    struct table whole, parts, answers;
    struct text_buffer notes;
    char reason[256]; /* why the last two rows could not be compared, "": not known */
};

static void note(struct comparison *c, const char *text) {
    char *line = xprintf("Note: %s.\n", text);
    if (!c->notes.n || !strstr(c->notes.data, line)) buffer_printf(&c->notes, "%s", line);
    free(line);
}

/* What two selections have in common. */
struct overlap {
    int64_t same, different, single; /* pairs of equal weight, of unequal weight, samples of l without a partner */
    bool seeds;                      /* some document is in both with another seed */
    double value_a, value_b, weight; /* sums over the pairs of equal weight */
    const struct sample_row *x, *y;  /* the first pair of unequal weight */
};

static bool selected(const struct selection *s, int64_t i) {
    const struct sample_row *x = &s->data->samples[i];
    const char *position = s->positions ? position_names[__builtin_ctz(s->positions)] : "all";
    return s->data->sample_section[i] == s->section && !strcmp(x->row, s->row) && !strcmp(x->metric, s->metric) &&
           !strcmp(x->condition, s->condition) && !strcmp(x->position, position);
}

/* At one position, or whole documents. */
static struct overlap overlap_of(const struct selection *l, const struct selection *r) {
    struct overlap o = {.same = 0};
    const struct sample_row **theirs = xcalloc((size_t)r->data->sample_count, sizeof *theirs);
    int64_t n = 0;
    for (int64_t j = 0; j < r->data->sample_count; j++)
        if (selected(r, j)) theirs[n++] = &r->data->samples[j];
    for (int64_t i = 0; i < l->data->sample_count; i++) {
        const struct sample_row *x = &l->data->samples[i], *y = NULL;
        if (!selected(l, i)) continue;
        for (int64_t j = 0; j < n && !y; j++) {
            if (strcmp(theirs[j]->sample, x->sample) != 0) continue;
            if (theirs[j]->seed == x->seed)
                y = theirs[j];
            else
                o.seeds = true;
        }
        if (!y) {
            o.single++;
        } else if (y->weight == x->weight) {
            o.same++;
            o.value_a += x->value;
            o.value_b += y->value;
            o.weight += x->weight;
        } else if (o.different++ == 0) {
            o.x = x;
            o.y = y;
        }
    }
    free(theirs);
    return o;
}

static void difference(struct table *t, const struct selection *l, const struct selection *r, bool more) {
    struct interval v = report_difference(*l, *r);
    table_cell(t, "%s", show_interval(v, 4, true));
    if (!more) return;
    table_cell(t, "%lld", (long long)v.n);
    table_cell(t, isnan(v.low) ? "–" : "%.4f", minimum_detectable(&v));
}

static void label(struct table *t, const struct comparison *c) {
    if (strcmp(c->row, c->with) == 0)
        table_cell(t, "%s", c->row);
    else
        table_cell(t, "%s - %s", c->row, c->with);
}

/* Segments 5 and later are the primary outcome of a memory claim (docs/methods.md). */
#define FAR_POSITIONS (1u << 2 | 1u << 3 | 1u << 4)

static void compare_parts(struct comparison *c, struct selection l, struct selection r) {
    bool good[POSITIONS], any = false, far = true;
    for (int p = 0; p < POSITIONS; p++) {
        l.positions = r.positions = 1u << p;
        struct overlap o = overlap_of(&l, &r);
        good[p] = o.same && !o.different;
        any = any || good[p];
        if (p >= 2 && o.different) far = false;
        if (!o.different) continue;
        char text[256];
        snprintf(text, sizeof text, "position %s of %s and %s holds other parts of a document (segments of another length?)",
                 position_names[p], c->row, c->with);
        note(c, text);
    }
    if (!any) return;
    label(&c->parts, c);
    table_cell(&c->parts, "%s", l.metric);
    for (int p = 0; p < POSITIONS; p++) {
        l.positions = r.positions = 1u << p;
        if (good[p])
            difference(&c->parts, &l, &r, false);
        else
            table_cell(&c->parts, "–");
    }
    l.positions = r.positions = FAR_POSITIONS;
    if (far && (good[2] || good[3] || good[4]))
        difference(&c->parts, &l, &r, false);
    else
        table_cell(&c->parts, "–");
}

/* The section of b that scored the same documents; of several that of the same name, then of the same stage. -1: none. */
static int partner_section(struct comparison *c, const struct selection *l) {
    const struct report_section *s = &l->data->sections[l->section];
    int64_t best = 0;
    int found = -1;
    c->reason[0] = 0;
    for (int i = 0; i < c->b.d->section_count; i++) {
        const struct report_section *x = &c->b.d->sections[i];
        if (strcmp(x->task, s->task) != 0) continue;
        struct selection r = *l;
        r.data = c->b.d;
        r.section = i;
        r.row = c->with;
        struct overlap o = overlap_of(l, &r);
        if (o.different)
            snprintf(c->reason, sizeof c->reason,
                     "%.90s has a weight (bytes scored) of %.0f in A and %.0f in B: score both with the same limit", o.x->sample,
                     o.x->weight, o.y->weight);
        else if (o.seeds && !o.same)
            snprintf(c->reason, sizeof c->reason,
                     "the rows '%.60s' and '%.60s' have no seed in common; a foreign row takes the one of --seed", c->row, c->with);
        if (o.different || !o.same) continue;
        int64_t worth = 4 * o.same + 2 * (strcmp(x->name, s->name) == 0) + (strcmp(x->stage, s->stage) == 0);
        if (worth > best) best = worth, found = i;
    }
    return found;
}

/* Every (metric, condition) of which a section has samples of whole documents. */
static void compare_section(struct comparison *c, int s) {
    const struct report_data *a = c->a.d;
    const struct sample_row **last = NULL;
    size_t seen = 0;
    for (int64_t i = 0; i < a->sample_count; i++) {
        const struct sample_row *x = &a->samples[i];
        bool known = a->sample_section[i] != s || strcmp(x->row, c->row) != 0 || strcmp(x->position, "all") != 0;
        for (size_t j = 0; j < seen && !known; j++)
            known = strcmp(last[j]->metric, x->metric) == 0 && strcmp(last[j]->condition, x->condition) == 0;
        if (known) continue;
        if (seen % 64 == 0) last = xrealloc(last, seen + 64, sizeof *last);
        last[seen++] = x;
        struct selection l = {.data = a, .section = s, .row = c->row, .condition = x->condition, .metric = x->metric, .seed = -1};
        int other = partner_section(c, &l);
        if (other < 0) {
            if (*c->reason) note(c, c->reason);
            continue;
        }
        struct selection r = l;
        r.data = c->b.d;
        r.section = other;
        r.row = c->with;
        struct overlap o = overlap_of(&l, &r);
        if (a->sections[s].version != c->b.d->sections[other].version) {
            char text[160];
            snprintf(text, sizeof text, "%s was measured by version %lld in A and %lld in B", a->sections[s].name,
                     (long long)a->sections[s].version, (long long)c->b.d->sections[other].version);
            note(c, text);
        }
        if (o.single) {
            char text[256];
            snprintf(text, sizeof text, "%lld of %lld samples (document and seed) of %s in A have no partner in B and are left out",
                     (long long)o.single, (long long)(o.single + o.same), c->row);
            note(c, text);
        }
        label(&c->whole, c);
        table_cell(&c->whole, "%s", a->sections[s].name);
        table_cell(&c->whole, "%s", x->metric);
        table_cell(&c->whole, "%s", *x->condition ? x->condition : "–");
        table_cell(&c->whole, "%.4f", o.value_a / o.weight);
        table_cell(&c->whole, "%.4f", o.value_b / o.weight);
        difference(&c->whole, &l, &r, true);
        if (!*x->condition) compare_parts(c, l, r);
    }
    free(last);
}

/* ---- answers ---- */

/* Samples of one row and section that are right or wrong answers, in order of the file. */
struct answers {
    const struct sample_row **x;
    int64_t n;
};

static struct answers answers_of(const struct report_data *d, int section, const char *row) {
    struct answers a = {.x = xcalloc((size_t)d->sample_count + 1, sizeof *a.x)};
    for (int64_t i = 0; i < d->sample_count; i++)
        if (d->sample_section[i] == section && strcmp(d->samples[i].row, row) == 0 &&
            strcmp(d->samples[i].metric, "exact_match") == 0)
            a.x[a.n++] = &d->samples[i];
    return a;
}

static int by_identity(const void *a, const void *b) {
    const struct sample_row *x = *(const struct sample_row *const *)a, *y = *(const struct sample_row *const *)b;
    int order = strcmp(x->condition, y->condition);
    if (!order) order = strcmp(x->position, y->position);
    if (!order) order = strcmp(x->sample, y->sample);
    return order ? order : (x->seed > y->seed) - (x->seed < y->seed);
}

static const struct sample_row *partner(const struct answers *sorted, const struct sample_row *x) {
    const struct sample_row **y = bsearch(&x, sorted->x, (size_t)sorted->n, sizeof *sorted->x, by_identity);
    return y ? *y : NULL;
}

/* Samples of equal condition and position whose names agree but for the number at their end: one length and place. */
static bool same_group(const struct sample_row *x, const struct sample_row *y) {
    const char *end = strrchr(x->sample, '-'), *other = strrchr(y->sample, '-');
    size_t n = end ? (size_t)(end - x->sample) : 0;
    return strcmp(x->condition, y->condition) == 0 && strcmp(x->position, y->position) == 0 &&
           n == (other ? (size_t)(other - y->sample) : 0) && strncmp(x->sample, y->sample, n) == 0;
}

/* The samples of x's group, in section s of d. */
static struct selection group_of(const struct report_data *d, int s, const char *row, const struct sample_row *x, char room[96]) {
    const char *end = strrchr(x->sample, '-');
    snprintf(room, 96, "%.*s", end ? (int)(end - x->sample) + 1 : 0, x->sample);
    return (struct selection){.data = d,
                              .section = s,
                              .row = row,
                              .condition = x->condition,
                              .metric = x->metric,
                              .position = x->position,
                              .sample = *room ? room : NULL,
                              .seed = -1};
}

static void answers_group(struct comparison *c, int mine, int theirs, const struct answers *a, int64_t first, bool *done,
                          const struct answers *sorted) {
    const struct sample_row *x = a->x[first];
    double right[2] = {0}, asked = 0; /* a sample may have several questions */
    int64_t n = 0;
    char room[96];
    for (int64_t i = first; i < a->n; i++) {
        if (done[i] || !same_group(x, a->x[i])) continue;
        const struct sample_row *y = partner(sorted, a->x[i]);
        done[i] = true;
        if (!y) continue;
        right[0] += a->x[i]->value, right[1] += y->value;
        asked += a->x[i]->weight;
        n++;
    }
    if (!n) return;
    struct interval v =
        report_difference_shares(group_of(c->a.d, mine, c->row, x, room), group_of(c->b.d, theirs, c->with, x, room));
    long long length;
    label(&c->answers, c);
    table_cell(&c->answers, "%s", c->a.d->sections[mine].name);
    table_cell(&c->answers, "%s", *x->condition ? x->condition : "–");
    if (sscanf(x->sample, "L%lld-", &length) == 1)
        table_cell(&c->answers, "%s, %s", show_length(length), x->position);
    else
        table_cell(&c->answers, "%s", x->position);
    for (int k = 0; k < 2; k++) table_cell(&c->answers, "%.1f", 100 * right[k] / asked);
    v.value *= 100, v.low *= 100, v.high *= 100;
    table_cell(&c->answers, "%s", show_interval(v, 1, true));
    table_cell(&c->answers, "%lld", (long long)n);
}

/* The section of b of the same task that shares most samples, of several that of the same name. */
static void compare_answers(struct comparison *c, int s) {
    const struct report_section *mine = &c->a.d->sections[s];
    struct answers a = answers_of(c->a.d, s, c->row), best = {.n = 0};
    int64_t most = 0;
    int theirs = -1;
    for (int i = 0; i < c->b.d->section_count && a.n; i++) {
        const struct report_section *x = &c->b.d->sections[i];
        if (strcmp(x->task, mine->task) != 0) continue;
        struct answers b = answers_of(c->b.d, i, c->with);
        int64_t worth = 0;
        qsort(b.x, (size_t)b.n, sizeof *b.x, by_identity);
        for (int64_t k = 0; k < a.n; k++) worth += 4 * (partner(&b, a.x[k]) != NULL);
        if (worth) worth += 2 * (strcmp(x->name, mine->name) == 0) + (strcmp(x->stage, mine->stage) == 0);
        if (worth > most) {
            free(best.x);
            best = b;
            most = worth;
            theirs = i;
        } else {
            free(b.x);
        }
    }
    bool *done = xcalloc((size_t)a.n + 1, sizeof *done);
    for (int64_t i = 0; i < a.n && most; i++)
        if (!done[i]) answers_group(c, s, theirs, &a, i, done, &best);
    free(done);
    free(a.x);
    free(best.x);
}

static void compare_rows(struct comparison *c, const char *row, const char *with) {
    c->row = row;
    c->with = with;
    for (int s = 0; s < c->a.d->section_count; s++)
        if (strcmp(c->a.d->sections[s].task, "training") != 0) {
            compare_section(c, s);
            compare_answers(c, s);
        }
}

/* The name, if the folder has such a row. */
static int find_row(const struct side *s, const char *name, const char *more, struct error *e) {
    const char *names[REPORT_ROWS];
    struct text_buffer all = {0};
    if (report_row_index(s->d, name) >= 0) return 0;
    for (int i = 0; i < s->d->row_count; i++) {
        names[i] = s->d->rows[i].name;
        buffer_printf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = nearest_name(name, names, s->d->row_count);
    int result = near ? fail(e, "%s has no row '%s'; did you mean '%s'?%s", s->folder, name, near, more)
                      : fail(e, "%s has no row '%s'; its rows: %s%s", s->folder, name, all.data ? all.data : "none", more);
    buffer_free(&all);
    return result;
}

static int nothing(const struct comparison *c, bool tried, struct error *e) {
    if (c->notes.n)
        return fail(e, "%s and %s cannot be compared: %.*s", c->a.folder, c->b.folder, (int)strcspn(c->notes.data + 6, "\n") - 1,
                    c->notes.data + 6);
    if (tried)
        return fail(e, "%s and %s have no documents in common; compare needs the same task, documents and seeds in both",
                    c->a.folder, c->b.folder);
    struct text_buffer names[2] = {{0}, {0}};
    const struct side *sides[2] = {&c->a, &c->b};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < sides[k]->d->row_count; i++) buffer_printf(&names[k], "%s%s", i ? ", " : "", sides[k]->d->rows[i].name);
    fail(e, "%s (%.200s) and %s (%.200s) have no row of the same name; pair two with --row ROW --with ROW", c->a.folder,
         names[0].data, c->b.folder, names[1].data);
    buffer_free(&names[0]);
    buffer_free(&names[1]);
    return -1;
}

int report_compare(const char *a, const char *b, const char *row, const char *with, FILE *out, struct error *e) {
    static const char *const heads[] = {"<row", "<task", "<metric", "<condition", "A", "B", "A - B [95 %]", "n", "detectable"};
    static const char *const positions[] = {"<row", "<metric", "segment 1", "2-4", "5-16", "17-64", "65 and later", "5 and later"};
    static const char *const answers[] = {"<row", "<task", "<condition", "<length, position", "A", "B", "A - B [95 %]", "n"};
    struct comparison c = {.a = {report_load(a, e), a}, .b = {NULL, b}};
    c.whole = (struct table){.heads = heads, .columns = 9};
    c.parts = (struct table){.heads = positions, .columns = 8};
    c.answers = (struct table){.heads = answers, .columns = 8};
    if (c.a.d) c.b.d = report_load(b, e);
    int result = c.b.d ? 0 : -1;
    bool tried = false;
    if (result == 0 && row) result = find_row(&c.a, row, "", e);
    if (result == 0 && row && !with) result = find_row(&c.b, row, "; name another one with --with", e);
    if (result == 0 && with) result = find_row(&c.b, with, "", e);
    for (int i = 0; result == 0 && i < c.a.d->row_count; i++) {
        const char *mine = c.a.d->rows[i].name;
        if ((row && strcmp(mine, row) != 0) || (!with && report_row_index(c.b.d, mine) < 0)) continue;
        tried = true;
        compare_rows(&c, mine, with ? with : mine);
    }
    if (result == 0 && c.whole.count == 0 && c.answers.count == 0) result = nothing(&c, tried, e);
    if (result == 0) {
        if (c.notes.n) fprintf(out, "%s", c.notes.data);
        fprintf(out,
                "A = %s\nB = %s\nPaired by document and seed; 95 %% intervals; detectable: the smallest true difference "
                "that a test at 5 %% finds with a power of 80 %%.\n\n",
                a, b);
        if (c.whole.count) table_print(&c.whole, out);
        if (c.answers.count) {
            fprintf(out, "%sExact match (%%) over the same samples; score interval of Tango (1998)\n", c.whole.count ? "\n" : "");
            table_print(&c.answers, out);
        }
        if (c.parts.count) {
            fprintf(out, "\nA - B by segment of the document\n");
            table_print(&c.parts, out);
        }
    }
    table_free(&c.whole);
    table_free(&c.parts);
    table_free(&c.answers);
    buffer_free(&c.notes);
    report_data_free(c.a.d);
    report_data_free(c.b.d);
    return result;
}
