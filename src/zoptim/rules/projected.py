"""Descent that stays in a set, or pays for where it is: any rule's step, then a projection or a proximal step.

    Projected(rule, K)           p <- argmin_{z in K} |z - rule(p, g)|
    ProjectedInMetric(rule, K)   p <- argmin_{z in K} (z - q)' diag(sqrt u) (z - q),  q = rule(p, g)     (ZO-AdaMM, 1910.06513)
    Proximal(psi)                p <- argmin_z lr psi(z) + |z - (p - lr g)|^2 / 2

Sets and penalties are given (`zoptim.sets`), not imported; they are computed by numpy on a whole slot, so a model of
several tensors has the set in each of them.  A start outside the set is inside after the first step.
Not here: moves towards a point of the set (`FrankWolfe`), moves by factors (`Mirror`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from ..kernels.arrays import host
from ..protocols import Array, Rule, Stride


class Projects(Protocol):
    """A set with a projection, as rules see it."""

    def require(self, *operations: str) -> None: ...

    def project(self, x: Any, metric: Any = None) -> np.ndarray: ...


class Penalizes(Protocol):
    """A penalty, or a set, with a proximal step."""

    def prox(self, x: Any, eta: float) -> np.ndarray: ...


class Measures(Rule, Protocol):
    """A rule that scales its step by a metric, and says which."""

    def metric(self, vectors: Sequence[Array]) -> Array: ...


@dataclass(frozen=True)
class Projected:
    """A rule's step, then the nearest point of the set.  Memory: the rule's.

    Raises:
        ValueError: a set without a projection.
    """

    rule: Rule
    set: Projects
    linear = False
    scope: Literal["element", "slot"] = "slot"

    def __post_init__(self) -> None:
        self.set.require("project")

    @property
    def vectors(self) -> int:
        return self.rule.vectors

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        self.rule.apply(p, g, stride, vectors)
        held = host(p)
        held[...] = self.set.project(held)


@dataclass(frozen=True)
class ProjectedInMetric:
    """A scaled rule's step, then the nearest point of the set in the metric of that scaling.  Memory: the rule's.

    In the plain metric a scaled step can come to rest where no descent method should, unless the set is a box
    (arXiv 1910.06513, section 3).

    Raises:
        ValueError: a set without a projection in a metric.
    """

    rule: Measures
    set: Projects
    linear = False
    scope: Literal["element", "slot"] = "slot"

    def __post_init__(self) -> None:
        self.set.require("project", "metric")

    @property
    def vectors(self) -> int:
        return self.rule.vectors

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        self.rule.apply(p, g, stride, vectors)
        held, metric = host(p), host(self.rule.metric(vectors))
        still = metric == 0.0  # never had an estimate: where nothing moves, nothing is moved cheaply
        if still.any():
            metric[still] = 1.0 if still.all() else metric.max()
        held[...] = self.set.project(held, metric=metric)


@dataclass(frozen=True)
class Proximal:
    """Plain descent on the smooth part, then the penalty's proximal step.  Memory: none.

    With a set in the penalty's place it is projected descent.
    """

    penalty: Penalizes
    linear = False
    scope: Literal["element", "slot"] = "slot"
    vectors = 0

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        g *= stride.lr
        p -= g
        held = host(p)
        held[...] = self.penalty.prox(held, stride.lr)
