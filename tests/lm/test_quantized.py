"""`--quantize` in a run: every command agrees on the weights, memory is small, what cannot be is said."""

from __future__ import annotations

import gc
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import little
from lm.test_finetune import go, header, interrupt, lasting

from zoptim.lm import memory, models, quantized
from zoptim.lm.config import Config
from zoptim.lm.errors import UsageError
from zoptim.lm.evaluate import evaluate
from zoptim.lm.existing import rebuild, reopen
from zoptim.lm.finetune import finetune, resume
from zoptim.lm.forecast import forecast
from zoptim.lm.masks import places
from zoptim.lm.plan import method_for
from zoptim.lm.quantized import Codes, is_quantized
from zoptim.lm.replay import export, replay, undo
from zoptim.lm.sensitivity import choose
from zoptim.lm.session import Session
from zoptim.lm.training import Training
from zoptim.spaces.quantized import QuantLinear

QZO: dict[str, Any] = {
    "method": "qzo",
    "quantize": "int4",
    "quantize_group": 16,
    "settings": {"n": 2},
    "steps": 12,
}


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.arange(3, 13)[None]).logits


def test_every_command_rebuilds_the_same_weights(tmp_path: Path) -> None:
    run, result = little.finished(**{**QZO, "settings": None, "train": "scales,norms"})
    found = header(run)
    assert found["base"]["quantize"] == {"bits": 4, "group": 16, "layers": 21}
    assert {name.rpartition(".")[2] for name, _ in found["slots"]} == {"scales", "weight"}
    assert replay(run)["equal"] is True
    assert replay(run, at="last")["weights_sha256"] == result["weights_sha256_last"]
    assert evaluate(run)["loss"] == pytest.approx(result["loss_after"], rel=1e-6)
    part = little.copied(run, tmp_path / "part")
    undo(part, 5)
    assert replay(part, at="last")["weights_sha256"] == replay(run, at=7)["weights_sha256"]


def test_it_resumes_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = go(tmp_path / "whole", **QZO)
    assert whole["trained_parameters"] == 3 * (2 * (32 + 16 + 16 + 32 + 48 + 48) + 3 * 32)  # auto: the scales
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "apply", 5)
        go(tmp_path / "run", **QZO)
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_is_exported_is_what_was_trained(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder = little.model(kind)
    loaded = models.load(folder, quantize=Codes(4, 16))
    layers = [m for m in loaded.model.modules() if isinstance(m, QuantLinear)]
    assert layers and not isinstance(loaded.model.get_output_embeddings(), QuantLinear)
    for layer in layers:
        layer.scales.mul_(1.1)
    models.export(loaded.model, loaded.tokenizer, loaded.source, tmp_path / "out")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(logits(plain), logits(loaded.model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(plain), logits(models.load(folder).model), atol=1e-4)


def test_reading_one_by_one_is_reading_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = models.load(little.model(), quantize=Codes(4, 16))
    whole = models.load(little.model())
    quantized.quantize(whole.model, Codes(4, 16))
    assert first.source["sha256"] == models.weights_digest(whole.model) != whole.source["sha256"]
    assert torch.equal(logits(first.model), logits(whole.model))
    assert first.model.get_output_embeddings().weight is first.model.get_input_embeddings().weight
    assert not any(p.is_meta for p in first.model.parameters())


@pytest.mark.parametrize(
    "settings", [{"train": "norms"}, {"adapter": "lora:r=2"}, {"method": "qzo", "train": "last-block"}]
)
def test_other_weights_learn_on_a_quantised_base(tmp_path: Path, settings: dict[str, Any]) -> None:
    given = {"method": "mezo", "settings": {"n": 1}, "quantize": "int8", "steps": 3, **settings}
    result = go(tmp_path / "run", **given)
    assert result["steps"] == 3
    assert replay(tmp_path / "run")["equal"] is True
    if "adapter" in settings:
        export(tmp_path / "run", tmp_path / "out")
        assert (tmp_path / "out" / "adapter_config.json").is_file()


@pytest.mark.parametrize(
    ("floored", "hint"),
    [
        ("nosuch", r"known: \*, \*scales"),
        ("*scale", r'did you mean "\*scales"'),
        ("model.layers.0.self_attn.q_proj.scale", "q_proj.scales"),
    ],
)
def test_a_floor_for_tensors_that_are_not_there_is_refused(tmp_path: Path, floored: str, hint: str) -> None:
    given = {**QZO, "settings": {"floored": floored}}
    config = little.config(tmp_path / "run", **given)
    for job in (finetune, forecast):
        with pytest.raises(UsageError, match=rf"floored='{re.escape(floored)}' fits none of the 21 .*{hint}"):
            job(config)
    assert not (tmp_path / "run" / "journal.zoj").exists()


@pytest.mark.parametrize("floored", ["*", "*q_proj*"])
def test_a_floor_for_some_of_them_is_not(tmp_path: Path, floored: str) -> None:
    go(tmp_path / "run", **{**QZO, "settings": {"floored": floored}, "steps": 1})
    assert header(tmp_path / "run")["method"]["arguments"]["floored"] == floored


def test_without_quantised_layers_there_is_nothing_for_qzo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="method=.qzo.: .* without any; add --quantize int4"):
        go(tmp_path / "run", method="qzo", settings={})
    with pytest.raises(
        UsageError, match="train='scales': they belong to quantized layers.*add --quantize int4"
    ):
        go(tmp_path / "run", train="scales")
    assert not is_quantized(models.load(little.model()).model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quantize": "int3"}, "quantize='int3'"),
        ({"quantize_group": 64}, "quantize_group=64: is of --quantize"),
        ({"quantize": "int4", "quantize_group": 0}, "quantize_group=0"),
        ({"quantize": "int4", "stream": True}, "quantize='int4': does not go with --stream"),
    ],
)
def test_what_cannot_be_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Config(task="packaged:movie-reviews", **settings)


def test_a_master_of_scales_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trained parameters are float32 already"):
        go(tmp_path / "run", **{**QZO, "dtype": "bfloat16", "master": "float32"})


# -- around a choice ---------------------------------------------------------------------------------------

AROUND: dict[str, Any] = {
    "method": "senszoq", "quantize": "int4", "quantize_group": 16, "settings": {"density": 0.02}, "steps": 8,
    "train": "all",
}  # fmt: skip


def layers(model: Any) -> dict[str, QuantLinear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, QuantLinear)}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("mask", ["gradient", "activations", "random"])
def test_chosen_weights_keep_their_values_beside_the_codes(kind: str, mask: str) -> None:
    given = {**AROUND, "settings": {"density": 0.02, "mask": mask}}
    plain = models.load(little.model(kind)).model
    session = Session.open(little.config(little.place() / "x", model=str(little.model(kind)), **given))
    _, found = choose(session, method_for(session.config, 1.0, 1e-3), 7, lambda text: None)
    assert found is not None
    session.around(places(found))
    codes_alone = models.load(little.model(kind), quantize=Codes(4, 16)).model
    total = 0
    for name, layer in layers(session.loaded.model).items():
        matrix = plain.get_submodule(name).weight
        matrix = matrix.T if kind == "gpt2" else matrix
        there = layer.dequantized()
        rough = layers(codes_alone)[name].dequantized()
        kept = torch.zeros(matrix.numel(), dtype=torch.bool)
        if layer.where is not None:
            kept[layer.where] = True
        torch.testing.assert_close(there.flatten()[kept], matrix.flatten()[kept], rtol=1e-6, atol=1e-7)
        assert torch.equal(there.flatten()[~kept], rough.flatten()[~kept])
        total += int(kept.sum())
    assert total == found["count"] == sum(math.prod(s.shape) for s in session.space.slots()) > 0
    assert {s.name.rpartition(".")[2] for s in session.space.slots()} == {"extra"}
    assert session.loaded.source["quantize"]["held"] == total


def test_a_run_around_a_choice_resumes_replays_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    whole = go(tmp_path / "whole", **AROUND)
    found = header(tmp_path / "whole")
    assert found["calibration"]["mask"]["by"] == "gradient" and found["calibration"]["mask"]["held"]
    assert whole["trained_parameters"] == found["calibration"]["mask"]["count"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "apply", 5)
        go(tmp_path / "run", **AROUND)
    assert lasting(resume(tmp_path / "run", quiet=True)) == lasting(whole)
    assert replay(tmp_path / "run")["equal"] is True
    assert evaluate(tmp_path / "run")["loss"] == pytest.approx(whole["loss_after"], rel=1e-6)
    export(tmp_path / "run", tmp_path / "out")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    session, journal = reopen(tmp_path / "run", data=False)
    rebuild(session, journal, None)
    torch.testing.assert_close(logits(plain), logits(session.loaded.model), rtol=1e-4, atol=1e-5)
    undo(tmp_path / "run", 3)
    assert (
        replay(tmp_path / "run", at="last")["weights_sha256"]
        == replay(tmp_path / "whole", at=5)["weights_sha256"]
    )


def shapes_alive() -> list[tuple[int, ...]]:
    """Of every float tensor that anyone still holds."""
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)
    return [
        tuple(t.shape)
        for t in gc.get_objects()
        if type(t) in kinds and t.is_floating_point() and not t.is_meta
    ]


def test_no_weight_stays_in_floats_beside_its_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, before, seen = (48, 32), shapes_alive().count((48, 32)), []

    def look(self: Training) -> dict[str, Any]:
        seen.append(shapes_alive().count(matrix) - before)
        return real(self)

    real = Training.run
    assert matrix in [tuple(p.shape) for p in models.load(little.model()).model.parameters()]
    monkeypatch.setattr(Training, "run", look)
    go(tmp_path / "run", **{**AROUND, "settings": {"density": 0.02, "mask": "activations"}})
    with monkeypatch.context() as patch:
        patch.setattr(models, "_pretrained", None)  # opened again it is read a layer at a time
        resume(tmp_path / "run", quiet=True)
    assert seen == [0, 0]


def test_codes_are_in_the_estimate(tmp_path: Path) -> None:
    config = little.config(tmp_path / "run", **QZO)
    held = Session.open(config).loaded.model
    codes_bytes = sum(layer.codes.nbytes for layer in layers(held).values())
    found = memory.estimate(Session.open(config), method_for(config, 1.0, 1e-3), 0).model
    assert found >= codes_bytes + sum(p.nbytes for p in held.parameters())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"adapter": "lora:r=2"}, "adapter='lora:r=2' does not go with method='senszoq' and quantize='int4'"),
        ({"memory_limit": 0.6}, "would hold at least 600 MB .model"),
    ],
)
def test_what_a_choice_cannot_be_part_of_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(models, "load", None)  # before a model is opened
    with pytest.raises(UsageError, match=said):
        go(tmp_path / "run", **{**AROUND, **settings})


@pytest.mark.parametrize(
    "flat", [("model.layers.9.mlp.up_proj.weight", 0), ("model.layers.0.mlp.up_proj.weight", 10**6)]
)
def test_a_choice_of_another_model_is_refused(flat: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="chosen: the model has no linear layer .*up_proj' with so many"):
        models.load(little.model(), quantize=Codes(4, 16), chosen={flat[0]: np.array([flat[1]])})


def test_a_choice_is_made_among_matrices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="method='senszoq': .* give --train last-block or all"):
        go(tmp_path / "run", **{**AROUND, "train": "norms"})
    assert go(tmp_path / "auto", **{**AROUND, "train": "auto"})["steps"] == 8
    assert header(tmp_path / "auto")["config"]["train"] == "last-block"
