"""How good the noise is: a battery of tests on the stream, with p-values.

    python -m bench.noise_battery [--json] [--save] [--streams 16] [--length 1048576]

What it is: the known answers of Random123, Kolmogorov-Smirnov on every stream, moments, serial correlation within streams,
correlation between neighboring keys, slots, steps and draws, and the spread of the KS p-values
themselves (too good is bad as well).  What it is not: TestU01 or PractRand, which Philox4x32-10
has passed elsewhere; it guards the *use* of Philox: addresses, bit order, the table.

Every family reports its smallest p-value times its number of tests (Bonferroni).  Exit 1 if one
is below 1e-4: with six families about one run in 1,700 of a perfect generator does that.
"""

from __future__ import annotations

import argparse
import json
import math
import sys

import numpy as np

from bench.common import save, stamp
from zoptim import noise

# Random123's kat_vectors for philox4x32 with 10 rounds: counter, key, output.
KNOWN = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def known_answers() -> list[dict[str, object]]:
    """Each vector with what comes out here."""
    rows: list[dict[str, object]] = []
    for counter, key, want in KNOWN:
        low, high = (int(word, 16) for word in key.split())
        words = noise.philox(np.array([int(word, 16) for word in counter.split()]), low | high << 32)
        got = " ".join(f"{w:08x}" for w in words)
        rows.append({"counter": counter, "key": key, "output": got, "good": got == want})
    return rows


def two_sided(z: float) -> float:
    """P(|N(0, 1)| > |z|)."""
    return math.erfc(abs(z) / math.sqrt(2))


def kolmogorov(d: float, n: int) -> float:
    """P(D_n > d): the asymptotic series with Stephens' correction."""
    x = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * d
    if x < 0.2:
        return 1.0
    return min(1.0, max(0.0, 2 * sum((-1) ** (j - 1) * math.exp(-2 * (j * x) ** 2) for j in range(1, 101))))


def ks_of_counts(counts: np.ndarray, below: np.ndarray, upto: np.ndarray) -> float:
    """KS distance of a sample, given as counts of ordered values, to a distribution function."""
    total = counts.sum()
    after = np.cumsum(counts) / total
    before = after - counts / total
    return float(max(np.abs(after - upto).max(), np.abs(before - below).max()))


def normal_cdf() -> np.ndarray:
    """Phi at the table's values."""
    table = noise.normal_table().tolist()
    return np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in table])


def family(name: str, values: list[float]) -> dict[str, object]:
    """The smallest p of a family of tests, times their number."""
    worst = min(values)
    return {"name": name, "tests": len(values), "smallest": worst, "adjusted": min(1.0, worst * len(values))}


def battery(streams: int, length: int) -> list[dict[str, object]]:
    """All families: `streams` neighboring streams of `length` elements of each kind."""
    cdf, edge = normal_cdf(), np.arange(65536) / 65536
    kinds = [("key", 0), ("slot", 1), ("t", 2), ("i", 3)]
    ks, moments, serial, cross = [], [], [], []
    for _, place in kinds:
        signs, normals = [], []
        for s in range(streams):
            key, slot, t, i = (s if place == j else 1000 + place for j in range(4))
            halves = noise.half_words(key, 0, t, i, slot, 0, length)
            counts = np.bincount(halves, minlength=65536)
            ks.append(kolmogorov(ks_of_counts(counts, edge, edge + 1 / 65536), length))
            ks.append(kolmogorov(ks_of_counts(counts, cdf, cdf), length))
            normals.append(noise.normal_table()[halves].astype(np.float64))
            signs.append(noise.signs(key, t, i, slot, 0, length).astype(np.float64))
            moments += moment_tests(signs[-1], normals[-1])
            serial += [p for z in (signs[-1], normals[-1]) for p in serial_tests(z)]
        for z in (np.stack(signs), np.stack(normals)):
            r = z @ z.T / math.sqrt(length)
            cross += [two_sided(v) for v in r[np.triu_indices(streams, 1)]]
    spread = np.sort(ks[0::2])
    grid = np.arange(1, len(spread) + 1) / len(spread)
    d = float(max(np.abs(grid - spread).max(), np.abs(grid - 1 / len(spread) - spread).max()))
    return [
        family("Kolmogorov-Smirnov of half words and normals", ks),
        family("spread of the KS p-values", [kolmogorov(d, len(spread))]),
        family("moments 1 to 4", moments),
        family("serial correlation, 20 lags", serial),
        family("correlation across keys, slots, steps, draws", cross),
        family("balance of each of the 32 bits and of neighbors", bit_tests(length)),
    ]


def moment_tests(signs: np.ndarray, normals: np.ndarray) -> list[float]:
    """Mean of the signs; mean, square, cube and fourth power of the normals, against their law."""
    n, table = len(signs), noise.normal_table().astype(np.float64)
    out = [two_sided(float(signs.sum()) / math.sqrt(n))]
    for power in (1, 2, 3, 4):
        mean, spread = float((table**power).mean()), float((table**power).std())
        out.append(two_sided((float((normals**power).mean()) - mean) / spread * math.sqrt(n)))
    return out


def serial_tests(z: np.ndarray) -> list[float]:
    """Correlation with itself 1 .. 16, 32, 64, 128 and 1024 elements on."""
    lags = [*range(1, 17), 32, 64, 128, 1024]
    return [two_sided(float(z[lag:] @ z[:-lag]) / math.sqrt(len(z) - lag)) for lag in lags]


def bit_tests(length: int) -> list[float]:
    """Each bit of the words is 1 half of the time, and agrees with its neighbor half of the time."""
    words = noise.uniform_bits(noise.key_from_seed(1), 0, 0, 0, 0, 0, length)
    flips = words ^ ((words >> np.uint32(1)) | (words << np.uint32(31)))
    out = []
    for source in (words, flips):
        for b in range(32):
            ones = int(((source >> np.uint32(b)) & np.uint32(1)).sum())
            out.append(two_sided((2 * ones - length) / math.sqrt(length)))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--save", action="store_true", help="write bench/results/noise.json")
    parser.add_argument("--streams", type=int, default=16, help="of each kind of neighborhood")
    parser.add_argument("--length", type=int, default=1 << 20, help="elements of a stream")
    options = parser.parse_args()
    known, rows = known_answers(), battery(options.streams, options.length)
    good = all(row["good"] for row in known) and all(float(str(row["adjusted"])) >= 1e-4 for row in rows)
    result = {
        "what": __doc__.splitlines()[0], "version": noise.VERSION, "good": good, "streams": options.streams,
        "length": options.length, "known_answers": known, "families": rows,
    }  # fmt: skip
    if options.save:
        print(save("noise", stamp(result)))
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for row in known:
            print(f"{row['counter']}; {row['key']}; {row['output']}  {'known' if row['good'] else 'WRONG'}")
        for row in rows:
            print(f"{row['name']:52}{row['tests']:6} tests, adjusted p = {row['adjusted']:.3g}")
        print("good" if good else "BAD: a known answer is wrong, or an adjusted p-value is below 1e-4")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
