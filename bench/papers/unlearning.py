"""Unlearning and relearning: what gradients, probes, and rounds of both leave of a forgotten class to be found again.

    train      a multilayer perceptron on scikit-learn's digits (`pip install scikit-learn`; 64 - 32 - 10, Adam)
    unlearn    L = mean 2 log(1 + p/p0) over a class (negative preference optimization, beta = 1) + L_retain,
               until at most a twentieth of the class's test digits are named: equal forgetting, then one compares
    relearn    plain SGD on a few of its training digits; accuracy on its test digits is what came back

By gradients alone (`sam` at rho 0: Adam), by probes alone (`mezo`), by rounds of both that end in probes
(`alternate`).  The paper works on language models (MUSE, WMDP, TOFU) and relearns likewise.  arXiv 2510.00761.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.papers.shown import finish, row
from zoptim.doors.optimizer import Optimizer
from zoptim.method import Method
from zoptim.methods import mezo
from zoptim.methods.hybrid import alternate, sam
from zoptim.objective import together

SEEDS, FORGET, SHOTS, MOST = range(5), 3, 5, 2000
ROUND, GOAL = 20, 0.05  # steps between looks; share of the class's test digits still named
RELEARN, LR = (0, 5, 10, 20, 40), 0.005
WAYS: dict[str, Callable[[], Method]] = {
    "gradients": lambda: sam(1e-3, rho=0.0),
    "probes": lambda: mezo(0.01, 1e-3, n=16, law="signs"),
    "alternating": lambda: alternate(0.01, 1e-3, n=16, law="signs", ratio=0.1, turns=ROUND),
}


class Digits:
    """Train and test digits of a seed, three to one, and the class to forget among them."""

    def __init__(self, seed: int) -> None:
        from sklearn.datasets import load_digits

        raw = load_digits()
        order = np.random.default_rng(seed).permutation(len(raw.target))
        x, y = torch.from_numpy(raw.data[order] / 16.0).float(), torch.from_numpy(raw.target[order])
        cut = 3 * len(y) // 4
        self.x, self.y, self.test_x, self.test_y = x[:cut], y[:cut], x[cut:], y[cut:]
        self.forget, self.retain = (
            self.x[self.y == FORGET],
            (self.x[self.y != FORGET], self.y[self.y != FORGET]),
        )

    def accuracy(self, model: nn.Module) -> tuple[float, float]:
        """On test digits: of the forgotten class, of the others."""
        with torch.no_grad():
            right = model(self.test_x).argmax(1) == self.test_y
        gone = self.test_y == FORGET
        return float(right[gone].float().mean()), float(right[~gone].float().mean())


def learned(data: Digits, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        adam.zero_grad()
        cross_entropy(model(data.x), data.y).backward()
        adam.step()
    return model


def unlearned(model: nn.Module, data: Digits, method: Method) -> int:
    """Steps until the class is forgotten; `model` holds the weights of then."""
    x, y = data.retain
    with torch.no_grad():
        before = torch.log_softmax(model(data.forget), 1)[:, FORGET]

    def forget(view: Any) -> Tensor:
        logp = torch.log_softmax(view.split(model(view.expand(data.forget))), 2)[..., FORGET]
        return 2.0 * torch.log1p(torch.exp(logp - before)).mean(1)

    def retain(view: Any) -> Tensor:
        logp = torch.log_softmax(view.split(model(view.expand(x))), 2)
        return -logp[:, torch.arange(len(y)), y].mean(1)

    probed = together((1.0, forget), (1.0, retain))  # both streams at the same points

    def closure(view: Any) -> Any:
        return forget(view) + retain(view) if torch.is_grad_enabled() else probed(view)

    with Optimizer(model, method, seed=1) as optimizer:
        for step in range(1, MOST + 1):
            optimizer.step(closure)
            if step % (2 * ROUND) == 0 and data.accuracy(model)[0] <= GOAL:
                return step
    raise RuntimeError(f"{method.name} has not forgotten the class in {MOST} steps")


def relearned(model: nn.Module, data: Digits) -> list[float]:
    """Accuracy on the class's test digits after each of `RELEARN` steps on a few of its training digits."""
    model = copy.deepcopy(model).requires_grad_(True)
    x, y = data.forget[:SHOTS], torch.full((SHOTS,), FORGET)
    sgd, seen = torch.optim.SGD(model.parameters(), LR), []
    for step in range(max(RELEARN) + 1):
        if step in RELEARN:
            seen.append(data.accuracy(model)[0])
        sgd.zero_grad()
        cross_entropy(model(x), y).backward()
        sgd.step()
    return seen


def main() -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    back: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    kept: dict[str, list[tuple[float, float, int]]] = {way: [] for way in WAYS}
    for seed in SEEDS:
        data = Digits(seed)
        first = learned(data, seed)
        for way, make in WAYS.items():
            model = copy.deepcopy(first).requires_grad_(False)
            steps = unlearned(model, data, make())
            kept[way].append((*data.accuracy(model), steps))
            back[way].append(relearned(model, data))
            print(seed, way, kept[way][-1], back[way][-1], flush=True)
    finish("unlearning", shape(back, kept), start)


def shape(
    back: dict[str, list[list[float]]], kept: dict[str, list[tuple[float, float, int]]]
) -> dict[str, Any]:
    """Means over seeds, and whether differences are more than two standard errors."""
    curves = {way: np.array(runs) for way, runs in back.items()}
    left = {way: np.array(runs).mean(0) for way, runs in kept.items()}

    def less(way: str) -> tuple[str, bool]:
        """Accuracy that came back less than after gradients, in the mean over relearning steps."""
        gap = (curves["gradients"][:, 1:] - curves[way][:, 1:]).mean(1)
        error = float(gap.std(ddof=1) / len(gap) ** 0.5)
        return f"{gap.mean():+.3f} less came back (standard error {error:.3f})", bool(gap.mean() > 2 * error)

    (probes, probes_less), (rounds, rounds_less) = less("probes"), less("alternating")
    rows = [
        row("what probes unlearned is harder to relearn than what gradients did",
            "zeroth-order unlearning degrades least under relearning", probes, probes_less),
        row("rounds of both that end in probes are harder to relearn, too",
            "the hybrid is robust like probes, and forgets like gradients", rounds, rounds_less),
        row("rounds of both forget in fewer steps than probes alone", "improved efficacy over zeroth-order alone",
            f"{left['alternating'][2]:.0f} steps, probes {left['probes'][2]:.0f}, gradients {left['gradients'][2]:.0f}",
            bool(left["alternating"][2] < left["probes"][2])),
    ]  # fmt: skip
    return {
        "title": "Unlearning: robustness to relearning, on a small scale",
        "paper": "Downgrade to Upgrade: Optimizer Simplification Enhances Robustness in LLM Unlearning",
        "arxiv": "2510.00761",
        "setup": f"A 64-32-10 network on scikit-learn's digits instead of a language model; the class of {FORGET}s is "
        f"unlearned until at most {GOAL:.0%} of its test digits are named, then relearned on {SHOTS} digits by SGD; "
        f"{len(list(SEEDS))} seeds.",
        "rows": rows,
        "tables": {
            "After unlearning, and the class's accuracy after so many steps of relearning (means over seeds):": [
                {"by": way, "steps": f"{left[way][2]:.0f}", "forgotten class": f"{left[way][0]:.3f}",
                 "others": f"{left[way][1]:.3f}",
                 **{str(k): f"{v:.3f}" for k, v in zip(RELEARN[1:], curves[way].mean(0)[1:], strict=True)}}
                for way in WAYS
            ]
        },
        "curves": {
            "title": "Relearning from five digits of the class", "x": "steps", "y": "its test accuracy",
            "log": False,
            "series": [
                {"name": way, "points": [[k, float(v)] for k, v in zip(RELEARN, curves[way].mean(0), strict=True)]}
                for way in WAYS
            ],
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
