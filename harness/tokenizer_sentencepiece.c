/* tokenizer_sentencepiece.c - tokens learnt by SentencePiece (scripts/train_tokenizer.sh): finding and checking the model, encoding
 * and decoding without loss. The library decides what becomes which token; it is not trained here.
 *
 * Every text comes back byte for byte. What the library cannot give back becomes byte pieces: U+2581, which is its sign for a
 * space, and bytes that are not UTF-8. Decoding is a table of the bytes of each piece; the library's own would turn a lone byte
 * piece into U+FFFD.
 *
 * A text is encoded in units: a word with the spaces before it, or a run of newlines. No piece of an accepted model reaches across
 * the border of two units, so this equals encoding the whole text; memory stays flat, and a unit that was seen is a look-up. */
#include "corpus.h"
#include "sentencepiece_shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "sentencepiece:"
#define MAKE "scripts/train_tokenizer.sh"
static const char space_sign[] = "\xe2\x96\x81"; /* U+2581 */

/* Units are few and follow Zipf's law: the first UNITS that come by are nearly all that ever will. */
#define UNITS (1 << 16)
#define SLOTS (2 * UNITS)
#define UNIT_LENGTH 48

struct unit {
    uint64_t hash;
    uint32_t at; /* its bytes in `letters`, its tokens from `at` in `ids` (never more of them than bytes) */
    uint16_t length, tokens;
};
struct data {
    struct spm *model;
    char **bytes; /* of each token */
    int32_t *size;
    int32_t byte_token[256];
    struct unit *slots; /* open addressing; length 0: free */
    int units;
    char *letters;
    int32_t *ids;
    size_t used, room;
};

/* ---- encoding ---- */

static bool is_sign(const char *p, size_t n) { return n >= 3 && !memcmp(p, space_sign, 3); }

/* Length of the unit that begins at p. */
static size_t unit_length(const char *p, size_t n) {
    size_t i = 0;
    if (is_sign(p, n)) return 3;
    if (*p == '\n') {
        while (i < n && p[i] == '\n') i++;
        return i;
    }
    while (i < n && p[i] == ' ') i++;
    while (i < n && p[i] != ' ' && p[i] != '\n' && !(p[i] == space_sign[0] && is_sign(p + i, n - i))) i++;
    return i;
}

/* Tokens of one unit into ids, which has room for n. */
static int64_t encode_unit(const struct data *d, const char *text, size_t n, int32_t *ids) {
    int64_t count = is_sign(text, n) ? -1 : spm_encode(d->model, text, n, ids, (int64_t)n);
    size_t at = 0;
    bool same = count >= 0 && count <= (int64_t)n;
    for (int64_t i = 0; i < count && same; i++) {
        size_t size = (size_t)d->size[ids[i]];
        same = size > 0 && size <= n - at && !memcmp(d->bytes[ids[i]], text + at, size);
        at += size;
    }
    if (same && at == n) return count;
    for (size_t i = 0; i < n; i++) ids[i] = d->byte_token[(unsigned char)text[i]];
    return (int64_t)n;
}

static void remember(struct data *d, struct unit *slot, uint64_t hash, const char *text, size_t n, const int32_t *ids,
                     int64_t count) {
    if (d->used + n > d->room) {
        d->room = d->room ? 2 * d->room : 1 << 16;
        d->letters = xrealloc(d->letters, d->room, 1);
        d->ids = xrealloc(d->ids, d->room, sizeof *d->ids);
    }
    memcpy(d->letters + d->used, text, n);
    memcpy(d->ids + d->used, ids, (size_t)count * sizeof *ids);
    *slot = (struct unit){.hash = hash, .at = (uint32_t)d->used, .length = (uint16_t)n, .tokens = (uint16_t)count};
    d->used += n;
    d->units++;
}

static int64_t encode(const struct tokenizer *t, const char *text, size_t n, int32_t **tokens) {
    struct data *d = t->data;
    size_t room = n / 2 + UNIT_LENGTH, used = 0;
    int32_t *out = xcalloc(room, sizeof *out);
    for (size_t at = 0, length; at < n; at += length) {
        const char *p = text + at;
        length = unit_length(p, n - at);
        if (used + length > room) {
            room = 2 * room > used + length ? 2 * room : used + length;
            out = xrealloc(out, room, sizeof *out);
        }
        struct unit *slot = NULL;
        uint64_t hash = 0;
        if (length <= UNIT_LENGTH) {
            hash = hash64(p, length, 0);
            slot = &d->slots[hash % SLOTS];
            while (slot->length && (slot->hash != hash || slot->length != length || memcmp(d->letters + slot->at, p, length)))
                slot = slot + 1 == d->slots + SLOTS ? d->slots : slot + 1;
        }
        if (slot && slot->length) {
            memcpy(out + used, d->ids + slot->at, slot->tokens * sizeof *out);
            used += slot->tokens;
            continue;
        }
        int64_t count = encode_unit(d, p, length, out + used);
        if (slot && d->units < UNITS) remember(d, slot, hash, p, length, out + used, count);
        used += (size_t)count;
    }
    *tokens = xrealloc(out, used ? used : 1, sizeof *out);
    return (int64_t)used;
}

/* A number that is no token (a model may have more symbols than its tokenizer) stands for nothing. */
static char *decode(const struct tokenizer *t, const int32_t *tokens, int64_t n, size_t *size) {
    const struct data *d = t->data;
    size_t total = 0, at = 0;
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] >= 0 && tokens[i] < t->vocab) total += (size_t)d->size[tokens[i]];
    char *text = xcalloc(total + 1, 1);
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= t->vocab) continue;
        memcpy(text + at, d->bytes[tokens[i]], (size_t)d->size[tokens[i]]);
        at += (size_t)d->size[tokens[i]];
    }
    if (size) *size = total;
    return text;
}

/* ---- loading ---- */

/* The bytes of a piece: its spelling with spaces for their sign. */
static void set_bytes(struct data *d, int32_t id, const char *spelling, size_t n) {
    char *out = d->bytes[id] = xcalloc(n + 1, 1);
    int32_t size = 0;
    for (size_t i = 0; i < n;) {
        bool sign = is_sign(spelling + i, n - i);
        out[size++] = sign ? ' ' : spelling[i];
        i += sign ? 3 : 1;
    }
    d->size[id] = size;
}

/* Fills the table of bytes and refuses a model that would lose something or whose pieces cross units. */
static int read_pieces(struct data *d, int64_t vocab, const char *path, struct error *e) {
    int byte_pieces = 0;
    d->bytes = xcalloc((size_t)vocab, sizeof *d->bytes);
    d->size = xcalloc((size_t)vocab, sizeof *d->size);
    for (int32_t id = 0; id < vocab; id++) {
        const char *spelling;
        size_t n;
        unsigned value;
        switch (spm_piece(d->model, id, &spelling, &n)) {
        case PIECE_BYTE: /* "<0x41>" */
            if (sscanf(spelling, "<0x%2X>", &value) != 1) return fail(e, "%s: the byte piece %d is damaged", path, (int)id);
            d->bytes[id] = xcalloc(2, 1);
            d->bytes[id][0] = (char)value;
            d->size[id] = 1;
            d->byte_token[value] = id;
            byte_pieces++;
            break;
        case PIECE_TEXT:
            set_bytes(d, id, spelling, n);
            /* A piece ends where a unit ends at the latest. */
            if ((int32_t)unit_length(d->bytes[id], (size_t)d->size[id]) != d->size[id])
                return fail(e, "%s: the piece %d, '%.*s', reaches over the end of a word; train the model with " MAKE, path,
                            (int)id, (int)(n < 60 ? n : 60), spelling);
            break;
        default:
            d->bytes[id] = xcalloc(1, 1);
        }
    }
    if (byte_pieces == 256) return 0;
    return fail(e, "%s has %d of 256 byte pieces, so some texts would be lost; train the model with " MAKE, path, byte_pieces);
}

/* Does the library itself leave a text alone: blanks in front, at the end and in rows, compatibility characters, what no piece
 * spells? */
static int check_exact(const struct data *d, const char *path, struct error *e) {
    static const char *const probes[] = {
        "a", " a", "  a", "a ", "\n", "\n\n\n", "\ta\r", "\xef\xac\x81\xc2\xa0\xe2\x84\xab", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        size_t n = strlen(probes[i]), at = 0;
        int32_t ids[32];
        int64_t count = spm_encode(d->model, probes[i], n, ids, 32);
        bool same = count >= 0 && count <= 32;
        for (int64_t j = 0; j < count && same; j++) {
            size_t size = (size_t)d->size[ids[j]];
            same = size <= n - at && !memcmp(probes[i] + at, d->bytes[ids[j]], size);
            at += size;
        }
        if (!same || at != n)
            return fail(e,
                        "%s changes texts (normalisation, dummy prefix or removal of white space); train the model with " MAKE
                        ", which switches these off",
                        path);
    }
    return 0;
}

static void release(struct data *d) {
    if (!d) return;
    for (int64_t i = 0; d->bytes && i < spm_vocab(d->model); i++) free(d->bytes[i]);
    free(d->bytes);
    free(d->size);
    free(d->slots);
    free(d->letters);
    free(d->ids);
    if (d->model) spm_close(d->model);
    free(d);
}

static struct data *load(const char *path, const char *contents, size_t size, struct error *e) {
    char why[256];
    struct data *d = xcalloc(1, sizeof *d);
    d->model = spm_open(contents, size, why, sizeof why);
    d->slots = xcalloc(SLOTS, sizeof *d->slots);
    int64_t bos = d->model ? spm_bos(d->model) : 0;
    int rc = 0;
    if (!d->model)
        rc = fail(e, "%s is no SentencePiece model (%s); make one with " MAKE, path, why);
    else if (bos != TOKEN_BOS)
        rc = fail(e, "%s: its begin-of-text piece has number %lld, this program needs %d; train the model with " MAKE, path,
                  (long long)bos, TOKEN_BOS);
    else if (!read_pieces(d, spm_vocab(d->model), path, e))
        rc = check_exact(d, path, e);
    else
        rc = -1;
    if (!rc) return d;
    release(d);
    return NULL;
}

/* ---- finding ---- */

/* The file of a model's name or path; malloc'd. */
static char *locate(const char *name, struct error *e) {
    size_t n = strlen(name);
    if (!n) return fail(e, "the tokenizer 'sentencepiece' needs a model, e.g. " PREFIX "pg19-4096"), NULL;
    if (strchr(name, '/') || (n > 6 && !strcmp(name + n - 6, ".model"))) {
        char *file = shipped_file(name);
        if (file) return file;
        return fail(e, "there is no tokenizer model at %s; make it with " MAKE " CORPUS PIECES %s", name, name), NULL;
    }
    char *wanted = xprintf("sentencepiece/%s.model", name), *places[DATA_PLACES], *found = NULL;
    char looked[400];
    size_t used = 0;
    int count = data_places(wanted, true, places);
    looked[0] = 0;
    for (int i = 0; i < count; i++) {
        int more = snprintf(looked + used, sizeof looked - used, "%s%s", i ? ", " : "", places[i]);
        used = used + (size_t)more < sizeof looked ? used + (size_t)more : sizeof looked - 1;
        if (!found && !access(places[i], R_OK))
            found = places[i];
        else
            free(places[i]);
    }
    free(wanted);
    if (found) return found;
    /* "pg19-4096": corpus and number of pieces, as the script names its models. */
    const char *dash = strrchr(name, '-');
    bool standard = dash && dash > name && dash[1] && !dash[1 + strspn(dash + 1, "0123456789")];
    if (standard)
        fail(e, "there is no tokenizer model '%s'; make it with " MAKE " %.*s %s (looked for %s)", name, (int)(dash - name), name,
             dash + 1, looked);
    else
        fail(e,
             "there is no tokenizer model '%s'; make one with " MAKE " CORPUS PIECES, which names it CORPUS-PIECES (looked for %s)",
             name, looked);
    return NULL;
}

const struct tokenizer *tokenizer_sentencepiece(const char *name, struct error *e) {
    static struct tokenizer *open[16]; /* kept until the end: callers hold pointers */
    static int count;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1)) return fail(e, "'%s' does not begin with " PREFIX, name), NULL;
    char *path = locate(name + sizeof PREFIX - 1, e);
    size_t size;
    char *contents = path ? read_file(path, &size, e) : NULL;
    struct tokenizer *t = NULL;
    if (contents) {
        /* The file is read each time: one that was replaced is another tokenizer. */
        uint64_t hash = hash64(contents, size, 0);
        for (int i = 0; i < count && !t; i++)
            if (open[i]->hash == hash && !strcmp(open[i]->name, name)) t = open[i];
        if (!t && count == (int)(sizeof open / sizeof *open))
            fail(e, "more than %d tokenizers in one process; use fewer", count);
        else if (!t) {
            struct data *d = load(path, contents, size, e);
            if (d) {
                t = open[count++] = xcalloc(1, sizeof *t);
                *t = (struct tokenizer){.name = xstrdup(name),
                                        .vocab = spm_vocab(d->model),
                                        .hash = hash,
                                        .encode = encode,
                                        .decode = decode,
                                        .data = d};
            }
        }
    }
    free(contents);
    free(path);
    return t;
}
