/* experiment_parse.h - the cut-up text of an experiment and its complaints, shared by experiment.c (sections, budget, rows, tasks)
 * and experiment_stage.c (stages and their sources). Nobody else includes it. */
#ifndef INFINIBENCH_EXPERIMENT_PARSE_H
#define INFINIBENCH_EXPERIMENT_PARSE_H

#include "experiment_private.h"

enum kind { EXPERIMENT, BUDGET, STAGE, ROW, TASK, KINDS };
struct entry {
    char key[64];
    char *value;
    int line;
    bool used;
};
struct section {
    enum kind kind;
    char name[64];
    int line;
    struct entry *entries;
    int count;
};
struct parse {
    const char *path, *text, *seeds; /* seeds: in place of those of [experiment], or NULL */
    size_t at;
    int line;
    bool indented, bad;
    struct section *sections;
    int count;
    struct error *e;
};

/* Fails with "FILE:LINE: ...". */
int parse_complain(struct parse *p, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "the nearest is 'x'", or the list of what is known. */
void parse_hint(char *out, size_t size, const char *word, const char *const *names, int count);
struct entry *parse_entry(struct section *s, const char *key); /* marks it as used; NULL: not given */
/* "FILE:LINE, [SECTION NAME]" */
void parse_where(char out[256], const struct parse *p, const struct section *s, int line);
/* An unknown key: the nearest of everything that the section takes. a, b: option tables or NULL. */
int parse_unknown(struct parse *p, const struct section *s, const struct entry *x, bool shape, const struct option *a,
                  const struct option *b);
/* The keys that sections of a kind have of their own; returns how many (experiment_keys.c). */
#define SECTION_KEYS 16
int section_keys(const char *section, const char *names[SECTION_KEYS]);
/* "1, 2, 3", all of them among `of` ("[stage one]"); t NULL: all of `of`. */
int parse_some_seeds(struct parse *p, const struct section *s, const struct entry *t, const struct seed_list *of, const char *where,
                     struct seed_list *out);
/* "a, b": names of rows, as bits. */
int parse_rows(struct parse *p, const struct experiment *x, const struct entry *k, uint64_t *rows);

/* experiment_stage.c */
int read_stage(struct parse *p, struct experiment *x, struct section *s, const struct options *train, const struct model_config *c);
/* What can be said of a stage once rows and tasks are known: its source, SECTION.key = value, its shape with every row. */
int finish_stage(struct parse *p, struct experiment *x, struct section *s);

#endif
