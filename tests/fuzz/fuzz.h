/* fuzz.h - what the fuzzers share: the input as a file that exists in memory only, and what every error sentence owes its reader.
 *
 * A fuzzer hands one input to one parser as a user's file would come to it, looks at every byte that a caller would look at, and
 * frees all. The sanitizers judge; nothing is compared. scripts/fuzz.sh builds and runs them. */
#ifndef INFINIBENCH_FUZZ_H
#define INFINIBENCH_FUZZ_H

#define _GNU_SOURCE /* memfd_create */
#include "harness/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of a file that holds head and then data; the same file each time. */
static inline const char *fuzz_file(const char *head, const uint8_t *data, size_t size) {
    static char path[40];
    static int fd = -1;
    if (fd < 0) {
        progress_quiet = true;
        fd = memfd_create("input", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    size_t n = strlen(head);
    CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, head, n, 0) == (ssize_t)n &&
              pwrite(fd, data, size, (off_t)n) == (ssize_t)size,
          "no file in memory");
    return path;
}

/* A folder of this process with a link NAME to the file of fuzz_file. */
static inline const char *fuzz_folder(const char *name) {
    static char folder[40];
    if (!*folder) {
        snprintf(folder, sizeof folder, "/dev/shm/infinibench-fuzz.%d", (int)getpid());
        CHECK(make_folders(folder, NULL) == 0, "no folder %s", folder);
    }
    char link[96];
    snprintf(link, sizeof link, "%s/%s", folder, name);
    unlink(link);
    CHECK(symlink(fuzz_file("", NULL, 0), link) == 0, "no link %s", link);
    return folder;
}

/* An error is one line of text: nothing of the file can end it, or talk to a terminal. */
static inline void fuzz_said(const struct error *e) {
    CHECK(*e->text, "an error without a sentence");
    for (const char *c = e->text; *c; c++) CHECK((unsigned char)*c >= ' ' && *c != 127, "byte %d in '%s'", *c, e->text);
}

/* Every byte is looked at. */
static inline void fuzz_touch(const void *data, size_t size) {
    uint64_t sum = hash64(data, size, 0);
    __asm__ volatile("" : : "r"(sum));
}

#endif
