"""Streamed runs struck at random instants until they finish: one part of `bench.stream`.

Besides the places of `bench.struck`, a blow may fall before or after a slot is written and a late update is made.
At every death the journal must be a prefix of the true one, and each whole slot of the working copy must hold
exactly the weights its mark speaks of; in the end journal, weights and result must be those of the run nobody
touched.

What it is not: resident runs, damaged files (`bench.crash`).
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tests.lm import tiny

from bench.stream_subject import settings
from bench.struck import PLACES, Blow, child
from zoptim.journal import Journal, effective
from zoptim.lm import calibrate, existing, finetune, session
from zoptim.lm.config import Config
from zoptim.spaces import store
from zoptim.spaces.streamed import Streamed

PLACES["a slot being written"] = (store, "_pwrite")
PLACES["a late update"] = (Streamed, "_update")
STRUCK = (
    "a slot being written",
    "a late update",
    "append",
    "a file write of the journal",
    "the final rebuild",
)


class Struck:
    """A streamed run, killed and resumed until it finishes, again and again."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng, self.log = root, random.Random(seed), root / "log"
        self.model = tiny.save(root / "struck-model")
        self.wrong: list[str] = []
        self.slots = self.deaths = self.resumed = 0
        calibrate.time = SimpleNamespace(
            monotonic=lambda: 0.0
        )  # journals' headers hold its times: now they compare
        finetune.finetune(self.config("warm"), quiet=True)
        self.truth = root / "truth"
        end = child(lambda: finetune.finetune(self.config("truth"), quiet=True), self.log)
        if end.code:
            raise SystemExit(f"the untouched run failed: {end.said}")
        self.seconds = end.seconds
        self.result = json.loads((self.truth / "result.json").read_text())
        self.records = [
            r for r in effective(Journal.read(self.truth / "journal.zoj").records) if r.kind == "move"
        ]
        self.states = self._states()

    def config(self, name: str) -> Config:
        more: dict[str, Any] = {"lr": 1e-3, "eps": 1e-2, "steps": 24, "eval_every": 6, "settings": {"n": 2}}
        more |= {"model": str(self.model), "stream": True, "window_gb": 6e-5, "threads": 1, "method": "fzoo"}
        return settings(self.root, self.root / name, **more)

    def _states(self) -> list[list[bytes]]:
        """Bytes of every unit after the first n moves of the untouched run."""
        opened, journal = existing.reopen(self.truth)
        stream = opened.stream
        assert stream is not None
        found = []
        for n in range(len(self.records) + 1):
            until = self.records[n].t if n < len(self.records) else None
            last = max(r.t for r in self.records) + 1
            existing.rebuild(opened, journal, last if until is None else until)
            found.append([self._unit(stream, number) for number in range(len(stream.units))])
        stream.close()
        return found

    @staticmethod
    def _unit(stream: Streamed, number: int) -> bytes:
        parts = []
        for piece in stream.units[number].pieces:
            with stream.reading(piece.parameter) as values:
                parts.append(values.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return b"".join(parts)

    def look(self, run: Path) -> None:
        """Every whole slot holds the weights of its mark; the journal is a prefix of the true one."""
        path, folder = run / "journal.zoj", run / "stream"
        if path.exists() and not (self.truth / "journal.zoj").read_bytes().startswith(path.read_bytes()):
            self.wrong.append("the journal is no prefix of the true one")
        if not folder.is_dir():
            return
        opened = session.Session.open(self.config("look"))
        assert opened.stream is not None
        copy = store.WorkingCopy(folder, lasting=True)
        for number, unit in enumerate(opened.stream.units):
            out, seen = np.empty(unit.nbytes, np.uint8), 0
            for n in range(len(self.records) + 1):
                if copy.load(number, out, lambda mark, n=n: mark.n == n) is None:  # type: ignore[misc]
                    continue
                seen += 1
                data = b"".join(out[p.start : p.start + p.nbytes].tobytes() for p in unit.pieces)
                if data != self.states[n][number]:
                    self.wrong.append(f"unit {unit.name}: its slot of {n} moves holds other weights")
            self.slots += seen
        copy.close()
        opened.stream.close()

    def chain(self, most: int) -> int:
        """Strike one run up to `most` times, then let it finish; how often it died."""
        run, deaths, told = self.root / "struck", 0, []

        def work() -> None:
            if (run / "journal.zoj").exists():
                finetune.resume(run, quiet=True)
            else:
                finetune.finetune(self.config("struck"), quiet=True)

        for _ in range(8 * most):
            blow = None
            if deaths < most:
                place = self.rng.choice(("", *STRUCK)) if self.rng.random() < 0.8 else ""
                blow = (
                    Blow(
                        signal.SIGKILL,
                        None,
                        place,
                        self.rng.choice(("before", "after")),
                        self.rng.randint(1, 60),
                    )
                    if place
                    else Blow(signal.SIGKILL, after=self.rng.uniform(0.2, 1.0) * self.seconds)
                )
            end = child(work, self.log, blow)
            told.append(f"{blow.place or 'any instant'} {blow.when} {blow.count}" if blow else "to the end")
            if end.code == 0:
                break
            if blow is None or end.code != 128 + signal.SIGKILL:
                self.wrong.append(f"{told}: ended with {end.code}: {end.said[-1500:]}")
                break
            deaths += 1
            self.resumed += (run / "journal.zoj").exists()
            self.look(run)
        result = json.loads((run / "result.json").read_text()) if (run / "result.json").exists() else {}
        for name in ("weights_sha256", "weights_sha256_last", "loss_after", "best_t", "steps"):
            if result.get(name) != self.result[name]:
                self.wrong.append(f"{told}: {name} is {result.get(name)}, was {self.result[name]}")
        if (run / "journal.zoj").read_bytes() != (self.truth / "journal.zoj").read_bytes():
            self.wrong.append(f"{told}: another journal")
        if (run / "stream").exists():
            self.wrong.append(f"{told}: the working copy is left behind")
        shutil.rmtree(run, ignore_errors=True)
        return deaths


def kills(root: Path, count: int, seed: int) -> dict[str, Any]:
    """At least `count` deaths."""
    struck = Struck(root, seed)
    runs = 0
    while struck.deaths < count and not struck.wrong:
        struck.deaths += struck.chain(min(4, count - struck.deaths))
        runs += 1
    return {
        "kills": struck.deaths, "runs": runs, "resumed": struck.resumed, "slots_compared": struck.slots,
        "wrong": struck.wrong,
    }  # fmt: skip
