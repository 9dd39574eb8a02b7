"""A world for real runs to be struck in: a model, data, the runs that nobody touched, and the judgement of the others.

One part of `bench.crash`, as `damage` and `scenes` are.  What it is not: when and how often anything is struck.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lm import tiny

from bench.struck import PLACES, Blow, End, child, counting
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm import existing, finetune, metrics, models, runs
from zoptim.lm.config import Config
from zoptim.lm.session import JOURNAL, RESULT

ALWAYS = ("accuracy_before", "loss_before", "lr", "eps")  # of result.json, whatever happened
SPENT = ("steps", "skipped", "forwards", "journal_bytes", "stopped_because")
CHOSEN = ("weights_sha256", "best_t", "accuracy_after", "loss_after", "dev_accuracy", "dev_loss")
STEPS, EVERY, EXAMPLES, BATCH = 24, 4, 120, 8
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGINT] * 2 + [signal.SIGTERM]  # each share, as often as listed
ANSWERS = {"candidates": (" bad", " good"), "label": "label", "template": "{text} It was"}
CASES: dict[str, dict[str, Any]] = {
    "fzoo, norm": {**ANSWERS, "at": "last", "lr": 0.05},
    "mezo, block, cache on disk": {**ANSWERS, "train": "last-block", "method": "mezo", "cache_gb": 1e-5},
    "fzoo, completions": {"template": "{text} :", "completion": "answer", "lr": 0.05},
    "mezo, bfloat16": {
        **ANSWERS,
        "method": "mezo",
        "dtype": "bfloat16",
        "objective": "accuracy",
        "patience": 4,
    },
}


@dataclass(frozen=True)
class Truth:
    """The run that nobody touched."""

    case: str
    folder: Path
    journal: bytes
    evaluations: list[dict[str, Any]]
    result: dict[str, Any]
    seconds: float
    calls: dict[str, int]  # of each place
    weights: list[str]  # digest after the first k records


class World:
    """A folder with a model, another model, data, the untouched runs; and what was found wrong."""

    steps = STEPS  # of every run

    def __init__(self, root: Path, rng: random.Random, cases: list[str]) -> None:
        self.root, self.rng = root, rng
        self.counts: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.log = root / "log"
        words = ["a", "warm", "funny", "film", "about", "nothing", "the", "plot", "ship", "patient", "debut"]
        lines = []
        for i in range(EXAMPLES):
            text = " ".join(rng.choice(words) for _ in range(rng.randrange(3, 9))) + f" {i}"
            good = int("warm" in text or "funny" in text)
            lines.append(json.dumps({"text": text, "label": good, "answer": f" {len(text) % 4} stars"}))
        (root / "data.jsonl").write_text("\n".join(lines) + "\n")
        with open(os.devnull, "w") as quiet, redirect_stderr(quiet):
            tiny.save(root / "model")
            tiny.save(root / "other", seed=1)
            finetune.finetune(self.config("fzoo, norm", root / "warm"), quiet=True)  # pays every import, once
        shutil.rmtree(root / "warm")
        self.truths = [self._truth(case) for case in cases]

    def config(self, case: str, out: Path, **more: Any) -> Config:
        common = {"model": str(self.root / "model"), "data": str(self.root / "data.jsonl"), "threads": 1}
        common |= {"steps": STEPS, "batch": BATCH, "eval_every": EVERY}
        return Config(**{**common, **CASES[case], **more, "out": out})

    def _truth(self, case: str) -> Truth:
        out = self.root / f"truth-{case.replace(', ', '-').replace(' ', '-')}"
        counts, first = self.root / "calls.json", out / "weights"

        def work() -> None:
            calls: Counter[str] = Counter(dict.fromkeys(PLACES, 0))
            for place, (owner, name) in PLACES.items():
                setattr(owner, name, counting(calls, place, getattr(owner, name)))
            finetune.finetune(self.config(case, out))
            counts.write_text(json.dumps(calls))

        end = child(work, self.log)
        if end.code:
            raise SystemExit(f"the untouched run of {case!r} failed: {end.said}")
        timed = child(lambda: finetune.finetune(self.config(case, self.root / "again")), self.log)
        again = (self.root / "again" / JOURNAL).read_bytes()
        shutil.rmtree(self.root / "again")
        data = (out / JOURNAL).read_bytes()
        if again != data:
            self.wrong.append(f"{case}: two untouched runs differ")
        child(lambda: first.write_text(json.dumps(_prefixes(out))), self.log)
        truth = Truth(
            case, out, data, _evaluations(out), json.loads((out / RESULT).read_text()), timed.seconds,
            json.loads(counts.read_text()), json.loads(first.read_text()),
        )  # fmt: skip
        first.unlink()
        return truth

    # -- one run, struck until it finishes -----------------------------------------------------------

    def go(self, truth: Truth, run: Path, blow: Blow | None = None, limit: int | None = None) -> End:
        """Start the run, or resume it where there is a journal; a journal cut before its end is deleted."""

        def work() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            if (run / JOURNAL).exists():
                finetune.resume(run, quiet=True)
            else:
                finetune.finetune(self.config(truth.case, run), quiet=True)

        resumes = (run / JOURNAL).exists()
        end = child(work, self.log, blow)
        if end.clear and resumes and "delete it and start again" in end.said:
            self.counts["started again, as told"] += 1
            (run / JOURNAL).unlink()
            return self.go(truth, run, blow, limit)
        self.counts["resumed"] += resumes
        return end

    def chain(self, truth: Truth, most: int) -> int:
        """Strike one run up to `most` times; returns how often it died."""
        run = self.root / "struck"
        deaths, history = 0, []
        while deaths < most:
            blow = self._blow(truth)
            end = self.go(truth, run, blow)
            if end.code == 0:
                self.counts["finished first"] += 1
                break
            history.append(
                f"{blow.signal.name} {blow.place or f'{blow.after:.2f} s'} {blow.when} {blow.count or ''}".strip()
            )
            if end.code not in (128 + blow.signal, 130):
                self.fault(f"{truth.case}: {history}: exit code {end.code}: {end.said[-2000:]}")
                break
            deaths += 1
            self.counts[blow.signal.name] += 1
            self.places[f"{blow.when} {blow.place}" if blow.place else "any instant"] += 1
            self.look(truth, run, history)
        else:
            end = self.go(truth, run)
        self.same(truth, run, end, f"{history}")
        shutil.rmtree(run, ignore_errors=True)
        return deaths

    def _blow(self, truth: Truth) -> Blow:
        rng, number = self.rng, self.rng.choice(SIGNALS)
        if rng.random() < 0.5:
            return Blow(number, after=rng.uniform(0.0, truth.seconds))
        place = rng.choice([p for p, n in truth.calls.items() if n])
        halves = place.endswith("of the journal") or (
            place == "a line of metrics" and number != signal.SIGINT
        )
        when = rng.choice(("before", "after", "halfway") if halves else ("before", "after"))
        return Blow(number, None, place, when, rng.randint(1, truth.calls[place]))

    def look(self, truth: Truth, run: Path, history: list[str]) -> None:
        """What lies there after a death: a prefix of the true journal, and a folder that can be read."""
        if (run / JOURNAL).exists() and not truth.journal.startswith((run / JOURNAL).read_bytes()):
            self.fault(f"{truth.case}: {history}: the journal is no prefix of the true one")
        if run.is_dir() and any((run / n).exists() for n in ("config.yaml", JOURNAL)):
            try:
                state = runs.RunView.read(run).state
                if state == "running":
                    self.fault(f"{truth.case}: {history}: a dead run is said to be running")
            except Exception as error:
                self.fault(f"{truth.case}: {history}: the folder cannot be read: {error!r}")

    def same(self, truth: Truth, run: Path, end: End, how: str, exact: bool = True) -> None:
        """The finished run against the truth; not `exact`: metrics were damaged, so another best may be chosen."""
        if end.code:
            return self.fault(f"{truth.case}: {how}: ended with {end.code}: {end.said[-2000:]}")
        journal, result = (run / JOURNAL).read_bytes(), json.loads((run / RESULT).read_text())
        longer = not exact and "patience" in CASES[truth.case]  # it counts evaluations, which were lost
        if journal != truth.journal and not (longer and journal.startswith(truth.journal)):
            self.fault(f"{truth.case}: {how}: another journal")
        for name in ALWAYS + SPENT * (not longer) + CHOSEN * exact:
            if result[name] != truth.result[name]:
                self.fault(f"{truth.case}: {how}: {name} is {result[name]}, was {truth.result[name]}")
        k = result["best_t"]
        if k < len(truth.weights) and result["weights_sha256"] != truth.weights[k]:
            self.fault(f"{truth.case}: {how}: weights are not those of step {k}")
        if exact and _evaluations(run) != truth.evaluations:
            self.fault(f"{truth.case}: {how}: other evaluations")
        left = [p.name for p in run.glob("cache/*")] + [p.name for p in run.glob("*.part")]
        if left:
            self.counts["left behind"] += 1
            self.fault(f"{truth.case}: {how}: left behind {left}")

    def fault(self, text: str) -> None:
        """Something is wrong: said at once, and counted."""
        self.wrong.append(text)
        print(f"WRONG {text}", file=sys.stderr, flush=True)


def _evaluations(run: Path) -> list[dict[str, Any]]:
    """Evaluations as written down, without their times; one said twice counts once."""
    found = metrics.evaluations(run, Journal.read(run / JOURNAL))
    return [{k: v for k, v in e.items() if k != "seconds"} for e in found]


def _prefixes(run: Path) -> list[str]:
    """Digest of the model's weights after the first k records, taken one by one."""
    opened, journal = existing.reopen(run)
    training = Run(
        opened.space, existing.method_of(journal.header, opened.space), Journal.create(None, journal.header)
    )
    found = [models.weights_digest(opened.loaded.model)]
    for record in journal.records:
        training.commit(record)
        found.append(models.weights_digest(opened.loaded.model))
    return found
