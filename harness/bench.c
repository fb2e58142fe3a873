/* bench.c - `infinibench bench kernels|train|stream|rouge`: speed against this machine's own roof, measured in the same run. */
#include "bench.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>

#define TRAIN_STEPS 9
#define TRAIN_SECONDS 3.0 /* at most this long an architecture once it has done three steps */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* ---- a source of random letters ---- */

struct letters {
    struct source source;
    int32_t *tokens;
    int64_t n;
};
static void letters_next(struct source *s, int64_t row, struct document *d) {
    const struct letters *l = s->data;
    (void)row;
    *d = (struct document){.tokens = l->tokens, .n = l->n, .carried = -1};
}
static char *letters_save(const struct source *s) {
    (void)s;
    return xstrdup("0");
}
static int letters_load(struct source *s, const char *text, struct error *e) {
    (void)s, (void)text, (void)e;
    return 0;
}
static void letters_free(struct source *s) {
    struct letters *l = s->data;
    free(l->tokens);
    free(l);
}
static int32_t *random_tokens(int64_t n, int64_t vocab) {
    struct rng r;
    rng_seed(&r, 5, 5);
    int32_t *t = xcalloc((size_t)n, sizeof *t);
    for (int64_t i = 0; i < n; i++) t[i] = (int32_t)(1 + rng_below(&r, vocab - 1));
    return t;
}
static struct source *letters_source(int64_t n, int64_t vocab) {
    struct letters *l = xcalloc(1, sizeof *l);
    l->n = n;
    l->tokens = random_tokens(n, vocab);
    l->source = (struct source){
        .name = "letters", .next = letters_next, .save = letters_save, .load = letters_load, .free = letters_free, .data = l};
    return &l->source;
}

/* ---- the variants of every architecture ---- */

struct variant {
    char name[64];
    struct model_config config;
};

/* A preset with another shape of the step, where one is asked for (0: the preset's). */
struct step_shape {
    const char *preset;
    int64_t batch, segments;
};
static int shaped_preset(struct model_config *c, const struct step_shape *s, struct error *e) {
    if (config_preset(c, s->preset, e)) return -1;
    if (s->batch) c->batch = s->batch;
    if (s->segments) c->segments = s->segments;
    return 0;
}

static int add_variant(struct variant *v, int *count, const struct step_shape *shape, const struct baseline *b, const char *key,
                       const char *value, struct error *e) {
    struct variant *x = &v[*count];
    memset(x, 0, sizeof *x);
    x->config.arch = b;
    options_init(&x->config.options, b->options);
    if (shaped_preset(&x->config, shape, e) || (key && options_set(&x->config.options, key, value, b->name, e))) return -1;
    bool named = key && strcmp(value, "no") != 0; /* of a switch the option's name says more than "yes" */
    snprintf(x->name, sizeof x->name, "%s%s%s", b->name, named ? " " : "", !named ? "" : strcmp(value, "yes") ? value : key);
    if (config_finish(&x->config, e)) return -1;
    (*count)++;
    return 0;
}

/* The option of which each choice is an architecture of its own, NULL if there is none. */
static const struct option *kinds_of(const struct baseline *b) {
    static const char *const keys[] = {"update", "cell", "gated"};
    for (const struct option *o = b->options; o && o->key; o++)
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!strcmp(o->key, keys[i])) return o;
    return NULL;
}

/* Every architecture; one that has such an option once for each of its choices. */
static int variants(struct variant v[32], const struct step_shape *shape, const char *only, struct error *e) {
    int count = 0;
    for (int i = 0; baselines[i]; i++) {
        const struct baseline *b = baselines[i];
        if (only && strcmp(only, b->name) != 0) continue;
        const struct option *kinds = kinds_of(b);
        if (!kinds) {
            if (count < 32 && add_variant(v, &count, shape, b, NULL, NULL, e)) return -1;
            continue;
        }
        char *choices = xstrdup(option_type(kinds) == OPTION_BOOL ? "no|yes" : kinds->choices), *rest = NULL;
        for (char *c = strtok_r(choices, "|", &rest); c && count < 32; c = strtok_r(NULL, "|", &rest))
            if (add_variant(v, &count, shape, b, kinds->key, c, e)) {
                free(choices);
                return -1;
            }
        free(choices);
    }
    return count;
}

/* ---- train ---- */

/* Median rate of work() per second, `amount` each. */
static double median_rate(const struct kernels *k, void (*work)(const struct kernels *k, real *const *x), real *const *x,
                          double amount) {
    double t[9], from = now();
    do { /* an idle GPU has to raise its clocks first */
        work(k, x);
        k->sync();
    } while (now() - from < 0.5);
    for (int i = 0; i < 9; i++) {
        double start = now();
        for (int j = 0; j < 4; j++) work(k, x);
        k->sync();
        t[i] = (now() - start) / 4;
    }
    return amount / bench_median(t, 9);
}

enum { ROOF_SIZE = 4096, SUM_SIZE = 1 << 26 };
static void large_product(const struct kernels *k, real *const *x) {
    k->gemm(x[0], x[1], x[2], 0, 1, 1, 0, ROOF_SIZE, ROOF_SIZE, ROOF_SIZE, ROOF_SIZE, ROOF_SIZE, ROOF_SIZE);
}
static void large_sum(const struct kernels *k, real *const *x) { k->add(x[0], x[1], x[2], SUM_SIZE); }

/* Of a backend that does not measure itself: GFLOP/s of a product of 4096 x 4096 x 4096, GB/s of a sum of 256 MiB vectors. */
static void measure(const struct kernels *k, double *roof, double *bandwidth) {
    size_t bytes = SUM_SIZE * sizeof(real);
    /* Equal digits draw less power and so run faster than those of a model. */
    real *x[3], *random = xcalloc(SUM_SIZE, sizeof(real));
    struct rng rng;
    rng_seed(&rng, 1, 0);
    for (int64_t i = 0; i < SUM_SIZE; i++) random[i] = (real)(rng_uniform(&rng) - 0.5);
    for (int i = 0; i < 3; i++) {
        x[i] = k->alloc(bytes);
        CHECK(x[i], "no memory for %zu bytes", bytes);
        k->upload(x[i], random, bytes);
    }
    free(random);
    if (roof) *roof = median_rate(k, large_product, x, 2e-9 * ROOF_SIZE * ROOF_SIZE * ROOF_SIZE);
    if (bandwidth) *bandwidth = median_rate(k, large_sum, x, 3e-9 * (double)bytes);
    for (int i = 0; i < 3; i++) k->release(x[i], bytes);
}
static bool measures_itself(const struct kernels *k) { return strcmp(k->name, "cuda") != 0; }

/* The machine may be shared: the roof of the moment. A GPU is ours alone: measured once. */
static double roof_now(const struct bench *b) { return measures_itself(b->k) ? kernels_cpu_roof() : b->roof; }

static int bench_train_one(struct bench *b, const struct variant *v, struct error *e) {
    const struct model_config *c = &v->config;
    struct options o;
    struct train_config tc;
    options_init(&o, train_options);
    train_config_from(&tc, &o);
    struct model *m = training_fits(c, &tc, e) ? NULL : model_create(c, b->k, 1, e);
    if (!m) return -1;
    tc.steps = 1000000;
    tc.warmup = 0;
    tc.lr = 1e-4;
    struct source *source = letters_source(1 << 20, c->vocab);
    struct trainer *t = trainer_create(m, &tc, source, e);
    double times[TRAIN_STEPS], rates[TRAIN_STEPS], start = 0, before = roof_now(b);
    int n = 0, bad = t ? 0 : -1;
    for (int i = -2; !bad && i < TRAIN_STEPS && (n < 3 || now() - start < TRAIN_SECONDS); i++) {
        struct step_result r;
        double from = now(), flops = t->flops;
        bad = trainer_step(t, &r, e);
        if (i >= 0) {
            times[n] = now() - from;
            rates[n] = (t->flops - flops) / times[n] / 1e9;
            n++;
        }
        if (i == -1) start = now();
    }
    if (!bad) {
        /* Measured right before and right after. */
        double roof = 0.5 * (before + roof_now(b)), tokens = (double)(c->batch * c->segments * c->segment);
        double step = bench_median(times, n), rate = bench_median(rates, n);
        printf("  %-24s %10lld %12.0f %14.0f %10.1f %10.1f %8.1f %%\n", v->name, (long long)m->elements, tokens / step,
               rate * 1e9 * step / tokens, rate, roof, 100 * rate / roof);
        if (b->csv)
            fprintf(b->csv, "train,%s,%s,%.3f,%.3f,%.1f,%.2f,gemm\n", v->name, c->preset, step * 1e6, rate, tokens / step,
                    100 * rate / roof);
        fflush(stdout);
    }
    if (t) trainer_free(t);
    source->free(source);
    model_free(m);
    return bad;
}

static int bench_train(struct bench *b, const struct variant *v, int count, struct error *e) {
    const struct model_config *c = &v[0].config;
    printf("training step, preset %s: batch %lld x %lld segments of %lld tokens, gradient through all of them\n"
           "  %-24s %10s %12s %14s %10s %10s %10s\n",
           c->preset, (long long)c->batch, (long long)c->segments, (long long)c->segment, "architecture", "parameters", "tokens/s",
           "FLOP/token", "GFLOP/s", "roof", "of roof");
    for (int i = 0; i < count; i++)
        if (bench_train_one(b, &v[i], e)) return -1;
    return 0;
}

/* ---- stream ---- */

#define CONTEXTS 32

static int bench_stream_one(struct bench *b, const struct variant *v, const int64_t *contexts, int count, struct error *e) {
    const struct model_config *c = &v->config;
    struct model *m = model_create(c, b->k, 1, e);
    if (!m) return -1;
    int64_t segments = 2048 / c->segment > 0 ? 2048 / c->segment : 1, chunk = segments * c->segment, at = 0;
    struct stream *s = stream_open(m, 1, segments, e);
    if (!s) {
        model_free(m);
        return -1;
    }
    int32_t *tokens = random_tokens(chunk, c->vocab);
    float *nll = xcalloc((size_t)chunk, sizeof *nll);
    for (int i = 0; i < count; i++) {
        double start = now();
        int64_t from = at;
        while (at < contexts[i]) {
            int64_t n = contexts[i] - at < chunk ? contexts[i] - at : chunk;
            stream_score(s, (const int32_t *const *)&tokens, &n, &nll);
            at += n;
        }
        double rate = (double)(at - from) / (now() - start);
        int64_t carried = model_carried(c, at);
        printf("  %-24s %10lld %12.0f %16lld %16zu %14.1f\n", v->name, (long long)at, rate, (long long)carried,
               stream_state_bytes(s), (double)resident() / 1048576);
        if (b->csv) fprintf(b->csv, "stream,%s,%lld,0,0,%.1f,%zu,bytes\n", v->name, (long long)at, rate, stream_state_bytes(s));
        fflush(stdout);
    }
    free(tokens);
    free(nll);
    stream_close(s);
    model_free(m);
    return 0;
}

static int bench_stream(struct bench *b, const struct variant *v, int count, const int64_t *contexts, int n, struct error *e) {
    printf("streaming one document, preset %s; tokens/s of the part since the line above\n  %-24s %10s %12s %16s %16s %14s\n",
           v[0].config.preset, "architecture", "context", "tokens/s", "carried elements", "state bytes", "resident MiB");
    for (int i = 0; i < count; i++)
        if (bench_stream_one(b, &v[i], contexts, n, e)) return -1;
    return 0;
}

/* ---- the command ---- */

static void print_machine(struct bench *b, const struct backend_info *info) {
    printf("machine    %s\nbackend    %s, instruction set %s, %d threads\nlibrary    %s\ncore type  %s (%s)\n", info->device,
           info->backend, info->isa, info->threads, info->library, info->core, info->note);
    if (measures_itself(b->k)) {
        b->roof = kernels_cpu_roof();
        b->bandwidth = kernels_cpu_bandwidth();
    } else
        measure(b->k, &b->roof, &b->bandwidth);
    printf("GEMM roof  %.1f GFLOP/s\nbandwidth  %.1f GB/s\n", b->roof, b->bandwidth);
    fflush(stdout);
}

int command_bench(int count, char **argv, const struct setting *s, struct error *e) {
    static const char *const kinds[] = {"kernels", "train", "stream", "rouge"};
    enum { ROUGE = 3, KINDS };
    struct flag flags[] = {{"preset", false, NULL}, {"only", false, NULL},  {"context", false, NULL},  {"jsonl", false, NULL},
                           {"csv", false, NULL},    {"batch", false, NULL}, {"segments", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    if (arguments_read(&a, count, argv, BENCH_USAGE, 0, 1, e)) return -1;
    int kind = a.count ? -1 : 0;
    for (int i = 0; a.count && i < KINDS; i++)
        if (!strcmp(a.word[0], kinds[i])) kind = i;
    if (kind < 0) {
        const char *near = nearest_name(a.word[0], kinds, KINDS);
        return fail(e, "unknown bench '%s'%s%s%s; benches: kernels, train, stream, rouge", a.word[0],
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    const char *preset = flag_value(&a, "preset"), *only = flag_value(&a, "only"), *context = flag_value(&a, "context");
    struct step_shape shape = {.preset = preset ? preset : "micro"};
    if (flag_int(&a, "batch", 0, 1, &shape.batch, e) || flag_int(&a, "segments", 0, 1, &shape.segments, e)) return -1;
    if (only && !baseline_find(only, e)) return -1;
    struct model_config c = {0};
    if (shaped_preset(&c, &shape, e)) return -1;
    int64_t contexts[CONTEXTS];
    int context_count = parse_rising(context ? context : "4K,16K,64K", contexts, CONTEXTS, "--context", e);
    if (context_count < 0) return -1;
    if (flag_value(&a, "jsonl") && kind != ROUGE) return fail(e, "--jsonl names the pairs of bench rouge");
    struct variant *v = xcalloc(32, sizeof *v);
    int n = kind && kind != ROUGE ? variants(v, &shape, only, e) : 1;
    struct bench b = {0};
    const char *csv = flag_value(&a, "csv");
    if (n > 0 && csv && !(b.csv = fopen(csv, "w"))) n = fail(e, "cannot write %s: is the folder there and writable?", csv);
    if (b.csv) setvbuf(b.csv, NULL, _IOLBF, 0); /* a measurement that is cut off leaves what it had */
    if (b.csv) fprintf(b.csv, "bench,name,shape,microseconds,gflops,rate,percent,of\n");
    int status = -1;
    if (n > 0 && kind == ROUGE) {
        status = bench_rouge(b.csv, flag_value(&a, "jsonl"), s->threads, e);
    } else if (n > 0) {
        struct backend_info info;
        b.k = backend(s, &info);
        print_machine(&b, &info);
        if (kind == 0) bench_kernels(&b, &c);
        status = kind == 0 ? 0 : kind == 1 ? bench_train(&b, v, n, e) : bench_stream(&b, v, n, contexts, context_count, e);
    }
    if (b.csv && fclose(b.csv) && !status) status = fail(e, "cannot write %s: the disk is full or gone", csv);
    free(v);
    return status;
}
