/* registry.c - the architectures; adding one is its file and one line here. */
#include "../harness/baseline.h"

#include <string.h>

#define BASELINES(X)                                                                                                               \
    X(null)                                                                                                                        \
    X(transformer)                                                                                                                 \
    X(transformer_xl)                                                                                                              \
    X(memorizing)                                                                                                                  \
    X(compressive)                                                                                                                 \
    X(autocompressor)                                                                                                              \
    X(rnn)                                                                                                                         \
    X(rmt)                                                                                                                         \
    X(linear_attention)                                                                                                            \
    X(delta_rule)                                                                                                                  \
    X(infini)

#define DECLARE(name) extern const struct baseline baseline_##name;
#define ADDRESS(name) &baseline_##name,
BASELINES(DECLARE)
const struct baseline *const baselines[] = {BASELINES(ADDRESS) NULL};

const struct baseline *baseline_find(const char *name, struct error *e) {
    const char *names[64];
    int n = 0;
    for (; baselines[n]; n++) {
        if (!strcmp(baselines[n]->name, name)) return baselines[n];
        names[n] = baselines[n]->name;
    }
    const char *near = nearest_name(name, names, n);
    fail(e, "unknown architecture '%s'%s%s%s; `infinibench list architectures` prints them", name, near ? "; did you mean '" : "",
         near ? near : "", near ? "'?" : "");
    return NULL;
}
