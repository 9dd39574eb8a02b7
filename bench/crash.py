"""Kill real runs, fill their disks, tear their files, damage their journals; count silent damage (must be 0).

What it is: small Llamas fine-tuned by the real `zoptim.lm.finetune`, in children of one warm process.

    kills      a run is struck at random instants, and at chosen places (inside a write, between append and
               apply, inside an apply, an evaluation, the final rebuild) by SIGKILL, SIGINT or SIGTERM, resumed,
               struck again, until it finishes: journal bytes, evaluations and weights must be those of the run
               that nobody touched; at every death the journal must be a prefix of its bytes
    scenes     a disk that fills up, torn, missing or strange metrics.jsonl and result.json, another base, other
               data, a locked journal: one clear line or the same result, and always the same result afterwards
    mutations  journals of real runs, damaged by `bench.mutations` or with headers forged and sealed again: opened
               as every command opens them, they are refused in one line, or rebuild exactly a true prefix's weights

What it is not: a power loss (`bench.mutations` and docs/journal.md speak of those), or an adversary who reseals
records.  The calibration's clock stands still, so that headers, which hold its times, compare byte for byte.

    python -m bench.crash [--kills 200] [--mutations 10000] [--seed 0] [--json] [--save]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tests.lm import tiny

import zoptim.journal as journal_file
from bench.common import save, stamp
from bench.mutations import KINDS, Original, mutate, verdict
from zoptim.engine import Run
from zoptim.journal import Journal, canonical_json, digest
from zoptim.lm import calibrate, finetune, metrics, models, replay, report, runs, session
from zoptim.lm.config import Config
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.session import JOURNAL, METRICS, RESULT, Base, Session

STEPS, EVERY, EXAMPLES, BATCH = 24, 4, 120, 8
PATIENCE = 60.0  # seconds a child may take to end after its blow
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGINT] * 2 + [signal.SIGTERM]  # each share, as often as listed
ANSWERS = {"candidates": (" bad", " good"), "label": "label", "template": "{text} It was"}
CASES: dict[str, dict[str, Any]] = {
    "fzoo, norm": {**ANSWERS, "at": "last", "lr": 0.05},
    "mezo, block, cache on disk": {**ANSWERS, "train": "last-block", "method": "mezo", "cache_gb": 1e-5},
    "fzoo, completions": {"template": "{text} :", "completion": "answer", "settings": {"n": 2}},
    "mezo, bfloat16": {
        **ANSWERS,
        "method": "mezo",
        "dtype": "bfloat16",
        "objective": "accuracy",
        "patience": 4,
    },
}
PLACES: dict[str, tuple[Any, str]] = {
    "a file write of the journal": (os, "write"),
    "the journal being made": (journal_file, "_open_locked"),
    "append": (Journal, "append"),
    "apply": (Run, "_apply_rows"),
    "an evaluation": (Session, "measure"),
    "a line of metrics": (metrics.Metrics, "write"),
    "the initial values being kept": (Base, "__init__"),
    "the initial values being restored": (Base, "restore"),
    "the final rebuild": (finetune, "rebuild"),
    "config, predictions, result": (finetune, "_write"),
    "the report": (report, "write"),
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


@dataclass(frozen=True)
class Blow:
    """A signal, after some seconds of a child's life, or at the n-th call of a place."""

    signal: signal.Signals
    after: float | None = None
    place: str = ""
    when: str = ""  # before, halfway, after
    count: int = 0

    def arm(self) -> None:
        """In the child: lay the trap."""
        if self.place:
            owner, name = PLACES[self.place]
            setattr(owner, name, _trapped(getattr(owner, name), self))

    def strike(self) -> None:
        os.kill(os.getpid(), self.signal)


def _trapped(real: Callable[..., Any], blow: Blow) -> Callable[..., Any]:
    calls = iter(range(1, 1 << 60))

    def trapped(*a: Any, **kw: Any) -> Any:
        if next(calls) != blow.count:
            return real(*a, **kw)
        if blow.when == "halfway" and real is WRITE:
            done = real(a[0], a[1][: len(a[1]) // 2])
            blow.strike()
            return done
        if blow.when == "halfway":  # a line of metrics
            a[0]._file.write(json.dumps({"event": a[1], **kw})[: 5 + blow.count])
            a[0]._file.flush()
        if blow.when != "after":
            blow.strike()
        answer = real(*a, **kw)
        if blow.when == "after":
            blow.strike()
        return answer

    return trapped


WRITE = os.write


# ---------------------------------------------------------------- children


@dataclass(frozen=True)
class End:
    """How a child ended: code as a shell gives it, what it said."""

    code: int
    said: str
    seconds: float

    @property
    def clear(self) -> bool:
        """Refused in one line that names something."""
        return self.code in (1, 2) and "Traceback" not in self.said and len(self.said.splitlines()) == 1


def child(work: Callable[[], object], log: Path, blow: Blow | None = None) -> End:
    """Fork, do the work, be struck; the parent waits for the end."""
    began = time.monotonic()
    alive, held = os.pipe()  # the read end tells when the child is gone
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(alive)
        _live(work, log, blow)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(held)
    try:
        if blow and blow.after is not None and not select.select([alive], [], [], blow.after)[0]:
            os.kill(pid, blow.signal)
        if not select.select([alive], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"a child did not end in {PATIENCE:g} s after {blow}")
    finally:
        os.close(alive)
        status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return End(128 - code if code < 0 else code, log.read_text(errors="replace"), time.monotonic() - began)


def _live(work: Callable[[], object], log: Path, blow: Blow | None) -> None:
    """A child's whole life; never returns."""
    code, error = 70, ""
    try:
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if blow:
                blow.arm()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except (UsageError, RunError) as refusal:
            code, error = refusal.exit_code, str(refusal)
        except BaseException:
            error = traceback.format_exc()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        WRITE(2, error.encode())
    finally:
        os._exit(code)


# ---------------------------------------------------------------- the world


class World:
    """A folder with a model, another model, data, the untouched runs; and what was found wrong."""

    def __init__(self, root: Path, rng: random.Random, cases: list[str]) -> None:
        self.root, self.rng = root, rng
        self.counts: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.log = root / "log"
        child(lambda: tiny.save(root / "model"), self.log)
        child(lambda: tiny.save(root / "other", seed=1), self.log)
        words = [
            "a",
            "warm",
            "funny",
            "film",
            "about",
            "nothing",
            "everything",
            "the",
            "plot",
            "ship",
            "mind",
            "patient",
            "debut",
        ]
        lines = []
        for i in range(EXAMPLES):
            text = " ".join(rng.choice(words) for _ in range(rng.randrange(3, 9))) + f" {i}"
            good = int("warm" in text or "funny" in text)
            lines.append(json.dumps({"text": text, "label": good, "answer": f" {len(text) % 4} stars"}))
        (root / "data.jsonl").write_text("\n".join(lines) + "\n")
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
                setattr(owner, name, _counting(calls, place, getattr(owner, name)))
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
                self._wrong(f"{truth.case}: {history}: exit code {end.code}: {end.said[-2000:]}")
                break
            deaths += 1
            self.counts[blow.signal.name] += 1
            self.places[f"{blow.when} {blow.place}" if blow.place else "any instant"] += 1
            self._look(truth, run, history)
        else:
            end = self.go(truth, run)
        self._same(truth, run, end, f"{history}")
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

    def _look(self, truth: Truth, run: Path, history: list[str]) -> None:
        """What lies there after a death: a prefix of the true journal, and a folder that can be read."""
        if (run / JOURNAL).exists() and not truth.journal.startswith((run / JOURNAL).read_bytes()):
            self._wrong(f"{truth.case}: {history}: the journal is no prefix of the true one")
        if run.is_dir() and any((run / n).exists() for n in ("config.yaml", JOURNAL)):
            try:
                state = runs.RunView.read(run).state
                if state == "running":
                    self._wrong(f"{truth.case}: {history}: a dead run is said to be running")
            except Exception as error:
                self._wrong(f"{truth.case}: {history}: the folder cannot be read: {error!r}")

    def _same(self, truth: Truth, run: Path, end: End, how: str, exact: bool = True) -> None:
        """The finished run against the truth; not `exact`: metrics were damaged, so another best may be chosen."""
        if end.code:
            return self._wrong(f"{truth.case}: {how}: ended with {end.code}: {end.said[-2000:]}")
        if (run / JOURNAL).read_bytes() != truth.journal:
            self._wrong(f"{truth.case}: {how}: another journal")
        result = json.loads((run / RESULT).read_text())
        names = (
            "steps",
            "skipped",
            "forwards",
            "accuracy_before",
            "loss_before",
            "journal_bytes",
            "lr",
            "eps",
        )
        more = (
            "weights_sha256",
            "best_t",
            "accuracy_after",
            "loss_after",
            "dev_accuracy",
            "dev_loss",
            "stopped_because",
        )
        for name in names + more * exact:
            if result[name] != truth.result[name]:
                self._wrong(f"{truth.case}: {how}: {name} is {result[name]}, was {truth.result[name]}")
        if result["weights_sha256"] != truth.weights[result["best_t"]]:
            self._wrong(f"{truth.case}: {how}: weights are not those of step {result['best_t']}")
        if exact and _evaluations(run) != truth.evaluations:
            self._wrong(f"{truth.case}: {how}: other evaluations")
        left = [p.name for p in run.glob("cache/*")] + [p.name for p in run.glob("*.part")]
        if left:
            self.counts["left behind"] += 1
            self._wrong(f"{truth.case}: {how}: left behind {left}")

    def _wrong(self, text: str) -> None:
        self.wrong.append(text)
        print(f"WRONG {text}", file=sys.stderr, flush=True)

    # -- scenes ----------------------------------------------------------------------------------------

    def half_done(self, truth: Truth, run: Path) -> Path:
        """A run killed between append and apply of a random step."""
        shutil.rmtree(run, ignore_errors=True)
        end = self.go(
            truth, run, Blow(signal.SIGKILL, None, "append", "after", self.rng.randint(2, STEPS - 1))
        )
        if end.code != 128 + signal.SIGKILL:
            self._wrong(f"{truth.case}: could not be stopped half-way: {end.said[-500:]}")
        return run

    def full_disk(self, truth: Truth, tries: int) -> None:
        """No file may grow past a random limit: one line, and the same result once there is room."""
        run = self.root / "full"
        largest = max(p.stat().st_size for p in truth.folder.iterdir() if p.is_file())
        for _ in range(tries):
            limit = int(200 * (largest / 200) ** self.rng.random())
            end = self.go(truth, run, limit=limit)
            self.counts["full disks"] += 1
            if end.code and not end.clear:
                self._wrong(
                    f"{truth.case}: files up to {limit} bytes: no clear error ({end.code}): {end.said[-2000:]}"
                )
            self._look(truth, run, [f"files up to {limit} bytes"])
            if end.code == 0 or self.rng.random() < 0.5:
                self._same(truth, run, self.go(truth, run), f"files up to {limit} bytes")
                shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)

    def torn_files(self, truth: Truth) -> None:
        """metrics.jsonl and result.json torn, missing or strange."""
        run, rng = self.root / "torn", self.rng

        def strange(path: Path, text: bytes) -> None:
            path.write_bytes(path.read_bytes() + text)

        scenes: dict[str, Callable[[Path], object]] = {
            "metrics torn": lambda p: os.truncate(p, rng.randrange(p.stat().st_size)),
            "metrics missing": lambda p: p.unlink(),
            "metrics of zeros": lambda p: strange(p, bytes(600)),
            "metrics with a number": lambda p: strange(p, b"17\n"),
            "metrics with half an evaluation": lambda p: strange(p, b'{"event": "eval", "t": 0}\n'),
        }
        for how, harm in scenes.items():
            harm(self.half_done(truth, run) / METRICS)
            self.counts["torn files"] += 1
            self._same(truth, run, self.go(truth, run), how, exact=False)
        (run / JOURNAL).unlink()  # what a refusal may advise; the other files are still those of the old run
        self._same(truth, run, self.go(truth, run), "journal deleted")
        for how, text in (("missing", None), ("torn", b'{"weights_sha'), ("empty", b"")):
            (run / RESULT).unlink() if text is None else (run / RESULT).write_bytes(text)
            self.counts["torn files"] += 1
            end = child(lambda: replay.replay(run), self.log)
            if end.code:
                self._wrong(f"{truth.case}: replay with result.json {how}: {end.said[-2000:]}")
            self._same(truth, run, self.go(truth, run), f"result.json {how}")
        shutil.rmtree(run)

    def strangers(self, truth: Truth) -> None:
        """Another base, other data, a locked journal: refused in one line; then all is as it was."""
        run, root = self.half_done(truth, self.root / "strange"), self.root
        for what, said in (("other model", "weights"), ("other data", "data"), ("locked", "another run")):
            with self._stranger(what, run):
                end = child(lambda: finetune.resume(run, quiet=True), self.log)
            self.counts["strangers refused"] += 1
            if not end.clear or said not in end.said:
                self._wrong(f"{truth.case}: {what}: {end.code}: {end.said[-2000:]}")
        self._same(truth, run, self.go(truth, run), "after strangers")
        shutil.rmtree(root / "strange")

    @contextmanager
    def _stranger(self, what: str, run: Path) -> Iterator[None]:
        model, other, data = (self.root / n for n in ("model", "other", "data.jsonl"))
        if what == "locked":
            with Journal.open(run / JOURNAL):
                yield
        elif what == "other data":
            text = data.read_text()
            data.write_text(text.replace("warm", "cold", 1))
            yield
            data.write_text(text)
        else:
            model.rename(self.root / "kept")
            other.rename(model)
            yield
            model.rename(other)
            (self.root / "kept").rename(model)


def _counting(calls: Counter[str], place: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*a: Any, **kw: Any) -> Any:
        calls[place] += 1
        return real(*a, **kw)

    return counted


def _evaluations(run: Path) -> list[dict[str, Any]]:
    """Evaluations as written down, without their times; one said twice counts once."""
    found = metrics.evaluations(run, Journal.read(run / JOURNAL))
    return [{k: v for k, v in e.items() if k != "seconds"} for e in found]


def _prefixes(run: Path) -> list[str]:
    """Digest of the model's weights after the first k records, taken one by one."""
    opened, journal = session.reopen(run)
    training = Run(
        opened.space, session.method_of(journal.header, opened.space), Journal.create(None, journal.header)
    )
    found = [models.weights_digest(opened.loaded.model)]
    for record in journal.records:
        training.commit(record)
        found.append(models.weights_digest(opened.loaded.model))
    return found


# ---------------------------------------------------------------- damaged journals


def sealed(header: bytes, payloads: list[bytes]) -> bytes:
    """A journal as docs/journal.md writes it, so that forged ones have good checksums."""
    data = b"\x93zoptim\x01" + struct.pack("<I", len(header)) + header
    chain = blake2b(data, digest_size=8).digest()
    data += chain
    for payload in payloads:
        length = struct.pack("<I", len(payload))
        frame = length + struct.pack("<I", zlib.crc32(chain + length)) + payload
        chain = blake2b(chain + frame, digest_size=8).digest()
        data += frame + chain
    return data


def parsed(data: bytes) -> tuple[Original, bytes, list[bytes]]:
    """Where an undamaged journal's records end; its header's bytes; its payloads."""
    stop = 12 + struct.unpack_from("<I", data, 8)[0]
    at, ends, payloads = stop + 8, list[int](), list[bytes]()
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0]
        payloads.append(data[at + 8 : at + 8 + size])
        at += size + 16
        ends.append(at)
    return Original(data, stop + 8, tuple(ends)), data[12:stop], payloads


def forge(rng: random.Random, data: bytes) -> bytes:
    """A journal that says something else about itself, or holds what no version wrote yet; checksums good."""
    _, raw, payloads = parsed(data)
    header = json.loads(raw)
    what = rng.choice(
        ("base", "data", "noise", "format", "method", "slot", "shape", "key", "list", "kind", "flags")
    )
    match what:
        case "base":
            header["base"]["sha256"] = header["base"]["sha256"][::-1]
        case "data":
            header["data"]["digest"] = header["data"]["digest"][::-1]
        case "noise":
            header["noise"] += 1
        case "format":
            header["format"] = "zoptim optimizer"
        case "method":
            header["method"]["name"] = "mezzo"
        case "slot":
            header["slots"][0][0] += "_"
        case "shape":
            header["slots"][0][1][0] += 1
        case "key":
            del header[rng.choice(sorted(set(header) - {"machine"}))]
        case "list":
            header = [header]
        case "kind" | "flags":
            k, at = rng.randrange(len(payloads)), what == "flags"
            payload = bytearray(payloads[k])
            payload[at] |= rng.choice((0x20, 0x40, 0x80))
            payloads[k] = bytes(payload)
    return sealed(canonical_json(header), payloads)


class Damage:
    """Judges damaged journals of one truth: opened, checked and rebuilt as every command does it."""

    def __init__(self, truth: Truth, others: list[bytes]) -> None:
        self.truth, self.run = truth, truth.folder
        self.session, _ = session.reopen(truth.folder)
        self.base = [p.clone() for p in self._tensors()]
        self.originals = [parsed(data)[0] for data in (truth.journal, *others)]
        self.weights: dict[bytes, str] = {}  # of every true prefix
        for true in self.originals:
            for end in (true.header, *true.ends):
                self.weights[true.data[:end]] = self.rebuilt(Journal(None, true.data[:end]))

    def _tensors(self) -> list[torch.Tensor]:
        return [self.session.space.parameter(slot).detach() for slot in self.session.space.slots()]

    def rebuilt(self, journal: Journal) -> str:
        for p, base in zip(self._tensors(), self.base, strict=True):
            p.copy_(base)
        session.rebuild(self.session, journal, "last")
        return digest(b"".join(p.view(torch.uint8).numpy().tobytes() for p in self._tensors()))

    def judge(self, kind: str, true: Original, mutated: bytes, write: bool) -> str:
        """One opening of one damaged journal."""
        path = self.run / JOURNAL
        path.write_bytes(mutated)
        try:
            if kind == "forged":
                opened, journal = session.reopen(self.run)
                session.rebuild(opened, journal, "last")
                return "WRONG: a forged header or record was taken"
            journal = session.open_journal(self.run, write=write)
            try:
                session.check_base(self.session, journal.header, self.run)
                weights = self.rebuilt(journal)
            finally:
                journal.close()
        except (RunError, UsageError) as error:
            if len(str(error).splitlines()) != 1 or str(self.run) not in str(error):
                return f"WRONG: not one line that names the journal: {error}"
            return verdict(true, mutated, None)
        except Exception as error:
            return f"WRONG: a bare {type(error).__name__}: {str(error)[:80]}"
        if kind == "another model's":
            return "WRONG: another model's journal was taken"
        if write and path.read_bytes() != journal.dump():
            return "WRONG: the file is not what was opened"
        if self.weights.get(journal.dump()) != weights:
            return "WRONG: weights of no true prefix"
        truth = next(
            (t for t in self.originals if t.data.startswith(mutated)), true
        )  # one journal for another
        return verdict(truth, mutated, journal.dump())


def mutations(world: World, count: int, seed: int) -> dict[str, Counter[str]]:
    """Verdicts by kind of damage, over the real journals of every case."""
    rng, table = random.Random(seed), dict[str, Counter[str]]()
    kinds = (*KINDS, "another model's")
    for n, truth in enumerate(world.truths):
        other, undone, stranger = (world.root / name for name in ("other-run", "undone", "other-model"))
        finetune.finetune(world.config(truth.case, other, seed=1), quiet=True)
        finetune.finetune(world.config(truth.case, stranger, model=str(world.root / "other")), quiet=True)
        shutil.copytree(truth.folder, undone)
        replay.undo(undone, rng.randrange(1, STEPS))
        damage = Damage(truth, [(p / JOURNAL).read_bytes() for p in (other, undone)])
        foreign = (stranger / JOURNAL).read_bytes()
        for k in range(n, count, len(world.truths)):
            true, spliced = rng.sample(damage.originals, 2)
            kind = "forged" if rng.random() < 0.02 else kinds[k // len(world.truths) % len(kinds)]
            if kind == "forged":
                mutated = forge(rng, true.data)
            elif kind == "another model's":
                mutated = foreign[: rng.choice((len(foreign), rng.randrange(len(foreign))))]
            else:
                mutated = mutate(rng, kind, true, spliced)
            said = damage.judge(kind, true, mutated, rng.random() < 0.5)
            table.setdefault(kind, Counter())[said] += 1
        (truth.folder / JOURNAL).write_bytes(truth.journal)
        for folder in (other, undone, stranger):
            shutil.rmtree(folder)
    return table


# ---------------------------------------------------------------- all of it


def run(kills: int, count: int, seed: int, cases: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, in a folder that is gone afterwards."""
    torch.set_num_threads(1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    calibrate.time = SimpleNamespace(monotonic=lambda: 0.0)  # see above
    rng, times = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()

        def lap(name: str) -> None:
            nonlocal began
            times[name] = round(time.monotonic() - began, 1)
            began = time.monotonic()
            say(f"{name}: {times[name]} s")

        world = World(Path(folder), rng, cases)
        lap("untouched runs")
        deaths = 0
        while deaths < kills:
            truth = world.truths[world.counts["runs"] % len(world.truths)]
            world.counts["runs"] += 1
            deaths += world.chain(truth, min(kills - deaths, rng.randint(1, 6)))
        lap("kills")
        for truth in world.truths:
            world.full_disk(truth, max(2, kills // 20))
            world.torn_files(truth)
            world.strangers(truth)
        lap("scenes")
        file = Path(folder) / "mutations.json"
        end = child(lambda: file.write_text(json.dumps(mutations(world, count, seed))), world.log)
        lap("mutations")
        table = {k: Counter(v) for k, v in json.loads(file.read_text()).items()} if not end.code else {}
        if end.code:
            world.wrong.append(f"mutations ended with {end.code}: {end.said[-2000:]}")
    total: Counter[str] = sum(table.values(), Counter())
    bad = {
        k: dict(v)
        for k, row in table.items()
        if (v := {n: c for n, c in row.items() if n.startswith("WRONG")})
    }
    world.wrong += [f"{kind}: {n} x {name}" for kind, row in bad.items() for name, n in row.items()]
    return {
        "seed": seed, "cases": cases, "steps": STEPS, "kills_survived": deaths, "runs": world.counts.pop("runs"),
        "kills": {k: world.counts.pop(k, 0) for k in ("SIGKILL", "SIGINT", "SIGTERM")},
        "counts": dict(world.counts), "places": dict(world.places.most_common()),
        "mutations": sum(total.values()), "refused": total["refused"], "prefixes": total["cut"],
        "whole": total["whole"] + total["unchanged"], "kinds": table, "seconds": times,
        "silent_damage": len(world.wrong), "wrong": world.wrong,
    }  # fmt: skip


def main() -> int:
    """Print the counts; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="kill real runs, damage their journals; count silent damage")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this kind of run; may be repeated"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write bench/results/crash.json")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found = run(args.kills, args.mutations, args.seed, args.case or list(CASES), say)
    if args.save:
        say(f"written to {save('crash', stamp(found))}")
    if args.json:
        print(json.dumps(found))
        return 1 if found["wrong"] else 0
    kinds = ", ".join(f"{n} {name}" for name, n in found["kills"].items())
    print(f"kills survived      {found['kills_survived']}  ({kinds}; {found['runs']} runs)")
    for name, n in found["counts"].items():
        print(f"{name:20}{n}")
    print(f"journals damaged    {found['mutations']}")
    print(f"  refused           {found['refused']}")
    print(f"  true prefixes     {found['prefixes']}")
    print(f"  whole             {found['whole']}")
    print(f"silent damage       {found['silent_damage']}")
    for text in found["wrong"]:
        print(f"WRONG {text}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
