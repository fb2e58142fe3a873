/* test_tokenizer.c - the SentencePiece tokenizer: nothing is lost, bytes add up, the library's own program gives the same tokens,
 * training repeats, models that would lose something are refused, checkpoints know their tokenizer. The models are trained here, on
 * a text made here; the King James text is encoded where it is prepared. */
#include "harness/checkpoint.h"
#include "harness/experiment.h"
#include "harness/sentencepiece_shim.h"
#include "support/folder.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- models ---- */

static void shell(const char *command) {
    if (system(command)) fail_msg("failed: %s", command);
}

/* Made-up words of a Zipf-like vocabulary in lines and paragraphs, with numbers, accents, Greek, indented lines and tabs. */
static char *make_text(uint64_t seed, size_t bytes) {
    static const char *const syllables[] = {"ba", "ren", "to", "li", "shu", "or", "ent", "ki", "the", "mo", "\xc3\xa9l", "us"};
    static const char *const after[] = {" ",  " ",  " ",      " ",     " ",      " ",  ", ",        ". ",
                                        "\n", "\n", " 1984 ", ".\n\n", "\n    ", "\t", " \xce\xb1 "};
    struct rng r;
    rng_seed(&r, seed, 1);
    char *text = xcalloc(bytes + 64, 1);
    for (size_t n = 0; n < bytes;) {
        double u = rng_uniform(&r);
        for (int64_t word = (int64_t)(300 * u * u * u) + 1; word; word /= 12)
            n += (size_t)sprintf(text + n, "%s", syllables[word % 12]);
        n += (size_t)sprintf(text + n, "%s", after[rng_below(&r, sizeof after / sizeof *after)]);
    }
    return text;
}

/* A corpus of three files and models of 400 and 420 pieces of it. */
static int setup(void **state) {
    if (folder_setup(state)) return -1;
    for (int i = 0; i < 3; i++) {
        char *text = make_text((uint64_t)i, 80000), name[32];
        snprintf(name, sizeof name, "corpus/train/%c.txt", 'a' + i);
        put(name, text, strlen(text));
        free(text);
    }
    char command[600];
    for (int pieces = 400; pieces <= 420; pieces += 20) {
        snprintf(command, sizeof command, "scripts/train_tokenizer.sh %s/corpus %d %s/made/sentencepiece/tiny-%d.model >%s/said-%d",
                 folder, pieces, folder, pieces, folder, pieces);
        shell(command);
    }
    snprintf(command, sizeof command, "%s/made", folder);
    return setenv("INFINIBENCH_DATA", command, 1);
}

static const struct tokenizer *open_tiny(void) {
    const struct tokenizer *t = tokenizer_open("sentencepiece:tiny-400", &e);
    if (!t) fail_msg("%s", e.text);
    return t;
}

/* ---- what a text becomes ---- */

/* Round trip, byte sums of single tokens, range of the numbers. */
static void check_text(const struct tokenizer *t, const char *text, size_t n) {
    int32_t *tokens;
    int64_t count = t->encode(t, text, n, &tokens);
    size_t size, at = 0;
    char *back = t->decode(t, tokens, count, &size);
    assert_int_equal(size, n);
    assert_memory_equal(back, text, n);
    assert_int_equal(back[n], 0);
    free(back);
    for (int64_t i = 0; i < count; i++) {
        assert_true(tokens[i] > TOKEN_BOS && tokens[i] < t->vocab);
        back = t->decode(t, &tokens[i], 1, &size);
        assert_true(size > 0 && at + size <= n);
        assert_memory_equal(back, text + at, size);
        at += size;
        free(back);
    }
    assert_int_equal(at, n);
    free(tokens);
}

static void test_nothing_is_lost(void **state) {
    (void)state;
    const struct tokenizer *t = open_tiny();
    assert_int_equal(t->vocab, 400);
    assert_string_equal(t->name, "sentencepiece:tiny-400");
    const char *const texts[] = {
        "a",
        " ",
        "\n",
        "\n\n\n\n\n",
        "  two  blanks   around  ",
        " \n \n\n  \n",
        "toren.\n\nliba\r\n\ttab\v\f\x01\x1b[0m\x7f",
        "in 1984 or 20000000 1.5e-3",
        "caf\xc3\xa9 \xce\xb1\xce\xb2 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80",
        "e\xcc\x81 \xef\xac\x81 \xc2\xa0 \xe3\x80\x80 \xef\xbb\xbf",
        "\xe2\x96\x81",
        "a\xe2\x96\x81\xe2\x96\x81 b \xe2\x96\x82 \xe2\x96\x81\n\xe2\x96\x81", /* its sign for a space, in a text */
        "<s> </s> <unk> <0x41> <0x0A>\n",                                      /* spellings of pieces that are no text */
        "\xff\xfe broken \xe2\x96 \xc3",                                       /* not UTF-8: a prompt may be */
    };
    for (int twice = 0; twice < 2; twice++) /* the second time from the table of units */
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_text(t, texts[i], strlen(texts[i]));
    enum { WORDS = 140000 }; /* all different, more than the table of units has slots; and one of 70,000 letters */
    char *text = xcalloc(WORDS, 8), *word = xcalloc(70001, 1);
    for (int i = 0, n = 0; i < WORDS; i++) n += sprintf(text + n, " %x", i);
    check_text(t, text, strlen(text));
    for (size_t i = 0; i < 70000; i++) word[i] = (char)('a' + i * i % 23);
    check_text(t, word, 70000);
    free(text);
    free(word);
    /* A number that is no token of it stands for nothing; neither do <s> and <unk>. */
    size_t size;
    free(t->decode(t, (const int32_t[]){0, 1, 400, -1}, 4, &size));
    assert_int_equal(size, 0);
    int32_t *none;
    assert_int_equal(t->encode(t, "", 0, &none), 0);
    free(none);
}

static void test_digits(void **state) {
    (void)state;
    const struct tokenizer *t = open_tiny();
    for (int32_t i = 0; i < t->vocab; i++) {
        size_t size;
        char *text = t->decode(t, &i, 1, &size);
        if (strpbrk(text, "0123456789")) assert_int_equal(size, 1);
        free(text);
    }
    int32_t *tokens;
    int64_t n = t->encode(t, "19841984", 8, &tokens);
    assert_int_equal(n, 8);
    assert_memory_equal(tokens, tokens + 4, 4 * sizeof *tokens);
    free(tokens);
    assert_int_equal(t->encode(t, "\n\n\n", 3, &tokens), 2); /* a blank line is one token */
    free(tokens);
}

/* The tokens are those of the library for a whole text and of its program for lines. */
static void check_agreement(const struct tokenizer *t, const char *model, const char *text, size_t n) {
    char command[600], *input = in_folder("lines.txt"), why[256];
    size_t size;
    char *contents = read_file(model, &size, &e);
    assert_non_null(contents);
    struct spm *m = spm_open(contents, size, why, sizeof why);
    assert_non_null(m);
    int32_t *ours, *whole = xcalloc(n, sizeof *whole);
    int64_t count = t->encode(t, text, n, &ours);
    assert_int_equal(spm_encode(m, text, n, whole, (int64_t)n), count);
    assert_memory_equal(whole, ours, (size_t)count * sizeof *ours);
    free(ours);
    free(whole);
    free(contents);
    spm_close(m);

    assert_int_equal(write_file(input, text, n, &e), 0);
    snprintf(command, sizeof command, "spm_encode --model=%s --output_format=id --input=%s 2>/dev/null", model, input);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    for (const char *line = text; line < text + n;) {
        size_t length = strcspn(line, "\n");
        count = t->encode(t, line, length, &ours);
        for (int64_t i = 0; i < count; i++) {
            int id = -1;
            assert_int_equal(fscanf(f, "%d", &id), 1);
            assert_int_equal(id, ours[i]);
        }
        free(ours);
        line += length + 1;
    }
    int more;
    assert_int_equal(fscanf(f, "%d", &more), EOF);
    assert_int_equal(pclose(f), 0);
    free(input);
}

static void test_agreement(void **state) {
    (void)state;
    const struct tokenizer *t = open_tiny();
    char *model = in_folder("made/sentencepiece/tiny-400.model"), *text = make_text(5, 60000);
    check_agreement(t, model, text, strlen(text));
    free(text);
    char *path = corpus_locate("kjv", &e);
    if (path) {
        struct corpus *c = corpus_open(path, "validation", t, 100000, &e);
        assert_non_null(c);
        size_t bytes = 0;
        for (int i = 0; i < c->count; i++) {
            check_text(t, c->texts[i].bytes, c->texts[i].size);
            check_agreement(t, model, c->texts[i].bytes, c->texts[i].size);
            bytes += c->texts[i].size;
        }
        assert_int_equal(bytes, c->bytes);
        corpus_free(c);
    }
    free(path);
    free(model);
}

/* ---- the model file ---- */

static void test_training_repeats(void **state) {
    (void)state;
    char command[600], *again = in_folder("elsewhere/x.model"), *path = in_folder("said-400");
    snprintf(command, sizeof command, "scripts/train_tokenizer.sh %s/corpus 400 %s >%s/said", folder, again, folder);
    shell(command);
    snprintf(command, sizeof command, "cmp -s %s/made/sentencepiece/tiny-400.model %s", folder, again);
    shell(command);
    size_t size;
    char *said = read_file(path, &size, &e), *name = xprintf("sentencepiece:%s", again);
    assert_non_null(strstr(said, "tiny-400.model: 400 pieces from "));
    assert_non_null(strstr(said, "sha256 "));
    const struct tokenizer *t = tokenizer_open(name, &e), *tiny = open_tiny();
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_true(t->hash == tiny->hash);
    assert_ptr_equal(t, tokenizer_open(name, &e));
    const struct tokenizer *other = tokenizer_open("sentencepiece:tiny-420", &e);
    assert_non_null(other);
    assert_int_equal(other->vocab, 420);
    assert_true(other->hash != tiny->hash);
    free(said);
    free(name);
    free(again);
    free(path);
}

/* A model trained with other options, and what is said of it. */
static void refused(const char *options, const char *needle) {
    char command[900];
    snprintf(
        command, sizeof command,
        "cd %s && spm_train --input=corpus/train/a.txt --model_prefix=bad --model_type=bpe --num_threads=1 --vocab_size=400 %s "
        "2>/dev/null",
        folder, options);
    shell(command);
    char *name = xprintf("sentencepiece:%s/bad.model", folder);
    assert_null(tokenizer_open(name, &e));
    assert_says(needle);
    assert_says("bad.model");
    assert_says("scripts/train_tokenizer.sh");
    free(name);
}

static void test_errors(void **state) {
    (void)state;
#define GOOD                                                                                                                       \
    "--byte_fallback=true --bos_id=0 --unk_id=1 --eos_id=-1 --normalization_rule_name=identity --remove_extra_whitespaces=false "
    refused("--eos_id=-1", "begin-of-text piece has number 1, this program needs 0");
    refused("--bos_id=0 --unk_id=1 --eos_id=-1", "0 of 256 byte pieces");
    refused(GOOD, "changes texts");
    refused(GOOD "--add_dummy_prefix=false --remove_extra_whitespaces=true", "changes texts");
    refused(GOOD "--add_dummy_prefix=false --normalization_rule_name=nfkc", "changes texts");
    refused(GOOD "--add_dummy_prefix=false --split_by_whitespace=false", "reaches over the end of a word");
    put("bad.model", "no model", 8);
    char *name = xprintf("sentencepiece:%s/bad.model", folder);
    assert_null(tokenizer_open(name, &e));
    assert_says("is no SentencePiece model");
    free(name);
    assert_null(tokenizer_open("sentencepiece:/no/such.model", &e));
    assert_says("there is no tokenizer model at /no/such.model; make it with scripts/train_tokenizer.sh");
    assert_null(tokenizer_open("sentencepiece:moby-dick-8192", &e));
    assert_says(
        "there is no tokenizer model 'moby-dick-8192'; make it with scripts/train_tokenizer.sh moby-dick 8192 (looked for /tmp/");
    assert_says("build/data/sentencepiece/moby-dick-8192.model");
    assert_null(tokenizer_open("sentencepiece:moby", &e));
    assert_says("which names it CORPUS-PIECES");
    assert_null(tokenizer_open("sentencepiece:", &e));
    assert_says("needs a model");
    assert_null(tokenizer_open("sentencepice", &e));
    assert_says("the nearest is 'sentencepiece:'");
    assert_int_not_equal(system("scripts/train_tokenizer.sh /no/corpus 2>/dev/null"), 0);
}

/* A checkpoint takes the model that it was trained with and no other of the same name. */
static void test_checkpoint(void **state) {
    (void)state;
    const struct tokenizer *t = open_tiny(), *found;
    char *path = in_folder("model.safetensors"), command[400];
    struct model_config c;
    assert_int_equal(config_preset(&c, "nano", &e), 0);
    c.arch = baseline_find("infini", &e);
    options_init(&c.options, c.arch->options);
    c.vocab = t->vocab;
    assert_int_equal(config_finish(&c, &e), 0);
    struct model *m = model_create(&c, kernels_cpu(1, NULL), 1, &e), *back;
    assert_non_null(m);
    assert_int_equal(model_save(path, m, t, NULL, NULL, 0, &e), 0);
    assert_non_null(back = model_load(path, m->k, &found, &e));
    assert_ptr_equal(found, t);
    assert_int_equal(back->config.vocab, 400);
    model_free(back);
    snprintf(command, sizeof command, "cd %s/made/sentencepiece && mv tiny-400.model kept && cp tiny-420.model tiny-400.model",
             folder);
    shell(command);
    assert_null(model_load(path, m->k, &found, &e));
    assert_says("was trained with another tokenizer 'sentencepiece:tiny-400'");
    snprintf(command, sizeof command, "rm %s/made/sentencepiece/tiny-400.model", folder);
    shell(command);
    assert_null(model_load(path, m->k, &found, &e));
    assert_says("there is no tokenizer model 'tiny-400'");
    assert_says("model.safetensors");
    snprintf(command, sizeof command, "cd %s/made/sentencepiece && mv kept tiny-400.model", folder);
    shell(command);
    assert_non_null(back = model_load(path, m->k, &found, &e));
    model_free(back);
    model_free(m);
    free(path);
}

/* In an experiment the models' vocabulary is the tokenizer's. */
static void test_experiment(void **state) {
    (void)state;
    static const char *const names[] = {"sentencepiece:tiny-400", "sentencepiece:tiny-420", "sentencepiece:tiny-500"};
    char *path = in_folder("x.ini");
    for (int i = 0; i < 3; i++) {
        char *text =
            xprintf("[experiment]\ntitle = a test\n[budget]\npreset = nano\ntokenizer = %s\n[stage one]\nsource = %s/corpus\n"
                    "[row null]\narchitecture = null\n[task language_modeling]\n",
                    names[i], folder);
        put("x.ini", text, strlen(text));
        free(text);
        struct experiment *x = experiment_read(path, NULL, &e);
        if (i == 2) {
            assert_null(x);
            assert_says("x.ini:5");
            assert_says("there is no tokenizer model 'tiny-500'; make it with scripts/train_tokenizer.sh tiny 500");
            continue;
        }
        if (!x) fail_msg("%s", e.text);
        assert_int_equal(x->rows[0].config.vocab, 400 + 20 * i);
        char *resolved = experiment_resolved(x);
        assert_non_null(strstr(resolved, names[i]));
        free(resolved);
        experiment_free(x);
    }
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),  cmocka_unit_test(test_digits), cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_training_repeats), cmocka_unit_test(test_errors), cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_experiment),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, setup, folder_teardown);
}
