"""QZO: the clip bites, the floor holds, and without both it is MeZO on the scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import build, mezo
from zoptim.methods.quantized import qzo
from zoptim.protocols import Stride
from zoptim.rules import NonNegative
from zoptim.spaces import Flat
from zoptim.testing import functions, objective


def trajectory(method: Any, x0: np.ndarray, steps: int = 12) -> tuple[np.ndarray, Run]:
    space = Flat(x0.copy())
    run = Run(space, method, Journal.create(None, {"key": 5}), horizon=steps)
    for _ in range(steps):
        run.step(objective(functions.quadratic(7, 5.0).f))
    return space.x, run


def test_without_clip_and_above_the_floor_it_is_mezo() -> None:
    far = np.full(7, 50.0)
    mine = trajectory(qzo(0.001, 1e-3, clip=float("inf"), floored="*"), far)[0]
    assert (mine > 0).all() and np.array_equal(mine, trajectory(mezo(0.001, 1e-3), far)[0])


def test_a_clip_that_bites_is_the_reference_and_bounds_what_is_recorded() -> None:
    problem = functions.quadratic(7, 5.0)
    x, run = trajectory(qzo(0.05, 1e-3, clip=0.5, n=2, floored="*"), problem.x0)
    path = reference.EDITIONS["qzo"](
        problem.f, problem.x0, key=5, slot=run.slots[0].id, steps=12, horizon=12, **run.method.arguments
    )
    np.testing.assert_allclose(x, path[-1], rtol=1e-9)
    coefs = np.array([c for r in run.journal.records for _, c in r.terms])
    assert np.abs(coefs).max() == 0.25 and np.abs(coefs).min() < 0.25  # C / n


def test_the_floor_holds_only_where_it_is_meant() -> None:
    p, g = np.array([0.3, 0.1]), np.array([1.0, 1.0])
    for name, ends in (("layer.scales", [0.1, 0.0]), ("norm.weight", [0.1, -0.1])):
        at = p.copy()
        NonNegative("*scales").apply(at, g.copy(), Stride(0.2, 0, name), ())
        np.testing.assert_allclose(at, ends, atol=1e-15)


@pytest.mark.parametrize(
    "bad", [{"clip": 0}, {"clip": -1.0}, {"clip": "x"}, {"clip": True}, {"floored": ""}, {"n": 0}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"^{name}="):
        build("qzo", bad)
