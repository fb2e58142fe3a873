/* plot_memory.c - the pictures of the task memory: state and compression against context length, for the models themselves and for
 * named shapes; resident memory of the process beside the formula.
 *
 * Rows whose values are equal everywhere share a line; rows that keep nothing are not drawn. The lines of
 * accelerators stand where the state of some row comes within a tenth of them: at shapes of models that need one. */
#include "plot_private.h"
#include "report_memory.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double accelerator[] = {80e9, 141e9}; /* bytes; of common accelerators */

struct series {
    int row;
    struct text_buffer name; /* all rows that share it, ", " between them */
    double line[MEMORY_LIMIT], point[MEMORY_LIMIT];
};
struct picture {
    const struct report_data *d;
    int section, contexts, count;
    const char *shape; /* "": the models themselves */
    int64_t context[MEMORY_LIMIT];
    struct series series[REPORT_ROWS];
    double low, high;
};

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }
/* Closer than a line is thick, over decades. */
static bool touch(double a, double b) { return same(a, b) || (a < 1.06 * b && b < 1.06 * a); }

/* line: the metric of the lines, point: of the points (NULL: none). */
static void collect(struct picture *x, const char *line, const char *point) {
    x->low = INFINITY, x->high = 0;
    for (int row = 0; row < x->d->row_count; row++) {
        struct series *s = &x->series[x->count];
        bool any = false;
        *s = (struct series){.row = row};
        for (int k = 0; k < x->contexts; k++) {
            s->line[k] = memory_value(x->d, x->section, row, x->shape, line, x->context[k]);
            s->point[k] = point ? memory_value(x->d, x->section, row, x->shape, point, x->context[k]) : NAN;
            if (!(s->line[k] > 0)) s->line[k] = NAN;
            if (!(s->point[k] > 0)) s->point[k] = NAN;
            any = any || !isnan(s->line[k]) || !isnan(s->point[k]);
            x->low = fmin(x->low, fmin(s->line[k], s->point[k]));
            x->high = fmax(x->high, fmax(s->line[k], s->point[k]));
        }
        if (!any) continue;
        int like = 0;
        for (; like < x->count; like++) {
            bool equal = true;
            for (int k = 0; k < x->contexts; k++)
                equal = equal && same(s->line[k], x->series[like].line[k]) && same(s->point[k], x->series[like].point[k]);
            if (equal) break;
        }
        buffer_printf(&x->series[like].name, "%s%s", like < x->count ? ", " : "", x->d->rows[row].name);
        x->count += like == x->count;
    }
}

/* Dashes of a series: earlier ones of its colour, or 1 where it would cover an earlier line. */
static int dashes(const struct picture *x, int i) {
    int twins = 0;
    bool covers = false;
    for (int j = 0; j < i; j++) {
        bool over = true;
        for (int k = 0; k < x->contexts; k++) over = over && touch(x->series[i].line[k], x->series[j].line[k]);
        twins += strcmp(plot_color(x->d, x->series[i].row), plot_color(x->d, x->series[j].row)) == 0;
        covers = covers || over;
    }
    return twins ? twins : covers;
}

static void settle(struct picture *x, struct text_buffer *table, struct text_buffer *settings) {
    struct look look = {0};
    struct text_buffer names = {0}, lines = {0}, ticks = {0}, dash = {0};
    bool shown[REPORT_ROWS] = {false};
    for (int i = 0; i < x->count; i++) {
        struct series *s = &x->series[i];
        look_add(&look, x->d, s->row, shown);
        shown[s->row] = true;
        buffer_printf(&dash, "%s%d", i ? " " : "", dashes(x, i));
        for (const char *name = s->name.data; *name;) { /* an entry of the key each */
            int n = (int)strcspn(name, ",");
            buffer_printf(&names, "%s\"%.*s\"", names.n ? " " : "", n, name);
            buffer_printf(&lines, "%s%d", lines.n ? " " : "", i + 1);
            name += n + (name[n] ? 2 : 0);
        }
        for (int k = 0; k < x->contexts; k++)
            buffer_printf(table, "\"%s\" %lld %.9g %.9g\n", s->name.data, (long long)x->context[k], s->line[k], s->point[k]);
        buffer_printf(table, "\n\n");
    }
    for (int k = 0; k < x->contexts; k++) { /* of many every second has its name, the last among them */
        bool named = x->contexts <= 6 || (x->contexts - 1 - k) % 2 == 0;
        buffer_printf(&ticks, "%s\"%s\" %lld", ticks.n ? ", " : "", named ? show_length(x->context[k]) : "",
                      (long long)x->context[k]);
    }
    plot_text(settings, "names", names.data);
    plot_text(settings, "lines", lines.data);
    plot_text(settings, "colors", look.colors.data);
    plot_text(settings, "dashes", dash.data);
    plot_text(settings, "marks", look.marks.data);
    plot_text(settings, "ticks", ticks.data);
    buffer_printf(settings, "least=%lld;most=%lld;low=%.9g;high=%.9g;", (long long)x->context[0],
                  (long long)x->context[x->contexts - 1], x->low, x->high);
    look_free(&look);
    buffer_free(&names);
    buffer_free(&lines);
    buffer_free(&dash);
    buffer_free(&ticks);
}

/* KIND, the section where there are several, the shape. */
static char *picture_name(const struct picture *x, const char *kind) {
    int sections = 0;
    for (int i = 0; i < x->d->section_count; i++) sections += strcmp(x->d->sections[i].task, "memory") == 0;
    return xprintf("%s%s%s%s%s", kind, sections > 1 ? "-" : "", sections > 1 ? x->d->sections[x->section].name : "",
                   *x->shape ? "-" : "", x->shape);
}

static int draw(struct plots *p, struct picture *x, const char *kind, struct text_buffer *table, struct text_buffer *settings,
                const char *caption, struct error *e) {
    char *name = picture_name(x, kind);
    int result = plot_picture(p, x->d, x->section, 0, "memory", name, table, settings->data, caption, e);
    free(name);
    buffer_free(table);
    buffer_free(settings);
    for (int i = 0; i < x->count; i++) buffer_free(&x->series[i].name);
    x->count = 0;
    return result;
}

static const char *of_shape(const struct picture *x, char room[120]) {
    snprintf(room, 120, *x->shape ? "at the shape of %s" : "of the models measured here%s", x->shape);
    return room;
}

/* ---- state ---- */

/* Where does the first rising line cross the level: in the left half of the picture? */
static bool crossed_early(const struct picture *x, double level) {
    double middle = sqrt((double)x->context[0] * (double)x->context[x->contexts - 1]);
    for (int i = 0; i < x->count; i++)
        for (int k = 0; k + 1 < x->contexts && (double)x->context[k] < middle; k++)
            if (x->series[i].line[k] <= level && x->series[i].line[k + 1] > level) return true;
    return false;
}

static void add_level(struct text_buffer *values, struct text_buffer *words, double bytes, const char *text) {
    buffer_printf(values, "%s%.0f", values->n ? " " : "", bytes);
    buffer_printf(words, "%s\"%s\"", words->n ? " " : "", text);
}

static int state_plot(struct plots *p, struct picture *x, struct error *e) {
    struct text_buffer table = {0}, settings = {0}, levels = {0}, words = {0}, caption = {0};
    char room[120];
    double parameters = memory_largest(x->d, x->section, x->shape, "parameter_bytes", 0);
    collect(x, "formula_bytes", *x->shape ? NULL : "carried_bytes");
    if (!x->count) return 0;
    buffer_printf(&table, "# bytes of state by the formula and carried: row context formula carried\n");
    double most = x->high;
    if (!isnan(parameters)) {
        add_level(&levels, &words, parameters, "parameters of the model");
        x->high = fmax(x->high, parameters);
        x->low = fmin(x->low, parameters);
    }
    for (size_t i = 0; i < sizeof accelerator / sizeof *accelerator; i++) {
        char text[40];
        if (most < accelerator[i] / 10) continue;
        snprintf(text, sizeof text, "accelerator of %.0f GB", accelerator[i] / 1e9);
        add_level(&levels, &words, accelerator[i], text);
        x->high = fmax(x->high, accelerator[i]);
    }
    settle(x, &table, &settings);
    plot_text(&settings, "levels", levels.data ? levels.data : "");
    plot_text(&settings, "level_names", words.data ? words.data : "");
    plot_text(&settings, "what", "state");
    buffer_printf(&settings, "early=%d;points=%d;", crossed_early(x, parameters), !*x->shape);
    buffer_printf(
        &caption,
        "Memory of one text by the formula of the paper's Table 1 (lines) against its length, %s%s.%s Rows that keep nothing are "
        "not drawn.",
        of_shape(x, room), *x->shape ? "" : ", and what was carried when it was streamed (points)",
        *x->shape
            ? ""
            : " Transformer-XL carries layer inputs, half of keys and values; the plain transformer's cache ends at its window, "
              "Memorizing Transformers' bank at its size.");
    int result = draw(p, x, "memory-state", &table, &settings, caption.data, e);
    buffer_free(&levels);
    buffer_free(&words);
    buffer_free(&caption);
    return result;
}

/* ---- compression ---- */

static double ratio(const struct paper_memory *paper, int i) { return strtod(paper->field[i][P_RATIO], NULL); }

/* Is another of its points so close above that their words would touch? */
static bool under_another(const struct paper_memory *paper, int i) {
    for (int j = 0; j < paper->count; j++)
        if (paper->context[j] == paper->context[i] && ratio(paper, j) > ratio(paper, i) && ratio(paper, j) < 3 * ratio(paper, i))
            return true;
    return false;
}

/* The paper's own ratios at this shape, of rows that are drawn; a block of their own. Returns how many. */
static int paper_points(const struct picture *x, struct text_buffer *table) {
    struct paper_memory paper = {.count = 0};
    struct error ignored;
    int n = 0;
    if (paper_memory_read(&paper, &ignored) != 0) return 0;
    for (int i = 0; i < paper.count; i++) {
        if (strcmp(paper.field[i][P_PRESET], x->shape) != 0 || !paper.context[i]) continue;
        for (int k = 0; k < x->count; k++) {
            struct model_config c;
            if (!memory_config(x->d, x->series[k].row, &c) || strcmp(c.arch->footprint(&c)->model, paper.field[i][P_MODEL]) != 0)
                continue;
            buffer_printf(table, "%d %lld %.9g %s %d\n", k + 1, (long long)paper.context[i], ratio(&paper, i),
                          paper.field[i][P_RATIO], under_another(&paper, i));
            n++;
            break;
        }
    }
    paper_memory_free(&paper);
    return n;
}

static int compression_plot(struct plots *p, struct picture *x, struct error *e) {
    struct text_buffer table = {0}, settings = {0}, caption = {0};
    char room[120];
    collect(x, "ratio_to_memorizing", NULL);
    if (!x->count) return 0;
    buffer_printf(&table, "# elements of Memorizing Transformers over those of the row, by formula: row context ratio\n");
    settle(x, &table, &settings);
    int papers = *x->shape ? paper_points(x, &table) : 0;
    buffer_printf(&settings, "papers=%d;", papers);
    plot_text(&settings, "what", "ratio");
    buffer_printf(
        &caption,
        "How many times less memory than Memorizing Transformers (a bank of the whole text and a cache of one segment in every "
        "layer), by formula, against the length of the text, %s.%s",
        of_shape(x, room), papers ? " Circles: the paper's own ratios, from its rounded millions, at 65,000 tokens." : "");
    int result = draw(p, x, "memory-compression", &table, &settings, caption.data, e);
    buffer_free(&caption);
    return result;
}

/* ---- the process ---- */

static int resident_plot(struct plots *p, struct picture *x, struct error *e) {
    struct text_buffer table = {0}, settings = {0};
    collect(x, "formula_bytes", "resident_bytes");
    bool any = false;
    for (int i = 0; i < x->count; i++)
        for (int k = 0; k < x->contexts; k++) any = any || !isnan(x->series[i].point[k]);
    if (!any) {
        for (int i = 0; i < x->count; i++) buffer_free(&x->series[i].name);
        x->count = 0;
        return 0;
    }
    buffer_printf(&table, "# bytes by the formula and resident in the process: row context formula resident\n");
    settle(x, &table, &settings);
    plot_text(&settings, "what", "resident");
    return draw(
        p, x, "memory-resident", &table, &settings,
        "Resident memory of the whole process while one text is streamed (points), beside the formula of its memory (dashed): "
        "program, "
        "parameters and the buffers of a call are in it, so it lies above. It rises while a cache or bank fills, and not with the "
        "text.",
        e);
}

int memory_plots(struct plots *p, const struct report_data *d, int section, struct error *e) {
    if (strcmp(d->sections[section].task, "memory") != 0) return 0;
    struct picture *x = xcalloc(1, sizeof *x);
    const char *shape[MEMORY_LIMIT + 1] = {""};
    int n = 1 + memory_shapes(shape + 1, d, section), result = 0;
    *x = (struct picture){.d = d, .section = section};
    x->contexts = memory_contexts(x->context, d, section);
    for (int i = 0; i < n && result == 0 && x->contexts > 1; i++) {
        x->shape = shape[i];
        result = state_plot(p, x, e);
        if (result == 0) result = compression_plot(p, x, e);
        if (result == 0 && i == 0) result = resident_plot(p, x, e);
    }
    free(x);
    return result;
}
