"""The examples do what they say, far from chance."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_tpsgd_learns() -> None:
    train = runpy.run_path(str(EXAMPLES / "tpsgd.py"))["train"]
    assert train(n=500, epochs=4, width=32) > 0.3  # chance is 0.1
    assert train(n=500, epochs=0, width=32) < 0.25  # untrained


def test_noprop_learns() -> None:
    train = runpy.run_path(str(EXAMPLES / "noprop.py"))["train"]
    assert train(n=500, epochs=4, width=32) > 0.3  # chance is 0.1
    assert train(n=500, epochs=0, width=32) < 0.25  # untrained


def test_thresholds_are_tuned_while_the_policy_trains() -> None:
    parts = runpy.run_path(str(EXAMPLES / "thresholds.py"))
    late = {stale: sum(parts["scores"](stale)[-40:]) / 40 for stale in (None, 3)}
    assert late[3] > -0.2  # the best is 0
    assert (
        late[None] < -1.0 and sum(parts["held"]()[-40:]) / 40 < -1.0
    )  # old answers seem better than any new one


def test_two_phases_choose_an_end_with_a_short_gradient() -> None:
    told = runpy.run_path(str(EXAMPLES / "two_phase.py"))
    chosen, ends, spent = told["two_phase"](200_000)
    lengths = sorted(float(np.linalg.norm(told["gradient"](x))) for x in ends)
    assert spent <= 200_000 and float(np.linalg.norm(told["gradient"](chosen))) <= lengths[1]
    assert lengths[-1] > 1.2 * lengths[0]  # there is something to choose
