"""The least a step could take on this machine, measured in the same run: what no implementation can pass.

    products   the matrix products the points need, on the very operands of the lean forward, nothing else:
               no norm, no activation, no softmax, no noise, no update
    bytes      the weights read once for all points, and read and written once by the update, over the
               bandwidth of a plain w.add_(other) (two reads and a write) of the model's size
    floor      the larger of the two: both resources must be spent, even if perfectly overlapped
    in turn    the larger of products and one reading of the weights, *plus* the update's bytes: what a step
               takes that does not fuse the update into the next visit

Points of dense directions have weights of their own, so each needs its products; points of a low-rank direction
share the base product, which is taken once over all their rows.  What it is not: a model of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cases import Calls

_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear"}
_ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"


class Product(NamedTuple):
    """One matrix product of the forward: (n, k) by (k, o), or batched."""

    left: Tensor
    right: Tensor


class _Watch(TorchDispatchMode):
    """Keeps the operands of every matrix product that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        if name in _PRODUCTS:
            left, right = (args[1], args[2]) if "add" in name else (args[0], args[1])
            self.seen.append(Product(left, right.t() if name == "aten::linear" else right))
        elif name == _ATTENTION:
            q, k, v = args[:3]
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))  # grouped heads
            self.seen.append(Product(q, k.transpose(-1, -2)))
            self.seen.append(Product(torch.full((*q.shape[:-1], k.shape[-2]), 0.5, dtype=q.dtype), v))
        return func(*args, **(kwargs or {}))


def products(calls: Calls) -> list[Product]:
    """The matrix products of one lean forward."""
    with _Watch() as watch:
        calls.lean()
    return watch.seen


def apart(seen: list[Product], m: int) -> Callable[[], None]:
    """Every product m times in a row: m points with weights of their own, formed in the cache."""

    def run() -> None:
        for left, right in seen:
            for _ in range(m):
                torch.matmul(left, right)

    return run


def shared(seen: list[Product], m: int) -> Callable[[], None]:
    """Products with a weight once over the rows of m points; those between activations m times."""
    wide = [
        Product(
            left.repeat(m, *[1] * (left.dim() - 1)), right if right.dim() == 2 else right.repeat(m, 1, 1, 1)
        )
        for left, right in seen
        if right.dim() in (2, 4)
    ]
    return apart(wide, 1)


def bytes_read(seen: list[Product]) -> int:
    """Bytes of weights one lean forward reads."""
    return sum(p.right.numel() * p.right.element_size() for p in seen if p.right.dim() == 2)


def adder(elements: int, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    """The plain add whose bandwidth counts, and the bytes it moves."""
    w, other = torch.zeros(elements, dtype=dtype), torch.full((elements,), 1e-6, dtype=dtype)
    return lambda: w.add_(other), 3 * elements * w.element_size()


def floors(*, products_seconds: float, read: int, weights: int, bandwidth: float) -> dict[str, float]:
    """Seconds of each kind; `read`: bytes a pass reads, `weights`: bytes of all that is trained, bytes a second."""
    update = 2 * weights / bandwidth
    moved = read / bandwidth + update
    return {
        "products_seconds": products_seconds,
        "bytes_seconds": moved,
        "floor_seconds": max(products_seconds, moved),
        "in_turn_seconds": max(products_seconds, read / bandwidth) + update,
    }
