"""Methods for quantised weights: QZO, which moves the scales and leaves the codes alone."""

from __future__ import annotations

from ..coefficients import Central, Chain, Clip
from ..directions import Dense
from ..directions.dense import Law
from ..method import Method
from ..probes import TwoSided
from ..rules import NonNegative
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def qzo(
    lr: float = 1e-7, eps: float = 1e-3, *, clip: float | None = 100.0, n: int = 1, law: Law = "normal",
    schedule: str = "constant", floored: str = "*scales",
) -> Method:  # fmt: skip
    """QZO: two-sided differences along noise on the scales of quantised weights, clipped, floored at 0.

        c_i = clip((L((Delta + eps z_i) codes) - L((Delta - eps z_i) codes)) / (2 eps), -C, C) / n
        Delta <- max(Delta - lr sum_i c_i z_i, 0)

    z has one number a scale (a group of weights), not one a weight as the paper's definition prints.  A clipped
    estimate is biased, whatever the paper's theorem says; with an infinite C it is MeZO's.  Scales are float32:
    in the paper's float16, most updates at its lr would round to nothing.

    Args:
        lr: step size, in scale per unit of directional derivative.
        eps: radius, in the scales' own units (a scale is about 2 max|w| / 15 at 4 bits).
        clip: C, the bound of a directional derivative; None (--set clip=none) does not clip.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".
        floored: names of the slots that end at 0, with wildcards; others (norms, trained jointly) descend plainly.

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards; no memory beside the scales, 4 bytes a group; 55 journal bytes at n = 1.

    Example:
        >>> qzo(clip=50.0).coefficients.parts[1].bound
        50.0

    Reference: arXiv 2505.13430.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    bound = float("inf") if clip is None else clip
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not bound > 0:
        raise ValueError(f"clip={clip!r} must be a number above 0, or None (none) not to clip")
    if not isinstance(floored, str) or not floored:
        raise ValueError(f"floored={floored!r} must be a pattern of slot names, such as '*scales' or '*'")
    unclipped = bound == float("inf")  # written as None: a journal holds finite numbers
    return Method(
        "qzo", Dense(law), TwoSided(n), Chain((Central(), Clip(bound / n))), NonNegative(floored), lr, eps,
        SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "clip": None if unclipped else clip, "n": n, "law": law, "schedule": schedule, "floored": floored},
        frozenset({"shift-free"} | ({"unbiased"} if unclipped else set())),
    )  # fmt: skip


CARDS = (
    MethodCard("qzo", qzo, "Fine-tuning Quantized Neural Networks with Zeroth-order Optimization", "2505.13430",
               "2n", "none", "55 B", "two-sided differences on the scales of quantised weights, clipped"),
)  # fmt: skip
