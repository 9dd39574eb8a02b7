"""Which method, where none is named, and a named one with its step size and radius filled in.

    auto   a budget of 4 (d + 1) or more     fd_newton, differences along all coordinates a step; fd_spectral in a set or
                                             under a penalty
           less, or a finite sum, and
             d <= 10, or 50 steps are too many   mezo, a pair along one direction of signs a step
             else                                zo_sgd, 8 directions of signs a step that share their base point

`python -m bench.coco` compares the first with others' methods on functions without noise; it looks for
noise by itself.  Every choice says why, in `result.message`.  Not here: how a step size is found (`settle`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..method import Method
from ..methods import BLACK_BOXES, SHELF, build
from ..radii import auto
from ..rules import FrankWolfe
from .ground import ELSEWHERE, PLAIN, Ground
from .players import Sides
from .region import Region

FEW = 10  # numbers
SHARED = 8  # directions a step
SWEEPS = 4  # of all coordinates, or differences along them are not worth beginning
STEPS = 50  # of them, or fewer directions a step are better
EVERYWHERE = Region()
FOUND, AUTO = ("lr", "eps"), "auto"  # settings that are found where they are left out, or are this


class Choice(NamedTuple):
    """A method ready to run, but for its step size where that is to be found."""

    method: Method
    finds_lr: bool
    why: str


def choose(
    method: str | Method, settings: Mapping[str, Any], x: np.ndarray, *, budget: int | None, noisy: bool, components: int = 0,
    region: Region | Sides = EVERYWHERE, ground: Ground = PLAIN,
) -> Choice:  # fmt: skip
    """The method for a start x (d,) and a budget of evaluations.

    Args:
        noisy: steps do not come to rest by themselves, in a sum or at bounds: they are to shrink.
        components: of a finite sum, of some of which values are; 0: none.
        region: what steps are to stay in.
        ground: what x is.

    Raises:
        TypeError, ValueError: no such method or setting; settings for a method that has its own.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings={settings!r:.60}: give a dict, such as {{'lr': 0.1}}")
    if isinstance(method, Method):
        if settings:
            raise ValueError(
                f"settings={dict(settings)!r}: the method given has its own; name it instead, or build it so"
            )
        ground.refuse(method)
        return Choice(method, False, f"{method.name}, as given")
    if not isinstance(method, str):
        raise TypeError(f"method={method!r}: give a name of the shelf, a Method, or 'auto'")
    name, why = method, f"{method}, as named"
    own: dict[str, Any] = {}
    if method == "auto":
        land = not (region.set is None and region.penalty is None)
        name, own, why = ground.auto(x.size) or automatic(x, budget, components > 0, land)
    for key in FOUND:
        if isinstance(settings.get(key), str) and settings[key] != AUTO:
            raise ValueError(
                f"settings={{{key!r}: {settings[key]!r}}}: give a positive number, or 'auto' (as where it is left out) to have "
                "one found"
            )
    wanted = {**own, **{k: v for k, v in settings.items() if not (k in FOUND and isinstance(v, str))}}
    cards = {**SHELF, **BLACK_BOXES}
    known = inspect.signature(cards[name].make).parameters if name in cards else {}
    lands = {**region.lands(x, budget), **ground.lands, "components": components or None}
    wanted = {k: v for k, v in lands.items() if k in known and v is not None} | wanted
    unknown = [key for key in settings if key not in known] if method == "auto" else []
    if unknown:
        raise ValueError(
            f"settings={dict(settings)!r:.80}: auto chose {name}, which has no {unknown[0]!r} (it has {', '.join(known)}); name "
            "a method that has it, e.g. method='mezo'"
        )
    missing = {k for k, p in known.items() if p.default is inspect.Parameter.empty} - set(wanted)
    if "set" in missing:
        raise ValueError(f"method={name!r} moves within a set: give one of zoptim.sets as constraints=")
    if "components" in missing:
        raise ValueError(f"method={name!r} is for finite sums: give n, and fun as fun(x, i) on components i")
    if missing and name in ELSEWHERE:
        raise ValueError(f"method={name!r}: it is not for a plain function of x; {ELSEWHERE[name]}")
    made = build(name, wanted)
    ground.refuse(made)
    if "schedule" in known and "schedule" not in wanted:
        wanted["schedule"] = "cosine" if budget is not None and (noisy or made.normalized) else "constant"
        made = build(name, wanted)
    if "eps" in known and "eps" not in wanted:
        wanted["eps"] = auto(made.directions, made.probe, x)
        made = build(name, wanted)
    relative = isinstance(made.rule, FrankWolfe)  # its lr is a share of the way
    return Choice(made, ground.compares and "lr" in known and "lr" not in wanted and not relative, why)


def automatic(x: np.ndarray, budget: int | None, sums: bool, land: bool) -> tuple[str, dict[str, Any], str]:
    """(name, settings, why); `land`: there is a set or a penalty."""
    if not sums and (budget is None or budget >= SWEEPS * (x.size + 1)):
        why = f"{x.size} numbers, and budget for differences along all of them"
        if land:
            return "fd_spectral", {}, f"auto chose fd_spectral, proximal gradients: {why}"
        return "fd_newton", {}, f"auto chose fd_newton, quasi-Newton descent from coarse to fine: {why}"
    if x.size <= FEW or (budget is not None and budget < STEPS * (SHARED + 1)):
        why = (
            f"at most {FEW} numbers"
            if x.size <= FEW
            else f"a budget of {budget} is {STEPS} steps of few probes"
        )
        return "mezo", {"law": "signs"}, f"auto chose mezo, pairs along one direction of signs a step: {why}"
    why = f"{x.size} numbers and budget enough for steps of {SHARED} directions that share their base point"
    return "zo_sgd", {"law": "signs", "n": SHARED}, f"auto chose zo_sgd along signs: {why}"


def with_lr(method: Method, lr: float) -> Method:
    """The same method with another step size, also among the arguments a journal keeps."""
    told = {"lr": lr} if "lr" in method.arguments else {}
    return replace(method, lr=lr, arguments={**method.arguments, **told})
