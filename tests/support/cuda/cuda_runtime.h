/* cuda_runtime.h - the part of CUDA that harness/kernels/cuda uses, on a processor: the same sources, compiled as C++ against this
 * header, run every kernel in the tests of a machine without a GPU.
 *
 * The threads of a block are fibers that change at barriers and warp operations; warps, and the threads within a warp, run in an
 * order that a seed draws anew at every barrier, so a missing barrier shows as wrong numbers. Shared memory is filled with NaN
 * before every block, fresh device memory too, and device memory cannot be touched by the host while no kernel runs: a dereference
 * there stops the program. A barrier that not all threads reach, and a warp operation that not all its lanes reach, stop it too.
 *
 * It shows what the arithmetic does, not how fast; it knows one stream, whose work is done at once or, while a graph is captured,
 * recorded. Memory order between blocks, occupancy and the limits of registers are not modelled. */
#ifndef INFINIBENCH_TESTS_CUDA_RUNTIME_H
#define INFINIBENCH_TESTS_CUDA_RUNTIME_H

#define EMULATED 1

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared"), aligned(16)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

/* ---- the running thread ---- */

struct emulated_fiber {
    uint3 thread;
    unsigned index, lane, warp, operations;
};
extern emulated_fiber *emulated_self;
extern dim3 emulated_block, emulated_block_size, emulated_grid;
#define threadIdx (emulated_self->thread)
#define blockIdx emulated_block
#define blockDim emulated_block_size
#define gridDim emulated_grid

void *emulated_dynamic_shared(void);
void emulated_syncthreads(void);
int emulated_syncthreads_or(int value);
void emulated_syncwarp(void);
uint64_t emulated_exchange(uint64_t value, int from); /* what lane `from` brought */
unsigned emulated_ballot(int value);
void emulated_mma(float *c, const float *a, const float *b); /* 16 x 8 x 8 of a warp; c [4], a [4], b [2] of each lane */

static inline void __syncthreads() { emulated_syncthreads(); }
static inline int __syncthreads_or(int v) { return emulated_syncthreads_or(v); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { (void)mask, emulated_syncwarp(); }
static inline unsigned __ballot_sync(unsigned mask, int v) { return (void)mask, emulated_ballot(v); }

template <class T> static inline T emulated_shuffle(T v, int from) {
    uint64_t bits = 0;
    static_assert(sizeof v <= sizeof bits, "a shuffle moves at most 8 bytes");
    memcpy(&bits, &v, sizeof v);
    bits = emulated_exchange(bits, from);
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T> static inline T __shfl_sync(unsigned, T v, int from) { return emulated_shuffle(v, from & 31); }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int with) {
    return emulated_shuffle(v, (int)emulated_self->lane ^ with);
}
template <class T> static inline T __shfl_up_sync(unsigned, T v, unsigned by) {
    int lane = (int)emulated_self->lane;
    return emulated_shuffle(v, lane < (int)by ? lane : lane - (int)by);
}

/* ---- arithmetic ---- */

static inline float __fmaf_rn(float a, float b, float c) { return a * b + c; } /* rounded twice: a library call otherwise */
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline float __uint_as_float(unsigned x) {
    float f;
    memcpy(&f, &x, sizeof f);
    return f;
}
static inline unsigned __float_as_uint(float f) {
    unsigned x;
    memcpy(&x, &f, sizeof x);
    return x;
}
static inline long long atomicMin(long long *p, long long v) {
    long long was = *p;
    if (v < was) *p = v;
    return was;
}

/* ---- launches ---- */

/* Does the work now or records it. */
void emulated_enqueue(std::function<void()> work);
void emulated_run(const std::function<void()> &thread, dim3 grid, dim3 block, size_t shared);

/* ---- the runtime ---- */

typedef int cudaError_t;
enum { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInvalidValue = 1, cudaErrorNoDevice = 100 };
typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_graph *cudaGraph_t, *cudaGraphExec_t;
typedef struct emulated_event *cudaEvent_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum { cudaStreamNonBlocking = 1, cudaStreamCaptureModeThreadLocal = 1, cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97, cudaHostAllocDefault = 0 };
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};
const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int d);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int d);
cudaError_t cudaDeviceGetAttribute(int *v, int which, int d);
cudaError_t cudaRuntimeGetVersion(int *v);
cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaMemGetInfo(size_t *there, size_t *all);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaGetLastError(void);

/* The libraries that are loaded at run time: the emulated ones. */
void *emulated_symbol(const char *name);
#define dlopen(name, flags) ((void *)"emulated")
#define dlsym(handle, name) emulated_symbol(name)
#define dlerror() "not emulated"

#include "emulation.h"

#endif
