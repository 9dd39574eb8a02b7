"""A method: the four answers with a step size and a radius, and what follows from them.

Not here: how it is run (`engine`), which ones there are (`methods`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from .first import First
from .protocols import Begins, Coefficients, Directions, Probe, Rule, Schedule, Space, State
from .schedules import constant


@dataclass(frozen=True)
class Method:
    """A composition: the four answers, a step size and a radius.  `arguments` rebuild it from a journal."""

    name: str
    directions: Directions
    probe: Probe
    coefficients: Coefficients
    rule: Rule
    lr: float
    eps: float
    schedule: Schedule = field(default_factory=constant)
    arguments: dict[str, Any] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()  # traits `testing.check_method` must find true
    pace: float = 1.0  # how far a weight moves in the end for one step's draws, beside lr sum c z over n draws: 1/(1 - beta)
    first: First | None = None  # gradients it takes besides: `drivers.hybrid` runs it, by re-execution
    vecs: tuple[str, ...] = ()  # vectors of the parameters' size that it keeps by name: see `named`

    @property
    def applied(self) -> Directions:
        """What moves the parameters: the directions that are probed, or their image."""
        applied: Directions = getattr(self.directions, "image", self.directions)
        return applied

    @property
    def normalized(self) -> bool:
        """Whether a step's length follows lr alone, to rounding, whatever the scale of the losses."""
        return "scale-free" in self.claims or getattr(self.rule, "normalizes", False)

    @property
    def additive(self) -> bool:
        """Whether updates commute (to rounding), so journals may be merged, reordered, compacted."""
        linear = self.rule.linear and self.directions.memoryless and self.rule.scale(1.0) is not None
        return linear and self.first is None and not self.vecs

    @property
    def forwards(self) -> float:
        """Forwards a step, in the mean; a gradient counts three."""
        asked = self.probe.forwards
        return asked if self.first is None else self.first.forwards(asked)


def begun(directions: Directions, space: Space, key: int, horizon: int = 1) -> State:
    """The state of directions at the start of a run on this space, whose weights are the initial ones.

    Raises:
        ValueError: directions that follow the weights, on a space whose updates go to a copy of them.
    """
    if getattr(directions, "follows", False) and getattr(space, "master_bytes", 0):
        raise ValueError(
            "master: the method's directions follow the weights, of which visits see the rounded image and updates "
            "the master; leave the master out"
        )
    slots = tuple(space.slots())
    state = directions.init(slots, key, horizon)
    if begins(directions):
        for slot in slots:
            with space.tensor(slot) as p:
                cast(Begins, directions).begin(slot, p, state)
    return state


def begins(directions: Directions) -> bool:
    """Whether directions look at the weights a run begins with; those that wrap others say so for them."""
    return bool(getattr(directions, "begins", isinstance(directions, Begins)))
