/* fuzz_experiment.c - any text as an experiment file; what is accepted must be written out in full, and the sizes of its rows must
 * be plannable. */
#include "fuzz.h"

#include "harness/experiment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error e = {""};
    struct experiment *x = experiment_read(fuzz_file("", data, size), NULL, &e);
    if (!x) {
        fuzz_said(&e);
        return 0;
    }
    char *text = experiment_resolved(x);
    fuzz_touch(text, strlen(text));
    free(text);
    for (int i = 0; i < x->row_count; i++) {
        struct model *plan = model_create(&x->rows[i].config, NULL, 0, &e);
        if (plan)
            fuzz_touch(&plan->elements, sizeof plan->elements);
        else
            fuzz_said(&e);
        model_free(plan);
    }
    experiment_free(x);
    return 0;
}
