/* cuda_absent.c - stands where the CUDA backend would be in a program that was built without it. */
#include "kernels.h"
#include <stdio.h>

const struct kernels *kernels_cuda(const char *products, struct backend_info *info, char *why, size_t size) {
    (void)products, (void)info;
    snprintf(why, size,
             "this program was built without the CUDA backend; build it with make CUDA=1 where nvcc is, or use --backend cpu");
    return NULL;
}
