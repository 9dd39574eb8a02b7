"""Files behind a stream: damaged checkpoints are refused by name, slots survive whatever happens to one of them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoptim.spaces import store
from zoptim.spaces.store import PAGE, Checkpoint, CheckpointError, Mark, WorkingCopy

A = np.arange(24, dtype=np.float32).reshape(4, 6)
B = np.arange(10, dtype=np.float16)


def shard(path: Path, tensors: dict[str, np.ndarray], **change: Any) -> Path:
    """A safetensors file; `change`: fields of the header of the first tensor."""
    about: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, names = 0, {"float32": "F32", "float16": "F16"}
    for name, x in tensors.items():
        about[name] = {"dtype": names[x.dtype.name], "shape": x.shape, "data_offsets": [end, end + x.nbytes]}
        end += x.nbytes
    about[next(iter(tensors))].update(change)
    header = json.dumps(about).encode()
    path.write_bytes(
        len(header).to_bytes(8, "little") + header + b"".join(x.tobytes() for x in tensors.values())
    )
    return path


def sharded(folder: Path) -> Path:
    shard(folder / "one.safetensors", {"a": A})
    shard(folder / "two.safetensors", {"b": B})
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_tensors_are_read_whole_and_in_part(tmp_path: Path) -> None:
    found = Checkpoint(sharded(tmp_path))
    out = np.empty(A.nbytes, np.uint8)
    found.read("a", out)
    assert out.tobytes() == A.tobytes()
    found.read("b", out[:4], 6)
    assert out[:4].tobytes() == B[3:5].tobytes()
    assert found.tensors["b"].shape == (10,) and found.tensors["b"].file.name == "two.safetensors"


def test_the_reader_agrees_with_the_safetensors_package(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    package.save_file({"x": A, "y": B}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = Checkpoint(tmp_path)
    for name, x in (("x", A), ("y", B)):
        out = np.empty(x.nbytes, np.uint8)
        found.read(name, out)
        assert out.tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda d: (d / "two.safetensors").unlink(), "two.safetensors' is missing"),
        (
            lambda d: os.truncate(d / "two.safetensors", (d / "two.safetensors").stat().st_size - 1),
            "cut short",
        ),
        (lambda d: os.truncate(d / "two.safetensors", 5), "two.safetensors: is cut short"),
        (lambda d: (d / "two.safetensors").write_bytes(b"\xff" * 300), "two.safetensors: is cut short"),
        (
            lambda d: shard(d / "one.safetensors", {"a": A}, shape=[4, 7]),
            "one.safetensors: its header is damaged",
        ),
        (lambda d: shard(d / "one.safetensors", {"a": A}, dtype="Q4"), "dtype 'Q4'"),
        (
            lambda d: shard(d / "one.safetensors", {"a": A, "c": A}, data_offsets=[48, 144]),
            "overlaps|leaves a hole",
        ),
        (lambda d: shard(d / "two.safetensors", {"c": B}), "puts 'b' into 'two.safetensors', which lacks it"),
        (lambda d: shard(d / "two.safetensors", {"a": A}), "'a' is in another shard too"),
        (lambda d: (d / "model.safetensors.index.json").write_text("{"), "is no index of shards"),
        (lambda d: (d / "model.safetensors.index.json").write_text("[" * 100_000), "is no index of shards"),
        (
            lambda d: (d / "model.safetensors.index.json").write_text('{"weight_map": {"a": 5}}'),
            "shard 5 is missing",
        ),
        (lambda d: (d / "model.safetensors.index.json").unlink(), "save_pretrained"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, harm: Any, says: str) -> None:
    harm(sharded(tmp_path))
    with pytest.raises(CheckpointError, match=says):
        Checkpoint(tmp_path)


def test_a_shard_that_shrinks_while_in_use_is_noticed(tmp_path: Path) -> None:
    found = Checkpoint(sharded(tmp_path))
    os.truncate(tmp_path / "one.safetensors", 60)
    with pytest.raises(CheckpointError, match="changed while in use"):
        found.read("a", np.empty(A.nbytes, np.uint8))


# -- the working copy ------------------------------------------------------------------------------------


def data(n: int) -> np.ndarray:
    return np.full(5000, n, np.uint8)


def mark(n: int) -> Mark:
    return Mark(n, bytes([n]) * 16)


def loaded(folder: Path, usable: Any = lambda m: True) -> tuple[Mark | None, int]:
    """What another process finds."""
    out = np.empty(5000, np.uint8)
    copy = WorkingCopy(folder, lasting=True)
    found = copy.load(3, out, usable)
    copy.close()
    assert found is None or (out == out[0]).all()
    return found, int(out[0])


def saved(folder: Path, count: int = 3) -> Path:
    copy = WorkingCopy(folder, lasting=True)
    for n in range(1, count + 1):
        copy.save(3, data(n), mark(n))
    copy.close()
    return folder


def side(folder: Path, n: int) -> Path:
    return next(p for p in folder.iterdir() if p.read_bytes()[PAGE] == n)


def test_a_save_goes_to_the_older_slot_and_the_newest_is_read(tmp_path: Path) -> None:
    saved(tmp_path)
    assert loaded(tmp_path) == (mark(3), 3)
    assert {p.read_bytes()[PAGE] for p in tmp_path.iterdir()} == {2, 3}
    assert loaded(tmp_path, lambda m: m.n < 3) == (mark(2), 2)
    assert loaded(tmp_path, lambda m: m.n < 2)[0] is None


@pytest.mark.parametrize("place", [0, 20, 50, PAGE, PAGE + 4999])
def test_a_damaged_slot_falls_back_to_the_other(tmp_path: Path, place: int) -> None:
    path = side(saved(tmp_path), 3)
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    assert loaded(tmp_path) == (mark(2), 2)
    (other,) = (p for p in tmp_path.iterdir() if p != path)
    os.truncate(other, PAGE + 100)
    assert loaded(tmp_path)[0] is None


def test_a_slot_of_another_size_is_not_read(tmp_path: Path) -> None:
    saved(tmp_path)
    assert WorkingCopy(tmp_path, lasting=True).load(3, np.empty(4999, np.uint8), lambda m: True) is None


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_full_disk_leaves_the_other_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    copy = WorkingCopy(saved(tmp_path, 2), lasting=True)
    calls = iter(range(100))
    real = os.pwrite

    def full(fd: int, view: Any, offset: int) -> int:
        if next(calls) == at:
            real(fd, view[: len(view) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, view, offset)

    monkeypatch.setattr(store.os, "pwrite", full)
    with pytest.raises(OSError, match="No space left on device; the working copy"):
        copy.save(3, data(3), mark(3))
    copy.close()
    assert loaded(tmp_path) == (mark(2), 2)
    copy = WorkingCopy(tmp_path, lasting=True)
    copy.save(3, data(3), mark(3))
    copy.close()
    assert loaded(tmp_path) == (mark(3), 3)


def test_short_writes_and_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(store.os, "pwrite", lambda fd, view, at: write(fd, view[:700], at))
    monkeypatch.setattr(store.os, "preadv", lambda fd, views, at: read(fd, [views[0][:700]], at))
    assert loaded(saved(tmp_path)) == (mark(3), 3)


def test_a_passing_copy_leaves_nothing(tmp_path: Path) -> None:
    copy = WorkingCopy(tmp_path / "here", lasting=False)
    copy.save(3, data(1), mark(1))
    copy.save(3, data(2), mark(2))
    out = np.empty(5000, np.uint8)
    assert copy.load(3, out, lambda m: m.n < 2) == mark(1) and out[7] == 1
    assert list((tmp_path / "here").iterdir()) == []
    copy.close()
    assert not (tmp_path / "here").exists()


def test_another_units_file_does_not_pass(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    copy = WorkingCopy(tmp_path, lasting=True)
    for unit in (3, 4):
        copy.save(unit, rng.integers(0, 255, 5000, dtype=np.uint8), Mark(1, bytes(16)))
    copy.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2
    (tmp_path / names[0]).rename(tmp_path / "aside")
    (tmp_path / names[1]).rename(tmp_path / names[0])
    (tmp_path / "aside").rename(tmp_path / names[1])
    again = WorkingCopy(tmp_path, lasting=True)
    assert [again.load(unit, np.empty(5000, np.uint8), lambda m: True) for unit in (3, 4)] == [None, None]
