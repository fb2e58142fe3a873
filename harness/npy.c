/* npy.c - arrays in NumPy's .npy format. Writes float32 in C order, version 1.0; reads '<f4' and '<f8' in C order, up to
 * four dimensions, of versions 1 to 3. No .npz, no objects. */
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

/* An array in memory: where its elements lie and what they are. */
struct array {
    const unsigned char *data;
    int64_t elements;
    bool wide; /* '<f8', else '<f4' */
};

static int parse(const char *path, const unsigned char *bytes, size_t size, struct array *a, int64_t *shape, int *rank,
                 struct error *e) {
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) || bytes[6] < 1 || bytes[6] > 3)
        return fail(e, "%s is no NumPy array (.npy)", path);
    size_t lead = bytes[6] == 1 ? 10 : 12, length = bytes[8] | (size_t)bytes[9] << 8;
    if (lead == 12) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - lead)
        return fail(e, "%s is truncated: its header has %zu bytes, the file ends after %zu", path, length, size - lead);
    char *header = xcalloc(length + 1, 1);
    int result = 0;
    memcpy(header, bytes + lead, length);
    const char *descr = entry(header, "'descr'"), *order = entry(header, "'fortran_order'"), *sizes = entry(header, "'shape'");
    int64_t elements = sizes ? read_shape(sizes, shape, rank) : -1;
    bool f4 = descr && !strncmp(descr, "'<f4'", 5), f8 = descr && !strncmp(descr, "'<f8'", 5);
    size_t each = f4 ? 4 : 8, held = size - lead - length;
    if (!descr || !order || elements < 0)
        result = fail(e, "%s has a NumPy header that cannot be read: %.120s", path, header);
    else if (!f4 && !f8)
        result = fail(e, "%s holds elements of type %.*s; save it as float32 (little endian, or float64): numpy.asarray(x, '<f4')",
                      path, (int)strcspn(descr, ",}"), descr);
    else if (*rank > 1 && strncmp(order, "False", 5))
        result = fail(e, "%s is in Fortran order; save it as numpy.ascontiguousarray(x)", path);
    else if ((uint64_t)elements > held / each || (uint64_t)elements * each != held)
        result = fail(e, "%s is %s: its header promises %" PRId64 " elements of %zu bytes, %zu bytes follow", path,
                      (uint64_t)elements > held / each ? "truncated" : "damaged", elements, each, held);
    free(header);
    *a = (struct array){.data = bytes + lead + length, .elements = elements, .wide = f8};
    return result;
}

static double element(const struct array *a, int64_t i) {
    float narrow;
    double wide;
    if (a->wide)
        memcpy(&wide, a->data + (size_t)i * sizeof wide, sizeof wide);
    else {
        memcpy(&narrow, a->data + (size_t)i * sizeof narrow, sizeof narrow);
        wide = (double)narrow;
    }
    return wide;
}

float *npy_read(const char *path, int64_t *shape, int *rank, struct error *e) {
    struct array a;
    size_t size;
    unsigned char *bytes = (unsigned char *)read_file(path, &size, e);
    float *data = NULL;
    if (bytes && parse(path, bytes, size, &a, shape, rank, e) == 0) {
        data = xcalloc((size_t)a.elements, sizeof *data);
        for (int64_t i = 0; i < a.elements; i++) data[i] = (float)element(&a, i);
    }
    free(bytes);
    return data;
}

double *npy_doubles(const char *path, const void *bytes, size_t size, int64_t *shape, int *rank, struct error *e) {
    struct array a;
    if (parse(path, bytes, size, &a, shape, rank, e) != 0) return NULL;
    double *data = xcalloc((size_t)a.elements, sizeof *data);
    for (int64_t i = 0; i < a.elements; i++) data[i] = element(&a, i);
    return data;
}
