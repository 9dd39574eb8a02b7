"""Manifolds: how a vector is made tangent, and how a tangent step comes back.

    Sphere     |x| = r           P_x v = v - x <x, v> / r^2                    Retr_x(v) = r (x + v) / |x + v|
    Stiefel    X'X = I, (n, p)   P_X V = V - X sym(X'V)                        Retr_X(V) = polar factor of X + V
    Pymanopt   any manifold of pymanopt;   Geoopt   any of geoopt (torch)

All take and give flat arrays (..., d).  Stiefel needs a singular value decomposition, so it is not equal bit for bit
on all machines.  Not here: how a run visits and moves (`spaces.curved`, `rules.Retracted`).

Paper: arXiv 2003.11238, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sphere:
    """The sphere of a radius about 0; dimension d - 1."""

    radius: float = 1.0

    def project(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        along: np.ndarray = (v * x).sum(-1, keepdims=True) / self.radius**2
        tangent: np.ndarray = v - along * x
        return tangent

    def retract(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        y: np.ndarray = x + v
        length: np.ndarray = np.sqrt((y * y).sum(-1, keepdims=True))
        y *= self.radius / length
        return y


@dataclass(frozen=True)
class Stiefel:
    """Matrices (rows, cols) with orthonormal columns; dimension rows cols - cols (cols + 1) / 2."""

    rows: int
    cols: int

    def _matrix(self, x: np.ndarray) -> np.ndarray:
        if x.shape[-1] != self.rows * self.cols:
            raise ValueError(
                f"x has {x.shape[-1]} numbers; a {self.rows} x {self.cols} matrix has {self.rows * self.cols}"
            )
        return x.reshape(*x.shape[:-1], self.rows, self.cols)

    def project(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        big, step = self._matrix(x), self._matrix(v)
        inner = np.swapaxes(big, -1, -2) @ step
        found: np.ndarray = step - big @ ((inner + np.swapaxes(inner, -1, -2)) / 2)
        return found.reshape(v.shape)

    def retract(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        y = self._matrix(x + v)
        u, _, w = np.linalg.svd(y, full_matrices=False)
        return np.asarray(u @ w).reshape(v.shape)


@dataclass(frozen=True)
class Pymanopt:
    """A manifold of pymanopt, whose points have a given shape."""

    manifold: Any
    shape: tuple[int, ...]

    def project(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._each(self.manifold.projection, x, v)

    def retract(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._each(self.manifold.retraction, x, v)

    def _each(self, call: Any, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        rows = v.reshape(-1, *self.shape)
        return np.stack([np.asarray(call(x.reshape(self.shape), row)) for row in rows]).reshape(v.shape)


@dataclass(frozen=True)
class Geoopt:
    """A manifold of geoopt, whose points have a given shape."""

    manifold: Any
    shape: tuple[int, ...]

    def project(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._both(self.manifold.proju, x, v)

    def retract(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._both(self.manifold.retr, x, v)

    def _both(self, call: Any, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        import torch

        at, rows = torch.from_numpy(x.reshape(self.shape)), torch.from_numpy(v.reshape(-1, *self.shape))
        return np.asarray(call(at.expand_as(rows), rows)).reshape(v.shape)
