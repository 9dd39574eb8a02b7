"""The laws as tests: `check_method` runs on a method every law that applies to it and prints the verdicts.

    held                 tried, and true
    not claimed: why     the method does not promise it, or nothing was given to try it with
    failed: detail       the method breaks it, or claims a trait that has no test or is not true

A law that finds nothing wrong is no proof; a law that fails is a bug.  Not here: speed, memory, regret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..method import Method
from ..noise import key_from_seed
from ..spaces.flat import Flat
from . import estimates
from . import functions as table
from .case import Broken, Case, Reference, Trial, Unclaimed
from .conduct import address, degenerate, home, one_direction, replay
from .estimates import exactness, minima, moments, permutation, trajectory
from .subjects import FlatSubject

Status = Literal["held", "not claimed", "failed"]

TRIALS = (Trial(table.quadratic()), Trial(table.logistic(), left=0.05), Trial(table.finite_sum(), left=0.05))


@dataclass(frozen=True)
class Finding:
    """One law's verdict."""

    law: str
    status: Status
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.law:<28} {self.status}{': ' + self.detail if self.detail else ''}"


@dataclass(frozen=True)
class Report:
    """All verdicts on a method; printing it gives the table."""

    method: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.status == "failed")

    def __str__(self) -> str:
        return "\n".join([self.method, *(f"  {f}" for f in self.findings)])


def check_method(
    make: Callable[[], Method], *, functions: Sequence[Trial] = TRIALS, reference: Reference | None = None,
    traits: Iterable[str] | None = None, seed: int = 0, space: Callable[[np.ndarray], Any] = Flat,
) -> Report:  # fmt: skip
    """Try every law on a method.

    Args:
        make: builds the method anew; called many times, so it must not share state between calls.
        functions: what must be minimized, at which budget.
        reference: the obvious edition: (f, x0, *, key, slot, steps, horizon, **method.arguments) to the
            (steps + 1, d) trajectory, given the same noise.
        traits: what the method must claim, for shelves that pin it: a trait dropped fails.
        seed: of all the noise.
        space: of a vector (6,) or (9,), for a method that is not for plain ones: a function that makes it, such as
            `lambda x: Joined(x, x=4, y=x.size - 4)`.

    Cost: 2 to 5 seconds; mostly the trials.

    Example:
        >>> from zoptim.methods import mezo
        >>> report = check_method(lambda: mezo(lr=0.01), functions=[])
        >>> report.failed
        ()
        >>> print(report.findings[0])
        1 replay                     held: 4 spaces, killed after append
    """
    method, whole = make(), make
    if method.first is not None:

        def make() -> Method:
            return replace(whole(), first=None)

    case = Case(make, tuple(functions), reference, key_from_seed(seed), over=space)
    if space is not Flat:
        case = replace(case, subjects=tuple(FlatSubject(dtype, space) for dtype in (np.float32, np.float64)))
    if method.vecs:
        case = replace(case, subjects=tuple(s for s in case.subjects if hasattr(s.make(), "keep")))
    findings = [_try(name, law, case) for name, law in LAWS]
    if method.vecs:
        why = f"it keeps vectors beside the parameters: tried on {', '.join(s.name for s in case.subjects)} alone"
        findings.insert(0, Finding("0 every space", "not claimed", why))
    if method.first is not None:
        why = "taken again, not regenerated (drivers.hybrid); the other verdicts are on its probes alone"
        findings.insert(0, Finding("0 gradients", "not claimed", why))
    claims = make().claims
    for trait in sorted(claims | set(TRAITS) | set(traits or ())):
        findings.append(_trait(trait, case, trait in claims, trait in set(traits or ())))
    return Report(make().name, tuple(findings))


def _try(name: str, law: Callable[[Case], str], case: Case) -> Finding:
    try:
        return Finding(name, "held", law(case))
    except Unclaimed as reason:
        return Finding(name, "not claimed", str(reason))
    except Exception as error:  # a method that crashes breaks the law it crashes in
        text = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        return Finding(name, "failed", text)


def _trait(name: str, case: Case, claimed: bool, pinned: bool) -> Finding:
    law = f"trait {name}"
    if name not in TRAITS:
        return Finding(law, "failed", "claimed, but there is no test for it")
    found = _try(law, TRAITS[name], case)
    if claimed:
        return found
    if pinned:
        return Finding(law, "failed", "dropped: the method no longer claims it")
    note = "though it holds here" if found.status == "held" else found.detail
    return Finding(law, "not claimed", note)


TRAITS: dict[str, Callable[[Case], str]] = {
    "additive": estimates.additive,
    "rank-invariant": estimates.rank_invariant,
    "scale-free": estimates.scale_free,
    "shift-free": estimates.shift_free,
    "unbiased": estimates.unbiased,
}

LAWS: tuple[tuple[str, Callable[[Case], str]], ...] = (
    ("1 replay", replay),
    ("2 one direction", one_direction),
    ("3 home", home),
    ("4 address", address),
    ("5 exactness", exactness),
    ("6 moments", moments),
    ("7 permutation of draws", permutation),
    ("8 degenerate equalities", degenerate),
    ("9 reference", trajectory),
    ("10 known minima", minima),
)
