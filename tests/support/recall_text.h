/* recall_text.h - samples of associative recall in the hands of a test: made from options, read back from their text alone. */
#ifndef INFINIBENCH_TEST_RECALL_TEXT_H
#define INFINIBENCH_TEST_RECALL_TEXT_H

#include "../../tasks/recall.h"

/* Options from "key=value key=value". -1 with e (folder.h) if one is refused. */
int recall_set(struct options *o, const char *text);
/* A maker of bytes and the layout of the first number of pairs; prints the reason and aborts where there is none. */
struct made {
    struct recall_maker maker;
    struct recall_layout layout;
};
struct made recall_make(const char *text);
void recall_unmake(struct made *m);
struct recall_sample recall_drawn(const struct made *m, uint64_t seed, bool evaluation);
char *recall_text(const struct made *m, const struct recall_sample *x); /* in bytes, malloc'd */

/* What a text says, by a reader that knows only the format; pairs and questions are strings of key and value. malloc'd. */
#define RECALL_MOST 600
struct reading {
    char pair[RECALL_MOST][20], question[RECALL_MOST][20];
    int pair_at[RECALL_MOST], question_at[RECALL_MOST], pairs, questions, length;
};
struct reading *recall_reading(const char *text);
size_t recall_key_size(const char *pair); /* letters of the key */

#endif
