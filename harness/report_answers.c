/* report_answers.c - what an experiment with Infini-attention and its local-only twin answers, each answer with its figure.
 *
 * Differences are paired over documents or samples and training seeds. Beside each stands the smallest difference that the
 * experiment could have found; "no" is said only where the interval lies on the other side. */
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* a - b; `less`: the question is answered yes where the difference is below 0, else where it is above. */
static void answer(struct table *t, const char *question, struct selection a, struct selection b, bool less) {
    const struct report_data *d = a.data;
    struct interval v = report_difference(a, b);
    if (v.n == 0 || isnan(v.low)) return;
    struct text_buffer seeds = {0};
    for (int i = 0; i < d->seed_count; i++) {
        struct selection x = a, y = b;
        x.seed = y.seed = d->seeds[i];
        struct interval one = report_difference(x, y);
        if (one.n) buffer_printf(&seeds, "%s%+.4f", seeds.n ? ", " : "", unsigned_zero(one.value, 4));
    }
    bool yes = less ? v.high < 0 : v.low > 0, no = less ? v.low > 0 : v.high < 0;
    table_cell(t, "%s", question);
    table_cell(t, "%s", show_interval(v, 4, true));
    table_cell(t, "%s", seeds.data ? seeds.data : "–");
    table_cell(t, "%lld", (long long)v.n);
    table_cell(t, "%.4f", minimum_detectable(&v));
    table_cell(t, "%s", yes ? "yes" : no ? "no, the opposite" : "not shown");
    buffer_free(&seeds);
}

static void ask(struct table *t, const struct report_data *d, int s, const char *row, const char *other, unsigned positions,
                const char *where) {
    char *question = xprintf("Is %s better than %s%s?", row, other, where);
    answer(t, question, select_row(d, s, row, "", positions), select_row(d, s, other, "", positions), true);
    free(question);
}

void answer_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<question", "difference in bits per byte [95 %]", "<by seed", "documents", "detectable",
                                        "<answer"};
    *t = (struct table){.heads = heads, .columns = 6};
    if (d->twin < 0) return;
    const char *twin = d->rows[d->twin].name, *linear = NULL, *delta = NULL;
    for (int i = 0; i < d->row_count; i++) {
        const struct report_row *r = &d->rows[i];
        if (!row_has_memory(r)) continue;
        if (strcmp(r->update, "linear") == 0 && !linear) linear = r->name;
        if (strcmp(r->update, "delta") == 0 && !delta) delta = r->name;
        ask(t, d, section, r->name, twin, FAR_POSITIONS, ", its local-only twin, from segment 5 on");
    }
    for (int i = 0; i < d->row_count; i++) {
        const struct report_row *r = &d->rows[i];
        static const struct {
            const char *condition, *words;
        } ways[] = {{"knockout=off", "its gates are forced to 0"}, {"knockout=zero", "its memory reads 0"}};
        for (int k = 0; k < 2 && row_has_memory(r); k++) {
            char *question = xprintf("Does %s lose from segment 5 on when %s?", r->name, ways[k].words);
            answer(t, question, select_row(d, section, r->name, ways[k].condition, FAR_POSITIONS),
                   select_row(d, section, r->name, "", FAR_POSITIONS), false);
            free(question);
        }
    }
    if (linear && delta) ask(t, d, section, delta, linear, FAR_POSITIONS, " (linear update) from segment 5 on");
    for (int i = 0; i < d->row_count; i++)
        for (int j = 0; j < d->row_count && row_has_memory(&d->rows[i]); j++)
            if (strcmp(d->rows[j].architecture, "infini") != 0 && strcmp(d->rows[j].architecture, "null") != 0)
                ask(t, d, section, d->rows[i].name, d->rows[j].name, 0, " over whole documents");
}

void say_no_twin(struct page *doc, const struct report_data *d) {
    if (d->twins > 1)
        document_text(doc, "Several local-only rows: no twin, and no questions are answered from a search over learning rates.");
}

/* ---- passkey, recall, summaries ---- */
struct question {
    const char *a, *b;   /* is a better than b? */
    int way;             /* knock-out of b */
    const char *control; /* condition of b, as it stands; NULL: by way */
    char words[200];
};

/* The linear row that a delta row is set against: infini_linear_64 for infini_delta_64, else the only one that there is. */
static const char *linear_of(const struct report_data *d, const char *delta) {
    const char *only = NULL, *part = strstr(delta, "delta");
    char *named = part ? xprintf("%.*slinear%s", (int)(part - delta), delta, part + 5) : NULL;
    int count = 0, own = named ? report_row_index(d, named) : -1;
    free(named);
    if (own >= 0) return d->rows[own].name;
    for (int i = 0; i < d->row_count; i++) {
        if (!row_has_memory(&d->rows[i]) || strcmp(d->rows[i].update, "linear") != 0) continue;
        only = d->rows[i].name;
        count++;
    }
    return count == 1 ? only : NULL;
}

/* What a summary must beat to have said anything; of as many words for each text. */
static int control_questions(struct question q[3], const char *row) {
    for (int k = 0; k < 3; k++) {
        q[k] = (struct question){.a = row, .b = row, .control = summary_controls[k][0]};
        snprintf(q[k].words, sizeof q->words, "Does %s say more than %s, as many", row, summary_controls[k][1]);
    }
    return 3;
}

static int retrieval_questions(struct question **out, const struct report_data *d, bool controls) {
    struct question *q = xcalloc((size_t)(d->row_count * (d->row_count + 7) + 1), sizeof *q);
    const char *twin = d->twin >= 0 ? d->rows[d->twin].name : NULL;
    int n = 0;
    *out = q;
    if (d->twins > 1) return 0; /* say_no_twin */
    for (int i = 0; i < d->row_count; i++) {
        const struct report_row *r = &d->rows[i];
        if (controls) n += control_questions(q + n, r->name);
        if (!row_has_memory(r)) continue;
        if (twin) {
            q[n] = (struct question){.a = r->name, .b = twin};
            snprintf(q[n++].words, sizeof q->words, "Is %s better than %s, its local-only twin", r->name, twin);
        }
        for (int way = 1; way < 3; way++) {
            q[n] = (struct question){.a = r->name, .b = r->name, .way = way};
            snprintf(q[n++].words, sizeof q->words, "Does %s lose when %s", r->name,
                     way == 1 ? "its gates are forced to 0" : "its memory reads 0");
        }
        const char *linear = strcmp(r->update, "delta") == 0 ? linear_of(d, r->name) : NULL;
        if (linear) {
            q[n] = (struct question){.a = r->name, .b = linear};
            snprintf(q[n++].words, sizeof q->words, "Is %s better than %s (linear update)", r->name, linear);
        }
        for (int j = 0; j < d->row_count; j++) {
            if (strcmp(d->rows[j].architecture, "infini") == 0 || strcmp(d->rows[j].architecture, "null") == 0) continue;
            q[n] = (struct question){.a = r->name, .b = d->rows[j].name};
            snprintf(q[n++].words, sizeof q->words, "Is %s better than %s", r->name, d->rows[j].name);
        }
    }
    return n;
}

#define SAME_LENGTH 0.1 /* ROUGE rises with length: means further apart than this part of the longer one do not compare */

/* "yes: +99.0 [+96.4, +100.0], n 100"; scale: 100 for shares in points. words: said by both, NULL: their number does not matter. */
static void answer_cell(struct table *t, struct interval v, double scale, const double *words) {
    if (v.n == 0 || isnan(v.low)) {
        table_cell(t, "–");
        return;
    }
    v.value *= scale, v.low *= scale, v.high *= scale, v.standard_error *= scale;
    bool yes = v.low > 0, no = v.high < 0;
    const char *shown = show_interval(v, 1, true);
    char lengths[80] = "";
    bool known = words && isfinite(words[0]) && isfinite(words[1]);
    bool apart = known && fabs(words[0] - words[1]) > SAME_LENGTH * fmax(words[0], words[1]);
    if (known) snprintf(lengths, sizeof lengths, "; %.1f against %.1f words", words[0], words[1]);
    if (apart)
        table_cell(t, "lengths differ, not comparable: %s, n %lld%s", shown, (long long)v.n, lengths);
    else if (yes || no)
        table_cell(t, "%s: %s, n %lld%s", yes ? "yes" : "no, the opposite", shown, (long long)v.n, lengths);
    else
        table_cell(t, "not shown: %s, n %lld, detectable %.1f%s", shown, (long long)v.n, minimum_detectable(&v), lengths);
}

/* What is asked about: a metric at a place, by length; place NULL: by number of pairs. */
struct subject {
    const char *metric, *place;
    bool named; /* the place stands in the question */
    double scale;
    bool lengths; /* the words said stand in the answer: it means little where they differ */
};

static double words_said(const struct selection *s, int64_t budget) {
    struct probe p = {.d = s->data,
                      .section = s->section,
                      .row = s->row,
                      .condition = s->condition,
                      .metric = "output_words",
                      .position = "all",
                      .context = budget,
                      .writes_low = -1,
                      .writes_high = -1};
    return probe_value(&p).value.value;
}

static void retrieval_line(struct table *t, const struct group *g, const struct question *q, const struct values *columns,
                           struct subject about) {
    struct interval v[RETRIEVAL_LIMIT];
    double words[RETRIEVAL_LIMIT][2];
    bool any = false;
    for (int k = 0; k < columns->n; k++) {
        char room[2][CONDITION_SIZE], full[2][CONDITION_SIZE], setting[40], prefix[40];
        snprintf(prefix, sizeof prefix, "L%lld-", (long long)columns->v[k]);
        snprintf(setting, sizeof setting, "pairs=%lld", (long long)columns->v[k]);
        for (int side = 0; side < 2; side++) {
            group_probe(g, "", side ? q->way : 0, room[side]);
            condition_with(full[side], room[side], about.place ? NULL : setting);
        }
        if (q->control) snprintf(full[1], sizeof full[1], "%s", q->control); /* does not depend on how a summary is decoded */
        struct selection a = {.data = g->d,
                              .section = g->section,
                              .row = q->a,
                              .condition = full[0],
                              .metric = about.metric,
                              .seed = -1,
                              .position = about.place ? about.place : "all",
                              .sample = about.place ? prefix : NULL},
                         b = a;
        b.row = q->b;
        b.condition = full[1];
        v[k] = about.lengths ? report_difference(a, b) : report_difference_shares(a, b); /* ROUGE is no share */
        any = any || v[k].n;
        words[k][0] = words_said(&a, columns->v[k]), words[k][1] = words_said(&b, columns->v[k]);
    }
    if (!any) return;
    if (about.named)
        table_cell(t, "%s: %s?", q->words, about.place);
    else
        table_cell(t, "%s?", q->words);
    for (int k = 0; k < columns->n; k++) answer_cell(t, v[k], about.scale, about.lengths ? words[k] : NULL);
}

static void retrieval_answers(struct table *t, const struct group *g, const struct values *columns, const struct subject *about,
                              int subjects) {
    static const char *heads[RETRIEVAL_LIMIT + 1];
    static char words[RETRIEVAL_LIMIT][40];
    struct question *q;
    int n = retrieval_questions(&q, g->d, about->lengths);
    heads[0] = "<question";
    for (int k = 0; k < columns->n; k++) {
        if (about->place)
            snprintf(words[k], sizeof words[k], "%.38s", show_length(columns->v[k]));
        else
            snprintf(words[k], sizeof words[k], "%lld pair%s", (long long)columns->v[k], columns->v[k] == 1 ? "" : "s");
        heads[k + 1] = words[k];
    }
    *t = (struct table){.heads = heads, .columns = columns->n + 1};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < subjects; k++) retrieval_line(t, g, &q[i], columns, about[k]);
    free(q);
}

void passkey_answers(struct table *t, const struct group *g) {
    struct values lengths = passkey_lengths(g);
    const struct subject about[] = {{"exact_match", "start", true, 100, false},
                                    {"exact_match", "middle", true, 100, false}}; /* the end needs no memory */
    retrieval_answers(t, g, &lengths, about, 2);
}

void recall_answers(struct table *t, const struct group *g) {
    struct values pairs = recall_pairs(g);
    const struct subject about = {.metric = "exact_match", .scale = 100};
    retrieval_answers(t, g, &pairs, &about, 1);
}

void summary_answers(struct table *t, const struct group *g, bool events) {
    struct values budgets = summary_budgets(g);
    const struct subject about = {events ? "events_named" : "rouge1", "all", false, events ? 100 : 1, !events};
    retrieval_answers(t, g, &budgets, &about, 1);
}
