/* report_passkey.c - the tables of the task passkey: exact match and digit accuracy by length and position as in the paper's Table
 * 3, with knock-out, by training seed, by depth, by memory writes; effective length.
 *
 * Questions and their answers are in report_answers.c, the paper's numbers in report_paper_passkey.c. */
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADS (RETRIEVAL_LIMIT + 4)

/* Heads of a table: words, then one per value with the number of samples where all cells of its column have the same. */
struct heads {
    const char *head[HEADS];
    char words[RETRIEVAL_LIMIT][64];
    bool common[RETRIEVAL_LIMIT]; /* n stands in the head */
    int fixed, columns;
};
static struct heads heads; /* of the table in the making; a table points into it until it is shown */

static void heads_begin(const char *const *words, int count) {
    memset(&heads, 0, sizeof heads);
    for (int i = 0; i < count; i++) heads.head[heads.columns++] = words[i];
    heads.fixed = count;
}

/* n: samples in every cell of the column; 0: they differ and stand in the cells. */
static void heads_add(const char *word, int64_t n) {
    int i = heads.columns - heads.fixed;
    if (n)
        snprintf(heads.words[i], sizeof heads.words[i], "%.30s (n = %lld)", word, (long long)n);
    else
        snprintf(heads.words[i], sizeof heads.words[i], "%.60s", word);
    heads.common[i] = n > 0;
    heads.head[heads.columns++] = heads.words[i];
}

static void share_cell(struct table *t, const struct pooled *x, int column) {
    if (!x->value.n || isnan(x->value.value))
        table_cell(t, "–");
    else if (heads.common[column])
        table_cell(t, "%s", show_share(x->value));
    else
        table_cell(t, "%s, n %lld", show_share(x->value), (long long)x->value.n);
}

/* The number of samples that all cells have; 0: they have different ones. */
static int64_t same_n(int64_t so_far, const struct pooled *x) {
    return !x->value.n || so_far == 0 ? so_far : so_far < 0 || so_far == x->value.n ? x->value.n : 0;
}

/* ---- by length and position ---- */
static struct pooled probed(const struct group *g, const char *metric, const char *row, int knock_out, const char *place,
                            int64_t length, const struct values *seeds) {
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, row, knock_out, room);
    p.metric = metric;
    p.position = place;
    p.context = length;
    p.seeds = seeds;
    return probe_value(&p);
}

/* Of the seeds that have all lengths; without a row of all. */
static struct pooled at_place(const struct group *g, const char *metric, const char *row, int knock_out, const char *place,
                              int64_t length) {
    struct values seeds = {.n = 0};
    if (row) seeds = complete_seeds(g, row, knock_out);
    return probed(g, metric, row, knock_out, place, length, row ? &seeds : NULL);
}

static struct pooled of_all_seeds(const struct group *g, const char *row, const char *place, int64_t length) {
    return probed(g, "exact_match", row, 0, place, length, NULL);
}

static bool is_measured(const struct group *g, const char *metric, const char *row, int knock_out, const char *place) {
    return at_place(g, metric, row, knock_out, place, 0).value.n > 0;
}

static void length_heads(const struct group *g, const struct values *lengths, const char *metric, bool knocked) {
    static const char *const words[] = {"<row", "<position"}, *const knocked_words[] = {"<row", "<knock-out", "<position"};
    heads_begin(knocked ? knocked_words : words, knocked ? 3 : 2);
    for (int l = 0; l < lengths->n; l++) {
        int64_t n = -1;
        for (int i = 0; i < g->d->row_count; i++)
            for (int k = knocked; k < (knocked ? 3 : 1); k++)
                for (int p = 0; passkey_places[p]; p++) {
                    struct pooled x = at_place(g, metric, g->d->rows[i].name, k, passkey_places[p], lengths->v[l]);
                    n = same_n(n, &x);
                }
        heads_add(show_length(lengths->v[l]), n > 0 ? n : 0);
    }
}

static void length_table(struct table *t, const struct group *g, const char *metric, bool knocked) {
    struct values lengths = passkey_lengths(g);
    length_heads(g, &lengths, metric, knocked);
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
    for (int i = 0; i < g->d->row_count; i++)
        for (int k = knocked; k < (knocked ? 3 : 1); k++) {
            const char *row = g->d->rows[i].name;
            bool skips = false;
            for (int l = 0; l < lengths.n && !k && strcmp(metric, "exact_match") == 0; l++)
                skips = skips || passkey_skipped(g, row, lengths.v[l]);
            for (int p = 0; passkey_places[p]; p++) {
                if (!is_measured(g, metric, row, k, passkey_places[p]) && !(skips && p == 0)) continue;
                table_cell(t, "%s", row);
                if (knocked) table_cell(t, "%s", knock_out_words[k]);
                table_cell(t, "%s", is_measured(g, metric, row, k, passkey_places[p]) ? passkey_places[p] : "all");
                for (int l = 0; l < lengths.n; l++) {
                    struct pooled x = at_place(g, metric, row, k, passkey_places[p], lengths.v[l]);
                    if (!x.value.n && !k && passkey_skipped(g, row, lengths.v[l]))
                        table_cell(t, "skipped");
                    else
                        share_cell(t, &x, l);
                }
            }
        }
}

/* A line per seed of the rows that have several. */
static void by_seed_table(struct table *t, const struct group *g) {
    static const char *const words[] = {"<row", "<position", "seed"};
    struct values lengths = passkey_lengths(g);
    heads_begin(words, 3);
    for (int l = 0; l < lengths.n; l++) heads_add(show_length(lengths.v[l]), 0);
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
    for (int i = 0; i < g->d->row_count; i++)
        for (int p = 0; passkey_places[p]; p++) {
            const char *row = g->d->rows[i].name;
            struct pooled any = of_all_seeds(g, row, passkey_places[p], 0);
            for (int s = 0; s < any.seeds && any.seeds > 1; s++) {
                table_cell(t, "%s", row);
                table_cell(t, "%s", passkey_places[p]);
                table_cell(t, "%lld", (long long)any.seed[s]);
                for (int l = 0; l < lengths.n; l++) {
                    struct pooled x = of_all_seeds(g, row, passkey_places[p], lengths.v[l]);
                    int k = 0;
                    while (k < x.seeds && x.seed[k] != any.seed[s]) k++;
                    if (k < x.seeds)
                        table_cell(t, "%.1f", 100 * x.by_seed[k]);
                    else
                        table_cell(t, "–");
                }
            }
        }
}

/* ---- effective length ---- */
#define ENOUGH 0.9 /* exact match, as in the task's metric effective_length */

/* The longest length up to which exact match of a seed is high enough at one place (3: the least of all places); 0: none, NaN: not
 * measured. Reckoned here and not taken from the task's metric because several sections may hold the lengths (part_of). */
static double effective_length(const struct group *g, const char *row, int64_t seed, int place) {
    struct values lengths = passkey_lengths(g);
    double longest = NAN;
    bool good = true;
    if (place == 3) {
        for (int p = 0; passkey_places[p]; p++) longest = fmin(longest, effective_length(g, row, seed, p));
        return longest;
    }
    for (int l = 0; l < lengths.n; l++) {
        struct pooled x = of_all_seeds(g, row, passkey_places[place], lengths.v[l]);
        int k = 0;
        while (k < x.seeds && x.seed[k] != seed) k++;
        if (k == x.seeds) continue;
        good = good && x.by_seed[k] >= ENOUGH;
        longest = good ? (double)lengths.v[l] : fmax(longest, 0);
    }
    return longest;
}

/* The longest length of a seed, -1: of any seed. */
static double reach(const struct group *g, const char *row, int64_t seed) {
    struct values lengths = passkey_lengths(g), own = {.v = {seed}, .n = 1};
    for (int l = lengths.n - 1; l >= 0; l--)
        if (probed(g, "exact_match", row, 0, NULL, lengths.v[l], seed < 0 ? NULL : &own).value.n) return (double)lengths.v[l];
    return 0;
}

static void effective_cell(struct table *t, const struct group *g, const char *row, int place) {
    struct pooled any = of_all_seeds(g, row, place < 3 ? passkey_places[place] : NULL, 0);
    struct text_buffer b = {0};
    double longest[REPORT_SEEDS], most = reach(g, row, -1);
    bool open[REPORT_SEEDS], equal = true; /* open: good as far as the seed was measured, which is not as far as others were */
    int n = 0;
    for (int k = 0; k < any.seeds; k++) {
        double x = effective_length(g, row, any.seed[k], place);
        if (isnan(x)) continue;
        open[n] = x > 0 && x < most && x >= reach(g, row, any.seed[k]);
        equal = equal && (!n || (x == longest[0] && open[n] == open[0]));
        longest[n++] = x;
    }
    for (int k = 0; k < (equal && n ? 1 : n); k++)
        buffer_printf(&b, "%s%s%s", k ? ", " : "", open[k] ? "≥ " : "", longest[k] > 0 ? show_length(llround(longest[k])) : "none");
    table_cell(t, "%s", b.data ? b.data : "–");
    buffer_free(&b);
}

static void effective_table(struct table *t, const struct group *g) {
    static const char *const words[] = {"<row"};
    heads_begin(words, 1);
    for (int p = 0; p < 4; p++) heads_add(p < 3 ? passkey_places[p] : "all positions", 0);
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
    for (int i = 0; i < g->d->row_count; i++) {
        const char *row = g->d->rows[i].name;
        bool any = false;
        for (int p = 0; passkey_places[p]; p++) any = any || is_measured(g, "exact_match", row, 0, passkey_places[p]);
        if (!any) continue;
        table_cell(t, "%s", row);
        for (int p = 0; p < 4; p++) effective_cell(t, g, row, p);
    }
}

/* ---- by depth ---- */
static void depth_table(struct table *t, const struct group *g, int64_t *n_low, int64_t *n_high) {
    static const char *const words[] = {"<row", "length"};
    struct values depths = passkey_depths(g), lengths = passkey_depth_lengths(g);
    heads_begin(words, 2);
    *n_low = *n_high = 0;
    char word[24];
    for (int k = 0; k < depths.n; k++) {
        snprintf(word, sizeof word, "%g %%", (double)depths.v[k] / 100);
        heads_add(word, 0);
    }
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
    for (int i = 0; i < g->d->row_count; i++)
        for (int l = 0; l < lengths.n; l++) {
            struct pooled x[RETRIEVAL_LIMIT];
            bool any = false;
            for (int k = 0; k < depths.n; k++) {
                snprintf(word, sizeof word, "%.2f", (double)depths.v[k] / 10000);
                x[k] = at_place(g, "exact_match", g->d->rows[i].name, 0, word, lengths.v[l]);
                any = any || x[k].value.n;
            }
            if (!any) continue;
            table_cell(t, "%s", g->d->rows[i].name);
            table_cell(t, "%s", show_length(lengths.v[l]));
            for (int k = 0; k < depths.n; k++) {
                int64_t n = x[k].value.n;
                if (!n) {
                    table_cell(t, "–");
                    continue;
                }
                table_cell(t, "%.1f", 100 * x[k].value.value);
                if (!*n_low || n < *n_low) *n_low = n;
                if (n > *n_high) *n_high = n;
            }
        }
}

/* ---- by writes; of recall too ---- */
void writes_table(struct table *t, const struct group *g) {
    static const char *const words[] = {"<row"};
    struct writes_class c[RETRIEVAL_LIMIT];
    int n = writes_classes(c, g);
    double mean;
    heads_begin(words, 1);
    for (int k = 0; k < n; k++) {
        int64_t all = -1;
        char word[48];
        for (int i = 0; i < g->d->row_count; i++) {
            struct pooled x = writes_value(g, g->d->rows[i].name, c[k], &mean);
            all = same_n(all, &x);
        }
        if (c[k].low == c[k].high)
            snprintf(word, sizeof word, "%lld", (long long)c[k].low);
        else
            snprintf(word, sizeof word, "%lld–%lld", (long long)c[k].low, (long long)c[k].high);
        heads_add(word, all > 0 ? all : 0);
    }
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
    for (int i = 0; i < g->d->row_count; i++) {
        bool any = false;
        for (int k = 0; k < n; k++) any = any || writes_value(g, g->d->rows[i].name, c[k], &mean).value.n;
        if (!any) continue;
        table_cell(t, "%s", g->d->rows[i].name);
        for (int k = 0; k < n; k++) {
            struct pooled x = writes_value(g, g->d->rows[i].name, c[k], &mean);
            share_cell(t, &x, k);
        }
    }
}

/* ---- gates and norms (diagnostics = yes) ---- */
/* Of the heads of a layer: how many, mean, least, largest; seeds together. */
static int over_heads(const struct group *g, const char *metric, const char *row, int layer, int64_t length, double out[3]) {
    double sum = 0, least = INFINITY, most = -INFINITY;
    int n = 0;
    for (;; n++) {
        char place[24];
        snprintf(place, sizeof place, "%d.%d", layer, n);
        struct pooled x = at_place(g, metric, row, 0, place, length);
        if (!x.value.n) break;
        sum += x.value.value;
        least = fmin(least, x.value.value);
        most = fmax(most, x.value.value);
    }
    out[0] = sum / n, out[1] = least, out[2] = most;
    return n;
}

/* Two measures by length; the last heads of a table. */
static void heads_by_length(struct table *t, const char *first, const char *second, const struct values *lengths) {
    for (int k = 0; k < 2; k++)
        for (int l = 0; l < lengths->n && l < RETRIEVAL_LIMIT / 2; l++) {
            char word[64];
            snprintf(word, sizeof word, "%s, %s", k ? second : first, show_length(lengths->v[l]));
            heads_add(word, 0);
        }
    *t = (struct table){.heads = heads.head, .columns = heads.columns};
}

static void memory_table(struct table *t, const struct group *g) {
    static const char *const words[] = {"<row", "layer", "gates"};
    struct values lengths = passkey_lengths(g);
    double v[3];
    heads_begin(words, 3);
    heads_by_length(t, "|M|", "|z|", &lengths);
    for (int i = 0; i < g->d->row_count; i++)
        for (int layer = 0; over_heads(g, "gate", g->d->rows[i].name, layer, 0, v); layer++) {
            table_cell(t, "%s", g->d->rows[i].name);
            table_cell(t, "%d", layer);
            table_cell(t, "%.2f (%.2f to %.2f)", v[0], v[1], v[2]);
            for (int k = 0; k < 2; k++)
                for (int l = 0; l < lengths.n && l < RETRIEVAL_LIMIT / 2; l++) {
                    if (over_heads(g, k ? "z_norm" : "memory_norm", g->d->rows[i].name, layer, lengths.v[l], v))
                        table_cell(t, "%.3g", v[0]);
                    else
                        table_cell(t, "–");
                }
        }
}

/* The head of each layer that hears the needle best. */
static void contrast_table(struct table *t, const struct group *g) {
    static const char *const words[] = {"<row", "layer"};
    struct values lengths = passkey_lengths(g);
    double v[3];
    heads_begin(words, 2);
    heads_by_length(t, "contrast", "share (%)", &lengths);
    for (int i = 0; i < g->d->row_count; i++)
        for (int layer = 0; over_heads(g, "gate", g->d->rows[i].name, layer, 0, v); layer++) {
            bool any = false;
            for (int l = 0; l < lengths.n; l++) any = any || over_heads(g, "contrast", g->d->rows[i].name, layer, lengths.v[l], v);
            if (!any) continue;
            table_cell(t, "%s", g->d->rows[i].name);
            table_cell(t, "%d", layer);
            for (int k = 0; k < 2; k++)
                for (int l = 0; l < lengths.n && l < RETRIEVAL_LIMIT / 2; l++) {
                    if (over_heads(g, k ? "needle_share" : "contrast", g->d->rows[i].name, layer, lengths.v[l], v))
                        table_cell(t, k ? "%.3g" : "%.4g", k ? 100 * v[2] : v[2]);
                    else
                        table_cell(t, "–");
                }
        }
}

/* ---- the section ---- */
/* Mean exact tokens of the prompts of each length, over rows and positions. */
static void say_tokens(struct page *doc, const struct group *g) {
    struct values lengths = passkey_lengths(g), grid = passkey_depth_lengths(g);
    struct text_buffer b = {0};
    for (int k = 0; k < 2; k++)
        for (int l = 0; l < (k ? grid.n : lengths.n); l++) {
            int64_t length = k ? grid.v[l] : lengths.v[l];
            struct pooled x = at_place(g, "tokens", NULL, 0, NULL, length);
            if (x.value.n) buffer_printf(&b, "%s%s %s", b.n ? ", " : "", show_length(length), show_integer(x.value.value));
        }
    if (b.n) document_text(doc, "Tokens really read, mean of the prompts by length asked for: %s.", b.data);
    buffer_free(&b);
}

/* A line per row and reason. */
static void say_skipped(struct page *doc, const struct group *g) {
    struct values lengths = passkey_lengths(g);
    for (int i = 0; i < g->d->row_count; i++) {
        const char *row = g->d->rows[i].name;
        for (int l = 0, end; l < lengths.n; l = end) {
            char reason[CONDITION_SIZE];
            const char *why = passkey_skipped(g, row, lengths.v[l]);
            struct text_buffer b = {0};
            end = l + 1;
            if (!why) continue;
            snprintf(reason, sizeof reason, "%s", why);
            buffer_printf(&b, "%s", show_length(lengths.v[l]));
            for (; end < lengths.n && (why = passkey_skipped(g, row, lengths.v[end])) && strcmp(why, reason) == 0; end++)
                buffer_printf(&b, ", %s", show_length(lengths.v[end]));
            document_item(doc, "%s skipped %s: %s.", row, b.data, reason);
            buffer_free(&b);
        }
    }
}

/* Which seeds stand where, of rows whose seeds were not all measured at all lengths. */
static void say_seeds(struct page *doc, const struct group *g) {
    for (int i = 0; i < g->d->row_count; i++) {
        const char *row = g->d->rows[i].name;
        if (!seeds_left_out(g, row)) continue;
        struct values seeds = complete_seeds(g, row, 0);
        struct text_buffer b = {0};
        for (int k = 0; k < seeds.n; k++) buffer_printf(&b, "%s%lld", k ? ", " : "", (long long)seeds.v[k]);
        document_item(doc,
                      "%s: the tables by length and position and the picture show the training seed%s with all lengths (%s); the "
                      "other seeds stand in the table by training seed only, and in what is asked at a length that they have.",
                      row, seeds.n == 1 ? "" : "s", b.data);
        buffer_free(&b);
    }
}

static void length_part(struct page *doc, const struct group *g, FILE *out) {
    struct table t;
    double chance = passkey_chance(g);
    const char *length_text = condition_value(g->condition, "value_length");
    double symbols = *length_text ? atof(length_text) : 5;
    bool several = false, together = false; /* seeds in the table by seed; in one cell of the others */
    length_table(&t, g, "exact_match", false);
    report_table(doc, &t, out, "Exact match (%) by length and position");
    for (int i = 0; i < g->d->row_count; i++)
        several = several || of_all_seeds(g, g->d->rows[i].name, NULL, 0).seeds > 1,
        together = together || at_place(g, "exact_match", g->d->rows[i].name, 0, NULL, 0).seeds > 1;
    document_text(
        doc,
        "Exact match: all symbols of the key are right. Intervals: Wilson, 95 %%, over the samples%s. Chance: %.2g %%. At "
        "the end the needle lies in the segment of the question or just before it, so that no memory is needed: it is "
        "shown and never averaged in.",
        together  ? " of one training seed, since all seeds answer the same ones (n: answers of all seeds); the spread between "
                    "training runs is not in them and stands below"
        : several ? " of one training seed; the spread between training runs is not in them and stands below"
                  : "; there is one training seed, so the spread between training runs is not in them",
        100 * pow(chance, symbols));
    say_seeds(doc, g);
    say_skipped(doc, g);
    if (several) {
        by_seed_table(&t, g);
        report_table(doc, &t, NULL, "Exact match (%) by training seed");
    }
    length_table(&t, g, "digit_accuracy", false);
    if (t.count) {
        char title[160];
        snprintf(title, sizeof title, "Digit accuracy (%%) by length and position; chance: %.1f %% a symbol", 100 * chance);
        report_table(doc, &t, NULL, title);
        document_text(doc,
                      "Digit accuracy: share of right symbols. Intervals, 95 %%: bootstrap over samples%s; one that reaches "
                      "0 or 100 %% goes as far as Wilson's over the samples of one seed with all symbols wrong or all right.",
                      together ? "; with several training seeds Student's t from that error and the spread between seeds, cut to "
                                 "0 to 100 %"
                               : "");
    }
    table_free(&t);
    effective_table(&t, g);
    if (t.count)
        report_table(
            doc, &t, out,
            "Effective length: the longest up to which exact match is at least 90 % (by seed where they differ; ≥: that seed was "
            "measured no further)");
    table_free(&t);
    say_no_twin(doc, g->d);
    passkey_answers(&t, g);
    if (t.count)
        report_table(
            doc, &t, NULL,
            "Questions and answers (difference of exact match in points, paired over samples and seeds; above 0 is better)");
    table_free(&t);
    length_table(&t, g, "exact_match", true);
    if (t.count) report_table(doc, &t, NULL, "Exact match (%) with the compressive memory knocked out");
    table_free(&t);
}

static void group_part(struct page *doc, const struct group *g, const struct plots *plots, FILE *out) {
    struct table t;
    int64_t low, high;
    if (g->count > 1) document_text(doc, "Condition: %s.", show_condition(g));
    if (passkey_lengths(g).n) length_part(doc, g, out);
    depth_table(&t, g, &low, &high);
    if (t.count) {
        char title[160], range[64];
        snprintf(range, sizeof range, low == high ? "%lld" : "%lld to %lld", (long long)low, (long long)high);
        snprintf(title, sizeof title, "Exact match (%%) by depth of the needle, n = %s a cell", range);
        report_table(doc, &t, out, title);
        struct interval half = wilson((low + 1) / 2, low);
        document_text(doc,
                      "Depth 0 %%: no filler before the needle, 100 %%: none after it. A cell's interval (Wilson, 95 %%) is at "
                      "most ±%.0f points wide; all are in results.csv.",
                      50 * (half.high - half.low));
    }
    table_free(&t);
    writes_table(&t, g);
    if (t.count) {
        report_table(doc, &t, out, "Exact match (%) by memory writes between needle and question");
        document_text(doc, "Writes are counted for each sample from where its tokens lie; 0: the needle is in the segment of the "
                           "question. All lengths and positions together; Wilson, 95 %%, over the samples of one training seed.");
    }
    table_free(&t);
    memory_table(&t, g);
    if (t.count) {
        report_table(doc, &t, NULL, "Gates and compressive memory by layer");
        document_text(doc, "Gates: share of the memory in a head's output, sigmoid of beta: mean of the heads (least to largest). "
                           "|M|, |z|: mean of the "
                           "heads' Euclidean norms after a prompt of that length.");
    }
    table_free(&t);
    contrast_table(&t, g);
    if (t.count) {
        report_table(doc, &t, NULL, "How the memory hears the needle: the best head of each layer");
        document_text(doc, "Contrast: the weight, in the memory read, of the needle's token that the query fits best over the mean "
                           "weight of all tokens, at the first position; 1: no better than any other token. Share: what the "
                           "needle's tokens together have of all weights. A head hears a needle far away if its contrast grows "
                           "with the length.");
    }
    table_free(&t);
    say_tokens(doc, g);
    report_figures(doc, g->d, g->section, g->index, plots);
}

void passkey_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section);
    report_title(doc, d, section);
    fprintf(out, "%s%s%s\n\n", d->sections[section].name, *d->sections[section].stage ? " after stage " : "",
            d->sections[section].stage);
    report_protocol(doc, &d->sections[section]);
    if (n == 1) document_text(doc, "Condition: %s.", show_condition(&g[0]));
    for (int k = 0; k < n; k++) group_part(doc, &g[k], plots, out);
}
