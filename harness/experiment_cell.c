/* experiment_cell.c - the identity of a cell and the resolved experiment as text.
 *
 * A cell is a hash over everything that its numbers depend on, in canonical spelling; titles, comments, the order of keys, thread
 * counts and the machine are not in it. It trains and measures nothing. */
#include "experiment_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- data ---- */
const struct corpus *stage_corpus(const char *name, int64_t limit, const struct tokenizer *t, struct error *e) {
    static struct {
        char *name;
        int64_t limit;
        uint64_t tokenizer;
        struct corpus *corpus;
    } open[16];
    int i = 0;
    for (; i < 16 && open[i].name; i++)
        if (strcmp(open[i].name, name) == 0 && open[i].limit == limit && open[i].tokenizer == t->hash) return open[i].corpus;
    if (i == 16) {
        fail(e, "more than 15 training corpora in one process; use fewer sources");
        return NULL;
    }
    char *path = corpus_locate(name, e);
    if (!path) return NULL;
    struct corpus *c = corpus_open(path, "train", t, (size_t)limit, e);
    free(path);
    if (!c) return NULL;
    open[i].name = xstrdup(name);
    open[i].limit = limit;
    open[i].tokenizer = t->hash;
    open[i].corpus = c;
    return c;
}

/* Hash of the data that a task reads. Kept: many cells ask for the same, and each time whole texts would be read. */
static int task_data(const struct task *task, const struct options *o, const char *options, const struct tokenizer *t,
                     uint64_t *hash, struct error *e) {
    static struct known {
        char *key;
        uint64_t hash;
    } * known;
    static size_t count;
    if (!task->data_hash) return 0;
    char *key = xprintf("%s %016llx %s", task->name, (unsigned long long)t->hash, options);
    int result = 0;
    size_t i = 0;
    while (i < count && strcmp(known[i].key, key) != 0) i++;
    if (i < count)
        *hash = known[i].hash;
    else if ((result = task->data_hash(o, t, hash, e)) == 0) {
        known = xrealloc(known, count + 1, sizeof *known);
        known[count++] = (struct known){.key = key, .hash = *hash};
        return 0;
    }
    free(key);
    return result;
}

/* corpus: what a task reads that names none; NULL: nothing. */
static int add_task_data(struct text_buffer *b, const struct task *task, const struct options *o, const char *corpus,
                         const struct tokenizer *t, struct error *e) {
    char *options = options_join(o, "\n", false);
    uint64_t hash = 0;
    int result = 0;
    buffer_printf(b, "task=%s version=%d\n%s\n", task->name, task->version, options);
    struct options named = *o;
    if (corpus && options_has(o, "corpus") && !*options_text(o, "corpus")) {
        free(options);
        result = options_set(&named, "corpus", corpus, task->name, e);
        options = options_join(&named, "\n", false);
    }
    if (result == 0) result = task_data(task, &named, options, t, &hash, e);
    free(options);
    if (result == 0) buffer_printf(b, "data=%016llx\n", (unsigned long long)hash);
    return result;
}

static int add_chain(struct text_buffer *b, const struct experiment *x, const struct row_spec *row, const struct stage_spec *stage,
                     const struct tokenizer *t, struct error *e) {
    if (!stage) return 0;
    if (add_chain(b, x, row, stage_find(x, stage->from), t, e) != 0) return -1;
    struct source_part parts[SOURCE_PARTS];
    struct model_config c;
    struct options o;
    int n;
    stage_train_options(&o, row, stage);
    char *text = options_join(&o, "\n", false);
    buffer_printf(b, "stage=%s limit=%lld\n%s\n", stage->name, (long long)stage->limit, text);
    stage_config(&c, row, stage);
    if (c.batch != row->config.batch || c.segments != row->config.segments)
        buffer_printf(b, "batch=%lld segments=%lld\n", (long long)c.batch, (long long)c.segments);
    free(text);
    if (source_parse(x, stage, parts, &n, e) != 0) return -1;
    for (int i = 0; i < n; i++) {
        buffer_printf(b, "source=%s weight=%.17g\n", parts[i].name, parts[i].weight);
        if (parts[i].task) {
            if (add_task_data(b, parts[i].task, &parts[i].options, NULL, t, e) != 0) return -1;
        } else {
            const struct corpus *corpus = stage_corpus(parts[i].name, stage->limit, t, e);
            if (!corpus) return -1;
            buffer_printf(b, "data=%016llx\n", (unsigned long long)corpus->hash);
        }
    }
    return 0;
}

static int add_row(struct text_buffer *b, const struct experiment *x, const struct row_spec *row, int64_t seed,
                   const struct stage_spec *stage, const struct tokenizer **tokenizer, struct error *e) {
    const struct tokenizer *t = tokenizer_open(x->tokenizer, e);
    if (!t) return -1;
    char *config = config_text(&row->config);
    buffer_printf(b, "row=%s seed=%lld\ntokenizer=%s %016llx\narchitecture version=%d\n%s\n", row->name, (long long)seed, t->name,
                  (unsigned long long)t->hash, row->config.arch->version, config);
    free(config);
    if (*row->start) buffer_printf(b, "start=%016llx\n", (unsigned long long)row->start_hash);
    if (tokenizer) *tokenizer = t;
    return add_chain(b, x, row, stage, t, e);
}

static void finish(char out[20], struct text_buffer *b) {
    snprintf(out, 20, "%016llx", (unsigned long long)hash64(b->data, b->n, RESULTS_SCHEMA));
    buffer_free(b);
}

int chain_hash(char hash[20], const struct experiment *x, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
               struct error *e) {
    struct text_buffer b = {0};
    int result = add_row(&b, x, row, seed, stage, NULL, e);
    finish(hash, &b);
    return result;
}

int training_cell(char cell[20], const struct experiment *x, const struct row_spec *row, int64_t seed,
                  const struct stage_spec *stage, struct error *e) {
    struct text_buffer b = {0};
    int result = add_row(&b, x, row, seed, stage, NULL, e);
    buffer_printf(&b, "measured by %s version=%d\n", TRAINING_TASK, TRAINING_VERSION);
    finish(cell, &b);
    return result;
}

int experiment_cell(char cell[20], const struct experiment *x, const struct row_spec *row, int64_t seed,
                    const struct task_spec *task, struct error *e) {
    struct text_buffer b = {0};
    const struct tokenizer *t = NULL;
    int result = add_row(&b, x, row, seed, stage_find(x, task->after), &t, e);
    buffer_printf(&b, "measured by [%s]\n", task->name);
    char corpus[160];
    trained_on_name(corpus, x, stage_find(x, task->after));
    if (result == 0) result = add_task_data(&b, task->task, &task->options, corpus, t, e);
    finish(cell, &b);
    return result;
}

const struct stage_spec *trained_on_name(char name[160], const struct experiment *x, const struct stage_spec *stage) {
    for (; stage; stage = stage_find(x, stage->from)) {
        struct source_part parts[SOURCE_PARTS];
        int n;
        if (source_parse(x, stage, parts, &n, NULL) != 0) break;
        for (int i = 0; i < n; i++) {
            if (parts[i].task) continue;
            snprintf(name, 160, "%s", parts[i].name);
            return stage;
        }
    }
    snprintf(name, 160, "kjv");
    return NULL;
}

int cell_list(struct text_buffer *b, const struct experiment *x, struct error *e) {
    char cell[20];
    for (int i = 0; i < x->row_count; i++)
        for (int k = 0; k < x->seeds.count; k++) {
            int64_t seed = x->seeds.seed[k];
            for (int j = 0; j < x->stage_count; j++) {
                if (!row_trained(x, &x->rows[i], &x->stages[j], seed)) continue;
                if (training_cell(cell, x, &x->rows[i], seed, &x->stages[j], e) != 0) return -1;
                buffer_printf(b, "; cell %s %lld %s %s %s\n", x->rows[i].name, (long long)seed, x->stages[j].name, TRAINING_TASK,
                              cell);
            }
            for (int j = 0; j < x->task_count; j++) {
                if (!row_measured(x, &x->rows[i], &x->tasks[j], seed)) continue;
                if (experiment_cell(cell, x, &x->rows[i], seed, &x->tasks[j], e) != 0) return -1;
                const struct task_spec *t = &x->tasks[j];
                buffer_printf(b, "; cell %s %lld %s %s %s\n", x->rows[i].name, (long long)seed, t->after,
                              *t->part_of ? t->part_of : t->name, cell);
            }
        }
    return 0;
}

/* ---- the resolved text ---- */
/* "seeds = 1, 2"; nothing where they are all of `of`. */
static void add_seeds(struct text_buffer *b, const char *key, const struct seed_list *l, const struct seed_list *of) {
    if (of && l->count == of->count) return;
    buffer_printf(b, "%s = ", key);
    for (int i = 0; i < l->count; i++) buffer_printf(b, "%s%lld", i ? ", " : "", (long long)l->seed[i]);
    buffer_printf(b, "\n");
}

/* "only = a, b"; nothing where they are all. */
static void add_rows(struct text_buffer *b, const struct experiment *x, uint64_t rows) {
    int n = 0;
    for (int i = 0; i < x->row_count && rows != UINT64_MAX; i++)
        if (rows >> i & 1) buffer_printf(b, "%s%s", n++ ? ", " : "only = ", x->rows[i].name);
    if (n) buffer_printf(b, "\n");
}

/* Long prose is folded into indented lines, which the reader joins again; inih takes lines of up to about 200 characters. */
static void add_prose(struct text_buffer *b, const char *key, const char *value) {
    buffer_printf(b, "%s =", key);
    size_t column = strlen(key) + 2;
    for (const char *at = value; *at;) {
        size_t n = strcspn(at, " ");
        if (column + n + 1 > 130 && column > 20) {
            buffer_printf(b, "\n   ");
            column = 3;
        }
        buffer_printf(b, " %.*s", (int)n, at);
        column += n + 1;
        at += n;
        while (*at == ' ') at++;
    }
    buffer_printf(b, "\n");
}

/* "a=b;c=d" or lines as "a = b" lines; names that begin with skip are left out, a prefix is taken off. */
static void add_pairs(struct text_buffer *b, const char *text, char separator, const char *skip, const char *prefix) {
    for (const char *at = text; *at;) {
        const char *end = strchr(at, separator);
        size_t n = end ? (size_t)(end - at) : strlen(at);
        const char *equal = memchr(at, '=', n);
        if (equal && (!skip || strncmp(at, skip, strlen(skip)) != 0)) {
            const char *key = prefix && strncmp(at, prefix, strlen(prefix)) == 0 ? at + strlen(prefix) : at;
            buffer_printf(b, "%.*s = %.*s\n", (int)(equal - key), key, (int)(n - (size_t)(equal + 1 - at)), equal + 1);
        }
        at += n + (end != NULL);
    }
}

char *experiment_resolved(const struct experiment *x) {
    struct text_buffer b = {0};
    buffer_printf(&b,
                  "; %s, fully resolved: every default is written out, but of options that came later. It can be run like the "
                  "original.\n[experiment]\n",
                  x->name);
    add_prose(&b, "title", x->title);
    add_prose(&b, "paper", x->paper);
    if (*x->table) buffer_printf(&b, "table = %s\n", x->table);
    add_seeds(&b, "seeds", &x->seeds, NULL);
    buffer_printf(&b, "\n[budget]\npreset = %s\ntokenizer = %s\n", x->rows[0].config.preset, x->tokenizer);
    for (int i = 0; i < x->stage_count; i++) {
        const struct stage_spec *s = &x->stages[i];
        char *train = options_join(&s->train, "\n", false);
        buffer_printf(&b, "\n[stage %s]\nsource = %s\nlimit = %lld\nfrom = %s\n", s->name, s->source, (long long)s->limit, s->from);
        add_seeds(&b, "seeds", &s->seeds, &x->seeds);
        add_rows(&b, x, s->rows);
        if (s->keep.count) add_seeds(&b, "keep", &s->keep, NULL);
        if (s->batch) buffer_printf(&b, "batch = %lld\n", (long long)s->batch);
        if (s->segments) buffer_printf(&b, "segments = %lld\n", (long long)s->segments);
        add_pairs(&b, train, '\n', NULL, NULL);
        for (int j = 0; j < s->option_count; j++)
            buffer_printf(&b, "%s.%s = %s\n", s->options[j].section, s->options[j].key, s->options[j].value);
        free(train);
    }
    for (int i = 0; i < x->row_count; i++) {
        const struct row_spec *r = &x->rows[i];
        char *config = config_text(&r->config);
        buffer_printf(&b, "\n[row %s]\n", r->name);
        add_pairs(&b, config, ';', "preset=", "option.");
        for (int j = 0; j < r->override_count; j++)
            if (strcmp(r->overrides[j][0], "gate_rate") != 0)
                buffer_printf(&b, "%s = %s\n", r->overrides[j][0], r->overrides[j][1]);
        if (*r->start) buffer_printf(&b, "start = %s\n", r->start);
        add_seeds(&b, "seeds", &r->seeds, &x->seeds);
        buffer_printf(&b, "; ffn width after compensation: %lld\n", (long long)r->config.ffn_used);
        free(config);
    }
    for (int i = 0; i < x->task_count; i++) {
        const struct task_spec *t = &x->tasks[i];
        char *options = options_join(&t->options, "\n", false);
        buffer_printf(&b, "\n[task %s]\ntask = %s\nafter = %s\n", t->name, t->task->name, t->after);
        add_rows(&b, x, t->rows);
        add_seeds(&b, "seeds", &t->seeds, &x->seeds);
        if (*t->part_of) buffer_printf(&b, "part_of = %s\n", t->part_of);
        add_pairs(&b, options, '\n', NULL, NULL);
        free(options);
    }
    return b.data;
}
