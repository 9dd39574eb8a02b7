"""`minimax` and `bilevel`: `minimize`'s loop for two players; what is counted, kept inside, resumed and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoptim
from zoptim import Search, bilevel, minimax
from zoptim.methods.bilevel import zo_bilevel
from zoptim.methods.minimax import zo_gda
from zoptim.sets import L2Ball, Simplex

B = np.array([[1.0, -0.5], [0.3, 0.8], [-0.2, 0.4]])
X0, Y0 = np.zeros((3, 1)), np.zeros(2)
GAMES = ("zo_gda", "zo_gdmsa", "zo_extragradient")
SETTINGS = {"lr": 0.05, "ratio": 2.0, "nx": 3, "ny": 2}


def game(x, y):
    """The saddle is at (1, 0.5) of each."""
    a, b = x.ravel() - 1.0, y - 0.5
    return float(0.5 * a @ a + a @ B @ b - 0.5 * b @ b)


def upper(x, y):
    return float(((y - 1.0) ** 2).sum())


def lower(x, y):
    return float(((y - 2.0 * x) ** 2).sum())


@pytest.mark.parametrize("method", GAMES)
def test_the_saddle_is_found_and_every_evaluation_counted(method):
    calls = []

    def fun(x, y):
        assert x.shape == (3, 1) and y.shape == (2,)
        calls.append(game(x, y))
        return calls[-1]

    found = minimax(fun, X0, Y0, method=method, budget=8000, settings=SETTINGS)
    assert found.nfev == len(calls) <= 8000 and found.method == method and found.status == 1
    np.testing.assert_allclose(found.x, np.ones((3, 1)), atol=1e-3)
    np.testing.assert_allclose(found.y, [0.5, 0.5], atol=1e-3)
    assert found.fun == game(found.x, found.y) == calls[-1]
    np.testing.assert_array_equal(found.trace.values, calls)


def test_auto_settles_on_a_bilinear_game_and_says_why():
    found = minimax(lambda x, y: float(x[0] * y[0]), [1.0], [1.0], budget=4000, settings={"lr": 0.2})
    assert abs(found.x[0]) + abs(found.y[0]) < 1e-3 and "auto chose zo_extragradient" in found.message


@pytest.mark.parametrize("method", GAMES)
def test_each_player_stays_in_its_region(method):
    asked = []

    def fun(x, y):
        asked.append((x.copy(), y.copy()))
        return game(x, y)

    found = minimax(
        fun, X0, Y0, method=method, bounds=(-0.3, 0.7), y_constraints=L2Ball(0.25), budget=6000, settings=SETTINGS
    )  # fmt: skip
    x, y = (np.array(part) for part in zip(*asked, strict=True))
    assert x.min() >= -0.3 and x.max() <= 0.7 and np.linalg.norm(y, axis=1).max() <= 0.25 + 1e-12
    assert found.journal.header["method"]["arguments"]["schedule"] == "cosine"
    a = np.clip(1.0 - B @ (found.y - 0.5), -0.3, 0.7)  # the best answer to y
    np.testing.assert_allclose(found.x.ravel(), a, atol=0.03)
    z = 0.5 + B.T @ (found.x.ravel() - 1.0)  # and to x
    np.testing.assert_allclose(found.y, z * min(1.0, 0.25 / np.linalg.norm(z)), atol=0.03)


def test_a_finite_sum_is_asked_on_components():
    c = np.linspace(-1.0, 1.0, 10)
    seen = []

    def fun(x, y, i):
        seen.append(len(i))
        return game(x, y) + c[i] * x[0, 0]

    found = minimax(fun, X0, Y0, method="zo_gda", n=10, batch=5, budget=20_000, settings=SETTINGS)
    assert found.nfev == sum(seen) <= 20_000 and set(seen) == {5, 10}
    np.testing.assert_allclose(found.x, np.ones((3, 1)), atol=0.05)


def test_vrgda_is_told_both_sizes_and_beats_plain_batches():
    c = np.linspace(-1.0, 1.0, 10)

    def fun(x, y, i):
        return game(x, y) + c[i] * (x[0, 0] + x[1, 0] * y[0])

    where = {"n": 10, "batch": 1, "budget": 30_000}
    found = minimax(fun, X0, Y0, method="zo_vrgda", settings={**SETTINGS, "schedule": "constant"}, **where)
    plain = minimax(fun, X0, Y0, method="zo_gda", settings={**SETTINGS, "schedule": "constant"}, **where)
    told = found.journal.header["method"]["arguments"]
    assert (told["dx"], told["dy"]) == (3, 2) and found.nfev <= 30_000

    def far(r):
        return np.abs(r.x - 1.0).max() + np.abs(r.y - 0.5).max()

    assert far(found) < 1e-2 and far(found) < 0.1 * far(plain)


def test_the_answer_of_a_problem_in_a_problem():
    calls = {"F": 0, "G": 0}

    def f(x, y):
        calls["F"] += 1
        return upper(x, y)

    def g(x, y):
        calls["G"] += 1
        return lower(x, y)

    found = bilevel(f, g, [0.0], [0.0], budget=20_000, settings={"pace": 0.03})
    assert found.x[0] == pytest.approx(0.5, abs=0.05) and found.y[0] == pytest.approx(
        2 * found.x[0], abs=0.05
    )
    assert found.nfev == calls["F"] + calls["G"] <= 20_000
    assert len(found.trace) == calls["F"] and found.fun == upper(found.x, found.y)
    assert found.trace.queries[-1] == found.nfev


def test_levels_stay_in_their_boxes():
    x, y = [], []

    def f(a, b):
        x.append(a[0])
        y.append(b[0])
        return upper(a, b)

    found = bilevel(
        f, lower, [0.0], [0.0], bounds=(-0.2, 0.3), y_bounds=(-1, 1), budget=20_000, settings={"pace": 0.03}
    )
    assert min(x) >= -0.2 and max(x) <= 0.3 and min(y) >= -1 and max(y) <= 1
    assert found.x[0] == pytest.approx(0.3, abs=0.02) and found.y[0] == pytest.approx(0.6, abs=0.05)


def drive(search, questions=10**9):
    """Answer so many questions of the game, or of both levels, or all."""
    while not search.done and questions:
        points, on = search.ask(), search.components
        which = [game] * len(points) if on is None else [(level_f, level_g)[int(i[0])] for i in on]
        x, y = search.split(points)
        search.tell([fun(*p) for fun, *p in zip(which, x, y, strict=True)])
        questions -= 1
    return search


def level_f(x, y):
    return float(((y - 1.0) ** 2).sum() + 0.1 * (x**2).sum())


def level_g(x, y):
    return float(((y - B.T @ x.ravel()) ** 2).sum())


@pytest.mark.parametrize("method", [*GAMES, "zo_bilevel"])
@pytest.mark.parametrize("questions", [0, 1, 7, 30])
def test_a_saved_search_goes_on_with_the_same_bits(method, questions):
    where = {"y0": Y0, "y_bounds": (-0.4, 2.0), "constraints": L2Ball(3.0), "budget": 500, "seed": 2}
    whole = drive(Search(X0, method, **where))
    first = drive(Search(X0, method, **where), questions)
    again = Search.from_state(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert again.spent == first.spent and again.steps == first.steps
    left, right = whole.result(), drive(again).result()
    assert (left.x.tobytes(), left.y.tobytes()) == (right.x.tobytes(), right.y.tobytes())
    np.testing.assert_array_equal(left.trace.queries, right.trace.queries)
    np.testing.assert_array_equal(left.trace.values, right.trace.values)
    assert (left.fun, left.message) == (right.fun, right.message)
    assert left.journal.dump() == right.journal.dump()


def test_ask_and_tell_are_the_two_doors():
    found = minimax(game, X0, Y0, method="zo_gda", budget=300, settings=SETTINGS)
    same = drive(Search(X0, "zo_gda", y0=Y0, budget=300, settings=SETTINGS)).result()
    assert same.journal.dump() == found.journal.dump() and same.fun == found.fun
    found = bilevel(level_f, level_g, X0, Y0, method="zo_bilevel", budget=700)
    same = drive(Search(X0, "zo_bilevel", y0=Y0, budget=700)).result()
    assert same.journal.dump() == found.journal.dump() and same.x.tobytes() == found.x.tobytes()


def test_a_callback_sees_both_players_and_ends_the_search():
    seen = []

    def callback(result):
        seen.append((result.x.copy(), result.y.copy()))
        return len(seen) == 5

    found = minimax(game, X0, Y0, method="zo_gda", budget=1000, settings=SETTINGS, callback=callback)
    assert found.status == 2 and found.nit == 5 and found.message.startswith("ended by the callback")
    np.testing.assert_array_equal(seen[-1][1], found.y)


def test_vectorized_functions_and_other_arguments():
    def many(x, y, scale):
        return scale * np.array([game(a, b) for a, b in zip(x, y, strict=True)])

    plain = minimax(lambda x, y, s: s * game(x, y), X0, Y0, (2.0,), budget=200, settings={"lr": 0.01})
    found = minimax(many, X0, Y0, (2.0,), budget=200, settings={"lr": 0.01}, vectorized=True)
    np.testing.assert_array_equal(found.x, plain.x)
    f, g = (lambda x, y: ((y - 1) ** 2).sum(1)), (lambda x, y: ((y - x) ** 2).sum(1))
    found = bilevel(f, g, [0.0, 1.0], [0.0, 0.0], budget=500, vectorized=True)
    one = bilevel(lambda *p: f(*(a[None] for a in p))[0], lambda *p: g(*(a[None] for a in p))[0], [0.0, 1.0], [0.0, 0.0], budget=500)  # fmt: skip
    np.testing.assert_array_equal(found.x, one.x)


def test_workers_get_the_functions_too():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        found = minimax(game, X0, Y0, method="zo_gda", budget=100, workers=pool)
    assert found.journal.dump() == minimax(game, X0, Y0, method="zo_gda", budget=100).journal.dump()


def test_a_failed_evaluation_skips_its_step():
    calls = iter(range(10**6))

    def fun(x, y):
        if next(calls) % 50 == 7:
            raise RuntimeError("lost")
        return game(x, y)

    found = minimax(fun, X0, Y0, method="zo_gda", budget=4000, failures="skip", settings=SETTINGS)
    assert {r.reason for r in found.journal.records if r.kind == "skip"} == {"failed evaluation"}
    np.testing.assert_allclose(found.x, np.ones((3, 1)), atol=0.05)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"method": "mezo"}, ValueError, "method='mezo': it knows one player; name one of zo_extragradient"),
        ({"method": zoptim.mezo()}, ValueError, "it knows one player"),
        ({"method": "zo_bilevel"}, ValueError, "minimax is for zo_extragradient, zo_gda"),
        ({"method": zo_bilevel()}, ValueError, "minimax is for"),
        ({"output": "best"}, ValueError, "output='best': here there is only last or average or random"),
        ({"failures": "penalize"}, ValueError, "no value is better than another"),
        ({"y0": []}, ValueError, "y0 is empty"),
        ({"y0": ["a"]}, TypeError, "y0 has dtype"),
        ({"y0": [np.nan]}, ValueError, "y0\\[0\\]=nan is not finite"),
        ({"y_bounds": (1, 2)}, ValueError, "y0\\[0\\]=0 lies outside its bounds"),
        ({"bounds": [(0, 1)] * 2}, ValueError, "2 pairs for the 3 numbers of x0"),
        ({"y_constraints": Simplex()}, ValueError, "y0 lies outside Simplex"),
        ({"budget": 9}, ValueError, "too small for one step: zo_extragradient needs"),
        ({"x0": "a"}, TypeError, "x0 has dtype"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, error, says):
    given = {"x0": X0, "y0": Y0, "budget": 100, **wrong}
    with pytest.raises(error, match=says):
        minimax(game, given.pop("x0"), given.pop("y0"), **given)


def test_other_doors_say_which_is_theirs():
    with pytest.raises(ValueError, match="zoptim.minimax\\(f, x0, y0\\)"):
        zoptim.minimize(lambda x: 0.0, Y0, method=zo_gda())
    with pytest.raises(ValueError, match="zoptim.bilevel"):
        zoptim.minimize(lambda x: 0.0, Y0, method="zo_bilevel")
    with pytest.raises(ValueError, match="method='zo_gda': bilevel is for zo_bilevel"):
        bilevel(upper, lower, [0.0], [0.0], method="zo_gda")
    with pytest.raises(ValueError, match="two functions, not a sum"):
        Search(X0, "zo_bilevel", y0=Y0, n=3)
    with pytest.raises(ValueError, match="there is no second player; give y0"):
        Search(X0, y_bounds=(0, 1))
    with pytest.raises(ValueError, match="neither manifold nor penalty"):
        Search(X0, y0=Y0, manifold=zoptim.manifolds.Sphere())
    with pytest.raises(ValueError, match="no value is better than another"):
        Search(X0, y0=Y0, target=0.0)
    with pytest.raises(TypeError, match="give a function of x and y"):
        bilevel(upper, None, [0.0], [0.0])


def test_a_told_point_outside_of_a_players_region_is_refused() -> None:
    search = Search(np.zeros(1), "zo_gda", y0=np.zeros(1), y_bounds=(-1, 1), budget=100)
    search.ask()
    with pytest.raises(ValueError, match="point 0 is not finite, or outside"):
        search.tell([0.0], [[0.0, 2.0]])


def test_one_further_argument_needs_no_tuple() -> None:
    given = {"budget": 40, "settings": {"lr": 0.1}}
    one = minimax(lambda x, y, k: float(k[0] * (x[0] ** 2 - y[0] ** 2)), [1.0], [1.0], [2.0], **given)
    two = minimax(lambda x, y: float(2.0 * (x[0] ** 2 - y[0] ** 2)), [1.0], [1.0], **given)
    assert one.x == two.x and one.y == two.y


@pytest.mark.parametrize(
    "door", [lambda: minimax(lambda x, y: 0.0, [1.0], None), lambda: bilevel(sum, sum, [1.0], None)]
)
def test_a_second_player_needs_a_start(door):
    with pytest.raises(TypeError, match="y0=None: give the start"):
        door()


def test_draws_of_a_problem_in_a_problem_are_no_more_than_the_numbers_below():
    found = bilevel(
        lambda x, y: float(((y - 1.0) ** 2).sum()), lambda x, y: float(((y - x) ** 2).sum()), [0.0], [0.0], budget=5000
    )  # fmt: skip
    assert found.x[0] > 0.5  # 0.07 with eight draws along one number
