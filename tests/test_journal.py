"""The journal: lossless, refuses damage, cuts torn tails, survives kills and full disks; its folds."""

from __future__ import annotations

import doctest
import errno
import importlib.util
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim.journal import (
    Journal,
    JournalError,
    canonical_json,
    codec,
    decode,
    digest,
    effective,
    encode,
    folds,
    next_t,
)
from zoptim.protocols import Draw, Record, Vec

HEADER = {"key": 7, "slots": [["w", [2, 3]]]}
ROOT = Path(__file__).parents[1]


def load_adversary() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "bench" / "mutations.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


def mezo(t: int) -> Record:
    return Record("move", t, 1e-6, ((Draw(t, 0), 0.5 + t),), (1.0, 2.0 + t))


def run_python(code: str, *args: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True, env=env)


any_bits = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", n.to_bytes(8, "little"))[0])
floats = st.one_of(st.floats(), any_bits)
texts = st.text(max_size=6)
steps = st.integers(0, 2**40)
draws = st.one_of(st.builds(Draw, steps, steps, texts), st.builds(Vec, texts))


@st.composite
def some_records(draw: st.DrawFn) -> Record:
    t, group = draw(steps), draw(texts)
    coefs = draw(st.lists(floats, max_size=5))
    shape = draw(st.sampled_from(("implicit", "own", "any")))
    own = {"implicit": "", "own": group, "any": ""}[shape]
    made: list[Draw | Vec] = [Draw(t, i, own) for i in range(len(coefs))]
    if shape == "any":
        made = [draw(draws) for _ in coefs]
    sums = st.lists(st.tuples(draws, floats), max_size=3).map(tuple)
    return Record(
        kind=draw(st.sampled_from(("move", "skip", "undo", "track"))),
        t=t,
        lr=draw(floats),
        terms=tuple(zip(made, coefs, strict=True)),
        losses=tuple(draw(st.lists(floats, max_size=9))),
        extra=tuple(draw(st.lists(floats, max_size=3))),
        reason=draw(texts),
        group=group,
        tracks=tuple(draw(st.lists(st.tuples(texts, sums), max_size=2))),
    )


def exact(record: Record) -> tuple[object, ...]:
    """A record with floats as bits, so that NaN equals itself and -0.0 is not 0.0."""

    def bits(values: tuple[float, ...]) -> bytes:
        return struct.pack(f"<{len(values)}d", *values)

    terms = tuple((type(d), d) for d, _ in record.terms)
    terms += tuple((name, type(d), d, bits((c,))) for name, some in record.tracks for d, c in some)
    numbers = [bits(tuple(c for _, c in record.terms)), bits(record.losses), bits(record.extra)]
    return (
        record.kind,
        record.t,
        bits((record.lr,)),
        terms,
        *numbers,
        record.reason,
        record.group,
        *(name for name, _ in record.tracks),
    )


# ---------------------------------------------------------------- lossless


@settings(deadline=None)
@given(some_records())
def test_a_record_round_trips_bit_for_bit(record: Record) -> None:
    assert exact(decode(encode(record))) == exact(record)


@settings(max_examples=50, deadline=None)
@given(st.lists(some_records(), max_size=6))
def test_memory_equals_file(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    path = tmp_path_factory.mktemp("j") / "run.zoj"
    memory = Journal.create(None, HEADER)
    with Journal.create(path, HEADER) as file:
        for record in records:
            memory.append(record)
            file.append(record)
    assert path.read_bytes() == memory.dump() == file.dump()
    with Journal.open(path) as again:
        assert again.header == HEADER and again.cut == 0 and again.nbytes == memory.nbytes
        assert [exact(r) for r in again.records] == [exact(r) for r in records]
        assert [exact(r) for r in again.records[-2:]] == [exact(r) for r in records[-2:]]


def test_any_string_survives_even_a_broken_one() -> None:
    record = Record("skip", 3, 0.0, reason="caf\udce9", group="größe")
    assert decode(encode(record)) == record


def test_sizes_stay_small() -> None:
    def frame(record: Record) -> int:
        return 16 + len(encode(record))

    assert frame(mezo(20_000)) <= 60
    terms = tuple((Draw(20_000, i), 0.1) for i in range(8))
    assert frame(Record("move", 20_000, 1e-3, terms, (0.5,) * 9)) <= 180
    grouped = tuple((Draw(20_000, i, "layer.3"), 0.1) for i in range(8))
    assert frame(Record("move", 20_000, 1e-3, grouped, (0.5,) * 9, group="layer.3")) <= 180


@pytest.mark.parametrize(
    ("record", "bytes_"),
    [
        (Record("skip", 3, 0.0, losses=(0.0,)), "0101 03 " + 8 * "00" + " 00 01 " + 8 * "00"),
        (
            Record("move", 200, 0.0, ((Draw(200, 0), 0.0),)),
            "0001 c801 " + 8 * "00" + " 01 " + 8 * "00" + " 00",
        ),
        (
            Record("move", 3, 0.0, ((Draw(3, 1), 0.0),)),
            "0000 03 " + 8 * "00" + " 01 " + 8 * "00" + " 000301 00",
        ),
    ],
)
def test_the_bytes_of_a_payload_are_those_of_the_document(record: Record, bytes_: str) -> None:
    assert encode(record) == bytes.fromhex(bytes_)


def test_what_cannot_be_written_is_refused_before_a_byte_is() -> None:
    journal = Journal.create(None, HEADER)
    before = journal.dump()
    jump = Record("jump", 0, 0.1)  # type: ignore[arg-type]
    for bad in (jump, Record("move", -1, 0.1), Record("move", 0, 0.1, ((Draw(-1, 0), 1.0),))):
        with pytest.raises(JournalError, match=r"unknown|>= 0"):
            journal.append(bad)
    assert journal.dump() == before


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_decode_of_anything_is_a_record_or_a_journal_error(payload: bytes) -> None:
    with suppress(JournalError):
        decode(payload)


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == canonical_json({"a": (None, "é"), "b": 1})
    assert digest(canonical_json({})) == digest(b"{}") and len(digest(b"")) == 32
    for bad in ({1: 2}, {"x": float("nan")}, {"x": {"y": {2: 3}}}, {"x": object()}):
        with pytest.raises(JournalError, match="canonical JSON"):
            canonical_json(bad)


@settings(max_examples=50, deadline=None)
@given(st.lists(some_records(), max_size=6))
def test_the_reader_printed_in_the_documentation_reads(records: list[Record]) -> None:
    text = (ROOT / "docs" / "journal.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[2].split("```")[0], names)
    journal = Journal.create(None, HEADER)
    for record in records:
        journal.append(record)
    header, read = names["read_journal"](journal.dump())
    assert header == HEADER
    for record, fields in zip(records, read, strict=True):
        draws = tuple((tuple(d), c) for d, c in record.terms)
        assert [tuple(d) for d, _ in fields["terms"]] == [d for d, _ in draws]
        fields["terms"] = tuple((d, c) for (d, _), (_, c) in zip(record.terms, fields["terms"], strict=True))
        assert _plain(fields["tracks"]) == _plain(record.tracks)
        assert exact(Record(**{**fields, "tracks": record.tracks})) == exact(record)


def _plain(tracks: Any) -> list[Any]:
    return [(name, [(tuple(z), struct.pack("<d", c)) for z, c in some]) for name, some in tracks]


@pytest.mark.parametrize("module", [codec, folds])
def test_the_examples_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0 < found.attempted


def test_the_examples_of_the_page_hold() -> None:
    page = str(ROOT / "docs" / "journal.md")
    assert doctest.testfile(page, module_relative=False, encoding="utf-8").failed == 0


# ---------------------------------------------------------------- damage


def test_thousands_of_random_mutations() -> None:
    table = load_adversary().run(3000, seed=1)
    wrong = {kind: dict(row) for kind, row in table.items() if any(n.startswith("WRONG") for n in row)}
    assert not wrong
    assert sum(row["refused"] for row in table.values()) > 1000


def test_every_bit_and_every_length(tmp_path: Path) -> None:
    journal, ends = Journal.create(None, {"key": 7}), []
    for t in range(3):
        ends.append(journal.nbytes)
        journal.append(mezo(t))
    data, path = journal.dump(), tmp_path / "run.zoj"
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(JournalError, match="offset"):
            Journal.read(path)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size < ends[0]:
            with pytest.raises(JournalError, match="offset"):
                Journal.read(path)
        else:
            kept = max(end for end in ends if end <= size)
            cut = Journal.read(path)
            assert (cut.nbytes, cut.cut) == (kept, size - kept)


@pytest.mark.parametrize("zeros", [1, 7, 8, 600, 5000])
def test_zeros_after_a_power_loss_are_cut(tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "run.zoj"
    with Journal.create(path, HEADER) as journal:
        while journal.nbytes < 2000:
            journal.append(mezo(len(journal.records)))
    data = path.read_bytes()
    path.write_bytes(data + bytes(zeros))
    with Journal.open(path) as whole:
        assert (whole.cut, whole.dump()) == (zeros, data)
    path.write_bytes(data[:1024] + bytes(max(8, zeros)))  # the disk kept two blocks of four
    with Journal.open(path) as torn:
        assert data.startswith(torn.dump()) and 1024 - torn.nbytes < 60
        torn.append(mezo(1000))
    assert list(Journal.read(path).records)[-1] == mezo(1000)


def test_a_refusal_names_file_offset_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    with Journal.create(path, HEADER) as journal:
        for t in range(5):
            journal.append(mezo(t))
    data, size = bytearray(path.read_bytes()), journal.nbytes
    data[size - 60] ^= 1  # in record 3
    path.write_bytes(data)
    with pytest.raises(JournalError) as caught:
        Journal.open(path)
    offset = size - 2 * (16 + len(encode(mezo(3))))
    assert str(path) in str(caught.value) and f"record 3 at offset {offset}" in str(caught.value)
    os.truncate(path, offset)  # the remedy it names
    with Journal.open(path) as kept:
        assert [r.t for r in kept.records] == [0, 1, 2]


@pytest.mark.parametrize(("data", "text"), [(b"", "start again"), (b"PK\3\4" * 9, "not a zoptim journal")])
def test_files_that_are_no_journals(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "run.zoj"
    path.write_bytes(data)
    with pytest.raises(JournalError, match=text):
        Journal.open(path)
    path.write_bytes(b"\x93zoptim\x02" + bytes(30))
    with pytest.raises(JournalError, match="newer zoptim"):
        Journal.open(path)


# ---------------------------------------------------------------- kills, full disks, locks

KILLED = """
import sys
from zoptim.journal import Journal
from zoptim.protocols import Draw, Record
j = Journal.open(sys.argv[1])
t = len(j.records)
while True:
    j.append(Record("move", t, 1e-6, ((Draw(t, 0), 0.5 + t),), (1.0, 2.0 + t)))
    sys.stdout.write(f"{t}\\n"); sys.stdout.flush()
    t += 1
"""


def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    Journal.create(path, HEADER).close()
    for pause in (0.0, 0.003, 0.01, 0.02):
        child = run_python(KILLED, str(path))
        assert child.stdout is not None
        said = [int(child.stdout.readline())]
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        said += [
            int(line) for line in child.communicate()[0].splitlines(keepends=True) if line.endswith("\n")
        ]
        with Journal.open(path) as journal:
            assert list(journal.records) == [mezo(t) for t in range(len(journal.records))]
            assert len(journal.records) >= said[-1] + 1
            journal.append(mezo(len(journal.records)))


FULL = """
import resource, sys
from zoptim.journal import Journal
from zoptim.protocols import Draw, Record
def mezo(t): return Record("move", t, 1e-6, ((Draw(t, 0), 0.5 + t),), (1.0, 2.0 + t))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
j = Journal.create(sys.argv[1], {"key": 7})
try:
    for t in range(100): j.append(mezo(t))
except OSError as error:
    print(error)
assert len(j.records) == t and Journal.read(sys.argv[1]).cut == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for t in range(t, 30): j.append(mezo(t))
j.close()
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    child = run_python(FULL, str(path))
    out = child.communicate()[0]
    assert child.returncode == 0 and str(path) in out and "free space and resume" in out
    with Journal.open(path) as journal:
        assert list(journal.records) == [mezo(t) for t in range(30)]


@pytest.mark.parametrize("stuck", [False, True])
def test_no_space_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: bool) -> None:
    path, real = tmp_path / "run.zoj", os.write
    journal = Journal.create(path, HEADER)
    journal.append(mezo(0))
    answers = [lambda fd, data: real(fd, data[:5]), None]

    def full(fd: int, data: bytes) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(answer(fd, data))

    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("zoptim.journal.file.os.write", full)
        if stuck:
            patch.setattr("zoptim.journal.file.os.ftruncate", refuse)
        with pytest.raises(OSError, match="free space and resume") as caught:
            journal.append(mezo(1))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert path.stat().st_size == journal.nbytes + 5 * stuck
    if stuck:
        with pytest.raises(JournalError, match=r"resume with Journal\.open"):
            journal.append(mezo(1))
        journal.close()
        journal = Journal.open(path)
        assert journal.cut == 5
    journal.append(mezo(1))
    journal.close()
    assert list(Journal.read(path).records) == [mezo(0), mezo(1)]


def test_an_interrupt_inside_an_append_takes_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "run.zoj", os.write
    journal = Journal.create(path, HEADER)

    def interrupted(fd: int, data: bytes) -> int:
        real(fd, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zoptim.journal.file.os.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append(mezo(0))
    journal.append(mezo(5))
    journal.close()
    assert list(Journal.read(path).records) == [mezo(5)]


def test_fsync_at_most_once_a_second_and_a_failed_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock, synced = tmp_path / "run.zoj", [100.0], list[float]()
    monkeypatch.setattr("zoptim.journal.file.time.monotonic", lambda: clock[0])
    journal = Journal.create(path, HEADER)
    monkeypatch.setattr("zoptim.journal.file.os.fsync", lambda fd: synced.append(clock[0]))
    for t in range(50):
        clock[0] += 0.125
        journal.append(mezo(t))
    assert synced == [101.125, 102.25, 103.375, 104.5, 105.625]

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("zoptim.journal.file.os.fsync", broken)
    with pytest.raises(OSError, match="check the disk"):
        journal.sync()
    with pytest.raises(JournalError, match=r"resume with Journal\.open"):
        journal.append(mezo(50))
    journal.close()
    assert len(Journal.read(path).records) == 50


def test_one_writer_and_any_readers(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    with Journal.create(path, HEADER) as journal:
        journal.append(mezo(0))
        with pytest.raises(JournalError, match="another run is appending"):
            Journal.open(path)
        with pytest.raises(JournalError, match=r"another run is appending|already holds"):
            Journal.create(path, HEADER)
        child = run_python(
            "import sys; from zoptim.journal import Journal; Journal.open(sys.argv[1])", str(path)
        )
        child.communicate()
        assert child.returncode == 1
        seen = Journal.read(path)
        journal.append(mezo(1))
        assert len(seen.records) == 1 and len(Journal.read(path).records) == 2
        with pytest.raises(JournalError, match=r"Journal\.read"):
            seen.append(mezo(1))
    with pytest.raises(JournalError, match="closed"):
        journal.append(mezo(2))
    with pytest.raises(JournalError, match="already holds a run"):
        Journal.create(path, HEADER)
    journal.close()
    lost = Journal.open(path)
    del lost  # a journal nobody holds does not keep its lock
    Journal.open(path).close()


def test_create_takes_an_empty_file_and_open_none(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    path.touch()
    Journal.create(path, HEADER).close()
    with pytest.raises(FileNotFoundError):
        Journal.open(tmp_path / "none.zoj")


def test_opening_many_records_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "run.zoj"
    with Journal.create(path, HEADER) as journal:
        for t in range(20_000):
            journal.append(mezo(t))
    begin = time.process_time()
    Journal.open(path).close()
    assert time.process_time() - begin < 1.0  # a fifth of 100,000; about 0.04 s


# ---------------------------------------------------------------- folds

plans = st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=30)


@settings(deadline=None)
@given(plans)
def test_effective_is_what_a_run_that_kept_every_state_would_have(plan: list[int | None]) -> None:
    """None: a step; k: an undo.  The model keeps all states and goes back to the one before step k."""
    records: list[Record] = []
    before: dict[int, tuple[int, ...]] = {}  # t in force -> the state before step t
    state: tuple[int, ...] = ()
    for entry in plan:
        if entry is None:
            t = next_t(records)
            assert t not in {r.t for r in records if r.kind != "undo"}
            records.append(Record("skip" if t % 5 == 4 else "move", t, 0.1))
            before[t] = state
            state = (*state, t)
        else:
            records.append(Record("undo", entry, 0.0))
            later = [t for t in before if t >= entry]
            state = before[min(later)] if later else state
            before = {t: s for t, s in before.items() if t < entry}
        assert tuple(r.t for r in effective(records)) == state


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("move", "skip", "undo")), st.integers(0, 9)), max_size=25))
def test_effective_of_any_order(pairs: list[tuple[str, int]]) -> None:
    records = [Record(kind, t, float(n)) for n, (kind, t) in enumerate(pairs)]  # type: ignore[arg-type]
    force: list[Record] = []
    for record in records:
        force = [r for r in force if r.t < record.t] if record.kind == "undo" else [*force, record]
    assert effective(records) == force == effective(force)
    assert effective(iter(records)) == force
    assert all(next_t(records) > r.t for r in records if r.kind != "undo")


def test_next_t_of_nothing_is_zero() -> None:
    assert next_t([]) == 0
    assert next_t([Record("undo", 9, 0.0)]) == 0
