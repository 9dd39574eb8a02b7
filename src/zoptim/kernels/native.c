/* Native kernels of zoptim: form points from draws, round stochastically.

   What it is: a plain C library (no Python, no torch), loaded by native.py through ctypes.  For
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
#undef ISA
#undef TARGET

#if ZO_X86
#include "native_avx2.h"
#define ISA avx2
#define TARGET AVX2
#include "native_body.h"
#undef ISA
#undef TARGET

#include "native_avx512.h"
#define ISA avx512
#define TARGET AVX512
#include "native_body.h"
#undef ISA
#undef TARGET
#elif ZO_ARM
#include "native_neon.h"
#define ISA neon
#define TARGET
#include "native_body.h"
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
#elif ZO_ARM
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

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
