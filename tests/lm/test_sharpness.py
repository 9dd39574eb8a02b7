"""Tr H of a run: against automatic differentiation, on any split, and along the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import little

from zoptim.doors import cli
from zoptim.journal import Journal
from zoptim.lm import sharpness as job
from zoptim.lm.errors import UsageError
from zoptim.lm.existing import rebuild, reopen
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.masks import places
from zoptim.lm.measure import measure
from zoptim.lm.metrics import events
from zoptim.sharpness import hessian_trace
from zoptim.spaces.flat import Flat


def differentiated(run: Path, split: str, examples: int) -> np.ndarray:
    """The Hessian's diagonal by automatic differentiation, of plain forwards: no visit, no prefix, no probe."""
    session, journal = reopen(run)
    rebuild(session, journal, "last")
    some = session.splits[split].some(examples, int(journal.header["key"]))
    model = session.loaded.model
    names = [slot.name for slot in session.space.slots()]
    start = {n: p.detach().double() for n, p in model.double().named_parameters()}

    def loss(vector: torch.Tensor) -> torch.Tensor:
        trained, at = dict(start), 0
        for n in names:
            size = start[n].numel()
            trained[n] = vector[at : at + size].view(start[n].shape)
            at += size
        total = torch.zeros((), dtype=torch.float64)
        for item in some.items:
            scores = []
            for row in item.rows:
                out = torch.func.functional_call(
                    model, trained, (torch.tensor([row.ids]),), {"use_cache": False}
                )
                logp = torch.log_softmax(out.logits[0], -1)
                scores.append(sum(logp[i - 1, row.ids[i]] for i in range(row.start, len(row.ids))))
            if item.columns is not None:
                scores = list(logp[row.start - 1, list(item.columns)])
            total = total - torch.log_softmax(torch.stack(scores), -1)[item.label]
        return total / len(some.items)

    vector = torch.cat([start[n].flatten() for n in names]).requires_grad_()
    return torch.autograd.functional.hessian(loss, vector).diagonal().numpy()


@pytest.mark.parametrize("split", ["train", "dev"])
def test_it_is_what_automatic_differentiation_says(split: str) -> None:
    run, _ = little.finished(train="final-norm", steps=30)
    true = differentiated(run, split, 12).sum()
    found = job.sharpness(run, at="last", split=split, examples=12)
    assert found["how"] == "coordinates" and found["numbers"] == 32 and found["examples"] == 12
    assert found["trace"] == pytest.approx(true, rel=0.01) and found["warning"] is None


def test_of_a_masked_run_the_chosen_weights_are_what_is_trained(tmp_path: Path, monkeypatch: Any) -> None:
    run, how = tmp_path / "run", {"method": "senszoq", "train": "final-norm", "settings": {"density": 0.25}}
    finetune(little.config(run, **how, steps=4, sharpness_every=4), quiet=True)
    mask = Journal.read(run / "journal.zoj").header["calibration"]["mask"]
    (positions,) = places(mask).values()
    true = differentiated(run, "train", 12)
    found = job.sharpness(run, at="last", examples=12)
    assert found["how"] == "coordinates" and found["numbers"] == mask["count"] == len(positions) == 8
    assert found["trace"] == pytest.approx(true[positions].sum(), rel=0.01)
    assert abs(true.sum() / true[positions].sum() - 1) > 0.1  # all of them would be another number
    assert {e["numbers"] for e in events(run / "metrics.jsonl") if e["event"] == "sharpness"} == {8}
    monkeypatch.setattr(job, "EXACT", 0)
    signs = job.sharpness(run, at="last", examples=12, probes=100)
    assert (
        signs["how"] == "signs" and signs["numbers"] == 8 and signs["low"] <= found["trace"] <= signs["high"]
    )


def test_signs_agree_with_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = little.finished(train="final-norm", steps=30)
    exact = job.sharpness(run, at="last", examples=40)
    monkeypatch.setattr(job, "EXACT", 0)
    found = job.sharpness(run, at="last", examples=40, probes=200)
    assert found["how"] == "signs" and found["probes"] == 200
    assert found["low"] <= exact["trace"] <= found["high"]
    assert found["high"] - found["low"] < 2 * abs(exact["trace"])


def test_where_it_is_measured_matters_and_nothing_changes(tmp_path: Path) -> None:
    run = little.copied(little.finished(train="final-norm", steps=30)[0], tmp_path / "run")
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    first, last = (job.sharpness(run, at=at, examples=40) for at in (0, "last"))
    assert first["at"] == first["steps"] == 0 and last["at"] == last["steps"] == 30
    assert abs(first["trace"] - last["trace"]) > 10 * last["rounding"] and first["loss"] > last["loss"]
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before


def test_half_precision_rounds_more_and_says_so() -> None:
    found, exact = (
        job.sharpness(little.finished(train="final-norm", steps=30, **more)[0], at="last", examples=40)
        for more in ({"dtype": "bfloat16"}, {})
    )
    assert found["rounding"] > 100 * exact["rounding"] and "rounding" in found["warning"]
    assert found["low"] < exact["trace"] < found["high"]


def test_a_streamed_model_answers_alike() -> None:
    traces = [
        job.sharpness(little.finished(steps=2, train="all", **more)[0], at="last", examples=12, probes=8)[
            "trace"
        ]
        for more in ({"stream": True}, {})
    ]
    assert traces[0] == traces[1]


def test_completions_are_weighed_by_token() -> None:
    run, _ = little.finished(writing=True)
    found = job.sharpness(run, at="last", split="dev", probes=8, examples=6)
    session, journal = reopen(run)
    rebuild(session, journal, "last")
    assert found["loss"] == pytest.approx(measure(session, session.splits["dev"]).loss, rel=1e-4)


def test_along_training_its_forwards_are_apart_and_no_bit_changes(tmp_path: Path) -> None:
    plain = finetune(little.config(tmp_path / "plain", steps=8), quiet=True)
    run = tmp_path / "run"
    result = finetune(little.config(run, steps=8, sharpness_every=4), quiet=True)
    assert result["weights_sha256"] == plain["weights_sha256"] and result["forwards"] == plain["forwards"]
    seen = [e for e in events(run / "metrics.jsonl") if e["event"] == "sharpness"]
    assert [e["t"] for e in seen] == [0, 4, 8] and len({e["radius"] for e in seen}) == 1
    assert all(np.isfinite(e["trace"]) and e["apart"] > 32 for e in seen)
    assert seen[1]["apart"] < seen[0]["apart"]  # the radius is chosen once


def test_a_resumed_run_goes_on_with_its_radius(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    finetune(little.config(run, steps=8, sharpness_every=4, patience=1, eval_every=4), quiet=True)
    seen = [e for e in events(run / "metrics.jsonl") if e["event"] == "sharpness"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in seen[:1]))
    monkeypatch.setattr(job, "measured", radii := _Radii(job.measured))
    resume(run, quiet=True, patience=100)
    assert radii.given and set(radii.given) == {seen[0]["radius"]}


class _Radii:
    """`measured`, and with which radius it was called."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.given = inner, []

    def __call__(self, *a: Any, radius: float | None = None, **kw: Any) -> Any:
        self.given.append(radius)
        return self.inner(*a, radius=radius, **kw)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--probes", "3"], "probes=3"), (["--radius", "-1"], "radius=-1"), (["--examples", "0"], "examples=0"),
     (["--at", "99"], "at=99"), (["--split", "test"], "--split")],
)  # fmt: skip
def test_what_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = little.finished(train="final-norm", steps=30)
    assert cli.run(["sharpness", str(run), *words]) == 2
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1
    with pytest.raises(UsageError, match="split='test'"):
        job.sharpness(run, split="test")


def test_what_is_not_finite_is_said_in_plain_json() -> None:
    lost = job.told(hessian_trace(Flat(np.ones(3)), lambda v: np.full(v.m, np.nan), radius=0.1))
    assert lost["trace"] is None and "not finite" in lost["warning"]
    json.dumps(lost, allow_nan=False)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = little.finished(train="final-norm", steps=30)
    assert cli.run(["sharpness", str(run), "--examples", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] <= found["trace"] <= found["high"] and found["examples"] == 20
    assert cli.run(["sharpness", str(run), "--examples", "20"]) == 0
    assert "trace" in capsys.readouterr().out
    assert len(list(Journal.read(run / "journal.zoj").records)) == 30


@pytest.mark.parametrize(
    "given", [{"probes": 1}, {"radius": float("nan")}, {"radius": -1.0}, {"examples": 0}]
)
def test_what_gives_no_estimate_is_refused_before_a_model_is_opened(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = little.finished()
    monkeypatch.setattr("zoptim.lm.models.load", None)
    with pytest.raises(UsageError, match=f"{next(iter(given))}="):
        job.sharpness(run, **given)
