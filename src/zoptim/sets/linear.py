"""Sets of linear equations and one linear inequality: closed forms, in any diagonal metric.

    {a'x <= b}:   z = x - max(0, a'x - b) V^-1 a / (a' V^-1 a)
    {Ax = b}:     z = x - V^-1 Q' (Q V^-1 Q')^-1 (Qx - t),      Q an orthonormal basis of A's rows, Qx = t the same set

Both are unbounded: they have no linear minimum and no centre.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..protocols import Array
from .shape import Set, put, replace, vector


@dataclass(frozen=True, eq=False)
class HalfSpace(Set):
    """{x : a'x <= b}.

    Args:
        a: (d,), not 0.
        b: a number.

    Raises:
        ValueError: a is 0.

    Cost: two sweeps.

    Example:
        >>> HalfSpace([1.0, 1.0], 1.0).project([1.0, 2.0])
        array([0., 1.])
    """

    a: Any
    b: float
    refuses: ClassVar[dict[str, str]] = {
        "lmo": "it is unbounded",
        "shrunk": "it is unbounded and has no centre",
    }

    def __post_init__(self) -> None:
        a, b = vector("a", self.a), vector("b", self.b)
        if a.ndim == 0 or not a.any() or b.ndim:
            raise ValueError("a must be a vector (d,) that is not 0, b one number")
        put(self, a=a, b=float(b))

    @property
    def size(self) -> int | None:
        return int(self.a.size)

    def diameter(self, d: int) -> float:
        return np.inf

    def inradius(self, d: int) -> float:
        return np.inf

    def _excess(self, x: np.ndarray) -> float:
        y, size = _scaled(x)
        return float(self.a @ y - self.b / size) / float(np.linalg.norm(self.a)) / _room(y, size)

    def inner(self, distance: float, d: int) -> HalfSpace:
        """The points `distance` away from the boundary."""
        if not 0.0 <= distance < np.inf:
            raise ValueError(self._crowded(distance, np.inf))
        return replace(self, b=self.b - distance * float(np.linalg.norm(self.a)))

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        over = float(np.sum(self.a * x)) - self.b
        if over <= 0.0:
            return x
        step = self.a if metric is None else self.a / metric
        return x - (over / float(np.sum(self.a * step))) * step


@dataclass(frozen=True, eq=False)
class Affine(Set):
    """{x : Ax = b}.

    Args:
        A: (k, d) or (d,); rows may depend on one another.
        b: (k,) or a number.

    Raises:
        ValueError: shapes that do not fit; equations that contradict one another.

    Cost: one decomposition when made; 2kd a projection, k^2 d in a metric.

    Example:
        >>> Affine([1.0, 1.0], 1.0).project([1.0, 1.0])
        array([0.5, 0.5])
    """

    A: Any
    b: Any
    _basis: np.ndarray = field(init=False, repr=False)  # (rank, d)
    _target: np.ndarray = field(init=False, repr=False)
    refuses: ClassVar[dict[str, str]] = {
        "lmo": "it is unbounded",
        "shrunk": "it has no interior (its equations are exact)",
        "inner": "it has no interior (its equations are exact)",
    }

    def __post_init__(self) -> None:
        A = np.atleast_2d(np.asarray(self.A, np.float64))
        b = np.atleast_1d(vector("b", self.b))
        if A.ndim != 2 or not np.isfinite(A).all() or len(A) != b.size:
            raise ValueError(f"A has shape {A.shape} and b {b.shape}: give finite A (k, d) and b (k,)")
        u, s, rows = np.linalg.svd(A, full_matrices=False)
        rank = int(np.count_nonzero(s > s[0] * max(A.shape) * np.finfo(float).eps))
        basis, target = rows[:rank], u[:, :rank].T @ b / s[:rank]
        if not np.allclose(A @ (target @ basis), b, rtol=1e-9, atol=1e-9 * max(1.0, float(np.abs(b).max()))):
            raise ValueError("A and b: the equations contradict one another")
        put(self, A=A, b=b, _basis=basis, _target=target)

    @property
    def size(self) -> int | None:
        return int(self.A.shape[1])

    def diameter(self, d: int) -> float:
        return np.inf

    def _excess(self, x: np.ndarray) -> float:
        y, size = _scaled(x)
        return float(np.linalg.norm(self._basis @ y - self._target / size)) / _room(y, size)

    def _residual(self, x: np.ndarray) -> Array:
        return self._basis @ x - self._target

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        basis = self._basis
        if metric is None:
            return x - self._residual(x) @ basis
        step = basis * (metric.min() / metric)
        return x - np.linalg.solve(step @ basis.T, self._residual(x)) @ step


def _scaled(x: np.ndarray) -> tuple[Array, float]:
    """x in units of its largest number, where that is above 1, so that its square is no overflow; and that unit."""
    size = max(1.0, float(np.abs(x).max()))
    return x / size, size


def _room(y: np.ndarray, size: float) -> float:
    """max(1, |x|) in units of `size`, of x = size y."""
    return max(1.0 / size, float(np.linalg.norm(y)))
