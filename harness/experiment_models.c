/* experiment_models.c - where the models of an experiment are: checkpoints of this machine, and models kept with the results.
 *
 * Checkpoints (build/checkpoints, or where --checkpoints says) are large and stay on the machine; a model that is kept (`keep` of
 * its stage) comes with the results, so that something new can be measured on it, or a later stage trained, without training it
 * again. */
#include "checkpoint.h"
#include "experiment_private.h"
#include "run_info.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *checkpoint_folder(const struct experiment *x, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
                        struct error *e) {
    char hash[20];
    if (chain_hash(hash, x, row, seed, stage, e) != 0) return NULL;
    return xprintf("%s/%s/%s-seed%lld-%s/%s", x->checkpoints, x->name, row->name, (long long)seed, hash, stage->name);
}

char *kept_path(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage) {
    const char *parent = getenv(JOB_VARIABLE); /* a job keeps models where its parent does */
    return xprintf("%s/models/%s-s%lld-%s.safetensors", parent && *parent ? parent : s->folder, row->name, (long long)seed,
                   stage->name);
}

bool kept_model(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage) {
    struct st_file f = {0};
    struct error ignored;
    char chain[20];
    if (!s->folder || !seed_listed(&stage->keep, seed) || chain_hash(chain, s->x, row, seed, stage, &ignored) != 0) return false;
    char *path = kept_path(s, row, seed, stage);
    bool same = access(path, R_OK) == 0 && st_read(path, &f, &ignored) == 0;
    free(path);
    if (!same) return false;
    const char *of = st_meta(&f, "chain");
    same = of && strcmp(of, chain) == 0;
    st_free(&f);
    return same;
}

int keep_model(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
               const struct model *m, const struct tokenizer *t, struct error *e) {
    char chain[20], number[24];
    if (!s->r || !seed_listed(&stage->keep, seed) || kept_model(s, row, seed, stage)) return 0;
    if (chain_hash(chain, s->x, row, seed, stage, e) != 0) return -1;
    char *path = kept_path(s, row, seed, stage), *folder = xprintf("%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(number, sizeof number, "%lld", (long long)seed);
    const char *keys[] = {"experiment", "row", "seed", "stage", "chain"};
    const char *values[] = {s->x->name, row->name, number, stage->name, chain};
    int result = make_folders(folder, e);
    if (result == 0) result = model_save(path, m, t, keys, values, 5, e);
    free(folder);
    free(path);
    return result;
}

bool whole_stage(const char *file, const struct row_spec *row, const struct stage_spec *stage) {
    struct error ignored;
    struct st_file f;
    struct options options;
    if (access(file, R_OK) != 0 || st_read(file, &f, &ignored) != 0) return false;
    stage_train_options(&options, row, stage);
    const char *step = st_meta(&f, "step");
    bool whole = !step || atoll(step) == options_int(&options, "steps");
    st_free(&f);
    return whole;
}

bool unkept(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage) {
    struct error ignored;
    if (!seed_listed(&stage->keep, seed) || kept_model(s, row, seed, stage)) return false;
    char *folder = checkpoint_folder(s->x, row, seed, stage, &ignored);
    char *file = xprintf("%s/model.safetensors", folder ? folder : "");
    bool here = folder && whole_stage(file, row, stage);
    free(folder);
    free(file);
    return here;
}
