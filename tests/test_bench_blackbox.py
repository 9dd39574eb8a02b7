"""The page of black boxes: what is committed is what the results render to; what is missing says how to get it."""

from __future__ import annotations

import json
import sys

import pytest
from bench import blackbox, coco, common, overhead


def test_the_committed_page_is_what_the_committed_results_render_to() -> None:
    assert blackbox.PAGE.read_text() == blackbox.render()


def test_what_is_not_measured_says_which_command_does_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    page = blackbox.render()
    for _, title, command in blackbox.SECTIONS:
        assert f"## {title}\n\nNot measured yet: `{command}` does it." in page


def test_a_result_is_shown_with_its_command_and_date(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    found = {
        "date": "2026-11-23T10:00:00+00:00", "machine": {"cpu": "a chip", "cores": 2}, "command": "python -m bench.overhead --save",
        "duration_seconds": 7, "small": {"mezo signs": 12.34, "cma": 99.0}, "add_milliseconds": 0.5,
        "planned": {"auto (9 points)": [25.0, 10.5]}, "everyone": {"mezo": 18.4, "hizoo": 26.0, "fzoo": 8.0}, "large": {"mezo signs": 2.5, "mezo normal": 5.5}, "import": {"import zoptim": 0.05, "import numpy": 0.1},
    }  # fmt: skip
    (tmp_path / "overhead.json").write_text(json.dumps(found))
    page = blackbox.render()
    assert (
        "| mezo signs | 12.3 | 20 |" in page
        and "| cma | 99.0 |  |" in page
        and "| auto (9 points) | 25.0 | 10.5 | 14.5 | 20 |" in page
        and "2 of 3 methods" in page
        and "`fzoo` 8, `mezo` 18, `hizoo` 26." in page
        and "| mezo normal | 5.50 | 6 |" in page
    )
    assert "`python -m bench.overhead --save` on 2026-11-23, 7 s." in page and "a chip; 2 cores" in page
    assert overhead.section(found) in page


def cell(dim: int, entrant: str, hits: list[int]) -> dict:
    problems = {"f01i1": {"hits": hits, "capped": False}}
    return {
        "dim": dim, "entrant": entrant, "cpu_seconds": 1.0, "problems": problems, "date": "2026-11-23", "machine": {},
    }  # fmt: skip


def test_coco_says_who_is_ahead(tmp_path) -> None:
    plan = coco.Plan(tmp_path, dims=(5, 20))
    assert coco.saved(plan) is None
    for dim, entrant, hits in (
        (5, "zoptim", [1, 2, 3]), (5, "random", [1]), (20, "zoptim", [1]), (20, "cma", [1, 5]), (20, "random", []),
    ):  # fmt: skip
        plan.save(dim, entrant, cell(dim, entrant, hits))
    found = coco.saved(plan)
    assert found is not None and found["missing"] == len(plan.cells()) - 5
    said = coco.section(found)
    assert "d = 5: the largest share of 2; d = 20: **behind** cma 0.039." in said
    assert f"{found['missing']} of {len(plan.cells())} cells are not measured yet" in said


def test_a_stale_page_is_told(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(blackbox, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["bench.blackbox", "--check"])
    assert blackbox.main() == 1
    (tmp_path / "page.md").write_text(blackbox.render())
    assert blackbox.main() == 0
    assert "the page is what the results say" in capsys.readouterr().out
