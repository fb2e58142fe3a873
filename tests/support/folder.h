/* folder.h - a temporary folder for a suite, files in it, and the last error's sentence. */
#ifndef INFINIBENCH_TEST_FOLDER_H
#define INFINIBENCH_TEST_FOLDER_H

#include "../../harness/util.h"

extern char folder[64]; /* of this run */
extern struct error e;  /* of the last call that failed */
int folder_setup(void **state);
int folder_teardown(void **state);
char *in_folder(const char *name);                       /* FOLDER/name, malloc'd */
char *content(const char *name);                         /* of FOLDER/name, malloc'd */
void put(const char *name, const char *bytes, size_t n); /* FOLDER/name with these bytes; folders are made */
#define assert_says(needle) check_says(needle, __FILE__, __LINE__)
void check_says(const char *needle, const char *file, int line);

#endif
