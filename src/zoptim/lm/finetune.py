"""The main job: fine-tune a language model by forward passes, from a `Config` to a finished run folder.

    open -> cache the frozen prefix -> check lockstep -> calibrate -> journal -> steps and evaluations ->
    the best weights on dev, rebuilt from the journal -> test, once -> result.json and report.html

The test split is touched at the very end only: no choice can see it.  Interrupting is normal: everything is
in the journal, and `resume` continues with the same bits.  Not here: the mathematics (`methods`, `engine`),
how a model is asked (`forward`), how lr and eps are found (`calibrate`).
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import noise
from ..engine import Run
from ..journal import Journal, effective
from ..protocols import Draw, Point, Record
from .base import Base
from .batches import Order
from .calibrate import calibrate
from .compiled import settle_compile
from .config import Config
from .errors import RunError, UsageError
from .existing import method_of, open_journal, rebuild, reopen
from .machine import machine, say_differences
from .metrics import Metrics, best_t, evaluations, rank
from .plan import horizon, method_for, settle, with_batch
from .progress import Progress
from .session import JOURNAL, METRICS, RESULT, Session, Split, data_digest
from .stream import Kept, figures

EVALUATIONS = 40  # of dev over a run, by default
PATIENCE_SKIPS = 20  # steps in a row that moved nothing before the run gives up


def finetune(config: Config, *, quiet: bool = False) -> dict[str, Any]:
    """Train, evaluate, report; returns what result.json holds.

    Raises:
        UsageError: the request cannot be served as it stands.
        RunError: the run failed; what was reached is kept and said.
        KeyboardInterrupt: after saving; `resume` continues.

    Cost: memory of inference, the prefix cache (`--cache-gb`), and two forwards or more a step; the trained
    tensors' initial values lie on disk while it runs.
    """
    out = config.out
    if (out / JOURNAL).exists():
        raise UsageError(
            f"out={str(out)!r} already holds a run: --resume {out} continues it, or name another --out"
        )
    began = time.monotonic()
    config = _absolute(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"out={str(out)!r} cannot be made ({error.strerror}): name another folder") from None
    progress = Progress(quiet=quiet)
    say = _teller(progress)
    say(f"opening {config.model}")
    session = Session.open(config, say=say)
    with _disk(out):
        return _begin(session, progress, began, say)


def _absolute(config: Config) -> Config:
    """Files by their full names, so that a run can be opened from any folder."""
    given = {name: getattr(config, name) for name in ("data", "dev", "test", "model")}
    there = {name: str(Path(path).resolve()) for name, path in given.items() if path and Path(path).exists()}
    return replace(config, **there)  # type: ignore[arg-type]


def _begin(session: Session, progress: Progress, began: float, say: Callable[[str], None]) -> dict[str, Any]:
    """From an opened session to a journal, then the steps."""
    config, out = session.config, session.config.out
    key = noise.key_from_seed(config.seed)
    probe = method_for(config, 1.0, config.eps if config.eps != "auto" else 1e-3)
    session.cache_prefix(probe, key, ["train", "dev"])
    config = session.config = with_batch(session)
    found = _prepare(session, key, probe, say)
    steps = found.pop("horizon")
    if config.forwards:  # calibration counts
        steps = min(steps, (config.forwards - found["forwards"]) // probe.probe.forwards)
        if steps < 1:
            least = found["forwards"] + probe.probe.forwards
            raise UsageError(
                f"forwards={config.forwards}: calibration and one step take {least}; give more, or --lr and --steps"
            )
    config = session.config = replace(config, lr=found["lr"], eps=found["eps"], steps=steps)
    header = _header(session, found, key, steps)
    _write(out / "config.yaml", config.to_yaml())
    for name in (METRICS, RESULT, "predictions.jsonl"):  # of a run whose journal was deleted
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "stream", ignore_errors=True)
    journal = Journal.create(out / JOURNAL, header)
    metrics = Metrics(out / METRICS)
    for note in found["notes"]:
        metrics.write("note", text=note)
    return _Training(session, journal, metrics, progress, began).run()


def resume(run: Path, *, quiet: bool = False, **overrides: Any) -> dict[str, Any]:
    """Continue an interrupted run where its journal ends; same bits as if it had not stopped.

    Args:
        run: its folder.
        overrides: budgets (steps, forwards, minutes), patience, eval_every: what may change without changing
            the steps already planned.
    """
    began = time.monotonic()
    progress = Progress(quiet=quiet)
    say = _teller(progress)
    say(f"resuming {run}")
    open_journal(run)  # a clear error before the model is loaded
    machine_: dict[str, Any] = {k: overrides[k] for k in ("stream", "window_gb") if k in overrides}
    session, _ = reopen(run, say=say, machine=machine_)
    allowed = {"steps", "forwards", "minutes", "patience", "eval_every", "points_per_pass", "cache_gb"}
    allowed |= {"stream", "window_gb"}
    overrides = {k: v for k, v in overrides.items() if k in allowed or v != getattr(session.config, k, None)}
    for name in overrides:
        if name not in allowed:
            raise UsageError(
                f"{name} cannot change when a run resumes; what can: {', '.join(sorted(allowed))}"
            )
    planned = int(open_journal(run).header["horizon"])
    if int(overrides.get("steps") or 0) > planned:
        raise UsageError(
            f"steps={overrides['steps']}: this run's schedule was laid over {planned} steps; start another run for more"
        )
    if overrides:
        session.config = session.config.merge(overrides)
    journal = open_journal(run, write=True)
    if journal.cut:
        say(f"{run / JOURNAL}: a torn last record ({journal.cut} bytes) was cut; its step is taken again")
    method = method_of(journal.header, session.space)
    with _disk(run):
        session.cache_prefix(method, int(journal.header["key"]), ["train", "dev"])
        settle(session, method, int(journal.header["key"]), say)
        if session.config.compile == "yes" and journal.header.get("compiled"):
            say(settle_compile(session))
        say_differences(session, journal.header, say)
        (run / RESULT).unlink(missing_ok=True)
        return _Training(session, journal, Metrics(run / METRICS), progress, began).run()


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """A disk that refuses becomes one line."""
    try:
        yield
    except OSError as error:
        again = f"zoptim finetune --resume {out}" if (out / JOURNAL).exists() else "start it again"
        raise RunError(
            f"{error.filename or out}: {error.strerror or error}; nothing that was recorded is lost: free space, "
            f"then {again}"
        ) from error


# -- before the first step ------------------------------------------------------------------------------


def _prepare(session: Session, key: int, probe: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """Lockstep settled, the horizon laid, lr and eps found: everything the header records."""
    config, train = session.config, session.splits["train"]
    notes = settle(session, probe, key, say)
    if config.compile == "yes":
        notes.append(settle_compile(session))
        say(notes[-1])
    state = probe.directions.init(session.space.slots(), key)
    order = Order(key, train.lengths, int(config.batch))
    points = [Point(((Draw(0, i), probe.eps),)) for i in range(probe.probe.forwards)]
    began = time.monotonic()
    for group in session.space.groups(points):
        with session.space.visit(group, probe.directions, state) as view:
            session.objective(train, order(0))(view)
    steps = horizon(session, len(points), (time.monotonic() - began) / len(points))
    found = calibrate(session, probe, order, key, steps * len(points), say)
    found["forwards"] += len(points)
    return {**found, "notes": notes + found["notes"], "horizon": steps}


def _header(session: Session, found: dict[str, Any], key: int, steps: int) -> dict[str, Any]:
    config = session.config
    method = method_for(config, found["lr"], found["eps"])
    assert session.task is not None
    return {
        "format": "zoptim run", "key": key, "noise": noise.VERSION, "horizon": steps,
        "method": {"name": method.name, "arguments": method.arguments},
        "slots": [[slot.name, list(slot.shape)] for slot in session.space.slots()],
        "base": {k: v for k, v in session.loaded.source.items() if k != "config"},
        "data": {"digest": data_digest(session.task), **session.task.source},
        "config": {k: v for k, v in config.to_dict().items() if k != "out"},
        "calibration": found, "prefix": session.plan.mode if session.plan else None,
        "lockstep": session.space.lockstep, "compiled": session.compiled, "machine": machine(),
    }  # fmt: skip


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


# -- steps ------------------------------------------------------------------------------------------------


class _Training:
    """The loop over steps, and what follows it."""

    def __init__(
        self, session: Session, journal: Journal, metrics: Metrics, progress: Progress, began: float
    ) -> None:
        self.session, self.journal, self.metrics, self.progress = session, journal, metrics, progress
        self.began, self.out, self.config = began, session.config.out, session.config
        self.method = method_of(journal.header, session.space)
        self.per_step = self.method.probe.forwards
        self.horizon = int(journal.header["horizon"])
        self.order = Order(
            int(journal.header["key"]), session.splits["train"].lengths, int(self.config.batch)
        )
        self.every = self._every()
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
            training = Run(self.session.space, self.method, self.journal, horizon=self.horizon)
            self.setup = time.monotonic() - self.began
            self.clock = time.monotonic() - _seconds_before(out / METRICS)
            self.progress = Progress(
                steps=self._limit(), minutes=self.config.minutes, quiet=self.progress._quiet
            )
            stopped = self._steps(training)
            self.progress.close()
            result = self._finish(base, stopped)
            if isinstance(base, Kept):
                base.discard()
            return result
        except KeyboardInterrupt:
            self.progress.close()
            _teller(self.progress)(
                f"stopped at step {self.journal_t()}; everything is saved.  Resume with: zoptim finetune --resume {out}"
            )
            raise
        finally:
            if base is not None:
                base.close()
            try:
                self.metrics.close()
            finally:
                self.journal.close()

    def journal_t(self) -> int:
        return max((r.t + 1 for r in self.journal.records), default=0)

    def _limit(self) -> int:
        bounds = [self.horizon]
        if self.config.steps:
            bounds.append(self.config.steps)
        if self.config.forwards:
            spent = int(self.journal.header["calibration"]["forwards"])
            bounds.append(max(1, (self.config.forwards - spent) // self.per_step))
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
            if self._patience_over(dev):  # also when a run that was over is resumed
                return f"no better evaluation in {self.config.patience}"
            if done >= limit:
                return f"{done} steps done"
            if self.config.minutes and time.monotonic() - self.clock > 60 * self.config.minutes:
                if t not in dev:
                    dev[t] = self._evaluate(t, done, dev)
                return f"{self.config.minutes:g} minutes are over"
            record = training.step(self.session.objective(self.session.splits["train"], self.order(t)))
            done += 1
            idle = idle + 1 if record.kind == "skip" else 0
            self._tell(record, done)
            if idle >= PATIENCE_SKIPS:
                if "tie" not in record.reason or done == idle:
                    self._give_up(record, idle)
                t = training.t  # it has moved before: often an objective that cannot get better
                if t not in dev:
                    dev[t] = self._evaluate(t, done, dev)
                return f"{idle} steps in a row tied (a larger --eps or --batch may tell more)"

    def _give_up(self, record: Record, idle: int) -> None:
        if "tie" in record.reason:
            advice = "the probes do not change the objective: a larger --eps, a larger --batch, or --objective loss"
        else:
            advice = "losses are not finite: a smaller --lr and --eps, or --dtype float32"
        raise RunError(
            f"{idle} steps in a row moved nothing ({record.reason}); {advice}.  The run is kept in {self.out}"
        )

    def _tell(self, record: Record, done: int) -> None:
        losses = np.array(record.losses)
        loss = float(losses[0]) if self.per_step % 2 else float(losses.mean())
        spread = float(losses.std()) if np.isfinite(losses).all() else float("nan")
        values: dict[str, Any] = {
            "t": record.t, "forwards": done * self.per_step, "seconds": round(time.monotonic() - self.clock, 3),
            "loss": _json(loss), "lr": record.lr, "eps": self.method.eps, "spread": _json(spread),
            "skipped": record.kind == "skip",
        }  # fmt: skip
        if record.reason:
            values["reason"] = record.reason
        self.metrics.write("step", **values)
        self.progress.update(t=done, forwards=done * self.per_step, loss=loss)
        if record.kind == "skip":
            self.progress.note(f"step {record.t} moved nothing: {record.reason}")

    def _evaluate(self, t: int, done: int, dev: dict[int, Any]) -> dict[str, Any]:
        session, split = self.session, self.session.splits["dev"]
        seen = session.measure(split)
        score = -seen.loss if seen.accuracy is None else seen.accuracy
        values: dict[str, Any] = {"dev_loss": seen.loss, "dev_accuracy": seen.accuracy}
        if session.goal.name != "loss" and (session.goal.name != "accuracy" or seen.accuracy is None):
            values["dev_objective"] = session.score_goal(split)
            score = -values["dev_objective"]
        event = {
            "t": t, "forwards": done * self.per_step, "seconds": round(time.monotonic() - self.clock, 3),
            **values, "score": score,
        }  # fmt: skip
        event["best"] = not dev or rank(event) > max(rank(e) for e in dev.values())
        self.metrics.write("eval", **event)
        self.progress.update(
            t=done,
            forwards=done * self.per_step,
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

    # -- after the last step ------------------------------------------------------------------------

    def _finish(self, base: Base | Kept, stopped: str) -> dict[str, Any]:
        """Rebuild the chosen weights, look at test for the first and only time, write everything down."""
        session, out = self.session, self.out
        seconds = time.monotonic() - self.clock
        say = _teller(self.progress)
        say("evaluating on test")
        session.cache_prefix(self.method, int(self.journal.header["key"]), ["test"])
        test = session.splits["test"]
        last = session.digest()
        base.restore()
        before, goal_before = session.measure(test), self._goal(test)
        rebuild(session, self.journal, self.config.at)
        after, goal_after = session.measure(test), self._goal(test)
        records = [r for r in self.journal.records if r.kind != "undo"]
        chosen = best_t(out, self.journal) if self.config.at == "best" else self.journal_t()
        dev = {e["t"]: e for e in evaluations(out, self.journal)}.get(chosen, {})
        result = {
            "accuracy_before": before.accuracy, "accuracy_after": after.accuracy,
            "loss_before": before.loss, "loss_after": after.loss,
            "dev_accuracy": dev.get("dev_accuracy"), "dev_loss": dev.get("dev_loss"),
            "forwards": len(records) * self.per_step + int(self.journal.header["calibration"]["forwards"]),
            "steps": len(effective(self.journal.records)), "skipped": sum(r.kind == "skip" for r in records),
            "seconds": round(seconds, 2), "seconds_setup": round(self.setup, 2),
            "seconds_total": round(time.monotonic() - self.began, 2),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "journal_bytes": self.journal.nbytes, "weights_sha256": session.digest(),
            "weights_sha256_last": last, "objective": session.goal.name, "objective_before": goal_before,
            "objective_after": goal_after,
            "best_t": chosen, "lr": self.method.lr, "eps": self.method.eps, "method": self.method.name,
            "model": self.config.model, "task": self.config.task or self.config.data, "seed": self.config.seed,
            "stopped_because": stopped, "test_examples": len(session.splits["test"].items),
            "trained_parameters": sum(int(np.prod(s.shape)) for s in session.space.slots()),
            "prefix": session.plan.mode if session.plan else None,
            "master_bytes": session.space.master_bytes,
            "prefix_bytes": sum(s.prefix.nbytes for s in session.splits.values() if s.prefix),
            "stream": figures(session.stream) if session.stream else None, "versions": machine(),
        }  # fmt: skip
        self._predictions(before, after)
        _write(out / RESULT, json.dumps(result, indent=1) + "\n")
        self.journal.close()  # a run whose journal is held counts as running
        from .report import write as write_report

        write_report(out)
        self._farewell(result)
        return result

    def _goal(self, split: Split) -> float | None:
        """The run's own objective on a split, where that is not the loss."""
        return None if self.session.goal.name == "loss" else self.session.score_goal(split)

    def _farewell(self, result: dict[str, Any]) -> None:
        """What was reached and what to do with it."""
        say, out, n = _teller(self.progress), self.out, result["test_examples"]
        if result["accuracy_after"] is not None:
            say(
                f"test accuracy {result['accuracy_before']:.3f} -> {result['accuracy_after']:.3f} on {n:,} examples"
            )
        else:
            say(f"test loss {result['loss_before']:.3f} -> {result['loss_after']:.3f} on {n:,} examples")
        say(
            f"report: {out / 'report.html'}   use it: zoptim predict {out} TEXT   keep it: zoptim export {out} DIR"
        )

    def _predictions(self, before: Any, after: Any) -> None:
        split, rows = self.session.splits["test"], []
        for i, example in enumerate(split.examples):
            row: dict[str, Any] = {"split": "test", "text": example.text}
            if before.right is None:
                row |= {
                    "label": example.completion,
                    "loss_before": before.losses[i],
                    "loss_after": after.losses[i],
                }
            else:
                names = self.session.task.classes or example.candidates  # type: ignore[union-attr]
                a, b = before.scores[i], after.scores[i]
                row |= {
                    "label": names[example.label], "before": names[int(np.argmax(a))],
                    "after": names[int(np.argmax(b))], "p_before": float(np.exp(a.max())),
                    "p_after": float(np.exp(b.max())),
                }  # fmt: skip
            rows.append(json.dumps(row, ensure_ascii=False))
        _write(self.out / "predictions.jsonl", "\n".join(rows) + "\n")


def _json(x: float) -> float | None:
    return x if np.isfinite(x) else None


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _teller(progress: Progress) -> Callable[[str], None]:
    def say(text: str) -> None:
        if text.startswith("\r"):
            progress.doing(text[1:])
        else:
            progress.note(text)

    return say
