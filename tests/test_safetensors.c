/* test_safetensors.c - safetensors and NumPy files: round trips, the sentences about bad ones, every truncation, thousands of
 * changed bytes (run under the sanitizers as well). */
#include "harness/checkpoint.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- safetensors ---- */

static float f32[] = {1.5f, -0.0f, INFINITY, 1e-42f, 3, 4};
static int32_t i32[] = {7, -8, 9};
static int64_t i64[] = {1ll << 40};
static struct st_tensor sample[] = {
    {.name = "layers.0.wq", .dtype = "F32", .shape = {2, 3}, .rank = 2, .data = f32, .bytes = sizeof f32},
    {.name = "empty", .dtype = "F32", .shape = {3, 0}, .rank = 2, .data = NULL, .bytes = 0},
    {.name = "another empty", .dtype = "I64", .shape = {0}, .rank = 1, .data = NULL, .bytes = 0},
    {.name = "since", .dtype = "I32", .shape = {3}, .rank = 1, .data = i32, .bytes = sizeof i32},
    {.name = "scalar \"\xc3\xa9\"", .dtype = "I64", .rank = 0, .data = i64, .bytes = sizeof i64},
};
static const char *const sample_keys[] = {"step", "config", "odd"}, *const sample_values[] = {"12", "a=1;b=\"x\"\n",
                                                                                              "\xe2\x82\xac"};

static void write_sample(const char *path) { assert_int_equal(st_write(path, sample, 5, sample_keys, sample_values, 3, &e), 0); }

/* Is what was read exactly what was written? */
static bool is_sample(const struct st_file *f) {
    if (f->count != 5 || f->pairs != 4) return false;
    for (int i = 0; i < 5; i++) {
        const struct st_tensor *t = st_find(f, sample[i].name);
        if (!t || strcmp(t->dtype, sample[i].dtype) || t->rank != sample[i].rank || t->bytes != sample[i].bytes) return false;
        if (memcmp(t->shape, sample[i].shape, sizeof t->shape) || (t->bytes && memcmp(t->data, sample[i].data, t->bytes)))
            return false;
    }
    for (int i = 0; i < 3; i++)
        if (!st_meta(f, sample_keys[i]) || strcmp(st_meta(f, sample_keys[i]), sample_values[i])) return false;
    return true;
}

static void test_safetensors(void **state) {
    (void)state;
    char *path = in_folder("a.safetensors"), sum[24];
    write_sample(path);
    struct st_file f;
    assert_int_equal(st_read(path, &f, &e), 0);
    assert_true(is_sample(&f));
    st_checksum(sum, sample, 5, sample_keys, sample_values, 3);
    assert_string_equal(st_meta(&f, "checksum"), sum);
    assert_null(st_meta(&f, "nothing"));
    assert_null(st_find(&f, "nothing"));
    st_free(&f);
    /* What the format asks of a file: the length of the header, a JSON object, data aligned to 8. */
    size_t n;
    char *bytes = read_file(path, &n, &e);
    uint64_t length;
    memcpy(&length, bytes, 8);
    assert_true(length % 8 == 0 && bytes[8] == '{' && 8 + length + sizeof f32 + sizeof i32 + sizeof i64 == n);
    assert_memory_equal(bytes + 8 + length, f32, sizeof f32);
    free(bytes);
    const char *bad = "\xff";
    assert_int_equal(st_write(path, sample, 5, sample_keys, &bad, 1, &e), -1);
    assert_says("the metadata 'step' is not UTF-8");
    assert_int_equal(st_read(path, &f, &e), 0); /* and the old file stands */
    st_free(&f);
    assert_int_equal(st_write(path, NULL, 0, NULL, NULL, 0, &e), 0);
    assert_int_equal(st_read(path, &f, &e), 0);
    assert_int_equal(f.count, 0);
    st_free(&f);
    free(path);
}

/* A file of this header and n bytes of data. */
static void put_raw(const char *path, const char *header, size_t n) {
    uint64_t length = strlen(header);
    char *bytes = xcalloc(8 + length + n, 1);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    assert_int_equal(write_file(path, bytes, 8 + length + n, &e), 0);
    free(bytes);
}

#define T(name, shape, from, to) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_safetensors_errors(void **state) {
    (void)state;
    char *path = in_folder("bad.safetensors");
    struct st_file f;
    const struct {
        const char *header, *says;
        size_t n;
    } bad[] = {
        {"{" T("a", "[2]", "0", "8") "," T("b", "[2]", "4", "12") "}", "overlap or leave gaps", 12},
        {"{" T("a", "[2]", "0", "8") "," T("b", "[1]", "12", "16") "}", "overlap or leave gaps", 16},
        {"{" T("a", "[2]", "0", "8") "}", "is truncated: tensor 'a' ends at byte 8 of the data, the file holds 7", 7},
        {"{" T("a", "[2]", "0", "8") "}", "1 bytes follow its last tensor", 9},
        {"{" T("a", "[3]", "0", "8") "}", "the data offsets of tensor 'a' do not fit its shape", 8},
        {"{" T("a", "[-2]", "0", "8") "}", "the shape of tensor 'a'", 8},
        {"{" T("a", "[4611686018427387904,4]", "0", "0") "}", "the shape of tensor 'a'", 0},
        {"{" T("a", "[2.0]", "0", "8") "}", "the shape of tensor 'a'", 8},
        {"{" T("a", "[1,1,1,1,2]", "0", "8") "}", "has 5 dimensions", 8},
        {"{" T("a", "[2]", "8", "0") "}", "do not fit", 8},
        {"{" T("a", "[2]", "-8", "0") "}", "do not fit", 8},
        {"{" T("a", "[2]", "0", "8") "," T("a", "[2]", "0", "8") "}", "is no JSON", 8},
        {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}",
         "tensor 'a' has dtype BF16; only F32, I32 and I64 are read", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "the header entry of tensor 'a'", 8},
        {"{\"a\":7}", "the header entry of tensor 'a'", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", "the header entry of tensor 'a'", 8},
        {"{\"__metadata__\":{\"a\":1}}", "a metadata value is no text", 0},
        {"{\"__metadata__\":[]}", "no JSON object", 0},
        {"{\"__metadata__\":{\"checksum\":\"xxh3-0\"}}", "its checksum is xxh3-", 0},
        {"{\"a\"", "is no JSON", 0},
        {"{} {}", "is no JSON", 0},
        {"[]", "is no safetensors file", 0},
        {"", "is no safetensors file", 0},
        {"{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1}",
         "too long", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_raw(path, bad[i].header, bad[i].n);
        assert_int_equal(st_read(path, &f, &e), -1);
        assert_says(bad[i].says);
        assert_says(path);
        assert_null(strchr(e.text, '\n'));
    }
    /* A foreign header of any length and without checksum is read, and its data are aligned. */
    put_raw(path, "{" T("a", "[2]", "0", "8") ",\"__metadata__\":{\"format\":\"pt\"}}   ", 8);
    assert_int_equal(st_read(path, &f, &e), 0);
    assert_true((uintptr_t)st_find(&f, "a")->data % 8 == 0);
    st_free(&f);
    assert_int_equal(write_file(path, "short", 5, &e), 0);
    assert_int_equal(st_read(path, &f, &e), -1);
    assert_says("is no safetensors file: it has only 5 bytes");
    assert_int_equal(write_file(path, "a text file of another kind\n", 28, &e), 0);
    assert_int_equal(st_read(path, &f, &e), -1);
    assert_says("is no safetensors file: it does not begin with the length of a JSON header");
    assert_int_equal(st_read("/nonexistent", &f, &e), -1);
    assert_says("cannot open /nonexistent");
    free(path);
}

/* Every byte that a reader would look at, so that the sanitizer sees a tensor outside of the file. */
static void touch(const struct st_file *f) {
    uint64_t sum = 0;
    for (int i = 0; i < f->count; i++) sum += hash64(f->tensors[i].data, f->tensors[i].bytes, 0);
    assert_true(sum != 1);
}

static void test_safetensors_fuzz(void **state) {
    (void)state;
    char *path = in_folder("whole.safetensors"), *cut = in_folder("cut.safetensors");
    write_sample(path);
    size_t n;
    char *bytes = read_file(path, &n, &e);
    struct st_file f;
    FILE *out = fopen(cut, "w+b");
    assert_non_null(out);
    for (size_t k = 0; k < n; k++) { /* every truncation is an error */
        rewind(out);
        assert_int_equal(ftruncate(fileno(out), 0), 0);
        assert_int_equal(fwrite(bytes, 1, k, out), k);
        fflush(out);
        assert_int_equal(st_read(cut, &f, &e), -1);
    }
    struct rng r;
    rng_seed(&r, 1, 0);
    int read = 0;
    for (int k = 0; k < 6000; k++) { /* changed bytes: an error, or the same content (a blank for a blank) */
        char *copy = xcalloc(n, 1);
        memcpy(copy, bytes, n);
        for (int64_t times = k < 4000 ? 1 : 1 + rng_below(&r, 4); times > 0; times--) {
            size_t at = k < 2000 ? (size_t)rng_below(&r, 8 + 64) : (size_t)rng_below(&r, (int64_t)n);
            copy[at] = k & 1 ? (char)rng_below(&r, 256) : (char)(copy[at] ^ 1 << rng_below(&r, 8));
        }
        rewind(out);
        assert_int_equal(fwrite(copy, 1, n, out), n);
        assert_int_equal(ftruncate(fileno(out), (off_t)n), 0);
        fflush(out);
        e.text[0] = 0;
        if (!st_read(cut, &f, &e)) {
            assert_true(is_sample(&f) || !st_meta(&f, "checksum")); /* the key itself can be hit */
            touch(&f);
            st_free(&f);
            read++;
        } else
            assert_true(e.text[0] != 0);
        free(copy);
    }
    assert_true(read < 600);
    /* Without a checksum the structure alone must hold. */
    put_raw(path, "{" T("a", "[2]", "0", "8") "," T("b", "[2,3]", "8", "32") "," T("c", "[0]", "32", "32") "}", 32);
    free(bytes);
    bytes = read_file(path, &n, &e);
    for (int k = 0; k < 6000; k++) {
        char *copy = xcalloc(n, 1);
        memcpy(copy, bytes, n);
        for (int64_t times = 1 + rng_below(&r, 3); times > 0; times--) {
            size_t at = (size_t)rng_below(&r, (int64_t)n);
            copy[at] = k & 1 ? (char)('0' + rng_below(&r, 10)) : (char)(copy[at] ^ 1 << rng_below(&r, 8));
        }
        rewind(out);
        assert_int_equal(fwrite(copy, 1, n, out), n);
        assert_int_equal(ftruncate(fileno(out), (off_t)n), 0);
        fflush(out);
        if (!st_read(cut, &f, &e)) {
            touch(&f);
            st_free(&f);
        }
        free(copy);
    }
    fclose(out);
    free(bytes);
    free(path);
    free(cut);
}

/* ---- NumPy ---- */

static void test_npy(void **state) {
    (void)state;
    char *path = in_folder("x.npy");
    const int64_t shapes[][4] = {{0}, {6}, {2, 3}, {1, 2, 3}, {1, 2, 1, 3}};
    for (int rank = 0; rank <= 4; rank++) {
        assert_int_equal(npy_write(path, f32, shapes[rank], rank, &e), 0);
        size_t n;
        char *bytes = read_file(path, &n, &e);
        assert_int_equal(n, (rank ? 24 : 4) + 128);
        assert_memory_equal(bytes, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (", 61);
        assert_int_equal(bytes[127], '\n');
        int64_t shape[4] = {0};
        int got;
        float *x = npy_read(path, shape, &got, &e);
        assert_non_null(x);
        assert_int_equal(got, rank);
        assert_memory_equal(shape, shapes[rank], (size_t)rank * sizeof *shape);
        assert_memory_equal(x, f32, rank ? 24 : 4);
        free(x);
        FILE *out = fopen(path, "w+b");
        assert_non_null(out);
        for (size_t k = 0; k < n; k++) { /* every truncation is an error */
            rewind(out);
            assert_int_equal(ftruncate(fileno(out), 0), 0);
            assert_int_equal(fwrite(bytes, 1, k, out), k);
            fflush(out);
            assert_null(npy_read(path, shape, &got, &e));
        }
        struct rng r;
        rng_seed(&r, 3, (uint64_t)rank);
        for (int k = 0; k < 2000; k++) { /* changed bytes: never more than the file holds */
            char copy[256];
            memcpy(copy, bytes, n);
            copy[rng_below(&r, 128)] = (char)rng_below(&r, 256);
            rewind(out);
            assert_int_equal(fwrite(copy, 1, n, out), n);
            fflush(out);
            free(npy_read(path, shape, &got, &e));
        }
        fclose(out);
        free(bytes);
    }
    const double wide[] = {0.1, -2};
    char header[80] = "\x93NUMPY\x01\x00\x40\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }         \n";
    struct piece pieces[] = {{header, 74}, {wide, sizeof wide}};
    int64_t shape[4];
    int rank;
    assert_int_equal(write_pieces(path, pieces, 2, &e), 0);
    float *x = npy_read(path, shape, &rank, &e);
    assert_non_null(x);
    assert_true(x[0] == 0.1f && x[1] == -2 && rank == 1 && shape[0] == 2);
    free(x);
    memcpy(strstr(header + 10, "<f8"), "<i8", 3);
    assert_int_equal(write_pieces(path, pieces, 2, &e), 0);
    assert_null(npy_read(path, shape, &rank, &e));
    assert_says("holds elements of type '<i8'; save it as float32");
    assert_int_equal(write_file(path, "hello world, no array", 21, &e), 0);
    assert_null(npy_read(path, shape, &rank, &e));
    assert_says("is no NumPy array");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_safetensors_errors),
        cmocka_unit_test(test_safetensors_fuzz),
        cmocka_unit_test(test_npy),
    };
    return cmocka_run_group_tests_name("safetensors", tests, folder_setup, folder_teardown);
}
