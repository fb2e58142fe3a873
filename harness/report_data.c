/* report_data.c - loads a results folder for reports, finds values, pairs documents.
 *
 * Cells that experiment.ini does not list (an older configuration of the same rows) are left out; without experiment.ini a later
 * cell replaces an earlier one that measured the same thing. Rows of foreign models are in no list; they stand in the section whose
 * rows scored the same text. It prints nothing. */
#include "report_data.h"
#include "score.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_SEED 20240410 /* of every bootstrap in reports */
const char *const position_names[POSITIONS + 1] = {"1", "2-4", "5-16", "17-64", "65+", NULL};

struct cell_info {
    char cell[20], section[40];
};
struct manifest {
    struct cell_info *cells;
    size_t count;
};

static int by_cell(const void *a, const void *b) {
    return strcmp(((const struct cell_info *)a)->cell, ((const struct cell_info *)b)->cell);
}

static const struct cell_info *listed(const struct manifest *m, const char *cell) {
    struct cell_info key = {"", ""};
    snprintf(key.cell, sizeof key.cell, "%s", cell);
    return m->count ? bsearch(&key, m->cells, m->count, sizeof key, by_cell) : NULL;
}

int report_row_index(const struct report_data *d, const char *name) {
    for (int i = 0; i < d->row_count; i++)
        if (strcmp(d->rows[i].name, name) == 0) return i;
    return -1;
}

static struct report_row *row_of(struct report_data *d, const char *name) {
    int i = report_row_index(d, name);
    if (i >= 0) return &d->rows[i];
    if (d->row_count == REPORT_ROWS) {
        d->full = "rows";
        return NULL;
    }
    snprintf(d->rows[d->row_count].name, sizeof d->rows[0].name, "%.63s", name);
    return &d->rows[d->row_count++];
}

static int section_of(struct report_data *d, const char *name, const char *task, const char *stage, int64_t version) {
    for (int i = 0; i < d->section_count; i++)
        if (strcmp(d->sections[i].name, name) == 0 && strcmp(d->sections[i].task, task) == 0 &&
            strcmp(d->sections[i].stage, stage) == 0)
            return i;
    if (d->section_count == REPORT_SECTIONS) {
        d->full = "stages and tasks";
        return REPORT_SECTIONS - 1;
    }
    struct report_section *s = &d->sections[d->section_count];
    snprintf(s->name, sizeof s->name, "%.39s", name);
    snprintf(s->task, sizeof s->task, "%.39s", task);
    snprintf(s->stage, sizeof s->stage, "%.39s", stage);
    s->version = version;
    return d->section_count++;
}

/* "key = value" with prose that goes on in indented lines. */
static void keep_prose(char **to, const char *value) {
    char *joined = *to ? xprintf("%s %s", *to, value) : xstrdup(value);
    free(*to);
    *to = joined;
}

/* Title, paper, order and architecture of the rows, and the list of cells, from experiment.ini. */
static void read_ini(struct report_data *d, struct manifest *m) {
    char *path = xprintf("%s/experiment.ini", d->folder), kind[64] = "", **prose = NULL;
    size_t size;
    char *text = access(path, R_OK) == 0 ? read_file(path, &size, NULL) : NULL;
    struct report_row *row = NULL;
    free(path);
    for (char *line = text, *next; line && *line; line = next) {
        char key[64], value[640], a[64], b[64], c[64], f[64];
        long long seed;
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] == '\n');
        line[n] = 0;
        if (sscanf(line, "; cell %63s %lld %63s %63s %63s", a, &seed, b, c, f) == 5) {
            m->cells = xrealloc(m->cells, m->count + 1, sizeof *m->cells);
            snprintf(m->cells[m->count].cell, 20, "%.19s", f);
            snprintf(m->cells[m->count++].section, 40, "%.39s", c);
        } else if (sscanf(line, "[%63[^]\n]]", kind) == 1) {
            row = strncmp(kind, "row ", 4) == 0 ? row_of(d, kind + 4) : NULL;
            prose = NULL;
        } else if (prose && isspace((unsigned char)*line)) {
            keep_prose(prose, line + strspn(line, " \t"));
        } else if (sscanf(line, "%63[^ =] = %639[^\n]", key, value) == 2) {
            prose = strcmp(kind, "experiment") != 0 ? NULL
                    : strcmp(key, "title") == 0     ? &d->title
                    : strcmp(key, "paper") == 0     ? &d->paper
                                                    : NULL;
            if (prose) keep_prose(prose, value);
            if (prose != &d->title && prose != &d->paper) {
                d->settings = xrealloc(d->settings, (size_t)d->setting_count + 1, sizeof *d->settings);
                struct report_setting *x = &d->settings[d->setting_count++];
                snprintf(x->section, sizeof x->section, "%s", kind);
                snprintf(x->key, sizeof x->key, "%s", key);
                x->value = xstrdup(value);
            }
            if (strcmp(kind, "experiment") == 0 && strcmp(key, "table") == 0) snprintf(d->table, sizeof d->table, "%.39s", value);
            if (strcmp(kind, "budget") == 0 && strcmp(key, "tokenizer") == 0)
                snprintf(d->tokenizer, sizeof d->tokenizer, "%.31s", value);
            if (row && strcmp(key, "architecture") == 0) snprintf(row->architecture, sizeof row->architecture, "%.39s", value);
            if (row && strcmp(key, "update") == 0) snprintf(row->update, sizeof row->update, "%.23s", value);
        }
    }
    free(text);
    if (m->count) qsort(m->cells, m->count, sizeof *m->cells, by_cell);
}

static bool same_measure(const struct result_row *a, const struct result_row *b) {
    return a->seed == b->seed && a->context == b->context && a->writes == b->writes && strcmp(a->row, b->row) == 0 &&
           strcmp(a->metric, b->metric) == 0 && strcmp(a->stage, b->stage) == 0 && strcmp(a->task, b->task) == 0 &&
           strcmp(a->condition, b->condition) == 0 && strcmp(a->position, b->position) == 0 && strcmp(a->split, b->split) == 0;
}

/* Without a list of cells the later one of two that measured the same, in whatever part, is the current one. */
static void list_latest(const struct report_data *d, struct manifest *m) {
    m->cells = xcalloc((size_t)d->result_count + 1, sizeof *m->cells);
    for (int64_t i = 0, end; i < d->result_count; i = end) {
        const struct result_row *r = &d->results[i];
        bool later = strcmp(r->architecture, FOREIGN) == 0; /* list_foreign */
        for (end = i; end < d->result_count && strcmp(d->results[end].cell, r->cell) == 0;) end++;
        for (int64_t k = i; k < end; k++)
            for (int64_t j = end; j < d->result_count && !later; j++) later = same_measure(&d->results[k], &d->results[j]);
        if (later) continue;
        snprintf(m->cells[m->count].cell, 20, "%s", r->cell);
        snprintf(m->cells[m->count++].section, 40, "%.39s", r->task);
    }
    qsort(m->cells, m->count, sizeof *m->cells, by_cell);
}

/* An experiment lists its own cells; foreign ones are current until they are replaced. */
static void list_foreign(const struct report_data *d, struct manifest *m) {
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *r = &d->results[i];
        if (strcmp(r->architecture, FOREIGN) != 0 || (i && strcmp(d->results[i - 1].cell, r->cell) == 0) ||
            score_replaced(d->results, d->result_count, i))
            continue;
        m->cells = xrealloc(m->cells, m->count + 1, sizeof *m->cells);
        snprintf(m->cells[m->count].cell, 20, "%s", r->cell);
        snprintf(m->cells[m->count++].section, 40, "%.39s", r->task);
    }
    if (m->count) qsort(m->cells, m->count, sizeof *m->cells, by_cell);
}

/* Lines of samples.csv that belong to a cell: a commit writes them together. */
static int64_t samples_of(const struct report_data *d, const char *cell, int64_t *end) {
    int64_t i = 0;
    while (i < d->sample_count && strcmp(d->samples[i].cell, cell) != 0) i++;
    for (*end = i; *end < d->sample_count && strcmp(d->samples[*end].cell, cell) == 0;) ++*end;
    return i;
}

/* Did two cells score the same text by the same positions? Each sample of `cell` has its like, of equal weight, in `other`, and
 * none is left over. */
static bool same_text(const struct report_data *d, const char *cell, const char *other) {
    int64_t end, other_end, first = samples_of(d, cell, &end), other_first = samples_of(d, other, &other_end), balance = 0;
    if (first == end) return false;
    for (int64_t i = first; i < end; i++) {
        const struct sample_row *x = &d->samples[i], *y = NULL;
        for (int64_t j = other_first; j < other_end && !y; j++)
            if (strcmp(d->samples[j].sample, x->sample) == 0 && strcmp(d->samples[j].position, x->position) == 0 &&
                strcmp(d->samples[j].metric, x->metric) == 0 && strcmp(d->samples[j].split, x->split) == 0 &&
                strcmp(d->samples[j].condition, x->condition) == 0)
                y = &d->samples[j];
        if (!y || y->weight != x->weight) return false;
        balance += strcmp(x->metric, d->samples[first].metric) == 0;
    }
    for (int64_t j = other_first; j < other_end; j++)
        balance -= strcmp(d->samples[j].metric, d->samples[first].metric) == 0 &&
                   strcmp(d->samples[j].condition, d->samples[first].condition) == 0;
    return balance == 0;
}

/* The section of a foreign cell: that of the first cell that scored the same text, else one of its own. */
static int foreign_section(struct report_data *d, const struct result_row *r) {
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *x = &d->results[i];
        if (d->result_section[i] < 0 || strcmp(x->task, r->task) != 0 || x->task_version != r->task_version ||
            (i && strcmp(d->results[i - 1].cell, x->cell) == 0))
            continue;
        if (same_text(d, r->cell, x->cell)) return d->result_section[i];
    }
    char name[40];
    snprintf(name, sizeof name, "%s", r->task);
    for (int n = 1;; n++) {
        bool taken = false;
        for (int i = 0; i < d->section_count; i++) taken = taken || strcmp(d->sections[i].name, name) == 0;
        if (!taken) break;
        if (n == 1)
            snprintf(name, sizeof name, "%.20s-%.18s", r->task, r->split);
        else
            snprintf(name, sizeof name, "%.20s-%.7s-%d", r->task, r->split, n);
    }
    return section_of(d, name, r->task, r->stage, r->task_version);
}

static bool local_only(const struct report_row *r) {
    if (strcmp(r->architecture, "infini") != 0) return false;
    if (r->update[0]) return strcmp(r->update, "none") == 0;
    return strstr(r->name, "local") || strstr(r->name, "none"); /* a folder without experiment.ini: by name */
}

/* Of several none is the twin: the first one of a search over learning rates may be badly tuned, and all would be set against
 * it. */
static void find_twin(struct report_data *d) {
    d->twin = -1;
    for (int i = 0; i < d->row_count; i++)
        if (local_only(&d->rows[i])) d->twin = i, d->twins++;
    if (d->twins > 1) d->twin = -1;
}

static void count_seeds(struct report_data *d) {
    for (int s = 0; s < d->section_count; s++)
        for (int k = 0; k < d->seed_count; k++) {
            bool has = false;
            for (int64_t i = 0; i < d->result_count && !has; i++)
                has = d->result_section[i] == s && d->results[i].seed == d->seeds[k];
            d->sections[s].seed_count += has;
        }
}

/* A cell is written whole, a condition after the other: there are some dozens of lines a row that need looking at, not a million.
 */
static void find_blocks(struct report_data *d) {
    d->blocks = xcalloc((size_t)d->sample_count + 1, sizeof *d->blocks);
    for (int64_t i = 0; i < d->sample_count; i++) {
        const struct sample_row *x = &d->samples[i], *before = x - 1;
        if (i == 0 || d->sample_section[i] != d->sample_section[i - 1] || strcmp(x->condition, before->condition) != 0 ||
            strcmp(x->row, before->row) != 0)
            d->blocks[d->block_count++] = i;
    }
    d->blocks[d->block_count] = d->sample_count;
}

struct report_data *report_load(const char *folder, struct error *e) {
    struct report_data *d = xcalloc(1, sizeof *d);
    struct manifest m = {0};
    d->folder = xstrdup(folder);
    while (strlen(d->folder) > 1 && d->folder[strlen(d->folder) - 1] == '/') d->folder[strlen(d->folder) - 1] = 0;
    d->results = results_read(d->folder, &d->result_count, e);
    if (d->results) d->samples = samples_read(d->folder, &d->sample_count, e);
    if (d->samples) d->curves = curves_read(d->folder, &d->curve_count, e);
    if (!d->curves) {
        report_data_free(d);
        return NULL;
    }
    read_ini(d, &m);
    if (m.count == 0) list_latest(d, &m);
    list_foreign(d, &m);
    d->result_section = xcalloc((size_t)d->result_count, sizeof *d->result_section);
    d->sample_section = xcalloc((size_t)d->sample_count, sizeof *d->sample_section);
    int64_t kept = 0;
    for (int64_t i = 0; i < d->result_count; i++) {
        struct result_row r = d->results[i];
        const struct cell_info *c = listed(&m, r.cell);
        struct report_row *row = c ? row_of(d, r.row) : NULL;
        if (!row) continue;
        if (!row->architecture[0]) snprintf(row->architecture, sizeof row->architecture, "%s", r.architecture);
        if (!d->name[0]) snprintf(d->name, sizeof d->name, "%s", r.experiment);
        int k = 0;
        while (k < d->seed_count && d->seeds[k] != r.seed) k++;
        if (k == d->seed_count && k < REPORT_SEEDS) d->seeds[d->seed_count++] = r.seed;
        d->result_section[kept] =
            strcmp(r.architecture, FOREIGN) == 0 ? -1 : section_of(d, c->section, r.task, r.stage, r.task_version);
        d->results[kept++] = r;
    }
    d->result_count = kept;
    for (int64_t i = 0; i < kept; i++)
        if (d->result_section[i] < 0)
            d->result_section[i] = i && strcmp(d->results[i - 1].cell, d->results[i].cell) == 0
                                       ? d->result_section[i - 1]
                                       : foreign_section(d, &d->results[i]);
    count_seeds(d);
    kept = 0;
    for (int64_t i = 0; i < d->sample_count; i++) {
        const struct cell_info *c = listed(&m, d->samples[i].cell);
        if (!c) continue;
        int section = -1;
        for (int64_t j = 0; j < d->result_count && section < 0; j++) /* its cell's line in results.csv knows the stage */
            if (i && kept && strcmp(d->samples[kept - 1].cell, d->samples[i].cell) == 0)
                section = d->sample_section[kept - 1];
            else if (strcmp(d->results[j].cell, c->cell) == 0)
                section = d->result_section[j];
        if (section < 0) continue;
        d->samples[kept] = d->samples[i];
        d->sample_section[kept++] = section;
    }
    d->sample_count = kept;
    find_blocks(d);
    kept = 0;
    for (int64_t i = 0; i < d->curve_count; i++)
        if (listed(&m, d->curves[i].cell)) d->curves[kept++] = d->curves[i];
    d->curve_count = kept;
    free(m.cells);
    find_twin(d);
    for (int i = d->row_count - 1; i >= 0; i--) { /* rows that have not run yet */
        bool there = false;
        for (int64_t j = 0; j < d->result_count && !there; j++) there = strcmp(d->results[j].row, d->rows[i].name) == 0;
        if (there) continue;
        memmove(&d->rows[i], &d->rows[i + 1], (size_t)(d->row_count - 1 - i) * sizeof *d->rows);
        d->row_count--;
        if (d->twin == i)
            d->twin = -1;
        else if (d->twin > i)
            d->twin--;
    }
    if (d->full) {
        fail(e, "%s: more %s than a report holds (%d); divide the experiment", d->folder, d->full,
             strcmp(d->full, "rows") == 0 ? REPORT_ROWS : REPORT_SECTIONS);
        report_data_free(d);
        return NULL;
    }
    if (d->result_count == 0) {
        fail(e, "%s: results.csv holds no measurement of this experiment yet; infinibench run makes them", d->folder);
        report_data_free(d);
        return NULL;
    }
    return d;
}

void report_data_free(struct report_data *d) {
    if (!d) return;
    for (int i = 0; i < d->setting_count; i++) free(d->settings[i].value);
    free(d->settings);
    free(d->folder);
    free(d->title);
    free(d->paper);
    free(d->results);
    free(d->samples);
    free(d->curves);
    free(d->result_section);
    free(d->sample_section);
    free(d->blocks);
    free(d);
}

/* ---- values ---- */
const char *report_setting(const struct report_data *d, const char *section, const char *key) {
    for (int i = 0; i < d->setting_count; i++)
        if (strcmp(d->settings[i].key, key) == 0 && strcmp(d->settings[i].section, section) == 0) return d->settings[i].value;
    return NULL;
}

double report_rate(const struct report_data *d, const char *row, const char *stage) {
    char section[80];
    snprintf(section, sizeof section, "row %.63s", row);
    const char *value = report_setting(d, section, "lr");
    snprintf(section, sizeof section, "stage %.39s", stage);
    if (!value) value = report_setting(d, section, "lr");
    return value ? atof(value) : NAN;
}

const struct result_row *report_find(const struct report_data *d, int section, const char *row, int64_t seed, const char *metric,
                                     const char *condition, const char *position) {
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *r = &d->results[i];
        if (d->result_section[i] == section && (seed < 0 || r->seed == seed) && strcmp(r->metric, metric) == 0 &&
            strcmp(r->row, row) == 0 && strcmp(r->condition, condition) == 0 &&
            strcmp(r->position, position ? position : "all") == 0)
            return r;
    }
    return NULL;
}

double report_mean(const struct report_data *d, int section, const char *row, const char *metric, const char *condition,
                   const char *position) {
    double sum = 0;
    int n = 0;
    for (int i = 0; i < d->seed_count; i++) {
        const struct result_row *r = report_find(d, section, row, d->seeds[i], metric, condition, position);
        if (r) sum += r->value, n++;
    }
    return n ? sum / n : NAN;
}

double report_stage(const struct report_data *d, const char *stage, const char *row, const char *metric) {
    for (int s = 0; s < d->section_count; s++)
        if (strcmp(d->sections[s].task, "training") == 0 && strcmp(d->sections[s].stage, stage) == 0)
            return report_mean(d, s, row, metric, "", NULL);
    return NAN;
}

double report_training(const struct report_data *d, const char *row, const char *metric) {
    double value = NAN;
    for (int s = 0; s < d->section_count; s++) { /* later stages come later in the file */
        if (strcmp(d->sections[s].task, "training") != 0) continue;
        double v = report_stage(d, d->sections[s].stage, row, metric);
        if (!isnan(v)) value = v;
    }
    return value;
}

/* ---- documents ---- */
struct unit {
    const char *sample;
    int64_t seed;
    double value, weight;
};
struct units {
    struct unit *u;
    int64_t n;
};

static int by_unit(const void *a, const void *b) {
    const struct unit *x = a, *y = b;
    int c = strcmp(x->sample, y->sample);
    return c ? c : (x->seed > y->seed) - (x->seed < y->seed);
}

static bool position_wanted(const struct selection *s, const char *position) {
    if (s->position) return strcmp(position, s->position) == 0;
    if (s->positions == 0) return strcmp(position, "all") == 0;
    for (int i = 0; i < POSITIONS; i++)
        if ((s->positions >> i & 1) && strcmp(position, position_names[i]) == 0) return true;
    return false;
}

/* (document, seed) sums of a selection, sorted; positions are added up. */
static struct units gather(const struct selection *s) {
    const struct report_data *d = s->data;
    struct units g = {0};
    int64_t capacity = 0;
    for (int64_t b = 0; b < d->block_count; b++) {
        const struct sample_row *x = &d->samples[d->blocks[b]], *end = &d->samples[d->blocks[b + 1]];
        if (d->sample_section[d->blocks[b]] != s->section || strcmp(x->row, s->row) != 0 || strcmp(x->condition, s->condition) != 0)
            continue;
        for (; x < end; x++) {
            if (strcmp(x->metric, s->metric) != 0 || !position_wanted(s, x->position) || (s->seed >= 0 && x->seed != s->seed) ||
                (s->sample && strncmp(x->sample, s->sample, strlen(s->sample)) != 0))
                continue;
            if (g.n == capacity) {
                capacity = 2 * capacity + 64;
                g.u = xrealloc(g.u, (size_t)capacity, sizeof *g.u);
            }
            g.u[g.n++] = (struct unit){.sample = x->sample, .seed = x->seed, .value = x->value, .weight = x->weight};
        }
    }
    if (g.n) qsort(g.u, (size_t)g.n, sizeof *g.u, by_unit);
    int64_t n = 0;
    for (int64_t i = 0; i < g.n; i++) {
        if (n && by_unit(&g.u[n - 1], &g.u[i]) == 0)
            g.u[n - 1].value += g.u[i].value, g.u[n - 1].weight += g.u[i].weight;
        else
            g.u[n++] = g.u[i];
    }
    g.n = n;
    return g;
}

/* Values and weights of the units as [seed][document]. Documents that not every seed has are left out. */
struct grid {
    double *value, *weight;
    int64_t seeds, n;
};

static int64_t collect_seeds(const struct unit *u, int64_t n, int64_t seeds[REPORT_SEEDS]) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;
        while (k < count && seeds[k] != u[i].seed) k++;
        if (k == count && count < REPORT_SEEDS) seeds[count++] = u[i].seed;
    }
    return count;
}

static struct grid grid_of(const struct unit *u, int64_t n) {
    int64_t seeds[REPORT_SEEDS];
    struct grid g = {.seeds = collect_seeds(u, n, seeds)};
    if (!g.seeds) return g;
    int64_t most = n / g.seeds;
    g.value = xcalloc((size_t)(g.seeds * most), sizeof *g.value);
    g.weight = xcalloc((size_t)(g.seeds * most), sizeof *g.weight);
    for (int pass = 0; pass < 2; pass++) { /* how many documents, then their values */
        int64_t documents = 0;
        for (int64_t i = 0, end; i < n; i = end) {
            for (end = i + 1; end < n && strcmp(u[end].sample, u[i].sample) == 0;) end++;
            if (end - i != g.seeds) continue;
            for (int64_t k = 0; pass && k < g.seeds; k++) { /* sorted by seed within a document */
                g.value[k * g.n + documents] = u[i + k].value;
                g.weight[k * g.n + documents] = u[i + k].weight;
            }
            documents++;
        }
        g.n = documents;
    }
    return g;
}

static void grid_free(struct grid *g) {
    free(g->value);
    free(g->weight);
}

struct interval report_ratio(struct selection a) {
    struct units u = gather(&a);
    struct grid g = grid_of(u.u, u.n);
    struct interval i = interval_crossed(g.value, g.weight, NULL, NULL, g.seeds, g.n, REPORT_SEED);
    grid_free(&g);
    free(u.u);
    return i;
}

/* The units that both have, in equal order; returns how many. */
static int64_t pair_up(struct units *x, struct units *y) {
    int64_t n = 0;
    for (int64_t i = 0, j = 0; i < x->n && j < y->n;) {
        int c = by_unit(&x->u[i], &y->u[j]);
        if (c < 0)
            i++;
        else if (c > 0)
            j++;
        else {
            x->u[n] = x->u[i++]; /* n <= i, n <= j: nothing unread is overwritten */
            y->u[n++] = y->u[j++];
        }
    }
    return n;
}

static bool right_or_wrong(const struct unit *u) { return u->weight == 1 && (u->value == 0 || u->value == 1); }
static bool part_of_weight(const struct unit *u) { return u->value >= 0 && u->value <= u->weight; }

static struct interval difference(struct selection a, struct selection b, bool shares) {
    struct units x = gather(&a), y = gather(&b);
    int64_t n = pair_up(&x, &y), seeds[REPORT_SEEDS], only_a = 0, only_b = 0;
    struct grid g = grid_of(x.u, n), h = grid_of(y.u, n);
    bool single = shares;
    for (int64_t i = 0; i < n && shares; i++) {
        single = single && right_or_wrong(&x.u[i]) && right_or_wrong(&y.u[i]);
        shares = part_of_weight(&x.u[i]) && part_of_weight(&y.u[i]);
        only_a += x.u[i].value > y.u[i].value;
        only_b += x.u[i].value < y.u[i].value;
    }
    struct interval i;
    if (single && shares && collect_seeds(x.u, n, seeds) <= 1) {
        i = paired_shares(only_a, only_b, n);
        i.seeds = n > 0;
    } else {
        i = interval_crossed(g.value, g.weight, h.value, h.weight, g.seeds, g.n, REPORT_SEED);
        double all = round(i.value);
        if (shares && i.standard_error == 0 && i.value == all && fabs(all) <= 1) { /* all seeds and samples agree: no spread */
            struct interval one = paired_shares(all > 0 ? g.n : 0, all < 0 ? g.n : 0, g.n);
            one.seeds = i.seeds;
            i = one;
        }
        /* Student's t knows no end. */
        if (shares && i.low < -1) i.low = -1;
        if (shares && i.high > 1) i.high = 1;
    }
    grid_free(&g);
    grid_free(&h);
    free(x.u);
    free(y.u);
    return i;
}

struct interval report_difference(struct selection a, struct selection b) {
    return difference(a, b, false);
}
struct interval report_difference_shares(struct selection a, struct selection b) {
    return difference(a, b, true);
}

/* From samples, else as the task wrote it (one seed), else the mean without an interval. */
struct interval report_bits(const struct report_data *d, int section, const char *row, int position) {
    struct interval i = report_ratio((struct selection){.data = d,
                                                        .section = section,
                                                        .row = row,
                                                        .condition = "",
                                                        .metric = "bits_per_byte",
                                                        .positions = position < 0 ? 0 : 1u << position,
                                                        .seed = -1});
    if (i.n > 0) return i;
    const char *name = position < 0 ? NULL : position_names[position];
    const struct result_row *r = report_find(d, section, row, -1, "bits_per_byte", "", name);
    if (r && d->sections[section].seed_count == 1)
        return (struct interval){.value = r->value, .standard_error = r->standard_error, .low = r->low, .high = r->high, .n = r->n};
    return (struct interval){.value = report_mean(d, section, row, "bits_per_byte", "", name),
                             .standard_error = NAN,
                             .low = NAN,
                             .high = NAN,
                             .n = r ? r->n : 0};
}
