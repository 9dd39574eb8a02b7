"""Directions along few of the weights: Sparse-MeZO (the small ones, anew every step), SensZOQ (a fixed choice)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..coefficients import Central
from ..directions import Choosing, Dense, Small
from ..directions.dense import Law
from ..method import Method
from ..probes import TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked

Mask: TypeAlias = Literal["auto", "gradient", "activations", "magnitude", "random"]


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


def senszoq(
    lr: float = 1e-6, eps: float = 1e-3, *, density: float = 0.001, mask: Mask = "auto", n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """SensZOQ: MeZO along a small fixed set of sensitive weights.

        z_j for the chosen j alone;   c = (L(theta + eps z) - L(theta - eps z)) / (2 eps);   theta_j <- theta_j - lr c z_j

    The paper chooses by the diagonal of the empirical Fisher matrix, sum over batches of (dL/dtheta_j)^2, over all
    weights at once, and keeps the rest in 4 bits: `zoptim finetune --quantize int4 --method senszoq`.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        density: share of the weights that is trained, in (0, 1]; the paper: 0.001.
        mask: "gradient" (the paper; one backward pass a batch, once) or "activations" (|weight| x rms of what it
            multiplies; forward passes alone), which a fine-tuning run measures on its training examples; of each
            tensor the largest by "magnitude", or "random".  "auto" is the gradient's in a fine-tuning run, else
            magnitude's.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; 8 bytes a chosen weight; 55 journal bytes at n = 1, and the mask, once.

    Example:
        >>> senszoq(density=0.01).directions.density
        0.01

    Reference: arXiv 2406.02913.
    """
    checked(lr=lr, eps=eps, density=density, mask=mask, n=n, law=law, schedule=schedule)
    directions = Choosing(Dense(law), density=density, choice="magnitude" if mask == "auto" else mask)
    return Method(
        "senszoq", directions, TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "density": density, "mask": mask, "n": n, "law": law, "schedule": schedule},
        frozenset({"additive", "shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("sparse_mezo", sparse_mezo,
               "Sparse MeZO: Less Parameters for Better Performance in Zeroth-Order LLM Fine-Tuning", "2402.15751",
               "2n", "1 number a tensor", "55 B", "MeZO along the small weights of each tensor"),
    MethodCard("senszoq", senszoq, "Zeroth-Order Fine-Tuning of LLMs with Extreme Sparsity", "2406.02913",
               "2n", "8 B a chosen weight", "55 B", "MeZO along a small fixed set of sensitive weights"),
)  # fmt: skip
