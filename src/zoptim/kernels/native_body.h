/* The sweep over chunks, included once per instruction set.
   The includer defines ISA (suffix) and TARGET (function attribute). */

#define CAT2(a, b) a##_##b
#define CAT(a, b) CAT2(a, b)
#define FN(name) CAT(name, ISA)

/* acc[j] = (first ? 0 : acc[j]) + c * z[j], product rounded before the sum. */
TARGET static void FN(axpy_f32)(float *acc, int64_t n, int first, float c, const float *z) {
    if (first) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) acc[j] = 0.0f + c * z[j];
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) acc[j] = acc[j] + c * z[j];
    }
}

TARGET static void FN(axpy_f64)(double *acc, int64_t n, int first, double c, const float *z) {
    if (first) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) acc[j] = 0.0 + c * (double)z[j];
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) acc[j] = acc[j] + c * (double)z[j];
    }
}

/* out[j] = base[j] + s * acc[j], product rounded before the sum, then one rounding to the dtype. */
TARGET static void FN(finish)(const zo_form *a, int64_t at, const void *acc, int64_t n) {
    const float *f = acc, s = (float)a->scale;
    if (a->dtype == ZO_F32) {
        float *out = (float *)(uintptr_t)a->out + at;
        const float *base = (const float *)(uintptr_t)a->base;
        if (base) {
            base += at % (a->nrows * a->cols);
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * f[j];
        } else {
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0f + s * f[j];
        }
    } else if (a->dtype == ZO_F64) {
        const double *d = acc, sd = a->scale;
        double *out = (double *)(uintptr_t)a->out + at;
        const double *base = (const double *)(uintptr_t)a->base;
        if (base) {
            base += at % (a->nrows * a->cols);
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + sd * d[j];
        } else {
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0 + sd * d[j];
        }
    } else {
        uint16_t *out = (uint16_t *)(uintptr_t)a->out + at;
        const uint16_t *base = (const uint16_t *)(uintptr_t)a->base;
        if (base) base += at % (a->nrows * a->cols);
        if (a->dtype == ZO_F16) {
            FN(finish_f16)(out, base, f, s, n);
        } else if (base) {
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = narrow_bf16(widen_bf16(base[j]) + s * f[j]);
        } else {
            ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = narrow_bf16(0.0f + s * f[j]);
        }
    }
}

/* out[j] = base[j] + s * (0 + c * z[j]): a point with one draw, as in a two-sided probe. */
TARGET static void FN(single_f32)(const zo_end *end, int64_t n, float c, const float *z) {
    float *out = end->out;
    const float *base = end->base, s = end->s;
    if (base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * (0.0f + c * z[j]);
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0f + s * (0.0f + c * z[j]);
    }
}

/* Noise of draw k for elements e .. e + n - 1 of the slot, into `dst`: bits, indices or floats. */
TARGET static void FN(noise)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t k,
                             int64_t e, int64_t n, void *dst) {
    const uint32_t *draw = (const uint32_t *)(uintptr_t)a->draws + 2 * k;
    const int64_t per = a->law == ZO_SIGNS ? 128 : 8;
    const int64_t b = e / per, nb = (e + n - 1) / per - b + 1;
    FN(philox)(w->words, (uint64_t)b, nb, (uint32_t)a->slot, draw[0], draw[1], rk);
    if (a->law == ZO_NORMAL) {
        const uint16_t *index = (const uint16_t *)w->words + e % 8;
        if (w->floats)
            FN(lookup)(dst, index, n, (const float *)(uintptr_t)a->table);
        else
            memcpy(dst, index, (size_t)n * 2);
        return;
    }
    const uint32_t *from = w->words + (e % 128) / 32;
    const int shift = (int)(e % 32);
    uint32_t *to = dst;
    if (shift)
        for (int64_t j = 0; j < (n + 31) / 32; j++) to[j] = from[j] >> shift | from[j + 1] << (32 - shift);
    else
        memcpy(to, from, (size_t)(n + 31) / 32 * 4);
}

/* Adds draws g0 .. g1 - 1, whose noise is in the scratch, to the sum of point p; the last finishes. */
TARGET static void FN(sum)(const zo_form *a, const zo_work *w, int64_t p, int64_t g0, int64_t g1,
                           int64_t n, int64_t at, void *acc) {
    const double *coefs = (const double *)(uintptr_t)a->coefs + p * a->k;
    const float *table = (const float *)(uintptr_t)a->table;
    const int64_t size = a->nrows * a->cols;
    const int first = g0 == 0, last = g1 == a->k, f32 = a->dtype == ZO_F32;
    const int raw = a->law == ZO_SIGNS || !w->floats; /* bits or indices, not floats */
    const void *src[ZO_GROUP_SIGNS];
    float cf[ZO_GROUP_SIGNS];
    double cd[ZO_GROUP_SIGNS];
    int64_t count = 0, done = 0;
    for (int64_t k = g0; k < g1; k++) {
        if (coefs[k] == 0.0) continue;
        src[count] = w->noise + (k - g0) * w->noise_stride;
        cf[count] = (float)coefs[k], cd[count++] = coefs[k];
    }
    const zo_end end = {(float *)(uintptr_t)a->out + p * size + at,
                        a->base ? (const float *)(uintptr_t)a->base + at : NULL, (float)a->scale};
    if (raw && a->dtype != ZO_F64) {
        if (f32 && last) { /* whole vectors go straight to out, the rest by way of acc */
            done = n / 64 * 64;
            if (done && a->law == ZO_SIGNS)
                FN(signs_f32)(acc, done, first, count, src, cf, table, &end);
            else if (done)
                FN(normal_f32)(acc, done, first, count, src, cf, table, &end);
            for (int64_t k = 0; k < count; k++)
                src[k] = (const char *)src[k] + (a->law == ZO_SIGNS ? done / 8 : done * 2);
        }
        float *rest = (float *)acc + done;
        if (done < n && a->law == ZO_SIGNS)
            FN(signs_f32)(rest, n - done, first, count, src, cf, table, NULL);
        else if (done < n)
            FN(normal_f32)(rest, n - done, first, count, src, cf, table, NULL);
    } else if (raw) {
        FN(signs_f64)(acc, n, first, count, src, cd);
    } else if (f32 && first && last && count == 1) {
        FN(single_f32)(&end, n, cf[0], src[0]);
        return;
    } else {
        if (first && !count) memset(acc, 0, (size_t)n * (a->dtype == ZO_F64 ? 8 : 4));
        for (int64_t k = 0; k < count; k++) {
            if (a->dtype == ZO_F64)
                FN(axpy_f64)(acc, n, first && !k, cd[k], src[k]);
            else
                FN(axpy_f32)(acc, n, first && !k, cf[k], src[k]);
        }
    }
    const size_t wide = a->dtype == ZO_F64 ? 8 : 4;
    if (last && done < n)
        FN(finish)(a, p * size + at + done, (const char *)acc + wide * (size_t)done, n - done);
}

/* Forms elements e .. e + n - 1 of the slot, which lie at `at` in base and in each point of out. */
TARGET static void FN(chunk)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t e,
                             int64_t n, int64_t at) {
    const int single = a->k <= w->group; /* all noise is at hand: one sum after the other */
    const double *coefs = (const double *)(uintptr_t)a->coefs;
    for (int64_t p0 = 0; p0 < a->m; p0 += ZO_PANEL) {
        const int64_t p1 = p0 + ZO_PANEL < a->m ? p0 + ZO_PANEL : a->m;
        for (int64_t g0 = 0; g0 == 0 || g0 < a->k; g0 += w->group) {
            const int64_t g1 = g0 + w->group < a->k ? g0 + w->group : a->k;
            for (int64_t k = g0; k < g1 && !(single && p0); k++) {
                int used = 0;
                for (int64_t p = single ? 0 : p0; p < (single ? a->m : p1); p++) used |= coefs[p * a->k + k] != 0.0;
                if (used) FN(noise)(a, rk, w, k, e, n, w->noise + (k - g0) * w->noise_stride);
            }
            for (int64_t p = p0; p < p1; p++) {
                void *acc = w->acc + (single ? 0 : (p - p0) * w->acc_stride);
                FN(sum)(a, w, p, g0, g1, n, at, acc);
            }
        }
    }
}

/* Unit u is piece u % pieces of row u / pieces; pieces begin at multiples of the chunk length in
   the slot, so that all but the first of a row are aligned with Philox blocks. */
TARGET static void FN(units)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t pieces,
                             int64_t u0, int64_t u1) {
    const int64_t *rows = (const int64_t *)(uintptr_t)a->rows;
    for (int64_t u = u0; u < u1; u++) {
        const int64_t r = u / pieces, start = rows ? rows[r] * a->cols : a->offset, end = start + a->cols;
        int64_t e = (start / w->chunk + u % pieces) * w->chunk, stop = e + w->chunk;
        if (e < start) e = start;
        if (stop > end) stop = end;
        if (e < stop) FN(chunk)(a, rk, w, e, stop - e, r * a->cols + (e - start));
    }
}

/* Counter-based stochastic rounding of n float32 into half precision; see docs/noise.md. */
TARGET static void FN(round)(const zo_round *a, const zo_keys *rk, uint32_t *words, int64_t e,
                             int64_t n) {
    const int64_t b = e / 8, nb = (e + n - 1) / 8 - b + 1;
    FN(philox)(words, (uint64_t)b, nb, (uint32_t)a->slot, (uint32_t)a->t, 1u << 24, rk);
    const uint16_t *r = (const uint16_t *)words + e % 8;
    const uint32_t *src = (const uint32_t *)(uintptr_t)a->src + (e - a->offset);
    uint16_t *out = (uint16_t *)(uintptr_t)a->out + (e - a->offset);
    if (a->dtype == ZO_BF16) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = stochastic_bf16(src[j], r[j]);
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = stochastic_f16(src[j], r[j]);
    }
}

#undef CAT2
#undef CAT
#undef FN
