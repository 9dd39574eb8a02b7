"""A linear layer whose weights are small integers, one float32 scale a group: the scales can be trained.

    W[o, i] = scales[o, i // group] (codes[o, i] - zero[o, i // group])
    y = x (W + S)^T + b

codes are 8-bit, or 4-bit packed two a byte; zero is 2^(bits-1) (symmetric) or an integer a group (GPTQ's).  S is
empty but for `extra`, k float32 numbers at fixed places (a sparse part beside the codes, arXiv 2406.02913).  W
is never whole in memory: rows are unpacked into a scratch that fits the cache and multiplied at once, for all
points of a visit one after the other.

Not here: how codes are made or read (`quantizing`), methods that move scales (`methods.quantized`), fast integer
products: everything is multiplied in float32, also where inputs are of half precision, which would round a
perturbed scale to what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..protocols import Slot, chunks
from .visit import Visit

SCRATCH = (
    1 << 20
)  # weights unpacked at a time: 4 MB of float32, and as much again where each point scales them
BITS = (4, 8)


class QuantLinear(nn.Module):
    """x (..., in) -> (..., out) by integer codes and their scales; see the file's header.

    Args:
        codes: (out, in) integers from 0 to 2^bits - 1.
        scales: (out, groups), groups = ceil(in / group); the last group may be short.  Kept in float32.
        bits: 4 or 8.
        group: weights of a row that share a scale.
        zeros: (out, groups) integers, what stands for 0; None: 2^(bits-1) everywhere.
        bias: (out,) or None.

    Raises:
        ValueError: shapes that do not fit together, or codes outside their range.

    Parameters: `scales`, `bias`, and after `hold` also `extra` (k,).

    Cost: memory of bits/8 bytes a weight, 4 a group (6 with zeros), and a scratch of up to 8 MB; a forward
    unpacks and scales every weight once a point.
    """

    codes: Tensor
    zeros: Tensor | None
    where: Tensor | None
    bias: nn.Parameter | None
    extra: nn.Parameter | None
    transposed = False  # whether the layer it stands for stores (in, out), as GPT-2's do

    def __init__(
        self, codes: Tensor, scales: Tensor, *, bits: int, group: int, zeros: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if bits not in BITS:
            raise ValueError(f"bits={bits!r} must be 4 or 8")
        if not isinstance(group, int) or group < 1:
            raise ValueError(f"group={group!r} must be a whole number from 1")
        self.bits, self.group = bits, group
        self.out_features, self.in_features = codes.shape
        shape = (self.out_features, -(-self.in_features // group))
        for name, given in (("scales", scales), ("zeros", zeros)):
            if given is not None and tuple(given.shape) != shape:
                raise ValueError(
                    f"{name} {tuple(given.shape)} must be {shape} for codes {tuple(codes.shape)} in groups of {group}"
                )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << bits:
            raise ValueError(f"codes must be from 0 to {(1 << bits) - 1}")
        small = codes.to(torch.uint8)
        self.register_buffer("codes", _packed(small) if bits == 4 else small.contiguous())
        self.register_buffer("zeros", None if zeros is None else zeros.to(torch.int16).contiguous())
        self.register_buffer("where", None)
        self.scales = _parameter(scales.float())
        self.register_parameter("bias", None if bias is None else _parameter(bias))
        self.register_parameter("extra", None)

    def hold(self, where: Tensor, weight: Tensor | None = None) -> None:
        """Put float32 numbers beside the codes at fixed places, as the parameter `extra`.

        Args:
            where: (k,) int64 flat places in (out, in), ascending, each once.
            weight: (out, in), which W + S then equals there; None: S is 0.

        Raises:
            ValueError: places outside the matrix, or not ascending.
        """
        size = self.out_features * self.in_features
        where = where.to(torch.int64)
        if where.dim() != 1 or (where.numel() and (where[0] < 0 or where[-1] >= size)):
            raise ValueError(f"where must be (k,) places from 0 to {size - 1}")
        if (where[1:] <= where[:-1]).any():
            raise ValueError("where must ascend, each place once: sort them")
        values = torch.zeros(len(where))
        if weight is not None:
            self.register_parameter("extra", None)
            values = weight.reshape(-1)[where].float() - self._values_at(where)
        self.where = where
        self.extra = _parameter(values)

    def forward(self, x: Tensor) -> Tensor:
        extra = None if self.extra is None else self.extra[None]
        y = self.product(x.reshape(1, -1, x.shape[-1]), lambda rows: self.scales[rows][None], extra)[0]
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(*x.shape[:-1], self.out_features)

    def product(self, x: Tensor, scales: Callable[[slice], Tensor], extra: Tensor | None) -> Tensor:
        """y[p] = x[p] (W_p + S_p)^T: x (m, tokens, in) -> (m, tokens, out), no bias.

        `scales(rows)` gives (m, rows, groups), or (1, rows, groups) for all; `extra` is (m, k), (1, k) or None.
        """
        m, tokens, _ = x.shape
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        y = wide.new_empty(m, tokens, self.out_features)
        for rows in self._chunks():
            q = self._unpacked(rows, wide.dtype)
            for points, w in self._scaled(q, rows, scales(rows).to(wide.dtype), extra):
                for p in range(m)[points]:
                    torch.mm(wide[p], w.T, out=y[p, :, rows])
        return y.to(x.dtype)

    def dequantized(self) -> Tensor:
        """W + S, (out, in) float32: the whole matrix."""
        extra = None if self.extra is None else self.extra[None]
        parts = []
        for rows in self._chunks():
            q = self._unpacked(rows, torch.float32)
            parts += [w for _, w in self._scaled(q, rows, self.scales[rows][None], extra)]
        return torch.cat(parts)

    def _values_at(self, where: Tensor) -> Tensor:
        """W at some places."""
        return self.dequantized().reshape(-1)[where]

    def _chunks(self) -> Iterator[slice]:
        parts = max(1, -(-self.out_features * self.in_features // SCRATCH))
        step = -(-self.out_features // (64 * parts)) * 64  # even parts, of whole panels
        return chunks(self.out_features, self.in_features, step * self.in_features)

    def _unpacked(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """codes - zero of some rows, (rows, in)."""
        packed = self.codes[rows]
        q = packed.new_empty(len(packed), self.in_features, dtype=dtype)
        if self.bits == 8:
            q.copy_(packed)
        else:
            half = packed.shape[1]
            q[:, :half] = packed & 15
            q[:, half:] = (packed >> 4)[:, : self.in_features - half]
        if self.zeros is None:
            return q.sub_(1 << (self.bits - 1))
        for part, at in self._grouped(q):
            part -= self.zeros[rows, at, None]
        return q

    def _scaled(
        self, q: Tensor, rows: slice, scales: Tensor, extra: Tensor | None
    ) -> Iterator[tuple[slice, Tensor]]:
        """(points, their W + S of these rows); q is spoiled."""
        points = max(len(scales), 0 if extra is None else len(extra))
        w = torch.empty_like(q) if len(scales) > 1 else q
        held, (places, numbers) = q, self._held(rows)
        for p in range(points):
            if p < len(scales):
                for (part, at), (out, _) in zip(self._grouped(q), self._grouped(w), strict=True):
                    torch.mul(part, scales[p][:, at, None], out=out)
            if extra is not None and len(places):
                if p < len(scales):
                    held = w.view(-1)[places]
                w.view(-1)[places] = held + extra[p if len(extra) > 1 else 0, numbers].to(w.dtype)
            yield slice(None) if points == 1 else slice(p, p + 1), w

    def _held(self, rows: slice) -> tuple[Tensor, slice]:
        """Places of `extra` in these rows, counted from the first, and which of its numbers they are."""
        if self.where is None:
            return self.codes.new_empty(0), slice(0, 0)
        ends = self.where.new_tensor([rows.start, rows.stop]) * self.in_features
        numbers = slice(*torch.searchsorted(self.where, ends).tolist())
        return self.where[numbers] - ends[0], numbers

    def _grouped(self, w: Tensor) -> list[tuple[Tensor, slice]]:
        """Views (rows, groups, members) of (rows, in) with the columns of `scales` they take."""
        whole = self.in_features // self.group
        cut = whole * self.group
        parts = []
        if whole:
            parts.append((w[:, :cut].view(len(w), whole, self.group), slice(0, whole)))
        if cut < self.in_features:
            parts.append((w[:, None, cut:], slice(whole, whole + 1)))
        return parts

    def extra_repr(self) -> str:
        held = "" if self.extra is None else f", extra={len(self.extra)}"
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, group={self.group}{held}"


def at_points(visit: Visit, module: QuantLinear, slots: dict[str, Slot], x: Tensor) -> Tensor:
    """x (width * N.., in) -> (width * N.., out): codes are unpacked once a chunk for all points in flight."""
    m = visit.width
    xs = x.reshape(m, -1, x.shape[-1])

    def scales(rows: slice) -> Tensor:
        base = module.scales[rows]
        return visit.form(slots["scales"], rows, base) if "scales" in slots else base[None]

    extra = _vector(visit, module.extra, slots.get("extra"))
    if "scales" not in slots and "extra" not in slots:
        xs = xs.reshape(1, -1, xs.shape[-1])
    y = module.product(xs, scales, extra).view(m, -1, module.out_features)
    bias = _vector(visit, module.bias, slots.get("bias"))
    if bias is not None:
        y += bias[:, None, :].to(y.dtype)
    return y.view(*x.shape[:-1], module.out_features)


def _vector(visit: Visit, values: nn.Parameter | None, slot: Slot | None) -> Tensor | None:
    """A vector of a layer at the points in flight: (width, k), or (1, k) where it is not perturbed."""
    if values is None or slot is None:
        return None if values is None else values[None]
    return visit.form(slot, slice(0, len(values)), values[:, None], own=True)[:, :, 0]


def _packed(codes: Tensor) -> Tensor:
    """(rows, cols) of 4 bits -> (rows, ceil(cols / 2)) bytes: column j low, column j + ceil(cols / 2) high."""
    half = -(-codes.shape[1] // 2)
    packed = codes[:, :half].clone()
    packed[:, : codes.shape[1] - half] |= codes[:, half:] << 4
    return packed


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone().contiguous(), requires_grad=False)
