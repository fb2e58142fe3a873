/* emulation.h - what tests may ask of the emulated device (see cuda_runtime.h beside it). */
#ifndef INFINIBENCH_TESTS_EMULATION_H
#define INFINIBENCH_TESTS_EMULATION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
void emulated_seed(uint64_t seed);     /* of the orders in which warps, lanes and blocks run */
void emulated_shared_limit(int bytes); /* shared memory of a block; 0: 227 KiB. Before the backend is opened */
int64_t emulated_launches(void);       /* kernels so far */
int64_t emulated_replayed(void);       /* of them from graphs */
/* Threads of a block read what others have written to shared memory, with a barrier between or without: how many got something
 * else. */
int emulated_exchange_errors(int barrier);
#ifdef __cplusplus
}
#endif

#endif
