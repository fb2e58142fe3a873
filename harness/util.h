/* util.h - errors that are sentences, options from tables, nearest names, random numbers, files that appear whole, progress. */
#ifndef INFINIBENCH_UTIL_H
#define INFINIBENCH_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- errors: a function that can fail returns 0 or -1 and leaves one line that says what, where and what to do ---- */
struct error {
    char text[768];
};
int fail(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3))); /* fills e (may be NULL), returns -1 */
/* A broken promise inside the program: prints file:line and the sentence, aborts. */
#define CHECK(condition, ...) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))
void check_failed(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));
void *xcalloc(size_t n, size_t size);           /* zeroed; exits with a sentence when there is no memory */
void *xrealloc(void *p, size_t n, size_t size); /* p resized to n elements; exits likewise */
char *xstrdup(const char *s);
char *xprintf(const char *format, ...) __attribute__((format(printf, 1, 2))); /* malloc'd */

/* The name that word was meant to be, NULL if none is near: one slip away; or one begins with the other, or holds it; or the least
 * Levenshtein distance, at most half the length of word. */
const char *nearest_name(const char *word, const char *const *names, int count);

/* ---- options: a table per architecture, task or section; unknown keys name the nearest, values are checked ---- */
enum option_type { OPTION_INT, OPTION_REAL, OPTION_BOOL, OPTION_CHOICE, OPTION_TEXT };
/* Joined to a type: an option that was added when there were results. At its default it is in no text that is an identity, so that
 * cells and models from before it are what they were (option_counts). */
#define OPTION_LATER 8
struct option {
    const char *key;
    int type;             /* enum option_type, with OPTION_LATER or without */
    const char *fallback; /* default, as text */
    double min, max;      /* INT, REAL; both 0: unbounded */
    const char *choices;  /* CHOICE: "a|b|c" */
    const char *help;     /* one line: meaning, unit, reason of the default */
};
#define OPTION_LIMIT 48
#define OPTION_LENGTH 192
struct options {
    const struct option *table; /* ends with key == NULL; may be NULL: no options */
    char value[OPTION_LIMIT][OPTION_LENGTH];
    bool given[OPTION_LIMIT];
};
void options_init(struct options *o, const struct option *table);
static inline enum option_type option_type(const struct option *x) { return (enum option_type)(x->type & ~OPTION_LATER); }
/* Does option i belong to what is known by these options? Not one that came later and has its default. */
bool option_counts(const struct options *o, int i);
/* where: "architecture infini", "[task passkey] of X.ini"; used in the sentence. */
int options_set(struct options *o, const char *key, const char *value, const char *where, struct error *e);
bool options_has(const struct options *o, const char *key); /* is there such a key in the table */
int64_t options_int(const struct options *o, const char *key);
double options_real(const struct options *o, const char *key);
bool options_bool(const struct options *o, const char *key);
int options_choice(const struct options *o, const char *key); /* index in choices */
const char *options_text(const struct options *o, const char *key);
/* "key=value" pairs sorted by key, all that count (given_only: only those set), joined by sep; malloc'd. */
char *options_join(const struct options *o, const char *sep, bool given_only);
/* The next word of a list "a, b, c", without blanks around it; returns where to go on, NULL at its end. */
const char *list_next(const char *list, char *word, size_t room);
/* The whole numbers, at least 1, of a TEXT option that is a list; returns how many, 1 .. most, or -1. */
int options_ints(const struct options *o, const char *key, int64_t *out, int most, const char *where, struct error *e);
/* Reads whole numbers with K, M suffixes ("32K" = 32768, "1M" = 1048576). 0, -1, or PARSE_BEYOND: a number that 64 bits do not
 * hold. */
#define PARSE_BEYOND (-2)
int parse_int(const char *text, int64_t *value);
/* A rising list "4K, 16K, 64K" of numbers of at least 1; returns how many, -1 with a sentence that begins with where. */
int parse_rising(const char *text, int64_t *list, int limit, const char *where, struct error *e);

/* ---- sizes: products and sums of numbers of at least 0 that may not fit; COUNT_OVERFLOW stays what it is ---- */
#define COUNT_OVERFLOW INT64_MAX /* 2^63 - 1 or more */
int64_t count_times(int64_t a, int64_t b);
int64_t count_plus(int64_t a, int64_t b);
/* Tokens of a document as kernels count them: whole segments of n, which stop at SINCE_MOST. No kernel looks back that far, it only
 * matters how full a ring is; true counts are 64 bits wide (stream_position, the cursor of a batcher). */
#define SINCE_MOST ((int64_t)1 << 30)
static inline int32_t since_of(int64_t tokens, int64_t n) {
    int64_t most = SINCE_MOST / n * n;
    return (int32_t)(tokens < most ? tokens : most);
}

/* ---- random numbers: xoshiro256** seeded by splitmix64; the state is part of a checkpoint ---- */
struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream); /* independent streams of one seed: initialisation, data, sampling */
uint64_t rng_next(struct rng *r);
double rng_uniform(struct rng *r);           /* [0, 1), 53 bits */
double rng_normal(struct rng *r);            /* Box-Muller, one draw a call: two uniforms, no hidden state */
int64_t rng_below(struct rng *r, int64_t n); /* [0, n), unbiased */

/* ---- files ---- */
/* The whole file, malloc'd, a 0 byte added after *size. */
char *read_file(const char *path, size_t *size, struct error *e);
/* Writes to PATH.tmp in the same folder, fsyncs, renames, fsyncs the folder: a reader sees the old file or the new one. */
int write_file(const char *path, const void *data, size_t size, struct error *e);
/* The same for several pieces one after the other, without copying them together. */
struct piece {
    const void *data;
    size_t size;
};
int write_pieces(const char *path, const struct piece *pieces, int count, struct error *e);
/* Tests of crash safety: with INFINIBENCH_TEST_KILL_AT=N in the environment the N-th call kills the process (SIGKILL). */
void crash_point(const char *name);
int make_folders(const char *path, struct error *e); /* mkdir -p */
/* Whether a file that --FLAG names can be made, asked before the work that it is for; writes nothing. path NULL: fine. */
int can_write(const char *path, const char *flag, struct error *e);
/* Whether that file is another one than input (by device and inode; either may be NULL): writing it would lose what is read. */
int not_input(const char *path, const char *flag, const char *input, struct error *e);
/* A file of the project (results/paper/table2.csv): in the working directory or in the tree that the program was built in;
 * malloc'd, NULL: in neither. */
char *project_file(const char *path);
uint64_t hash64(const void *data, size_t size, uint64_t seed); /* XXH3 */

double now(void);                /* seconds, monotonic */
uint64_t peak_resident(void);    /* VmHWM in bytes: since the process began or peak_forget */
bool peak_forget(void);          /* the peak is counted from now on; false: this kernel does not let a process do so */
uint64_t resident(void);         /* VmRSS in bytes */
uint64_t available_memory(void); /* MemAvailable (and cgroup limit) in bytes; UINT64_MAX where arenas are elsewhere */
extern bool memory_of_device;    /* arenas are a GPU's, which refuses by itself: the host's memory does not bound them */

/* What is said when the process is stopped by Ctrl-C or SIGTERM, which still end it; nothing with --quiet. The text must stay. */
void say_when_stopped(const char *sentence);

/* ---- progress: ETA on anything over two seconds; one rewritten line on a terminal, a plain line every ~10 s elsewhere ---- */
struct progress {
    const char *label;
    double start, last_shown;
    int64_t first, total; /* first: done before the beginning, by an earlier run */
    bool shown;
};
extern bool progress_quiet; /* --quiet */
void progress_begin(struct progress *p, const char *label, int64_t total);
void progress_update(struct progress *p, int64_t done, const char *format, ...) __attribute__((format(printf, 3, 4)));
void progress_end(struct progress *p);

#endif
