/* report_tables.c - the tables of a report: main, by position, against the local-only twin, by seed, and a long one for other
 * tasks.
 *
 * Every interval is a bootstrap over documents from samples.csv; where a folder has no samples the interval of results.csv is
 * shown. */
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *slot(void) {
    static char memory[32][96];
    static int next;
    return memory[next = (next + 1) % 32];
}

const char *show_number(double x) {
    static const char *const unit[] = {"", " k", " M", " G", " T", " P", " E"};
    char *out = slot();
    int i = 0;
    if (isnan(x)) return "–";
    while (fabs(x) >= 999.5 && i < 6) x /= 1000, i++;
    snprintf(out, 96, fabs(x) >= 100 ? "%.0f%s" : fabs(x) >= 10 ? "%.1f%s" : "%.2f%s", x, unit[i]);
    return out;
}

const char *show_integer(double x) {
    char *out = slot(), digits[40];
    if (isnan(x)) return "–";
    int n = snprintf(digits, sizeof digits, "%.0f", x), k = 0;
    for (int i = 0; i < n && k < 90; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') out[k++] = ' ';
        out[k++] = digits[i];
    }
    out[k] = 0;
    return out;
}

const char *show_bytes(double x) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *out = slot();
    int i = 0;
    if (isnan(x)) return "–";
    while (x >= 1024 && i < 4) x /= 1024, i++;
    snprintf(out, 96, i == 0 || x >= 100 ? "%.0f %s" : "%.1f %s", x, unit[i]);
    return out;
}

const char *show_seconds(double x) {
    char *out = slot();
    long s = lround(x);
    if (isnan(x)) return "–";
    if (s < 100)
        snprintf(out, 96, "%.1f s", x);
    else if (s < 6000)
        snprintf(out, 96, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(out, 96, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return out;
}

double unsigned_zero(double x, int digits) { return fabs(x) < 0.5 * pow(10, -digits) ? 0 : x; }

const char *show_interval(struct interval i, int digits, bool sign) {
    char *out = slot();
    if (isnan(i.value)) return "–";
    double value = unsigned_zero(i.value, digits), low = unsigned_zero(i.low, digits), high = unsigned_zero(i.high, digits);
    int n = snprintf(out, 96, sign ? "%+.*f" : "%.*f", digits, value);
    if (!isnan(i.low)) snprintf(out + n, 96 - (size_t)n, sign ? " [%+.*f, %+.*f]" : " [%.*f, %.*f]", digits, low, digits, high);
    return out;
}

struct selection select_row(const struct report_data *d, int section, const char *row, const char *condition, unsigned positions) {
    return (struct selection){.data = d,
                              .section = section,
                              .row = row,
                              .condition = condition,
                              .metric = "bits_per_byte",
                              .positions = positions,
                              .seed = -1};
}

static struct interval interval_of(const struct result_row *r) {
    return (struct interval){.value = r->value, .standard_error = r->standard_error, .low = r->low, .high = r->high, .n = r->n};
}

/* The 3-gram is scored in the cell of the null model. */
static const struct result_row *ngram_result(const struct report_data *d, int section, const char *position) {
    for (int i = 0; i < d->row_count; i++) {
        const struct result_row *r = report_find(d, section, d->rows[i].name, -1, "ngram3_bits_per_byte", "", position);
        if (r) return r;
    }
    return NULL;
}

void main_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<row",      "parameters", "by formula",           "carried",
                                        "attended",  "state",      "bits per byte [95 %]", "n",
                                        "token ppl", "word ppl",   "memory off",           "memory zero"};
    *t = (struct table){.heads = heads, .columns = (int)(sizeof heads / sizeof *heads)};
    for (int i = 0; i < d->row_count; i++) {
        const char *row = d->rows[i].name;
        struct interval b = report_bits(d, section, row, -1);
        if (isnan(b.value)) continue;
        struct interval off = report_difference(select_row(d, section, row, "knockout=off", 0), select_row(d, section, row, "", 0));
        struct interval zero =
            report_difference(select_row(d, section, row, "knockout=zero", 0), select_row(d, section, row, "", 0));
        double formula, apart;
        report_shape(d, row, &formula, &apart);
        table_cell(t, "%s", row);
        table_cell(t, "%s%s", show_number(report_training(d, row, "parameters")), apart > 0 ? "*" : "");
        table_cell(t, "%s", show_integer(formula));
        table_cell(t, "%s", show_integer(report_training(d, row, "carried_elements")));
        table_cell(t, "%s", show_integer(report_training(d, row, "attended_elements")));
        table_cell(t, "%s", show_bytes(report_training(d, row, "state_bytes")));
        table_cell(t, "%s", show_interval(b, 3, false));
        table_cell(t, "%lld", (long long)b.n);
        table_cell(t, "%.3f", report_mean(d, section, row, "token_perplexity", "", NULL));
        table_cell(t, "%s", show_number(report_mean(d, section, row, "word_perplexity", "", NULL)));
        table_cell(t, "%s", show_interval(off, 4, true));
        table_cell(t, "%s", show_interval(zero, 4, true));
    }
    const struct result_row *g = ngram_result(d, section, NULL);
    if (!g) return;
    table_cell(t, "3-gram");
    for (int j = 1; j < 6; j++) table_cell(t, "–");
    table_cell(t, "%s", show_interval(interval_of(g), 3, false));
    table_cell(t, "%lld", (long long)g->n);
    for (int j = 8; j < t->columns; j++) table_cell(t, "–");
}

void position_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<row", "segment 1", "2-4", "5-16", "17-64", "65 and later"};
    *t = (struct table){.heads = heads, .columns = 6};
    for (int i = 0; i < d->row_count; i++) {
        struct interval b[POSITIONS];
        bool any = false;
        for (int p = 0; p < POSITIONS; p++) {
            b[p] = report_bits(d, section, d->rows[i].name, p);
            any = any || !isnan(b[p].value);
        }
        if (!any) continue;
        table_cell(t, "%s", d->rows[i].name);
        for (int p = 0; p < POSITIONS; p++) table_cell(t, "%s", show_interval(b[p], 3, false));
    }
    if (!ngram_result(d, section, NULL)) return;
    table_cell(t, "3-gram");
    for (int p = 0; p < POSITIONS; p++) {
        const struct result_row *g = ngram_result(d, section, position_names[p]);
        table_cell(t, "%s", g ? show_interval(interval_of(g), 3, false) : "–");
    }
}

static void difference_cells(struct table *t, struct interval i) {
    table_cell(t, "%s", show_interval(i, 4, true));
    table_cell(t, "%lld", (long long)i.n);
    table_cell(t, isnan(i.low) ? "–" : "%.4f", minimum_detectable(&i));
}

void difference_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {
        "<row", "segments 5+: difference [95 %]", "n", "detectable", "whole documents: difference [95 %]", "n", "detectable"};
    *t = (struct table){.heads = heads, .columns = 7};
    if (d->twin < 0) return;
    const char *twin = d->rows[d->twin].name;
    for (int i = 0; i < d->row_count; i++) {
        const char *row = d->rows[i].name;
        if (i == d->twin) continue;
        struct interval total = report_difference(select_row(d, section, row, "", 0), select_row(d, section, twin, "", 0));
        if (total.n == 0) continue;
        table_cell(t, "%s", row);
        difference_cells(
            t, report_difference(select_row(d, section, row, "", FAR_POSITIONS), select_row(d, section, twin, "", FAR_POSITIONS)));
        difference_cells(t, total);
    }
}

void seed_table(struct table *t, const struct report_data *d, int section) {
    static const char *heads[REPORT_SEEDS + 3];
    static char names[REPORT_SEEDS][32];
    int n = d->seed_count;
    heads[0] = "<row";
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "seed %lld", (long long)d->seeds[i]);
        heads[i + 1] = names[i];
    }
    heads[n + 1] = "mean";
    heads[n + 2] = "std. deviation";
    *t = (struct table){.heads = heads, .columns = n + 3};
    for (int i = 0; i < d->row_count; i++) {
        double sum = 0, squares = 0;
        int m = 0;
        if (!report_find(d, section, d->rows[i].name, -1, "bits_per_byte", "", NULL)) continue;
        table_cell(t, "%s", d->rows[i].name);
        for (int k = 0; k < n; k++) {
            const struct result_row *r = report_find(d, section, d->rows[i].name, d->seeds[k], "bits_per_byte", "", NULL);
            if (r)
                table_cell(t, "%.4f", r->value), sum += r->value, squares += r->value * r->value, m++;
            else
                table_cell(t, "–");
        }
        double mean = sum / m, variance = m > 1 ? (squares - sum * mean) / (m - 1) : NAN;
        table_cell(t, "%.4f", mean);
        if (m > 1)
            table_cell(t, "%.4f", sqrt(variance > 0 ? variance : 0));
        else
            table_cell(t, "–");
    }
}

#define LONG_LINES 240
/* One line per (row, metric, condition, context, position, writes); several seeds: their mean, and each in brackets. */
void long_table(struct table *t, const struct report_data *d, int section, int *left_out) {
    static const char *const heads[] = {"<row",   "<metric",      "<condition", "context", "position",
                                        "writes", "value [95 %]", "n",          "<unit",   "<by seed"};
    *t = (struct table){.heads = heads, .columns = 10};
    *left_out = 0;
    bool *done = xcalloc((size_t)d->result_count, sizeof *done);
    for (int row = 0; row < d->row_count; row++)
        for (int64_t i = 0; i < d->result_count; i++) {
            const struct result_row *r = &d->results[i];
            struct text_buffer seeds = {0};
            double sum = 0;
            int m = 0;
            if (d->result_section[i] != section || done[i] || strcmp(r->row, d->rows[row].name) != 0) continue;
            for (int64_t j = i; j < d->result_count; j++) {
                const struct result_row *q = &d->results[j];
                if (d->result_section[j] != section || strcmp(q->row, r->row) != 0 || strcmp(q->metric, r->metric) != 0 ||
                    strcmp(q->condition, r->condition) != 0 || strcmp(q->position, r->position) != 0 ||
                    strcmp(q->split, r->split) != 0 || q->context != r->context || q->writes != r->writes)
                    continue;
                done[j] = true;
                sum += q->value;
                buffer_printf(&seeds, "%s%lld: %.4g", m++ ? ", " : "", (long long)q->seed, q->value);
            }
            if (t->count / t->columns >= LONG_LINES) {
                (*left_out)++;
            } else {
                table_cell(t, "%s", r->row);
                table_cell(t, "%s", r->metric);
                table_cell(t, "%s", *r->condition ? r->condition : "–");
                table_cell(t, "%s", r->context > 0 ? show_integer((double)r->context) : "–");
                table_cell(t, "%s", *r->position ? r->position : "–");
                if (r->writes >= 0)
                    table_cell(t, "%lld", (long long)r->writes);
                else
                    table_cell(t, "–");
                if (m > 1)
                    table_cell(t, "%.4g", sum / m);
                else if (isnan(r->low))
                    table_cell(t, "%.6g", r->value);
                else
                    table_cell(t, "%.4g [%.4g, %.4g]", r->value, r->low, r->high);
                table_cell(t, "%lld", (long long)r->n);
                table_cell(t, "%s", r->unit);
                table_cell(t, "%s", m > 1 ? seeds.data : "");
            }
            buffer_free(&seeds);
        }
    free(done);
}
