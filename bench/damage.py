"""Damaged and forged journals of real runs, opened as every command opens them: one part of `bench.crash`.

What `bench.mutations` does to bytes is judged here by weights: an opening is refused in one line, or rebuilds
exactly what a prefix of the true records rebuilds.  Forged journals have good checksums but speak of another
base, other data, other noise, or hold what no version wrote yet: each must be refused.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import zlib
from collections import Counter
from hashlib import blake2b

import torch

from bench.mutations import KINDS, Original, mutate, verdict
from bench.world import Truth, World
from zoptim.journal import Journal, canonical_json, digest
from zoptim.lm import existing, finetune, replay
from zoptim.lm.errors import RunError, UsageError
from zoptim.lm.session import JOURNAL

UNDONE = 20  # at most so many steps taken back in the undone journal


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
        self.session, _ = existing.reopen(truth.folder)
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
        existing.rebuild(self.session, journal, "last")
        return digest(b"".join(p.view(torch.uint8).numpy().tobytes() for p in self._tensors()))

    def judge(self, kind: str, true: Original, mutated: bytes, write: bool) -> str:
        """One opening of one damaged journal."""
        path = self.run / JOURNAL
        path.write_bytes(mutated)
        try:
            if kind == "forged":
                opened, journal = existing.reopen(self.run)
                existing.rebuild(opened, journal, "last")
                return "WRONG: a forged header or record was taken"
            journal = existing.open_journal(self.run, write=write)
            try:
                existing.check_base(self.session, journal.header, self.run)
                weights = self.rebuilt(journal)
            finally:
                journal.close()
        except (RunError, UsageError) as error:
            if len(str(error).splitlines()) != 1 or (kind != "forged" and str(self.run) not in str(error)):
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
        replay.undo(undone, rng.randrange(1, UNDONE))
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
