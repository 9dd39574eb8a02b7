"""Report, table of runs and live line: they must tell the truth about any run folder, also half a one."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lm import made_up

from zoptim.lm.errors import UsageError
from zoptim.lm.progress import Progress
from zoptim.lm.report import write
from zoptim.lm.runs import RunView, compare, table


class Balanced(HTMLParser):
    """Collects open tags; complains about a wrong end."""

    VOID = ("meta", "br", "hr", "link", "circle", "line", "path", "rect", "polyline", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open and self.open.pop() == tag, tag


def page(run: Path) -> str:
    text = write(run).read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert not parser.open
    return text


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"finished": False},
        {"evals": False, "finished": False},
        {"accuracy": False},
        {"steps": 0, "finished": False},
    ],
    ids=str,
)
def test_any_run_has_a_page_of_its_own(tmp_path: Path, settings: dict[str, bool]) -> None:
    run = made_up.make_run(tmp_path / "run", **settings)  # type: ignore[arg-type]
    text = page(run)
    assert "<svg" in text or settings.get("steps") == 0
    assert not re.search(r'(src|href)="https?://', text)  # one file, nothing fetched
    assert "<b>nothing</b>" not in text  # texts are escaped


def test_the_page_says_what_the_result_says(tmp_path: Path) -> None:
    run = made_up.make_run(tmp_path / "run")
    result = RunView.read(run).result
    text = page(run)
    assert f"{result['accuracy_after']:.3f}" in text and f"{result['accuracy_before']:.3f}" in text


def test_runs_are_compared(tmp_path: Path) -> None:
    made_up.make_run(tmp_path / "one", seed=1)
    made_up.make_run(tmp_path / "two", seed=2, finished=False)
    rows = {row.name: row for row in compare(tmp_path)}
    assert set(rows) == {"one", "two"} and rows["one"].seed == 1
    assert rows["one"].state == "finished" and rows["two"].state == "interrupted"
    lines = table(list(rows.values())).splitlines()
    assert len(lines) == 3 and len({len(re.split(r"\s{2,}", line.strip())) for line in lines}) == 1
    with pytest.raises(UsageError, match="nowhere"):
        compare(tmp_path / "nowhere")


def test_the_live_line(tmp_path: Path) -> None:
    stream, now = io.StringIO(), [0.0]
    progress = Progress(steps=10, stream=stream, every=1.0, clock=lambda: now[0])
    for t in range(1, 6):
        now[0] += 1.0
        progress.update(t=t, forwards=9 * t, loss=1.0 / t, dev_accuracy=0.5 + 0.05 * t)
    progress.note("said once")
    progress.close()
    text = stream.getvalue()
    assert "step 5/10" in text and "45 forwards" in text and "dev 0.75" in text and "said once" in text
    assert "9/s" in text and "5.0 s left" in text
    quiet = io.StringIO()
    silent = Progress(steps=10, stream=quiet, quiet=True)
    silent.update(t=1, forwards=9)
    silent.note("unheard")
    silent.close()
    assert quiet.getvalue() == ""
