"""A sum of functions of one number each: d searches at once, a sweep being one new node for each.

    easiest   in the interval where the flattest parabola through both ends reaches just below the best    (STEP)
    refine    the vertex of the parabola through the best node and its neighbors; a golden cut where there is none

STEP (Langerman, Seront, Bersini 1994) explores while the budget lasts, the last sweeps only refine.  After each the
search moves to the best nodes together: in a separable sum they are the best point.
"""

from __future__ import annotations

import numpy as np

from .questions import Asking, Box, Move, sweep, value

LAST = 6  # sweeps that only refine
FIRST = 6  # nodes, after which the parabolas are refined once
GOLDEN = 0.382


class Nodes:
    """What is known along each coordinate: places (d, k) in order, and values relative to one of them."""

    def __init__(self, at: np.ndarray, values: np.ndarray) -> None:
        self.at, self.values = at, values

    @property
    def best(self) -> np.ndarray:
        found: np.ndarray = self.at[np.arange(len(self.at)), self.values.argmin(1)]
        return found

    def add(self, x: np.ndarray, new: np.ndarray, rise: np.ndarray) -> None:
        """One node each: f rises by `rise` from x_i to new_i."""
        i = np.arange(len(x))
        known = self.values[i, np.abs(self.at - x[:, None]).argmin(1)]
        at = np.concatenate([self.at, new[:, None]], 1)
        values = np.concatenate([self.values, (known + rise)[:, None]], 1)
        order = at.argsort(1, kind="stable")
        self.at, self.values = np.take_along_axis(at, order, 1), np.take_along_axis(values, order, 1)

    def easiest(self) -> np.ndarray:
        i, f = np.arange(len(self.at)), self.values
        y = np.sqrt(np.maximum(f - f.min(1, keepdims=True), 0) + 1e-3 * np.ptp(f, axis=1)[:, None])
        wide = np.diff(self.at, axis=1)
        j = ((y[:, 1:] + y[:, :-1]) / np.maximum(wide, 1e-300)).argmin(1)
        found: np.ndarray = self.at[i, j] + wide[i, j] * np.clip(
            y[i, j] / (y[i, j] + y[i, j + 1] + 1e-300), 0.25, 0.75
        )
        return found

    def refine(self) -> np.ndarray:
        x, f = self.at, self.values
        n, i, k = x.shape[1], np.arange(len(x)), f.argmin(1)
        m = np.clip(k, 1, n - 2)
        a, b, c, best = x[i, m - 1], x[i, m], x[i, m + 1], x[i, k]
        fa, fb, fc = f[i, m - 1], f[i, m], f[i, m + 1]
        with np.errstate(all="ignore"):
            num = (b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)
            v = b - 0.5 * num / ((b - a) * (fb - fc) - (b - c) * (fb - fa))
        wide = np.where(
            k == 0, x[:, 1], np.where(k == n - 1, x[:, n - 2], np.where(c - best > best - a, c, a))
        )
        bent = np.isfinite(v) & (v > a) & (v < c) & (fb <= fa) & (fb <= fc)
        new = np.where(bent, v, best + GOLDEN * (wide - best))
        near = np.abs(new[:, None] - x).min(1) < 1e-3 * np.abs(wide - best)
        found: np.ndarray = np.where(near, best + np.where(bent, 0.01, GOLDEN) * (wide - best), new)
        return found


def separable(x: np.ndarray, fx: float, nodes: Nodes, box: Box, sweeps: int) -> Asking:
    """Moves until `sweeps` sweeps are spent.

    Args:
        nodes: three each, as the first sweep found them.
        box: finite.
    """
    for k in range(sweeps):
        if k < len(box):
            new = box[k]
        else:
            explore = sweeps - k > LAST and nodes.at.shape[1] != FIRST
            new = (nodes.easiest() if explore else nodes.refine()).astype(x.dtype)
        (rise,) = yield from sweep(x, fx, new)
        nodes.add(x, new, rise)
        z, offset = nodes.best, np.zeros_like(x)
        if np.any(z != x) and (fz := (yield from value(x, z))) < fx:
            offset, fx = z - x, fz
        yield Move(offset)
        x = x + offset
