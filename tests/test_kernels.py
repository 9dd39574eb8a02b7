"""Every edition of the kernels gives the same bits; stochastic rounding; refusals."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim import kernels, noise
from zoptim.kernels import native

BEST = (
    native.EDITIONS.index(kernels.choose("").split()[1].rstrip(",")) if "native" in kernels.choose("") else -1
)
EDITIONS = list(native.EDITIONS[: BEST + 1])
DTYPES = ["float32", "float64", "bfloat16", "float16"]


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    kernels.choose("")


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random numbers of many magnitudes; bfloat16 as uint16."""
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 4, shape)
    if dtype == "bfloat16":
        return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return x.astype(dtype)


def formed(edition: str, out: np.ndarray, base: Any, **address: Any) -> bytes:
    kernels.choose(edition)
    result = np.full_like(out, 7)
    kernels.form(result, base, **address)
    return result.tobytes()


def case(seed: int) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """One random call of `form`: odd offsets, unaligned lengths, gathered rows, any m and k."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    dtype = pick.choice(DTYPES)
    m, k = pick.choice([(1, 1), (2, 1), (1, 8), (9, 8), (1, 40), (3, 33), (17, 2), (18, 35), (2, 0), (5, 9)])
    nrows = pick.choice([0, 1, 2, 5])
    cols = pick.choice([1, 2, 31, 64, 129, 700, 2049, 4500] if m * k < 100 else [1, 33, 200])
    base = values(rng, (nrows, cols), dtype) if pick.random() < 0.8 else None
    coefs = rng.standard_normal((m, k)) * 10.0 ** rng.integers(-50 if seed % 9 == 0 else -6, 3, (m, k))
    coefs *= rng.random((m, k)) < pick.choice([0.3, 1.0])
    start = pick.randrange(10_000)
    address = {
        "law": pick.choice(["signs", "normal"]),
        "key": pick.randrange(2**64),
        "slot": pick.randrange(2**32),
        "rows": slice(start, start + nrows) if pick.random() < 0.6 else rng.integers(0, 2**20, nrows),
        "draws": pick.choice((list, tuple))((pick.randrange(2**32), pick.randrange(2**24)) for _ in range(k)),
        "coefs": coefs,
        "scale": pick.choice([1.0, -0.37, 1e-3]),
    }
    dt = np.uint16 if dtype == "bfloat16" else np.dtype(dtype)
    return np.empty((m, nrows, cols), dt), base, address


def test_the_native_library_is_built_where_there_is_a_compiler() -> None:
    assert EDITIONS, "no native kernels: run `pip install -e .` with a C compiler"


@given(st.integers(0, 10**9))
@settings(max_examples=250, deadline=None)
def test_native_editions_equal_the_reference(seed: int) -> None:
    out, base, address = case(seed)
    want = formed("reference", out, base, **address)
    for edition in EDITIONS:
        assert formed(edition, out, base, **address) == want, edition


def little(**changed: Any) -> tuple[Any, ...]:
    """The arguments of a small call, in the order that native_quick.h takes them."""
    call: dict[str, Any] = {
        "out": np.zeros((2, 5, 3)), "base": np.ones((5, 3)), "law": "signs", "key": 2**64 - 1, "slot": 7,
        "rows": slice(2, 7), "draws": ((1, 0), (1, 1, "group")), "coefs": np.array([[0.5, 0.0], [2.0, -1.0]]), "scale": 0.3,
    }  # fmt: skip
    return tuple((call | changed).values())


def test_a_library_built_with_pythons_headers_answers_small_calls_itself() -> None:
    kernels.choose("")
    if kernels._quick is None:
        pytest.skip("built without Python's headers")
    assert kernels._quick(*little())
    kernels.form(
        np.zeros((1, 1)), None, law="normal", key=1, slot=1, rows=slice(0, 1), draws=(), coefs=np.ones((1, 0))
    )
    assert kernels._quick(*little(law="normal"))  # once there is a table
    x = np.ones((1, 4), np.float32)
    assert kernels._quick(*little(out=x[None], base=x, rows=slice(0, 1), coefs=np.ones((1, 2))))
    assert set(x.ravel()) <= {np.float32(1) + np.float32(0.3) * np.float32(c) for c in (2, 0, -2)} != {1}


@pytest.mark.parametrize(
    "changed",
    [
        {"draws": [(1, 0), (1, 1)]}, {"rows": np.arange(5)}, {"coefs": [[1.0, 1.0], [1.0, 1.0]]}, {"scale": 1},
        {"out": np.zeros((2, 5, 3), np.float16), "base": np.ones((5, 3), np.float16)}, {"out": memoryview(b"12")},
        {"out": np.zeros((2, 50000)), "base": None, "rows": slice(None)},
    ],
)  # fmt: skip
def test_what_is_not_small_or_plain_goes_the_long_way(changed: dict[str, Any]) -> None:
    kernels.choose("")
    assert kernels._quick is None or not kernels._quick(*little(**changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"draws": ((1, 0), (2**32, 0))}, "draw"), ({"draws": ((1, 0), (1, -1))}, "draw"), ({"draws": ((2**80, 0), (1, 0))}, "draw"), ({"slot": 2**90}, "slot"), ({"draws": ((1, 0),)}, "coefs"),
        ({"law": "uniform"}, "law"), ({"key": -1}, "key"), ({"key": 2**64}, "key"), ({"slot": 2**32}, "slot"),
        ({"rows": slice(2, 6)}, "rows"), ({"rows": slice(-1, 4)}, "rows"), ({"rows": slice(2**35, 2**35 + 5)}, "elements"),
        ({"coefs": np.ones((1, 2))}, "coefs"), ({"base": np.ones((5, 4))}, "base"), ({"base": np.ones((5, 3), np.float32)}, "base"),
        ({"out": np.zeros((2, 5, 6))[:, :, ::2]}, "contiguous"),
    ],
)  # fmt: skip
def test_small_calls_are_refused_as_large_ones_are(changed: dict[str, Any], said: str) -> None:
    kernels.choose("")
    call = dict(
        zip(
            ("out", "base", "law", "key", "slot", "rows", "draws", "coefs", "scale"),
            little(**changed),
            strict=True,
        )
    )
    assert kernels._quick is None or not kernels._quick(*call.values())
    with pytest.raises(ValueError, match=said):
        kernels.form(call.pop("out"), call.pop("base"), **call)


def test_a_small_call_does_not_write_over_its_base() -> None:
    both = np.zeros((3, 5, 3))
    with pytest.raises(ValueError, match="overlaps"):
        kernels.form(
            both[:2],
            both[1],
            law="signs",
            key=1,
            slot=1,
            rows=slice(0, 5),
            draws=((0, 0),),
            coefs=np.ones((2, 1)),
        )


@pytest.mark.parametrize("law", ["signs", "normal"])
def test_reference_equals_its_definition_element_by_element(law: str) -> None:
    """The definition in scalar float32 operations, on a few elements."""
    rng = np.random.default_rng(3)
    base, coefs = values(rng, (2, 5), "float32"), rng.standard_normal((3, 4))
    coefs[1, 2] = 0.0
    draws = [(5, 0), (5, 1), (4, 7), (5, 0)]
    out = np.empty((3, 2, 5), np.float32)
    kernels.choose("reference")
    kernels.form(out, base, law=law, key=9, slot=8, rows=slice(3, 5), draws=draws, coefs=coefs, scale=0.3)
    make = noise.signs if law == "signs" else noise.normals
    for p, r, c in np.ndindex(3, 2, 5):
        acc = np.float32(0)
        for k, (t, i) in enumerate(draws):
            if coefs[p, k]:
                acc = acc + np.float32(coefs[p, k]) * make(9, t, i, 8, (3 + r) * 5 + c, 1)[0]
        assert out[p, r, c] == base[r, c] + np.float32(0.3) * acc


@pytest.mark.parametrize("law", ["signs", "normal"])
@pytest.mark.parametrize("rows", [slice(3, 303), np.random.default_rng(0).integers(0, 99999, 300)])
def test_threads_do_not_change_bits(law: str, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = values(np.random.default_rng(1), (300, 1001), "float32")
    address = {"law": law, "key": 3, "slot": 4, "rows": rows, "draws": [(0, 0), (0, 1)]}
    results = set()
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(kernels, "threads", lambda count=count: count)
        out = np.empty((2, 300, 1001), np.float32)
        kernels.form(out, base, coefs=np.array([[0.1, 0.2], [0.0, -0.3]]), **address)
        results.add(out.tobytes())
    assert len(results) == 1


@given(st.integers(0, 400), st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 150))
@settings(max_examples=40, deadline=None)
def test_any_shard_has_the_same_bits(first: int, parts: list[int], cols: int) -> None:
    edges = first + np.concatenate([[0], np.cumsum(parts)])
    total = int(edges[-1]) - first
    for law in ("signs", "normal"):
        call = {"law": law, "key": 5, "slot": 6, "draws": ((1, 2), (1, 3)), "coefs": np.array([[1e-3, 2.0]])}
        whole = np.empty((1, total, cols), np.float32)
        kernels.form(whole, None, rows=slice(first, first + total), **call)
        looked_up = np.empty_like(whole)
        kernels.form(looked_up, None, rows=np.arange(first, first + total), **call)
        assert np.array_equal(looked_up, whole)
        for a, b in itertools.pairwise(edges):
            shard = np.empty((1, int(b - a), cols), np.float32)
            kernels.form(shard, None, rows=slice(int(a), int(b)), **call)
            assert np.array_equal(shard[0], whole[0, a - first : b - first])


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_equals_out_of_place(dtype: str) -> None:
    base = values(np.random.default_rng(2), (3, 5000), dtype)
    call = {
        "law": "normal",
        "key": 5,
        "slot": 6,
        "rows": slice(1, 4),
        "draws": [(1, 2)],
        "coefs": np.array([[0.1]]),
    }
    out = np.empty((1, 3, 5000), base.dtype)
    kernels.form(out, base, **call)
    kernels.form(base[None], base, **call)
    assert np.array_equal(out[0].view(np.uint8), base.view(np.uint8))


def test_torch_tensors_share_the_kernels_and_flushing_does_not_matter() -> None:
    torch = pytest.importorskip("torch")
    call = {"law": "normal", "key": 5, "slot": 6, "draws": [(1, 2)], "coefs": np.array([[1e-39], [-0.25]])}
    for dtype in DTYPES:
        base = values(np.random.default_rng(2), (4, 30), dtype)
        want = np.empty((2, 4, 30), base.dtype)
        kernels.form(want, base, rows=slice(0, 4), **call)
        tensor = torch.from_numpy(base.view(np.int16) if dtype == "bfloat16" else base).view(
            getattr(torch, dtype)
        )
        for edition in ["", "reference"]:
            kernels.choose(edition)
            out = torch.empty((2, 4, 2, 15), dtype=tensor.dtype)
            torch.set_flush_denormal(edition == "")
            try:
                kernels.form(out, tensor.view(4, 2, 15), rows=slice(0, 4), **call)
            finally:
                torch.set_flush_denormal(False)
            assert out.view(torch.uint8).numpy().tobytes() == want.tobytes()


def test_torch_integers_equal_the_reference() -> None:
    torch = pytest.importorskip("torch")
    from zoptim.kernels import torch_ref

    for seed in range(120):
        out, base, address = case(seed)
        if out.size == 0:
            continue  # torch cannot view an empty tensor as bytes
        want = formed("reference", out, base, **address)
        dtype = torch.bfloat16 if out.dtype == np.uint16 else getattr(torch, str(out.dtype))

        def tensor(x: np.ndarray, dtype: Any = dtype) -> Any:
            return torch.from_numpy((x.view(np.int16) if x.dtype == np.uint16 else x).copy()).view(dtype)

        result, rows = tensor(np.zeros_like(out)), address.pop("rows")
        start = rows.start * out.shape[2] if isinstance(rows, slice) else 0
        torch_ref.form(
            result, None if base is None else tensor(base),
            rows=None if isinstance(rows, slice) else rows, offset=start, **address,
        )  # fmt: skip
        assert result.view(torch.int8).numpy().tobytes() == want, seed


TRITON = """
import random, sys, numpy as np, torch
from zoptim import kernels
from zoptim.kernels import triton
pick = random.Random(7)
for turn in range(16):
    dtype = pick.choice([torch.float32, torch.bfloat16, torch.float16])
    m, k = pick.choice([(1, 1), (2, 1), (9, 8), (1, 3), (2, 0), (3, 2)])
    nrows, cols, start = pick.choice([1, 3]), pick.choice([1, 33, 129, 1100]), pick.randrange(9999)
    base = torch.randn(nrows, cols).to(dtype) if pick.random() < 0.8 else None
    rows = None if turn % 2 else np.array([pick.randrange(2**20) for _ in range(nrows)])
    call = dict(
        law=pick.choice(["signs", "normal"]), key=pick.randrange(2**64), slot=pick.randrange(2**32),
        draws=[(pick.randrange(2**32), pick.randrange(2**24)) for _ in range(k)],
        coefs=np.random.default_rng(turn).standard_normal((m, k)), scale=pick.choice([1.0, -0.3]),
    )
    want, got = torch.empty(m, nrows, cols, dtype=dtype), torch.zeros(m, nrows, cols, dtype=dtype)
    kernels.form(want, base, rows=slice(start, start + nrows) if rows is None else rows, **call)
    triton.form(got, base, rows=rows, offset=start * cols, **call)
    assert torch.equal(want.view(torch.int8), got.view(torch.int8)), (turn, dtype, m, k, cols)
print("equal")
"""


def test_triton_in_its_interpreter_equals_the_native_kernels() -> None:
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, "-c", TRITON],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "No module named 'triton'" in run.stderr:
        pytest.fail("triton is missing: pip install zoptim[test]")
    assert run.stdout.strip() == "equal", run.stderr[-2000:]


@pytest.mark.parametrize("edition", [*EDITIONS, "reference"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_to_nearest_is_exhaustive(edition: str, dtype: str) -> None:
    """Every half number, every midpoint and their float32 neighbors, through `form`."""
    halves = np.arange(0x7F80 if dtype == "bfloat16" else 0x7C00, dtype=np.uint16)
    wide = (
        (halves.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else halves.view(np.float16)
    )
    exact = wide.astype(np.float64)
    middle = ((exact[1:] + exact[:-1]) / 2).astype(np.float32)
    inf = np.float32(np.inf)
    points = np.concatenate(
        [middle, np.nextafter(middle, inf), np.nextafter(middle, -inf), [65519.0, 65520.0, np.inf]]
    )
    coefs = points.astype(np.float64)[:, None]
    kernels.choose(edition)
    out = np.empty((len(points), 1, 1), np.uint16 if dtype == "bfloat16" else np.float16)
    kernels.form(out, None, law="signs", key=1, slot=1, rows=slice(0, 1), draws=[(0, 0)], coefs=coefs)
    x = (points.astype(np.float32) * noise.signs(1, 0, 0, 1, 0, 1)[0]).astype(np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            want = x.astype(np.float16)
    else:
        torch = pytest.importorskip("torch")
        want = torch.from_numpy(x).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert out.reshape(-1).tobytes() == want.tobytes()


def stochastic(x: np.ndarray, dtype: str, t: int = 0, offset: int = 0) -> np.ndarray:
    out = np.empty(x.shape, np.uint16 if dtype == "bfloat16" else np.float16)
    kernels.round_stochastic_(out, x, key=11, slot=12, offset=offset, t=t)
    return out


def widened(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x.astype(np.float32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stochastic_rounding_is_the_same_everywhere(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from zoptim.kernels import torch_ref

    rng = np.random.default_rng(5)
    x = rng.integers(0, 2**32, 150_001, dtype=np.uint64).astype(np.uint32).view(np.float32)  # all of float32
    x[:100_000] = values(rng, (100_000,), "float32")
    results = {}
    for edition in [*EDITIONS, "reference"]:
        kernels.choose(edition)
        results[edition] = stochastic(x, dtype, t=3, offset=13).tobytes()
    out = torch.empty(len(x), dtype=getattr(torch, dtype))
    torch_ref.round_stochastic_(out, torch.from_numpy(x), key=11, slot=12, offset=13, t=3)
    results["torch_ref"] = out.view(torch.int16).numpy().tobytes()
    assert len(set(results.values())) == 1
    whole = stochastic(x, dtype, t=3, offset=13)
    shards = [stochastic(x[a:b], dtype, 3, 13 + a) for a, b in ((0, 999), (999, 70_002), (70_002, 150_001))]
    assert np.concatenate(shards).tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("value", [1.0 + 2**-12, -3.7e-3, 6.1e-5, 3.3e-6, 1.7e-8, -1234.567])
def test_stochastic_rounding_is_unbiased(dtype: str, value: float) -> None:
    """The mean of 2**17 roundings is within 4.5 standard errors; only two neighbors occur."""
    n = 1 << 17
    x = np.full(n, value, np.float32)
    y = widened(stochastic(x, dtype)).astype(np.float64)
    steps = np.unique(y)
    assert len(steps) == 2 and steps[0] < x[0] < steps[1]
    gap, p = steps[1] - steps[0], (float(x[0]) - steps[0]) / (steps[1] - steps[0])
    assert abs(y.mean() - float(x[0])) < 4.5 * gap * (p * (1 - p) / n) ** 0.5 + 2**-40


@pytest.mark.parametrize("edition", [*EDITIONS, "reference"])
def test_stochastic_rounding_of_special_values(edition: str) -> None:
    kernels.choose(edition)
    for dtype, largest in (("bfloat16", float.fromhex("0x1.fep127")), ("float16", 65504.0)):
        all_bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
        every = all_bits if dtype == "bfloat16" else all_bits.view(np.float16)
        exact = widened(every)
        finite = np.isfinite(exact)
        for t in range(4):
            got = stochastic(exact, dtype, t)
            assert np.array_equal(got.view(np.uint16)[finite], all_bits[finite])  # representable: stays
            assert np.array_equal(np.isnan(widened(got)), np.isnan(exact))
        limits = np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0] * 64, np.float32)
        got = widened(stochastic(limits, dtype)).reshape(64, 6)
        assert np.array_equal(got, np.tile(np.float32([np.inf, -np.inf, largest, -largest, 0, 0]), (64, 1)))
        assert np.signbit(got[0, 5])


def updated(edition: str, p: np.ndarray, steps: kernels.Steps, **address: Any) -> bytes:
    kernels.choose(edition)
    out = p.copy()
    kernels.update_(out, steps=steps, **address)
    return out.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", ["signs", "normal"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (2, 700), (7, 1501), (0, 4)])
def test_many_updates_in_one_sweep_are_the_steps_one_by_one(
    dtype: str, law: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(shape[1])
    p = values(rng, shape, dtype)
    sizes = [1, 8, 0, 2, 40, 1]  # 40: more draws than are held at a time
    steps = kernels.Steps(
        (tuple((7 + n, i) for i in range(k)), rng.standard_normal(k) * (rng.random(k) < 0.8), -0.1 * n, 7 + n)
        for n, k in enumerate(sizes)
    )
    address = {"law": law, "key": 2**63 + 5, "slot": 77, "rows": slice(11, 11 + shape[0])}
    want = p.copy()
    for draws, coefs, scale, t in steps:  # the definition: widen, form, round
        wide = widened(want) if want.itemsize == 2 else want
        kernels.form(wide[None], wide, draws=draws, coefs=coefs[None], scale=scale, **address)
        if want.itemsize == 2:
            kernels.round_stochastic_(want, wide, key=2**63 + 5, slot=77, offset=11 * shape[1], t=t)
    for edition in [*EDITIONS, "reference"]:
        assert updated(edition, p, steps, **address) == want.tobytes(), edition
    kernels.choose("")
    for count in (2, 5):
        monkeypatch.setattr(kernels, "threads", lambda count=count: count)
        assert updated("", p, steps, **address) == want.tobytes()


def test_updates_refuse_what_they_cannot_hold_and_write_nothing() -> None:
    p = np.full((4, 3), 7, np.float32)
    address = {"law": "signs", "key": 1, "slot": 2, "rows": slice(0, 4)}
    good = (((0, 0),), np.ones(1), 1.0, 0)
    for bad, words in [
        ((((0, 0),), np.ones(2), 1.0, 0), "coefs has shape"),
        ((((0, 0),), np.ones(1), 1.0, 2**32), "t=4294967296"),
        ((((0, 2**24),), np.ones(1), 1.0, 0), "draw"),
    ]:
        with pytest.raises(ValueError, match=words):
            kernels.update_(p, steps=kernels.Steps([good, bad]), **address)
    with pytest.raises(ValueError, match="law"):
        kernels.update_(p, steps=kernels.Steps([good]), **{**address, "law": "cauchy"})
    with pytest.raises(ValueError, match="does not select"):
        kernels.update_(p, steps=kernels.Steps([good]), **{**address, "rows": slice(0, 3)})
    frozen = p.copy()
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        kernels.update_(frozen, steps=kernels.Steps([good]), **address)
    assert (p == 7).all()


def small(**changes: Any) -> dict[str, Any]:
    call = {
        "law": "signs",
        "key": 1,
        "slot": 2,
        "rows": slice(0, 4),
        "draws": [(0, 0)],
        "coefs": np.ones((1, 1)),
    }
    return {**call, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"law": "cauchy"}, "law='cauchy'"),
        ({"key": 2**64}, "key"),
        ({"slot": -1}, "slot"),
        ({"coefs": np.ones((2, 1))}, "coefs has shape"),
        ({"draws": [(0, 2**24)]}, "draw"),
        ({"draws": [(-1, 0)]}, "draw"),
        ({"rows": slice(0, 5)}, "rows"),
        ({"rows": slice(0, 8, 2)}, "rows"),
        ({"rows": np.array([0, 1, 2])}, "rows"),
        ({"rows": np.array([0, 1, 2, -1])}, "rows"),
        ({"rows": slice(2**34, 2**34 + 4)}, "elements"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_written(changes: dict[str, Any], words: str) -> None:
    out = np.full((1, 4, 3), 7, np.float32)
    with pytest.raises(ValueError, match=words):
        kernels.form(out, None, **small(**changes))
    assert (out == 7).all()


def test_wrong_arrays_are_refused() -> None:
    out, base = np.zeros((2, 4, 3), np.float32), np.zeros((4, 3), np.float32)
    two = small(coefs=np.ones((2, 1)))
    for bad_out, bad_base, words in [
        (out, base[:3], "base has shape"),
        (out, base.astype(np.float64), "must agree"),
        (out, out[0], "overlaps"),
        (out.astype(np.int32), None, "int32"),
        (np.zeros((2, 3, 4), np.float32).transpose(0, 2, 1), None, "contiguous"),
    ]:
        with pytest.raises(ValueError, match=words):
            kernels.form(bad_out, bad_base, **two)
    with pytest.raises(ValueError, match="half precision"):
        kernels.round_stochastic_(base, base, key=0, slot=0, offset=0, t=0)


def test_draws_may_carry_more_fields_and_a_tuple_is_packed_once() -> None:
    from zoptim.protocols import Draw

    a, b = np.empty((1, 4, 3), np.float32), np.empty((1, 4, 3), np.float32)
    kernels.form(a, None, **small(draws=(Draw(5, 6, "x"),)))
    kernels.form(b, None, **small(draws=[(5, 6)]))
    assert np.array_equal(a, b)
    same = (Draw(5, 6), Draw(5, 7))
    assert kernels._pack(same) is kernels._pack(same)


def test_the_edition_can_be_forced_and_is_said() -> None:
    for name, words in (("reference", "reference numpy"), ("scalar", "native scalar")):
        run = [
            sys.executable,
            "-c",
            "import sys, zoptim.kernels as k; print(k.backend(), 'torch' in sys.modules)",
        ]
        env = {**os.environ, "ZOPTIM_KERNELS": name, "ZOPTIM_THREADS": "1"}
        said = subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout
        assert said.startswith(words) and said.strip().endswith("False")
    with pytest.raises(ValueError, match="ZOPTIM_KERNELS"):
        kernels.choose("fortran")
    kernels.choose("scalar")
    assert kernels.backend().startswith("native scalar, ")


@pytest.mark.parametrize("edition", EDITIONS)
def test_no_steps_change_no_bit(edition: str) -> None:
    p = np.array([[-0.0, 1.0, -2.0]], np.float16)
    kernels.choose(edition)
    before = p.tobytes()
    kernels.update_(p, law="signs", key=1, slot=2, rows=slice(0, 1), steps=kernels.Steps([]))
    assert p.tobytes() == before


@pytest.mark.parametrize("law", ["signs", "normal"])
@pytest.mark.parametrize("odd", [0, 1])
def test_large_float64_points_written_past_the_caches_are_those_formed_in_pieces(law: str, odd: int) -> None:
    d, m = 800_003, 2  # over ZO_STREAM bytes; the second point, or both, do not lie on 16 bytes
    base = np.linspace(-1.0, 1.0, d)
    address: dict[str, Any] = {
        "law": law,
        "key": 7,
        "slot": 8,
        "draws": ((1, 0),),
        "coefs": np.array([[0.5], [-0.25]]),
    }
    whole = np.full(m * d + odd, np.nan)[odd:].reshape(m, d)
    kernels.form(whole, base, rows=slice(0, d), **address)
    for start in range(0, d, 100_000):
        rows = slice(start, min(start + 100_000, d))
        piece = np.empty((m, rows.stop - start))
        kernels.form(piece, base[rows], rows=rows, **address)
        assert piece.tobytes() == whole[:, rows].tobytes()
