"""Shaping: what happens to coefficients after the difference: chains, clipping, division by a spread."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Coefficients, Record, Weighing


@dataclass(frozen=True)
class Chain:
    """Parts applied left to right; each sees what the one before it returned."""

    parts: tuple[Coefficients, ...]

    def weigh(self, w: Weighing) -> Weighing:
        for part in self.parts:
            w = part.weigh(w)
        return w

    def observe(self, record: Record) -> None:
        for part in self.parts:
            part.observe(record)


@dataclass(frozen=True)
class OverSpread:
    """Divide by the spread of the probes' losses over eps (FZOO, arXiv 2506.09034).

    sigma^2 = 1/(n-1) sum_i (L_i - mean L)^2 over the n probe points (the base point left out);
    coefs <- coefs * eps / sigma.  As sigma is about eps |grad|, this is normalised SGD: each weight moves by
    about lr/sqrt(n) whatever the scale of the loss.  In this scaling lr = lr_code = lr_paper / eps.  Equal
    losses (sigma = 0) give zeros: such a step moves nothing.
    """

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed(w.coefs * _over_spread(w.losses[1:], w.eps))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass
class OverReusedSpread:
    """`OverSpread` with the previous step's probe losses counted in: half the probes, the same sigma (FZOO-R).

    The losses of then are another batch's, as in the paper.  A step without one before it uses its own alone.
    """

    _before: tuple[float, ...] = field(default=(), init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        probes = np.array([*w.losses[1:], *self._before])
        return w.weighed(w.coefs * _over_spread(probes, w.eps))

    def observe(self, record: Record) -> None:
        if record.kind == "move":
            self._before = record.losses[1:]


def _over_spread(probes: np.ndarray, eps: float) -> float:
    """eps / sigma of these losses; 0 where they are equal to rounding."""
    sigma = float(np.std(probes, ddof=1))
    ties = sigma <= 1e-12 * float(np.abs(probes).max())  # what rounding leaves of equal losses
    return 0.0 if ties else eps / sigma


@dataclass(frozen=True)
class Clip:
    """Limit each coefficient to [-bound, bound] (QZO's directional-derivative clipping, arXiv 2505.13430)."""

    bound: float

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed(np.clip(w.coefs, -self.bound, self.bound))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass(frozen=True)
class Votes:
    """The sign of each coefficient: along sign vectors every draw is then one vote on every element (ZO-signSGD's M-vote)."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed(np.sign(w.coefs))

    def observe(self, record: Record) -> None:
        """Stateless."""
