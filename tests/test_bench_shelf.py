"""The comparison's machinery, end to end on a tiny random model: cells, resumption, failures, the page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
from bench import first_order, shelf, shelf_cell, shelf_page, shelf_plan

sys.path.insert(0, str(Path(__file__).parent / "lm"))
import tiny

from zoptim.lm.session import STILL
from zoptim.protocols import Point


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
    assert [(c.factor, c.seed) for c in cells] == [*((f, 0) for f in shelf_plan.FACTORS), (best.factor, 1)]
    found = plan.result(cells[0].name)
    assert found["centre"]["forwards"] + found["steps"] * 2 == found["forwards"] <= 100
    assert found["lr"] == found["centre"]["lr"] * shelf_plan.FACTORS[0]
    assert found["settings"]["schedule"] == shelf_cell.SCHEDULE
    assert found["curve"][0]["dev"] == found["before"]["dev"]
    assert len(found["curve"]) == 1 + min(shelf.EVALUATIONS[shelf.LAST], found["steps"])
    assert not list(plan.missing(shelf.LAST, "sign"))


def test_a_second_worker_runs_only_what_is_missing(plan, tmp_path) -> None:
    shelf.work(plan, shelf.LAST, "sign", tmp_path / "a")
    kept = {path.name: path.read_bytes() for path in plan.results.iterdir()}
    gone = sorted(kept)[1]
    (plan.results / gone).unlink()
    written = {path.name: path.stat().st_mtime_ns for path in plan.results.iterdir()}
    shelf.work(plan, shelf.LAST, "sign", tmp_path / "b")
    after = {path.name: path.read_bytes() for path in plan.results.iterdir()}
    assert set(after) == set(kept) == {*written, gone}
    assert {name: (plan.results / name).stat().st_mtime_ns for name in written} == written
    same = ("lr", "steps", "test", "dev", "before")
    one, two = json.loads(kept[gone]), json.loads(after[gone])
    assert [one[k] for k in same] == [
        two[k] for k in same
    ]  # nothing of a cell depends on the cells before it


def test_a_failing_cell_is_recorded_and_the_others_go_on(plan, tmp_path, monkeypatch) -> None:
    honest = shelf_cell.Lab.run

    def run(lab, cell, evaluations, course):
        if cell.factor == 1.0:
            raise ValueError("made to fail")
        return honest(lab, cell, evaluations, course)

    monkeypatch.setattr(shelf_cell.Lab, "run", run)
    shelf.work(plan, shelf.LAST, "sign", tmp_path / "scratch")
    failed = [c for c in plan.grid(shelf.LAST, "sign", "mezo") if "error" in plan.result(c.name)]
    assert [c.factor for c in failed] == [1.0]
    assert "made to fail" in plan.result(failed[0].name)["error"]
    assert plan.best(shelf.LAST, "sign", "mezo").factor != 1.0
    assert not list(plan.missing(shelf.LAST, "sign"))
    assert [c.factor for c in plan._replace(retry=True).missing(shelf.LAST, "sign")] == [1.0]


def test_baselines_learn_and_leave_nothing_behind(plan, tmp_path) -> None:
    plan = plan._replace(only=tuple(first_order.BASELINES))
    lab = shelf_cell.Lab(shelf.LAST, "sign", plan.model, tmp_path, batch=4, ratings=plan.ratings)
    untouched = lab.session.digest()
    names = [name for name, _ in lab.session.loaded.model.named_parameters()]
    for method in first_order.BASELINES:
        found = lab.run(plan.cell(shelf.LAST, "sign", method, 1.0, 0), 2, first_order.course)
        assert found["backwards"] == found["steps"] == plan.forwards // first_order.STEP
        assert found["curve"][-1]["dev"] != found["curve"][0]["dev"], method
        assert lab.session.digest() == untouched
        assert [name for name, _ in lab.session.loaded.model.named_parameters()] == names
    lab.close()


def test_the_loss_with_a_gradient_is_the_objective_and_its_gradient_the_slope(plan, tmp_path) -> None:
    import torch

    lab = shelf_cell.Lab(shelf.LAST, "sign", plan.model, tmp_path, batch=4, ratings=plan.ratings)
    which, split = [3, 1, 2], lab.session.splits["train"]
    with lab.session.space.visit([Point(())], STILL, None) as view:
        asked = float(lab.session.objective(split, which)(view).mean())
    with first_order.parameters(lab, first_order.BASELINES["sgd"], 0) as trained:
        value = first_order.loss(lab, which)
        value.backward()
        assert float(value.detach()) == pytest.approx(asked, rel=1e-5)
        square = sum(float((p.grad**2).sum()) for p in trained)
        step = 1e-4 / square**0.5
        with torch.no_grad():
            for p in trained:
                p -= step * p.grad
        lower = float(first_order.loss(lab, which).detach())
    assert (asked - lower) / step == pytest.approx(square, rel=0.1)
    lab.close()


def test_the_page_says_what_is_there_and_what_is_not(plan, tmp_path) -> None:
    text, drawing = shelf_page.render(plan)
    assert not drawing and "not run yet" in text and "Nothing is measured yet" in text
    shelf.work(plan, shelf.LAST, "sign", tmp_path / "scratch")
    text, drawing = shelf_page.render(plan)
    assert drawing.startswith("<svg") and "<title>mezo</title>" in drawing
    best = plan.best(shelf.LAST, "sign", "mezo")
    mean = sum(plan.result(best._replace(seed=s).name)["test"]["accuracy"] for s in (0, 1)) / 2
    assert f"| `mezo` | {mean:.3f}" in text
    assert shelf_page.render(plan) == (text, drawing)


def _curve(x: float) -> list[dict]:
    return [{"train_loss": x, "dev": {"loss": x}}]


def test_verdicts() -> None:
    def made(method: str, *accuracies: float) -> shelf_page.Standing:
        cells = [{"test": {"accuracy": a}, "curve": _curve(a)} for a in accuracies]
        return shelf_page.Standing(method, cells, 1.0, "", 0, 0)

    mezo, good = made("mezo", 0.70, 0.72), made("a", 0.80, 0.82)
    sd = shelf_page.spread([mezo, good])
    said = [
        shelf_page.verdict(s, mezo, 0.5, sd) for s in (mezo, good, made("b", 0.71, 0.73), made("c", 0.51))
    ]
    assert said == ["helped", "better than MeZO", "like MeZO", "did not help"]
    assert shelf_page.verdict(mezo._replace(method="f"), mezo, 0.5, sd) == "is MeZO here"
    alone = float("nan")
    assert shelf_page.verdict(good, mezo, 0.5, alone) == "one run"
    assert shelf_page.verdict(made("e", 0.5), mezo, 0.5, alone) == "did not help"
    assert shelf_page.verdict(made("d"), mezo, 0.5, sd) == "not run yet"


def test_a_cell_of_other_settings_has_another_name(plan) -> None:
    cell = plan.cell(shelf.LAST, "sign", "mezo", 1.0, 0)
    others = [
        cell._replace(forwards=99),
        cell._replace(seed=1),
        cell._replace(model="x"),
        cell._replace(batch=5),
    ]
    assert len({c.name for c in [cell, *others]}) == 5


def test_the_committed_page_is_what_the_committed_cells_render_to() -> None:
    plan = shelf.Plan(shelf.common.RESULTS / shelf.FOLDER)
    if not shelf.PAGE.is_file():
        pytest.skip("not measured yet")
    assert shelf.PAGE.read_text() == shelf_page.render(plan)[0]


def test_children_are_told_the_same_plan(plan) -> None:
    given = plan._replace(tasks=("sign", "three"), retry=True, batch=16, all_batch=8)
    assert shelf.plan_of(shelf.arguments().parse_args(shelf.passed(given))) == given


def test_a_worker_that_dies_costs_one_cell(plan, monkeypatch) -> None:
    """It finishes one cell a start; the second kills it whenever it is the first to be run."""
    poison = list(plan.wanted(shelf.LAST, "sign"))[1]

    class Ended:
        returncode = -9

    def start(command, check):
        cell = next(plan.missing(*command[-2:]))
        if cell != poison:
            plan.save(cell.name, {"cell": cell._asdict(), "error": "none, but short"})
        return Ended

    monkeypatch.setattr(shelf.subprocess, "run", start)
    monkeypatch.setattr(shelf, "measure_memory", lambda plan: None)
    shelf.run(plan)
    said = {c.name: plan.result(c.name)["error"] for c in plan.wanted(shelf.LAST, "sign")}
    assert said.pop(poison.name) == "the worker ended with -9"
    assert len(said) == 3 and set(said.values()) == {"none, but short"}


def test_a_worker_that_cannot_start_ends_the_bench(plan, monkeypatch) -> None:
    monkeypatch.setattr(shelf.subprocess, "run", lambda *a, **k: type("Ended", (), {"returncode": 1}))
    with pytest.raises(SystemExit):
        shelf.run(plan)
    assert not plan.results.exists()


def test_memory_and_the_estimate(plan, tmp_path) -> None:
    for method in ("mezo", "adamw"):
        found = shelf.memory(plan, shelf.LAST, method, tmp_path / method)
        assert found["peak"] >= found["loaded"] > 0 and found["seconds_per_forward"] > 0
    for scope in (shelf.LAST, shelf.ALL):
        plan.save(f"memory-{scope}-mezo", {"seconds_per_forward": 3.6, "loaded": 1, "peak": 2})
    text = shelf.estimate(plan)
    assert f"{len(shelf_plan.FACTORS) + plan.seeds - 1} cells, 3600 ms a forward" in text
    hours = (5 + len(shelf_plan.ALL_FACTORS)) * 100 * 3.6 * shelf.WATCHING / 3600
    assert f"in all about {hours:.1f} hours" in text
