/* batcher.c - lays the documents of a source into batch rows of segments (layout: source.h). One step is S segments of N tokens per
 * row; it knows nothing of models. Rows are filled one after the other, so the order of documents depends on the shape alone. */
#include "faults.h"
#include "source.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct row {
    bool open;
    struct document document;
    int64_t position; /* targets given of the n + 1 (the document and EOS) */
    char *cursor;     /* the source's cursor before it gave this document: how a checkpoint gets the document back */
};
struct batcher {
    struct source *source;
    int64_t rows, segments, n;
    struct row *row;
    struct batch batch;
};

struct batcher *batcher_create(struct source *s, int64_t rows, int64_t segments, int64_t n) {
    CHECK(rows > 0 && segments > 0 && n > 0, "a batch of %" PRId64 " x %" PRId64 " x %" PRId64, rows, segments, n);
    struct batcher *b = xcalloc(1, sizeof *b);
    *b = (struct batcher){.source = s, .rows = rows, .segments = segments, .n = n, .row = xcalloc((size_t)rows, sizeof *b->row)};
    size_t cells = (size_t)(rows * segments), tokens = cells * (size_t)n;
    b->batch = (struct batch){.rows = rows,
                              .segments = segments,
                              .n = n,
                              .tokens = xcalloc(tokens, sizeof(int32_t)),
                              .targets = xcalloc(tokens, sizeof(int32_t)),
                              .weights = xcalloc(tokens, sizeof(float)),
                              .since = xcalloc(cells, sizeof(int32_t)),
                              .len = xcalloc(cells, sizeof(int32_t)),
                              .carried = xcalloc((size_t)rows, sizeof(double)),
                              .text = xcalloc((size_t)rows, sizeof(int))};
    return b;
}

void batcher_free(struct batcher *b) {
    if (!b) return;
    for (int64_t i = 0; i < b->rows; i++) free(b->row[i].cursor);
    free(b->row);
    free(b->batch.tokens);
    free(b->batch.targets);
    free(b->batch.weights);
    free(b->batch.since);
    free(b->batch.len);
    free(b->batch.carried);
    free(b->batch.text);
    free(b);
}

static void open_document(struct batcher *b, int64_t i) {
    struct row *r = &b->row[i];
    free(r->cursor);
    r->cursor = b->source->save(b->source);
    b->source->next(b->source, i, &r->document);
    CHECK(r->document.n >= 0, "a document of %" PRId64 " tokens", r->document.n);
    const struct document *d = &r->document;
    CHECK(!source_carries(b->source) || d->carried <= CARRIED_LIMIT, "source '%s': a document with carried = %g; at most %g",
          b->source->name, d->carried, CARRIED_LIMIT);
    CHECK(!source_carries(b->source) || d->carried < 0 ||
              (d->text ? d->text > 0 && d->text <= b->source->text_count : b->source->filler != NULL),
          "source '%s': a document starts from text %d, which is not there", b->source->name, d->text);
    r->open = true;
    r->position = 0;
}

/* EOS weighs what the last token weighs. */
static float weight_of(const struct document *d, int64_t i) {
    if (!d->weights || !d->n) return 1;
    return d->weights[i < d->n ? i : d->n - 1];
}

void batcher_next(struct batcher *b, struct batch *out) {
    struct batch *x = &b->batch;
    x->scored = 0;
    x->weight_sum = 0;
    x->misplaced = 0;
    for (int64_t i = 0; i < b->rows; i++) {
        struct row *r = &b->row[i];
        x->carried[i] = -1;
        x->text[i] = 0;
        for (int64_t s = 0; s < b->segments; s++) {
            if (!r->open) open_document(b, i);
            const struct document *d = &r->document;
            if (source_carries(b->source) && r->position == 0 && d->carried >= 0) {
                if (s)
                    x->misplaced++;
                else
                    x->carried[i] = d->carried, x->text[i] = d->text;
            }
            int64_t cell = i * b->segments + s, at = cell * b->n, left = d->n + 1 - r->position, len = left < b->n ? left : b->n;
            x->since[cell] = since_of(r->position + (FAULT(stale_cache) ? b->n : 0), b->n); /* the fault: no document begins anew */
            x->len[cell] = (int32_t)len;
            for (int64_t j = 0; j < b->n; j++) {
                int64_t p = r->position + j; /* index of the target; the input is the token before it */
                bool inside = j < len;
                float w = inside && !(FAULT(skip_last) && j == b->n - 1) ? weight_of(d, p) : 0;
                x->tokens[at + j] = inside && p > 0 ? d->tokens[p - 1] : 0;
                x->targets[at + j] = !inside ? -1 : p < d->n ? d->tokens[p] : 0;
                x->weights[at + j] = w;
                x->weight_sum += w;
                x->scored += w > 0;
            }
            r->position += len;
            if (r->position == d->n + 1) r->open = false;
        }
    }
    if (x->weight_sum > 0)
        for (int64_t i = 0; i < b->rows * b->segments * b->n; i++) x->weights[i] = (float)(x->weights[i] / x->weight_sum);
    *out = *x;
}

char *batcher_save(const struct batcher *b) {
    char *cursor = b->source->save(b->source);
    json_t *rows = json_array();
    for (int64_t i = 0; i < b->rows; i++) {
        const struct row *r = &b->row[i];
        json_array_append_new(rows, r->open ? json_pack("{s:s, s:I, s:I}", "cursor", r->cursor, "position", (json_int_t)r->position,
                                                        "tokens", (json_int_t)r->document.n)
                                            : json_null());
    }
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "source", b->source->name, "cursor", cursor, "batch",
                             (json_int_t)b->rows, "segments", (json_int_t)b->segments, "segment", (json_int_t)b->n, "rows", rows);
    CHECK(root, "a source's cursor is not UTF-8");
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    CHECK(text, "JSON of a batcher");
    json_decref(root);
    free(cursor);
    return text;
}

/* Gives row i the document that the source gave after `cursor`. */
static int reopen(struct batcher *b, int64_t i, json_t *saved, struct error *e) {
    const char *cursor;
    json_int_t position, tokens;
    struct row *r = &b->row[i];
    r->open = false;
    if (json_is_null(saved)) return 0;
    if (json_unpack(saved, "{s:s, s:I, s:I}", "cursor", &cursor, "position", &position, "tokens", &tokens))
        return fail(e, "the data cursor of row %" PRId64 " is damaged", i);
    if (b->source->load(b->source, cursor, e)) return -1;
    open_document(b, i);
    if (r->document.n != tokens || position <= 0 || position > tokens)
        return fail(e,
                    "the source '%s' no longer gives the document that row %" PRId64 " was reading (%" PRId64
                    " tokens, then %" PRId64 ")",
                    b->source->name, i, r->document.n, (int64_t)tokens);
    r->position = position;
    return 0;
}

int batcher_load(struct batcher *b, const char *text, struct error *e) {
    json_error_t je;
    json_t *root = json_loads(text, 0, &je), *rows = NULL;
    const char *source, *cursor;
    json_int_t batch, segments, n;
    int rc = 0;
    if (!root ||
        json_unpack(root, "{s:s, s:s, s:I, s:I, s:I, s:o}", "source", &source, "cursor", &cursor, "batch", &batch, "segments",
                    &segments, "segment", &n, "rows", &rows) ||
        !json_is_array(rows))
        rc = fail(e, "the data cursor of the checkpoint is damaged");
    else if (strcmp(source, b->source->name))
        rc = fail(e, "the checkpoint was reading from '%s', this run reads from '%s'; start afresh in another folder", source,
                  b->source->name);
    else if (batch != b->rows || segments != b->segments || n != b->n || json_array_size(rows) != (size_t)b->rows)
        rc = fail(e,
                  "the checkpoint has batch %lld of %lld segments of %lld tokens, this run %" PRId64 " of %" PRId64 " of %" PRId64,
                  (long long)batch, (long long)segments, (long long)n, b->rows, b->segments, b->n);
    for (int64_t i = 0; i < b->rows && !rc; i++) rc = reopen(b, i, json_array_get(rows, (size_t)i), e);
    if (!rc) rc = b->source->load(b->source, cursor, e);
    json_decref(root);
    return rc;
}
