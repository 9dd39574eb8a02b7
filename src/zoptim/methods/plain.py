"""Plain estimators with plain descent: MeZO and what differs from it in one part."""

from __future__ import annotations

from ..coefficients import Central
from ..directions import Dense
from ..directions.dense import Law
from ..engine import Method
from ..probes import TwoSided
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


CARDS = (
    MethodCard("mezo", mezo, "Fine-Tuning Language Models with Just Forward Passes", "2305.17333",
               "2n", "none", "55 B", "two-sided differences, plain descent"),
)  # fmt: skip
