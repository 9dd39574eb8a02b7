"""Sharpness: the trace of the Hessian where the weights stand, from losses alone.

    q(u) = [f(x + r u) + f(x - r u) - 2 f(x)] / r^2 = u' H u + O(r^2)

Over independent signs u, E q(u) = Tr H: antithetic probes, their mean with a t interval.  Where few numbers are
trained, the sum of q over all coordinates is the trace itself, without sampling.

Both answers carry two errors besides, and both are measured: what r leaves out (the change of q from r to a larger
r, over the same directions), and what rounding puts in (the noise of f along a line, by fourth differences: More and
Wild, "Estimating computational noise", 2011), which 1/r^2 magnifies.  Where r is not given it is the one of a ladder
at which their sum is least.

What it is not: FlatZero's measure (arXiv 2506.05454), 2/r^2 |f(x + r u) - f(x)| at r = 1e-4, which in float32 holds
the slope and the rounding of f beside its curvature; nor a step of any method: nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np

from .directions import Chosen, Coordinate, Dense
from .objective import reduced
from .protocols import Directions, Draw, Objective, Point, Slot, Space, State, chunks

EXACT = 1000  # trained numbers up to which every coordinate is probed
RUNGS = tuple(10 ** (k / 2) for k in range(-6, 1))  # radii tried, over the rms of the weights
PILOT = 4  # draws the radius is chosen by; of coordinates, which differ more, four times as many
LINE = 9  # points the noise of f is read from: five fourth differences
APART = (
    0.05  # ... their distance, over the radius: wide enough that half-precision weights differ between them
)
NEVER = 0xFFFFFFFF  # the step number of probes' draws: none that a run reaches

Ask: TypeAlias = (
    "Callable[[Sequence[Point], Directions, State], np.ndarray]"  # (m,) float64 losses of m points
)


@dataclass(frozen=True)
class Sharpness:
    """Tr H and how well it is known."""

    trace: float
    low: float  # the interval, rounding included; truncation is not
    high: float
    how: Literal["signs", "coordinates"]
    probes: int  # directions, two points each
    radius: float
    rounding: float  # standard deviation of `trace` that the noise of f alone makes
    truncation: float | None  # what the radius is expected to leave out; None: a radius was given
    loss: float
    numbers: int  # trained
    forwards: int  # points asked, those that chose the radius included
    confidence: float

    @property
    def warning(self) -> str:
        """What to distrust; empty where nothing stands out."""
        if not math.isfinite(self.trace):
            return f"a loss at radius {self.radius:.3g} is not finite: give a smaller one"
        if self.rounding > 0.1 * abs(self.trace):
            return (
                f"rounding of the loss alone moves the trace by {self.rounding:.2g}: "
                "give a larger radius, more examples, or weights of a wider dtype"
            )
        if self.truncation is not None and self.truncation > 0.05 * abs(self.trace):
            return (
                f"the loss is not quadratic at radius {self.radius:.3g} (off by about {self.truncation:.2g}), "
                "and rounding hides it at a smaller one"
            )
        return ""


def hessian_trace(
    space: Space, objective: Objective | None = None, *, ask: Ask | None = None, probes: int = 64,
    radius: float | None = None, key: int = 0, confidence: float = 0.95, exact: int = EXACT,
    among: Mapping[int, np.ndarray] | None = None,
) -> Sharpness:  # fmt: skip
    """Tr of the Hessian of the objective over all trained numbers of a space.

    Args:
        space: where the weights are; they are visited, never written.
        objective: as for a step: a view of m points to their losses.
        ask: in place of an objective, losses of points over more than one view holds (a data set).
        probes: sign directions, from 8; not used where every coordinate is probed.
        radius: r, in the weights' own units; None: chosen by a ladder.
        key: of the noise.
        confidence: of the interval.
        exact: coordinates are probed where no more numbers than this are trained; 0: never.
        among: slot id -> (k,) ascending positions, where only these numbers are trained; None: all.

    Raises:
        ValueError: an argument outside its range, or not one of objective and ask.

    Cost: 2 probes + 10 forwards (or 2 d + 10), and 72 (or 240) where the radius is chosen; no memory beside a visit's.

    Example:
        >>> from zoptim.spaces.flat import Flat
        >>> found = hessian_trace(Flat(np.ones(3)), lambda v: (v.x**2 * [1.0, 2.0, 4.0]).sum(1))
        >>> found.how, round(found.trace, 3)
        ('coordinates', 14.0)

    Reference: arXiv 2506.05454 (whose f_lambda = f + lambda^2/2 Tr H it measures).
    """
    in_range(probes, radius)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must be between 0 and 1")
    if ask is None:
        if objective is None:
            raise ValueError("objective and ask are both missing: give one")
        ask = _asking(space, objective)
    probing = _Probing(space, ask, key, exact, probes, among)
    truncation = None
    if radius is None:
        radius, truncation = probing.choose()
    return probing.trace(radius, truncation, confidence)


def in_range(probes: int, radius: float | None) -> None:
    """Refuse a number of probes or a radius that gives no estimate."""
    if not (isinstance(probes, int) and 8 <= probes < 1 << 24):
        raise ValueError(f"probes={probes!r} must be a whole number from 8: an interval needs their spread")
    if radius is not None and not 0 < radius < math.inf:
        raise ValueError(f"radius={radius!r} must be a positive finite number")


def _asking(space: Space, objective: Objective) -> Ask:
    def ask(points: Sequence[Point], directions: Directions, state: State) -> np.ndarray:
        losses = []
        for group in space.groups(points):
            with space.visit(group, directions, state) as view:
                losses.append(reduced(objective(view), len(group))[0])
        return np.concatenate(losses)

    return ask


class _Probing:
    """One space, one kind of directions, and what was asked so far."""

    def __init__(
        self, space: Space, ask: Ask, key: int, exact: int, probes: int, among: Mapping[int, np.ndarray] | None
    ) -> None:  # fmt: skip
        slots = tuple(space.slots())
        self.space, self.asked, self.among = space, 0, among
        self._ask = ask
        self.numbers = sum(math.prod(s.shape) if among is None else len(among.get(s.id, ())) for s in slots)
        if not self.numbers:
            raise ValueError("among names none of the space's numbers: give positions of at least one")
        self.coordinates = self.numbers <= exact
        signs = Dense("signs") if among is None else Chosen(Dense("signs"), among)
        self.directions: Directions = Coordinate() if self.coordinates else signs
        self.state = self.directions.init(slots, key)
        self.draws = [Draw(NEVER, i) for i in (_places(slots, among) if self.coordinates else range(probes))]
        every = -(-len(self.draws) // (4 * PILOT))
        self.pilot = self.draws[::every] if self.coordinates else self.draws[:PILOT]

    def ask(self, points: list[Point]) -> np.ndarray:
        self.asked += len(points)
        return self._ask(points, self.directions, self.state)

    def second(self, draws: Sequence[Draw], radius: float) -> tuple[np.ndarray, float]:
        """q of each draw, and f(x)."""
        points = [Point(())] + [Point(((z, s * radius),)) for z in draws for s in (1.0, -1.0)]
        f = self.ask(points)
        return (f[1::2] + f[2::2] - 2.0 * f[0]) / radius**2, float(f[0])

    def noise(self, radius: float) -> float:
        """The standard deviation of f's rounding: what fourth differences of close points hold.

        sigma^2 = (4!)^2 / 8! mean (Delta^4 f)^2, the smooth part of f being some (radius / 20)^4 there.
        """
        z = self.pilot[0]
        f = self.ask([Point(((z, radius * (1 + APART * k)),)) for k in range(LINE)])
        return float(np.sqrt(np.mean(np.diff(f, 4) ** 2) / 70.0))

    def choose(self) -> tuple[float, float]:
        """The rung where truncation + rounding is least, and the truncation there.

        q(r) = Tr + a r^2 + ..., so from one rung to the next q changes by (10 - 1) a r^2.
        """
        size = self.size()
        sigma = self.noise(size * RUNGS[len(RUNGS) // 2])
        radii = [size * rung for rung in RUNGS]
        with np.errstate(all="ignore"):
            q = [float(np.mean(self.second(self.pilot, r)[0])) for r in radii]
        best = (math.inf, radii[0], math.nan)
        for r, here, there in zip(radii[:-1], q[:-1], q[1:], strict=True):
            left_out = abs(there - here) / 9.0
            off = left_out + 2.0 * sigma / r**2
            if off < best[0]:
                best = (off, r, left_out)
        scale = self.numbers if self.coordinates else 1
        return best[1], best[2] * scale

    def size(self) -> float:
        """The rms of the trained numbers; 1 where they are all zero."""
        total = 0.0
        for slot in self.space.slots():
            with self.space.tensor(slot) as p:
                if self.among is not None:
                    some: Any = p[np.divmod(self.among.get(slot.id, np.empty(0, np.int64)), p.shape[1])]
                    total += float((self.space.widen(some) ** 2).sum())
                    continue
                for rows in chunks(p.shape[0], p.shape[1], 1 << 20):
                    wide: Any = self.space.widen(p[rows])
                    total += float((wide * wide).sum())
        return math.sqrt(total / self.numbers) or 1.0

    def trace(self, radius: float, truncation: float | None, confidence: float) -> Sharpness:
        """Every draw probed; f(x) is shared by all, so its rounding does not average out."""
        sigma = self.noise(radius)
        q, loss = self.second(self.draws, radius)
        n = len(q)
        if self.coordinates:
            value, spread = float(q.sum()), 0.0
            rounding = sigma / radius**2 * math.sqrt(2 * n + (2 * n) ** 2)
        else:
            value, spread = float(q.mean()), float(q.std(ddof=1)) / math.sqrt(n)
            rounding = sigma / radius**2 * math.sqrt(2 / n + 4)
        shared = 2.0 * sigma / radius**2  # of f(x), which the spread over probes does not show
        error = math.hypot(spread, shared) if not self.coordinates else rounding
        half = quantile(n - 1 if not self.coordinates else 1 << 30, confidence) * error
        return Sharpness(
            value, value - half, value + half, "coordinates" if self.coordinates else "signs", n, radius,
            rounding, truncation, loss, self.numbers, self.asked, confidence,
        )  # fmt: skip


def _places(slots: Sequence[Slot], among: Mapping[int, np.ndarray] | None) -> list[int]:
    """The trained numbers, counted over all slots in order."""
    ends = np.cumsum([0, *(math.prod(s.shape) for s in slots)]).tolist()
    if among is None:
        return list(range(ends[-1]))
    return [
        a + j for s, a in zip(slots, ends[:-1], strict=True) for j in among.get(s.id, np.empty(0)).tolist()
    ]


def quantile(freedom: int, confidence: float) -> float:
    """Student's t: the two-sided quantile, from the normal's (Abramowitz and Stegun 26.7.5); 1e-3 from 7 on.

    Example:
        >>> round(quantile(7, 0.95), 3), round(quantile(63, 0.95), 4)
        (2.365, 1.9983)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    parts = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(part / freedom ** (k + 1) for k, part in enumerate(parts)))
