"""The machinery of the COCO comparison without COCO: counting, targets, shares, cells on disk, the drawing."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from bench import coco, coco_entrants, coco_figure, coco_problem
from bench.coco_problem import TARGETS, BudgetOver, Counted, Problem

D = 4
F_OPT = 7.0


def bowl(x):
    return F_OPT + float(((x - 1.0) ** 2).sum())


def problem(f=bowl):
    return Problem(1, 1, D, f, np.zeros(D), (np.full(D, -5.0), np.full(D, 5.0)), f(np.zeros(D)), F_OPT)


def newton(f, x0, budget, bounds, seed):
    f(x0)
    while True:
        f(np.ones(D))


def test_it_stops_exactly_at_the_budget():
    asked = []
    counted = Counted(problem(lambda x: asked.append(1) or bowl(x)), 10, 1e9)
    asked.clear()
    for _ in range(10):
        counted(np.zeros(D))
    with pytest.raises(BudgetOver):
        counted(np.ones(D))
    assert len(asked) == counted.calls == 10
    assert counted.best == bowl(np.zeros(D))  # the eleventh was not evaluated


def test_targets_run_from_the_first_gap_over_eight_decades():
    targets = np.array(Counted(problem(), 1, 1e9).targets) - F_OPT
    assert targets.size == TARGETS
    np.testing.assert_allclose(targets[[0, 25, -1]], [D, D * 1e-4, D * 1e-8], rtol=1e-6)


def test_hits_are_the_evaluations_that_first_reached_a_target():
    counted = Counted(problem(), 5, 1e9)
    counted(np.zeros(D))
    assert counted.hits == [1]
    counted(np.full(D, 0.9))  # the gap falls to a hundredth: 12 steps of 10^(-8/50)
    assert counted.hits == [1] + [2] * 12
    counted(np.full(D, 0.5))
    counted(np.full(D, np.nan))
    counted(np.ones(D))
    assert counted.hits == [1] + [2] * 12 + [5] * (TARGETS - 13)


def test_own_time_is_capped_and_the_function_s_time_is_not_counted():
    def busy(seconds):
        start = time.process_time()
        while time.process_time() - start < seconds:
            pass

    def slow(x):
        busy(0.02)
        return bowl(x)

    found = Counted(problem(slow), 10, 0.1).run(newton)
    assert not found["capped"] and found["calls"] == 10 and found["seconds"] < 0.1

    def thinker(f, x0, budget, bounds, seed):
        while True:
            busy(0.03)
            f(x0)

    found = Counted(problem(), 1000, 0.1).run(thinker)
    assert found["capped"] and found["calls"] < 5


@pytest.mark.parametrize("name", ["random", "spsa"])
def test_our_own_baselines_use_the_whole_budget(name):
    found = coco_entrants.run(name, Counted(problem(), 30 * D, 1e9))
    again = coco_entrants.run(name, Counted(problem(), 30 * D, 1e9))
    assert found["calls"] == 30 * D and found["gap"] <= found["gap0"]
    assert found["hits"] == again["hits"] == sorted(found["hits"])


def test_cells_are_kept_resumed_and_tried_again_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_problem, "problems", lambda *_: iter([problem()]))
    monkeypatch.setattr(coco, "ENTRANTS", {"newton": newton, "broken": None})
    monkeypatch.setattr(coco_entrants, "ENTRANTS", {"newton": newton, "broken": None})
    monkeypatch.setattr(coco.common, "stamp", lambda result: result)
    plan = coco.Plan(tmp_path, (5,))
    assert list(plan.missing()) == [(5, "newton"), (5, "broken")]
    assert "share 1.000" in coco.cell(plan, 5, "newton")
    assert "TypeError" in coco.cell(plan, 5, "broken")
    assert list(plan.missing()) == [(5, "broken")]
    assert coco.table(plan).splitlines()[2:] == ["| newton | 1.000 |", "| broken | error |"]
    found = plan.result(5, "newton")
    assert coco.share(found) == 1.0
    assert coco.share(found, 1 / 5) == 1 / TARGETS  # x0 reaches the first target, and nothing else


def test_the_drawing_has_a_line_an_entrant_and_ends_at_the_share():
    found = {
        (5, name): {"dim": 5, "problems": {"f01i1": {"hits": hits}, "f02i1": {"hits": []}}}
        for name, hits in (("good", [1] * 10 + [20] * 41), ("bad", [150]))
    }
    curve = coco_figure.ecdf(found[5, "good"])
    assert curve[-1] == (30.0, coco.share(found[5, "good"]))
    assert [share for _, share in curve] == sorted(share for _, share in curve)
    root = ET.fromstring(coco_figure.draw(found))
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {"good", "bad"} <= set(titles)
    assert coco_figure.draw({(5, "x"): {"error": "no"}}) == ""


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        coco.plan_of(["--only", "cme"])
    assert "cme is none of zoptim, random, spsa" in capsys.readouterr().err
