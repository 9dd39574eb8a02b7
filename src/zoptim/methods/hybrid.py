"""Methods that also take gradients: Addax, the layer split, alternation, SAM with a probed ascent.

Each is an ordinary zeroth-order composition, MeZO's, with a `First` that says what its gradients do; such a run is
replayed by re-execution (`drivers.hybrid`).  Their own names for weights of the two parts are in `share`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..coefficients import Central
from ..directions import Dense
from ..directions.dense import Law
from ..engine import Method
from ..probes import TwoSided
from ..protocols import First
from ..rules import Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


@dataclass(frozen=True)
class Mixed(First):
    """Both in every step: (1 - alpha) of the gradient, alpha of the probes."""

    alpha: float = 0.5

    def share(self, k: int, horizon: int) -> tuple[float, float]:
        return 1.0 - self.alpha, self.alpha

    def forwards(self, probes: float) -> float:
        return 3.0 * (self.alpha < 1.0) + probes * (self.alpha > 0.0)


def addax(
    lr: float = 1e-3, eps: float = 1e-3, *, alpha: float = 5e-4, threshold: int = 0, batch1: int = 0, n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Addax: two-sided differences on long sequences and an in-place gradient on short ones, mixed.

        g0 = mean_i c_i z_i on B0 (longer than threshold);   g1 = grad L on B1 (up to it)
        theta <- theta - lr (alpha g0 + (1 - alpha) g1)

    Both see the same weights: probes are asked and the gradient's forward is run before anything moves.  Each
    tensor's gradient is applied and dropped during the backward, then the probes' sum is added.

    Args:
        lr: step size of both parts (the paper: 1e-4 on 13 billion weights).
        eps: radius, in the weights' own units.
        alpha: the probes' share; 1 is MeZO, 0 is plain gradient descent.  Small, since |c z| is about sqrt(d) |g|.
        threshold: tokens of an example up to which it is the gradient's; 0: both draw from all (the paper's
            Addax-WA).
        batch1: examples of the gradient's batch (the paper: 4 beside 6 probed); 0: the run's batch.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards on B0 and a forward and a backward on B1 (counted as 3); memory: the activations of B1 and
    one tensor's gradient; 75 journal bytes at n = 1.

    Example:
        >>> addax(alpha=0.1).forwards
        5.0

    Reference: arXiv 2410.06441.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    _share("alpha", alpha)
    _whole("threshold", threshold, 0)
    _whole("batch1", batch1, 0)
    return _over_mezo(
        "addax", lr, eps, n, law, schedule, Mixed(Descent(), threshold=threshold, batch=batch1, alpha=alpha),
        alpha=alpha, threshold=threshold, batch1=batch1,
    )  # fmt: skip


def _over_mezo(
    name: str, lr: float, eps: float, n: int, law: Law, schedule: str, first: First, **own: float | int | str
) -> Method:
    """MeZO's parts with a first-order part."""
    arguments = {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule, **own}
    return Method(
        name, Dense(law), TwoSided(n), Central(), Descent(), lr, eps, SCHEDULES[schedule](), arguments,
        frozenset({"unbiased", "shift-free"}), first=first,
    )  # fmt: skip


def _share(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and 0.0 <= value <= 1.0):
        raise ValueError(f"{name}={value!r} must be a number from 0 to 1")


def _whole(name: str, value: int, least: int) -> None:
    if not (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        raise ValueError(f"{name}={value!r} must be a whole number from {least}")


CARDS = (
    MethodCard("addax", addax, "Addax: Utilizing Zeroth-Order Gradients to Improve Memory Efficiency and Performance "
               "of SGD", "2410.06441",
               "2n + 3", "activations", "75 B", "two-sided differences on long examples, gradients on short ones"),
)  # fmt: skip
