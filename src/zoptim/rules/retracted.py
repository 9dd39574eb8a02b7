"""Another rule's step, taken along a manifold: p <- Retr_p(step), step = what the rule writes from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..protocols import Array, Manifold, Rule, Stride


@dataclass(frozen=True)
class Retracted:
    """For rules whose step does not depend on p, on numpy vectors.  Memory: the rule's, and two scratch vectors."""

    rule: Rule
    manifold: Manifold
    linear = False
    bends = True  # the step is no multiple of lr
    scope: Literal["element", "slot"] = "slot"

    @property
    def vectors(self) -> int:
        return self.rule.vectors

    def scale(self, lr: float) -> float | None:
        return None

    def apply(self, p: Array, g: Array, stride: Stride, vectors: Sequence[Array]) -> None:
        step = np.zeros_like(p)
        self.rule.apply(step, g, stride, vectors)
        p[:] = self.manifold.retract(p.ravel(), step.ravel()).reshape(p.shape)
