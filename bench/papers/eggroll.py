"""EGGROLL's training throughput as a share of pure batched inference, at several population sizes.

A population of N members, each a different input of T tokens, goes through a stack of linear layers. Inference: the
same N * T tokens through the unperturbed weights. A step: noise, the visit of all members, scores, the update. The
paper (arXiv 2511.16652) has 91 % for EGGROLL and 0.41 % for full-rank evolution strategies, on GPUs with large models.
Not here: generation, which repeats a visit's noise for many tokens; the longer an answer, the higher the share.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from bench.common import interleaved, ratio
from bench.papers.shown import finish, row
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.methods import mezo
from zoptim.methods.lowrank import eggroll
from zoptim.spaces.module import Module

WIDTH, INNER, BLOCKS = 576, 1536, 4  # of SmolLM2-135M's feed-forward layers
SIZES = ((8, 64), (32, 16), (32, 64), (64, 64))  # members, tokens a member
REPEATS, FULL_RANK = 3, 32  # the dense population is measured up to this size


def stack() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(BLOCKS):
        layers += [nn.Linear(WIDTH, INNER, bias=False), nn.SiLU(), nn.Linear(INNER, WIDTH, bias=False)]
    return nn.Sequential(*layers)


def measured(members: int, tokens: int) -> dict[str, Any]:
    """Shares of inference, in CPU time, each against the inference of its own round."""
    model, x = stack(), torch.randn(tokens, WIDTH)
    batch = x.repeat(members, 1)

    def infer() -> None:
        with torch.no_grad():
            model(batch)

    def stepping(method: Any) -> Any:
        space = Module(stack())
        run = Run(space, method, Journal.create(None, {"key": 1}))

        def objective(view: Any) -> Any:
            return view.split(space.model(view.expand(x))).pow(2).mean((1, 2)).double()

        return lambda: run.step(objective)

    cases = {"inference": infer, "eggroll": stepping(eggroll(1e-6, n=members // 2))}
    if members <= FULL_RANK:
        cases["full rank"] = stepping(mezo(1e-9, n=members // 2))
    seen = interleaved(cases, REPEATS)
    base = seen["inference"]
    share = {k: 100 / ratio(v, base, clock="all_cpu_seconds") for k, v in seen.items() if k != "inference"}
    return {
        "members": members, "tokens a member": tokens, "inference, CPU s": round(base["cpu_seconds"], 3),
        "EGGROLL step, CPU s": round(seen["eggroll"]["cpu_seconds"], 3), "EGGROLL, %": round(share["eggroll"], 1),
        "full rank, %": round(share["full rank"], 1) if "full rank" in share else "",
    }  # fmt: skip


def main() -> None:
    start = time.perf_counter()
    finish("eggroll", shape([measured(*size) for size in SIZES]), start)


def shape(lines: list[dict[str, Any]]) -> dict[str, Any]:
    best, dense = max(r["EGGROLL, %"] for r in lines), max(float(r["full rank, %"] or 0) for r in lines)
    least = min(r["EGGROLL, %"] for r in lines)
    return {
        "title": "EGGROLL's throughput as a share of inference", "paper": "Evolution Strategies at the Hyperscale",
        "arxiv": "2511.16652",
        "setup": (
            f"{2 * BLOCKS} linear layers of {WIDTH} x {INNER} in float32, rank 1, plain descent: CPU seconds of a whole "
            f"step (noise, visit, scores, update) against those of the same tokens through the same layers, medians of "
            f"{REPEATS} interleaved rounds. The paper's figures are of generation on GPUs with far larger models."
        ),
        "rows": [
            row("a step runs at nearly the speed of inference", "91 %", f"{least:.0f} % to {best:.0f} %",
                best >= 85, least >= 85),
            row("full-rank members do not", "0.41 %", f"at most {dense:.0f} %", dense < 5, dense < best / 2),
        ],
        "tables": {"By size of the population": lines},
    }  # fmt: skip


if __name__ == "__main__":
    main()
