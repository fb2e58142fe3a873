/* report_paper_summary.c - our summaries beside the paper's Table 4: ROUGE-1, -2, -L and overall, with the words said, which the
 * paper does not give. Sections of the paper's file are "summary:rouge1".
 *
 * Of ours stands the longest budget of each section of the task summarize, with the controls of the first row that has them: they
 * are as long as what that row said. */
#include "report_paper.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const metrics[] = {"rouge1", "rouge2", "rougeL", "overall"};

/* read: the condition that has the tokens read; controls have none of their own. */
static void our_line(struct table *t, const struct report_data *d, int section, const char *row, const char *condition,
                     const char *read, const char *label, int64_t budget) {
    struct probe p = {.d = d,
                      .section = section,
                      .row = row,
                      .condition = condition,
                      .position = "all",
                      .context = budget,
                      .writes_low = -1,
                      .writes_high = -1};
    p.metric = "overall";
    struct pooled overall = probe_value(&p);
    if (!overall.value.n) return;
    table_cell(t, "%s, %s", d->sections[section].name, label);
    for (int k = 0; k < 4; k++) {
        p.metric = metrics[k];
        table_cell(t, "%s", show_interval(probe_value(&p).value, 2, false));
    }
    p.metric = "output_words";
    table_cell(t, "%.1f", probe_value(&p).value.value);
    p.metric = "read_tokens";
    p.condition = read;
    double tokens = probe_value(&p).value.value;
    table_cell(t, "%s", isnan(tokens) ? "–" : show_integer(tokens));
    table_cell(t, "%s", show_length(budget));
    table_cell(t, "%lld", (long long)overall.samples);
}

static void paper_lines(struct table *t, const struct paper *p) {
    for (int i = 0; i < p->count; i++) {
        const char *name = p->line[i].field[PAPER_NAME];
        if (strcmp(p->line[i].field[PAPER_KIND], "row") != 0 || strcmp(p->line[i].field[PAPER_SECTION], "summary:rouge1") != 0)
            continue;
        table_cell(t, "paper: %s", name);
        for (int k = 0; k < 4; k++) {
            char section[40];
            snprintf(section, sizeof section, "summary:%s", metrics[k]);
            const struct paper_line *x = paper_find(p, name, section);
            table_cell(t, "%s", x ? x->field[PAPER_VALUE] : "–");
        }
        for (int k = 0; k < 4; k++) table_cell(t, "–");
    }
}

int paper_summary_table(struct table *t, const struct report_data *d, const struct paper *p) {
    static const char *const heads[] = {"<model",     "ROUGE-1",     "ROUGE-2", "ROUGE-L", "overall",
                                        "words said", "tokens read", "budget",  "n"};
    static struct group g[RETRIEVAL_LIMIT];
    *t = (struct table){.heads = heads, .columns = 9};
    paper_lines(t, p);
    int ours = 0;
    for (int s = 0; s < d->section_count; s++) {
        int groups = strcmp(d->sections[s].task, "summarize") == 0 ? groups_of(g, d, s) : 0;
        int64_t budget = 0;
        for (int k = 0; k < groups; k++) {
            struct values budgets = summary_budgets(&g[k]);
            if (budgets.n && budgets.v[budgets.n - 1] > budget) budget = budgets.v[budgets.n - 1];
        }
        const char *first = NULL, *read = NULL;
        for (int i = 0; i < d->row_count; i++) {
            int before = t->count;
            for (int k = 0; k < groups; k++) {
                int lines = t->count;
                our_line(t, d, s, d->rows[i].name, g[k].condition, g[k].condition, d->rows[i].name, budget);
                if (t->count > lines && !first) first = d->rows[i].name, read = g[k].condition;
            }
            ours += t->count - before;
        }
        for (int k = 0; k < 3 && first; k++) {
            char *label = xprintf("%s, as long as %s's", summary_controls[k][1], first);
            our_line(t, d, s, first, summary_controls[k][0], read, label, budget);
            free(label);
        }
    }
    if (!ours) table_free(t);
    return ours ? 0 : 1;
}
