"""Which weights a sparse run trains: measured as the definition says, kept with the run, and no other ever moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import little

from zoptim.directions import Chosen
from zoptim.journal import Journal
from zoptim.lm import masks, memory, sensitivity
from zoptim.lm.errors import UsageError
from zoptim.lm.existing import method_of, rebuild, reopen
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.replay import replay
from zoptim.lm.session import Session
from zoptim.methods.sparse import senszoq

MASKS = ("gradient", "activations", "magnitude", "random")


def opened(tmp_path: Path, **settings: Any) -> Session:
    return Session.open(
        little.config(tmp_path / "run", **{"train": "last-block", "settings": {}, **settings})
    )


def values(session: Session) -> dict[str, np.ndarray]:
    found = {}
    for slot in session.space.slots():
        with session.space.tensor(slot) as p:
            found[slot.name] = p.detach().float().numpy().copy()
    return found


@pytest.mark.parametrize("kind", ["choices", "completions"])
def test_by_gradient_takes_the_largest_of_the_fisher_diagonal(tmp_path: Path, kind: str) -> None:
    how: dict[str, Any] = (
        {} if kind == "choices" else {**little.completions(), "candidates": None, "template": None}
    )
    session = opened(tmp_path, **how)
    items = session.splits["train"].items[:5]
    model, names = session.loaded.model, [s.name for s in session.space.slots()]
    parameters = dict(model.named_parameters())
    fisher = {name: torch.zeros_like(parameters[name]) for name in names}
    for item in items:  # the obvious way: the model's own loss of one example
        for name in names:
            parameters[name].requires_grad_(True)
        row = item.rows[0]
        logp = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], -1)
        if kind == "choices":
            loss = -torch.log_softmax(logp[row.start - 1, item.columns], -1)[item.label]
        else:
            at = range(row.start, len(row.ids))
            loss = -sum(logp[i - 1, row.ids[i]] for i in at) / len(at)
        loss.backward()
        for name in names:
            fisher[name] += parameters[name].grad ** 2
            parameters[name].grad = None
            parameters[name].requires_grad_(False)
    flat = torch.cat([fisher[name].flatten() for name in names])
    k = round(0.02 * len(flat))
    least = float(flat.sort(descending=True).values[k - 1])
    found = sensitivity.by_gradient(session, items, 0.02)
    assert sum(map(len, found.values())) == k
    for name in names:
        inside = np.zeros(fisher[name].numel(), bool)
        inside[found[name]] = True
        scores = fisher[name].flatten().numpy()
        assert (scores[inside] >= least * 0.999).all() and (scores[~inside] <= least * 1.001).all()
    assert not any(p.requires_grad for p in model.parameters())


def test_by_activations_scores_weights_by_what_they_multiply(tmp_path: Path) -> None:
    session = opened(tmp_path)
    items = session.splits["train"].items[:5]
    found = sensitivity.by_activations(session, items, 0.05)
    inputs: list[torch.Tensor] = []
    layer = next(m for n, m in session.loaded.model.named_modules() if n.endswith("layers.2.mlp.down_proj"))
    hook = layer.register_forward_hook(lambda module, args, out: inputs.append(args[0][0]))
    with torch.no_grad():
        for item in items:
            session.loaded.model(torch.tensor([item.rows[0].ids]))
    hook.remove()
    scores = layer.weight.abs() * torch.cat(inputs).square().sum(0).sqrt()
    name = next(n for n in found if n.endswith("layers.2.mlp.down_proj.weight"))
    k = round(0.05 * scores.numel())
    assert found[name].tolist() == sorted(scores.flatten().topk(k).indices.tolist())
    assert all(values(session)[n].shape[0] > 1 for n in found), "vectors are not scored"


def test_conv1d_has_its_inputs_along_the_rows(tmp_path: Path) -> None:
    session = opened(tmp_path, model=str(little.model("gpt2")))
    found = sensitivity.by_activations(session, session.splits["train"].items[:3], 0.05)
    name = next(n for n in found if n.endswith("mlp.c_fc.weight"))
    layer = next(m for n, m in session.loaded.model.named_modules() if name == f"{n}.weight")
    inputs: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, args, out: inputs.append(args[0][0]))
    with torch.no_grad():
        for item in session.splits["train"].items[:3]:
            session.loaded.model(torch.tensor([item.rows[0].ids]))
    hook.remove()
    scores = layer.weight.abs() * torch.cat(inputs).square().sum(0).sqrt()[:, None]
    k = round(0.05 * scores.numel())
    assert found[name].tolist() == sorted(scores.flatten().topk(k).indices.tolist())


@pytest.mark.parametrize("mask", MASKS)
def test_a_run_moves_the_chosen_weights_and_no_other(tmp_path: Path, mask: str) -> None:
    out = tmp_path / "run"
    how = {
        "method": "senszoq",
        "train": "last-block",
        "settings": {"density": 0.02, "mask": mask},
        "lr": 1e-2,
    }
    result = finetune(little.config(out, **how, at="last"), quiet=True)
    header = Journal.read(out / "journal.zoj").header
    found = header["calibration"]["mask"]
    positions = {name: masks.unpack(p) for name, p in found["positions"].items()}
    assert found["by"] == mask
    assert found["count"] == sum(map(len, positions.values()))
    assert found["count"] == pytest.approx(0.02 * found["of"], rel=0.05)  # each tensor rounds
    assert (found["examples"], found["backwards"]) == {
        "gradient": (64, 64), "activations": (64, 0), "magnitude": (0, 0), "random": (0, 0),
    }[mask]  # fmt: skip
    session, journal = reopen(out)
    before = values(session)
    rebuild(session, journal, "last")
    assert session.digest() == result["weights_sha256"]
    for name, now in values(session).items():
        moved = np.flatnonzero(now != before[name])
        assert set(moved) <= set(positions.get(name, np.empty(0)).tolist())
        assert len(moved) >= 0.9 * len(positions.get(name, ()))


def test_forwards_of_the_measuring_count(tmp_path: Path) -> None:
    spent = []
    for mask in ("random", "activations"):
        out = tmp_path / mask
        how = {
            "method": "senszoq",
            "train": "last-block",
            "settings": {"mask": mask},
            "batch": 16,
            "steps": 2,
        }
        finetune(little.config(out, **how), quiet=True)
        spent.append(Journal.read(out / "journal.zoj").header["calibration"]["forwards"])
    assert spent[1] >= spent[0] + 4  # 64 examples in batches of 16; calibration may differ


def test_a_resumed_run_does_not_choose_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"method": "senszoq", "train": "last-block", "settings": {"density": 0.02}, "steps": 6}
    whole = finetune(little.config(tmp_path / "run", **how), quiet=True)
    monkeypatch.setattr(sensitivity, "by_gradient", None)
    assert resume(tmp_path / "run", quiet=True)["weights_sha256"] == whole["weights_sha256"]
    assert replay(tmp_path / "run")["equal"]


def test_auto_is_the_gradient_and_under_streaming_activations(tmp_path: Path) -> None:
    for stream, by in ((False, "gradient"), (True, "activations")):
        how = {"method": "senszoq", "train": "all", "settings": {}, "stream": stream, "steps": 2}
        finetune(little.config(tmp_path / by, **how), quiet=True)
        assert Journal.read(tmp_path / by / "journal.zoj").header["calibration"]["mask"]["by"] == by


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    how: dict[str, Any] = {"method": "senszoq", "train": "all", "steps": 2}
    with pytest.raises(UsageError, match="mask='gradient': streamed or quantized weights"):
        finetune(little.config(tmp_path / "a", **how, settings={"mask": "gradient"}, stream=True), quiet=True)
    how["train"] = "final-norm"
    with pytest.raises(UsageError, match="matrices of linear layers, and none is trained"):
        finetune(little.config(tmp_path / "b", **how, settings={"mask": "activations"}), quiet=True)


def test_a_header_without_a_mask_leaves_the_method_alone(tmp_path: Path) -> None:
    slots = opened(tmp_path).space.slots()
    method = senszoq()
    assert masks.with_mask(method, None, slots) is method
    made = masks.with_mask(method, {"positions": {slots[0].name: masks.pack(np.array([1, 4]))}}, slots)
    assert isinstance(made.directions, Chosen)
    assert {k: v.tolist() for k, v in made.directions.positions.items()} == {slots[0].id: [1, 4]}


@pytest.mark.parametrize("positions", [[0], [5], [0, 1, 2], [7, 70_000, 70_001], [3, 2**34], []])
def test_positions_survive_packing(positions: list[int]) -> None:
    packed = masks.pack(np.array(positions, np.int64))
    assert masks.unpack(packed).tolist() == positions and packed["count"] == len(positions)


def test_method_of_reads_the_mask(tmp_path: Path) -> None:
    how = {"method": "senszoq", "train": "final-norm", "settings": {"density": 0.5}, "steps": 2}
    finetune(little.config(tmp_path / "run", **how), quiet=True)
    session, journal = reopen(tmp_path / "run")
    made = method_of(journal.header, session.space).directions
    inner = getattr(made, "inner", made)  # in measured units where they are few
    assert isinstance(inner if isinstance(inner, Chosen) else made, Chosen)


@pytest.mark.parametrize(
    ("mask", "numbers"), [("auto", 3), ("gradient", 3), ("activations", 0), ("random", 0)]
)
def test_what_measuring_holds_is_in_the_estimate(tmp_path: Path, mask: str, numbers: int) -> None:
    session = opened(tmp_path)
    trained = sum(p.numel() for p in map(session.space.parameter, session.space.slots()))
    assert memory.estimate(session, senszoq(mask=mask), 0).vectors == 4 * numbers * trained  # type: ignore[arg-type]
