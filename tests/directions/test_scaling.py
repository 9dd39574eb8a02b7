"""The scaling table: every law of directions, with any number of draws a step, is the gradient in the mean.

probe along z, apply a(z):   E <g, z> a(z) = g,   E |1/q sum_i <g, z_i> a(z_i)|^2 / |g|^2 = the table's last column
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from zoptim.directions import Dense, Distinct, L1Sphere, Sampled, Spherical, UnitSphere
from zoptim.noise import key_from_seed
from zoptim.protocols import Directions, Draw, Mix
from zoptim.spaces.flat import Flat
from zoptim.testing.subjects import made_up

D, KEY, DRAWS = 7, key_from_seed(5), 12_000


def drawn(directions: Directions, n: int, steps: int, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """What is probed and what is applied, (steps, n, d) each."""
    space = Flat(np.zeros(d))
    state = directions.init(space.slots(), KEY)
    found = []
    for some in (directions, getattr(directions, "image", directions)):
        z = np.empty((steps, n, d))
        for t in range(0, steps, 40):
            mix = Mix.of(*[((Draw(s, i), 1.0),) for s in range(t, min(t + 40, steps)) for i in range(n)])
            out = np.empty((len(mix.draws), d, 1))
            some.form(out, space.slot, slice(0, d), mix, None, state, at=np.zeros((d, 1)))
            z[t : t + 40] = out.reshape(-1, n, d)
        found.append(z)
    return found[0], found[1]


class Row(NamedTuple):
    """A row of the table."""

    make: Callable[[int], Any]  # of the draws a step
    probed: Callable[[int], float]  # d -> E |z|^2
    column: Callable[[int, int], float]  # d, q -> E |step|^2 / |g|^2


TABLE = {
    "normal": Row(lambda q: Dense("normal"), lambda d: d, lambda d, q: (d + q + 1) / q),
    "signs": Row(lambda q: Dense("signs"), lambda d: d, lambda d, q: (d + q - 1) / q),
    "sphere of radius sqrt(d)": Row(lambda q: Spherical(), lambda d: d, lambda d, q: 1 + (d - 1) / q),
    "unit sphere": Row(lambda q: UnitSphere(), lambda d: 1, lambda d, q: 1 + (d - 1) / q),
    "orthonormal block": Row(lambda q: UnitSphere(q), lambda d: 1, lambda d, q: d / q),
    "orthogonal block": Row(lambda q: Spherical(q), lambda d: d, lambda d, q: d / q),
    "coordinate": Row(lambda q: Sampled(), lambda d: 1, lambda d, q: 1 + (d - 1) / q),
    "distinct coordinates": Row(Distinct, lambda d: 1, lambda d, q: d / q),
    "l1 sphere of radius d": Row(
        lambda q: L1Sphere(), lambda d: 2 * d**2 / (d + 1), lambda d, q: (2 * d**2 / (d + 1) + q - 1) / q
    ),
}


def within(samples: np.ndarray, expected: Any) -> None:
    """The mean over samples is as expected, within 5 standard errors (or rounding)."""
    error = samples.std(axis=0) / math.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) <= 5 * error + 1e-9 * np.abs(expected)).all()


@pytest.mark.parametrize("q", [1, 3, D])
@pytest.mark.parametrize("law", list(TABLE))
def test_scaling_table(law: str, q: int) -> None:
    row, g = TABLE[law], made_up("g", D)
    z, applied = drawn(row.make(q), q, DRAWS // q)
    within((z**2).sum(2).ravel(), row.probed(D))
    steps = ((z @ g)[..., None] * applied).mean(1)
    within(steps, g)
    within((steps**2).sum(1) / (g @ g), row.column(D, q))
