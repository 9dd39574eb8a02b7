"""How integer codes come about: rounding a model's linear layers, or reading what GPTQ tools have packed.

    symmetric    scale = max|w| / (2^(bits-1) - 1),           code = round(w / scale) + 2^(bits-1)
    with zeros   scale = (max w - min w) / (2^bits - 1),      zero = round(-min w / scale),  code = round(w / scale) + zero

over each group of a row, the ranges with 0 in them, rounded to nearest, halves to even: the same codes from the
same weights on any machine.  Quantising what symmetric codes stand for gives these codes again.  Not here: the
layer (`quantized`), nor choosing codes by data as GPTQ does: read what such a tool wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..protocols import chunks
from .quantized import QuantLinear

PIECE = 1 << 16  # weights rounded at a time


def rounded(
    weight: Tensor, *, bits: int, group: int, zeros: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes (out, in), scales (out, groups) and zeros (out, groups) or None of a float matrix.

    Cost: time of a few passes over the weights; memory of what is returned and 1 MB.
    """
    rows, cols = weight.shape
    codes = torch.empty(rows, cols, dtype=torch.uint8)
    scales = torch.empty(rows, -(-cols // group))
    zero = torch.empty(scales.shape, dtype=torch.int16)
    for part in chunks(rows, cols, PIECE):
        codes[part], scales[part], zero[part] = _rounded(weight[part], bits, group, zeros)
    return codes, scales, zero if zeros else None


def _rounded(weight: Tensor, bits: int, group: int, zeros: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows, cols = weight.shape
    groups = -(-cols // group)
    w = torch.zeros(rows, groups * group)  # what is padded is 0, inside every range
    w[:, :cols] = weight.detach()
    w = w.view(rows, groups, group)
    top = (1 << bits) - 1
    if zeros:
        low, high = w.amin(2).clamp(max=0.0), w.amax(2).clamp(min=0.0)
        scales = _positive((high - low) / top)
        zero = torch.round(-low / scales)
    else:
        scales = _positive(w.abs().amax(2) / (top // 2))
        zero = torch.full_like(scales, 1 << (bits - 1))
    codes = (torch.round(w / scales[..., None]) + zero[..., None]).clamp_(0, top)
    return codes.view(rows, -1)[:, :cols], scales, zero


def _positive(scales: Tensor) -> Tensor:
    """A group of zeros gets any scale: its codes are zero."""
    return torch.where(scales > 0, scales, 1.0)


def layer_of(linear: nn.Module, *, bits: int, group: int, zeros: bool = True) -> QuantLinear:
    """A QuantLinear in place of an nn.Linear or GPT-2's Conv1D."""
    weight = _matrix(linear)
    group = min(group, weight.shape[1])
    codes, scales, zero = rounded(weight, bits=bits, group=group, zeros=zeros)
    bias: Tensor | None = linear.bias  # type: ignore[assignment]
    made = QuantLinear(codes, scales, bits=bits, group=group, zeros=zero, bias=bias).train(linear.training)
    made.transposed = _transposed(linear)
    return made


def linears(model: nn.Module, skip: Iterable[str] = ()) -> list[tuple[str, nn.Module]]:
    """The layers that can be quantised, with their names.

    Left out: names that fit a pattern of `skip`; a layer whose weight another module shares (a tied head).
    """
    skip, shared = tuple(skip), _shared(model)
    return [
        (name, module)
        for name, module in model.named_modules()
        if _plain(module)
        and id(module.weight) not in shared
        and not any(fnmatchcase(name, pattern) for pattern in skip)
    ]


def quantize(
    model: nn.Module, bits: int = 4, group: int = 128, *, zeros: bool = True, skip: Iterable[str] = (),
    hold: Mapping[str, Tensor] | None = None, ready: Callable[[nn.Module], None] = lambda layer: None,
) -> list[str]:  # fmt: skip
    """Replace a model's linear layers by quantised ones, in place; all else stays.

    Args:
        model: whose layers are swapped.
        bits: 4 or 8.
        group: weights of a row that share a scale.
        zeros: an integer zero point a group; False: symmetric.
        skip: module names with wildcards that stay (`*lm_head`); see `linears`.
        hold: module name -> (k,) flat places kept as they are, in float32: see `QuantLinear.hold`.
        ready: called with a layer before its weights are looked at, to read them, say.

    Returns:
        the names of the layers that were replaced.

    Raises:
        ValueError: nothing to quantise; places held in a layer that is not.

    Cost: memory of one layer's weights four times, besides the model.
    """
    found, hold = linears(model, skip), hold or {}
    names = [name for name, _ in found]
    if not found:
        raise ValueError("model: it has no linear layer to quantise")
    if unknown := sorted(set(hold) - set(names)):
        raise ValueError(f"hold: {unknown[0]!r} is no layer that is quantised")
    for name, module in found:
        ready(module)
        made = layer_of(module, bits=bits, group=group, zeros=zeros)
        if name in hold:
            made.hold(hold[name], _matrix(module))
        put(model, name, made)
    return names


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Let a module of the model be another one."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def from_gptq(
    qweight: Tensor, qzeros: Tensor, scales: Tensor, *, bits: int, g_idx: Tensor | None = None,
    bias: Tensor | None = None, version: int = 1,
) -> QuantLinear:  # fmt: skip
    """A layer as AutoGPTQ and its successors store it.

    Args:
        qweight: (in * bits / 32, out) int32: 32 / bits inputs of a column a word, the first in the lowest bits.
        qzeros: (groups, out * bits / 32) int32: 32 / bits outputs a word; version 1 stores zero - 1.
        scales: (groups, out), float16 in files; trained in float32 here.
        bits: 4 or 8.
        g_idx: (in,) the group of each input; must be i // group, as without activation order.
        bias: (out,) or None.
        version: 1 (`gptq`), or 2 (`gptq_v2`), which stores zeros as they are.

    Raises:
        ValueError: shapes that do not fit together, an activation order, an unknown version.
    """
    if bits not in (4, 8) or version not in (1, 2):
        raise ValueError(f"bits={bits!r}, version={version!r}: bits must be 4 or 8, the version 1 or 2")
    words = 32 // bits
    groups, outs = scales.shape
    ins = qweight.shape[0] * words
    if qweight.shape[1] != outs or tuple(qzeros.shape) != (groups, outs // words) or ins % groups:
        raise ValueError(
            f"qweight {tuple(qweight.shape)}, qzeros {tuple(qzeros.shape)} and scales {tuple(scales.shape)} of "
            f"{bits} bits do not fit together"
        )
    group = ins // groups
    if g_idx is not None and not torch.equal(g_idx.long(), torch.arange(ins) // group):
        raise ValueError(
            "g_idx: the inputs are grouped in activation order; quantise the model again without it (desc_act=False)"
        )
    codes = _words(qweight, bits, 1).reshape(ins, outs)
    zeros = _words(qzeros, bits, 2).reshape(groups, outs) + (2 - version)
    return QuantLinear(codes.T, scales.T, bits=bits, group=group, zeros=zeros.T, bias=bias)


def _words(packed: Tensor, bits: int, dim: int) -> Tensor:
    """The small numbers in int32 words, along a new axis."""
    shifts = torch.arange(0, 32, bits).view([-1 if d == dim else 1 for d in range(3)])
    return (packed.to(torch.int64).unsqueeze(dim) >> shifts) & ((1 << bits) - 1)


def _plain(module: nn.Module) -> bool:
    """A linear layer that computes as its class does."""
    if "forward" in module.__dict__:
        return False
    return type(module).forward is nn.Linear.forward or _transposed(module)


def _transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def _matrix(linear: nn.Module) -> Tensor:
    """Its weight, (out, in)."""
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return weight.T if _transposed(linear) else weight


def _shared(model: nn.Module) -> set[int]:
    """Tensors that several modules hold."""
    held = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    return {key for key, count in held.items() if count > 1}
