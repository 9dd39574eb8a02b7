"""Vectors a method keeps by name: set by records, usable in points, sums and inner products; a fold like the parameters."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from zoptim import methods
from zoptim.coefficients import Central
from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.named import Named
from zoptim.probes import TwoSided
from zoptim.protocols import HERE, Draw, Losses, Now, Point, Record, Vec, Weighing
from zoptim.rules import Descent
from zoptim.spaces.flat import Flat
from zoptim.testing import objective


@dataclass(frozen=True)
class Held:
    """Heavy-ball momentum as a named vector: v <- beta v + sum c z; then along v."""

    beta: float

    def weigh(self, w: Weighing) -> Weighing:
        w = Central().weigh(w)
        terms = ((Vec("v"), self.beta), *((z, float(c)) for z, c in zip(w.draws, w.coefs, strict=True)))
        return replace(w, draws=(Vec("v"),), coefs=np.ones(1), tracks=(("v", terms),))

    def observe(self, record: Record) -> None: ...


def held(beta: float = 0.9) -> Method:
    return Method("held", Dense("normal"), TwoSided(2), Held(beta), Descent(), 0.01, 1e-3, vecs=("v",))


def f(x: np.ndarray) -> np.ndarray:
    return np.asarray((x**2).sum(axis=1) + np.sin(x[:, 0]))


def opened(method: Method, dump: bytes | None = None, dtype: type = np.float64, **how: int) -> Run:
    journal = Journal.create(None, {"key": 7}) if dump is None else Journal(None, dump)
    return Run(Flat(np.linspace(-1, 1, 9).astype(dtype)), method, journal, **how)


def taken(method: Method, steps: int, dtype: type = np.float64) -> Run:
    run = opened(method, dtype=dtype)
    for _ in range(steps):
        run.step(objective(f))
    return run


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_momentum_held_by_name_is_the_rules_momentum(dtype: type) -> None:
    ours = taken(held(), 12, dtype)
    rule = taken(
        methods.build("zo_momentum", {"lr": 0.01, "eps": 1e-3, "n": 2, "beta": 0.9, "law": "normal"}),
        12,
        dtype,
    )
    assert ours.space.x.tobytes() == rule.space.x.tobytes()


def test_replay_resume_and_undo_rebuild_the_vectors() -> None:
    run = taken(held(), 10)
    again = opened(held(), run.journal.dump())
    assert again.space.x.tobytes() == run.space.x.tobytes()
    assert (
        again.named.arrays["v"][again.slots[0].id].tobytes()
        == run.named.arrays["v"][run.slots[0].id].tobytes()
    )
    for either in (run, again):
        either.step(objective(f))
    assert again.space.x.tobytes() == run.space.x.tobytes()
    run.undo(4)
    back = opened(held(), run.journal.dump())
    assert back.space.x.tobytes() == taken(held(), 7).space.x.tobytes()
    assert opened(held(), run.journal.dump(), until=5).space.x.tobytes() == taken(held(), 5).space.x.tobytes()


@dataclass(frozen=True)
class Asks:
    """A probe that asks what a test wants asked."""

    points: tuple[Point, ...]
    forwards = 1

    def rounds(self, t: int, now: Now) -> Generator[list[Point], Losses, tuple[Draw, ...]]:
        yield list(self.points)
        return (Draw(t, 0),)

    def observe(self, record: Record) -> None: ...


@dataclass(frozen=True)
class Anchors:
    """Sets the anchor where we stand, and moves along the draw."""

    def weigh(self, w: Weighing) -> Weighing:
        return replace(w, coefs=np.ones(1), tracks=(("anchor", ((HERE, 1.0),)),))

    def observe(self, record: Record) -> None: ...


def test_points_start_at_vectors_and_hold_them() -> None:
    z, seen = Draw(3, 1), []
    points = (
        Point(((z, 0.5),)),
        Point(((z, 0.5),), origin="anchor"),
        Point(((Vec("anchor"), 0.25), (HERE, -0.25), (z, 0.5))),
        Point((), origin="anchor"),
    )
    method = Method("asks", Dense("signs"), Asks(points), Anchors(), Descent(), 0.1, 1e-3, vecs=("anchor",))
    run = opened(method)

    def ask(view: object) -> np.ndarray:
        seen.append(view.x.copy())  # type: ignore[attr-defined]
        return np.zeros(4)

    first = run.space.x.copy()
    run.step(ask)  # the anchor is 0 while it is asked, then the first place
    here = run.space.x.copy()
    run.step(ask)
    slot, probe = run.slots[0], np.empty((1, 9, 1))
    run.named.directions.form(probe, slot, slice(0, 9), _mix(z), None, run.state)
    d = probe[0, :, 0]
    for x, anchor, asked in ((first, np.zeros(9), seen[0]), (here, first, seen[1])):
        expected = [x + 0.5 * d, anchor + 0.5 * d, x + 0.25 * (anchor - x) + 0.5 * d, anchor]
        np.testing.assert_allclose(asked, expected, rtol=0, atol=1e-15)


def _mix(z: Draw) -> object:
    from zoptim.protocols import Mix

    return Mix.of([(z, 1.0)])


def test_inner_products_are_those_of_the_sums() -> None:
    run = taken(held(), 3)
    a, b = ((Draw(5, 0), 2.0), (Vec("v"), -1.0)), ((HERE, 1.0), (Draw(5, 0), 1.0))
    x, v = run.space.x, run.named.arrays["v"][run.slots[0].id][:, 0]
    probe = np.empty((1, 9, 1))
    run.method.directions.form(probe, run.slots[0], slice(0, 9), _mix(Draw(5, 0)), None, run.state)
    z = probe[0, :, 0]
    assert run.named.dot(a, b) == pytest.approx((2 * z - v) @ (x + z), rel=1e-12)


def test_a_step_that_only_tracks_is_kept_and_moves_nothing() -> None:
    class Only(Held):
        def weigh(self, w: Weighing) -> Weighing:
            w = super().weigh(w)
            return replace(w, coefs=np.zeros(1))

    method = replace(held(), coefficients=Only(0.9))
    run = opened(method)
    before = run.space.x.copy()
    record = run.step(objective(f))
    assert record.kind == "track" and run.space.x.tobytes() == before.tobytes()
    assert run.named.arrays["v"][run.slots[0].id].any()
    again = opened(method, run.journal.dump())
    assert again.done == 1
    assert again.named.dot([(Vec("v"), 1.0)], [(Vec("v"), 1.0)]) == run.named.dot(
        [(Vec("v"), 1.0)], [(Vec("v"), 1.0)]
    )


def test_unknown_vectors_and_spaces_without_room_are_refused() -> None:
    run = taken(held(), 1)
    with pytest.raises(ValueError, match="Vec\\('w'\\): the method declares v"):
        run.named.dot([(Vec("w"), 1.0)], [(HERE, 1.0)])

    class Bare(Flat):
        keep = None  # type: ignore[assignment]

        def __getattribute__(self, name: str) -> object:
            if name == "keep":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(ValueError, match="method=held: it keeps vectors beside the parameters \\(v\\)"):
        Run(Bare(np.zeros(3)), held(), Journal.create(None, {"key": 1}))


def test_a_conversation_is_a_step_asked_by_someone_else() -> None:
    run, other = opened(held()), opened(held())
    for _ in range(3):
        talk = run.conversation()
        asked = next(talk)
        while True:
            try:
                asked = talk.send(run.ask(asked, objective(f)))
            except StopIteration as stop:
                run.commit(stop.value)
                break
        other.step(objective(f))
    assert run.journal.dump() == other.journal.dump()


def test_named_vectors_are_zero_before_the_first_step() -> None:
    space = Flat(np.ones(4, np.float32))
    named = Named(("a", "b"), space, Dense("signs"), 1)
    assert {name: held[space.slot.id].dtype for name, held in named.arrays.items()} == {
        "a": np.float32,
        "b": np.float32,
    }
    assert not any(held[space.slot.id].any() for held in named.arrays.values())
