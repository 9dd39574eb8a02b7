"""A quadratic program in its multipliers, few beside the numbers it is about.

    p = argmin  g'p + p'B p / 2   where  c_i + J_i p <= 0 (of equations: = 0),   down <= p <= up
      = -H (g + A'l),   H = B^-1,   l = argmin  l'(A H A' + s) l / 2 + (A H g - r - s l_old)'l,   l_i >= 0 (of equations: free)

A, r: rows J_i and c_i at unit length, and of bounds those that p without them crosses.  |l_i| stays below MOST times the
slope, so that there is an answer where constraints contradict each other; s is small, for those that repeat each other.
Not here: where g, J and B come from (`sequential`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST = 1e4
SOFT = 1e-13  # of the mean of H
ROUNDS = 20  # of freeing and binding, a number
SLACK = 1e-12  # of a slope that pulls inward, relative


@dataclass
class Program:
    """What does not change between a step and its correction.

    Attributes:
        g, j: slopes of f (d,) and of the constraints (k, d).
        h: (d, d) the inverse of B.
        ineq: how many constraints are no equations: the first ones.
        old: (k,) the last program's multipliers.
        room: how far p may go down and up, (d,) each.
    """

    g: np.ndarray
    j: np.ndarray
    h: np.ndarray
    ineq: int
    old: np.ndarray
    room: tuple[np.ndarray, np.ndarray]

    def solved(self, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p (d,) and the multipliers (k,), where the constraints are c (k,) at p = 0.

        Bounds become constraints where a p without them leaves the box: few ever do.
        """
        d = len(self.g)
        down, up = self.room
        low, high = np.zeros(d, bool), np.zeros(d, bool)
        for _ in range(d + 1):
            p, multipliers = self._within(c, low, high)
            below, above = (p < down) & ~low, (p > up) & ~high
            if not (below.any() or above.any()):
                break
            low, high = low | below, high | above
        return np.clip(p, down, up), multipliers

    def _within(self, c: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, with these bounds alone."""
        down, up = self.room
        k, one = len(c), np.eye(len(self.g))
        size = np.linalg.norm(self.j, axis=1)
        size[size == 0.0] = 1.0
        a = np.vstack([self.j / size[:, None], one[high], -one[low]])
        r = np.concatenate([c / size, -up[high], down[low]])
        if not len(r):
            return -self.h @ self.g, c
        most = np.full(len(r), np.inf)
        most[:k] = MOST * max(1.0, float(np.linalg.norm(self.g)))
        least = np.zeros(len(r))
        least[self.ineq : k] = -most[self.ineq : k]
        old = np.zeros(len(r))
        old[:k] = self.old * size
        m = a @ self.h @ a.T
        soft = SOFT * float(np.trace(self.h)) / len(self.g)
        m[np.diag_indices(len(r))] += soft
        found = bounded(m, a @ (self.h @ self.g) - r - soft * old, least, most)
        return -self.h @ (self.g + a.T @ found), found[:k] / size


def bounded(m: np.ndarray, q: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """argmin l'M l / 2 + q'l within a box, (k,), M (k, k) positive definite, by active sets.

    Numbers are free or at a bound; the free ones go to their minimum, or to the first bound on the way; where all are there,
    the one at a bound that is pulled inward most is freed.  Those whose bounds have 0 between them begin free, others at 0 or at the bound nearest to it.

    Cost: a solution of k or less equations a round.

    Example:
        >>> bounded(np.eye(2), np.array([-3.0, 1.0]), np.zeros(2), np.full(2, 2.0))
        array([2., 0.])
    """
    x = np.clip(np.zeros(len(q)), low, high)
    free = (low < 0) & (high > 0)
    for _ in range(ROUNDS * (len(q) + 1)):
        step = np.zeros(len(q))
        hit = np.flatnonzero(free)
        if hit.size:
            step[hit] = np.linalg.solve(m[np.ix_(hit, hit)], -(m @ x + q)[hit])
        room = _room(x, step, low, high)
        if room.min(initial=np.inf) < 1.0:
            i = int(room.argmin())
            x = x + room[i] * step
            x[i], free[i] = high[i] if step[i] > 0 else low[i], False
            continue
        x = x + step
        slope = m @ x + q
        pull = np.where(x <= low, -slope, slope)  # inward, of those at a bound
        pull[free | (low == high) | (pull <= SLACK * (1.0 + abs(q)))] = 0.0
        if not pull.any():
            break
        free[int(pull.argmax())] = True
    return x


def _room(x: np.ndarray, step: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How much of each number's step its bounds allow."""
    out = np.full(len(x), np.inf)
    up, down = step > 0, step < 0
    out[up] = (high - x)[up] / step[up]
    out[down] = (low - x)[down] / step[down]
    return out
