"""Methods that also take gradients: their reference editions, degenerate equalities, replay by re-execution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import torch
from torch import Tensor, nn

from zoptim import noise
from zoptim.drivers.hybrid import Hybrid, ReexecutionError, parts
from zoptim.engine import PoisonedRun, Run
from zoptim.journal import Journal, effective
from zoptim.method import Method
from zoptim.methods import mezo
from zoptim.methods.hybrid import addax, alternate, sam, split
from zoptim.objective import together
from zoptim.protocols import GRADIENT, Mix
from zoptim.spaces.module import Module

KEY, D = noise.key_from_seed(5), 12
SLOT = noise.slot_id("weight")


def table(what: int, *shape: int) -> np.ndarray:
    """Made-up normals, float64."""
    return noise.normals(7, 0, 0, what, 0, int(np.prod(shape))).astype(np.float64).reshape(shape)


X, Y = table(1, 20, D), table(2, 20)


def per_item(x: np.ndarray) -> np.ndarray:
    """(m, d) -> (m, 20) squared errors."""
    return (x @ X.T - Y) ** 2


def slope(x: np.ndarray) -> np.ndarray:
    return 2.0 / len(Y) * (X @ x - Y) @ X


class Line:
    """A linear model with its questions: a space, an objective, a differentiable loss of any step."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.model = nn.Linear(D, 1, bias=False).to(dtype).requires_grad_(False)
        self.model.weight.copy_(torch.from_numpy(table(3, 1, D)))
        self.x, self.y = torch.from_numpy(X).to(dtype), torch.from_numpy(Y).to(dtype)
        self.space = Module(self.model)

    def ask(self, view: Any) -> Any:
        return view.split((self.model(view.expand(self.x))[:, 0] - self.y.repeat(view.m)) ** 2)

    def loss(self) -> Tensor:
        return ((self.model(self.x)[:, 0] - self.y) ** 2).mean()

    def run(self, method: Method, journal: Journal | None = None, **how: Any) -> Hybrid:
        journal = journal or Journal.create(None, {"key": KEY})
        how = {"losses": lambda t: self.loss, "horizon": 8, **how}
        return Hybrid(self.space, method, journal, **how)

    @property
    def theta(self) -> np.ndarray:
        return self.model.weight.detach().numpy()[0].copy()


def path(method: Method, steps: int = 6, line: Line | None = None) -> np.ndarray:
    line = line or Line()
    run, seen = line.run(method), [line.theta]
    for _ in range(steps):
        assert run.step(line.ask).kind == "move"
        seen.append(line.theta)
    return np.stack(seen)


def edition(method: Method, steps: int = 6) -> np.ndarray:
    found: np.ndarray = reference.EDITIONS[method.name](
        per_item, table(3, D), key=KEY, slot=SLOT, steps=steps, horizon=8, gradient=slope, **method.arguments
    )
    return found


HYBRIDS = {
    "addax": addax(0.02, alpha=0.1),
    "addax, 3 draws": addax(0.02, alpha=0.5, n=3, law="signs", schedule="cosine"),
    "alternate": alternate(0.003, turns=2, ratio=10.0),
    "alternate, sgd": alternate(0.003, turns=1, ratio=7.0, rule="sgd", schedule="linear"),
    "sam": sam(0.02, rho=0.5),
    "sam, 3 draws": sam(0.02, rho=0.5, rule="sgd", n=3, law="signs"),
}


@pytest.mark.parametrize("name", list(HYBRIDS))
def test_it_takes_the_steps_of_its_edition(name: str) -> None:
    np.testing.assert_allclose(path(HYBRIDS[name]), edition(HYBRIDS[name]), rtol=1e-9, atol=1e-12)


# -- degenerate equalities ------------------------------------------------------------------------------------


def descent(steps: int = 6, lr: float = 0.02) -> np.ndarray:
    """torch's own SGD."""
    line = Line()
    line.model.requires_grad_(True)
    sgd, seen = torch.optim.SGD(line.model.parameters(), lr=lr), [line.theta]
    for _ in range(steps):
        sgd.zero_grad()
        line.loss().backward()
        sgd.step()
        seen.append(line.theta)
    return np.stack(seen)


def probed(method: Method, steps: int = 6) -> np.ndarray:
    line = Line()
    run = Run(line.space, method, Journal.create(None, {"key": KEY}), horizon=8)
    seen = [line.theta]
    for _ in range(steps):
        run.step(line.ask)
        seen.append(line.theta)
    return np.stack(seen)


def test_all_probes_is_mezo_bitwise() -> None:
    assert (path(addax(0.02, alpha=1.0)) == probed(mezo(0.02))).all()


def test_no_probes_is_gradient_descent() -> None:
    """To a rounding: torch fuses the product with lr into the sum."""
    np.testing.assert_allclose(path(addax(0.02, alpha=0.0)), descent(), rtol=1e-13)


def adam(steps: int, lr: float) -> np.ndarray:
    line = Line()
    line.model.requires_grad_(True)
    rule, seen = torch.optim.Adam(line.model.parameters(), lr=lr), [line.theta]
    for _ in range(steps):
        rule.zero_grad()
        line.loss().backward()
        rule.step()
        seen.append(line.theta)
    return np.stack(seen)


def test_no_ascent_is_the_rule_alone() -> None:
    """rho = 0: nothing is probed, and the steps are torch's, to rounding."""
    np.testing.assert_allclose(path(sam(0.02, rho=0.0, rule="sgd")), descent(), rtol=1e-13)
    np.testing.assert_allclose(path(sam(0.02, rho=0.0)), adam(6, 0.02), rtol=1e-9)
    line = Line()
    record = line.run(sam(0.02, rho=0.0)).step(line.ask)
    assert record.terms == ((GRADIENT, 1.0),) and len(record.losses) == 1


def test_rounds_take_turns_and_end_with_probes() -> None:
    line = Line()
    run = line.run(alternate(0.003, turns=2), horizon=7)
    kinds = [any(z == GRADIENT for z, _ in run.step(line.ask).terms) for _ in range(7)]
    assert kinds == [True, True, False, False, True, False, False]
    asked = [len(r.losses) for r in run.journal.records]
    assert asked == [1, 1, 2, 2, 1, 2, 2]


# -- the layer split ------------------------------------------------------------------------------------------

WIDE = 3


class Two(Line):
    """Two linear layers, three units between them."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(D, WIDE, bias=False), nn.Linear(WIDE, 1, bias=False))
        self.model.double().requires_grad_(False)
        for p, values in zip(self.model.parameters(), (table(4, WIDE, D), table(5, 1, WIDE)), strict=True):
            p.copy_(torch.from_numpy(values))
        self.x, self.y = torch.from_numpy(X), torch.from_numpy(Y)
        self.space = Module(self.model)

    @property
    def theta(self) -> np.ndarray:
        return np.concatenate([p.detach().numpy().ravel().copy() for p in self.model.parameters()])


def two(x: np.ndarray) -> np.ndarray:
    """(m, 3 d + 3) -> (m, 20) squared errors."""
    up, down = x[:, : WIDE * D].reshape(-1, WIDE, D), x[:, WIDE * D :]
    return (np.einsum("mwd,id,mw->mi", up, X, down) - Y) ** 2


def deep_slope(x: np.ndarray) -> np.ndarray:
    hidden = X @ x[: WIDE * D].reshape(WIDE, D).T
    return 2.0 / len(Y) * (hidden @ x[WIDE * D :] - Y) @ hidden


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_the_split_takes_the_steps_of_its_edition(rule: str) -> None:
    method = split(1e-4, ratio=5.0, rule=rule)
    model = Two()
    found = path(method, line=model)
    wanted = reference.EDITIONS["split"](
        two, found[0], key=KEY, slot=noise.slot_id("0.weight"), steps=6, horizon=8, gradient=deep_slope,
        **method.arguments,
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert not model.model[0].weight.requires_grad


def test_a_split_needs_both_parts() -> None:
    with pytest.raises(ValueError, match="blocks=2 leaves probes nothing"):
        Two().run(split(blocks=2))
    with pytest.raises(ValueError, match="blocks=1 leaves probes nothing"):
        Line().run(split())


def test_parts_follow_the_order_of_the_module() -> None:
    """Embeddings come before the first block; a norm after the last belongs to it."""
    model = nn.ModuleDict(
        {
            "embed": nn.Embedding(3, 2),
            "layers": nn.ModuleList(nn.Linear(2, 2) for _ in range(3)),
            "norm": nn.LayerNorm(2),
        }
    )
    deep, shallow = ({s.name for s in part.slots()} for part in parts(Module(model), 2))
    assert shallow == {"embed.weight", "layers.0.weight", "layers.0.bias"}
    assert deep == {f"layers.{i}.{n}" for i in (1, 2) for n in ("weight", "bias")} | {
        "norm.weight",
        "norm.bias",
    }


# -- one direction --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_applied_is_what_was_probed(dtype: torch.dtype) -> None:
    """Law 2 of the pairs: the step is the gradient's share, then the very sum that a visit adds."""
    line = Line(dtype)
    run = line.run(addax(0.02, alpha=0.5))
    for _ in range(3):
        before = line.model.weight.clone()
        record = run.step(line.ask)
        after = line.model.weight.clone()
        leaf = before.clone().requires_grad_(True)
        loss = ((torch.func.functional_call(line.model, {"weight": leaf}, line.x)[:, 0] - line.y) ** 2).mean()
        (g,) = torch.autograd.grad(loss, leaf)
        half_way = before - (0.5 * g) * 0.02
        pairs = [term for term in record.terms if term[0] != GRADIENT]
        total = torch.empty_like(before)
        run.method.directions.form(total[None], run.slots[0], slice(0, 1), Mix.of(pairs), None, run.state)
        assert len(pairs) == 1 and torch.equal(after, half_way - total * 0.02)


# -- replay by re-execution -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(HYBRIDS))
def test_opening_a_journal_takes_its_steps_again(name: str) -> None:
    line = Line()
    run = line.run(HYBRIDS[name])
    records = [run.step(line.ask) for _ in range(5)]
    other = Line()
    other.ask = None  # type: ignore[assignment]  # probes are in the records
    again = other.run(HYBRIDS[name], Journal(None, run.journal.dump()))
    assert (other.theta == line.theta).all() and again.t == run.t and again.done == 5
    assert again.step(line_ask(other)) == run.step(line.ask)
    assert (other.theta == line.theta).all() and list(again.journal.records)[:5] == records


def line_ask(line: Line) -> Any:
    return lambda view: Line.ask(line, view)


def test_undo_and_earlier_steps_are_exact() -> None:
    line = Line()
    run = line.run(addax(0.02, alpha=0.3))
    seen = [line.theta]
    for _ in range(5):
        run.step(line.ask)
        seen.append(line.theta)
    for until in range(6):
        at = Line()
        opened = at.run(addax(0.02, alpha=0.3), Journal(None, run.journal.dump()), until=until)
        assert (at.theta == seen[until]).all() and opened.read_only
    run.undo(2)
    with pytest.raises(PoisonedRun):
        run.step(line.ask)
    back = Line()
    back.run(addax(0.02, alpha=0.3), Journal(None, run.journal.dump()))
    assert (back.theta == seen[3]).all() and len(effective(run.journal.records)) == 3


def test_other_data_is_noticed() -> None:
    line = Line()
    run = line.run(addax(0.02, alpha=0.3))
    for _ in range(3):
        run.step(line.ask)
    other = Line()
    other.y = other.y + 1e-9
    with pytest.raises(ReexecutionError, match="step 0 taken again"):
        other.run(addax(0.02, alpha=0.3), Journal(None, run.journal.dump()))


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    line, before = Line(), Line().theta
    run = line.run(addax(0.02), losses=lambda t: lambda: line.loss() * float("nan"))
    record = run.step(line.ask)
    assert record.kind == "skip" and "non-finite" in record.reason and (line.theta == before).all()
    assert run.t == 1


def test_the_record_comes_before_the_backward() -> None:
    """A kill inside the backward loses nothing: the journal holds the step, opening takes it."""
    line = Line()
    run = line.run(addax(0.02, alpha=0.3))
    run.step(line.ask)

    def killed(*a: Any) -> None:
        raise KeyboardInterrupt

    run._back = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.step(line.ask)
    with pytest.raises(PoisonedRun):
        run.step(line.ask)
    again, whole = Line(), Line()
    again.run(addax(0.02, alpha=0.3), Journal(None, run.journal.dump()))
    other = whole.run(addax(0.02, alpha=0.3))
    for _ in range(2):
        other.step(whole.ask)
    assert (again.theta == whole.theta).all()


def test_gradients_leave_no_trace() -> None:
    line = Line()
    run = line.run(addax(0.02, alpha=0.3))
    run.step(line.ask)
    weight = line.model.weight
    assert weight.grad is None and not weight.requires_grad and not weight._backward_hooks


# -- refusals -------------------------------------------------------------------------------------------------


def test_a_plain_run_refuses_gradients() -> None:
    with pytest.raises(ValueError, match=r"drivers\.hybrid"):
        Run(Line().space, addax(), Journal.create(None, {"key": KEY}))
    with pytest.raises(ValueError, match="takes no gradients"):
        Line().run(mezo())


def test_a_loss_without_a_graph_is_refused() -> None:
    line = Line()
    run = line.run(addax(), losses=lambda t: lambda: line.loss().detach())
    with pytest.raises(TypeError, match="no gradient reaches"):
        run.step(line.ask)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (addax, {"alpha": 1.5}), (addax, {"alpha": -0.1}), (addax, {"threshold": -1}), (addax, {"batch1": 0.5}),
        (split, {"blocks": 0}), (split, {"ratio": 0.0}), (alternate, {"turns": 0}), (alternate, {"rule": "adamw"}),
        (sam, {"rho": -1.0}), (sam, {"rule": "sdg"}),
    ],
)  # fmt: skip
def test_settings_out_of_range(make: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        make(**settings)


# -- two data streams -----------------------------------------------------------------------------------------


def test_two_streams_are_asked_at_the_same_points() -> None:
    line = Line()
    half = [slice(0, 8), slice(8, 20)]

    def stream(rows: slice) -> Any:
        return lambda view: view.split(
            (line.model(view.expand(line.x[rows]))[:, 0] - line.y[rows].repeat(view.m)) ** 2
        )

    record = Run(line.space, mezo(0.01), Journal.create(None, {"key": KEY})).step(
        together((-1.0, stream(half[0])), (0.5, stream(half[1])))
    )
    parts_ = []
    for rows in half:
        alone = Line()
        run = Run(alone.space, mezo(0.01), Journal.create(None, {"key": KEY}))
        ask = lambda view, rows=rows, alone=alone: view.split(  # noqa: E731
            (alone.model(view.expand(alone.x[rows]))[:, 0] - alone.y[rows].repeat(view.m)) ** 2
        )
        parts_.append(np.array(run.step(ask).losses))
    np.testing.assert_allclose(record.losses, -parts_[0] + 0.5 * parts_[1], rtol=1e-12)
