/* report_heads.h - what the task gates measured: gates of a model before, during and after training, what each head's memory is
 * worth. For its section (report_heads.c) and its pictures (plot_heads.c). */
#ifndef INFINIBENCH_REPORT_HEADS_H
#define INFINIBENCH_REPORT_HEADS_H

#include "report_retrieval.h"

#define MAP_HEADS 1024 /* layers times heads; of larger models the first are shown */
#define YARDSTICKS 12
enum head_moment { HEADS_INITIAL, HEADS_QUARTER, HEADS_HALF, HEADS_AFTER, HEAD_MOMENTS };
extern const char *const head_moments[HEAD_MOMENTS]; /* initial, 25 %, 50 %, after */

/* The gates of one trained model, NaN where a layer has none or nothing was logged. The moments between are those of curves.csv in
 * the section's stage. Heads of different seeds are different heads: a map is of one seed. */
struct head_map {
    int layers, heads;
    int64_t seed;
    bool known[HEAD_MOMENTS];
    double gate[HEAD_MOMENTS][MAP_HEADS]; /* [layers,heads] */
};
/* False: the row has no gates in this section with this seed. */
bool head_map(struct head_map *m, const struct report_data *d, int section, int row, int64_t seed);
/* The first seed of which a row has gates; false: none. */
bool head_map_first(struct head_map *m, const struct report_data *d, int section, int row);

/* What was measured with heads knocked out. */
struct yardstick {
    char condition[CONDITION_SIZE]; /* without the knock-out */
    const char *metric;             /* bits_per_byte, exact_match, answer_nll */
    int64_t context;                /* tokens of a prompt; 0: documents */
};
int yardsticks(struct yardstick out[YARDSTICKS], const struct report_data *d, int section);
const char *yardstick_words(const struct yardstick *y); /* "bits per byte", "exact match at 4K, points" */
/* What is lost when the memory of a head is knocked out, in the yardstick's unit (exact match: points), above 0: it is worse
 * without; way 1 off, 2 zero; head -1: all heads. n = 0: not measured. seed -1: all seeds together. */
struct interval head_loss(const struct report_data *d, int section, const char *row, int64_t seed, const struct yardstick *y,
                          int way, const struct head_map *m, int head);

#endif
