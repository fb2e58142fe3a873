/* check_files.c - reads and writes expected.csv, reads rules.csv. It judges nothing and knows no results folder. */
#include "check_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const check_kinds[] = {"exact", "statistical", "ignored", "seed"};

int check_key_order(const void *a, const void *b) {
    const struct check_key *x = a, *y = b;
    int order = strcmp(x->row, y->row);
    if (!order) order = strcmp(x->stage, y->stage);
    if (!order) order = strcmp(x->task, y->task);
    if (!order) order = strcmp(x->split, y->split);
    if (!order) order = strcmp(x->condition, y->condition);
    if (!order) order = strcmp(x->metric, y->metric);
    if (!order) order = (x->context > y->context) - (x->context < y->context);
    if (!order) order = strcmp(x->position, y->position);
    return order ? order : (x->writes > y->writes) - (x->writes < y->writes);
}

const char *check_place(const struct check_key *k) {
    static char room[8][256];
    static int next;
    char *out = room[next = (next + 1) % 8];
    size_t n = (size_t)snprintf(out, sizeof room[0], "%s", k->condition);
    if (k->context > 0) n += (size_t)snprintf(out + n, sizeof room[0] - n, "%scontext %lld", n ? ", " : "", (long long)k->context);
    if (strcmp(k->position, "all") != 0) n += (size_t)snprintf(out + n, sizeof room[0] - n, "%s%s", n ? ", " : "", k->position);
    if (k->writes >= 0) n += (size_t)snprintf(out + n, sizeof room[0] - n, "%swrites %lld", n ? ", " : "", (long long)k->writes);
    return n ? out : "all";
}

static int text_in(char *to, size_t size, const char *path, int line, const char *column, const char *text, struct error *e) {
    if (strlen(text) >= size) return fail(e, "%s:%d: column %s is longer than %zu characters", path, line, column, size - 1);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int kind_in(enum check_kind *kind, int kinds, const char *path, int line, const char *text, struct error *e) {
    for (int i = 0; i < kinds; i++)
        if (strcmp(text, check_kinds[i]) == 0) return *kind = (enum check_kind)i, 0;
    return fail(e, "%s:%d: kind '%s' is not exact%s", path, line, text,
                kinds == 2 ? " or statistical" : ", statistical, ignored or seed");
}

#define TEXT(field, i)                                                                                                             \
    if (text_in(x->field, sizeof x->field, path, line, #field, f[i], e) != 0) return -1
#define KEY(field, i)                                                                                                              \
    if (text_in(x->key.field, sizeof x->key.field, path, line, #field, f[i], e) != 0) return -1

/* ---- expected.csv ---- */
static int expected_line(void *data, const char *path, int line, int count, char **f, struct error *e) {
    struct expectations *all = data;
    (void)count;
    all->x = xrealloc(all->x, (size_t)all->count + 1, sizeof *all->x);
    struct expectation *x = &all->x[all->count++];
    memset(x, 0, sizeof *x);
    KEY(row, 0);
    KEY(stage, 1);
    KEY(task, 2);
    KEY(split, 3);
    KEY(condition, 4);
    KEY(metric, 5);
    if (csv_parse_integer(path, line, "context", f[6], &x->key.context, e) != 0) return -1;
    KEY(position, 7);
    if (csv_parse_integer(path, line, "writes", f[8], &x->key.writes, e) != 0 || kind_in(&x->kind, 2, path, line, f[9], e) != 0 ||
        csv_parse_real(path, line, "value", f[10], false, &x->value, e) != 0 ||
        csv_parse_real(path, line, "spread", f[11], false, &x->spread, e) != 0)
        return -1;
    if (!isfinite(x->value) || !(x->spread >= 0 && x->spread < INFINITY))
        return fail(e, "%s:%d: value must be finite and spread a number of at least 0", path, line);
    if (x->kind == CHECK_EXACT) return 0;
    if (csv_parse_real(path, line, "df", f[12], false, &x->df, e) != 0 ||
        csv_parse_integer(path, line, "seeds", f[13], &x->seeds, e) != 0)
        return -1;
    if (!(x->df >= 1 && x->df < INFINITY) || x->seeds < 1 || !(x->spread > 0))
        return fail(e, "%s:%d: a statistical cell needs spread above 0, df and seeds of at least 1", path, line);
    return 0;
}

int expectations_read(struct expectations *all, const char *path, bool missing, struct error *e) {
    *all = (struct expectations){0};
    if (missing && access(path, F_OK) != 0) return 0;
    if (csv_read(path, CHECK_EXPECTED_HEADER, false, expected_line, all, e) != 0) {
        expectations_free(all);
        return -1;
    }
    if (all->count) qsort(all->x, (size_t)all->count, sizeof *all->x, check_key_order);
    for (int i = 1; i < all->count; i++)
        if (check_key_order(&all->x[i - 1], &all->x[i]) == 0) {
            const struct check_key *k = &all->x[i].key;
            fail(e, "%s: %s of %s (%s, %s) is there twice", path, k->metric, k->row, k->task, check_place(k));
            expectations_free(all);
            return -1;
        }
    if (all->count || missing) return 0;
    return fail(e, "%s: no cell is expected", path);
}

int expectations_write(const struct expectations *all, const char *path, struct error *e) {
    struct text_buffer b = {0};
    buffer_printf(&b, "%s\n", CHECK_EXPECTED_HEADER);
    for (int i = 0; i < all->count; i++) {
        const struct expectation *x = &all->x[i];
        csv_text(&b, x->key.row, ',');
        csv_text(&b, x->key.stage, ',');
        csv_text(&b, x->key.task, ',');
        csv_text(&b, x->key.split, ',');
        csv_text(&b, x->key.condition, ',');
        csv_text(&b, x->key.metric, ',');
        csv_integer(&b, x->key.context, ',');
        csv_text(&b, x->key.position, ',');
        csv_integer(&b, x->key.writes, ',');
        csv_text(&b, check_kinds[x->kind], ',');
        csv_number(&b, x->value, ',');
        csv_number(&b, x->spread, ',');
        csv_number(&b, x->kind == CHECK_EXACT ? NAN : x->df, ',');
        if (x->kind == CHECK_EXACT)
            csv_text(&b, "", '\n');
        else
            csv_integer(&b, x->seeds, '\n');
    }
    int result = write_file(path, b.data, b.n, e);
    buffer_free(&b);
    return result;
}

void expectations_free(struct expectations *all) {
    free(all->x);
    *all = (struct expectations){0};
}

int64_t expectations_statistical(const struct expectations *all) {
    int64_t n = 0;
    for (int i = 0; i < all->count; i++) n += all->x[i].kind == CHECK_STATISTICAL;
    return n;
}

const struct expectation *expectations_find(const struct expectations *all, const struct check_key *key) {
    return all->count ? bsearch(key, all->x, (size_t)all->count, sizeof *all->x, check_key_order) : NULL;
}

/* ---- rules.csv ---- */
static int rule_line(void *data, const char *path, int line, int count, char **f, struct error *e) {
    struct rules *all = data;
    (void)count;
    all->x = xrealloc(all->x, (size_t)all->count + 1, sizeof *all->x);
    struct rule *x = &all->x[all->count++];
    memset(x, 0, sizeof *x);
    TEXT(task, 0);
    TEXT(stage, 1);
    TEXT(row, 2);
    TEXT(condition, 3);
    TEXT(position, 4);
    TEXT(metric, 5);
    if (kind_in(&x->kind, 4, path, line, f[6], e) != 0 || csv_parse_real(path, line, "bound", f[7], true, &x->bound, e) != 0)
        return -1;
    bool exact = x->kind == CHECK_EXACT || x->kind == CHECK_SEED, good = x->bound >= 0 && x->bound < INFINITY;
    if (exact && !good) return fail(e, "%s:%d: an exact cell needs a bound of at least 0", path, line);
    if (!exact && !isnan(x->bound) && !(x->kind == CHECK_STATISTICAL && good))
        return fail(e, "%s:%d: an ignored cell has no bound, a statistical one none or a number of samples that may always change",
                    path, line);
    return 0;
}

int rules_read(struct rules *all, const char *path, const char *against, struct error *e) {
    *all = (struct rules){0};
    const char *slash = strrchr(against, '/');
    char *beside = path ? xstrdup(path) : xprintf("%.*srules.csv", slash ? (int)(slash + 1 - against) : 0, against);
    int result = csv_read(beside, CHECK_RULES_HEADER, false, rule_line, all, e);
    if (result != 0 && access(beside, F_OK) != 0)
        fail(e, "%s: it says which measurements are cells, and how (docs/ci.md); --rules FILE names another", e->text);
    if (result == 0 && !all->count) result = fail(e, "%s holds no rule: what nobody expects would pass unseen", beside);
    free(beside);
    if (result != 0) rules_free(all);
    return result;
}

void rules_free(struct rules *all) {
    free(all->x);
    *all = (struct rules){0};
}
