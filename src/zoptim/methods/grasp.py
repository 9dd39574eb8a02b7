"""Where sparse steps should look: each tensor's share of the weights that carry the gradient (ZO-GraSP).

    g0 = sum_i c_i z_i at theta;   g1 = the same at theta + mu g0, with the same z_i;   Hg = (g1 - g0) / mu
    S  = -theta * Hg                          what the gradient's square gains, to a factor, when a weight is removed

GraSP removes the weights of the largest S.  The keep-share with the smallest, ranked over all tensors, is counted per
tensor; of the ranking only these counts are used (DeepZero, arXiv 2310.02025; GraSP, arXiv 2002.07376).

Where the published code differs: it ranks |S|, so the sign is lost; it draws z on the unit sphere of each tensor and
multiplies by mu z, which is no gradient.  The same z_i at both points make Hg a difference of one estimator, not of
two noises.  g0 is never stored: theta + mu g0 is a point of n terms like any other.
"""

from __future__ import annotations

import numpy as np

from ..engine import Run
from ..journal import Journal
from ..protocols import Draw, Mix, Objective, Point, Slot, Space
from .plain import mezo


def grasp(
    space: Space, objective: Objective, *, key: int, keep: float = 0.1, n: int = 192, eps: float = 5e-3
) -> dict[str, float]:
    """Shares for `deepzero`: tensor name -> the part of its weights among the `keep` of all; vectors have 1.

    Args:
        space: where training would begin; nothing is moved.
        objective: the loss on some examples (the paper: 25 a class), the same at every call.
        key: of the noise, 64 bits.
        keep: the part of all matrix entries that is kept, in (0, 1).
        n: directions (the paper: 192).
        eps: mu, for the estimates and for the step along g0.

    Raises:
        ValueError: keep is not between 0 and 1.

    Cost: 2n + 2 forwards; a vector of the weights' size.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep={keep!r} must be between 0 and 1")
    run = Run(space, mezo(eps=eps, law="signs"), Journal.create(None, {"key": key}))
    draws = tuple(Draw(0, i) for i in range(n))

    def slopes(origin: tuple[tuple[Draw, float], ...]) -> np.ndarray:
        """The estimate's coefficients at theta + the origin's terms."""
        points = [Point(origin), *(Point((*origin, (z, eps))) for z in draws)]
        losses, _ = run.ask(points, objective)
        found: np.ndarray = (losses[1:] - losses[0]) / (eps * n)
        return found

    first = slopes(())
    second = slopes(tuple((z, eps * float(c)) for z, c in zip(draws, first, strict=True)))
    curved = Mix(draws, (second - first)[None] / eps)
    scores = {slot: _scores(run, slot, curved) for slot in run.slots if len(slot.shape) > 1}
    shares = {slot.name: 1.0 for slot in run.slots}
    if scores:
        everything = np.concatenate(list(scores.values()))
        bound = np.sort(everything)[max(1, round(keep * everything.size)) - 1]
        for slot, s in scores.items():
            shares[slot.name] = max(float((s <= bound).mean()), 1.0 / s.size)
    return shares


def _scores(run: Run, slot: Slot, curved: Mix) -> np.ndarray:
    """S of one tensor, flat, float64."""
    with run.space.tensor(slot) as p:
        wide = run.space.widen(p)
        hg = run.space.empty_like(wide)
        run.method.directions.form(hg[None], slot, slice(0, p.shape[0]), curved, None, run.state, at=wide)
        return -(np.asarray(wide, np.float64) * np.asarray(hg, np.float64)).ravel()
