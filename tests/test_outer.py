"""Low-rank sums: every edition gives the bits of the obvious loop, in any chunking; refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from zoptim import kernels
from zoptim.kernels import native
from zoptim.kernels.outer import _elsewhere, outer
from zoptim.kernels.reference import narrow, widen

BEST = kernels._library.best if kernels._library else -1
EDITIONS = [*native.EDITIONS[: BEST + 1], "reference"]
DTYPES = {"float32": np.float32, "float64": np.float64, "bfloat16": np.uint16, "float16": np.float16}
rng = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    kernels.choose("")


def by_hand(base: np.ndarray, u: np.ndarray, vt: np.ndarray, scale: float, dtype: Any) -> np.ndarray:
    """One operation a rounding, element by element in the columns' direction."""
    wide = u.dtype.type
    out = np.empty((len(u), *base.shape), dtype)
    for p, r in np.ndindex(*out.shape[:2]):
        acc = np.zeros(base.shape[1], wide)
        for j in range(len(vt)):
            acc = acc + u[p, r, j] * vt[j]
        out[p, r] = narrow(widen(base[r], wide) + wide(scale) * acc, np.dtype(dtype))
    return out


def case(
    name: str, m: int, rows: int, cols: int, rank: int, values: tuple[float, ...] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wide = np.float64 if name == "float64" else np.float32
    base = narrow(rng.standard_normal((rows, cols)).astype(wide), np.dtype(DTYPES[name]))
    u, vt = (rng.standard_normal(s).astype(wide) for s in ((m, rows, rank), (rank, cols)))
    return base, u, vt


@pytest.mark.parametrize(
    "shape", [(1, 7, 5, 2), (2, 3, 1030, 1), (3, 5, 130, 3), (2, 70, 600, 2), (1, 1, 1, 9)]
)
@pytest.mark.parametrize("name", list(DTYPES))
@pytest.mark.parametrize("edition", EDITIONS)
def test_every_edition_has_the_bits_of_the_loop(
    edition: str, name: str, shape: tuple[int, int, int, int]
) -> None:
    kernels.choose(edition)
    base, u, vt = case(name, *shape)
    out = np.empty((shape[0], *base.shape), base.dtype)
    outer(out, base, u, vt, 0.3)
    wanted = by_hand(base, u, vt, 0.3, base.dtype)
    assert out.tobytes() == wanted.tobytes()
    part = np.empty_like(out[:, 1:])
    outer(part, base[1:], np.ascontiguousarray(u[:, 1:]), vt, 0.3)
    assert part.tobytes() == out[:, 1:].tobytes()
    if shape[0] == 1:
        outer(base[None], base, u, vt, 0.3)
        assert base.tobytes() == out.tobytes()


@pytest.mark.parametrize("edition", EDITIONS)
def test_no_base_and_no_rank(edition: str) -> None:
    kernels.choose(edition)
    base, u, vt = case("float32", 2, 4, 33, 2)
    out, zero = np.full((2, 4, 33), np.nan, np.float32), np.zeros((4, 33), np.float32)
    outer(out, None, u, vt)
    assert out.tobytes() == by_hand(zero, u, vt, 1.0, np.float32).tobytes()
    outer(out, base, u[:, :, :0].copy(), vt[:0])
    assert np.array_equal(out, np.stack([base, base]))
    outer(np.empty((2, 0, 33), np.float32), None, u[:, :0].copy(), vt)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    base, u, vt = case("float32", 2, 201, 400, 4)
    out = np.empty((2, 201, 400), np.float32)
    monkeypatch.setattr(kernels, "threads", lambda: threads)
    outer(out, base, u, vt, -0.01)
    assert out.tobytes() == by_hand(base, u, vt, -0.01, np.float32).tobytes()


@pytest.mark.parametrize("name", list(DTYPES))
def test_tensors_here_and_elsewhere(name: str) -> None:
    base, u, vt = case(name, 2, 5, 37, 3)
    wanted = by_hand(base, u, vt, 0.1, base.dtype)
    as_tensor = torch.from_numpy(base.view(np.int16) if name == "bfloat16" else base)
    tensor = as_tensor.view(torch.bfloat16) if name == "bfloat16" else as_tensor
    for run in (outer, _elsewhere):
        out = torch.empty(2, 5, 37, dtype=tensor.dtype)
        run(out, tensor, torch.from_numpy(u), torch.from_numpy(vt), 0.1)
        raw = out.view(torch.int16).numpy() if name == "bfloat16" else out.numpy()
        assert raw.tobytes() == wanted.tobytes()


def test_what_is_wrong_is_refused() -> None:
    base, u, vt = case("float32", 2, 4, 6, 2)
    out = np.zeros((2, 4, 6), np.float32)
    for wrong, match in (
        ((out, base, u[:, 1:].copy(), vt), "u has shape"),
        ((out, base, u, vt[:, 1:].copy()), "u has shape"),
        ((out, base[1:], u, vt), "base has shape"),
        ((out, base.astype(np.float64), u, vt), "base is float64"),
        ((out, base, u.astype(np.float64), vt), "must be as its sums are"),
        ((out, out[0], u, vt), "overlaps"),
        ((out[:, ::2], None, u[:, ::2].copy(), vt), "C-contiguous"),
    ):
        with pytest.raises(ValueError, match=match):
            outer(*wrong)
    assert not out.any()
