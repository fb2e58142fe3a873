/* report_summary.c - the tables of the tasks summarize and chronicle: ROUGE with the length of what was said beside it, controls,
 * ROUGE and events named by input length with ceiling and floor, events by memory writes. The paper's numbers are in
 * report_paper_summary.c. */
#include "report_document.h"
#include "report_retrieval.h"
#include "said.h"

#include <math.h>
#include <string.h>

#define SAID_SHOWN 160 /* bytes */

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

static void rouge_table(struct table *t, const struct group *g) {
    static const char *const heads[] = {"<row",
                                        "budget",
                                        "tokens read",
                                        "n",
                                        "ROUGE-1",
                                        "ROUGE-2",
                                        "ROUGE-L",
                                        "ROUGE-Lsum",
                                        "overall",
                                        "words said",
                                        "words of the reference",
                                        "ended by itself"};
    static const char *const metrics[] = {"rouge1", "rouge2", "rougeL", "rougeLsum", "overall"};
    struct values budgets = summary_budgets(g);
    *t = (struct table){.heads = heads, .columns = 12};
    for (int b = 0; b < budgets.n; b++)
        for (int i = 0; i < g->d->row_count; i++)
            for (int w = 0; w < 6; w++) { /* as measured, without the memory in two ways, three controls */
                const char *row = g->d->rows[i].name, *setting = w < 3 ? knock_out_settings[w] : summary_controls[w - 3][0];
                struct pooled x[5], words = value_at(g, "output_words", row, setting, budgets.v[b]);
                for (int k = 0; k < 5; k++) x[k] = value_at(g, metrics[k], row, setting, budgets.v[b]);
                if (!x[0].value.n) continue;
                struct pooled reference = value_at(g, "reference_words", row, setting, budgets.v[b]);
                struct pooled stopped = value_at(g, "stopped", row, setting, budgets.v[b]);
                /* A control has what its row has read. */
                double read = value_at(g, "read_tokens", row, w < 3 ? setting : NULL, budgets.v[b]).value.value;
                table_cell(t, "%s%s%s", row, w ? w < 3 ? ", " : ": " : "", w < 3 ? knock_out_words[w] : summary_controls[w - 3][1]);
                table_cell(t, "%s", show_length(budgets.v[b]));
                table_cell(t, "%s", isnan(read) ? "–" : show_integer(read));
                table_cell(t, "%lld", (long long)x[0].samples);
                for (int k = 0; k < 5; k++) table_cell(t, "%s", shown(&x[k], 1, 2));
                table_cell(t, isnan(words.value.value) ? "–" : "%.1f", words.value.value);
                table_cell(t, isnan(reference.value.value) ? "–" : "%.1f", reference.value.value);
                table_cell(t, isnan(stopped.value.value) ? "–" : "%.0f %%", 100 * stopped.value.value);
            }
}

/* The beginning of what each row said of the first text that it read the most of: numbers alone do not show a model that repeats
 * itself. Results of before texts were kept have none. */
static void said_table(struct page *doc, const struct group *g) {
    static const char *const said_heads[] = {"<row", "<text", "budget", "<the model says"};
    struct table t = {.heads = said_heads, .columns = 4};
    for (int i = 0; i < g->d->row_count; i++) {
        const char *row = g->d->rows[i].name;
        const struct result_row *r = report_find(g->d, g->section, row, -1, "overall", g->condition, NULL);
        struct said s;
        if (!r || !said_first(&s, g->d->folder, r->cell, g->condition)) continue;
        size_t n = strlen(s.text) < SAID_SHOWN ? strlen(s.text) : SAID_SHOWN;
        while (n < strlen(s.text) && ((unsigned char)s.text[n] & 0xc0) == 0x80) n--; /* not within a character */
        for (char *p = s.text; *p; p++)
            if ((unsigned char)*p < ' ') *p = ' ';
        table_cell(&t, "%s", row);
        table_cell(&t, "%s", s.sample);
        table_cell(&t, "%s", show_length(s.context));
        table_cell(&t, "%.*s%s", (int)n, s.text, s.text[n] ? " …" : "");
        said_free(&s);
    }
    if (t.count)
        report_table(doc, &t, NULL, "What is said, its beginning (all of it: texts/CELL.jsonl.gz)");
    else
        table_free(&t);
}

static void questions(struct page *doc, const struct group *g, bool events) {
    struct table t;
    say_no_twin(doc, g->d);
    summary_answers(&t, g, events);
    bool lengths = t.count && !events;
    if (t.count)
        report_table(
            doc, &t, NULL,
            events ? "Questions and answers (difference of the share of events named in points, paired over narratives and "
                     "seeds; above 0 is better)"
                   : "Questions and answers (difference of ROUGE-1, paired over texts and seeds; above 0 is better), by budget");
    if (lengths)
        document_text(doc, "Where the mean numbers of words differ by more than a tenth there is no yes or no: ROUGE would answer "
                           "for the length. The controls are as long as what the row said.");
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
                          "Budget: the most tokens of a text that are read; tokens read: mean, since a shorter text is read whole. "
                          "Overall: geometric mean of the means of ROUGE-1, -2 and -L. ROUGE rises with the length of a text up to "
                          "that of its reference: scores of different lengths do not compare. The controls have, for each text, as "
                          "many words as the row said. Intervals, 95 %%: bootstrap over texts; with several training seeds "
                          "Student's t with the spread between them.");
            questions(doc, &g[k], false);
            said_table(doc, &g[k]);
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

struct measure {
    const char *metric, *words; /* words: in the second column; NULL: there is none */
    double scale;
    int digits;
    bool lengths; /* the words said stand beside it */
};

/* One line by budget; row NULL: of any. None where nothing was measured. */
static void length_line(struct table *t, const struct group *g, const char *row, const char *setting, const char *label,
                        const struct measure *m) {
    struct values budgets = summary_budgets(g);
    bool any = false;
    for (int b = 0; b < budgets.n; b++) any = any || value_at(g, m->metric, row, setting, budgets.v[b]).value.n;
    if (!any) return;
    table_cell(t, "%s", label);
    if (m->words) table_cell(t, "%s", m->words);
    for (int b = 0; b < budgets.n; b++) {
        struct pooled x = value_at(g, m->metric, row, setting, budgets.v[b]);
        double words = m->lengths && x.value.n ? value_at(g, "output_words", row, setting, budgets.v[b]).value.value : NAN;
        const char *skipped = row && !x.value.n ? passkey_skipped(g, row, budgets.v[b]) : NULL;
        if (isnan(words))
            table_cell(t, "%s", skipped ? "skipped" : shown(&x, m->scale, m->digits));
        else
            table_cell(t, "%s; %.1f", shown(&x, m->scale, m->digits), words);
    }
}

/* A measure of all rows, with and without knock-out, by budget. */
static void metric_lines(struct table *t, const struct group *g, const struct measure *m) {
    for (int i = 0; i < g->d->row_count; i++)
        for (int way = 0; way < 3; way++) {
            char label[100];
            snprintf(label, sizeof label, "%.63s%s%s", g->d->rows[i].name, way ? ", " : "", knock_out_words[way]);
            length_line(t, g, g->d->rows[i].name, knock_out_settings[way], label, m);
        }
}

/* What depends on the narratives alone. */
static void text_line(struct table *t, const struct group *g, const char *label, struct measure m) {
    length_line(t, g, NULL, NULL, label, &m);
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
    static const struct measure lines[] = {{"rouge1", "ROUGE-1", 1, 1, false},
                                           {"rouge2", "ROUGE-2", 1, 1, false},
                                           {"rougeL", "ROUGE-L", 1, 1, false},
                                           {"events_invented", "events invented, a summary", 1, 2, false},
                                           {"rumours_named", "of them rumours", 1, 2, false},
                                           {"output_words", "words said", 1, 1, false},
                                           {"stopped", "ended by itself (%)", 100, 0, false}};
    length_heads(t, g, "<", "overall");
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) metric_lines(t, g, &lines[k]);
}

static void chronicle_group(struct page *doc, const struct group *g, const struct plots *plots, FILE *out) {
    static const struct measure overall = {"overall", NULL, 1, 1, true}, events = {"events_named", NULL, 100, 1, false},
                                words = {"words_named", NULL, 100, 1, false};
    struct table t;
    length_heads(&t, g, NULL, "overall");
    text_line(&t, g, "lists only what was read: all events within reach, nothing else",
              (struct measure){"ceiling_overall", NULL, 1, 1, false});
    metric_lines(&t, g, &overall);
    text_line(&t, g, "floor: as many events, their words drawn", (struct measure){"floor_overall", NULL, 1, 1, false});
    text_line(&t, g, "words of the reference", (struct measure){"reference_words", NULL, 1, 1, false});
    if (!t.count) {
        table_free(&t);
        return;
    }
    document_text(doc, "Condition: %s.", show_condition(g));
    report_table(doc, &t, out, "ROUGE overall (F1 x 100) by tokens read; words said");
    document_text(
        doc,
        "After each score the words said, mean. Overall: geometric mean of the means of ROUGE-1, -2 and -L against the summary of "
        "the whole narrative. Who has read the first tokens only knows the events in them; the first line lists exactly these. It "
        "is no upper bound: ROUGE rewards the form, and a row that goes on with drawn sentences of the right form can score above "
        "it. The floor says how many events there are and nothing about them. Intervals, 95 %%: bootstrap over narratives; with "
        "several training seeds Student's t with the spread "
        "between them.");
    length_heads(&t, g, NULL, "events_named");
    metric_lines(&t, g, &events);
    text_line(&t, g, "events within reach, mean of all narratives", (struct measure){"events_within", NULL, 1, 2, false});
    report_table(doc, &t, out, "Events named exactly, of those within what was read (%)");
    length_heads(&t, g, NULL, "words_named");
    metric_lines(&t, g, &words);
    if (t.count) report_table(doc, &t, out, "Words right: who, where and what of the events within what was read (%; chance 6.25)");
    document_text(doc,
                  "n: narratives with an event within what was read, the same ones for each training seed. Intervals as above, cut "
                  "to 0 to 100 %%. Where no event or word is right, or every one, a bootstrap has no width: the interval is "
                  "Wilson's over the narratives. Other intervals that reach 0 or 100 %% go as far from there as that one.");
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
    said_table(doc, g);
    report_figures(doc, g->d, g->section, g->index, plots);
}

void chronicle_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section);
    begin(doc, d, section, out);
    for (int k = 0; k < n; k++) chronicle_group(doc, &g[k], plots, out);
}
