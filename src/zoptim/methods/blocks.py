"""One part of the weights at a time: block-wise MeZO, and DeepZero's coordinates."""

from __future__ import annotations

from collections.abc import Mapping

from ..coefficients import Central, Slopes
from ..directions import Blocks, Dense, Rotating
from ..directions.dense import Law
from ..method import Method
from ..probes import OneSided, TwoSided
from ..rules import Descent, Momentum
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def blockwise(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Block-wise MeZO: each step probes and moves one block of the network, the blocks in turn.

        c_i = (L(theta + eps z_i) - L(theta - eps z_i)) / (2 eps n), z_i = 0 outside block t mod G;   theta <- theta - lr sum_i c_i z_i

    G steps are the paper's one (its default: each block is updated before the next is probed).  Each visit of a
    block draws its own z; the published code reuses one seed for all blocks.  The layers in front of the block are
    computed once for all points of a step.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        n: directions a step, all in one block.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, of which the part below the block is computed once; no memory; 55 journal bytes at n = 1.

    Example:
        >>> blockwise(n=2).probe.forwards
        4

    Reference: arXiv 2402.11592.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    return Method(
        "blockwise", Blocks(Dense(law)), TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule},
        frozenset({"additive", "shift-free", "unbiased"}),
    )  # fmt: skip


def deepzero(
    lr: float = 0.1, eps: float = 5e-3, *, n: int = 200, every: int = 1, beta: float = 0.9,
    keep: float = 1.0, shares: Mapping[str, float] | None = None, schedule: str = "cosine",
) -> Method:  # fmt: skip
    """DeepZero: finite differences along n coordinates, another random n every `every` steps.

        g = sum_{j in S} (L(theta + eps e_j) - L(theta)) / eps  e_j;   v <- beta v + g;   theta <- theta - lr v

    Args:
        lr: step size.
        eps: mu, the radius, in the weights' own units.
        n: |S|, coordinates a step (the paper: a tenth of all).
        every: steps a set is kept (the paper: 5 epochs).
        beta: momentum, in [0, 1); coordinates that leave S keep what they had.
        keep: below 1, `finetune` measures shares before its first step: ZO-GraSP, keeping this part of the matrices
            (386 forwards; the paper: a tenth).
        shares: tensor name -> weight of its coordinates' chance to be in S, from `methods.grasp`; others have 1.
        schedule: "cosine" (the paper), "linear" or "constant".

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 forwards, each computed only from its coordinate's layer on; one vector of the weights' size (none at beta = 0); 32 + 16n journal bytes.

    Example:
        >>> deepzero(n=20).probe.forwards
        21

    Reference: arXiv 2310.02025.
    """
    checked(lr=lr, eps=eps, n=n, beta=beta, schedule=schedule)
    if not (isinstance(every, int) and every >= 1):
        raise ValueError(f"every={every!r} must be a whole number from 1")
    if not (isinstance(keep, int | float) and 0 < keep <= 1):
        raise ValueError(f"keep={keep!r} must be a number above 0, up to 1")
    shares = dict(shares or {})
    for name, share in shares.items():
        if not (isinstance(share, int | float) and 0 < share < float("inf")):
            raise ValueError(f"shares[{name!r}]={share!r} must be a positive finite number")
    return Method(
        "deepzero", Rotating(n, every, shares), OneSided(n), Slopes(), Momentum(beta) if beta else Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "every": every, "beta": beta, "keep": keep, "shares": shares, "schedule": schedule},
        frozenset({"shift-free"} | (set() if beta else {"additive"})), pace=1.0 / (1.0 - beta),
    )  # fmt: skip


CARDS = (
    MethodCard("blockwise", blockwise, "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning: A Benchmark",
               "2402.11592",
               "2n", "none", "55 B", "two-sided differences in one block a step, the blocks in turn"),
    MethodCard("deepzero", deepzero, "DeepZero: Scaling up Zeroth-Order Optimization for Deep Model Training",
               "2310.02025",
               "n + 1", "1 vector", "32 + 16n B", "finite differences along a rotating set of coordinates"),
)  # fmt: skip
