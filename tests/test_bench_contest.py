"""Contests on finite sums: what is compared, told and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from bench import contest, contest_figure, frank_wolfe, sums
from bench.contest import Contest, Entrant, Problem

from zoptim.sets import L1

A = np.random.default_rng(0).normal(size=(9, 4))


@dataclass(frozen=True, kw_only=True)
class Least(Problem):
    """Least squares under l1."""

    def loss(self, x: np.ndarray) -> float:
        return super().loss(x) + float(np.abs(x).sum())

    def gap(self, x: np.ndarray) -> float:
        g = self.slope(x)
        least = np.where(x != 0, g + np.sign(x), np.maximum(abs(g) - 1.0, 0.0))
        return float(least @ least)

    def where(self) -> Mapping[str, Any]:
        return {"penalty": L1(1.0)}

    def seen(self, x: np.ndarray) -> Mapping[str, float]:
        return {"numbers": int(np.count_nonzero(x))}


def problem() -> Least:
    p = Least(
        name="least", n=9, d=4, smooth=float(np.linalg.norm(A, 2) ** 2 / 9), budget=20_000,
        values=lambda x, i: 0.5 * (x @ A[i].T - 3.0 * A[i, 0]) ** 2, slope=lambda x: A.T @ (A @ x - 3.0 * A[:, 0]) / 9,
    )  # fmt: skip
    x = contest.accelerated(p, L1(1.0).prox, 1e-24)
    return replace(p, best=p.loss(x), certified=p.gap(x))


GAME = Contest(
    "game", "A game.", {"least": problem},
    {
        "svrg": Entrant("zo_svrg_coord", lambda p: {"schedule": "constant"}, lambda p: 1 / p.smooth),
        "far": Entrant("zo_sgd", lambda p: {"n": 1, "law": "normal", "schedule": "constant"}, lambda p: 1e6),
    },
    {"numbers": lambda cell: contest.spread(contest.ends(cell, "numbers"))},
    grid=(1e-3, 0.2), quick=(0.5, (0,), (1.0,)), seeds=(0, 1), axis="linear", base=("far",),
)  # fmt: skip


def found(p: Problem) -> dict[str, Any]:
    cells = {k: GAME.cell(p, e, p.budget, GAME.grid, GAME.seeds) for k, e in GAME.entrants.items()}
    one = {"n": p.n, "d": p.d, "budget": p.budget, "start": [1.0, 1.0], "best": p.best, "cells": cells}
    return {
        "quick": False, "seeds": [0, 1], "grid": [1.0], "axis": GAME.axis, "asked": GAME.asked, "measure": GAME.measure, "base": list(GAME.base), "problems": {"least": one},
    }  # fmt: skip


def test_a_contest_tunes_keeps_to_its_budget_and_says_who_diverged() -> None:
    p = problem()
    assert p.certified < 1e-24
    told = found(p)
    cells = told["problems"]["least"]["cells"]
    good, far = cells["svrg"], cells["far"]
    assert good["factor"] == 0.2 and good["runs"][0]["loss"][-1] - p.best < 1e-6
    assert 0.9 * p.budget < good["runs"][0]["queries"][-1] <= p.budget
    assert far["runs"][0]["diverged"] and far["runs"][0]["queries"][-1] < p.budget
    table = GAME.table(told)
    assert table.index("| svrg |") < table.index("| far |")
    assert "sums.svg" not in GAME.section(told, "A note.") and "A note." in GAME.section(told, "A note.")
    drawn = contest_figure.draw(told)
    assert drawn.count('<path class="named') == 2 and "20,000</text>" in drawn


def test_a_budget_without_room_for_a_step_is_said() -> None:
    p = problem()
    assert "too small" in GAME.cell(p, GAME.entrants["svrg"], 20, (1.0,), (0,))["error"]


@pytest.mark.parametrize("bench", [frank_wolfe, sums])
def test_labels_drawn_as_compared_with_are_entrants(bench: Any) -> None:
    assert set(bench.CONTEST.base) < set(bench.CONTEST.entrants)
