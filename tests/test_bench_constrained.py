"""Problems of constraints: published minima are feasible, have the published value, and nothing near them is better."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bench import constrained
from bench.constrained_problems import PROBLEMS

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_published_minimum_is_feasible_and_has_its_value(name: str) -> None:
    p = PROBLEMS[name]
    x = np.array(p.minimum)
    assert len(x) == p.d and p.violation(x) <= 1e-14
    assert float(p.f(x)) == pytest.approx(p.best, rel=1e-14, abs=1e-14)
    low, high = np.array(p.sides()).T
    assert (np.array(p.start) >= low).all() and (np.array(p.start) <= high).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_feasible_beside_the_minimum_is_lower(name: str) -> None:
    """Slopes of f are combinations of those of what holds with equality, of the right sign: at a minimum they are."""
    p, h = PROBLEMS[name], 1e-6
    x = np.array(p.minimum)

    def slopes(f) -> np.ndarray:
        return np.array(
            [(np.asarray(f(x + h * e)) - np.asarray(f(x - h * e))) / (2 * h) for e in np.eye(p.d)]
        ).T

    def rows(f, at) -> np.ndarray:
        found = slopes(f) if len(at) else np.zeros((0, p.d))
        return found.reshape(-1, p.d)

    g = np.asarray(p.ineq(x), float)
    active = rows(p.ineq, g)[np.abs(g) < 1e-9]
    sides = [
        e * s
        for e, xi, ends in zip(np.eye(p.d), x, p.sides(), strict=True)
        for s, end in zip((1, -1), ends, strict=True)
        if xi == end
    ]
    inward = np.array([*active, *sides]).reshape(-1, p.d)
    equal = rows(p.eq, p.eq(x))
    weights, *_ = np.linalg.lstsq(np.vstack([inward, equal]).T, slopes(p.f), rcond=None)
    np.testing.assert_allclose(np.vstack([inward, equal]).T @ weights, slopes(p.f), atol=1e-7)
    assert (weights[: len(inward)] >= -1e-7).all()


def test_points_are_counted_once_for_those_who_ask_again_by_the_way() -> None:
    p = PROBLEMS["HS22"]
    for repeats in (False, True):
        watch = constrained.Watch(p, 3, repeats)
        (ineq,) = watch.constraints()
        assert watch.f(np.array([1.0, 1.0])) == 1.0 and watch.best == (0.0, 0.0)
        assert ineq["fun"](np.array([1.0, 1.0])).tolist() == [0.0, 0.0] and watch.count == 1
        watch.f(np.array([1.0, 1.0]))
        assert watch.count == 1 + repeats and watch.first == {"1e-02": 1, "1e-04": 1, "1e-06": 1}
        ineq["fun"](np.array([0.5, 0.0]))
        assert watch.count == 2 + repeats
        with pytest.raises(constrained.Spent):
            for x in (0.1, 0.2):
                watch.f(np.array([x, x]))


def test_a_quick_run_is_told() -> None:
    names, each = constrained.QUICK
    found = constrained.measure({name: PROBLEMS[name] for name in names}, each)
    page = constrained.section(found)
    for kind, name in itertools.product(constrained.KINDS, names):
        cells = found["kinds"][kind][name]["found"]
        assert cells["zoptim"]["asked"] <= found["kinds"][kind][name]["budget"]
        assert f"**{kind}**" in page and f"| {name}, d = " in page
        for cell in cells.values():
            assert "missing" in cell or cell["violation"] > 0 or cell["gap"] > -1e-5


def test_what_is_missing_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(watch: constrained.Watch) -> None:
        raise ImportError("No module named 'scipy'")

    monkeypatch.setattr(constrained, "ENTRANTS", {"zoptim": constrained.ours("auto"), "SLSQP": absent})
    page = constrained.table(constrained.measure({"HS6": PROBLEMS["HS6"]}, 30))
    assert "| SLSQP | not here | not here" in page and page.rstrip().endswith("| not here |")
