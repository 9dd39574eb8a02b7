"""Radii: near the best one for losses in either precision, and the same displacement whatever the law."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from zoptim.directions import Coordinate, Dense, L1Sphere, Sampled, Spherical, UnitSphere
from zoptim.probes import OnePoint, OneSided, Residual, ThreePoint, TwoSided
from zoptim.protocols import Draw, Mix
from zoptim.radii import auto, length_of, radius, scale_of
from zoptim.spaces.flat import Flat


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sided", ["one", "two"])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_no_radius_is_much_better(dtype: Any, sided: Literal["one", "two"], scale: float) -> None:
    """The error of a slope of cosh(x / scale), over all radii: at most ten times the least there is."""
    at = (np.linspace(0.5, 1.5, 400) * scale).astype(dtype)

    def error(h: float) -> float:
        step = dtype(h)
        up, down = (np.cosh((at + s * step) / dtype(scale)) for s in (1, -1 if sided == "two" else 0))
        found = (up - down).astype(np.float64) / ((2 if sided == "two" else 1) * float(step))
        return float(np.abs(found - np.sinh(at.astype(np.float64) / scale) / scale).mean())

    best = min(error(scale * 10.0**k) for k in np.arange(-12.0, 0.0, 0.25))
    assert error(radius(dtype, scale, sided)) < 10 * best


def test_a_radius_is_a_displacement_over_the_length_of_a_direction() -> None:
    d = 400
    for law in ("normal", "signs", "sphere", "l1 sphere", "unit sphere", "coordinate"):
        length = length_of(law, d)
        assert radius(np.float64, 3.0, length=length) * length == pytest.approx(radius(np.float64, 3.0))
    assert length_of("normal", d) == 20.0 and length_of("coordinate", d) == 1.0


@pytest.mark.parametrize("law", ["signs", "normal", "sphere", "unit sphere", "coordinate", "l1 sphere"])
def test_lengths_are_those_of_the_directions(law: str) -> None:
    made: list[Any] = [Dense("signs"), Dense("normal"), Spherical(), UnitSphere(), Sampled(), L1Sphere()]
    directions, d = next(m for m in made if m.law == law), 300
    space, z = Flat(np.zeros(d)), np.empty((20, d, 1))
    mix = Mix.of(*[((Draw(t, 0), 1.0),) for t in range(20)])
    directions.form(z, space.slot, slice(0, d), mix, None, directions.init(space.slots(), 7))
    lengths = np.sqrt((z**2).sum((1, 2)))
    assert np.sqrt((lengths**2).mean()) == pytest.approx(length_of(law, d), rel=0.5)


def test_a_method_s_own_radius() -> None:
    x = np.full(100, 3.0)
    two, one = (radius(np.float64, 30.0, sided) for sided in ("two", "one"))
    assert auto(Dense("normal"), TwoSided(3), x) == pytest.approx(two / 10)
    assert auto(Dense("normal"), OneSided(3), x) == pytest.approx(one / 10)
    assert auto(Coordinate(), TwoSided(3), x) == auto(UnitSphere(), ThreePoint(3), x) == pytest.approx(two)
    assert auto(Spherical(2), OneSided(3), x.astype(np.float32)) == pytest.approx(
        radius(np.float32, 3.0, "one")
    )
    for probe in (OnePoint(), Residual()):
        with pytest.raises(ValueError, match="eps='auto'"):
            auto(Dense("normal"), probe, x)


def test_the_scale_is_where_one_starts() -> None:
    assert scale_of(np.zeros(3)) == 1.0 and scale_of(np.full(4, 50.0)) == 100.0


@pytest.mark.parametrize(
    ("given", "says"),
    [({"scale": 0.0}, "scale=0.0"), ({"length": np.inf}, "length="), ({"sided": "three"}, "sided='three'")],
)
def test_what_is_no_radius(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        radius(np.float64, **given)
