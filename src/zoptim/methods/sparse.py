"""Directions along few of the weights: Sparse-MeZO."""

from __future__ import annotations

from ..coefficients import Central
from ..directions import Dense, Small
from ..directions.dense import Law
from ..engine import Method
from ..probes import TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def sparse_mezo(
    lr: float = 2e-6, eps: float = 1e-3, *, sparsity: float = 0.75, n: int = 1, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """Sparse-MeZO: MeZO along the small weights of each tensor.

        z' = m z,  m = [|theta| <= h];   c = (L(theta + eps z') - L(theta - eps z')) / (2 eps);   theta <- theta - lr c z'

    h is the (1 - sparsity) quantile of |theta_0|, a tensor; m follows the unperturbed weights.  A tensor of equal
    magnitudes (norms of ones, biases of zeros) is not masked.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        sparsity: share of each tensor's weights that is frozen, in [0, 1); the paper: 0.75 or 0.8.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; one number a tensor; 55 journal bytes at n = 1.  A masked matrix is formed chunk by chunk.

    Example:
        >>> sparse_mezo(sparsity=0.8).directions.sparsity
        0.8

    Reference: arXiv 2402.15751.
    """
    checked(lr=lr, eps=eps, sparsity=sparsity, n=n, law=law, schedule=schedule)
    return Method(
        "sparse_mezo", Small(Dense(law), sparsity), TwoSided(n), Central(), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "sparsity": sparsity, "n": n, "law": law, "schedule": schedule},
        frozenset({"shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("sparse_mezo", sparse_mezo,
               "Sparse MeZO: Less Parameters for Better Performance in Zeroth-Order LLM Fine-Tuning", "2402.15751",
               "2n", "1 number a tensor", "55 B", "MeZO along the small weights of each tensor"),
)  # fmt: skip
