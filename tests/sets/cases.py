"""One row a set: how to make it for points of d numbers, and how to draw points of it without using its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoptim.sets import (
    Affine,
    BallInBox,
    Birkhoff,
    Box,
    HalfSpace,
    Intersection,
    KSupportBall,
    L1Ball,
    L2Ball,
    LpBall,
    NuclearBall,
    Set,
    Simplex,
    Spectrahedron,
    linf_ball,
)  # fmt: skip

D = 12


@dataclass(frozen=True)
class Case:
    name: str
    set: Set
    inside: Callable[[Any], np.ndarray]  # a numpy Generator -> a feasible point (d,)
    d: int = D


def shift() -> np.ndarray:
    return np.linspace(-0.7, 0.9, D)


def shares(r: Any) -> np.ndarray:
    return r.dirichlet(np.full(D, 0.5))


def in_ball(r: Any, p: float) -> np.ndarray:
    z = r.standard_normal(D) * r.integers(0, 2, D)
    return z / max(np.linalg.norm(z, p), 1e-9) * r.choice([1.0, r.uniform()])


def matrix(r: Any, rows: int, columns: int, weights: np.ndarray) -> np.ndarray:
    """A matrix of these singular values."""
    k = len(weights)
    u, v = (np.linalg.qr(r.standard_normal((n, k)))[0] for n in (rows, columns))
    return (u * weights) @ v.T


def definite(r: Any) -> np.ndarray:
    q = np.linalg.qr(r.standard_normal((4, 4)))[0]
    return ((q * shares(r)[:4]) @ q.T).ravel() * 1.5


def stochastic(r: Any) -> np.ndarray:
    weights = shares(r)
    return sum(w * np.eye(4)[r.permutation(4)] for w in weights).ravel()


def sparse(r: Any, k: int) -> np.ndarray:
    """A mean of k-sparse vectors of length 1."""
    made = np.zeros(D)
    for w in r.dirichlet(np.full(3, 0.4)):
        z = np.zeros(D)
        z[r.choice(D, k, replace=False)] = r.standard_normal(k)
        made += w * z / np.linalg.norm(z)
    return made


def pulled(r: Any, center: np.ndarray, p: float, radius: float, low: Any, high: Any) -> np.ndarray:
    """A point of ball and box: a point of the box, pulled towards the box's point next to the centre until in the ball."""
    home, z = np.clip(center, low, high), low + (high - low) * r.choice([0.0, 1.0, r.uniform()], D)
    t = 1.0
    while np.linalg.norm(home + t * (z - home) - center, p) > radius:
        t *= 0.9
    return home + t * (z - home)


def below(r: Any) -> np.ndarray:
    z = 5 * r.standard_normal(D)
    return z - shift() * (shift() @ z + 0.3 + r.choice([0.0, r.exponential()])) / (shift() @ shift())


def lidded(r: Any) -> np.ndarray:
    z = 1.5 * in_ball(r, 2)
    return z * min(1.0, 0.5 / max(z.sum(), 1e-9))


def levelled(r: Any) -> np.ndarray:
    """Between a point of the box under the plane sum z = 0.4 and one above it."""
    part = 0.25 * (HIGH - LOW) * r.uniform(0, 1, (2, D)) * r.integers(0, 2, (2, D))
    under, over = LOW + part[0], HIGH - part[1]  # their sums are at most -0.1 and at least 9
    t = (0.4 - under.sum()) / (over.sum() - under.sum())
    return under + t * (over - under)


ROWS = np.vstack(
    [np.ones(D), np.cos(np.arange(D)), np.ones(D) + np.cos(np.arange(D))]
)  # the third depends on the others
RIGHT = ROWS @ np.full(D, 0.3)
NULL = np.linalg.svd(ROWS)[2][2:]
MIDDLE = np.linspace(0.05, 0.95, D)  # an image's pixels
CORNER = np.round(MIDDLE)  # on the box's boundary
LOW, HIGH = np.linspace(-1.0, 0.2, D), np.linspace(0.3, 2.0, D)

CASES = [
    Case("box", Box(LOW, HIGH), lambda r: LOW + (HIGH - LOW) * r.choice([0.0, 1.0, r.uniform()], D)),
    Case("half-open box", Box(0.0, np.where(np.arange(D) % 2, np.inf, HIGH)), lambda r: HIGH * r.uniform(0, 1, D)),
    Case("linf", linf_ball(0.5, shift()), lambda r: shift() + 0.5 * in_ball(r, np.inf)),
    Case("l2", L2Ball(1.5, shift()), lambda r: shift() + 1.5 * in_ball(r, 2)),
    Case("l2 about 0", L2Ball(0.8), lambda r: 0.8 * in_ball(r, 2)),
    Case("l1", L1Ball(1.5, shift()), lambda r: shift() + 1.5 * in_ball(r, 1)),
    Case("simplex", Simplex(2.0), lambda r: 2.0 * shares(r)),
    Case("l1.5", LpBall(1.5, shift(), p=1.5), lambda r: shift() + 1.5 * in_ball(r, 1.5)),
    Case("l3", LpBall(1.2, p=3), lambda r: 1.2 * in_ball(r, 3)),
    Case("nuclear", NuclearBall(2.0, shape=(3, 4)), lambda r: matrix(r, 3, 4, 2.0 * shares(r)[:3]).ravel()),
    Case("nuclear, tall", NuclearBall(2.0, shift(), shape=(6, 2)), lambda r: shift() + matrix(r, 6, 2, 2.0 * shares(r)[:2]).ravel()),
    Case("spectrahedron", Spectrahedron(1.5, side=4), definite, 16),
    Case("half-space", HalfSpace(shift(), -0.3), below),
    Case("affine", Affine(ROWS, RIGHT), lambda r: 0.3 + 3.0 * r.standard_normal(D - 2) @ NULL),
    Case("k-support", KSupportBall(1.3, shift(), k=3), lambda r: shift() + 1.3 * sparse(r, 3)),
    Case("Birkhoff", Birkhoff(side=4), stochastic, 16),
    Case("l2 in box", BallInBox(L2Ball(0.8, MIDDLE), Box(0.0, 1.0)), lambda r: pulled(r, MIDDLE, 2, 0.8, 0.0, 1.0)),
    Case("l2 at a corner", BallInBox(L2Ball(0.8, CORNER), Box(0.0, 1.0)), lambda r: pulled(r, CORNER, 2, 0.8, 0.0, 1.0)),
    Case("l2 beside box", BallInBox(L2Ball(3.0), Box(LOW + 1.0, HIGH + 2.0)), lambda r: pulled(r, np.zeros(D), 2, 3.0, LOW + 1.0, HIGH + 2.0)),
    Case("l1 in box", BallInBox(L1Ball(1.1, MIDDLE), Box(0.0, 1.0)), lambda r: pulled(r, MIDDLE, 1, 1.1, 0.0, 1.0)),
    Case("l1 beside box", BallInBox(L1Ball(9.0), Box(LOW + 1.0, HIGH + 2.0)), lambda r: pulled(r, np.zeros(D), 1, 9.0, LOW + 1.0, HIGH + 2.0)),
    Case("l2 and half-space", Intersection((L2Ball(1.5), HalfSpace(np.ones(D), 0.5))), lidded),
    Case("box and plane", Intersection((Box(LOW, HIGH), Affine(np.ones(D), 0.4))), levelled),
]  # fmt: skip

BY_NAME = {case.name: case for case in CASES}


def offering(*operations: str) -> list[Case]:
    return [case for case in CASES if case.set.offers >= set(operations)]
