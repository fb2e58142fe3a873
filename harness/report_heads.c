/* report_heads.c - the section of the task gates: kinds of heads, what the memory of each is worth, and whether the two kinds that
 * the paper describes (section 4.2) appear. Every sentence is made from the numbers of the folder. */
#include "report_heads.h"
#include "model.h"
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LINES 48 /* of a row in the table by head */
#define NEAR_HALF 0.1 /* a mixer "near 0.5" */

const char *const head_moments[HEAD_MOMENTS] = {"initial", "25 %", "50 %", "after"};

/* ---- what there is ---- */

/* A line of results.csv; seed -1: any. */
static const struct result_row *line_of(const struct report_data *d, int section, const char *row, int64_t seed, const char *metric,
                                        const char *condition, const char *position, int64_t context) {
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *r = &d->results[i];
        if (d->result_section[i] == section && (seed < 0 || r->seed == seed) && r->context == context && !strcmp(r->row, row) &&
            !strcmp(r->metric, metric) && !strcmp(r->condition, condition) && !strcmp(r->position, position))
            return r;
    }
    return NULL;
}

/* "layer.head" exactly. */
static bool head_of(const char *position, int *layer, int *head) {
    int used = 0;
    return sscanf(position, "%d.%d%n", layer, head, &used) == 2 && !position[used] && *layer >= 0 && *head >= 0;
}

/* The logged gates nearest to a share of the last step. */
static void from_curves(struct head_map *m, enum head_moment moment, double share, const struct report_data *d, const char *stage,
                        const char *row) {
    int64_t last = 0, best = -1;
    for (int pass = 0; pass < 3; pass++)
        for (int64_t i = 0; i < d->curve_count; i++) {
            const struct curve_row *c = &d->curves[i];
            int layer, head;
            if (c->seed != m->seed || strcmp(c->stage, stage) != 0 || strcmp(c->row, row) != 0 || strncmp(c->metric, "gate.", 5) ||
                !head_of(c->metric + 5, &layer, &head))
                continue;
            double want = share * (double)last;
            if (pass == 0 && c->step > last) last = c->step;
            if (pass == 1 && (best < 0 || fabs((double)c->step - want) < fabs((double)best - want))) best = c->step;
            if (pass < 2 || c->step != best || layer >= m->layers || head >= m->heads) continue;
            m->gate[moment][layer * m->heads + head] = c->value;
            m->known[moment] = true;
        }
}

bool head_map(struct head_map *m, const struct report_data *d, int section, int row, int64_t seed) {
    const char *name = d->rows[row].name;
    *m = (struct head_map){.seed = seed};
    for (int k = 0; k < HEAD_MOMENTS; k++)
        for (int i = 0; i < MAP_HEADS; i++) m->gate[k][i] = NAN;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < d->result_count; i++) {
            const struct result_row *r = &d->results[i];
            int layer, head;
            bool after = !strcmp(r->metric, "gate");
            if (d->result_section[i] != section || r->seed != seed || strcmp(r->row, name) != 0 ||
                (!after && strcmp(r->metric, "gate_initial") != 0) || !head_of(r->position, &layer, &head) || layer >= MAP_HEADS ||
                head >= MAP_HEADS)
                continue;
            if (!pass && layer >= m->layers) m->layers = layer + 1;
            if (!pass && head >= m->heads) m->heads = head + 1;
            if (!pass || layer * m->heads + head >= MAP_HEADS) continue;
            m->gate[after ? HEADS_AFTER : HEADS_INITIAL][layer * m->heads + head] = r->value;
            m->known[after ? HEADS_AFTER : HEADS_INITIAL] = true;
        }
    if (!m->known[HEADS_AFTER]) return false;
    if (m->layers > MAP_HEADS / m->heads) m->layers = MAP_HEADS / m->heads;
    from_curves(m, HEADS_QUARTER, 0.25, d, d->sections[section].stage, name);
    from_curves(m, HEADS_HALF, 0.5, d, d->sections[section].stage, name);
    return true;
}

bool head_map_first(struct head_map *m, const struct report_data *d, int section, int row) {
    for (int s = 0; s < d->seed_count; s++)
        if (head_map(m, d, section, row, d->seeds[s])) return true;
    return false;
}

int yardsticks(struct yardstick out[YARDSTICKS], const struct report_data *d, int section) {
    static const char *const metrics[] = {"bits_per_byte", "exact_match", "answer_nll"};
    int n = 0;
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < d->result_count && n < YARDSTICKS; i++) {
            const struct result_row *r = &d->results[i];
            bool known = d->result_section[i] != section || strcmp(r->metric, metrics[k]) != 0 || strcmp(r->position, "all") != 0 ||
                         *condition_value(r->condition, "knockout");
            for (int j = 0; j < n && !known; j++)
                known =
                    !strcmp(out[j].metric, r->metric) && out[j].context == r->context && !strcmp(out[j].condition, r->condition);
            if (known) continue;
            out[n] = (struct yardstick){.metric = metrics[k], .context = r->context};
            snprintf(out[n++].condition, CONDITION_SIZE, "%s", r->condition);
        }
    return n;
}

static bool is_share(const struct yardstick *y) { return strcmp(y->metric, "exact_match") == 0; }

const char *yardstick_words(const struct yardstick *y) {
    static char words[4][80];
    static int next;
    if (!y->context) return "bits per byte";
    char *out = words[next = (next + 1) % 4];
    snprintf(out, sizeof words[0], is_share(y) ? "exact match at %s, points" : "nats a symbol at %s", show_length(y->context));
    return out;
}

/* The value of the yardstick itself, or its loss, as tables show it. */
static struct interval scaled(struct interval v, const struct yardstick *y, bool loss) {
    if (!is_share(y)) return v;
    double by = loss ? -100 : 100, low = loss ? v.high : v.low, high = loss ? v.low : v.high;
    v.value *= by;
    v.standard_error *= 100;
    v.low = by * low;
    v.high = by * high;
    return v;
}

struct interval head_loss(const struct report_data *d, int section, const char *row, int64_t seed, const struct yardstick *y,
                          int way, const struct head_map *m, int head) {
    char condition[CONDITION_SIZE], metric[48], place[24] = "all";
    condition_with(condition, y->condition, knock_out_settings[way]);
    snprintf(metric, sizeof metric, "%s_change", y->metric);
    if (head >= 0) snprintf(place, sizeof place, "%d.%d", head / m->heads, head % m->heads);
    if (seed < 0) {
        struct probe p = {.d = d,
                          .section = section,
                          .row = row,
                          .condition = condition,
                          .metric = metric,
                          .position = place,
                          .context = y->context,
                          .writes_low = -1,
                          .writes_high = -1};
        return scaled(probe_value(&p).value, y, true);
    }
    const struct result_row *r = line_of(d, section, row, seed, metric, condition, place, y->context);
    if (!r) return (struct interval){.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN};
    return scaled((struct interval){r->value, r->standard_error, r->low, r->high, r->n, 0, 1}, y, true);
}

/* ---- kinds of heads ---- */

/* Over all seeds of a row. */
struct census {
    int seeds, heads, kind[3], near, layers, layers_local, layers_half; /* layers with a head below 0.1; below 0.5 */
    double least, most, sum, initial_least, initial_most;
};

static bool count_heads(struct census *c, const struct report_data *d, int section, int row) {
    static struct head_map m;
    *c = (struct census){.least = INFINITY, .most = -INFINITY, .initial_least = INFINITY, .initial_most = -INFINITY};
    for (int s = 0; s < d->seed_count; s++) {
        if (!head_map(&m, d, section, row, d->seeds[s])) continue;
        c->seeds++;
        for (int layer = 0; layer < m.layers; layer++) {
            double lowest = INFINITY;
            for (int head = 0; head < m.heads; head++) {
                double g = m.gate[HEADS_AFTER][layer * m.heads + head], first = m.gate[HEADS_INITIAL][layer * m.heads + head];
                if (isnan(g)) continue;
                c->heads++;
                c->kind[head_kind(g)]++;
                c->near += fabs(g - 0.5) <= NEAR_HALF;
                c->sum += g;
                c->least = fmin(c->least, g);
                c->most = fmax(c->most, g);
                c->initial_least = fmin(c->initial_least, first);
                c->initial_most = fmax(c->initial_most, first);
                lowest = fmin(lowest, g);
            }
            c->layers += isfinite(lowest);
            c->layers_local += lowest < HEAD_LOCAL_BELOW;
            c->layers_half += lowest < 0.5;
        }
    }
    return c->heads > 0;
}

static const char *range_words(double low, double high, char room[40]) {
    if (high - low < 0.005)
        snprintf(room, 40, "%.2f", low);
    else
        snprintf(room, 40, "%.2f to %.2f", low, high);
    return room;
}

static void kinds_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {
        "<row",       "heads", "initial",          "below 0.1 (local)",           "0.1 to 0.9 (mixer)", "above 0.9 (memory)",
        "0.4 to 0.6", "mean",  "least to largest", "layers with a head below 0.1"};
    *t = (struct table){.heads = heads, .columns = 10};
    for (int row = 0; row < d->row_count; row++) {
        struct census c;
        char room[40];
        if (!count_heads(&c, d, section, row)) continue;
        table_cell(t, "%s", d->rows[row].name);
        if (c.seeds > 1)
            table_cell(t, "%d of %d seeds", c.heads, c.seeds);
        else
            table_cell(t, "%d", c.heads);
        table_cell(t, "%s", range_words(c.initial_least, c.initial_most, room));
        for (int k = 0; k < 3; k++) table_cell(t, "%d (%.0f %%)", c.kind[k], 100.0 * c.kind[k] / c.heads);
        table_cell(t, "%d (%.0f %%)", c.near, 100.0 * c.near / c.heads);
        table_cell(t, "%.2f", c.sum / c.heads);
        table_cell(t, "%.3f to %.3f", c.least, c.most);
        table_cell(t, "%d of %d", c.layers_local, c.layers);
    }
}

/* Do the paper's two kinds of heads appear, and has each layer a head of short range? In the document and on the terminal. */
static void say_kinds(struct page *doc, const struct report_data *d, int section, FILE *out) {
    for (int row = 0; row < d->row_count; row++) {
        struct census c;
        struct text_buffer b = {0};
        if (!count_heads(&c, d, section, row)) continue;
        int special = c.kind[HEAD_LOCAL] + c.kind[HEAD_MEMORY];
        buffer_printf(&b, "%s: ", d->rows[row].name);
        if (special && c.near)
            buffer_printf(&b, "both kinds of heads of the paper appear: ");
        else if (special)
            buffer_printf(&b, "of the paper's two kinds only specialised heads appear: ");
        else if (c.near)
            buffer_printf(&b, "of the paper's two kinds only mixers appear: ");
        else
            buffer_printf(&b, "neither of the paper's two kinds of heads appears: ");
        buffer_printf(&b, "%d of %d heads are specialised (%d local, %d memory), %d of %d mix near one half (0.4 to 0.6). ",
                      special, c.heads, c.kind[HEAD_LOCAL], c.kind[HEAD_MEMORY], c.near, c.heads);
        if (special && !(c.kind[HEAD_LOCAL] && c.kind[HEAD_MEMORY]))
            buffer_printf(&b, "None is specialised in %s. ", c.kind[HEAD_LOCAL] ? "its memory" : "local attention");
        buffer_printf(&b, "%s layer has a head of short range: %d of %d layers have one with a gate below 0.1, %d below 0.5.",
                      c.layers_local == c.layers ? "Each" : "Not each", c.layers_local, c.layers, c.layers_half);
        document_item(doc, "%s", b.data);
        if (out) fprintf(out, "%s\n", b.data);
        buffer_free(&b);
    }
    if (out) fputc('\n', out);
}

/* ---- what the memory is worth ---- */

static void worth_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {
        "<row",           "<measure",        "as trained [95 %]", "n", "<knock-out", "all heads lose", "<most important head",
        "alone it loses", "heads that lose", "sum of heads alone"};
    static struct head_map m;
    struct yardstick y[YARDSTICKS];
    int count = yardsticks(y, d, section);
    *t = (struct table){.heads = heads, .columns = 10};
    for (int row = 0; row < d->row_count; row++) {
        const char *name = d->rows[row].name;
        if (!head_map_first(&m, d, section, row)) continue;
        for (int k = 0; k < count; k++)
            for (int way = 1; way < 3; way++) {
                struct probe p = {.d = d,
                                  .section = section,
                                  .row = name,
                                  .condition = y[k].condition,
                                  .metric = y[k].metric,
                                  .position = "all",
                                  .context = y[k].context,
                                  .writes_low = -1,
                                  .writes_high = -1};
                struct interval trained = scaled(probe_value(&p).value, &y[k], false);
                struct interval all = head_loss(d, section, name, -1, &y[k], way, &m, -1), best = {.value = -INFINITY};
                int best_head = -1, losing = 0, alone = 0, digits = is_share(&y[k]) ? 1 : 4;
                double sum = 0;
                if (!all.n) continue;
                for (int h = 0; h < m.layers * m.heads; h++) {
                    struct interval v = head_loss(d, section, name, m.seed, &y[k], way, &m, h);
                    if (!v.n) continue;
                    alone++;
                    sum += v.value;
                    losing += v.low > 0;
                    if (v.value > best.value) best = v, best_head = h;
                }
                table_cell(t, "%s", name);
                table_cell(t, "%s", yardstick_words(&y[k]));
                table_cell(t, "%s", show_interval(trained, is_share(&y[k]) ? 1 : 3, false));
                table_cell(t, "%lld", (long long)trained.n);
                table_cell(t, "%s", way == 1 ? "off" : "zero");
                table_cell(t, "%s", show_interval(all, digits, true));
                if (best_head < 0) {
                    for (int j = 0; j < 4; j++) table_cell(t, "–");
                    continue;
                }
                table_cell(t, "%d.%d (gate %.3f)", best_head / m.heads, best_head % m.heads, m.gate[HEADS_AFTER][best_head]);
                table_cell(t, "%s", show_interval(best, digits, true));
                table_cell(t, "%d of %d", losing, alone);
                table_cell(t, "%+.*f", digits, unsigned_zero(sum, digits));
            }
    }
}

/* A line a head of the first seed: gates, kind, what it loses by itself. */
static void head_table(struct table *t, const struct report_data *d, int section, bool *cut) {
    static const char *const kinds[] = {"local", "mixer", "memory"};
    static const char *heads[5 + 2 * YARDSTICKS];
    static char words[2 * YARDSTICKS][112];
    static struct head_map m;
    struct yardstick y[YARDSTICKS];
    int count = yardsticks(y, d, section), fixed = 0, columns = 0, of[2 * YARDSTICKS], ways[2 * YARDSTICKS];
    heads[fixed++] = "<row";
    heads[fixed++] = "layer.head";
    heads[fixed++] = "initial";
    heads[fixed++] = "after";
    heads[fixed++] = "<kind";
    for (int k = 0; k < count; k++)
        for (int way = 1; way < 3; way++) {
            char condition[CONDITION_SIZE], metric[48];
            bool any = false;
            condition_with(condition, y[k].condition, knock_out_settings[way]);
            snprintf(metric, sizeof metric, "%s_change", y[k].metric);
            for (int row = 0; row < d->row_count && !any; row++)
                any = line_of(d, section, d->rows[row].name, -1, metric, condition, "all", y[k].context);
            if (!any) continue;
            snprintf(words[columns], sizeof words[0], "%s lost, %s", yardstick_words(&y[k]), way == 1 ? "off" : "zero");
            of[columns] = k;
            ways[columns] = way;
            heads[fixed + columns] = words[columns];
            columns++;
        }
    *t = (struct table){.heads = heads, .columns = fixed + columns};
    *cut = false;
    for (int row = 0; row < d->row_count; row++) {
        if (!head_map_first(&m, d, section, row)) continue;
        for (int h = 0, lines = 0; h < m.layers * m.heads; h++) {
            double g = m.gate[HEADS_AFTER][h];
            if (isnan(g)) continue;
            if (lines++ == HEAD_LINES) {
                *cut = true;
                break;
            }
            table_cell(t, "%s", d->rows[row].name);
            table_cell(t, "%d.%d", h / m.heads, h % m.heads);
            table_cell(t, "%.2f", m.gate[HEADS_INITIAL][h]);
            table_cell(t, "%.3f", g); /* 0.0996 is local, but would read 0.10 */
            table_cell(t, "%s", kinds[head_kind(g)]);
            for (int k = 0; k < columns; k++)
                table_cell(t, "%s",
                           show_interval(head_loss(d, section, d->rows[row].name, m.seed, &y[of[k]], ways[k], &m, h),
                                         is_share(&y[of[k]]) ? 1 : 4, true));
        }
    }
}

static void say_skipped(struct page *doc, const struct report_data *d, int section) {
    for (int64_t i = 0; i < d->result_count; i++)
        if (d->result_section[i] == section && strcmp(d->results[i].metric, "skipped") == 0)
            document_item(doc, "%s is left out: %s.", d->results[i].row, condition_value(d->results[i].condition, "skipped"));
}

void heads_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    struct table t;
    bool cut;
    report_title(doc, d, section);
    report_protocol(doc, &d->sections[section]);
    fprintf(out, "%s%s%s\n\n", d->sections[section].name, *d->sections[section].stage ? " after stage " : "",
            d->sections[section].stage);
    say_skipped(doc, d, section);
    kinds_table(&t, d, section);
    if (t.count) {
        report_table(doc, &t, out,
                     "What the gates learnt: kinds of heads by sigmoid(beta), 0 = local attention only, 1 = memory only");
        document_text(doc,
                      "Are there the two kinds of heads that the paper describes (section 4.2: specialised, near 0 or 1; mixers, "
                      "near 0.5; at least one head of short range in each layer)?");
        say_kinds(doc, d, section, out);
    }
    table_free(&t);
    worth_table(&t, d, section);
    if (t.count) {
        report_table(doc, &t, out, "What the memory is worth (lost: above 0 is worse without it)");
        document_text(
            doc,
            "Off: the gate of a head forced to 0; its local part, trained with the factor 1 - g, is then taken unscaled, "
            "which costs by itself. Zero: its memory reads 0 and the factor stays: what was read is missing, nothing else. "
            "Heads that lose: alone, with the 95 %% interval above 0; by chance one in forty of those that lose nothing does. The "
            "most important head is the largest of many values, so its own is on the high side. Where the heads alone sum to less "
            "than all of them "
            "together, they stand in for each other. Gates and single heads are those of the first seed%s.",
            d->sections[section].seed_count > 1 ? "; heads of different seeds are different heads" : "");
    }
    table_free(&t);
    report_figures(doc, d, section, 0, plots);
    head_table(&t, d, section, &cut);
    if (t.count) report_table(doc, &t, NULL, "By head");
    table_free(&t);
    if (cut) document_text(doc, "The first %d heads of a row; the others are in results.csv.", HEAD_LINES);
}
