/* cublas_v2.h - the part of cuBLAS that gemm.cu asks for; see cuda_runtime.h beside it. */
#ifndef INFINIBENCH_TESTS_CUBLAS_H
#define INFINIBENCH_TESTS_CUBLAS_H

#include "cuda_runtime.h"

typedef struct emulated_blas *cublasHandle_t;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_INVALID_VALUE = 7 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_16BF = 75, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cudaDataType { CUDA_R_32F };

#endif
