"""The stream: known answers, the address law, moments.  Kernels are compared in test_kernels.py."""

import hashlib
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoptim import noise

KEY = noise.key_from_seed(2024)
N = 1 << 18

# Random123 (Salmon et al.), kat_vectors, philox4x32-10: counter, key, output.
RANDOM123 = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words_of(text: str) -> list[int]:
    return [int(w, 16) for w in text.split()]


def philox_by_hand(counter: list[int], key: int) -> list[int]:
    """One counter in Python integers: an edition that shares no line with the package."""
    x, k = list(counter), [key % 2**32, key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(b >> 32) ^ x[1] ^ k[0], b % 2**32, (a >> 32) ^ x[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


addresses = st.tuples(
    st.integers(0, 2**64 - 1),  # key
    st.integers(0, 3),  # purpose
    st.integers(0, 2**32 - 1),  # t
    st.integers(0, 2**24 - 1),  # i
    st.integers(0, 2**32 - 1),  # slot
)


@pytest.mark.parametrize(("counter", "key", "answer"), RANDOM123)
def test_known_answers_of_random123(counter: str, key: str, answer: str) -> None:
    low, high = words_of(key)
    out = noise.philox(np.array(words_of(counter)), high << 32 | low)
    assert out.tolist() == words_of(answer)


@given(addresses, st.integers(0, 2**34 - 9))
@settings(max_examples=60, deadline=None)
def test_words_are_philox_of_the_documented_counter(address: tuple[int, ...], word: int) -> None:
    key, purpose, t, i, slot = address
    got = noise.uniform_bits(key, purpose, t, i, slot, word, 9).tolist()
    blocks = [philox_by_hand([b, slot, t, purpose << 24 | i], key) for b in range(word // 4, word // 4 + 4)]
    assert got == list(itertools.chain(*blocks))[word % 4 :][:9]


@pytest.mark.parametrize("n", [1, 4, 7])
def test_streams_at_once_are_those_one_by_one(n: int) -> None:
    together = noise.uniform_streams(5, noise.ORDER, range(30, 33), 1, 9, n)
    alone = [noise.uniform_bits(5, noise.ORDER, t, 1, 9, 0, n) for t in (30, 31, 32)]
    assert together.tolist() == [words.tolist() for words in alone]
    with pytest.raises(ValueError, match="t="):
        noise.uniform_streams(5, noise.ORDER, range(2**32 - 1, 2**32 + 1), 1, 9, n)


@given(addresses, st.integers(0, 2**30))
@settings(max_examples=40, deadline=None)
def test_signs_normals_and_uniforms_read_the_same_words(address: tuple[int, ...], e: int) -> None:
    key, purpose, t, i, slot = address

    def word(w: int) -> int:
        return int(noise.uniform_bits(key, purpose, t, i, slot, w, 1)[0])

    sign = noise.signs(key, t, i, slot, e, 1, purpose)[0]
    assert sign == (-1.0 if word(e // 32) >> (e % 32) & 1 else 1.0)
    normal = noise.normals(key, t, i, slot, e, 1, purpose)[0]
    assert normal == noise.normal_table()[word(e // 2) >> 16 * (e % 2) & 0xFFFF]
    assert noise.uniforms(key, t, i, slot, e, 1, purpose)[0] == (word(e) >> 8) / 2**24


def test_no_two_addresses_share_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter can be decoded to its address, so the map is injective; the rest is refused."""
    seen: list[np.ndarray] = []
    real = noise.philox
    monkeypatch.setattr(noise, "philox", lambda c, key: (seen.append(np.array(c)), real(c, key))[1])
    grid = [
        (p, t, i, s) for p in (0, 1, 2, 3) for t in (0, 2**32 - 1) for i in (0, 2**24 - 1) for s in (0, 9)
    ]
    for p, t, i, s in grid:
        noise.uniform_bits(KEY, p, t, i, s, 0, 12)
        block, slot, step, tail = seen[-1].T.tolist()
        assert (block, set(slot), set(step)) == ([0, 1, 2], {s}, {t})
        assert {(v >> 24, v % 2**24) for v in tail} == {(p, i)}
    flat = np.concatenate(seen)
    assert len(np.unique(flat, axis=0)) == len(flat) == 3 * len(grid)


@pytest.mark.parametrize(
    "address",
    [
        (2**64, 0, 0, 0, 0),
        (0, 256, 0, 0, 0),
        (0, 0, 2**32, 0, 0),
        (0, 0, 0, 2**24, 0),
        (0, 0, 0, -1, 0),
        (0, 0, 0, 0, 2**32),
    ],
)
def test_an_address_that_does_not_fit_is_refused(address: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        noise.uniform_bits(*address, 0, 1)


def test_a_stream_that_would_wrap_is_refused() -> None:
    with pytest.raises(ValueError, match="2\\*\\*34 words"):
        noise.uniform_bits(KEY, 0, 0, 0, 0, 2**34 - 1, 2)


@given(st.integers(0, 3000), st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_any_chunking_gives_the_same_numbers(offset: int, parts: list[int]) -> None:
    for make in (noise.signs, noise.normals, noise.uniforms):
        whole = make(KEY, 3, 1, 77, offset, sum(parts))
        edges = offset + np.concatenate([[0], np.cumsum(parts)])
        chunks = [make(KEY, 3, 1, 77, int(a), int(b - a)) for a, b in itertools.pairwise(edges)]
        assert np.array_equal(np.concatenate(chunks), whole)


def test_the_table_is_the_specified_one() -> None:
    table = noise.normal_table()
    assert hashlib.sha256(table.astype("<f4").tobytes()).hexdigest() == noise.TABLE_SHA256
    assert table.dtype == np.float32 and table.shape == (65536,) and not table.flags.writeable
    wide = table.astype(np.float64)
    assert np.all(np.diff(wide) > 0) and np.array_equal(wide, -wide[::-1])
    assert np.all(wide * 2**21 == np.round(wide * 2**21))
    assert abs((wide**2).mean() - 1) < 2e-9 and abs((wide**4).mean() - 2.9992) < 1e-4
    assert 4.32 < wide.max() < 4.33


@pytest.mark.parametrize(("make", "fourth"), [(noise.signs, 1.0), (noise.normals, 2.9992)])
def test_moments(make: object, fourth: float) -> None:
    """Bounds of 4.5 standard errors on three streams."""
    for t in range(3):
        z = make(KEY, t, 0, 5, 0, N).astype(np.float64)  # type: ignore[operator]
        assert abs(z.mean()) < 4.5 / N**0.5
        assert abs((z**2).mean() - 1) <= 4.5 * ((fourth - 1) / N) ** 0.5
        assert abs((z**3).mean()) < 4.5 * (15 / N) ** 0.5
        assert abs((z**4).mean() - fourth) <= 4.5 * (96 * (fourth > 1) / N) ** 0.5


def test_streams_are_uncorrelated() -> None:
    """Neighboring keys, purposes, steps, draws and slots: |correlation| < 4.5 standard errors."""
    home = (1, 0, 2, 3, 4)  # key, purpose, t, i, slot
    others = [(2, 0, 2, 3, 4), (1, 1, 2, 3, 4), (1, 0, 3, 3, 4), (1, 0, 2, 4, 4), (1, 0, 2, 3, 5)]
    for make in (noise.signs, noise.normals):
        z, *rest = (make(k, t, i, s, 0, N, p).astype(np.float64) for k, p, t, i, s in [home, *others])
        for y in [*rest, np.roll(z, 1), np.roll(z, 8), np.roll(z, 128)]:
            assert abs(z @ y) / N < 4.5 / N**0.5


def test_keys_and_slots() -> None:
    keys = {noise.key_from_seed(s) for s in range(10_000)}
    assert len(keys) == 10_000 and all(0 <= k < 2**64 for k in keys)
    assert noise.key_from_seed(2**64 - 1) == 0xE4D971771B652C20
    assert noise.slot_id("theta") == int.from_bytes(
        hashlib.blake2b(b"theta", digest_size=4).digest(), "little"
    )
    for bad in (-1, 2**64):
        with pytest.raises(ValueError, match="seed"):
            noise.key_from_seed(bad)


def test_order_of_data() -> None:
    order = noise.permutation(KEY, 4, 1000)
    assert order.dtype == np.int64 and np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, noise.permutation(KEY, 5, 1000))
    words = noise.uniform_bits(KEY, noise.ORDER, 4, 0, 0, 0, 2000).tolist()
    by_hand = sorted(range(1000), key=lambda e: (words[2 * e] + (words[2 * e + 1] << 32), e))
    assert order.tolist() == by_hand
    assert noise.permutation(KEY, 0, 0).tolist() == []
    first = [int(noise.permutation(KEY, epoch, 10)[0]) for epoch in range(2000)]
    counts = np.bincount(first, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 33  # chi-squared, 9 degrees, p = 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 4097, 65_536])
def test_places_are_an_order_never_formed(n: int) -> None:
    every = noise.places(KEY, 4, n, np.arange(n))
    assert every.dtype == np.int64 and np.array_equal(np.sort(every), np.arange(n))
    some = np.arange(n)[:: max(1, n // 7)]
    assert np.array_equal(noise.places(KEY, 4, n, some), every[some])  # each by itself
    side = math.isqrt(n - 1) + 1
    words = noise.uniform_bits(KEY, noise.ORDER, 4, 4, 0, 0, 16).tolist()
    golden = 0x9E3779B97F4A7C15  # which `key_from_seed` adds by itself
    at = n // 2
    while True:  # by hand, in whole numbers
        x, y = divmod(at, side)
        for r in range(8):
            k = words[2 * r] + (words[2 * r + 1] << 32)
            x, y = y, (x + noise.key_from_seed((y * golden + k - golden) % 2**64) % side) % side
        at = x * side + y
        if at < n:
            break
    assert at == every[n // 2]


def test_places_of_very_many_look_random() -> None:
    n, m = 10**9, 20_000
    got = noise.places(KEY, 0, n, np.arange(m))
    assert len(np.unique(got)) == m and not np.array_equal(got, noise.places(KEY, 1, n, np.arange(m)))
    for counts in (np.histogram(got, 100, (0, n))[0], np.bincount(got % 101)):
        mean = m / len(counts)
        assert ((counts - mean) ** 2 / mean).sum() < 158  # chi-squared, 100 degrees, p = 2e-4
    assert abs(np.corrcoef(got[:-1], got[1:])[0, 1]) < 4 / m**0.5
    first = [int(noise.places(KEY, epoch, 10, np.arange(1))[0]) for epoch in range(2000)]
    assert ((np.bincount(first, minlength=10) - 200) ** 2 / 200).sum() < 33


def test_the_document_holds_the_vectors_of_the_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "noise.md").read_text(encoding="utf-8")
    assert noise.vectors() in text, "docs/noise.md is out of date: python -m zoptim.noise"
