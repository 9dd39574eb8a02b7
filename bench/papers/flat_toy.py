"""FlatZero's toy: among the minima of h = (y'z - 1)^2 / 2, two-point steps drift to the flat ones.

    Tr H = |y|^2 + |z|^2;   a step's mean is -lr grad(h + lambda^2/2 Tr H), so lambda is a flatness knob

d = 100 each, N(0, 1) at the start, 100,000 steps; gradient descent with lr 0.01; two-point Gaussian steps (`mezo`)
with lr 0.001 and lambda 0.1, 0.05, 0.01; and the same draws with the exact directional derivative, which is lambda
to 0.  In flow the imbalance B = (|y|^2 - |z|^2) / 2 decays as exp(-2 lambda^2 t), and so does the trace while it is
far above its least, 2.  B is seen from an unbalanced start (2y, z/2): else it is a small difference that the steps'
noise moves.  arXiv 2506.05454.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.spaces.flat import Flat

D, STEPS, EVERY, SEED = 100, 100_000, 500, 17
GD_LR, ZO_LR, LAMBDAS = 0.01, 1e-3, (0.1, 0.05, 0.01)


def loss(x: np.ndarray) -> np.ndarray:
    """h at points (m, 2d)."""
    return 0.5 * ((x[:, :D] * x[:, D:]).sum(1) - 1.0) ** 2


def gradient(x: np.ndarray) -> np.ndarray:
    """(2d,), of one point."""
    return (x[:D] @ x[D:] - 1.0) * np.concatenate([x[D:], x[:D]])


def seen(t: int, x: np.ndarray) -> dict[str, float]:
    y, z = (x[:D] ** 2).sum(), (x[D:] ** 2).sum()
    return {"t": t, "loss": float(loss(x[None])[0]), "trace": float(y + z), "imbalance": float(y - z) / 2}


def descent(x: np.ndarray, steps: int = STEPS) -> list[dict[str, float]]:
    x, found = x.copy(), [seen(0, x)]
    for t in range(1, steps + 1):
        x -= GD_LR * gradient(x)
        if t % EVERY == 0:
            found.append(seen(t, x))
    return found


def two_point(x: np.ndarray, radius: float, steps: int = STEPS) -> list[dict[str, float]]:
    """`mezo` on h; radius 0: on h's linear model where it stands, whose difference is the derivative itself."""
    space = Flat(x.copy())
    run = Run(space, mezo(lr=ZO_LR, eps=radius or 1.0), Journal.create(None, {"key": SEED}), horizon=steps)
    found = [seen(0, space.x)]
    for t in range(1, steps + 1):
        slope = gradient(space.x) if not radius else None
        run.step((lambda v: loss(v.x)) if slope is None else (lambda v, g=slope: (v.x - space.x) @ g))
        if t % EVERY == 0:
            found.append(seen(t, space.x))
    return found


def main() -> None:
    start = time.perf_counter()
    x = np.random.default_rng(SEED).standard_normal(2 * D)
    runs = {"gradient descent": descent(x), "exact derivative": two_point(x, 0.0)}
    runs |= {f"lambda {radius}": two_point(x, radius) for radius in LAMBDAS}
    tilted = np.concatenate([2 * x[:D], x[D:] / 2])
    finish("flat_toy", shape(runs, {radius: two_point(tilted, radius) for radius in LAMBDAS[:2]}), start)


def decay(found: list[dict[str, float]], name: str) -> float:
    """-d log(value) / dt, t in units of lr, once the loss is down (it moves everything while it falls)."""
    settled = next(k for k, at in enumerate(found) if at["loss"] < 1e-2)
    a, b = found[settled], found[-1]
    return math.log(a[name] / b[name]) / (ZO_LR * (b["t"] - a["t"]))


def near(found: list[float], wanted: list[float]) -> list[bool]:
    """Within a quarter: the flow leaves out the steps' own noise, lr d^2 lambda^2 = a tenth at lambda 0.1."""
    return [abs(a / b - 1) < 0.25 for a, b in zip(found, wanted, strict=True)]


def shape(runs: dict[str, list[dict[str, float]]], tilted: dict[float, Any]) -> dict[str, Any]:
    last = {name: found[-1] for name, found in runs.items()}
    first = next(iter(runs.values()))[0]
    least = min(found[-1]["trace"] for name, found in runs.items() if not name.startswith("lambda"))
    traces = [last[f"lambda {radius}"]["trace"] for radius in LAMBDAS]
    rates = [decay(runs[f"lambda {r}"], "trace") for r in LAMBDAS]
    tilts = [decay(found, "imbalance") for found in tilted.values()]
    wanted = [2 * r * r for r in LAMBDAS]
    still = last["exact derivative"]["trace"] / first["trace"]
    return {
        "title": "FlatZero: two-point steps find flat minima (toy)",
        "paper": "Zeroth-Order Optimization Finds Flat Minima", "arxiv": "2506.05454",
        "setup": (
            f"h = (y'z - 1)^2 / 2, d = {D} each, float64, {STEPS:,} steps, lr {GD_LR} (gradient descent) and {ZO_LR} "
            "(`mezo`). The starting point is another draw of N(0, 1) than the paper's (its generator is torch's)."
        ),
        "rows": [
            row("with lambda 0.1 the trace falls far below gradient descent's", "Tr H falls all the way, gradient "
                "descent's stays", f"{first['trace']:.1f} to {traces[0]:.1f}; gradient descent {last['gradient descent']['trace']:.1f}",
                traces[0] < 0.5 * least, last["gradient descent"]["trace"] > 0.5 * first["trace"]),
            row("lambda is the knob: the larger, the flatter", "0.1 < 0.05 < 0.01",
                " < ".join(f"{t:.1f}" for t in traces), traces[0] < traces[1] < traces[2] < first["trace"]),
            row("as lambda goes to 0 nothing is regularized", "trace stays", f"{still:.3f} of the first trace",
                abs(still - 1) < 0.1),
            row("the trace falls at the rate 2 lambda^2 of the flow", ", ".join(f"{w:.2g}" for w in wanted),
                ", ".join(f"{r:.2g}" for r in rates), *near(rates, wanted)),
            row("the imbalance decays at the rate 2 lambda^2 (from an unbalanced start)",
                ", ".join(f"{w:.2g}" for w in wanted[:2]), ", ".join(f"{r:.2g}" for r in tilts),
                *near(tilts, wanted[:2])),
        ],
        "tables": {"At the end:": [{"run": name, **{k: v for k, v in at.items() if k != "t"}} for name, at in last.items()]},
        "curves": {
            "title": "FlatZero's toy", "x": "steps", "y": "trace of the Hessian", "log": True,
            "series": [{"name": name, "points": [[p["t"], p["trace"]] for p in found]} for name, found in runs.items()],
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
