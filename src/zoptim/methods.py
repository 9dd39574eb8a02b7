"""The shelf: one short function a paper, each a composition of tested parts.

To read what a method does, read its function: directions, probe, coefficients, rule.  Costs are a step's:
forwards, memory beside the weights, and journal bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from .coefficients import Central, Chain, Forward, OverSpread
from .directions import Dense, LowRank
from .directions.dense import Law
from .engine import Method
from .probes import OneSided, TwoSided
from .rules import Descent
from .schedules import SCHEDULES


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


class MethodCard(NamedTuple):
    """What `zoptim methods` tells of a shelf entry."""

    name: str
    make: Callable[..., Method]
    paper: str
    arxiv: str
    forwards: str
    memory: str
    journal: str
    summary: str


SHELF: Mapping[str, MethodCard] = {
    card.name: card
    for card in (
        MethodCard("mezo", mezo, "Fine-Tuning Language Models with Just Forward Passes", "2305.17333",
                   "2n", "none", "55 B", "two-sided differences, plain descent"),
        MethodCard("fzoo", fzoo, "FZOO: Fast Zeroth-Order Optimizer", "2506.09034",
                   "n + 1", "none", "167 B", "one-sided sign probes, step over the spread of losses"),
        MethodCard("lozo", lozo, "Enhancing Zeroth-Order Fine-Tuning for Language Models with Low-Rank Structures",
                   "2410.07698",
                   "2n", "none", "55 B", "two-sided differences along low-rank directions of matrices"),
    )
}  # fmt: skip


def build(name: str, settings: Mapping[str, Any]) -> Method:
    """A method by name; unknown names and settings are refused with the closest known one.

    Example:
        >>> build("fzoo", {"n": 4}).probe.forwards
        5
    """
    if name not in SHELF:
        raise ValueError(f"method={name!r} is not on the shelf{hint(name, SHELF)}; see `zoptim methods`")
    known = inspect.signature(SHELF[name].make).parameters
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r}{hint(key, known)}; it has {', '.join(known)}")
    return SHELF[name].make(**settings)


def hint(word: str, known: Any) -> str:
    """ ", did you mean ...?" or nothing."""
    close = get_close_matches(str(word), [str(k) for k in known], 1, 0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def checked(**settings: Any) -> None:
    """Refuse what no method can use: the error names the setting, its value and what would do."""
    for key, value in settings.items():
        if key in ("lr", "eps") and not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise ValueError(f"{key}={value!r} must be a positive finite number")
        if key == "n" and not (isinstance(value, int) and 1 <= value < 1 << 24):
            raise ValueError(f"n={value!r} must be a whole number from 1")
        if key == "law" and value not in ("signs", "normal"):
            raise ValueError(f"law={value!r} must be 'signs' or 'normal'")
        if key == "schedule" and value not in SCHEDULES:
            raise ValueError(
                f"schedule={value!r} must be one of {', '.join(SCHEDULES)}{hint(value, SCHEDULES)}"
            )
        if key == "weight_decay" and not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"weight_decay={value!r} must be a number from 0")
