"""Where a search starts and what holds it in: x0 and bounds put in order, every wrong one refused by name.

Not here: what an evaluation costs (`account`), answers (`answers`), other sets than boxes (`sets`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def start(x0: Any) -> np.ndarray:
    """x0 as floats in an array of its own, at least 1-d: float32 and float16 as float32, all else as float64.

    Raises:
        TypeError: not numbers, or complex ones.
        ValueError: empty, ragged, or not finite.

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
    narrow = given.dtype.kind == "f" and given.dtype.itemsize <= 4
    x = np.atleast_1d(np.array(given, dtype=np.float32 if narrow else np.float64, order="C"))
    if x.size == 0:
        raise ValueError("x0 is empty: give at least one number")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise ValueError(f"x0[{bad[0]}]={x.ravel()[bad[0]]:g} is not finite: give a finite start")
    with np.errstate(over="ignore"):
        if not np.isfinite(np.square(x, dtype=np.float64).sum()):
            raise ValueError(f"x0: {np.abs(x).max():g} in it is too large to be squared; rescale")
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
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            low, high = _fit(bounds.lb, x), _fit(bounds.ub, x)
        else:
            low, high = (_fit(side, x) for side in _sides(bounds))
        wrong = np.flatnonzero(~(low <= high) | (low == np.inf) | (high == -np.inf))
        if wrong.size:
            i = int(wrong[0])
            raise ValueError(
                f"bounds[{i}]=({low[i]:g}, {high[i]:g}) leaves nothing between: give (low, high), low first"
            )
        with np.errstate(over="ignore"):
            wide = np.flatnonzero(np.isinf(high - low) & np.isfinite(high) & np.isfinite(low))
        if wide.size:
            i = int(wide[0])
            raise ValueError(
                f"bounds[{i}]=({low[i]:g}, {high[i]:g}) are too far apart for {x.dtype}: give None where there is no bound"
            )
        outside = np.flatnonzero((x.ravel() < low) | (x.ravel() > high))
        if outside.size:
            i = int(outside[0])
            raise ValueError(
                f"x0[{i}]={x.ravel()[i]:g} lies outside its bounds ({low[i]:g}, {high[i]:g}): start inside, "
                "e.g. at numpy.clip(x0, low, high)"
            )
        return cls(low, high)

    def pairs(self) -> list[list[float | None]]:
        """(low, high) a coordinate as plain data, None where there is no bound."""
        return [
            [float(a) if np.isfinite(a) else None, float(b) if np.isfinite(b) else None]
            for a, b in zip(self.low, self.high, strict=True)
        ]

    def inner(self, distance: float) -> Bounds:
        """The box less a margin of `distance`, or of a quarter of its width where that is smaller."""
        margin = np.minimum(distance, 0.25 * (self.high - self.low)).astype(self.low.dtype)
        return Bounds(self.low + margin, self.high - margin)

    def clip(self, x: np.ndarray) -> np.ndarray:
        """The nearest points of the box to x (m, d), in place."""
        return np.clip(x, self.low, self.high, out=x)


def _sides(bounds: Any) -> tuple[list[float], list[float]]:
    """Lower and upper bounds of pairs, or of one pair."""
    try:
        pairs = list(bounds)
        if len(pairs) == 2 and all(end is None or np.ndim(end) == 0 for end in pairs):
            pairs = [pairs]
        low = [-np.inf if a is None else float(a) for a, _ in pairs]
        return low, [np.inf if b is None else float(b) for _, b in pairs]
    except (TypeError, ValueError):
        raise ValueError(
            f"bounds={bounds!r:.80}: give pairs (low, high), one a number of x0, or one for all"
        ) from None


def _fit(side: Any, x: np.ndarray) -> np.ndarray:
    """One side's bounds for every number of x, (d,)."""
    given = np.asarray(side, dtype=x.dtype).ravel()
    if given.size not in (1, x.size):
        raise ValueError(
            f"bounds: {given.size} pairs for the {x.size} numbers of x0; give one each, or one for all"
        )
    return np.array(np.broadcast_to(given, x.size))
