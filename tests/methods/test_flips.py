"""GRZO: one direction an example, uncorrelated and of the base's law; asked of its own example only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm import little

from zoptim import noise
from zoptim.coefficients import PerExample
from zoptim.directions import Flips
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.errors import UsageError
from zoptim.lm.finetune import finetune
from zoptim.methods.lowrank import grzo
from zoptim.protocols import Draw, Mix, Slot, Weighing
from zoptim.spaces.flat import Flat

KEY = noise.key_from_seed(8)


def formed(slot: Slot, *draws: Draw) -> np.ndarray:
    out = np.empty((len(draws), slot.shape[0], int(np.prod(slot.shape[1:]))))
    Flips().form(out, slot, slice(0, slot.shape[0]), Mix.of(*[((z, 1.0),) for z in draws]), None, KEY)
    return out


def test_a_direction_is_the_base_with_flipped_rows_and_columns() -> None:
    slot = Slot(noise.slot_id("w"), "w", (6, 4))
    u = noise.normals(KEY, 3, 0, slot.id, 0, 24).reshape(6, 4).astype(float)
    for j, z in enumerate(formed(slot, Draw(3, 0), Draw(3, 1))):
        flips = z / u
        np.testing.assert_allclose(abs(flips), 1.0)
        assert np.linalg.matrix_rank(flips) == 1
        np.testing.assert_array_equal(np.sign(flips[:, 0] * flips[0, 0]), np.sign(flips[:, 1] * flips[0, 1]))
        assert j == 0 or not np.array_equal(abs(flips), flips)


@pytest.mark.parametrize("shape", [(4, 3), (12,)], ids=str)
def test_moments(shape: tuple[int, ...]) -> None:
    """E z_i = 0, E z_i z_i' = I, E z_i z_j' = 0, over steps: within one, U is shared."""
    slot = Slot(noise.slot_id("m"), "m", shape)
    zs = np.stack([formed(slot, Draw(t, 0), Draw(t, 1)).reshape(2, 12) for t in range(6000)])

    def within(samples: np.ndarray, expected: Any) -> None:
        error = np.maximum(samples.std(axis=0) / np.sqrt(len(samples)), 1e-12)
        assert (np.abs(samples.mean(axis=0) - expected) < 5 * error).all()

    within(zs[:, 1], 0.0)
    within(zs[:, 1, :, None] * zs[:, 1, None, :], np.eye(12))
    within(zs[:, 0, :, None] * zs[:, 1, None, :], np.zeros((12, 12)))


def test_each_example_is_asked_along_its_own_direction_only() -> None:
    """The hand edition with a loss of its own for every example."""
    rng = np.random.default_rng(1)
    at, x0 = rng.standard_normal((3, 5)), rng.standard_normal(5)

    def example(j: int) -> Any:
        return lambda x: np.log1p(((x - at[j]) ** 2).sum(axis=1))

    def ask(view: Any) -> np.ndarray:
        return np.stack([example(items.own)(x[None]) for items, x in zip(view.items, view.x, strict=True)])

    method, space = grzo(0.05, 1e-2, n=3), Flat(x0.copy())
    run = Run(space, method, Journal.create(None, {"key": KEY}), horizon=4)
    x = x0.copy()
    for t in range(4):
        zs = formed(space.slot, *[Draw(t, j) for j in range(3)])[:, :, 0]
        delta = np.array(
            [
                float((example(j)((x + 1e-2 * z)[None]) - example(j)((x - 1e-2 * z)[None]))[0])
                for j, z in enumerate(zs)
            ]
        )
        x = x - 0.05 / 3 * (delta / delta.std()) @ zs
        run.step(ask)
        np.testing.assert_allclose(space.x, x, rtol=1e-9)


def test_weights_by_hand() -> None:
    losses = np.array([1.0, 0.5, 2.0, 2.25, 1.0, 1.0])
    draws = tuple(Draw(0, j) for j in range(3))
    coefs = PerExample().weigh(Weighing(draws, (), losses, np.zeros(3), 1e-3)).coefs
    d = np.array([0.5, -0.25, 0.0])
    np.testing.assert_allclose(coefs, d / d.std() / 3)


def test_one_example_has_no_spread() -> None:
    with pytest.raises(ValueError, match="n=1"):
        grzo(n=1)


def config(out: Path, **how: Any) -> Any:
    return little.config(out, method="grzo", train="last-block", steps=2, **how)


def test_another_batch_is_refused(tmp_path: Path) -> None:
    for batch in (4, 16):
        with pytest.raises(UsageError, match=f"batch={batch}.*n=8"):
            finetune(config(tmp_path / str(batch), batch=batch, settings={"n": 8}), quiet=True)


def test_an_objective_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one number a batch"):
        finetune(config(tmp_path / "f1", batch=8, settings={"n": 8}, objective="f1"), quiet=True)


def test_a_batch_left_open_is_the_methods(tmp_path: Path) -> None:
    made = config(tmp_path / "auto", settings={"n": 5})
    result = finetune(replace(made, batch="auto"), quiet=True)
    assert result["steps"] == 2
