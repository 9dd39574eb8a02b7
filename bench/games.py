"""Games that are sums of quadratic ones, their exact numbers known: what a component shares with the whole, and what not.

    f = (1/n) sum f_i over i,   f_i(z) = z' S_i z / 2 + l_i' z,   z = (x, y),   S_i = [[P_i, B_i], [B_i', -Q_i]]
    F_i(z) = (grad_x f_i, -grad_y f_i),   zero in the mean at the saddle

What it is not: methods (`sliding`), the problems as a contest has them (`structured_problems`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Parts = np.ndarray[Any, Any] | list[int]


@dataclass(frozen=True)
class Sum:
    """n quadratic games of the same two players.

    Args:
        forms: (n, d, d) symmetric, S_i.
        lines: (n, d), l_i.
        players: numbers of x, the first of the d.
    """

    forms: Array
    lines: Array
    players: int

    @property
    def n(self) -> int:
        return len(self.forms)

    def values(self, z: Array, parts: Parts) -> Array:
        """Points (m, d) and components (b,) to f_i (m, b)."""
        curved = np.einsum("mi,bij,mj->mb", z, self.forms[parts], z, optimize=True)
        return np.asarray(0.5 * curved + z @ self.lines[parts].T)

    def operators(self, z: Array, parts: Parts) -> Array:
        """A point (d,) and components (b,) to F_i (b, d): b component gradients."""
        return np.asarray((self.forms[parts] @ z + self.lines[parts]) * self._signs)

    @cached_property
    def _signs(self) -> Array:
        return np.where(np.arange(self.lines.shape[1]) < self.players, 1.0, -1.0)

    @cached_property
    def form(self) -> Array:
        return np.asarray(self.forms.mean(axis=0))

    @cached_property
    def answer(self) -> Array:
        """(d,) the saddle."""
        return np.linalg.solve(self.form, -self.lines.mean(axis=0))

    @cached_property
    def smooth(self) -> float:
        """L: the largest Lipschitz constant of an F_i."""
        return float(np.linalg.norm(self.forms, 2, axis=(1, 2)).max())

    @cached_property
    def similarity(self) -> float:
        """delta: the largest |S_i - S|, the second-order similarity of the components."""
        return float(np.linalg.norm(self.forms - self.form, 2, axis=(1, 2)).max())

    @cached_property
    def modulus(self) -> float:
        """mu: f is mu-strongly convex in x and mu-strongly concave in y."""
        k = self.players
        ends = np.linalg.eigvalsh(self.form[:k, :k])[0], np.linalg.eigvalsh(-self.form[k:, k:])[0]
        return float(min(ends))


def sampled(rows: int, n: int = 64, d: int = 8, ridge: float = 0.01, seed: int = 8) -> Sum:
    """Each component a mean over `rows` samples (a, c, t) of its own: the more, the more alike.

        f_i = mean of (a'x)^2 / 2 + 2 (a'x)(c'y) - (c'y)^2 / 2 + t (a'x + c'y),  + ridge (|x|^2 - |y|^2) / 2

    Every component is convex-concave, whatever its samples.  Both players have d numbers.
    """
    rng = np.random.default_rng(seed)
    scale = np.geomspace(1.0, 0.1, d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    forms, lines = np.empty((n, 2 * d, 2 * d)), np.empty((n, 2 * d))
    for i in range(n):
        a = rng.normal(size=(rows, d)) * scale
        c = (a + rng.normal(size=(rows, d)) * scale) @ turn / np.sqrt(2)
        t = 1.0 + a.sum(axis=1) + 0.5 * rng.normal(size=rows)
        p, b, q = a.T @ a / rows, 2 * a.T @ c / rows, c.T @ c / rows
        forms[i] = np.block([[p + ridge * np.eye(d), b], [b.T, -q - ridge * np.eye(d)]])
        lines[i] = np.concatenate([a.T @ t, c.T @ t]) / rows
    return Sum(forms, lines, d)
