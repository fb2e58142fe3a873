/* check_spread.c - how far training seeds scatter, for tolerances, and what expectations from all seeds but one say of that one.
 *
 * The spread of a cell is the larger of its own and that of its family (the same measurement over all rows that have it), pooled: a
 * cell that was quiet by chance gets that of its family, a cell that is loud keeps its own. Rows of one seed read the same
 * documents, so the rows of a family are no independent evidence: the degrees of freedom are those of one row, n - 1. */
#include "check_private.h"
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 20 /* alarms that are listed one by one */

bool check_same_family(const struct check_key *a, const struct check_key *b) {
    struct check_key x = *a;
    memcpy(x.row, b->row, sizeof x.row);
    return check_key_order(&x, b) == 0;
}

static bool statistical(const struct cell *c) { return c->rule && c->rule->kind == CHECK_STATISTICAL; }

/* What has no family (none of a cell's name is statistical) has its own spread. */
void check_spread(const struct cells *all, const struct cell *c, struct expectation *x) {
    double squares = 0, df = 0, own = c->squares / (double)(c->seeds - 1);
    for (int i = 0; i < all->count; i++) {
        const struct cell *other = &all->x[i];
        if (!statistical(other) || !check_same_family(&other->key, &c->key)) continue;
        squares += other->squares;
        df += (double)(other->seeds - 1);
    }
    x->spread = sqrt(df > 0 && squares / df > own ? squares / df : own);
    x->df = (double)(c->seeds - 1);
}

/* The cell without its k-th seed. */
static struct cell without(const struct cell *c, int64_t k) {
    struct cell less = *c;
    double off = c->values[k] - c->mean, n = (double)c->seeds;
    less.seeds--;
    less.mean = c->mean - off / (n - 1);
    less.squares = fmax(0, c->squares - off * off * n / (n - 1));
    return less;
}

/* Cells of the k-th seed that leave their tolerance; a line each as long as *shown allows. */
static int alarms_of(const struct cells *all, struct cells *less, int64_t k, int64_t count, bool every, int *shown,
                     struct text_buffer *lines) {
    int alarms = 0;
    for (int i = 0; i < all->count; i++)
        less->x[i] = statistical(&all->x[i]) ? without(&all->x[i], k) : (struct cell){.key = all->x[i].key};
    for (int i = 0; i < all->count; i++) {
        const struct cell *c = &all->x[i];
        if (!statistical(c)) continue;
        struct expectation x = {.key = c->key, .kind = CHECK_STATISTICAL, .value = less->x[i].mean, .seeds = less->x[i].seeds};
        struct cell one = {.key = c->key, .seeds = 1, .mean = c->values[k], .floor = c->floor};
        check_spread(less, &less->x[i], &x);
        struct judgement j = check_judge(&x, &one, count);
        if (j.good) continue;
        alarms++;
        if (!every && (*shown)++ >= SHOWN) continue;
        buffer_printf(lines, "    seed %lld: %s after %s, %s %s (%s): %.6g, expected %.6g ± %.3g\n", (long long)c->seed[k],
                      c->key.row, c->key.stage, c->key.task, c->key.metric, check_place(&c->key), one.mean, x.value, j.tolerance);
    }
    return alarms;
}

void check_left_out(const struct cells *all, bool every, FILE *out) {
    struct cells less = {.x = xcalloc((size_t)all->count + 1, sizeof *less.x), .count = all->count};
    struct text_buffer lines = {0};
    int64_t count = 0, seeds = 0;
    int loud = 0, alarms = 0, shown = 0;
    for (int i = 0; i < all->count; i++)
        if (statistical(&all->x[i])) count++, seeds = all->x[i].seeds;
    for (int64_t k = 0; k < seeds && seeds >= 3; k++) {
        int n = alarms_of(all, &less, k, count, every, &shown, &lines);
        loud += n > 0;
        alarms += n;
    }
    if (seeds >= 3)
        fprintf(out, "Each seed against expectations from the others: %d of %lld seeds would raise an alarm, in %d cells\n%s", loud,
                (long long)seeds, alarms, lines.n ? lines.data : "");
    if (shown > SHOWN) fprintf(out, "    and %d more (--all)\n", shown - SHOWN);
    buffer_free(&lines);
    free(less.x);
}
