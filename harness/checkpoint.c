/* checkpoint.c - models as safetensors files, and training checkpoints: the model file names the optimizer and state files that
 * belong to it, so its rename is the commit. The file format is safetensors.c's business, the steps of training are train.c's. */
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- float32 in files, real in memory ---- */

/* A tensor list that owns its data. */
struct list {
    struct st_tensor *tensors;
    int count, room;
};

static struct st_tensor *list_add(struct list *l, const char *prefix, const char *name, const char *dtype, int64_t n) {
    if (l->count == l->room) l->tensors = xrealloc(l->tensors, (size_t)(l->room = l->room ? l->room * 2 : 64), sizeof *l->tensors);
    struct st_tensor *t = &l->tensors[l->count++];
    *t = (struct st_tensor){.rank = 1, .shape = {n}, .bytes = (size_t)n * 4};
    snprintf(t->name, sizeof t->name, "%s%s", prefix, name);
    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    t->data = xcalloc((size_t)n, 4);
    return t;
}

static void list_free(struct list *l) {
    for (int i = 0; i < l->count; i++) free((void *)(uintptr_t)l->tensors[i].data);
    free(l->tensors);
}

/* n elements of backend memory as a float32 tensor (rank 1; the caller may give it another shape). */
static struct st_tensor *list_add_reals(struct list *l, const struct kernels *k, const char *prefix, const char *name,
                                        const real *data, int64_t n) {
    struct st_tensor *t = list_add(l, prefix, name, "F32", n);
    float *to = (float *)(uintptr_t)t->data;
    if (sizeof(real) == sizeof(float)) {
        if (n) k->download(to, data, (size_t)n * sizeof(real));
        return t;
    }
    real *host = xcalloc((size_t)n, sizeof *host);
    if (n) k->download(host, data, (size_t)n * sizeof(real));
    for (int64_t i = 0; i < n; i++) to[i] = (float)host[i];
    free(host);
    return t;
}

static void upload_reals(const struct kernels *k, real *to, const struct st_tensor *t) {
    int64_t n = (int64_t)(t->bytes / 4);
    if (!n) return;
    if (sizeof(real) == sizeof(float)) {
        k->upload(to, t->data, t->bytes);
        return;
    }
    real *host = xcalloc((size_t)n, sizeof *host);
    const float *from = t->data;
    for (int64_t i = 0; i < n; i++) host[i] = (real)from[i];
    k->upload(to, host, (size_t)n * sizeof(real));
    free(host);
}

/* The tensor `prefix``name` with dtype and number of elements; sentence in e if it is another. */
static const struct st_tensor *expect(const struct st_file *f, const char *path, const char *prefix, const char *name,
                                      const char *dtype, int64_t n, struct error *e) {
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct st_tensor *t = st_find(f, full);
    if (!t) return fail(e, "%s has no tensor '%s', which this configuration needs", path, full), NULL;
    if (strcmp(t->dtype, dtype)) return fail(e, "%s: tensor '%s' is %s, not %s", path, full, t->dtype, dtype), NULL;
    if (t->bytes != (size_t)n * 4)
        return fail(e, "%s: tensor '%s' has %zu elements, this configuration needs %" PRId64, path, full, t->bytes / 4, n), NULL;
    return t;
}

/* ---- models ---- */

/* Vectors are stored with one dimension. */
static int param_shape(const struct param *p, int64_t shape[2]) {
    if (p->shape[0] == 1) return shape[0] = p->shape[1], 1;
    shape[0] = p->shape[0];
    shape[1] = p->shape[1];
    return 2;
}

/* Metadata under construction. */
#define PAIR_LIMIT 64
struct pairs {
    const char *keys[PAIR_LIMIT];
    char *values[PAIR_LIMIT];
    int count;
};
static void pairs_add(struct pairs *p, const char *key, char *value) {
    CHECK(p->count < PAIR_LIMIT, "more than %d metadata", PAIR_LIMIT);
    p->keys[p->count] = key;
    p->values[p->count++] = value;
}
static void pairs_free(struct pairs *p) {
    for (int i = 0; i < p->count; i++) free(p->values[i]);
}

int model_save(const char *path, const struct model *m, const struct tokenizer *t, const char *const *keys,
               const char *const *values, int pairs, struct error *e) {
    struct list l = {0};
    for (int i = 0; i < m->param_count; i++) {
        const struct param *p = m->params[i];
        struct st_tensor *x = list_add_reals(&l, m->k, "", p->name, p->leaf.data, p->n);
        x->rank = param_shape(p, x->shape);
    }
    struct pairs meta = {0};
    pairs_add(&meta, "format", xstrdup("pt")); /* what loaders for PyTorch look for */
    pairs_add(&meta, "program", xstrdup("infinibench"));
    pairs_add(&meta, "config", config_text(&m->config));
    pairs_add(&meta, "tokenizer", xstrdup(t->name));
    pairs_add(&meta, "tokenizer_hash", xprintf("%016" PRIx64, t->hash));
    for (int i = 0; i < pairs; i++) pairs_add(&meta, keys[i], xstrdup(values[i]));
    int rc = st_write(path, l.tensors, l.count, meta.keys, (const char *const *)meta.values, meta.count, e);
    pairs_free(&meta);
    list_free(&l);
    return rc;
}

/* Does the file hold exactly the parameters of m? */
static int check_params(const struct model *m, const struct st_file *f, const char *path, struct error *e) {
    for (int i = 0; i < m->param_count; i++) {
        const struct param *p = m->params[i];
        const struct st_tensor *t = expect(f, path, "", p->name, "F32", p->n, e);
        int64_t shape[2];
        if (!t) return -1;
        int rank = param_shape(p, shape);
        if (t->rank != rank || memcmp(t->shape, shape, (size_t)rank * sizeof *shape))
            return fail(e, "%s: tensor '%s' has another shape than the configuration's %" PRId64 " x %" PRId64, path, p->name,
                        p->shape[0], p->shape[1]);
    }
    for (int i = 0; i < f->count; i++)
        if (!model_find(m, f->tensors[i].name))
            return fail(e, "%s holds a tensor '%s' that the architecture '%s' does not have", path, f->tensors[i].name,
                        m->config.arch->name);
    return 0;
}

/* Of the gate group those that are gates: "beta", "memory_gate"; not the biases and scales that share its rate. */
static bool is_gate(const struct param *p) {
    size_t n = strlen(p->name);
    return p->group == GROUP_GATE && (n >= 4 && (!strcmp(p->name + n - 4, "beta") || !strcmp(p->name + n - 4, "gate")));
}

static void put_params(struct model *m, const struct st_file *f, const char *path) {
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = m->params[i];
        const struct st_tensor *t = st_find(f, p->name);
        upload_reals(m->k, p->leaf.data, t);
        if (!is_gate(p) || progress_quiet) continue;
        fprintf(stderr, "%s: gate %s", path, p->name);
        for (int64_t j = 0; j < p->n && j < 32; j++) fprintf(stderr, " %.3f", 1 / (1 + exp(-(double)((const float *)t->data)[j])));
        fputs(p->n > 32 ? " ...\n" : "\n", stderr);
    }
}

/* Reads a file that model_save wrote, and its configuration. */
static int open_model(const char *path, struct st_file *f, struct model_config *c, const struct tokenizer **t, struct error *e) {
    if (st_read(path, f, e)) return -1;
    const char *const needed[] = {"config", "tokenizer", "tokenizer_hash"};
    for (int i = 0; i < 3; i++)
        if (!st_meta(f, needed[i]))
            return fail(e, "%s is a safetensors file but not an infinibench model: its metadata has no '%s'", path, needed[i]);
    struct error inner;
    if (config_parse(c, st_meta(f, "config"), &inner)) return fail(e, "%s: %s", path, inner.text);
    const struct tokenizer *found = tokenizer_open(st_meta(f, "tokenizer"), &inner);
    if (!found) return fail(e, "%s: %s", path, inner.text);
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, found->hash);
    if (strcmp(hash, st_meta(f, "tokenizer_hash")))
        return fail(e, "%s was trained with another tokenizer '%s' (hash %.32s, here %s); use the tokenizer it was trained with",
                    path, found->name, st_meta(f, "tokenizer_hash"), hash);
    if (t) *t = found;
    return 0;
}

struct model *model_load(const char *path, const struct kernels *k, const struct tokenizer **t, struct error *e) {
    struct st_file f = {0};
    struct model_config c;
    struct model *m = NULL, *plan = NULL;
    /* A plan is held against the file before anything is taken for the model: a configuration may promise any size. */
    if (!open_model(path, &f, &c, t, e)) plan = model_create(&c, NULL, 0, e);
    if (plan && !check_params(plan, &f, path, e) && (m = model_create(&c, k, 0, e))) put_params(m, &f, path);
    model_free(plan);
    st_free(&f);
    return m;
}

int model_load_into(struct model *m, const char *path, struct error *e) {
    struct st_file f = {0};
    struct model_config c;
    int rc = open_model(path, &f, &c, NULL, e);
    if (!rc && c.arch != m->config.arch)
        rc = fail(e, "%s holds the architecture '%s', not '%s'", path, c.arch->name, m->config.arch->name);
    if (!rc) rc = check_params(m, &f, path, e);
    if (!rc) put_params(m, &f, path);
    st_free(&f);
    return rc;
}

/* ---- training checkpoints ---- */

static void collect_optimizer(struct list *l, const struct trainer *t) {
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, p, &m, &v);
        list_add_reals(l, t->model->k, "m.", p->name, t->m[i], m);
        list_add_reals(l, t->model->k, "v.", p->name, t->v[i], v);
    }
}

static int64_t state_elements(const struct state *s, int i) { return s->batch * s->capacity[i] * s->model->states[i].width; }

static void collect_tensors(struct list *l, const char *prefix, const struct state *s) {
    for (int i = 0; s && i < s->model->state_count; i++) {
        struct st_tensor *x = list_add_reals(l, s->model->k, prefix, s->model->states[i].name, s->data[i], state_elements(s, i));
        x->rank = 3;
        x->shape[0] = s->batch;
        x->shape[1] = s->capacity[i];
        x->shape[2] = s->model->states[i].width;
    }
}

/* texts: the states that carried_in.h read from texts, or NULL. */
static void collect_state(struct list *l, const struct state *s, const struct state *texts) {
    if (!s) return;
    collect_tensors(l, "state.", s);
    collect_tensors(l, "texts.", texts);
    size_t bytes = (size_t)s->batch * sizeof(int32_t);
    memcpy((void *)(uintptr_t)list_add(l, "", "since", "I32", s->batch)->data, s->since, bytes);
    memcpy((void *)(uintptr_t)list_add(l, "", "head", "I32", s->batch)->data, s->head, bytes);
}

/* Writes FOLDER/NAME with the step as its metadata; sum receives the checksum. */
static int save_part(const char *folder, const char *name, struct list *l, int64_t step, char sum[24], struct error *e) {
    char *path = xprintf("%s/%s", folder, name), *text = xprintf("%" PRId64, step);
    const char *const keys[] = {"program", "step"}, *const values[] = {"infinibench", text};
    st_checksum(sum, l->tensors, l->count, keys, values, 2);
    int rc = st_write(path, l->tensors, l->count, keys, values, 2, e);
    list_free(l);
    free(path);
    free(text);
    return rc;
}

/* Removes optimizer and state files (and what a crash left half written) but the two that the model names. */
static void remove_others(const char *folder, const char *keep1, const char *keep2) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (struct dirent *x; (x = readdir(d));) {
        const char *n = x->d_name;
        bool ours = (!strncmp(n, "optimizer-", 10) || !strncmp(n, "state-", 6)) && strstr(n, ".safetensors");
        if (ours && strcmp(n, keep1) && strcmp(n, keep2)) unlinkat(dirfd(d), n, 0);
    }
    closedir(d);
}

static const char *optimizer_name(enum optimizer_kind kind) { return kind == OPTIMIZER_ADAMW ? "adamw" : "adafactor"; }

int training_save(const char *folder, const struct trainer *t, const struct tokenizer *tok, struct error *e) {
    if (make_folders(folder, e)) return -1;
    char *optimizer = xprintf("optimizer-%" PRId64 ".safetensors", t->step),
         *state = xprintf("state-%" PRId64 ".safetensors", t->step);
    char *path = xprintf("%s/model.safetensors", folder), optimizer_sum[24], state_sum[24];
    struct list l = {0}, s = {0};
    collect_optimizer(&l, t);
    int rc = save_part(folder, optimizer, &l, t->step, optimizer_sum, e);
    crash_point("optimizer written");
    if (!rc) {
        collect_state(&s, t->state, carried_in_states(t->carried_in));
        rc = save_part(folder, state, &s, t->step, state_sum, e);
        crash_point("state written");
    }
    if (!rc) {
        struct pairs meta = {0};
        pairs_add(&meta, "step", xprintf("%" PRId64, t->step));
        pairs_add(&meta, "tokens", xprintf("%" PRId64, t->tokens));
        pairs_add(&meta, "tokens_read", xprintf("%" PRId64, t->tokens_read));
        pairs_add(&meta, "flops", xprintf("%.17g", t->flops));
        pairs_add(&meta, "seconds", xprintf("%.17g", t->seconds));
        pairs_add(&meta, "optimizer", xstrdup(optimizer_name(t->config.optimizer)));
        pairs_add(&meta, "optimizer_file", xstrdup(optimizer));
        pairs_add(&meta, "optimizer_checksum", xstrdup(optimizer_sum));
        pairs_add(&meta, "state_file", xstrdup(state));
        pairs_add(&meta, "state_checksum", xstrdup(state_sum));
        pairs_add(&meta, "cursor", batcher_save(t->batcher));
        rc = model_save(path, t->model, tok, meta.keys, (const char *const *)meta.values, meta.count, e);
        pairs_free(&meta);
    }
    if (!rc) {
        crash_point("committed");
        remove_others(folder, optimizer, state);
    }
    free(optimizer);
    free(state);
    free(path);
    return rc;
}

/* Sentence with the first "key=value" in which two configurations differ. */
static int check_config(const char *path, const char *saved, const char *ours, struct error *e) {
    while (*saved && *ours) {
        size_t a = strcspn(saved, ";"), b = strcspn(ours, ";");
        if (a != b || strncmp(saved, ours, a))
            return fail(e, "%s was trained with %.*s, this run has %.*s; choose another folder, or remove it to train again", path,
                        (int)a, saved, (int)b, ours);
        saved += a + (saved[a] == ';');
        ours += b + (ours[b] == ';');
    }
    return *saved || *ours ? fail(e, "%s was trained with another configuration; choose another folder", path) : 0;
}

/* Opens the file that the model's metadata name under KIND_file and holds it to KIND_checksum. */
static int open_part(const char *folder, const char *path, const struct st_file *model, const char *kind, struct st_file *f,
                     char **name, struct error *e) {
    char key[40];
    snprintf(key, sizeof key, "%s_file", kind);
    const char *file = st_meta(model, key);
    snprintf(key, sizeof key, "%s_checksum", kind);
    const char *sum = st_meta(model, key);
    if (!file || !sum || strchr(file, '/'))
        return fail(e, "%s is a model without training state: its metadata has no '%s'", path, key);
    *name = xprintf("%s/%s", folder, file);
    if (st_read(*name, f, e)) return -1;
    const char *has = st_meta(f, "checksum");
    if (!has || strcmp(has, sum))
        return fail(e,
                    "%s does not belong to %s (checksum %.32s, should be %.32s); restore both from one copy, or remove the folder",
                    *name, path, has ? has : "none", sum);
    return 0;
}

static int check_optimizer(const struct trainer *t, const struct st_file *f, const char *path, struct error *e) {
    int count = 0;
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, p, &m, &v);
        if (!expect(f, path, "m.", p->name, "F32", m, e)) return -1;
        if (!expect(f, path, "v.", p->name, "F32", v, e)) return -1;
        count += 2;
    }
    return f->count == count ? 0 : fail(e, "%s holds %d tensors, this optimizer needs %d", path, f->count, count);
}

static void put_optimizer(struct trainer *t, const struct st_file *f) {
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        struct error e;
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, p, &m, &v);
        upload_reals(t->model->k, t->m[i], expect(f, "", "m.", p->name, "F32", m, &e));
        upload_reals(t->model->k, t->v[i], expect(f, "", "v.", p->name, "F32", v, &e));
    }
}

/* With put false only checks. */
static int load_tensors(struct state *s, const char *prefix, const struct st_file *f, const char *path, bool put, struct error *e) {
    for (int i = 0; s && i < s->model->state_count; i++) {
        const struct st_tensor *x = expect(f, path, prefix, s->model->states[i].name, "F32", state_elements(s, i), e);
        if (!x) return -1;
        if (put) upload_reals(s->model->k, s->data[i], x);
    }
    return 0;
}

static int load_state(struct trainer *t, const struct st_file *f, const char *path, bool put, struct error *e) {
    struct state *s = t->state, *texts = carried_in_states(t->carried_in);
    int count = s ? s->model->state_count * (texts ? 2 : 1) : 0;
    if (load_tensors(s, "state.", f, path, put, e) || load_tensors(texts, "texts.", f, path, put, e)) return -1;
    if (s) {
        const struct st_tensor *since = expect(f, path, "", "since", "I32", s->batch, e);
        const struct st_tensor *head = expect(f, path, "", "head", "I32", s->batch, e);
        if (!since || !head) return -1;
        if (put) memcpy(s->since, since->data, since->bytes), memcpy(s->head, head->data, head->bytes);
        count += 2;
    }
    return f->count == count ? 0 : fail(e, "%s holds %d tensors, this model's state has %d", path, f->count, count);
}

/* The counters of the metadata. Checkpoints that count only what was scored: taken for all that was read, as in language modelling.
 */
static int read_counters(const struct st_file *f, const char *path, int64_t whole[3], double fraction[2], struct error *e) {
    const char *const names[] = {"step", "tokens", st_meta(f, "tokens_read") ? "tokens_read" : "tokens", "flops", "seconds"};
    for (int i = 0; i < 5; i++) {
        const char *text = st_meta(f, names[i]);
        char *end = NULL;
        errno = 0;
        if (text && i < 3)
            whole[i] = strtoll(text, &end, 10);
        else if (text)
            fraction[i - 3] = strtod(text, &end);
        if (!text || end == text || *end || errno) return fail(e, "%s: the metadata '%s' is missing or no number", path, names[i]);
    }
    return whole[0] < 0 || whole[1] < 0 || whole[2] < 0 ? fail(e, "%s: negative counters", path) : 0;
}

int training_load(const char *folder, struct trainer *t, const struct tokenizer *tok, struct error *e) {
    char *path = xprintf("%s/model.safetensors", folder), *optimizer_path = NULL, *state_path = NULL,
         *ours = config_text(&t->model->config);
    if (access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR)) {
        free(path);
        free(ours);
        return 1;
    }
    struct st_file model = {0}, optimizer = {0}, state = {0};
    struct model_config c;
    const struct tokenizer *saved;
    int64_t whole[3];
    double fraction[2];
    /* Everything is checked before anything is changed. */
    int rc = open_model(path, &model, &c, &saved, e);
    if (!rc) rc = check_config(path, st_meta(&model, "config"), ours, e);
    if (!rc && saved->hash != tok->hash)
        rc = fail(e, "%s was trained with tokenizer '%s', this run has '%s'", path, saved->name, tok->name);
    if (!rc) rc = check_params(t->model, &model, path, e);
    if (!rc) rc = open_part(folder, path, &model, "optimizer", &optimizer, &optimizer_path, e);
    if (!rc) rc = open_part(folder, path, &model, "state", &state, &state_path, e);
    const char *kind = rc ? NULL : st_meta(&model, "optimizer"), *cursor = rc ? NULL : st_meta(&model, "cursor");
    if (!rc && (!kind || strcmp(kind, optimizer_name(t->config.optimizer))))
        rc = fail(e, "%s was trained with optimizer '%.32s', this run has '%s'; choose another folder", path,
                  kind ? kind : "(none)", optimizer_name(t->config.optimizer));
    if (!rc && !cursor) rc = fail(e, "%s: the metadata 'cursor' is missing", path);
    if (!rc) rc = read_counters(&model, path, whole, fraction, e);
    if (!rc) rc = check_optimizer(t, &optimizer, optimizer_path, e);
    if (!rc) rc = load_state(t, &state, state_path, false, e);
    struct error inner;
    if (!rc && batcher_load(t->batcher, cursor, &inner)) rc = fail(e, "%s: %s", path, inner.text);
    if (!rc) {
        put_params(t->model, &model, path);
        put_optimizer(t, &optimizer);
        rc = load_state(t, &state, state_path, true, e);
        t->step = whole[0];
        t->tokens = whole[1];
        t->tokens_read = whole[2];
        t->flops = fraction[0];
        t->seconds = fraction[1];
    }
    st_free(&model);
    st_free(&optimizer);
    st_free(&state);
    free(path);
    free(optimizer_path);
    free(state_path);
    free(ours);
    return rc;
}
