"""Plain estimators with plain descent: MeZO, its one-sided edition, and the conservative step."""

from __future__ import annotations

from ..coefficients import Best, Central, Forward
from ..directions import Dense
from ..directions.dense import Law
from ..method import Method
from ..probes import Conservative, OneSided, TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def mezo(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, law: Law = "normal", schedule: str = "constant",
    weight_decay: float = 0.0,
) -> Method:  # fmt: skip
    """MeZO: two-sided differences along n random directions, plain descent.

        c_i = (L(theta + eps z_i) - L(theta - eps z_i)) / (2 eps n);   theta <- theta - lr sum_i c_i z_i

    The published code walks the weights by +eps, -2 eps, +eps; here a visit never writes a weight.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".
        weight_decay: decoupled, per unit of lr.

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; no memory; 55 journal bytes at n = 1.

    Example:
        >>> mezo(lr=1e-6).probe.forwards
        2

    Reference: arXiv 2305.17333.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule, weight_decay=weight_decay)
    return Method(
        "mezo", Dense(law), TwoSided(n), Central(), Descent(weight_decay), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule, "weight_decay": weight_decay},
        frozenset({"unbiased", "shift-free"} | ({"additive"} if not weight_decay else set())),
    )  # fmt: skip


def zo_sgd(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """One-sided ZO-SGD: n differences that share their base point.

        c_i = (L(theta + eps z_i) - L(theta)) / (eps n);   theta <- theta - lr sum_i c_i z_i

    Half the forwards of mezo at large n, with a bias of eps/2 z'Hz in each c.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: n + 1 forwards; no memory; 55 journal bytes at n = 1.

    Example:
        >>> zo_sgd(n=4).probe.forwards
        5

    Reference: the one-sided estimator of arXiv 2402.11592; Nesterov and Spokoiny 2017.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    return Method(
        "zo_sgd", Dense(law), OneSided(n), Forward(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule}, frozenset({"additive", "shift-free"}),
    )  # fmt: skip


def zo_conservative(
    lr: float = 1e-6, eps: float = 1e-3, *, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Conservative ZO-SGD: the step, staying, or the opposite step, whichever is lowest on the same batch.

        c as in mezo;   theta <- the best of { theta - lr c z, theta, theta + lr c z }

    Staying is written as a skip.  (The published code steps by AdamW, whose undo is no inverse: its three places are
    not these.)

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 5 forwards; no memory; 80 journal bytes.

    Example:
        >>> zo_conservative().probe.forwards
        5

    Reference: ZO-SGD-Cons of arXiv 2402.11592.
    """
    checked(lr=lr, eps=eps, law=law, schedule=schedule)
    return Method(
        "zo_conservative", Dense(law), Conservative(), Best(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "law": law, "schedule": schedule}, frozenset({"additive", "shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("mezo", mezo, "Fine-Tuning Language Models with Just Forward Passes", "2305.17333",
               "2n", "none", "55 B", "two-sided differences, plain descent"),
    MethodCard("zo_sgd", zo_sgd, "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning",
               "2402.11592", "n + 1", "none", "55 B", "one-sided differences, plain descent"),
    MethodCard("zo_conservative", zo_conservative,
               "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning", "2402.11592",
               "5", "none", "80 B", "the best of a step, staying, and the opposite step"),
)  # fmt: skip
