"""The laws of methods that are not for plain vectors, on the spaces they are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from zoptim.coefficients import Central
from zoptim.directions import Dense
from zoptim.manifolds import Sphere
from zoptim.method import Method
from zoptim.methods.bilevel import zo_bilevel
from zoptim.methods.minimax import zo_extragradient, zo_gda, zo_gdmsa, zo_vrgda
from zoptim.methods.riemannian import zo_riemannian
from zoptim.spaces.curved import Curved
from zoptim.spaces.several import Joined
from zoptim.testing import check_method


def players(x: np.ndarray) -> Joined:
    return Joined(x, x=4, y=x.size - 4)


def sphere(x: np.ndarray) -> Curved:
    return Curved(Sphere().retract(x, 0 * x), Sphere())


CASES: dict[str, tuple[Callable[[], Method], Callable[[np.ndarray], Any]]] = {
    "zo_riemannian": (lambda: zo_riemannian(0.1, 1e-3, n=3), sphere),
    "zo_riemannian, pairs": (lambda: zo_riemannian(0.1, 1e-3, differences="central"), sphere),
    "zo_gda": (lambda: zo_gda(0.1, 1e-3, nx=2, ny=2), players),
    "zo_gdmsa": (lambda: zo_gdmsa(0.1, 1e-3, ascents=2), players),
    "zo_extragradient": (lambda: zo_extragradient(0.1, 1e-3), players),
    "zo_vrgda": (lambda: zo_vrgda(0.1, 1e-3, dx=4, dy=5, ascents=2, period=2), players),
    "zo_bilevel": (lambda: zo_bilevel(0.1, 1e-2, inner=2, solve=2), players),
}
EVERYWHERE = ("1 replay", "2 one direction", "3 home", "4 address", "8 degenerate equalities")


@pytest.mark.parametrize("name", CASES)
def test_the_laws_are_kept(name: str) -> None:
    make, space = CASES[name]
    report = check_method(make, functions=[], space=space)
    verdicts = {finding.law: finding for finding in report.findings}
    assert not report.failed, str(report)
    for law in EVERYWHERE:
        assert verdicts[law].status == "held", str(report)
    assert verdicts["10 known minima"].detail == "it is not for plain vectors"
    if "shift-free" in make().claims:
        assert verdicts["trait shift-free"].status == "held", str(report)


def test_a_method_that_leaves_the_manifold_breaks_the_second_law() -> None:
    def wrong() -> Method:
        return replace(zo_riemannian(0.1, 1e-3), directions=Dense("normal"), coefficients=Central())

    found = {f.law: f for f in check_method(wrong, functions=[], space=sphere).findings}
    assert found["2 one direction"].status == "failed"
