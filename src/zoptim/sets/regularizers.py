"""Penalties that are no sets: a value, and the proximal step that methods of composite objectives take.

    prox(x, eta) = argmin_z eta psi(z) + |z - x|^2 / 2

    L1           psi = w |z|_1                          shrink every number by eta w
    ElasticNet   psi = w1 |z|_1 + w2/2 |z|_2^2          shrink, then divide by 1 + eta w2
    GroupL1      psi = w sum_g |z_g|_2                  shorten every group by eta w
    Nuclear      psi = w |Z|_*                          shrink every singular value by eta w

A set is a penalty too (0 inside, infinite outside): its prox is its projection.  Shapes and dtypes as of sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..protocols import Array
from .matrices import sides
from .shape import _as, number, put
from .solve import shrunk_by


class Penalty:
    """A base for penalties: `_prox(x, eta)` and `_value(x)` on float64 vectors."""

    def prox(self, x: Any, eta: float) -> np.ndarray:
        """argmin_z eta psi(z) + |z - x|^2 / 2, in x's shape and dtype; eta >= 0."""
        return _as(x, self._prox(_flat(x), eta))

    def value(self, x: Any) -> float:
        """psi(x)."""
        return float(self._value(_flat(x)))

    def _prox(self, x: np.ndarray, eta: float) -> Array:
        raise NotImplementedError

    def _value(self, x: np.ndarray) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class L1(Penalty):
    """weight |x|_1.  Cost: one sweep.

    Example:
        >>> L1(0.5).prox([2.0, -0.1], 1.0)
        array([1.5, 0. ])
    """

    weight: float

    def __post_init__(self) -> None:
        put(self, weight=number("weight", self.weight))

    def _prox(self, x: np.ndarray, eta: float) -> Array:
        return shrunk_by(x, eta * self.weight)

    def _value(self, x: np.ndarray) -> float:
        return self.weight * float(np.abs(x).sum())


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """l1 |x|_1 + l2/2 |x|_2^2.  Cost: one sweep."""

    l1: float
    l2: float

    def __post_init__(self) -> None:
        put(self, l1=number("l1", self.l1, above=-1e-300), l2=number("l2", self.l2, above=-1e-300))

    def _prox(self, x: np.ndarray, eta: float) -> Array:
        return shrunk_by(x, eta * self.l1) / (1.0 + eta * self.l2)

    def _value(self, x: np.ndarray) -> float:
        return self.l1 * float(np.abs(x).sum()) + 0.5 * self.l2 * float(x @ x)


@dataclass(frozen=True, eq=False)
class GroupL1(Penalty):
    """weight times the sum of the groups' lengths.

    Args:
        weight: positive.
        groups: (d,) whole numbers, the group of each number; every group has one weight, whatever its size.

    Cost: two sweeps.
    """

    weight: float
    groups: Any

    def __post_init__(self) -> None:
        groups = np.asarray(self.groups).reshape(-1)
        if groups.dtype.kind not in "iu" or groups.size == 0 or groups.min() < 0:
            raise ValueError("groups must be whole numbers from 0, the group of each coordinate")
        put(self, weight=number("weight", self.weight), groups=np.unique(groups, return_inverse=True)[1])

    def _lengths(self, x: np.ndarray) -> Array:
        if x.size != self.groups.size:
            raise ValueError(f"x has {x.size} numbers, groups {self.groups.size}")
        return np.sqrt(np.bincount(self.groups, weights=x * x))

    def _prox(self, x: np.ndarray, eta: float) -> Array:
        lengths = self._lengths(x)
        kept = np.maximum(lengths - eta * self.weight, 0.0) / np.where(lengths > 0.0, lengths, 1.0)
        return x * kept[self.groups]

    def _value(self, x: np.ndarray) -> float:
        return self.weight * float(self._lengths(x).sum())


@dataclass(frozen=True)
class Nuclear(Penalty):
    """weight times the sum of the singular values of x seen as a matrix, by rows.

    Cost: a singular value decomposition.
    """

    weight: float
    shape: tuple[int, int] = field(kw_only=True)

    def __post_init__(self) -> None:
        put(self, weight=number("weight", self.weight), shape=sides("shape", self.shape))

    def _prox(self, x: np.ndarray, eta: float) -> Array:
        u, s, v = np.linalg.svd(self._matrix(x), full_matrices=False)
        return (u * np.maximum(s - eta * self.weight, 0.0)) @ v

    def _value(self, x: np.ndarray) -> float:
        return self.weight * float(np.linalg.svd(self._matrix(x), compute_uv=False).sum())

    def _matrix(self, x: np.ndarray) -> Array:
        if x.size != self.shape[0] * self.shape[1]:
            raise ValueError(f"x has {x.size} numbers, shape={self.shape} another count")
        return x.reshape(self.shape)


def _flat(x: Any) -> np.ndarray:
    array = np.asarray(x)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError("x must be finite real numbers")
    return array.reshape(-1).astype(np.float64, copy=False)
