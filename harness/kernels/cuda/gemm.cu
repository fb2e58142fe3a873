/* gemm.cu - matrix products by cuBLAS, which is loaded when the backend is opened: the program starts where no CUDA library is.
 *
 * cuBLAS is column-major, we are row-major: C^T = op(B)^T op(A)^T, so the operands change places and nothing is copied. Products
 * are in fp32, in TF32 on fp32 storage, or in bf16 on fp32 storage (cuda_products); accumulation is always in fp32. */
#include "device.cuh"
#include <cublas_v2.h>
#ifndef EMULATED
#include <dlfcn.h>
#endif

/* As NVIDIA advises for the newest devices; given once, so that a captured step finds it where it was. */
#define WORKSPACE ((size_t)32 << 20)

static cublasStatus_t (*blas_create)(cublasHandle_t *);
static cublasStatus_t (*blas_set_stream)(cublasHandle_t, cudaStream_t);
static cublasStatus_t (*blas_set_workspace)(cublasHandle_t, void *, size_t);
static cublasStatus_t (*blas_version)(cublasHandle_t, int *);
static cublasStatus_t (*blas_gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *, const void *,
                                   cudaDataType, int, long long, const void *, cudaDataType, int, long long, const void *, void *,
                                   cudaDataType, int, long long, int, cublasComputeType_t, cublasGemmAlgo_t);
static cublasHandle_t handle;

bool cuda_blas_open(char *library, size_t size, char *why, size_t why_size) {
    static const char *const names[] = {"libcublas.so.13",
                                        "libcublas.so.12",
                                        "libcublas.so",
                                        "/usr/local/cuda/lib64/libcublas.so.13",
                                        "/usr/local/cuda/lib64/libcublas.so.12",
                                        "/usr/local/cuda/lib64/libcublas.so"};
    void *lib = NULL, *workspace = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !lib; i++) lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(why, why_size,
                 "libcublas.so was not found (%s); install the CUDA toolkit or set LD_LIBRARY_PATH, or use --backend cpu",
                 dlerror());
        return false;
    }
    blas_create = (decltype(blas_create))dlsym(lib, "cublasCreate_v2");
    blas_set_stream = (decltype(blas_set_stream))dlsym(lib, "cublasSetStream_v2");
    blas_set_workspace = (decltype(blas_set_workspace))dlsym(lib, "cublasSetWorkspace_v2");
    blas_version = (decltype(blas_version))dlsym(lib, "cublasGetVersion_v2");
    blas_gemm = (decltype(blas_gemm))dlsym(lib, "cublasGemmStridedBatchedEx");
    int version = 0;
    if (!blas_create || !blas_set_stream || !blas_set_workspace || !blas_version || !blas_gemm ||
        blas_create(&handle) != CUBLAS_STATUS_SUCCESS || blas_set_stream(handle, cuda_stream) != CUBLAS_STATUS_SUCCESS ||
        cudaMalloc(&workspace, WORKSPACE) != cudaSuccess ||
        blas_set_workspace(handle, workspace, WORKSPACE) != CUBLAS_STATUS_SUCCESS) {
        snprintf(why, why_size,
                 "cuBLAS does not start: is it of CUDA 12 or 13, and is there memory on the GPU? Or use --backend cpu");
        return false;
    }
    blas_version(handle, &version);
    snprintf(library, size, "cuBLAS %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return true;
}

static void gemm_batched(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                         int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int64_t sc, int64_t sa, int64_t sb, int64_t batch) {
    const struct {
        real *c;
        const real *a, *b;
        int64_t ta, tb;
        double alpha, beta;
        int64_t m, n, k, lda, ldb, ldc, sc, sa, sb, batch;
    } all = {c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc, sc, sa, sb, batch};
    if (m <= 0 || n <= 0 || batch <= 0) return;
    if (k <= 0) { /* nothing to add up; cuBLAS refuses the leading dimension of 0 that can go with it */
        map(m * n * batch, [=] __device__(int64_t i) {
            int64_t at = i / (m * n) * sc + i / n % m * ldc + i % n;
            c[at] = beta != 0 ? (real)beta * c[at] : 0;
        });
        return;
    }
    if (record_call("gemm", &all, sizeof all)) return;
    const int64_t big = INT32_MAX;
    if (m > big || n > big || k > big || lda > big || ldb > big || ldc > big || batch > big) {
        fprintf(stderr, "infinibench: CUDA: a product of %lld x %lld x %lld is too large for cuBLAS\n", (long long)m, (long long)n,
                (long long)k);
        abort();
    }
    static const cublasComputeType_t type[] = {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_16BF};
    /* A product of rank one is no work for tensor cores, and by it carried-in states are made, which are fp32. */
    cublasComputeType_t how = type[k == 1 ? PRODUCTS_FP32 : cuda_products];
    float x = (float)alpha, y = (float)beta;
    cublasStatus_t s = blas_gemm(handle, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, (int)n, (int)m, (int)k, &x,
                                 b, CUDA_R_32F, (int)ldb, sb, a, CUDA_R_32F, (int)lda, sa, &y, c, CUDA_R_32F, (int)ldc, sc,
                                 (int)batch, how, CUBLAS_GEMM_DEFAULT);
    if (s == CUBLAS_STATUS_SUCCESS) return;
    fprintf(stderr, "infinibench: CUDA: cuBLAS failed (status %d) at a product of %lld x %lld x %lld\n", (int)s, (long long)m,
            (long long)n, (long long)k);
    abort();
}

static void gemm(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n, int64_t k,
                 int64_t lda, int64_t ldb, int64_t ldc) {
    gemm_batched(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc, 0, 0, 0, 1);
}

void cuda_gemm(struct kernels *k) {
    k->gemm = gemm;
    k->gemm_batched = gemm_batched;
}
