/* registry.c - the architectures; adding one is its file and two lines here. */
#include "../harness/baseline.h"

#include <string.h>

extern const struct baseline baseline_null, baseline_transformer, baseline_transformer_xl, baseline_memorizing, baseline_infini;

const struct baseline *const baselines[] = {
    &baseline_null, &baseline_transformer, &baseline_transformer_xl, &baseline_memorizing, &baseline_infini, NULL,
};

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
