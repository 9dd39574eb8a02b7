"""Step sizes taken from the losses themselves: FZOO, FZOO-R, MEAZO."""

from __future__ import annotations

from ..coefficients import Central, Chain, Forward, OverReusedSpread, OverRunning, OverSpread
from ..directions import Dense
from ..directions.dense import Law
from ..method import Method
from ..probes import OneSided, TwoSided
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


def fzoo_r(
    lr: float = 6e-3, eps: float = 1e-3, *, n: int = 8, law: Law = "signs", schedule: str = "cosine",
) -> Method:  # fmt: skip
    """FZOO-R: half of FZOO's probes, with the previous step's losses counted into the spread.

        c_i = (l_i - l_0) / (n/2 sigma) over n/2 new probes;   sigma over these n/2 losses and the n/2 of the step before

    lr is in the published code's scaling, as in fzoo.  (In that code the reuse never happens.)

    Args:
        lr: step length, in weight.
        eps: radius, in the weights' own units.
        n: losses in sigma, even, >= 4; half of them are new.
        law: "signs" (the paper) or "normal".
        schedule: "cosine", "linear" or "constant" (the paper).

    Raises:
        ValueError: a setting outside its range.

    Cost: n/2 + 1 forwards; no memory; 103 journal bytes at n = 8.

    Example:
        >>> fzoo_r(n=8).probe.forwards
        5

    Reference: arXiv 2506.09034.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    if n < 4 or n % 2:
        raise ValueError(
            f"n={n}: fzoo_r renews half of its probes and needs two new ones, so n must be even, from 4"
        )
    return Method(
        "fzoo_r", Dense(law), OneSided(n // 2), Chain((Forward(), OverReusedSpread())), Descent(), lr, eps,
        SCHEDULES[schedule](), {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule},
        frozenset({"additive", "scale-free", "shift-free"}),
    )  # fmt: skip


def meazo(
    lr: float = 1e-4, eps: float = 1e-3, *, n: int = 1, beta: float = 0.99, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """MEAZO: MeZO's difference over a running size of itself, Adam's normalizer as one number.

        v <- beta v + (1 - beta) sum_i c_i^2;   theta <- theta - lr sum_i c_i z_i / sqrt(v / (1 - beta^k))

    Args:
        lr: step length, in weight: each weight moves by about lr a step.
        eps: radius, in the weights' own units.
        n: directions a step.
        beta: of the running square, in [0, 1).
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; no memory; 64 journal bytes at n = 1.

    Example:
        >>> meazo(beta=0.9).coefficients.parts[1].beta
        0.9

    Reference: arXiv 2605.03869, as its abstract describes it; its beta is not known to us.
    """
    checked(lr=lr, eps=eps, n=n, beta=beta, law=law, schedule=schedule)
    return Method(
        "meazo", Dense(law), TwoSided(n), Chain((Central(), OverRunning(beta))), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "beta": beta, "law": law, "schedule": schedule},
        frozenset({"additive", "scale-free", "shift-free"}), pace=n**0.5,
    )  # fmt: skip


CARDS = (
    MethodCard("fzoo", fzoo, "FZOO: Fast Zeroth-Order Optimizer", "2506.09034",
               "n + 1", "none", "167 B", "one-sided sign probes, step over the spread of losses"),
    MethodCard("fzoo_r", fzoo_r, "FZOO: Fast Zeroth-Order Optimizer", "2506.09034",
               "n/2 + 1", "none", "103 B", "half the probes, the spread over two steps"),
    MethodCard("meazo", meazo, "MEAZO", "2605.03869",
               "2n", "none", "64 B", "step over a running size of the differences"),
)  # fmt: skip
