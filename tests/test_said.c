/* test_said.c - texts of models beside the tables: they come and go with their cells, whole, and are UTF-8 whatever was said. */
#include "harness/results_files.h"
#include "harness/said.h"
#include "support/folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct results *opened(const char *name) {
    char *path = in_folder(name);
    struct results *r = results_open(path, &e);
    if (!r) fail_msg("%s", e.text);
    free(path);
    return r;
}

static struct cell_writer *begun(struct results *r, const char *cell) {
    struct cell_writer *w = cell_begin(r, cell, "run-1", "x", "row", "infini", "train", 1, "summarize", 1);
    cell_value(w, &(struct measurement){.metric = "overall", .value = 1});
    return w;
}

/* What is said at two lengths, one of them ending in `last`, and once with the memory off. */
static void write_texts(struct results *r, const char *cell, const char *last) {
    struct cell_writer *w = begun(r, cell);
    cell_said(w, "test", "", 1024, "L1024-a", "first \"one\"\n");
    cell_said(w, "test", "knockout=off", 4096, "L4096-a", "nothing");
    cell_said(w, "test", "", 2048, "L2048-a", last);
    cell_said(w, "test", "", 2048, "L2048-b", "");
    if (cell_commit(w, &e) != 0) fail_msg("%s", e.text);
}

/* The first text of a cell at its largest length; NULL: none. */
static const char *first(const char *name, const char *cell, const char *condition) {
    static char text[64];
    struct said s;
    char *path = in_folder(name);
    bool any = said_first(&s, path, cell, condition);
    snprintf(text, sizeof text, "%s %s", any ? s.sample : "", any ? s.text : "");
    said_free(&s);
    free(path);
    return any ? text : NULL;
}

static void with_their_cells(void **state) {
    (void)state;
    struct results *r = opened("cells");
    write_texts(r, "c1", "plain");
    write_texts(r, "c2", "another");
    struct cell_writer *w = begun(r, "c3");
    cell_said(w, "test", "", 1, "L1-a", "dropped");
    cell_drop(w);
    assert_int_equal(cell_commit(begun(r, "c4"), &e), 0); /* says nothing */
    results_close(r);
    assert_string_equal(first("cells", "c1", ""), "L2048-a plain");
    assert_string_equal(first("cells", "c2", ""), "L2048-a another");
    assert_string_equal(first("cells", "c2", "knockout=off"), "L4096-a nothing");
    assert_null(first("cells", "c2", "knockout=zero"));
    assert_null(first("cells", "c3", ""));
    assert_null(first("cells", "c4", ""));
}

/* A line is a JSON object that other tools read, quotes and line ends in it. */
static void lines(void **state) {
    (void)state;
    struct results *r = opened("lines");
    write_texts(r, "c1", "kept\xff, \xe2\x82");
    results_close(r);
    assert_string_equal(first("lines", "c1", ""), "L2048-a kept\xef\xbf\xbd, \xef\xbf\xbd\xef\xbf\xbd");
    char *path = in_folder("lines/texts/c1.jsonl.gz");
    size_t n, count = 0;
    char *text = gzip_read(path, &n, &e);
    assert_non_null(text);
    for (char *p = text, *end; (end = strchr(p, '\n')); p = end + 1, count++) {
        json_t *line = json_loadb(p, (size_t)(end - p), 0, NULL);
        assert_non_null(line);
        if (count == 0) {
            assert_string_equal(json_string_value(json_object_get(line, "prediction")), "first \"one\"\n");
            assert_string_equal(json_string_value(json_object_get(line, "split")), "test");
            assert_int_equal(json_integer_value(json_object_get(line, "context")), 1024);
        }
        json_decref(line);
    }
    assert_int_equal(count, 4);
    free(text);
    free(path);
}

/* Texts of a job are taken over with its cells; those of a cell that is there already are not. */
static void taken_over(void **state) {
    (void)state;
    struct results *a = opened("all"), *b = opened("job");
    write_texts(a, "c1", "kept");
    write_texts(b, "c1", "of the job");
    write_texts(b, "c2", "moved");
    for (int twice = 0; twice < 2; twice++) assert_int_equal(results_merge(a, b, &e), 0);
    results_close(a);
    results_close(b);
    assert_string_equal(first("all", "c1", ""), "L2048-a kept");
    assert_string_equal(first("all", "c2", ""), "L2048-a moved");
}

/* What cannot be written is an error, and no cell. */
static void no_room(void **state) {
    (void)state;
    put("full/texts", "a file in the way", 17);
    struct results *r = opened("full");
    struct cell_writer *w = begun(r, "c1");
    cell_said(w, "test", "", 1, "L1-a", "x");
    assert_int_equal(cell_commit(w, &e), -1);
    assert_says("texts");
    assert_false(results_has_cell(r, "c1"));
    results_close(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(with_their_cells), cmocka_unit_test(lines), cmocka_unit_test(taken_over),
                                       cmocka_unit_test(no_room)};
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
