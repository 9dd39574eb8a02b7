"""Probes of a game between x, who lowers the loss, and y, who raises it: each has draws of its own.

    Together        x and y asked where both stand, at every step                         (ZO-GDA, arXiv 2001.07819)
    InTurn          y for `ascents` steps, then x once                                    (ZO-GDMSA, the same)
    Ahead           both; then both again from half-way, where the answers that count lie   (extragradient)
    Carried         both, here and where the step before began; now and then both along all coordinates   (ZO-VRGDA)

Two-sided pairs, all of x before all of y (`Carried`: forward differences from one base).  One draw for both would cost half of that and add y's variance to x's.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ..protocols import Draw, Losses, Now, Point, Record, Term
from .recursive import Recursive

Draws = tuple[Draw, ...]
MIN, MAX = "x", "y"


def drawn(t: int, who: str, n: int, since: int = 0) -> Draws:
    """A player's draws of step t."""
    return tuple(Draw(t, since + i, who) for i in range(n))


def pairs(draws: Draws, eps: float, start: tuple[Term, ...] = ()) -> list[Point]:
    """+1, -1, +2, -2, ... from a start."""
    return [Point((*start, (z, s * eps))) for z in draws for s in (1.0, -1.0)]


@dataclass(frozen=True)
class Together:
    """Cost: 2 (nx + ny) evaluations."""

    nx: int = 1
    ny: int = 1

    @property
    def forwards(self) -> int:
        return 2 * (self.nx + self.ny)

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, Draws]:
        draws = drawn(t, MIN, self.nx) + drawn(t, MAX, self.ny)
        yield pairs(draws, now.eps)
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


@dataclass(frozen=True)
class InTurn:
    """Cost: 2 ny evaluations in `ascents` of ascents + 1 steps, 2 nx in the last."""

    nx: int = 1
    ny: int = 1
    ascents: int = 1

    @property
    def forwards(self) -> float:
        return 2 * (self.nx + self.ascents * self.ny) / (self.ascents + 1)

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, Draws]:
        last = t % (self.ascents + 1) == self.ascents
        draws = drawn(t, MIN, self.nx) if last else drawn(t, MAX, self.ny)
        yield pairs(draws, now.eps)
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


@dataclass(frozen=True)
class Ahead:
    """The way to half-way is `ratio` times longer for y, as the step itself is.  Cost: 4 (nx + ny) evaluations."""

    nx: int = 1
    ny: int = 1
    ratio: float = 1.0

    @property
    def forwards(self) -> int:
        return 4 * (self.nx + self.ny)

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, Draws]:
        first = drawn(t, MIN, self.nx) + drawn(t, MAX, self.ny)
        losses = yield pairs(first, now.eps)
        slopes = np.asarray(losses[0::2] - losses[1::2]) / (2.0 * now.eps)
        there = tuple(
            (z, -now.lr * float(c) / self.nx if z.group == MIN else self.ratio * now.lr * float(c) / self.ny)
            for z, c in zip(first, slopes, strict=True)
        )
        draws = drawn(t, MIN, self.nx, self.nx) + drawn(t, MAX, self.ny, self.ny)
        yield pairs(draws, now.eps, there)
        return draws

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


@dataclass
class Carried(Recursive):
    """`Recursive` of both players: `n` draws a step, nx of them x's; of a refresh the `first` coordinates, dx of them x's."""

    nx: int = 1
    dx: int = 1

    def drawn(self, t: int, fresh: bool) -> Draws:
        last, x, since = (self.first, self.dx, 0) if fresh else (self.n, self.nx, self.first)
        return drawn(t, MIN, x, since) + drawn(t, MAX, last - x, since + x)
