"""Sets and penalties through JSON and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sets.cases import CASES, Case, D

from zoptim.sets import L1, ElasticNet, GroupL1, L2Ball, Nuclear, from_plain, to_plain


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sets_come_back_with_the_same_bits(case: Case) -> None:
    again = from_plain(json.loads(json.dumps(to_plain(case.set), allow_nan=False)))
    assert type(again) is type(case.set) and again.offers == case.set.offers
    x = np.linspace(-3, 2, case.d) ** 3
    for name in case.set.offers & {"project", "lmo"}:
        assert getattr(again, name)(x).tobytes() == getattr(case.set, name)(x).tobytes()
    assert again.excess(x) == case.set.excess(x)


@pytest.mark.parametrize(
    "penalty", [L1(0.1), ElasticNet(0.1, 0.0), GroupL1(0.3, [2, 7] * 6), Nuclear(0.2, shape=(3, 4))], ids=str
)
def test_penalties_come_back_with_the_same_bits(penalty: Any) -> None:
    again, x = from_plain(json.loads(json.dumps(to_plain(penalty), allow_nan=False))), np.linspace(-3, 2, D)
    assert again.prox(x, 0.7).tobytes() == penalty.prox(x, 0.7).tobytes()


def test_what_is_no_set_is_refused() -> None:
    class Mine(L2Ball):
        pass

    with pytest.raises(ValueError, match="none of zoptim.sets"):
        to_plain(Mine(1.0))
    for data, match in (
        ({"set": "Ball", "radius": 1.0, "center": 0.0}, "set='Ball' must be one of Affine"),
        ({"radius": 1.0}, "set=None"),
        ({"set": "L2Ball", "radius": 1.0}, "takes radius, center"),
        ({"set": "L2Ball", "radius": -1.0, "center": 0.0}, "radius=-1.0"),
    ):
        with pytest.raises(ValueError, match=match):
            from_plain(data)
