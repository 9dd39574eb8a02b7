"""Low-rank sums: out_p = base + scale * U_p V^T, the same bits everywhere.

    acc = 0;  for j in 0 .. rank - 1:  acc = rnd(acc + rnd(U[p, r, j] * V[c, j]))
    out[p, r, c] = round_to_dtype(rnd(base[r, c] + rnd(A(scale) * acc)))

A is float64 for float64 and float32 otherwise; U and V are given in A, V transposed.  What it is not: a
matrix product (BLAS adds in an order of its own, so no replay could be promised), or a maker of noise.
Editions: native C (`native_outer.h`), numpy, and plain torch operations for tensors on other devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoptim import kernels
from zoptim.kernels.reference import narrow, widen

_SIZES = (4, 8, 2, 2)  # bytes an element, by dtype code


def outer(out: Any, base: Any, u: Any, vt: Any, scale: float = 1.0) -> None:
    """out[p] = base + scale * u[p] @ vt, summed in the order of the rank.

    Args:
        out: (m, R, C) C-contiguous array or tensor: float32, float64, float16, bfloat16 (numpy: uint16 bit
            patterns).  Written.
        base: (R, C) of the same kind and dtype, or None for zeros.  May be `out` itself if m = 1.
        u: (m, R, rank) of the same kind, in A.
        vt: (rank, C), in A.
        scale: multiplies every sum.

    Raises:
        ValueError: a shape, dtype or overlap is wrong; nothing was written.

    Cost: one sweep of `out`; 2 * rank operations an element.

    Example:
        >>> out = np.empty((1, 2, 3), np.float32)
        >>> u, vt = np.ones((1, 2, 1), np.float32), np.arange(3, dtype=np.float32)[None]
        >>> outer(out, None, u, vt, 0.5)
        >>> out[0, 1]
        array([0. , 0.5, 1. ], dtype=float32)
    """
    m, nrows, cols = out.shape
    rank = vt.shape[0]
    if tuple(u.shape) != (m, nrows, rank) or tuple(vt.shape) != (rank, cols):
        raise ValueError(
            f"u has shape {tuple(u.shape)} and vt {tuple(vt.shape)}; out {tuple(out.shape)} needs "
            f"{(m, nrows, rank)} and {(rank, cols)}"
        )
    if base is not None and tuple(base.shape) != (nrows, cols):
        raise ValueError(f"base has shape {tuple(base.shape)}; out {tuple(out.shape)} needs {(nrows, cols)}")
    if getattr(out, "is_cpu", True) is False:
        _elsewhere(out, base, u, vt, scale)
        return
    (code, out_at), (u_code, u_at), (v_code, v_at) = (
        kernels._address(x, what) for x, what in ((out, "out"), (u, "u"), (vt, "vt"))
    )
    if not u_code == v_code == (1 if code == 1 else 0):
        raise ValueError(f"out is {out.dtype}: u ({u.dtype}) and vt ({vt.dtype}) must be as its sums are")
    base_at = 0
    if base is not None:
        base_code, base_at = kernels._address(base, "base")
        if base_code != code:
            raise ValueError(f"base is {base.dtype}, out is {out.dtype}; they must agree")
        kernels._refuse_overlap(out_at, base_at, nrows * cols * _SIZES[code], m)
    if not m * nrows * cols:
        return
    if kernels._isa < 0 or kernels._library is None:
        out, base, u, vt = (None if x is None else kernels._numpy(x) for x in (out, base, u, vt))
        _reference(out, base, u, vt, scale)
        return
    kernels._library.outer(
        out_at, base_at, u_at, v_at, (m, nrows, cols, rank), code, scale, kernels._isa, kernels.threads()
    )


def _reference(out: Any, base: Any, u: Any, vt: Any, scale: float) -> None:
    """The obvious edition, one numpy operation a rounding: the oracle."""
    wide: Any = np.float64 if out.dtype == np.float64 else np.float32
    acc = np.zeros(out.shape, wide)
    with np.errstate(all="ignore"):
        for j in range(len(vt)):
            acc = acc + u[:, :, j, None] * vt[j]
        start = wide(0) if base is None else widen(base, wide)
        out[...] = narrow(start + wide(scale) * acc, out.dtype)


def _elsewhere(out: Any, base: Any, u: Any, vt: Any, scale: float) -> None:
    """Tensors that are not in main memory: separate operations, so nothing is fused."""
    double = out.element_size() == 8
    acc = u.new_zeros(out.shape)
    for j in range(len(vt)):
        acc = acc + u[:, :, j, None] * vt[j]
    acc = acc * (scale if double else float(np.float32(scale)))
    out.copy_(acc + (0.0 if base is None else base if double else base.float()))
