"""Memory is estimated before a run starts, and refused with its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm import little

from zoptim.lm.errors import UsageError
from zoptim.lm.finetune import finetune
from zoptim.lm.memory import REST, estimate, most_prefix
from zoptim.lm.plan import method_for
from zoptim.lm.session import Session


def test_vectors_prefix_and_weights_are_counted(tmp_path: Path) -> None:
    config = little.config(tmp_path / "run", method="zo_adam", train="last-block")
    session = Session.open(config, say=lambda text: None)
    found = estimate(session, method_for(config, 1.0, 1e-3), 1000)
    model = session.loaded.model
    weights = sum(t.nbytes for tensors in (model.parameters(), model.buffers()) for t in tensors)
    trained = sum(p.numel() for p in map(session.space.parameter, session.space.slots()))
    assert found == (weights, 0, 8 * trained, 1000, REST)
    session.cache_prefix(method_for(config, 1.0, 1e-3), 0, ["train", "dev"])
    built = sum(session.splits[name].prefix.nbytes for name in ("train", "dev"))  # type: ignore[union-attr]
    assert 0 < built <= most_prefix(session) * 1.5


@pytest.mark.parametrize(
    ("settings", "says"),
    [({}, "memory_limit=0.1: this run would hold at least .*rest .*try a larger --memory-limit"),
     ({"memory_limit": 1e-9}, "memory_limit=1e-09")],
)  # fmt: skip
def test_a_limit_refuses_before_anything_is_written(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        finetune(little.config(tmp_path / "run", **{"memory_limit": 0.1, **settings}), quiet=True)
    assert not (tmp_path / "run" / "journal.zoj").exists()


def test_within_the_limit_nothing_is_said(tmp_path: Path) -> None:
    assert finetune(little.config(tmp_path / "run", memory_limit=2.0, steps=2), quiet=True)["steps"] == 2
