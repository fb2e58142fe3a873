/* plot.h - the pictures of a results folder, drawn by gnuplot from tables that are written beside them. */
#ifndef INFINIBENCH_PLOT_H
#define INFINIBENCH_PLOT_H

#include "report_data.h"

#define PLOT_LIMIT 96
struct plots {
    int count;
    struct {
        char name[96];
        char *caption;
        int section, group; /* whose it is; group as in report_retrieval.h, else 0 */
    } figure[PLOT_LIMIT];
    char notice[256]; /* why there are no pictures; "" = there are */
};
/* Writes NAME.tsv, NAME.svg, NAME.png into the folder. Without gnuplot: notice. -1: the folder cannot be written. */
int plots_draw(struct plots *p, const struct report_data *d, struct error *e);
void plots_free(struct plots *p);

#endif
