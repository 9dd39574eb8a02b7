"""The noise stream: from an address to bits, signs, normals and orders.  This is its specification.

What it is: a counter-based generator.  Every number is a pure function of an address

    (key, purpose, t, i, slot, element)

so it does not depend on the order in which numbers are asked for, nor on shards, chunks, threads,
devices or dtypes.  Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011) maps

    counter = (block, slot, t, purpose << 24 | i),  key = (low word, high word)

to four 32-bit words.  For fixed (key, purpose, t, i, slot) the words of blocks 0, 1, 2, ... form
one stream of bits, low bit first, and everything is read from that stream:

    sign e      bit e                  (bit 1 means -1: it can be XORed into a float's sign bit)
    normal e    bits 16e .. 16e + 15   (an index into a table of 65,536 quantiles)
    uniform e   bits 32e + 8 .. 32e + 31, times 2**-24
    order       bits 64e .. 64e + 63   (keys that are sorted; for very many examples: `places`)

What it is not: fast (that is `zoptim.kernels`, tested bit for bit against this file), secret
(privacy noise must not come from here), or stateful.  It is the only file of the package that
makes random numbers.  `docs/noise.md` says the same in prose, with the test vectors that `python -m zoptim.noise` prints.

Symbols: e element, t step, i draw within a step, z direction.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from operator import index
from typing import TypeAlias

import numpy as np

VERSION = 1  # changes whenever any number of any stream changes; journals record it

Key: TypeAlias = int  # 64 bits, the whole identity of a run's noise

DIRECTIONS, ROUNDING, ORDER, INITIAL = 0, 1, 2, 3  # purposes: streams that never meet

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # Philox multipliers
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # Philox key increments
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_MASK64, _GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15
_GRID = 21  # table values are multiples of 2**-21, so they are exact in float32
TABLE_SHA256 = "56ff5c95b62fdaf5cb5436d0ef3c7ef8e03a6c57808aef679e25663a36b28c47"


def key_from_seed(seed: int) -> Key:
    """The run key of a seed: a bijection of 64-bit integers, so no two seeds share their noise.

        x = seed + 0x9E3779B97F4A7C15;      x ^= x >> 30;  x *= 0xBF58476D1CE4E5B9
        x ^= x >> 27;  x *= 0x94D049BB133111EB;  x ^= x >> 31        (all modulo 2**64)

    Args:
        seed: 0 <= seed < 2**64.

    Raises:
        TypeError, ValueError: the seed is no whole number, or out of range.

    Example:
        >>> hex(key_from_seed(0))
        '0xe220a8397b1dcdaf'
    """
    try:
        seed = index(seed)  # numpy's whole numbers, too
    except TypeError:
        raise TypeError(f"seed={seed!r} must be a whole number from 0") from None
    if not 0 <= seed <= _MASK64:
        raise ValueError(f"seed={seed} must be in [0, 2**64); take it modulo 2**64")
    return int(_mixed(np.array([(seed + _GOLDEN) & _MASK64], np.uint64))[0])


def _mixed(x: np.ndarray) -> np.ndarray:
    """What `key_from_seed` does after its addition, to uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def slot_id(name: str) -> int:
    """The noise address of a tensor: blake2b-32 of its UTF-8 name, read little-endian.

    Example:
        >>> slot_id("theta") == slot_id("theta"), slot_id("theta") == slot_id("Theta")
        (True, False)
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def philox(counter: np.ndarray, key: Key) -> np.ndarray:
    """Philox4x32-10.

    One round, with hi:lo the 64-bit products of M0 with x0 and M1 with x2:

        (x0, x1, x2, x3) <- (hi1 ^ x1 ^ k0, lo1, hi0 ^ x3 ^ k1, lo0)

    Args:
        counter: (..., 4) integers below 2**32.
        key: 64 bits; the low word is key[0].

    Returns:
        (..., 4) uint32.

    Cost: about 40 passes over the words; some 3 million blocks a second.
    """
    x0, x1, x2, x3 = (np.asarray(counter)[..., j].astype(np.uint64) for j in range(4))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = x0 * _M0, x2 * _M1
        x0, x1 = (p1 >> _32) ^ x1 ^ np.uint64(k0), p1 & _LOW
        x2, x3 = (p0 >> _32) ^ x3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3], axis=-1).astype(np.uint32)


def uniform_bits(key: Key, purpose: int, t: int, i: int, slot: int, offset: int, n: int) -> np.ndarray:
    """Words offset .. offset + n - 1 of a stream, uint32: word w is word w % 4 of block w // 4.

    Raises:
        ValueError: a part of the address does not fit its bits.
    """
    check_address(key, purpose, t, i, slot)
    if offset < 0 or n < 0 or offset + n > 1 << 34:
        raise ValueError(f"offset={offset}, n={n}: a stream has 2**34 words; split the slot")
    first, last = offset // 4, -(-(offset + n) // 4)
    counter = np.empty((last - first, 4), np.uint64)
    counter[:, 0] = np.arange(first, last, dtype=np.uint64)
    counter[:, 1:] = slot, t, purpose << 24 | i
    return philox(counter, key).reshape(-1)[offset - 4 * first :][:n]


def uniform_streams(key: Key, purpose: int, t: range, i: int, slot: int, n: int) -> np.ndarray:
    """The first n words of several steps' streams at once, (len(t), n) uint32: a row is `uniform_bits(..., t, ...)`."""
    check_address(key, purpose, t[0], i, slot)
    check_address(key, purpose, t[-1], i, slot)
    counter = np.empty((len(t), -(-n // 4), 4), np.uint64)
    counter[:, :, 0] = np.arange(counter.shape[1], dtype=np.uint64)
    counter[:, :, 1:] = np.uint64(slot), np.uint64(0), np.uint64(purpose << 24 | i)
    counter[:, :, 2] = np.arange(t.start, t.stop, dtype=np.uint64)[:, None]
    return philox(counter, key).reshape(len(t), -1)[:, :n]


def signs(key: Key, t: int, i: int, slot: int, offset: int, n: int, purpose: int = DIRECTIONS) -> np.ndarray:
    """Elements offset .. offset + n - 1 of a sign direction: +1 where the bit is 0, -1 where 1.

    Returns:
        (n,) float32; mean 0, variance 1.
    """
    first = offset // 32
    words = uniform_bits(key, purpose, t, i, slot, first, -(-(offset + n) // 32) - first)
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    bits = bits.reshape(-1)[offset - 32 * first :][:n]
    return np.float32(1) - np.float32(2) * bits.astype(np.float32)


def half_words(key: Key, purpose: int, t: int, i: int, slot: int, offset: int, n: int) -> np.ndarray:
    """16-bit words offset .. offset + n - 1 of a stream, uint32 in [0, 65536): low half first."""
    first = offset // 2
    words = uniform_bits(key, purpose, t, i, slot, first, -(-(offset + n) // 2) - first)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1)
    return halves.reshape(-1)[offset - 2 * first :][:n]


def normals(
    key: Key, t: int, i: int, slot: int, offset: int, n: int, purpose: int = DIRECTIONS
) -> np.ndarray:
    """Elements offset .. offset + n - 1 of a normal direction.

    Returns:
        (n,) float32; mean 0, variance 1, kurtosis 2.9994, |z| <= 4.33 (see `normal_table`).
    """
    return np.take(normal_table(), half_words(key, purpose, t, i, slot, offset, n))


def uniforms(key: Key, t: int, i: int, slot: int, offset: int, n: int, purpose: int = INITIAL) -> np.ndarray:
    """(n,) float32 in [0, 1): the upper 24 bits of each word times 2**-24."""
    words = uniform_bits(key, purpose, t, i, slot, offset, n)
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def permutation(key: Key, epoch: int, n: int) -> np.ndarray:
    """The order of n examples in one pass over the data: (n,) int64, a permutation of 0 .. n - 1.

    Example e gets 64 bits of the stream (purpose 2, t = epoch, i = 0, slot 0), low word first;
    examples are sorted by them, equal ones by e.

    Cost: O(n log n), 24 bytes an example.
    """
    words = uniform_bits(key, ORDER, epoch, 0, 0, 0, 2 * n).astype(np.uint64)
    return np.argsort(words[0::2] | words[1::2] << _32, kind="stable").astype(np.int64)


def places(key: Key, epoch: int, n: int, where: np.ndarray) -> np.ndarray:
    """What stands at these places of an order of n examples that is never formed: for n beyond sorting.

    With a = ceil(sqrt n), place x a + y becomes number x a + y after eight Feistel rounds on pairs below a,

        (x, y) <- (y, (x + mixed(y * 0x9E3779B97F4A7C15 + k_r)) modulo a)        (inside: modulo 2**64)

    and again until it is below n.  k_r are 64-bit words of the stream (purpose 2, t = epoch, i = 4, slot 0), `mixed` what
    `key_from_seed` does after its addition.  It is another order than `permutation`'s.

    Args:
        where: (m,) places, 0 <= place < n < 2**62.

    Returns:
        (m,) int64, all different where the places are.

    Cost: O(m), whatever n is.

    Example:
        >>> sorted(places(7, 0, 5, np.arange(5)).tolist())
        [0, 1, 2, 3, 4]
    """
    words = uniform_bits(key, ORDER, epoch, 4, 0, 0, 16).astype(np.uint64)
    keys, side = words[0::2] | words[1::2] << _32, np.uint64(math.isqrt(max(n, 1) - 1) + 1)
    out = np.asarray(where, np.uint64)
    left = np.ones(out.shape, bool)
    while left.any():
        x, y = np.divmod(out[left], side)
        for k in keys:
            x, y = y, (x + _mixed(y * np.uint64(_GOLDEN) + k) % side) % side
        out[left] = x * side + y
        left = out >= np.uint64(n)
    return out.astype(np.int64)


@lru_cache(maxsize=1)
def normal_table() -> np.ndarray:
    """The 65,536 quantiles of the normal, float32, variance 1, read-only.

        q_k = Phi^-1((k + 1/2) / 65536);    table[k] = round(2**21 q_k / sqrt(mean q^2)) / 2**21

    Rounding to the grid 2**-21 hides the last digits of the platform's `log` and `sqrt`; the
    SHA-256 of the little-endian table is checked, so a platform where it did not is told so.

    Raises:
        RuntimeError: this platform computes another table.

    Cost: 15 ms once, 256 KB.
    """
    from statistics import NormalDist

    upper = [NormalDist().inv_cdf((k + 0.5) / 65536) for k in range(32768, 65536)]
    scale = 2**_GRID / math.sqrt(math.fsum(q * q for q in upper) / 32768)
    half = np.array([round(q * scale) for q in upper], np.float64) / 2**_GRID
    table = np.concatenate([-half[::-1], half]).astype(np.float32)
    digest = hashlib.sha256(table.astype("<f4").tobytes()).hexdigest()
    if digest != TABLE_SHA256:
        raise RuntimeError(f"normal table has digest {digest}, not {TABLE_SHA256}: please report")
    table.setflags(write=False)
    return table


def check_address(key: Key, purpose: int, t: int, i: int, slot: int) -> None:
    """Refuses an address that would not fit its bits: two addresses could then collide.

    Raises:
        ValueError: names the part, its value and its range.
    """
    parts = (("key", key, 64), ("purpose", purpose, 8), ("t", t, 32), ("i", i, 24), ("slot", slot, 32))
    for name, value, bits in parts:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name}={value} must be in [0, 2**{bits})")


def vectors() -> str:
    """Test vectors of the specification, as printed in docs/noise.md."""
    key, slot = key_from_seed(42), slot_id("layer.weight")
    words = uniform_bits(key, DIRECTIONS, 7, 3, slot, 0, 4)
    lines = [
        f"version              {VERSION}",
        f"key_from_seed(42)    {key:#018x}",
        f'slot_id("layer.weight") {slot:#010x}',
        "for this key and slot, t = 7, i = 3:",
        f"words 0..3           {' '.join(f'{w:08x}' for w in words)}",
        f"signs 0..15          {' '.join(f'{z:+.0f}' for z in signs(key, 7, 3, slot, 0, 16))}",
        f"signs 1000..1007     {' '.join(f'{z:+.0f}' for z in signs(key, 7, 3, slot, 1000, 8))}",
        f"normals 0..3 * 2^21  {_on_grid(normals(key, 7, 3, slot, 0, 4))}",
        f"normals 1001..1004   {_on_grid(normals(key, 7, 3, slot, 1001, 4))}",
        f"table[0, 1, 65535]   {_on_grid(normal_table()[[0, 1, 65535]])}",
        f"uniforms 0..2 * 2^24 {[int(u * 2**24) for u in uniforms(key, 0, 0, slot, 0, 3)]}",
        f"permutation(5, 10)   {permutation(key, 5, 10).tolist()}",
        f"places(5, 10^9, 0..3) {places(key, 5, 10**9, np.arange(4)).tolist()}",
        f"half_words, purpose 1, t = 7, i = 0: {half_words(key, ROUNDING, 7, 0, slot, 0, 4).tolist()}",
    ]
    return "\n".join(lines)


def _on_grid(z: np.ndarray) -> list[int]:
    return [int(v * 2**_GRID) for v in z.tolist()]


if __name__ == "__main__":
    print(vectors())
