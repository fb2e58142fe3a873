/* report_cost.c - what training cost, by row and stage. A stage that goes on from another one has cost what all stages of its chain
 * have: tokens, FLOP and time are summed from initialisation on. */
#include "experiment.h"
#include "model.h"
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int report_chain(const struct report_data *d, const char *stage, const char *chain[REPORT_SECTIONS]) {
    int n = 0;
    while (stage && n < REPORT_SECTIONS && strcmp(stage, "init") != 0) {
        char section[64];
        chain[n++] = stage;
        snprintf(section, sizeof section, "stage %.39s", stage);
        stage = report_setting(d, section, "from"); /* a resolved experiment.ini always says it */
    }
    return n;
}

/* A metric of the training of a stage; NaN: there is none. */
static double one(const struct report_data *d, const char *stage, const char *row, int64_t seed, const char *metric) {
    for (int s = 0; s < d->section_count; s++) {
        if (strcmp(d->sections[s].task, "training") != 0 || strcmp(d->sections[s].stage, stage) != 0) continue;
        const struct result_row *r = report_find(d, s, row, seed, metric, "", NULL);
        return r ? r->value : NAN;
    }
    return NAN;
}

double report_cost(const struct report_data *d, const char *stage, const char *row, const char *metric) {
    const char *chain[REPORT_SECTIONS];
    int stages = report_chain(d, stage, chain), seeds = 0;
    double total = 0;
    for (int k = 0; k < d->seed_count; k++) { /* a seed that has not come so far does not count */
        double sum = 0;
        if (isnan(one(d, stage, row, d->seeds[k], metric))) continue;
        for (int i = 0; i < stages; i++) sum += one(d, chain[i], row, d->seeds[k], metric);
        total += sum;
        seeds++;
    }
    return seeds ? total / seeds : NAN;
}

void report_shape(const struct report_data *d, const char *row, double *formula, double *apart) {
    char *section = xprintf("row %s", row);
    const char *architecture = report_setting(d, section, "architecture");
    struct model_config c = {0};
    struct error ignored;
    *formula = *apart = NAN;
    /* Only a resolved experiment.ini has every key of the shape; it needs no tokenizer, unlike experiment_read. */
    if (architecture && report_setting(d, section, "layers") && config_preset(&c, "nano", &ignored) == 0 &&
        (c.arch = baseline_find(architecture, &ignored))) {
        options_init(&c.options, c.arch->options);
        int bad = 0;
        for (int i = 0; i < d->setting_count; i++) {
            const struct report_setting *s = &d->settings[i];
            if (strcmp(s->section, section) != 0) continue;
            int set = options_has(&c.options, s->key) ? options_set(&c.options, s->key, s->value, section, &ignored)
                                                      : config_set(&c, s->key, s->value, section, &ignored);
            bad += set < 0;
        }
        if (!bad && config_finish(&c, &ignored) == 0) {
            *formula = (double)c.arch->footprint(&c)->elements(&c, STATE_CONTEXT);
            *apart = c.arch->apart ? c.arch->apart(&c) : 0;
        }
    }
    free(section);
}

/* Share of the roof over the chain, weighted by time; NaN where a stage has none, or one above the roof: the roof was then measured
 * while other work ran. */
static double roof_share(const struct report_data *d, const char *stage, const char *row) {
    const char *chain[REPORT_SECTIONS];
    int stages = report_chain(d, stage, chain);
    double work = 0, time = 0;
    for (int k = 0; k < d->seed_count; k++)
        for (int i = 0; i < stages; i++) {
            double seconds = one(d, chain[i], row, d->seeds[k], "wall_seconds");
            double share = one(d, chain[i], row, d->seeds[k], "roof_share");
            if (isnan(one(d, stage, row, d->seeds[k], "wall_seconds"))) continue;
            work += share <= 1 ? share * seconds : NAN;
            time += seconds;
        }
    return work / time;
}

/* Is something measured of the row after the stage, or is the stage its last one? The others are only on the way. */
static bool worth_a_line(const struct report_data *d, int section, const char *row) {
    bool last = true;
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct report_section *s = &d->sections[d->result_section[i]];
        if (strcmp(d->results[i].row, row) != 0) continue;
        if (strcmp(s->task, "training") == 0)
            last = last && d->result_section[i] <= section;
        else if (strcmp(s->stage, d->sections[section].stage) == 0)
            return true;
    }
    return last;
}

/* "train", "one + two", "c128 + ... + c1280 (8 stages)" */
static void stages_cell(struct table *t, const struct report_data *d, const char *stage) {
    const char *chain[REPORT_SECTIONS];
    int n = report_chain(d, stage, chain);
    if (n < 2)
        table_cell(t, "%s", stage);
    else if (n == 2)
        table_cell(t, "%s + %s", chain[1], stage);
    else
        table_cell(t, "%s + … + %s (%d stages)", chain[n - 1], stage, n);
}

void cost_table(struct table *t, const struct report_data *d) {
    static const char *const heads[] = {"<row",       "<architecture", "N/d_key",       "<stages",       "training tokens",
                                        "FLOP/token", "tokens/s",      "share of roof", "training FLOP", "wall time"};
    *t = (struct table){.heads = heads, .columns = (int)(sizeof heads / sizeof *heads)};
    for (int s = 0; s < d->section_count; s++) {
        const char *stage = d->sections[s].stage;
        if (strcmp(d->sections[s].task, "training") != 0) continue;
        for (int i = 0; i < d->row_count; i++) {
            const char *row = d->rows[i].name;
            double ratio = report_stage(d, stage, row, "n_over_dkey"), share = roof_share(d, stage, row);
            double read = report_cost(d, stage, row, "tokens_read"); /* older results hold only what was scored */
            double tokens = isnan(read) ? report_cost(d, stage, row, "tokens_seen") : read,
                   flops = report_cost(d, stage, row, "train_flops");
            double seconds = report_cost(d, stage, row, "wall_seconds");
            if (isnan(report_stage(d, stage, row, "parameters")) || !worth_a_line(d, s, row)) continue;
            table_cell(t, "%s", row);
            table_cell(t, "%s", d->rows[i].architecture);
            if (isnan(ratio))
                table_cell(t, "–");
            else
                table_cell(t, "%g", ratio);
            stages_cell(t, d, stage);
            table_cell(t, "%s", show_number(tokens));
            table_cell(t, "%s", show_number(flops / tokens));
            table_cell(t, "%s", show_number(tokens / seconds));
            if (isnan(share))
                table_cell(t, "–");
            else
                table_cell(t, "%.0f %%", 100 * share);
            table_cell(t, "%s", show_number(flops));
            table_cell(t, "%s", show_seconds(seconds));
        }
    }
}
