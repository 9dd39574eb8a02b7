"""Sets of matrices, flattened by rows: the nuclear-norm ball and the spectrahedron.

    nuclear norm:   project  U diag(P(s)) V', P onto the l1 ball of the singular values;       lmo  -r u_1 v_1'
    spectrahedron:  project  Q diag(P(w)) Q' of the symmetric part, P onto {w >= 0, sum w <= r};   lmo  r q q', q of the
                    least eigenvalue where that is negative, else 0

Factorizations are LAPACK's: equal bits only on equal machines.  Not here: metrics, which factorizations do not see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..protocols import Array
from .balls import Ball
from .shape import Set, number, put
from .solve import threshold

BLIND = "its decomposition does not see a metric"


@dataclass(frozen=True, eq=False)
class NuclearBall(Ball):
    """{X : sum of the singular values of X - center <= radius}.

    Args:
        radius, center: as of any ball.
        shape: (rows, columns) of X.

    Raises:
        ValueError: a shape that is not two whole numbers.

    Cost: a singular value decomposition, to project and to minimize.

    Example:
        >>> NuclearBall(1.0, shape=(2, 2)).project([2.0, 0.0, 0.0, 0.5])
        array([1., 0., 0., 0.])
    """

    shape: tuple[int, int] = field(kw_only=True)
    refuses: ClassVar[dict[str, str]] = {"metric": BLIND}

    def __post_init__(self) -> None:
        super().__post_init__()
        put(self, shape=sides("shape", self.shape))
        if self.center.ndim and self.center.size != self.size:
            raise ValueError(f"center has {self.center.size} numbers, shape={self.shape} another count")

    @property
    def size(self) -> int | None:
        return self.shape[0] * self.shape[1]

    def norm(self, y: np.ndarray) -> float:
        return float(np.linalg.svd(y.reshape(self.shape), compute_uv=False).sum())

    def diameter(self, d: int) -> float:
        return 2.0 * self.radius

    def inradius(self, d: int) -> float:
        return self.radius / float(np.sqrt(min(self.shape)))

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        u, s, v = np.linalg.svd((x - self.center).reshape(self.shape), full_matrices=False)
        if s.sum() <= self.radius:
            return x
        kept = np.maximum(s - threshold(s, None, self.radius), 0.0)
        return ((u * kept) @ v).reshape(-1) + self.center

    def _against(self, g: np.ndarray) -> Array:
        u, v = top_pair(g.reshape(self.shape))
        return -np.outer(u, v).reshape(-1)


@dataclass(frozen=True, eq=False)
class Spectrahedron(Set):
    """{X symmetric, positive semidefinite, trace X <= trace}, X (side, side).

    The projection of a matrix that is not symmetric is that of its symmetric part.

    Args:
        trace: positive.
        side: rows of X.

    Cost: a symmetric eigendecomposition, to project and to minimize.

    Example:
        >>> Spectrahedron(1.0, side=2).project([[2.0, 0.0], [0.0, -1.0]])
        array([[1., 0.],
               [0., 0.]])
    """

    trace: float = 1.0
    side: int = field(kw_only=True)
    refuses: ClassVar[dict[str, str]] = {
        "metric": BLIND,
        "shrunk": "it has no interior among all matrices (its points are symmetric)",
        "inner": "it has no interior among all matrices (its points are symmetric)",
    }

    def __post_init__(self) -> None:
        put(self, trace=number("trace", self.trace), side=sides("side", (self.side, self.side))[0])

    @property
    def size(self) -> int | None:
        return self.side**2

    def diameter(self, d: int) -> float:
        return self.trace * float(np.sqrt(2.0) if self.side > 1 else 1.0)

    def _excess(self, x: np.ndarray) -> float:
        X = x.reshape(self.side, self.side)
        worst = [np.abs(X - X.T).max(), -np.linalg.eigvalsh(0.5 * (X + X.T))[0], np.trace(X) - self.trace]
        return float(max(worst)) / self.trace

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        w, q = self._eigen(x)
        kept = np.maximum(w, 0.0)
        if kept.sum() > self.trace:
            kept = np.maximum(w - threshold(w, None, self.trace), 0.0)
        return ((q * kept) @ q.T).reshape(-1)

    def _lmo(self, g: np.ndarray) -> Array:
        w, q = self._eigen(g)
        return (self.trace if w[0] < 0.0 else 0.0) * np.outer(q[:, 0], q[:, 0]).reshape(-1)

    def _eigen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = x.reshape(self.side, self.side)
        w, q = np.linalg.eigh(0.5 * (X + X.T))
        return w, q


def top_pair(G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit u, v with u' G v the largest singular value."""
    u, _, v = np.linalg.svd(G, full_matrices=False)
    return u[:, 0], v[0]


def sides(name: str, value: tuple[int, int]) -> tuple[int, int]:
    """Two whole numbers from 1.

    Raises:
        ValueError: they are not.
    """
    pair = tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= 1 for n in pair):
        raise ValueError(f"{name}={value!r} must be whole numbers from 1")
    return int(pair[0]), int(pair[1])
