"""Config: one value for command line, YAML and Python; refusals in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoptim.lm.config import Config
from zoptim.lm.errors import UsageError
from zoptim.lm.fields import GROUPS

TASK = "packaged:movie-reviews"


def make(**values: Any) -> Config:
    return Config(**{"task": TASK, **values})


def test_texts_and_numbers_are_the_same() -> None:
    words = make(lr="6e-3", eps="auto", batch="64", steps="2e3", seed="7", cache_gb="0", minutes="1.5")
    numbers = make(lr=6e-3, batch=64, steps=2000, seed=7, cache_gb=0, minutes=1.5)
    assert words == numbers
    assert isinstance(words.steps, int) and isinstance(words.lr, float) and isinstance(words.cache_gb, float)


def test_out_follows_task_method_and_seed_until_chosen() -> None:
    config = make(seed=3)
    assert config.out == Path("runs/movie-reviews-fzoo-3")
    assert config.merge({"seed": 4}).out == Path("runs/movie-reviews-fzoo-4")
    assert make(out="here").merge({"seed": 4}).out == Path("here")
    assert make(out=".").out == Path()
    assert Config(data="a/b c.jsonl").out == Path("runs/b-c-fzoo-0")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": -1}, "lr=-1: too small"),
        ({"lr": "quick"}, "(or auto)"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": True}, "lr=True"),
        ({"eps": 0}, "eps=0: too small"),
        ({"steps": 0}, "steps=0: too small; give a whole number of at least 1"),
        ({"forwards": "0"}, "forwards='0'"),
        ({"minutes": 0}, "minutes=0"),
        ({"steps": 1.5}, "not a whole number"),
        ({"steps": "1e400"}, "not a whole number"),
        ({"seed": False}, "seed=False"),
        ({"seed": 2**63}, "too large"),
        ({"batch": "many"}, "(or auto)"),
        ({"dtype": "float23"}, 'did you mean "float32"'),
        ({"at": "first"}, "one of best, last"),
        ({"objective": "acuracy"}, 'did you mean "accuracy"?'),
        ({"objective": "python:f"}, "python:module:function"),
        ({"model": ""}, "is empty"),
        ({"settings": ["n"]}, "key=value"),
        ({"settings": 3}, "key=value"),
        ({"candidates": [" a", " a"]}, "listed twice"),
        ({"candidates": [" a", " b"], "completion": "answer"}, "goes without candidates"),
        ({"data": "x.jsonl"}, "not both"),
        ({"task": None}, "both missing"),
        ({"dev_limit": -2}, "dev_limit=-2"),
        ({"window_gb": 0.1}, "window_gb=0.1: is the window of --stream"),
        ({"stream": True, "master": "float32", "dtype": "bfloat16"}, "does not go with --stream"),
        ({"stream": True, "compile": "yes"}, "does not go with --stream"),
    ],
)
def test_refusals_name_argument_value_and_remedy(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(**values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_chat_takes_the_booleans_of_yaml() -> None:
    assert make(chat=False).chat == "no"
    assert make(chat=True).chat == "yes"


def test_candidates_may_be_a_mapping() -> None:
    assert make(candidates={0: " bad", 1: " good"}).candidates == ("0= bad", "1= good")
    assert make(candidates=" bad").candidates == (" bad",)


def test_settings_from_flags_and_merge_key_by_key() -> None:
    config = make(settings=["n=16", "weighting=rank", "clip=2.5", "signs=true", "x="])
    assert config.settings == {"n": 16, "weighting": "rank", "clip": 2.5, "signs": True, "x": None}
    merged = config.merge({"settings": ["n=4"]})
    assert merged.settings["n"] == 4 and merged.settings["clip"] == 2.5


def test_yaml_comes_back_equal(tmp_path: Path) -> None:
    config = Config(
        data="mine.csv",
        template="{text} It was",
        candidates=(" terrible", " gré at: #1"),
        lr=1e-6,
        eps=1e-3,
        chat="no",
        settings={"n": 8, "name": "on"},
        minutes=2.0,
        out=Path("runs/a"),
    )
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert Config.from_file(path) == config
    for heading in GROUPS.values():
        assert f"# {heading}" in config.to_yaml()


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("task: packaged:movie-reviews\nlr: 6e-3\nseed: 3\nsettings: {n: 8, a: 1}\n")
    config = Config.from_file(path, {"seed": "5", "lr": None, "settings": ["n=2"], "data": "x.jsonl"})
    assert (config.seed, config.lr, config.settings) == (5, 0.006, {"n": 2, "a": 1})
    assert config.task is None and config.data == "x.jsonl"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("learning-rate: 3\n", "unknown setting 'learning-rate'; did you mean \"lr\"?"),
        ("eval-every: 3\n", 'did you mean "eval_every"?'),
        ("metod: fzoo\n", 'did you mean "method"'),
        ("- a\n- b\n", "holds no settings"),
        ("a: 1\nb: [\n", "line 3"),
        ("task: x\nlr: quick\n", "lr='quick'"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r".") as caught:
        Config.from_file(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: x\n")
    with pytest.raises(UsageError, match=r"did you mean .*config\.yaml"):
        Config.from_file(tmp_path / "confg.yaml")


def test_every_field_is_documented() -> None:
    grouped = [f for members in Config.grouped().values() for f in members]
    assert sorted(f.name for f in grouped) == sorted(Config.names())
    for f in grouped:
        assert f.metadata["help"] and f.metadata["metavar"]
