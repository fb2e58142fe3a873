/* experiment_run.c - runs what a (row, seed) of an experiment lacks: trains it stage by stage, measures, writes cells and
 * runs/ID.json. Which of them, and what is said of it, is in experiment_whole.c.
 *
 * Killing it at any time loses at most the steps since the last checkpoint and the cell in work; a rerun goes on. It does not know
 * what a task measures (tasks/) nor how a step is done (train.c). */
#include "checkpoint.h"
#include "experiment_private.h"
#include "mixture.h"
#include "run_info.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#define CURVE_POINTS 100
#define CHECKPOINTS 20 /* per stage */

/* ---- sources ---- */
bool stage_carried_in(const struct experiment *x, const struct stage_spec *stage, const struct tokenizer *t) {
    struct source_part parts[SOURCE_PARTS];
    int n;
    bool filler = false;
    if (source_parse(x, stage, parts, &n, NULL) != 0) return false;
    for (int i = 0; i < n && !filler; i++) {
        struct source *s = parts[i].task ? parts[i].task->source(&parts[i].options, t, 0, NULL) : NULL;
        filler = s && source_carries(s);
        if (s) s->free(s);
    }
    return filler;
}

struct source *stage_source(const struct experiment *x, const struct stage_spec *stage, const struct tokenizer *t, int64_t seed,
                            json_t *data, struct error *e) {
    struct source_part parts[SOURCE_PARTS];
    struct source *sources[SOURCE_PARTS] = {NULL};
    double weights[SOURCE_PARTS];
    int n, made = 0, texts = 0;
    uint64_t stream = hash64(stage->name, strlen(stage->name), (uint64_t)seed); /* rows of one seed see equal documents */
    if (source_parse(x, stage, parts, &n, e) != 0) return NULL;
    for (; made < n; made++) {
        struct source_part *p = &parts[made];
        uint64_t hash = 0;
        weights[made] = p->weight;
        if (p->task) {
            sources[made] = p->task->source(&p->options, t, stream + (uint64_t)made, e);
            if (sources[made] && p->task->data_hash && p->task->data_hash(&p->options, t, &hash, e) != 0) made++, hash = 0, n = -1;
        } else {
            const struct corpus *c = stage_corpus(p->name, stage->limit, t, e);
            if (c) sources[made] = corpus_source(c, stream + (uint64_t)made), hash = c->hash;
        }
        texts += n >= 0 && sources[made] ? sources[made]->text_count : 0;
        if (n >= 0 && sources[made] && texts > CARRIED_TEXTS) {
            fail(e, "source = %s: carried-in states of more than %d texts; train on them in different stages", stage->source,
                 CARRIED_TEXTS);
            n = -1;
            made++;
        }
        if (n < 0 || !sources[made]) {
            for (int i = 0; i < made; i++) sources[i]->free(sources[i]);
            return NULL;
        }
        for (int i = 0; i < made; i++)
            if (sources[i]->filler && sources[made]->filler && !mixture_same_filler(sources[i], sources[made])) {
                fail(e, "source = %s: carried-in states of %s and %s have different fillers; train on them in different stages",
                     stage->source, parts[i].name, p->name);
                for (int k = 0; k <= made; k++) sources[k]->free(sources[k]);
                return NULL;
            }
        if (data)
            json_array_append_new(data, json_pack("{s:s, s:s, s:f}", "name", p->name, "hash", run_hex(hash), "weight", p->weight));
    }
    return n == 1 ? sources[0] : mixture_source(sources, weights, n, stream + SOURCE_PARTS);
}

/* The corpus that the model was last trained on; NULL: none. */
static const struct corpus *trained_on(const struct experiment *x, const struct stage_spec *stage, const struct tokenizer *t) {
    char name[160];
    const struct stage_spec *by = trained_on_name(name, x, stage);
    return by ? stage_corpus(name, by->limit, t, NULL) : NULL;
}

/* ---- one stage ---- */
struct training {
    const char *label;
    char *curve_path;
    FILE *curve;
    struct progress progress;
    int64_t first, every;
    double loss_sum, last_loss;
    int64_t loss_count;
};

/* Lines "STEP TOKENS METRIC VALUE" are kept beside the checkpoint until the stage is done; those after the checkpoint go. */
static int open_curve(struct training *w, int64_t step, struct error *e) {
    size_t size = 0;
    char *text = read_file(w->curve_path, &size, NULL);
    struct text_buffer kept = {0};
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        if (!end) break;
        if (strtoll(line, NULL, 10) < step) buffer_add(&kept, line, (size_t)(end + 1 - line));
        line = end + 1;
    }
    free(text);
    /* Whole before it is added to: killed here, no line of before the checkpoint is lost. */
    int result = write_file(w->curve_path, kept.data ? kept.data : "", kept.n, e);
    if (result == 0 && !(w->curve = fopen(w->curve_path, "ae")))
        result = fail(e, "%s: cannot write: %s", w->curve_path, strerror(errno));
    buffer_free(&kept);
    return result;
}

static void curve_gates(struct training *w, const struct trainer *t) {
    const struct model *m = t->model;
    int64_t heads = m->config.heads, all = m->config.layers * heads;
    double *gate = xcalloc((size_t)all, sizeof *gate);
    model_gates(m, gate, NULL);
    for (int64_t i = 0; i < all; i++)
        if (!isnan(gate[i]))
            fprintf(w->curve, "%lld %lld gate.%lld.%lld %.5g\n", (long long)t->step, (long long)t->tokens, (long long)(i / heads),
                    (long long)(i % heads), gate[i]);
    free(gate);
}

/* Length of the carried memory by layer, mean over heads and batch rows: Frobenius norm of M, Euclidean norm of z. */
static void curve_memory(struct training *w, const struct trainer *t) {
    static const char *const states[] = {"memory", "memory_norm"}, *const metrics[] = {"memory_norm", "z_norm"};
    const struct model *m = t->model;
    for (int i = 0; i < m->state_count; i++)
        for (int k = 0; k < 2; k++) {
            const struct state_spec *s = &m->states[i];
            char name[64];
            snprintf(name, sizeof name, "layers.%d.%s", s->layer, states[k]);
            if (s->kind != STATE_CARRIED || strcmp(name, s->name) != 0) continue;
            int64_t heads = m->config.batch * m->config.kv_heads, width = m->config.batch * s->width / heads;
            real *values = xcalloc((size_t)(heads * width), sizeof *values);
            double sum = 0;
            m->k->download(values, t->state->data[i], (size_t)(heads * width) * sizeof *values);
            for (int64_t h = 0; h < heads; h++) {
                double square = 0;
                for (int64_t j = 0; j < width; j++) square += (double)values[h * width + j] * (double)values[h * width + j];
                sum += sqrt(square) / (double)heads;
            }
            free(values);
            fprintf(w->curve, "%lld %lld %s.%d %.5g\n", (long long)t->step, (long long)t->tokens, metrics[k], s->layer, sum);
        }
}

/* The factor of update = delta_gamma, by layer. */
static void curve_gamma(struct training *w, const struct trainer *t) {
    for (int layer = 0; layer < t->model->config.layers; layer++) {
        double gamma = trainer_gamma(t, layer);
        if (!isnan(gamma)) fprintf(w->curve, "%lld %lld gamma.%d %.5g\n", (long long)t->step, (long long)t->tokens, layer, gamma);
    }
}

/* A point that cannot be written ends the training at once: a checkpoint after it would be gone on from without the point. */
static int log_line(void *data, const struct trainer *t, const struct step_result *r, struct error *e) {
    struct training *w = data;
    if (!w->curve) {
        if (open_curve(w, t->step, e)) return -1;
        w->first = t->step - 1;
        progress_begin(&w->progress, w->label, t->config.steps);
        w->progress.first = w->first;
    }
    w->loss_sum += r->loss;
    w->loss_count++;
    w->last_loss = w->loss_sum / (double)w->loss_count;
    progress_update(&w->progress, t->step, "loss %.4f  %.0f tokens/s", r->loss,
                    t->seconds > 0 ? (double)t->tokens_read / t->seconds : 0);
    bool last = t->step == t->config.steps;
    if (t->step % w->every != 0 && !last) return 0;
    fprintf(w->curve, "%lld %lld loss %.9g\n", (long long)t->step, (long long)t->tokens, w->last_loss);
    fprintf(w->curve, "%lld %lld lr %.9g\n", (long long)t->step, (long long)t->tokens, r->lr);
    fprintf(w->curve, "%lld %lld grad_norm %.9g\n", (long long)t->step, (long long)t->tokens, r->grad_norm);
    /* By layer and head: many, and slow to change. */
    if (last || t->step % (5 * w->every) == 0) {
        curve_gates(w, t);
        curve_memory(w, t);
        curve_gamma(w, t);
    }
    w->loss_sum = 0;
    w->loss_count = 0;
    return fflush(w->curve) || ferror(w->curve) ? fail(e, "%s: cannot write: %s", w->curve_path, strerror(errno)) : 0;
}

static void measure(struct cell_writer *w, const char *metric, const char *unit, int64_t context, double value) {
    cell_value(w, &(struct measurement){.split = "train",
                                        .condition = "",
                                        .metric = metric,
                                        .unit = unit,
                                        .position = "all",
                                        .context = context,
                                        .n = 1,
                                        .value = value});
}

static int save_training(struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
                         const char *cell, const char *run, const struct trainer *t, const char *curve_path, struct error *e) {
    const struct model_config *c = &t->model->config;
    int64_t step_tokens = c->segment * c->segments;
    struct cell_writer *w =
        cell_begin(s->r, cell, run, s->x->name, row->name, c->arch->name, stage->name, seed, TRAINING_TASK, TRAINING_VERSION);
    double final = NAN;
    size_t size;
    char *text = read_file(curve_path, &size, NULL);
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n'), metric[48];
        long long step, tokens;
        double value;
        if (!end) break;
        if (sscanf(line, "%lld %lld %47s %lf", &step, &tokens, metric, &value) == 4) {
            cell_curve(w, step, tokens, metric, value);
            if (strcmp(metric, "loss") == 0) final = value;
        }
        line = end + 1;
    }
    free(text);
    int64_t carried = model_carried(c, STATE_CONTEXT);
    measure(w, "parameters", "count", 0, (double)t->model->elements);
    measure(w, "carried_elements", "elements", STATE_CONTEXT, (double)carried);
    measure(w, "state_bytes", "bytes", STATE_CONTEXT, (double)carried * (double)sizeof(real));
    measure(w, "attended_elements", "elements", STATE_CONTEXT, c->arch->attended ? (double)c->arch->attended(c, STATE_CONTEXT) : 0);
    measure(w, "tokens_seen", "tokens", step_tokens, (double)t->tokens);
    measure(w, "tokens_read", "tokens", step_tokens, (double)t->tokens_read);
    measure(w, "tokens_per_second", "tokens/s", step_tokens, t->seconds > 0 ? (double)t->tokens_read / t->seconds : NAN);
    measure(w, "train_flops", "FLOP", step_tokens, t->flops);
    measure(w, "flops_per_token", "FLOP/token", step_tokens, t->tokens_read > 0 ? t->flops / (double)t->tokens_read : NAN);
    measure(w, "wall_seconds", "s", step_tokens, t->seconds);
    measure(w, "roof_share", "fraction", step_tokens,
            t->seconds > 0 && s->roof > 0 ? t->flops / t->seconds / (s->roof * 1e9) : NAN);
    if (c->arch->compressive) measure(w, "n_over_dkey", "ratio", 0, (double)c->segment / (double)c->e);
    measure(w, "final_loss", "nats/token", step_tokens, final);
    return cell_commit(w, e) != 0 ? -2 : 0;
}

struct pair {
    struct session *s;
    const struct row_spec *row;
    int64_t seed;
    const struct tokenizer *tokenizer;
    char run[40];
    json_t *json;
};

/* Before and after each training; the better one counts, because other work on the machine can only lower it. Tests, which train
 * for less time than the measurement takes, and the gate, which judges no speed, give it in INFINIBENCH_TEST_ROOF (GFLOP/s). */
static void measure_roof(struct session *s) {
    static double roof; /* the best of this process */
    const char *given = getenv("INFINIBENCH_TEST_ROOF");
    if (given) {
        s->roof = strtod(given, NULL);
        return;
    }
    double now = s->o->info && strcmp(s->o->info->backend, "cpu") != 0 ? NAN : kernels_cpu_roof();
    s->roof = roof = now > roof ? now : roof > 0 ? roof : NAN;
}

/* The model with another shape of the step: same parameters. What an architecture declares may depend on the shape (the window of a
 * transformer that was trained on whole steps), so it is built anew. Takes m; NULL on failure. */
static struct model *with_shape(struct model *m, const struct model_config *c, const struct kernels *k, struct error *e) {
    if (m->config.batch == c->batch && m->config.segments == c->segments) return m;
    struct model *to = model_create(c, k, 0, e);
    for (int i = 0; to && i < to->param_count; i++) {
        const struct param *from = model_find(m, to->params[i]->name);
        CHECK(from && from->n == to->params[i]->n && to->param_count == m->param_count, "'%s' depends on the shape of a step",
              to->params[i]->name);
        k->move(to->params[i]->leaf.data, from->leaf.data, (size_t)from->n * sizeof(real));
    }
    model_free(m);
    return to;
}

/* Initialised, or the model that the row says it starts from. */
static struct model *initial_model(struct pair *p, struct error *e) {
    struct model *m = model_create(&p->row->config, p->s->o->k, (uint64_t)p->seed, e);
    if (!m || !*p->row->start) return m;
    char *path = project_file(p->row->start);
    int result = path ? model_load_into(m, path, e) : fail(e, "start = %s: there is no such file any more", p->row->start);
    free(path);
    if (result == 0) return m;
    model_free(m);
    return NULL;
}

/* The model after a stage (NULL: initialised): loaded if it was trained and recorded, else trained. *status: -1 or -2 on failure.
 */
static struct model *model_after(struct pair *p, const struct stage_spec *stage, int *status, struct error *e) {
    struct session *s = p->s;
    char cell[20];
    *status = -1;
    if (!stage) return initial_model(p, e);
    char *folder = checkpoint_folder(s->x, p->row, p->seed, stage, e);
    if (!folder || training_cell(cell, s->x, p->row, p->seed, stage, e) != 0) {
        free(folder);
        return NULL;
    }
    char *file = xprintf("%s/model.safetensors", folder), *curve = xprintf("%s/curve.txt", folder);
    bool begun = access(file, R_OK) == 0, recorded = s->have(s, cell), whole = begun && whole_stage(file, p->row, stage);
    if (recorded && !whole && kept_model(s, p->row, p->seed, stage)) {
        free(file);
        file = kept_path(s, p->row, p->seed, stage);
        begun = whole = true;
    }
    struct options options;
    struct train_config config;
    stage_train_options(&options, p->row, stage);
    train_config_from(&config, &options);
    config.gate_rate = p->row->config.gate_rate;
    struct model_config shape;
    stage_config(&shape, p->row, stage);
    bool fits = whole && recorded;
    if (!fits) { /* said before anything is taken */
        config.carried_in = stage_carried_in(s->x, stage, p->tokenizer);
        fits = training_fits(&shape, &config, e) == 0;
    }
    struct model *m = fits ? model_after(p, begun ? NULL : stage_find(s->x, stage->from), status, e) : NULL;
    if (m && !(m = with_shape(m, &shape, s->o->k, e))) *status = -1;
    struct source *source = NULL;
    struct trainer *t = NULL;
    json_t *data = json_array();
    int result = m ? 0 : *status;
    if (m && whole && recorded) {
        result = model_load_into(m, file, e);
    } else if (m) {
        source = stage_source(s->x, stage, p->tokenizer, p->seed, data, e);
        t = source ? trainer_create(m, &config, source, e) : NULL;
        result = t ? make_folders(folder, e) : -1;
        if (t && result != 0)
            fail(e, "%s; models in training are kept there: start from a folder that can be written, or run with --checkpoints DIR",
                 e->text);
        if (t && source_carries(source) && !t->carried_in && !progress_quiet)
            fprintf(stderr,
                    "%s seed %lld %s: %s carries no state that grows by what is read: its documents start from the empty state\n",
                    p->row->name, (long long)p->seed, stage->name, shape.arch->name);
        if (result == 0) {
            char *label = xprintf("%s seed %lld %s", p->row->name, (long long)p->seed, stage->name);
            struct training w = {.label = label,
                                 .curve_path = curve,
                                 .first = -1,
                                 .every = config.steps > CURVE_POINTS ? config.steps / CURVE_POINTS : 1};
            struct train_log log = {.line = log_line, .data = &w, .every = 1};
            measure_roof(s);
            /* Points of the curve are means over `every` steps: a run that goes on from a checkpoint begins with a whole one. */
            int64_t points = config.steps / CHECKPOINTS / w.every;
            result = train(t, folder, (points > 1 ? points : 1) * w.every, p->tokenizer, &log, e);
            measure_roof(s);
            if (w.first >= 0) progress_end(&w.progress);
            if (w.curve && fclose(w.curve) && result == 0) result = fail(e, "%s: cannot write: %s", curve, strerror(errno));
            free(label);
        }
        if (result == 0 && p->json) {
            json_t *j = json_pack("{s:s, s:O*, s:s, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:b, s:O}", "source", stage->source,
                                  "commit", json_object_get(p->json, "commit"), "checkpoint", folder, "steps", (json_int_t)t->step,
                                  "tokens", (json_int_t)t->tokens, "wall_seconds", t->seconds, "flops", t->flops,
                                  "tokens_per_second", t->seconds > 0 ? (double)t->tokens_read / t->seconds : 0., "state_bytes",
                                  (json_int_t)(t->state ? state_bytes(t->state) : 0), "batch", (json_int_t)shape.batch, "segments",
                                  (json_int_t)shape.segments, "carried_in", t->carried_in != NULL, "data", data);
            json_object_set_new(json_object_get(p->json, "stages"), stage->name, j);
            json_object_set_new(p->json, "parameters", json_integer((json_int_t)m->elements));
            json_object_set_new(p->json, "roof_gflops", isfinite(s->roof) ? json_real(s->roof) : json_null());
        }
        /* Described before it counts: a kill between the two leaves no number without its description. */
        if (result == 0 && p->json && s->r && results_save_run(s->r, p->run, p->json, e) != 0) result = -2;
        if (result == 0 && !recorded && s->r) result = save_training(s, p->row, p->seed, stage, cell, p->run, t, curve, e);
    }
    if (result == 0) result = keep_model(s, p->row, p->seed, stage, m, p->tokenizer, e);
    trainer_free(t);
    if (source) source->free(source);
    json_decref(data);
    free(curve);
    free(file);
    free(folder);
    *status = result;
    if (result == 0) return m;
    if (m) model_free(m);
    return NULL;
}

/* ---- one (row, seed) ---- */
bool pair_missing(const struct session *s, const struct row_spec *row, int64_t seed, bool *missing, struct error *e) {
    char cell[20];
    *missing = false;
    for (int i = 0; i < s->x->stage_count && !s->o->tasks; i++) {
        if (!row_trained(s->x, row, &s->x->stages[i], seed)) continue;
        if (training_cell(cell, s->x, row, seed, &s->x->stages[i], e) != 0) return false;
        *missing = *missing || !s->have(s, cell) || unkept(s, row, seed, &s->x->stages[i]);
    }
    for (int i = 0; i < s->x->task_count; i++) {
        if (!row_measured(s->x, row, &s->x->tasks[i], seed) || !task_wanted(s->o, &s->x->tasks[i])) continue;
        if (experiment_cell(cell, s->x, row, seed, &s->x->tasks[i], e) != 0) return false;
        *missing = *missing || !s->have(s, cell);
    }
    return true;
}

static int run_task(struct pair *p, struct model *m, const struct stage_spec *stage, const struct task_spec *task, const char *cell,
                    struct error *e) {
    struct session *s = p->s;
    double start = now();
    struct cell_writer *w = cell_begin(s->r, cell, p->run, s->x->name, p->row->name, p->row->config.arch->name,
                                       stage ? stage->name : NO_STAGE, p->seed, task->task->name, task->task->version);
    struct task_run run = {.model = m,
                           .tokenizer = p->tokenizer,
                           .options = &task->options,
                           .train = trained_on(s->x, stage, p->tokenizer),
                           .seed = (uint64_t)p->seed,
                           .out = w};
    if (task->task->run(&run, e) != 0 || stream_trouble(m, e) != 0) {
        fail(e, "[task %s]: %s", task->name, e->text);
        cell_drop(w);
        return -1;
    }
    json_object_set_new(json_object_get(p->json, "tasks"), task->name,
                        json_pack("{s:s, s:O*, s:s, s:i, s:f}", "cell", cell, "commit", json_object_get(p->json, "commit"), "task",
                                  task->task->name, "version", task->task->version, "wall_seconds", now() - start));
    if (results_save_run(s->r, p->run, p->json, e) != 0) {
        cell_drop(w);
        return -2;
    }
    return cell_commit(w, e) != 0 ? -2 : 0;
}

/* The most since the process began with this row and seed, and of earlier runs of it. */
static void note_peak(struct pair *p) {
    json_int_t before = json_integer_value(json_object_get(p->json, "peak_resident_bytes")), now_at = (json_int_t)peak_resident();
    json_object_set_new(p->json, "peak_resident_bytes", json_integer(before > now_at ? before : now_at));
}

static int run_stage(struct pair *p, const struct stage_spec *stage, struct error *e) {
    struct session *s = p->s;
    const char *name = stage ? stage->name : NO_STAGE;
    char cells[EXPERIMENT_LIMIT][20];
    bool todo[EXPERIMENT_LIMIT] = {false}, any = false;
    for (int i = 0; i < s->x->task_count; i++) {
        if (strcmp(s->x->tasks[i].after, name) != 0 || !row_measured(s->x, p->row, &s->x->tasks[i], p->seed)) continue;
        if (!task_wanted(s->o, &s->x->tasks[i])) continue;
        if (experiment_cell(cells[i], s->x, p->row, p->seed, &s->x->tasks[i], e) != 0) return -1;
        todo[i] = !s->have(s, cells[i]);
        any = any || todo[i];
    }
    if (stage && !any && !s->o->tasks) {
        char cell[20];
        if (training_cell(cell, s->x, p->row, p->seed, stage, e) != 0) return -1;
        any = !s->have(s, cell) || unkept(s, p->row, p->seed, stage);
    }
    if (!any) return 0;
    int result = 0;
    struct model *m = model_after(p, stage, &result, e);
    if (!m) return result ? result : -1;
    result = 0;
    for (int i = -1; i < s->x->task_count && result == 0; i++) { /* -1: the training; saved after each, so that a kill loses none */
        if (i >= 0 && !todo[i]) continue;
        if (i >= 0) note_peak(p); /* the task memory counts its own */
        if (i >= 0) result = run_task(p, m, stage, &s->x->tasks[i], cells[i], e);
        note_peak(p);
        if (result == 0 && results_save_run(s->r, p->run, p->json, e) != 0) result = -2;
    }
    model_free(m);
    return result;
}

int pair_run(struct session *s, const struct row_spec *row, int64_t seed, struct error *e) {
    struct pair p = {.s = s, .row = row, .seed = seed, .tokenizer = tokenizer_open(s->x->tokenizer, e)};
    char hash[20];
    if (!p.tokenizer) return -1;
    if (chain_hash(hash, s->x, row, seed, s->x->stage_count ? &s->x->stages[s->x->stage_count - 1] : NULL, e) != 0) return -1;
    snprintf(p.run, sizeof p.run, "%.20s-s%lld-%.8s", row->name, (long long)(seed % 1000000), hash);
    p.json = run_describe(s, row, seed, p.run);
    peak_forget(); /* of the row before */
    int result = run_stage(&p, NULL, e);
    for (int i = 0; i < s->x->stage_count && result == 0; i++)
        if (row_trained(s->x, row, &s->x->stages[i], seed)) result = run_stage(&p, &s->x->stages[i], e);
    json_decref(p.json);
    return result;
}

struct model *train_to(struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
                       const struct tokenizer **t, struct error *e) {
    struct pair p = {.s = s, .row = row, .seed = seed, .tokenizer = tokenizer_open(s->x->tokenizer, e)};
    int status;
    *t = p.tokenizer;
    return p.tokenizer ? model_after(&p, stage, &status, e) : NULL;
}
