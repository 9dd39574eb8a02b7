"""docs/performance.md says what bench/results says: nobody edits it by hand, and no plot is older than its numbers."""

from __future__ import annotations

import importlib.util
import json

import pytest
from bench import common, others, page, plots, sections, step


def test_page_and_plots_are_what_the_committed_results_render_to() -> None:
    assert page.differing() == []


def test_every_bench_that_the_page_names_exists_once_it_has_a_result() -> None:
    for section in page.SECTIONS:
        if page.result(section.name) is not None:
            assert importlib.util.find_spec(f"bench.{section.module}"), section.module


def test_an_edited_page_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    edited = tmp_path / "performance.md"
    edited.write_text(page.PAGE.read_text().replace("A ratio is", "A ratio was"))
    monkeypatch.setattr(page, "PAGE", edited)
    assert page.differing() == [str(edited)]


def test_missing_results_name_their_command(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    text, drawings = page.render()
    assert not drawings
    for section in page.SECTIONS:
        assert f"Not measured yet: `python -m bench.{section.module} --json --save`" in text


def test_results_of_any_shape_are_shown_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    found = {
        "date": "2001-02-03T00:00:00", "elements": 1234, "rows": [{"name": "signs", "ratio": 0.71, "target": None}],
        "more": {"a": {"x": 1.5, "deep": [[1]]}}, "flat": {"y": True},
    }  # fmt: skip
    (tmp_path / "noise.json").write_text(json.dumps(found))
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    text, drawings = page.render()
    assert "elements: 1,234; flat y: yes." in text
    assert "| signs | 0.71 |" in text and "| a | 1.5 |" in text
    assert "on 2001-02-03" in text
    assert not drawings


def test_kernels_come_by_edition_with_their_targets(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    rows = [{"name": "signs, 1 draw", "ratio": 0.91, "target": 0.8}]
    run = {"backend": "native avx2, 2 threads", "elements": 9, "call_microseconds": 3.0, "rows": rows}
    (tmp_path / "kernels.json").write_text(json.dumps({"runs": [run]}))
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    text, drawings = page.render()
    assert (
        "| kernel, signs, 1 draw, over a plain add, native avx2, 2 threads | **0.910** | 0.80 |  |  | missed |"
        in text
    )
    assert ">0.91<" in drawings["kernels.svg"] and 'class="must"' in drawings["kernels.svg"]


def test_what_loses_or_refuses_is_shown() -> None:
    rows = [
        {"name": "fast", "version": "", "note": "", "seconds": 0.5, "times_ours": 0.5, "peak": 1e6,
         "peak_times_ours": 0.9},
        {"name": "none", "version": "none==1", "note": "", "refused": "ImportError: no"},
    ]  # fmt: skip
    text = sections.peers({"ours": {"name": "signs", "peak": 1e6}, "rows": rows})
    assert "| fast | 0.50 | **0.50** |" in text
    assert "| none (`none==1`) | refuses |" in text and "ImportError: no" in text


def test_a_bar_beyond_the_axis_is_cut_and_keeps_its_number() -> None:
    bars = [plots.Bar("long", 9.0, "9.00", "other"), plots.Bar("short", 1.1, "1.10", floor=0.9)]
    svg = plots.chart([plots.Group("", bars)], title="t", axis="a", limit=2.0, one=True)
    assert svg.count('class="cut"') == 1 and ">9.00<" in svg
    assert svg.count('class="floor"') == 2  # the mark and its legend


def test_a_stream_that_fails_its_proofs_says_so() -> None:
    found = {
        "memory": {"parameters": 10, "checkpoint_bytes": 4e6, "peak_rss": 3e6, "rss_after_imports": 1e6,
                   "peak_over_checkpoint": 0.5, "window_bytes": 1e6, "least_window_bytes": 5e5, "read_a_step": 4e6,
                   "written_a_step": 4e6},
        "times": {"streamed": {"seconds": 2.0}, "resident": {"seconds": 1.0}, "ratio_seconds": 2.0,
                  "ratio_cpu_seconds": 1.9, "losses_equal": False, "weights_equal": True},
        "equal": {"llama": True, "gpt2": False},
        "kills": {"kills": 3, "slots_compared": 9, "wrong": ["another journal"]},
    }  # fmt: skip
    text = others.stream(found)
    assert "| peak over checkpoint (must 0.25) | **0.500** |" in text and "| no, yes |" in text
    assert "llama (equal), gpt2 (NOT EQUAL)" in text and "1 wrong" in text
    assert ">0.500<" in others.stream_chart(found)


def test_replay_and_precision_show_their_numbers() -> None:
    replay = {
        "elements": 100, "rows": [{"name": "signs", "seconds_per_step": 0.1, "sweeps_per_8_draws": 2.5, "cpu": 2.4}],
        "long": {"steps": 10, "seconds": 1.0, "minutes_of_10000_steps": 16.7},
        "journal": {"records": 10, "append_microseconds": 9.0, "append_over_replayed_step": 0.0001,
                    "bytes_per_record": 167.0, "open_seconds": 0.1},
    }  # fmt: skip
    assert "| signs | 0.1000 | **2.50** | 2.40 |" in others.replay(replay)
    assert "16.7 minutes" in others.replay(replay) and "0.01% of replaying" in others.replay(replay)
    precision = {
        "drift": [{"dtype": "bfloat16", "eps": 1e-3, "restores": 200, "drift": 0.055, "changed": 0.9}],
        "updates": [{"dtype": "bfloat16", "edition": "in place", "size": 1e-6, "updates": 1, "changed": 0.012,
                     "arrives": 0.3, "shows": 0.3}],
        "differences": [{"eps": 1e-3, "difference": 1e-3, "relative_error": 0.5, "same_sign": 0.9}],
        "visits": {"points": 48, "bits_unchanged": False},
    }  # fmt: skip
    text = others.precision(precision)
    assert (
        "| bfloat16, eps 0.001 | 200 | 5.50e-02 | 90.0% |" in text
        and "48 visits of ours CHANGED BITS" in text
    )
    assert "| bfloat16, in place | 1e-06 | 1 | 1.2% | 30.0% | 30.0% |" in text


def test_a_target_below_the_floor_is_met_by_showing_it_and_never_by_noise() -> None:
    assert step.verdict(1.20, 1.16, 1.15, None) == "below the floor"
    assert step.verdict(1.20, 1.30, 1.15, None) == "missed"  # a floor above the measurement is no floor
    assert step.verdict(1.20, 1.00, 1.15, None) == "missed"
