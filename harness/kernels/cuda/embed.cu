/* embed.cu - embedding and rotary position. */
#include "device.cuh"

static void embed_fwd(real *out, const real *table, const int32_t *ids, int64_t rows, int64_t width) {
    map(rows * width, [=] __device__(int64_t i) { out[i] = table[ids[i / width] * width + i % width]; });
}

/* A block a (row of the table, THREADS columns): looks through the ids in order and adds the rows that are its own, so the order of
 * the sum is that of the rows. */
static __global__ void __launch_bounds__(THREADS)
    embed_gather(struct place dtable, const real *dout, const int32_t *ids, int64_t rows, int64_t width) {
    __shared__ unsigned char mine[THREADS];
    int64_t id = blockIdx.x, i = (int64_t)blockIdx.y * THREADS + threadIdx.x;
    real sum = dtable.beta && i < width ? dtable.p[id * width + i] : 0;
    for (int64_t from = 0; from < rows; from += THREADS) {
        bool found = from + threadIdx.x < rows && ids[from + threadIdx.x] == id;
        mine[threadIdx.x] = found;
        if (__syncthreads_or(found) && i < width)
            for (int64_t r = 0; r < THREADS; r++)
                if (mine[r]) sum += dout[(from + r) * width + i];
        __syncthreads();
    }
    if (i < width) dtable.p[id * width + i] = sum;
}

static void embed_bwd(struct gout dtable, const real *dout, const int32_t *ids, int64_t rows, int64_t vocab, int64_t width) {
    struct place to = place_of(dtable);
    if (to.p) LAUNCH(embed_gather, dim3((unsigned)vocab, (unsigned)parts(width, THREADS)), THREADS, 0, to, dout, ids, rows, width);
}

static void rope_table(real *cs, const int32_t *pos, double base, int64_t rows, int64_t e) {
    int64_t half = e / 2;
    map(rows * half, [=] __device__(int64_t at) {
        int64_t r = at / half, i = at % half;
        double angle = pos[r] * pow(base, -2.0 * (double)i / (double)e), s, c;
        s = sin(angle), c = cos(angle);
        cs[r * e + i] = (real)c;
        cs[r * e + half + i] = (real)s;
    });
}

/* One thread turns a pair, so out may be x. */
static void rope(struct gout out, const real *x, const real *cs, int inverse, int64_t rows, int64_t heads, int64_t e) {
    struct place to = place_of(out);
    int64_t half = e / 2, back = inverse;
    if (!to.p) return;
    map(rows * heads * half, [=] __device__(int64_t j) {
        int64_t i = j % half, rh = j / half, at = rh * e + i, r = rh / heads;
        real c = cs[r * e + i], s = back ? -cs[r * e + half + i] : cs[r * e + half + i], x0 = x[at], x1 = x[at + half];
        put(to, at, x0 * c - x1 * s);
        put(to, at + half, x0 * s + x1 * c);
    });
}

void cuda_embed(struct kernels *k) {
    k->embed_fwd = embed_fwd;
    k->embed_bwd = embed_bwd;
    k->rope_table = rope_table;
    k->rope = rope;
}
