"""The laws of methods that keep vectors, tried on the spaces that hold them; and that these laws bite there too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from zoptim.coefficients import Storm
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods.finite import (
    vr_szd,
    zivr,
    zo_page,
    zo_spider_coord,
    zo_storm,
    zo_svrg,
    zo_svrg_coord,
    zo_svrg_coord_rand,
    zpdvr,
)
from zoptim.protocols import Record, Weighing
from zoptim.spaces.flat import Flat
from zoptim.testing import Trial, check_method, functions, objective

METHODS: dict[str, Callable[[int], Method]] = {
    "zo_svrg": lambda d: zo_svrg(0.05, 1e-4, n=4, period=3),
    "zo_svrg_coord": lambda d: zo_svrg_coord(0.1, 1e-4, d=d, period=3),
    "zo_svrg_coord_rand": lambda d: zo_svrg_coord_rand(0.03, 1e-4, d=d, period=3),
    "zo_spider_coord": lambda d: zo_spider_coord(0.1, 1e-4, d=d, period=3),
    "zo_page": lambda d: zo_page(0.05, 1e-4, n=4, p=0.4),
    "zo_storm": lambda d: zo_storm(0.05, 1e-4, n=4),
    "vr_szd": lambda d: vr_szd(0.1, 1e-4, d=d, n=2, period=3),
    "zpdvr": lambda d: zpdvr(0.05, 1e-4, p=0.4),
    "zivr": lambda d: zivr(0.02, 1e-4, d=d, components=4),
}


@pytest.mark.parametrize("name", METHODS)
def test_laws(name: str) -> None:
    report = check_method(lambda: METHODS[name](9), functions=())
    assert not report.failed, str(report)
    held = {f.law for f in report.findings if f.status == "held"}
    assert {"1 replay", "2 one direction", "3 home", "8 degenerate equalities"} <= held
    said = {f.law: f.detail for f in report.findings if f.status == "not claimed"}["0 every space"]
    assert "flat float32, flat float64 alone" in said


@pytest.mark.parametrize("name", ["zo_svrg", "zo_page", "zpdvr"])
def test_known_minima_where_batches_hold_everything(name: str) -> None:
    trials = (
        Trial(functions.quadratic(), 8000, 0.01, (0.1, 0.03, 0.01)),
        Trial(functions.finite_sum(), 8000, 0.05, (0.1, 0.03, 0.01)),
    )
    made = replace(METHODS[name](9), probe=replace(METHODS[name](9).probe, big=1))
    report = check_method(lambda: replace(made, probe=replace(made.probe)), functions=trials)
    assert not report.failed, str(report)


def taken(method: Method, steps: int, d: int) -> np.ndarray:
    a = functions._normals("scales", d)
    run = Run(Flat(np.zeros(d)), method, Journal.create(None, {"key": 5}), horizon=steps)
    for _ in range(steps):
        run.step(objective(lambda x: 0.5 * ((x - a) ** 2 * np.arange(1, d + 1)).sum(axis=1)))
    return run.space.x


def test_d_draws_at_right_angles_are_all_coordinates() -> None:
    """VR-SZD with n = d has no noise of draws: on a quadratic, gradient descent, up to the forward radius."""
    d, x = 5, np.zeros(5)
    a = functions._normals("scales", d)
    for _ in range(8):
        x = x - 0.05 * np.arange(1, d + 1) * (x - a)
    full, few = (taken(vr_szd(0.05, 1e-7, d=d, n=n, period=8), 8, d) for n in (5, 2))
    np.testing.assert_allclose(full, x, rtol=0, atol=1e-5)
    assert np.abs(few - x).max() > 1e-3


def test_more_draws_at_right_angles_than_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="n=6"):
        vr_szd(d=5, n=6)


@dataclass(frozen=True)
class Drifting(Dense):
    """Its noise is another one whenever it is asked again."""

    def init(self, slots: Any, key: int, horizon: int = 1) -> Any:
        return {"key": key, "asked": 0}

    def form(
        self, out: Any, slot: Any, rows: Any, mix: Any, base: Any, state: Any,
        scale: float = 1.0, at: Any = None,
    ) -> None:  # fmt: skip
        state["asked"] += 1
        super().form(out, slot, rows, mix, base, state["key"] + state["asked"] // 3, scale)


class Hidden(Storm):
    """Corrects by something that no record holds."""

    count = 0.0

    def weigh(self, w: Weighing) -> Weighing:
        type(self).count += 1.0
        w = super().weigh(w)
        name, terms = w.tracks[0]
        return replace(w, tracks=((name, (*terms, (terms[-1][0], 1e-3 * self.count))), *w.tracks[1:]))

    def observe(self, record: Record) -> None: ...


BROKEN: dict[str, tuple[str, Callable[[], Method]]] = {
    "another direction": ("2 one direction", lambda: replace(zo_storm(), directions=Drifting("normal"))),
    "hidden state": ("1 replay", lambda: replace(zo_storm(), coefficients=Hidden())),
    "moves when all tie": ("8 degenerate equalities", lambda: replace(zo_storm(), coefficients=Hidden())),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_laws_bite(fault: str) -> None:
    law, make = BROKEN[fault]
    report = check_method(make, functions=())
    assert law in {f.law for f in report.failed}, str(report)


def test_the_vectors_are_part_of_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoptim.named import Named

    true = Named.track

    def late(self: Named, tracks: Any) -> None:  # the place is set to where nobody was
        true(self, tracks)
        for held in self.arrays["previous"].values():
            held[:] = np.nextafter(held, np.inf)

    monkeypatch.setattr(Named, "track", late)
    report = check_method(lambda: zo_storm(0.05), functions=())
    assert "2 one direction" in {f.law for f in report.failed}
