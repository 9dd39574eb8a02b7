"""Slopes along draws: equal to gradients times directions, nothing moved, refused where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoptim.directions import Dense
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods.hybrid import forward_gradient
from zoptim.protocols import BATCH, Draw, Mix, Point
from zoptim.spaces import Flat
from zoptim.spaces.module import Module

SLOPE = Point(((Draw(0, 0), 2.0), (Draw(0, 1), -0.5)), BATCH, 1)


class Attends(nn.Module):
    """Embedding, fused attention, a tied head, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.norm = nn.Embedding(11, 8), nn.Linear(8, 24), nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        q, k, v = self.mix(self.embed(ids)).chunk(3, -1)
        return self.head(self.norm(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_slope_is_the_gradient_times_the_sum(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    model, ids = Attends().to(dtype), torch.arange(12).view(3, 4) % 11
    space, directions = Module(model), Dense("normal")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    weights = np.array([1.0, 2.0, 0.5])

    def losses(logits: torch.Tensor) -> torch.Tensor:
        return -torch.log_softmax(logits, -1)[:, :, 3].mean(1)

    with space.visit([SLOPE], directions, 5) as view:
        (slope,) = view.slopes(lambda view: (losses(model(view.expand(ids)))[None], weights))
    w = torch.from_numpy(weights).to(dtype)
    (w @ losses(model(ids)) / w.sum()).backward()
    wanted = 0.0
    for slot in space.slots():
        p = space.parameter(slot)
        out = torch.empty(1, p.shape[0], p.numel() // p.shape[0], dtype=dtype)
        directions.form(out, slot, slice(0, p.shape[0]), Mix.of(SLOPE.terms), None, 5)
        assert p.grad is not None
        wanted += float((out[0].reshape(p.shape) * p.grad).sum())
    assert slope == pytest.approx(wanted, rel=1e-4 if dtype == torch.float32 else 1e-12)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert isinstance(model.embed.weight, nn.Parameter) and model.head.weight is model.embed.weight


def test_what_has_no_slope_is_refused() -> None:
    model = nn.Linear(3, 2)
    run = Run(Module(model), forward_gradient(), Journal.create(None, {"key": 1}))
    x = torch.ones(4, 3)
    before = model.weight.clone()

    def numbers(view: Any) -> Any:
        return view.split(model(view.expand(x)).mean(1)).numpy()

    with pytest.raises(TypeError, match="differentiable objective"):
        run.step(numbers)
    flat = Run(Flat(np.ones(3)), forward_gradient(), Journal.create(None, {"key": 1}))
    with pytest.raises(TypeError, match="slopes"):
        flat.step(lambda view: view.x.sum(1))
    assert torch.equal(model.weight, before) and isinstance(model.weight, nn.Parameter)
    assert not run.journal.records and not flat.journal.records


def test_a_function_may_offer_its_slopes() -> None:
    def f(view: Any) -> np.ndarray:
        return np.asarray((view.x**2).sum(1))

    f.slopes = lambda view: (2 * view.x * view.z).sum(1)  # type: ignore[attr-defined]
    space = Flat(np.ones(3))
    run = Run(space, forward_gradient(0.05, n=2), Journal.create(None, {"key": 1}))
    for _ in range(80):
        run.step(f)
    assert (space.x**2).sum() < 1e-3
