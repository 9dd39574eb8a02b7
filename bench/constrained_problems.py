"""Small constrained problems of Hock and Schittkowski (1981), each with its published start and minimum.

    minimize f(x)   where g(x) >= 0, h(x) = 0, low <= x <= high

Those of numbers 1 to 50 whose constraints bend, whose minimum has a closed form, and that are not almost another; chosen before
anything was run.  What it is not: who is asked to solve them (`constrained`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Function = Callable[[np.ndarray], Any]


def _none(x: np.ndarray) -> list[float]:
    return []


class Problem(NamedTuple):
    """Its number says where it is from; f* at `minimum`, of which there may be several."""

    start: tuple[float, ...]
    f: Function
    best: float
    minimum: tuple[float, ...]
    ineq: Function = _none  # >= 0
    eq: Function = _none  # = 0
    bounds: Sequence[tuple[float | None, float | None]] | None = None

    @property
    def d(self) -> int:
        return len(self.start)

    def violation(self, x: np.ndarray) -> float:
        """By how much the worst constraint is missed, bounds included."""
        g, h = np.asarray(self.ineq(x), float), np.asarray(self.eq(x), float)
        sides = [(xi - b, a - xi) for xi, (a, b) in zip(x, self.sides(), strict=True)]
        return max(
            float(np.max(-g, initial=0.0)), float(np.abs(h).max(initial=0.0)), float(np.max(sides)), 0.0
        )

    def sides(self) -> list[tuple[float, float]]:
        """Bounds as numbers."""
        given = self.bounds or [(None, None)] * self.d
        return [(-np.inf if a is None else a, np.inf if b is None else b) for a, b in given]


R2, R3, R7 = 2.0**0.5, 3.0**0.5, 7.0**0.5

PROBLEMS: dict[str, Problem] = {
    "HS6": Problem(
        (-1.2, 1.0), lambda x: (1 - x[0]) ** 2, 0.0, (1.0, 1.0), eq=lambda x: [10 * (x[1] - x[0] ** 2)]
    ),
    "HS7": Problem(
        (2.0, 2.0), lambda x: np.log(1 + x[0] ** 2) - x[1], -R3, (0.0, R3),
        eq=lambda x: [(1 + x[0] ** 2) ** 2 + x[1] ** 2 - 4],
    ),
    "HS10": Problem(
        (-10.0, 10.0), lambda x: x[0] - x[1], -1.0, (0.0, 1.0),
        ineq=lambda x: [-3 * x[0] ** 2 + 2 * x[0] * x[1] - x[1] ** 2 + 1],
    ),
    "HS12": Problem(
        (0.0, 0.0), lambda x: 0.5 * x[0] ** 2 + x[1] ** 2 - x[0] * x[1] - 7 * x[0] - 7 * x[1], -30.0, (2.0, 3.0),
        ineq=lambda x: [25 - 4 * x[0] ** 2 - x[1] ** 2],
    ),
    "HS14": Problem(
        (2.0, 2.0), lambda x: (x[0] - 2) ** 2 + (x[1] - 1) ** 2, 9 - 2.875 * R7, ((R7 - 1) / 2, (R7 + 1) / 4),
        ineq=lambda x: [1 - 0.25 * x[0] ** 2 - x[1] ** 2], eq=lambda x: [x[0] - 2 * x[1] + 1],
    ),
    "HS15": Problem(
        (-2.0, 1.0), lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, 306.5, (0.5, 2.0),
        ineq=lambda x: [x[0] * x[1] - 1, x[0] + x[1] ** 2], bounds=[(None, 0.5), (None, None)],
    ),
    "HS22": Problem(
        (2.0, 2.0), lambda x: (x[0] - 2) ** 2 + (x[1] - 1) ** 2, 1.0, (1.0, 1.0),
        ineq=lambda x: [2 - x[0] - x[1], x[1] - x[0] ** 2],
    ),
    "HS26": Problem(
        (-2.6, 2.0, 2.0), lambda x: (x[0] - x[1]) ** 2 + (x[1] - x[2]) ** 4, 0.0, (1.0, 1.0, 1.0),
        eq=lambda x: [(1 + x[1] ** 2) * x[0] + x[2] ** 4 - 3],
    ),
    "HS27": Problem(
        (2.0, 2.0, 2.0), lambda x: 0.01 * (x[0] - 1) ** 2 + (x[1] - x[0] ** 2) ** 2, 0.04, (-1.0, 1.0, 0.0),
        eq=lambda x: [x[0] + x[2] ** 2 + 1],
    ),
    "HS29": Problem(
        (1.0, 1.0, 1.0), lambda x: -x[0] * x[1] * x[2], -16 * R2, (4.0, 2 * R2, 2.0),
        ineq=lambda x: [48 - x[0] ** 2 - 2 * x[1] ** 2 - 4 * x[2] ** 2],
    ),
    "HS31": Problem(
        (1.0, 1.0, 1.0), lambda x: 9 * x[0] ** 2 + x[1] ** 2 + 9 * x[2] ** 2, 6.0, (1 / R3, R3, 0.0),
        ineq=lambda x: [x[0] * x[1] - 1], bounds=[(-10, 10), (1, 10), (-10, 1)],
    ),
    "HS34": Problem(
        (0.0, 1.05, 2.9), lambda x: -x[0], -np.log(np.log(10.0)), (np.log(np.log(10.0)), np.log(10.0), 10.0),
        ineq=lambda x: [x[1] - np.exp(x[0]), x[2] - np.exp(x[1])], bounds=[(0, 100), (0, 100), (0, 10)],
    ),
    "HS39": Problem(
        (2.0, 2.0, 2.0, 2.0), lambda x: -x[0], -1.0, (1.0, 1.0, 0.0, 0.0),
        eq=lambda x: [x[1] - x[0] ** 3 - x[2] ** 2, x[0] ** 2 - x[1] - x[3] ** 2],
    ),
    "HS40": Problem(
        (0.8, 0.8, 0.8, 0.8), lambda x: -x[0] * x[1] * x[2] * x[3], -0.25,
        (2 ** (-1 / 3), 2**-0.5, 2 ** (-11 / 12), 2**-0.25),
        eq=lambda x: [x[0] ** 3 + x[1] ** 2 - 1, x[0] ** 2 * x[3] - x[2], x[3] ** 2 - x[1]],
    ),
    "HS42": Problem(
        (1.0, 1.0, 1.0, 1.0), lambda x: ((x - np.arange(1.0, 5.0)) ** 2).sum(), 28 - 10 * R2, (2.0, 2.0, 0.6 * R2, 0.8 * R2),
        eq=lambda x: [x[0] - 2, x[2] ** 2 + x[3] ** 2 - 2],
    ),
    "HS43": Problem(
        (0.0, 0.0, 0.0, 0.0),
        lambda x: x[0] ** 2 + x[1] ** 2 + 2 * x[2] ** 2 + x[3] ** 2 - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3],
        -44.0, (0.0, 1.0, 2.0, -1.0),
        ineq=lambda x: [
            8 - x @ x - x[0] + x[1] - x[2] + x[3],
            10 - x[0] ** 2 - 2 * x[1] ** 2 - x[2] ** 2 - 2 * x[3] ** 2 + x[0] + x[3],
            5 - 2 * x[0] ** 2 - x[1] ** 2 - x[2] ** 2 - 2 * x[0] + x[1] + x[3],
        ],
    ),
    "HS46": Problem(
        (0.5 * R2, 1.75, 0.5, 2.0, 2.0),
        lambda x: (x[0] - x[1]) ** 2 + (x[2] - 1) ** 2 + (x[3] - 1) ** 4 + (x[4] - 1) ** 6, 0.0, (1.0,) * 5,
        eq=lambda x: [x[0] ** 2 * x[3] + np.sin(x[3] - x[4]) - 1, x[1] + x[2] ** 4 * x[3] ** 2 - 2],
    ),
}  # fmt: skip
