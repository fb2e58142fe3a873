/* csv_io.c - CSV in and out: libcsv reads, line by line so that errors can name the line; fields are quoted as RFC 4180 says.
 *
 * It does not interpret columns and changes no file but the one that csv_unpack unpacks. */
#include "csv_io.h"

#include <csv.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define PIECE (1 << 20)               /* bytes unpacked at a time */
#define MOST_PACKED ((size_t)4 << 30) /* of a small file that claims to be a large one */

void buffer_add(struct text_buffer *b, const char *data, size_t n) {
    if (b->n + n + 1 > b->capacity) {
        b->capacity = (b->n + n + 1) * 2 + 256;
        b->data = xrealloc(b->data, b->capacity, 1);
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
}

void buffer_escape(struct text_buffer *b, const char *text) {
    for (; *text; text++) switch (*text) {
        case '&':
            buffer_printf(b, "&amp;");
            break;
        case '<':
            buffer_printf(b, "&lt;");
            break;
        case '>':
            buffer_printf(b, "&gt;");
            break;
        case '"':
            buffer_printf(b, "&quot;");
            break;
        default:
            buffer_add(b, text, 1);
        }
}

void buffer_printf(struct text_buffer *b, const char *format, ...) {
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    char small[512];
    int n = vsnprintf(small, sizeof small, format, list);
    CHECK(n >= 0, "cannot format '%s'", format);
    if ((size_t)n < sizeof small) {
        buffer_add(b, small, (size_t)n);
    } else {
        char *large = xcalloc((size_t)n + 1, 1);
        vsnprintf(large, (size_t)n + 1, format, again);
        buffer_add(b, large, (size_t)n);
        free(large);
    }
    va_end(again);
    va_end(list);
}

void buffer_free(struct text_buffer *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

void csv_text(struct text_buffer *b, const char *text, char end) {
    size_t n = strlen(text);
    bool quote =
        strpbrk(text, ",\"\r\n") || (n && (text[0] == ' ' || text[0] == '\t' || text[n - 1] == ' ' || text[n - 1] == '\t'));
    if (quote) buffer_add(b, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        char c = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
        if (c == '"') buffer_add(b, "\"", 1);
        buffer_add(b, &c, 1);
    }
    if (quote) buffer_add(b, "\"", 1);
    buffer_add(b, &end, 1);
}

void csv_integer(struct text_buffer *b, int64_t value, char end) { buffer_printf(b, "%lld%c", (long long)value, end); }

void csv_number(struct text_buffer *b, double value, char end) {
    if (isnan(value))
        buffer_add(b, &end, 1);
    else
        buffer_printf(b, value == floor(value) && fabs(value) < 0x1p53 ? "%.0f%c" : "%.9g%c", value, end);
}

/* The row that libcsv is putting together. */
struct row_state {
    const char *path, *header;
    csv_row row;
    void *data;
    struct error *e;
    char **fields;
    int count, capacity, line, columns, result;
    bool header_done;
};

static void take_field(void *text, size_t n, void *data) {
    struct row_state *s = data;
    if (s->count == s->capacity) {
        s->capacity = s->capacity * 2 + 24;
        s->fields = xrealloc(s->fields, (size_t)s->capacity, sizeof *s->fields);
    }
    char *copy = xcalloc(n + 1, 1);
    if (n) memcpy(copy, text, n);
    s->fields[s->count++] = copy;
}

static void take_row(int terminator, void *data) {
    struct row_state *s = data;
    (void)terminator;
    if (s->result == 0) {
        if (!s->header_done && s->header) {
            struct text_buffer found = {0};
            for (int i = 0; i < s->count; i++) buffer_printf(&found, "%s%s", i ? "," : "", s->fields[i]);
            if (!found.data || strcmp(found.data, s->header) != 0)
                s->result = fail(s->e, "%s:%d: the header is '%.250s', expected '%s'", s->path, s->line,
                                 found.data ? found.data : "", s->header);
            buffer_free(&found);
            s->columns = s->count;
        } else if (s->header_done && s->count != s->columns) {
            s->result = fail(s->e, "%s:%d: %d fields, expected %d as in the first line", s->path, s->line, s->count, s->columns);
        } else {
            if (!s->header_done) s->columns = s->count;
            s->result = s->row(s->data, s->path, s->line, s->count, s->fields, s->e);
        }
        s->header_done = true;
    }
    for (int i = 0; i < s->count; i++) free(s->fields[i]);
    s->count = 0;
}

char *gzip_read(const char *path, size_t *size, struct error *e) {
    struct text_buffer b = {0};
    int status = Z_OK;
    gzFile f = gzopen(path, "rbe");
    if (!f) {
        fail(e, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    char *piece = xcalloc(PIECE, 1);
    for (int n = 1; n > 0;) {
        n = gzread(f, piece, PIECE);
        if (n > 0) buffer_add(&b, piece, (size_t)n);
        if (b.n > MOST_PACKED) break;
    }
    const char *why = gzerror(f, &status);
    bool good = status == Z_OK && !gzdirect(f);
    if (b.n > MOST_PACKED)
        fail(e, "%s: holds more than %lld bytes; unpack it with gunzip", path, (long long)MOST_PACKED);
    else if (!good)
        fail(e, "%s: not a whole gzip file (%s)", path, status == Z_OK ? "no gzip header" : why);
    free(piece);
    gzclose_r(f);
    if (!good || b.n > MOST_PACKED) {
        buffer_free(&b);
        return NULL;
    }
    if (!b.data) b.data = xcalloc(1, 1); /* of nothing */
    *size = b.n;
    return b.data;
}

/* NULL: the file is there, or nothing is. */
static char *packed_path(const char *path) {
    char *packed = access(path, F_OK) == 0 ? NULL : xprintf("%s.gz", path);
    if (!packed || access(packed, F_OK) == 0) return packed;
    free(packed);
    return NULL;
}

int csv_unpack(const char *path, struct error *e) {
    char *packed = packed_path(path);
    size_t size;
    char *text = packed ? gzip_read(packed, &size, e) : NULL;
    int result = packed ? -1 : 0;
    if (text && write_file(path, text, size, e) == 0) /* killed before the next line: the plain file counts, on every reading */
        result = unlink(packed) == 0 ? 0 : fail(e, "%s: cannot remove: %s", packed, strerror(errno));
    free(text);
    free(packed);
    return result;
}

int csv_read(const char *path, const char *header, bool torn, csv_row row, void *data, struct error *e) {
    return csv_read_part(path, header, torn, SIZE_MAX, row, data, e);
}

int csv_read_part(const char *path, const char *header, bool torn, size_t most, csv_row row, void *data, struct error *e) {
    size_t size;
    char *packed = packed_path(path), *text = packed ? gzip_read(packed, &size, e) : read_file(path, &size, e);
    free(packed);
    if (!text) return -1;
    if (size > most) size = most;
    struct csv_parser parser;
    CHECK(csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) == 0, "libcsv does not start");
    struct row_state s = {.path = path, .header = header, .row = row, .data = data, .e = e};
    for (size_t at = 0; at < size && s.result == 0;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) + 1 - at : size - at;
        if (!end && torn) break;
        s.line++;
        if (csv_parse(&parser, text + at, n, take_field, take_row, &s) != n && s.result == 0)
            s.result = fail(e, "%s:%d: not valid CSV (%s); a quote in a field is written twice", path, s.line,
                            csv_strerror(csv_error(&parser)));
        at += n;
    }
    if (s.result == 0 && csv_fini(&parser, take_field, take_row, &s) != 0)
        s.result = fail(e, "%s:%d: a quoted field does not end", path, s.line);
    if (s.result == 0 && header && !s.header_done) s.result = fail(e, "%s: empty, expected the header '%s'", path, header);
    for (int i = 0; i < s.count; i++) free(s.fields[i]);
    free(s.fields);
    csv_free(&parser);
    free(text);
    return s.result;
}

int csv_parse_real(const char *path, int line, const char *column, const char *text, bool empty, double *value, struct error *e) {
    char *end;
    if (!*text && empty) {
        *value = NAN;
        return 0;
    }
    *value = strtod(text, &end);
    if (!*text || *end) return fail(e, "%s:%d: column %s is '%s', expected a number", path, line, column, text);
    return 0;
}

int csv_parse_integer(const char *path, int line, const char *column, const char *text, int64_t *value, struct error *e) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (!*text || *end || errno) return fail(e, "%s:%d: column %s is '%s', expected a whole number", path, line, column, text);
    return 0;
}
