"""A search by questions and answers: `ask` says where the function is wanted, `tell` says what it is there.

    search = zoptim.Search(x0, "mezo", budget=1000)
    while not search.done:
        X = search.ask()
        search.tell([f(x) for x in X])

`zoptim.minimize` is this loop.  Not here: which points are asked (`talk`), calling a function (`answers`), choosing a
method (`choose`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import finite
from ..journal import Journal
from ..method import Method
from ..noise import key_from_seed
from ..probes import Levels
from ..protocols import Manifold, Starts
from ..spaces.flat import LARGE
from .account import Account, Components, Functions, plain_numbers, whole_number
from .answers import FAILURES, as_told
from .choose import choose, with_lr
from .ground import OUTPUTS
from .players import Sides, laid_out
from .region import Region
from .results import Result, Trace
from .saved import FORMAT, free_for, packed, raw, sound, text, unpacked
from .talk import Question, Talk, talking

FLAT = 20  # steps whose probes all tie, before the message says so
FAR = 1e3  # times its size, that a value has grown by where a search has diverged
PENALTY = 1e10  # where nothing finite is known yet


class Search:
    """A method at work on a function it never sees.

    Args:
        x0: the start, of any shape; points have the same.
        method: a name of the shelf, a Method, or "auto".
        bounds: SciPy's Bounds, pairs (low, high), or one pair for all numbers; no point is asked outside.
        constraints: a set of `zoptim.sets`, SciPy's LinearConstraint, or a list of them; no point is asked outside.
        penalty: of `zoptim.sets`, such as L1(0.1): fun + penalty is minimized, by proximal steps, and is what is reported.
        budget: evaluations in all, never exceeded; a batch of b components costs b.  None: no end.
        seed: of the directions and batches.
        n: components of a finite sum; 0: none.
        batch: components a step's points are asked on.
        failures: what becomes of an evaluation that fails (told as NaN, infinite or None): "raise"; "skip" its step (not of a
            plan, which would ask it again: that penalizes); "penalize" it with the worst value so far and the spread of all.
        output: "best" of the points asked, the "last" iterate, the "average" of iterates, or a "random" one of those that
            steps began at, by chances in proportion to their lr, as RSGF has it; "": of a sum, or where noise was found,
            the last, else the best.
        settings: of the named method, e.g. {"lr": 0.1}.
        journal: a new file for the steps; None: in memory.
        target: end at a value this low.
        tol: end where the best value fell by no more than tol * max(1, |best|) within 100 + 10 d evaluations.
        manifold: of `zoptim.manifolds`: x0 and every point asked lie on it.
        y0: the start of a second player, of any shape, for methods of games and levels: points are then both in a row,
            (d_x + d_y,), which `split` parts.
        y_bounds, y_constraints: where y stays, as `bounds` and `constraints` say of x.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    Example:
        >>> search = Search([3.0, 4.0], "mezo", budget=200)
        >>> while not search.done:
        ...     search.tell([float(x @ x) for x in search.ask()])
        >>> search.result().fun < 1e-3, search.spent <= 200
        (True, True)
    """

    def __init__(
        self, x0: Any, method: str | Method = "auto", *, bounds: Any = None, constraints: Any = None,
        penalty: Any = None, budget: int | None = None, seed: int = 0, n: int = 0, batch: int = 1, failures: str = "raise", output: str = "",
        settings: Mapping[str, Any] | None = None, journal: str | Path | None = None,
        target: float | None = None, tol: float | None = None, manifold: Manifold | None = None,
        y0: Any = None, y_bounds: Any = None, y_constraints: Any = None,
    ) -> None:  # fmt: skip
        self.ground, x, region = laid_out(
            x0, manifold, (bounds, constraints, penalty), y0, (y_bounds, y_constraints)
        )
        key, seed = key_from_seed(seed), int(seed)
        settings = plain_numbers(settings)
        n = whole_number("n", n, 0)
        batch = whole_number("batch", batch, 1)
        if batch > 1 and not n:
            raise ValueError(f"batch={batch}: it is of a finite sum; give n, the number of its components")
        sum_of = Components(key, n, min(batch, n)) if n else None
        self.account = Account(None if budget is None else whole_number("budget", budget, 1), sum_of)
        free_for(journal)
        self.failures, self.output = failures, output or ("last" if n else self.ground.outputs[0])
        self._refuse(n, target, tol)
        target, tol = (None if v is None else float(v) for v in (target, tol))
        self.shape, self.target, self.tol = self.ground.shape, target, tol
        self.trace, self.message, self.status = Trace(compares=self.ground.compares and not n), "", 0
        self._start = x.copy()
        self._best: tuple[float, np.ndarray | None] = (math.inf, None)
        self._told: list[np.ndarray] = []  # since the journal holds everything
        self._marked, self._before = (
            0,
            (0, math.inf),
        )  # spent then; evaluations and best value when tol was last asked
        self._question: Question | None = None
        self._keeping: tuple[Question, list[float], int, int, Any] | None = None  # while answers are taken in
        self._ended = False
        chosen = choose(
            method,
            settings or {},
            x.ravel(),
            budget=self.account.budget,
            noisy=bool(n) or not region.free or manifold is not None,
            components=n,
            region=region,
            ground=self.ground,
        )
        if isinstance(chosen.method.probe, Levels):
            if n:
                raise ValueError(f"n={n}: {chosen.method.name} asks two functions, not a sum; leave it out")
            self.account.components = Functions()
        self.why = chosen.why
        if isinstance(chosen.method.probe, Starts):
            if sum_of is not None and sum_of.batch < n:
                raise ValueError(
                    f"batch={batch}: {chosen.method.name} compares values of different steps, which are of different "
                    f"components; give batch={n}, all of them, or a method of steps such as mezo or zo_sgd"
                )
            if failures == "skip":
                self.failures = "penalize"  # a plan would ask the same again
        self._arguments = {
            "method": method if isinstance(method, str) else None, "budget": self.account.budget, "seed": seed, "n": n,
            "batch": batch, "failures": failures, "output": output, "settings": dict(settings or {}),
            "target": target, "tol": tol, "manifold": None if manifold is None else repr(manifold),
        }  # fmt: skip
        self._region = region
        self.talk = Talk(
            x.ravel(), chosen.method, finds_lr=chosen.finds_lr, account=self.account, key=key, region=region,
            output=self.output, header={"shape": list(self.shape)}, ground=self.ground,
        )  # fmt: skip
        self._talk = talking(self.talk, self._mark, self._met, self._spent, journal)

    def _refuse(self, n: int, target: float | None, tol: float | None) -> None:
        if self.output not in OUTPUTS:
            raise ValueError(f"output={self.output!r} must be one of {', '.join(OUTPUTS)}")
        if self.output not in self.ground.outputs:
            raise ValueError(f"output={self.output!r}: here there is only {' or '.join(self.ground.outputs)}")
        if self.failures not in FAILURES:
            raise ValueError(f"failures={self.failures!r} must be one of {', '.join(FAILURES)}")
        if n and (target is not None or tol is not None or self.output == "best"):
            raise ValueError(
                f"n={n}: values on some components do not compare, so target, tol and output='best' are not for sums; "
                "leave them out"
            )
        if not self.ground.compares and (
            target is not None or tol is not None or self.failures == "penalize"
        ):
            raise ValueError(
                "with two players no value is better than another, so target, tol and failures='penalize' are not for "
                "them; leave them out"
            )
        for name, value in (("target", target), ("tol", tol)):
            real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if value is not None and not (real and math.isfinite(value)):
                raise ValueError(f"{name}={value!r} must be a finite number")
        if tol is not None and tol < 0:
            raise ValueError(f"tol={tol!r} must be a number from 0")

    # -- asking and telling --------------------------------------------------------------------------

    @property
    def spent(self) -> int:
        """Evaluations so far."""
        return self.account.spent

    @property
    def steps(self) -> int:
        return self.talk.run.done if self.talk.run is not None else 0

    @property
    def done(self) -> bool:
        """Whether there is nothing more to ask; `message` says why."""
        if self._question is None:
            self._advance()
        return self._ended

    def ask(self) -> np.ndarray:
        """(m, *shape) points whose values are wanted, the same until they are told; m is 0 when the search is done.

        A copy, to be changed at will; read-only where that would cost (many numbers).
        """
        if self._question is None:
            self._advance()
        if self._question is None:
            return np.empty((0, *self.shape), self.talk.space.x.dtype)
        x = self._question.x.reshape(-1, *self.shape)
        if x.size <= LARGE:
            return x.copy()
        x.flags.writeable = False
        return x

    @property
    def components(self) -> tuple[np.ndarray, ...] | None:
        """Which components of a finite sum each point of `ask` is asked on, (b,) each."""
        if self._question is None:
            self._advance()
        return None if self._question is None else self._question.components

    def tell(self, values: Any, x: Any = None) -> None:
        """The values at the points of `ask`, (m,), lower is better; NaN or None where the evaluation failed.

        Args:
            values: (m,).
            x: (m, *shape) points that were not asked for: they count and may be the best, but move nothing.

        Raises:
            TypeError, ValueError: not one real number a point; a failed one where failures="raise".
            RuntimeError: nothing was asked.
        """
        asked = self._question if x is None else self._foreign(x)
        if asked is None:
            raise RuntimeError(
                "tell: nothing was asked; call ask() first, or give the points: tell(values, x)"
            )
        told = as_told(values, len(asked.x))
        numbers = told.tolist()
        fine = finite(numbers)
        if self.failures == "raise" and not fine:
            where = int(np.flatnonzero(~np.isfinite(told))[0])
            raise ValueError(
                f"the objective is {told[where]} at evaluation {len(self.trace) + where + 1}: make it finite there, or "
                "choose failures='skip' or 'penalize'"
            )
        self._keeping = asked, numbers, len(self.trace), self.account.spent, self._best
        self._keep(asked, numbers)
        self._keeping = None
        if self.failures == "penalize" and not fine and not asked.last:
            told[~np.isfinite(told)] = self._penalty()
        del asked  # so that the space may use the memory of these points again
        if x is None:
            self._told.append(told)
            self._question = None
            self._advance(told)

    def _foreign(self, x: Any) -> Question:
        wanted = f"give (m, {', '.join(map(str, self.shape))}) numbers"
        if np.iscomplexobj(x):
            raise TypeError(f"tell: x is complex; {wanted}")
        try:
            points = np.asarray(x, dtype=self.talk.space.x.dtype)
        except (TypeError, ValueError):
            raise TypeError(f"tell: x={x!r:.60}: {wanted}") from None
        if points.shape[1:] != self.shape or points.ndim != len(self.shape) + 1:
            raise ValueError(f"tell: points of shape {points.shape}; {wanted}")
        flat = points.reshape(len(points), self.talk.space.x.size)
        for p, row in enumerate(flat):
            if not (np.isfinite(row).all() and self._region.holds(row)):
                raise ValueError(
                    f"tell: point {p} is not finite, or outside the bounds or constraints; leave it out"
                )
            try:
                self.ground.space(row.copy())
            except ValueError:
                raise ValueError(f"tell: point {p} is not on the manifold; leave it out") from None
        return Question(flat, None, self.account.whole)

    def _keep(self, asked: Question, told: list[float]) -> None:
        """Into the trace, and the best; a value on some components only is no value of the function."""
        account, trace, cost, components = self.account, self.trace, asked.cost, asked.components
        pays = self._region.penalty is not None
        best, where = self._best[0], -1
        for p, value in enumerate(told):
            account.spent += cost
            if components is not None and not account.shows(components, p):
                continue
            if not math.isfinite(value):
                trace.add(account.spent, math.nan)
                continue
            if pays:
                value += self._region.value(asked.x[p])
            trace.add(account.spent, value)
            if value < best:
                best, where = value, p
        if where >= 0 and cost == account.whole:  # once; large points into the same memory
            if self._best[1] is None or asked.x[where].size <= LARGE:
                self._best = best, asked.x[where].copy()
            else:
                self._best[1][:] = asked.x[where]
                self._best = best, self._best[1]

    def _whole(self) -> None:
        """Where Ctrl-C came while answers were taken in: once more from before them, so that counts, trace and best agree."""
        if self._keeping is not None:
            asked, told, known, self.account.spent, self._best = self._keeping
            self.trace.cut(known)
            self._keep(asked, told)
            self._keeping = None

    def _penalty(self) -> float:
        """The worst finite value so far, and the spread of all, or its size."""
        known = self.trace.values
        known = known[np.isfinite(known)]
        if not known.size:
            return PENALTY
        worst, spread = float(known.max()), float(known.max() - known.min())
        return worst + (spread or max(1.0, abs(worst)))

    def _advance(self, told: np.ndarray | None = None) -> None:
        if self._question is not None or self._ended:
            return
        try:
            self._question = next(self._talk) if told is None else self._talk.send(told)
        except StopIteration:
            self._ended = True
            self._mark()

    def split(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Points (..., *shape) as those of each player: (x,), or (x, y) where there are two."""
        return self.ground.split(points)

    # -- ending ----------------------------------------------------------------------------------------

    def stop(self, why: str = "stopped") -> None:
        """Ask for no more steps; what is left to ask is the value where the search ends, if that is wanted."""
        self._whole()
        self.status, self.message, self._question = 2, why, None
        self._talk = self.talk.end()
        self._told.clear()
        if self.output == "best":
            self._ended = True

    def _mark(self) -> None:
        self._told.clear()
        self._marked = self.account.spent

    def _met(self) -> bool:
        best = self._best[0]
        if self.target is not None and best <= self.target:
            self.status, self.message = 0, f"the target {self.target:g} is reached"
        elif self.tol is not None and len(self.trace) - self._before[0] >= 100 + 10 * self.talk.space.x.size:
            if self._before[1] - best <= self.tol * max(1.0, abs(best)):
                self.status, self.message = 0, f"the best value falls by no more than tol={self.tol:g}"
            self._before = len(self.trace), best
        return bool(self.message)

    def _spent(self) -> None:
        if self.talk.ended:
            known = np.isfinite(self.trace.values).any()
            self.status, self.message = 0, self.talk.ended if known else "there is no value to go down by"
            return
        self.status, self.message = 1, f"the budget of {self.account.budget} evaluations is spent"

    def result(self) -> Result:
        """What is known so far, in SciPy's names."""
        self._whole()
        value, x = self._best
        last = self.output != "best" or (self._noise() > 0.0 and self.talk.final is not None)
        if last or x is None:
            x, value = self.talk.place(), math.nan if self.talk.final is None else self.talk.final
        message = "; ".join(filter(None, (self.message or "under way", self.why, self._advice())))
        run = self.talk.run
        return Result(
            **self.ground.fields(x), fun=value, nfev=self.spent, nit=self.steps,
            success=math.isfinite(value) and not self._diverged() and (self.steps > 0 or (self._ended and self.status == 0)),
            status=self.status, message=message,
            method=self.talk.method.name, trace=self.trace, journal=None if run is None else run.journal,
        )  # fmt: skip

    def _noise(self) -> float:
        """The standard deviation that a method which looks for noise has found; 0 where the best is asked for by name."""
        run = self.talk.run
        return 0.0 if run is None or self._arguments["output"] else getattr(run.method.probe, "sigma", 0.0)

    def _diverged(self) -> bool:
        """Whether a sum's values of late are far above the first ones; of a function the best point is returned anyway."""
        k = min(FLAT, len(self.trace) // 2)
        if not isinstance(self.account.components, Components) or not self.ground.compares or k < 2:
            return False
        values = self.trace.values
        early, late = np.median(values[:k]), np.median(values[-k:])
        return bool(late > early + FAR * abs(early))

    def _advice(self) -> str:
        """What is to be known of noise, and what is wrong with a search whose probes no longer differ."""
        if self._noise() > 0.0:
            return f"values at one place differ by about {self._noise():.2g}: x is where the search ended, not the lowest seen"
        if self._diverged():
            return f"it has diverged at lr={self.talk.method.lr:.3g}: try a smaller settings={{'lr': ...}}, or a larger batch"
        if not self.message and self.talk.ties < FLAT:
            return ""
        values, eps = self.trace.values, self.talk.method.eps
        known = values[np.isfinite(values)]
        if not known.size:
            return "every evaluation failed" if values.size else ""
        if self.talk.ties < FLAT:
            return ""
        if not self.account.components and known[-1] > known[0] + FAR * abs(known[0]):
            return f"it has diverged at lr={self.talk.method.lr:.3g}: try a smaller settings={{'lr': ...}}"
        return (
            f"the last {self.talk.ties} steps' probes all tie: the function is flat within eps={eps:.3g}: try a larger "
            "radius, settings={'eps': ...}, or a method of ranks with one, such as openai_es"
        )

    # -- saving ----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything as plain data (JSON as it stands), between any two calls; `from_state` goes on with the same bits.

        Cost: the start, the best point, 16 bytes an evaluation and the journal.
        """
        self._whole()
        talk, run = self.talk, self.talk.run
        return {
            "format": FORMAT, "start": {name: packed(x) for name, x in self.ground.fields(self._start).items()}, "region": self._region.plain(), "arguments": self._arguments,
            "lr": None if talk.finds_lr else talk.method.lr,
            "journal": None if run is None else text(run.journal.dump()),
            "told": [packed(values) for values in self._told],
            "spent": [self._marked, self.account.spent],
            "trace": [packed(self.trace.queries), packed(self.trace.values)],
            "best": None if self._best[1] is None else [self._best[0], packed(self._best[1])],
            "mean": packed(talk.kept), "ties": talk.ties,
            "final": None if talk.final is None else packed(np.array(talk.final)),
            "before": [self._before[0], packed(np.array(self._before[1]))],
            "ended": [self._ended, self.status, self.message],
        }  # fmt: skip

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], method: Method | None = None, manifold: Manifold | None = None
    ) -> Search:
        """The search that `state` was taken of; its journal is in memory.

        Args:
            method: as then, where it was a Method and no name.
            manifold: as then, where there was one.

        Raises:
            ValueError: another version's state, one that has lost a part, or another method.

        Cost: a replay; no evaluation.
        """
        sound(state)
        arguments = dict(state["arguments"])
        if (arguments["method"] is None) != (method is not None):
            raise ValueError(
                "from_state: give method=... where the search began with a Method, and only there"
            )
        if arguments.pop("manifold") != (None if manifold is None else repr(manifold)):
            raise ValueError(
                "from_state: give manifold=..., the same one, where the search began on it, and only there"
            )
        starts = {f"{name}0": unpacked(x) for name, x in state["start"].items()}
        region = (Sides if "y0" in starts else Region).arguments(state["region"])
        search = cls(
            **{**arguments, "method": method or arguments["method"]}, manifold=manifold, **starts, **region
        )
        search._restore(state)
        return search

    def _restore(self, state: Mapping[str, Any]) -> None:
        talk = self.talk
        if state["journal"] is not None:
            talk.method, talk.finds_lr = with_lr(talk.method, state["lr"]), False
            journal = Journal(None, raw(state["journal"]))
            if journal.header["method"] != {
                "name": talk.method.name,
                "arguments": dict(talk.method.arguments),
            }:
                raise ValueError(f"state: was {journal.header['method']}, not {talk.method.name} as given")
            talk.open(journal)
        kept, self._marked = unpacked(state["mean"]), state["spent"][0]
        talk.kept, talk.ties = kept, state["ties"]
        talk.final = None if state["final"] is None else float(unpacked(state["final"]))
        self.account.spent, self._before = (
            self._marked,
            (state["before"][0], float(unpacked(state["before"][1]))),
        )
        queries, values = map(unpacked, state["trace"])
        self.trace = Trace(queries, values, self.trace.compares)
        if state["best"] is not None:
            self._best = state["best"][0], unpacked(state["best"][1])
        self._ended, self.status, message = state["ended"]
        for told in map(unpacked, state["told"]):  # once more, of the step under way
            self._advance()
            assert self._question is not None
            self.account.spent += self._question.cost * len(told)
            self._question = None
            self._told.append(told)
            self._advance(told)
        self.account.spent, self.message = state["spent"][1], message
