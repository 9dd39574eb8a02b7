/* Primitives for AVX2 + F16C.  Bit for bit those of native_scalar.h. */
#define AVX2 __attribute__((target("avx2,f16c")))

/* Eight normals, by single loads: faster than a gather on the machines that were measured. */
AVX2 ZO_INLINE void look_avx2(float *z, const uint16_t *index, const float *table) {
    for (int q = 0; q < 8; q += 4) {
        uint64_t h;
        memcpy(&h, index + q, 8);
        __m128 v = _mm_load_ss(table + (h & 0xFFFF));
        v = _mm_insert_ps(v, _mm_load_ss(table + (h >> 16 & 0xFFFF)), 0x10);
        v = _mm_insert_ps(v, _mm_load_ss(table + (h >> 32 & 0xFFFF)), 0x20);
        v = _mm_insert_ps(v, _mm_load_ss(table + (h >> 48)), 0x30);
        _mm_storeu_ps(z + q, v);
    }
}

/* Eight blocks.  Four counters a register, one in each 64-bit lane: the multiplier reads only the low
   halves, so what XOR leaves in the high halves does no harm and no shuffles are needed until the end.
   With `z`, eight normals of the blocks before are looked up in each of the first eight rounds: the
   loads of the one hide behind the multiplications of the other. */
AVX2 ZO_INLINE void blocks_avx2(uint32_t *dst, uint64_t block, uint32_t slot, uint32_t t, uint32_t pi,
                                const zo_keys *rk, float *z, const uint16_t *index, const float *table) {
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3), four = _mm256_set1_epi64x(4);
    __m256i x0[2], x1[2], x2[2], x3[2];
    x0[0] = _mm256_add_epi64(_mm256_set1_epi64x((long long)block), lane);
    x0[1] = _mm256_add_epi64(x0[0], four);
    for (int v = 0; v < 2; v++) {
        x1[v] = _mm256_set1_epi64x(slot);
        x2[v] = _mm256_set1_epi64x(t);
        x3[v] = _mm256_set1_epi64x(pi);
    }
    ZO_UNROLL for (int r = 0; r < 10; r++) {
        const __m256i ka = _mm256_set1_epi64x(rk->a[r]), kb = _mm256_set1_epi64x(rk->b[r]);
        for (int v = 0; v < 2; v++) {
            __m256i p0 = _mm256_mul_epu32(x0[v], m0), p1 = _mm256_mul_epu32(x2[v], m1);
            x0[v] = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(x1[v], ka));
            x2[v] = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(x3[v], kb));
            x1[v] = p1;
            x3[v] = p0;
        }
        if (z && r < 8) look_avx2(z + 8 * r, index + 8 * r, table);
    }
    for (int v = 0; v < 2; v++) {
        __m256i a = _mm256_blend_epi32(x0[v], _mm256_slli_epi64(x1[v], 32), 0xAA);
        __m256i c = _mm256_blend_epi32(x2[v], _mm256_slli_epi64(x3[v], 32), 0xAA);
        __m256i even = _mm256_unpacklo_epi64(a, c), odd = _mm256_unpackhi_epi64(a, c);
        _mm256_storeu_si256((__m256i *)(dst + 16 * v), _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256((__m256i *)(dst + 16 * v + 8), _mm256_permute2x128_si256(even, odd, 0x31));
    }
}

AVX2 static void philox_avx2(uint32_t *dst, uint64_t block, int64_t nb, uint32_t slot, uint32_t t,
                             uint32_t pi, const zo_keys *rk) {
    for (int64_t b = 0; b < nb; b += 8, dst += 32)
        blocks_avx2(dst, block + (uint64_t)b, slot, t, pi, rk, NULL, NULL, NULL);
}

AVX2 static void normals_avx2(float *z, uint64_t block, int64_t nb, uint32_t slot, uint32_t t,
                              uint32_t pi, const zo_keys *rk, const float *table) {
    uint32_t words[2][32];
    int now = 0;
    blocks_avx2(words[0], block, slot, t, pi, rk, NULL, NULL, NULL);
    for (int64_t b = 8; b < nb; b += 8, z += 64, now ^= 1)
        blocks_avx2(words[!now], block + (uint64_t)b, slot, t, pi, rk, z, (uint16_t *)words[now], table);
    for (int r = 0; r < 8; r++) look_avx2(z + 8 * r, (uint16_t *)words[now] + 8 * r, table);
}

AVX2 static inline void end_avx2(float *acc, const zo_end *end, int64_t j, __m256 sum) {
    if (!end) {
        _mm256_storeu_ps(acc + j, sum);
        return;
    }
    const __m256 start = end->base ? _mm256_loadu_ps(end->base + j) : _mm256_setzero_ps();
    _mm256_storeu_ps(end->out + j, _mm256_add_ps(start, _mm256_mul_ps(_mm256_set1_ps(end->s), sum)));
}

AVX2 static void signs_f32_avx2(float *acc, int64_t n, int first, int64_t g, const void *const *src,
                                const float *c, const zo_end *end) {
    const __m256i s0 = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24), d = _mm256_set1_epi32(8);
    const __m256i s1 = _mm256_sub_epi32(s0, d), s2 = _mm256_sub_epi32(s1, d), s3 = _mm256_sub_epi32(s2, d);
    for (int64_t i = 0; i < n; i += 32) {
        __m256 a0, a1, a2, a3;
        a0 = a1 = a2 = a3 = _mm256_setzero_ps();
        if (!first) {
            a0 = _mm256_loadu_ps(acc + i), a1 = _mm256_loadu_ps(acc + i + 8);
            a2 = _mm256_loadu_ps(acc + i + 16), a3 = _mm256_loadu_ps(acc + i + 24);
        }
        for (int64_t k = 0; k < g; k++) {
            const __m256i word = _mm256_set1_epi32((int)((const uint32_t *)src[k])[i / 32]);
            const __m256 plus = _mm256_set1_ps(c[k]), minus = _mm256_set1_ps(-c[k]);
#define SIGNED(s) _mm256_blendv_ps(plus, minus, _mm256_castsi256_ps(_mm256_sllv_epi32(word, s)))
            a0 = _mm256_add_ps(a0, SIGNED(s0));
            a1 = _mm256_add_ps(a1, SIGNED(s1));
            a2 = _mm256_add_ps(a2, SIGNED(s2));
            a3 = _mm256_add_ps(a3, SIGNED(s3));
#undef SIGNED
        }
        end_avx2(acc, end, i, a0), end_avx2(acc, end, i + 8, a1);
        end_avx2(acc, end, i + 16, a2), end_avx2(acc, end, i + 24, a3);
    }
}

AVX2 static void signs_f64_avx2(double *acc, int64_t n, int first, int64_t g,
                                const void *const *src, const double *c) {
    const __m256i s0 = _mm256_setr_epi64x(63, 62, 61, 60), d = _mm256_set1_epi64x(4);
    const __m256i s1 = _mm256_sub_epi64(s0, d), s2 = _mm256_sub_epi64(s1, d), s3 = _mm256_sub_epi64(s2, d);
    for (int64_t i = 0; i < n; i += 16, acc += 16) {
        __m256d a0, a1, a2, a3;
        a0 = a1 = a2 = a3 = _mm256_setzero_pd();
        if (!first) {
            a0 = _mm256_loadu_pd(acc), a1 = _mm256_loadu_pd(acc + 4);
            a2 = _mm256_loadu_pd(acc + 8), a3 = _mm256_loadu_pd(acc + 12);
        }
        for (int64_t k = 0; k < g; k++) {
            const __m256i word = _mm256_set1_epi64x(((const uint32_t *)src[k])[i / 32] >> (i & 16));
            const __m256d plus = _mm256_set1_pd(c[k]), minus = _mm256_set1_pd(-c[k]);
#define SIGNED(s) _mm256_blendv_pd(plus, minus, _mm256_castsi256_pd(_mm256_sllv_epi64(word, s)))
            a0 = _mm256_add_pd(a0, SIGNED(s0));
            a1 = _mm256_add_pd(a1, SIGNED(s1));
            a2 = _mm256_add_pd(a2, SIGNED(s2));
            a3 = _mm256_add_pd(a3, SIGNED(s3));
#undef SIGNED
        }
        _mm256_storeu_pd(acc, a0), _mm256_storeu_pd(acc + 4, a1);
        _mm256_storeu_pd(acc + 8, a2), _mm256_storeu_pd(acc + 12, a3);
    }
}

AVX2 static void finish_f16_avx2(uint16_t *out, const uint16_t *base, const float *acc, float s,
                                 int64_t n) {
    const __m256 scale = _mm256_set1_ps(s);
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        __m256 v = _mm256_setzero_ps();
        if (base) v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(base + j)));
        v = _mm256_add_ps(v, _mm256_mul_ps(scale, _mm256_loadu_ps(acc + j)));
        _mm_storeu_si128((__m128i *)(out + j), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    finish_f16_scalar(out + j, base ? base + j : base, acc + j, s, n - j);
}

AVX2 static void widen_f16_avx2(float *out, const uint16_t *src, int64_t n) {
    int64_t j = 0;
    for (; j + 8 <= n; j += 8)
        _mm256_storeu_ps(out + j, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + j))));
    widen_f16_scalar(out + j, src + j, n - j);
}
