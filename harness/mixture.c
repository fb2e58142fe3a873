/* mixture.c - training on several sources at once: each document comes from one part, drawn by weight.
 *
 * Weights count documents, not tokens. The parts keep their own order and epochs; this file only chooses among them. */
#include "mixture.h"
#include "csv_io.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MIXTURE_LIMIT 8
#define MIXTURE_STREAM 0x6d6978u

struct mixture {
    struct source source;
    struct source *parts[MIXTURE_LIMIT];
    double weights[MIXTURE_LIMIT];
    int count, first_text[MIXTURE_LIMIT]; /* a part's texts follow those of the parts before it */
    struct rng rng;
};

static void mixture_next(struct source *s, int64_t row, struct document *d) {
    struct mixture *m = s->data;
    double u = rng_uniform(&m->rng);
    int i = 0;
    while (i + 1 < m->count && u >= m->weights[i]) u -= m->weights[i++];
    m->parts[i]->next(m->parts[i], row, d);
    if (d->carried >= 0 && d->text)
        d->text += m->first_text[i];
    else if (!m->parts[i]->filler)
        d->carried = -1; /* the mixture's filler is another part's */
}

/* "mixture COUNT S0 S1 S2 S3" and per part " LENGTH:CURSOR". */
static char *mixture_save(const struct source *s) {
    const struct mixture *m = s->data;
    struct text_buffer b = {0};
    buffer_printf(&b, "mixture %d", m->count);
    for (int i = 0; i < 4; i++) buffer_printf(&b, " %" PRIx64, m->rng.s[i]);
    for (int i = 0; i < m->count; i++) {
        char *cursor = m->parts[i]->save(m->parts[i]);
        buffer_printf(&b, " %zu:%s", strlen(cursor), cursor);
        free(cursor);
    }
    return b.data;
}

static int mixture_load(struct source *s, const char *text, struct error *e) {
    struct mixture *m = s->data;
    struct rng r;
    int count, at = 0;
    if (sscanf(text, "mixture %d %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 "%n", &count, &r.s[0], &r.s[1], &r.s[2], &r.s[3],
               &at) != 5)
        return fail(e, "the checkpoint's data cursor is not one of a mixture: '%.60s'", text);
    if (count != m->count) return fail(e, "the checkpoint's mixture has %d sources, this one %d", count, m->count);
    text += at;
    for (int i = 0; i < m->count; i++) {
        char *end;
        size_t n = strtoull(text, &end, 10);
        if (*text != ' ' || *end != ':' || strlen(end + 1) < n)
            return fail(e, "the checkpoint's mixture cursor ends early at source %d (%s)", i + 1, m->parts[i]->name);
        char *cursor = xcalloc(n + 1, 1);
        memcpy(cursor, end + 1, n);
        int result = m->parts[i]->load(m->parts[i], cursor, e);
        free(cursor);
        if (result != 0) return -1;
        text = end + 1 + n;
    }
    m->rng = r;
    return 0;
}

static void mixture_free(struct source *s) {
    struct mixture *m = s->data;
    for (int i = 0; i < m->count; i++) m->parts[i]->free(m->parts[i]);
    free(m);
}

bool mixture_same_filler(const struct source *a, const struct source *b) {
    return a->filler_n == b->filler_n && memcmp(a->filler, b->filler, (size_t)a->filler_n * sizeof *a->filler) == 0;
}

struct source *mixture_source(struct source *const *parts, const double *weights, int count, uint64_t seed) {
    CHECK(count >= 1 && count <= MIXTURE_LIMIT, "%d sources in a mixture, 1 to %d are known", count, MIXTURE_LIMIT);
    struct mixture *m = xcalloc(1, sizeof *m);
    m->source = (struct source){
        .name = "mixture", .next = mixture_next, .save = mixture_save, .load = mixture_load, .free = mixture_free, .data = m};
    m->count = count;
    for (int i = 0; i < count; i++) {
        m->parts[i] = parts[i], m->weights[i] = weights[i];
        m->first_text[i] = m->source.text_count;
        CHECK(m->source.text_count + parts[i]->text_count <= CARRIED_TEXTS, "a mixture with more than %d texts", CARRIED_TEXTS);
        for (int k = 0; k < parts[i]->text_count; k++) m->source.texts[m->source.text_count++] = parts[i]->texts[k];
        if (!parts[i]->filler) continue;
        CHECK(!m->source.filler || mixture_same_filler(&m->source, parts[i]), "two parts of a mixture have different fillers");
        m->source.filler = parts[i]->filler, m->source.filler_n = parts[i]->filler_n;
    }
    rng_seed(&m->rng, seed, MIXTURE_STREAM);
    return &m->source;
}
