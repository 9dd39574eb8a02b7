/* Low-rank sums, included once per instruction set after native_body.h; see zo_outer in native.h.
   The includer defines ISA (suffix) and TARGET (function attribute).

       acc = 0;  for j in order:  acc = rnd(acc + rnd(u[p, r, j] * vt[j, c]))
       out[p, r, c] = round_to_dtype(rnd(base[r, c] + rnd(A(scale) * acc)))

   Sums of a tile of columns stay in the first cache.  The compiler vectorizes over columns; no sum is
   reordered. */

#define CAT2(a, b) a##_##b
#define CAT(a, b) CAT2(a, b)
#define FN(name) CAT(name, ISA)

/* acc = sum_j u[j] * vt[j][.], from zero; n columns. */
TARGET static void FN(dot_f32)(float *acc, const float *u, const float *vt, int64_t rank, int64_t stride,
                               int64_t n) {
    int64_t j = 2;
    if (rank >= 2) {
        const float a = u[0], b = u[1], *y = vt + stride;
        ZO_LOOP for (int64_t c = 0; c < n; c++) acc[c] = (0.0f + a * vt[c]) + b * y[c];
    } else {
        memset(acc, 0, (size_t)n * sizeof *acc);
        j = 0;
    }
    for (; j < rank; j++) {
        const float a = u[j], *x = vt + j * stride;
        ZO_LOOP for (int64_t c = 0; c < n; c++) acc[c] = acc[c] + a * x[c];
    }
}

TARGET static void FN(dot_f64)(double *acc, const double *u, const double *vt, int64_t rank, int64_t stride,
                               int64_t n) {
    memset(acc, 0, (size_t)n * sizeof *acc);
    for (int64_t j = 0; j < rank; j++) {
        const double a = u[j], *x = vt + j * stride;
        ZO_LOOP for (int64_t c = 0; c < n; c++) acc[c] = acc[c] + a * x[c];
    }
}

/* One tile of one row of one point: n elements that begin at `at` in out and at `from` in base. */
TARGET static void FN(outer_end)(const zo_outer *a, const void *acc, int64_t at, int64_t from, int64_t n) {
    const float *f = acc, s = (float)a->scale;
    if (a->dtype == ZO_F32) {
        float *out = (float *)(uintptr_t)a->out + at;
        const float *base = a->base ? (const float *)(uintptr_t)a->base + from : NULL;
        if (base) {
            ZO_LOOP for (int64_t c = 0; c < n; c++) out[c] = base[c] + s * f[c];
        } else {
            ZO_LOOP for (int64_t c = 0; c < n; c++) out[c] = 0.0f + s * f[c];
        }
    } else if (a->dtype == ZO_F64) {
        const double *d = acc, wide = a->scale;
        double *out = (double *)(uintptr_t)a->out + at;
        const double *base = a->base ? (const double *)(uintptr_t)a->base + from : NULL;
        ZO_LOOP for (int64_t c = 0; c < n; c++) out[c] = (base ? base[c] : 0.0) + wide * d[c];
    } else {
        uint16_t *out = (uint16_t *)(uintptr_t)a->out + at;
        const uint16_t *base = a->base ? (const uint16_t *)(uintptr_t)a->base + from : NULL;
        if (a->dtype == ZO_F16) {
            FN(finish_f16)(out, base, f, s, n);
        } else {
            ZO_LOOP for (int64_t c = 0; c < n; c++)
                out[c] = narrow_bf16((base ? widen_bf16(base[c]) : 0.0f) + s * f[c]);
        }
    }
}

/* Rank 1 and 2 in float32, the usual case: one pass, the sum never leaves the registers. */
TARGET static void FN(outer_few)(const zo_outer *a, int64_t row, int64_t r) {
    const int64_t cols = a->cols;
    const float *u = (const float *)(uintptr_t)a->u + row * a->rank, *x = (const float *)(uintptr_t)a->vt;
    const float *y = x + cols, *base = (const float *)(uintptr_t)a->base + r * cols;
    float *out = (float *)(uintptr_t)a->out + row * cols;
    const float s = (float)a->scale, p = u[0], q = a->rank == 2 ? u[1] : 0.0f;
    if (a->rank == 2) {
        ZO_LOOP for (int64_t c = 0; c < cols; c++) out[c] = base[c] + s * ((0.0f + p * x[c]) + q * y[c]);
    } else {
        ZO_LOOP for (int64_t c = 0; c < cols; c++) out[c] = base[c] + s * (0.0f + p * x[c]);
    }
}

/* Rows r0 .. r1 - 1 of all points; base is read before out is written, so out may be base. */
TARGET static void FN(outer)(const zo_outer *a, int64_t r0, int64_t r1) {
    double acc[ZO_OUTER_TILE];
    const int few = a->dtype == ZO_F32 && a->base && (a->rank == 1 || a->rank == 2);
    for (int64_t r = r0; r < r1; r++) {
        for (int64_t p = 0; p < a->m; p++) {
            const int64_t row = p * a->nrows + r;
            if (few) {
                FN(outer_few)(a, row, r);
                continue;
            }
            for (int64_t c0 = 0; c0 < a->cols; c0 += ZO_OUTER_TILE) {
                const int64_t n = a->cols - c0 < ZO_OUTER_TILE ? a->cols - c0 : ZO_OUTER_TILE;
                if (a->dtype == ZO_F64)
                    FN(dot_f64)(acc, (const double *)(uintptr_t)a->u + row * a->rank,
                                (const double *)(uintptr_t)a->vt + c0, a->rank, a->cols, n);
                else
                    FN(dot_f32)((float *)acc, (const float *)(uintptr_t)a->u + row * a->rank,
                                (const float *)(uintptr_t)a->vt + c0, a->rank, a->cols, n);
                FN(outer_end)(a, acc, row * a->cols + c0, r * a->cols + c0, n);
            }
        }
    }
}

#undef CAT2
#undef CAT
#undef FN
