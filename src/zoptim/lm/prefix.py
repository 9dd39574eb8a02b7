"""The frozen prefix of a network, computed once for every example and kept.

    depth     hidden states entering block `at`, all positions
    decode    hidden states entering block `at` at the positions fed, and block `at`'s keys and values of all
              earlier positions (nothing but hidden states when `at` is past the last block)

Kept in memory up to a limit, beyond it in one file each (memory-mapped).  Not here: whether a plan is valid
for a set of trained parameters, which `forward.Scorer` decides and verifies.

Cost: one forward of the frozen blocks an example, once; memory per token: hidden size floats (depth), key
and value sizes (decode).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..spaces.layers import override
from . import units
from .encode import Item, collate
from .errors import RunError

BATCH_TOKENS = 2048  # tokens a prefix forward takes at once


class Stop(Exception):
    """Raised inside a forward once everything wanted has been seen."""


@dataclass(frozen=True)
class PrefixPlan:
    """mode at block `at` of `layers`; `tuples`: the model's blocks answer with tuples."""

    mode: str
    at: int
    layers: Sequence[nn.Module]
    tuples: bool

    @property
    def attends(self) -> bool:
        return self.mode == "decode" and self.at < len(self.layers)


@dataclass(frozen=True)
class Step:
    """A decode batch: ids, hidden (B, S, D), mask (B, P + S), positions (B, S), keys and values (B, H, P, d)."""

    ids: Tensor
    hidden: Tensor
    mask: Tensor
    positions: Tensor
    keys: Tensor | None
    values: Tensor | None


class Tap:
    """A cache that lets one layer's keys and values be seen, then stops the forward."""

    def __init__(self, at: int) -> None:
        from transformers import DynamicCache

        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        tap = self

        class _Cache(DynamicCache):  # type: ignore[misc]
            def update(
                self, k: Tensor, v: Tensor, layer_idx: int, *a: Any, **kw: Any
            ) -> tuple[Tensor, Tensor]:
                if layer_idx == at:
                    tap.keys, tap.values = k, v
                    raise Stop
                return k, v

        self.cache = _Cache()


def past_cache(plan: PrefixPlan, view: Any, step: Step) -> Any:
    """A transformers cache that holds block `at`'s past for every point of a visit."""
    if not plan.attends:
        return None
    from transformers import DynamicCache

    keys, values = view.expand(step.keys), view.expand(step.values)
    past, fed = int(keys.shape[2]), int(step.ids.shape[1])

    class _Cache(DynamicCache):  # type: ignore[misc]
        def update(self, k: Tensor, v: Tensor, layer_idx: int, *a: Any, **kw: Any) -> tuple[Tensor, Tensor]:
            if layer_idx != plan.at:
                return k, v
            return torch.cat([keys, k], 2), torch.cat([values, v], 2)

        def get_seq_length(self, *a: Any, **kw: Any) -> int:
            return past

        def get_mask_sizes(self, *a: Any, **kw: Any) -> tuple[int, int]:
            return past + fed, 0

    return _Cache()


def run_frozen(model: nn.Module, layers: Sequence[nn.Module], items: Sequence[Item], pad_id: int) -> bool:
    """Whether the blocks answer with a tuple (older models) or a tensor."""
    seen: list[bool] = []
    ids = torch.from_numpy(collate(items, pad_id).ids[:1, :2])
    hook = layers[0].register_forward_hook(lambda m, a, out: seen.append(isinstance(out, tuple)))
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
    finally:
        hook.remove()
    return seen[0]


class Store:
    """Rows appended once, gathered often: float tensors of one width, in memory or in a file."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype, folder: Path | None) -> None:
        self.on_disk = folder is not None
        if folder is None:
            self.data = torch.empty(rows, width, dtype=dtype)
            return
        size = max(1, rows * width)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix="prefix-", suffix=".bin") as file:
                if hasattr(
                    os, "posix_fallocate"
                ):  # a full disk is told now, not by a crash when a page is written
                    os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
                held = torch.from_file(file.name, shared=True, size=size, dtype=dtype)
        except OSError as error:
            raise RunError(
                f"{folder}: {error.strerror or error}; the prefix cache needs {units.size(size * dtype.itemsize)} there: "
                "free space, or allow it in memory with --cache-gb"
            ) from error
        self.data = held[: rows * width].view(
            rows, width
        )  # the mapping outlives the file's name: a kill leaves nothing


class Prefix:
    """Cached states of a list of items (each of them any number of rows).

    Args:
        model: the whole model; only its frozen blocks run.
        plan: what to keep.
        items: the examples; `hidden` and `step` are asked by their numbers here.
        pad_id: filler token.
        limit: bytes kept in memory; more goes to files in `folder`.
        say: called with (done, total) items now and then.
    """

    def __init__(
        self, model: nn.Module, plan: PrefixPlan, items: Sequence[Item], pad_id: int, *, limit: float,
        folder: Path, say: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
        self.plan, self.items, self.pad_id = plan, items, pad_id
        self.rows = [row for item in items for row in item.rows]
        first = np.cumsum([0] + [len(item.rows) for item in items])
        self.rows_of = [range(first[i], first[i + 1]) for i in range(len(items))]
        # fed: tokens a decode step runs; depth keeps every position
        self.fed = [(0, len(r.ids)) if plan.mode == "depth" else _span(r) for r in self.rows]
        self.h_at = np.cumsum([0] + [b - a for a, b in self.fed])
        self.p_at = np.cumsum([0] + ([a for a, _ in self.fed] if plan.attends else []))
        self.past = np.array([a for a, _ in self.fed], dtype=np.int64)  # tokens before the fed ones
        self.ids = np.array([i for r, (a, b) in zip(self.rows, self.fed, strict=True) for i in r.ids[a:b]])
        self.single = len(self.rows) == len(items)
        self._h: Store | None = None
        self._kv: Store | None = None
        self._limit, self._folder = limit, folder
        self._build(model, say)

    @property
    def nbytes(self) -> int:
        return sum(s.data.numel() * s.data.element_size() for s in (self._h, self._kv) if s is not None)

    # -- building ------------------------------------------------------------------------------------

    def _build(self, model: nn.Module, say: Callable[[int, int], None]) -> None:
        order = sorted(range(len(self.rows)), key=lambda r: len(self.rows[r].ids))
        done = 0
        while done < len(order):
            size = max(1, BATCH_TOKENS // len(self.rows[order[min(len(order) - 1, done + 64)]].ids))
            group = order[done : done + size]
            self._build_group(model, group)
            done += len(group)
            say(done, len(order))

    def _build_group(self, model: nn.Module, group: Sequence[int]) -> None:
        width = max(len(self.rows[r].ids) for r in group)
        ids = torch.full((len(group), width), self.pad_id, dtype=torch.long)
        for i, r in enumerate(group):
            ids[i, : len(self.rows[r].ids)] = torch.tensor(self.rows[r].ids)
        hidden, keys, values = capture(model, self.plan, ids)
        if self._h is None:
            self._allocate(hidden, keys, values)
        assert self._h is not None
        for i, r in enumerate(group):
            a, b = self.fed[r]
            self._h.data[self.h_at[r] : self.h_at[r + 1]] = hidden[i, a:b]
            if self._kv is not None and keys is not None and values is not None:
                k, v = (x[i, :, :a].transpose(0, 1).reshape(a, -1) for x in (keys, values))
                self._kv.data[self.p_at[r] : self.p_at[r + 1]] = torch.cat([k, v], 1)

    def _allocate(self, hidden: Tensor, keys: Tensor | None, values: Tensor | None) -> None:
        rows_h, width_h = int(self.h_at[-1]), hidden.shape[-1]
        size = rows_h * width_h
        rows_p = width_p = 0
        if keys is not None and values is not None:
            self._k_shape, self._v_shape = (keys.shape[1], keys.shape[3]), (values.shape[1], values.shape[3])
            rows_p = int(self.p_at[-1])
            width_p = self._k_shape[0] * self._k_shape[1] + self._v_shape[0] * self._v_shape[1]
            size += rows_p * width_p
        folder = self._folder if size * hidden.element_size() > self._limit else None
        self._h = Store(rows_h, width_h, hidden.dtype, folder)
        if keys is not None:
            self._kv = Store(rows_p, width_p, hidden.dtype, folder)

    # -- asking --------------------------------------------------------------------------------------

    def _rows(self, which: Sequence[int]) -> np.ndarray:
        if self.single:
            return np.asarray(which, dtype=np.int64)
        return np.array([r for i in which for r in self.rows_of[i]], dtype=np.int64)

    def hidden(self, which: Sequence[int], width: int) -> Tensor:
        """(R, width, D) states entering block `at`, zero where padded."""
        assert self._h is not None
        return _gather(self._h.data, self.h_at, self._rows(which), width, left=False)

    def step(self, which: Sequence[int]) -> Step:
        """What a decode step over these items runs: the past padded on the left, the fed on the right."""
        assert self._h is not None
        rows = self._rows(which)
        past = self.past[rows] if self.plan.attends else np.zeros(len(rows), dtype=np.int64)
        fed = self.h_at[rows + 1] - self.h_at[rows]
        most, width = int(past.max()), int(fed.max())
        ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        if width == 1:
            ids[:, 0] = self.ids[self.h_at[rows]]
        else:
            for i, r in enumerate(rows):
                ids[i, : fed[i]] = self.ids[self.h_at[r] : self.h_at[r + 1]]
        mask = np.arange(most + width) >= (most - past)[:, None]
        positions = self.past[rows][:, None] + np.arange(width)
        hidden = _gather(self._h.data, self.h_at, rows, width, left=False)
        keys = values = None
        if self._kv is not None:
            (hk, dk), (hv, dv) = self._k_shape, self._v_shape
            packed = _gather(self._kv.data, self.p_at, rows, most, left=True)
            k, v = packed[..., : hk * dk], packed[..., hk * dk :]
            keys = k.reshape(len(rows), most, hk, dk).transpose(1, 2).contiguous()
            values = v.reshape(len(rows), most, hv, dv).transpose(1, 2).contiguous()
        tensors = (torch.from_numpy(x.astype(np.int64)) for x in (ids, mask, positions))
        ids_, mask_, positions_ = tensors
        return Step(ids_, hidden, mask_, positions_, keys, values)

    @contextmanager
    def frozen(self, hidden: Tensor) -> Iterator[None]:
        """Frozen blocks pass through, and the last of them answers `hidden`."""
        plan = self.plan

        def through(x: Tensor, *a: Any, **kw: Any) -> Any:
            return (x,) if plan.tuples else x

        def handed(x: Tensor, *a: Any, **kw: Any) -> Any:
            return (hidden,) if plan.tuples else hidden

        with ExitStack() as stack:
            for block in plan.layers[: plan.at - 1]:
                stack.enter_context(override(block, through))
            stack.enter_context(override(plan.layers[plan.at - 1], handed))
            yield


def _gather(data: Tensor, starts: np.ndarray, rows: np.ndarray, width: int, *, left: bool) -> Tensor:
    """Ragged rows as (R, width, D), zeros filling the left or the right."""
    lengths = starts[rows + 1] - starts[rows]
    place = np.arange(width) - (width - lengths if left else np.zeros_like(lengths))[:, None]
    there = (place >= 0) & (place < lengths[:, None])
    out = data[torch.from_numpy(np.where(there, starts[rows][:, None] + place, 0))]
    if not there.all():
        out *= torch.from_numpy(there)[..., None]
    return out


def _span(row: Any) -> tuple[int, int]:
    """The tokens a decode step feeds: from the first position read to the last."""
    return (row.start - 1, len(row.ids)) if row.start == len(row.ids) else (row.start - 1, len(row.ids) - 1)


def capture(model: nn.Module, plan: PrefixPlan, ids: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Hidden states entering block `at` and, where it attends, its keys and values."""
    held: list[Tensor] = []
    tap = Tap(plan.at) if plan.attends else None

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        held.append(args[0] if args else kwargs["hidden_states"])
        if tap is None:
            raise Stop

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        held.append(out[0] if isinstance(out, tuple) else out)
        raise Stop

    if plan.at < len(plan.layers):
        hook = plan.layers[plan.at].register_forward_pre_hook(enter, with_kwargs=True)
    else:
        hook = plan.layers[-1].register_forward_hook(leave)
    try:
        with torch.no_grad():
            if tap is None:
                model(input_ids=ids, use_cache=False)
            else:
                model(input_ids=ids, past_key_values=tap.cache, use_cache=True)
    except Stop:
        pass
    finally:
        hook.remove()
    return held[0], tap.keys if tap else None, tap.values if tap else None
