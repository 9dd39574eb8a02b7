"""The kernels in torch integer arithmetic: for tensors on devices without a kernel of their own.

What it is: `reference.py` on the tensor's own device, with the same bits: Philox in int64 (products
taken modulo 2**64, so that their halves are exact), signs from bits, normals from the table.  One
torch operation per rounding, because a fused `add(z, alpha=c)` may contract.  What it is not: fast,
or frugal (int64 words: some 40 bytes an element of scratch).

    acc = 0;  for k in order, coefs[p, k] != 0:  acc = rnd(acc + rnd(A(c_pk) * z_k))
    out_p = round_to_dtype(rnd(base + rnd(A(scale) * acc)))

Symbols: m points p, k draws, z direction, c coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from zoptim import noise

_LOW = 0xFFFFFFFF


def philox_words(blocks: torch.Tensor, key: int, slot: int, t: int, purpose_i: int) -> torch.Tensor:
    """Philox4x32-10 of int64 block numbers (b,): (b, 4) int64 words in [0, 2**32)."""
    x0 = blocks & _LOW
    x1, x2, x3 = (torch.full_like(x0, v) for v in (slot, t, purpose_i))
    k0, k1 = key & _LOW, key >> 32
    for _ in range(10):
        low0, high0 = _product(x0, 0xD2511F53)
        low1, high1 = _product(x2, 0xCD9E8D57)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return torch.stack([x0, x1, x2, x3], dim=-1)


def _product(x: torch.Tensor, multiplier: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Low and high words of x * multiplier, by halves of 16 bits: nothing overflows int64."""
    a, b = x * (multiplier & 0xFFFF), x * (multiplier >> 16)  # both below 2**48
    low = (a + ((b & 0xFFFF) << 16)) & _LOW
    high = (b + (a >> 16)) >> 16
    return low, high


def half_words(
    runs: Sequence[tuple[int, int]], key: int, slot: int, t: int, purpose_i: int, device: torch.device
) -> torch.Tensor:
    """The 16-bit words of runs (first element, length) of equal length: (runs, length) int64."""
    rows = []
    for start, n in runs:
        first = start // 8
        blocks = torch.arange(first, (start + n - 1) // 8 + 1, device=device)
        words = philox_words(blocks, key, slot, t, purpose_i).reshape(-1)
        halves = torch.stack([words & 0xFFFF, words >> 16], dim=-1).reshape(-1)
        rows.append(halves[start - 8 * first :][:n])
    return torch.stack(rows)


def direction(
    law: str,
    runs: Sequence[tuple[int, int]],
    key: int,
    slot: int,
    draw: tuple[int, int],
    device: torch.device,
) -> torch.Tensor:
    """z of one draw on runs (first element, length) of equal length: (runs, length) float32."""
    t, i = draw
    if law == "normal":
        return _table(str(device))[half_words(runs, key, slot, t, i, device)]
    rows = []
    for start, n in runs:
        first = start // 128
        blocks = torch.arange(first, (start + n - 1) // 128 + 1, device=device)
        words = philox_words(blocks, key, slot, t, i).reshape(-1)
        bits = (words[:, None] >> torch.arange(32, device=device)) & 1
        rows.append(bits.reshape(-1)[start - 128 * first :][:n])
    return (1 - 2 * torch.stack(rows)).to(torch.float32)


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
    """Forms m points from draws; arguments as in `reference.form`, tensors instead of arrays."""
    m, nrows, cols = out.shape[0], out.shape[1], math.prod(out.shape[2:])
    wide = torch.float64 if out.dtype == torch.float64 else torch.float32
    if out.numel() == 0 or out.device.type == "meta":
        return
    runs = [(offset, nrows * cols)] if rows is None else [(int(r) * cols, cols) for r in rows]
    acc = torch.zeros((m, nrows, cols), dtype=wide, device=out.device)
    for k, draw in enumerate(draws):
        if not coefs[:, k].any():
            continue
        z = direction(law, runs, key, slot, draw, out.device).reshape(nrows, cols).to(wide)
        for p in np.flatnonzero(coefs[:, k]):
            c = float(coefs[p, k]) if wide == torch.float64 else float(np.float32(coefs[p, k]))
            acc[p] = acc[p] + z * c
    s = scale if wide == torch.float64 else float(np.float32(scale))
    start = torch.zeros((), dtype=wide, device=out.device)
    if base is not None:
        start = base.reshape(nrows, cols).to(wide)
    out.copy_((start + acc * s).to(out.dtype).reshape(out.shape))


def round_stochastic_(
    out: torch.Tensor, src: torch.Tensor, *, key: int, slot: int, offset: int, t: int
) -> None:
    """Stochastic rounding as in `reference.round_stochastic_`, in torch integers."""
    n = src.numel()
    if n == 0 or out.device.type == "meta":
        return
    r = half_words([(offset, n)], key, slot, t, noise.ROUNDING << 24, src.device)[0]
    bits = src.reshape(-1).view(torch.int32).to(torch.int64) & _LOW
    a, sign = bits & 0x7FFFFFFF, (bits >> 16) & 0x8000
    if out.dtype == torch.bfloat16:
        h = ((a + r) >> 16).clamp(max=0x7F7F)
        quiet, infinite = (a >> 16) | 0x40, 0x7F80
    else:
        e = a >> 23
        mantissa = (a & 0x7FFFFF) | 0x800000
        fixed = (mantissa << 2) >> (112 - e).clamp(0, 63)
        normal = (a - (112 << 23) + (r >> 3)) >> 13
        h = torch.where(e >= 113, normal, (fixed + r) >> 16).clamp(max=0x7BFF)
        quiet, infinite = torch.full_like(a, 0x7E00), 0x7C00
    h = torch.where(a >= 0x7F800000, torch.full_like(h, infinite), h)
    h = torch.where(a > 0x7F800000, quiet, h) | sign
    signed = torch.where(h >= 0x8000, h - 0x10000, h).to(torch.int16)
    out.view(torch.int16).copy_(signed.reshape(out.shape))


@lru_cache(maxsize=8)
def _table(device: str) -> torch.Tensor:
    return torch.from_numpy(noise.normal_table().copy()).to(device)
