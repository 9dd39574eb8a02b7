/* Primitives for AVX-512 (F, BW, DQ, VL).  Bit for bit those of native_scalar.h. */
#define AVX512 __attribute__((target("avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")))

AVX512 ZO_INLINE void look_avx512(float *z, const uint16_t *index, const float *table) {
    look_avx2(z, index, table), look_avx2(z + 8, index + 8, table);
}

/* Sixteen blocks.  With `z`, 16 normals of the blocks before are looked up in each of the first eight
   rounds: the loads of the one hide behind the multiplications of the other. */
AVX512 ZO_INLINE void blocks_avx512(uint32_t *dst, uint64_t block, uint32_t slot, uint32_t t, uint32_t pi,
                                    const zo_keys *rk, float *z, const uint16_t *index,
                                    const float *table) {
    const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
    const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), eight = _mm512_set1_epi64(8);
    const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i x0[2], x1[2], x2[2], x3[2];
    x0[0] = _mm512_add_epi64(_mm512_set1_epi64((long long)block), lane);
    x0[1] = _mm512_add_epi64(x0[0], eight);
    for (int v = 0; v < 2; v++) {
        x1[v] = _mm512_set1_epi64(slot);
        x2[v] = _mm512_set1_epi64(t);
        x3[v] = _mm512_set1_epi64(pi);
    }
    ZO_UNROLL for (int r = 0; r < 10; r++) {
        const __m512i ka = _mm512_set1_epi64(rk->a[r]), kb = _mm512_set1_epi64(rk->b[r]);
        for (int v = 0; v < 2; v++) {
            __m512i p0 = _mm512_mul_epu32(x0[v], m0), p1 = _mm512_mul_epu32(x2[v], m1);
            x0[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), x1[v], ka, 0x96);
            x2[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), x3[v], kb, 0x96);
            x1[v] = p1;
            x3[v] = p0;
        }
        if (z && r < 8) look_avx512(z + 16 * r, index + 16 * r, table);
    }
    for (int v = 0; v < 2; v++) {
        __m512i a = _mm512_mask_mov_epi32(x0[v], 0xAAAA, _mm512_slli_epi64(x1[v], 32));
        __m512i c = _mm512_mask_mov_epi32(x2[v], 0xAAAA, _mm512_slli_epi64(x3[v], 32));
        _mm512_storeu_si512(dst + 32 * v, _mm512_permutex2var_epi64(a, low, c));
        _mm512_storeu_si512(dst + 32 * v + 16, _mm512_permutex2var_epi64(a, high, c));
    }
}

AVX512 static void philox_avx512(uint32_t *dst, uint64_t block, int64_t nb, uint32_t slot,
                                 uint32_t t, uint32_t pi, const zo_keys *rk) {
    for (int64_t b = 0; b < nb; b += 16, dst += 64)
        blocks_avx512(dst, block + (uint64_t)b, slot, t, pi, rk, NULL, NULL, NULL);
}

AVX512 static void normals_avx512(float *z, uint64_t block, int64_t nb, uint32_t slot, uint32_t t,
                                  uint32_t pi, const zo_keys *rk, const float *table) {
    uint32_t words[2][64];
    int now = 0;
    blocks_avx512(words[0], block, slot, t, pi, rk, NULL, NULL, NULL);
    for (int64_t b = 16; b < nb; b += 16, z += 128, now ^= 1)
        blocks_avx512(words[!now], block + (uint64_t)b, slot, t, pi, rk, z, (uint16_t *)words[now], table);
    for (int r = 0; r < 8; r++) look_avx512(z + 16 * r, (uint16_t *)words[now] + 16 * r, table);
}

AVX512 static inline void end_avx512(float *acc, const zo_end *end, int64_t j, __m512 sum) {
    if (!end) {
        _mm512_storeu_ps(acc + j, sum);
        return;
    }
    const __m512 start = end->base ? _mm512_loadu_ps(end->base + j) : _mm512_setzero_ps();
    _mm512_storeu_ps(end->out + j, _mm512_add_ps(start, _mm512_mul_ps(_mm512_set1_ps(end->s), sum)));
}

AVX512 static void signs_f32_avx512(float *acc, int64_t n, int first, int64_t g,
                                    const void *const *src, const float *c, const zo_end *end) {
    for (int64_t i = 0; i < n; i += 64) {
        __m512 a[4];
        for (int v = 0; v < 4; v++)
            a[v] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + i + 16 * v);
        for (int64_t k = 0; k < g; k++) {
            const __m512 plus = _mm512_set1_ps(c[k]), minus = _mm512_set1_ps(-c[k]);
            const uint16_t *bits = (const uint16_t *)src[k] + i / 16;
            for (int v = 0; v < 4; v++)
                a[v] = _mm512_add_ps(a[v], _mm512_mask_mov_ps(plus, bits[v], minus));
        }
        for (int v = 0; v < 4; v++) end_avx512(acc, end, i + 16 * v, a[v]);
    }
}

AVX512 static void signs_f64_avx512(double *acc, int64_t n, int first, int64_t g,
                                    const void *const *src, const double *c) {
    for (int64_t i = 0; i < n; i += 32, acc += 32) {
        __m512d a[4];
        for (int v = 0; v < 4; v++) a[v] = first ? _mm512_setzero_pd() : _mm512_loadu_pd(acc + 8 * v);
        for (int64_t k = 0; k < g; k++) {
            const __m512d plus = _mm512_set1_pd(c[k]), minus = _mm512_set1_pd(-c[k]);
            const uint8_t *bits = (const uint8_t *)src[k] + i / 8;
            for (int v = 0; v < 4; v++)
                a[v] = _mm512_add_pd(a[v], _mm512_mask_mov_pd(plus, bits[v], minus));
        }
        for (int v = 0; v < 4; v++) _mm512_storeu_pd(acc + 8 * v, a[v]);
    }
}

AVX512 static void finish_f16_avx512(uint16_t *out, const uint16_t *base, const float *acc,
                                     float s, int64_t n) {
    const __m512 scale = _mm512_set1_ps(s);
    int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        __m512 v = _mm512_setzero_ps();
        if (base) v = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(base + j)));
        v = _mm512_add_ps(v, _mm512_mul_ps(scale, _mm512_loadu_ps(acc + j)));
        _mm256_storeu_si256((__m256i *)(out + j), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    finish_f16_scalar(out + j, base ? base + j : base, acc + j, s, n - j);
}

#define widen_f16_avx512 widen_f16_avx2 /* memory bound */
