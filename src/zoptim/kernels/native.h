/* Shapes shared by the native kernels.  See native.c. */
#ifndef ZOPTIM_NATIVE_H
#define ZOPTIM_NATIVE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the native kernels read the stream as little-endian words; use the reference kernels"
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define ZO_X86 1
#include <immintrin.h>
#else
#define ZO_X86 0
#endif

#if defined(__aarch64__) && defined(__GNUC__)
#define ZO_ARM 1
#else
#define ZO_ARM 0
#endif

#if defined(__clang__)
#define ZO_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ZO_LOOP _Pragma("GCC ivdep") /* out may be base itself, never a shifted view of it */
#else
#define ZO_LOOP
#endif

#if defined(__GNUC__)
#define ZO_INLINE static inline __attribute__((always_inline))
#define ZO_UNROLL _Pragma("GCC unroll 10")
#else
#define ZO_INLINE static inline
#define ZO_UNROLL
#endif

enum { ZO_F32, ZO_F64, ZO_BF16, ZO_F16 };
enum { ZO_SIGNS, ZO_NORMAL };
enum { ZO_SCALAR, ZO_AVX2, ZO_AVX512, ZO_NEON = 1 }; /* on ARM the second edition is NEON */

#define ZO_CHUNK_SIGNS 4096  /* elements formed at a time; multiples of 128 */
#define ZO_CHUNK_NORMAL 2048
#define ZO_STREAM (12 << 20) /* bytes of fresh float64 points that are written past the caches */
#define ZO_TILE 512 /* float64 sums of signs held at a time: 4 kB of a level-1 cache; divides the chunks */
#define ZO_GROUP_SIGNS 32 /* draws whose noise is held at a time */
#define ZO_GROUP_NORMAL 8
#define ZO_PANEL 16     /* points whose sums are held at a time when draws need several groups */
#define ZO_CACHED (16 << 20) /* bytes of out that are taken for a scratch, not for a memory sweep */
#define ZO_ROUND 512    /* elements rounded stochastically at a time */
#define ZO_PAD_BLOCKS 17 /* Philox lanes may write this many blocks past the last one asked for */

/* Every field is 8 bytes: native.py fills the whole struct with one struct.pack. */
typedef struct {
    uint64_t out, base, table, rows; /* addresses; base and rows may be 0 */
    uint64_t units;                  /* float32 factors of the sums, shaped as base, or 0 */
    uint64_t draws, coefs, steps;    /* zoptim_form fills these in */
    uint64_t key;
    int64_t slot, offset, nrows, cols, m, k, count, dtype, law, isa, threads;
    int64_t t; /* step whose stream rounds half precision stochastically; -1: to nearest */
    double scale;
} zo_form;

/* One of `count` updates that follow one another in place (m = 1): draws first .. first + k - 1. */
typedef struct {
    int64_t first, k, t;
    double scale;
} zo_step;

typedef struct {
    uint64_t out, src, key;
    int64_t slot, offset, n, t, dtype, isa, threads;
} zo_round;

typedef struct { /* y (points, tokens, ld) = x (points, tokens, cols) times rows of W at each point */
    uint64_t x, y, packed; /* packed: scratch for x, `zoptim_packed` floats */
    int64_t tokens, ld, points;
    unsigned char *moved; /* (points,) whether the point is perturbed; set by the library */
} zo_product;

#define ZO_OUTER_TILE 1024 /* columns summed at a time: 8 kB of doubles */

typedef struct { /* u: (m, nrows, rank), vt: (rank, cols), both in the accumulator's type */
    uint64_t out, base, u, vt;
    int64_t m, nrows, cols, rank, dtype, isa, threads;
    double scale;
} zo_outer;

typedef struct { /* one thread's scratch */
    unsigned char *noise; /* sign bits (uint32) or normals (float) of a group of draws */
    unsigned char *acc;   /* sums, in the accumulator's type */
    uint32_t *words;      /* raw Philox output of one draw of signs */
    int64_t chunk, group, noise_stride, acc_stride;
} zo_work;

typedef struct { /* where a finished float sum goes: out = base + s * sum; base may be NULL */
    float *out;
    const float *base;
    float s;
} zo_end;

/* Copies n doubles past the caches, where they would only push out what is read again. */
static inline void zo_stream(double *out, const double *from, int64_t n) {
    int64_t j = 0;
#if ZO_X86
    if (((uintptr_t)out & 15) && n) out[j] = from[j], j++;
    for (; j + 2 <= n; j += 2) _mm_stream_pd(out + j, _mm_loadu_pd(from + j));
#endif
    for (; j < n; j++) out[j] = from[j];
}

typedef struct { /* Philox round keys */
    uint32_t a[10], b[10];
} zo_keys;

static inline void zo_schedule(zo_keys *rk, uint64_t key) {
    uint32_t a = (uint32_t)key, b = (uint32_t)(key >> 32);
    for (int r = 0; r < 10; r++, a += 0x9E3779B9u, b += 0xBB67AE85u) {
        rk->a[r] = a;
        rk->b[r] = b;
    }
}

typedef struct { /* an edition of the product */
    void (*pack)(const zo_product *, int64_t cols, int64_t panel);
    void (*block)(const zo_product *, const zo_form *, const zo_keys *, const zo_work *, float *formed,
                  float *tiles, int64_t r0, int64_t r1);
    int64_t tile, width; /* rows and tokens of a tile */
} zo_gemm;

#endif
