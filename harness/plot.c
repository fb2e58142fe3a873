/* plot.c - prepares the tables behind the pictures and calls gnuplot with the scripts of plots/.
 *
 * Training curves per stage; bits per byte by position; difference to the local-only twin by position; quality against the bytes of
 * carried state and against training FLOP; those of passkey and recall are in plot_retrieval.c, of memory in plot_memory.c, of
 * gates in plot_heads.c, of summaries in plot_summary.c. A row keeps its colour in every picture and experiment: the colour belongs
 * to the family of its name. No picture shows what is not in the CSV files. */
#include "plot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Okabe and Ito's palette and darker relatives; first match wins, so the special stands before the general. */
static const struct {
    const char *part, *color;
} families[] = {{"null", "#999999"},         {"gram", "#999999"},        {"local", "#4d4d4d"},     {"none", "#4d4d4d"},
                {"twin", "#4d4d4d"},         {"delta_rule", "#8c6d1f"},  {"delta-net", "#8c6d1f"}, {"deltanet", "#8c6d1f"},
                {"infini-delta", "#56b4e9"}, {"delta", "#56b4e9"},       {"infini", "#0072b2"},    {"xl", "#d55e00"},
                {"memoriz", "#009e73"},      {"compressive", "#882255"}, {"rmt", "#cc79a7"},       {"recurrent", "#cc79a7"},
                {"auto", "#7b5ea7"},         {"lstm", "#b58900"},        {"gru", "#b58900"},       {"rnn", "#b58900"},
                {"linear", "#6b8e23"},       {"transformer", "#e69f00"}, {"full", "#e69f00"},      {"window", "#e69f00"}};
static const char *const spare[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#6b8e23"};

static const char *name_color(const char *name) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strstr(name, families[i].part)) return families[i].color;
    return NULL;
}

static const char *row_color(const struct report_row *r) {
    const char *color = NULL;
    if (strcmp(r->architecture, "infini") == 0 && r->update[0]) /* whatever the row is called */
        color = name_color(strcmp(r->update, "linear") == 0 ? "infini" : r->update);
    if (!color) color = name_color(r->name);
    if (!color) color = name_color(r->architecture);
    return color ? color : spare[hash64(r->name, strlen(r->name), 0) % 8];
}

/* Where all rows are of one family its colour says nothing: they get one each. */
const char *plot_color(const struct report_data *d, int row) {
    const char *own = row_color(&d->rows[row]);
    int index = 0, rows = 0, same = 0;
    for (int i = 0; i < d->row_count; i++) {
        if (strcmp(d->rows[i].architecture, "null") == 0) continue;
        if (i < row) index++;
        rows++;
        same += strcmp(row_color(&d->rows[i]), own) == 0;
    }
    return rows > 1 && rows == same ? spare[index % 8] : own;
}

void look_add(struct look *l, const struct report_data *d, int row, const bool *shown) {
    const char *color = plot_color(d, row);
    int before = 0, mark = 0;
    for (int i = 0; i < row; i++) {
        before += shown[i] && strcmp(plot_color(d, i), color) == 0;
        mark += strcmp(d->rows[i].architecture, "null") != 0;
    }
    buffer_printf(&l->marks, "%s%d", l->count ? " " : "", mark);
    buffer_printf(&l->names, "%s%s", l->count ? " " : "", d->rows[row].name);
    buffer_printf(&l->colors, "%s%s", l->count ? " " : "", color);
    buffer_printf(&l->twins, "%s%d", l->count ? " " : "", before);
    l->count++;
}

void look_free(struct look *l) {
    buffer_free(&l->names);
    buffer_free(&l->colors);
    buffer_free(&l->twins);
    buffer_free(&l->marks);
}

/* plots/NAME.gp here, beside the program's tree, or where INFINIBENCH_PLOTS says; NULL: nowhere. */
static char *script_path(const char *name) {
    const char *named = getenv("INFINIBENCH_PLOTS");
    char exe[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0 && strrchr(exe, '/')) *strrchr(exe, '/') = 0;
    char *places[] = {named ? xprintf("%s/%s.gp", named, name) : NULL, xprintf("plots/%s.gp", name),
                      xprintf("%s/../../plots/%s.gp", exe, name), xprintf("%s/../../../plots/%s.gp", exe, name),
                      xprintf("%s/../share/infinibench/plots/%s.gp", exe, name)};
    char *found = NULL;
    for (int i = 0; i < 5; i++) {
        if (!found && places[i] && access(places[i], R_OK) == 0)
            found = places[i];
        else
            free(places[i]);
    }
    return found;
}

void plot_text(struct text_buffer *b, const char *name, const char *value) {
    buffer_printf(b, "%s='", name);
    for (; *value; value++) buffer_printf(b, *value == '\'' ? "''" : "%c", *value);
    buffer_printf(b, "';");
}

/* 0 drawn, 1 gnuplot is not there, -1 it failed. */
static int gnuplot(const char *script, const char *settings, struct error *e) {
    int tube[2], status = 0;
    char words[400] = "";
    if (pipe(tube) != 0) return fail(e, "cannot start gnuplot: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return fail(e, "cannot start gnuplot: %s", strerror(errno));
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(tube[1], 1);
        dup2(tube[1], 2);
        close(tube[0]);
        execlp("gnuplot", "gnuplot", "-e", settings, script, (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    close(tube[1]);
    size_t at = 0;
    char block[512];
    for (ssize_t n; (n = read(tube[0], block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            if (block[i] != '\n') { /* the last words say what is wrong */
                if (at + 1 == sizeof words) memmove(words, words + 1, --at);
                words[at++] = block[i];
            }
    close(tube[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return 1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail(e, "gnuplot %s: %.300s", script, words);
    return 0;
}

int plot_picture(struct plots *p, const struct report_data *d, int section, int group, const char *script, const char *name,
                 const struct text_buffer *table, const char *settings, const char *caption, struct error *e) {
    char *base = xprintf("%s/%s", d->folder, name), *tsv = xprintf("%s.tsv", base), *path = script_path(script);
    int result = write_file(tsv, table->data, table->n, e), status = 0;
    struct error problem = {""};
    if (result == 0 && !path)
        snprintf(p->notice, sizeof p->notice, "no pictures: plots/%s.gp is not found; set INFINIBENCH_PLOTS to its folder", script);
    for (int png = 0; png < 2 && result == 0 && path && status == 0 && !p->notice[0]; png++) {
        struct text_buffer b = {0};
        char *out = xprintf("%s.%s", base, png ? "png" : "svg");
        plot_text(&b, "data", tsv);
        plot_text(&b, "output_file", out);
        plot_text(&b, "kind", png ? "png" : "svg");
        buffer_printf(&b, "%s", settings);
        status = gnuplot(path, b.data, &problem);
        if (status != 0) unlink(out);
        buffer_free(&b);
        free(out);
    }
    if (status == 1)
        snprintf(p->notice, sizeof p->notice,
                 "no pictures: gnuplot is not installed (apt install gnuplot-nox), then run report again");
    if (status < 0) snprintf(p->notice, sizeof p->notice, "no pictures: %.230s", problem.text);
    if (result == 0 && !p->notice[0] && p->count < PLOT_LIMIT) {
        snprintf(p->figure[p->count].name, sizeof p->figure[0].name, "%s", name);
        p->figure[p->count].section = section;
        p->figure[p->count].group = group;
        p->figure[p->count++].caption = xstrdup(caption);
    }
    free(base);
    free(tsv);
    free(path);
    return result;
}

/* ---- rows far off ---- */
static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows so far above all others that a picture with them would show nothing else: further above the median than four times what the
 * best is below it, where there are five rows or more. bits: of each row, NAN: not in the picture. */
static void far_rows(bool *far, const double *bits, int rows) {
    double sorted[REPORT_ROWS];
    int n = 0;
    for (int i = 0; i < rows; i++)
        if (!isnan(bits[i])) sorted[n++] = bits[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    for (int i = 0; i < rows; i++) far[i] = n >= 5 && bits[i] > 5 * sorted[(n - 1) / 2] - 4 * sorted[0];
}

/* The sentence of a caption that names them; "" where there are none. */
static void say_far(struct text_buffer *b, const struct report_data *d, const bool *far, const double *bits) {
    int said = 0;
    for (int i = 0; i < d->row_count; i++)
        if (far[i]) buffer_printf(b, "%s%s (%.3f)", said++ ? ", " : " Not drawn, because far above: ", d->rows[i].name, bits[i]);
    if (said) buffer_printf(b, ".");
}

/* The rows of a language modelling section that are drawn, and their bits per byte of whole documents (NAN: none, or a null model).
 */
static void section_bits(double *bits, bool *far, const struct report_data *d, int section) {
    for (int i = 0; i < d->row_count; i++)
        bits[i] = strcmp(d->rows[i].architecture, "null") == 0 ? NAN : report_bits(d, section, d->rows[i].name, -1).value;
    far_rows(far, bits, d->row_count);
}

/* ---- training curves ---- */
struct point {
    int64_t step;
    double tokens, loss;
    int seeds;
};

/* The loss of a row in a stage, mean over its seeds at the steps that all of them have; in bits. */
static int loss_points(struct point *p, const struct report_data *d, const char *row, const char *stage) {
    int n = 0, most = 0, kept = 0;
    for (int64_t i = 0; i < d->curve_count; i++) {
        const struct curve_row *c = &d->curves[i];
        int j = 0;
        if (strcmp(c->metric, "loss") != 0 || strcmp(c->row, row) != 0 || strcmp(c->stage, stage) != 0) continue;
        while (j < n && p[j].step != c->step) j++;
        if (j == n) p[n++] = (struct point){.step = c->step};
        p[j].tokens += (double)c->tokens;
        p[j].loss += c->value / log(2);
        if (++p[j].seeds > most) most = p[j].seeds;
    }
    for (int j = 0; j < n; j++) {
        if (p[j].seeds != most) continue;
        p[kept] = p[j];
        p[kept].tokens /= most;
        p[kept++].loss /= most;
    }
    return kept;
}

/* Mean over a window of five logged points, smaller towards the ends. */
static double smooth(const struct point *p, int n, int i) {
    int reach = i < 2 ? i : 2;
    if (n - 1 - i < reach) reach = n - 1 - i;
    double sum = 0;
    for (int j = i - reach; j <= i + reach; j++) sum += p[j].loss;
    return sum / (2 * reach + 1);
}

static int training_plot(struct plots *p, const struct report_data *d, int section, bool only_stage, struct error *e) {
    const char *stage = d->sections[section].stage;
    struct text_buffer table = {0}, settings = {0};
    struct look look = {0};
    struct point *points = xcalloc((size_t)d->curve_count, sizeof *points);
    bool shown[REPORT_ROWS] = {false};
    double low = INFINITY, high = -INFINITY, most = 0;
    int hidden = -1;
    buffer_printf(&table, "# training loss of stage %s: row step tokens bits seeds\n", stage);
    for (int row = 0; row < d->row_count; row++) {
        if (strcmp(d->rows[row].architecture, "null") == 0 && d->row_count > 1) { /* would squeeze all others together */
            hidden = row;
            continue;
        }
        int n = loss_points(points, d, d->rows[row].name, stage);
        if (n < 2) continue;
        look_add(&look, d, row, shown);
        shown[row] = true;
        for (int i = 0; i < n; i++) {
            double y = smooth(points, n, i);
            buffer_printf(&table, "%s %lld %.9g %.6g %d\n", d->rows[row].name, (long long)points[i].step, points[i].tokens, y,
                          points[i].seeds);
            if (y < low) low = y;
            if (i * 5 >= n && y > high) high = y; /* the first fifth may leave the picture */
        }
        if (points[n - 1].tokens > most) most = points[n - 1].tokens;
        buffer_printf(&table, "\n\n");
    }
    int result = 0;
    if (look.count) {
        char *name = only_stage ? xstrdup("training") : xprintf("training-%s", stage);
        struct text_buffer caption = {0};
        buffer_printf(&caption,
                      "Training loss%s%s%s, mean over 1 %% of the steps, smoothed over five such points; the first fifth may lie "
                      "above the picture.",
                      only_stage ? "" : " of stage ", only_stage ? "" : stage, d->seed_count > 1 ? ", mean over the seeds" : "");
        if (hidden >= 0) buffer_printf(&caption, " The null model (%s) is not drawn.", d->rows[hidden].name);
        plot_text(&settings, "names", look.names.data);
        plot_text(&settings, "colors", look.colors.data);
        plot_text(&settings, "twins", look.twins.data);
        plot_text(&settings, "unit", d->tokenizer[0] && strcmp(d->tokenizer, "bytes") != 0 ? "bits per token" : "bits per byte");
        buffer_printf(&settings, "low=%.6g;high=%.6g;most=%.9g;", low, high, most);
        result = plot_picture(p, d, section, 0, "training", name, &table, settings.data, caption.data, e);
        buffer_free(&caption);
        free(name);
    }
    look_free(&look);
    buffer_free(&table);
    buffer_free(&settings);
    free(points);
    return result;
}

/* ---- by position ---- */
static int position_plot(struct plots *p, const struct report_data *d, int section, bool only_section, bool difference,
                         struct error *e) {
    struct text_buffer table = {0}, settings = {0};
    struct look look = {0};
    bool shown[REPORT_ROWS] = {false}, used[POSITIONS] = {false}, far[REPORT_ROWS];
    double bits[REPORT_ROWS];
    int64_t documents = 0;
    bool student = false, percentiles = false; /* how the intervals came about */
    const char *twin = d->twin >= 0 ? d->rows[d->twin].name : "";
    buffer_printf(&table, "# %s by segment of the document: row position index value low high documents\n",
                  difference ? "difference in bits per byte to the local-only twin" : "bits per byte");
    section_bits(bits, far, d, section);
    for (int row = 0; row < d->row_count; row++) {
        struct selection a = {.data = d,
                              .section = section,
                              .row = d->rows[row].name,
                              .condition = "",
                              .metric = "bits_per_byte",
                              .seed = -1},
                         b = a;
        bool any = false;
        if (strcmp(d->rows[row].architecture, "null") == 0 || far[row] || (difference && row == d->twin)) continue;
        b.row = twin;
        for (int i = 0; i < POSITIONS; i++) {
            a.positions = b.positions = 1u << i;
            struct interval v = difference ? report_difference(a, b) : report_ratio(a);
            if (v.n == 0 || isnan(v.value)) continue;
            if (!any) look_add(&look, d, row, shown);
            any = shown[row] = used[i] = true;
            if (v.n > documents) documents = v.n;
            student = student || v.df > 0;
            percentiles = percentiles || !(v.df > 0);
            buffer_printf(&table, "%s %s %d %.9g %.9g %.9g %lld\n", a.row, position_names[i], i, v.value,
                          isnan(v.low) ? v.value : v.low, isnan(v.high) ? v.value : v.high, (long long)v.n);
        }
        if (any) buffer_printf(&table, "\n\n");
    }
    int last = POSITIONS - 1, result = 0;
    while (last > 0 && !used[last]) last--;
    if (look.count) {
        const char *kind = difference ? "difference" : "positions";
        char *name = only_section ? xstrdup(kind) : xprintf("%s-%s", kind, d->sections[section].name);
        struct text_buffer caption = {0};
        const char *how = !student      ? "bootstrap"
                          : percentiles ? "Student's t where a row has several training seeds, else bootstrap,"
                                        : "Student's t, training seeds and documents crossed,";
        if (difference)
            buffer_printf(&caption,
                          "Bits per byte of each row minus the local-only twin (%s) on the same documents, by segment of the "
                          "document: below 0 is better than no memory. 95 %% intervals within pairs of documents: %s over up to "
                          "%lld documents.",
                          twin, how, (long long)documents);
        else
            buffer_printf(&caption,
                          "Bits per byte by segment of the document, with 95 %% intervals (%s over up to %lld documents). The "
                          "intervals hold the spread between documents, which all rows share; differences between rows are "
                          "paired and narrower.",
                          how, (long long)documents);
        say_far(&caption, d, far, bits);
        plot_text(&settings, "names", look.names.data);
        plot_text(&settings, "colors", look.colors.data);
        plot_text(&settings, "marks", look.marks.data);
        plot_text(&settings, "ylabel", difference ? "difference to local-only twin (bits per byte)" : "bits per byte");
        buffer_printf(&settings, "difference=%d;last=%d;", difference, last);
        result = plot_picture(p, d, section, 0, "positions", name, &table, settings.data, caption.data, e);
        buffer_free(&caption);
        free(name);
    }
    look_free(&look);
    buffer_free(&table);
    buffer_free(&settings);
    return result;
}

/* ---- quality against cost ---- */
static double cost_of(const struct report_data *d, int section, int row, const char *metric) {
    const char *stage = d->sections[section].stage;
    bool adds_up = strcmp(metric, "train_flops") == 0; /* over the stages that led here */
    return adds_up ? report_cost(d, stage, d->rows[row].name, metric) : report_stage(d, stage, d->rows[row].name, metric);
}

/* Bits per byte of whole documents over a training metric; bars: the paired difference to the twin (without one: no bars). */
static int quality_plot(struct plots *p, const struct report_data *d, int section, bool only_section, bool state, struct error *e) {
    struct text_buffer table = {0}, settings = {0};
    struct look look = {0};
    bool shown[REPORT_ROWS] = {false}, far[REPORT_ROWS];
    double all[REPORT_ROWS];
    const char *metric = state ? "state_bytes" : "train_flops", *kind = state ? "quality-state" : "quality-flops";
    double least = INFINITY, most = 0;
    int zeros = 0, result = 0;
    buffer_printf(&table, "# bits per byte of whole documents against %s: row %s bits low high\n", metric, metric);
    section_bits(all, far, d, section);
    for (int row = 0; row < d->row_count; row++) {
        double x = cost_of(d, section, row, metric);
        if (x > 0 && !far[row]) least = fmin(least, x), most = fmax(most, x);
    }
    for (int row = 0; row < d->row_count; row++) {
        struct selection a = {.data = d,
                              .section = section,
                              .row = d->rows[row].name,
                              .condition = "",
                              .metric = "bits_per_byte",
                              .seed = -1},
                         b = a;
        double x = cost_of(d, section, row, metric);
        double bits = all[row], low = bits, high = bits;
        if (isnan(x) || isnan(bits) || far[row] || (x <= 0 && !state)) continue;
        if (d->twin >= 0 && row != d->twin) {
            b.row = d->rows[d->twin].name;
            struct interval v = report_difference(a, b);
            if (!isnan(v.low)) low = bits - v.value + v.low, high = bits - v.value + v.high;
        }
        look_add(&look, d, row, shown);
        shown[row] = true;
        zeros += x <= 0;
        buffer_printf(&table, "%s %.9g %.9g %.9g %.9g\n\n\n", d->rows[row].name, x, bits, low, high);
    }
    if (look.count > 1 && most > 0) {
        char *name = only_section ? xstrdup(kind) : xprintf("%s-%s", kind, d->sections[section].name);
        struct text_buffer caption = {0};
        buffer_printf(&caption, "Bits per byte of whole documents against %s.%s%s",
                      state ? "the bytes of state that a document carries after 32,768 tokens"
                            : "the FLOP of a training run (by formula, products only; all rows read the same tokens)",
                      d->twin >= 0 ? " Bars: 95 % interval of the paired difference to the local-only twin, drawn around the "
                                     "row's value; the spread between documents, which all rows share, is not in them."
                                   : "",
                      zeros ? " Rows that carry nothing stand at the left edge." : "");
        say_far(&caption, d, far, all);
        plot_text(&settings, "names", look.names.data);
        plot_text(&settings, "colors", look.colors.data);
        plot_text(&settings, "marks", look.marks.data);
        buffer_printf(&settings, "state=%d;zeros=%d;least=%.9g;most=%.9g;", state, zeros, least, most);
        result = plot_picture(p, d, section, 0, "quality", name, &table, settings.data, caption.data, e);
        buffer_free(&caption);
        free(name);
    }
    look_free(&look);
    buffer_free(&table);
    buffer_free(&settings);
    return result;
}

/* Is something measured after a stage? Of a curriculum, the stages on the way get no picture. */
static bool stage_measured(const struct report_data *d, const char *stage) {
    for (int i = 0; i < d->section_count; i++)
        if (strcmp(d->sections[i].task, "training") != 0 && strcmp(d->sections[i].stage, stage) == 0) return true;
    return false;
}

int plots_draw(struct plots *p, const struct report_data *d, struct error *e) {
    int stages = 0, sections = 0, result = 0;
    memset(p, 0, sizeof *p);
    for (int i = 0; i < d->section_count; i++) {
        stages += strcmp(d->sections[i].task, "training") == 0;
        sections += strcmp(d->sections[i].task, "language_modeling") == 0;
    }
    for (int i = 0; i < d->section_count && result == 0; i++) {
        if (strcmp(d->sections[i].task, "training") == 0 && stage_measured(d, d->sections[i].stage))
            result = training_plot(p, d, i, stages == 1, e);
        if (result == 0) result = retrieval_plots(p, d, i, e);
        if (result == 0) result = memory_plots(p, d, i, e);
        if (result == 0) result = heads_plots(p, d, i, e);
        if (result == 0) result = summary_plots(p, d, i, e);
        if (result != 0 || strcmp(d->sections[i].task, "language_modeling") != 0) continue;
        result = position_plot(p, d, i, sections == 1, false, e);
        if (result == 0 && d->twin >= 0) result = position_plot(p, d, i, sections == 1, true, e);
        if (result == 0) result = quality_plot(p, d, i, sections == 1, true, e);
        if (result == 0) result = quality_plot(p, d, i, sections == 1, false, e);
    }
    if (result == 0) result = gates_plot(p, d, e);
    return result;
}

void plots_free(struct plots *p) {
    for (int i = 0; i < p->count; i++) free(p->figure[i].caption);
    memset(p, 0, sizeof *p);
}
