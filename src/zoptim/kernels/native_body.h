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

/* Rounds n <= ZO_ROUND floats, elements e .. of the slot, into half precision by step t's stream. */
TARGET static void FN(stochastic)(uint16_t *out, const float *src, int64_t n, int64_t dtype, int64_t e,
                                  int64_t slot, int64_t t, const zo_keys *rk) {
    uint32_t words[4 * (ZO_ROUND / 8 + 1 + ZO_PAD_BLOCKS)];
    const int64_t b = e / 8, nb = (e + n - 1) / 8 - b + 1;
    FN(philox)(words, (uint64_t)b, nb, (uint32_t)slot, (uint32_t)t, 1u << 24, rk);
    const uint16_t *r = (const uint16_t *)words + e % 8;
    const uint32_t *u = (const uint32_t *)src;
    if (dtype == ZO_BF16) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = stochastic_bf16(u[j], r[j]);
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = stochastic_f16(u[j], r[j]);
    }
}

TARGET static void FN(finish_f32)(float *out, const float *base, const float *acc, float s, int64_t n) {
    if (base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * acc[j];
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0f + s * acc[j];
    }
}

TARGET static void FN(finish_f64)(double *out, const double *base, const double *acc, double s, int64_t n) {
    if (base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * acc[j];
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0 + s * acc[j];
    }
}

/* The same into half precision: to nearest, or stochastically where a->t says the step. */
TARGET static void FN(finish_half)(const zo_form *a, const zo_keys *rk, uint16_t *out, const uint16_t *base,
                                   const float *acc, int64_t n, int64_t e) {
    const float s = (float)a->scale;
    float wide[ZO_ROUND];
    if (a->t < 0 && a->dtype == ZO_F16) {
        FN(finish_f16)(out, base, acc, s, n);
        return;
    }
    for (int64_t i = 0; i < n; i += ZO_ROUND) {
        const int64_t some = n - i < ZO_ROUND ? n - i : ZO_ROUND;
        if (!base)
            memset(wide, 0, sizeof wide);
        else if (a->dtype == ZO_F16)
            FN(widen_f16)(wide, base + i, some);
        else {
            ZO_LOOP for (int64_t j = 0; j < some; j++) wide[j] = widen_bf16(base[i + j]);
        }
        FN(finish_f32)(wide, wide, acc + i, s, some);
        if (a->t >= 0)
            FN(stochastic)(out + i, wide, some, a->dtype, e + i, a->slot, a->t, rk);
        else {
            ZO_LOOP for (int64_t j = 0; j < some; j++) out[i + j] = narrow_bf16(wide[j]);
        }
    }
}

/* out[j] = base[j] + s * (unit[j] * acc[j]), every product rounded, then one rounding to the dtype.
   Elements e .. e + n - 1 of the slot; they lie at `at` in point p of out, and in base and units. */
TARGET static void FN(finish)(const zo_form *a, const zo_keys *rk, int64_t p, int64_t at, int64_t e,
                              void *acc, int64_t n) {
    float *f = acc;
    double *d = acc;
    const float *unit = (const float *)(uintptr_t)(a->units + 4 * (uint64_t)at);
    const int64_t to = p * a->nrows * a->cols + at;
    if (a->units && a->dtype == ZO_F64) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) d[j] = d[j] * (double)unit[j];
    } else if (a->units) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) f[j] = f[j] * unit[j];
    }
    if (a->dtype == ZO_F32) {
        const float *base = (const float *)(uintptr_t)a->base;
        FN(finish_f32)((float *)(uintptr_t)a->out + to, base ? base + at : base, f, (float)a->scale, n);
    } else if (a->dtype == ZO_F64) {
        const double *base = (const double *)(uintptr_t)a->base;
        FN(finish_f64)((double *)(uintptr_t)a->out + to, base ? base + at : base, d, a->scale, n);
    } else {
        const uint16_t *base = (const uint16_t *)(uintptr_t)a->base;
        FN(finish_half)(a, rk, (uint16_t *)(uintptr_t)a->out + to, base ? base + at : base, f, n, e);
    }
}

/* out[j] = base[j] + s * (acc[j] + c * z[j]): the last draw of a point, acc NULL if it is the only one. */
TARGET static void FN(last_f32)(const zo_end *end, const float *acc, int64_t n, float c, const float *z) {
    float *out = end->out;
    const float *base = end->base, s = end->s;
    if (acc && base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * (acc[j] + c * z[j]);
    } else if (acc) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0f + s * (acc[j] + c * z[j]);
    } else if (base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * (0.0f + c * z[j]);
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0f + s * (0.0f + c * z[j]);
    }
}

TARGET static void FN(last_f64)(double *out, const double *base, double s, const double *acc, int64_t n,
                                double c, const float *z) {
    if (acc && base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * (acc[j] + c * (double)z[j]);
    } else if (acc) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0 + s * (acc[j] + c * (double)z[j]);
    } else if (base) {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = base[j] + s * (0.0 + c * (double)z[j]);
    } else {
        ZO_LOOP for (int64_t j = 0; j < n; j++) out[j] = 0.0 + s * (0.0 + c * (double)z[j]);
    }
}

/* Noise of draw k for elements e .. e + n - 1 of the slot, into `dst`: bits, or floats from the start
   of a block on. */
TARGET static void FN(noise)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t k,
                             int64_t e, int64_t n, void *dst) {
    const uint32_t *draw = (const uint32_t *)(uintptr_t)a->draws + 2 * k, slot = (uint32_t)a->slot;
    const int64_t per = a->law == ZO_SIGNS ? 128 : 8;
    const int64_t b = e / per, nb = (e + n - 1) / per - b + 1;
    if (a->law == ZO_NORMAL) {
        FN(normals)(dst, (uint64_t)b, nb, slot, draw[0], draw[1], rk, (const float *)(uintptr_t)a->table);
        return;
    }
    FN(philox)(w->words, (uint64_t)b, nb, slot, draw[0], draw[1], rk);
    const uint32_t *from = w->words + (e % 128) / 32;
    const int shift = (int)(e % 32);
    uint32_t *to = dst;
    if (shift)
        for (int64_t j = 0; j < (n + 31) / 32; j++) to[j] = from[j] >> shift | from[j + 1] << (32 - shift);
    else
        memcpy(to, from, (size_t)(n + 31) / 32 * 4);
}

/* Adds draws g0 .. g1 - 1, whose noise is in the scratch, to the sum of point p; the last finishes. */
TARGET static void FN(sum)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t p, int64_t g0,
                           int64_t g1, int64_t n, int64_t at, int64_t e, void *acc) {
    const double *coefs = (const double *)(uintptr_t)a->coefs + p * a->k;
    const int first = g0 == 0, last = g1 == a->k, signs = a->law == ZO_SIGNS, f64 = a->dtype == ZO_F64;
    const int direct = last && (f64 || a->dtype == ZO_F32) && !a->units; /* sums need not be stored */
    const int past = a->out != a->base && 8 * a->m * a->nrows * a->cols >= ZO_STREAM;
    const void *src[ZO_GROUP_SIGNS];
    float cf[ZO_GROUP_SIGNS];
    double cd[ZO_GROUP_SIGNS];
    int64_t count = 0, done = 0;
    for (int64_t k = g0; k < g1; k++) {
        if (coefs[k] == 0.0) continue;
        src[count] = w->noise + (k - g0) * w->noise_stride + (signs ? 0 : e % 8 * 4);
        cf[count] = (float)coefs[k], cd[count++] = coefs[k];
    }
    const zo_end end = {(float *)(uintptr_t)a->out + p * a->nrows * a->cols + at,
                        a->base ? (const float *)(uintptr_t)a->base + at : NULL, (float)a->scale};
    if (signs && f64 && direct && first) { /* tile by tile in the same place, next to the core */
        for (; done < n; done += ZO_TILE) {
            const int64_t some = n - done < ZO_TILE ? n - done : ZO_TILE;
            FN(signs_f64)(acc, some, first, count, src, cd);
            if (past) {
                FN(finish_f64)(acc, a->base ? (const double *)(uintptr_t)a->base + at + done : NULL, acc, a->scale, some);
                zo_stream((double *)(uintptr_t)a->out + p * a->nrows * a->cols + at + done, acc, some);
            } else
                FN(finish)(a, rk, p, at + done, e + done, acc, some);
            for (int64_t k = 0; k < count; k++) src[k] = (const char *)src[k] + ZO_TILE / 8;
        }
    } else if (signs && f64) {
        FN(signs_f64)(acc, n, first, count, src, cd);
    } else if (signs) {
        if (direct) { /* whole vectors go straight to out, the rest by way of acc */
            done = n / 64 * 64;
            if (done) FN(signs_f32)(acc, done, first, count, src, cf, &end);
            for (int64_t k = 0; k < count; k++) src[k] = (const char *)src[k] + done / 8;
        }
        if (done < n) FN(signs_f32)((float *)acc + done, n - done, first, count, src, cf, NULL);
    } else {
        const int64_t stored = count - (direct && count); /* the last is added on the way out */
        if (first && !count) memset(acc, 0, (size_t)n * (f64 ? 8 : 4));
        for (int64_t k = 0; k < stored; k++) {
            if (f64)
                FN(axpy_f64)(acc, n, first && !k, cd[k], src[k]);
            else
                FN(axpy_f32)(acc, n, first && !k, cf[k], src[k]);
        }
        if (stored < count && f64) {
            const int64_t to = p * a->nrows * a->cols + at;
            const double *base = a->base ? (const double *)(uintptr_t)a->base + at : NULL;
            double *out = (double *)(uintptr_t)a->out + to, *made = past ? acc : out;
            FN(last_f64)(made, base, a->scale, first && !stored ? NULL : acc, n, cd[stored], src[stored]);
            if (past) zo_stream(out, made, n);
            done = n;
        } else if (stored < count) {
            FN(last_f32)(&end, first && !stored ? NULL : acc, n, cf[stored], src[stored]);
            done = n;
        }
    }
    if (last && done < n)
        FN(finish)(a, rk, p, at + done, e + done, (char *)acc + (f64 ? 8 : 4) * (size_t)done, n - done);
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
                FN(sum)(a, rk, w, p, g0, g1, n, at, e, acc);
            }
        }
    }
}

/* The steps one after the other over a chunk that stays in cache: m = 1, out = base. */
TARGET static void FN(steps)(const zo_form *a, const zo_keys *rk, const zo_work *w, int64_t e, int64_t n,
                             int64_t at) {
    const zo_step *step = (const zo_step *)(uintptr_t)a->steps;
    zo_form one = *a;
    for (int64_t s = 0; s < a->count; s++, step++) {
        one.draws = a->draws + 8 * (uint64_t)step->first;
        one.coefs = a->coefs + 8 * (uint64_t)step->first;
        one.k = step->k, one.t = step->t, one.scale = step->scale;
        FN(chunk)(&one, rk, w, e, n, at);
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
        if (e >= stop) continue;
        if (a->count)
            FN(steps)(a, rk, w, e, stop - e, r * a->cols + (e - start));
        else
            FN(chunk)(a, rk, w, e, stop - e, r * a->cols + (e - start));
    }
}

#undef CAT2
#undef CAT
#undef FN
