/* emulation.cc - threads, barriers, memory and libraries of the emulated device (see cuda_runtime.h beside it). */
#include "cuda_runtime.h"
#include "cublas_v2.h"
#include <algorithm>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>
#include <vector>

enum { MAX_THREADS = 1024, WARP = 32, STACK = 128 << 10, SHARED_MOST = 227 << 10 };

[[noreturn]] static void stop(const char *what) {
    fprintf(stderr, "emulated device: %s (block %u,%u,%u thread %u)\n", what, emulated_block.x, emulated_block.y, emulated_block.z,
            emulated_self ? emulated_self->index : 0);
    abort();
}

/* ---- changing from one fiber to another ---- */

struct context {
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t u;
#endif
};

#if defined(__x86_64__)
extern "C" void emulated_switch(void **from, void *to);
asm(R"(
.text
.globl emulated_switch
.type emulated_switch,@function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulated_switch,.-emulated_switch
)");
static void change(context *from, context *to) { emulated_switch(&from->sp, to->sp); }
static void prepare(context *c, char *stack, void (*entry)()) {
    void **top = (void **)(stack + STACK - 64);
    *--top = nullptr; /* keeps the stack aligned as after a call */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    c->sp = top;
}
#else
static void change(context *from, context *to) { swapcontext(&from->u, &to->u); }
static void prepare(context *c, char *stack, void (*entry)()) {
    getcontext(&c->u);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = STACK;
    c->u.uc_link = nullptr;
    makecontext(&c->u, entry, 0);
}
#endif

enum fiber_state { FRESH, BEGUN };

struct fiber : emulated_fiber {
    context at;
    fiber_state state;
    char *stack;
};
struct warp {
    int lanes, live, arrived;
    unsigned ready; /* lanes that can run: a bit each */
    uint64_t brought[2][WARP];
    struct {
        float *c;
        const float *a, *b;
    } product[WARP];
};

emulated_fiber *emulated_self;
dim3 emulated_block, emulated_block_size, emulated_grid;

static fiber fibers[MAX_THREADS];
static warp warps[MAX_THREADS / WARP];
static int thread_count, warp_count, live, at_barrier, any_or[2], or_round;
static int warp_order[MAX_THREADS / WARP], lane_first;
static context outside;
static const std::function<void()> *body;
static uint64_t random_state = 1;

static uint64_t draw() {
    uint64_t x = random_state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
void emulated_seed(uint64_t seed) { random_state = seed; }

static void new_order() {
    for (int i = 0; i < warp_count; i++) warp_order[i] = i;
    for (int i = warp_count - 1; i > 0; i--) std::swap(warp_order[i], warp_order[draw() % (uint64_t)(i + 1)]);
    lane_first = (int)(draw() % WARP);
}

static unsigned all_lanes(const warp *w) { return w->lanes == WARP ? ~0u : (1u << w->lanes) - 1; }
static void nobody_waits(warp *w) { w->ready = all_lanes(w); }

/* Another fiber that can run: of the same warp if there is one. */
static fiber *next_ready(int first_warp) {
    for (int w = -1; w < warp_count; w++) {
        int of = w < 0 ? first_warp : warp_order[w];
        if (of < 0 || !warps[of].ready) continue;
        unsigned from = warps[of].ready >> lane_first;
        int lane = from ? lane_first + __builtin_ctz(from) : __builtin_ctz(warps[of].ready);
        return &fibers[of * WARP + lane];
    }
    return nullptr;
}
static void waits(fiber *f) { warps[f->warp].ready &= ~(1u << f->lane); }

static void entry();

/* A thread that has not begun gets a stack when it is its turn. */
static fiber *begun(fiber *f) {
    if (f->state == BEGUN) return f;
    if (!f->stack && !(f->stack = (char *)aligned_alloc(64, STACK))) stop("memory");
    prepare(&f->at, f->stack, entry);
    f->state = BEGUN;
    return f;
}

static void leave() {
    fiber *me = (fiber *)emulated_self, *f = next_ready((int)me->warp);
    if (!f) {
        if (live == 0) {
            emulated_self = nullptr;
            change(&me->at, &outside);
            return;
        }
        stop("threads wait for others that ended or went another way: a barrier or warp operation that not all reach");
    }
    emulated_self = begun(f);
    change(&me->at, &f->at);
    emulated_self = me;
}

/* Threads that end without ever waiting follow one another on one stack. */
static void entry() {
    for (;;) {
        (*body)();
        fiber *me = (fiber *)emulated_self;
        waits(me);
        live--;
        warp *w = &warps[me->warp];
        w->live--;
        if (w->arrived || at_barrier) stop("a thread ended while others wait at a barrier");
        fiber *f = next_ready((int)me->warp);
        if (!f || f->state != FRESH) break;
        std::swap(f->stack, me->stack);
        f->state = BEGUN;
        emulated_self = f;
    }
    leave();
    stop("a thread that ended went on");
}

static bool warp_arrives() { /* true: the last one; everybody goes on */
    fiber *me = (fiber *)emulated_self;
    warp *w = &warps[me->warp];
    if (w->live != w->lanes) stop("a warp operation after lanes of the warp have ended");
    if (++w->arrived < w->lanes) return false;
    w->arrived = 0;
    nobody_waits(w);
    return true;
}
static void warp_meets() {
    if (warp_arrives()) return;
    waits((fiber *)emulated_self);
    leave();
}

void emulated_syncwarp(void) { warp_meets(); }

uint64_t emulated_exchange(uint64_t value, int from) {
    warp *w = &warps[emulated_self->warp];
    uint64_t *brought = w->brought[emulated_self->operations++ & 1];
    brought[emulated_self->lane] = value;
    warp_meets();
    if (from >= w->lanes) stop("a shuffle reads a lane that does not exist");
    return brought[from];
}

unsigned emulated_ballot(int value) {
    warp *w = &warps[emulated_self->warp];
    uint64_t *brought = w->brought[emulated_self->operations++ & 1];
    unsigned bits = 0;
    brought[emulated_self->lane] = value != 0;
    warp_meets();
    for (int i = 0; i < w->lanes; i++) bits |= (unsigned)brought[i] << i;
    return bits;
}

static float to_tf32(float x) { /* 10 bits of mantissa, to nearest, ties away */
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;
    return __uint_as_float((bits + 0x1000u) & 0xffffe000u);
}

/* The layout of fragments that the PTX manual gives for mma.m16n8k8 of tf32: g = lane / 4, t = lane % 4. */
void emulated_mma(float *c, const float *a, const float *b) {
    warp *w = &warps[emulated_self->warp];
    w->product[emulated_self->lane] = {c, a, b};
    if (warp_arrives()) {
        float A[16][8], B[8][8];
        if (w->lanes != WARP) stop("a matrix product needs whole warps");
        for (int l = 0; l < WARP; l++) {
            int g = l / 4, t = l % 4;
            const float *x = w->product[l].a, *y = w->product[l].b;
            A[g][t] = to_tf32(x[0]), A[g + 8][t] = to_tf32(x[1]), A[g][t + 4] = to_tf32(x[2]), A[g + 8][t + 4] = to_tf32(x[3]);
            B[t][g] = to_tf32(y[0]), B[t + 4][g] = to_tf32(y[1]);
        }
        for (int l = 0; l < WARP; l++) {
            int g = l / 4, t = l % 4;
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 8; k++) w->product[l].c[i] += A[g + i / 2 * 8][k] * B[k][2 * t + i % 2];
        }
        return;
    }
    waits((fiber *)emulated_self);
    leave();
}

int emulated_syncthreads_or(int value) {
    int round = or_round;
    any_or[round] |= value != 0;
    if (live != thread_count) stop("a barrier after threads of the block have ended");
    if (++at_barrier == thread_count) {
        at_barrier = 0;
        for (int i = 0; i < warp_count; i++) nobody_waits(&warps[i]);
        new_order();
        or_round = !round;
        any_or[or_round] = 0;
        return any_or[round]; /* the last one goes on first; whoever is drawn next follows */
    }
    waits((fiber *)emulated_self);
    leave();
    return any_or[round];
}
void emulated_syncthreads(void) { emulated_syncthreads_or(0); }

/* ---- shared memory ---- */

extern "C" char __start_emulated_shared[] __attribute__((weak)), __stop_emulated_shared[] __attribute__((weak));
static char *dynamic_shared;
static int shared_limit = SHARED_MOST;

void emulated_shared_limit(int bytes) { shared_limit = bytes ? bytes : SHARED_MOST; }
void *emulated_dynamic_shared(void) { return dynamic_shared; }

/* ---- device memory ---- */

static char *region;
static const size_t REGION = (size_t)8 << 30;
static std::vector<std::pair<size_t, size_t>> blocks; /* offset, bytes; sorted */
static const size_t POISON_MOST = (size_t)16 << 20;   /* larger blocks stay as the system gives them, untouched */
static size_t high;                                   /* pages below were used */
static int key = -1;                                  /* a protection key, where the processor has them: much quicker */

static void set_access(bool open) {
    if (key >= 0)
        pkey_set(key, open ? 0 : PKEY_DISABLE_ACCESS);
    else if (high && mprotect(region, high, open ? PROT_READ | PROT_WRITE : PROT_NONE))
        stop("mprotect");
}

/* While anything of the device runs, its memory is open. */
struct open_memory {
    static int depth;
    open_memory() {
        if (depth++ == 0) set_access(true);
    }
    ~open_memory() {
        if (--depth == 0) set_access(false);
    }
};
int open_memory::depth;

struct emulated_graph {
    std::vector<std::function<void()>> work;
};
static emulated_graph *capture;
/* Of what a graph may not have: its calls are not run now, so it cannot give memory, take it back or wait. */
static void not_captured(const char *what) {
    if (capture) stop(what);
}
static std::vector<std::pair<char *, size_t>> pinned;
static bool is_pinned(const void *p, size_t bytes) {
    for (auto &x : pinned)
        if ((char *)p >= x.first && (char *)p + bytes <= x.first + x.second) return true;
    return false;
}

cudaError_t cudaMalloc(void **p, size_t bytes) {
    const size_t align = 4096;
    not_captured("memory is taken while a graph is captured");
    if (!region) {
        region = (char *)mmap(nullptr, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (region == MAP_FAILED) stop("mmap");
        key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
        if (key >= 0 && pkey_mprotect(region, REGION, PROT_READ | PROT_WRITE, key)) stop("pkey_mprotect");
    }
    bytes = (bytes + align - 1) / align * align + align; /* a page nobody owns behind each block */
    size_t at = 0, i = 0;
    while (i < blocks.size() && blocks[i].first - at < bytes) at = blocks[i].first + blocks[i].second, i++;
    if (at + bytes > REGION) return cudaErrorMemoryAllocation;
    blocks.insert(blocks.begin() + (long)i, {at, bytes});
    if (at + bytes > high) high = at + bytes;
    open_memory open;
    if (bytes <= POISON_MOST) memset(region + at, 0xff, bytes);
    *p = region + at;
    return cudaSuccess;
}
cudaError_t cudaFree(void *p) {
    not_captured("memory is given back while a graph is captured");
    for (size_t i = 0; i < blocks.size(); i++)
        if (region + blocks[i].first == (char *)p) {
            if (blocks[i].second > POISON_MOST) madvise(p, blocks[i].second, MADV_DONTNEED);
            blocks.erase(blocks.begin() + (long)i);
            high = blocks.empty() ? 0 : blocks.back().first + blocks.back().second;
            return cudaSuccess;
        }
    return p ? cudaErrorInvalidValue : cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    not_captured("pinned memory is taken while a graph is captured");
    *p = malloc(bytes);
    if (*p) pinned.push_back({(char *)*p, bytes});
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void *p) {
    not_captured("pinned memory is given back while a graph is captured");
    for (size_t i = 0; i < pinned.size(); i++)
        if (pinned[i].first == p) pinned.erase(pinned.begin() + (long)i--);
    free(p);
    return cudaSuccess;
}

/* ---- stream and graphs ---- */

static int64_t launches, replayed;
static bool replaying;

int64_t emulated_launches(void) { return launches; }
int64_t emulated_replayed(void) { return replayed; }

void emulated_enqueue(std::function<void()> work) {
    if (capture)
        capture->work.push_back(std::move(work));
    else {
        open_memory open;
        work();
    }
}

void emulated_run(const std::function<void()> &thread, dim3 grid, dim3 block, size_t shared) {
    thread_count = (int)(block.x * block.y * block.z);
    warp_count = (thread_count + WARP - 1) / WARP;
    if (thread_count < 1 || thread_count > MAX_THREADS) stop("threads a block");
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535) stop("size of the grid");
    if (shared > (size_t)shared_limit) stop("more shared memory than the device has");
    if (!dynamic_shared && !(dynamic_shared = (char *)aligned_alloc(64, SHARED_MOST + 64))) stop("memory");
    launches++;
    replayed += replaying;
    body = &thread;
    emulated_grid = grid;
    emulated_block_size = block;
    uint64_t count = (uint64_t)grid.x * grid.y * grid.z, first = draw() % count; /* blocks in no particular order */
    for (uint64_t n = 0; n < count; n++) {
        uint64_t b = (n + first) % count;
        emulated_block = dim3((unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y));
        memset(dynamic_shared, 0xff, shared);
        if (__start_emulated_shared)
            memset(__start_emulated_shared, 0xff, (size_t)(__stop_emulated_shared - __start_emulated_shared));
        live = thread_count;
        at_barrier = any_or[0] = any_or[1] = or_round = 0;
        for (int i = 0; i < thread_count; i++) {
            fiber *f = &fibers[i];
            unsigned u = (unsigned)i;
            f->thread = {u % block.x, u / block.x % block.y, u / block.x / block.y};
            f->index = u, f->lane = u % WARP, f->warp = u / WARP, f->operations = 0;
            f->state = FRESH;
        }
        for (int w = 0; w < warp_count; w++)
            warps[w].lanes = warps[w].live = std::min((int)WARP, thread_count - w * WARP), warps[w].arrived = 0,
            nobody_waits(&warps[w]);
        new_order();
        fiber *f = next_ready(-1);
        emulated_self = begun(f);
        change(&outside, &f->at);
    }
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    const void *host = kind == cudaMemcpyHostToDevice ? src : kind == cudaMemcpyDeviceToHost ? dst : nullptr;
    if (capture && host && !is_pinned(host, bytes)) stop("a graph copies from or to memory that is not pinned");
    emulated_enqueue([=] { memmove(dst, src, bytes); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t) {
    emulated_enqueue([=] { memset(dst, value, bytes); });
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
    *s = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    not_captured("a wait while a graph is captured");
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, int) {
    if (capture) stop("two captures at once");
    capture = new emulated_graph;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *g) {
    *g = capture;
    capture = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long) {
    *e = new emulated_graph(*g);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t) {
    open_memory open;
    replaying = true;
    for (auto &work : e->work) work();
    replaying = false;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
    delete e;
    return cudaSuccess;
}

/* ---- what the device says of itself ---- */

const char *cudaGetErrorString(cudaError_t e) { return e == cudaErrorMemoryAllocation ? "out of memory" : "error"; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int *n) {
    *n = getenv("EMULATED_NO_DEVICE") ? 0 : 1;
    return *n ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulated device");
    p->totalGlobalMem = REGION;
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *v, int which, int) {
    *v = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? shared_limit : 0;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v) { return *v = 0, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *v) { return *v = 0, cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *there, size_t *all) {
    *there = *all = REGION;
    return cudaSuccess;
}

/* ---- cuBLAS: column-major, plain loops ---- */

static cublasStatus_t blas_create(cublasHandle_t *h) { return *h = nullptr, CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t blas_set_stream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t blas_set_workspace(cublasHandle_t, void *, size_t) { return CUBLAS_STATUS_SUCCESS; }
static cublasStatus_t blas_version(cublasHandle_t, int *v) { return *v = 0, CUBLAS_STATUS_SUCCESS; }

static float to_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;
    return __uint_as_float((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
}

static cublasStatus_t blas_gemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
                                const void *a, cudaDataType, int lda, long long sa, const void *b, cudaDataType, int ldb,
                                long long sb, const void *beta, void *c, cudaDataType, int ldc, long long sc, int batch,
                                cublasComputeType_t type, cublasGemmAlgo_t) {
    auto least = [](int x) { return x < 1 ? 1 : x; };
    if (m < 0 || n < 0 || k < 0 || lda < least(ta ? k : m) || ldb < least(tb ? n : k) || ldc < least(m))
        return CUBLAS_STATUS_INVALID_VALUE;
    float x = *(const float *)alpha, y = *(const float *)beta;
    emulated_enqueue([=] {
        auto narrow = [=](float v) {
            return type == CUBLAS_COMPUTE_32F_FAST_TF32 ? to_tf32(v) : type == CUBLAS_COMPUTE_32F_FAST_16BF ? to_bf16(v) : v;
        };
        std::vector<float> A((size_t)m * (size_t)k), B((size_t)n * (size_t)k);
        for (int i = 0; i < batch; i++) {
            const float *pa = (const float *)a + i * sa, *pb = (const float *)b + i * sb;
            float *pc = (float *)c + i * sc;
            for (int r = 0; r < m; r++)
                for (int l = 0; l < k; l++) A[(size_t)r * k + l] = narrow(ta ? pa[(size_t)r * lda + l] : pa[(size_t)l * lda + r]);
            for (int j = 0; j < n; j++)
                for (int l = 0; l < k; l++) B[(size_t)j * k + l] = narrow(tb ? pb[(size_t)l * ldb + j] : pb[(size_t)j * ldb + l]);
            for (int j = 0; j < n; j++)
                for (int r = 0; r < m; r++) {
                    float lanes[8] = {0}, sum = 0;
                    const float *u = A.data() + (size_t)r * k, *w = B.data() + (size_t)j * k;
                    int l = 0;
                    for (; l + 8 <= k; l += 8)
                        for (int q = 0; q < 8; q++) lanes[q] += u[l + q] * w[l + q];
                    for (; l < k; l++) sum += u[l] * w[l];
                    for (int q = 0; q < 8; q++) sum += lanes[q];
                    float *to = pc + (size_t)j * ldc + r;
                    *to = x * sum + (y != 0 ? y * *to : 0);
                }
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}

void *emulated_symbol(const char *name) {
    std::string s = name;
    if (s == "cublasCreate_v2") return (void *)blas_create;
    if (s == "cublasSetStream_v2") return (void *)blas_set_stream;
    if (s == "cublasSetWorkspace_v2") return (void *)blas_set_workspace;
    if (s == "cublasGetVersion_v2") return (void *)blas_version;
    if (s == "cublasGemmStridedBatchedEx") return (void *)blas_gemm;
    return nullptr;
}

/* ---- the emulation looks at itself ---- */

int emulated_exchange_errors(int barrier) {
    int wrong = 0;
    emulated_run(
        [&] {
            float *x = (float *)emulated_dynamic_shared();
            int self = (int)threadIdx.x, other = 255 - self;
            x[self] = (float)self;
            if (barrier) __syncthreads();
            if (!(x[other] == (float)other)) wrong++;
        },
        dim3(8), dim3(256), 256 * sizeof(float));
    return wrong;
}
