/* reading.h - rows of long texts that are read on from budget to budget, asked for a summary at each, and put back. For the tasks
 * chronicle and summarize.
 *
 * A budget shares what the one before has read. Of a text that an architecture of finite reach cannot see all of, only the tail
 * that can influence the summary is read, from a segment's start on. Memory does not grow with the texts. */
#ifndef INFINIBENCH_READING_H
#define INFINIBENCH_READING_H

#include "harness/generate.h"
#include "harness/util.h"

#define READING_BUDGETS 16
/* The list `budgets` of the options, ascending, or where it is empty `length` alone; returns how many, -1. */
int reading_budgets(const struct options *o, int64_t budget[READING_BUDGETS], const char *task, struct error *e);

/* Tokens [from, from + n) of the text of a row. */
typedef void reading_text(void *data, int64_t row, int64_t from, int64_t n, int32_t *out);
struct reading {
    int64_t rows;
    struct generation *said; /* [rows]: what was said last; number is the caller's */
    /* inside */
    struct stream *stream;
    int64_t n, reach, chunk; /* segment of the model; tokens a row and feed */
    int64_t *at, *origin;    /* [rows] tokens read, of which the stream has seen those from origin on */
    int32_t **tokens;        /* [rows][chunk] */
    int64_t *count;          /* [rows] */
    struct snapshot **kept;  /* [rows] */
    reading_text *text;
    void *data;
};
/* most: tokens that a summary may have. */
int reading_open(struct reading *r, struct model *m, int64_t rows, int64_t most, enum knock_out knock_out, reading_text *text,
                 void *data, struct error *e);
void reading_close(struct reading *r);
void reading_restart(struct reading *r); /* other texts */
/* Reads the first target[row] tokens of every row (never fewer than before), then the marker, lets it say a summary, and takes the
 * marker and the summary back. */
void reading_ask(struct reading *r, const int64_t *target, const int32_t *marker, int64_t marker_n, const struct decoding *d);

#endif
