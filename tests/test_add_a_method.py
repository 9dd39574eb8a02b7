"""docs/add-a-method.md is true: done to a copy, word for word, it gives a method that keeps the laws."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^\*\*`([^`]+)`\*\*, (new file|at the end|(?:before|after) `[^`]+`):\n\n```\w+\n(.*?)^```$", re.M | re.S
)


def _apply(root: Path) -> int:
    """Put every block of the page where its bold line says; how many there were."""
    page = (ROOT / "docs/add-a-method.md").read_text()
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("\n```") // 2, "a block has no bold line that says where it goes"
    for name, where, text in blocks:
        path = root / name
        old = "" if where == "new file" else path.read_text()
        assert path.exists() == (where != "new file"), f"{name}: {where}"
        if where.startswith(("before", "after")):
            side, anchor = where.split(" ", 1)
            anchor = anchor.strip("`")
            assert len(re.findall(f"^{re.escape(anchor)}", old, re.M)) == 1, (
                f"{name}: {anchor!r} is not one place"
            )
            gap = "\n\n" if text.startswith("def ") else ""
            new = f"{text}{gap}{anchor}" if side == "before" else f"{anchor}\n{text}"
            path.write_text(re.sub(f"^{re.escape(anchor)}", lambda _, new=new: new, old, count=1, flags=re.M))
        else:
            path.write_text(old + text)
    return len(blocks)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for folder in ("src/zoptim", "tests", "docs/methods"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    assert _apply(root) >= 9
    return root


def _run(root: Path, *args: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, *args], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_new_method_keeps_the_laws(copy: Path) -> None:
    out = _run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", "--import-mode=importlib", "tests/test_shelf.py",
               "-k", "sign_mezo or has_a_row")  # fmt: skip
    assert re.search(r"\b4 passed", out), out


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_the_new_files_are_tidied_as_the_page_says(copy: Path) -> None:
    page = (ROOT / "docs/add-a-method.md").read_text()
    line = next(row for row in page.splitlines() if row.startswith("    ruff "))
    for words in [c.split() for c in line.split("&&")][:2]:
        _run(copy, "-m", *words)
    _run(copy, "-m", "ruff", "format", "--check", "src", "tests")


def test_the_new_method_is_told(copy: Path) -> None:
    out = _run(copy, "-m", "zoptim.doors.cli", "methods", "sign_mezo")
    assert "sign(L(theta + eps z)" in out
