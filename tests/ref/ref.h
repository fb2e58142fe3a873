/* ref.h - the plain fp64 reference of every kernel: obvious loops written from the formulas in kernels_slots.h, never optimised.
 *
 * In the product's tests it stands beside the float kernels as struct kernels_f64. With -DINFINI_REAL=double struct kernels is
 * double itself: then both names are one type, and the reference also provides kernels_cpu() and its relatives, so that the whole
 * engine links on it. */
#ifndef INFINIBENCH_REF_H
#define INFINIBENCH_REF_H

#include "../../harness/kernels/kernels.h"

#define REF_IS_float 0
#define REF_IS_double 1
#define REF_JOIN2(a, b) a##b
#define REF_JOIN(a, b) REF_JOIN2(a, b)
#define REF_ENGINE_IS_DOUBLE REF_JOIN(REF_IS_, INFINI_REAL)

#if REF_ENGINE_IS_DOUBLE
#define kernels_f64 kernels
#define gout_f64 gout
#else
#define real double
#define kernels kernels_f64
#define gout gout_f64
#include "../../harness/kernels/kernels_slots.h"
#undef real
#undef kernels
#undef gout
#endif

const struct kernels_f64 *kernels_ref(void);

/* For finite differences of delta_gamma, whose gamma is a constant for the gradient: memory_fwd stores its gammas [B,G,S*N] in
 * `values` (REF_GAMMA_RECORD) or takes them from there (REF_GAMMA_REPLAY). */
enum ref_gamma_mode { REF_GAMMA_FREE, REF_GAMMA_RECORD, REF_GAMMA_REPLAY };
extern struct ref_gamma {
    enum ref_gamma_mode mode;
    double *values;
} ref_gamma;

#endif
