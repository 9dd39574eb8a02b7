"""docs/reproductions.md says what bench/results/papers says, and what the reproductions measure is what they say."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.papers import deepzero, fashion, flat_convex, flat_toy, hizoo_2d, in_batch, qzo, shown, variance

from zoptim.methods import mezo
from zoptim.sharpness import hessian_trace
from zoptim.spaces.flat import Flat


def test_the_page_and_its_drawings_are_what_the_results_render_to() -> None:
    assert shown.differing() == []


def test_every_result_has_its_command_and_every_row_its_verdict() -> None:
    for name, found in shown.results().items():
        assert importlib.util.find_spec(f"bench.papers.{name}") and found["rows"]
        for row in found["rows"]:
            assert row["verdict"] in ("reproduced", "partly", "not reproduced")


def test_an_edited_page_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    edited = tmp_path / "reproductions.md"
    edited.write_text(shown.PAGE.read_text().replace("| ", "|  ", 1))
    monkeypatch.setattr(shown, "PAGE", edited)
    assert shown.differing() == [str(edited)]


def test_a_result_of_any_size_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found: dict[str, Any] = {
        "title": "A: finding", "paper": "P", "arxiv": "1", "setup": "S.", "date": "2001-02-03T00:00:00",
        "command": "python -m x", "cpu_seconds": 7, "machine": {"cpu": "c", "kernels": "k"},
        "rows": [shown.row("claim", "1", "2", True, False)], "tables": {"T:": [{"a": 0.5, "b": "x"}]},
        "curves": {"title": "C", "x": "t", "y": "f", "log": True,
                   "series": [{"name": "one", "points": [[0, 1.0], [9, 1e-4]]}]},
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(found))
    monkeypatch.setattr(shown, "RESULTS", tmp_path)
    text, drawings = shown.render()
    assert "| [A: finding](#a-finding) | 1 | 1 partly |" in text and "| claim | 1 | 2 | **partly** |" in text
    assert "| a | b |" in text and "| 0.5 | x |" in text and "on 2001-02-03, 7 CPU seconds" in text
    assert drawings["a.svg"].count('class="s0"') == 1 and ">0.01<" in drawings["a.svg"]


# -- the arithmetic behind the figures ---------------------------------------------------------------------


def test_the_toys_gradient_and_trace() -> None:
    x = np.random.default_rng(0).standard_normal(2 * flat_toy.D)
    e = np.eye(2 * flat_toy.D)[:9] * 1e-6
    slopes = (flat_toy.loss(x + e) - flat_toy.loss(x - e)) / 2e-6
    assert flat_toy.gradient(x)[:9] == pytest.approx(slopes, rel=1e-5)
    assert hessian_trace(Flat(x), lambda v: flat_toy.loss(v.x)).trace == pytest.approx(
        flat_toy.seen(0, x)["trace"], rel=1e-5
    )


def test_without_a_radius_the_toy_takes_the_exact_derivative() -> None:
    x = np.random.default_rng(0).standard_normal(2 * flat_toy.D)
    exact, near, far = (flat_toy.two_point(x, r, flat_toy.EVERY)[-1]["trace"] for r in (0.0, 1e-6, 0.1))
    assert near == pytest.approx(exact, rel=1e-6) and far != pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_the_classifiers_gradient_and_trace(kind: str) -> None:
    rng = np.random.default_rng(1)
    x, a = rng.standard_normal((40, 5)), rng.standard_normal((5, 30))
    data = flat_convex.Data(x, np.sign(rng.standard_normal(40)), a)
    problem, w = flat_convex.Problem(kind, data), 0.1 * rng.standard_normal(31)
    phi = np.hstack([np.ones((40, 1)), x @ a])
    assert data.times(w[None])[0] == pytest.approx(phi @ w)
    assert data.norms == pytest.approx((phi**2).sum(1))
    e = 1e-6 * np.eye(31)
    slopes = (problem.losses(w + e) - problem.losses(w - e)) / 2e-6
    assert problem.gradient(w) == pytest.approx(slopes, rel=1e-4, abs=1e-7)
    found = hessian_trace(Flat(w), lambda v: problem.losses(v.x), radius=1e-5)
    assert found.trace == pytest.approx(problem.trace(w), rel=1e-3)


def test_errors_of_estimates_are_those_of_their_moments() -> None:
    g2 = variance.errors(mezo(lr=1e-30, eps=1.0, law="signs", n=2), 300)
    assert g2.shape == (300,) and g2.mean() == pytest.approx(variance.DIM - 1, rel=0.2)


def test_a_path_begins_at_its_start_and_goes_down() -> None:
    found = hizoo_2d.path(mezo(lr=3e-3, eps=1e-4), "a", 0)
    f = hizoo_2d.FUNCTIONS["a"][3]
    assert tuple(found[0]) == (0.2, 0.0) and len(found) == 901 and f(found[-1:]) < 0.1 * f(found[:1])
    assert hizoo_2d.reached([found], "a", 1.0) == 0.0 and hizoo_2d.reached([found], "a", 0.0) == np.inf
    assert 0 < hizoo_2d.reached([found, found], "a", 0.5) < 1


def test_the_share_of_falls() -> None:
    p, half = in_batch.share(np.array([-1.0, -1.0, -1.0, 1.0]))
    assert p == 0.75 and half == pytest.approx(1.96 * np.sqrt(0.75 * 0.25 / 4))


# -- deepzero and qzo ----------------------------------------------------------------------------------------


def test_the_network_has_at_most_two_thousand_numbers() -> None:
    assert sum(p.numel() for p in deepzero.network().parameters()) == 1_883


def test_a_grid_goes_on_where_its_best_is_at_an_end() -> None:
    for best, wanted in (
        (0.1, [0.03, 0.1, 0.3]),
        (1.0, [0.03, 0.1, 0.3, 1.0, 3.0]),
        (0.0, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]),
    ):
        asked: list[float] = []

        def score(lr: float, best: float = best, asked: list[float] = asked) -> float:
            asked.append(lr)
            return -abs(lr - best)

        assert list(deepzero.grid(0.03, score)) == wanted
        assert sorted(asked) == wanted  # none twice


def test_pictures_are_the_pinned_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = {
        "train-images-idx3-ubyte.gz": gzip.compress(bytes(16) + bytes([0, 128]) * 392),
        "train-labels-idx1-ubyte.gz": gzip.compress(bytes(8) + bytes([7])),
    }
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit, match="it is another file"):
        fashion.load(tmp_path, "train")
    with pytest.raises(SystemExit, match="name the folder"):
        fashion.load(tmp_path, "t10k")
    monkeypatch.setattr(fashion, "PINNED", {n: hashlib.sha256(c).hexdigest() for n, c in parts.items()})
    some = fashion.load(tmp_path, "train")
    assert some.x.shape == (1, 1, 28, 28) and some.y.tolist() == [7]
    assert some.x.flatten()[:2].tolist() == pytest.approx([-0.6, 0.4])


def test_qzos_verdicts_are_of_its_numbers() -> None:
    wide = {
        "accuracy_before": 0.5, "accuracy_after": 0.8, "test_examples": 400, "weights": 300e6, "above": 400e6,
        "trained_parameters": 9, "peak_rss_bytes": 7e8, "loss_before": 1.0, "loss_after": 0.5, "lr": 0.1, "eps": 0.1,
        "forwards": 300,
    }  # fmt: skip
    small = {**wide, "accuracy_after": 0.76, "weights": 100e6, "above": 390e6}

    def verdicts(**changed: float) -> list[str]:
        rows = qzo.shape({"wide": wide, "small": {**small, **changed}}, 100, 32)["rows"]
        return [one["verdict"] for one in rows]

    assert verdicts() == ["reproduced", "reproduced", "partly"]
    assert verdicts(weights=200e6)[2] == "not reproduced"
    assert verdicts(accuracy_after=0.55, above=1e8) == ["not reproduced", "not reproduced", "reproduced"]
