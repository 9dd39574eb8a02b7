"""Results: SciPy's fields by name and attribute, a trace, a picture that holds it, words for people."""

from __future__ import annotations

import copy
import pickle
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from zoptim import minimax, minimize
from zoptim.doors.curve import drawn
from zoptim.doors.results import Result, Trace


@pytest.fixture(scope="module")
def found():
    return minimize(lambda x: float(x @ x), np.ones(20), method="mezo", budget=300)


def test_fields_are_keys_and_attributes(found):
    assert (
        {"x", "fun", "nfev", "nit", "success", "status", "message", "trace"} <= set(found) <= set(dir(found))
    )
    assert found["fun"] is found.fun
    with pytest.raises(AttributeError, match="'jac'"):
        found.jac  # noqa: B018
    assert copy.copy(found).nfev == found.nfev
    assert pickle.loads(pickle.dumps(Result(x=1.0, trace=Trace([1], [2.0])))).trace.values[0] == 2.0


def test_it_reads_well(found):
    lines = repr(found).splitlines()
    assert any(line.startswith("      nfev: 300") for line in lines) and "message: the budget" in repr(found)
    assert max(map(len, lines)) < 110 and "..." in repr(found)


def test_the_trace_keeps_failures_and_the_best_forgets_them():
    trace = Trace()
    for q, v in [(1, 3.0), (2, float("nan")), (3, 1.0), (4, 2.0)]:
        trace.add(q, v)
    np.testing.assert_array_equal(trace.best, [3.0, 3.0, 1.0, 1.0])
    np.testing.assert_array_equal(trace.queries, [1, 2, 3, 4])


def test_the_picture_is_xml_with_every_value_in_it(found, tmp_path):
    path = found.plot(tmp_path / "trace.svg")
    svg = "{http://www.w3.org/2000/svg}"
    paths = {p.get("class"): p.get("d") for p in ElementTree.parse(path).getroot().iter(f"{svg}path")}
    assert paths["told"].count("M") == 300 and paths["best"].count("L") == 299
    heights = [float(p.split()[1]) for p in paths["best"][1:].split("L")]
    assert heights == sorted(heights)  # down the page, as the best falls
    with pytest.raises(ValueError, match="end the name in .svg"):
        found.plot(tmp_path / "trace.png")


def written(svg):
    return [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_says_what_it_shows():
    words = written(drawn([1, 2, 3], [3.0, 2.0, 2.5], "a bowl"))
    assert {"a bowl", "value", "evaluations", "asked", "best so far"} <= set(words)


def test_a_few_high_values_do_not_flatten_the_picture():
    values = [*np.linspace(30.0, -5.0, 99), 3000.0]
    svg = drawn(range(1, 101), values, "a bowl")
    told = next(e for e in ElementTree.fromstring(svg).iter() if e.get("class") == "told" and e.get("d"))
    heights = [float(part.split()[1].removesuffix("h0")) for part in told.get("d").split("M")[1:]]
    assert len(heights) == 100 and heights[-1] == heights[0]  # at the edge, none left out
    assert max(heights) - heights[0] > 200 and "asked, the highest at the edge" in written(svg)


@pytest.mark.parametrize("values", [[], [np.nan], [1.0], [2.0, 2.0], [-1.0, np.nan, -5.0], [1e300, 1e-300]])
def test_any_trace_can_be_drawn(values):
    ElementTree.fromstring(drawn(range(1, len(values) + 1), values, "a < b"))


def test_plot_has_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = minimize(lambda x: float(x @ x), [1.0, 2.0], budget=60)
    assert found.plot().resolve() == tmp_path / "trace.svg" and (tmp_path / "trace.svg").exists()


def test_where_values_do_not_compare_no_best_is_drawn(tmp_path):
    game = minimax(lambda x, y: float(x[0] * y[0]), [1.0], [1.0], budget=100)
    total = minimize(lambda x, i: float(((x - i[0]) ** 2).sum()), np.zeros(2), n=5, budget=200)
    alone = minimize(lambda x: float(x @ x), np.ones(2), budget=50)
    drawn = [result.plot(tmp_path / "trace.svg").read_text() for result in (game, total, alone)]
    assert ["best so far" in svg for svg in drawn] == [False, False, True]
    assert all("asked" in svg for svg in drawn)
