"""A layer without derivatives: right in the mean, paid for only where asked, the same for the same seed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoptim
from zoptim import noise
from zoptim.doors.blackbox_layer import SLOT
from zoptim.testing.subjects import made_up


def tensor(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(made_up(name, *shape).copy())


class Counting:
    """A linear function in numpy that knows how often it was called."""

    def __init__(self, rows: int = 3, cols: int = 5) -> None:
        self.w, self.calls = made_up("W", rows, cols), 0

    def __call__(self, x: Tensor) -> np.ndarray:
        self.calls += 1
        return np.asarray(x.numpy() @ self.w.T)


def backward(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    layer(x).backward(g)
    assert x.grad is not None
    return x.grad


def test_the_mean_is_the_transposed_jacobian_times_the_gradient() -> None:
    f = Counting()
    layer = zoptim.blackbox_layer(f, n=2, seed=3)
    x, g = tensor("x", 4, 5), tensor("g", 4, 3)
    found = torch.stack([backward(layer, x, g) for _ in range(2000)])
    exact = g @ torch.from_numpy(f.w)
    off = (found.mean(0) - exact).abs() / (found.std(0) / len(found) ** 0.5)
    assert off.max() < 5
    second = (found**2).sum(2).mean(0) / (exact**2).sum(1)
    np.testing.assert_allclose(second, (5 + 2 - 1) / 2, rtol=0.1)  # (d + n - 1) / n, signs


def test_the_estimate_by_hand() -> None:
    layer = zoptim.blackbox_layer(lambda x: torch.exp(x).numpy(), eps=0.1, n=2, seed=5)
    x, g = tensor("x", 2, 3), tensor("g", 2, 3)
    backward(layer, x, g)
    found = backward(layer, x, g)  # the second call: t = 1
    expected = np.zeros((2, 3))
    for i in range(2):
        z = noise.signs(noise.key_from_seed(5), 1, i, SLOT, 0, 6).reshape(2, 3).astype(np.float64)
        slope = (np.exp(x.numpy() + 0.1 * z) - np.exp(x.numpy() - 0.1 * z)) / 0.2
        expected += (g.numpy() * slope).sum(1, keepdims=True) * z / 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_calls_are_those_promised() -> None:
    f = Counting()
    layer = zoptim.blackbox_layer(f, n=4, seed=0)
    x = tensor("x", 2, 5)
    with torch.no_grad():
        layer(x.clone().requires_grad_())
    layer(x)  # nothing before it learns
    assert (f.calls, layer.calls) == (2, 0)
    y = layer(x.requires_grad_())
    assert (f.calls, layer.calls, y.requires_grad) == (3, 1, True)
    y.sum().backward()
    assert f.calls == 3 + 8


def test_the_same_seed_and_call_give_the_same_bits() -> None:
    x, g = tensor("x", 2, 5), tensor("g", 2, 3)
    a, b, c = (zoptim.blackbox_layer(Counting(), seed=s) for s in (1, 1, 2))
    first = backward(a, x, g)
    with torch.no_grad():
        b(x)  # evaluation uses up no noise
    assert torch.equal(first, backward(b, x, g))
    assert not torch.equal(first, backward(c, x, g))
    second = backward(a, x, g)
    assert not torch.equal(first, second)
    resumed = zoptim.blackbox_layer(Counting(), seed=1)
    saved = copy.deepcopy(b.state_dict())
    resumed.load_state_dict(saved)
    assert torch.equal(second, backward(resumed, x, g))


def test_a_graph_that_is_kept_gives_its_gradient_twice() -> None:
    layer = zoptim.blackbox_layer(Counting(), seed=1)
    x = tensor("x", 2, 5).requires_grad_()
    y = layer(x).sum()
    layer(x)  # another call in between
    once, twice = (torch.autograd.grad(y, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, twice)


def test_rows_learn_from_their_own_answers_only() -> None:
    layer = zoptim.blackbox_layer(Counting(), seed=1)
    g = tensor("g", 3, 3)
    g[1] = 0.0
    found = backward(layer, tensor("x", 3, 5), g)
    assert (found[1] == 0).all() and (found[[0, 2]] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_come_in_the_inputs_dtype_and_any_shape(dtype: torch.dtype) -> None:
    layer = zoptim.blackbox_layer(lambda x: x.double().numpy().sum(1), n=1, eps=0.5, seed=0)
    x = tensor("x", 4, 1).to(dtype).requires_grad_()
    y = layer(x)
    assert (y.dtype, tuple(y.shape)) == (dtype, (4,))
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.ones((4, 1)), rtol=1e-6)  # type: ignore[arg-type]  # d = 1: exact


def test_an_empty_batch_is_a_batch() -> None:
    x = torch.zeros(0, 5, requires_grad=True, dtype=torch.float64)
    zoptim.blackbox_layer(Counting(), seed=0)(x).sum().backward()
    assert x.grad is not None and x.grad.shape == (0, 5)


def test_a_transposed_input_is_read_row_by_row() -> None:
    g, x = tensor("g", 4, 3), tensor("x", 5, 4)
    a, b = (zoptim.blackbox_layer(Counting(), seed=1) for _ in range(2))
    assert torch.equal(backward(a, x.T.contiguous(), g), backward(b, x.T, g))


def test_what_f_keeps_or_returns_is_its_own() -> None:
    """The identity returns x itself: the layer's output must be another tensor, and outside f's graph."""
    layer = zoptim.blackbox_layer(lambda x: x, n=1, seed=0)
    x = torch.zeros(2, 1, requires_grad=True)
    y = layer(x * 1.0)
    y.add_(1.0)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.ones((2, 1)), rtol=1e-5)  # type: ignore[arg-type]
    assert (layer(x.detach()) == 0).all()


def test_a_net_learns_through_rounding_in_numpy() -> None:
    """Rounding's derivative is 0 wherever it has one: without the layer nothing in front of it would learn."""

    def steps(x: Tensor) -> np.ndarray:
        return np.round(2.0 * np.tanh(x.numpy())) / 2.0

    x, truth = tensor("inputs", 256, 4), tensor("truth", 4, 2)
    target = torch.from_numpy(steps(x @ truth))
    body, head = nn.Linear(4, 2).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        body.weight.copy_(0.1 * tensor("body", 2, 4))
        head.weight.copy_(torch.eye(2))
        body.bias.zero_()
        head.bias.zero_()
    net = nn.Sequential(body, zoptim.blackbox_layer(steps, eps=0.3, n=4, seed=0), head)

    def loss() -> Tensor:
        return (net(x) - target).square().mean()

    start = loss().item()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.05 * start  # the head alone: 0.87


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"eps": 0.0}, "eps=0.0"), ({"eps": True}, "eps=True"), ({"n": 0}, "n=0"), ({"n": 2.0}, "n=2.0"), ({"seed": -1}, "seed=-1")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        zoptim.blackbox_layer(Counting(), **{"seed": 0, **settings})


def test_other_shapes_dtypes_and_functions_are_refused() -> None:
    layer = zoptim.blackbox_layer(Counting(), seed=0)
    with pytest.raises(ValueError, match=r"float32 or float64.*x\.float"):
        layer(torch.zeros(2, 5, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        layer(torch.zeros(5))
    with pytest.raises(ValueError, match="a row for each"):
        zoptim.blackbox_layer(lambda x: x.sum(), seed=0)(torch.zeros(2, 5))
    with pytest.raises(TypeError, match="f=3"):
        zoptim.blackbox_layer(3, seed=0)  # type: ignore[arg-type]


def test_no_gradient_of_the_estimate() -> None:
    x = tensor("x", 2, 5).requires_grad_()
    (g,) = torch.autograd.grad(
        zoptim.blackbox_layer(Counting(), seed=0)(x).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@pytest.mark.parametrize(("seeds", "unbiased"), [((0, 1), True), ((0, 0), False)])
def test_two_layers_need_two_seeds(seeds: tuple[int, int], unbiased: bool) -> None:
    first, second = Counting(5, 5), Counting(3, 5)
    net = nn.Sequential(
        *(zoptim.blackbox_layer(f, n=1, seed=s) for f, s in zip((first, second), seeds, strict=True))
    )
    x, g = tensor("x", 1, 5), tensor("g", 1, 3)
    found = torch.stack([backward(net, x, g) for _ in range(3000)])
    exact = g @ torch.from_numpy(second.w @ first.w)
    off = (found.mean(0) - exact).abs() / (found.std(0) / len(found) ** 0.5)
    assert (off.max() < 5) == unbiased
