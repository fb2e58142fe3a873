/* said.c - texts of models beside the tables of results (see said.h). It scores nothing and knows no task. */
#include "said.h"
#include "corpus.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static json_t *readable(const char *text) {
    struct text_buffer b = {0};
    for (size_t n = strlen(text); n;) {
        size_t length = utf8_length((const unsigned char *)text, n), step = length ? length : 1;
        buffer_add(&b, length ? text : "\xef\xbf\xbd", length ? length : 3);
        text += step, n -= step;
    }
    json_t *j = json_string(b.n ? b.data : "");
    buffer_free(&b);
    return j;
}

void said_add(struct text_buffer *b, const char *split, const char *condition, int64_t context, const char *sample,
              const char *text) {
    json_t *line = json_pack("{s:s, s:s, s:I, s:s, s:o}", "split", split, "condition", condition, "context", (json_int_t)context,
                             "sample", sample, "prediction", readable(text));
    char *dump = line ? json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    CHECK(dump, "the name of a sample is not UTF-8");
    buffer_printf(b, "%s\n", dump);
    free(dump);
    json_decref(line);
}

static char *path_of(const char *folder, const char *cell) { return xprintf("%s/texts/%s.jsonl.gz", folder, cell); }

static int put(const char *folder, const char *cell, const void *data, size_t n, struct error *e) {
    char *texts = xprintf("%s/texts", folder), *path = path_of(folder, cell);
    int result = make_folders(texts, e);
    if (result == 0) result = write_file(path, data, n, e);
    free(path);
    free(texts);
    return result;
}

int said_write(const char *folder, const char *cell, const struct text_buffer *b, struct error *e) {
    if (!b->n) return 0;
    CHECK(b->n < UINT_MAX / 2, "cell %s said %zu bytes", cell, b->n);
    z_stream z = {.next_in = (Bytef *)b->data, .avail_in = (uInt)b->n};
    CHECK(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib does not start"); /* + 16: as gzip -n */
    uLong room = deflateBound(&z, (uLong)b->n);
    Bytef *packed = xcalloc(room, 1);
    z.next_out = packed;
    z.avail_out = (uInt)room;
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib needs more room than it said");
    int result = put(folder, cell, packed, z.total_out, e);
    deflateEnd(&z);
    free(packed);
    return result;
}

int said_copy(const char *folder, const char *from, const char *cell, struct error *e) {
    char *path = path_of(from, cell);
    size_t n;
    int result = access(path, F_OK) == 0 ? -1 : 0;
    char *data = result ? read_file(path, &n, e) : NULL;
    if (data) result = put(folder, cell, data, n, e);
    free(data);
    free(path);
    return result;
}

void said_free(struct said *s) {
    free(s->sample);
    free(s->text);
    *s = (struct said){0};
}

static void keep(struct said *s, json_t *line, const char *condition) {
    const char *of = json_string_value(json_object_get(line, "condition"));
    const char *sample = json_string_value(json_object_get(line, "sample"));
    const char *text = json_string_value(json_object_get(line, "prediction"));
    int64_t context = json_integer_value(json_object_get(line, "context"));
    if (!of || !sample || !text || strcmp(of, condition) != 0 || (s->text && context <= s->context)) return;
    said_free(s);
    *s = (struct said){.sample = xstrdup(sample), .text = xstrdup(text), .context = context};
}

bool said_first(struct said *s, const char *folder, const char *cell, const char *condition) {
    char *path = path_of(folder, cell);
    size_t n;
    char *lines = access(path, R_OK) == 0 ? gzip_read(path, &n, NULL) : NULL;
    *s = (struct said){0};
    for (char *p = lines, *end; p && (end = strchr(p, '\n')); p = end + 1) {
        json_t *line = json_loadb(p, (size_t)(end - p), 0, NULL);
        keep(s, line, condition);
        json_decref(line);
    }
    free(lines);
    free(path);
    return s->text;
}
