/* rouge_lcs.c - longest common subsequences of token sequences, 64 rows of the table at a time (Hyyrö 2004, after Crochemore et al.
 * 2001).
 *
 * The table t[i][j] (first i tokens of a, first j of b) is walked in strips of 64 rows. Along a column it grows by 0 or 1 a row; V
 * holds these steps of a strip, bit 1 for "no step", and a column follows from the one before it by
 *     V' = (V + (V & M)) | (V & ~M),    M: where b[j] stands in the strip's rows, a carry from strip to strip.
 *
 * lcs_union has to find the same subsequence as rouge_score, which stores the table and walks back from its end: equal tokens, go
 * diagonally; else to j-1 if t[i][j-1] > t[i-1][j]; else to i-1. Where tokens differ, t[i][j] is the larger of the two, so the
 * first exceeds the second just when column j steps at row i, which V says. The walk therefore needs V alone: of all columns of the
 * strip it is in. Carries into every K-th strip are kept, and K strips at a time are computed again when the walk comes to them:
 * n (8 K + W / (8 K)) bytes for W strips instead of 8 n W (the table itself would be 512 n W). Nothing of this changes which
 * subsequence is found. */
#include "rouge_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 64

void lcs_free(struct lcs *l) {
    free(l->mask);
    free(l->carry);
    free(l->column);
    free(l->at);
    memset(l, 0, sizeof *l);
}

/* At least n words of 64 bits; what was in them is lost, unless zero, when all of it is 0 and the caller leaves it so. */
static void reserve(uint64_t **p, int64_t *size, int64_t n, bool zero) {
    if (n <= *size) return;
    free(*p);
    *p = zero ? xcalloc((size_t)n, sizeof **p) : xrealloc(NULL, (size_t)n, sizeof **p);
    *size = n;
}

/* Turned right by k bits, 0 .. 63. */
static uint64_t turn(uint64_t x, int64_t k) { return x >> k | x << (-k & 63); }

/* Columns from..to of one strip, V before the first of them; carry: a bit a column, from the strip above, then to the one below.
 * column: V after each, NULL if nobody asks. */
static uint64_t walk(const uint64_t *mask, const int32_t *b, int64_t from, int64_t to, uint64_t v, uint64_t *carry,
                     uint64_t *column) {
    for (int64_t j = from; j < to;) {
        int64_t stop = (j | 63) + 1 < to ? (j | 63) + 1 : to, first = j;
        uint64_t word = turn(carry[j >> 6], j & 63); /* column j in the last bit */
        for (; j < stop; j++) {
            uint64_t m = mask[b[j]], sum, total;
            bool over = __builtin_add_overflow(v, v & m, &sum), again = __builtin_add_overflow(sum, word & 1, &total);
            word = word >> 1 | (uint64_t)(over | again) << 63;
            v = total | (v & ~m);
            if (column) column[j] = v;
        }
        carry[first >> 6] = turn(word, -j & 63);
    }
    return v;
}

/* Puts the rows of a strip into the masks or takes them out again. */
static void set_masks(uint64_t *mask, const int32_t *a, int64_t m, int64_t strip, bool in) {
    for (int64_t i = strip * ROWS; i < m && i < (strip + 1) * ROWS; i++)
        mask[a[i]] = in ? mask[a[i]] | (uint64_t)1 << (i % ROWS) : 0;
}

int64_t lcs_length(struct lcs *l, int64_t tokens, const int32_t *a, int64_t m, const int32_t *b, int64_t n) {
    if ((m + ROWS - 1) / ROWS * n > (n + ROWS - 1) / ROWS * m) return lcs_length(l, tokens, b, n, a, m); /* fewer steps */
    reserve(&l->mask, &l->mask_size, tokens, true);
    reserve(&l->carry, &l->carry_size, n / 64 + 1, false);
    memset(l->carry, 0, (size_t)(n / 64 + 1) * sizeof *l->carry);
    int64_t length = 0;
    for (int64_t strip = 0; strip * ROWS < m; strip++) {
        set_masks(l->mask, a, m, strip, true);
        length += __builtin_popcountll(~walk(l->mask, b, 0, n, UINT64_MAX, l->carry, NULL));
        set_masks(l->mask, a, m, strip, false);
    }
    return length;
}

/* ---- the union over sentences ---- */

struct walker {
    struct lcs *l;
    const int32_t *a, *b;
    const int64_t *end;
    int64_t m, n, sentences, strips, group; /* group: K */
    int64_t *at;                            /* by sentence: the column where its walk back has come to */
};

/* V of all columns that are still ahead of the walks, of the strips of group g. */
static void compute_group(const struct walker *w, int64_t g, uint64_t *carry) {
    for (int64_t k = 0; k < w->group && g * w->group + k < w->strips; k++) {
        set_masks(w->l->mask, w->a, w->m, g * w->group + k, true);
        for (int64_t s = 0; s < w->sentences; s++)
            walk(w->l->mask, w->b, s ? w->end[s - 1] : 0, w->at[s], UINT64_MAX, carry, w->l->column + k * w->n);
        set_masks(w->l->mask, w->a, w->m, g * w->group + k, false);
    }
}

/* Back through one strip, from its last row at column j, until a row above it or a column before `start` is reached. */
static int64_t back(const struct walker *w, int64_t strip, const uint64_t *column, int64_t start, int64_t j, bool *hit) {
    uint64_t left = UINT64_MAX; /* rows of the strip at and above the one the walk is in */
    while (j > start && left) {
        uint64_t v = column[j - 1], m = w->l->mask[w->b[j - 1]], here = (m | ~v) & left;
        if (strip == 0 && v == UINT64_MAX) return start; /* nothing in common from here on */
        if (!here) break;
        int row = 63 - __builtin_clzll(here);
        left = row == 63 ? UINT64_MAX : ((uint64_t)2 << row) - 1;
        if (m >> row & 1) {
            hit[strip * ROWS + row] = true;
            left >>= 1;
        }
        j--;
    }
    return j;
}

void lcs_union(struct lcs *l, int64_t tokens, const int32_t *a, int64_t m, const int32_t *b, const int64_t *end, int64_t sentences,
               bool *hit, size_t keep) {
    if (!m || !sentences || !end[sentences - 1]) return;
    struct walker w = {.l = l, .a = a, .b = b, .end = end, .m = m, .n = end[sentences - 1], .sentences = sentences};
    w.strips = (m + ROWS - 1) / ROWS;
    w.group = w.strips;
    if ((double)w.strips * (double)w.n * sizeof *l->column > (double)keep)
        w.group = (int64_t)fmax(1, sqrt((double)w.strips / 64)); /* the least bytes: 8 K = W / (8 K) */
    int64_t groups = (w.strips + w.group - 1) / w.group, row = w.n / 64 + 1;
    reserve(&l->mask, &l->mask_size, tokens, true);
    reserve(&l->column, &l->column_size, w.group * w.n, false);
    reserve(&l->carry, &l->carry_size, (groups + 1) * row, false);
    if (sentences > l->at_size) l->at = xrealloc(l->at, (size_t)(l->at_size = sentences), sizeof *l->at);
    w.at = l->at;
    memcpy(w.at, end, (size_t)sentences * sizeof *end);
    memset(l->carry, 0, (size_t)row * sizeof *l->carry);
    for (int64_t g = 0; g < groups; g++) { /* row g: carries into group g */
        memcpy(l->carry + (g + 1) * row, l->carry + g * row, (size_t)row * sizeof *l->carry);
        compute_group(&w, g, l->carry + (g + 1) * row);
    }
    for (int64_t g = groups - 1; g >= 0; g--) {
        if (g < groups - 1) compute_group(&w, g, l->carry + g * row); /* the last one stands there still */
        for (int64_t k = w.group - 1; k >= 0; k--) {
            int64_t strip = g * w.group + k;
            if (strip >= w.strips) continue;
            set_masks(l->mask, a, m, strip, true);
            for (int64_t s = 0; s < sentences; s++)
                w.at[s] = back(&w, strip, l->column + k * w.n, s ? end[s - 1] : 0, w.at[s], hit);
            set_masks(l->mask, a, m, strip, false);
        }
    }
}
