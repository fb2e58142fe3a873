/* cli_model.c - commands on one model file: logits, generate, info. */
#include "checkpoint.h"
#include "cli.h"
#include "generate.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL_TOKENS 2048 /* tokens a call by default */

/* The tokens of a text file; refuses what no corpus may hold. */
static int64_t read_tokens(const char *path, const struct tokenizer *t, int32_t **tokens, struct error *e) {
    size_t size;
    char *text = read_file(path, &size, e);
    if (!text) return -1;
    const char *zero = memchr(text, 0, size);
    int64_t n = -1;
    if (!size)
        fail(e, "%s: the file is empty; give a text of at least one byte", path);
    else if (zero)
        fail(e, "%s: byte 0 at offset %zu; it marks the start of a document and may not occur in a text", path,
             (size_t)(zero - text));
    else
        n = t->encode(t, text, size, tokens);
    free(text);
    return n;
}

static struct stream *open_stream(struct model *m, const struct arguments *a, int64_t *segments, struct error *e) {
    int64_t standard = CALL_TOKENS / m->config.segment;
    if (flag_int(a, "segments", standard > 0 ? standard : 1, 1, segments, e)) return NULL;
    return stream_open(m, 1, *segments, e);
}

/* ---- logits: a NumPy file written as it is computed ---- */

static FILE *npy_begin(const char *path, int64_t rows, int64_t width, struct error *e) {
    char header[128], shape[64];
    if (width)
        snprintf(shape, sizeof shape, "(%lld, %lld)", (long long)rows, (long long)width);
    else
        snprintf(shape, sizeof shape, "(%lld,)", (long long)rows);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = sizeof header - 10; /* little-endian length of the rest; the whole is a multiple of 64 */
    header[9] = 0;
    int used = snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    header[10 + used] = ' ';
    header[sizeof header - 1] = '\n';
    FILE *f = fopen(path, "wbe");
    if (!f || fwrite(header, sizeof header, 1, f) != 1) {
        if (f) fclose(f), unlink(path);
        fail(e, "cannot write %s: is the folder there and writable?", path);
        return NULL;
    }
    return f;
}

struct logits_job {
    struct model *m;
    struct stream *s;
    const int32_t *tokens;
    int64_t n, first, chunk, vocab; /* rows from `first` on are written */
    bool nll;
};

static int write_logits(const struct logits_job *j, const char *path, FILE *f, struct error *e) {
    int64_t width = j->nll ? 1 : j->vocab;
    float *out = xcalloc((size_t)(j->chunk * width), sizeof *out);
    struct progress p;
    progress_begin(&p, "logits", j->n);
    int status = 0;
    for (int64_t at = 0; at < j->n && !status; at += j->chunk) {
        int64_t n = j->n - at < j->chunk ? j->n - at : j->chunk, skip = j->first > at ? j->first - at : 0;
        const int32_t *tokens = j->tokens + at;
        bool wanted = skip < n;
        if (j->nll)
            stream_score(j->s, &tokens, &n, wanted ? &out : NULL);
        else
            stream_logits(j->s, &tokens, &n, wanted ? &out : NULL);
        size_t count = wanted ? (size_t)((n - skip) * width) : 0;
        status = stream_trouble(j->m, e);
        if (!status && count && fwrite(out + skip * width, sizeof *out, count, f) != count)
            status = fail(e, "cannot write %s: the disk is full or gone", path);
        progress_update(&p, at + n, "tokens");
    }
    progress_end(&p);
    free(out);
    return status;
}

int command_logits(int count, char **argv, const struct setting *set, struct error *e) {
    struct flag flags[] = {{"model", false, NULL}, {"input", false, NULL},    {"output", false, NULL}, {"nll", true, NULL},
                           {"last", false, NULL},  {"segments", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    int64_t last, segments;
    if (arguments_read(&a, count, argv, LOGITS_USAGE, 0, 0, e) || flag_int(&a, "last", 0, 1, &last, e)) return -1;
    const char *input = flag_value(&a, "input"), *output = flag_value(&a, "output");
    if (!flag_value(&a, "model") || !input || !output)
        return fail(e, "--model, --input and --output are needed; usage: infinibench %s", LOGITS_USAGE);
    struct stat st;
    if (stat(output, &st) == 0 && !S_ISREG(st.st_mode))
        return fail(e, "--output %s is no regular file; the array is written aside and takes its place when it is whole", output);
    if (can_write(output, "output", e) || not_input(output, "output", input, e) ||
        not_input(output, "output", flag_value(&a, "model"), e))
        return -1;
    const struct tokenizer *t;
    struct model *m = model_load(flag_value(&a, "model"), backend(set, NULL), &t, e);
    if (!m) return -1;
    int32_t *tokens = NULL;
    int64_t n = read_tokens(input, t, &tokens, e);
    struct logits_job j = {.m = m, .tokens = tokens, .n = n, .vocab = m->config.vocab, .nll = flag_value(&a, "nll") != NULL};
    char *temporary = xprintf("%s.tmp", output);
    FILE *f = NULL;
    int status = -1;
    if (n < 0 || !(j.s = open_stream(m, &a, &segments, e))) goto out;
    j.chunk = segments * m->config.segment;
    j.first = last && last < n ? n - last : 0;
    if (!(f = npy_begin(temporary, n - j.first, j.nll ? 0 : j.vocab, e))) goto out;
    status = write_logits(&j, output, f, e);
    if (!status && (fflush(f) || fsync(fileno(f)))) status = fail(e, "cannot write %s: the disk is full or gone", output);
    fclose(f);
    if (!status && rename(temporary, output)) status = fail(e, "cannot rename %s to %s", temporary, output);
    if (status)
        unlink(temporary);
    else if (!progress_quiet)
        fprintf(stderr, "wrote %s: %lld rows%s\n", output, (long long)(n - j.first), j.nll ? " of NLL in nats" : "");
out:
    stream_close(j.s);
    free(temporary);
    free(tokens);
    model_free(m);
    return status;
}

/* ---- generate ---- */

struct speaker {
    const struct tokenizer *tokenizer;
    int32_t stop;
};

/* Prints a token as soon as it is known. */
static void speak(void *data, int64_t row, int32_t token, const float *logits) {
    const struct speaker *p = data;
    (void)row;
    (void)logits;
    if (token < 0 || token == p->stop) return;
    size_t size;
    char *text = p->tokenizer->decode(p->tokenizer, &token, 1, &size);
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    free(text);
}

int command_generate(int count, char **argv, const struct setting *set, struct error *e) {
    struct flag flags[] = {{"model", false, NULL}, {"prompt", false, NULL}, {"tokens", false, NULL},   {"temperature", false, NULL},
                           {"top-p", false, NULL}, {"seed", false, NULL},   {"segments", false, NULL}, {NULL, false, NULL}};
    struct arguments a = {.flags = flags};
    struct decoding d = {.stop = TOKEN_BOS}; /* also the end of a document */
    int64_t seed, segments;
    if (arguments_read(&a, count, argv, GENERATE_USAGE, 0, 0, e) || flag_int(&a, "tokens", 256, 0, &d.most, e) ||
        flag_int(&a, "seed", 1, 0, &seed, e) || flag_real(&a, "temperature", 1, 0, 1e3, &d.temperature, e) ||
        flag_real(&a, "top-p", 1, 1e-9, 1, &d.top_p, e))
        return -1;
    if (d.most > INT32_MAX) return fail(e, "--tokens %lld; at most %d", (long long)d.most, INT32_MAX);
    if (!flag_value(&a, "model") || !flag_value(&a, "prompt"))
        return fail(e, "--model and --prompt are needed; usage: infinibench %s", GENERATE_USAGE);
    const struct tokenizer *t;
    struct model *m = model_load(flag_value(&a, "model"), backend(set, NULL), &t, e);
    if (!m) return -1;
    int32_t *prompt = NULL;
    int64_t n = read_tokens(flag_value(&a, "prompt"), t, &prompt, e);
    struct stream *s = n < 0 || decoding_check(&d, m, e) ? NULL : open_stream(m, &a, &segments, e);
    int status = s ? 0 : -1;
    if (s) {
        struct generation g = {.tokens = xcalloc((size_t)d.most, sizeof *g.tokens)};
        d.seed = (uint64_t)seed;
        stream_score(s, (const int32_t *const *)&prompt, &n, NULL);
        generate(s, &d, &g, 1, speak, &(struct speaker){t, d.stop});
        printf("\n");
        if (stream_trouble(m, e))
            status = -1;
        else if (g.end == GENERATION_BROKEN)
            status = fail(e, "%s: its logits after %lld tokens are no numbers; the model is damaged or its training diverged",
                          flag_value(&a, "model"), (long long)(n + g.n));
        free(g.tokens);
    }
    stream_close(s);
    free(prompt);
    model_free(m);
    return status;
}

/* ---- info ---- */

int command_info(int count, char **argv, const struct setting *set, struct error *e) {
    (void)set;
    struct arguments a = {0};
    struct st_file f;
    if (arguments_read(&a, count, argv, "info CKPT", 1, 1, e) || st_read(a.word[0], &f, e)) return -1;
    int64_t elements = 0;
    printf("%s\n", a.word[0]);
    for (int i = 0; i < f.pairs; i++) printf("  %-20s %s\n", f.keys[i], f.values[i]);
    for (int i = 0; i < f.count; i++) {
        const struct st_tensor *x = &f.tensors[i];
        int64_t n = 1;
        printf("  %-32s %s [", x->name, x->dtype);
        for (int d = 0; d < x->rank; d++) {
            printf("%s%lld", d ? ", " : "", (long long)x->shape[d]);
            n *= x->shape[d];
        }
        printf("]\n");
        elements += n;
    }
    printf("  %d tensors, %lld elements\n", f.count, (long long)elements);
    st_free(&f);
    return 0;
}
