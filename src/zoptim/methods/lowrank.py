"""Low-rank directions of matrices: LOZO."""

from __future__ import annotations

from ..coefficients import Central
from ..directions import LowRank
from ..directions.dense import Law
from ..engine import Method
from ..probes import TwoSided
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def lozo(
    lr: float = 2e-6, eps: float = 1e-3, *, rank: int = 2, keep: int = 50, n: int = 1, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """LOZO: two-sided differences along low-rank directions of each matrix, whose V is renewed every `keep` steps.

        Z_i = U_i V^T / sqrt(r);   c_i = (L(X + eps Z_i) - L(X - eps Z_i)) / (2 eps n);   X <- X - lr sum_i c_i Z_i

    Vectors get dense normals.  The paper probes along U V^T and divides the estimate by r: to O(eps^2) this
    step, lr being the paper's.  The published code leaves the 1/r out, so lr = r times its lr (2e-6 for its
    1e-6 at r = 2), and on matrices eps = sqrt(r) times its eps; where V is renewed it applies another U than
    it probed, which is not done here.

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        rank: r of each matrix's direction (the paper: 1 or 2, 4 or 8 for RoBERTa).
        keep: steps between renewals of V (the paper: 50 or 100).
        n: directions a step; they share V.
        law: "normal" (the paper) or "signs", of U, V and vectors.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; no memory; 55 journal bytes at n = 1.  A visit costs r (rows + cols) numbers a matrix.

    Example:
        >>> lozo(rank=4).directions.rank
        4

    Reference: arXiv 2410.07698.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    return Method(
        "lozo", LowRank(rank, keep, law), TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "rank": rank, "keep": keep, "n": n, "law": law, "schedule": schedule},
        frozenset({"additive", "shift-free", "unbiased"}),
    )  # fmt: skip


CARDS = (
    MethodCard("lozo", lozo, "Enhancing Zeroth-Order Fine-Tuning for Language Models with Low-Rank Structures",
               "2410.07698",
               "2n", "none", "55 B", "two-sided differences along low-rank directions of matrices"),
)  # fmt: skip
