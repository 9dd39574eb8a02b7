"""`--quantize`: a model opened with its linear layers as small integers, and written plainly again.

Embeddings, norms, the head and an adapter stay as they are.  A folder of safetensors is read one layer at a time,
so the whole model is never in memory unquantised; another checkpoint is opened first, then quantised.  `export`
writes what the codes stand for, as a plain model in float32: quantising it again gives the same codes where no
scale was moved.

A sparse run (SensZOQ) opens the model as it is, chooses, and then quantises around its choice: the chosen weights stay
in float32 beside the codes (`extra`), where they have the values they had, and are all that is trained.

Not here: layers (`spaces.quantized`), how weights are rounded (`spaces.quantizing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..spaces.layout import Source
from ..spaces.quantized import QuantLinear
from ..spaces.quantizing import linears
from ..spaces.quantizing import quantize as swap
from .config import Config
from .errors import UsageError

if TYPE_CHECKING:
    from .models import Loaded

GROUP = 128  # weights that share a scale, by default


class Codes(NamedTuple):
    """How a model is quantised."""

    bits: int
    group: int


def codes(config: Config) -> Codes | None:
    """What a config asks for; None: no quantisation."""
    if config.quantize == "none":
        return None
    group = GROUP if config.quantize_group == "auto" else int(config.quantize_group)
    return Codes(int(config.quantize.removeprefix("int")), group)


def quantize(
    model: Any, how: Codes, stored: Source | None = None, hold: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Swap the linear layers in place; what is recorded of it.

    Args:
        model: opened, with its adapter if any.
        how: bits and group.
        stored: where the parameters lie, of a model whose parameters are on the meta device: all are read.
        hold: layer name -> places of its matrix (out, in) that stay in float32.

    Raises:
        UsageError: nothing to quantise.

    Cost: a few passes over the weights: 1-2 s a 100 M of them.
    """
    room: dict[torch.dtype, Tensor] = {}  # one place for all layers' weights: memory stays in one piece

    def ready(layer: nn.Module) -> None:
        if stored is not None:
            _fill(layer, stored, room)

    try:
        names = swap(model, how.bits, how.group, skip=_skipped(model), ready=ready, hold=hold)
    except ValueError:
        raise UsageError(
            f"quantize='int{how.bits}': the model has no linear layer to quantise; leave it out"
        ) from None
    if stored is not None:
        _fill_rest(model, stored)
    return {"bits": how.bits, "group": how.group, "layers": len(names)}


def _skipped(model: Any) -> list[str]:
    """Linear layers that stay as they are: the head, and an adapter's own."""
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find else None
    return [
        name
        for name, module in linears(model)
        if module is head or any(p.requires_grad for p in module.parameters())
    ]


# -- around a choice -------------------------------------------------------------------------------------


def around_choice(config: Config) -> bool:
    """Whether layers are quantised only when the weights to train are chosen."""
    return config.quantize != "none" and config.method == "senszoq"


def choosable(model: Any, names: Iterable[str]) -> list[str]:
    """Of some parameters the weights of layers that will be quantised.

    Raises:
        UsageError: there are none.
    """
    found = {f"{name}.weight" for name, _ in linears(model, _skipped(model))}
    chosen = [name for name in names if name in found]
    if not chosen:
        raise UsageError(
            "method='senszoq': over a quantised base it trains weights of linear layers, and --train names none; "
            "give --train last-block or all"
        )
    return chosen


def hold(loaded: Loaded, how: Codes, positions: Mapping[str, np.ndarray]) -> Loaded:
    """The model quantised in place around chosen weights.

    Args:
        loaded: opened as it is, in floats.
        how: bits and group.
        positions: weight name -> flat places, ascending; the new parameters are `held(name)`.

    Cost: as `quantize`, and 12 bytes a chosen weight.
    """
    from .weights import weights_digest

    model, places = loaded.model, {}
    for name, flat in positions.items():
        owner, weight = name.removesuffix(".weight"), model.get_parameter(name)
        if isinstance(model.get_submodule(owner), nn.Linear):
            places[owner] = torch.from_numpy(np.asarray(flat, np.int64))
        else:  # stored (in, out)
            row, col = np.divmod(np.asarray(flat, np.int64), weight.shape[1])
            places[owner] = torch.from_numpy(np.sort(col * weight.shape[0] + row))
    about = {**quantize(model, how, hold=places), "held": sum(map(len, places.values()))}
    return replace(loaded, source={**loaded.source, "quantize": about, "sha256": weights_digest(model)})


def held(name: str) -> str:
    """The parameter that holds a weight's chosen numbers."""
    return name.removesuffix("weight") + "extra"


def _fill(linear: nn.Module, stored: Source, room: dict[torch.dtype, Tensor]) -> None:
    """Read a layer's parameters; its weight stays valid until the next layer's."""
    for name, p in linear._parameters.items():
        if p is None or p not in stored.names:
            continue
        out = torch.empty(p.shape, dtype=p.dtype)
        if name == "weight":
            if p.numel() > room.get(p.dtype, out[:0]).numel():
                room[p.dtype] = torch.empty(p.numel(), dtype=p.dtype)
            out = room[p.dtype][: p.numel()].view(p.shape)
        linear._parameters[name] = _read(p, stored, out)


def _fill_rest(model: nn.Module, stored: Source) -> None:
    """Read whatever is still on the meta device, tied parameters once."""
    read: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is None or p not in stored.names:
                continue
            if p not in read:
                read[p] = _read(p, stored, torch.empty(p.shape, dtype=p.dtype))
            module._parameters[name] = read[p]


def _read(p: nn.Parameter, stored: Source, out: Tensor) -> nn.Parameter:
    stored.fill(p, out)
    return nn.Parameter(out, requires_grad=False)


def is_quantized(model: nn.Module) -> bool:
    """Whether a model has quantised layers."""
    return any(isinstance(module, QuantLinear) for module in model.modules())


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the plain model: quantised layers as float32 weights.

    Cost: memory of the plain model.
    """
    state: dict[str, Tensor] = dict(model.state_dict())
    for name, layer in model.named_modules():
        if isinstance(layer, QuantLinear):
            for part in ("codes", "zeros", "where", "scales", "extra"):
                state.pop(f"{name}.{part}", None)
            weight = layer.dequantized()
            state[f"{name}.weight"] = weight.T.contiguous() if layer.transposed else weight
    return state
