/* results.c - the folder of an experiment: lock, repair after a crash, appending whole cells.
 *
 * Nothing is ever half there: before a cell is appended, the lengths of the three files are noted in a journal (commit.tmp) and
 * fsynced; whoever opens the folder with a journal in it cuts the files back to these lengths. It does not read tables for reports
 * (results_read.c) and never drops a cell that was committed. */
#include "results.h"
#include "csv_io.h"
#include "said.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results_files.h"

/* In the order of appending. */
static const char *const file_name[FILES] = {"samples.csv", "curves.csv", "results.csv"};
static const char *const file_header[FILES] = {SAMPLES_HEADER, CURVES_HEADER, RESULTS_HEADER};

struct results {
    char *folder, *path[FILES], *journal;
    int lock;
    char (*cells)[20]; /* open addressing; "" = free */
    size_t cell_count, cell_capacity;
};
struct cell_writer {
    struct results *r;
    char cell[20], run[40], experiment[64], row[64], architecture[40], stage[40], task[40];
    int64_t seed;
    int task_version;
    struct text_buffer text[FILES], said;
    int64_t measures;
};

/* ---- the set of cells ---- */
static size_t cell_slot(const struct results *r, const char *cell) {
    size_t i = (size_t)hash64(cell, strlen(cell), 0) & (r->cell_capacity - 1);
    while (r->cells[i][0] && strcmp(r->cells[i], cell) != 0) i = (i + 1) & (r->cell_capacity - 1);
    return i;
}

static void cell_add(struct results *r, const char *cell) {
    if (2 * (r->cell_count + 1) > r->cell_capacity) {
        char(*old)[20] = r->cells;
        size_t n = r->cell_capacity;
        r->cell_capacity = n ? 2 * n : 64;
        r->cells = xcalloc(r->cell_capacity, sizeof *r->cells);
        for (size_t i = 0; i < n; i++)
            if (old[i][0]) memcpy(r->cells[cell_slot(r, old[i])], old[i], 20);
        free(old);
    }
    size_t i = cell_slot(r, cell);
    if (r->cells[i][0]) return;
    snprintf(r->cells[i], 20, "%s", cell);
    r->cell_count++;
}

bool results_has_cell(const struct results *r, const char *cell) { return r->cell_capacity && r->cells[cell_slot(r, cell)][0]; }

/* ---- opening ---- */
static int sync_folder(const char *folder, struct error *e) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(e, "%s: cannot open the folder: %s", folder, strerror(errno));
    int bad = fsync(fd);
    close(fd);
    return bad ? fail(e, "%s: cannot write the folder to disk: %s", folder, strerror(errno)) : 0;
}

static int take_lock(struct results *r, struct error *e) {
    char *path = xprintf("%s/.lock.tmp", r->folder);
    r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0) {
        fail(e, "%s: cannot write into the results folder: %s", r->folder, strerror(errno));
        free(path);
        return -1;
    }
    char text[32] = "";
    int result = 0;
    if (flock(r->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(r->lock, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        result = fail(e, "%s: in use by process %s; wait until it has ended or choose another folder with --out", r->folder,
                      *text ? text : "(unknown)");
    } else {
        int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(r->lock, 0) != 0 || pwrite(r->lock, text, (size_t)n, 0) != n)
            result = fail(e, "%s: cannot write the lock: %s", path, strerror(errno));
    }
    free(path);
    return result;
}

static int cut_file(const char *path, int64_t size, struct error *e) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return fail(e, "%s: cannot open: %s", path, strerror(errno));
    int bad = ftruncate(fd, (off_t)size) != 0 || fsync(fd) != 0;
    if (bad) fail(e, "%s: cannot cut to %lld bytes: %s", path, (long long)size, strerror(errno));
    close(fd);
    return bad ? -1 : 0;
}

static int64_t file_size(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* A journal means that a commit did not end: back to the lengths before it. */
static int roll_back(struct results *r, struct error *e) {
    int64_t length[FILES];
    int found = results_journal(r->folder, length, e);
    if (found <= 0) return found;
    for (int i = 0; i < FILES; i++)
        if (file_size(r->path[i]) > length[i] && cut_file(r->path[i], length[i], e) != 0) return -1;
    if (unlink(r->journal) != 0) return fail(e, "%s: cannot remove: %s", r->journal, strerror(errno));
    return sync_folder(r->folder, e);
}

/* A file that is not there gets its header; a torn last line is cut off. */
static int repair_file(struct results *r, int which, struct error *e) {
    const char *path = r->path[which];
    if (file_size(path) <= 0) {
        char *header = xprintf("%s\n", file_header[which]);
        int result = write_file(path, header, strlen(header), e);
        free(header);
        return result;
    }
    size_t size;
    char *text = read_file(path, &size, e);
    if (!text) return -1;
    const char *zero = memchr(text, 0, size); /* blocks that a power failure left empty */
    size_t keep = zero ? (size_t)(zero - text) : size;
    while (keep > 0 && text[keep - 1] != '\n') keep--;
    free(text);
    if (keep == 0) return fail(e, "%s: the first line has no end; it should be '%s'", path, file_header[which]);
    return keep < size ? cut_file(path, (int64_t)keep, e) : 0;
}

static int see_result(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    int64_t schema;
    if (csv_parse_integer(path, line, "schema", fields[0], &schema, e) != 0) return -1;
    if (schema != RESULTS_SCHEMA)
        return fail(e, "%s:%d: schema %lld, this program writes schema %d; choose another folder with --out", path, line,
                    (long long)schema, RESULTS_SCHEMA);
    const char *cell = fields[count - 1];
    if (!*cell || strlen(cell) >= 20) return fail(e, "%s:%d: the cell is '%.40s', expected 1 to 19 characters", path, line, cell);
    cell_add(data, cell);
    return 0;
}

struct filter {
    const struct results *r;
    struct text_buffer kept;
    int64_t dropped;
};

static int keep_line(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct filter *f = data;
    (void)path, (void)line, (void)e;
    if (!results_has_cell(f->r, fields[count - 1])) {
        f->dropped++;
        return 0;
    }
    for (int i = 0; i < count; i++) csv_text(&f->kept, fields[i], i + 1 < count ? ',' : '\n');
    return 0;
}

/* Lines of cells that results.csv does not have would be doubled by the next run. */
static int drop_orphans(struct results *r, int which, struct error *e) {
    struct filter f = {.r = r};
    buffer_printf(&f.kept, "%s\n", file_header[which]);
    int result = csv_read(r->path[which], file_header[which], false, keep_line, &f, e);
    if (result == 0 && f.dropped) result = write_file(r->path[which], f.kept.data, f.kept.n, e);
    buffer_free(&f.kept);
    return result;
}

struct results *results_open(const char *folder, struct error *e) {
    if (make_folders(folder, e) != 0) return NULL;
    struct results *r = xcalloc(1, sizeof *r);
    r->folder = xstrdup(folder);
    r->journal = xprintf("%s/commit.tmp", folder);
    r->lock = -1;
    for (int i = 0; i < FILES; i++) r->path[i] = xprintf("%s/%s", folder, file_name[i]);
    bool good = take_lock(r, e) == 0;
    for (int i = 0; i < FILES && good; i++) good = csv_unpack(r->path[i], e) == 0; /* the journal speaks of the plain files */
    good = good && roll_back(r, e) == 0;
    for (int i = 0; i < FILES && good; i++) good = repair_file(r, i, e) == 0;
    good = good && csv_read(r->path[RESULTS], RESULTS_HEADER, false, see_result, r, e) == 0;
    good = good && drop_orphans(r, SAMPLES, e) == 0 && drop_orphans(r, CURVES, e) == 0;
    if (good) return r;
    results_close(r);
    return NULL;
}

void results_close(struct results *r) {
    if (!r) return;
    if (r->lock >= 0) close(r->lock);
    for (int i = 0; i < FILES; i++) free(r->path[i]);
    free(r->journal);
    free(r->folder);
    free(r->cells);
    free(r);
}

const char *results_folder(const struct results *r) { return r->folder; }

/* ---- writing a cell ---- */
/* What is longer than its column would make the folder unreadable. */
#define FITS(type, field, text)                                                                                                    \
    CHECK(!(text) || strlen(text) < sizeof((struct type *)0)->field, "'%s' is longer than a " #field " may be (%zu)", text,        \
          sizeof((struct type *)0)->field - 1)

struct cell_writer *cell_begin(struct results *r, const char *cell, const char *run, const char *experiment, const char *row,
                               const char *architecture, const char *stage, int64_t seed, const char *task, int task_version) {
    struct cell_writer *w = xcalloc(1, sizeof *w);
    w->r = r;
    w->seed = seed;
    w->task_version = task_version;
#define KEEP(field)                                                                                                                \
    CHECK(strlen(field) < sizeof w->field, "'%s' is longer than a " #field " may be (%zu)", field, sizeof w->field - 1);           \
    snprintf(w->field, sizeof w->field, "%s", field)
    KEEP(cell);
    KEEP(run);
    KEEP(experiment);
    KEEP(row);
    KEEP(architecture);
    KEEP(stage);
    KEEP(task);
#undef KEEP
    return w;
}

void cell_measure(struct cell_writer *w, const struct measurement *m) {
    struct text_buffer *b = &w->text[RESULTS];
    FITS(result_row, split, m->split);
    FITS(result_row, condition, m->condition);
    FITS(result_row, metric, m->metric);
    FITS(result_row, unit, m->unit);
    FITS(result_row, position, m->position);
    csv_integer(b, RESULTS_SCHEMA, ',');
    csv_text(b, w->run, ',');
    csv_text(b, w->experiment, ',');
    csv_text(b, w->row, ',');
    csv_text(b, w->architecture, ',');
    csv_text(b, w->stage, ',');
    csv_integer(b, w->seed, ',');
    csv_text(b, w->task, ',');
    csv_integer(b, w->task_version, ',');
    csv_text(b, m->split ? m->split : "", ',');
    csv_text(b, m->condition ? m->condition : "", ',');
    csv_text(b, m->metric, ',');
    csv_text(b, m->unit ? m->unit : "", ',');
    csv_integer(b, m->context, ',');
    csv_text(b, m->position ? m->position : "", ',');
    csv_integer(b, m->writes, ',');
    if (isnan(m->value))
        csv_text(b, "nan", ',');
    else
        csv_number(b, m->value, ',');
    csv_integer(b, m->n, ',');
    csv_number(b, m->standard_error, ',');
    csv_number(b, m->low, ',');
    csv_number(b, m->high, ',');
    csv_text(b, w->cell, '\n');
    w->measures++;
}

void cell_value(struct cell_writer *w, const struct measurement *m) {
    struct measurement plain = *m;
    plain.writes = -1;
    plain.standard_error = plain.low = plain.high = NAN;
    cell_measure(w, &plain);
}

void cell_sample(struct cell_writer *w, const char *split, const char *condition, const char *metric, const char *sample,
                 const char *position, double value, double weight) {
    struct text_buffer *b = &w->text[SAMPLES];
    FITS(sample_row, split, split);
    FITS(sample_row, condition, condition);
    FITS(sample_row, metric, metric);
    FITS(sample_row, sample, sample);
    FITS(sample_row, position, position);
    csv_text(b, w->run, ',');
    csv_text(b, w->row, ',');
    csv_integer(b, w->seed, ',');
    csv_text(b, w->task, ',');
    csv_text(b, split ? split : "", ',');
    csv_text(b, condition ? condition : "", ',');
    csv_text(b, metric, ',');
    csv_text(b, sample, ',');
    csv_text(b, position ? position : "", ',');
    csv_number(b, value, ',');
    csv_number(b, weight, ',');
    csv_text(b, w->cell, '\n');
}

void cell_curve(struct cell_writer *w, int64_t step, int64_t tokens, const char *metric, double value) {
    struct text_buffer *b = &w->text[CURVES];
    csv_text(b, w->run, ',');
    csv_text(b, w->row, ',');
    csv_text(b, w->stage, ',');
    csv_integer(b, w->seed, ',');
    csv_integer(b, step, ',');
    csv_integer(b, tokens, ',');
    csv_text(b, metric, ',');
    csv_number(b, value, ',');
    csv_text(b, w->cell, '\n');
}

void cell_said(struct cell_writer *w, const char *split, const char *condition, int64_t context, const char *sample,
               const char *text) {
    said_add(&w->said, split, condition, context, sample, text);
}

static int append(const char *path, const struct text_buffer *b, struct error *e) {
    if (b->n == 0) return 0;
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) return fail(e, "%s: cannot open for writing: %s", path, strerror(errno));
    for (size_t at = 0; at < b->n;) {
        ssize_t n = write(fd, b->data + at, b->n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            fail(e, "%s: cannot append %zu bytes: %s", path, b->n - at, strerror(errno));
            close(fd);
            return -1;
        }
        at += (size_t)n;
    }
    int bad = fsync(fd);
    if (bad) fail(e, "%s: cannot write to disk: %s", path, strerror(errno));
    if (close(fd) != 0 && !bad) bad = fail(e, "%s: cannot close: %s", path, strerror(errno));
    return bad ? -1 : 0;
}

int cell_commit(struct cell_writer *w, struct error *e) {
    struct results *r = w->r;
    int result = 0;
    CHECK(!results_has_cell(r, w->cell), "cell %s (%s, %s) is already in %s", w->cell, w->row, w->task, r->folder);
    CHECK(w->measures > 0, "cell %s (%s, %s) has no measurement", w->cell, w->row, w->task);
    char note[96];
    int n = snprintf(note, sizeof note, "%lld %lld %lld end\n", (long long)file_size(r->path[0]), (long long)file_size(r->path[1]),
                     (long long)file_size(r->path[2]));
    result = said_write(r->folder, w->cell, &w->said, e); /* first: without a line in results.csv it does not count */
    if (result == 0) result = write_file(r->journal, note, (size_t)n, e);
    for (int i = 0; i < FILES && result == 0; i++) result = append(r->path[i], &w->text[i], e);
    if (result == 0 && (unlink(r->journal) != 0)) result = fail(e, "%s: cannot remove: %s", r->journal, strerror(errno));
    if (result == 0) result = sync_folder(r->folder, e);
    if (result == 0) cell_add(r, w->cell);
    cell_drop(w);
    return result;
}

void cell_drop(struct cell_writer *w) {
    if (!w) return;
    for (int i = 0; i < FILES; i++) buffer_free(&w->text[i]);
    buffer_free(&w->said);
    free(w);
}

int results_save_run(struct results *r, const char *run, struct json_t *json, struct error *e) {
    char *folder = xprintf("%s/runs", r->folder);
    char *path = xprintf("%s/%s.json", folder, run);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    int result = text ? make_folders(folder, e) : fail(e, "%s: the run cannot be written as JSON", path);
    if (result == 0) {
        struct text_buffer b = {0};
        buffer_printf(&b, "%s\n", text);
        result = write_file(path, b.data, b.n, e);
        buffer_free(&b);
    }
    free(text);
    free(path);
    free(folder);
    return result;
}

/* ---- taking over the cells of another folder (jobs) ---- */
struct takeover {
    struct results *r;
    struct text_buffer text[FILES];
    int which;
    struct results added; /* the set of cells that are taken */
};

static int take_line(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct takeover *t = data;
    const char *cell = fields[count - 1];
    (void)path, (void)line, (void)e;
    if (results_has_cell(t->r, cell)) return 0;
    if (t->which == RESULTS)
        cell_add(&t->added, cell);
    else if (!results_has_cell(&t->added, cell))
        return 0;
    for (int i = 0; i < count; i++) csv_text(&t->text[t->which], fields[i], i + 1 < count ? ',' : '\n');
    return 0;
}

int results_merge(struct results *r, struct results *from, struct error *e) {
    struct takeover t = {.r = r};
    static const int order[FILES] = {RESULTS, SAMPLES, CURVES};
    int result = 0;
    for (int i = 0; i < FILES && result == 0; i++) {
        t.which = order[i];
        result = csv_read(from->path[t.which], file_header[t.which], false, take_line, &t, e);
    }
    for (size_t i = 0; i < t.added.cell_capacity && result == 0; i++)
        if (t.added.cells[i][0]) result = said_copy(r->folder, from->folder, t.added.cells[i], e);
    char note[96];
    int n = snprintf(note, sizeof note, "%lld %lld %lld end\n", (long long)file_size(r->path[0]), (long long)file_size(r->path[1]),
                     (long long)file_size(r->path[2]));
    if (result == 0 && t.added.cell_count) {
        result = write_file(r->journal, note, (size_t)n, e);
        for (int i = 0; i < FILES && result == 0; i++) result = append(r->path[i], &t.text[i], e);
        if (result == 0 && unlink(r->journal) != 0) result = fail(e, "%s: cannot remove: %s", r->journal, strerror(errno));
        if (result == 0) result = sync_folder(r->folder, e);
        for (size_t i = 0; i < t.added.cell_capacity && result == 0; i++)
            if (t.added.cells[i][0]) cell_add(r, t.added.cells[i]);
    }
    for (int i = 0; i < FILES; i++) buffer_free(&t.text[i]);
    free(t.added.cells);
    return result;
}
