/* said.h - what models said where a task has them write: FOLDER/texts/CELL.jsonl.gz, a line for each text,
 *
 *     {"split": "test", "condition": "knockout=zero", "context": 6144, "sample": "L6144-novel-12", "prediction": "..."}
 *
 * so that a score can be looked at and given again (`infinibench rouge --jsonl`, once the references are added). sample is the name
 * in samples.csv. What is not UTF-8, as a byte model may say, stands as U+FFFD. For results.c and the report. */
#ifndef INFINIBENCH_SAID_H
#define INFINIBENCH_SAID_H

#include "csv_io.h"

void said_add(struct text_buffer *b, const char *split, const char *condition, int64_t context, const char *sample,
              const char *text);
/* The file of a cell, whole or not at all, in place of one that is there; nothing where nothing was said. */
int said_write(const char *folder, const char *cell, const struct text_buffer *b, struct error *e);
/* The file of a cell of another folder, if it has one. */
int said_copy(const char *folder, const char *from, const char *cell, struct error *e);
/* The first text of a cell under a condition at its largest context; malloc'd. NULL: none was kept. */
struct said {
    char *sample, *text;
    int64_t context;
};
void said_free(struct said *s);
bool said_first(struct said *s, const char *folder, const char *cell, const char *condition);

#endif
