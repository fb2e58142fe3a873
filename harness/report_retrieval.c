/* report_retrieval.c - finds and pools what passkey and recall measured. It makes neither tables nor pictures. */
#include "report_retrieval.h"
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const passkey_places[4] = {"start", "middle", "end", NULL};
const char *const knock_out_words[3] = {"", "memory off", "memory zero"};
const char *const knock_out_settings[3] = {NULL, "knockout=off", "knockout=zero"};

const char *const summary_controls[3][2] = {{"baseline=lead", "the first words of the text"},
                                            {"baseline=frequent", "the most frequent words"},
                                            {"baseline=random", "a random training summary"}};

/* ---- conditions ---- */
void condition_with(char out[CONDITION_SIZE], const char *condition, const char *setting) {
    const char *at = condition;
    size_t n = 0;
    bool put = !setting;
    out[0] = 0;
    while (*at || !put) {
        size_t length = strcspn(at, ";");
        bool now = !put && (!*at || strncmp(setting, at, length) < 0);
        const char *from = now ? setting : at;
        size_t take = now ? strlen(setting) : length;
        n += (size_t)snprintf(out + n, CONDITION_SIZE - n, "%s%.*s", n ? ";" : "", (int)take, from);
        if (n >= CONDITION_SIZE) return; /* longer than any that results.csv can hold: it will not be found */
        if (now)
            put = true;
        else
            at += length + (at[length] == ';');
    }
}

void condition_base(char out[CONDITION_SIZE], const char *condition) {
    static const char *const varied[] = {"baseline=", "knockout=", "pairs=", "skipped="};
    size_t n = 0;
    out[0] = 0;
    for (const char *at = condition; *at;) {
        size_t length = strcspn(at, ";");
        bool leave = false;
        for (int i = 0; i < 4; i++) leave = leave || strncmp(at, varied[i], strlen(varied[i])) == 0;
        if (!leave) n += (size_t)snprintf(out + n, CONDITION_SIZE - n, "%s%.*s", n ? ";" : "", (int)length, at);
        at += length + (at[length] == ';');
    }
}

const char *condition_value(const char *condition, const char *key) {
    static char memory[8][CONDITION_SIZE];
    static int next;
    size_t size = strlen(key);
    for (const char *at = condition; *at;) {
        size_t length = strcspn(at, ";");
        if (length > size && strncmp(at, key, size) == 0 && at[size] == '=') {
            char *out = memory[next = (next + 1) % 8];
            snprintf(out, CONDITION_SIZE, "%.*s", (int)(length - size - 1), at + size + 1);
            return out;
        }
        at += length + (at[length] == ';');
    }
    return "";
}

int groups_of(struct group out[RETRIEVAL_LIMIT], const struct report_data *d, int section) {
    int n = 0;
    for (int64_t i = 0; i < d->result_count && n < RETRIEVAL_LIMIT; i++) {
        char base[CONDITION_SIZE];
        bool known = d->result_section[i] != section;
        if (known || *condition_value(d->results[i].condition, "baseline")) continue; /* controls stand with what they control */
        condition_base(base, d->results[i].condition);
        for (int k = 0; k < n && !known; k++) known = strcmp(out[k].condition, base) == 0;
        if (known) continue;
        out[n] = (struct group){.d = d, .section = section, .index = n};
        memcpy(out[n++].condition, base, sizeof base);
    }
    for (int k = 0; k < n; k++) out[k].count = n;
    return n;
}

struct probe group_probe(const struct group *g, const char *row, int knock_out, char room[CONDITION_SIZE]) {
    condition_with(room, g->condition, knock_out_settings[knock_out]);
    return (struct probe){.d = g->d,
                          .section = g->section,
                          .row = row,
                          .condition = room,
                          .metric = "exact_match",
                          .writes_low = -1,
                          .writes_high = -1};
}

/* ---- values ---- */
static bool holds(const struct values *x, int64_t v) {
    for (int i = 0; i < x->n; i++)
        if (x->v[i] == v) return true;
    return false;
}

static bool agrees(const struct probe *p, int64_t i) {
    const struct result_row *r = &p->d->results[i];
    return p->d->result_section[i] == p->section && r->writes >= p->writes_low && r->writes <= p->writes_high &&
           (!p->context || r->context == p->context) && (!p->row || strcmp(r->row, p->row) == 0) &&
           (!p->condition || strcmp(r->condition, p->condition) == 0) && (!p->metric || strcmp(r->metric, p->metric) == 0) &&
           (!p->position || strcmp(r->position, p->position) == 0) && (!p->seeds || holds(p->seeds, r->seed));
}

/* Shares of samples, symbols or events, which lie in 0 .. 1. */
static bool is_fraction(const char *metric) {
    static const char *const metrics[] = {"exact_match",  "digit_accuracy", "symbol_accuracy",
                                          "events_named", "words_named",    "stopped"};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(metric, metrics[i]) == 0) return true;
    return false;
}

/* F1 x 100 */
static bool is_rouge(const char *metric) {
    const char *part = strchr(metric, '_'); /* "ceiling_rouge1" */
    if (part) metric = part + 1;
    return strncmp(metric, "rouge", 5) == 0 || strcmp(metric, "overall") == 0;
}

/* Not NaN: where there is an interval. */
static void within_limits(struct interval *v, int64_t samples, const char *metric) {
    double most = is_fraction(metric) ? 1 : is_rouge(metric) ? 100 : INFINITY;
    if (isinf(most)) return;
    if (v->low < 0) v->low = 0;
    if (v->high > most) v->high = most;
    if (most > 1 || samples <= 0) return;
    /* Who cannot exclude that none is right can exclude no more than who has seen none right. */
    double none = wilson(0, samples).high, all = wilson(samples, samples).low;
    bool may_none = v->low <= 0, may_all = v->high >= 1;
    if (may_none && v->high < none) v->high = none;
    if (may_all && v->low > all) v->low = all;
}

/* Did the task write a Wilson interval, so that samples are right or wrong and independent? */
static bool is_share(const struct result_row *r) {
    double right = round(r->value * (double)r->n);
    if (!(r->value >= 0 && r->value <= 1) || r->n <= 0 || fabs(right - r->value * (double)r->n) > 1e-4) return false;
    struct interval w = wilson((int64_t)right, r->n);
    return fabs(w.low - r->low) < 1e-6 && fabs(w.high - r->high) < 1e-6;
}

struct pooled probe_value(const struct probe *p) {
    struct pooled x = {.value = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN}};
    double weight[REPORT_SEEDS] = {0}, sum[REPORT_SEEDS] = {0}, error = 0, errors = 0;
    int64_t own[REPORT_SEEDS] = {0};
    const struct result_row *only = NULL;
    int lines = 0;
    bool share = true;
    for (int64_t i = 0; i < p->d->result_count; i++) {
        const struct result_row *r = &p->d->results[i];
        int k = 0;
        if (!agrees(p, i) || isnan(r->value)) continue;
        while (k < x.seeds && x.seed[k] != r->seed) k++;
        if (k == REPORT_SEEDS) continue;
        if (k == x.seeds) x.seed[x.seeds++] = r->seed;
        double w = r->n > 0 ? (double)r->n : 1;
        sum[k] += w * r->value;
        weight[k] += w;
        error += r->standard_error;
        errors += w * r->standard_error;
        own[k] = !p->nested ? own[k] + r->n : r->n > own[k] ? r->n : own[k];
        share = share && is_share(r);
        x.value.n += r->n;
        only = r;
        lines++;
    }
    if (!lines) return x;
    double mean = 0, squares = 0, all = 0, total = 0;
    for (int k = 0; k < x.seeds; k++) {
        double step = (x.by_seed[k] = sum[k] / weight[k]) - mean;
        mean += step / (k + 1);
        squares += step * (x.by_seed[k] - mean);
        all += weight[k];
        total += sum[k];
        if (own[k] > x.samples) x.samples = own[k];
    }
    int64_t n = x.value.n;
    if (lines == 1) {
        x.value = (struct interval){
            .value = only->value, .standard_error = only->standard_error, .low = only->low, .high = only->high, .n = only->n};
    } else if (share) {
        x.value = wilson_share(total / all, x.samples);
        x.value.n = n;
    } else {
        x.value.value = total / all;
        error = p->nested ? errors / all : error / lines;
        if (x.seeds > 1 && isfinite(error)) { /* seeds share the samples: their error does not shrink with seeds */
            double runs = squares / (x.seeds - 1) / x.seeds, samples = error * error, both = runs + samples;
            double within = (double)x.samples - 1;
            double df = both > 0 ? both * both / (runs * runs / (x.seeds - 1) + samples * samples / (within > 1 ? within : 1)) : 1;
            x.value.standard_error = sqrt(both);
            x.value.low = x.value.value - t_quantile(0.975, df > 1 ? df : 1) * x.value.standard_error;
            x.value.high = 2 * x.value.value - x.value.low;
            x.value.df = df;
        } else if (p->nested && isfinite(error)) {
            x.value.standard_error = error;
            x.value.low = x.value.value - normal_quantile(0.975) * error;
            x.value.high = x.value.value + normal_quantile(0.975) * error;
        }
    }
    x.value.seeds = x.seeds;
    within_limits(&x.value, x.samples, only->metric);
    return x;
}

/* ---- what there is ---- */
void values_add(struct values *x, int64_t v) {
    int at = 0;
    while (at < x->n && x->v[at] < v) at++;
    if ((at < x->n && x->v[at] == v) || x->n == RETRIEVAL_LIMIT) return;
    memmove(&x->v[at + 1], &x->v[at], (size_t)(x->n++ - at) * sizeof *x->v);
    x->v[at] = v;
}

static bool in_group(const struct group *g, int64_t i) {
    char base[CONDITION_SIZE];
    if (g->d->result_section[i] != g->section) return false;
    condition_base(base, g->d->results[i].condition);
    return strcmp(base, g->condition) == 0;
}

bool depth_of(const char *position, double *depth) {
    char *end;
    if (*position < '0' || *position > '9' || !strchr(position, '.')) return false;
    *depth = strtod(position, &end);
    return !*end && *depth >= 0 && *depth <= 1;
}

static bool is_place(const char *position) {
    for (int i = 0; passkey_places[i]; i++)
        if (strcmp(position, passkey_places[i]) == 0) return true;
    return false;
}

struct values passkey_lengths(const struct group *g) {
    struct values x = {.n = 0};
    bool places = false;
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (!in_group(g, i) || r->writes >= 0) continue;
        bool measured = strcmp(r->metric, "exact_match") == 0 && is_place(r->position);
        places = places || measured;
        if (measured || strcmp(r->metric, "skipped") == 0) values_add(&x, r->context);
    }
    if (!places) x.n = 0; /* a depth grid */
    return x;
}

struct values summary_budgets(const struct group *g) {
    struct values x = {.n = 0};
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (in_group(g, i) && r->writes < 0 && (strcmp(r->metric, "overall") == 0 || strcmp(r->metric, "skipped") == 0))
            values_add(&x, r->context);
    }
    return x;
}

static struct values depths(const struct group *g, bool lengths) {
    struct values x = {.n = 0};
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        double depth;
        if (in_group(g, i) && r->writes < 0 && strcmp(r->metric, "exact_match") == 0 && depth_of(r->position, &depth))
            values_add(&x, lengths ? r->context : llround(10000 * depth));
    }
    return x;
}

struct values passkey_depths(const struct group *g) {
    return depths(g, false);
}
struct values passkey_depth_lengths(const struct group *g) {
    return depths(g, true);
}

struct values recall_pairs(const struct group *g) {
    struct values x = {.n = 0};
    for (int64_t i = 0; i < g->d->result_count; i++)
        if (in_group(g, i) && g->d->results[i].writes < 0) {
            int64_t pairs = atoll(condition_value(g->d->results[i].condition, "pairs"));
            if (pairs > 0) values_add(&x, pairs);
        }
    return x;
}

/* ---- by writes ---- */
/* Exact match under any number of pairs, without knock-out. */
static bool of_writes(const struct group *g, int64_t i) {
    const struct result_row *r = &g->d->results[i];
    return r->writes >= 0 && strcmp(r->metric, "exact_match") == 0 && in_group(g, i) && !*condition_value(r->condition, "knockout");
}

int writes_classes(struct writes_class out[RETRIEVAL_LIMIT], const struct group *g) {
    enum { SINGLE = 8 };
    struct values all = {.n = 0};
    int n = 0, power = -1;
    bool many = false;
    struct writes_class power_class[64];
    for (int i = 0; i < 64; i++) power_class[i] = (struct writes_class){INT64_MAX, -1};
    for (int64_t i = 0; i < g->d->result_count; i++) {
        if (!of_writes(g, i)) continue;
        int64_t w = g->d->results[i].writes;
        values_add(&all, w);
        for (power = 0; w >> power;) power++;
        struct writes_class *c = &power_class[power]; /* 0, 1, 2-3, 4-7 ... */
        if (w < c->low) c->low = w;
        if (w > c->high) c->high = w;
    }
    many = all.n > SINGLE;
    for (int i = 0; i < (many ? 64 : all.n); i++)
        if (!many)
            out[n++] = (struct writes_class){all.v[i], all.v[i]};
        else if (power_class[i].high >= 0)
            out[n++] = power_class[i];
    return n;
}

struct pooled writes_value(const struct group *g, const char *row, struct writes_class c, double *mean) {
    double sum = 0, n = 0;
    struct probe p = {
        .d = g->d, .section = g->section, .row = row, .metric = "exact_match", .writes_low = c.low, .writes_high = c.high};
    char room[CONDITION_SIZE];
    struct values pairs = recall_pairs(g);
    struct pooled best = {.value = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN}};
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (!of_writes(g, i) || strcmp(r->row, row) != 0 || r->writes < c.low || r->writes > c.high) continue;
        sum += (double)r->writes * (double)r->n;
        n += (double)r->n;
    }
    *mean = n > 0 ? sum / n : NAN;
    if (!(n > 0)) return best;
    if (!pairs.n) {
        condition_with(room, g->condition, NULL);
        p.condition = room;
        return probe_value(&p);
    }
    /* recall: all numbers of pairs together, each of its own condition; their samples are independent, those of seeds the same */
    double right = 0, total = 0, of_seed[REPORT_SEEDS] = {0};
    bool share = true;
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (!of_writes(g, i) || strcmp(r->row, row) != 0 || r->writes < c.low || r->writes > c.high) continue;
        right += r->value * (double)r->n;
        total += (double)r->n;
        for (int k = 0; k < g->d->seed_count; k++)
            if (g->d->seeds[k] == r->seed) of_seed[k] += (double)r->n;
        share = share && is_share(r);
    }
    for (int k = 0; k < g->d->seed_count; k++)
        if (of_seed[k] > (double)best.samples) best.samples = (int64_t)of_seed[k];
    if (share)
        best.value = wilson_share(right / total, best.samples);
    else
        best.value = (struct interval){.value = right / total, .standard_error = NAN, .low = NAN, .high = NAN};
    best.value.n = (int64_t)total;
    return best;
}

/* ---- seeds ---- */
struct values complete_seeds(const struct group *g, const char *row, int knock_out) {
    struct values out = {.n = 0};
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, row, knock_out, room);
    int lines[REPORT_SEEDS] = {0}, most = 0;
    for (int64_t i = 0; i < g->d->result_count; i++) {
        if (!agrees(&p, i)) continue;
        for (int k = 0; k < g->d->seed_count; k++)
            if (g->d->seeds[k] == g->d->results[i].seed && ++lines[k] > most) most = lines[k];
    }
    for (int k = 0; k < g->d->seed_count; k++)
        if (most && lines[k] == most) values_add(&out, g->d->seeds[k]);
    return out;
}

bool seeds_left_out(const struct group *g, const char *row) {
    for (int i = 0; i < g->d->row_count; i++) {
        char room[CONDITION_SIZE];
        const char *name = g->d->rows[i].name;
        if (row && strcmp(row, name) != 0) continue;
        struct probe p = group_probe(g, name, 0, room);
        if (probe_value(&p).seeds > complete_seeds(g, name, 0).n) return true;
    }
    return false;
}

/* ---- others ---- */
double passkey_chance(const struct group *g) {
    struct probe p = {
        .d = g->d, .section = g->section, .condition = g->condition, .metric = "digit_chance", .writes_low = -1, .writes_high = -1};
    double chance = probe_value(&p).value.value;
    const char *value = condition_value(g->condition, "value");
    return !isnan(chance) ? chance : strcmp(value, "digits") == 0 ? 0.1 : strcmp(value, "letters") == 0 ? 1.0 / 26 : NAN;
}

const char *passkey_skipped(const struct group *g, const char *row, int64_t length) {
    for (int64_t i = 0; i < g->d->result_count; i++) {
        const struct result_row *r = &g->d->results[i];
        if (strcmp(r->metric, "skipped") != 0 || r->context != length || strcmp(r->row, row) != 0 || !in_group(g, i)) continue;
        const char *reason = condition_value(r->condition, "skipped");
        return *reason ? reason : "no reason is given";
    }
    return NULL;
}

bool row_has_memory(const struct report_row *r) {
    return strcmp(r->architecture, "infini") == 0 && r->update[0] && strcmp(r->update, "none") != 0;
}

/* ---- words ---- */
static char *slot(void) {
    static char memory[16][160];
    static int next;
    return memory[next = (next + 1) % 16];
}

const char *show_share(struct interval i) {
    i.value *= 100;
    i.low *= 100;
    i.high *= 100;
    return show_interval(i, 1, false);
}

const char *show_length(int64_t tokens) {
    char *out = slot();
    if (tokens >= 1 << 20 && tokens % (1 << 20) == 0)
        snprintf(out, 160, "%lldM", (long long)tokens >> 20);
    else if (tokens >= 1 << 10 && tokens % (1 << 10) == 0)
        snprintf(out, 160, "%lldK", (long long)tokens >> 10);
    else
        snprintf(out, 160, "%s", show_integer((double)tokens));
    return out;
}

const char *show_condition(const struct group *g) {
    char *out = slot();
    int n = 0;
    for (const char *at = g->condition; *at;) {
        size_t length = strcspn(at, ";");
        n += snprintf(out + n, 160 - (size_t)n, "%s%.*s", n ? ", " : "", (int)length, at);
        if (n >= 160) break;
        at += length + (at[length] == ';');
    }
    for (char *c = out; *c; c++)
        if (*c == '=') *c = ' ';
    return out;
}
