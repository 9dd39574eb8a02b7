"""Nelder and Mead's simplex, also where the function drifts while it is searched.

    d + 1 vertices, best to worst;  c the mean of all but the worst w

    c + (c - w)                reflected; kept where it is below the second worst
    c + 2 (c - w)              farther, where that was the best of all
    c +- (c - w) / 2           nearer, on the better side, where it was no better than the second worst
    all drawn half-way to the best, where that did not help

With `stale`, a vertex whose value is older than so many evaluations is asked again before anything else, and a simplex below
a tenth of its first size begins again at half of it, since one that has shrunk cannot follow: the outer loop of a run that
goes on meanwhile, as thresholds of constrained rewards are tuned (arXiv 2310.04373).  The place is the best vertex; a step
of the run ends where that changes.  Not here: noise that a mean would tame (`descent`, `spectral`).

J. A. Nelder, R. Mead, A simplex method for function minimization (1965); in many numbers with the weights of F. Gao and
L. Han (2012).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from .questions import HIGH, Box, Move, Plan, Sum

FLOOR, AGAIN = 0.1, 0.5  # of the first size: where a drifting simplex begins again, and how large
COLLAPSED = "the simplex has shrunk to one point"


class Weights(NamedTuple):
    """Of reflection, expansion, contraction and shrinking."""

    reflect: float = 1.0
    expand: float = 2.0
    contract: float = 0.5
    shrink: float = 0.5

    @classmethod
    def of(cls, d: int) -> Weights:
        """Gao and Han's for d numbers; from 3 on they differ from the plain ones.

        Example:
            >>> Weights.of(2) == Weights()
            True
        """
        return cls(1.0, 1.0 + 2.0 / d, 0.75 - 0.5 / d, 1.0 - 1.0 / d) if d > 1 else cls()


def asked(x: np.ndarray, at: np.ndarray) -> Generator[list[Sum], np.ndarray, np.ndarray]:
    """The values at the rows of `at`, asked from x in one round; what is not finite counts as very high."""
    values = yield [tuple([(i, s) for i, s in enumerate(row) if s]) for row in (at - x).tolist()]
    return np.where(np.isfinite(values), values, HIGH)


def begun(x: np.ndarray, size: float, box: Box) -> np.ndarray:
    """(d + 1, d): x, and x a step along each coordinate, size of its number or of 1, inward where there is a bound."""
    step = size * np.maximum(np.abs(x), 1.0)
    with np.errstate(invalid="ignore"):
        step = np.minimum(step, 0.5 * (box[1] - box[0]))
    step = np.where(x + step > box[1], -step, step)
    found: np.ndarray = np.clip(np.vstack([x, x + np.diag(step)]), *box).astype(x.dtype)
    return found


def simplex(x: np.ndarray, box: Box, size: float, weights: Weights, stale: int | None) -> Plan:
    """A plan from x (d,), which is not changed.

    Args:
        size: of the first simplex, relative.
        stale: evaluations after which a value is asked again; None: values last.

    Cost: d + 1 evaluations, then 1 or 2 a step, d + 2 where it shrinks; memory: d + 1 vectors.
    """
    at, spent = begun(x, size, box), len(x) + 1
    values = yield from asked(x, at)
    born, small = np.full(len(at), spent), 4.0 * np.finfo(x.dtype).eps
    while True:
        order = np.argsort(values, kind="stable")
        at, values, born = at[order], values[order], born[order]
        if (at[0] != x).any():
            yield Move(at[0] - x)
            x = x + (at[0] - x)
        if stale is None and (abs(at[1:] - at[0]) <= small * np.maximum(1.0, abs(at[0]))).all():
            return COLLAPSED
        if stale is not None and (abs(at[1:] - at[0]) <= FLOOR * size * np.maximum(1.0, abs(at[0]))).all():
            at = begun(x, AGAIN * size, box)
            values = yield from asked(x, at)
            spent += len(at)
            born[:] = spent
            continue
        if stale is not None and spent - born.min() >= stale:
            oldest = int(born.argmin())
            values[oldest : oldest + 1] = yield from asked(x, at[oldest : oldest + 1])
            spent += 1
            born[oldest] = spent
            continue
        away = at[:-1].mean(0, dtype=np.float64) - at[-1]
        new, value, cost = yield from _tried(x, at, values, away, box, weights)
        spent += cost
        if new is None:
            at[1:] = np.clip(at[0] + weights.shrink * (at[1:] - at[0]), *box).astype(x.dtype)
            values[1:] = yield from asked(x, at[1:])
            spent += len(at) - 1
            born[1:] = spent
        else:
            at[-1], values[-1], born[-1] = new, value, spent


def _tried(
    x: np.ndarray, at: np.ndarray, values: np.ndarray, away: np.ndarray, box: Box, weights: Weights
) -> Generator[list[Sum], np.ndarray, tuple[np.ndarray | None, float, int]]:
    """What takes the worst vertex's place, its value and what that cost; None: nothing does."""

    def point(far: float) -> np.ndarray:
        seen = at[-1] + (1.0 + far) * away  # from the center: far
        found: np.ndarray = np.minimum(np.maximum(seen, box[0]), box[1]).astype(x.dtype)
        return found

    first = point(weights.reflect)
    (reflected,) = (yield from asked(x, first[None])).tolist()
    if values[0] <= reflected < values[-2]:
        return first, reflected, 1
    best, worse = reflected < values[0], reflected >= values[-1]
    far = (
        weights.reflect * weights.expand
        if best
        else -weights.contract
        if worse
        else weights.reflect * weights.contract
    )
    second = point(far)
    (other,) = (yield from asked(x, second[None])).tolist()
    if other < (values[-1] if worse else reflected) or (not best and not worse and other == reflected):
        return second, other, 2
    return (first, reflected, 2) if best else (None, HIGH, 2)
