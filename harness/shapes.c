/* shapes.c - reads the shapes of public models and lists them with the presets. It computes no footprint (footprint.c). */
#include "shapes.h"
#include "csv_io.h"

#include <stdlib.h>
#include <string.h>

#define SHAPES_HEADER "name,layers,d_model,heads,kv_heads,head_dim,bytes,context,parameters,source"
#define SHAPES_SEGMENT 2048 /* of models that have no segments: the paper's */

struct shape_list {
    struct shape *list;
    int count;
};

static int take_shape(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct shape_list *l = data;
    struct shape x = {.config = {.segment = SHAPES_SEGMENT}};
    static const char *const columns[] = {"layers", "d_model", "heads", "kv_heads", "head_dim", "bytes", "context", "parameters"};
    int64_t *const to[] = {&x.config.layers, &x.config.d, &x.config.heads, &x.config.kv_heads,
                           &x.config.e,      &x.bytes,    &x.context,      &x.parameters};
    (void)count;
    for (int i = 0; i < 8; i++) {
        if (i == 7 && !*fields[8]) continue; /* not published */
        if (csv_parse_integer(path, line, columns[i], fields[i + 1], to[i], e) != 0) return -1;
        if (*to[i] < 1) return fail(e, "%s:%d: column %s is %s, expected at least 1", path, line, columns[i], fields[i + 1]);
    }
    char where[320];
    snprintf(where, sizeof where, "%.280s:%d", path, line);
    if (shape_check(&x.config, where, e) != 0) return -1;
    if (!*fields[0] || strlen(fields[0]) >= sizeof x.name || strlen(fields[9]) >= sizeof x.source)
        return fail(e, "%s:%d: name or source is empty or too long", path, line);
    snprintf(x.name, sizeof x.name, "%s", fields[0]);
    snprintf(x.source, sizeof x.source, "%s", fields[9]);
    for (int i = 0; i < l->count; i++)
        if (strcmp(l->list[i].name, x.name) == 0) return fail(e, "%s:%d: '%s' is there already", path, line, x.name);
    if (l->count == SHAPE_LIMIT) return fail(e, "%s:%d: more than %d shapes", path, line, SHAPE_LIMIT);
    l->list[l->count++] = x;
    return 0;
}

/* Of the plain transformer at a preset. */
static int64_t preset_parameters(const struct model_config *preset) {
    struct model_config c = *preset;
    struct error ignored;
    c.arch = baseline_find("transformer", &ignored);
    if (!c.arch) return 0;
    options_init(&c.options, c.arch->options);
    struct model *m = config_finish(&c, &ignored) ? NULL : model_create(&c, NULL, 0, &ignored);
    int64_t n = m ? m->elements : 0;
    if (m) model_free(m);
    return n;
}

int shapes_read(struct shape *list, struct error *e) {
    struct shape_list l = {.list = list};
    for (int i = 0; preset_names[i]; i++) {
        struct shape x = {.bytes = sizeof(real), .preset = true};
        if (config_preset(&x.config, preset_names[i], e) != 0) return -1;
        snprintf(x.name, sizeof x.name, "%s", preset_names[i]);
        snprintf(x.source, sizeof x.source, "this program");
        x.context = x.config.segment * x.config.segments;
        x.parameters = preset_parameters(&x.config);
        list[l.count++] = x;
    }
    char *path = project_file("tasks/data/shapes.csv");
    if (!path)
        return fail(e, "tasks/data/shapes.csv, the shapes of public models, is not found; run from the folder of the project");
    int status = csv_read(path, SHAPES_HEADER, false, take_shape, &l, e);
    free(path);
    return status ? -1 : l.count;
}

int shape_find(struct shape *out, const char *name, struct error *e) {
    struct shape *list = xcalloc(SHAPE_LIMIT, sizeof *list);
    const char *names[SHAPE_LIMIT], *near;
    int count = shapes_read(list, e), found = -1;
    for (int i = 0; i < count; i++) {
        names[i] = list[i].name;
        if (strcmp(list[i].name, name) == 0) found = i;
    }
    if (found >= 0)
        *out = list[found];
    else if (count >= 0) {
        near = nearest_name(name, names, count);
        fail(e, "unknown preset '%s'%s%s%s; `infinibench list presets` prints them", name, near ? "; did you mean '" : "",
             near ? near : "", near ? "'?" : "");
    }
    free(list);
    return found < 0 ? -1 : 0;
}

int shape_check(const struct model_config *c, const char *where, struct error *e) {
    static const char *const names[] = {"layers", "d_model", "heads", "kv_heads", "head_dim", "segment"};
    const int64_t value[] = {c->layers, c->d, c->heads, c->kv_heads, c->e, c->segment};
    for (int i = 0; i < 6; i++)
        if (value[i] < 1) return fail(e, "%s: %s = %lld; it must be at least 1", where, names[i], (long long)value[i]);
    if (c->heads % c->kv_heads)
        return fail(e, "%s: heads = %lld is not a multiple of kv_heads = %lld", where, (long long)c->heads, (long long)c->kv_heads);
    return 0;
}
