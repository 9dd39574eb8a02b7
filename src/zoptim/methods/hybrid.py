"""Methods that use derivatives: Addax, the layer split, alternation, SAM with a probed ascent; forward gradients.

The last is a method like any other.  Each of the first four is an ordinary zeroth-order composition, MeZO's, with a `First` that says what its gradients do; such a run is
replayed by re-execution (`drivers.hybrid`).  It cannot be streamed, merged or spread over workers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..coefficients import Central, Exact
from ..directions import Dense
from ..directions.dense import Law
from ..first import First
from ..method import Method
from ..probes import Tangents, TwoSided
from ..protocols import Rule
from ..rules import Adam, Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked, hint


@dataclass(frozen=True)
class Mixed(First):
    """Both in every step: (1 - alpha) of the gradient, alpha of the probes."""

    alpha: float = 0.5

    def share(self, k: int, horizon: int) -> tuple[float, float]:
        return 1.0 - self.alpha, self.alpha

    def forwards(self, probes: float) -> float:
        return 3.0 * (self.alpha < 1.0) + probes * (self.alpha > 0.0)


@dataclass(frozen=True)
class Turns(First):
    """`turns` steps of gradients, then as many of probes, and so on; the last `turns` of a run are probes."""

    turns: int = 1

    def share(self, k: int, horizon: int) -> tuple[float, float]:
        last = horizon > self.turns and k >= horizon - self.turns
        return (0.0, 1.0) if last or k // self.turns % 2 else (1.0, 0.0)

    def forwards(self, probes: float) -> float:
        return (3.0 + probes) / 2.0


@dataclass(frozen=True)
class Ascent(First):
    """The gradient alone moves; at rho = 0 nothing is probed."""

    def share(self, k: int, horizon: int) -> tuple[float, float]:
        return 1.0, 0.0

    def forwards(self, probes: float) -> float:
        return 3.0 + probes * (self.rho > 0.0)


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


def split(
    lr: float = 1e-6, eps: float = 1e-3, *, blocks: int = 1, ratio: float = 1e3, rule: str = "sgd", n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Layer split: gradients for the last blocks and what follows them, two-sided differences for the rest.

        shallow:  theta <- theta - lr sum_i c_i z_i      deep:  theta <- rule(theta, grad L, ratio lr)

    A backward stops at the split, so activations are kept from there on only; probes perturb what is before it.
    Both see the same weights and the same batch.

    Args:
        lr: step size of the probed part.
        eps: radius, in the weights' own units.
        blocks: of the model, counted from the end, that gradients move.
        ratio: the gradient's step size over lr.
        rule: "sgd" or "adam": how the gradient moves weights.
        n: directions a step.
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear", of both step sizes.

    Raises:
        ValueError: a setting outside its range; when the run opens, a split that leaves a part nothing.

    Cost: 2n forwards, and a forward and a backward (counted as 3, though the backward is short); memory: the
    activations of the last blocks, Adam's two vectors of them; 75 journal bytes at n = 1.

    Example:
        >>> split(blocks=2).first.blocks
        2

    Reference: arXiv 2402.11592, section 5 (no code was published).
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    _whole("blocks", blocks, 1)
    first = First(_rule(rule), ratio=_above("ratio", ratio), blocks=blocks)
    return _over_mezo(
        "split", lr, eps, n, law, schedule, first, blocks=blocks, ratio=ratio, rule=rule
    )  # fmt: skip


def alternate(
    lr: float = 1e-6, eps: float = 1e-3, *, turns: int = 10, ratio: float = 10.0, rule: str = "adam", n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Alternation: rounds of gradient steps and of two-sided differences, beginning with gradients, ending with probes.

        odd rounds:   theta <- rule(theta, grad L, ratio lr), N times      even rounds:  MeZO, N times

    Made for unlearning, L = -L_forget + lambda L_retain (`zoptim.objective.together`), where weights left by
    probes were found harder to relearn from.  The last N steps of a run are probes whatever its length.

    Args:
        lr: step size of the probes' steps.
        eps: radius, in the weights' own units.
        turns: N, steps of a round.
        ratio: the gradient's step size over lr.
        rule: "adam" (the paper) or "sgd": how the gradient moves weights.
        n: directions a step.
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear", of both step sizes.

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards in one half of the steps, a forward and a backward (counted as 3) in the other; memory:
    activations, Adam's two vectors; 40 to 60 journal bytes.

    Example:
        >>> [alternate(turns=2).first.share(k, 7) for k in range(7)][3:]
        [(0.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)]

    Reference: arXiv 2510.00761.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    _whole("turns", turns, 1)
    first = Turns(_rule(rule), ratio=_above("ratio", ratio), turns=turns)
    return _over_mezo(
        "alternate", lr, eps, n, law, schedule, first, turns=turns, ratio=ratio, rule=rule
    )  # fmt: skip


def sam(
    lr: float = 1e-4, eps: float = 1e-3, *, rho: float = 0.05, rule: str = "adam", n: int = 1,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Sharpness-aware minimization whose ascent is probed: one backward a step instead of two (AdaZo-SAM).

        g0 = sum_i c_i z_i;   a = rho g0 / |g0|;   theta <- rule(theta, grad L(theta + a), lr)

    a goes uphill, as in SAM (a printed edition has a minus).  LORENZA also projects gradient and moments to a
    low rank per matrix, which is not done here.

    Args:
        lr: step size.
        eps: radius of the probes, in the weights' own units.
        rho: how far up the gradient is taken; 0 is the rule alone, without probes.
        rule: "adam" (the paper) or "sgd": how the gradient moves weights.
        n: directions of the ascent.
        law: "normal" (the paper) or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2n forwards, and a forward and a backward (counted as 3); memory: activations, a copy of what is
    trained while the gradient is taken, Adam's two vectors; 75 journal bytes at n = 1.

    Example:
        >>> sam(rho=0.0).forwards
        3.0

    Reference: arXiv 2502.19571.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    if not (isinstance(rho, int | float) and 0.0 <= rho < float("inf")):
        raise ValueError(f"rho={rho!r} must be a number from 0")
    return _over_mezo(
        "sam", lr, eps, n, law, schedule, Ascent(_rule(rule), rho=float(rho)), rho=rho, rule=rule
    )


def forward_gradient(
    lr: float = 1e-6, eps: float = 1e-3, *, n: int = 1, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Forward gradient: exact slopes along n random directions, plain descent.

        c_i = <grad L, z_i> / n, by one forward with dual numbers;   theta <- theta - lr sum_i c_i z_i

    MeZO without its radius: what differences could reach at best.  Records are pairs like any other, so it replays,
    resumes and is undone without the data.  The objective has to be differentiable, the weights in memory.

    Args:
        lr: step size, in weight per unit of slope.
        eps: not used by steps; where a run looks before it starts.
        n: directions a step.
        law: "normal" (the paper) or "signs".
        schedule: "constant", "cosine" or "linear" (the paper: exponential decay).

    Raises:
        ValueError: a setting outside its range.

    Cost: 1 forward for the loss and n with dual numbers, counted as 2 each; memory: a copy of what is trained, and
    no fused attention; 55 journal bytes at n = 1.

    Example:
        >>> forward_gradient(n=4).probe.forwards
        9

    Reference: arXiv 2202.08587.
    """
    checked(lr=lr, eps=eps, n=n, law=law, schedule=schedule)
    return Method(
        "forward_gradient", Dense(law), Tangents(n), Exact(), Descent(), lr, eps, SCHEDULES[schedule](),
        {"lr": lr, "eps": eps, "n": n, "law": law, "schedule": schedule},
        frozenset({"unbiased", "shift-free", "additive"}),
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


def _above(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and 0.0 < value < float("inf")):
        raise ValueError(f"{name}={value!r} must be a positive finite number")
    return float(value)


def _rule(name: str) -> Rule:
    rules: dict[str, Rule] = {"sgd": Descent(), "adam": Adam()}
    if name not in rules:
        raise ValueError(f"rule={name!r} must be 'sgd' or 'adam'{hint(name, rules)}")
    return rules[name]


CARDS = (
    MethodCard("forward_gradient", forward_gradient, "Gradients without Backpropagation", "2202.08587",
               "2n + 1", "1 copy", "55 B", "exact slopes along random directions, by forward-mode derivatives"),
    MethodCard("addax", addax, "Addax: Utilizing Zeroth-Order Gradients to Improve Memory Efficiency and Performance "
               "of SGD", "2410.06441",
               "2n + 3", "activations", "75 B", "two-sided differences on long examples, gradients on short ones"),
    MethodCard("split", split, "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning: A "
               "Benchmark", "2402.11592",
               "2n + 3", "activations of the last blocks", "75 B", "gradients for the last blocks, differences before"),
    MethodCard("alternate", alternate, "Downgrade to Upgrade: Optimizer Simplification Enhances Robustness in LLM "
               "Unlearning", "2510.00761",
               "n + 1.5", "activations, 2 vectors", "50 B", "rounds of gradients and of differences, for unlearning"),
    MethodCard("sam", sam, "LORENZA: Enhancing Generalization in Low-Rank Gradient LLM Training", "2502.19571",
               "2n + 3", "activations, 3 vectors", "75 B", "gradients taken uphill along probed differences"),
)  # fmt: skip
