/* npy.c - arrays in NumPy's .npy format. Writes float32 in C order, version 1.0; reads '<f4' and '<f8' (rounded to float32) in C
 * order, up to four dimensions, of versions 1 to 3. No .npz, no objects. */
#include "checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int npy_write(const char *path, const float *data, const int64_t *shape, int rank, struct error *e) {
    CHECK(rank >= 0 && rank <= 4, "rank %d", rank);
    char header[256] = "\x93NUMPY\x01\x00", sizes[128] = "";
    size_t elements = 1, used = 0;
    for (int i = 0; i < rank; i++) {
        used += (size_t)snprintf(sizes + used, sizeof sizes - used, "%s%" PRId64 "%s", i ? " " : "", shape[i],
                                 rank == 1 || i + 1 < rank ? "," : "");
        elements *= (size_t)shape[i];
    }
    int n = 10 + snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", sizes);
    int total = (n + 1 + 63) / 64 * 64; /* blanks and a line feed up to a multiple of 64 */
    memset(header + n, ' ', (size_t)(total - n));
    header[total - 1] = '\n';
    header[8] = (char)((total - 10) & 255);
    header[9] = (char)((total - 10) >> 8);
    struct piece pieces[] = {{header, (size_t)total}, {data, elements * sizeof *data}};
    return write_pieces(path, pieces, 2, e);
}

/* The text after 'key': in the header's dictionary, NULL if there is none. */
static const char *entry(const char *header, const char *key) {
    const char *p = strstr(header, key);
    if (!p) return NULL;
    p += strlen(key);
    p += strspn(p, " ");
    if (*p++ != ':') return NULL;
    return p + strspn(p, " ");
}

/* "(3, 4)" -> shape; number of elements, or -1. */
static int64_t read_shape(const char *p, int64_t *shape, int *rank) {
    int64_t elements = 1;
    *rank = 0;
    if (*p++ != '(') return -1;
    for (;;) {
        p += strspn(p, " ,");
        if (*p == ')') return elements;
        if (*p < '0' || *p > '9' || *rank == 4) return -1;
        int64_t v = 0;
        while (*p >= '0' && *p <= '9')
            if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p++ - '0', &v)) return -1;
        if (*p != ',' && *p != ')') return -1;
        if (__builtin_mul_overflow(elements, v, &elements)) return -1;
        shape[(*rank)++] = v;
    }
}

float *npy_read(const char *path, int64_t *shape, int *rank, struct error *e) {
    size_t size, lead, length;
    unsigned char *bytes = (unsigned char *)read_file(path, &size, e);
    if (!bytes) return NULL;
    char *header = NULL;
    float *data = NULL;
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) || bytes[6] < 1 || bytes[6] > 3) {
        fail(e, "%s is no NumPy array (.npy)", path);
        goto done;
    }
    lead = bytes[6] == 1 ? 10 : 12;
    length = bytes[8] | (size_t)bytes[9] << 8;
    if (lead == 12) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - lead) {
        fail(e, "%s is truncated: its header has %zu bytes, the file ends after %zu", path, length, size - lead);
        goto done;
    }
    header = xcalloc(length + 1, 1);
    memcpy(header, bytes + lead, length);
    const char *descr = entry(header, "'descr'"), *order = entry(header, "'fortran_order'"), *sizes = entry(header, "'shape'");
    int64_t elements = sizes ? read_shape(sizes, shape, rank) : -1;
    if (!descr || !order || elements < 0) {
        fail(e, "%s has a NumPy header that cannot be read: %.120s", path, header);
        goto done;
    }
    bool f4 = !strncmp(descr, "'<f4'", 5), f8 = !strncmp(descr, "'<f8'", 5);
    if (!f4 && !f8) {
        fail(e, "%s holds elements of type %.*s; save it as float32", path, (int)strcspn(descr, ","), descr);
        goto done;
    }
    if (*rank > 1 && strncmp(order, "False", 5)) {
        fail(e, "%s is in Fortran order; save it as numpy.ascontiguousarray(x)", path);
        goto done;
    }
    size_t each = f4 ? 4 : 8, held = size - lead - length;
    if ((uint64_t)elements > held / each || (uint64_t)elements * each != held) {
        fail(e, "%s is %s: its header promises %" PRId64 " elements of %zu bytes, %zu bytes follow", path,
             (uint64_t)elements > held / each ? "truncated" : "damaged", elements, each, held);
        goto done;
    }
    data = xcalloc((size_t)elements, sizeof *data);
    if (f4 && held) memcpy(data, bytes + lead + length, held);
    for (int64_t i = 0; f8 && i < elements; i++) {
        double v;
        memcpy(&v, bytes + lead + length + (size_t)i * 8, 8);
        data[i] = (float)v;
    }
done:
    free(header);
    free(bytes);
    return data;
}
