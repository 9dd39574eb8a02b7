"""`--quantize`: a model opened with its linear layers as small integers, and written plainly again.

Embeddings, norms, the head and an adapter stay as they are.  A folder of safetensors is read one layer at a time,
so the whole model is never in memory unquantised; another checkpoint is opened first, then quantised.  `export`
writes what the codes stand for, as a plain model in float32: quantising it again gives the same codes where no
scale was moved.

Not here: layers (`spaces.quantized`), how weights are rounded (`spaces.quantizing`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


def quantize(model: Any, how: Codes, stored: Source | None = None) -> dict[str, Any]:
    """Swap the linear layers in place; what is recorded of it.

    Args:
        model: opened, with its adapter if any.
        how: bits and group.
        stored: where the parameters lie, of a model whose parameters are on the meta device: all are read.

    Raises:
        UsageError: nothing to quantise.

    Cost: a few passes over the weights: 1-2 s a 100 M of them.
    """
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find else None
    skip = [
        name
        for name, module in linears(model)
        if module is head or any(p.requires_grad for p in module.parameters())  # an adapter's own
    ]
    room: dict[torch.dtype, Tensor] = {}  # one place for all layers' weights: memory stays in one piece

    def ready(layer: nn.Module) -> None:
        if stored is not None:
            _fill(layer, stored, room)

    try:
        names = swap(model, how.bits, how.group, skip=skip, ready=ready)
    except ValueError:
        raise UsageError(
            f"quantize='int{how.bits}': the model has no linear layer to quantise; leave it out"
        ) from None
    if stored is not None:
        _fill_rest(model, stored)
    return {"bits": how.bits, "group": how.group, "layers": len(names)}


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
