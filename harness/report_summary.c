/* report_summary.c - the tables of the tasks summarize and chronicle: ROUGE with the length of what was said beside it, controls,
 * ROUGE and events named by input length with ceiling and floor, events by memory writes. The paper's numbers are in
 * report_paper_summary.c. */
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <string.h>

/* setting NULL: as measured; else the condition with it ("knockout=off", "baseline=lead"). */
static struct pooled value_at(const struct group *g, const char *metric, const char *row, const char *setting, int64_t budget) {
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, row, 0, room);
    /* Controls do not depend on how a summary is decoded: their condition is the setting alone. */
    if (setting && strncmp(setting, "baseline=", 9) == 0)
        snprintf(room, sizeof room, "%s", setting);
    else
        condition_with(room, g->condition, setting);
    p.metric = metric;
    p.position = "all";
    p.context = budget;
    return probe_value(&p);
}

static const char *shown(const struct pooled *x, double scale, int digits) {
    struct interval v = x->value;
    if (!v.n || isnan(v.value)) return "–";
    v.value *= scale, v.low *= scale, v.high *= scale;
    return show_interval(v, digits, false);
}

/* ---- summarize ---- */

static const struct {
    const char *setting, *words;
} ways[] = {{NULL, ""},
            {"knockout=off", ", memory off"},
            {"knockout=zero", ", memory zero"},
            {"baseline=lead", ": first words of the text"},
            {"baseline=frequent", ": most frequent words"},
            {"baseline=random", ": a random training summary"}};

static void rouge_table(struct table *t, const struct group *g) {
    static const char *const heads[] = {"<row",           "read",       "n",       "ROUGE-1",    "ROUGE-2",
                                        "ROUGE-L",        "ROUGE-Lsum", "overall", "words said", "words of the reference",
                                        "ended by itself"};
    static const char *const metrics[] = {"rouge1", "rouge2", "rougeL", "rougeLsum", "overall"};
    struct values budgets = summary_budgets(g);
    *t = (struct table){.heads = heads, .columns = 11};
    for (int b = 0; b < budgets.n; b++)
        for (int i = 0; i < g->d->row_count; i++)
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                const char *row = g->d->rows[i].name;
                struct pooled x[5], words = value_at(g, "output_words", row, ways[w].setting, budgets.v[b]);
                for (int k = 0; k < 5; k++) x[k] = value_at(g, metrics[k], row, ways[w].setting, budgets.v[b]);
                if (!x[0].value.n) continue;
                struct pooled reference = value_at(g, "reference_words", row, ways[w].setting, budgets.v[b]);
                struct pooled stopped = value_at(g, "stopped", row, ways[w].setting, budgets.v[b]);
                table_cell(t, "%s%s", row, ways[w].words);
                table_cell(t, "%s", show_length(budgets.v[b]));
                table_cell(t, "%lld", (long long)x[0].samples);
                for (int k = 0; k < 5; k++) table_cell(t, "%s", shown(&x[k], 1, 2));
                table_cell(t, "%.1f", words.value.value);
                table_cell(t, "%.1f", reference.value.value);
                table_cell(t, isnan(stopped.value.value) ? "–" : "%.0f %%", 100 * stopped.value.value);
            }
}

static void questions(struct page *doc, const struct group *g, bool events) {
    struct table t;
    say_no_twin(doc, g->d);
    summary_answers(&t, g, events);
    if (t.count)
        report_table(doc, &t, NULL,
                     events
                         ? "Questions and answers (difference of the share of events named in points, paired over narratives and "
                           "seeds; above 0 is better)"
                         : "Questions and answers (difference of ROUGE-1, paired over texts and seeds; above 0 is better)");
    table_free(&t);
}

static void begin(struct page *doc, const struct report_data *d, int section, FILE *out) {
    report_title(doc, d, section);
    fprintf(out, "%s%s%s\n\n", d->sections[section].name, *d->sections[section].stage ? " after stage " : "",
            d->sections[section].stage);
    report_protocol(doc, &d->sections[section]);
}

void summarize_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section);
    begin(doc, d, section, out);
    for (int k = 0; k < n; k++) {
        struct table t;
        rouge_table(&t, &g[k]);
        if (t.count) {
            if (*g[k].condition) document_text(doc, "Condition: %s.", show_condition(&g[k]));
            report_table(doc, &t, out, "ROUGE (F1 x 100) and the length of what was said");
            document_text(doc,
                          "Overall: geometric mean of the means of ROUGE-1, -2 and -L. ROUGE rises with the length of a text up to "
                          "that of its reference: scores of different lengths do not compare. The controls have, for each text, as "
                          "many words as the row said. Intervals, 95 %%: bootstrap over texts; with several training seeds "
                          "Student's t with the spread between them.");
            questions(doc, &g[k], false);
        }
        table_free(&t);
        report_figures(doc, d, section, g[k].index, plots);
    }
}

/* ---- chronicle ---- */

static const char *heads[RETRIEVAL_LIMIT + 3];
static char head_words[RETRIEVAL_LIMIT][64];

/* n: of the metric, which not every narrative may have (no event within reach). */
static void length_heads(struct table *t, const struct group *g, const char *second, const char *metric) {
    struct values budgets = summary_budgets(g);
    int fixed = second ? 2 : 1;
    heads[0] = "<row";
    heads[1] = second;
    for (int b = 0; b < budgets.n; b++) {
        int64_t low = 0, high = 0;
        for (int i = 0; i < g->d->row_count; i++) {
            int64_t n = value_at(g, metric, g->d->rows[i].name, NULL, budgets.v[b]).samples;
            if (n && (!low || n < low)) low = n;
            if (n > high) high = n;
        }
        if (low == high)
            snprintf(head_words[b], sizeof head_words[b], "%.20s (n = %lld)", show_length(budgets.v[b]), (long long)low);
        else
            snprintf(head_words[b], sizeof head_words[b], "%.20s (n = %lld–%lld)", show_length(budgets.v[b]), (long long)low,
                     (long long)high);
        heads[fixed + b] = head_words[b];
    }
    *t = (struct table){.heads = heads, .columns = fixed + budgets.n};
}

/* One line by budget; false: nothing was measured and no line was made. */
static bool length_line(struct table *t, const struct group *g, const char *row, const char *setting, const char *label,
                        const char *second, const char *metric, double scale, int digits) {
    struct values budgets = summary_budgets(g);
    bool any = false;
    for (int b = 0; b < budgets.n; b++) any = any || value_at(g, metric, row, setting, budgets.v[b]).value.n;
    if (!any) return false;
    table_cell(t, "%s", label);
    if (second) table_cell(t, "%s", second);
    for (int b = 0; b < budgets.n; b++) {
        struct pooled x = value_at(g, metric, row, setting, budgets.v[b]);
        const char *skipped = row && !x.value.n ? passkey_skipped(g, row, budgets.v[b]) : NULL;
        table_cell(t, "%s", skipped ? "skipped" : shown(&x, scale, digits));
    }
    return true;
}

/* A metric of all rows, with and without knock-out, by budget. */
static void metric_lines(struct table *t, const struct group *g, const char *second, const char *metric, double scale, int digits) {
    for (int i = 0; i < g->d->row_count; i++)
        for (int way = 0; way < 3; way++) {
            char label[100];
            snprintf(label, sizeof label, "%.63s%s%s", g->d->rows[i].name, way ? ", " : "", knock_out_words[way]);
            length_line(t, g, g->d->rows[i].name, knock_out_settings[way], label, second, metric, scale, digits);
        }
}

static void by_writes(struct table *t, const struct group *g) {
    struct values low = {.n = 0};
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (g->d->result_section[i] == g->section && r->writes >= 0 && strcmp(r->condition, g->condition) == 0)
            values_add(&low, r->writes);
    }
    heads[0] = "<row";
    for (int k = 0; k < low.n; k++) {
        snprintf(head_words[k], sizeof head_words[k], low.v[k] > 1 ? "%lld–%lld" : "%lld", (long long)low.v[k],
                 (long long)(2 * low.v[k] - 1));
        heads[1 + k] = head_words[k];
    }
    *t = (struct table){.heads = heads, .columns = 1 + low.n};
    for (int i = 0; i < g->d->row_count && low.n; i++) {
        struct pooled x[RETRIEVAL_LIMIT];
        bool any = false;
        for (int k = 0; k < low.n; k++) {
            char room[CONDITION_SIZE];
            struct probe p = group_probe(g, g->d->rows[i].name, 0, room);
            p.metric = "events_named";
            p.position = "writes";
            p.writes_low = p.writes_high = low.v[k];
            p.nested = true; /* the budgets of one narrative */
            x[k] = probe_value(&p);
            any = any || x[k].value.n;
        }
        if (!any) continue;
        table_cell(t, "%s", g->d->rows[i].name);
        for (int k = 0; k < low.n; k++) table_cell(t, "%s", shown(&x[k], 100, 1));
    }
}

static void details(struct table *t, const struct group *g) {
    static const struct {
        const char *metric, *words;
        double scale;
        int digits;
    } lines[] = {{"rouge1", "ROUGE-1", 1, 1},
                 {"rouge2", "ROUGE-2", 1, 1},
                 {"rougeL", "ROUGE-L", 1, 1},
                 {"events_invented", "events invented, a summary", 1, 2},
                 {"rumours_named", "of them rumours", 1, 2},
                 {"output_words", "words said", 1, 1},
                 {"stopped", "ended by itself (%)", 100, 0}};
    length_heads(t, g, "<", "overall");
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
        for (int i = 0; i < g->d->row_count; i++)
            length_line(t, g, g->d->rows[i].name, NULL, g->d->rows[i].name, lines[k].words, lines[k].metric, lines[k].scale,
                        lines[k].digits);
    length_line(t, g, NULL, NULL, "the reference", "words", "reference_words", 1, 1);
}

static void chronicle_group(struct page *doc, const struct group *g, const struct plots *plots, FILE *out) {
    struct table t;
    length_heads(&t, g, NULL, "overall");
    length_line(&t, g, NULL, NULL, "ceiling: all events within reach, and nothing else", NULL, "ceiling_overall", 1, 1);
    metric_lines(&t, g, NULL, "overall", 1, 1);
    length_line(&t, g, NULL, NULL, "floor: as many events, their words drawn", NULL, "floor_overall", 1, 1);
    if (!t.count) {
        table_free(&t);
        return;
    }
    document_text(doc, "Condition: %s.", show_condition(g));
    report_table(doc, &t, out, "ROUGE overall (F1 x 100) by tokens read");
    document_text(
        doc,
        "Overall: geometric mean of the means of ROUGE-1, -2 and -L against the summary of the whole narrative. Who reads the "
        "first tokens only can name the events in them: the ceiling. A row that goes on with drawn sentences of the right form "
        "can score above this line. The floor says how many events there are and nothing about them. Intervals, 95 %%: bootstrap "
        "over narratives; with several training seeds Student's t with the spread "
        "between them.");
    length_heads(&t, g, NULL, "events_named");
    metric_lines(&t, g, NULL, "events_named", 100, 1);
    length_line(&t, g, NULL, NULL, "events within reach, mean of all narratives", NULL, "events_within", 1, 2);
    report_table(doc, &t, out, "Events named exactly, of those within what was read (%)");
    length_heads(&t, g, NULL, "words_named");
    metric_lines(&t, g, NULL, "words_named", 100, 1);
    if (t.count) report_table(doc, &t, out, "Words right: who, where and what of the events within what was read (%; chance 6.25)");
    document_text(doc,
                  "n: narratives with an event within what was read, the same ones for each training seed. Intervals as above, cut "
                  "to 0 to 100 %%. Where no event or word is right, or every one, a bootstrap has no width: the interval is "
                  "Wilson's over the narratives, and where nearly none or nearly all are right it is at its end no narrower "
                  "than that.");
    questions(doc, g, true);
    by_writes(&t, g);
    if (t.count) {
        report_table(doc, &t, out, "Events named (%) by memory writes since the event was read, all lengths together");
        document_text(doc, "The lengths of one narrative are not independent: the error of several lengths is taken as the mean of "
                           "their errors, which is the most it can be.");
    }
    table_free(&t);
    details(&t, g);
    report_table(doc, &t, NULL, "In detail");
    report_figures(doc, g->d, g->section, g->index, plots);
}

void chronicle_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section);
    begin(doc, d, section, out);
    for (int k = 0; k < n; k++) chronicle_group(doc, &g[k], plots, out);
}
