/* csv_io.h - reading CSV (libcsv; PATH.gz by zlib) with line numbers, writing it with RFC 4180 quoting, and the growing text that
 * writers fill.
 *
 * It does not know any of the tables; results.c, report_data.c and check_cells.c do. */
#ifndef INFINIBENCH_CSV_IO_H
#define INFINIBENCH_CSV_IO_H

#include "util.h"

struct text_buffer {
    char *data; /* 0-terminated once something was added; NULL before */
    size_t n, capacity;
};
void buffer_add(struct text_buffer *b, const char *data, size_t n);
void buffer_escape(struct text_buffer *b, const char *text); /* for XML and HTML: & < > " */
void buffer_printf(struct text_buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_free(struct text_buffer *b);
/* Fields of a line, each followed by end (',' or '\n'). Line breaks inside become spaces: a line of our files is a line. */
void csv_text(struct text_buffer *b, const char *text, char end);
void csv_integer(struct text_buffer *b, int64_t value, char end);
void csv_number(struct text_buffer *b, double value, char end); /* whole numbers in full, else %.9g; NaN: nothing */

/* Called per row; a return other than 0 stops and is passed on. Fields are 0-terminated and may be kept until the call returns. */
typedef int (*csv_row)(void *data, const char *path, int line, int count, char **fields, struct error *e);
/* Reads a file; where it is not there but PATH.gz is, that. header: the line that must come first, word by word (NULL: the first
 * row is given to the callback like any other). Every row must have as many fields as the first. torn: a last line without line
 * break is left out (our own files while somebody writes them), otherwise it counts. Errors name file, line, found and expected. */
int csv_read(const char *path, const char *header, bool torn, csv_row row, void *data, struct error *e);
/* The same of its first `most` bytes. */
int csv_read_part(const char *path, const char *header, bool torn, size_t most, csv_row row, void *data, struct error *e);
/* What `gzip` made of a file, 0-terminated: our tables shrink to a thirtieth. One that ends early is an error: a cut table would
 * pass for a whole one. */
char *gzip_read(const char *path, size_t *size, struct error *e);
/* PATH.gz becomes PATH where PATH is not there: who appends needs the plain file. 0 also where there is nothing to do. */
int csv_unpack(const char *path, struct error *e);
/* Strict numbers: the whole field, "" is NaN for reals where empty is allowed. */
int csv_parse_real(const char *path, int line, const char *column, const char *text, bool empty, double *value, struct error *e);
int csv_parse_integer(const char *path, int line, const char *column, const char *text, int64_t *value, struct error *e);

#endif
