"""The scaling table: every law of directions, in every form of difference, is the smoothed gradient in the mean.

probe along z, apply a(z):   E <g, z> a(z) = g,   E |1/q sum_i <g, z_i> a(z_i)|^2 / |g|^2 = the table's last column

On a loss that is no plane the mean is the gradient of E f(x + eps w), w spread over what z is the edge of: normals over
normals, a sphere over its ball, signs over the cube's edges, a coordinate over [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from zoptim.coefficients import Central, CentralSlopes, Curvature, Forward, OnePoint, Residual, Slopes
from zoptim.directions import Coordinate, Dense, Distinct, L1Sphere, Sampled, Spherical, UnitSphere
from zoptim.noise import key_from_seed
from zoptim.probes import OnePoint as OnePoints
from zoptim.probes import OneSided, TwoSided
from zoptim.probes import Residual as Residuals
from zoptim.protocols import Directions, Draw, Mix, Now, Record, Weighing
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
    """A row of the table; all but the last are of d."""

    make: Callable[[int], Any]  # of the draws a step
    probed: Callable[[int], float]  # E |z|^2
    applied: Callable[[int], float]  # E |a(z)|^2
    spread: Callable[[int], float]  # E w_l^2 of what element l of the gradient is smoothed over
    column: Callable[[int, int], float]  # d, q -> E |step|^2 / |g|^2


def plain(d: int) -> float:
    return d


TABLE = {
    "normal": Row(lambda q: Dense("normal"), plain, plain, lambda d: 1, lambda d, q: (d + q + 1) / q),
    "signs": Row(lambda q: Dense("signs"), plain, plain, lambda d: 1 / 3, lambda d, q: (d + q - 1) / q),
    "sphere of radius sqrt(d)": Row(
        lambda q: Spherical(), plain, plain, lambda d: d / (d + 2), lambda d, q: 1 + (d - 1) / q
    ),
    "unit sphere": Row(
        lambda q: UnitSphere(), lambda d: 1, lambda d: d**2, lambda d: 1 / (d + 2), lambda d, q: 1 + (d - 1) / q
    ),
    "orthonormal block": Row(
        UnitSphere, lambda d: 1, lambda d: d**2, lambda d: 1 / (d + 2), lambda d, q: d / q
    ),
    "orthogonal block": Row(Spherical, plain, plain, lambda d: d / (d + 2), lambda d, q: d / q),
    "coordinate": Row(
        lambda q: Sampled(), lambda d: 1, lambda d: d**2, lambda d: 1 / 3, lambda d, q: 1 + (d - 1) / q
    ),
    "distinct coordinates": Row(Distinct, lambda d: 1, lambda d: d**2, lambda d: 1 / 3, lambda d, q: d / q),
    "l1 sphere of radius d": Row(
        lambda q: L1Sphere(), lambda d: 2 * d**2 / (d + 1), plain, lambda d: 2 * d**2 / ((d + 1) * (d + 2)),
        lambda d, q: (2 * d**2 / (d + 1) + q - 1) / q,
    ),
}  # fmt: skip


def within(samples: np.ndarray, expected: Any) -> np.ndarray:
    """The mean over samples is as expected, within 5 standard errors (or rounding): those errors."""
    error = samples.std(axis=0) / math.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) <= 5 * error + 1e-9 * np.abs(expected)).all()
    return np.asarray(error)


@pytest.mark.parametrize("q", [1, 3, D])
@pytest.mark.parametrize("law", list(TABLE))
def test_scaling_table(law: str, q: int) -> None:
    row, g = TABLE[law], made_up("g", D)
    z, applied = drawn(row.make(q), q, DRAWS // q)
    within((z**2).sum(2).ravel(), row.probed(D))
    within((applied**2).sum(2).ravel(), row.applied(D))
    steps = ((z @ g)[..., None] * applied).mean(1)
    within(steps, g)
    within((steps**2).sum(1) / (g @ g), row.column(D, q))


# -- forms of difference ------------------------------------------------------------------------------------

X, G, B = 0.3 * made_up("x", D), 0.3 * made_up("g", D), 2.0 + made_up("b", D) ** 2
A = made_up("A", D, D)
A = 0.1 * (A + A.T)
LEVEL = 0.7


def plane(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - X) @ G + LEVEL)


def cubic(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ G + 0.5 * ((x @ A) * x).sum(-1) + (B * x**3).sum(-1) / 6)


def smoothed(eps: float, spread: float, middle: float = 0.0) -> np.ndarray:
    """The gradient of E cubic(X + eps w), E w_l = middle (of a coordinate alone) and E w_l^2 = spread."""
    return np.asarray(
        G + A @ X + 0.5 * B * X**2 + eps * middle * (np.diag(A) + B * X) + 0.5 * eps**2 * spread * B
    )


class Form(NamedTuple):
    """A difference: what is asked and what the answers weigh."""

    probe: Callable[[int], Any]
    quotient: Callable[[], Any]
    queries: Callable[[int], int]  # of q
    column: Callable[[Row, int, float], float]  # q, eps -> E |step|^2 / |g|^2 on `plane`


FORMS = {
    "forward": Form(OneSided, Forward, lambda q: q + 1, lambda row, q, eps: row.column(D, q)),
    "central": Form(TwoSided, Central, lambda q: 2 * q, lambda row, q, eps: row.column(D, q)),
    "one-point": Form(
        OnePoints, OnePoint, lambda q: q,
        lambda row, q, eps: row.column(D, q) + LEVEL**2 * row.applied(D) / (q * eps**2 * (G @ G)),
    ),
    "residual": Form(
        lambda q: Residuals(), Residual, lambda q: 1,
        lambda row, q, eps: row.column(D, q) + row.probed(D) / D * row.applied(D),
    ),
}  # fmt: skip


@cache
def kept(law: str, q: int) -> tuple[np.ndarray, np.ndarray]:
    return drawn(TABLE[law].make(q), q, DRAWS // 2 // q)


def estimates(law: str, form: Form, q: int, f: Callable[[np.ndarray], np.ndarray], eps: float) -> np.ndarray:
    """(steps, d): what the form's own points and weights say at X; the first step, where a residual has no last, is left out."""
    (z, applied), probe, quotient = kept(law, q), form.probe(q), form.quotient()
    found = np.empty((len(z), D))
    for t in range(len(z)):
        rounds = probe.rounds(t, Now(1.0, eps))
        points = next(rounds)
        assert t == 0 or len(points) == probe.forwards == form.queries(q)
        losses = f(np.array([X + sum(s * z[t, draw.i] for draw, s in p.terms) for p in points]))
        with pytest.raises(StopIteration) as stop:
            rounds.send(losses)
        draws = stop.value.value
        coefs = quotient.weigh(Weighing(draws, tuple(points), losses, np.zeros(len(draws)), eps)).coefs
        found[t] = coefs @ applied[t, [draw.i for draw in draws]]
        record = Record("move", t, 1.0, losses=tuple(losses.tolist()))
        probe.observe(record)
        quotient.observe(record)
    return found[1:]


CASES = [
    (law, form, q)
    for law in TABLE
    for form in FORMS
    for q in (1, 3)
    if not (form == "residual" and q > 1)  # it has one draw
    if not (
        "coordinate" in law and form in ("one-point", "residual")
    )  # E z is not 0: there they mean nothing
]


@pytest.mark.parametrize(("law", "form", "q"), CASES)
def test_every_form_is_the_smoothed_gradient(law: str, form: str, q: int) -> None:
    """eps displaces by 1 a coordinate: what is smoothed away is far beyond the errors, so that its constant counts."""
    row = TABLE[law]
    eps = math.sqrt(D / row.probed(D))
    middle = 0.5 if "coordinate" in law and form == "forward" else 0.0  # [0, 1] in place of [-1, 1]
    there = smoothed(eps, row.spread(D), middle)
    error = within(estimates(law, FORMS[form], q, cubic, eps), there)
    assert (np.abs(there - smoothed(0.0, 0.0)) > 10 * error).any()
    steps = estimates(law, FORMS[form], q, plane, eps)
    within(steps, G)
    within((steps**2).sum(1) / (G @ G), FORMS[form].column(row, q, eps))


@pytest.mark.parametrize(("probe", "quotient", "queries", "middle"), [
    (OneSided, Slopes, D + 1, 0.5), (TwoSided, CentralSlopes, 2 * D, 0.0),
])  # fmt: skip
def test_all_coordinates_are_the_smoothed_gradient_itself(
    probe: Any, quotient: Any, queries: int, middle: float
) -> None:
    """CGE: no mean is needed, and E |step|^2 = |g|^2."""
    points = next(probe(D).rounds(0, Now(1.0, 0.8)))
    z = drawn(Coordinate(), D, 1)[0][0]
    places = np.array([X + sum(s * z[draw.i] for draw, s in p.terms) for p in points])
    w = Weighing(tuple(Draw(0, i) for i in range(D)), tuple(points), cubic(places), np.zeros(D), 0.8)
    assert len(points) == queries
    np.testing.assert_allclose(quotient().weigh(w).coefs @ z, smoothed(0.8, 1 / 3, middle), rtol=1e-12)


HERE = 0.5 + np.abs(X)
H = A + np.diag(B * HERE)
SEEN = {
    "normal": H,
    "signs": H - np.diag(np.diag(H)),
    "sphere of radius sqrt(d)": D / (D + 2) * (H - np.trace(H) / D * np.eye(D)),
}


@pytest.mark.parametrize("law", list(SEEN))
def test_second_differences_are_what_a_law_can_see_of_the_hessian(law: str) -> None:
    """E s (z z' - 1), s = (f(x + eps z) + f(x - eps z) - 2 f(x)) / (2 eps^2): no other law's, either."""
    z, eps = drawn(TABLE[law].make(1), 1, 2 * DRAWS)[0][:, 0], 0.3
    losses = np.stack([cubic(HERE + eps * z), cubic(HERE - eps * z)], axis=1).ravel()
    draws = tuple(Draw(t, 0) for t in range(len(z)))
    w = Weighing(draws, (), np.append(losses, cubic(HERE)), np.zeros(len(z)), eps)
    s = np.array(Curvature().weigh(w).extra)
    error = within(s[:, None, None] * (z[:, :, None] * z[:, None, :] - np.eye(D)), SEEN[law])
    for other in set(SEEN) - {law}:
        assert (np.abs(SEEN[law] - SEEN[other]) > 10 * error).any()
