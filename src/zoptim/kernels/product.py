"""Products with weights that are formed in cache as they are used: what a perturbed layer computes.

    y_p = x_p (W + sum_k c_pk z_k)^T

The weights are those of `kernels.form`, bit for bit.  Editions: native C for AVX2 and AVX-512
(`native_product.h`), float32.  What it is not: there for other machines and dtypes; `scratch_size` is 0 then,
and layers form weights and multiply them with torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoptim import kernels
from zoptim.kernels import native


def scratch_size(x: Any, weight: Any) -> int:
    """Floats of scratch `product` needs for x (m, tokens, cols) and weight (rows, cols); 0: it cannot run."""
    if kernels._library is None or x.dtype != weight.dtype:
        return 0
    if str(weight.dtype) not in ("float32", "torch.float32"):
        return 0
    if getattr(x, "is_cpu", True) is False or getattr(weight, "is_cpu", True) is False:
        return 0
    return kernels._library.packed(kernels._isa, *x.shape)


def product(
    y: Any,
    x: Any,
    weight: Any,
    scratch: Any,
    *,
    law: str,
    key: int,
    slot: int,
    draws: Sequence[tuple[Any, ...]],
    coefs: np.ndarray,
) -> None:
    """y[p] = x[p] (weight + sum_k coefs[p, k] z_k)^T, weights formed in cache as they are multiplied.

    The weights are those of `form`, bit for bit; the sum over columns runs in their order, whatever the
    number of points, tokens or threads, with fused multiplications: equal bits on machines that have it.

    Args:
        y: (m, tokens, rows) float32, C-contiguous.  Written.
        x: (m, tokens, cols) float32, C-contiguous.
        weight: (rows, cols) float32: the whole slot, unperturbed.
        scratch: float32, at least `scratch_size(x, weight)` numbers, which is not 0.
        law, key, slot, draws, coefs: as in `form`.

    Raises:
        ValueError: a shape or dtype is wrong; nothing was written.

    Cost: weights are read once; per point the product at about the speed of the machine's multiplier.
        Memory: the scratch, which holds x again, and a thread some rows of weights at all points: 0.4-1 MB
        for a few points, 48 bytes x points x cols where that is more.
    """
    if len(x.shape) != 3 or len(weight.shape) != 2:
        raise ValueError(
            f"x {tuple(x.shape)} must be (m, tokens, cols), weight {tuple(weight.shape)} (rows, cols)"
        )
    m, tokens, cols = x.shape
    rows, k = weight.shape[0], len(draws)
    coefs = np.ascontiguousarray(coefs, np.float64)
    if tuple(y.shape) != (m, tokens, rows) or weight.shape[1] != cols or coefs.shape != (m, k):
        raise ValueError(
            f"y {tuple(y.shape)}, x {tuple(x.shape)}, weight {tuple(weight.shape)}, coefs {coefs.shape} of "
            f"{k} draws do not fit together"
        )
    kernels._check(law, key, slot, slice(0, rows), rows, cols)
    needed = scratch_size(x, weight)
    if not needed or kernels._library is None:
        raise ValueError("these kernels have no product; form the weights and multiply them")
    if math.prod(scratch.shape) < needed:
        raise ValueError(f"scratch has {math.prod(scratch.shape)} numbers; {needed} are needed")
    places = [
        kernels._address(a, n) for a, n in ((y, "y"), (x, "x"), (scratch, "scratch"), (weight, "weight"))
    ]
    if any(code for code, _ in places):  # 0 is float32
        raise ValueError(f"y, x, weight and scratch must all be float32, not {y.dtype}, {scratch.dtype}")
    if any(isinstance(a, np.ndarray) and not a.flags.writeable for a in (y, scratch)):
        raise ValueError("y or scratch is read-only; pass arrays that may be written")
    if rows * cols * tokens * m:
        y_at, x_at, scratch_at, weight_at = (at for _, at in places)
        kernels._library.product(
            y_at, x_at, scratch_at, weight_at, native.LAWS[law], key, slot, (m, tokens, rows, cols),
            kernels._pack(draws), coefs.tobytes(), k, kernels._isa, kernels.threads(),
        )  # fmt: skip
