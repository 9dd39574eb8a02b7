"""Folds over records: which are in force, and which t is free.

What it is: functions of the records alone.  What it is not: parameters; the engine folds those.
"""

from __future__ import annotations

from collections.abc import Iterable

from zoptim.protocols import Record


def effective(records: Iterable[Record]) -> list[Record]:
    """The records in force, in order: an undo with t = k drops every earlier one with t >= k.

    Undo records themselves are resolved away; skips stay, for schedules and stopping rules fold over
    them.  Dropped records do not come back: a later undo only ever drops more.

    Cost: linear; no forwards.

    Example:
        >>> kinds = [("move", 0), ("move", 1), ("undo", 1), ("move", 2)]
        >>> [r.t for r in effective(Record(kind, t, 0.1) for kind, t in kinds)]
        [0, 2]
    """
    force: list[Record] = []
    ordered = True  # the engine's t only grows, so an undo pops; merged journals may not be in order
    for record in records:
        if record.kind == "undo":
            if ordered:
                while force and force[-1].t >= record.t:
                    force.pop()
            else:
                force = [r for r in force if r.t < record.t]
        else:
            ordered = ordered and not (force and force[-1].t > record.t)
            force.append(record)
    return force


def next_t(records: Iterable[Record]) -> int:
    """t of the next step: one more than any t ever used, undone steps included.

    Noise and batch are functions of t.  A step that reused an undone t would ask the same points on
    the same batch and walk the same way again; and two records with one t would make an undo, which
    names its target by t, ambiguous.

    Example:
        >>> next_t([Record("move", 0, 0.1), Record("move", 1, 0.1), Record("undo", 0, 0.0)])
        2
    """
    return 1 + max((record.t for record in records if record.kind != "undo"), default=-1)
