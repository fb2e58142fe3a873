/* chronicle_runs.c - see chronicle_runs.h. */
#include "chronicle_runs.h"
#include "folder.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

const struct tokenizer *pieces;

int chronicle_setup(void **state) {
    if (folder_setup(state)) return -1;
    pieces = tokenizer_open("sentencepiece:tasks/data/chronicle-640.model", &e);
    if (!pieces) fprintf(stderr, "%s\n", e.text);
    return pieces ? 0 : -1;
}

void chronicle_set(struct options *o, const char *pairs) {
    char copy[512], *save = NULL;
    options_init(o, chronicle_options);
    snprintf(copy, sizeof copy, "%s", pairs);
    for (char *pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(pair, '=');
        *equal = 0;
        for (char *p = equal + 1; *p; p++)
            if (*p == '/') *p = ','; /* lists */
        if (options_set(o, pair, equal + 1, "test", &e)) fail_msg("%s", e.text);
    }
}

struct chronicle_text *chronicle_text_of(const struct tokenizer *t, const char *pairs, bool evaluation, int64_t first) {
    struct options o;
    struct chronicle_shape shape;
    chronicle_set(&o, pairs);
    chronicle_shape(&shape, &o, evaluation);
    if (first) shape.first = first;
    struct chronicle_text *x = chronicle_text_open(t, &shape, &e);
    if (!x) fail_msg("%s", e.text);
    return x;
}
