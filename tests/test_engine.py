"""The engine: what is recorded, what moves, what an interrupt, an exception and an undo leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoptim.engine as engine
from zoptim.coefficients import Central
from zoptim.engine import PoisonedRun, Run
from zoptim.interrupts import deferred_interrupt
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import fzoo, mezo
from zoptim.protocols import Draw, Point, Record, Slot
from zoptim.rules import Descent
from zoptim.spaces import Flat

METHODS: dict[str, Callable[[], Method]] = {
    "mezo": lambda: mezo(lr=0.1, eps=0.01),
    "mezo with decay": lambda: mezo(lr=0.1, eps=0.01, n=3, weight_decay=0.2, schedule="cosine"),
    "fzoo": lambda: fzoo(lr=0.1, eps=0.01, n=4),
}
each_method = pytest.mark.parametrize("make", METHODS.values(), ids=list(METHODS))


def start(
    method: Method, d: int = 7, dtype: Any = np.float64, journal: Journal | None = None, **how: Any
) -> Run:
    space = Flat(np.linspace(-1.0, 1.0, d).astype(dtype))
    return Run(space, method, journal or Journal.create(None, {"key": 11}), **{"horizon": 10, **how})


def bowl(view: Any) -> np.ndarray:
    return ((view.x - 0.5) ** 2).sum(axis=1)


def again(run: Run, make: Callable[[], Method], **how: Any) -> Run:
    return start(make(), run.space.x.size, run.space.x.dtype, Journal(None, run.journal.dump()), **how)


# -- skips ------------------------------------------------------------


@each_method
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_a_non_finite_loss_skips_the_step(make: Callable[[], Method], bad: float, place: int) -> None:
    run = start(make())
    before = run.space.x.copy()

    def objective(view: Any) -> np.ndarray:
        losses = bowl(view)
        losses[place] = bad
        return losses

    record = run.step(objective)
    assert (record.kind, record.t, record.terms, record.reason) == ("skip", 0, (), "non-finite loss")
    assert len(record.losses) == run.method.probe.forwards
    assert (run.space.x == before).all() and run.t == 1 and len(run.journal.records) == 1
    moved = run.step(bowl)
    assert moved.kind == "move" and moved.t == 1
    assert again(run, make).space.x.tobytes() == run.space.x.tobytes()


@each_method
def test_ties_skip_the_step(make: Callable[[], Method]) -> None:
    run = start(make())
    before = run.space.x.copy()
    record = run.step(lambda view: np.ones(view.m))
    assert (record.kind, record.reason) == ("skip", "all losses tie")
    assert (run.space.x == before).all()


def test_an_overflowing_coefficient_skips_the_step() -> None:
    run = start(mezo(lr=0.1, eps=1e-300))
    with np.errstate(over="ignore"):
        record = run.step(lambda view: np.array([1e300, -1e300]))
    assert (record.kind, record.reason) == ("skip", "non-finite coefficient")


# -- per-item losses ---------------------------------------------------------------------------------------------


@each_method
def test_items_weigh_as_their_weighted_mean(make: Callable[[], Method]) -> None:
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    shifts = np.array([0.0, 1.0, 100.0, -1.0])

    def items(view: Any) -> Any:
        return (view.x[:, :4] - shifts) ** 2, weights

    def mean(view: Any) -> np.ndarray:
        table = (view.x[:, :4] - shifts) ** 2
        return (table * weights).sum(axis=1) / weights.sum()

    a, b = start(make()), start(make())
    assert a.step(items) == b.step(mean)
    assert a.space.x.tobytes() == b.space.x.tobytes()


def test_items_without_weights_are_averaged_and_reach_the_coefficients() -> None:
    seen: list[Any] = []

    class Watching(Central):
        def weigh(self, w: Any) -> Any:
            seen.append(w)
            return super().weigh(w)

    run = start(replace(mezo(lr=0.1), coefficients=Watching()))
    record = run.step(lambda view: view.x**2)
    (w,) = seen
    assert w.items.shape == (2, 7)
    np.testing.assert_array_equal(w.items.mean(axis=1), record.losses)


@pytest.mark.parametrize(
    "answer",
    [
        lambda v: 1.0,
        lambda v: np.ones(v.m + 1),
        lambda v: np.ones((v.m, 2, 2)),
        lambda v: (np.ones((v.m, 3)), [1.0]),
    ],
)
def test_answers_of_another_shape_are_refused(answer: Any) -> None:
    run = start(mezo())
    with pytest.raises(ValueError, match="the objective gave"):
        run.step(answer)
    assert not len(run.journal.records)
    assert run.step(bowl).t == 0


@dataclass(frozen=True)
class InTwoRounds:
    """Asks the second point only after the first answer; the points of `TwoSided`."""

    forwards = 2

    def rounds(self, t: int, now: Any) -> Iterator[Any]:
        z = Draw(t, 0)
        first = yield [Point(((z, now.eps),))]
        assert first.shape == (1,)
        yield [Point(((z, -now.eps),))]
        return (z,)

    def observe(self, record: Record) -> None:
        """Nothing to keep."""


def test_rounds_are_joined_in_the_order_asked() -> None:
    a, b = start(mezo(lr=0.1)), start(replace(mezo(lr=0.1), probe=InTwoRounds()))
    assert a.step(bowl) == b.step(bowl)
    assert a.step(lambda v: v.x**2) == b.step(lambda v: v.x**2)


# -- interrupts and exceptions ------------------------------------------------------------


@dataclass(frozen=True)
class Interrupting(Descent):
    """Gets a SIGINT in the middle of an apply."""

    def scale(self, lr: float) -> None:
        return None

    def apply(self, p: Any, g: Any, stride: Any, vectors: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        super().apply(p, g, stride, vectors)


def test_an_interrupt_waits_until_the_record_is_applied() -> None:
    run = start(replace(mezo(lr=0.1), rule=Interrupting()))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.step(bowl)
    assert signal.getsignal(signal.SIGINT) is handler
    plain = start(mezo(lr=0.1))
    plain.step(bowl)
    assert run.space.x.tobytes() == plain.space.x.tobytes()
    assert run.journal.records[0] == plain.journal.records[0] and run.t == 1
    run.method = mezo(lr=0.1)
    assert run.step(bowl) == plain.step(bowl)  # and the run goes on


def test_an_interrupt_while_asking_leaves_no_trace() -> None:
    run = start(mezo(lr=0.1))
    before = run.space.x.copy()

    def objective(view: Any) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGINT)
        return bowl(view)

    with pytest.raises(KeyboardInterrupt):
        run.step(objective)
    assert (run.space.x == before).all() and not len(run.journal.records) and run.t == 0


def test_a_deferred_interrupt_reaches_its_handler_once_even_beside_an_exception() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        with deferred_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert not got
        assert got == [signal.SIGINT]
        with pytest.raises(ZeroDivisionError), deferred_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
            _ = 1 / 0
        assert got == [signal.SIGINT] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_default_action_still_ends_the_process() -> None:
    code = (
        "import os, signal; from zoptim.interrupts import deferred_interrupt\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "with deferred_interrupt():\n    os.kill(os.getpid(), signal.SIGINT); print('whole', flush=True)\n"
        "print('survived', flush=True)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout == "whole\n" and done.returncode == -signal.SIGINT


def test_other_threads_step_too() -> None:
    run, plain = start(mezo(lr=0.1)), start(mezo(lr=0.1))
    thread = threading.Thread(target=lambda: run.step(bowl))
    thread.start()
    thread.join()
    plain.step(bowl)
    assert run.space.x.tobytes() == plain.space.x.tobytes()


class Bursting(Flat):
    """Fails on the n-th opening of its tensor."""

    left = 10**9

    @contextmanager
    def tensor(self, slot: Slot) -> Iterator[np.ndarray]:
        self.left -= 1
        if self.left < 0:
            raise MemoryError("no room")
        with super().tensor(slot) as p:
            yield p


def test_an_exception_in_apply_poisons_and_reopening_heals() -> None:
    run = Run(Bursting(np.linspace(-1, 1, 7)), mezo(lr=0.1), Journal.create(None, {"key": 11}), horizon=10)
    run.step(bowl)
    run.space.left = 0
    with pytest.raises(MemoryError):
        run.step(bowl)
    assert len(run.journal.records) == 2
    for forbidden in (lambda: run.step(bowl), lambda: run.commit(Record("skip", 9, 0.0)), lambda: run.undo()):
        with pytest.raises(PoisonedRun, match="open the run again"):
            forbidden()
    assert len(run.journal.records) == 2
    plain = start(mezo(lr=0.1))
    plain.step(bowl)
    plain.step(bowl)
    assert again(run, lambda: mezo(lr=0.1)).space.x.tobytes() == plain.space.x.tobytes()


def test_an_exception_in_observe_poisons_too() -> None:
    class Forgetful(Central):
        def observe(self, record: Record) -> None:
            raise RuntimeError("no")

    run = start(replace(mezo(lr=0.1), coefficients=Forgetful()))
    with pytest.raises(RuntimeError):
        run.step(bowl)
    with pytest.raises(PoisonedRun):
        run.step(bowl)


def test_a_refused_append_moves_nothing() -> None:
    run = start(mezo(lr=0.1))
    before = run.space.x.copy()

    def full(record: Record) -> None:
        raise OSError("disk full")

    append, run.journal.append = run.journal.append, full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk full"):
        run.step(bowl)
    assert (run.space.x == before).all() and run.t == 0
    run.journal.append = append  # type: ignore[method-assign]
    assert run.step(bowl).t == 0


# -- undo ------------------------------------------------------------


@each_method
@given(
    plan=st.lists(st.integers(1, 4), min_size=1, max_size=4), dtype=st.sampled_from([np.float32, np.float64])
)
@settings(max_examples=15, deadline=None)
def test_undo_gives_the_exact_bits(make: Callable[[], Method], plan: list[int], dtype: Any) -> None:
    run = start(make(), dtype=dtype)
    bits = [run.space.x.tobytes()]  # after each step in force
    for back in plan:
        for _ in range(3):
            run.step(bowl)
            bits.append(run.space.x.tobytes())
        back = min(back, len(bits) - 1)
        record = run.undo(back)
        del bits[-back:]
        assert record.kind == "undo"
        with pytest.raises(PoisonedRun, match="taken back"):
            run.step(bowl)
        reopened = again(run, make)
        assert reopened.space.x.tobytes() == bits[-1]
        assert reopened.t == run.t  # no t is used twice
        run = reopened


def test_undo_counts_skips_and_refuses_more_than_there_is() -> None:
    run = start(mezo(lr=0.1))
    with pytest.raises(ValueError, match="0 steps in force"):
        run.undo()
    run.step(bowl)
    bits = run.space.x.tobytes()
    run.step(lambda view: np.ones(view.m))
    for bad in (0, 3, -1):
        with pytest.raises(ValueError, match="steps in force"):
            run.undo(bad)
    assert run.undo().t == 1
    assert again(run, lambda: mezo(lr=0.1)).space.x.tobytes() == bits


# -- replay, chunks, horizon ------------------------------------------------------------


@each_method
def test_chunks_do_not_matter(make: Callable[[], Method], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = start(make(), d=1000, dtype=np.float32)
    for _ in range(4):
        whole.step(bowl)
    monkeypatch.setattr(engine, "CHUNK", 7)
    cut = start(make(), d=1000, dtype=np.float32)
    for _ in range(4):
        cut.step(bowl)
    assert cut.space.x.tobytes() == whole.space.x.tobytes()
    assert again(whole, make).space.x.tobytes() == whole.space.x.tobytes()


@each_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_added_by_the_directions_are_those_of_the_engine(
    make: Callable[[], Method], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(make(), d=300, dtype=dtype)
    for _ in range(7):
        run.step(bowl)
    monkeypatch.setattr(engine, "BLOCK", 3)
    assert again(run, make).space.x.tobytes() == run.space.x.tobytes()
    monkeypatch.setattr(Run, "_fused", lambda *parts: [])
    assert again(run, make).space.x.tobytes() == run.space.x.tobytes()
    slow = start(make(), d=300, dtype=dtype)
    for _ in range(7):
        slow.step(bowl)
    assert slow.space.x.tobytes() == run.space.x.tobytes()


def test_a_subclass_that_forms_otherwise_is_not_bypassed() -> None:
    from zoptim.directions import Dense

    class Doubled(Dense):
        def form(self, out: Any, slot: Any, rows: Any, mix: Any, *rest: Any) -> None:
            super().form(out, slot, rows, mix._replace(coefs=2 * mix.coefs), *rest)

    moved = []
    for directions in (Dense("signs"), Doubled("signs")):
        run = start(replace(mezo(lr=0.1), directions=directions))
        before = run.space.x.copy()
        run.commit(Record("move", 0, 0.5, ((Draw(0, 0), 1.0),)))
        moved.append(np.abs(run.space.x - before))
    assert np.allclose(moved[0], 0.5) and np.allclose(moved[1], 1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("scaled", [False, True])
def test_half_precision_is_rounded_in_the_same_sweep(
    dtype: str, scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from zoptim.directions import Dense, Scaled
    from zoptim.spaces.module import Module

    def weights(fused: bool) -> bytes:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 33), torch.nn.Linear(33, 3)).to(getattr(torch, dtype))
        space = Module(model)
        method = fzoo(lr=1e-4, eps=0.01, n=4)
        if scaled:  # one slot in other units, the others plain
            slot = space.slots()[0]
            rows = np.linspace(0.5, 2, int(np.prod(slot.shape)), dtype=np.float32).reshape(slot.shape[0], -1)
            method = replace(method, directions=Scaled(Dense("normal"), {slot.id: rows}))
        if not fused:
            monkeypatch.setattr(Run, "_fused", lambda *parts: [])
        run = Run(space, method, Journal.create(None, {"key": 11}))
        draws = [Draw(0, i) for i in range(4)]
        for t in range(3):
            run.commit(Record("move", t, 1e-3, tuple((z, 0.3 * t - 0.2) for z in draws)))
        return b"".join(p.detach().view(torch.int16).numpy().tobytes() for p in model.parameters())

    assert weights(True) == weights(False)


@each_method
def test_until_shows_an_earlier_step_and_takes_none(make: Callable[[], Method]) -> None:
    run = start(make())
    marks = [run.space.x.tobytes()]
    for _ in range(5):
        run.step(bowl)
        marks.append(run.space.x.tobytes())
    for t in range(6):
        then = again(run, make, until=t)
        assert then.space.x.tobytes() == marks[t]
        with pytest.raises(PoisonedRun, match="earlier step"):
            then.step(bowl)


def test_lr_follows_the_schedule_over_the_horizon() -> None:
    run = start(mezo(lr=0.1, schedule="linear"), horizon=4)
    lrs = [run.step(bowl).lr for _ in range(5)]
    np.testing.assert_allclose(lrs, 0.1 * np.array([0.875, 0.625, 0.375, 0.125, 0.0]), atol=1e-15)


def test_a_resumed_run_stays_on_its_curve(tmp_path: Path) -> None:
    def open_(journal: Journal) -> Run:
        return start(fzoo(lr=0.1), journal=journal, horizon=8)

    whole = open_(Journal.create(None, {"key": 11}))
    for _ in range(8):
        whole.step(bowl)
    with Journal.create(tmp_path / "j", {"key": 11}) as journal:
        run = open_(journal)
        for _ in range(3):
            run.step(bowl)
    with Journal.open(tmp_path / "j") as journal:
        run = open_(journal)
        assert run.t == 3
        for _ in range(5):
            run.step(bowl)
        assert list(journal.records) == list(whole.journal.records)
    assert run.space.x.tobytes() == whole.space.x.tobytes()


def test_the_key_alone_decides_the_noise() -> None:
    def first(key: int) -> Record:
        return start(mezo(lr=0.1), journal=Journal.create(None, {"key": key})).step(bowl)

    assert first(1) == first(1) != first(2)


@dataclass
class Momentum:
    """A rule with state, of scope slot: replay must go record by record."""

    linear = True
    scope = "slot"
    vectors = 1

    def scale(self, lr: float) -> None:
        return None

    def apply(self, p: Any, g: Any, stride: Any, vectors: Any) -> None:
        (v,) = vectors
        v *= 0.9
        v += g
        p -= stride.lr * v


def test_rules_with_state_replay() -> None:
    def make() -> Method:
        return replace(mezo(lr=0.01), rule=Momentum())

    run = start(make())
    for _ in range(5):
        run.step(bowl)
    other = again(run, make)
    assert other.space.x.tobytes() == run.space.x.tobytes()
    assert run.step(bowl) == other.step(bowl)
    assert other.space.x.tobytes() == run.space.x.tobytes()


def test_additive_is_what_it_says() -> None:
    assert mezo().additive and fzoo().additive
    assert not mezo(weight_decay=0.1).additive
    assert not replace(mezo(), rule=Momentum()).additive
