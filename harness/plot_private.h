/* plot_private.h - what the files that prepare pictures share: plot.c (language modelling, training, gnuplot), plot_retrieval.c,
 * plot_heads.c. */
#ifndef INFINIBENCH_PLOT_PRIVATE_H
#define INFINIBENCH_PLOT_PRIVATE_H

#include "plot.h"

/* Words for gnuplot, one per row drawn: name, colour, how many rows before had the same one (another dash), the marker, the same in
 * every picture. */
struct look {
    struct text_buffer names, colors, twins, marks;
    int count;
};
/* shown: rows drawn before this one. */
void look_add(struct look *l, const struct report_data *d, int row, const bool *shown);
void look_free(struct look *l);
/* The colour of a row, "#rrggbb". Where all rows are of one family its colour says nothing: they get one each. */
const char *plot_color(const struct report_data *d, int row);
/* NAME='VALUE'; for gnuplot. */
void plot_text(struct text_buffer *settings, const char *name, const char *value);
/* Writes the table and draws it twice. A failure of gnuplot is a notice, not an error: the numbers are in the report anyway. */
int plot_picture(struct plots *p, const struct report_data *d, int section, int group, const char *script, const char *name,
                 const struct text_buffer *table, const char *settings, const char *caption, struct error *e);
/* plot_retrieval.c: the pictures of a section of passkey or recall; of others none. */
int retrieval_plots(struct plots *p, const struct report_data *d, int section, struct error *e);
/* One picture where rows are a grid of initial gates and their learning rates; of section -1. */
int gates_plot(struct plots *p, const struct report_data *d, struct error *e);
/* plot_memory.c: the pictures of a section of memory; of others none. */
int memory_plots(struct plots *p, const struct report_data *d, int section, struct error *e);
/* plot_heads.c: the pictures of a section of the task gates; of others none. */
int heads_plots(struct plots *p, const struct report_data *d, int section, struct error *e);

#endif
