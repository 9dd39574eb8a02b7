"""The streamed space: the same bits as the module space, whatever passes when, and whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file
from torch import Tensor, nn  # noqa: E402

from zoptim.engine import Run  # noqa: E402
from zoptim.journal import Journal  # noqa: E402
from zoptim.methods import mezo  # noqa: E402
from zoptim.protocols import Record  # noqa: E402
from zoptim.spaces.device import Device  # noqa: E402
from zoptim.spaces.layout import Source  # noqa: E402
from zoptim.spaces.module import Module  # noqa: E402
from zoptim.spaces.store import Checkpoint  # noqa: E402
from zoptim.spaces.streamed import Streamed  # noqa: E402

WIDE = 16
BLOCK = WIDE * WIDE * 4 * 2 + 64  # bytes: two matrices and a vector


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDE, WIDE, bias=False), nn.Linear(WIDE, WIDE, bias=False)
        self.norm = nn.LayerNorm(WIDE, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x))))


class Net(nn.Module):
    """Embedding and head share a tensor, and the blocks one vector: a tensor with several owners."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, WIDE)
        self.blocks = nn.ModuleList(Block() for _ in range(5))
        self.norm = nn.LayerNorm(WIDE)
        self.head = nn.Linear(WIDE, 32, bias=False)
        self.head.weight = self.embed.weight
        if shared:
            self.blocks[3].norm.weight = self.blocks[1].norm.weight
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def resident(dtype: Any = torch.float32, shared: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(shared).to(dtype).requires_grad_(False)


def streamed(
    folder: Path, names: Any = None, *, window: int | None = 2 * BLOCK, dtype: Any = torch.float32,
    stored: Any = None, shared: bool = False, memory: Any = None,
) -> Streamed:  # fmt: skip
    """The same model with its weights on disk."""
    model = resident(dtype, shared)
    whole = dict(model.named_parameters())
    if not (folder / "model.safetensors").exists():
        save_file(
            {n: p.to(stored or dtype).contiguous() for n, p in whole.items()}, folder / "model.safetensors"
        )
    meta = {p: nn.Parameter(p.to("meta"), requires_grad=False) for p in whole.values()}
    for module in model.modules():
        for attr, p in module._parameters.items():
            if p is not None:
                module._parameters[attr] = meta[p]
    source = Source(Checkpoint(folder), {meta[p]: n for n, p in whole.items()})
    return Streamed(
        model,
        names,
        source=source,
        blocks=list(model.blocks),
        folder=folder / "copy",
        window=window,
        memory=memory,
    )


IDS = torch.arange(12).view(3, 4) * 5 % 32


def question(model: nn.Module, before: Callable[[], None] = lambda: None) -> Callable[[Any], np.ndarray]:
    def ask(view: Any) -> np.ndarray:
        before()
        logits = view.split(model(view.expand(IDS))).float()
        picked = logits.log_softmax(-1)[..., 3].flatten(2).mean(-1)
        return -picked.numpy().astype(np.float64)

    return ask


def stepped(space: Module, steps: int = 6, journal: Journal | None = None) -> Run:
    run = Run(space, mezo(lr=0.05, eps=1e-2), journal or Journal.create(None, {"key": 3}))
    for _ in range(steps):
        run.step(question(space.model))
    return run


def values(space: Module) -> dict[str, bytes]:
    """The trained tensors' bits."""
    found = {}
    for slot in space.slots():
        with space.tensor(slot) as p:
            found[slot.name] = p.contiguous().view(torch.uint8).numpy().tobytes()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("names", [None, ["blocks.2.up.weight", "norm.weight"], ["embed.weight"]])
@pytest.mark.parametrize("shared", [False, True])
def test_losses_and_weights_have_the_resident_bits(
    tmp_path: Path, dtype: Any, names: Any, shared: bool
) -> None:
    one, other = Module(resident(dtype, shared), names), streamed(tmp_path, names, dtype=dtype, shared=shared)
    a, b = stepped(one), stepped(other)
    assert list(a.journal.records) == list(b.journal.records)
    assert values(one) == values(other)
    assert other.window.peak <= other.window.limit
    assert b.journal.records[0].losses != b.journal.records[5].losses
    other.close()


def test_a_stored_dtype_is_converted_as_it_is_read(tmp_path: Path) -> None:
    model = resident()
    for p in model.parameters():
        p.copy_(p.bfloat16())
    one, other = Module(model), streamed(tmp_path, stored=torch.bfloat16)
    assert list(stepped(one).journal.records) == list(stepped(other).journal.records)
    other.close()


def test_one_step_reads_and_writes_each_unit_once(tmp_path: Path) -> None:
    space = streamed(tmp_path)
    run = stepped(space, 3)
    sizes = sum(space.window.sizes)
    seen = []
    for _ in range(5):
        space.window._submit(int).result()  # what is on its way has arrived
        seen.append((space.window.read_bytes, space.window.write_bytes))
        run.step(question(space.model))
    read, written = (b - a for a, b in zip(seen[0], seen[-1], strict=True))
    tied = space.window.sizes[0]  # the embedding is also the head: it may pass twice
    assert 0 < read <= 4 * (sizes + tied)
    assert 0 < written <= 4 * (sizes + tied)
    space.close()
    whole = streamed(tmp_path, window=None)
    assert whole.window.limit < sizes
    large = streamed(tmp_path, window=2 * sizes)
    stepped(large)
    assert large.window.read_bytes == sizes and large.window.write_bytes == 0, "what fits is read once"
    large.close()


def test_what_is_small_stays_and_nothing_is_written(tmp_path: Path) -> None:
    names = ["norm.weight", "norm.bias"]
    one, other = Module(resident(), names), streamed(tmp_path, names, window=3 * BLOCK)
    assert not other.defers and not other.model.norm.weight.is_meta
    assert list(stepped(one).journal.records) == list(stepped(other).journal.records)
    assert values(one) == values(other)
    assert other.window.write_bytes == 0 and not (tmp_path / "copy").exists()
    other.close()


def test_weights_are_back_on_the_meta_device_when_they_go(tmp_path: Path) -> None:
    space = streamed(tmp_path)
    stepped(space, 2)
    here = {n for n, p in space.model.named_parameters() if not p.is_meta}
    assert here and len(here) < len(list(space.model.parameters()))
    space.window.clear()
    assert all(p.is_meta for p in space.model.parameters())
    space.close()


def test_a_window_that_is_too_small_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"blocks.0 alone takes 2.112e-06 GB; the least that works is 0.0001 GB"
    ):
        streamed(tmp_path, window=100)
    least = streamed(tmp_path).least
    assert least == max(BLOCK, 32 * WIDE * 4)
    space = streamed(tmp_path, window=least)
    assert list(stepped(space).journal.records) == list(stepped(Module(resident())).journal.records)
    with pytest.raises(ValueError, match="too small"):
        streamed(tmp_path, window=least - 1)
    space.close()


class Halted(Exception):
    pass


def test_an_interrupted_update_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = values_after(8)
    space = streamed(tmp_path)
    run = stepped(space, 5)
    real, calls = Run._write, iter(range(1000))

    def halting(self: Run, *a: Any) -> None:
        real(self, *a)
        if next(calls) == 4:
            raise Halted

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_write", halting)
        with pytest.raises(Halted):
            run.step(question(space.model))
    assert run.t == 5, "the step was not taken: its question could not be asked"
    for _ in range(3):
        run.step(question(space.model))
    assert values(space) == truth
    space.close()


def values_after(steps: int) -> dict[str, bytes]:
    space = Module(resident())
    stepped(space, steps)
    return values(space)


@pytest.mark.parametrize("window", [2 * BLOCK, 7 * BLOCK])
def test_other_histories_begin_from_the_checkpoint(tmp_path: Path, window: int) -> None:
    space = streamed(tmp_path, window=window)
    run = stepped(space, 6)
    assert values(space) == values_after(6)
    Run(space, run.method, run.journal, until=2)
    assert values(space) == values_after(2), "an earlier step"
    Run(space, run.method, run.journal)
    assert values(space) == values_after(6), "and forth again"
    other = Journal.create(None, {"key": 4})
    stepped(space, 3, other)
    again = Module(resident())
    stepped(again, 3, Journal.create(None, {"key": 4}))
    assert values(space) == values(again), "another run's journal"
    space.restart()
    assert values(space) == values(Module(resident()))
    run.undo(2)
    back = Run(space, run.method, run.journal)
    assert values(space) == values_after(4)
    back.step(question(space.model))
    space.close()


@pytest.mark.parametrize("tidy", [True, False])
def test_a_lasting_copy_is_found_again(tmp_path: Path, tidy: bool) -> None:
    path = tmp_path / "journal"
    space = streamed(tmp_path)
    space.keep(tmp_path / "kept")
    run = stepped(space, 6, Journal.create(path, {"key": 3}))
    if tidy:
        space.save()
    space.close()
    run.journal.close()
    again = streamed(tmp_path)
    again.keep(tmp_path / "kept")
    read = again.copy
    Run(again, run.method, Journal.open(path))
    assert values(again) == values_after(6)
    assert read.fetched > 0, "units come from the working copy, not from a replay"
    again.copy.discard()
    assert not (tmp_path / "kept").exists()
    again.close()


def test_the_journal_is_synced_before_a_unit_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = streamed(tmp_path)
    journal, synced = Journal.create(tmp_path / "journal", {"key": 3}), [0]
    real_sync, real_save = journal.sync, space.copy.save

    def sync() -> None:
        real_sync()
        synced[0] = len(journal.records)

    def save(unit: int, data: Any, mark: Any) -> None:
        assert mark.n <= synced[0]
        real_save(unit, data, mark)

    monkeypatch.setattr(journal, "sync", sync)
    monkeypatch.setattr(space.copy, "save", save)
    stepped(space, 6, journal)
    assert synced[0] >= 5 and space.window.write_bytes
    space.close()


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = streamed(tmp_path)
    run = stepped(space, 3)

    def full(*a: Any) -> None:
        raise OSError(28, "No space left on device", "slot")

    with monkeypatch.context() as patch:
        patch.setattr(space.copy, "save", full)
        with pytest.raises(OSError, match="No space left"):
            for _ in range(3):
                run.step(question(space.model))
        with suppress(OSError):  # others that were on their way
            space.window.flush()
    while run.t < 8:
        run.step(question(space.model))
    assert values(space) == values_after(8)
    space.close()


def test_state_beside_the_weights_is_refused(tmp_path: Path) -> None:
    space = streamed(tmp_path)

    class Momentum:
        linear, scope, vectors = True, "element", 1

    method = mezo(lr=0.05, eps=1e-2)
    run = Run(space, method, Journal.create(None, {"key": 3}))
    object.__setattr__(method, "rule", Momentum())
    with pytest.raises(ValueError, match="keep state beside the weights, which cannot be streamed"):
        Run(space, method, run.journal)
    space.close()


def test_a_device_with_memory_of_its_own_computes_the_same(tmp_path: Path) -> None:
    """Bookkeeping only: the CPU stands for the GPU, whose streams are not tested."""
    device = Device("cpu")
    space = streamed(tmp_path, memory=device)
    space.keep(tmp_path / "kept")
    run = stepped(space, 6, Journal.create(tmp_path / "journal", {"key": 3}))
    assert values(space) == values_after(6)
    held = sum(host.nbytes for host, _ in device._twins.values())
    assert 0 < held <= space.window.limit, "twins go with the memory they belong to"
    space.save()
    space.close()
    run.journal.close()
    again = streamed(tmp_path)
    again.keep(tmp_path / "kept")
    Run(again, run.method, Journal.open(tmp_path / "journal"))
    assert values(again) == values_after(6) and again.copy.fetched > 0
    again.close()


def test_marks_tell_histories_apart(tmp_path: Path) -> None:
    space = streamed(tmp_path)
    moves = [Record("move", t, 0.1, ()) for t in range(3)]
    calls: list[Any] = []
    space.follow(moves, lambda *a: calls.append(a), sync=lambda: None, tag=b"a" * 16)
    first = list(space._chain)
    moves.append(Record("move", 3, 0.1, ()))
    space.follow(moves, lambda *a: calls.append(a), sync=lambda: None, tag=b"a" * 16)
    assert space._chain[:4] == first and len(space._chain) == 5
    space.follow(list(moves), lambda *a: calls.append(a), sync=lambda: None, tag=b"b" * 16)
    assert not set(space._chain) & set(first)
    space.close()
