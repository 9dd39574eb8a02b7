/* Compares every native edition with the scalar one, without Python; run by editions.sh on ARM's emulator.

   What it is: made-up calls of zoptim_form and zoptim_round (laws, dtypes, odd lengths, gathered rows, steps),
   bytes compared, and a digest of all of them that must be the same on every machine. */
#include "../src/zoptim/kernels/native.c"

#include <stdio.h>

static uint64_t state = 1;

static uint32_t next(uint32_t below) { /* a made-up case, not noise */
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

enum { MAX = 9 * 3 * 5000 };
static float table[65536];
static uint64_t base[MAX], out[2][MAX]; /* room for doubles */
static uint32_t draws[2 * 40];
static double coefs[9 * 40];

static void fill(int64_t dtype, int64_t n) { /* weights of many magnitudes, exact in every dtype */
    for (int64_t j = 0; j < n; j++) {
        float f = (float)((int)next(511) - 255) / (float)(1u << next(14));
        if (dtype == ZO_F64) ((double *)base)[j] = f;
        else if (dtype == ZO_F32) ((float *)base)[j] = f;
        else ((uint16_t *)base)[j] = dtype == ZO_BF16 ? narrow_bf16(f) : narrow_f16(f);
    }
}

static uint64_t turn(int64_t isa, uint64_t *to, uint64_t seed) {
    static const int64_t sizes[] = {1, 31, 64, 700, 2049, 4500};
    state = seed;
    const int64_t dtype = next(4), cols = sizes[next(6)], nrows = 1 + next(3), steps = next(3);
    const int64_t m = steps ? 1 : 1 + next(9), k = 1 + next(40), width = dtype == ZO_F64 ? 8 : dtype == ZO_F32 ? 4 : 2;
    int64_t rows[3] = {next(1000), next(1000), next(1000)};
    zo_step step[2] = {{0, k, 3, -0.5}, {0, (k + 1) / 2, 4, 0.001}};
    for (int j = 0; j < 80; j++) draws[j] = next(1 << 24);
    for (int64_t j = 0; j < m * k; j++) coefs[j] = next(4) ? ((double)next(2001) - 1000) / 777 : 0;
    fill(dtype, nrows * cols);
    memset(to, 7, sizeof out[0]);
    memcpy(to, base, (size_t)(nrows * cols * width));
    zo_form a = {.out = (uint64_t)(uintptr_t)to, .table = (uint64_t)(uintptr_t)table, .key = seed * 77777,
                 .slot = next(1 << 30), .offset = next(5000), .nrows = nrows, .cols = cols, .m = m, .k = k,
                 .count = steps, .dtype = dtype, .law = next(2), .isa = isa, .threads = 1, .t = -1, .scale = 0.3};
    a.base = steps ? a.out : next(5) ? (uint64_t)(uintptr_t)base : 0;
    a.rows = next(2) ? (uint64_t)(uintptr_t)rows : 0;
    if (!a.rows) a.cols = nrows * cols, a.nrows = 1;
    zoptim_form(&a, draws, coefs, step);
    uint64_t digest = 14695981039346656037u;
    for (size_t j = 0; j < (size_t)(m * nrows * cols * width); j++)
        digest = (digest ^ ((unsigned char *)to)[j]) * 1099511628211u;
    return digest;
}

int main(void) {
    uint64_t all = 0;
    for (uint32_t j = 0; j < 65536; j++) table[j] = ((float)(j * 40503u % 65536u) - 32768) / 8192;
    const int64_t best = zoptim_isa();
    for (uint64_t seed = 1; seed <= 300; seed++) {
        const uint64_t want = turn(ZO_SCALAR, out[0], seed);
        for (int64_t isa = 1; isa <= best; isa++)
            if (turn(isa, out[1], seed) != want || memcmp(out[0], out[1], sizeof out[0])) {
                printf("edition %d differs from the scalar one in case %d\n", (int)isa, (int)seed);
                return 1;
            }
        all = all * 31 + want;
    }
    for (int64_t dtype = ZO_BF16; dtype <= ZO_F16; dtype++) {
        uint16_t rounded[2][5000];
        for (int64_t isa = 0; isa <= best; isa++) {
            state = 99;
            for (int j = 0; j < 5000; j++) ((uint32_t *)base)[j] = next(1u << 31) << 1 | next(2);
            zo_round a = {(uint64_t)(uintptr_t)rounded[isa > 0], (uint64_t)(uintptr_t)base, 5, 6, 13, 5000, 8, dtype, isa, 1};
            zoptim_round(&a);
            if (isa && memcmp(rounded[0], rounded[1], sizeof rounded[0])) return printf("rounding differs\n"), 1;
        }
        for (int j = 0; j < 5000; j++) all = all * 31 + rounded[0][j];
    }
    printf("%016llx\n", (unsigned long long)all);
    fprintf(stderr, "editions 0..%d agree on 300 calls and two roundings\n", (int)best);
    return 0;
}
