"""`--lr auto`: radius, step size and units, from forwards alone, before the first step.

Everything is measured in what the loss reads: r, the log-odds of the candidates (or the log-probabilities of
a completion's tokens), in nats.

    units    where few numbers are trained, h_j = rms |dr / dtheta_j| by one forward a number, and directions are
             scaled by s_j = 1 / (h_j + 0.3 mean h), so that no number dominates a probe and none is wasted
    reach    kappa = rms change of r under a sign probe of radius 1 (of the scaled directions)
    eps      0.1 / kappa: a probe moves the log-odds by a tenth, well above rounding and below curvature
    lr       normalised methods: 2 sqrt(n / T) / kappa.  The injected noise walks lr sqrt(T / n) = 2 nats over the
             whole run whatever n and T; methods with plain differences: that, over the spread of differences
    signal   rho^2 = how much of a probe's squared difference two disjoint batches agree on

The constants 0.3, 0.1 and 2 are from the runs in LOG.md; nothing here looks at dev or test.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import methods
from ..directions import Coordinate, Dense
from ..method import Method, begun
from ..protocols import Draw, Now, Partial, Point, Slot
from .batches import Order
from .errors import RunError
from .scales import pack, scaled
from .session import Session, Split
from .units import duration

FLOOR, RADIUS, WALK = 0.3, 0.1, 2.0
SHARE = 0.1  # of the forwards budget that measuring units may take
PROBES = 16
ROWS = 8192  # rows a measuring pass may put through the model at once


@dataclass(frozen=True)
class Reading:
    """r and the loss at m points: r (m, K) in nats, loss (m,), right (m,) share of items or None."""

    r: Tensor
    loss: np.ndarray
    right: np.ndarray | None


def calibrate(
    session: Session, method: Method, order: Order, key: int, budget: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """What the run's header records: lr, eps, scales, and what was measured.

    Args:
        session: opened, prefix cached.
        method: with any lr and eps; its probe, directions and coefficients are used.
        order: of the training batches; the first ones are looked at.
        key: run key.
        budget: forwards the run will take.
        say: told the findings in a few lines.

    Cost: about 6 dozen forwards, and one a trained number where they are few; counted.
    """
    measure = _Measure(session, method, order, key)
    coordinates = getattr(method.directions, "finite", False)
    given = (
        coordinates or method.first is not None
    )  # what gradients and single coordinates need, probes do not tell
    scales = {} if given else measure.units(budget)
    if scales:
        say(f"units: {measure.d:,} numbers measured, each direction scaled to its reach")
    kappa = measure.reach()
    steps = max(1, int(budget // method.forwards))
    radius = _default(method, "eps") if coordinates else _radius(session) / kappa
    eps = session.config.eps if session.config.eps != "auto" else radius
    seen = measure.signal(float(eps))
    lr = WALK * (len(_draws(method)) / steps) ** 0.5 / (kappa * method.pace)
    if not np.isfinite([seen.spread, seen.loss]).all():
        raise RunError(
            f"eps={eps:g}: the loss is not finite where probes look; give a smaller --eps, or leave it out"
        )
    if not method.normalized and not given:
        if session.config.lr == "auto" and seen.spread == 0.0:
            raise RunError(
                f"eps={eps:g}: probes do not change the loss; give a larger --eps, or leave it out"
            )
        lr /= seen.spread or 1.0  # plain differences: coefficients come in units of the spread itself
    if given:
        lr = _default(method, "lr")
    chosen = session.config.lr if session.config.lr != "auto" else lr
    found: dict[str, Any] = {
        "lr": float(chosen), "eps": float(eps), "kappa": kappa, "spread": seen.spread, "rho": seen.rho,
        "forwards": measure.forwards, "seconds_per_forward": measure.seconds / max(1, measure.forwards),
        "scales": {name: pack(s) for name, s in scales.items()}, "notes": [],
    }  # fmt: skip
    _tell(found, steps, seen, method, say, given)
    return found


def _default(method: Method, setting: str) -> float:
    """What the method's own function names."""
    return float(inspect.signature(methods.SHELF[method.name].make).parameters[setting].default)


def _radius(session: Session) -> float:
    """How far a probe moves the log-odds: further where the objective is flat between examples."""
    return RADIUS if session.goal.smooth else 5 * RADIUS


def _draws(method: Method) -> tuple[Draw, ...]:
    """The draws of one step of this method."""
    rounds = method.probe.rounds(0, Now(1.0, 1.0))
    points = next(rounds)
    return tuple(dict.fromkeys(z for point in points for z, _ in point.terms))  # type: ignore[misc]


class Signal(NamedTuple):
    """Of directional differences: rms, its share two batches agree on, what they agree on; and where we stand."""

    spread: float
    rho: float
    gain: float
    loss: float
    right: float | None  # share of examples answered rightly; None where nothing is chosen
    classes: int


class _Measure:
    def __init__(self, session: Session, method: Method, order: Order, key: int) -> None:
        self.session, self.key, self.order = session, key, order
        self.split: Split = session.splits["train"]
        self.slots = session.space.slots()
        self.d = sum(int(np.prod(s.shape)) for s in self.slots)
        coordinates = getattr(method.directions, "finite", False)
        self.directions: Any = Dense("normal") if coordinates else method.directions
        self.turns = isinstance(self.directions, Partial)  # other steps move other blocks: look at many
        self.state = begun(self.directions, session.space, key)
        self.forwards, self.seconds = 0, 0.0

    def read(
        self, points: list[Point], which: np.ndarray, directions: Any = None, state: Any = None
    ) -> Reading:
        """r at the points, as many at once as memory is meant to hold."""
        began = time.monotonic()
        directions = directions or self.directions
        state = self.state if state is None else state
        r, loss, right = [], [], []
        items = [self.split.items[i] for i in which]
        labels = torch.tensor([-1 if i.label is None else i.label for i in items])
        most = max(1, ROWS // sum(len(i.rows) for i in items))
        allowed = self.session.space.points_per_pass or len(points)
        size = max(1, min(len(points), allowed, most))
        if not self.session.space.lockstep:
            size = 1
        for start in range(0, len(points), size):
            with self.session.space.visit(points[start : start + size], directions, state) as view:
                out = self.session.scorer(view, items, self.split.prefix, which)
            if out.scores is not None:
                logp = torch.log_softmax(out.scores, -1)
                loss.append(-logp[:, torch.arange(len(items)), labels].mean(1))
                right.append((logp.argmax(-1) == labels).float().mean(1))
                c = logp.shape[-1]
                centred = torch.nan_to_num(
                    logp - torch.nan_to_num(logp, neginf=0.0).mean(-1, keepdim=True), neginf=0.0
                )
                r.append(centred.flatten(1) * (2.0 * c / (c - 1)) ** 0.5)  # rms is that of pairwise log-odds
            else:
                assert out.logp is not None
                loss.append(-out.logp.sum((1, 2)) / out.counts.sum())
                r.append(
                    out.logp.flatten(1)
                    * (out.logp.shape[1] * out.logp.shape[2] / float(out.counts.sum())) ** 0.5
                )
        self.forwards += len(points)
        self.seconds += time.monotonic() - began
        return Reading(
            torch.cat(r),
            torch.cat(loss).double().numpy(),
            torch.cat(right).double().numpy() if right else None,
        )

    def units(self, budget: int) -> dict[str, np.ndarray]:
        """s_j by slot name, and the directions scaled by them; empty where too many numbers are trained."""
        if self.d > SHARE * budget:
            return {}
        unit, which = Coordinate(), self.order(0)
        state = begun(unit, self.session.space, self.key)
        flat = torch.cat([self._values(s) for s in self.slots])
        step = 0.05 * max(float(flat.square().mean().sqrt()), 1e-3)
        points = [Point(())] + [Point(((Draw(0, j), step),)) for j in range(self.d)]
        seen = self.read(points, which, unit, state)
        h = ((seen.r[1:] - seen.r[0]).square().mean(1).sqrt() / step).double().numpy()
        if not np.isfinite(h).all() or h.max() == 0.0:
            return {}
        s = 1.0 / (h + FLOOR * h.mean())
        s = (s / np.sqrt(np.sum((s * h) ** 2))).astype(np.float32)
        scales, start = {}, 0
        for slot in self.slots:
            size = int(np.prod(slot.shape))
            scales[slot.name] = s[start : start + size].reshape(slot.shape[0] if slot.shape else 1, -1)
            start += size
        self.directions = scaled(self.directions, scales, self.slots)
        return scales

    def _values(self, slot: Slot) -> Tensor:
        with self.session.space.tensor(slot) as p:
            return p.detach().float().flatten().clone()

    def draw(self, i: int) -> Draw:
        """The i-th direction looked along."""
        return Draw(i if self.turns else 0, i)

    def reach(self) -> float:
        """kappa: rms change of r under a probe of radius 1, found at a radius where it is small."""
        at, which = 1e-3, self.order(1)
        for _ in range(6):
            points = [Point(())] + [Point(((self.draw(i), at),)) for i in range(4)]
            seen = self.read(points, which)
            moved = float((seen.r[1:] - seen.r[0]).square().mean().sqrt())
            if 0.02 <= moved <= 0.5:
                return moved / at
            if not np.isfinite(moved):
                at *= 0.01
            else:
                at *= min(100.0, max(0.01, RADIUS / moved)) if moved else 100.0
        raise RunError(
            "no radius moves what the loss reads by a tenth: the trained parameters do not matter or break the "
            "model at once; choose others with --train, or check the data"
        )

    def signal(self, eps: float) -> Signal:
        """What one batch says of a direction, and how much of it another batch confirms."""
        points = [Point(((self.draw(i), s * eps),)) for i in range(PROBES) for s in (1.0, -1.0)]
        a, b = self.read(points, self.order(2)), self.read(points, self.order(3))
        ca, cb = ((x.loss[0::2] - x.loss[1::2]) / (2 * eps) for x in (a, b))
        total = float((ca @ ca + cb @ cb) / (2 * PROBES))
        agree = max(0.0, float(ca @ cb) / PROBES)
        right = None if a.right is None else float(a.right.mean())
        classes = max(len(i.columns or i.rows) for i in self.split.items)
        rho = (agree / total) ** 0.5 if total else 0.0
        return Signal(total**0.5, rho, agree**0.5, float(a.loss.mean()), right, classes)


def calibrated_accuracy(loss: float, classes: int) -> float:
    """How often an answerer whose probabilities are honest is right at this cross-entropy, wrong mass spread evenly.

    The p in [1/C, 1] with -p ln p - (1 - p) ln((1 - p)/(C - 1)) = loss.

    Example:
        >>> round(calibrated_accuracy(0.5004, 2), 3), calibrated_accuracy(9.0, 4)
        (0.8, 0.25)
    """
    low, high = 1.0 / classes, 1.0
    if loss >= np.log(classes):
        return low
    for _ in range(60):
        p = (low + high) / 2
        rest = 1.0 - p
        entropy = -p * np.log(p) - (rest * np.log(rest / (classes - 1)) if rest > 0 else 0.0)
        low, high = (p, high) if entropy > loss else (low, p)
    return low


def _tell(
    found: dict[str, Any], steps: int, seen: Signal, method: Method,
    say: Callable[[str], None], given: bool,
) -> None:  # fmt: skip
    """Say what was chosen, the pace to expect, and when this is a bad idea."""
    loss, gain = max(seen.loss, 1e-6), seen.gain
    whose = f" ({method.name}'s own: not measured)" if given and found["lr"] == _default(method, "lr") else ""
    say(
        f"calibrated in {found['forwards']} forwards: lr {found['lr']:.3g}{whose}, eps {found['eps']:.3g} "
        f"(a probe moves the log-odds by {found['eps'] * found['kappa']:.2g}); signal {found['rho'] ** 2:.0%} of a difference"
    )
    if given:
        return  # what gradients will do is not in the probes' signal
    per_step = found["lr"] * method.pace * gain * (found["rho"] if method.normalized else gain)
    found["loss_per_step"] = per_step
    seconds = steps * found["seconds_per_forward"] * method.forwards
    half = loss / 2  # the slope at the start, taken to die out when half of the loss is gone
    total = half * (1.0 - float(np.exp(-per_step * steps / 2 / half)))
    pace = f"at a guess from the slope here: loss {loss:.3g} -> {loss - total:.2g} in {duration(seconds)}"
    if seen.right is not None:
        reached = max(seen.right, calibrated_accuracy(loss - total, seen.classes))
        pace += f", accuracy {seen.right:.2f} -> {reached:.2f}"
        if seconds > 3600:
            pace += f" ({100 * (reached - seen.right) * 3600 / seconds:.2g} points an hour)"
    say(pace)
    found["forecast"] = pace
    if total < 0.02:
        note = (
            f"WARNING: at this pace the whole run lowers the loss by about {total:.2g} nats: forward passes alone are a bad "
            "idea here.  More forwards, a larger --batch, fewer trained weights (--train), or gradients (LoRA with AdamW) are better"
        )
        say(note)
        found["notes"].append(note)
