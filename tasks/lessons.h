/* lessons.h - what sources of generated documents share: room for the open document of each batch row, and a cursor that is a
 * number. */
#ifndef INFINIBENCH_LESSONS_H
#define INFINIBENCH_LESSONS_H

#include "harness/util.h"

/* A document stays valid until the row's next (source.h). */
struct lesson_row {
    int32_t *tokens;
    float *weights;
};
struct lesson_rows {
    struct lesson_row *row;
    int64_t count;
};
/* The room of a batch row, for `most` tokens (the same number in every call). */
struct lesson_row *lesson_row(struct lesson_rows *r, int64_t row, int64_t most);
void lesson_rows_free(struct lesson_rows *r);

/* The cursor "TASK IDENTITY seed SEED document NEXT" (malloc'd), and back. identity: a hash of what the documents depend on beside
 * seed and number. */
char *lesson_save(const char *task, uint64_t identity, uint64_t seed, int64_t next);
int lesson_load(const char *task, const char *text, uint64_t identity, uint64_t seed, int64_t *next, struct error *e);

#endif
