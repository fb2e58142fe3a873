/* cli_memory.c - `infinibench memory`: Table 1 of the Infini-attention paper for any shape and context, without a model.
 *
 * Everything is a formula (footprint.h); nothing is built or measured, which is what the task memory is for. The paper's own
 * numbers stand beside ours where the shape is theirs; they come from results/paper/memory.csv. */
#include "cli.h"
#include "csv_io.h"
#include "footprint.h"
#include "report_document.h"
#include "report_memory.h"
#include "shapes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CSV_HEADER                                                                                                                 \
    "preset,model,formula,context,elements,bytes_per_element,batch,bytes,ratio_to_memorizing,context_length_formula,"              \
    "context_length,update,retrieval,paper_size,paper_ratio\n"
#define CONTEXTS 32
#define DETAILED 2 /* so many contexts get a table each, more of them a column each */

struct inquiry {
    struct shape shape;
    bool changed; /* the shape is not the preset's */
    int64_t batch, contexts[CONTEXTS];
    int context_count;
    struct model_config rows[FOOTPRINT_ROWS];
    int row_count;
    struct paper_memory paper;
};

/* ---- the paper ---- */

/* The paper's row of a model; NULL: it has none. */
static char *const *paper_row(const struct inquiry *q, const char *model) {
    for (int i = 0; i < q->paper.count; i++)
        if (strcmp(q->paper.field[i][P_MODEL], model) == 0) return q->paper.field[i];
    return NULL;
}

/* Its numbers, where shape and context are the paper's. */
static char *const *paper_numbers(const struct inquiry *q, const char *model, int64_t context) {
    for (int i = 0; i < q->paper.count && !q->changed && q->batch == 1; i++)
        if (strcmp(q->paper.field[i][P_MODEL], model) == 0 && strcmp(q->paper.field[i][P_PRESET], q->shape.name) == 0 &&
            q->paper.context[i] == context)
            return q->paper.field[i];
    return NULL;
}

/* ---- arguments ---- */

/* heads x head_dim = d_model unless both are given; as many heads to one of keys and values as in the preset. */
static int read_shape(struct inquiry *q, const struct arguments *a, struct error *e) {
    struct model_config *c = &q->shape.config;
    static const char *const names[] = {"layers", "d-model", "heads", "kv-heads", "head-dim", "segment", "bytes"};
    int64_t *const to[] = {&c->layers, &c->d, &c->heads, &c->kv_heads, &c->e, &c->segment, &q->shape.bytes};
    bool given[7];
    int64_t shared = c->heads / c->kv_heads; /* query heads to a head of keys and values */
    for (int i = 0; i < 7; i++) {
        given[i] = flag_value(a, names[i]) != NULL;
        if (flag_int(a, names[i], *to[i], 1, to[i], e) != 0) return -1;
        q->changed = q->changed || given[i];
    }
    bool width = given[1], heads = given[2], size = given[4];
    if (heads && !size) {
        if (c->d % c->heads)
            return fail(e, "--heads: d_model = %lld is not divisible by heads = %lld; give --head-dim as well", (long long)c->d,
                        (long long)c->heads);
        c->e = c->d / c->heads;
    } else if ((width || size) && !heads) {
        if (c->d % c->e)
            return fail(e, "d_model = %lld is not divisible by head_dim = %lld; give --heads as well", (long long)c->d,
                        (long long)c->e);
        c->heads = c->d / c->e;
    }
    if ((width || heads || size) && !given[3]) {
        if (c->heads % shared)
            return fail(
                e, "heads = %lld is not divisible by the %lld that share a head of keys and values in preset %s; give --kv-heads",
                (long long)c->heads, (long long)shared, q->shape.name);
        c->kv_heads = c->heads / shared;
    }
    return shape_check(c, "memory", e);
}

/* Does an option move any row? What moves none was not meant for this command. */
static bool same_rows(const struct inquiry *q, const struct model_config *a, const struct model_config *b) {
    for (int i = 0; i < q->row_count; i++) {
        const struct footprint *x = a[i].arch->footprint(&a[i]), *y = b[i].arch->footprint(&b[i]);
        for (int k = 0; k < q->context_count; k++)
            if (x != y || x->elements(&a[i], q->contexts[k]) != y->elements(&b[i], q->contexts[k]) ||
                x->tokens(&a[i], q->contexts[k]) != y->tokens(&b[i], q->contexts[k]))
                return false;
    }
    return true;
}

static const char *const own[] = {"preset",   "context", "layers", "d_model", "heads", "kv_heads",
                                  "head_dim", "segment", "bytes",  "batch",   "csv"};
enum { OWN = sizeof own / sizeof *own };

/* Some architecture has this option. */
static int check_option(const struct inquiry *q, const char *key, struct error *e) {
    const char *names[FOOTPRINT_ROWS * OPTION_LIMIT + 16];
    int n = 0;
    for (int i = 0; i < OWN; i++) names[n++] = own[i];
    for (int i = 0; i < q->row_count; i++) {
        if (options_has(&q->rows[i].options, key)) return 0;
        for (const struct option *x = q->rows[i].options.table; x && x->key; x++) names[n++] = x->key;
    }
    const char *near = nearest_name(key, names, n);
    return fail(e, "memory: neither the command nor an architecture has an option '%s'%s%s%s", key,
                near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}

static int set_option(struct inquiry *q, const char *key, const char *value, struct error *e) {
    struct model_config *before = xcalloc(FOOTPRINT_ROWS, sizeof *before);
    int status = 0;
    bool standard = true;
    memcpy(before, q->rows, sizeof q->rows);
    for (int i = 0; i < q->row_count && !status; i++) {
        struct options *o = &q->rows[i].options;
        if (!options_has(o, key)) continue;
        char where[80];
        snprintf(where, sizeof where, "architecture %s", q->rows[i].arch->name);
        status = options_set(o, key, value, where, e);
        standard = standard && (status || strcmp(options_text(o, key), options_text(&before[i].options, key)) == 0);
    }
    if (!status && !standard && same_rows(q, before, q->rows)) {
        const char *near = nearest_name(key, own, OWN); /* --layer, an option of Memorizing, for --layers */
        status = fail(e, "memory: --%s changes no formula; leave it out%s%s%s", key, near ? ", or did you mean '--" : "",
                      near ? near : "", near ? "'?" : "");
    }
    q->changed = q->changed || !standard;
    free(before);
    return status;
}

/* ---- numbers ---- */

/* 50,331,648 */
static const char *commas(int64_t x) {
    static char room[16][32];
    static int next;
    char digits[24], *out = room[next = (next + 1) % 16];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)x), k = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = 0;
    return out;
}

static const char *decimal_bytes(double x) {
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    static char room[16][32];
    static int next;
    char *out = room[next = (next + 1) % 16];
    int i = 0;
    while (x >= 999.5 && i < 6) x /= 1000, i++;
    snprintf(out, sizeof room[0], i == 0 || x >= 99.95 ? "%.0f %s" : x >= 9.995 ? "%.1f %s" : "%.2f %s", x, unit[i]);
    return out;
}

/* 3.64, 74.6, 115.7, 1 */
static void ratio_cell(struct table *t, double x) {
    if (isnan(x))
        table_cell(t, "–");
    else if (x >= 1000)
        table_cell(t, "%s", commas((int64_t)(x + 0.5)));
    else
        table_cell(t, x == 1 ? "%.0f" : x < 0.1 ? "%.4f" : x < 10 ? "%.2f" : "%.1f", x);
}

static int64_t elements_of(const struct model_config *c, int64_t context) { return c->arch->footprint(c)->elements(c, context); }

static int64_t bytes_of(const struct inquiry *q, const struct model_config *c, int64_t context) {
    return count_times(count_times(elements_of(c, context), q->shape.bytes), q->batch);
}

/* All numbers fit, or one sentence. */
static int check_counts(const struct inquiry *q, struct error *e) {
    for (int i = 0; i < q->row_count; i++)
        for (int k = 0; k < q->context_count; k++) {
            const struct footprint *f = q->rows[i].arch->footprint(&q->rows[i]);
            if (bytes_of(q, &q->rows[i], q->contexts[k]) == COUNT_OVERFLOW ||
                f->tokens(&q->rows[i], q->contexts[k]) == COUNT_OVERFLOW)
                return fail(e, "memory: %s after %lld tokens: the bytes exceed 2^63; choose a smaller shape, batch or context",
                            f->model, (long long)q->contexts[k]);
        }
    return 0;
}

/* ---- output ---- */

static void model_cell(struct table *t, const struct model_config *c) { table_cell(t, "%s", c->arch->footprint(c)->model); }

static void print_shape(const struct inquiry *q) {
    const struct model_config *c = &q->shape.config;
    printf("Memory that one text leaves behind, by the formulas of Table 1 of arXiv 2404.07143\n"
           "Shape: %s%s%s: %lld layers, d_model %s, %lld heads (%lld of keys and values) of %lld, segments of %s tokens; "
           "%lld bytes an element, batch %s\n",
           q->shape.preset ? "preset " : "", q->shape.name, q->changed ? ", changed" : "", (long long)c->layers, commas(c->d),
           (long long)c->heads, (long long)c->kv_heads, (long long)c->e, commas(c->segment), (long long)q->shape.bytes,
           commas(q->batch));
    if (!q->shape.preset && !q->changed) printf("Source of the shape: %s\n", q->shape.source);
    if (q->shape.parameters && !q->changed) {
        double bytes = (double)q->shape.parameters * (double)q->shape.bytes;
        printf("Parameters: %s (%s, %s)\n", commas(q->shape.parameters), decimal_bytes(bytes), show_bytes(bytes));
    }
    printf("N segment length, S segments read, l layers, H heads of keys and values, H_q of queries, d_key = d_value head size, T "
           "= N·S tokens\n\n");
}

static void print_formulas(const struct inquiry *q) {
    static const char *const heads[] = {"<model", "<memory footprint", "<context length", "<memory update", "<memory retrieval"};
    struct table t = {.heads = heads, .columns = 5};
    for (int i = 0; i < q->row_count; i++) {
        const struct footprint *f = q->rows[i].arch->footprint(&q->rows[i]);
        model_cell(&t, &q->rows[i]);
        table_cell(&t, "%s", f->formula);
        table_cell(&t, "%s", f->length);
        table_cell(&t, "%s", f->update);
        table_cell(&t, "%s", f->retrieval);
    }
    table_print(&t, stdout);
    table_free(&t);
    for (int i = 0; i < q->row_count; i++) {
        const struct footprint *f = q->rows[i].arch->footprint(&q->rows[i]);
        char *const *p = paper_row(q, f->model);
        if (p && strcmp(p[P_FOOTPRINT], f->formula) != 0)
            printf("%s: the paper prints %s%s%s\n", f->model, p[P_FOOTPRINT], *p[P_NOTE] ? "; " : "", p[P_NOTE]);
    }
    printf("\n");
}

static void print_context(const struct inquiry *q, int64_t context) {
    static const char *const heads[] = {"<model",           "elements",        "bytes",       "decimal",     "binary",
                                        "context (tokens)", "Memorizing / it", "paper: size", "paper: ratio"};
    bool paper = false;
    for (int i = 0; i < q->row_count; i++)
        paper = paper || paper_numbers(q, q->rows[i].arch->footprint(&q->rows[i])->model, context);
    struct table t = {.heads = heads, .columns = paper ? 9 : 7};
    for (int i = 0; i < q->row_count; i++) {
        const struct model_config *c = &q->rows[i];
        const struct footprint *f = c->arch->footprint(c);
        int64_t bytes = bytes_of(q, c, context);
        char *const *p = paper_numbers(q, f->model, context);
        model_cell(&t, c);
        table_cell(&t, "%s", commas(elements_of(c, context)));
        table_cell(&t, "%s", commas(bytes));
        table_cell(&t, "%s", decimal_bytes((double)bytes));
        table_cell(&t, "%s", show_bytes((double)bytes));
        table_cell(&t, "%s", commas(f->tokens(c, context)));
        ratio_cell(&t, footprint_ratio(c, context));
        if (!paper) continue;
        table_cell(&t, "%s", p ? p[P_SIZE] : "–");
        table_cell(&t, "%s", p ? p[P_RATIO] : "–");
    }
    printf("After %s tokens\n", commas(context));
    table_print(&t, stdout);
    table_free(&t);
    if (paper) printf("The paper's ratios are those of its rounded millions.\n");
    printf("\n");
}

/* A line a model, a column a context. what: 0 elements, 1 bytes, 2 ratio. */
static void print_contexts(const struct inquiry *q, int what) {
    static const char *const titles[] = {"Elements", "Bytes", "Elements of Memorizing Transformers over those of the model"};
    const char *heads[CONTEXTS + 1] = {"<model"};
    char words[CONTEXTS][40];
    for (int k = 0; k < q->context_count; k++) {
        snprintf(words[k], sizeof words[k], "%s", commas(q->contexts[k]));
        heads[k + 1] = words[k];
    }
    struct table t = {.heads = heads, .columns = q->context_count + 1};
    for (int i = 0; i < q->row_count; i++) {
        const struct model_config *c = &q->rows[i];
        model_cell(&t, c);
        for (int k = 0; k < q->context_count; k++)
            if (what == 0)
                table_cell(&t, "%s", commas(elements_of(c, q->contexts[k])));
            else if (what == 1)
                table_cell(&t, "%s", decimal_bytes((double)bytes_of(q, c, q->contexts[k])));
            else
                ratio_cell(&t, footprint_ratio(c, q->contexts[k]));
    }
    printf("%s after so many tokens\n", titles[what]);
    table_print(&t, stdout);
    table_free(&t);
    printf("\n");
}

static int write_csv(const struct inquiry *q, const char *path, struct error *e) {
    struct text_buffer b = {0};
    buffer_printf(&b, CSV_HEADER);
    for (int k = 0; k < q->context_count; k++)
        for (int i = 0; i < q->row_count; i++) {
            const struct model_config *c = &q->rows[i];
            const struct footprint *f = c->arch->footprint(c);
            char *const *p = paper_numbers(q, f->model, q->contexts[k]);
            csv_text(&b, q->changed ? "" : q->shape.name, ',');
            csv_text(&b, f->model, ',');
            csv_text(&b, f->formula, ',');
            csv_integer(&b, q->contexts[k], ',');
            csv_integer(&b, elements_of(c, q->contexts[k]), ',');
            csv_integer(&b, q->shape.bytes, ',');
            csv_integer(&b, q->batch, ',');
            csv_integer(&b, bytes_of(q, c, q->contexts[k]), ',');
            csv_number(&b, footprint_ratio(c, q->contexts[k]), ',');
            csv_text(&b, f->length, ',');
            csv_integer(&b, f->tokens(c, q->contexts[k]), ',');
            csv_text(&b, f->update, ',');
            csv_text(&b, f->retrieval, ',');
            csv_text(&b, p ? p[P_SIZE] : "", ',');
            csv_text(&b, p ? p[P_RATIO] : "", '\n');
        }
    int status = write_file(path, b.data, b.n, e);
    buffer_free(&b);
    return status;
}

int command_memory(int count, char **argv, const struct setting *s, struct error *e) {
    (void)s;
    struct flag flags[] = {{"preset", false, NULL}, {"context", false, NULL},  {"layers", false, NULL},   {"d-model", false, NULL},
                           {"heads", false, NULL},  {"kv-heads", false, NULL}, {"head-dim", false, NULL}, {"segment", false, NULL},
                           {"bytes", false, NULL},  {"batch", false, NULL},    {"csv", false, NULL},      {NULL, false, NULL}};
    struct arguments a = {.flags = flags, .take_unknown = true};
    if (arguments_read(&a, count, argv, MEMORY_USAGE, 0, 0, e) || can_write(flag_value(&a, "csv"), "csv", e)) return -1;
    struct inquiry *q = xcalloc(1, sizeof *q);
    const char *preset = flag_value(&a, "preset"), *context = flag_value(&a, "context"), *csv = flag_value(&a, "csv");
    int status = shape_find(&q->shape, preset ? preset : "paper", e);
    if (!status) status = read_shape(q, &a, e);
    if (!status) status = flag_int(&a, "batch", 1, 1, &q->batch, e);
    if (!status) q->row_count = footprint_rows(q->rows, &q->shape.config);
    for (int i = 0; i < a.extra_count && !status; i++) status = check_option(q, a.extra[i].key, e);
    if (!status && !context) status = fail(e, "--context is needed: tokens of the text; usage: infinibench %s", MEMORY_USAGE);
    if (!status) q->context_count = parse_rising(context, q->contexts, CONTEXTS, "--context", e);
    if (!status && q->context_count < 0) status = -1;
    for (int i = 0; i < a.extra_count && !status; i++) status = set_option(q, a.extra[i].key, a.extra[i].value, e);
    if (!status) status = check_counts(q, e);
    if (!status) status = paper_memory_read(&q->paper, e);
    if (!status && csv) status = write_csv(q, csv, e);
    if (!status) {
        print_shape(q);
        print_formulas(q);
        for (int k = 0; k < q->context_count && q->context_count <= DETAILED; k++) print_context(q, q->contexts[k]);
        for (int what = 0; what < 3 && q->context_count > DETAILED; what++) print_contexts(q, what);
    }
    paper_memory_free(&q->paper);
    free(q);
    return status;
}
