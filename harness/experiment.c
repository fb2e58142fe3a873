/* experiment.c - reads an experiment file: inih cuts it into keys, this file resolves them and says what is wrong where.
 *
 * It runs nothing and opens no data. Sections may come in any order; a key may be given once; indented lines continue a value. */
#include "experiment_parse.h"

#include <ctype.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[KINDS] = {"experiment", "budget", "stage", "row", "task"};
int parse_complain(struct parse *p, int line, const char *format, ...) {
    char text[640];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    p->bad = true;
    return fail(p->e, "%s:%d: %s", p->path, line, text);
}

void parse_hint(char *out, size_t size, const char *word, const char *const *names, int count) {
    const char *near = nearest_name(word, names, count);
    if (near) {
        snprintf(out, size, "the nearest is '%s'", near);
        return;
    }
    size_t at = (size_t)snprintf(out, size, "known are");
    for (int i = 0; i < count && at < size; i++) at += (size_t)snprintf(out + at, size - at, "%s %s", i ? "," : "", names[i]);
}

/* ---- from text to sections ---- */
static int open_section(struct parse *p, const char *text, size_t n) {
    char word[64] = "", name[64] = "";
    size_t i = 0, k = 0;
    while (i < n && isspace((unsigned char)text[i])) i++;
    while (i < n && !isspace((unsigned char)text[i]) && k + 1 < sizeof word) word[k++] = text[i++];
    while (i < n && isspace((unsigned char)text[i])) i++;
    while (n > i && isspace((unsigned char)text[n - 1])) n--;
    if (n - i >= 40) return parse_complain(p, p->line, "the name '%.*s' is longer than 39 characters", (int)(n - i), text + i);
    memcpy(name, text + i, n - i);
    int kind = 0;
    while (kind < KINDS && strcmp(kind_names[kind], word) != 0) kind++;
    if (kind == KINDS) {
        char more[256];
        parse_hint(more, sizeof more, word, kind_names, KINDS);
        return parse_complain(p, p->line, "unknown section [%s%s%s]; %s", word, *name ? " " : "", name, more);
    }
    bool named = kind >= STAGE;
    if (named && !*name) return parse_complain(p, p->line, "section [%s] needs a name: [%s NAME]", word, word);
    if (!named && *name) return parse_complain(p, p->line, "section [%s] takes no name", word);
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.+", *c))
            return parse_complain(p, p->line, "the name '%s' may hold letters, digits and - _ . + only", name);
    if (kind == STAGE && (strcmp(name, NO_STAGE) == 0 || strcmp(name, NEVER) == 0))
        return parse_complain(p, p->line, "'%s' cannot name a stage: it has a meaning of its own in from and after", name);
    if (kind == TASK && strcmp(name, TRAINING_TASK) == 0) return parse_complain(p, p->line, "'%s' cannot name a task", name);
    for (int j = 0; j < p->count; j++)
        if ((int)p->sections[j].kind == kind && strcmp(p->sections[j].name, name) == 0)
            return parse_complain(p, p->line, "section [%s%s%s] is there already (line %d)", word, named ? " " : "", name,
                                  p->sections[j].line);
    p->sections = xrealloc(p->sections, (size_t)p->count + 1, sizeof *p->sections);
    struct section *s = &p->sections[p->count++];
    memset(s, 0, sizeof *s);
    s->kind = (enum kind)kind;
    s->line = p->line;
    snprintf(s->name, sizeof s->name, "%s", name);
    return 0;
}

/* Gives inih one line a call; sees section lines itself, because inih does not report empty sections. */
static char *next_line(char *out, int size, void *data) {
    struct parse *p = data;
    if (p->bad || !p->text[p->at]) return NULL;
    const char *line = p->text + p->at;
    size_t n = strcspn(line, "\n");
    p->line++;
    p->at += n + (line[n] == '\n');
    if (n + 3 > (size_t)size) {
        parse_complain(p, p->line, "%zu characters; %d fit in a line (an indented line continues a value)", n, size - 3);
        return NULL;
    }
    size_t i = 0;
    while (i < n && isspace((unsigned char)line[i])) i++;
    p->indented = i > 0;
    if (line[i] == '[' && !p->indented) {
        size_t end = strcspn(line, "]\n");
        if (end < n && open_section(p, line + i + 1, end - i - 1) != 0) return NULL;
    }
    memcpy(out, line, n);
    memcpy(out + n, "\n", 2);
    return out;
}

static int take_entry(void *data, const char *section, const char *key, const char *value) {
    struct parse *p = data;
    (void)section;
    if (p->bad) return 0;
    if (p->count == 0) return parse_complain(p, p->line, "'%s' stands before the first section", key), 0;
    struct section *s = &p->sections[p->count - 1];
    struct entry *last = s->count ? &s->entries[s->count - 1] : NULL;
    if (p->indented && last && strcmp(last->key, key) == 0) { /* inih repeats the key for a continued line */
        char *joined = xprintf("%s%s%s", last->value, *last->value ? " " : "", value);
        free(last->value);
        last->value = joined;
        return 1;
    }
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->entries[i].key, key) == 0)
            return parse_complain(p, p->line, "'%s' is given already in line %d", key, s->entries[i].line), 0;
    s->entries = xrealloc(s->entries, (size_t)s->count + 1, sizeof *s->entries);
    last = &s->entries[s->count++];
    memset(last, 0, sizeof *last);
    snprintf(last->key, sizeof last->key, "%s", key);
    last->value = xstrdup(value);
    last->line = p->line;
    return 1;
}

struct entry *parse_entry(struct section *s, const char *key) {
    for (int i = 0; s && i < s->count; i++)
        if (strcmp(s->entries[i].key, key) == 0) {
            s->entries[i].used = true;
            return &s->entries[i];
        }
    return NULL;
}

static struct section *section(struct parse *p, enum kind kind) {
    for (int i = 0; i < p->count; i++)
        if (p->sections[i].kind == kind) return &p->sections[i];
    return NULL;
}

void parse_where(char out[256], const struct parse *p, const struct section *s, int line) {
    snprintf(out, 256, "%.140s:%d, [%s%s%s]", p->path, line, kind_names[s->kind], *s->name ? " " : "", s->name);
}

int parse_unknown(struct parse *p, const struct section *s, const struct entry *x, bool shape, const struct option *a,
                  const struct option *b) {
    const char *names[SECTION_KEYS + 3 * OPTION_LIMIT];
    int n = section_keys(kind_names[s->kind], names);
    for (int i = 0; shape && config_key(i); i++) names[n++] = config_key(i)->key;
    for (int k = 0; k < 2; k++)
        for (const struct option *o = k ? b : a; o && o->key; o++) names[n++] = o->key;
    char more[512];
    parse_hint(more, sizeof more, x->key, names, n);
    return parse_complain(p, x->line, "unknown key '%s' in [%s%s%s]; %s", x->key, kind_names[s->kind], *s->name ? " " : "", s->name,
                          more);
}

/* ---- sections ---- */
/* "1, 2, 5-8" */
static int read_seeds(const char *text, struct seed_list *l, struct error *e) {
    l->count = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ", \t");
        char word[48], *dash;
        int64_t seed, last;
        if (n) {
            snprintf(word, sizeof word, "%.*s", (int)n, at);
            if ((dash = strchr(word, '-'))) *dash = 0;
            if (n >= sizeof word || parse_int(word, &seed) != 0 || seed < 0 || (dash && parse_int(dash + 1, &last) != 0))
                return fail(e, "seed '%.*s' is not a whole number of at least 0, nor a range such as 1-20", (int)n, at);
            if (!dash) last = seed;
            if (last < seed) return fail(e, "the range of seeds '%.*s' is empty", (int)n, at);
            for (; seed <= last; seed++) {
                if (l->count == SEED_LIMIT) return fail(e, "more than %d seeds", SEED_LIMIT);
                if (seed_listed(l, seed)) return fail(e, "seed %lld is given twice", (long long)seed);
                l->seed[l->count++] = seed;
            }
        }
        at += n + (at[n] != 0);
    }
    return l->count ? 0 : fail(e, "seeds is empty; give at least one, for example seeds = 1");
}

static int parse_seeds(struct parse *p, const struct entry *t, struct seed_list *l) {
    struct error inner;
    return read_seeds(t->value, l, &inner) ? parse_complain(p, t->line, "%s", inner.text) : 0;
}

int parse_some_seeds(struct parse *p, const struct section *s, const struct entry *t, const struct seed_list *of, const char *where,
                     struct seed_list *out) {
    *out = *of;
    if (t && parse_seeds(p, t, out) != 0) return -1;
    for (int i = 0; i < out->count; i++)
        if (!seed_listed(of, out->seed[i]))
            return parse_complain(p, t->line, "seed %lld of [%s %s] is not among the seeds of %s", (long long)out->seed[i],
                                  kind_names[s->kind], s->name, where);
    return 0;
}

static int read_experiment(struct parse *p, struct experiment *x) {
    struct section *s = section(p, EXPERIMENT);
    struct entry *t;
    x->title = xstrdup((t = parse_entry(s, "title")) ? t->value : x->name);
    x->paper = xstrdup((t = parse_entry(s, "paper")) ? t->value : "");
    if ((t = parse_entry(s, "table"))) {
        if (strlen(t->value) >= sizeof x->table || strcspn(t->value, "/.") != strlen(t->value))
            return parse_complain(p, t->line, "table = '%s' is not the name of a file NAME.csv in results/paper", t->value);
        snprintf(x->table, sizeof x->table, "%s", t->value);
    }
    t = parse_entry(s, "seeds");
    if (p->seeds) { /* said in place of the file's */
        struct error inner;
        if (read_seeds(p->seeds, &x->seeds, &inner) != 0) return fail(p->e, "--seeds: %s", inner.text);
    } else if (t) {
        if (parse_seeds(p, t, &x->seeds) != 0) return -1;
    } else {
        x->seeds = (struct seed_list){.seed = {1}, .count = 1};
    }
    for (int i = 0; s && i < s->count; i++)
        if (!s->entries[i].used) return parse_unknown(p, s, &s->entries[i], false, NULL, NULL);
    return 0;
}

/* The model shape of the budget, its training options, the tokenizer. */
static int read_budget(struct parse *p, struct experiment *x, struct model_config *c, struct options *train) {
    struct section *s = section(p, BUDGET);
    struct entry *preset = parse_entry(s, "preset"), *tokenizer = parse_entry(s, "tokenizer");
    struct error inner;
    int names = 0;
    while (preset_names[names]) names++;
    if (!s || !preset) {
        char more[256];
        parse_hint(more, sizeof more, "?", preset_names, names);
        return parse_complain(p, s ? s->line : 1, "[budget] needs a preset; %s", more);
    }
    if (config_preset(c, preset->value, &inner) != 0) {
        char more[256];
        bool known = false;
        for (int i = 0; i < names; i++) known = known || strcmp(preset_names[i], preset->value) == 0;
        parse_hint(more, sizeof more, preset->value, preset_names, names);
        return known ? parse_complain(p, preset->line, "%s", inner.text)
                     : parse_complain(p, preset->line, "unknown preset '%s'; %s", preset->value, more);
    }
    if (tokenizer && strlen(tokenizer->value) >= sizeof x->tokenizer)
        return parse_complain(p, tokenizer->line, "the name of the tokenizer is longer than %zu characters",
                              sizeof x->tokenizer - 1);
    snprintf(x->tokenizer, sizeof x->tokenizer, "%s", tokenizer ? tokenizer->value : "bytes");
    const struct tokenizer *t = tokenizer_open(tokenizer ? tokenizer->value : "bytes", &inner);
    if (!t) return parse_complain(p, tokenizer ? tokenizer->line : s->line, "%s", inner.text);
    c->vocab = t->vocab;
    options_init(train, train_options);
    for (int i = 0; i < s->count; i++) {
        struct entry *k = &s->entries[i];
        char at[256];
        bool known = k->used;
        parse_where(at, p, s, k->line);
        if (!k->used) {
            int set = config_set(c, k->key, k->value, at, p->e); /* 1: not such a key */
            if (set < 0) return -1;
            known = set == 0;
        }
        if (options_has(train, k->key)) {
            if (options_set(train, k->key, k->value, at, p->e) != 0) return -1;
            known = true;
        }
        if (!known) return parse_unknown(p, s, k, true, train_options, NULL);
    }
    return 0;
}

/* The file is hashed here: what is in it is part of the row. */
static int read_start(struct parse *p, const struct entry *k, struct row_spec *r) {
    if (strlen(k->value) >= sizeof r->start)
        return parse_complain(p, k->line, "'%s' is longer than %zu characters", k->key, sizeof r->start - 1);
    char *path = project_file(k->value);
    struct error inner;
    size_t size;
    char *bytes = path ? read_file(path, &size, &inner) : NULL;
    if (!path) fail(&inner, "there is no such file");
    free(path);
    if (!bytes) return parse_complain(p, k->line, "start = %s: %s", k->value, inner.text);
    snprintf(r->start, sizeof r->start, "%s", k->value);
    r->start_hash = hash64(bytes, size, 0);
    free(bytes);
    return 0;
}

static int read_row(struct parse *p, struct experiment *x, struct section *s, const struct model_config *c,
                    const struct options *train) {
    if (x->row_count == EXPERIMENT_LIMIT) return parse_complain(p, s->line, "more than %d rows", EXPERIMENT_LIMIT);
    struct row_spec *r = &x->rows[x->row_count];
    struct entry *architecture = parse_entry(s, "architecture"), *seeds = parse_entry(s, "seeds"), *start = parse_entry(s, "start");
    struct error inner;
    snprintf(r->name, sizeof r->name, "%s", s->name);
    const char *names[64];
    int n = 0;
    for (; baselines[n] && n < 64; n++) names[n] = baselines[n]->name;
    if (!architecture) {
        char more[512];
        parse_hint(more, sizeof more, s->name, names, n);
        return parse_complain(p, s->line, "[row %s] needs an architecture; %s", s->name, more);
    }
    if (parse_some_seeds(p, s, seeds, &x->seeds, "[experiment]", &r->seeds) != 0) return -1;
    r->config = *c;
    r->config.arch = NULL;
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], architecture->value) == 0) r->config.arch = baselines[i];
    if (!r->config.arch) {
        char more[512];
        parse_hint(more, sizeof more, architecture->value, names, n);
        return parse_complain(p, architecture->line, "unknown architecture '%s'; %s", architecture->value, more);
    }
    options_init(&r->config.options, r->config.arch->options);
    struct options own = *train;
    for (int i = 0; i < s->count; i++) {
        struct entry *k = &s->entries[i];
        char at[256];
        bool known = k->used;
        parse_where(at, p, s, k->line);
        if (k->used) continue;
        if (options_has(&r->config.options, k->key)) {
            if (options_set(&r->config.options, k->key, k->value, at, p->e) != 0) return -1;
            continue;
        }
        int set = config_set(&r->config, k->key, k->value, at, p->e); /* 1: not such a key */
        if (set < 0) return -1;
        known = set == 0;
        if (options_has(&own, k->key)) {
            if (options_set(&own, k->key, k->value, at, p->e) != 0) return -1;
            if (r->override_count == 16) return parse_complain(p, k->line, "more than 16 training keys in a row");
            const char *canonical = options_text(&own, k->key);
            if (strlen(k->key) > 63 || strlen(canonical) > 63)
                return parse_complain(p, k->line, "'%s' is longer than 63 characters", k->key);
            snprintf(r->overrides[r->override_count][0], 64, "%.63s", k->key);
            snprintf(r->overrides[r->override_count++][1], 64, "%.63s", canonical);
            known = true;
        }
        if (!known) return parse_unknown(p, s, k, true, r->config.arch->options, train_options);
    }
    const struct tokenizer *t = tokenizer_open(x->tokenizer, &inner);
    if (!t || r->config.vocab < t->vocab)
        return parse_complain(p, s->line, "[row %s]: vocab = %lld, the tokenizer %s has %lld symbols", s->name,
                              (long long)r->config.vocab, x->tokenizer, t ? (long long)t->vocab : -1);
    if (config_finish(&r->config, &inner) != 0) return parse_complain(p, s->line, "[row %s]: %s", s->name, inner.text);
    if (start && read_start(p, start, r) != 0) return -1;
    x->row_count++;
    return 0;
}

int parse_rows(struct parse *p, const struct experiment *x, const struct entry *k, uint64_t *rows) {
    *rows = 0;
    for (const char *at = k->value; *at;) {
        size_t n = strcspn(at, ", \t");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        uint64_t bit = 0;
        for (int i = 0; i < x->row_count; i++)
            if (n && strcmp(x->rows[i].name, word) == 0) bit = UINT64_C(1) << i;
        if (n && !bit) {
            const char *names[EXPERIMENT_LIMIT];
            char more[512];
            for (int i = 0; i < x->row_count; i++) names[i] = x->rows[i].name;
            parse_hint(more, sizeof more, word, names, x->row_count);
            return parse_complain(p, k->line, "only: '%s' is no row; %s", word, more);
        }
        *rows |= bit;
        at += n + (at[n] != 0);
    }
    return *rows ? 0 : parse_complain(p, k->line, "only is empty; leave it out for all rows");
}

/* An earlier section that can show this one's results as its own. */
static int read_part_of(struct parse *p, const struct experiment *x, const struct entry *k, struct task_spec *t) {
    const char *names[EXPERIMENT_LIMIT];
    const struct task_spec *whole = NULL;
    int n = 0;
    for (int i = 0; i < x->task_count; i++) {
        const struct task_spec *u = &x->tasks[i];
        bool fits = u->task == t->task && strcmp(u->after, t->after) == 0 && !*u->part_of;
        if (fits) names[n++] = u->name;
        if (fits && strcmp(u->name, k->value) == 0) whole = u;
    }
    char more[512];
    parse_hint(more, sizeof more, k->value, names, n);
    if (!whole)
        return parse_complain(p, k->line, "part_of = '%s' is no earlier section with task = %s and after = %s; %s", k->value,
                              t->task->name, t->after, n ? more : "there is none: leave part_of out");
    snprintf(t->part_of, sizeof t->part_of, "%.39s", whole->name);
    return 0;
}

static int read_task(struct parse *p, struct experiment *x, struct section *s) {
    if (x->task_count == EXPERIMENT_LIMIT) return parse_complain(p, s->line, "more than %d tasks", EXPERIMENT_LIMIT);
    struct task_spec *t = &x->tasks[x->task_count];
    struct entry *task = parse_entry(s, "task"), *after = parse_entry(s, "after"), *rows = parse_entry(s, "only");
    struct entry *seeds = parse_entry(s, "seeds"), *part_of = parse_entry(s, "part_of");
    const char *name = task ? task->value : s->name, *names[64];
    int n = 0;
    snprintf(t->name, sizeof t->name, "%.39s", s->name);
    for (; tasks[n] && n < 64; n++) {
        names[n] = tasks[n]->name;
        if (strcmp(names[n], name) == 0) t->task = tasks[n];
    }
    if (!t->task) {
        char more[512];
        parse_hint(more, sizeof more, name, names, n);
        return parse_complain(p, task ? task->line : s->line, "unknown task '%s'; %s%s", name, more,
                              task ? "" : " (task = NAME if the section is called otherwise)");
    }
    snprintf(t->after, sizeof t->after, "%.39s",
             after            ? after->value
             : x->stage_count ? x->stages[x->stage_count - 1].name
                              : NO_STAGE);
    if (strcmp(t->after, NO_STAGE) != 0 && strcmp(t->after, NEVER) != 0 && !stage_find(x, t->after)) {
        const char *stages[EXPERIMENT_LIMIT + 2] = {NO_STAGE, NEVER};
        for (int i = 0; i < x->stage_count; i++) stages[i + 2] = x->stages[i].name;
        char more[512];
        parse_hint(more, sizeof more, t->after, stages, x->stage_count + 2);
        return parse_complain(p, after->line, "after = '%s' is no stage; %s", t->after, more);
    }
    const struct stage_spec *stage = strcmp(t->after, NEVER) == 0 ? NULL : stage_find(x, t->after);
    char where[64] = "[experiment]";
    if (stage) snprintf(where, sizeof where, "[stage %s]", stage->name);
    if (parse_some_seeds(p, s, seeds, stage ? &stage->seeds : &x->seeds, where, &t->seeds) != 0) return -1;
    t->rows = UINT64_MAX;
    if (rows && parse_rows(p, x, rows, &t->rows) != 0) return -1;
    if (part_of && read_part_of(p, x, part_of, t) != 0) return -1;
    options_init(&t->options, t->task->options);
    for (int i = 0; i < s->count; i++) {
        struct entry *k = &s->entries[i];
        char at[256];
        parse_where(at, p, s, k->line);
        if (k->used) continue;
        if (!options_has(&t->options, k->key)) return parse_unknown(p, s, k, false, t->task->options, NULL);
        if (options_set(&t->options, k->key, k->value, at, p->e) != 0) return -1;
    }
    x->task_count++;
    return 0;
}

/* ---- the whole ---- */
static int resolve(struct parse *p, struct experiment *x) {
    struct model_config c;
    struct options train;
    memset(&c, 0, sizeof c);
    if (read_experiment(p, x) != 0 || read_budget(p, x, &c, &train) != 0) return -1;
    for (int i = 0; i < p->count; i++)
        if (p->sections[i].kind == STAGE && read_stage(p, x, &p->sections[i], &train, &c) != 0) return -1;
    for (int i = 0; i < p->count; i++)
        if (p->sections[i].kind == ROW && read_row(p, x, &p->sections[i], &c, &train) != 0) return -1;
    for (int i = 0; i < p->count; i++)
        if (p->sections[i].kind == TASK && read_task(p, x, &p->sections[i]) != 0) return -1;
    if (x->row_count == 0) return parse_complain(p, p->line, "there is no [row NAME]; an experiment needs at least one");
    for (int i = 0; i < p->count; i++)
        if (p->sections[i].kind == STAGE && finish_stage(p, x, &p->sections[i]) != 0) return -1;
    return 0;
}

struct experiment *experiment_read(const char *path, const char *seeds, struct error *e) {
    size_t size;
    char *text = read_file(path, &size, e);
    if (!text) {
        struct error why = *e;
        fail(e, "%.500s; `infinibench list experiments` prints those that are here", why.text);
        return NULL;
    }
    struct parse p = {.path = path, .text = text, .seeds = seeds, .e = e};
    struct experiment *x = xcalloc(1, sizeof *x);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t n = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    int result = 0;
    x->path = xstrdup(path);
    x->checkpoints = xstrdup("build/checkpoints");
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) p.at = 3; /* a byte order mark */
    if (strlen(text) != size)
        result = fail(e, "%s: holds a byte 0; an experiment is a text file", path);
    else if (n >= sizeof x->name)
        result = fail(e, "%s: the name is longer than %zu characters", path, sizeof x->name - 1);
    if (result == 0) {
        memcpy(x->name, name, n);
        int line = ini_parse_stream(next_line, &p, take_entry, &p);
        if (p.bad)
            result = -1;
        else if (line > 0)
            result = fail(e, "%s:%d: expected 'key = value', '[section]' or a comment (; or #)", path, line);
        else if (line < 0)
            result = fail(e, "%s: cannot be parsed (inih: %d)", path, line);
    }
    if (result == 0) result = resolve(&p, x);
    for (int i = 0; i < p.count; i++) {
        for (int j = 0; j < p.sections[i].count; j++) free(p.sections[i].entries[j].value);
        free(p.sections[i].entries);
    }
    free(p.sections);
    free(text);
    if (result == 0) return x;
    experiment_free(x);
    return NULL;
}

void experiment_free(struct experiment *x) {
    if (!x) return;
    free(x->path);
    free(x->title);
    free(x->paper);
    free(x->checkpoints);
    free(x);
}
