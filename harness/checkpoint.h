/* checkpoint.h - safetensors files that load in PyTorch, and training checkpoints whose commit is one rename. */
#ifndef INFINIBENCH_CHECKPOINT_H
#define INFINIBENCH_CHECKPOINT_H

#include "train.h"
#include "corpus.h"

/* ---- safetensors: 8 bytes header length, JSON header {"name": {"dtype","shape","data_offsets"}, "__metadata__": {str: str}}, data
 * ---- */
struct st_tensor {
    char name[96];
    char dtype[8]; /* "F32", "I32", "I64" */
    int64_t shape[4];
    int rank;
    const void *data;
    size_t bytes;
};
struct st_file {
    struct st_tensor *tensors;
    int count;
    char **keys, **values; /* metadata */
    int pairs;
    void *memory;
};
/* Writes atomically (temporary name, fsync, rename). A checksum (XXH3 of metadata, tensor descriptions and data) is added to the
 * metadata as "checksum". */
int st_write(const char *path, const struct st_tensor *tensors, int count, const char *const *keys, const char *const *values,
             int pairs, struct error *e);
/* Reads and checks everything: lengths, overlaps, dtypes, checksum when there is one. Errors: truncated, corrupt, not safetensors.
 */
int st_read(const char *path, struct st_file *f, struct error *e);
void st_free(struct st_file *f);
/* The checksum that st_write stores; tensors in the order of their data. */
void st_checksum(char sum[24], const struct st_tensor *tensors, int count, const char *const *keys, const char *const *values,
                 int pairs);
const char *st_meta(const struct st_file *f, const char *key); /* NULL if there is none */
const struct st_tensor *st_find(const struct st_file *f, const char *name);

/* ---- models ---- */
/* Tensor names as in the model ("layers.0.wq"), metadata: format, program, config (config_text), tokenizer name and hash, step, ...
 */
int model_save(const char *path, const struct model *m, const struct tokenizer *t, const char *const *keys,
               const char *const *values, int pairs, struct error *e);
/* Builds the model that the file describes and loads it; every tensor must be there with its shape, none may be left over. Prints
 * the gates (sigmoid of beta per layer and head) to stderr unless progress_quiet. */
struct model *model_load(const char *path, const struct kernels *k, const struct tokenizer **t, struct error *e);
int model_load_into(struct model *m, const char *path, struct error *e); /* same architecture and shapes: warm start of a stage */

/* ---- training checkpoints in a folder ----
 * Writes optimizer-STEP.safetensors and state-STEP.safetensors first, then model.safetensors (whose metadata names them, with their
 * checksums, the step, the data cursor, random state and counters): its rename is the commit. Older optimizer/state files are
 * removed after the commit. */
int training_save(const char *folder, const struct trainer *t, const struct tokenizer *tok, struct error *e);
/* 0 loaded, 1 nothing there, -1 error. */
int training_load(const char *folder, struct trainer *t, const struct tokenizer *tok, struct error *e);

/* float32 arrays in NumPy's format, rank 0 to 4 (shape of npy_read has room for 4) */
int npy_write(const char *path, const float *data, const int64_t *shape, int rank, struct error *e);
float *npy_read(const char *path, int64_t *shape, int *rank, struct error *e); /* malloc'd; float64 is rounded */
/* The elements of a file that is in memory already, not rounded; path is named in errors. malloc'd. */
double *npy_doubles(const char *path, const void *bytes, size_t size, int64_t *shape, int *rank, struct error *e);

#endif
