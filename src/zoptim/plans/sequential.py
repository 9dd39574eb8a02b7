"""Sequential quadratic programs from values: f and every constraint told apart, their slopes by one sweep of differences.

    p    argmin g'p + p'B p / 2   where  c_i + J_i p <= 0 (of equations: = 0),   low <= x + p <= high
    x    x + t p,  t found by values of  f + sum_i w_i |c_i|+,   w_i at least the multiplier l_i of the program
         where t = 1 does not do, first p once more with c(x + p) - J p in place of c (second-order correction)
    B    BFGS on the slopes of f + l'c, damped where they curve downwards

In units of max(1, |x|) and of f's first slope.  Where no step gains any more, coarse differences have a look whether that is
the dent of a ripple; where they get on it goes on with finer ones.  Where f is noisy its slopes are coarse from the start,
those of the constraints not, a step is to gain more than noise, and in the end feasibility outweighs it.  Noisy constraints
are for another search.  Not here: the program (`program`).

Not a `Plan`: it asks for points, (m, d), and is told (f (m,), g (m, k), h (m, j)), g <= 0 and h = 0; after a step it
yields a `Step` and is told nothing.  Returns why it is at rest; "": it is not, and knows no way on.

M. J. D. Powell, A fast algorithm for nonlinearly constrained optimization calculations (1978); J. Nocedal, S. J. Wright,
Numerical Optimization, ch. 18 (2006); coarse to fine: P. Gilmore, C. T. Kelley, Implicit filtering (1995).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .program import Program
from .questions import HIGH, Box

NEAR, FEASIBLE = 1e-7, 1e-6  # a violation it may rest at, and where no step gains any more
GAIN, STILL = 1e-11, 3  # of |f|, that a step is to gain; steps in a row that do not
TRIALS, ENOUGH = 12, 1e-4  # lengths; of the gain expected
DAMPED = 0.2  # of the curvature assumed
LOOKS, NOISY = (0.03, 0.01), (0.1, 0.03, 0.01)  # radii of coarse differences
WORTH, GLANCES = 1e-5, 3  # gain and trials there
REPEATS, SURE = 6, 1.0  # evaluations more, where two at the same place differ; standard deviations

SETTLED = "the multipliers have settled"
DROWNED = "steps gain no more than what values at one place differ by"


class Step(NamedTuple):
    """Where it stands after a step: f and the worst violation there, the program's multipliers of g and of h."""

    x: np.ndarray
    f: float
    off: float
    ineq: np.ndarray
    eq: np.ndarray
    sigma: float  # of noise in f


Told: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
Asking: TypeAlias = Generator["np.ndarray | Step", Any, Any]


class Values(NamedTuple):
    """At one point: f, c = (g, h), and how many of them are g."""

    f: float
    c: np.ndarray
    ineq: int

    @property
    def off(self) -> np.ndarray:
        """(k,) by how much each constraint is missed."""
        out: np.ndarray = abs(self.c)
        out[: self.ineq] = np.maximum(0.0, self.c[: self.ineq])
        return out

    @property
    def worst(self) -> float:
        return float(self.off.max(initial=0.0))

    @property
    def fine(self) -> bool:
        return bool(abs(self.f) < HIGH and np.isfinite(self.c).all())


def asked(x: np.ndarray) -> Generator[np.ndarray, Told, list[Values]]:
    """Values at points x (m, d), one round."""
    f, g, h = yield x
    return [
        Values(v if np.isfinite(v) else HIGH, c, g.shape[1])
        for v, c in zip(f.tolist(), np.hstack([g, h]), strict=True)
    ]


@dataclass
class Ground:
    """The box, the units of x (d,) and of f, and how differences are taken.

    Attributes:
        radius: of coarse differences, in units; 0: the smallest.
        sigma: of noise in f.
        least: of the constraints' weights.
    """

    box: Box
    unit: np.ndarray
    scale: float = 0.0
    radius: float = 0.0
    sigma: float = 0.0
    least: float = 0.0

    def slopes(self, x: np.ndarray, at: Values) -> Generator[np.ndarray, Told, tuple[np.ndarray, np.ndarray]]:
        """g (d,) and J (k, d), not finite where a value failed; d evaluations, 2d under noise."""
        small = float(np.finfo(x.dtype).eps) ** 0.5 * np.maximum(1.0, abs(x))
        g, j = yield from self._sweep(x, at, self.radius * self.unit if self.radius else small)
        if self.sigma:
            _, j = yield from self._sweep(x, at, small)
        self.scale = self.scale or 1.0 / max(float(np.linalg.norm(g)), 1e-8 * abs(at.f), 1e-300)
        return self.scale * g, j

    def _sweep(
        self, x: np.ndarray, at: Values, h: np.ndarray
    ) -> Generator[np.ndarray, Told, tuple[np.ndarray, np.ndarray]]:
        """Forward differences, backward ones at the upper bound."""
        points = np.tile(x, (len(x), 1))
        np.fill_diagonal(points, x + np.where(x + h <= self.box[1], h, -h).astype(x.dtype))
        per = self.unit / (points.diagonal().astype(np.float64) - x)
        found = yield from asked(points)
        g = np.array([v.f - at.f if v.fine else np.nan for v in found]) * per
        return g, np.array([v.c - at.c for v in found]).T.reshape(len(at.c), len(x)) * per

    def little(self, at: Values) -> float:
        """What a step is to gain."""
        share = WORTH if self.radius else GAIN
        return self.scale * max(SURE * self.sigma, share * max(min(1.0 / self.scale, 1.0), abs(at.f)))

    def moved(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """x + p, p in units, in the box."""
        found: np.ndarray = np.clip(x + self.unit * p, *self.box).astype(x.dtype)
        return found


def sequential(x: np.ndarray, box: Box) -> Asking:
    """From x (d,), which is not changed.

    Cost: d + 1 evaluations a step or so, twice that under noise, two at the start; memory and arithmetic: of d x d and k x k
    matrices.
    """
    at, again = yield from asked(np.stack([x, x]))
    if not at.fine or (at.c != again.c).any():
        return ""
    ground = Ground(box, np.maximum(1.0, abs(x.astype(np.float64))))
    if at.f != again.f:
        more = yield from asked(np.tile(x, (REPEATS, 1)))
        ground.sigma = float(np.std([v.f for v in (at, again, *more)], ddof=1))
    with np.errstate(all="ignore"):
        try:
            return (yield from (_through_noise if ground.sigma else _smooth)(x, at, ground))
        except np.linalg.LinAlgError:  # slopes beyond what doubles hold
            return ""


def _smooth(x: np.ndarray, at: Values, ground: Ground) -> Asking:
    x, at, rest = yield from _descent(x, at, ground)
    low = at
    for ground.radius in LOOKS:
        x, at, _ = yield from _descent(x, at, ground)
        if at is low:
            return SETTLED if rest else ""
    ground.radius = 0.0
    _, _, rest = yield from _descent(x, at, ground)
    return SETTLED if rest else ""


def _through_noise(x: np.ndarray, at: Values, ground: Ground) -> Asking:
    for ground.radius in NOISY:
        x, at, _ = yield from _descent(x, at, ground)
    ground.least = SURE * ground.sigma * ground.scale / NEAR
    _, at, _ = yield from _descent(x, at, ground)
    return DROWNED if at.worst <= FEASIBLE else ""


def _descent(x: np.ndarray, at: Values, ground: Ground) -> Asking:
    """Steps until none gains any more; returns where, the values there, and whether that is a rest."""
    g, j = yield from ground.slopes(x, at)
    b, old = np.eye(len(x)), np.zeros(len(at.c))
    weights, still, fresh = old, 0, True
    while np.isfinite(g).all() and np.isfinite(j).all():
        room = [(side.astype(np.float64) - x) / ground.unit for side in ground.box]
        program = Program(g, j, np.linalg.inv(b), at.ineq, old, (room[0], room[1]))
        p, new = program.solved(at.c)
        weights = np.maximum(np.maximum(abs(new), ground.least), 0.5 * (weights + abs(new)))
        gain = float(weights @ (at.off - at._replace(c=at.c + j @ p).off) - g @ p)
        little = ground.little(at)
        if still >= STILL or (gain <= little and at.worst <= NEAR):
            return x, at, at.worst <= FEASIBLE
        found = yield from _search(x, at, p, gain, weights, program, ground)
        if found is None and fresh:
            break
        if found is None:
            b, fresh = np.eye(len(x)), True
            continue
        z, there, won = found
        still, fresh = still + 1 if won <= little else 0, False
        ineq, eq = np.split(new / ground.scale, [at.ineq])
        yield Step(z, there.f, there.worst, ineq, eq, ground.sigma)
        g2, j2 = yield from ground.slopes(z, there)
        b = curved(b, (z.astype(np.float64) - x) / ground.unit, g2 - g + (j2 - j).T @ new)
        x, at, g, j, old = z, there, g2, j2, new
    return x, at, False


def curved(b: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """B (d, d) after a step s along which the slopes changed by y, positive definite still.

    Example:
        >>> curved(np.eye(2), np.array([1.0, 0.0]), np.array([3.0, 0.0]))
        array([[3., 0.],
               [0., 1.]])
    """
    bs = b @ s
    along, seen = float(s @ bs), float(s @ y)
    if seen < DAMPED * along:
        share = (1.0 - DAMPED) * along / (along - seen)
        y = share * y + (1.0 - share) * bs
    new: np.ndarray = b + np.outer(y, y) / float(s @ y) - np.outer(bs, bs) / along
    return 0.5 * (new + new.T) if np.isfinite(new).all() else np.eye(len(s))


def _search(
    x: np.ndarray, at: Values, p: np.ndarray, gain: float, weights: np.ndarray, program: Program, ground: Ground
) -> Generator[np.ndarray, Told, tuple[np.ndarray, Values, float] | None]:  # fmt: skip
    """The point x + t p that is taken, its values, and what is won; None: no length does."""

    def won(v: Values) -> float:
        change = ground.scale * (at.f - v.f) + float(weights @ (at.off - v.off))
        return change if v.fine else -HIGH

    t, least = 1.0, ground.little(at) if ground.radius else -HIGH
    for trial in range(GLANCES if ground.radius else TRIALS):
        z = ground.moved(x, t * p)
        if not (z != x).any():
            return None
        (there,) = yield from asked(z[None])
        if won(there) >= max(ENOUGH * t * gain, least):
            return z, there, won(there)
        if trial == 0 and there.fine and there.off.any():
            z = ground.moved(x, program.solved(there.c - program.j @ p)[0])
            (bent,) = yield from asked(z[None])
            if won(bent) >= max(ENOUGH * gain, least):
                return z, bent, won(bent)
        bend = t * gain - won(there)
        t *= float(np.clip(0.5 * gain * t / bend, 0.1, 0.5)) if bend > 0 else 0.5
    return None
