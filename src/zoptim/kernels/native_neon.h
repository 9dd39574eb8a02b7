/* Primitives for 64-bit ARM, where NEON is always there.  Bit for bit those of native_scalar.h. */
#include <arm_neon.h>

static inline void look_neon(float *z, const uint16_t *index, const float *table) {
    for (int j = 0; j < 4; j++) z[j] = table[index[j]]; /* NEON has no gather */
}

/* Eight blocks.  Four counters a register pair: vuzp2 takes the high halves of two products, vuzp1 the low.
   With `z`, eight normals of the blocks before are looked up in each of the first eight rounds: the loads
   of the one hide behind the multiplications of the other. */
ZO_INLINE void blocks_neon(uint32_t *dst, uint64_t block, uint32_t slot, uint32_t t, uint32_t pi,
                           const zo_keys *rk, float *z, const uint16_t *index, const float *table) {
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    uint32x4_t x0[2], x1[2], x2[2], x3[2];
    x0[0] = vaddq_u32(vdupq_n_u32((uint32_t)block), vld1q_u32(lanes));
    x0[1] = vaddq_u32(x0[0], vdupq_n_u32(4));
    for (int v = 0; v < 2; v++) x1[v] = vdupq_n_u32(slot), x2[v] = vdupq_n_u32(t), x3[v] = vdupq_n_u32(pi);
    ZO_UNROLL for (int r = 0; r < 10; r++) {
        const uint32x4_t ka = vdupq_n_u32(rk->a[r]), kb = vdupq_n_u32(rk->b[r]);
        for (int v = 0; v < 2; v++) {
            uint32x4_t p0 = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(x0[v]), 0xD2511F53u));
            uint32x4_t q0 = vreinterpretq_u32_u64(vmull_n_u32(vget_high_u32(x0[v]), 0xD2511F53u));
            uint32x4_t p1 = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(x2[v]), 0xCD9E8D57u));
            uint32x4_t q1 = vreinterpretq_u32_u64(vmull_n_u32(vget_high_u32(x2[v]), 0xCD9E8D57u));
            x0[v] = veorq_u32(vuzp2q_u32(p1, q1), veorq_u32(x1[v], ka));
            x2[v] = veorq_u32(vuzp2q_u32(p0, q0), veorq_u32(x3[v], kb));
            x1[v] = vuzp1q_u32(p1, q1);
            x3[v] = vuzp1q_u32(p0, q0);
        }
        if (z && r < 8) look_neon(z + 8 * r, index + 8 * r, table), look_neon(z + 8 * r + 4, index + 8 * r + 4, table);
    }
    for (int v = 0; v < 2; v++) {
        uint32x4x4_t x = {{x0[v], x1[v], x2[v], x3[v]}};
        vst4q_u32(dst + 16 * v, x); /* interleaves: word w of block b to 4 b + w */
    }
}

static void philox_neon(uint32_t *dst, uint64_t block, int64_t nb, uint32_t slot, uint32_t t, uint32_t pi,
                        const zo_keys *rk) {
    for (int64_t b = 0; b < nb; b += 8, dst += 32)
        blocks_neon(dst, block + (uint64_t)b, slot, t, pi, rk, NULL, NULL, NULL);
}

static void normals_neon(float *z, uint64_t block, int64_t nb, uint32_t slot, uint32_t t, uint32_t pi,
                         const zo_keys *rk, const float *table) {
    uint32_t words[2][32];
    int now = 0;
    blocks_neon(words[0], block, slot, t, pi, rk, NULL, NULL, NULL);
    for (int64_t b = 8; b < nb; b += 8, z += 64, now ^= 1)
        blocks_neon(words[!now], block + (uint64_t)b, slot, t, pi, rk, z, (uint16_t *)words[now], table);
    for (int r = 0; r < 16; r++) look_neon(z + 4 * r, (uint16_t *)words[now] + 4 * r, table);
}

static void signs_f32_neon(float *acc, int64_t n, int first, int64_t g, const void *const *src,
                           const float *c, const zo_end *end) {
    static const int32_t shifts[4] = {31, 30, 29, 28};
    const int32x4_t s0 = vld1q_s32(shifts);
    const uint32x4_t top = vdupq_n_u32(0x80000000u);
    for (int64_t i = 0; i < n; i += 32) {
        float32x4_t a[8];
        for (int v = 0; v < 8; v++) a[v] = first ? vdupq_n_f32(0.0f) : vld1q_f32(acc + i + 4 * v);
        for (int64_t k = 0; k < g; k++) {
            const uint32x4_t word = vdupq_n_u32(((const uint32_t *)src[k])[i / 32]);
            const uint32x4_t plus = vreinterpretq_u32_f32(vdupq_n_f32(c[k]));
            for (int v = 0; v < 8; v++) { /* bit 4 v + lane becomes the sign */
                uint32x4_t sign = vandq_u32(vshlq_u32(word, vsubq_s32(s0, vdupq_n_s32(4 * v))), top);
                a[v] = vaddq_f32(a[v], vreinterpretq_f32_u32(veorq_u32(plus, sign)));
            }
        }
        for (int v = 0; v < 8; v++) {
            const int64_t j = i + 4 * v;
            if (!end) {
                vst1q_f32(acc + j, a[v]);
                continue;
            }
            const float32x4_t start = end->base ? vld1q_f32(end->base + j) : vdupq_n_f32(0.0f);
            vst1q_f32(end->out + j, vaddq_f32(start, vmulq_f32(vdupq_n_f32(end->s), a[v])));
        }
    }
}

static void widen_f16_neon(float *out, const uint16_t *src, int64_t n) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) vst1q_f32(out + j, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(src + j))));
    widen_f16_scalar(out + j, src + j, n - j);
}

static void finish_f16_neon(uint16_t *out, const uint16_t *base, const float *acc, float s, int64_t n) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        float32x4_t v = vdupq_n_f32(0.0f);
        if (base) v = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(base + j)));
        v = vaddq_f32(v, vmulq_f32(vdupq_n_f32(s), vld1q_f32(acc + j)));
        vst1_u16(out + j, vreinterpret_u16_f16(vcvt_f16_f32(v)));
    }
    finish_f16_scalar(out + j, base ? base + j : base, acc + j, s, n - j);
}

#define signs_f64_neon signs_f64_scalar
