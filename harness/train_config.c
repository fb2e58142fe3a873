/* train_config.c - the options of training, and the learning rate by step. */
#include "train.h"

#include <math.h>

const struct option train_options[] = {
    {"optimizer", OPTION_CHOICE, "adamw", 0, 0, "adamw|adafactor", "AdamW, or Adafactor with factored second moments"},
    {"lr", OPTION_REAL, "3e-3", 0, 1e3, NULL, "peak learning rate"},
    {"lr_min_ratio", OPTION_REAL, "0.05", 0, 1, NULL, "final rate as a part of the peak"},
    {"warmup", OPTION_INT, "100", 0, 1e9, NULL, "steps of linear warm-up"},
    {"schedule", OPTION_CHOICE, "cosine", 0, 0, "cosine|constant", "after the warm-up"},
    {"steps", OPTION_INT, "1000", 0, 1e12, NULL, "optimiser steps"},
    {"weight_decay", OPTION_REAL, "0.1", 0, 1e3, NULL, "decoupled, on weight matrices only (never norms, gates)"},
    {"beta1", OPTION_REAL, "0.9", 0, 1, NULL, "AdamW first moment"},
    {"beta2", OPTION_REAL, "0.95", 0, 1, NULL, "AdamW second moment"},
    {"adam_eps", OPTION_REAL, "1e-8", 0, 1, NULL, "AdamW denominator"},
    {"clip", OPTION_REAL, "1", 0, 1e9, NULL, "bound of the global gradient norm; 0: none"},
    {"parameter_scale", OPTION_BOOL, "no", 0, 0, NULL, "Adafactor: rate relative to the size of each tensor"},
    {"carry", OPTION_BOOL, "yes", 0, 0, NULL, "state values go on to the next step of the same document"},
    {"step_mode", OPTION_CHOICE, "layer", 0, 0, "layer|segment|recompute",
     "layer by layer; segment by segment; the same, recomputed in the backward pass"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

void train_config_from(struct train_config *c, const struct options *o) {
    *c = (struct train_config){.optimizer = options_choice(o, "optimizer"),
                               .lr = options_real(o, "lr"),
                               .lr_min_ratio = options_real(o, "lr_min_ratio"),
                               .decay = options_real(o, "weight_decay"),
                               .b1 = options_real(o, "beta1"),
                               .b2 = options_real(o, "beta2"),
                               .eps = options_real(o, "adam_eps"),
                               .clip = options_real(o, "clip"),
                               .gate_rate = 10,
                               .steps = options_int(o, "steps"),
                               .warmup = options_int(o, "warmup"),
                               .cosine = options_choice(o, "schedule") == 0,
                               .carry = options_bool(o, "carry"),
                               .mode = options_choice(o, "step_mode"),
                               .parameter_scale = options_bool(o, "parameter_scale")};
}

double schedule_rate(const struct train_config *c, int64_t step) {
    double warm = step < c->warmup ? (double)(step + 1) / (double)c->warmup : 1;
    if (!c->cosine || c->steps <= c->warmup || step < c->warmup) return c->lr * warm;
    double at = (double)(step - c->warmup) / (double)(c->steps - c->warmup);
    return c->lr * (c->lr_min_ratio + (1 - c->lr_min_ratio) * 0.5 * (1 + cos(M_PI * (at < 1 ? at : 1))));
}
