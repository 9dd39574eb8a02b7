"""The torch.optim-shaped door: equal to the engine, honest about checkpoints, whole after every accident."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoptim.doors.optimizer import Optimizer
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import fzoo, mezo
from zoptim.methods.hybrid import addax, alternate, forward_gradient, sam, split
from zoptim.noise import key_from_seed
from zoptim.spaces.module import Module

X = torch.linspace(-1, 1, 24).reshape(6, 4)
Y = X.sum(1, keepdim=True)


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1))


def closure_of(model: nn.Module):
    return lambda: (model(X) - Y).square().mean()


def bits(model: nn.Module) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_equals_the_engine() -> None:
    a, b = network(), network()
    optimizer = Optimizer(a, mezo(lr=1e-2), seed=3)
    space = Module(b, points_per_pass=1)
    run = Run(space, mezo(lr=1e-2), Journal.create(None, {"key": key_from_seed(3)}))
    for _ in range(5):
        loss = optimizer.step(closure_of(a))
        record = run.step(lambda view: (b(X) - Y).square().mean()[None])
        assert float(loss) == np.mean(record.losses)
    assert bits(a) == bits(b)
    assert optimizer.t == run.t == 5


@pytest.mark.parametrize("items", [False, True])
def test_lockstep_is_one_by_one(items: bool) -> None:
    a, b = network(), network()
    one = Optimizer(a, fzoo(lr=1e-2, schedule="constant"))
    all_at_once = Optimizer(b, fzoo(lr=1e-2, schedule="constant"))

    def plain() -> Tensor:
        losses = (a(X) - Y).square()[:, 0]
        return losses if items else losses.mean()

    def closure(view) -> Tensor:
        losses = view.split((b(view.expand(X)) - view.expand(Y)).square()[:, 0])
        return losses if items else losses.mean(1)

    for _ in range(3):
        one.step(plain)
        all_at_once.step(closure)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


def test_it_learns() -> None:
    model = network()
    optimizer = Optimizer(model, fzoo(lr=2e-2), horizon=150)
    before = closure_of(model)().item()
    for _ in range(150):
        optimizer.zero_grad()
        optimizer.step(closure_of(model))
    assert closure_of(model)().item() < 0.2 * before


def test_lr_scheduler_is_obeyed_and_recorded() -> None:
    model = network()
    optimizer = Optimizer(model, mezo(lr=1e-2))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for _ in range(3):
        optimizer.step(closure_of(model))
        scheduler.step()
    assert [r.lr for r in optimizer.run.journal.records] == [1e-2, 5e-3, 2.5e-3]
    again = Optimizer(network(), mezo(lr=1e-2))
    again.load_state_dict(through_a_file(optimizer.state_dict()))
    assert again.param_groups[0]["lr"] == 1.25e-3
    assert bits(again.model) == bits(model)


@pytest.mark.parametrize("weights", ["initial", "trained"])
def test_checkpoint_goes_on_bit_for_bit(weights: str) -> None:
    model = network()
    optimizer = Optimizer(model, fzoo(lr=1e-2), horizon=8, seed=1)
    for _ in range(4):
        optimizer.step(closure_of(model))
    state = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    halfway = bits(model)
    for _ in range(4):
        optimizer.step(closure_of(model))
    other = network()
    if weights == "trained":
        other.load_state_dict(state["model"])
    resumed = Optimizer(other, fzoo(lr=1e-2), horizon=8, seed=99)  # the key is the checkpoint's
    resumed.load_state_dict(state["optimizer"])
    assert bits(other) == halfway
    assert resumed.t == 4
    other.load_state_dict(state["model"])  # in the other order: changes nothing
    for _ in range(4):
        resumed.step(closure_of(other))
    assert bits(other) == bits(model)
    assert resumed.run.journal.dump() == optimizer.run.journal.dump()


def test_other_weights_are_refused_untouched() -> None:
    model = network()
    optimizer = Optimizer(model, mezo(lr=1e-2))
    optimizer.step(closure_of(model))
    other = network()
    with torch.no_grad():
        other[0].bias.add_(1)
    resumed = Optimizer(other, mezo(lr=1e-2))
    before = bits(other)
    with pytest.raises(ValueError, match="neither those after step 1"):
        resumed.load_state_dict(optimizer.state_dict())
    assert bits(other) == before
    assert resumed.t == 0
    resumed.step(closure_of(other))


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (fzoo(schedule="constant"), None, "steps of 'mezo'"),
        (mezo(eps=1e-2), None, "eps=0.001"),
        (mezo(), "0.*", "other parameters"),
    ],
)
def test_a_state_of_something_else(method, params, message: str) -> None:
    state = Optimizer(network(), mezo()).state_dict()
    with pytest.raises(ValueError, match=message):
        Optimizer(network(), method, params=params).load_state_dict(state)


def test_a_damaged_state_is_refused() -> None:
    model = network()
    optimizer = Optimizer(model, mezo())
    optimizer.step(closure_of(model))
    for spoil in ({"t": 2}, {"format": 9}):
        with pytest.raises(ValueError, match="state_dict"):
            optimizer.load_state_dict({**optimizer.state_dict(), **spoil})
    state = optimizer.state_dict()
    state["journal"][-20] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        optimizer.load_state_dict(state)


def test_journal_file_resumes(tmp_path) -> None:
    path = tmp_path / "steps.zoj"
    model = network()
    with Optimizer(model, mezo(lr=1e-2), journal=path) as optimizer:
        for _ in range(3):
            optimizer.step(closure_of(model))
        state = through_a_file(optimizer.state_dict())
    other = network()
    with Optimizer(other, mezo(lr=1e-2), journal=path) as resumed:
        assert bits(other) == bits(model)
        assert resumed.t == 3
    with pytest.raises(ValueError, match="began with other weights"):
        Optimizer(other, mezo(lr=1e-2), journal=path)
    fresh = network()
    with Optimizer(fresh, mezo(lr=1e-2), journal=tmp_path / "new.zoj") as loaded:
        loaded.load_state_dict(state)
        loaded.step(closure_of(fresh))
        with pytest.raises(ValueError, match="holds 4 steps"):
            fresh.load_state_dict(network().state_dict())
            loaded.load_state_dict(state)
    assert len(Journal.read(tmp_path / "new.zoj").records) == 4


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_accident_in_the_closure_leaves_the_weights(error: type[BaseException], at: int) -> None:
    model = network()
    reference = network()
    optimizer, untroubled = Optimizer(model, mezo(lr=1e-2)), Optimizer(reference, mezo(lr=1e-2))
    before, calls = bits(model), 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        loss = closure_of(model)()
        if calls == at + 1:
            raise error("accident")
        return loss

    with pytest.raises(error, match="accident"):
        optimizer.step(closure)
    assert bits(model) == before
    assert optimizer.t == 0
    optimizer.step(closure_of(model))
    untroubled.step(closure_of(reference))
    assert bits(model) == bits(reference)


def test_non_finite_loss_is_a_skip() -> None:
    model = network()
    optimizer = Optimizer(model, mezo())
    before = bits(model)
    assert torch.isnan(optimizer.step(lambda: closure_of(model)() * float("nan")))
    assert bits(model) == before
    assert optimizer.run.journal.records[0].kind == "skip"


class Direct(nn.Module):
    """Reads a parameter of a module whose forward it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.inner.weight * 2, self.inner.bias)


def test_parameters_read_directly_are_moved_too() -> None:
    torch.manual_seed(0)
    model = Direct()
    optimizer = Optimizer(model, mezo(lr=1e-2))
    optimizer.step(closure_of(model))
    low, high = sorted(optimizer.run.journal.records[0].losses)
    assert low < high


def test_what_is_trained() -> None:
    model = network()
    assert len(Optimizer(model, mezo(), params=["0.*", "3.bias"]).space.slots()) == 3
    model[0].requires_grad_(False)
    assert len(Optimizer(model, mezo()).space.slots()) == 4
    with pytest.raises(ValueError, match=r"'3\.wieght' matches no parameter; there is '3\.weight'"):
        Optimizer(model, mezo(), params="3.wieght")
    with pytest.raises(TypeError, match="names or patterns"):
        Optimizer(model, mezo(), params=model.parameters())


def test_errors_say_what_to_do() -> None:
    model = network()
    with pytest.raises(ValueError, match="horizon=STEPS"):
        Optimizer(model, fzoo())
    with pytest.raises(TypeError, match=r"zoptim\.mezo"):
        Optimizer(model, 1e-3)
    optimizer = Optimizer(model, mezo())
    with pytest.raises(TypeError, match="give a function"):
        optimizer.step()
    with pytest.raises(ValueError, match="one loss an item"):
        optimizer.step(lambda: model(X))
    with pytest.raises(ValueError, match=r"view\.split"):
        optimizer.step(lambda view: model(view.expand(X)))
    with pytest.raises(TypeError, match="return the loss"):
        optimizer.step(lambda: None)
    with pytest.raises(ValueError, match="all parameters at once"):
        optimizer.add_param_group({"params": []})
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        optimizer.step(closure_of(model))
    assert optimizer.t == 0
    assert repr(Optimizer(network(), mezo())) == (
        "zoptim.Optimizer(mezo, lr=1e-06, eps=0.001: 6 tensors, 65 weights, step 0)"
    )


# -- methods that also take gradients ------------------------------------------------------------------------


def hybrid_loop(method: Any, steps: int, **how: Any) -> tuple[Any, list[float]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.linspace(-1, 1, 60).view(20, 3)
    y = (x**2).sum(1, keepdim=True)
    optimizer = Optimizer(model, method, **how)
    losses = [float(optimizer.step(lambda: ((model(x) - y) ** 2).mean())) for _ in range(steps)]
    return optimizer, losses


@pytest.mark.parametrize(
    "method",
    [
        addax(0.1, alpha=0.01),
        split(1e-3, ratio=100.0),
        alternate(1e-3, turns=3),
        sam(0.02),
    ],
    ids=lambda m: m.name,
)
def test_methods_with_gradients_learn(method: Any) -> None:
    optimizer, losses = hybrid_loop(method, 40)
    assert losses[-1] < 0.5 * losses[0] and optimizer.t == 40
    assert all(p.grad is None for p in optimizer.model.parameters())


def test_both_kinds_of_closures_agree_on_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    other = copy.deepcopy(model)
    x, y = torch.linspace(-1, 1, 60).view(20, 3), torch.linspace(0, 1, 20)
    one = Optimizer(model, addax(0.1, alpha=0.1))
    two = Optimizer(other, addax(0.1, alpha=0.1))
    for _ in range(3):
        one.step(lambda: ((model(x)[:, 0] - y) ** 2).mean())
        two.step(lambda view: view.split((other(view.expand(x))[:, 0] - view.expand(y)) ** 2))
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_checkpoints_with_gradients(tmp_path: Path) -> None:
    method = addax(0.1, alpha=0.01)
    whole, losses = hybrid_loop(method, 6)
    part, _ = hybrid_loop(method, 3)
    state, weights = part.state_dict(), copy.deepcopy(part.model.state_dict())
    again, _ = hybrid_loop(method, 0)
    with pytest.raises(ValueError, match="cannot be replayed"):
        again.load_state_dict(state)
    again.model.load_state_dict(weights)
    again.load_state_dict(state)
    model, x = again.model, torch.linspace(-1, 1, 60).view(20, 3)
    y = (x**2).sum(1, keepdim=True)
    more = [float(again.step(lambda: ((model(x) - y) ** 2).mean())) for _ in range(3)]
    assert more == losses[3:] and again.digest() == whole.digest()
    adam, _ = hybrid_loop(sam(0.02), 2)
    with pytest.raises(ValueError, match="cannot be continued here"):
        adam.load_state_dict(adam.state_dict())


@pytest.mark.parametrize("lockstep", [False, True])
def test_forward_gradients_learn(lockstep: bool) -> None:
    model = network()
    optimizer = Optimizer(model, forward_gradient(0.02, n=4))

    def together(view: Any) -> Tensor:
        return view.split((model(view.expand(X)) - view.expand(Y)).square().mean(1))

    closure = together if lockstep else closure_of(model)
    losses = [float(closure_of(model)().detach()) for _ in range(60) if [optimizer.step(closure)]]
    assert losses[-1] < 0.3 * losses[0]
    assert all(len(r.losses) == 5 and len(r.terms) == 4 for r in optimizer.run.journal.records)


@pytest.mark.parametrize("name", ["grzo", "mezo_svrg"])
def test_a_closure_answers_for_its_one_batch_only(name: str) -> None:
    from zoptim.methods import build

    with pytest.raises(ValueError, match=f"method={name}: it asks single examples or several batches"):
        Optimizer(network(), build(name, {"lr": 1e-3}))
