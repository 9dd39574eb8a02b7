"""What befalls a run besides kills: full disks, torn files, strange models and data; one part of `bench.crash`.

Each scene ends in one clear line or the same result, and always in the same result afterwards; `World` judges.

What it is not: kills (`bench.crash`), or damaged journals (`bench.damage`).
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.struck import Blow, child
from bench.world import Truth, World
from zoptim.journal import Journal
from zoptim.lm import finetune, replay
from zoptim.lm.session import JOURNAL, METRICS, RESULT


def half_done(world: World, truth: Truth, run: Path) -> Path:
    """A run killed between append and apply of a random step."""
    shutil.rmtree(run, ignore_errors=True)
    end = world.go(
        truth, run, Blow(signal.SIGKILL, None, "append", "after", world.rng.randint(2, world.steps - 1))
    )
    if end.code != 128 + signal.SIGKILL:
        world.fault(f"{truth.case}: could not be stopped half-way: {end.said[-500:]}")
    return run


def full_disk(world: World, truth: Truth, tries: int) -> None:
    """No file may grow past a random limit: one line, and the same result once there is room."""
    run = world.root / "full"
    largest = max(p.stat().st_size for p in truth.folder.iterdir() if p.is_file())
    for _ in range(tries):
        limit = int(200 * (largest / 200) ** world.rng.random())
        end = world.go(truth, run, limit=limit)
        world.counts["full disks"] += 1
        if end.code and not (end.clear and str(run) in end.said):
            world.fault(
                f"{truth.case}: files up to {limit} bytes: no clear error ({end.code}): {end.said[-2000:]}"
            )
        world.look(truth, run, [f"files up to {limit} bytes"])
        if end.code == 0 or world.rng.random() < 0.5:
            world.same(truth, run, world.go(truth, run), f"files up to {limit} bytes")
            shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(run, ignore_errors=True)


def torn_files(world: World, truth: Truth) -> None:
    """metrics.jsonl and result.json torn, missing or strange."""
    run, rng = world.root / "torn", world.rng

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
        harm(half_done(world, truth, run) / METRICS)
        world.counts["torn files"] += 1
        world.same(truth, run, world.go(truth, run), how, exact=False)
    lines = (truth.folder / METRICS).read_text().splitlines()
    judged = [n for n, line in enumerate(lines, start=1) if '"event": "eval"' in line]
    shutil.rmtree(run)
    world.go(truth, run, Blow(signal.SIGKILL, None, "a line of metrics", "halfway", rng.choice(judged)))
    world.same(truth, run, world.go(truth, run), "killed inside an evaluation's line")
    (run / JOURNAL).unlink()  # what a refusal may advise; the other files are still those of the old run
    world.same(truth, run, world.go(truth, run), "journal deleted")
    for how, text in (("missing", None), ("torn", b'{"weights_sha'), ("empty", b"")):
        (run / RESULT).unlink(missing_ok=True) if text is None else (run / RESULT).write_bytes(text)
        world.counts["torn files"] += 1
        end = child(lambda: replay.replay(run), world.log)
        if end.code:
            world.fault(f"{truth.case}: replay with result.json {how}: {end.said[-2000:]}")
        world.same(truth, run, world.go(truth, run), f"result.json {how}")
    shutil.rmtree(run)


def strangers(world: World, truth: Truth) -> None:
    """Another base, other data, a locked journal: refused in one line; then all is as it was."""
    run, root = half_done(world, truth, world.root / "strange"), world.root
    for what, said in (("other model", "weights"), ("other data", "data"), ("locked", "another run")):
        with _stranger(world, what, run):
            end = child(lambda: finetune.resume(run, quiet=True), world.log)
        world.counts["strangers refused"] += 1
        if not end.clear or said not in end.said:
            world.fault(f"{truth.case}: {what}: {end.code}: {end.said[-2000:]}")
    world.same(truth, run, world.go(truth, run), "after strangers")
    shutil.rmtree(root / "strange")


@contextmanager
def _stranger(world: World, what: str, run: Path) -> Iterator[None]:
    model, other, data = (world.root / n for n in ("model", "other", "data.jsonl"))
    if what == "locked":
        with Journal.open(run / JOURNAL):
            yield
    elif what == "other data":
        text = data.read_text()
        data.write_text(text.replace("warm", "cold", 1))
        yield
        data.write_text(text)
    else:
        model.rename(world.root / "kept")
        other.rename(model)
        yield
        model.rename(other)
        (world.root / "kept").rename(model)
