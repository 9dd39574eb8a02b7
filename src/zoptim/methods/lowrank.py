"""Directions of matrices by a few vectors: LOZO, LOZO-M, EGGROLL, GRZO."""

from __future__ import annotations

from ..coefficients import Central, PerExample, ZScored
from ..directions import Flips, LowRank, Members, Subspace
from ..directions.dense import Law
from ..method import Method
from ..probes import EachExample, TwoSided
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


def lozo_m(
    lr: float = 2e-6, eps: float = 1e-3, *, rank: int = 2, keep: int = 50, beta: float = 0.9, n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """LOZO-M: LOZO with a momentum that lives in the subspace, at a few numbers a row.

        N <- beta N + (1 - beta) sum_i c_i U_i;   X <- X - lr N V^T / sqrt(r);   V renewed: N <- N V_old^T V_new / cols

    c and scaling as in lozo.  (The published code starts without the 1 - beta and, with keep = 1, never projects.)

    Args:
        lr: step size, in weight per unit of directional derivative.
        eps: radius, in the weights' own units.
        rank: r of each matrix's direction.
        keep: steps between renewals of V.
        beta: of the running mean, in [0, 1).
        n: directions a step; they share V.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; rank numbers a row of each matrix; 55 journal bytes at n = 1.

    Example:
        >>> lozo_m(beta=0.8).directions.beta
        0.8

    Reference: arXiv 2410.07698.
    """
    checked(lr=lr, eps=eps, n=n, beta=beta, law=law, schedule=schedule)
    return Method(
        "lozo_m", Subspace(rank, keep, law, beta=beta), TwoSided(n), Central(), Descent(), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "rank": rank, "keep": keep, "beta": beta, "n": n, "law": law, "schedule": schedule},
        frozenset({"shift-free"}),
    )  # fmt: skip


def eggroll(
    lr: float = 1e-3, eps: float = 1e-3, *, n: int = 16, rank: int = 1, law: Law = "normal",
    schedule: str = "constant",
) -> Method:  # fmt: skip
    """EGGROLL: an evolution strategy over n antithetic pairs, each member a low-rank matrix of its own.

        Z_i = U_i V_i^T / sqrt(r);   s = z-scores of the 2n losses;   X <- X - lr / sqrt(2n) sum_i (s_i+ - s_i-) Z_i

    The paper's W + eta sqrt(N) mean_k f_k E_k with E = +-sigma Z, N = 2n and f = -s: its eta times sigma is this lr
    (it has no 1/sigma^2).  Any rule may stand on top: dataclasses.replace(eggroll(), rule=rules.Adam()).

    Args:
        lr: step length, in weight.
        eps: sigma, radius of a member.
        n: antithetic pairs.
        rank: r of a member.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, all in a pass where memory allows; no memory; about 31 + 24 n journal bytes.  A visit costs
    r (rows + cols) numbers a matrix and pair.

    Example:
        >>> eggroll(n=4).probe.forwards
        8

    Reference: arXiv 2511.16652.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    return Method(
        "eggroll", Members(rank, 1, law), TwoSided(n), ZScored(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "rank": rank, "law": law, "schedule": schedule},
        frozenset({"additive", "scale-free", "shift-free"}), pace=(2 * n) ** 0.5,
    )  # fmt: skip


def grzo(
    lr: float = 1e-3, eps: float = 1e-3, *, n: int = 16, schedule: str = "constant",
) -> Method:  # fmt: skip
    """GRZO: a direction for every example of the batch, for the price of one pair of forwards.

        z_j = U o (r_j s_j^T);   delta_j = l_j(theta + eps z_j) - l_j(theta - eps z_j)
        theta <- theta - lr / n sum_j delta_j / std(delta) z_j

    lr is the paper's over 2 eps.

    Args:
        lr: step length, in weight: each moves by about lr / sqrt(n) a step.
        eps: radius, in the weights' own units.
        n: examples a step, the batch size.
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2 forwards; no memory; about 31 + 24 n journal bytes.

    Example:
        >>> grzo(n=8).probe.forwards
        2

    Reference: arXiv 2606.02857, as its abstract describes it.
    """
    checked(lr=lr, eps=eps, n=n, schedule=schedule)
    if n < 2:
        raise ValueError(f"n={n}: grzo divides by the spread of its examples, so n must be at least 2")
    return Method(
        "grzo", Flips(), EachExample(n), PerExample(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "schedule": schedule}, frozenset({"additive", "scale-free", "shift-free"}),
    )  # fmt: skip


CARDS = (
    MethodCard("lozo", lozo, "Enhancing Zeroth-Order Fine-Tuning for Language Models with Low-Rank Structures",
               "2410.07698",
               "2n", "none", "55 B", "two-sided differences along low-rank directions of matrices"),
    MethodCard("lozo_m", lozo_m,
               "Enhancing Zeroth-Order Fine-Tuning for Language Models with Low-Rank Structures", "2410.07698",
               "2n", "rank a row", "55 B", "LOZO with momentum in its subspace"),
    MethodCard("eggroll", eggroll, "Evolution Strategies at the Hyperscale", "2511.16652",
               "2n", "none", "415 B", "a population of low-rank members, z-scored"),
    MethodCard("grzo", grzo, "GRZO", "2606.02857",
               "2", "none", "415 B", "a sign-flipped direction for every example"),
)  # fmt: skip
