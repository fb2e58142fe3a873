/* ref.c - the reference table; and, where the engine is built in double, the reference in the place of the CPU backend. */
#include "ref_private.h"
#include <stdio.h>

static void *ref_alloc(size_t bytes) {
    void *p = NULL;
    size_t room = bytes ? bytes : 1;
    if (posix_memalign(&p, 64, room)) return NULL;
    memset(p, 0, room);
    return p;
}

static void ref_release(void *p, size_t bytes) {
    (void)bytes;
    free(p);
}

static void ref_copy(void *dst, const void *src, size_t bytes) { memmove(dst, src, bytes); }

static void ref_sync(void) {}

static void ref_step(void (*body)(void *), void *data) { body(data); }

const struct kernels_f64 *kernels_ref(void) {
    static struct kernels_f64 table;
    if (!table.name) {
        table.alloc = ref_alloc;
        table.release = ref_release;
        table.upload = ref_copy;
        table.download = ref_copy;
        table.move = ref_copy;
        table.sync = ref_sync;
        table.step = ref_step;
        ref_elementwise(&table);
        ref_norm(&table);
        ref_loss(&table);
        ref_attention(&table);
        ref_memory(&table);
        ref_rnn(&table);
        ref_fast_weight(&table);
        ref_short_conv(&table);
        ref_bank(&table);
        ref_optim(&table);
        table.name = "ref";
    }
    return &table;
}

#if REF_ENGINE_IS_DOUBLE
void cpu_choose_core(char **argv) { (void)argv; }

const struct kernels *kernels_cpu(int threads, struct backend_info *info) {
    (void)threads;
    if (info) {
        memset(info, 0, sizeof *info);
        snprintf(info->backend, sizeof info->backend, "ref");
        snprintf(info->device, sizeof info->device, "fp64 reference");
        snprintf(info->library, sizeof info->library, "none");
        snprintf(info->core, sizeof info->core, "none");
        snprintf(info->isa, sizeof info->isa, "none");
        snprintf(info->note, sizeof info->note, "plain loops, one thread");
        info->threads = 1;
    }
    return kernels_ref();
}

int kernels_cpu_threads(int threads) {
    (void)threads;
    return 1;
}

double kernels_cpu_roof(void) { return 1; }

double kernels_cpu_bandwidth(void) { return 1; }
#endif
