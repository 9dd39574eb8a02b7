"""Step sizes taken from the losses themselves: FZOO."""

from __future__ import annotations

from ..coefficients import Chain, Forward, OverSpread
from ..directions import Dense
from ..directions.dense import Law
from ..engine import Method
from ..probes import OneSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def fzoo(
    lr: float = 6e-3, eps: float = 1e-3, *, n: int = 8, law: Law = "signs", schedule: str = "cosine",
) -> Method:  # fmt: skip
    """FZOO: n one-sided sign probes, the step divided by the spread of their losses.

        c_i = (l_i - l_0) / (n sigma),  sigma^2 = 1/(n-1) sum_i (l_i - mean l)^2;   theta <- theta - lr sum_i c_i z_i

    lr is in the published code's scaling (the paper's, times eps): each weight moves by about lr/sqrt(n) a
    step whatever the loss's scale.  sigma is the paper's unbiased one (the code divides by n).

    Args:
        lr: step length, in weight.
        eps: radius, in the weights' own units.
        n: probes a step (>= 2).
        law: "signs" (the paper) or "normal".
        schedule: "cosine", "linear" or "constant" (the paper).

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 forwards; no memory; 167 journal bytes at n = 8.

    Example:
        >>> fzoo(n=8).probe.forwards
        9

    Reference: arXiv 2506.09034.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    if n < 2:
        raise ValueError(f"n={n}: fzoo divides by the spread of its probes, so n must be at least 2")
    return Method(
        "fzoo", Dense(law), OneSided(n), Chain((Forward(), OverSpread())), Descent(), lr, eps,
        SCHEDULES[schedule](), {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule},
        frozenset({"additive", "scale-free", "shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("fzoo", fzoo, "FZOO: Fast Zeroth-Order Optimizer", "2506.09034",
               "n + 1", "none", "167 B", "one-sided sign probes, step over the spread of losses"),
)  # fmt: skip
