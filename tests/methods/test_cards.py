"""Cards say what the methods are; those of black boxes are told apart and refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoptim import methods
from zoptim.doors.cli import main
from zoptim.engine import Run
from zoptim.journal import Journal
from zoptim.lm.config import Config
from zoptim.lm.errors import UsageError


def test_no_name_is_on_both_shelves() -> None:
    assert methods.BLACK_BOXES and not set(methods.BLACK_BOXES) & set(methods.SHELF)


@pytest.mark.parametrize("name", methods.BLACK_BOXES)
def test_each_is_explained_listed_and_refused_for_networks(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    card = methods.BLACK_BOXES[name]
    assert main(["methods", name]) == 0
    told = capsys.readouterr().out
    assert card.paper in told and "Cost" in told and "zoptim finetune" not in told
    with pytest.raises(UsageError, match=f"method='{name}': is for black boxes alone"):
        Config(task="packaged:movie-reviews", method=name)


def test_the_list_has_them_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    first, second = capsys.readouterr().out.split("for black boxes alone")
    assert "\nmezo " in first and "\nzpdvr " in second and "zpdvr" not in first


def test_what_is_needed_is_asked_for() -> None:
    with pytest.raises(ValueError, match="zo_ncf needs the setting d"):
        methods.build("zo_ncf", {})
    assert methods.build("zo_ncf", {"d": 3}).arguments["d"] == 3
    with pytest.raises(ValueError, match="zo_gda has no setting 'ratoi', did you mean 'ratio'"):
        methods.build("zo_gda", {"ratoi": 2})


def test_what_keeps_vectors_is_refused_where_there_is_no_room(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from zoptim.spaces.module import Module

    space = Module(torch.nn.Linear(2, 2), ["weight"])
    with pytest.raises(
        ValueError, match="method=zo_storm: it keeps vectors beside the parameters \\(v, previous\\)"
    ):
        Run(space, methods.build("zo_storm", {}), Journal.create(None, {"key": 1}))
