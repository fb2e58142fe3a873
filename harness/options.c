/* options.c - options from tables: every architecture, task and section names its keys, types, defaults and ranges, and this file
 * turns text into checked values. Values are kept in one canonical spelling ("32K" becomes 32768, "on" becomes yes, 1e-3 becomes
 * 0.001), so that two spellings of one value give the same cell. It reads no files; the experiment reader does. */
#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int parse_int(const char *text, int64_t *value) {
    if (!isdigit((unsigned char)text[0]) && !((text[0] == '-' || text[0] == '+') && isdigit((unsigned char)text[1]))) return -1;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int64_t unit = 1;
    if (*end == 'K' || *end == 'k')
        unit = 1024, end++;
    else if (*end == 'M' || *end == 'm')
        unit = 1048576, end++;
    int64_t product;
    if (*end) return -1;
    if (errno == ERANGE || __builtin_mul_overflow((int64_t)v, unit, &product)) return PARSE_BEYOND;
    *value = product;
    return 0;
}

int parse_rising(const char *text, int64_t *list, int limit, const char *where, struct error *e) {
    char *copy = xstrdup(text), *rest = NULL;
    int count = 0, bad;
    for (char *w = strtok_r(copy, ", ", &rest); w && count >= 0; w = strtok_r(NULL, ", ", &rest)) {
        if (count == limit)
            count = fail(e, "%s '%.200s' has more than %d numbers", where, text, limit);
        else if ((bad = parse_int(w, &list[count])) == PARSE_BEYOND)
            count = fail(e, "%s '%.200s': '%s' is beyond 2^63", where, text, w);
        else if (bad || list[count] < 1 || (count && list[count] <= list[count - 1]))
            count = fail(e, "%s '%.200s': '%s' is no number of a rising list such as 4K,16K,64K (K = 1024, M = 1048576)", where,
                         text, w);
        else
            count++;
    }
    free(copy);
    return count ? count : fail(e, "%s is empty; give a rising list such as 4K,16K,64K", where);
}

int64_t count_times(int64_t a, int64_t b) {
    int64_t product;
    CHECK(a >= 0 && b >= 0, "a size of %lld times %lld", (long long)a, (long long)b);
    if (a == COUNT_OVERFLOW || b == COUNT_OVERFLOW || __builtin_mul_overflow(a, b, &product)) return COUNT_OVERFLOW;
    return product;
}

int64_t count_plus(int64_t a, int64_t b) {
    int64_t sum;
    CHECK(a >= 0 && b >= 0, "a size of %lld plus %lld", (long long)a, (long long)b);
    if (a == COUNT_OVERFLOW || b == COUNT_OVERFLOW || __builtin_add_overflow(a, b, &sum)) return COUNT_OVERFLOW;
    return sum;
}

const char *list_next(const char *list, char *word, size_t room) {
    while (isspace((unsigned char)*list) || *list == ',') list++;
    size_t n = strcspn(list, ","), used = n;
    if (!n) return NULL;
    while (used && isspace((unsigned char)list[used - 1])) used--;
    snprintf(word, room, "%.*s", (int)(used < room ? used : room - 1), list);
    return list + n;
}

static int parse_real(const char *text, double *value) {
    if (isspace((unsigned char)text[0])) return -1;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v)) return -1;
    *value = v;
    return 0;
}

static int parse_bool(const char *text, bool *value) {
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (int i = 0; i < 4; i++) {
        if (!strcasecmp(text, yes[i])) return *value = true, 0;
        if (!strcasecmp(text, no[i])) return *value = false, 0;
    }
    return -1;
}

/* Position of text in "a|b|c", -1 if it is none of them. */
static int choice_index(const char *choices, const char *text) {
    size_t n = strlen(text);
    int index = 0;
    for (const char *p = choices;; index++) {
        size_t length = strcspn(p, "|");
        if (length == n && !strncmp(p, text, n)) return index;
        if (!p[length]) return -1;
        p += length + 1;
    }
}

/* The shortest decimal that reads back as v. */
static void format_real(char *out, size_t size, double v) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, v);
        if (strtod(out, NULL) == v) return;
    }
}

static int table_size(const struct option *table) {
    int n = 0;
    while (table && table[n].key) n++;
    return n;
}

static int find(const struct options *o, const char *key) {
    for (int i = 0; o->table && o->table[i].key; i++)
        if (!strcmp(o->table[i].key, key)) return i;
    return -1;
}

static bool bounded(const struct option *x) { return x->min != 0 || x->max != 0; }

/* " or ", ", " between choices: "linear, delta or none". */
static void list_choices(char *out, size_t size, const char *choices) {
    out[0] = 0;
    for (const char *p = choices;;) {
        size_t length = strcspn(p, "|"), used = strlen(out);
        bool last = !p[length], next_last = !last && !strchr(p + length + 1, '|');
        snprintf(out + used, size - used, "%.*s%s", (int)length, p, last ? "" : next_last ? " or " : ", ");
        if (last) return;
        p += length + 1;
    }
}

/* Checks value and writes its canonical spelling. */
static int canonical(const struct option *x, const char *value, char *out, const char *where, struct error *e) {
    switch (option_type(x)) {
    case OPTION_INT: {
        int64_t v;
        if (parse_int(value, &v))
            return fail(e, "%s: %s = '%s' is not a whole number (suffixes K = 1024, M = 1048576)", where, x->key, value);
        if (bounded(x) && !((double)v >= x->min && (double)v <= x->max))
            return fail(e, "%s: %s = %s is out of range; it may be %.0f to %.0f", where, x->key, value, x->min, x->max);
        snprintf(out, OPTION_LENGTH, "%" PRId64, v);
        return 0;
    }
    case OPTION_REAL: {
        double v;
        if (parse_real(value, &v)) return fail(e, "%s: %s = '%s' is not a number", where, x->key, value);
        if (bounded(x) && !(v >= x->min && v <= x->max))
            return fail(e, "%s: %s = %s is out of range; it may be %g to %g", where, x->key, value, x->min, x->max);
        format_real(out, OPTION_LENGTH, v);
        return 0;
    }
    case OPTION_BOOL: {
        bool v;
        if (parse_bool(value, &v)) return fail(e, "%s: %s = '%s' is neither yes nor no", where, x->key, value);
        snprintf(out, OPTION_LENGTH, "%s", v ? "yes" : "no");
        return 0;
    }
    case OPTION_CHOICE:
        if (choice_index(x->choices, value) < 0) {
            char list[384];
            list_choices(list, sizeof list, x->choices);
            return fail(e, "%s: %s = '%s' is unknown; it may be %s", where, x->key, value, list);
        }
        break;
    case OPTION_TEXT:
        break;
    }
    if (strlen(value) >= OPTION_LENGTH)
        return fail(e, "%s: the value of %s is too long (%zu bytes; %d are allowed)", where, x->key, strlen(value),
                    OPTION_LENGTH - 1);
    snprintf(out, OPTION_LENGTH, "%s", value);
    return 0;
}

void options_init(struct options *o, const struct option *table) {
    memset(o, 0, sizeof *o);
    o->table = table;
    CHECK(table_size(table) <= OPTION_LIMIT, "%d options; the limit is %d", table_size(table), OPTION_LIMIT);
    for (int i = 0; i < table_size(table); i++) {
        struct error e;
        int rc = canonical(&table[i], table[i].fallback, o->value[i], "a default of an option table", &e);
        CHECK(rc == 0, "%s", e.text);
    }
}

bool option_counts(const struct options *o, int i) {
    char usual[OPTION_LENGTH];
    if (!(o->table[i].type & OPTION_LATER)) return true;
    canonical(&o->table[i], o->table[i].fallback, usual, "", NULL);
    return strcmp(o->value[i], usual) != 0;
}

int options_set(struct options *o, const char *key, const char *value, const char *where, struct error *e) {
    int i = find(o, key);
    if (i < 0) {
        const char *names[OPTION_LIMIT];
        int n = table_size(o->table);
        if (!n) return fail(e, "%s has no option '%s'; it takes none", where, key);
        for (int j = 0; j < n; j++) names[j] = o->table[j].key;
        const char *near = nearest_name(key, names, n);
        if (near) return fail(e, "%s has no option '%s'; the nearest is '%s'", where, key, near);
        char list[512] = "";
        for (int j = 0; j < n; j++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", j ? ", " : "", names[j]);
        }
        return fail(e, "%s has no option '%s'; it has: %s", where, key, list);
    }
    if (canonical(&o->table[i], value, o->value[i], where, e)) return -1;
    o->given[i] = true;
    return 0;
}

bool options_has(const struct options *o, const char *key) { return find(o, key) >= 0; }

static int find_typed(const struct options *o, const char *key, enum option_type type) {
    int i = find(o, key);
    CHECK(i >= 0, "no option '%s' in the table", key);
    CHECK(option_type(&o->table[i]) == type, "option '%s' is of another type", key);
    return i;
}

int64_t options_int(const struct options *o, const char *key) {
    int64_t v = 0;
    parse_int(o->value[find_typed(o, key, OPTION_INT)], &v);
    return v;
}

double options_real(const struct options *o, const char *key) { return strtod(o->value[find_typed(o, key, OPTION_REAL)], NULL); }

bool options_bool(const struct options *o, const char *key) { return o->value[find_typed(o, key, OPTION_BOOL)][0] == 'y'; }

int options_choice(const struct options *o, const char *key) {
    int i = find_typed(o, key, OPTION_CHOICE);
    return choice_index(o->table[i].choices, o->value[i]);
}

const char *options_text(const struct options *o, const char *key) {
    int i = find(o, key);
    CHECK(i >= 0, "no option '%s' in the table", key);
    return o->value[i];
}

char *options_join(const struct options *o, const char *sep, bool given_only) {
    int order[OPTION_LIMIT], n = 0;
    size_t size = 1;
    for (int i = 0; i < table_size(o->table); i++) {
        if (given_only ? !o->given[i] : !option_counts(o, i)) continue;
        int j = n++;
        for (; j > 0 && strcmp(o->table[order[j - 1]].key, o->table[i].key) > 0; j--) order[j] = order[j - 1];
        order[j] = i;
        size += strlen(o->table[i].key) + 1 + strlen(o->value[i]) + strlen(sep);
    }
    char *text = xcalloc(size, 1), *p = text;
    for (int j = 0; j < n; j++) p += sprintf(p, "%s%s=%s", j ? sep : "", o->table[order[j]].key, o->value[order[j]]);
    return text;
}

/* ---- lists ---- */

int options_ints(const struct options *o, const char *key, int64_t *out, int most, const char *where, struct error *e) {
    char word[40];
    int n = 0;
    for (const char *at = options_text(o, key); (at = list_next(at, word, sizeof word)); n++) {
        if (n == most) return fail(e, "%s: %s has more than %d values", where, key, most);
        if (parse_int(word, &out[n]))
            return fail(e, "%s: %s: '%s' is not a whole number (suffixes K = 1024, M = 1048576)", where, key, word);
        if (out[n] < 1) return fail(e, "%s: %s = %s; it must be at least 1", where, key, word);
    }
    return n ? n : fail(e, "%s: %s is empty", where, key);
}
