"""Sequential quadratic programs from values: f and every constraint told apart, their slopes by one sweep of differences.

    p    argmin g'p + p'B p / 2   where  c_i + J_i p <= 0 (of equations: = 0),   low <= x + p <= high
    x    x + t p,  t found by values of  f + sum_i w_i |c_i|+,   w_i at least the multiplier l_i of the program
         where t = 1 does not do, first p once more with c(x + p) - J p in place of c (second-order correction)
    B    BFGS on the slopes of f + l'c, damped where they curve downwards

In units of max(1, |x|) and of f's first slope.  A search for the next minimum: it sees through neither ripples nor noise,
and ends at once where values are noisy.  Not here: the program (`program`).

Not a `Plan`: it asks for points, (m, d), and is told (f (m,), g (m, k), h (m, j)), g <= 0 and h = 0; after a step it
yields a `Step` and is told nothing.  Returns whether it came to rest.

M. J. D. Powell, A fast algorithm for nonlinearly constrained optimization calculations (1978); J. Nocedal, S. J. Wright,
Numerical Optimization, ch. 18 (2006).
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


class Step(NamedTuple):
    """Where it stands after a step, and the program's multipliers of g and of h."""

    x: np.ndarray
    ineq: np.ndarray
    eq: np.ndarray


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
        out = abs(self.c)
        out[: self.ineq] = np.maximum(0.0, self.c[: self.ineq])
        return out

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
    """The box, and the units of x (d,) and of f."""

    box: Box
    unit: np.ndarray
    scale: float = 1.0

    def slopes(self, x: np.ndarray, at: Values) -> Generator[np.ndarray, Told, tuple[np.ndarray, np.ndarray]]:
        """g (d,) and J (k, d) by forward differences, backward ones at the upper bound; d evaluations."""
        h = float(np.finfo(x.dtype).eps) ** 0.5 * np.maximum(1.0, abs(x))
        points = np.tile(x, (len(x), 1))
        np.fill_diagonal(points, x + np.where(x + h <= self.box[1], h, -h).astype(x.dtype))
        per = self.unit / (points.diagonal().astype(np.float64) - x)
        found = yield from asked(points)
        if not all(v.fine for v in found):
            return np.full(len(x), np.nan), np.full((len(at.c), len(x)), np.nan)
        g = np.array([v.f - at.f for v in found]) * per
        return self.scale * g, np.array([v.c - at.c for v in found]).T.reshape(len(at.c), len(x)) * per

    def moved(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """x + p, p in units, in the box."""
        found: np.ndarray = np.clip(x + self.unit * p, *self.box).astype(x.dtype)
        return found


def sequential(x: np.ndarray, box: Box) -> Asking:
    """From x (d,), which is not changed.

    Cost: d + 1 evaluations a step or so, two at the start; memory and arithmetic: of d x d and k x k matrices.
    """
    (at, again) = yield from asked(np.stack([x, x]))
    if not at.fine or at.f != again.f or (at.c != again.c).any():
        return False
    ground = Ground(box, np.maximum(1.0, abs(x.astype(np.float64))))
    with np.errstate(all="ignore"):
        try:
            return (yield from _descent(x, at, ground))
        except np.linalg.LinAlgError:  # slopes beyond what doubles hold
            return False


def _descent(x: np.ndarray, at: Values, ground: Ground) -> Asking:
    g, j = yield from ground.slopes(x, at)
    ground.scale = 1.0 / max(float(np.linalg.norm(g)), 1e-8 * abs(at.f), 1e-300)
    g, b, old = g * ground.scale, np.eye(len(x)), np.zeros(len(at.c))
    weights, still, fresh = old, 0, True
    while np.isfinite(g).all():
        room = [(side.astype(np.float64) - x) / ground.unit for side in ground.box]
        program = Program(g, j, np.linalg.inv(b), at.ineq, old, (room[0], room[1]))
        p, new = program.solved(at.c)
        weights = np.maximum(abs(new), 0.5 * (weights + abs(new)))
        gain = float(weights @ (at.off - at._replace(c=at.c + j @ p).off) - g @ p)
        little = GAIN * max(min(1.0, ground.scale), ground.scale * abs(at.f))
        if still >= STILL or (gain <= little and at.off.max(initial=0.0) <= NEAR):
            return bool(at.off.max(initial=0.0) <= FEASIBLE)
        found = yield from _search(x, at, p, gain, weights, program, ground)
        if found is None and fresh:
            break
        if found is None:
            b, fresh = np.eye(len(x)), True
            continue
        z, there, won = found
        still, fresh = still + 1 if won <= little else 0, False
        yield Step(z, new[: at.ineq] / ground.scale, new[at.ineq :] / ground.scale)
        g2, j2 = yield from ground.slopes(z, there)
        b = curved(b, (z.astype(np.float64) - x) / ground.unit, g2 - g + (j2 - j).T @ new)
        x, at, g, j, old = z, there, g2, j2, new
    return False


def curved(b: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """B (d, d) after a step s along which the slopes changed by y, positive definite still."""
    bs = b @ s
    along, seen = float(s @ bs), float(s @ y)
    if seen < DAMPED * along:
        share = (1.0 - DAMPED) * along / (along - seen)
        y = share * y + (1.0 - share) * bs
    new: np.ndarray = b + np.outer(y, y) / float(s @ y) - np.outer(bs, bs) / along
    return 0.5 * (new + new.T) if np.isfinite(new).all() else np.eye(len(s))


def _search(
    x: np.ndarray,
    at: Values,
    p: np.ndarray,
    gain: float,
    weights: np.ndarray,
    program: Program,
    ground: Ground,
) -> Generator[np.ndarray, Told, tuple[np.ndarray, Values, float] | None]:
    """The point x + t p that is taken, its values, and what is won; None: no length does."""

    def merit(v: Values) -> float:
        return ground.scale * v.f + float(weights @ v.off) if v.fine else HIGH

    here, t = merit(at), 1.0
    for trial in range(TRIALS):
        z = ground.moved(x, t * p)
        (there,) = yield from asked(z[None])
        won = here - merit(there)
        if trial == 0 and won < ENOUGH * gain and there.fine and there.off.any():
            bent = ground.moved(x, program.solved(there.c - program.j @ p)[0])
            (other,) = yield from asked(bent[None])
            if here - merit(other) >= ENOUGH * gain:
                z, there, won = bent, other, here - merit(other)
        if not (z != x).any():
            return None
        if won >= ENOUGH * t * gain:
            return z, there, won
        bend = t * gain - won
        t *= float(np.clip(0.5 * gain * t / bend, 0.1, 0.5)) if bend > 0 else 0.5
    return None
