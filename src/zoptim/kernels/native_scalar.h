/* Primitives in plain C: the yardstick of the vector editions, and the edition of other machines. */

static void philox_scalar(uint32_t *dst, uint64_t block, int64_t nb, uint32_t slot, uint32_t t,
                          uint32_t pi, const zo_keys *rk) {
    for (int64_t j = 0; j < nb; j++, dst += 4) {
        uint32_t x0 = (uint32_t)(block + (uint64_t)j), x1 = slot, x2 = t, x3 = pi;
        for (int r = 0; r < 10; r++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * x0, p1 = (uint64_t)0xCD9E8D57u * x2;
            x0 = (uint32_t)(p1 >> 32) ^ x1 ^ rk->a[r];
            x2 = (uint32_t)(p0 >> 32) ^ x3 ^ rk->b[r];
            x1 = (uint32_t)p1;
            x3 = (uint32_t)p0;
        }
        dst[0] = x0, dst[1] = x1, dst[2] = x2, dst[3] = x3;
    }
}

/* The normals of nb blocks, eight a block.  This and philox may write up to ZO_PAD_BLOCKS too many. */
static void normals_scalar(float *z, uint64_t block, int64_t nb, uint32_t slot, uint32_t t, uint32_t pi,
                           const zo_keys *rk, const float *table) {
    uint32_t words[4];
    for (int64_t b = 0; b < nb; b++, z += 8) {
        philox_scalar(words, block + (uint64_t)b, 1, slot, t, pi, rk);
        for (int j = 0; j < 8; j++) z[j] = table[words[j / 2] >> (j % 2 * 16) & 0xFFFFu];
    }
}

/* acc[j] = (first ? 0 : acc[j]) + sum_g (bit j of src[g] ? -c[g] : c[g]), in the order of g; with `end`
   the sum is not stored but finished.  Reads and writes whole words: buffers are padded. */
static void signs_f32_scalar(float *acc, int64_t n, int first, int64_t g, const void *const *src,
                             const float *c, const zo_end *end) {
    for (int64_t i = 0; i < n; i += 32) {
        float sum[32];
        if (first)
            memset(sum, 0, sizeof sum);
        else
            memcpy(sum, acc + i, sizeof sum);
        for (int64_t k = 0; k < g; k++) {
            const uint32_t word = ((const uint32_t *)src[k])[i / 32];
            const float pick[2] = {c[k], -c[k]};
            for (int j = 0; j < 32; j++) sum[j] += pick[(word >> j) & 1];
        }
        if (!end)
            memcpy(acc + i, sum, sizeof sum);
        else
            for (int j = 0; j < 32; j++)
                end->out[i + j] = (end->base ? end->base[i + j] : 0.0f) + end->s * sum[j];
    }
}

static void signs_f64_scalar(double *acc, int64_t n, int first, int64_t g,
                             const void *const *src, const double *c) {
    for (int64_t i = 0; i < n; i += 32, acc += 32) {
        if (first) memset(acc, 0, 32 * sizeof *acc);
        for (int64_t k = 0; k < g; k++) {
            const uint32_t word = ((const uint32_t *)src[k])[i / 32];
            double pick[2] = {c[k], -c[k]};
            for (int j = 0; j < 32; j++) acc[j] += pick[(word >> j) & 1];
        }
    }
}

static inline float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float widen_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31, m = h & 0x3FFu;
    if (e == 31) return float_of(sign | 0x7F800000u | m << 13);
    if (e) return float_of(sign | (e + 112) << 23 | m << 13);
    float f = (float)m * 0x1p-24f; /* subnormal: exact */
    return sign ? -f : f;
}

static inline uint16_t narrow_f16(float f) { /* round to nearest, ties to even */
    uint32_t u = bits_of(f), a = u & 0x7FFFFFFFu, sign = (u >> 16) & 0x8000u, h;
    if (a > 0x7F800000u)
        h = 0x7E00u;
    else if (a >= 0x477FF000u) /* 65520 and above */
        h = 0x7C00u;
    else if (a >= 0x38800000u) { /* normal in half precision */
        a -= 112u << 23;
        h = (a + 0xFFFu + ((a >> 13) & 1)) >> 13;
    } else { /* adding 1/2 leaves the rounded multiple of 2**-24 in the low bits */
        h = bits_of(float_of(a) + 0.5f) - 0x3F000000u;
    }
    return (uint16_t)(sign | h);
}

static inline float widen_bf16(uint16_t h) { return float_of((uint32_t)h << 16); }

static inline uint16_t narrow_bf16(float f) {
    uint32_t u = bits_of(f), r = (u + 0x7FFFu + ((u >> 16) & 1)) >> 16;
    return (uint16_t)((u & 0x7FFFFFFFu) > 0x7F800000u ? ((u >> 16) | 0x40u) : r);
}

static void finish_f16_scalar(uint16_t *out, const uint16_t *base, const float *acc, float s,
                              int64_t n) {
    for (int64_t j = 0; j < n; j++)
        out[j] = narrow_f16((base ? widen_f16(base[j]) : 0.0f) + s * acc[j]);
}

static void widen_f16_scalar(float *out, const uint16_t *src, int64_t n) {
    for (int64_t j = 0; j < n; j++) out[j] = widen_f16(src[j]);
}
