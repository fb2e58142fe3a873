/* test_checkpoint.c - models and training checkpoints: round trips, foreign files, processes killed at every point of a save,
 * training continued in a fresh trainer. Most trainers are put together by hand and take no step; SIGKILL during real training is
 * tested on the program. */
#include "harness/checkpoint.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- models ---- */

static struct model *make_model(const char *arch, const char *key, const char *value, uint64_t seed) {
    struct model_config c;
    assert_int_equal(config_preset(&c, "nano", &e), 0);
    c.arch = baseline_find(arch, &e);
    assert_non_null(c.arch);
    options_init(&c.options, c.arch->options);
    c.batch = 3;
    if (key) assert_int_equal(config_set(&c, key, value, "test", &e), 0);
    assert_int_equal(config_finish(&c, &e), 0);
    struct model *m = model_create(&c, kernels_cpu(1, NULL), seed, &e);
    if (!m) fail_msg("%s", e.text);
    return m;
}

static void assert_same_model(const struct model *a, const struct model *b) {
    assert_int_equal(a->param_count, b->param_count);
    for (int i = 0; i < a->param_count; i++) {
        assert_string_equal(a->params[i]->name, b->params[i]->name);
        assert_memory_equal(a->params[i]->leaf.data, b->params[i]->leaf.data, (size_t)a->params[i]->n * sizeof(real));
    }
}

static void test_models(void **state) {
    (void)state;
    char *path = in_folder("model.safetensors");
    const char *const keys[] = {"step"}, *const values[] = {"77"};
    for (int i = 0; baselines[i]; i++) { /* every architecture, with values unlike those of the start */
        struct model *m = make_model(baselines[i]->name, NULL, NULL, 5);
        for (int j = 0; j < m->param_count; j++) m->params[j]->leaf.data[0] = (real)(0.25 * (j + 1));
        assert_int_equal(model_save(path, m, tokenizer_bytes(), keys, values, 1, &e), 0);
        const struct tokenizer *t = NULL;
        struct model *back = model_load(path, m->k, &t, &e);
        if (!back) fail_msg("%s", e.text);
        assert_ptr_equal(t, tokenizer_bytes());
        assert_same_model(m, back);
        char *a = config_text(&m->config), *b = config_text(&back->config);
        assert_string_equal(a, b);
        free(a);
        free(b);
        struct model *warm = make_model(baselines[i]->name, NULL, NULL, 6);
        assert_int_equal(model_load_into(warm, path, &e), 0);
        assert_same_model(m, warm);
        struct st_file f;
        assert_int_equal(st_read(path, &f, &e), 0);
        assert_string_equal(st_meta(&f, "step"), "77");
        st_free(&f);
        model_free(m);
        model_free(back);
        model_free(warm);
    }
    free(path);
}

/* A model file of delta_rule from before its convolution does not know the option, and one that does keeps it. */
static void test_later_options(void **state) {
    (void)state;
    char *path = in_folder("later.safetensors");
    for (int size = 0; size <= 4; size += 4) {
        struct model *plain = make_model("delta_rule", NULL, NULL, 1);
        struct model_config c = plain->config;
        char number[16];
        snprintf(number, sizeof number, "%d", size);
        assert_int_equal(options_set(&c.options, "conv_size", number, "test", &e), 0);
        assert_int_equal(config_finish(&c, &e), 0);
        struct model *m = model_create(&c, plain->k, 1, &e), *back = NULL;
        assert_non_null(m);
        assert_int_equal(model_save(path, m, tokenizer_bytes(), NULL, NULL, 0, &e), 0);
        struct st_file f;
        assert_int_equal(st_read(path, &f, &e), 0);
        const char *text = strstr(st_meta(&f, "config"), "option.conv_size=");
        assert_true(size ? text && !strncmp(text, "option.conv_size=4", 18) : !text);
        assert_true(!st_find(&f, "layers.1.conv_k") == !size);
        st_free(&f);
        if (!(back = model_load(path, m->k, NULL, &e))) fail_msg("%s", e.text);
        assert_int_equal(options_int(&back->config.options, "conv_size"), size);
        assert_same_model(m, back);
        model_free(back);
        assert_int_equal(model_load_into(plain, path, &e), size ? -1 : 0);
        model_free(plain);
        model_free(m);
    }
    free(path);
}

static void test_model_errors(void **state) {
    (void)state;
    char *path = in_folder("model.safetensors"), *other = in_folder("other.safetensors");
    struct model *m = make_model("infini", NULL, NULL, 1);
    const struct kernels *k = m->k;
    float data[2] = {0};
    const struct st_tensor foreign = {.name = "a", .dtype = "F32", .shape = {2}, .rank = 1, .data = data, .bytes = sizeof data};
    assert_int_equal(st_write(path, &foreign, 1, NULL, NULL, 0, &e), 0);
    assert_null(model_load(path, k, NULL, &e));
    assert_says("is a safetensors file but not an infinibench model: its metadata has no 'config'");
    assert_int_equal(model_save(path, m, tokenizer_bytes(), NULL, NULL, 0, &e), 0);
    struct model *wide = make_model("infini", "ffn", "96", 1), *xl = make_model("transformer_xl", NULL, NULL, 1);
    assert_int_equal(model_load_into(wide, path, &e), -1);
    assert_says("this configuration needs");
    assert_int_equal(model_load_into(xl, path, &e), -1);
    assert_says("holds the architecture 'infini', not 'transformer_xl'");
    model_free(wide);
    model_free(xl);
    /* Rewritten with one thing changed. */
    for (int change = 0; change < 6; change++) {
        struct st_file f;
        assert_int_equal(st_read(path, &f, &e), 0);
        struct st_tensor *t = xcalloc((size_t)f.count + 1, sizeof *t);
        memcpy(t, f.tensors, (size_t)f.count * sizeof *t);
        int count = f.count;
        const char *values[32], *keys[32];
        for (int i = 0; i < f.pairs; i++) {
            keys[i] = f.keys[i];
            values[i] = f.values[i];
            if (change == 0 && !strcmp(keys[i], "tokenizer")) values[i] = "sentencepiece";
            if (change == 1 && !strcmp(keys[i], "tokenizer_hash")) values[i] = "0123";
            if (change == 2 && !strcmp(keys[i], "config")) values[i] = "architecture=infinite";
        }
        if (change == 3) count--;
        if (change == 4) {
            t[count] = t[0];
            snprintf(t[count++].name, sizeof t->name, "left.over");
        }
        if (change == 5) {
            int i = 0;
            while (t[i].rank != 2 || t[i].shape[0] == t[i].shape[1]) i++;
            int64_t first = t[i].shape[0];
            t[i].shape[0] = t[i].shape[1];
            t[i].shape[1] = first;
        }
        assert_int_equal(st_write(other, t, count, keys, values, f.pairs, &e), 0);
        free(t);
        st_free(&f);
        const char *const says[] = {"unknown tokenizer 'sentencepiece'",
                                    "was trained with another tokenizer",
                                    "unknown architecture",
                                    "has no tensor '",
                                    "holds a tensor 'left.over' that the architecture 'infini' does not have",
                                    "has another shape"};
        assert_null(model_load(other, k, NULL, &e));
        assert_says(says[change]);
        assert_says(other);
    }
    model_free(m);
    free(path);
    free(other);
}

/* A loaded model says how open its gates are. */
static void test_gates(void **state) {
    (void)state;
    char *path = in_folder("model.safetensors"), *said = in_folder("said");
    struct model *m = make_model("infini", NULL, NULL, 1);
    struct param *beta = layer_param(m, 1, "beta");
    beta->leaf.data[0] = 2;
    assert_int_equal(model_save(path, m, tokenizer_bytes(), NULL, NULL, 0, &e), 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_non_null(freopen(said, "w", stderr));
    progress_quiet = false;
    int rc = model_load_into(m, path, &e);
    progress_quiet = true;
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(rc, 0);
    char *text = read_file(said, NULL, &e);
    assert_non_null(strstr(text, "gate layers.1.beta 0.881"));
    free(text);
    free(path);
    free(said);
    model_free(m);
}

/* ---- training checkpoints ---- */

static struct text texts[3];
static struct corpus corpus = {.path = (char *)(uintptr_t) "test", .split = "train", .texts = texts, .count = 3, .hash = 99};

/* The source of a hand-made trainer is kept here, by trainer. */
static struct source *sources[2];
static const struct trainer *owners[2];

static struct trainer *make_trainer(const char *arch, enum optimizer_kind kind, int64_t seed) {
    static int32_t tokens[3][300];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 300; j++) tokens[i][j] = 1 + (i * 300 + j) % 255;
        texts[i] = (struct text){.tokens = tokens[i], .n = 300 - 37 * i};
    }
    struct trainer *t = xcalloc(1, sizeof *t);
    t->model = make_model(arch, NULL, NULL, (uint64_t)seed);
    t->config.optimizer = kind;
    t->state = state_create(t->model, 3, 2, &e);
    assert_non_null(t->state);
    int slot = owners[0] ? 1 : 0;
    owners[slot] = t;
    sources[slot] = corpus_source(&corpus, 4);
    t->batcher = batcher_create(sources[slot], 3, 2, t->model->config.segment);
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        int64_t m, v;
        optimizer_sizes(kind, p, &m, &v);
        t->m[i] = xcalloc((size_t)m, sizeof(real));
        t->v[i] = xcalloc((size_t)v, sizeof(real));
    }
    return t;
}

/* Values that depend on `step` everywhere, and the batches up to it. */
static void advance(struct trainer *t, int64_t step) {
    struct rng r;
    rng_seed(&r, (uint64_t)step, 0);
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, p, &m, &v);
        for (int64_t j = 0; j < p->n; j++) p->leaf.data[j] = (real)rng_normal(&r);
        for (int64_t j = 0; j < m; j++) t->m[i][j] = (real)rng_normal(&r);
        for (int64_t j = 0; j < v; j++) t->v[i][j] = (real)rng_uniform(&r);
    }
    for (int i = 0; i < t->model->state_count; i++) {
        int64_t n = t->state->batch * t->state->capacity[i] * t->model->states[i].width;
        for (int64_t j = 0; j < n; j++) t->state->data[i][j] = (real)rng_normal(&r);
    }
    for (int64_t b = 0; b < 3; b++) {
        t->state->since[b] = (int32_t)rng_below(&r, 1000);
        t->state->head[b] = (int32_t)rng_below(&r, 1000);
    }
    struct batch x;
    for (; t->step < step; t->step++) batcher_next(t->batcher, &x);
    t->tokens = step * 1000;
    t->tokens_read = step * 3000;
    t->flops = (double)step / 3;
    t->seconds = (double)step / 7;
}

static void free_trainer(struct trainer *t) {
    for (int i = 0; i < t->model->param_count; i++) {
        free(t->m[i]);
        free(t->v[i]);
    }
    batcher_free(t->batcher);
    int slot = owners[0] == t ? 0 : 1;
    sources[slot]->free(sources[slot]);
    owners[slot] = NULL;
    state_free(t->state);
    model_free(t->model);
    free(t);
}

/* A hash of everything that training goes on from. */
static uint64_t fingerprint(const struct trainer *t) {
    uint64_t h = 0, rows = (uint64_t)t->state->batch;
    for (int i = 0; i < t->model->param_count; i++) {
        const struct param *p = t->model->params[i];
        int64_t m, v;
        optimizer_sizes(t->config.optimizer, p, &m, &v);
        h = hash64(p->leaf.data, (size_t)p->n * sizeof(real), h);
        h = hash64(t->m[i], (size_t)m * sizeof(real), h);
        h = hash64(t->v[i], (size_t)v * sizeof(real), h);
    }
    for (int i = 0; i < t->model->state_count; i++)
        h = hash64(t->state->data[i], (size_t)(t->state->batch * t->state->capacity[i] * t->model->states[i].width) * sizeof(real),
                   h);
    h = hash64(t->state->since, rows * sizeof(int32_t), h);
    h = hash64(t->state->head, rows * sizeof(int32_t), h);
    h = hash64(&t->step, sizeof t->step, hash64(&t->tokens, sizeof t->tokens, hash64(&t->tokens_read, sizeof t->tokens_read, h)));
    h = hash64(&t->flops, sizeof t->flops, hash64(&t->seconds, sizeof t->seconds, h));
    char *cursor = batcher_save(t->batcher);
    h = hash64(cursor, strlen(cursor), h);
    free(cursor);
    return h;
}

static int count_files(const char *path) {
    char *command = xprintf("ls -A '%s' | wc -l", path);
    FILE *p = popen(command, "r");
    int n = -1;
    if (!p || fscanf(p, "%d", &n) != 1) n = -1;
    if (p) pclose(p);
    free(command);
    return n;
}

static void test_training(void **state) {
    (void)state;
    const char *const archs[] = {"infini", "transformer_xl", "memorizing", "transformer"};
    for (int i = 0; i < 8; i++) {
        enum optimizer_kind kind = i & 1 ? OPTIMIZER_ADAFACTOR : OPTIMIZER_ADAMW;
        char *path = xprintf("%s/train/%d", folder, i);
        struct trainer *t = make_trainer(archs[i / 2], kind, 1), *u = make_trainer(archs[i / 2], kind, 2);
        assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), 1);
        for (int64_t step = 5; step <= 15; step += 5) {
            advance(t, step);
            if (training_save(path, t, tokenizer_bytes(), &e)) fail_msg("%s", e.text);
            assert_int_equal(count_files(path), 3);
            if (training_load(path, u, tokenizer_bytes(), &e)) fail_msg("%s", e.text);
            assert_true(fingerprint(t) == fingerprint(u));
        }
        assert_int_equal(training_save(path, u, tokenizer_bytes(), &e), 0); /* at the same step again */
        assert_int_equal(training_load(path, t, tokenizer_bytes(), &e), 0);
        assert_true(fingerprint(t) == fingerprint(u));
        free_trainer(t);
        free_trainer(u);
        free(path);
    }
}

static void test_training_errors(void **state) {
    (void)state;
    char *path = in_folder("run"), *model = in_folder("run/model.safetensors"), *part = in_folder("run/optimizer-9.safetensors");
    struct trainer *t = make_trainer("infini", OPTIMIZER_ADAMW, 1), *u = make_trainer("infini", OPTIMIZER_ADAMW, 2);
    advance(t, 9);
    assert_int_equal(training_save(path, t, tokenizer_bytes(), &e), 0);
    uint64_t before = fingerprint(u);
    u->config.optimizer = OPTIMIZER_ADAFACTOR;
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("was trained with optimizer 'adamw', this run has 'adafactor'");
    u->config.optimizer = OPTIMIZER_ADAMW;
    int64_t batch = u->model->config.batch;
    u->model->config.batch = 7;
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("was trained with batch=3, this run has batch=7");
    u->model->config.batch = batch;
    corpus.hash++;
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("are not those of the checkpoint");
    corpus.hash--;
    size_t n;
    char *bytes = read_file(part, &n, &e);
    bytes[n - 1] ^= 1;
    assert_int_equal(write_file(part, bytes, n, &e), 0);
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("optimizer-9.safetensors is damaged: its checksum is");
    bytes[n - 1] ^= 1;
    assert_int_equal(st_write(part, NULL, 0, NULL, NULL, 0, &e), 0); /* whole, but of another checkpoint */
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("does not belong to");
    assert_int_equal(unlink(part), 0);
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("cannot open");
    assert_int_equal(write_file(part, bytes, n, &e), 0);
    free(bytes);
    assert_true(fingerprint(u) == before); /* no failed load has changed anything */
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), 0);
    assert_true(fingerprint(u) == fingerprint(t));
    assert_int_equal(model_save(model, t->model, tokenizer_bytes(), NULL, NULL, 0, &e), 0);
    assert_int_equal(training_load(path, u, tokenizer_bytes(), &e), -1);
    assert_says("is a model without training state");
    free_trainer(t);
    free_trainer(u);
    free(path);
    free(model);
    free(part);
}

/* Killed at every point of a save, the folder holds the old checkpoint or the new one, whole; the next save cleans up. */
static void test_training_killed(void **state) {
    (void)state;
    char *path = in_folder("killed");
    struct trainer *t = make_trainer("transformer_xl", OPTIMIZER_ADAMW, 1), *u = make_trainer("transformer_xl", OPTIMIZER_ADAMW, 2);
    advance(t, 3);
    uint64_t old = fingerprint(t);
    assert_int_equal(training_save(path, t, tokenizer_bytes(), &e), 0);
    int olds = 0, news = 0, finished = 0, at = 1;
    for (; at < 40 && !finished; at++) {
        pid_t child = fork();
        if (!child) {
            char text[16];
            snprintf(text, sizeof text, "%d", at);
            setenv("INFINIBENCH_TEST_KILL_AT", text, 1);
            if (!freopen("/dev/null", "w", stderr)) _exit(9);
            advance(t, 4);
            _exit(training_save(path, t, tokenizer_bytes(), NULL) ? 8 : 0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        finished = WIFEXITED(status);
        if (finished) assert_int_equal(WEXITSTATUS(status), 0);
        if (training_load(path, u, tokenizer_bytes(), &e)) fail_msg("%s", e.text);
        if (u->step == 3) {
            assert_true(fingerprint(u) == old);
            olds++;
        } else {
            assert_int_equal(u->step, 4);
            news++;
        }
        assert_int_equal(training_save(path, t, tokenizer_bytes(), &e), 0); /* back to step 3 */
        assert_int_equal(count_files(path), 3);
    }
    assert_true(finished && olds == 7 && news == 3); /* 3 files of two points, and the three between */
    free_trainer(t);
    free_trainer(u);
    free(path);
}

/* Training on real steps: stopped, saved and continued in a fresh trainer, it arrives at the same bits. */
static uint64_t trained(const char *arch, const char *const *settings, int64_t stop, const char *path) {
    struct options o;
    struct train_config c;
    options_init(&o, train_options);
    for (; settings[0]; settings += 2) assert_int_equal(options_set(&o, settings[0], settings[1], "test", &e), 0);
    assert_int_equal(options_set(&o, "steps", "9", "test", &e), 0);
    train_config_from(&c, &o);
    uint64_t result = 0;
    for (int part = 0; part < 2; part++) {
        struct model *m = make_model(arch, NULL, NULL, 1 + (uint64_t)part); /* what is loaded must not matter */
        if (!stop) part = 1;
        struct source *s = corpus_source(&corpus, 4);
        c.steps = part ? 9 : stop;
        c.cosine = false;
        struct trainer *t = trainer_create(m, &c, s, &e);
        if (!t) fail_msg("%s", e.text);
        if (train(t, stop ? path : NULL, 0, tokenizer_bytes(), NULL, &e)) fail_msg("%s", e.text);
        assert_int_equal(t->step, 9 * part + stop * !part);
        t->seconds = 0; /* of the clock */
        result = fingerprint(t);
        trainer_free(t);
        model_free(m);
        s->free(s);
    }
    return result;
}

static void test_resume(void **state) {
    (void)state;
    struct trainer *made = make_trainer("infini", OPTIMIZER_ADAMW, 1); /* fills the texts */
    free_trainer(made);
    for (int i = 0; baselines[i]; i++)
        for (int k = 0; k < 3; k++) {
            const char *const settings[3][5] = {{"optimizer", "adamw", "step_mode", "layer"},
                                                {"optimizer", "adafactor", "step_mode", "segment"},
                                                {"carry", "no", "step_mode", "recompute"}};
            char *path = xprintf("%s/resume-%d-%d", folder, i, k);
            uint64_t straight = trained(baselines[i]->name, settings[k], 0, path);
            if (straight != trained(baselines[i]->name, settings[k], 4, path))
                fail_msg("%s with %s %s: stopped at step 4 and continued, the bits differ", baselines[i]->name, settings[k][0],
                         settings[k][1]);
            free(path);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),          cmocka_unit_test(test_later_options), cmocka_unit_test(test_model_errors),
        cmocka_unit_test(test_gates),           cmocka_unit_test(test_training),      cmocka_unit_test(test_training_errors),
        cmocka_unit_test(test_training_killed), cmocka_unit_test(test_resume),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, folder_setup, folder_teardown);
}
