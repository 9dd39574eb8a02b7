"""The steps of a run: ask, move, write down, evaluate on dev now and then, until a budget ends.

Only train and dev are seen here; test belongs to `finish`.  Not here: how a run is opened and prepared
(`finetune`), what a step computes (`engine`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..drivers.hybrid import Hybrid
from ..engine import Run
from ..journal import Journal
from ..protocols import STAYS, TIES, Record
from .base import Base
from .errors import RunError
from .existing import last_t, method_of
from .finish import Times, finish
from .measure import measure, score_goal
from .metrics import Metrics, evaluations, rank
from .progress import Progress
from .reexecute import Kept as Weights
from .reexecute import opened, orders, told
from .session import METRICS, Session
from .sharpness import Sharpening
from .stream import Kept

EVALUATIONS = 40  # of dev over a run, by default
PATIENCE_SKIPS = 20  # steps in a row that moved nothing before the run gives up


class Training:
    """One process's share of a run: `run` takes it from where its journal ends to its result."""

    def __init__(
        self, session: Session, journal: Journal, metrics: Metrics, progress: Progress, began: float
    ) -> None:
        self.session, self.journal, self.metrics, self.progress = session, journal, metrics, progress
        self.began, self.out, self.config = began, session.config.out, session.config
        self.method = method_of(journal.header, session.space)
        self.per_step = self.method.forwards
        self.horizon = int(journal.header["horizon"])
        self.order, _ = orders(
            self.method.first,
            int(journal.header["key"]),
            session.splits["train"].lengths,
            int(self.config.batch),
        )
        self.every = self._every()
        self.sharpening = Sharpening(session, metrics, journal.header)
        self.spent = 0  # steps taken by this process

    def _every(self) -> int:
        if self.config.eval_every != "auto":
            return int(self.config.eval_every)
        return max(1, self.horizon // EVALUATIONS)

    def run(self) -> dict[str, Any]:
        out = self.out
        base: Base | Kept | None = None
        stream = self.session.stream
        try:
            if stream is not None and stream.defers:
                base = Kept(stream, out / "stream")
            else:
                base = Base(self.session.space, out / "cache")
            training = self.training = opened(self.session, self.method, self.journal, horizon=self.horizon)
            setup = time.monotonic() - self.began
            self.clock = time.monotonic() - _seconds_before(out / METRICS)
            self.progress = Progress(
                steps=self._limit(), minutes=self.config.minutes, quiet=self.progress._quiet
            )
            stopped = self._steps(training)
            self.progress.close()
            result = finish(
                self.session, self.journal, self.method, base, stopped=stopped,
                times=Times(self.began, setup, self.clock), say=self.progress.say,
            )  # fmt: skip
            if isinstance(base, Kept):
                base.discard()
            return result
        except KeyboardInterrupt:
            self.progress.close()
            self.progress.say(
                f"stopped at step {last_t(self.journal)}; everything is saved.  Resume with: zoptim finetune --resume {out}"
            )
            raise
        finally:
            if base is not None:
                base.close()
            try:
                self.metrics.close()
            finally:
                self.journal.close()

    def _limit(self) -> int:
        bounds = [self.horizon]
        if self.config.steps:
            bounds.append(self.config.steps)
        if self.config.forwards:
            spent = int(self.journal.header["calibration"]["forwards"])
            bounds.append(max(1, int((self.config.forwards - spent) // self.per_step)))
        return min(bounds)

    def _steps(self, training: Run) -> str:
        """Step and evaluate until a budget ends; returns why it stopped."""
        limit, idle = self._limit(), 0
        dev = {e["t"]: e for e in evaluations(self.out, self.journal)}
        done = training.done
        while True:
            t = training.t
            if (done % self.every == 0 or done >= limit) and t not in dev:
                dev[t] = self._evaluate(t, done, dev)
            if self.config.sharpness_every and done % self.config.sharpness_every == 0:
                self.sharpening(t, self._asked(done), time.monotonic() - self.clock)
            if self._patience_over(dev):  # also when a run that was over is resumed
                return f"no better evaluation in {self.config.patience}"
            if done >= limit:
                return f"{done} steps done"
            if self.config.minutes and time.monotonic() - self.clock > 60 * self.config.minutes:
                if t not in dev:
                    dev[t] = self._evaluate(t, done, dev)
                return f"{self.config.minutes:g} minutes are over"
            record = training.step(self._question(t))
            done += 1
            idle = idle + 1 if record.kind == "skip" else 0
            self._tell(record, done)
            if idle >= PATIENCE_SKIPS:
                if record.reason not in (TIES, STAYS) or done == idle:
                    self._give_up(record, idle)
                t = training.t  # it has moved before: often an objective that cannot get better
                if t not in dev:
                    dev[t] = self._evaluate(t, done, dev)
                if record.reason == STAYS:
                    return f"{idle} steps in a row stayed where they were (a smaller --lr may move)"
                return f"{idle} steps in a row tied ({self._advice(dev[min(dev)], dev[t])})"

    def _question(self, t: int) -> Callable[[Any], Any]:
        order = self.order
        return self.session.objective(
            self.session.splits["train"], order(t), lambda batches: order.several(t, batches)
        )

    def _asked(self, steps: int) -> int:
        """Forwards of so many steps."""
        return round(steps * self.per_step)

    def _give_up(self, record: Record, idle: int) -> None:
        if record.reason == STAYS:
            advice = "every step looked worse than staying: a smaller --lr"
        elif record.reason == TIES:
            advice = "the probes do not change the objective: a larger --eps, a larger --batch, or --objective loss"
        else:
            advice = "losses are not finite: a smaller --lr and --eps, or --dtype float32"
        raise RunError(
            f"{idle} steps in a row moved nothing ({record.reason}); {advice}.  The run is kept in {self.out}"
        )

    def _advice(self, first: dict[str, Any], last: dict[str, Any]) -> str:
        """Why probes tie where they once did not: what is worse than at the start was left by steps too long."""
        what = "dev_loss" if self.session.goal.name == "loss" else "score"
        worse = not (last[what] <= first[what] if what == "dev_loss" else last[what] >= first[what])
        if not worse:
            return (
                "a larger --eps or --batch may tell more; a smaller --lr, where the first steps went too far"
            )
        return f"{what.replace('_', ' ')} went from {first[what]:.3g} to {last[what]:.3g}: a smaller --lr"

    def _tell(self, record: Record, done: int) -> None:
        loss, losses = told(record, getattr(self.method.probe, "base", None))
        spread = float(losses.std()) if len(losses) and np.isfinite(losses).all() else float("nan")
        values: dict[str, Any] = {
            "t": record.t, "forwards": self._asked(done), "seconds": round(time.monotonic() - self.clock, 3),
            "loss": _json(loss), "lr": record.lr, "eps": self.method.eps, "spread": _json(spread),
            "skipped": record.kind == "skip",
        }  # fmt: skip
        if record.reason:
            values["reason"] = record.reason
        self.metrics.write("step", **values)
        self.progress.update(t=done, forwards=self._asked(done), loss=loss)
        if record.kind == "skip":
            self.progress.note(f"step {record.t} moved nothing: {record.reason}")

    def _evaluate(self, t: int, done: int, dev: dict[int, Any]) -> dict[str, Any]:
        session, split = self.session, self.session.splits["dev"]
        seen = measure(session, split)
        score = -seen.loss if seen.accuracy is None else seen.accuracy
        values: dict[str, Any] = {"dev_loss": seen.loss, "dev_accuracy": seen.accuracy}
        if session.goal.name != "loss" and (session.goal.name != "accuracy" or seen.accuracy is None):
            values["dev_objective"] = score_goal(session, split)
            score = -values["dev_objective"]
        event = {
            "t": t, "forwards": self._asked(done), "seconds": round(time.monotonic() - self.clock, 3),
            **values, "score": score,
        }  # fmt: skip
        event["best"] = not dev or rank(event) > max(rank(e) for e in dev.values())
        self.metrics.write("eval", **event)
        if isinstance(self.training, Hybrid):
            Weights(self.session).save(self.training, best=event["best"])
        self.progress.update(
            t=done,
            forwards=self._asked(done),
            dev_accuracy=seen.accuracy,
            dev_loss=seen.loss,
            best=event["best"],
        )
        return event

    def _patience_over(self, dev: dict[int, Any]) -> bool:
        if not self.config.patience or not dev:
            return False
        best = max(dev.values(), key=lambda e: (rank(e), -e["t"]))
        return bool(sum(e["t"] > best["t"] for e in dev.values()) >= self.config.patience)


def _seconds_before(metrics: Path) -> float:
    """Training seconds that earlier processes of this run have recorded."""
    if not metrics.is_file():
        return 0.0
    found = [0.0]
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(float(json.loads(line)["seconds"]))
        except (ValueError, KeyError, TypeError):
            continue  # a note, or a torn line
    return max(found)


def _json(x: float) -> float | None:
    return x if np.isfinite(x) else None
