"""The kernel `form` in Triton, for GPUs: float32, bfloat16 and float16.

What it is: one program per tile of Philox blocks of one run of consecutive elements; a block is
computed once for its 128 signs or 8 normals and used for every point.  Bit for bit the other
editions under Triton's interpreter (TRITON_INTERPRET=1), which is how it is tested: it has *not*
been run on a GPU.  What it is not: allowed to contract (`enable_fp_fusion=False`), or used for
float64, meta or other devices (`torch_ref.py`).

    acc = 0;  for k in order:  acc = rnd(acc + rnd(c_pk * z_k));   out_p = rnd(base + rnd(s * acc))

Adding a zero coefficient's term changes no bit (the sum is never -0), so none is skipped here.
Symbols: m points p, k draws, z direction, c coefficient, s scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from zoptim import noise

PANEL = 8  # points formed by one launch
TILE = 1024  # elements of one program
_CODES = {torch.float32: 0, torch.bfloat16: 2, torch.float16: 3}


@triton.jit
def _philox(block, slot, t, i, key0, key1):  # type: ignore[no-untyped-def]
    """Philox4x32-10 of uint32 tensors of one shape."""
    x0, x1, x2, x3 = block, slot, t, i
    m0 = tl.full(block.shape, 0xD2511F53, tl.uint32)
    m1 = tl.full(block.shape, 0xCD9E8D57, tl.uint32)
    w0 = tl.full(block.shape, 0x9E3779B9, tl.uint32)
    w1 = tl.full(block.shape, 0xBB67AE85, tl.uint32)
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(x0, m0), x0 * m0
        high1, low1 = tl.umulhi(x2, m1), x2 * m1
        x0, x1, x2, x3 = high1 ^ x1 ^ key0, low1, high0 ^ x3 ^ key1, low0
        key0 += w0
        key1 += w1
    return x0, x1, x2, x3


@triton.jit  # type: ignore[untyped-decorator]
def _form_kernel(  # type: ignore[no-untyped-def]
    out, base, rows, head, draws, coefs, table, scale, run, offset, total, tiles, m, k,
    SIGNS: tl.constexpr, PER: tl.constexpr, NB: tl.constexpr, M: tl.constexpr,
    CODE: tl.constexpr, HAS_BASE: tl.constexpr, GATHERED: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0).to(tl.int64) // tiles
    first = tl.load(rows + r) * run if GATHERED else tl.load(offset)
    lane = (tl.program_id(0).to(tl.int64) % tiles) * NB + tl.arange(0, NB)
    block = (first // PER + lane)[:, None]  # (NB, 1)
    column = tl.arange(0, PER)[None, :]
    element = block * PER + column  # (NB, PER), number in the slot
    inside = (element >= first) & (element < first + run)
    zero = tl.zeros((NB, 1), tl.uint32)
    key0 = zero + tl.load(head).to(tl.uint32, bitcast=True)
    key1 = zero + tl.load(head + 1).to(tl.uint32, bitcast=True)
    slot = zero + tl.load(head + 2).to(tl.uint32, bitcast=True)
    point = tl.arange(0, M)
    acc = tl.zeros((M, NB, PER), tl.float32)
    for j in range(k):
        t = zero + tl.load(draws + 2 * j).to(tl.uint32, bitcast=True)
        i = zero + tl.load(draws + 2 * j + 1).to(tl.uint32, bitcast=True)
        x0, x1, x2, x3 = _philox(block.to(tl.uint32), slot, t, i, key0, key1)
        if SIGNS:
            low, high = tl.where(column < 32, x0, x1), tl.where(column < 96, x2, x3)
            word = tl.where(column < 64, low, high)
            bit = (word >> (column % 32).to(tl.uint32)) & 1
            z = 1.0 - 2.0 * bit.to(tl.float32)
        else:
            low, high = tl.where(column < 2, x0, x1), tl.where(column < 6, x2, x3)
            word = tl.where(column < 4, low, high)
            half = (word >> (16 * (column % 2)).to(tl.uint32)) & 0xFFFF
            z = tl.load(table + half.to(tl.int32))
        c = tl.load(coefs + point * k + j, mask=point < m, other=0.0)[:, None, None]
        product = c * z[None, :, :]
        acc = acc + product
    at = r * run + (element - first)  # position in base and in each point of out
    value = tl.load(scale) * acc
    if HAS_BASE:
        if CODE == 2:
            raw = tl.load(base + at, mask=inside, other=0).to(tl.uint16, bitcast=True)
            start = (raw.to(tl.uint32) << 16).to(tl.float32, bitcast=True)
        else:
            start = tl.load(base + at, mask=inside, other=0.0).to(tl.float32)
        value = start[None, :, :] + value
    else:
        value = 0.0 + value
    to = out + point.to(tl.int64)[:, None, None] * total + at[None, :, :]
    kept = inside[None, :, :] & (point < m)[:, None, None]
    if CODE == 2:  # round to nearest even, by integers
        bits = value.to(tl.uint32, bitcast=True)
        up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        result = tl.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits >> 16) | 0x40, up)
        tl.store(to, result.to(tl.uint16).to(tl.int16, bitcast=True), mask=kept)
    elif CODE == 3:
        tl.store(to, value.to(tl.float16), mask=kept)
    else:
        tl.store(to, value, mask=kept)


def form(
    out: torch.Tensor,
    base: torch.Tensor | None,
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
    """Forms m points from draws; arguments as in `reference.form`, tensors instead of arrays.

    Raises:
        ValueError: the dtype has no Triton edition.

    Cost: one sweep of `out`; noise is made once for every 8 points.
    """
    if out.dtype not in _CODES:
        raise ValueError(f"out is {out.dtype}; Triton forms {', '.join(map(str, _CODES))}")
    m, nrows, cols = out.shape[0], out.shape[1], math.prod(out.shape[2:])
    if out.numel() == 0:
        return
    per = 128 if law == "signs" else 8
    runs, run = (1, nrows * cols) if rows is None else (nrows, cols)
    code = _CODES[out.dtype]
    flat, start = _raw(out, code), out if base is None else base

    def put(values: Any, dtype: Any) -> torch.Tensor:
        array = np.ascontiguousarray(values, dtype)
        if array.dtype == np.uint32:
            array = array.view(np.int32)
        return torch.from_numpy(array).to(out.device)

    head = put([key & 0xFFFFFFFF, key >> 32, slot], np.uint32)
    pairs = put(draws if len(draws) else [(0, 0)], np.uint32)
    numbers = put([0] if rows is None else rows, np.int64)
    for p in range(0, m, PANEL):
        q = min(p + PANEL, m)
        points = triton.next_power_of_2(q - p)
        nb = max(1, TILE // (per * points))
        weights = coefs[p:q].astype(np.float32) if len(draws) else np.zeros((q - p, 1))
        blocks = (run - 2) // per + 2  # at most: a run may begin at the end of a block
        tiles = -(-blocks // nb)
        _form_kernel[(runs * tiles,)](
            flat[p * nrows * cols :], _raw(start, code), numbers, head, pairs,
            put(weights, np.float32), _table(str(out.device)), put([scale], np.float32),
            run, put([offset], np.int64), nrows * cols, tiles, q - p, len(draws),
            SIGNS=law == "signs", PER=per, NB=nb, M=points, CODE=code,
            HAS_BASE=base is not None, GATHERED=rows is not None, enable_fp_fusion=False,
        )  # fmt: skip


def _raw(x: torch.Tensor, code: int) -> torch.Tensor:
    """Flat view; bfloat16 as the integers it is made of."""
    return (x.view(torch.int16) if code == 2 else x).reshape(-1)


@lru_cache(maxsize=8)
def _table(device: str) -> torch.Tensor:
    return torch.from_numpy(noise.normal_table().copy()).to(device)
