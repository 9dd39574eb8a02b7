"""Damage journals at random and count what opening them does.

What it is: a seeded adversary for `zoptim.journal` with its own oracle, written from docs/journal.md
and not from the code.  What it is not: a proof; an adversary who recomputes checksums is out of scope.

A mutated file must be refused, or open as a prefix of the true records; and a *shorter* prefix is right
only if the file ends inside the first missing record, or its missing part is zeros to the end.
Truncations and power losses must open, with every record that is still whole.

    python -m bench.mutations --count 10000 --seed 0 [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoptim.journal import Journal, JournalError
from zoptim.protocols import Draw, Record, Vec


@dataclass(frozen=True)
class Original:
    """A true journal: its bytes, where its header ends, where each record ends."""

    data: bytes
    header: int
    ends: tuple[int, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        return (self.header, *self.ends[:-1])


def any_float(rng: random.Random) -> float:
    """Mostly an ordinary number, sometimes any 64 bits at all: NaN with a payload, inf, subnormals."""
    if rng.random() < 0.9:
        return rng.gauss(0.0, 1.0)
    return float(struct.unpack("<d", rng.randbytes(8))[0])


def mezo(rng: random.Random, t: int) -> Record:
    """Two-sided, one draw."""
    return Record("move", t, 1e-6, ((Draw(t, 0), rng.gauss(0, 1)),), (rng.random(), rng.random()))


def fzoo(rng: random.Random, t: int) -> Record:
    """One-sided, eight draws and the centre."""
    terms = tuple((Draw(t, i), rng.gauss(0, 1)) for i in range(8))
    return Record("move", t, 1e-3, terms, tuple(rng.random() for _ in range(9)))


def mixed(rng: random.Random, t: int) -> Record:
    """Anything a record can say."""
    kind = rng.choice(("move", "move", "skip", "undo"))
    names = ("", "", "lm_head", "größe")
    terms = tuple(
        (Vec("h") if rng.random() < 0.2 else Draw(rng.randrange(t + 1), i, rng.choice(names)), any_float(rng))
        for i in range(rng.randrange(5))
    )
    losses = tuple(any_float(rng) for _ in range(rng.randrange(12)))
    extra = tuple(any_float(rng) for _ in range(rng.choice((0, 0, 3))))
    reason = "loss is not finite" if kind == "skip" else ""
    return Record(kind, t, any_float(rng), terms, losses, extra, reason, rng.choice(names))  # type: ignore[arg-type]


def make(rng: random.Random, style: Callable[[random.Random, int], Record], count: int, key: int) -> Original:
    """A true journal of `count` records."""
    journal = Journal.create(None, {"key": key, "method": style.__name__, "slots": [["w", [3, 4]]] * 4})
    header, ends = journal.nbytes, []
    for t in range(count):
        journal.append(style(rng, t))
        ends.append(journal.nbytes)
    return Original(journal.dump(), header, tuple(ends))


def mutate(rng: random.Random, kind: str, true: Original, other: Original) -> bytes:
    """One random mutation of the given kind."""
    data, size = true.data, len(true.data)
    k = rng.randrange(len(true.ends))
    start, end = true.starts[k], true.ends[k]
    a, b = sorted((rng.randrange(size), rng.randrange(size) + 1))
    at = rng.choice((rng.randrange(size), rng.randrange(start, end)))
    short = min(size, at + rng.randrange(1, 40))
    j = min(rng.randrange(len(true.ends)), len(other.ends) - 1)
    match kind:
        case "bit":
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case "byte":
            return data[:at] + rng.randbytes(1) + data[at + 1 :]
        case "length bit":
            at = start + rng.randrange(8)
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case "overwrite":
            return data[:at] + rng.randbytes(short - at) + data[short:]
        case "truncate":
            return data[:at]
        case "insert":
            return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]
        case "append":
            return data + rng.randbytes(rng.randrange(1, 40))
        case "delete":
            return data[:at] + data[short:]
        case "delete range":
            return data[:a] + data[b:]
        case "repeat range":
            return data[:b] + data[a:]
        case "delete record":
            return data[:start] + data[end:]
        case "repeat record":
            return data[:end] + data[start:]
        case "swap records":
            i, k = sorted((k, rng.randrange(len(true.ends))))
            (s, e), (start, end) = (true.starts[i], true.ends[i]), (true.starts[k], true.ends[k])
            return data if i == k else data[:s] + data[start:end] + data[e:start] + data[s:e] + data[end:]
        case "other's record":
            return data[:start] + other.data[other.starts[j] : other.ends[j]] + data[end:]
        case "other's tail":
            return data[:start] + other.data[other.starts[j] :]
        case "zero range":
            return data[:a] + bytes(b - a) + data[b:]
        case "zero short":
            return data[:at] + bytes(short - at) + data[short:]
        case "zero tail":
            return data[:at] + bytes(size - at)
        case "zeros after":
            return data + bytes(rng.randrange(1, 5000))
        case "power loss":
            at = rng.choice((start, *range((true.header + 511) // 512 * 512, size, 512)))
            return data[:at] + bytes(8 + rng.randrange(5000))
    raise ValueError(f"mutation {kind!r} is unknown")


KINDS = (
    *("bit", "byte", "length bit", "overwrite", "truncate", "insert", "append", "delete", "delete range"),
    *("repeat range", "delete record", "repeat record", "swap records", "other's record", "other's tail"),
    *("zero range", "zero short", "zero tail", "zeros after", "power loss"),
)


def verdict(true: Original, mutated: bytes, opened: bytes | None) -> str:
    """Judge one opening: `opened` is the dump of the opened journal, None if it was refused."""
    if opened is None:
        stops = [len(mutated), *true.starts, *range(0, len(mutated), 512)]  # where a loss may begin
        lost = any(
            true.header <= stop <= len(mutated)
            and true.data.startswith(mutated[:stop])
            and not any(mutated[stop:])
            and (stop in (len(mutated), *true.starts) or len(mutated) - stop >= 8)
            for stop in stops
        )
        return "WRONG: refused a torn tail" if lost else "refused"
    if opened == true.data:
        rest = mutated[len(opened) :]
        if mutated == true.data:
            return "unchanged"
        harmless = mutated.startswith(opened) and (len(rest) < 8 or not any(rest))
        return "whole" if harmless else "WRONG: accepted damage"
    if opened not in (true.data[:end] for end in (true.header, *true.ends)):
        return "WRONG: other records"
    k = (true.header, *true.ends).index(len(opened))  # the first record that was dropped
    start, end = true.starts[k], true.ends[k]
    blocks = (start, *range(start // 512 * 512 + 512, end, 512))
    zeros = any(len(mutated) > b and not any(mutated[b:]) for b in blocks)
    return "cut" if len(mutated) < end or zeros else "WRONG: lost records"


def attempt(path: Path, mutated: bytes, more: Record | None) -> bytes | None:
    """Open the mutated file; if it opens, sometimes go on appending and check that this holds."""
    path.write_bytes(mutated)
    try:
        journal = Journal.open(path)
    except JournalError as error:
        if str(path) not in str(error) or "offset" not in str(error):
            raise AssertionError(f"a refusal must name file and offset: {error}") from error
        return None
    with journal:
        opened = journal.dump()
        list(journal.records)
        if path.stat().st_size != len(opened) or journal.cut != len(mutated) - len(opened):
            raise AssertionError("the file is not what was opened")
        if more is not None:
            journal.append(more)
    if more is not None and Journal.read(path).dump() != journal.dump():
        raise AssertionError("appending after an opening did not hold")
    return opened


def run(count: int, seed: int) -> dict[str, Counter[str]]:
    """Counts of verdicts by kind of mutation."""
    rng = random.Random(seed)
    pairs = []
    for style in (mezo, fzoo, mixed):
        for size in (1, 3, 40):
            true = make(rng, style, size, key=1)
            pairs += [(true, make(rng, style, size, key=2)), (true, make(rng, style, size + 2, key=1))]
    table: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.zoj"
        for n in range(count):
            kind, (true, other) = KINDS[n % len(KINDS)], rng.choice(pairs)
            mutated = mutate(rng, kind, true, other)
            opened = attempt(path, mutated, mezo(rng, 99) if rng.random() < 0.2 else None)
            truth = other if other.data.startswith(mutated) else true  # one whole journal for another
            table[kind][verdict(truth, mutated, opened)] += 1
    return table


def main() -> int:
    """Print the table; 1 if any verdict is wrong."""
    parser = argparse.ArgumentParser(description="damage journals at random and count what opening them does")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = run(args.count, args.seed)
    total: Counter[str] = sum(table.values(), Counter())
    wrong = sum(n for name, n in total.items() if name.startswith("WRONG"))
    if args.json:
        report = {"count": args.count, "seed": args.seed, "wrong": wrong, "total": total, "kinds": table}
        print(json.dumps(report))
        return 1 if wrong else 0
    names = ["refused", "cut", "whole", "unchanged", *sorted(n for n in total if n.startswith("WRONG"))]
    print(f"{'mutation':16}" + "".join(f"{name:>11}" for name in names))
    for kind, row in [*table.items(), ("all", total)]:
        print(f"{kind:16}" + "".join(f"{row[name]:>11}" for name in names))
    print(f"{wrong} wrong of {args.count} (seed {args.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
