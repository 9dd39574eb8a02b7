"""What answers are worth: hand-made cases, functions of one's own, and their errors."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoptim.lm.encode import Item, Row
from zoptim.lm.errors import UsageError
from zoptim.lm.forward import Outputs
from zoptim.lm.objectives import Asked, Goal, macro_f1, make, normalised, token_f1

ITEM = Item((Row((1, 2), 2),), 0, 1.0, (5, 6))


def scored(*points: list[list[float]]) -> Outputs:
    """Candidate scores of each point: (m, B, C)."""
    scores = torch.tensor(points)
    return Outputs(len(points), scores, None, None, torch.zeros(scores.shape[1], dtype=torch.long))


def asked(labels: list[int], answers: list[str] | None = None) -> Asked:
    return Asked([ITEM] * len(labels), np.array(labels), answers or [""] * len(labels))


def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, name: str = "fn") -> Goal:
    """An objective from a module written for the test."""
    module = f"own_{abs(hash((str(tmp_path), body))):x}"
    (tmp_path / f"{module}.py").write_text("import numpy as np\nimport torch\n" + body)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        return make(f"python:{module}:{name}", "classification")
    finally:
        sys.modules.pop(module, None)


# -- measures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "chosen", "f1"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1], 1.0),
        ([0, 1, 0, 1], [1, 0, 1, 0], 0.0),
        ([0, 0, 1, 1], [0, 0, 0, 0], (2 / 3 + 0) / 2),  # one class never chosen
        ([0, 0, 0, 0], [0, 0, 0, 1], (6 / 7 + 0) / 2),  # a class chosen that is not there
        ([0, 1, 2, 2, 2], [0, 2, 2, 2, 1], (1 + 0 + 4 / 6) / 3),
        ([2, 2], [2, 2], 1.0),  # classes that are nowhere do not count
        ([1], [0], 0.0),
    ],
)
def test_macro_f1_by_hand(labels: list[int], chosen: list[int], f1: float) -> None:
    assert macro_f1(np.array(labels), np.array(chosen)) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("said", "wanted", "f1"),
    [
        ("great", "great", 1.0),
        ("It was great!", "it was great", 1.0),
        ("The  cat", "cat", 1.0),
        ("great film", "great", 2 / 3),
        ("great great", "great", 2 / 3),  # a word counts as often as it is there
        ("great great old", "great great film", 4 / 6),
        ("terrible", "great", 0.0),
        ("", "great", 0.0),
        ("great", "", 0.0),
        ("the", "a", 1.0),  # nothing left of either
    ],
)
def test_token_f1_by_hand(said: str, wanted: str, f1: float) -> None:
    assert token_f1(said, wanted) == pytest.approx(f1) == token_f1(wanted, said)


def test_normalised() -> None:
    assert normalised("  The QUICK, brown\tfox's an  ") == "quick brown foxs"


# -- named objectives ----------------------------------------------------------------------------------------


def test_loss_of_choices_is_cross_entropy_over_the_candidates() -> None:
    out = scored([[math.log(3), 0.0], [0.0, 0.0]], [[0.0, -torch.inf], [5.0, 5.0]])
    values = make("loss", "classification").values(asked([0, 1]), out, None)
    assert torch.allclose(values, torch.tensor([[-math.log(0.75), math.log(2)], [0.0, math.log(2)]]))
    assert make("loss", "classification").smooth


def test_loss_of_completions_is_per_token_and_weighs_by_tokens() -> None:
    logp = torch.tensor([[[-1.0, -2.0], [-4.0, 0.0]]])
    out = Outputs(1, None, logp, None, torch.tensor([2, 1]))
    nll, weights = make("loss", "completion").values(asked([-1, -1]), out, None)
    assert nll.tolist() == [[1.5, 4.0]] and weights.tolist() == [2, 1]


def test_accuracy_and_f1_of_choices() -> None:
    out = scored([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    batch = asked([0, 0, 0])
    assert make("accuracy", "classification").values(batch, out, None).tolist() == [[0, 0, 1], [1, 1, 0]]
    f1 = make("f1", "classification").values(batch, out, None)
    assert f1.shape == (2,)  # one number a point: it is no mean over items
    assert f1 == pytest.approx([1 - (4 / 5) / 2, 1 - (2 / 4) / 2])
    assert not make("f1", "classification").smooth


def test_accuracy_and_f1_of_texts() -> None:
    batch = asked([-1, -1], ["it was great", "terrible"])
    said = [["It was great.", "old"], ["great", "terrible"]]
    out = Outputs(2, None, None, None, torch.zeros(2, dtype=torch.long))
    for name, wanted in (("accuracy", [[0, 1], [1, 0]]), ("f1", [[0, 1], [0.5, 0]])):
        goal = make(name, "completion")
        assert goal.needs == "text"
        assert goal.values(batch, out, said) == pytest.approx(np.array(wanted))


# -- functions of one's own ---------------------------------------------------------------------------------


def test_own_function_sees_each_point_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = own(tmp_path, monkeypatch, "def fn(batch, outputs):\n"
               "    assert outputs.logits is None and outputs.text is None and len(batch.items) == 2\n"
               "    return -outputs.scores[torch.arange(2), torch.from_numpy(batch.labels)]\n")  # fmt: skip
    assert goal.needs == "candidates" and not goal.smooth
    values = goal.values(asked([1, 0]), scored([[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]), None)
    assert values.dtype == np.float64 and values.tolist() == [[-2, -3], [-6, -7]]


def test_own_function_may_give_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = own(tmp_path, monkeypatch, "def fn(batch, outputs):\n    return float(outputs.scores.sum())\n")
    assert goal.values(asked([0]), scored([[1.0, 2.0]], [[3.0, 4.0]]), None).tolist() == [3, 7]


def test_own_function_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = own(tmp_path, monkeypatch, "def fn(batch, outputs):\n"
               "    return [len(t) - len(a) for t, a in zip(outputs.text, batch.answers)]\n"
               "fn.needs = 'text'\n")  # fmt: skip
    out = Outputs(2, None, None, None, torch.zeros(2, dtype=torch.long))
    assert text.needs == "text"
    assert text.values(asked([-1, -1], ["ab", ""]), out, [["abc", "x"], ["", ""]]).tolist() == [
        [1, 1],
        [-2, 0],
    ]
    logits = own(tmp_path, monkeypatch, "def fn(batch, outputs):\n    return outputs.logits[:, 0].max(-1).values\n"
                 "fn.needs = 'logits'\n")  # fmt: skip
    kept = torch.arange(12.0).reshape(2, 2, 1, 3)
    assert logits.needs == "logits"
    assert logits.values(asked([0, 0]), Outputs(2, None, None, kept, out.counts), None).tolist() == [
        [2, 5],
        [8, 11],
    ]


ANSWERS: list[tuple[str, str]] = [
    ("return [1.0]", r"returned shape \(1,\): return one value per item, \(2,\)"),
    ("return outputs.scores", r"returned shape \(2, 2\)"),
    ("return None", "returned NoneType: return one number per item"),
    ("return 'good'", "returned str: return one number per item"),
    ("return {}", "returned dict: return one number per item"),
    ("return [[1.0], [2.0, 3.0]]", "returned list: return one number per item"),
    ("return 1 / 0", "raised ZeroDivisionError: division by zero; mend the function"),
    ("return outputs.text[0]", "raised TypeError: 'NoneType' object is not subscriptable"),
]


@pytest.mark.parametrize(("line", "says"), ANSWERS)
def test_own_function_errors_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    goal = own(tmp_path, monkeypatch, f"def fn(batch, outputs):\n    {line}\n")
    with pytest.raises(UsageError, match=rf"objective='python:own_\w+:fn' {says}") as error:
        goal.values(asked([0, 1]), scored([[1.0, 2.0], [3.0, 4.0]]), None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acuracy", 'did you mean "accuracy"'),
        ("python:os", "write python:module:function"),
        ("python::f", "write python:module:function"),
        ("python:no_such_module_here:f", "cannot import 'no_such_module_here'.*on the path"),
        ("python:os.path:joi", "has no function 'joi'.*join"),
        ("python:os:sep", "has no function 'sep'"),
    ],
)
def test_objectives_that_are_none(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make(name, "classification")


def test_own_function_with_an_unknown_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="needs='gradients' must be 'candidates', 'logits' or 'text'"):
        own(tmp_path, monkeypatch, "def fn(batch, outputs): ...\nfn.needs = 'gradients'\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [("import nothing_like_this", "nothing_like_this"), ("x =", "syntax"), ("1 / 0", "by zero")],
)
def test_a_module_that_breaks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    with pytest.raises(UsageError, match=f"cannot import 'own_.*{says}"):
        own(tmp_path, monkeypatch, f"{line}\ndef fn(batch, outputs): ...\n")
