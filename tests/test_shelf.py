"""Every shelf entry keeps the laws, has a reference edition and claims what its row says; and the laws bite."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import ROWS, VARIANTS

from zoptim import noise
from zoptim.coefficients import Central, Chain, Forward
from zoptim.directions import Dense, Spherical
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.method import Method
from zoptim.methods import SHELF, fzoo, mezo
from zoptim.methods.smooth import two_point
from zoptim.protocols import Record, Weighing
from zoptim.rules import Descent
from zoptim.spaces import Flat
from zoptim.testing import Problem, Trial, check_method, functions, noisy, objective


def test_every_entry_has_a_row_and_a_reference_edition() -> None:
    assert set(ROWS) == set(SHELF) == set(reference.EDITIONS)


@pytest.mark.parametrize("name", list(SHELF))
def test_laws(name: str) -> None:
    row = ROWS[name]
    report = check_method(
        row.make, functions=row.trials, reference=reference.EDITIONS[name], traits=row.traits
    )
    assert not report.failed, str(report)
    assert {f.law for f in report.findings if f.status == "held"} >= {f"trait {t}" for t in row.traits}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_laws_of_variants(variant: str) -> None:
    name, settings_ = VARIANTS[variant]
    report = check_method(
        lambda: ROWS[name].make(**settings_), functions=(), reference=reference.EDITIONS[name], seed=1
    )
    assert not report.failed, str(report)


def test_mezo_takes_the_reference_steps_bitwise() -> None:
    report = check_method(lambda: mezo(lr=0.05, n=3), functions=(), reference=reference.mezo)
    assert [f.detail for f in report.findings if f.law == "9 reference"] == ["8 steps, bitwise"]


JUMPS = {
    "grzo",
    "zo_adam",
    "zo_adamm",
    "zo_signsgd",
    "zo_conservative",
}  # where rounding may turn a whole step around


@given(
    name=st.sampled_from(sorted(set(SHELF) - JUMPS)), seed=st.integers(0, 2**64 - 1), d=st.integers(1, 40), n=st.integers(2, 9),
    law=st.sampled_from(["signs", "normal"]), schedule=st.sampled_from(["constant", "cosine", "linear"]),
    lr=st.floats(1e-4, 0.1), eps=st.floats(1e-3, 0.1),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_trajectories_of_any_settings(
    name: str, seed: int, d: int, n: int, law: str, schedule: str, lr: float, eps: float
) -> None:
    problem, key = functions.quadratic(d, 4.0), noise.key_from_seed(seed)
    chosen = {"n": n + n % 2 + 2 if name == "fzoo_r" else n, "law": law, "schedule": schedule}
    known = inspect.signature(SHELF[name].make).parameters
    method = SHELF[name].make(lr, eps, **{k: v for k, v in chosen.items() if k in known})
    method = replace(method, first=None)
    space = Flat(problem.x0.copy())
    run = Run(space, method, Journal.create(None, {"key": key}), horizon=6)
    kinds = [run.step(objective(problem.f)).kind for _ in range(4)]
    if kinds == ["move"] * 4:  # small n and d may draw the same signs n times: nothing to divide by
        path = reference.EDITIONS[name](
            problem.f, problem.x0, key=key, slot=space.slot.id, steps=4, horizon=6, **method.arguments
        )
        np.testing.assert_allclose(space.x, path[-1], rtol=1e-7, atol=1e-9)


# -- the laws bite: one broken method for each ------------------------------------------------------------


class Hidden:
    """Keeps a running scale that no record holds."""

    def __init__(self) -> None:
        self.seen = 1.0

    def weigh(self, w: Weighing) -> Weighing:
        w = Central().weigh(w)
        self.seen += float(abs(w.coefs).sum())
        return replace(w, coefs=w.coefs / self.seen)

    def observe(self, record: Record) -> None:
        """Forgets to."""


@dataclass(frozen=True)
class Drifting(Dense):
    """Its state moves between the probe and the update when the same noise is asked twice."""

    def init(self, slots: Any, key: int, horizon: int = 1) -> Any:
        return {"key": key, "asked": 0}

    def form(
        self, out: Any, slot: Any, rows: Any, mix: Any, base: Any, state: Any,
        scale: float = 1.0, at: Any = None,
    ) -> None:  # fmt: skip
        state["asked"] += 1
        super().form(out, slot, rows, mix, base, state["key"] + (state["asked"] > 1), scale)


@dataclass(frozen=True)
class Chunky(Dense):
    """Numbers its elements from the start of each chunk."""

    def form(
        self, out: Any, slot: Any, rows: Any, mix: Any, base: Any, state: Any,
        scale: float = 1.0, at: Any = None,
    ) -> None:  # fmt: skip
        super().form(out, slot, slice(0, out.shape[1]), mix, base, state, scale)


@dataclass(frozen=True)
class Slotless(Dense):
    """Every tensor gets the same noise."""

    def form(
        self, out: Any, slot: Any, rows: Any, mix: Any, base: Any, state: Any,
        scale: float = 1.0, at: Any = None,
    ) -> None:  # fmt: skip
        super().form(out, slot._replace(id=0), rows, mix, base, state, scale)


@dataclass(frozen=True)
class Wide(Dense):
    """Twice the variance the law's name says."""

    def form(
        self, out: Any, slot: Any, rows: Any, mix: Any, base: Any, state: Any,
        scale: float = 1.0, at: Any = None,
    ) -> None:  # fmt: skip
        super().form(out, slot, rows, mix._replace(coefs=mix.coefs * 2**0.5), base, state, scale)


@dataclass(frozen=True)
class Constantless(Spherical):
    """Unit vectors, without the d that makes them a gradient."""

    law = "unit sphere"

    def length(self, d: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Uphill(Forward):
    """Forgets the draws' number, and the sign."""

    def weigh(self, w: Weighing) -> Weighing:
        w = super().weigh(w)
        return replace(w, coefs=-w.coefs)


@dataclass(frozen=True)
class Favourite(Forward):
    """Trusts the first draw more."""

    def weigh(self, w: Weighing) -> Weighing:
        w = super().weigh(w)
        return replace(w, coefs=w.coefs * np.arange(len(w.coefs), 0, -1))


@dataclass(frozen=True)
class Restless(Central):
    """Moves when there is nothing to learn."""

    def weigh(self, w: Weighing) -> Weighing:
        w = super().weigh(w)
        return replace(w, coefs=w.coefs + 1e-9)


@dataclass(frozen=True)
class Signed(Descent):
    """Fuses a step that is not its own."""

    def apply(self, p: Any, g: Any, stride: Any, vectors: Any) -> None:
        p -= stride.lr * np.sign(g)


BROKEN: dict[str, tuple[str, Callable[[], Method]]] = {
    "hidden state": ("1 replay", lambda: replace(mezo(lr=0.01), coefficients=Hidden())),
    "another direction": ("2 one direction", lambda: replace(mezo(lr=0.01), directions=Drifting("normal"))),
    "another rule": ("2 one direction", lambda: replace(mezo(lr=0.01), rule=Signed())),
    "chunk-dependent": ("4 address", lambda: replace(mezo(lr=0.01), directions=Chunky("normal"))),
    "slots share noise": ("4 address", lambda: replace(mezo(lr=0.01), directions=Slotless("normal"))),
    "uphill": ("5 exactness", lambda: replace(fzoo(lr=0.01), coefficients=Chain((Uphill(),)))),
    "not the mean": ("5 exactness", lambda: replace(mezo(n=2), coefficients=Chain((Central(), Doubled())))),
    "variance": ("6 moments", lambda: replace(fzoo(), directions=Wide("signs"))),
    "constant": ("6 moments", lambda: replace(two_point(), directions=Constantless())),
    "favourites": ("7 permutation of draws", lambda: replace(fzoo(), coefficients=Favourite())),
    "restless": ("8 degenerate equalities", lambda: replace(mezo(), coefficients=Restless())),
    "other edition": ("9 reference", lambda: mezo(lr=0.01, law="signs", n=2)),
    "no progress": ("10 known minima", lambda: replace(mezo(), rule=Descent(weight_decay=1e3))),
    "unknown trait": ("trait magic", lambda: replace(mezo(), claims=frozenset({"magic"}))),
    "untrue trait": ("trait scale-free", lambda: replace(mezo(), claims=frozenset({"scale-free"}))),
    "dropped trait": ("trait unbiased", lambda: replace(mezo(), claims=frozenset({"additive"}))),
    "not additive": (
        "trait additive",
        lambda: replace(mezo(lr=0.1, weight_decay=0.5), claims=frozenset({"additive", "unbiased"})),
    ),
}


@dataclass(frozen=True)
class Doubled:
    """A gain nobody asked for."""

    def weigh(self, w: Weighing) -> Weighing:
        return replace(w, coefs=2.0 * w.coefs)

    def observe(self, record: Record) -> None:
        """Stateless."""


@pytest.mark.parametrize("fault", list(BROKEN))
def test_broken_methods_fail_their_law(fault: str) -> None:
    law, make = BROKEN[fault]
    trial = Trial(functions.quadratic(3), 200, 0.01, (0.1,))
    pinned = {"unbiased"} if fault == "dropped trait" else None

    def another(f: Any, x0: np.ndarray, *, steps: int, **_: Any) -> np.ndarray:
        return np.tile(x0, (steps + 1, 1))

    report = check_method(
        make, functions=(trial,) if "minima" in law else (), traits=pinned,
        reference=another if "reference" in law else None,
    )  # fmt: skip
    assert law in {f.law for f in report.failed}, str(report)
    assert "failed" in str(report)


def test_a_crash_is_a_finding() -> None:
    report = check_method(lambda: replace(mezo(), coefficients=None), functions=())  # type: ignore[arg-type]
    assert any("AttributeError" in f.detail for f in report.failed)


# -- the functions ------------------------------------------------------------

PROBLEMS = [
    functions.quadratic(),
    functions.quadratic(7, 1e3),
    functions.rosenbrock(4),
    functions.rastrigin(3),
    functions.logistic(),
    functions.finite_sum(),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_minima_are_minima(problem: Problem) -> None:
    at = problem.argmin
    assert problem.value(at) == pytest.approx(problem.minimum, abs=1e-12)
    z = functions._normals("around", 50 * at.size).reshape(50, -1)
    for radius in (1e-4, 1e-2, 1.0):
        near = problem.f(at + radius * z)
        assert (near.reshape(50, -1).mean(axis=1) >= problem.minimum).all()
    assert problem.value(problem.x0) > problem.minimum


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_functions_are_vectorised_and_take_float32(problem: Problem) -> None:
    x = np.stack([problem.x0, problem.argmin, problem.x0 + 0.5])
    together, alone = problem.f(x), np.concatenate([problem.f(row[None]) for row in x])
    assert len(together) == 3
    np.testing.assert_allclose(together, alone, rtol=1e-13)
    assert problem.f(x.astype(np.float32)).dtype == np.float64


def test_noisy_is_driven_by_seed_and_call() -> None:
    f, x = functions.quadratic(3).f, np.zeros((1000, 3))
    a, b, c = noisy(f, 0.5, 1), noisy(f, 0.5, 1), noisy(f, 0.5, 2)
    first, second = a(x), a(x)
    assert (b(x) == first).all() and (b(x) == second).all()
    assert not (c(x) == first).any() and not (first == second).any()
    assert np.std(first - f(x)) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("name", list(SHELF))
def test_noise_does_not_stop_a_method(name: str) -> None:
    problem = ROWS[name].trials[0].problem  # a quadratic
    space = Flat(problem.x0.copy())
    method = replace(ROWS[name].make(), lr=0.01, eps=0.05, first=None)
    run = Run(space, method, Journal.create(None, {"key": 3}), horizon=1000)
    f = noisy(problem.f, 0.02)
    for _ in range(1000):
        run.step(objective(f))
    assert problem.value(space.x) < 0.1 * problem.value(problem.x0)


@pytest.mark.parametrize(
    "name", [n for n in SHELF if SHELF[n].make().first is None and n != "forward_gradient"]
)
def test_cards_name_the_bytes_a_step_takes(name: str) -> None:
    """`zoptim methods`: at the defaults, within a tenth; in formulas of n at theirs."""
    method = SHELF[name].make()
    journal = Journal.create(None, {"key": 3})
    run = Run(Flat(functions.quadratic(8).x0.copy()), method, journal, horizon=64)
    sizes = []
    for _ in range(36):
        before = journal.nbytes
        run.step(objective(functions.logistic(8).f))
        sizes.append(journal.nbytes - before)
    said = SHELF[name].journal.removesuffix(" B")
    if "n" in said:
        first, slope = said.removesuffix("n").split(" + ")
        said = str(float(first) + float(slope) * len(run.journal.records[-1].terms))
    assert np.mean(sizes[-2:]) == pytest.approx(float(said), rel=0.1)
