"""`--stream`: a model opened without its weights, which come from its safetensors as they are needed.

Any transformers decoder saved as a folder: the class builds itself with parameters on the meta device (buffers
are real), and each parameter is found in the checkpoint under one of its names.  `export` writes the result shard
by shard in the checkpoint's own layout, so no model is ever whole in memory.

Not here: what is in memory when (`spaces.streamed`, `spaces.window`), files (`spaces.store`).
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..spaces.layout import DTYPES, Source
from ..spaces.store import WIDTHS, Checkpoint, CheckpointError
from ..spaces.streamed import Streamed
from . import packaged
from .config import Config
from .errors import RunError, UsageError
from .units import size
from .weights import block_list

PIECE = 1 << 22  # bytes copied at a time


def open_meta(spec: str, dtype: str) -> tuple[Any, Any, str, Source]:
    """Model without weights, tokenizer, where it is, and where its parameters lie.

    Raises:
        UsageError: not a folder of safetensors, a damaged one, or one whose tensors are not the model's.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    folder = _folder(spec)
    try:
        checkpoint = Checkpoint(folder)
    except CheckpointError as error:
        raise UsageError(f"model={spec!r}: {error}") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        with _weightless():
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever a damaged config makes of the model's own code
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise UsageError(f"model={spec!r}: {said}; give a causal model's folder") from None
    model.tie_weights()
    source = _match(model, checkpoint, spec)
    return model, tokenizer, str(folder.resolve()), source


def _folder(spec: str) -> Path:
    """The local folder meant, or what to do instead."""
    path = Path(spec).expanduser()
    if spec.startswith(packaged.PREFIX) or path.suffix.lower() == ".gguf":
        raise UsageError(
            f"model={spec!r}: a GGUF file cannot be streamed; zoptim export of a run on it writes a folder of "
            "safetensors, or leave --stream out (it fits in memory)"
        )
    if not (path / "config.json").is_file():
        raise UsageError(
            f"model={spec!r}: --stream needs a local folder with config.json and *.safetensors; fetch the model first"
        )
    return path


@contextmanager
def _weightless() -> Iterator[None]:
    """Modules made inside have their parameters on the meta device, their buffers where they belong."""
    real = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=False)
        real(self, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = real  # type: ignore[method-assign]


def _match(model: nn.Module, checkpoint: Checkpoint, spec: str) -> Source:
    """Each parameter's stored tensor; persistent buffers are filled at once."""
    lead = str(getattr(model, "base_model_prefix", "")) + "."
    names: dict[nn.Parameter, str] = {}
    aliases: dict[nn.Parameter, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(p, []).append(name)
    for p, known in aliases.items():
        tried = [n for name in known for n in (name, name.removeprefix(lead), lead + name)]
        found = next((n for n in tried if n in checkpoint.tensors), None)
        if found is None:
            raise UsageError(
                f"model={spec!r}: the checkpoint holds no tensor {known[0]!r}; if it is stored under another name, "
                "open it once with transformers and save it with save_pretrained"
            )
        entry = checkpoint.tensors[found]
        if entry.shape != tuple(p.shape) or not (
            p.is_floating_point() and DTYPES[entry.dtype].is_floating_point
        ):
            raise UsageError(
                f"model={spec!r}: tensor {found!r} is {list(entry.shape)} {entry.dtype} in {entry.file.name}, the model "
                f"wants {list(p.shape)} of floats; the config is of another model, or the weights are quantised"
            )
        names[p] = found
    kept = set(model.state_dict(keep_vars=True))
    for name, buffer in model.named_buffers():
        if name in kept and name in checkpoint.tensors:
            entry = checkpoint.tensors[name]
            raw = np.empty(entry.nbytes, np.uint8)
            checkpoint.read(name, raw)
            buffer.copy_(torch.from_numpy(raw).view(DTYPES[entry.dtype]).view(entry.shape))
    return Source(checkpoint, names)


@contextmanager
def standing_in(model: nn.Module, source: Source, adapter: str) -> Iterator[None]:
    """While an adapter is put on, parameters are of their shape on the CPU, each a single NaN that is repeated.

    Raises:
        UsageError: the adapter made its initial values from the weights, which are not there.
    """
    stand = {
        p: nn.Parameter(torch.full((), torch.nan, dtype=p.dtype).expand(p.shape), requires_grad=False)
        for p in source.names
    }
    back: dict[Any, nn.Parameter] = {s: p for p, s in stand.items()}
    modules = list(model.modules())  # wrapped ones too: an adapter is built around them, in place
    _swap(modules, stand)
    try:
        yield
    finally:
        _swap([*modules, *model.modules()], back)
    for module in model.modules():
        for p in module._parameters.values():
            if p is not None and not p.is_meta and p.is_floating_point() and bool(p.isnan().any()):
                raise UsageError(
                    f"adapter={adapter!r}: its initial values are made from the model's weights, which are streamed; "
                    "use a plain lora, or leave --stream out"
                )


def _swap(modules: Iterable[nn.Module], new: dict[Any, nn.Parameter]) -> None:
    for module in modules:
        for attr, p in module._parameters.items():
            if p is not None and p in new:
                module._parameters[attr] = new[p]


def space(loaded: Any, names: Iterable[str], config: Config) -> Streamed:
    """The streamed space of a loaded model.

    Raises:
        UsageError: the window is too small; the message names the least that works.
    """
    window = None if config.window_gb == "auto" else int(min(float(config.window_gb), 1e9) * 1e9)
    try:
        return Streamed(
            loaded.model, names, source=loaded.stored, blocks=list(block_list(loaded.model)[1]),
            folder=config.out / "cache", window=window,
        )  # fmt: skip
    except ValueError as error:
        said = str(error).replace("window=", "window_gb=").replace(" GB is too small", ": too small", 1)
        raise UsageError(said) from None


def about(streamed: Streamed) -> str:
    """One line for people."""
    whole, window = sum(streamed.window.sizes), streamed.window.limit
    said = f"streaming {size(whole)} of weights through a window of {size(min(window, whole))}"
    stored = {streamed.source.checkpoint.tensors[n].dtype for n in streamed.source.names.values()}
    other = sorted(s for s in stored if DTYPES[s] not in {p.dtype for p in streamed.source.names})
    if other:
        said += f"; stored as {', '.join(other)}, converted while reading"
    return said + ("" if streamed.defers else "; what is trained stays in memory")


def figures(streamed: Streamed) -> dict[str, int]:
    """Bytes: the window, the most that was ever in memory, read and written so far."""
    window = streamed.window
    return {
        "model": sum(window.sizes), "window": window.limit, "peak": window.peak, "read": window.read_bytes,
        "written": window.write_bytes,
    }  # fmt: skip


class Kept:
    """A training run's working copy in RUN/stream: what `base.Base` is to a model in memory."""

    def __init__(self, streamed: Streamed, folder: Path) -> None:
        _check_room(streamed, folder)
        self.streamed = streamed
        streamed.keep(folder)

    def restore(self) -> None:
        """The initial values again."""
        self.streamed.restart()

    def close(self) -> None:
        """Write what has moved, for a resumed run; the journal alone would do."""
        with contextlib.suppress(OSError, ValueError):
            self.streamed.save()
        self.streamed.close()

    def discard(self) -> None:
        """The run is over: its journal and the checkpoint are its weights."""
        self.streamed.close()
        self.streamed.copy.discard()


def _check_room(streamed: Streamed, folder: Path) -> None:
    """Refuse now what would fill the disk later: two slots of every unit that moves."""
    needed = 2 * sum(unit.nbytes for unit in streamed.units if unit.trained)
    held = sum(p.stat().st_size for p in folder.glob("*.[ab]")) if folder.is_dir() else 0
    free = shutil.disk_usage(folder if folder.is_dir() else folder.parent).free + held
    if free < needed:
        raise RunError(
            f"{folder}: the working copy of streamed weights takes up to {size(needed)}, {size(free)} are free: "
            "make room, or put --out on another disk"
        )


def export(model: Any, tokenizer: Any, streamed: Streamed, place: Path) -> None:
    """The checkpoint's shards anew with the weights as they are; reads each unit about once.

    Raises:
        OSError: the disk refused.
    """
    checkpoint = streamed.source.checkpoint
    place.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(place)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(place)
    tokenizer.save_pretrained(place)
    held: dict[str, torch.Tensor] = {}
    for name, tensor in streamed.tensors():
        held.setdefault(_stored_name(name, model, checkpoint), tensor)
    names = {dtype: name for name, dtype in DTYPES.items()}
    total = 0
    for path in checkpoint.files:
        inside = sorted((e.start, n, e) for n, e in checkpoint.tensors.items() if e.file == path)
        about: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for _, name, entry in inside:
            dtype = names[held[name].dtype] if name in held else entry.dtype
            begin, end = end, end + math.prod(entry.shape) * WIDTHS[dtype]
            about[name] = {"dtype": dtype, "shape": list(entry.shape), "data_offsets": [begin, end]}
        total += end
        part = place / (path.name + ".part")
        with part.open("wb") as file:
            header = json.dumps(about).encode()
            header += b" " * (-len(header) % 8)
            file.write(len(header).to_bytes(8, "little") + header)
            for _, name, entry in inside:
                if name in held:
                    with streamed.reading(held[name]) as values:
                        _write(file, values)
                else:
                    _copy(file, checkpoint, name, entry.nbytes)
        part.replace(place / path.name)
    index = checkpoint.folder / "model.safetensors.index.json"
    if index.is_file():
        files = {name: entry.file.name for name, entry in checkpoint.tensors.items()}
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": files}, indent=1)
        (place / index.name).write_text(text, encoding="utf-8")


def _stored_name(name: str, model: Any, checkpoint: Checkpoint) -> str:
    lead = str(getattr(model, "base_model_prefix", "")) + "."
    return next((n for n in (name, name.removeprefix(lead), lead + name) if n in checkpoint.tensors), name)


def _write(file: Any, values: torch.Tensor) -> None:
    file.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _copy(file: Any, checkpoint: Checkpoint, name: str, nbytes: int) -> None:
    raw = np.empty(min(PIECE, nbytes), np.uint8)
    for start in range(0, nbytes, PIECE):
        part = raw[: min(PIECE, nbytes - start)]
        checkpoint.read(name, part, start)
        file.write(part.data)
