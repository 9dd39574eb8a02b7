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
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..spaces.layout import Source
from ..spaces.quantized import QuantLinear
from ..spaces.quantizing import linears
from ..spaces.quantizing import quantize as swap
from .config import Config
from .errors import UsageError

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
    model: Any, how: Codes, stored: Source | None = None, chosen: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Swap the linear layers in place; what is recorded of it.

    Args:
        model: opened, with its adapter if any.
        how: bits and group.
        stored: where the parameters lie, of a model whose parameters are on the meta device: all are read.
        chosen: weight name -> flat places, ascending, that stay in float32: the new parameters are `held(name)`.

    Raises:
        UsageError: nothing to quantise.
        ValueError: a chosen weight the model does not have.

    Cost: a few passes over the weights: 1-2 s a 100 M of them.
    """
    room: dict[torch.dtype, Tensor] = {}  # one place for all layers' weights: memory stays in one piece

    def ready(layer: nn.Module) -> None:
        if stored is not None:
            _fill(layer, stored, room)

    skip = _skipped(model)
    layers = dict(linears(model, skip))
    if not layers:
        raise UsageError(f"quantize='int{how.bits}': the model has no linear layer to quantise; leave it out")
    hold = _places(layers, chosen or {})
    del layers  # each goes as its codes come
    names = swap(model, how.bits, how.group, skip=skip, ready=ready, hold=hold)
    if stored is not None:
        _fill_rest(model, stored)
    about = {"bits": how.bits, "group": how.group, "layers": len(names)}
    return about if chosen is None else {**about, "held": sum(map(len, hold.values()))}


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


def _places(layers: Mapping[str, nn.Module], chosen: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Places of chosen weights in their layers' matrices (out, in), by layer."""
    places = {}
    for name, flat in chosen.items():
        owner, flat = name.removesuffix(".weight"), np.asarray(flat, np.int64)
        layer = layers.get(owner)
        weight = getattr(layer, "weight", torch.empty(0))
        if layer is None or (len(flat) and flat[-1] >= weight.numel()):
            raise ValueError(f"chosen: the model has no linear layer {owner!r} with so many weights")
        if not isinstance(layer, nn.Linear):  # stored (in, out)
            row, col = np.divmod(flat, weight.shape[1])
            flat = np.sort(col * weight.shape[0] + row)
        places[owner] = torch.from_numpy(flat)
    return places


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
