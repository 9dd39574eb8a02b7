/* Products with weights that exist only in cache, included once per instruction set (AVX2, AVX-512).
   The includer defines ISA, TARGET, and (undefined here) TILE and VEC with its operations; native.c says what is computed.

   A thread forms a block of R rows of W at all points, then multiplies: a tile is TILE rows of W
   (broadcast, as they lie) times two vectors of tokens (x repacked with its tokens last). */

#define CAT2(a, b) a##_##b
#define CAT(a, b) CAT2(a, b)
#define FN(name) CAT(name, ISA)
#define LANES ((int64_t)(sizeof(VEC) / sizeof(float)))
#define WIDTH (2 * LANES) /* tokens of a panel */

/* Up to WIDTH tokens (tokens, cols) -> (cols, WIDTH); missing tokens are zero. */
TARGET static void FN(pack)(float *to, const float *x, int64_t tokens, int64_t cols) {
    if (tokens < WIDTH) memset(to, 0, (size_t)(cols * WIDTH) * sizeof(float));
    int64_t t = 0;
    for (; t + 4 <= tokens; t += 4) {
        const float *a = x + t * cols;
        int64_t k = 0;
        for (; k + 4 <= cols; k += 4) {
            __m128 r0 = _mm_loadu_ps(a + k), r1 = _mm_loadu_ps(a + cols + k);
            __m128 r2 = _mm_loadu_ps(a + 2 * cols + k), r3 = _mm_loadu_ps(a + 3 * cols + k);
            _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
            float *at = to + k * WIDTH + t;
            _mm_storeu_ps(at, r0);
            _mm_storeu_ps(at + WIDTH, r1);
            _mm_storeu_ps(at + 2 * WIDTH, r2);
            _mm_storeu_ps(at + 3 * WIDTH, r3);
        }
        for (; k < cols; k++)
            for (int64_t j = 0; j < 4; j++) to[k * WIDTH + t + j] = a[j * cols + k];
    }
    for (; t < tokens; t++)
        for (int64_t k = 0; k < cols; k++) to[k * WIDTH + t] = x[t * cols + k];
}

/* (rows, WIDTH) -> y, whose rows are tokens: the inverse of `pack` for results. */
TARGET static void FN(unpack)(float *y, int64_t ld, const float *from, int64_t tokens, int64_t rows) {
    int64_t t = 0;
    for (; t + 4 <= tokens; t += 4) {
        float *at = y + t * ld;
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            const float *a = from + r * WIDTH + t;
            __m128 r0 = _mm_loadu_ps(a), r1 = _mm_loadu_ps(a + WIDTH);
            __m128 r2 = _mm_loadu_ps(a + 2 * WIDTH), r3 = _mm_loadu_ps(a + 3 * WIDTH);
            _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
            _mm_storeu_ps(at + r, r0);
            _mm_storeu_ps(at + ld + r, r1);
            _mm_storeu_ps(at + 2 * ld + r, r2);
            _mm_storeu_ps(at + 3 * ld + r, r3);
        }
        for (; r < rows; r++)
            for (int64_t j = 0; j < 4; j++) at[j * ld + r] = from[r * WIDTH + t + j];
    }
    for (; t < tokens; t++)
        for (int64_t r = 0; r < rows; r++) y[t * ld + r] = from[r * WIDTH + t];
}

/* to (TILE, WIDTH) = w (TILE, cols) times x (cols, WIDTH); the order of sums does not depend on shapes. */
TARGET static inline __attribute__((always_inline)) void
FN(tile)(float *to, const float *w, const float *x, int64_t cols, const int vectors) {
    VEC sum[TILE][2];
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++) sum[r][0] = sum[r][1] = ZERO();
    for (int64_t k = 0; k < cols; k++, x += WIDTH) {
        const VEC x0 = LOAD(x), x1 = vectors > 1 ? LOAD(x + LANES) : x0;
#pragma GCC unroll 16
        for (int r = 0; r < TILE; r++) {
            const VEC one = SET1(w[r * cols + k]);
            sum[r][0] = FMA(one, x0, sum[r][0]);
            if (vectors > 1) sum[r][1] = FMA(one, x1, sum[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++) {
        STORE(to + r * WIDTH, sum[r][0]);
        if (vectors > 1) STORE(to + r * WIDTH + LANES, sum[r][1]);
    }
}

/* Rows r0 .. r1 - 1 of W at every point, times that point's tokens. */
TARGET static void FN(block)(const zo_product *a, const zo_form *f, const zo_keys *rk,
                             const zo_work *noise, float *formed, float *tiles, int64_t r0, int64_t r1) {
    const int64_t cols = f->cols, rows = r1 - r0, panels = (a->tokens + WIDTH - 1) / WIDTH;
    const float *weight = (const float *)(uintptr_t)f->base + r0 * cols;
    if (f->m) {
        zo_form part = *f;
        part.out = (uint64_t)(uintptr_t)formed;
        part.base = (uint64_t)(uintptr_t)weight;
        part.offset += r0 * cols;
        part.nrows = 1, part.cols = rows * cols;
        const int64_t pieces = (part.cols + noise->chunk - 1) / noise->chunk + 1;
        FN(units)(&part, rk, noise, pieces, 0, pieces);
    }
    for (int64_t p = 0, moved = 0; p < a->points; p++) {
        const float *w = weight;
        if (a->moved[p]) w = formed + moved++ * rows * cols;
        else if (rows % TILE) w = memcpy(formed + f->m * rows * cols, weight, (size_t)(rows * cols) * sizeof(float));
        for (int64_t v = 0; v < panels; v++) {
            const int64_t tokens = min64(WIDTH, a->tokens - v * WIDTH);
            const float *x = (const float *)(uintptr_t)a->packed + (p * panels + v) * cols * WIDTH;
            for (int64_t r = 0; r < rows; r += TILE) {
                if (tokens > LANES)
                    FN(tile)(tiles + r * WIDTH, w + r * cols, x, cols, 2);
                else
                    FN(tile)(tiles + r * WIDTH, w + r * cols, x, cols, 1);
            }
            float *y = (float *)(uintptr_t)a->y + (p * a->tokens + v * WIDTH) * a->ld + r0;
            FN(unpack)(y, a->ld, tiles, tokens, rows);
        }
    }
}

TARGET static void FN(pack_panel)(const zo_product *a, int64_t cols, int64_t u) {
    const int64_t panels = (a->tokens + WIDTH - 1) / WIDTH, p = u / panels, v = u % panels;
    const float *x = (const float *)(uintptr_t)a->x + (p * a->tokens + v * WIDTH) * cols;
    FN(pack)((float *)(uintptr_t)a->packed + u * cols * WIDTH, x, min64(WIDTH, a->tokens - v * WIDTH), cols);
}

static const zo_gemm FN(gemm) = {FN(pack_panel), FN(block), TILE, WIDTH};

#undef CAT2
#undef CAT
#undef FN
#undef LANES
#undef WIDTH
#undef TILE
#undef VEC
#undef ZERO
#undef LOAD
#undef SET1
#undef STORE
#undef FMA
