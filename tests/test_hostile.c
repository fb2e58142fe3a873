/* test_hostile.c - files made to do harm: checkpoints that promise sizes, offsets and depths that they do not hold, configurations
 * without measure, texts that are devices. Each is refused with one sentence, and before memory is taken for what it promises.
 * Parsers on random bytes are the fuzzers' work (tests/fuzz). */
#include "harness/checkpoint.h"
#include "support/folder.h"
#include "tasks/summarize.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Bytes that may come and go while a file is refused; the address sanitizer keeps what was freed. */
#ifdef __SANITIZE_ADDRESS__
#define ROOM ((uint64_t)512 << 20)
#else
#define ROOM ((uint64_t)48 << 20)
#endif

static void write_model(const char *path, uint64_t length, const char *header, size_t data) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&length, 8, 1, f), 1);
    assert_int_equal(fwrite(header, 1, strlen(header), f), strlen(header));
    assert_int_equal(fflush(f), 0);
    /* what follows is a hole: it takes no place on the disk */
    assert_int_equal(ftruncate(fileno(f), (off_t)(8 + strlen(header) + data)), 0);
    assert_int_equal(fclose(f), 0);
}

static char *repeated(const char *before, const char *each, size_t times, const char *after) {
    size_t a = strlen(before), n = strlen(each);
    char *text = xcalloc(a + n * times + strlen(after) + 1, 1);
    memcpy(text, before, a);
    for (size_t i = 0; i < times; i++) memcpy(text + a + i * n, each, n);
    strcpy(text + a + n * times, after);
    return text;
}

#define ENTRY(name, shape, from, to) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
#define META(config) "{\"__metadata__\":{\"tokenizer\":\"bytes\",\"tokenizer_hash\":\"6279746573323536\",\"config\":\"" config "\"}"

static const struct {
    const char *header, *says;
    uint64_t length; /* that the file claims; 0: the true one */
    size_t data;     /* bytes after the header */
} hostile[] = {
    /* lengths */
    {"{}", "does not begin with the length", UINT64_MAX, 0},
    {"{}", "does not begin with the length", (uint64_t)10 << 30, 0},
    {"{}", "does not begin with the length", (uint64_t)10 << 30, (size_t)11 << 30}, /* and the file really is that long */
    {"{}", "does not begin with the length", (uint64_t)1 << 63, 0},
    {"{}", "is truncated: its header has 9999999 bytes", 9999999, 100},
    {"{}", "bytes follow its last tensor", 0, (size_t)10 << 30},
    /* sizes that overflow */
    {"{" ENTRY("a", "[4294967296,4294967296]", "0", "0") "}", "the shape of tensor 'a'", 0, 0},
    {"{" ENTRY("a", "[9223372036854775807]", "0", "8") "}", "the shape of tensor 'a'", 0, 8},
    {"{" ENTRY("a", "[2305843009213693952,2]", "0", "0") "}", "the shape of tensor 'a'", 0, 0},
    {"{" ENTRY("a", "[1,1,1,99999999999999999999]", "0", "8") "}", "is no JSON", 0, 8},
    {"{" ENTRY("a", "[1e3]", "0", "4000") "}", "the shape of tensor 'a'", 0, 4000},
    {"{" ENTRY("a", "[1099511627776]", "0", "4398046511104") "}", "is truncated", 0, 64},
    /* offsets outside, backwards, beyond int64 */
    {"{" ENTRY("a", "[2]", "8", "16") "}", "overlap or leave gaps", 0, 16},
    {"{" ENTRY("a", "[2]", "9223372036854775800", "9223372036854775807") "}", "do not fit", 0, 8},
    {"{" ENTRY("a", "[2]", "9223372036854775799", "9223372036854775807") "}", "overlap or leave gaps", 0, 8},
    {"{" ENTRY("a", "[2]", "18446744073709551608", "18446744073709551616") "}", "is no JSON", 0, 8},
    {"{" ENTRY("a", "[2]", "8", "0") "}", "do not fit", 0, 8},
    /* overlapping */
    {"{" ENTRY("a", "[2]", "0", "8") "," ENTRY("b", "[2]", "0", "8") "}", "overlap or leave gaps", 0, 8},
    {"{" ENTRY("a", "[4]", "0", "16") "," ENTRY("b", "[1]", "4", "8") "}", "overlap or leave gaps", 0, 16},
    {"{" ENTRY("a", "[2]", "0", "8") "," ENTRY("b", "[2]", "7", "15") "}", "overlap or leave gaps", 0, 16},
    /* configurations that would fill any memory; the file holds one float */
    {META("architecture=infini;layers=127;d_model=1000000;heads=100000;head_dim=100000;kv_heads=100000") "," ENTRY("embed", "[1]",
                                                                                                                   "0", "4") "}",
     "d_model = 1000000|this configuration needs|head_dim = 100000: the kernels hold", 0, 4},
    {META("architecture=infini;vocab=100000000;d_model=1000000;heads=1;kv_heads=1") "," ENTRY("embed", "[1]", "0", "4") "}",
     "this configuration needs 100000000000000", 0, 4},
    {META("architecture=transformer_xl;option.cache=10000000;d_model=1000000;heads=1;kv_heads=1") "," ENTRY("embed", "[1]", "0",
                                                                                                            "4") "}",
     "this configuration needs", 0, 4},
    {META("architecture=compressive;option.cache=10000000;d_model=1000000;heads=1;kv_heads=1") "," ENTRY("embed", "[1]", "0",
                                                                                                         "4") "}",
     "needs", 0, 4},
    {META("architecture=memorizing;option.cache=10000000") "," ENTRY("embed", "[1]", "0", "4") "}", "this configuration needs", 0,
     4},
    {META("architecture=infini;layers=9223372036854775807") "}", "layers", 0, 0},
    {META("architecture=infini;layers=-1") "}", "layers", 0, 0},
    {META("architecture=infini;segment=0") "}", "segment", 0, 0},
    {META("option.update=delta") "}", "before its architecture", 0, 0},
    {META("") "}", "names no architecture", 0, 0},
};

static bool says_any(const char *list) {
    char word[200];
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        if (strstr(e.text, word)) return true;
        at += n + (at[n] != 0);
    }
    return false;
}

static void refuse(const char *path, const char *says, int which) {
    e.text[0] = 0;
    uint64_t before = peak_forget() ? resident() : 0;
    struct model *m = model_load(path, kernels_cpu(1, NULL), NULL, &e);
    uint64_t took = before ? peak_resident() - before : 0;
    if (m) fail_msg("file %d is accepted", which);
    if (!says_any(says)) fail_msg("file %d: the error is '%s', it should say '%s'", which, e.text, says);
    if (took > ROOM) fail_msg("file %d took %llu bytes before it was refused", which, (unsigned long long)took);
}

static void test_checkpoints(void **state) {
    (void)state;
    char *path = in_folder("hostile.safetensors");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        write_model(path, hostile[i].length ? hostile[i].length : strlen(hostile[i].header), hostile[i].header, hostile[i].data);
        refuse(path, hostile[i].says, (int)i);
    }
    /* JSON as deep as it is long */
    char *deep[] = {repeated("{\"a\":", "[", 900000, ""), repeated("{\"a\":", "{\"a\":", 900000, ""),
                    repeated("{\"a\":", "[", 900000, "")};
    for (int i = 0; i < 3; i++) {
        write_model(path, strlen(deep[i]), deep[i], 0);
        refuse(path, "is no JSON", 1000 + i);
        free(deep[i]);
    }
    /* a name twice, in many tensors */
    char *many = repeated("{", ENTRY("a", "[0]", "0", "0") ",", 20000, ENTRY("a", "[0]", "0", "0") "}");
    write_model(path, strlen(many), many, 0);
    refuse(path, "is no JSON", 2000);
    free(many);
    unlink(path);
    refuse("/dev/zero", "is no regular file", 3000);
    refuse(folder, "is no regular file", 3001);
    free(path);
}

/* The deepest model that a configuration may ask for can be planned, whatever the architecture. */
static void test_deepest(void **state) {
    (void)state;
    for (int i = 0; baselines[i]; i++) {
        struct model_config c;
        char *text = xprintf("architecture=%s;layers=127", baselines[i]->name);
        assert_int_equal(config_parse(&c, text, &e), 0);
        struct model *plan = model_create(&c, NULL, 0, &e);
        assert_non_null(plan);
        model_free(plan);
        free(text);
    }
}

/* A book that names a device would be read for ever. */
static void test_books(void **state) {
    (void)state;
    static const char line[] = "{\"id\": \"a\", \"summary\": \"s\", \"text_file\": \"/dev/zero\"}\n";
    put("books/x.jsonl", line, sizeof line - 1);
    char *corpus = in_folder("books");
    assert_null(books_open(corpus, "x", 0, &e));
    assert_says("text_file = '/dev/zero' is no regular file");
    free(corpus);
}

/* What a foreign file is quoted with neither ends the line nor reaches a terminal as a command. */
static void test_one_line(void **state) {
    (void)state;
    char *path = in_folder("evil.safetensors");
    const char *header = "{\"a\\n\\u001b[2Jb\":7}";
    write_model(path, strlen(header), header, 0);
    struct st_file f;
    assert_int_equal(st_read(path, &f, &e), -1);
    for (const char *c = e.text; *c; c++) assert_true((unsigned char)*c >= ' ' && *c != 127);
    assert_says("a??[2Jb");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_deepest),
        cmocka_unit_test(test_books),
        cmocka_unit_test(test_one_line),
    };
    return cmocka_run_group_tests_name("hostile files", tests, folder_setup, folder_teardown);
}
