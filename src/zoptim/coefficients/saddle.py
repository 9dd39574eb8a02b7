"""What the answers of `probes.Saddle` weigh: a step down the gradient, a growing w, or a leap along it.

    |g| >= large       x <- x - lr g
    else               g and w = small z are kept, and w <- w - pace (grad f(x + w) - g) until |w| > 2^10 small or `patience`
    |w| grown          x <- x +- reach w / |w|, whichever is lower
    not grown          no curvature below about -delta: the step is skipped, with that reason

`extra` begins with what the next step is, then |w|; a fold over records, like all state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import noise
from ..protocols import Record, Term, Vec, Weighing

LOOK, FEEL, LEAP = 0.0, 1.0, 2.0  # as in `probes.saddle`
G, W = Vec("g"), Vec("w")
STATIONARY = "no negative curvature is felt here: a second-order stationary point"
GROWN = 2.0**10


@dataclass
class Escape:
    """Args:
    large: |g| from which a step down is taken (the paper: 3/4 of epsilon).
    small: |w| at the start, about.
    pace: step size of w (1 / L and below).
    patience: feeling steps before giving up (the paper: of the order of log d / (pace delta)).
    reach: length of a leap (the paper: delta / rho).
    """

    large: float
    small: float
    pace: float
    patience: int
    reach: float
    _phase: float = field(default=LOOK, init=False, repr=False)
    _felt: int = field(default=0, init=False, repr=False)

    def weigh(self, w: Weighing) -> Weighing:
        if self._phase == LEAP:
            return self._leap(w)
        c = (w.losses[0::2] - w.losses[1::2]) / (2.0 * w.eps)
        sum_ = tuple((z, float(x)) for z, x in zip(w.draws, c, strict=True))
        return self._feel(w, sum_) if self._phase == FEEL else self._look(w, sum_, float(np.sqrt(c @ c)))

    def _look(self, w: Weighing, g: tuple[Term, ...], length: float) -> Weighing:
        if length >= self.large:
            return w.but(coefs=np.array([c for _, c in g]), extra=(LOOK,))
        start = noise.normals(w.key, w.t, 0, noise.slot_id("w"), 0, len(g), noise.INITIAL)
        each = self.small / len(g) ** 0.5
        begin = tuple((z, each * float(u)) for (z, _), u in zip(g, start, strict=True))
        return w.but(tracks=(("g", g), ("w", begin)), extra=(FEEL, self.small))

    def _feel(self, w: Weighing, here: tuple[Term, ...]) -> Weighing:
        new: tuple[Term, ...] = ((W, 1.0), (G, self.pace), *((z, -self.pace * c) for z, c in here))
        length = float(np.sqrt(w.dot(new, new)))
        if length > GROWN * self.small:
            return w.but(tracks=(("w", new),), extra=(LEAP, length))
        if self._felt >= self.patience:
            return w.but(reason=STATIONARY, extra=(LOOK,))
        return w.but(tracks=(("w", new),), extra=(FEEL, length))

    def _leap(self, w: Weighing) -> Weighing:
        up, down, here = w.losses
        length = float(np.sqrt(w.dot(((W, 1.0),), ((W, 1.0),))))
        if min(up, down) >= here:
            return w.but(reason=STATIONARY, extra=(LOOK,))
        side = -1.0 if up < down else 1.0  # steps go against the sum
        return w.but(coefs=np.array([side * self.reach / (length * w.lr)]), extra=(LOOK,))

    def observe(self, record: Record) -> None:
        now = record.extra[0] if record.extra else LOOK
        self._felt = self._felt + 1 if now == FEEL == self._phase else 0
        self._phase = now
