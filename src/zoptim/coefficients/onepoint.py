"""Quotients of one loss, where there is no second one at the same step.

OnePoint    c_i = L_i / (eps n)                    over `OnePoint` points; variance L^2 / eps^2
Residual    c_t = (L_t - L_{t-1}) / eps            over `Residual` points (arXiv 2006.10820)

In the mean over z_t both are the gradient of the smoothed loss, as L_{t-1} knows nothing of z_t.  `OnePoint` moves
where all losses are equal, and by more the larger they are: center the losses, or take anything else if you can.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Record, Weighing


@dataclass(frozen=True)
class OnePoint:
    """The losses themselves over eps n."""

    def weigh(self, w: Weighing) -> Weighing:
        return w.weighed(w.losses / (w.eps * len(w.draws)))

    def observe(self, record: Record) -> None:
        """Stateless."""


@dataclass
class Residual:
    """The loss less that of the step before, which a record holds; less that at theta where both were asked."""

    _before: float = field(default=0.0, init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        before = w.losses[1] if len(w.losses) > 1 else self._before
        return w.weighed(np.array([(w.losses[0] - before) / w.eps]))

    def observe(self, record: Record) -> None:
        if record.losses:
            self._before = record.losses[0]
