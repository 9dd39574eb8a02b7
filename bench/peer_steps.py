"""One step of each peer, written as its own documentation has it, with every choice made in its favor.

All answer the question ours answers: cross-entropy over two candidate tokens at the last position, the head
applied to that position alone (`logits_to_keep=1`), no gradient, no key/value cache.  A step size near 0.
Where a package asks for one more forward by default, the setting that saves it is taken; where it has a rank,
rank 1; where its loop keeps books beside the step, only the step is called.

What it is not: advice on how these packages are best used.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.cases import Calls


class Classifier(nn.Module):
    """Token ids to logits of the two candidates, (B, 2): what a peer sees as its model."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.model = calls.subject.model.requires_grad_(True)  # two of them train nothing else
        self.columns = calls.columns

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
        return logits[:, -1][:, self.columns]


def published(calls: Calls) -> Callable[[], object]:
    """MeZO as published; its code takes all logits."""
    return calls.published()


def _torchzero(calls: Calls, module: str) -> Callable[[], object]:
    import torchzero as tz  # type: ignore[import-not-found]

    asked = Classifier(calls)
    # return_approx_loss saves a third forward
    chain = getattr(tz.m, module)(h=1e-3, return_approx_loss=True), tz.m.LR(1e-9)
    optimizer = tz.Optimizer(calls.subject.model.parameters(), *chain)

    def closure(backward: bool = True) -> Tensor:
        with torch.no_grad():
            return nn.functional.cross_entropy(asked(calls.ids), calls.labels)

    return lambda: optimizer.step(closure)


def torchzero_mezo(calls: Calls) -> Callable[[], object]:
    """tz.m.MeZO: signs drawn again from a seed."""
    return _torchzero(calls, "MeZO")


def torchzero_spsa(calls: Calls) -> Callable[[], object]:
    """tz.m.SPSA: signs drawn once and kept."""
    return _torchzero(calls, "SPSA")


def eggroll_es(calls: Calls) -> Callable[[], object]:
    """The body of EggrollTrainer.evolve: population 1, mirrored."""
    from eggroll import EggrollConfig, EggrollTrainer  # type: ignore[import-not-found]
    from eggroll.core import evolve_step  # type: ignore[import-not-found]

    asked = Classifier(calls)

    def reward(model: Any, batch: Tensor) -> float:
        return -float(nn.functional.cross_entropy(asked(batch), calls.labels))

    config = EggrollConfig(population_size=1, rank=1, sigma=1e-3, lr=1e-9, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a summary
        trainer = EggrollTrainer(calls.subject.model, config, reward)

    def step() -> None:
        base = trainer._get_params()
        population = trainer.noiser.sample_perturbations(config.population_size)
        fitness = trainer._evaluate_population(base, population, calls.ids)
        with torch.no_grad():
            trainer._set_params(evolve_step(base, population, fitness, config))

    return step


def torcheggroll(calls: Calls) -> Callable[[], object]:
    """TorchEggrollES.step: a mirrored pair under vmap."""
    from torcheggroll import TorchEggrollES  # type: ignore[import-not-found]

    strategy = TorchEggrollES(Classifier(calls), pop_size=2, rank=1, sigma=1e-3, lr=1e-9)
    return lambda: strategy.step(calls.ids, nn.functional.cross_entropy, calls.labels)


STEPS: dict[str, Callable[[Calls], Callable[[], object]]] = {
    "MeZO as published": published,
    "torchzero MeZO": torchzero_mezo,
    "torchzero SPSA": torchzero_spsa,
    "eggroll-es": eggroll_es,
    "torcheggroll": torcheggroll,
}
