"""What is tried first, and goes wrong: names, arguments in SciPy's order, constraints that do not say what they are."""

import subprocess
import sys

import numpy as np
import pytest

import zoptim


def bowl(x):
    return float(((x - 1) ** 2).sum())


def test_sets_and_manifolds_are_there_without_an_import_of_their_own():
    code = (
        "import zoptim; print(zoptim.sets.Simplex(), zoptim.manifolds.Sphere(), zoptim.rules, zoptim.methods)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 0 and "Simplex" in said.stdout, said.stderr


def test_the_package_lists_what_it_offers_and_no_more():
    assert {"minimize", "sets", "manifolds"} <= set(dir(zoptim))
    assert not {"Any", "annotations", "import_module", "sys"} & set(dir(zoptim))
    assert all(hasattr(zoptim, name) for name in ("sets", "minimize", "__version__"))


def test_a_misspelt_name_is_answered_with_the_one_meant():
    said = subprocess.run(
        [sys.executable, "-c", "import zoptim; zoptim.minimise"], capture_output=True, text=True
    )
    assert "Did you mean: 'minimize'" in said.stderr


def test_a_method_where_further_arguments_go_is_named_so_in_games_too():
    for call in (
        lambda: zoptim.minimize(bowl, np.zeros(2), "mezo"),
        lambda: zoptim.minimax(lambda x, y: 0.0, [0], [0], "zo_gda"),
        lambda: zoptim.bilevel(lambda x, y: 0.0, lambda x, y: 0.0, [0], [0], "zo_bilevel"),
    ):
        with pytest.raises(TypeError, match="name a method as method="):
            call()


def test_a_function_alone_is_no_constraint_and_the_dict_to_give_is_named():
    for given in (bowl, [bowl]):
        with pytest.raises(ValueError, match="'type': 'ineq', 'fun': g} for g"):
            zoptim.minimize(bowl, np.zeros(2), constraints=given)


@pytest.mark.parametrize(
    "given, wrong", [({"type": "ineqq", "fun": bowl}, "type='ineqq'"), ({"type": "eq"}, "fun=None")]
)
def test_a_constraint_that_is_incomplete_says_which_part(given, wrong):
    with pytest.raises(ValueError, match=wrong):
        zoptim.minimize(bowl, np.zeros(2), constraints=given)


def test_methods_with_gradients_say_where_they_run():
    with pytest.raises(ValueError, match="a black box has not; it is for zoptim.Optimizer"):
        zoptim.minimize(bowl, np.zeros(2), method="sam")


def test_a_budget_may_be_written_as_1e2():
    assert zoptim.minimize(bowl, np.zeros(2), method="mezo", budget=1e2).nfev == 100
    for budget in (99.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="must be a whole number from 1"):
            zoptim.minimize(bowl, np.zeros(2), budget=budget)


def test_the_shelf_of_black_boxes_says_how_they_run_and_what_may_be_set(capsys):
    from zoptim.doors.cli import main

    with pytest.raises(SystemExit, match="0"):
        main(["methods"])
    models, boxes = capsys.readouterr().out.split("for black boxes alone")
    assert (
        "zoptim finetune --method" in models
        and "zoptim.minimize" in boxes
        and "finetune --method" not in boxes
    )
    with pytest.raises(SystemExit, match="0"):
        main(["methods", "nelder_mead"])
    assert "Defaults: size=0.1, " in capsys.readouterr().out
