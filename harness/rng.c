/* rng.c - xoshiro256** (Blackman, Vigna) seeded by splitmix64. The four words are the whole state: a checkpoint keeps them and a
 * run continues with the same numbers. Not for secrets. */
#include "util.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream) {
    /* Both are mixed before they meet, so that (1, 0) and (0, 1) have nothing in common. */
    uint64_t a = seed, b = ~stream;
    uint64_t x = splitmix64(&a) ^ (splitmix64(&b) * 0xd1342543de82ef95u);
    for (int i = 0; i < 4; i++) r->s[i] = splitmix64(&x);
    if (!(r->s[0] | r->s[1] | r->s[2] | r->s[3])) r->s[0] = 1; /* the one state that would not move */
}

static uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t rng_next(struct rng *r) {
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_uniform(struct rng *r) { return (double)(rng_next(r) >> 11) * 0x1p-53; }

double rng_normal(struct rng *r) {
    double u = rng_uniform(r), v = rng_uniform(r);
    return sqrt(-2.0 * log1p(-u)) * cos(6.283185307179586476925 * v);
}

int64_t rng_below(struct rng *r, int64_t n) {
    CHECK(n > 0, "rng_below(%lld)", (long long)n);
    uint64_t m = (uint64_t)n, reject = -m % m; /* 2^64 mod m numbers at the low end would be drawn once too often */
    for (;;) {
        uint64_t x = rng_next(r);
        if (x >= reject) return (int64_t)(x % m);
    }
}
