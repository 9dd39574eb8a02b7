"""`--adapter`: put a PEFT adapter on a model, with initial values that follow from the run's seed.

Written as a type (`lora`, `ia3`, `ln_tuning`, `vera`, ...), a type with settings
(`lora:r=8,alpha=16,target_modules=q_proj+v_proj`), a PEFT config file (JSON or YAML), or the folder of
a trained adapter. PEFT builds it; its random tensors are then drawn again from `noise.py` (purpose 3),
uniform where PEFT's are uniform, normal where they are normal, with the same variance. Constants stay.

LoRA starts at B = 0, so at first only directions in B change the loss: what A's noise adds to a probe is
second order in eps until B has moved. Nothing special is done about it: all directions are drawn at
once, and B moves from the first step. Few-parameter types (ia3, ln_tuning, vera) are the natural ones
for zeroth-order work, since the noise of an estimate grows with the number of parameters.

Not here: prompt learning (prefix, prompt and p-tuning), which changes the input rather than the layers.
"""

from __future__ import annotations

import json
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from zoptim import noise
from zoptim.lm.errors import UsageError, closest

SHORT = {"alpha": "lora_alpha", "dropout": "lora_dropout", "targets": "target_modules"}
PROMPTS = ("prefix_tuning", "prompt_tuning", "p_tuning", "multitask_prompt_tuning", "cpt", "cartridge")


def attach(model: Any, spec: str | Path, *, seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """The model with an adapter whose parameters are marked trainable, and the adapter as plain data.

    Args:
        model: a transformers model; its modules are wrapped in place.
        spec: see the file's header.
        seed: the run's seed; initial values are a function of it and the tensors' names.

    Raises:
        UsageError: PEFT is missing, or does not know the type, a setting, or the modules.

    Cost: the adapter's memory; no forward.
    """
    try:
        import peft
        import torch
    except ImportError:
        raise UsageError(
            f"adapter={str(spec)!r}: needs PEFT; install it with: pip install 'zoptim[peft]'"
        ) from None
    folder = Path(spec).expanduser()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)  # noqa: TID251  PEFT draws from it; `redraw` keeps the spread, not the numbers
        try:
            if folder.is_dir():
                wrapped = peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
            else:
                wrapped = peft.get_peft_model(model, _config(spec), autocast_adapter_dtype=True)
        except UsageError:
            raise
        except Exception as error:  # PEFT raises all sorts; each is about the spec
            line = " ".join(str(error).split())[:300].rstrip(".")
            raise UsageError(f"adapter={str(spec)!r}: {line}; change the adapter's settings") from None
    if not folder.is_dir():
        redraw(wrapped, seed)
    wrapped.eval()
    config = wrapped.peft_config["default"]
    return wrapped, {"spec": str(spec), **_plain(config.to_dict())}


def redraw(model: Any, seed: int) -> None:
    """Random initial values of the trainable tensors, drawn again from the seed.

    A tensor of few distinct values is a constant (zeros, ones, an identity) and stays. A flat
    distribution is PEFT's kaiming-uniform, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); any other is normal with the
    standard deviation PEFT drew with. Initialisations made from the base weights (PiSSA and its
    like) are left as they are.
    """
    import torch

    made = getattr(model.peft_config["default"], "init_lora_weights", True)
    if made not in (True, False, "gaussian"):
        return
    for name, tensor in model.named_parameters():
        if not tensor.requires_grad:
            continue
        values = tensor.detach().float().cpu().numpy()
        if len(np.unique(values[: 1 << 10])) <= max(2, min(values.size, 1 << 10) // 8):
            continue
        fresh = _drawn(seed, name, values)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(fresh.reshape(values.shape)))


def _drawn(seed: int, name: str, like: np.ndarray) -> np.ndarray:
    """(size,) float32 of the distribution `like` was drawn from."""
    key, slot, std = noise.key_from_seed(seed), noise.slot_id(name), float(like.std())
    if np.abs(like).max() < 1.9 * std:  # uniform: the bound is sqrt(3) standard deviations
        bound = like[0].size ** -0.5 if like.ndim > 1 else 3**0.5 * std
        if abs(bound / (3**0.5 * std) - 1) > 0.1:
            bound = 3**0.5 * std
        return (noise.uniforms(key, 0, 0, slot, 0, like.size) * 2 - 1) * np.float32(bound)
    return noise.normals(key, 0, 0, slot, 0, like.size, purpose=noise.INITIAL) * np.float32(std)


def _config(spec: str | Path) -> Any:
    """A PEFT config from `TYPE`, `TYPE:key=value,...`, or a JSON/YAML file."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    types = {getattr(t, "value", str(t)).lower(): c for t, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    path = Path(spec).expanduser()
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        settings = _file(path)
        kind = str(settings.pop("peft_type", "")).rpartition(".")[2].lower()
        if not kind:
            raise UsageError(f"adapter={str(spec)!r}: the file has no peft_type; add one, e.g. LORA")
    else:
        kind, _, rest = str(spec).partition(":")
        kind = kind.strip().lower().replace("-", "_")
        settings = _settings(str(spec), rest)
    if kind in PROMPTS or kind in ("prefix", "prompt"):
        raise UsageError(
            f"adapter={str(spec)!r}: prompt learning is not supported; use lora, ia3 or ln_tuning"
        )
    if kind not in types:
        raise UsageError(
            f"adapter={str(spec)!r}: no such type or file; {closest(kind, set(types) - set(PROMPTS))}"
        )
    fields = types[kind].__dataclass_fields__
    for name in settings:
        if name not in fields:
            raise UsageError(
                f"adapter={str(spec)!r}: {kind} has no setting {name!r}; {closest(name, fields)}"
            )
    settings.setdefault("task_type", peft.TaskType.CAUSAL_LM)
    return types[kind](**{**settings, "inference_mode": False})


def _settings(spec: str, text: str) -> dict[str, Any]:
    """`r=8,alpha=16,target_modules=q_proj+v_proj`: values are JSON where they can be, `+` makes a list."""
    found: dict[str, Any] = {}
    for pair in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"adapter={spec!r}: {pair!r} is no setting; write it as name=value")
        name = SHORT.get(name.strip(), name.strip())
        found[name] = [_value(v) for v in value.split("+")] if "+" in value else _value(value)
        if name == "target_modules" and found[name] != "all-linear" and isinstance(found[name], str):
            found[name] = [found[name]]
    return found


def _value(text: str) -> Any:
    word = text.strip()
    try:
        return json.loads(word.lower() if word.lower() in ("true", "false", "null") else word)
    except ValueError:
        return word


def _file(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
        reader = json.loads if path.suffix.lower() == ".json" else import_module("yaml").safe_load
        values = reader(text)
    except Exception as error:  # missing, unreadable, not JSON, not YAML
        line = " ".join(str(error).split())[:200]
        raise UsageError(f"adapter={str(path)!r}: cannot be read ({line}); give a PEFT config file") from None
    if not isinstance(values, dict):
        raise UsageError(f"adapter={str(path)!r}: holds no settings; give a PEFT config file")
    return values


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """A PEFT config as JSON data: sets sorted, enums by value, empty settings left out."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, set | frozenset):
            return sorted(map(plain, value), key=str)
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        value = getattr(value, "value", value)
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    return {k: plain(v) for k, v in values.items() if v not in (None, {}, [], "")}
