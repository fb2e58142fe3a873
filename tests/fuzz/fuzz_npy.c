/* fuzz_npy.c - any bytes as a NumPy array, read as float32 and as it stands. */
#include "fuzz.h"

#include "harness/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t shape[4], elements = 1;
    int rank;
    struct error e = {""};
    float *narrow = npy_read(fuzz_file("", data, size), shape, &rank, &e);
    if (!narrow) {
        fuzz_said(&e);
        CHECK(!npy_doubles("input", data, size, shape, &rank, &e), "read from memory only");
        return 0;
    }
    for (int i = 0; i < rank; i++) elements *= shape[i];
    fuzz_touch(narrow, (size_t)elements * sizeof *narrow);
    double *wide = npy_doubles("input", data, size, shape, &rank, &e);
    CHECK(wide, "read from a file only: %s", e.text);
    fuzz_touch(wide, (size_t)elements * sizeof *wide);
    free(narrow);
    free(wide);
    return 0;
}
