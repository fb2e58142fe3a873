/* device.cuh - what all files of the CUDA backend share: how kernels are launched, sums over warps and blocks, gradients' places.
 *
 * Everything goes to one stream and passes through launch(), gemm.cu or the copies of runtime.cu, because a training step may be
 * recorded there as a graph and replayed (record_* in runtime.cu): these are what notices that a step calls the same things with
 * the same arguments as before. For that comparison every argument of a kernel is a multiple of 8 bytes wide and has no padding:
 * int64_t, double, pointers and structs of them.
 *
 * Sums have a fixed order: no atomic addition anywhere. The sources compile with nvcc, and as C++ against the emulation in
 * tests/support/cuda, where the tests run every kernel without a GPU. */
#ifndef INFINIBENCH_CUDA_DEVICE_CUH
#define INFINIBENCH_CUDA_DEVICE_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

extern "C" {
#include "../kernels.h"
}

#define THREADS 256 /* of a block, unless a kernel says otherwise */
#define WHOLE_WARP 0xffffffffu

/* ---- groups of the table; each file fills in its slots ---- */

void cuda_gemm(struct kernels *k);
void cuda_elementwise(struct kernels *k);
void cuda_norm(struct kernels *k);
void cuda_embed(struct kernels *k);
void cuda_loss(struct kernels *k);
void cuda_sample(struct kernels *k);
void cuda_optim(struct kernels *k);
void cuda_attention(struct kernels *k);
void cuda_memory(struct kernels *k);
void cuda_rnn(struct kernels *k);
void cuda_fast_weight(struct kernels *k);
void cuda_feature(struct kernels *k);
void cuda_short_conv(struct kernels *k);
void cuda_bank(struct kernels *k);

/* ---- runtime.cu ---- */

enum cuda_products { PRODUCTS_FP32, PRODUCTS_TF32, PRODUCTS_BF16 };

extern cudaStream_t cuda_stream;
extern enum cuda_products cuda_products;
extern int cuda_shared_limit; /* bytes of shared memory that a block may have */

/* Stops the program with a sentence when a call failed: a kernel that cannot run leaves nothing to go on with. */
void cuda_check(cudaError_t e, const char *what);
/* One call of a step that may be recorded; true: it is being replayed, so there is nothing to do. */
bool record_call(const void *what, const void *arguments, size_t bytes);
/* So that a kernel may have more than 48 KiB of shared memory. */
void allow_shared(const void *kernel, size_t bytes);
/* Slots that wait for the device cannot be part of a recorded step. */
void record_refuse(const char *slot);

/* ---- launches ---- */

struct launch_words {
    unsigned char bytes[1024];
    size_t used;
    template <class T> void add(const T &x) {
        static_assert(sizeof x % 8 == 0, "an argument of a kernel has padding: use int64_t, double, pointers");
        memcpy(bytes + used, &x, sizeof x);
        used += sizeof x;
    }
};

template <class... P, class... A>
static void launch(const char *name, void (*kernel)(P...), dim3 grid, int64_t block, size_t shared, A... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    struct launch_words w;
    w.used = 0;
    int64_t shape[5] = {grid.x, grid.y, grid.z, block, (int64_t)shared};
    w.add(shape);
    (w.add(P(arguments)), ...);
    if (record_call((const void *)kernel, w.bytes, w.used)) return;
#ifdef EMULATED
    emulated_enqueue([=] { emulated_run([&] { kernel(P(arguments)...); }, grid, dim3((unsigned)block), shared); });
    (void)name;
#else
    if (shared > 48 * 1024) allow_shared((const void *)kernel, shared);
    kernel<<<grid, (unsigned)block, shared, cuda_stream>>>(P(arguments)...);
    cuda_check(cudaGetLastError(), name);
#endif
}
#define LAUNCH(kernel, grid, block, shared, ...) launch(#kernel, kernel, grid, block, shared, __VA_ARGS__)

#ifdef EMULATED
#define DYNAMIC_SHARED(name) real *name = (real *)emulated_dynamic_shared()
#else
#define DYNAMIC_SHARED(name)                                                                                                       \
    extern __shared__ float4 dynamic_shared_memory[];                                                                              \
    real *name = (real *)dynamic_shared_memory
#endif

/* f(i) for i < n, a thread each (and more of them when n is large). */
template <class F> __global__ void __launch_bounds__(THREADS) map_kernel(F f, int64_t n) {
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS) f(i);
}
template <class F> static void map(int64_t n, F f) {
    if (n <= 0) return;
    int64_t blocks = (n + THREADS - 1) / THREADS;
    launch("map_kernel", map_kernel<F>, dim3((unsigned)(blocks < 8192 ? blocks : 8192)), THREADS, 0, f, n);
}
/* f(row) for row < rows, a block each. */
template <class F> __global__ void __launch_bounds__(THREADS) rows_kernel(F f, int64_t rows) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) f(r);
}
template <class F> static void each_row(int64_t rows, F f) {
    if (rows <= 0) return;
    launch("rows_kernel", rows_kernel<F>, dim3((unsigned)(rows < 65536 ? rows : 65536)), THREADS, 0, f, rows);
}

/* ---- in kernels ---- */

/* struct gout without padding. */
struct place {
    real *p;
    int64_t beta;
};
static inline struct place place_of(struct gout g) { return {g.p, g.beta}; }

__device__ static inline void put(struct place g, int64_t i, real value) { g.p[i] = g.beta ? g.p[i] + value : value; }

__host__ __device__ static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t round_up(int64_t a, int64_t to) { return (a + to - 1) / to * to; }
static inline int64_t parts(int64_t a, int64_t of) { return (a + of - 1) / of; }

/* Sums over rows are cut into KERNEL_PARTIALS runs; tmp [KERNEL_PARTIALS, width]; f(r, i) is what row r adds to column i. */
template <class F> __global__ void __launch_bounds__(THREADS) column_runs(real *tmp, F f, int64_t rows, int64_t width) {
    int64_t run = (rows + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.y * run, to = least(from + run, rows);
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= width) return;
    real sum = 0;
    for (int64_t r = from; r < to; r++) sum += f(r, i);
    tmp[blockIdx.y * width + i] = sum;
}
template <class F> static void sum_columns(struct gout out, real *tmp, int64_t rows, int64_t width, F f) {
    if (!out.p || width <= 0) return;
    struct place to = place_of(out);
    launch("column_runs", column_runs<F>, dim3((unsigned)parts(width, THREADS), KERNEL_PARTIALS), THREADS, 0, tmp, f, rows, width);
    map(width, [=] __device__(int64_t i) {
        real sum = 0;
        for (int64_t p = 0; p < KERNEL_PARTIALS; p++) sum += tmp[p * width + i];
        put(to, i, sum);
    });
}

/* The larger one, or NaN if either is. */
__device__ static inline real most_or_nan(real a, real b) { return a != a ? a : !(b <= a) ? b : a; }

template <class T> __device__ static inline T warp_sum(T v) {
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(WHOLE_WARP, v, d);
    return v;
}
__device__ static inline real warp_most(real v) {
    for (int d = 16; d > 0; d /= 2) v = most_or_nan(v, __shfl_xor_sync(WHOLE_WARP, v, d));
    return v;
}

/* Sums over the threads of a block, the same in all of them; a barrier lies before and after. */
__device__ static inline double block_sum(double v) {
    __shared__ double part[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (int)blockDim.x / 32;
    v = warp_sum(v);
    __syncthreads();
    if (lane == 0) part[warp] = v;
    __syncthreads();
    double sum = 0;
    for (int i = 0; i < warps; i++) sum += part[i];
    return sum;
}
__device__ static inline real block_most(real v) {
    __shared__ real part[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (int)blockDim.x / 32;
    v = warp_most(v);
    __syncthreads();
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = part[0];
    for (int i = 1; i < warps; i++) v = most_or_nan(v, part[i]);
    return v;
}

__device__ static inline real sigmoid_of(real x) { return 1 / (1 + expf(-x)); }
/* The features of memory and linear attention: ELU(x) + 1, and its slope. */
__device__ static inline real elu1(real x) { return x > 0 ? x + 1 : expf(x); }
__device__ static inline real elu1_slope(real x) { return x > 0 ? 1 : expf(x); }

#endif
