/* safetensors.c - reading and writing safetensors files: whole files, little-endian, F32, I32 and I64. Files appear whole (util.h)
 * and carry a checksum; the reader trusts nothing it reads. What the tensors mean is checkpoint.c's business. */
#include "checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* The safetensors library allows 100 MB, of which JSON values could take gigabytes in memory; the header of the largest public
 * models has less than one. */
#define HEADER_MOST 10000000u

static int64_t dtype_size(const char *dtype) {
    return !strcmp(dtype, "F32") || !strcmp(dtype, "I32") ? 4 : !strcmp(dtype, "I64") ? 8 : 0;
}

/* ---- checksum ---- */

struct pair {
    const char *key, *value;
};
static int by_key(const void *a, const void *b) { return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key); }

void st_checksum(char sum[24], const struct st_tensor *tensors, int count, const char *const *keys, const char *const *values,
                 int pairs) {
    struct pair *p = xcalloc((size_t)pairs, sizeof *p);
    int n = 0;
    for (int i = 0; i < pairs; i++)
        if (strcmp(keys[i], "checksum")) p[n++] = (struct pair){keys[i], values[i]};
    qsort(p, (size_t)n, sizeof *p, by_key);
    XXH3_state_t *x = XXH3_createState();
    CHECK(x, "no memory for a checksum");
    XXH3_64bits_reset(x);
    for (int i = 0; i < n; i++) {
        XXH3_64bits_update(x, p[i].key, strlen(p[i].key) + 1);
        XXH3_64bits_update(x, p[i].value, strlen(p[i].value) + 1);
    }
    for (int i = 0; i < count; i++) {
        const struct st_tensor *t = &tensors[i];
        XXH3_64bits_update(x, t->name, strlen(t->name) + 1);
        XXH3_64bits_update(x, t->dtype, strlen(t->dtype) + 1);
        XXH3_64bits_update(x, &t->rank, sizeof t->rank);
        XXH3_64bits_update(x, t->shape, (size_t)t->rank * sizeof *t->shape);
    }
    for (int i = 0; i < count; i++)
        if (tensors[i].bytes) XXH3_64bits_update(x, tensors[i].data, tensors[i].bytes);
    snprintf(sum, 24, "xxh3-%016" PRIx64, (uint64_t)XXH3_64bits_digest(x));
    XXH3_freeState(x);
    free(p);
}

/* ---- writing ---- */

/* The JSON header, padded with blanks so that the data begin at a multiple of 8; malloc'd. */
static char *make_header(const char *path, const struct st_tensor *tensors, int count, const char *const *keys,
                         const char *const *values, int pairs, size_t *size, struct error *e) {
    char sum[24];
    st_checksum(sum, tensors, count, keys, values, pairs);
    json_t *root = json_object(), *meta = json_object();
    json_object_set_new(root, "__metadata__", meta);
    for (int i = 0; i < pairs; i++)
        if (json_object_set_new(meta, keys[i], json_string(values[i]))) {
            json_decref(root);
            return fail(e, "cannot write %s: the metadata '%s' is not UTF-8", path, keys[i]), NULL;
        }
    json_object_set_new(meta, "checksum", json_string(sum));
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const struct st_tensor *t = &tensors[i];
        json_t *shape = json_array();
        for (int j = 0; j < t->rank; j++) json_array_append_new(shape, json_integer(t->shape[j]));
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape, "data_offsets", (json_int_t)offset,
                                  (json_int_t)(offset + t->bytes));
        CHECK(entry && !json_object_get(root, t->name), "tensor '%s' twice, or its name is not UTF-8", t->name);
        json_object_set_new(root, t->name, entry);
        offset += t->bytes;
    }
    char *text = json_dumps(root, JSON_COMPACT);
    CHECK(text, "JSON of a safetensors header");
    json_decref(root);
    size_t n = strlen(text);
    *size = (n + 7) / 8 * 8;
    text = xrealloc(text, *size, 1);
    memset(text + n, ' ', *size - n);
    return text;
}

int st_write(const char *path, const struct st_tensor *tensors, int count, const char *const *keys, const char *const *values,
             int pairs, struct error *e) {
    for (int i = 0; i < count; i++) {
        const struct st_tensor *t = &tensors[i];
        int64_t n = dtype_size(t->dtype);
        CHECK(n && t->rank >= 0 && t->rank <= 4, "tensor '%s' of dtype %s, rank %d", t->name, t->dtype, t->rank);
        for (int j = 0; j < t->rank; j++) n *= t->shape[j];
        CHECK(n >= 0 && (size_t)n == t->bytes, "tensor '%s' has %zu bytes, its shape says %" PRId64, t->name, t->bytes, n);
    }
    size_t size;
    char *header = make_header(path, tensors, count, keys, values, pairs, &size, e);
    if (!header) return -1;
    uint64_t length = size;
    struct piece *pieces = xcalloc((size_t)count + 2, sizeof *pieces);
    pieces[0] = (struct piece){&length, sizeof length};
    pieces[1] = (struct piece){header, size};
    for (int i = 0; i < count; i++) pieces[i + 2] = (struct piece){tensors[i].data, tensors[i].bytes};
    int rc = write_pieces(path, pieces, count + 2, e);
    free(pieces);
    free(header);
    return rc;
}

/* ---- reading ---- */

static int damaged(const char *path, struct error *e, const char *what) {
    return fail(e, "%s is damaged (%s); restore it from a copy, or remove it and train again", path, what);
}

static int read_metadata(struct st_file *f, const char *path, json_t *meta, struct error *e) {
    if (!meta) return 0;
    if (!json_is_object(meta)) return damaged(path, e, "its metadata are no JSON object");
    f->keys = xcalloc(json_object_size(meta), sizeof *f->keys);
    f->values = xcalloc(json_object_size(meta), sizeof *f->values);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value)) return damaged(path, e, "a metadata value is no text");
        f->keys[f->pairs] = xstrdup(key);
        f->values[f->pairs++] = xstrdup(json_string_value(value));
    }
    return 0;
}

/* One entry of the header; begin and end of its data are checked against each other and the shape, not yet against the file. */
static int read_entry(struct st_tensor *t, int64_t *begin, const char *path, const char *name, json_t *entry, struct error *e) {
    json_int_t from, to;
    const char *dtype;
    json_t *shape, *offsets;
    if (strlen(name) >= sizeof t->name) return fail(e, "%s: the tensor name '%.100s...' is too long", path, name);
    memcpy(t->name, name, strlen(name) + 1);
    if (json_unpack(entry, "{s:s, s:o, s:o}", "dtype", &dtype, "shape", &shape, "data_offsets", &offsets) ||
        !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2 ||
        json_unpack(offsets, "[I, I]", &from, &to))
        return fail(e, "%s is damaged (the header entry of tensor '%s'); restore it from a copy, or remove it", path, t->name);
    if (!dtype_size(dtype)) return fail(e, "%s: tensor '%s' has dtype %.16s; only F32, I32 and I64 are read", path, t->name, dtype);
    memcpy(t->dtype, dtype, strlen(dtype) + 1);
    if (json_array_size(shape) > 4)
        return fail(e, "%s: tensor '%s' has %zu dimensions; 4 are the most", path, t->name, json_array_size(shape));
    t->rank = (int)json_array_size(shape);
    int64_t n = dtype_size(dtype);
    for (int i = 0; i < t->rank; i++) {
        json_t *d = json_array_get(shape, (size_t)i);
        t->shape[i] = json_integer_value(d);
        if (!json_is_integer(d) || t->shape[i] < 0 || __builtin_mul_overflow(n, t->shape[i], &n))
            return fail(e, "%s is damaged (the shape of tensor '%s'); restore it from a copy, or remove it", path, t->name);
    }
    if (from < 0 || to < from || to - from != n)
        return fail(e, "%s is damaged (the data offsets of tensor '%s' do not fit its shape); restore it from a copy, or remove it",
                    path, t->name);
    t->bytes = (size_t)n;
    *begin = from;
    return 0;
}

struct placed {
    struct st_tensor tensor;
    int64_t begin;
    int order; /* in the header */
};
static int by_place(const void *a, const void *b) {
    const struct placed *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->tensor.bytes != y->tensor.bytes) return x->tensor.bytes < y->tensor.bytes ? -1 : 1; /* empty ones first */
    return x->order - y->order;
}

static int read_header(struct st_file *f, const char *path, json_t *root, size_t available, struct error *e) {
    if (!json_is_object(root)) return damaged(path, e, "its header is no JSON object");
    if (read_metadata(f, path, json_object_get(root, "__metadata__"), e)) return -1;
    struct placed *p = xcalloc(json_object_size(root), sizeof *p);
    const char *name;
    json_t *entry;
    int rc = 0;
    json_object_foreach(root, name, entry) {
        if (!strcmp(name, "__metadata__")) continue;
        rc = read_entry(&p[f->count].tensor, &p[f->count].begin, path, name, entry, e);
        if (rc) break;
        p[f->count].order = f->count;
        f->count++;
    }
    if (!rc) {
        qsort(p, (size_t)f->count, sizeof *p, by_place);
        f->tensors = xcalloc((size_t)f->count, sizeof *f->tensors);
        size_t at = 0;
        for (int i = 0; i < f->count && !rc; i++) {
            if ((size_t)p[i].begin != at) rc = damaged(path, e, "its tensors overlap or leave gaps");
            f->tensors[i] = p[i].tensor;
            f->tensors[i].data = (const void *)(uintptr_t)at; /* within the data; st_read adds where they lie */
            at += p[i].tensor.bytes;
            if (at > available && !rc)
                rc = fail(e, "%s is truncated: tensor '%s' ends at byte %zu of the data, the file holds %zu", path,
                          p[i].tensor.name, at, available);
        }
        if (!rc && at != available) rc = fail(e, "%s is damaged: %zu bytes follow its last tensor", path, available - at);
    }
    free(p);
    return rc;
}

/* Reads `size` bytes at `at`, 0-terminated; malloc'd. */
static char *read_part(FILE *in, const char *path, size_t at, size_t size, struct error *e) {
    char *bytes = malloc(size + 1);
    if (!bytes) return fail(e, "cannot read %s: no memory for %zu bytes", path, size), NULL;
    if (fseeko(in, (off_t)at, SEEK_SET) || fread(bytes, 1, size, in) != size) {
        fail(e, "cannot read %s: it ends before byte %zu, or the disk failed", path, at + size);
        free(bytes);
        return NULL;
    }
    bytes[size] = 0;
    return bytes;
}

/* Nothing is allocated for what the file promises before it is known to hold it: the length of the header is held against the
 * file's, the tensors against the rest, and only then the data are read. */
static int read_open(FILE *in, struct st_file *f, const char *path, struct error *e) {
    struct stat st;
    unsigned char lead[9] = {0};
    if (fstat(fileno(in), &st) || !S_ISREG(st.st_mode)) return fail(e, "%s is no regular file; a model is read from a disk", path);
    size_t size = (size_t)st.st_size;
    uint64_t length = 0;
    if (size < 8) return fail(e, "%s is no safetensors file: it has only %zu bytes", path, size);
    bool nine = fread(lead, 1, 9, in) == 9;
    for (int i = 7; i >= 0; i--) length = length << 8 | lead[i];
    if (!nine || length > HEADER_MOST || lead[8] != '{')
        return fail(e, "%s is no safetensors file: it does not begin with the length of a JSON header (at most %u)", path,
                    HEADER_MOST);
    if (length > size - 8)
        return fail(e, "%s is truncated: its header has %" PRIu64 " bytes, the file ends after %zu", path, length, size - 8);
    char *text = read_part(in, path, 8, (size_t)length, e);
    if (!text) return -1;
    json_error_t je;
    json_t *root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &je);
    size_t data = 8 + (size_t)length;
    int rc =
        root ? read_header(f, path, root, size - data, e) : fail(e, "%s is damaged: its header is no JSON (%s)", path, je.text);
    json_decref(root);
    free(text);
    if (!rc && !(f->memory = read_part(in, path, data, size - data, e))) rc = -1;
    for (int i = 0; i < f->count && !rc; i++) f->tensors[i].data = (char *)f->memory + (uintptr_t)f->tensors[i].data;
    return rc;
}

int st_read(const char *path, struct st_file *f, struct error *e) {
    memset(f, 0, sizeof *f);
    FILE *in = fopen(path, "rbe");
    if (!in) return fail(e, "cannot open %s: %s", path, strerror(errno));
    int rc = read_open(in, f, path, e);
    fclose(in);
    const char *said = rc ? NULL : st_meta(f, "checksum");
    if (said) {
        char sum[24];
        st_checksum(sum, f->tensors, f->count, (const char *const *)f->keys, (const char *const *)f->values, f->pairs);
        if (strcmp(sum, said))
            rc = fail(
                e,
                "%s is damaged: its checksum is %s, its metadata say %.32s; restore it from a copy, or train again (if another "
                "program rewrote it on purpose, drop the metadata 'checksum')",
                path, sum, said);
    }
    if (rc) st_free(f);
    return rc;
}

void st_free(struct st_file *f) {
    for (int i = 0; i < f->pairs; i++) {
        free(f->keys[i]);
        free(f->values[i]);
    }
    free(f->keys);
    free(f->values);
    free(f->tensors);
    free(f->memory);
    memset(f, 0, sizeof *f);
}

const char *st_meta(const struct st_file *f, const char *key) {
    for (int i = 0; i < f->pairs; i++)
        if (!strcmp(f->keys[i], key)) return f->values[i];
    return NULL;
}

const struct st_tensor *st_find(const struct st_file *f, const char *name) {
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->tensors[i].name, name)) return &f->tensors[i];
    return NULL;
}
