/* util.c - errors, memory, nearest names, files that appear whole, facts about the process, progress. Options are in options.c,
 * random numbers in rng.c. Linux only (/proc, cgroups). */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

/* ---- errors ---- */

int fail(struct error *e, const char *format, ...) {
    if (!e) return -1;
    char text[sizeof e->text]; /* an argument may point into e */
    va_list a;
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    /* What stands in a foreign file may be quoted: it shall not end the line, nor talk to a terminal. */
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    memcpy(e->text, text, sizeof text);
    return -1;
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    fprintf(stderr, "%s:%d: broken promise (%s): ", file, line, condition);
    va_list a;
    va_start(a, format);
    vfprintf(stderr, format, a);
    va_end(a);
    fputc('\n', stderr);
    abort();
}

bool memory_of_device;

static void no_memory(size_t n, size_t size) {
    memory_of_device = false; /* this is the host's */
    fprintf(stderr, "infinibench: no memory for %zu x %zu bytes; %.0f MiB are available\n", n, size,
            (double)available_memory() / 1048576);
    exit(2);
}

void *xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) no_memory(n, size);
    return p;
}

void *xrealloc(void *p, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) no_memory(n, size);
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q) no_memory(n, size);
    return q;
}

char *xstrdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(xcalloc(n, 1), s, n);
}

char *xprintf(const char *format, ...) {
    CHECK(format, "no format");
    va_list a, b;
    va_start(a, format);
    va_copy(b, a);
    int n = vsnprintf(NULL, 0, format, a);
    va_end(a);
    CHECK(n >= 0, "format '%s'", format);
    char *text = xcalloc((size_t)n + 1, 1);
    vsnprintf(text, (size_t)n + 1, format, b);
    va_end(b);
    return text;
}

/* ---- nearest names ---- */

/* Capitals and the kind of dash do not count as differences. */
static int fold(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '-' ? '_' : c; }

static int distance(const char *a, const char *b, int *row) {
    int m = (int)strlen(b);
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

/* Are they equal but for two neighbours that changed places? That is one slip of the fingers, not two. */
static bool swapped(const char *a, const char *b) {
    size_t i = 0;
    while (a[i] && fold(a[i]) == fold(b[i])) i++;
    if (!a[i] || !b[i] || fold(a[i]) != fold(b[i + 1]) || fold(a[i + 1]) != fold(b[i])) return false;
    for (i += 2; a[i] && fold(a[i]) == fold(b[i]); i++) {
    }
    return !a[i] && !b[i];
}

/* Where b begins in a, folded alike; -1: nowhere. */
static int64_t place_of(const char *a, const char *b) {
    for (int64_t i = 0; a[i]; i++) {
        size_t j = 0;
        while (b[j] && fold(a[i + (int64_t)j]) == fold(b[j])) j++;
        if (!b[j]) return i;
    }
    return -1;
}

#define PART_LETTERS 3 /* a part of fewer letters says nothing */

/* How word and name belong together, the lower the nearer: one slip, one begins with the other, one holds the other, near. */
enum { ONE_SLIP, BEGINS, HOLDS, NEAR, FAR };
static int kinship(const char *word, const char *name, int slips) {
    size_t n = strlen(word), m = strlen(name);
    if (n < 1) return FAR;
    if (slips <= 1 && slips <= (int)n / 2) return ONE_SLIP;
    int64_t at = (n < m ? n : m) < PART_LETTERS ? -1 : n < m ? place_of(name, word) : place_of(word, name);
    return at == 0 ? BEGINS : at > 0 ? HOLDS : slips <= (int)n / 2 ? NEAR : FAR;
}

const char *nearest_name(const char *word, const char *const *names, int count) {
    const char *best = NULL;
    int least = 0, nearest = FAR;
    for (int i = 0; i < count; i++) {
        int *row = xcalloc(strlen(names[i]) + 1, sizeof *row);
        int d = swapped(word, names[i]) ? 1 : distance(word, names[i], row), kin = kinship(word, names[i], d);
        free(row);
        if (kin < nearest || (kin == nearest && kin != FAR && d < least)) nearest = kin, least = d, best = names[i];
    }
    return best;
}

/* ---- files ---- */

char *read_file(const char *path, size_t *size, struct error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(e, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    struct stat st;
    size_t capacity = 65536, used = 0;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) capacity = (size_t)st.st_size + 1;
    char *data = malloc(capacity);
    for (;;) {
        if (!data) {
            fail(e, "cannot read %s: no memory for %zu bytes", path, capacity);
            break;
        }
        ssize_t n = read(fd, data + used, capacity - 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            fail(e, "cannot read %s: %s", path, strerror(errno));
            break;
        }
        if (n == 0 && used < capacity - 1) {
            close(fd);
            data[used] = 0;
            if (size) *size = used;
            return data;
        }
        used += (size_t)n;
        if (used == capacity - 1) {
            char extra; /* a regular file is at its end now: ask before doubling */
            ssize_t more;
            do more = read(fd, &extra, 1);
            while (more < 0 && errno == EINTR);
            if (more == 0) {
                close(fd);
                data[used] = 0;
                if (size) *size = used;
                return data;
            }
            if (more < 0) {
                fail(e, "cannot read %s: %s", path, strerror(errno));
                break;
            }
            char *larger = realloc(data, capacity * 2);
            if (!larger) {
                fail(e, "cannot read %s: no memory for %zu bytes", path, capacity * 2);
                break;
            }
            data = larger;
            capacity *= 2;
            data[used++] = extra;
        }
    }
    free(data);
    close(fd);
    return NULL;
}

void crash_point(const char *name) {
    static int passed;
    const char *at = getenv("INFINIBENCH_TEST_KILL_AT");
    if (!at || ++passed != atoi(at)) return;
    fprintf(stderr, "crash point %d: %s\n", passed, name);
    raise(SIGKILL);
}

static int write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(fd, data, size < (1u << 30) ? size : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The rename is on the disk only when the folder is. */
static int sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? xprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : xstrdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = fd < 0 ? -1 : fsync(fd);
    if (rc && errno == EINVAL) rc = 0; /* file systems without it */
    int kept = errno;
    if (fd >= 0) close(fd);
    free(folder);
    errno = kept;
    return rc;
}

static int write_whole(const char *path, const struct piece *pieces, int count, struct error *e) {
    char *temporary = xprintf("%s.tmp", path);
    const char *doing = "create";
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool bad = fd < 0;
    if (!bad) doing = "write";
    for (int i = 0; i < count && !bad; i++) bad = write_all(fd, pieces[i].data, pieces[i].size) != 0;
    if (!bad) bad = fsync(fd) != 0;
    int reason = errno;
    if (fd >= 0 && close(fd) && !bad) bad = true, reason = errno;
    if (!bad) {
        crash_point("before rename");
        doing = "rename";
        bad = rename(temporary, path) != 0;
        reason = errno;
    }
    if (bad) {
        fail(e, "cannot %s %s: %s", doing, doing[0] == 'r' ? path : temporary, strerror(reason));
        if (fd >= 0) unlink(temporary);
    } else {
        crash_point("after rename");
        bad = sync_folder(path) != 0;
        if (bad) fail(e, "cannot sync the folder of %s: %s", path, strerror(errno));
    }
    free(temporary);
    return bad ? -1 : 0;
}

/* A device or pipe (/dev/stdout) is written to, never replaced. */
static int write_device(const char *path, const struct piece *pieces, int count, struct error *e) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool bad = fd < 0;
    for (int i = 0; i < count && !bad; i++) bad = write_all(fd, pieces[i].data, pieces[i].size) != 0;
    if (bad) fail(e, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return bad ? -1 : 0;
}

int write_pieces(const char *path, const struct piece *pieces, int count, struct error *e) {
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) return fail(e, "cannot write %s: it is a folder", path);
    if (there && !S_ISREG(st.st_mode)) return write_device(path, pieces, count, e);
    char *target = there ? realpath(path, NULL) : NULL; /* a link stays one: what it leads to is replaced */
    int rc = write_whole(target ? target : path, pieces, count, e);
    free(target);
    return rc;
}

int write_file(const char *path, const void *data, size_t size, struct error *e) {
    return write_pieces(path, &(struct piece){data, size}, 1, e);
}

int can_write(const char *path, const char *flag, struct error *e) {
    if (!path) return 0;
    struct stat st;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? xprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : xstrdup(".");
    int rc = 0;
    if (!*path)
        rc = fail(e, "--%s is empty; it names a file to write", flag);
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        rc = fail(e, "--%s: cannot write %s: it is a folder", flag, path);
    else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* a device: its folder does not matter */
        rc = access(path, W_OK) ? fail(e, "--%s: cannot write %s: %s", flag, path, strerror(errno)) : 0;
    else if (stat(folder, &st) || !S_ISDIR(st.st_mode))
        rc = fail(e, "--%s: cannot write %s: there is no folder %s", flag, path, folder);
    else if (access(folder, W_OK | X_OK))
        rc = fail(e, "--%s: cannot write %s: folder %s: %s", flag, path, folder, strerror(errno));
    free(folder);
    return rc;
}

int not_input(const char *path, const char *flag, const char *input, struct error *e) {
    struct stat a, b;
    if (!path || !input || stat(path, &a) || stat(input, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino || !S_ISREG(a.st_mode))
        return 0;
    return fail(e, "--%s: %s is the file that is read; it would be lost: choose another", flag, path);
}

int make_folders(const char *path, struct error *e) {
    if (!*path) return fail(e, "the name of a folder is empty (a variable that is not set?)");
    char *copy = xstrdup(path);
    int rc = 0;
    for (char *p = copy; *p && !rc; p++) {
        if (p[1] && p[1] != '/') continue; /* act at the end of each component */
        char kept = p[1];
        p[1] = 0;
        struct stat st;
        if (mkdir(copy, 0777) && errno != EEXIST)
            rc = fail(e, "cannot make the folder %s: %s", copy, strerror(errno));
        else if (stat(copy, &st) || !S_ISDIR(st.st_mode))
            rc = fail(e, "cannot make the folder %s: a file is in its place", copy);
        p[1] = kept;
    }
    free(copy);
    return rc;
}

uint64_t hash64(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

/* ---- the process ---- */

char *project_file(const char *path) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash) *slash = 0;
    /* build/release/infinibench, build/release/tests/test_x */
    char *places[] = {xstrdup(path), xprintf("%s/../../%s", exe, path), xprintf("%s/../../../%s", exe, path)}, *found = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!found && access(places[i], R_OK) == 0)
            found = places[i];
        else
            free(places[i]);
    }
    return found;
}

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The number after `key` in a file of lines "key value", or its first number when key is NULL; UINT64_MAX if there is none. */
static uint64_t number_in(const char *path, const char *key) {
    FILE *f = fopen(path, "re");
    if (!f) return UINT64_MAX;
    char line[512];
    uint64_t found = UINT64_MAX;
    size_t length = key ? strlen(key) : 0;
    while (found == UINT64_MAX && fgets(line, sizeof line, f)) {
        unsigned long long v;
        if (key && (strncmp(line, key, length) || !strchr(" \t:", line[length]))) continue;
        const char *p = line + length + strspn(line + length, ": \t");
        if (sscanf(p, "%llu", &v) == 1) found = v;
        if (!key) break;
    }
    fclose(f);
    return found;
}

static uint64_t kib(const char *path, const char *key) {
    uint64_t v = number_in(path, key);
    return v == UINT64_MAX ? 0 : v * 1024;
}

uint64_t peak_resident(void) { return kib("/proc/self/status", "VmHWM"); }

bool peak_forget(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return false;
    bool written = fputs("5", f) >= 0; /* proc(5): resets VmHWM to VmRSS */
    return fclose(f) == 0 && written;
}

uint64_t resident(void) { return kib("/proc/self/status", "VmRSS"); }

/* What one cgroup folder still allows: its limit less what is in use, page cache (which is given back) not counted. */
static uint64_t group_left(const char *folder, bool v2) {
    char path[1200];
    uint64_t value[4];
    const char *const names[2][4] = {{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"},
                                     {"memory.max", "memory.current", "inactive_file", "active_file"}};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i < 2 ? names[v2][i] : "memory.stat");
        value[i] = number_in(path, i < 2 ? NULL : names[v2][i]);
        if (value[i] == UINT64_MAX) {
            if (i < 2) return UINT64_MAX; /* no such folder, or "max" */
            value[i] = 0;
        }
    }
    uint64_t cache = value[2] + value[3], used = value[1] > cache ? value[1] - cache : 0;
    return value[0] > used ? value[0] - used : 0;
}

uint64_t available_memory(void) {
    if (memory_of_device) return UINT64_MAX;
    uint64_t left = kib("/proc/meminfo", "MemAvailable");
    if (!left) left = UINT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[1024];
    while (f && fgets(line, sizeof line, f)) { /* "ID:controllers:/path"; version 2 is "0::/path" */
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *controllers++ = 0;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        bool v2 = !*controllers;
        char list[256];
        snprintf(list, sizeof list, ",%s,", controllers);
        if (!v2 && !strstr(list, ",memory,")) continue;
        for (;;) { /* every ancestor may set a limit; within a container only the root may be visible */
            char folder[1100];
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", v2 ? "" : "/memory", path);
            uint64_t l = group_left(folder, v2);
            if (l < left) left = l;
            char *slash = strrchr(path, '/');
            if (!slash) break;
            *slash = 0;
        }
    }
    if (f) fclose(f);
    return left;
}

/* ---- interruption ---- */

bool progress_quiet;
static const char *last_words;

static void speak_last(int number) {
    ssize_t n = write(STDERR_FILENO, last_words, strlen(last_words)); /* write, strlen and raise are safe here, stdio is not */
    (void)n;
    raise(number); /* the handler is gone: ends the process as if there had been none */
}

void say_when_stopped(const char *sentence) {
    static const int numbers[] = {SIGINT, SIGTERM};
    if (progress_quiet) return;
    last_words = sentence;
    for (int i = 0; i < 2; i++) {
        struct sigaction before, a = {.sa_handler = speak_last, .sa_flags = (int)SA_RESETHAND};
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(numbers[i], &a, NULL);
    }
}

/* ---- progress ---- */

void progress_begin(struct progress *p, const char *label, int64_t total) {
    *p = (struct progress){.label = label, .start = now(), .total = total};
}

/* Cuts a line to what a row of the terminal holds, at a whole character: \r goes back to the start of the last row only. */
static void fit_row(char *line) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2 || strlen(line) < size.ws_col) return;
    size_t n = size.ws_col - 1u;
    while (n && (line[n] & 0xc0) == 0x80) n--;
    line[n] = 0;
}

static void duration(char *out, size_t size, double s) {
    int64_t n = s > 0 ? (int64_t)(s + 0.5) : 0;
    if (n < 60)
        snprintf(out, size, "%ds", (int)n);
    else if (n < 3600)
        snprintf(out, size, "%dm%02ds", (int)(n / 60), (int)(n % 60));
    else
        snprintf(out, size, "%" PRId64 "h%02dm", n / 3600, (int)(n / 60 % 60));
}

void progress_update(struct progress *p, int64_t done, const char *format, ...) {
    if (progress_quiet) return;
    double t = now(), elapsed = t - p->start;
    bool terminal = isatty(STDERR_FILENO);
    if (elapsed < 2 || (p->shown && t - p->last_shown < (terminal ? 0.2 : 10))) return;
    p->shown = true;
    p->last_shown = t;
    char text[256] = "", took[32], eta[48] = "";
    if (format) {
        va_list a;
        va_start(a, format);
        vsnprintf(text, sizeof text, format, a);
        va_end(a);
    }
    duration(took, sizeof took, elapsed);
    if (p->total > 0 && done > p->first && done <= p->total) {
        char left[32];
        duration(left, sizeof left, elapsed / (double)(done - p->first) * (double)(p->total - done));
        snprintf(eta, sizeof eta, ", %s left", left);
    }
    char line[512];
    if (p->total > 0)
        snprintf(line, sizeof line, "%s %" PRId64 "/%" PRId64 " (%d%%)  %s%s%s%s", p->label, done, p->total,
                 (int)(100.0 * (double)done / (double)p->total), text, text[0] ? "  " : "", took, eta);
    else
        snprintf(line, sizeof line, "%s %" PRId64 "  %s%s%s", p->label, done, text, text[0] ? "  " : "", took);
    if (terminal) fit_row(line);
    fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", line);
    fflush(stderr);
}

void progress_end(struct progress *p) {
    if (!p->shown || progress_quiet) return;
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
    fflush(stderr);
    p->shown = false;
}
