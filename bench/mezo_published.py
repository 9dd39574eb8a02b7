"""MeZO the way it was published, written plainly, to be measured beside; not part of the package.

    reseed; theta = theta + eps z;  L1;   reseed; theta = theta - 2 eps z;  L2
    reseed; theta = theta + eps z;        reseed; theta = theta - lr c z,   c = (L1 - L2) / (2 eps)

One global generator reseeded before each of the four sweeps, one normal draw a tensor in the tensor's own
dtype, every tensor replaced by a new one, weight decay 0, all logits of all positions.  arXiv 2305.17333.

Cost: 2 forwards, 4 sweeps over the weights, 4 normals a weight; memory of three copies of the largest tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class PublishedMeZO:
    """The four sweeps; `seed` starts the generator the step seeds come from."""

    def __init__(self, model: Any, lr: float, eps: float, seed: int = 0) -> None:
        self.model, self.lr, self.eps = model.eval(), lr, eps
        self.seeds = np.random.default_rng(seed)
        self.weights = [p for _, p in model.named_parameters()]

    def sweep(self, seed: int, factor: float) -> None:
        """theta = theta + factor * z * eps, tensor by tensor."""
        torch.manual_seed(seed)
        for p in self.weights:
            z = torch.normal(mean=0, std=1, size=p.data.size(), device=p.data.device, dtype=p.data.dtype)
            p.data = p.data + factor * z * self.eps

    def update(self, seed: int, c: float) -> None:
        """theta = theta - lr * (c * z)."""
        torch.manual_seed(seed)
        for p in self.weights:
            z = torch.normal(mean=0, std=1, size=p.data.size(), device=p.data.device, dtype=p.data.dtype)
            p.data = p.data - self.lr * (c * z)

    def loss(self, ids: Tensor) -> float:
        """Mean loss of the next token, all logits computed."""
        with torch.inference_mode():
            return float(self.model(input_ids=ids, labels=ids, use_cache=False).loss.item())

    def step(self, ids: Tensor) -> float:
        """One step; the loss at theta + eps z, which is what is logged."""
        seed = int(self.seeds.integers(1_000_000_000))
        self.sweep(seed, 1)
        first = self.loss(ids)
        self.sweep(seed, -2)
        second = self.loss(ids)
        self.sweep(seed, 1)
        self.update(seed, (first - second) / (2 * self.eps))
        return first
