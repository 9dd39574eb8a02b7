"""What a method that also takes gradients says of them; how they are taken is `drivers.hybrid`'s, where `spaces.gradient`'s."""

from __future__ import annotations

from dataclasses import dataclass

from .protocols import Rule


@dataclass(frozen=True)
class First:
    """The first-order part of a method that also takes gradients: read by `drivers.hybrid` alone.

    Attributes:
        rule: how the gradient moves weights.
        ratio: its step size over the method's lr.
        rho: above 0: probes move nothing; the gradient is taken at distance rho along their sum.
        blocks: above 0: the gradient moves the last so many blocks and what follows them, probes the rest.
        threshold: None: both see the step's batch.  0: batches of their own, drawn from all examples.  Above:
            the gradient sees examples of up to that many tokens, probes the longer ones.
        batch: examples of the gradient's own batch; 0: as many as the probes'.
    """

    rule: Rule
    ratio: float = 1.0
    rho: float = 0.0
    blocks: int = 0
    threshold: int | None = None
    batch: int = 0

    def share(self, k: int, horizon: int) -> tuple[float, float]:
        """Weights of the gradient and of the probes' sum in the k-th step; what weighs 0 is not asked."""
        return 1.0, 1.0

    def forwards(self, probes: float) -> float:
        """What a step costs in the mean, where probes cost `probes`: a backward counts two forwards."""
        return 3.0 + probes
