"""Ask and tell: the same points and bits as `minimize`, saved and resumed anywhere, with answers that failed or were not asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoptim
from zoptim import Journal, Search, minimize
from zoptim.manifolds import Sphere
from zoptim.sets import L2Ball

METHODS = ("mezo", "fzoo", "zo_conservative", "hizoo", "zo_adamm", "lozo")
CURVED = np.linspace(1.0, 5.0, 6).reshape(2, 3)
START = np.zeros((2, 3))


def bowl(x):
    return float((CURVED * (x - 1.0) ** 2).sum())


def drive(search, fun=bowl, questions=10**9):
    """Answer so many questions, or all; the points asked."""
    asked = []
    while not search.done and questions:
        x = search.ask()
        asked.append(x.copy())
        search.tell([fun(p) for p in x])
        questions -= 1
    return asked


@pytest.mark.parametrize("method", METHODS)
def test_ask_and_tell_is_minimize(method):
    seen = []

    def fun(x):
        seen.append(x.copy())
        return bowl(x)

    found = minimize(fun, START, method=method, budget=150)
    search = Search(START, method, budget=150)
    asked = np.concatenate(drive(search))
    np.testing.assert_array_equal(asked, seen)
    np.testing.assert_array_equal(search.result().x, found.x)
    assert search.result().nfev == found.nfev == len(asked)


def test_a_question_stays_until_it_is_answered():
    search = Search(START, "mezo", budget=100)
    np.testing.assert_array_equal(search.ask(), search.ask())
    assert search.spent == 0
    search.tell([1.0, 2.0])
    assert search.spent == 2


@pytest.mark.parametrize("questions", [0, 1, 3, 8, 9, 30, 10**9])
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_search_goes_on_with_the_same_bits(method, questions):
    whole = Search(START, method, budget=200, seed=3)
    drive(whole)
    first = Search(START, method, budget=200, seed=3)
    drive(first, questions=questions)
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    again = Search.from_state(state)
    assert again.spent == first.spent and again.steps == first.steps
    drive(again)
    left, right = whole.result(), again.result()
    np.testing.assert_array_equal(left.x, right.x)
    np.testing.assert_array_equal(left.trace.values, right.trace.values)
    np.testing.assert_array_equal(left.trace.queries, right.trace.queries)
    assert (left.fun, left.nit, left.message) == (right.fun, right.nit, right.message)
    assert left.journal.dump() == right.journal.dump()


@pytest.mark.parametrize("output", ["last", "average", "random"])
def test_a_saved_search_keeps_what_it_is_to_return(output):
    whole = Search(START, "mezo", budget=101, output=output)
    drive(whole)
    first = Search(START, "mezo", budget=101, output=output)
    drive(first, questions=20)
    again = Search.from_state(first.state())
    drive(again)
    np.testing.assert_array_equal(whole.result().x, again.result().x)
    assert whole.result().fun == again.result().fun == bowl(again.result().x)


def test_a_search_with_a_method_of_ones_own_is_given_it_again():
    method = zoptim.mezo(lr=0.02, eps=1e-3)
    search = Search(START, method, budget=50)
    drive(search, questions=5)
    with pytest.raises(ValueError, match="give method="):
        Search.from_state(search.state())
    with pytest.raises(ValueError, match="not fzoo"):
        Search.from_state(search.state(), zoptim.fzoo())
    again = Search.from_state(search.state(), method)
    np.testing.assert_array_equal(again.ask(), search.ask())


def test_points_never_asked_count_and_may_be_the_best():
    search = Search(START, "mezo", budget=100)
    before = search.ask()
    search.tell([0.0, 3.0], [np.ones((2, 3)), START])
    assert search.spent == 2
    np.testing.assert_array_equal(search.ask(), before)
    drive(search)
    found = search.result()
    assert found.fun == 0.0 and found.nfev <= 100
    np.testing.assert_array_equal(found.x, np.ones((2, 3)))
    resumed = Search.from_state(search.state()).result()
    assert resumed.fun == 0.0 and resumed.nfev == found.nfev
    with pytest.raises(ValueError, match="give \\(m, 2, 3\\)"):
        search.tell([0.0], [1.0, 2.0])


def test_without_a_budget_it_goes_on():
    search = Search(START, "mezo")
    drive(search, questions=400)
    assert not search.done and search.result().fun < 1e-3


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        ([1.0], ValueError, "for 2 points"),
        (1.0, ValueError, "for 2 points"),
        ([1.0, "two"], TypeError, "'two'"),
        ([1.0, 2j], TypeError, "complex"),
        ([1.0, [2.0, 3.0]], ValueError, "shape|inhomogeneous"),
        ([1.0, np.nan], ValueError, "evaluation 2"),
        ([None, 1.0], ValueError, "evaluation 1"),
        ([np.inf, 1.0], ValueError, "failures='skip' or 'penalize'"),
    ],
)
def test_wrong_answers_are_refused_and_may_be_given_again(told, error, says):
    search = Search(START, "mezo", budget=100)
    asked = search.ask()
    with pytest.raises(error, match=says):
        search.tell(told)
    assert search.spent == 0
    np.testing.assert_array_equal(search.ask(), asked)
    search.tell([1.0, 2.0])


def test_an_answer_to_no_question_is_refused():
    with pytest.raises(RuntimeError, match="call ask"):
        Search(START, "mezo").tell([1.0])


@pytest.mark.parametrize("method", METHODS)
def test_a_failed_evaluation_skips_its_step(method):
    search = Search(START, method, budget=300, failures="skip", settings={"lr": 1e-3, "eps": 1e-3})
    drive(search, questions=4)
    steps, where = search.steps, search.talk.space.x.copy()
    search.tell([np.nan] * len(search.ask()))
    assert search.steps == steps + 1
    np.testing.assert_array_equal(search.talk.space.x, where)
    record = search.talk.run.journal.records[-1]
    assert (record.kind, record.reason) == ("skip", "failed evaluation")
    again = Search.from_state(search.state())
    np.testing.assert_array_equal(drive(search)[-1], drive(again)[-1])
    assert np.isnan(search.result().trace.values).any() and np.isfinite(search.result().fun)


def test_a_penalty_is_the_worst_and_the_spread():
    search = Search(START, "mezo", budget=300, failures="penalize", settings={"lr": 1e-3, "eps": 1e-3})
    for values in ([1.0, 3.0], [None, 2.0], [np.inf, np.nan]):
        search.ask()
        search.tell(values)
    records = search.talk.run.journal.records
    assert records[1].losses == (5.0, 2.0) and records[2].losses == (5.0, 5.0)
    assert np.isnan(search.trace.values).tolist() == [False, False, True, False, True, True]
    assert search.result().fun == 1.0


def test_a_search_told_nothing_but_failures_says_so():
    for failures in ("skip", "penalize"):
        search = Search(START, "mezo", budget=40, failures=failures)
        drive(search, lambda x: None)
        assert not search.result().success and search.spent <= 40


def test_a_point_told_from_outside_the_bounds_is_refused():
    search = Search(np.zeros(2), "mezo", bounds=(-1, 1), budget=50)
    for wrong in ([[9.0, 0.0]], [[np.nan, 0.0]]):
        with pytest.raises(ValueError, match="tell: point 0 .* outside the bounds"):
            search.tell([-5.0], wrong)
    with pytest.raises(TypeError, match=r"tell: x=.*give \(m, 2\) numbers"):
        search.tell([-5.0], [["a", "b"]])
    assert search.spent == 0
    search.tell([], np.zeros((0, 2)))
    search.tell([-5.0], [[1.0, 0.0]])
    assert search.spent == 1 and search.result().fun == -5.0


@pytest.mark.parametrize("values", [[[1], [2, 3]], {1.0, 2.0}, {0: 1.0, 1: 2.0}, "ab", [1.0]])
def test_what_is_told_is_a_list_of_values(values):
    search = Search(np.zeros(2), "mezo", budget=50)
    assert len(search.ask()) == 2
    with pytest.raises((TypeError, ValueError), match="tell: "):
        search.tell(values)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, int])
def test_a_target_of_any_real_kind_is_one_and_reaching_it_is_success(kind):
    search = Search(np.zeros(2), "mezo", budget=50, target=kind(100))
    while not search.done:
        search.tell([float(((x - 1) ** 2).sum()) for x in search.ask()])
    result = search.result()
    assert result.success and result.status == 0 and result.fun <= 100 and json.dumps(search.state())


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch=5: it is of a finite sum; give n"):
        Search(np.zeros(2), "mezo", budget=50, batch=5)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_random_output_is_a_place_a_step_began_at_by_chances_in_proportion_to_its_lr(schedule):
    """Of 6 steps of mezo, over 600 seeds: at a constant lr each of the 6 places about 100 times; the last never."""
    counts, settings = np.zeros(7), {"lr": 0.01, "eps": 1e-3, "schedule": schedule}
    for seed in range(600):
        search = Search(START, "mezo", budget=13, seed=seed, output="random", settings=settings)
        places = [np.ravel(START)]
        while not search.done:
            before = search.steps
            search.tell([bowl(x) for x in search.ask()])
            if search.steps > before:
                places.append(search.talk.space.x.copy())
        result = search.result()
        counts[[np.array_equal(result.x.ravel(), p) for p in places].index(True)] += 1
    lrs = np.array([record.lr for record in result.journal.records])
    chances = lrs / lrs.sum()
    assert len(places) == 7 and counts[6] == 0 and (np.ptp(lrs) == 0) == (schedule == "constant")
    assert (np.abs(counts[:6] - 600 * chances) < 5 * np.sqrt(600 * chances * (1 - chances))).all(), counts


@pytest.mark.parametrize(("state", "error"), [(None, TypeError), ("{}", TypeError), ({}, ValueError)])
def test_what_is_no_state_is_refused(state, error):
    with pytest.raises(error, match="state"):
        Search.from_state(state)


def test_a_state_that_has_lost_a_part_is_refused():
    search = Search([3.0, 1.0], "mezo", budget=200)
    for _ in range(20):
        search.tell([float(x @ x) for x in search.ask()])
    state = json.loads(json.dumps(search.state()))
    for name in state.keys() - {"format"}:
        with pytest.raises(ValueError, match=name):
            Search.from_state({part: of for part, of in state.items() if part != name})
    for name, damaged in {"start": {"x": 5}, "trace": [1, 2], "told": "x", "best": [0.0, "x"]}.items():
        with pytest.raises(ValueError, match="state"):
            Search.from_state({**state, name: damaged})


def test_numbers_of_numpy_are_numbers():
    search = Search(
        np.zeros(3), "mezo", budget=50, seed=np.int64(3), settings={"n": np.int64(2), "lr": np.float32(0.125)}
    )
    again = Search.from_state(json.loads(json.dumps(search.state())))
    alike = Search(np.zeros(3), "mezo", budget=50, seed=3, settings={"n": 2, "lr": 0.125})
    np.testing.assert_array_equal(search.ask(), alike.ask())
    np.testing.assert_array_equal(again.ask(), alike.ask())


def test_points_never_asked_lie_where_points_may():
    sphere = Search(np.full(4, 0.5), manifold=Sphere(), budget=200)
    with pytest.raises(ValueError, match="point 1 is not on the manifold"):
        sphere.tell([1.0, -1e9], [np.full(4, 0.5), np.full(4, 7.0)])
    with pytest.raises(TypeError, match="complex"):
        Search(np.zeros(3), "mezo", budget=50).tell([1.0], np.ones((1, 3)) + 1j)


def test_an_error_leaves_the_journal_free(tmp_path):
    def callback(result):
        if result.nit == 5:
            raise RuntimeError("enough")

    path = tmp_path / "steps.zoj"
    with pytest.raises(RuntimeError, match="enough"):
        minimize(
            lambda x: float(x @ x), np.ones(3), method="mezo", journal=path, callback=callback, budget=500
        )
    with Journal.open(path) as journal:
        assert len(journal.records) == 5


@pytest.mark.parametrize("method", ["mezo", "zo_sgd", "jaguar", "zo_storm"])
@pytest.mark.parametrize("before", [1, 3])
def test_points_never_asked_use_up_the_budget(method, before):
    """Also while a step size is looked for: what was asked already is all that is still told."""
    constraints = L2Ball(9.0) if method == "jaguar" else None
    search = Search(np.zeros(2), method, budget=90, constraints=constraints)
    for _ in range(before):
        search.tell([float(((x - 1) ** 2).sum()) for x in search.ask()])
    asked = len(search.ask())
    search.tell(np.ones(90), np.zeros((90, 2)))
    spent = search.spent
    while not search.done:
        search.tell([float(((x - 1) ** 2).sum()) for x in search.ask()])
    assert search.spent <= spent + asked and search.result().status == 1
