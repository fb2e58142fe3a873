/* vmath.h - exp and what follows from it as plain C that gcc and clang vectorise inside `#pragma omp simd` loops.
 *
 * No branches, calls, tables or float-to-int conversions, and nothing that needs -ffast-math: selects of computed values only.
 * NaN stays NaN everywhere. These are for loops; a single value is better served by libm. */
#ifndef INFINIBENCH_CPU_VMATH_H
#define INFINIBENCH_CPU_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Bits to float; compilers vectorise the memcpy. */
static inline float v_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t v_to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* exp(x), relative error under 2 ulp on [-87, 88]; 0 below -87.33 (no denormals), infinity above 88.37 (where 2^n ends); -inf gives
 * 0, inf gives inf, NaN stays NaN. exp(0) is exactly 1. exp(x) = 2^n exp(r), |r| <= ln(2)/2; n is rounded by adding 1.5 * 2^23,
 * which leaves it in the low bits of the sum, and ln 2 is subtracted in two parts of which the first is exact times n. */
static inline float v_exp(float x) {
    const float magic = 12582912.0f;
    float z = x * 1.44269504f + magic;
    float n = z - magic;
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    float y = p * v_from_bits((v_to_bits(z) + 127u) << 23);
    y = x < -87.33f ? 0.0f : y;
    return x > 88.37f ? INFINITY : y;
}

/* 1/(1 + exp(-x)). */
static inline float v_sigmoid(float x) { return 1.0f / (1.0f + v_exp(-x)); }

/* Absolute error under 2e-7; exact at 0 and at the ends. */
static inline float v_tanh(float x) { return 2.0f / (1.0f + v_exp(-2.0f * x)) - 1.0f; }

/* The feature map of the compressive memory, ELU(x) + 1. Its derivative is x > 0 ? 1 : exp(x), that is min(value, 1). */
static inline float v_elu1(float x) {
    float e = v_exp(x);
    return x > 0.0f ? x + 1.0f : e;
}

#endif
