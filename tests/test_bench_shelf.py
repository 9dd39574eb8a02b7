"""The comparison's machinery, end to end on a tiny random model: cells, resumption, failures, the page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
from bench import first_order, shelf, shelf_cell

sys.path.insert(0, str(Path(__file__).parent / "lm"))
import tiny


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A tiny model and a ratings file of the packaged one's form."""
    folder = tmp_path_factory.mktemp("shelf")
    model = tiny.save(folder / "model")
    words = ["warm", "funny", "dull", "loud", "slow", "bright"]
    lines = [f"{i}\t{(i % 17 - 8) / 2.5}\ta {words[i % 6]} film number {i} ." for i in range(90)]
    ratings = folder / "ratings.txt"
    ratings.write_text("\n".join(lines) + "\n")
    return model, ratings


@pytest.fixture
def plan(places, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOPTIM_CACHE", str(tmp_path / "cache"))
    model, ratings = places
    return shelf.Plan(
        tmp_path / "results", str(model), ratings, ("sign",), ("mezo",), forwards=100, batch=4,
        all_forwards=100, all_batch=4, seeds=2,
    )  # fmt: skip


def test_a_worker_fills_the_grid_and_then_seeds_at_the_best(plan, tmp_path) -> None:
    shelf.work(plan, shelf.LAST, "sign", tmp_path / "scratch")
    cells = list(plan.wanted(shelf.LAST, "sign"))
    best = plan.best(shelf.LAST, "sign", "mezo")
    assert best is not None
    assert [(c.factor, c.seed) for c in cells] == [*((f, 0) for f in shelf.FACTORS), (best.factor, 1)]
    found = plan.result(cells[0].name)
    assert found["centre"]["forwards"] + found["steps"] * 2 == found["forwards"] <= 100
    assert found["lr"] == found["centre"]["lr"] * shelf.FACTORS[0]
    assert found["settings"]["schedule"] == shelf_cell.SCHEDULE
    assert found["curve"][0]["dev"] == found["before"]["dev"]
    assert len(found["curve"]) == 1 + min(shelf.EVALUATIONS[shelf.LAST], found["steps"])
    assert not list(plan.missing(shelf.LAST, "sign"))
