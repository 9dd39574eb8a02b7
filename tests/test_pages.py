"""The snippets of the pages on black boxes run as they stand, one after another, and what they say of results is so."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "minimize.md", DOCS / "sets.md", *sorted((DOCS / "methods").glob("*.md"))]


def code(page: Path) -> str:
    return "".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a page, a statement at a time; returns everything that was called `result`."""
    monkeypatch.chdir(tmp_path)

    def of(page: Path) -> list[Any]:
        names: dict[str, Any] = {}
        results: list[Any] = [None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that some are about
            for statement in ast.parse(code(page)).body:
                exec(compile(ast.Module([statement], []), page.name, "exec"), names)
                if names.get("result") is not results[-1]:
                    results.append(names["result"])
        return results[1:]

    return of


@pytest.mark.parametrize(
    "page", [p for p in PAGES if code(p) and p.name != "minimize.md"], ids=lambda p: p.name
)
def test_the_snippets_of_a_page_run(page: Path, run: Any) -> None:
    run(page)


def test_what_the_first_page_says_of_results_is_so(run: Any) -> None:
    first, simplex, queried, sphere, game, levels = run(DOCS / "minimize.md")
    (shown,) = re.findall(r"^ *fun: (\S+)$", (DOCS / "minimize.md").read_text(), re.MULTILINE)
    assert first.fun == pytest.approx(float(shown), rel=0.01)
    np.testing.assert_allclose(simplex.x, [0.75, 0.25, 0.0, 0.0], atol=1e-6)
    assert simplex.nfev == 27 and queried.constr_violation <= 1e-6
    assert sphere.fun == pytest.approx(-7.0, abs=1e-6)
    np.testing.assert_allclose([*game.x, *game.y, game.fun], [0.8, 0.8, 0.4, 0.4, 0.4], atol=1e-4)
    assert levels.x[0] == pytest.approx(0.5, abs=0.01)
