/* Native kernels of zoptim: form points from draws, round stochastically.

   What it is: a plain C library (no torch; Python in native_quick.h alone), loaded by native.py through ctypes.  For
   each of m points p, over all elements of the rows asked for,

       acc = 0;  for k in order, coefs[p,k] != 0:  acc = rnd(acc + rnd(A(c_pk) * z_k))
       out_p = round_to_dtype(rnd(base + rnd(A(scale) * acc)))

   in A = double for double and float otherwise; z_k comes from Philox4x32-10 as docs/noise.md says.
   Noise is made once a chunk, in cache, and used for all points.

   What it is not: allowed to contract, reorder or approximate.  Every edition (scalar, AVX2,
   AVX-512, NEON, any number of threads) gives the same bits: compile with -ffp-contract=off. */

#include "native.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "native_scalar.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* The 16 random bits r are added below the cut: P(up) = the fraction that is cut off, exactly, but
   for float16 subnormals, where it is truncated to 16 bits.  A finite value stays finite. */
static inline uint16_t stochastic_bf16(uint32_t u, uint32_t r) {
    uint32_t a = u & 0x7FFFFFFFu, h = (a + r) >> 16;
    if (h > 0x7F7Fu) h = 0x7F7Fu;
    if (a >= 0x7F800000u) h = a > 0x7F800000u ? (a >> 16) | 0x40u : 0x7F80u;
    return (uint16_t)((u >> 16 & 0x8000u) | h);
}

static inline uint16_t stochastic_f16(uint32_t u, uint32_t r) {
    uint32_t a = u & 0x7FFFFFFFu, e = a >> 23, m = (a & 0x7FFFFFu) | 0x800000u;
    uint32_t normal = (a - (112u << 23) + (r >> 3)) >> 13;
    uint32_t shift = e < 85 ? 31 : 126 - (e < 112 ? e : 112); /* value = m * 2**-shift units of 2**-24 */
    uint32_t fixed = ((m << 2) >> (shift - 14)) & (e < 85 ? 0 : ~0u); /* in units of 2**-40 */
    uint32_t h = e >= 113 ? normal : (fixed + r) >> 16;
    if (h > 0x7BFFu) h = 0x7BFFu;
    if (a >= 0x7F800000u) h = a > 0x7F800000u ? 0x7E00u : 0x7C00u;
    return (uint16_t)((u >> 16 & 0x8000u) | h);
}

#define ISA scalar
#define TARGET
#include "native_body.h"
#include "native_outer.h"
#undef ISA
#undef TARGET

#if ZO_X86
#include "native_avx2.h"
#define ISA avx2
#define TARGET AVX2
#include "native_body.h"
#include "native_outer.h"
#undef TARGET
#define TARGET __attribute__((target("avx2,f16c,fma")))
#define TILE 6
#define VEC __m256
#define ZERO _mm256_setzero_ps
#define LOAD _mm256_loadu_ps
#define SET1 _mm256_set1_ps
#define STORE _mm256_storeu_ps
#define FMA _mm256_fmadd_ps
#include "native_product.h"
#undef ISA
#undef TARGET

#include "native_avx512.h"
#define ISA avx512
#define TARGET AVX512
#include "native_body.h"
#include "native_outer.h"
#define TILE 12
#define VEC __m512
#define ZERO _mm512_setzero_ps
#define LOAD _mm512_loadu_ps
#define SET1 _mm512_set1_ps
#define STORE _mm512_storeu_ps
#define FMA _mm512_fmadd_ps
#include "native_product.h"
#undef ISA
#undef TARGET
#elif ZO_ARM
#include "native_neon.h"
#define ISA neon
#define TARGET
#include "native_body.h"
#include "native_outer.h"
#undef ISA
#undef TARGET
#endif

#if defined(_WIN32)
#define ZO_EXPORT __declspec(dllexport)
#else
#define ZO_EXPORT __attribute__((visibility("default")))
#endif

typedef void (*units_fn)(const zo_form *, const zo_keys *, const zo_work *, int64_t, int64_t, int64_t);
typedef void (*round_fn)(uint16_t *, const float *, int64_t, int64_t, int64_t, int64_t, int64_t,
                         const zo_keys *);

/* The best edition this machine runs: 0 scalar, 1 AVX2 (on ARM: NEON), 2 AVX-512. */
ZO_EXPORT int64_t zoptim_isa(void) {
#if ZO_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c")) return ZO_SCALAR;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return ZO_AVX512;
    return ZO_AVX2;
#elif ZO_ARM
    return ZO_NEON;
#else
    return ZO_SCALAR;
#endif
}

/* Raised whenever a struct or a signature changes: a library left over from before is refused. */
ZO_EXPORT int64_t zoptim_abi(void) { return 2; }

ZO_EXPORT int64_t zoptim_openmp(void) {
#if defined(_OPENMP)
    return 1;
#else
    return 0;
#endif
}

/* Flushing of subnormals or another rounding mode, if a caller switched it on, would change bits. */
static inline uint64_t fp_enter(void) {
    uint64_t old = 0;
#if ZO_X86
    old = _mm_getcsr();
    _mm_setcsr(0x1F80);
#elif ZO_ARM
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
    return old;
}

static inline void fp_leave(uint64_t old) {
#if ZO_X86
    _mm_setcsr((unsigned)old);
    _mm_sfence(); /* what was written past the caches is seen by whoever comes next */
#elif ZO_ARM
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}

/* Lays one thread's scratch out in a single block; returns its size. */
static size_t plan(const zo_form *a, zo_work *w, unsigned char *block) {
    const int signs = a->law == ZO_SIGNS;
    w->chunk = signs ? ZO_CHUNK_SIGNS : ZO_CHUNK_NORMAL;
    w->group = signs ? ZO_GROUP_SIGNS : ZO_GROUP_NORMAL;
    const int64_t n = min64(w->chunk, (a->cols + 127) / 128 * 128) + 128; /* elements, padded */
    w->noise_stride = signs ? n / 8 + 64 : 4 * (n + 8 * ZO_PAD_BLOCKS);
    w->acc_stride = n * (a->dtype == ZO_F64 ? 8 : 4);
    const int64_t words = signs ? 16 * (n / 128 + 1 + ZO_PAD_BLOCKS) : 0;
    const int64_t noise = w->noise_stride * min64(a->k, w->group);
    const int64_t acc = w->acc_stride * (a->k <= w->group ? 1 : min64(a->m, ZO_PANEL));
    w->words = (uint32_t *)block;
    w->noise = block + words;
    w->acc = w->noise + noise;
    return (size_t)(words + noise + acc);
}

/* Draws are pairs (t, i); coefs is (m, k), or one number a draw of the steps.  Separate arguments,
   because the caller hands over Python bytes whose address only ctypes knows.
   Returns 0, or 1 when there is no memory for the scratch (then out is undefined). */
ZO_EXPORT int64_t zoptim_form(const zo_form *args, const uint32_t *draws, const double *coefs,
                              const zo_step *steps) {
    zo_form copy = *args, *const a = &copy;
    a->steps = (uint64_t)(uintptr_t)steps;
    for (int64_t s = 0; s < a->count; s++) a->k = steps[s].k > a->k ? steps[s].k : a->k;
    a->draws = (uint64_t)(uintptr_t)draws;
    a->coefs = (uint64_t)(uintptr_t)coefs;
    static const units_fn editions[] = {
        units_scalar,
#if ZO_X86
        units_avx2, units_avx512,
#elif ZO_ARM
        units_neon,
#endif
    };
    const units_fn units = editions[a->isa];
    const int64_t total = a->nrows * a->cols, work = total * (a->m + a->k) * (a->count ? a->count : 1);
    if (total <= 0 || a->m <= 0) return 0;
    zo_work shape;
    const size_t size = plan(a, &shape, NULL);
    const int64_t pieces = (a->cols + shape.chunk - 1) / shape.chunk + 1, all = a->nrows * pieces;
    zo_keys rk;
    zo_schedule(&rk, a->key);
#if defined(_OPENMP)
    const int64_t threads = work < 65536 ? 1 : min64(a->threads, all);
#else
    const int64_t threads = 1;
    (void)work;
#endif
    int failed = 0;
    if (threads <= 1) {
        unsigned char *block = malloc(size + 64);
        if (!block) return 1;
        const uint64_t old = fp_enter();
        plan(a, &shape, (unsigned char *)(((uintptr_t)block + 63) & ~(uintptr_t)63));
        units(a, &rk, &shape, pieces, 0, all);
        fp_leave(old);
        free(block);
        return 0;
    }
#if defined(_OPENMP)
    /* A scratch in cache is divided in the same way at every call, so that its parts stay with their
       cores; a sweep of memory is divided as threads come, because a core may be busy elsewhere. */
    const int cached = a->m * total * (a->dtype == ZO_F64 ? 8 : 4) <= ZO_CACHED;
    const int64_t grain = min64(64, (all + 4 * threads - 1) / (4 * threads));
#pragma omp parallel num_threads((int)threads)
    {
        unsigned char *block = malloc(size + 64);
        zo_work w;
        const uint64_t old = fp_enter();
        if (block)
            plan(a, &w, (unsigned char *)(((uintptr_t)block + 63) & ~(uintptr_t)63));
        else
#pragma omp atomic write
            failed = 1;
        if (cached) {
            const int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
            if (block) units(a, &rk, &w, pieces, all * me / team, all * (me + 1) / team);
        } else {
#pragma omp for schedule(dynamic) nowait
            for (int64_t u = 0; u < all; u += grain)
                if (block) units(a, &rk, &w, pieces, u, min64(all, u + grain));
        }
        fp_leave(old);
        free(block);
    }
#endif
    return failed;
}

ZO_EXPORT int64_t zoptim_round(const zo_round *a) {
    static const round_fn editions[] = {
        stochastic_scalar,
#if ZO_X86
        stochastic_avx2, stochastic_avx512,
#elif ZO_ARM
        stochastic_neon,
#endif
    };
    const round_fn some = editions[a->isa];
    const int64_t end = a->offset + a->n, c0 = a->offset / ZO_ROUND;
    const int64_t c1 = (end + ZO_ROUND - 1) / ZO_ROUND;
    const float *src = (const float *)(uintptr_t)a->src;
    uint16_t *out = (uint16_t *)(uintptr_t)a->out;
    zo_keys rk;
    zo_schedule(&rk, a->key);
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads((int)a->threads) if (a->threads > 1 && a->n > 65536)
#endif
    for (int64_t c = c0; c < c1; c++) {
        int64_t e = c * ZO_ROUND, stop = min64(e + ZO_ROUND, end);
        if (e < a->offset) e = a->offset;
        some(out + (e - a->offset), src + (e - a->offset), stop - e, a->dtype, e, a->slot, a->t, &rk);
    }
    return 0;
}

#if ZO_X86
/* Bytes of weights a thread forms before it multiplies: they stay in its level-2 cache. */
enum { FORMED = 384 << 10 };

/* Rows of W that a thread forms at a time: whole tiles, enough of them that threads end together. */
static int64_t block_rows(const zo_gemm *g, const zo_form *f, int64_t threads) {
    const int64_t points = f->m ? f->m : 1, fit = FORMED / (points * f->cols * 4);
    int64_t rows = min64(min64(fit, 96), (f->nrows + 4 * threads - 1) / (4 * threads));
    rows = rows / g->tile * g->tile;
    return rows < g->tile ? g->tile : rows;
}
#endif

/* A few tokens do not fill a vector of sixteen. */
static const zo_gemm *gemm_of(int64_t isa, int64_t tokens) {
#if ZO_X86
    if (isa == ZO_SCALAR || !__builtin_cpu_supports("fma")) return NULL;
    return isa == ZO_AVX512 && tokens > 8 ? &gemm_avx512 : &gemm_avx2;
#else
    (void)isa, (void)tokens;
    return NULL;
#endif
}

/* Floats of scratch that x needs, or 0 where this edition has no product. */
ZO_EXPORT int64_t zoptim_packed(int64_t isa, int64_t points, int64_t tokens, int64_t cols) {
    const zo_gemm *g = gemm_of(isa, tokens);
    return g ? points * ((tokens + g->width - 1) / g->width) * g->width * cols : 0;
}

/* y_p = x_p W_p^T with W_p = rows of the slot at point p, as `zoptim_form` would form them (float32).
   Weights are formed a few rows at a time in cache and used at once; a point without a term reads W.
   Returns 0, 1 without memory, 2 where this edition has no product. */
ZO_EXPORT int64_t zoptim_product(const zo_form *args, const uint32_t *draws, const double *coefs,
                                 const zo_product *product) {
    const zo_gemm *g = gemm_of(args->isa, product->tokens);
    if (!g) return 2;
#if ZO_X86
    zo_form form = *args;
    zo_product a = *product;
    const int64_t k = form.k;
    double *kept = malloc((size_t)a.points * ((size_t)k * sizeof(double) + 1) + 8);
    if (!kept) return 1;
    a.moved = (unsigned char *)(kept + a.points * k);
    form.m = 0;
    for (int64_t p = 0; p < a.points; p++) {
        a.moved[p] = 0;
        for (int64_t j = 0; j < k; j++) a.moved[p] |= coefs[p * k + j] != 0.0;
        if (a.moved[p]) memcpy(kept + form.m++ * k, coefs + p * k, (size_t)k * sizeof(double));
    }
    form.draws = (uint64_t)(uintptr_t)draws;
    form.coefs = (uint64_t)(uintptr_t)kept;
    const int64_t rows = block_rows(g, &form, form.threads), blocks = (form.nrows + rows - 1) / rows;
    const int64_t panels = a.points * ((a.tokens + g->width - 1) / g->width);
    zo_form whole = form; /* the shape of a block, for the plan of its scratch */
    whole.cols *= rows;
    zo_work shape;
    const size_t noise = (plan(&whole, &shape, NULL) + 63) / 64 * 64;
    const size_t formed = (size_t)((form.m + 1) * rows + g->tile) * (size_t)form.cols * sizeof(float);
    const size_t tiles = (size_t)(rows + g->tile) * (size_t)g->width * sizeof(float);
    zo_keys rk;
    zo_schedule(&rk, form.key);
    int failed = 0;
#if defined(_OPENMP)
#pragma omp parallel num_threads((int)form.threads) if (form.threads > 1)
#endif
    {
        unsigned char *scratch = malloc(noise + formed + tiles + 64);
        unsigned char *at = (unsigned char *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
        zo_work work;
        const uint64_t old = fp_enter();
        if (scratch)
            plan(&whole, &work, at);
        else
#if defined(_OPENMP)
#pragma omp atomic write
#endif
            failed = 1;
#if defined(_OPENMP)
#pragma omp for schedule(static)
#endif
        for (int64_t u = 0; u < panels; u++) g->pack(&a, form.cols, u);
#if defined(_OPENMP)
#pragma omp for schedule(dynamic) nowait
#endif
        for (int64_t b = 0; b < blocks; b++)
            if (scratch)
                g->block(&a, &form, &rk, &work, (float *)(at + noise), (float *)(at + noise + formed),
                         b * rows, min64(form.nrows, b * rows + rows));
        fp_leave(old);
        free(scratch);
    }
    free(kept);
    return failed;
#else
    return 2;
#endif
}

/* Low-rank sums: out = base + scale * u vt, row by row; see native_outer.h. */
ZO_EXPORT int64_t zoptim_outer(const zo_outer *a) {
    typedef void (*outer_fn)(const zo_outer *, int64_t, int64_t);
    static const outer_fn editions[] = {
        outer_scalar,
#if ZO_X86
        outer_avx2, outer_avx512,
#elif ZO_ARM
        outer_neon,
#endif
    };
    const outer_fn rows = editions[a->isa];
    const int64_t work = a->m * a->nrows * a->cols;
    int64_t parts = work < 65536 ? 1 : min64(4 * a->threads, a->nrows);
    if (a->threads <= 1 || parts < 1) parts = 1;
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic) num_threads((int)a->threads) if (parts > 1)
#endif
    for (int64_t i = 0; i < parts; i++) {
        const uint64_t old = fp_enter();
        rows(a, a->nrows * i / parts, a->nrows * (i + 1) / parts);
        fp_leave(old);
    }
    return 0;
}

#if defined(ZO_PYTHON)
#include "native_quick.h"
#endif
