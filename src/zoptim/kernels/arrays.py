"""The few array operations that numpy and torch spell differently, with the same bits in both.

For parts that must serve either kind without importing torch.  Not here: noise and sums of directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def wide(like: Any, shape: tuple[int, ...]) -> Any:
    """Uninitialized memory of `like`'s kind and place, in the dtype sums are formed in: float64 of float64, else float32."""
    if isinstance(like, np.ndarray):
        return np.empty(shape, np.float64 if like.dtype == np.float64 else np.float32)
    made = like.new_empty(shape)
    return made.float() if made.element_size() == 2 else made


def empty(like: Any, shape: tuple[int, ...]) -> Any:
    """Uninitialized memory of `like`'s kind, place and dtype."""
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def settle(out: Any, total: Any, base: Any, scale: float) -> None:
    """out = base + scale * total, each rounded in total's dtype (it is spoiled), then once into out's; out may be base."""
    if scale != 1.0:
        total *= scale
    if base is not None:
        total += base
    out[:] = total


def sqrt_(x: Any) -> Any:
    """The correctly rounded root, in place: neither x ** 0.5 nor torch's own on a CPU is."""
    if isinstance(x, np.ndarray):
        return np.sqrt(x, out=x)
    if x.device.type != "cpu":
        return x.sqrt_()
    sqrt_(x.numpy())
    return x


def sign_(x: Any) -> Any:
    """-1, 0 or 1, in place."""
    return np.sign(x, out=x) if isinstance(x, np.ndarray) else x.sign_()


def overlap(a: Any, b: Any) -> bool:
    """Whether two arrays may share memory."""
    if isinstance(a, np.ndarray):
        return np.may_share_memory(a, b)
    return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())


def at_most_(out: Any, x: Any, h: float) -> Any:
    """out = 1 where |x| <= h, else 0, in out's own dtype and memory: fresh memory costs more than the arithmetic."""
    out[:] = x
    if isinstance(out, np.ndarray):
        np.abs(out, out=out)
        return np.less_equal(out, h, out=out)
    return out.abs_().le_(h)


def host(x: Any) -> np.ndarray:
    """The same memory as a numpy array.

    Raises:
        TypeError: x is on another device than the CPU.
    """
    if isinstance(x, np.ndarray):
        return x
    if x.device.type != "cpu":
        raise TypeError(
            f"x is on {x.device}: sets are computed by numpy, on the CPU; train there, or drop the set"
        )
    held: np.ndarray = x.detach().numpy()
    return held
