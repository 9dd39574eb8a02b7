"""What is asked of a black box, put in order: the start, the box, the components; every wrong one refused by name.

Not here: answers (`answers`), methods (`choose`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..noise import permutation
from ..protocols import Items


def start(x0: Any) -> np.ndarray:
    """x0 as floats in an array of its own, at least 1-d.

    Raises:
        TypeError: not numbers, or complex ones.
        ValueError: empty, or not finite.

    Example:
        >>> start([1, 2])
        array([1., 2.])
    """
    try:
        given = np.asarray(x0)
    except ValueError as error:
        raise ValueError(f"x0: {error}; give an array of numbers") from None
    if given.dtype.kind not in "fiu":
        raise TypeError(f"x0 has dtype {given.dtype}: give real numbers, as float32 or float64")
    wide = given.dtype == np.float32 or given.dtype == np.float16
    x = np.atleast_1d(np.array(given, dtype=np.float32 if wide else np.float64, order="C"))
    if x.size == 0:
        raise ValueError("x0 is empty: give at least one number")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise ValueError(f"x0[{bad[0]}]={x.ravel()[bad[0]]} (flattened) is not finite: give a finite start")
    return x


@dataclass(frozen=True, eq=False)
class Bounds:
    """low <= x <= high, coordinate by coordinate; both (d,), infinite where there is no bound."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, bounds: Any, x: np.ndarray) -> Bounds:
        """From SciPy's Bounds, pairs (low, high) a coordinate, or one pair for all; None: no bound.

        Args:
            x: the start, of any shape; pairs count its numbers in order.

        Raises:
            ValueError: the wrong number, reversed, NaN, or x outside.
        """
        pair = [getattr(bounds, a, getattr(bounds, b, None)) for a, b in (("lb", "low"), ("ub", "high"))]
        if pair[0] is None:
            try:
                listed = np.array(
                    [[-np.inf if a is None else a, np.inf if b is None else b] for a, b in _pairs(bounds)],
                    float,
                )
            except (TypeError, ValueError):
                raise ValueError(
                    f"bounds={bounds!r}: give pairs (low, high), one a coordinate, or one for all"
                ) from None
            if len(listed) not in (1, x.size):
                raise ValueError(
                    f"bounds has {len(listed)} pairs, x0 {x.size} numbers: give one pair each, or one for all"
                )
            pair = [listed[:, 0], listed[:, 1]]
        try:
            low, high = (
                np.array(
                    np.broadcast_to(
                        np.reshape(b, np.shape(b) if np.ndim(b) < 2 else x.shape),
                        x.shape if np.ndim(b) == x.ndim else x.size,
                    ),
                    dtype=x.dtype,
                ).ravel()
                for b in pair
            )
        except ValueError:
            raise ValueError(
                f"bounds of shape {np.shape(pair[0])} do not fit x0 of shape {x.shape}"
            ) from None
        wrong = np.flatnonzero(~(low <= high) | (low == np.inf) | (high == -np.inf))
        if wrong.size:
            i = int(wrong[0])
            raise ValueError(
                f"bounds[{i}]=({low[i]:g}, {high[i]:g}) leaves nothing between: give (low, high)"
            )
        outside = np.flatnonzero((x.ravel() < low) | (x.ravel() > high))
        if outside.size:
            i = int(outside[0])
            raise ValueError(
                f"x0[{i}]={x.ravel()[i]:g} lies outside its bounds ({low[i]:g}, {high[i]:g}): start inside, "
                "e.g. from numpy.clip(x0, low, high)"
            )
        return cls(low, high)

    def inner(self, distance: float) -> Bounds:
        """The box less a margin of `distance`, or of a quarter of its width where that is smaller."""
        margin = np.minimum(distance, 0.25 * (self.high - self.low)).astype(self.low.dtype)
        return Bounds(self.low + margin, self.high - margin)

    def clip(self, x: np.ndarray) -> np.ndarray:
        """The nearest points of the box to x (m, d), in place."""
        return np.clip(x, self.low, self.high, out=x)


def _pairs(bounds: Any) -> Any:
    listed = list(bounds)
    flat = len(listed) == 2 and all(b is None or np.ndim(b) == 0 for b in listed)
    return [listed] if flat else listed


@dataclass(frozen=True)
class Components:
    """Which of a finite sum's n components a point is asked on: a function of (key, t), without repetition in an epoch.

    Args:
        n: components of the sum.
        batch: of them in a step's batch; no more than n.

    Example:
        >>> Components(1, 5, 2)(0, Items(9))
        array([0, 1, 2, 3, 4])
    """

    key: int
    n: int
    batch: int

    def __call__(self, t: int, items: Items) -> np.ndarray:
        """(b,) numbers of the components."""
        if items.batches * self.batch >= self.n:
            return np.arange(self.n)
        if items.batches > 1:  # drawn for this step alone
            return permutation(self.key, (1 << 31) + t, self.n)[: items.batches * self.batch]
        epoch, place = divmod(t, self.n // self.batch)
        batch = permutation(self.key, epoch, self.n)[place * self.batch :][: self.batch]
        if items.batches:
            return batch
        if items.own >= self.batch:
            raise ValueError(
                f"batch={self.batch}: the method asks for single components up to the {items.own + 1}th; give a larger batch"
            )
        return batch[items.own : items.own + 1]

    @property
    def all(self) -> np.ndarray:
        return np.arange(self.n)
