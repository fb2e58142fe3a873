/* fuzz_safetensors.c - any bytes as a safetensors file: header, metadata, tensors; the configuration of a model in it, up to the
 * plan that is held against its tensors before anything is allocated. */
#include "fuzz.h"

#include "harness/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct st_file f;
    struct error e = {""};
    const char *path = fuzz_file("", data, size);
    if (st_read(path, &f, &e)) {
        fuzz_said(&e);
        return 0;
    }
    for (int i = 0; i < f.count; i++) {
        fuzz_touch(f.tensors[i].data, f.tensors[i].bytes);
        CHECK(st_find(&f, f.tensors[i].name) == &f.tensors[i], "tensor '%s' is not found", f.tensors[i].name);
    }
    for (int i = 0; i < f.pairs; i++) fuzz_touch(f.values[i], strlen(f.values[i]));
    st_free(&f);
    struct model *m = model_load(path, kernels_cpu(1, NULL), NULL, &e);
    if (!m) fuzz_said(&e);
    model_free(m);
    return 0;
}
