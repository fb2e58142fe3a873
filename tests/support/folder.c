/* folder.c - see folder.h. */
#include "folder.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

char folder[64];
struct error e;

void check_says(const char *needle, const char *file, int line) {
    if (strstr(e.text, needle)) return;
    print_error("the error is '%s', it should say '%s'\n", e.text, needle);
    _fail(file, line);
}

int folder_setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/infinibench_test.XXXXXX");
    progress_quiet = true;
    return mkdtemp(folder) ? 0 : -1;
}

int folder_teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

char *in_folder(const char *name) { return xprintf("%s/%s", folder, name); }

char *content(const char *name) {
    char *path = in_folder(name);
    size_t n;
    char *text = read_file(path, &n, &e);
    free(path);
    if (!text) fail_msg("%s", e.text);
    return text;
}

void put(const char *name, const char *bytes, size_t n) {
    char *path = in_folder(name), *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(make_folders(path, &e), 0);
    *slash = '/';
    assert_int_equal(write_file(path, bytes, n, &e), 0);
    free(path);
}
