"""Directions preconditioned by an estimate of the Hessian's diagonal: HiZOO as printed and centered, HiZOO-L."""

from __future__ import annotations

from ..coefficients import Central, Chain, Curvature
from ..directions import Curved, CurvedCentered, CurvedRowsCols
from ..directions.dense import Law
from ..method import Method
from ..probes import ThreePoint
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def hizoo(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, alpha: float = 1e-8, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """HiZOO: probes and steps scaled by 1/sqrt(H), H a running estimate of the Hessian's diagonal.

        z = u / sqrt(H);   c = (L+ - L-) / (2 eps);   theta <- theta - lr c z
        H <- (1 - alpha) H + alpha |L+ + L- - 2 L0| / (2 eps^2) H u^2,     H_0 = 1

    The paper's algorithm updates with the new H; here a step is taken along what was probed, and H moves after it.
    H is float32 at least: in half precision the published alpha rounds away.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in units of 1/sqrt(H) (the weights' own at the start).
        n: directions a step.
        alpha: share of a new estimate in H, in [0, 1]; the published 1e-8 leaves H near 1 for thousands of steps.
        law: "normal" (the paper); signs have u^2 = 1 and learn one number for all weights.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n + 1 forwards; one vector of the weights' size; 73 journal bytes at n = 1.

    Example:
        >>> hizoo(alpha=1e-6).directions.alpha
        1e-06

    Reference: arXiv 2402.15173.
    """
    checked(lr=lr, eps=eps, n=n, alpha=alpha, law=law, schedule=schedule)
    return Method(
        "hizoo", Curved(alpha, law), ThreePoint(n), Chain((Central(), Curvature())), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "alpha": alpha, "law": law, "schedule": schedule},
        frozenset({"shift-free"}),
    )  # fmt: skip


def hizoo_centered(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, alpha: float = 1e-8, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """HiZOO with the estimate its derivation has: centered and signed, so that the trace is not in it.

        h = (L+ + L- - 2 L0) / (2 eps^2) H (u^2 - 1);   H <- max((1 - alpha) H + alpha h, 1e-3);   else as hizoo

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in units of 1/sqrt(H).
        n: directions a step.
        alpha: share of a new estimate in H, in [0, 1].
        law: "normal" (the paper); signs have u^2 = 1 and learn nothing.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n + 1 forwards; one vector of the weights' size; 73 journal bytes at n = 1.

    Example:
        >>> hizoo_centered().directions.vectors
        1

    Reference: the identity of arXiv 2402.15173.
    """
    checked(lr=lr, eps=eps, n=n, alpha=alpha, law=law, schedule=schedule)
    return Method(
        "hizoo_centered", CurvedCentered(alpha, law), ThreePoint(n), Chain((Central(), Curvature())), Descent(), lr,
        eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "alpha": alpha, "law": law, "schedule": schedule},
        frozenset({"shift-free"}),
    )  # fmt: skip


def hizoo_l(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, alpha: float = 1e-8, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """HiZOO-L: HiZOO with H kept as the row and column means of each matrix.

        H ~ r c' / mean(r),   r <- (1 - alpha) r + alpha (row means of h),   c <- (1 - alpha) c + alpha (column means of h)

    The paper's text was not at hand: the factors follow Adafactor (arXiv 1804.04235), as the method is described.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in units of 1/sqrt(H).
        n: directions a step.
        alpha: share of a new estimate, in [0, 1].
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n + 1 forwards; rows + cols numbers a matrix; 73 journal bytes at n = 1.

    Example:
        >>> hizoo_l().directions.vectors
        0

    Reference: arXiv 2402.15173.
    """
    checked(lr=lr, eps=eps, n=n, alpha=alpha, law=law, schedule=schedule)
    return Method(
        "hizoo_l", CurvedRowsCols(alpha, law), ThreePoint(n), Chain((Central(), Curvature())), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "alpha": alpha, "law": law, "schedule": schedule},
        frozenset({"shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("hizoo", hizoo, "Second-Order Fine-Tuning without Pain for LLMs: a Hessian Informed Zeroth-Order Optimizer",
               "2402.15173", "2n + 1", "1 vector", "73 B", "directions scaled by a learned diagonal curvature"),
    MethodCard("hizoo_centered", hizoo_centered,
               "Second-Order Fine-Tuning without Pain for LLMs: a Hessian Informed Zeroth-Order Optimizer",
               "2402.15173", "2n + 1", "1 vector", "73 B", "HiZOO with the centered, signed estimate"),
    MethodCard("hizoo_l", hizoo_l,
               "Second-Order Fine-Tuning without Pain for LLMs: a Hessian Informed Zeroth-Order Optimizer",
               "2402.15173", "2n + 1", "rows + cols", "73 B", "HiZOO with row and column means of the curvature"),
)  # fmt: skip
