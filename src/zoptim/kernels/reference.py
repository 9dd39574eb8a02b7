"""The kernels in numpy: the obvious edition, the oracle of the others, and the last resort.

What it is: the semantics of `zoptim.kernels.form` and `round_stochastic_` with one numpy operation
per rounding.  Bit for bit the other editions.  What it is not: fast (15-100 times the native time).

    acc = 0;  for k in order, coefs[p, k] != 0:  acc = rnd(acc + rnd(A(c_pk) * z_k))
    out_p = round_to_dtype(rnd(base + rnd(A(scale) * acc)))

A is float64 for float64 and float32 otherwise.  numpy has no bfloat16: arrays of uint16 are taken
for bfloat16 bit patterns.  Symbols: m points p, k draws, z direction, c coefficient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoptim import noise

_MAKERS = {"signs": noise.signs, "normal": noise.normals}


def form(
    out: np.ndarray,
    base: np.ndarray | None,
    *,
    law: str,
    key: int,
    slot: int,
    rows: np.ndarray | None,
    offset: int,
    draws: Sequence[tuple[int, int]],
    coefs: np.ndarray,
    scale: float,
) -> None:
    """Forms m points from draws.

    Args:
        out: (m, R, cols) float32, float64, float16, or uint16 for bfloat16.
        base: (R, cols) of the same dtype, or None for zeros.
        law: "signs" or "normal".
        key: run key.
        slot: noise address of the tensor.
        rows: (R,) row numbers, or None for a range that begins at element `offset`.
        offset: element number of the first row in the slot (ignored with `rows`).
        draws: k pairs (t, i).
        coefs: (m, k) float64.
        scale: multiplies each sum.

    Cost: memory of m + 2 copies of `base` in A.
    """
    m, nrows, cols = out.shape
    wide: Any = np.float64 if out.dtype == np.float64 else np.float32
    acc = np.zeros((m, nrows, cols), wide)
    with np.errstate(all="ignore"):
        for k, draw in enumerate(draws):
            if not coefs[:, k].any():
                continue
            z = direction(law, key, slot, rows, offset, draw, (nrows, cols)).astype(wide)
            for p in np.flatnonzero(coefs[:, k]):
                acc[p] = acc[p] + wide(coefs[p, k]) * z
        start = wide(0) if base is None else widen(base, wide)
        out[...] = narrow(start + wide(scale) * acc, out.dtype)


def direction(
    law: str,
    key: int,
    slot: int,
    rows: np.ndarray | None,
    offset: int,
    draw: tuple[int, int],
    shape: tuple[int, int],
) -> np.ndarray:
    """z of one draw on these rows: (R, cols) float32."""
    make, (nrows, cols) = _MAKERS[law], shape
    t, i = draw
    if rows is None:
        return make(key, t, i, slot, offset, nrows * cols).reshape(shape)
    parts = [make(key, t, i, slot, int(r) * cols, cols) for r in rows]
    return np.stack(parts) if parts else np.zeros(shape, np.float32)


def widen(x: np.ndarray, wide: type) -> np.ndarray:
    """Exact conversion to the accumulator's type."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return x.astype(wide)


def narrow(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One rounding to nearest, ties to even."""
    if dtype != np.uint16:
        return x.astype(dtype)
    bits = np.ascontiguousarray(x).view(np.uint32)
    up = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), (bits >> np.uint32(16)) | np.uint32(0x40), up).astype(np.uint16)


def round_stochastic_(out: np.ndarray, src: np.ndarray, *, key: int, slot: int, offset: int, t: int) -> None:
    """Rounds float32 up or down to half precision, up with probability of the part cut off.

    Magnitudes are rounded as integers: 16 random bits r are added below the cut.  float16 below
    2**-14 has its grid at 2**-24, and the fraction is first truncated to 16 bits.  A finite value
    stays finite (the largest one), infinities and NaN stay what they are.

    Args:
        out: (n,) float16, or uint16 for bfloat16.
        src: (n,) float32.
        key: run key.
        slot: noise address.
        offset: element number of out[0] in the slot.
        t: step.
    """
    r = noise.half_words(key, noise.ROUNDING, t, 0, slot, offset, src.size)
    bits = np.ascontiguousarray(src).view(np.uint32)
    a, sign = bits & np.uint32(0x7FFFFFFF), (bits >> np.uint32(16)) & np.uint32(0x8000)
    if out.dtype == np.uint16:
        h = np.minimum((a + r) >> np.uint32(16), np.uint32(0x7F7F))
        quiet, infinite = (a >> np.uint32(16)) | np.uint32(0x40), np.uint32(0x7F80)
    else:
        e = a >> np.uint32(23)
        mantissa = ((a & np.uint32(0x7FFFFF)) | np.uint32(0x800000)).astype(np.uint64)
        low = np.clip(112 - e.astype(np.int64), 0, 63).astype(np.uint64)
        fixed = ((mantissa << np.uint64(2)) >> low).astype(np.uint32)  # units of 2**-40
        normal = (a - np.uint32(112 << 23) + (r >> np.uint32(3))) >> np.uint32(13)
        h = np.where(e >= 113, normal, (fixed + r) >> np.uint32(16))
        h = np.minimum(h, np.uint32(0x7BFF))
        quiet, infinite = np.full_like(a, 0x7E00), np.uint32(0x7C00)
    h = np.where(a >= np.uint32(0x7F800000), infinite, h)
    h = np.where(a > np.uint32(0x7F800000), quiet, h)
    out.view(np.uint16)[...] = (sign | h).astype(np.uint16)
