/* runtime.cu - the CUDA backend put together: the device, its memory, copies, the table; and the record of a step.
 *
 * One stream. Copies from the host go through pinned memory, so that the caller's buffer is free again when the slot returns. A
 * step that is recorded (slot `step`) runs as it is the first time; the second time its calls are captured as a graph; from then on
 * the host code runs through once more, its calls are only compared with those of the graph, its uploads fill the graph's pinned
 * memory, and the graph is launched. A step that calls something else than the graph is run again as it is, and recorded anew. */
#include "device.cuh"
#include <stdlib.h>
#include <string.h>

#define STAGE ((size_t)16 << 20) /* bytes of pinned memory for copies outside of records */
#define RECORDS 8

cudaStream_t cuda_stream;
enum cuda_products cuda_products;
int cuda_shared_limit;

void cuda_check(cudaError_t e, const char *what) {
    if (e == cudaSuccess) return;
    fprintf(stderr, "infinibench: CUDA: %s: %s\n", what, cudaGetErrorString(e));
    abort();
}

/* ---- records of steps ---- */

enum recording { AS_IT_IS, CAPTURING, REPLAYING };

struct record {
    void (*body)(void *);
    void *data;
    uint64_t hash, used; /* of the calls; when it was last used */
    size_t bytes;        /* of its uploads */
    char *pinned;
    size_t room;
    cudaGraphExec_t graph; /* NULL: not captured yet */
    int changes;           /* how often it was not what had been captured */
};

static struct record records[RECORDS], *current;
static enum recording recording;
static uint64_t hash_now, uses;
static size_t uploaded;

/* Words are mixed one by one (the finaliser of splitmix64). */
static void mix(uint64_t word) {
    uint64_t x = hash_now + 0x9e3779b97f4a7c15u + word;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    hash_now = x ^ (x >> 31);
}

bool record_call(const void *what, const void *arguments, size_t bytes) {
    if (!current) return false;
    mix((uint64_t)(uintptr_t)what);
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)arguments + i, 8);
        mix(word);
    }
    return recording == REPLAYING;
}

void record_refuse(const char *slot) {
    if (!current) return;
    fprintf(stderr, "infinibench: CUDA: the slot '%s' waits for the device and cannot be part of a recorded step\n", slot);
    abort();
}

static void forget(struct record *r) {
    if (r->graph) cuda_check(cudaGraphExecDestroy(r->graph), "cudaGraphExecDestroy");
    if (r->pinned) cuda_check(cudaFreeHost(r->pinned), "cudaFreeHost");
    r->graph = NULL;
    r->pinned = NULL;
    r->room = 0;
}

static void forget_all(void) {
    for (int i = 0; i < RECORDS; i++) {
        forget(&records[i]);
        records[i] = record();
    }
}

static struct record *find_record(void (*body)(void *), void *data) {
    struct record *oldest = records;
    for (int i = 0; i < RECORDS; i++) {
        if (records[i].body == body && records[i].data == data) return &records[i];
        if (records[i].used < oldest->used) oldest = &records[i];
    }
    forget(oldest);
    *oldest = record();
    oldest->body = body;
    oldest->data = data;
    return oldest;
}

static void run_body(struct record *r, enum recording how) {
    current = r;
    recording = how;
    hash_now = 1;
    uploaded = 0;
    r->body(r->data);
    current = NULL;
    recording = AS_IT_IS;
}

static void cuda_step(void (*body)(void *), void *data) {
    enum { CHANGES = 4 }; /* a step that is never the same twice is not worth recording */
    if (!current) cuda_check(cudaStreamSynchronize(cuda_stream), "waiting for the last step"); /* its uploads may be forgotten now */
    struct record *r = find_record(body, data);
    bool seen = r->used > 0;
    r->used = ++uses;
    if (current || r->changes > CHANGES) {
        body(data);
        return;
    }
    if (r->graph) {
        run_body(r, REPLAYING);
        if (hash_now == r->hash) {
            cuda_check(cudaGraphLaunch(r->graph, cuda_stream), "cudaGraphLaunch");
            return;
        }
        forget(r);
        r->changes++;
        seen = false;
    }
    if (!seen) {
        run_body(r, AS_IT_IS);
        r->hash = hash_now;
        r->bytes = uploaded;
        return;
    }
    cudaGraph_t graph;
    r->room = r->bytes;
    if (r->room) cuda_check(cudaHostAlloc((void **)&r->pinned, r->room, cudaHostAllocDefault), "pinned memory");
    cuda_check(cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    run_body(r, CAPTURING);
    cuda_check(cudaStreamEndCapture(cuda_stream, &graph), "cudaStreamEndCapture");
    if (uploaded > r->room) { /* not the step that was seen: what it would have copied from is not there */
        cuda_check(cudaGraphDestroy(graph), "cudaGraphDestroy");
        forget(r);
        r->changes++;
        run_body(r, AS_IT_IS);
        r->hash = hash_now;
        r->bytes = uploaded;
        return;
    }
    r->hash = hash_now;
    cuda_check(cudaGraphInstantiate(&r->graph, graph, 0), "cudaGraphInstantiate");
    cuda_check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    cuda_check(cudaGraphLaunch(r->graph, cuda_stream), "cudaGraphLaunch");
}

/* ---- memory ---- */

static void *cuda_alloc(size_t bytes) {
    void *p = NULL;
    cudaError_t status = cudaMalloc(&p, bytes ? bytes : 1);
    if (status != cudaSuccess) {
        if (status != cudaErrorMemoryAllocation) cuda_check(status, "cudaMalloc, or a kernel before it");
        (void)cudaGetLastError();
        return NULL;
    }
    cuda_check(cudaMemsetAsync(p, 0, bytes, cuda_stream), "zeroing new memory");
    return p;
}

static void cuda_release(void *p, size_t bytes) {
    (void)bytes;
    record_refuse("release");
    if (!p) return;
    cuda_check(cudaStreamSynchronize(cuda_stream), "waiting before memory is given back");
    forget_all(); /* no graph outlives memory that it may point to */
    cuda_check(cudaFree(p), "cudaFree");
}

static char *stage;
static size_t staged;

static void cuda_upload(void *device, const void *host, size_t bytes) {
    if (!bytes) return;
    size_t taken = (bytes + 63) / 64 * 64;
    char *from;
    if (current) {
        uint64_t words[2] = {(uint64_t)(uintptr_t)device, bytes};
        record_call("upload", words, sizeof words);
    }
    if (current && recording != AS_IT_IS) {
        from = current->pinned + uploaded;
        uploaded += taken;
        if (uploaded > current->room) return; /* noticed at the end */
    } else if (taken > STAGE) {
        cuda_check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, cuda_stream), "upload");
        cuda_check(cudaStreamSynchronize(cuda_stream), "upload");
        uploaded += taken;
        return;
    } else {
        if (!stage) cuda_check(cudaHostAlloc((void **)&stage, STAGE, cudaHostAllocDefault), "pinned memory");
        if (staged + taken > STAGE) { /* the copies that still read it have to be done */
            cuda_check(cudaStreamSynchronize(cuda_stream), "upload");
            staged = 0;
        }
        from = stage + staged;
        staged += taken;
        uploaded += taken;
    }
    memcpy(from, host, bytes);
    if (recording == REPLAYING) return;
    cuda_check(cudaMemcpyAsync(device, from, bytes, cudaMemcpyHostToDevice, cuda_stream), "upload");
}

static void cuda_download(void *host, const void *device, size_t bytes) {
    record_refuse("download");
    if (bytes) cuda_check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, cuda_stream), "download");
    cuda_check(cudaStreamSynchronize(cuda_stream), "download");
}

static void cuda_move(void *dst, const void *src, size_t bytes) {
    uint64_t words[3] = {(uint64_t)(uintptr_t)dst, (uint64_t)(uintptr_t)src, bytes};
    if (!bytes || dst == src || record_call("move", words, sizeof words)) return;
    uintptr_t to = (uintptr_t)dst, from = (uintptr_t)src;
    size_t apart = to > from ? to - from : from - to, done = 0;
    while (done < bytes) { /* pieces that do not overlap, from the end that is not overwritten */
        size_t piece = bytes - done < apart ? bytes - done : apart, at = to < from ? done : bytes - done - piece;
        cuda_check(cudaMemcpyAsync((char *)dst + at, (const char *)src + at, piece, cudaMemcpyDeviceToDevice, cuda_stream), "move");
        done += piece;
    }
}

static void cuda_sync(void) {
    record_refuse("sync");
    cuda_check(cudaStreamSynchronize(cuda_stream), "sync");
}

/* cudaFuncSetAttribute is asked once for each size that is larger than before. */
void allow_shared(const void *kernel, size_t bytes) {
    if (bytes > (size_t)cuda_shared_limit) {
        fprintf(stderr, "infinibench: CUDA: a kernel needs %zu bytes of shared memory and the GPU has %d; use smaller heads\n", bytes,
                cuda_shared_limit);
        abort();
    }
    enum { KNOWN = 64 };
    static struct {
        const void *kernel;
        size_t bytes;
    } known[KNOWN];
    int i = 0;
    while (i < KNOWN - 1 && known[i].kernel && known[i].kernel != kernel) i++;
    if (known[i].kernel == kernel && known[i].bytes >= bytes) return;
    known[i].kernel = kernel;
    known[i].bytes = bytes;
#ifndef EMULATED
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "shared memory of a kernel");
#endif
}

/* ---- the table ---- */

bool cuda_blas_open(char *library, size_t size, char *why, size_t why_size); /* gemm.cu */

static struct kernels table;

static bool open_device(struct backend_info *info, char *why, size_t size) {
    int count = 0, runtime = 0, driver = 0;
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess || count == 0) {
        snprintf(why, size, "there is no usable GPU here (%s); use --backend cpu",
                 e == cudaSuccess ? "none found" : cudaGetErrorString(e));
        return false;
    }
    cudaDeviceProp p;
    cuda_check(cudaSetDevice(0), "cudaSetDevice");
    cuda_check(cudaGetDeviceProperties(&p, 0), "cudaGetDeviceProperties");
    if (p.major < 8) {
        snprintf(why, size, "the GPU '%s' has compute capability %d.%d, but the backend needs 8.0 or newer; use --backend cpu",
                 p.name, p.major, p.minor);
        return false;
    }
    cuda_check(cudaDeviceGetAttribute(&cuda_shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "cudaDeviceGetAttribute");
    cuda_check(cudaStreamCreateWithFlags(&cuda_stream, cudaStreamNonBlocking), "cudaStreamCreate");
    cudaRuntimeGetVersion(&runtime);
    cudaDriverGetVersion(&driver);
    if (!cuda_blas_open(info->library, sizeof info->library, why, size)) return false;
    snprintf(info->backend, sizeof info->backend, "cuda");
    snprintf(info->device, sizeof info->device, "%.64s, %.0f GiB", p.name, (double)p.totalGlobalMem / 1073741824.0);
    snprintf(info->core, sizeof info->core, "sm_%d%d, %d multiprocessors", p.major, p.minor, p.multiProcessorCount);
    snprintf(info->isa, sizeof info->isa, "CUDA %d", runtime);
    snprintf(info->note, sizeof info->note, "driver for CUDA %d", driver);
    info->threads = 1;
    return true;
}

extern "C" const struct kernels *kernels_cuda(const char *products, struct backend_info *info, char *why, size_t size) {
    static struct backend_info known;
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    int chosen = -1;
    for (int i = 0; i < 3; i++)
        if (!strcmp(products ? products : "tf32", names[i])) chosen = i;
    if (chosen < 0) {
        snprintf(why, size, "products '%s': choose fp32, tf32 or bf16", products);
        return NULL;
    }
    cuda_products = (enum cuda_products)chosen;
    if (!table.name) {
        if (!open_device(&known, why, size)) return NULL;
        table.alloc = cuda_alloc;
        table.release = cuda_release;
        table.upload = cuda_upload;
        table.download = cuda_download;
        table.move = cuda_move;
        table.sync = cuda_sync;
        table.step = cuda_step;
        cuda_gemm(&table);
        cuda_elementwise(&table);
        cuda_norm(&table);
        cuda_embed(&table);
        cuda_loss(&table);
        cuda_sample(&table);
        cuda_optim(&table);
        cuda_attention(&table);
        cuda_memory(&table);
        cuda_rnn(&table);
        cuda_fast_weight(&table);
        cuda_feature(&table);
        cuda_short_conv(&table);
        cuda_bank(&table);
        table.name = "cuda";
    }
    if (info) {
        *info = known;
        size_t n = strlen(info->note);
        snprintf(info->note + n, sizeof info->note - n, ", products in %s", names[chosen]);
    }
    return &table;
}
