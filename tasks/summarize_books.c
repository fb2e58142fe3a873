/* summarize_books.c - books and their summaries out of a JSONL file in the layout of BookSum or of our own pairs. It scores nothing
 * and encodes nothing. */
#include "summarize.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where an error is. */
struct reader {
    const char *path, *folder;
    int line;
    int64_t limit;
    struct error *e;
};

/* ---- files that a line names ---- */

/* A path as it stands, else below the folder or the one above it, without those of its leading folders that are not there. */
static char *locate(const struct reader *r, const char *path) {
    if (*path == '/' && !access(path, R_OK)) return xstrdup(path);
    for (const char *rest = path; rest;) {
        while (*rest == '/') rest++;
        for (int up = 0; up < 2 && *rest; up++) {
            char *place = xprintf("%s/%s%s", r->folder, up ? "../" : "", rest);
            if (!access(place, R_OK)) return place;
            free(place);
        }
        rest = strchr(rest, '/');
    }
    return NULL;
}

static char *read_named(const struct reader *r, const char *key, const char *path) {
    char *place = locate(r, path), *text;
    size_t size;
    if (!place)
        return fail(r->e, "%s:%d: %s = '%.200s' is there neither below %s nor below the folder above it", r->path, r->line, key,
                    path, r->folder),
               NULL;
    struct stat st;
    if (stat(place, &st) || !S_ISREG(st.st_mode)) /* a device would never end */
        text = NULL, fail(r->e, "%s:%d: %s = '%.200s' is no regular file", r->path, r->line, key, path);
    else
        text = corpus_text(place, (size_t)r->limit, &size, NULL, r->e);
    free(place);
    return text;
}

/* ---- a line ---- */

static const char *string_of(const json_t *line, const char *key) { return json_string_value(json_object_get(line, key)); }

static char *take_id(const json_t *line) {
    const char *id = string_of(line, "id"), *bid = string_of(line, "bid"), *source = string_of(line, "source");
    if (id && *id) return xstrdup(id);
    return bid && *bid ? xprintf("%s%s%s", bid, source ? "-" : "", source ? source : "") : NULL;
}

/* Cut to the limit, at the start of a character. */
static char *cut(const struct reader *r, const char *text) {
    size_t n = strlen(text);
    char *out = xstrdup(text);
    if (r->limit && n > (size_t)r->limit) {
        for (n = (size_t)r->limit; n && ((unsigned char)out[n] & 0xc0) == 0x80;) n--;
        out[n] = 0;
    }
    return out;
}

static int take_text(const struct reader *r, const json_t *line, struct book *b) {
    static const char *const inside[] = {"text", "book"}, *const named[] = {"text_file", "path", "book_path"};
    for (int i = 0; i < 2 && !b->text; i++)
        if (string_of(line, inside[i])) b->text = cut(r, string_of(line, inside[i]));
    for (int i = 0; i < 3 && !b->text; i++)
        if (string_of(line, named[i]) && !(b->text = read_named(r, named[i], string_of(line, named[i])))) return -1;
    if (!b->text)
        return fail(r->e, "%s:%d: '%.60s' has no text: none of the keys text, book, text_file, path, book_path is a string",
                    r->path, r->line, b->id);
    if (!summary_words(b->text))
        return fail(r->e, "%s:%d: the text of '%.60s' is empty, there is no word in it; remove the line or fill it", r->path,
                    r->line, b->id);
    return 0;
}

static int add_summary(const struct reader *r, struct book *b, const char *key, char *text) {
    b->summaries = xrealloc(b->summaries, (size_t)b->count + 1, sizeof *b->summaries);
    b->summaries[b->count++] = text;
    if (summary_words(text)) return 0; /* the control `random` counts on it too: without words it would draw for ever */
    return fail(r->e, "%s:%d: %s of '%.60s' is empty, there is no word in it to score against; remove the line or fill it", r->path,
                r->line, key, b->id);
}

/* The paragraphs of a list, or the string alone, into out (room for the JSON that it stands in, which is longer by its quotes);
 * false: it is neither. */
static bool join_paragraphs(char *out, const json_t *summary) {
    bool list = json_is_array(summary);
    size_t count = list ? json_array_size(summary) : 1, used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *s = json_string_value(list ? json_array_get(summary, i) : summary);
        if (!s) return false;
        used += (size_t)sprintf(out + used, "%s%s", used ? "\n" : "", s);
    }
    return true;
}

/* A file of BookSum: JSON whose "summary" is a list of paragraphs or, before its last cleaning, a string. What does not begin as
 * JSON is the summary itself; what does and is none would be scored against its keys and quotes. */
static char *paragraphs(const struct reader *r, const char *file, char *text) {
    if (text[strspn(text, " \t\r\n")] != '{') return text;
    json_error_t why;
    json_t *j = json_loads(text, 0, &why);
    char *out = xcalloc(strlen(text) + 1, 1);
    int status = 0;
    if (!j)
        status = fail(r->e,
                      "%s:%d: summary_path = '%.200s' begins as JSON and is none (its line %d: %.100s); mend the file, or take "
                      "the brace away if it is plain text",
                      r->path, r->line, file, why.line,
                      json_error_code(&why) == json_error_null_character ? "a string holds \\u0000, a byte 0" : why.text);
    else if (!join_paragraphs(out, json_object_get(j, "summary")))
        status = fail(r->e,
                      "%s:%d: summary_path = '%.200s' is JSON whose key summary is missing, or neither a string nor a list of "
                      "strings",
                      r->path, r->line, file);
    json_decref(j);
    free(text);
    if (!status) return out;
    free(out);
    return NULL;
}

static int take_summaries(const struct reader *r, const json_t *line, struct book *b) {
    const json_t *list = json_object_get(line, "summaries");
    const char *one = string_of(line, "summary"), *file = string_of(line, "summary_path");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s) return fail(r->e, "%s:%d: summaries[%zu] of '%.60s' is no string", r->path, r->line, i, b->id);
        if (add_summary(r, b, "a summary in summaries", xstrdup(s))) return -1;
    }
    if (b->count) return 0;
    if (one) return add_summary(r, b, "summary", xstrdup(one));
    if (file) {
        const struct reader whole = {.path = r->path, .folder = r->folder, .line = r->line, .e = r->e};
        char *text = read_named(&whole, "summary_path", file);
        if (text) text = paragraphs(r, file, text);
        return text ? add_summary(r, b, "summary_path", text) : -1;
    }
    return fail(r->e, "%s:%d: '%.60s' has no reference: neither summary nor summary_path is a string, nor summaries a list of some",
                r->path, r->line, b->id);
}

static int no_json(const struct reader *r, const json_error_t *why) {
    if (json_error_code(why) == json_error_null_character)
        return fail(r->e, "%s:%d: a string before byte %d holds \\u0000, a byte 0, which is the end-of-text token; remove it",
                    r->path, r->line, why->position);
    return fail(r->e, "%s:%d: no JSON at byte %d: %.200s; each line should be an object {...} with id, text and summary", r->path,
                r->line, why->position, why->text);
}

static int take_line(const struct reader *r, const char *text, size_t n, struct books *b) {
    json_error_t why;
    json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!line) return no_json(r, &why);
    int status = -1;
    char *id = take_id(line);
    if (!json_is_object(line))
        fail(r->e, "%s:%d: a line should be an object {...} with id, text and summary", r->path, r->line);
    else if (!id)
        fail(r->e, "%s:%d: the key id (or bid) is missing or no string", r->path, r->line);
    else if (strlen(id) > BOOK_ID)
        fail(r->e, "%s:%d: the id '%.60s...' has %zu bytes, samples.csv holds %d; give the books shorter ones", r->path, r->line,
             id, strlen(id), BOOK_ID);
    else {
        b->book = xrealloc(b->book, (size_t)b->count + 1, sizeof *b->book);
        struct book *book = &b->book[b->count++];
        *book = (struct book){.id = id};
        id = NULL;
        status = take_text(r, line, book) || take_summaries(r, line, book) ? -1 : 0;
        for (int i = 0; i + 1 < b->count && !status; i++)
            if (!strcmp(b->book[i].id, book->id))
                status = fail(r->e, "%s:%d: id '%.60s' stands in an earlier line too", r->path, r->line, book->id);
    }
    free(id);
    json_decref(line);
    return status;
}

/* ---- the file ---- */

enum { TOO_LONG = -1, UNREADABLE = -2 };
/* The next line into *line: its size, 0 at the end of the file, or one of the above. */
static int64_t next_line(FILE *f, char **line, size_t *room) {
    size_t n = 0;
    for (int c; (c = getc_unlocked(f)) != EOF;) {
        if (n == *room) {
            if (n >= SUMMARIZE_LINE) return TOO_LONG;
            *line = xrealloc(*line, *room = *room ? 2 * *room : 65536, 1);
        }
        (*line)[n++] = (char)c;
        if (c == '\n') break;
    }
    return ferror(f) ? UNREADABLE : (int64_t)n;
}

static int read_lines(struct reader *r, FILE *f, struct books *b) {
    char *line = NULL;
    size_t room = 0;
    int status = 0;
    for (int64_t n; !status && (n = next_line(f, &line, &room)) != 0;) {
        r->line++;
        int64_t mark = r->line == 1 && n >= 3 && !memcmp(line, "\xef\xbb\xbf", 3) ? 3 : 0, blank = mark; /* a byte order mark */
        while (blank < n && isspace((unsigned char)line[blank])) blank++;
        if (n == UNREADABLE)
            status = fail(r->e, "cannot read %s: %s", r->path, strerror(errno));
        else if (n == TOO_LONG)
            status =
                fail(r->e, "%s:%d: the line is longer than %d bytes; put the text into a file of its own and name it in text_file",
                     r->path, r->line, SUMMARIZE_LINE);
        else if (blank < n)
            status = take_line(r, line + mark, (size_t)(n - mark), b);
    }
    free(line);
    return status;
}

struct books *books_open(const char *corpus, const char *split, int64_t limit, struct error *e) {
    char *folder = corpus_locate(corpus, e);
    if (!folder) return NULL;
    struct books *b = xcalloc(1, sizeof *b);
    b->path = xprintf("%s/%s.jsonl", folder, split);
    struct reader r = {.path = b->path, .folder = folder, .limit = limit, .e = e};
    FILE *f = fopen(b->path, "rbe");
    int status = f                 ? read_lines(&r, f, b)
                 : errno == ENOENT ? fail(e, "there is no file %s; split names a file SPLIT.jsonl of the corpus", b->path)
                                   : fail(e, "cannot open %s: %s", b->path, strerror(errno));
    if (!status && !b->count) status = fail(e, "%s holds no line with a book", b->path);
    if (f) fclose(f);
    free(folder);
    for (int i = 0; i < b->count && !status; i++) {
        b->hash = hash64(b->book[i].id, strlen(b->book[i].id) + 1, b->hash);
        b->hash = hash64(b->book[i].text, strlen(b->book[i].text) + 1, b->hash);
        for (int k = 0; k < b->book[i].count; k++)
            b->hash = hash64(b->book[i].summaries[k], strlen(b->book[i].summaries[k]) + 1, b->hash);
    }
    if (!status) return b;
    books_free(b);
    return NULL;
}

void books_free(struct books *b) {
    if (!b) return;
    for (int i = 0; i < b->count; i++) {
        for (int k = 0; k < b->book[i].count; k++) free(b->book[i].summaries[k]);
        free(b->book[i].summaries);
        free(b->book[i].id);
        free(b->book[i].text);
    }
    free(b->book);
    free(b->path);
    free(b);
}

int books_hash(const char *corpus, const char *split, int64_t limit, uint64_t *hash, struct error *e) {
    struct books *b = books_open(corpus, split, limit, e);
    if (!b) return -1;
    *hash = b->hash;
    books_free(b);
    return 0;
}
