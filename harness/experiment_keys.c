/* experiment_keys.c - the keys of each section of an experiment file, with what they mean: for hints in errors and for
 * `infinibench list keys`. It reads nothing; what a key does is decided in experiment.c and experiment_stage.c. */
#include "experiment_parse.h"

#include <string.h>

const struct section_key experiment_keys[] = {
    {"experiment", "title", "one line, shown above every table"},
    {"experiment", "paper", "what it repeats: reference, section, table"},
    {"experiment", "table", "NAME: results/paper/NAME.csv stands beside ours in the report"},
    {"experiment", "seeds", "training seeds, a list such as 1, 2, 5-8 (default 1)"},
    {"budget", "preset", "shape that all rows start from (infinibench list presets); needed"},
    {"budget", "tokenizer", "bytes (the default), or sentencepiece:FILE"},
    {"stage", "source", "corpus, task:NAME, or a mixture by documents: kjv:0.7, task:passkey:0.3; needed"},
    {"stage", "limit", "bytes read of each file of a corpus; 0 (the default): all"},
    {"stage", "from", "stage whose model it goes on with, or init (default: the stage before, of the first init)"},
    {"stage", "seeds", "those of the seeds that go through it (default: all of the stage that it goes on with)"},
    {"stage", "only", "ROW, ROW: rows that go through it (default: all of the stage that it goes on with)"},
    {"stage", "keep", "seeds whose model after this stage is kept in RESULTS/models (default: none)"},
    {"stage", "batch", "shape of the step in this stage (default: the row's)"},
    {"stage", "segments", "shape of the step in this stage (default: the row's)"},
    {"row", "architecture", "one of infinibench list architectures, whose options are keys of the row; needed"},
    {"row", "seeds", "those of the experiment's seeds that it is trained with (default: all)"},
    {"row", "start", "model file that it starts from, instead of drawn parameters"},
    {"task", "task", "one of infinibench list tasks, whose options are keys of the section (default: the section's name)"},
    {"task", "after", "stage after which it is measured (default: the last); init: before training; none: only a source"},
    {"task", "only", "ROW, ROW: rows that it is measured on (default: all)"},
    {"task", "seeds", "seeds that it is measured on (default: all of its stage)"},
    {"task", "part_of", "earlier section of this task and stage: the report shows both as that one"},
    {NULL, NULL, NULL},
};

int section_keys(const char *section, const char *names[SECTION_KEYS]) {
    int n = 0;
    for (const struct section_key *k = experiment_keys; k->section; k++) {
        if (strcmp(k->section, section) != 0) continue;
        CHECK(n < SECTION_KEYS, "more than %d keys in [%s]", SECTION_KEYS, section);
        names[n++] = k->key;
    }
    return n;
}
