"""Products with weights formed in cache: the same weights as `form`, the same sums whatever goes along."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from zoptim import kernels
from zoptim.kernels import native
from zoptim.kernels.product import product, scratch_size

EDITIONS = [
    e
    for i, e in enumerate(native.EDITIONS)
    if "native" in kernels.choose("")
    and i <= native.EDITIONS.index(kernels.choose("").split()[1].rstrip(","))
]


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    kernels.choose("")


def available(edition: str) -> bool:
    kernels.choose(edition)
    one = np.zeros((1, 1, 1), np.float32)
    return scratch_size(one, one[0]) > 0


def multiplied(x: np.ndarray, weight: np.ndarray, **address: Any) -> np.ndarray:
    y = np.full((*x.shape[:2], weight.shape[0]), 7, np.float32)
    scratch = np.full(scratch_size(x, weight), np.nan, np.float32)
    product(y, x, weight, scratch, **address)
    return y


def case(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """A random call: odd shapes, still points among moved ones, tails of every kind."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    m, k = pick.choice([(1, 1), (2, 1), (1, 0), (9, 8), (3, 2), (4, 40)])
    tokens, rows = pick.choice([1, 3, 7, 8, 9, 16, 17, 31, 33, 70]), pick.choice([1, 5, 6, 12, 13, 50, 300])
    cols = pick.choice([1, 2, 3, 4, 33, 130, 577, 2100] if rows * tokens < 3000 else [1, 33, 70])
    coefs = rng.standard_normal((m, k)) * (rng.random((m, k)) < pick.choice([0.4, 1.0]))
    coefs[pick.randrange(m)] *= pick.choice([0, 1])
    draws = [(pick.randrange(2**32), pick.randrange(2**24)) for _ in range(k)]
    address = {"law": pick.choice(["signs", "normal"]), "key": 5, "slot": 77, "draws": draws, "coefs": coefs}
    x = rng.standard_normal((m, tokens, cols)).astype(np.float32)
    return x, rng.standard_normal((rows, cols)).astype(np.float32), address


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("seed", range(40))
def test_it_multiplies_what_form_forms(edition: str, seed: int) -> None:
    if not available(edition):
        return  # a refusal, tested below
    x, weight, address = case(seed)
    formed = np.empty((len(x), *weight.shape), np.float32)
    kernels.form(formed, weight, rows=slice(0, len(weight)), **address)
    wanted = np.einsum("mtk,mnk->mtn", x.astype(np.float64), formed.astype(np.float64))
    scale = np.einsum("mtk,mnk->mtn", np.abs(x), np.abs(formed)) + 1e-30
    found = multiplied(x, weight, **address)
    assert float((np.abs(found - wanted) / scale).max()) < 1e-6  # of the sum of magnitudes


@pytest.mark.parametrize("edition", EDITIONS)
def test_sums_do_not_depend_on_what_goes_along(edition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available(edition):
        return
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((3, 40, 70)), rng.standard_normal((50, 70)).astype(np.float32)
    x = x.astype(np.float32)
    coefs = np.array([[0.0, 0.0], [1e-2, 0.0], [0.0, -1e-2]])
    address: dict[str, Any] = {"law": "signs", "key": 1, "slot": 2, "draws": [(0, 0), (0, 1)]}
    whole = multiplied(x, weight, coefs=coefs, **address)
    for p in range(3):
        alone = multiplied(x[p : p + 1], weight, coefs=coefs[p : p + 1], **address)
        np.testing.assert_array_equal(alone[0], whole[p])
        few = multiplied(np.ascontiguousarray(x[p : p + 1, :20]), weight, coefs=coefs[p : p + 1], **address)
        np.testing.assert_array_equal(few[0], whole[p, :20])
    monkeypatch.setattr(kernels, "threads", lambda: 3)
    np.testing.assert_array_equal(multiplied(x, weight, coefs=coefs, **address), whole)


def test_editions_agree_on_every_bit() -> None:
    found = []
    for edition in filter(available, EDITIONS):
        kernels.choose(edition)
        found.append([multiplied(*case(seed)[:2], **case(seed)[2]).tobytes() for seed in range(20)])
    assert all(other == found[0] for other in found)


def test_refusals() -> None:
    x, weight = np.zeros((1, 2, 3), np.float32), np.zeros((4, 3), np.float32)
    address: dict[str, Any] = {
        "law": "signs",
        "key": 1,
        "slot": 2,
        "draws": [(0, 0)],
        "coefs": np.ones((1, 1)),
    }
    y, scratch = np.zeros((1, 2, 4), np.float32), np.zeros(1000, np.float32)
    assert scratch_size(x.astype(np.float64), weight.astype(np.float64)) == 0
    assert scratch_size(x.astype(np.float64), weight) == 0
    with pytest.raises(ValueError, match="do not fit together"):
        product(y[:, :, :3], x, weight, scratch, **address)
    kernels.choose("reference")
    assert scratch_size(x, weight) == 0
    with pytest.raises(ValueError, match="no product"):
        product(y, x, weight, scratch, **address)
    kernels.choose("")
    if scratch_size(x, weight):
        with pytest.raises(ValueError, match="scratch has 1"):
            product(y, x, weight, scratch[:1], **address)
        with pytest.raises(ValueError, match="must all be float32"):
            product(y.astype(np.float64), x, weight, scratch, **address)
        with pytest.raises(ValueError, match="below 2\\*\\*32"):
            product(y, x, weight, scratch, **{**address, "slot": 1 << 32})
        with pytest.raises(ValueError, match="law='x'"):
            product(y, x, weight, scratch, **{**address, "law": "x"})
        with pytest.raises(ValueError, match="must be \\(m, tokens, cols\\)"):
            product(y, x[0], weight, scratch, **address)
        y.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            product(y, x, weight, scratch, **address)
