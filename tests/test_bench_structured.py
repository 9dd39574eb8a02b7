"""The exact answers that methods of structure are held against, and what the page says of them."""

from __future__ import annotations

import numpy as np
import pytest
from bench import structured
from bench.structured import GAMES
from bench.structured_problems import PROBLEMS, covariance, polar


def numeric(p, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    return np.array([(p.error(x + h * e) - p.error(x - h * e)) / (2 * h) for e in np.eye(len(x))])


@pytest.mark.parametrize("name", PROBLEMS)
def test_slopes_are_those_of_the_error(name: str) -> None:
    """Of games the error is a distance: there the slope is asked of the game itself, y's part as it is raised."""
    p = PROBLEMS[name]()
    x = p.start() + 0.1 * np.random.default_rng(0).normal(size=p.d)
    if p.kwargs:  # on the manifold
        x = polar(x.reshape(p.at.shape)).ravel()
        found = p.kwargs["manifold"].project(x, numeric(p, x))
    elif name in GAMES:
        h = 1e-5
        found = np.array([
            (p.values((x + h * e)[None], np.arange(p.n)).mean() - p.values((x - h * e)[None], np.arange(p.n)).mean()) / (2 * h)
            for e in np.eye(p.d)
        ])  # fmt: skip
    else:
        found = numeric(p, x)[: p.players or None]
    np.testing.assert_allclose(p.slope(x), found, atol=1e-7)


@pytest.mark.parametrize("name", GAMES)
def test_a_games_answer_has_no_slope_and_is_a_saddle(name: str) -> None:
    p = PROBLEMS[name]()
    step = np.linalg.lstsq(
        np.array([p.slope(e) - p.slope(0 * e) for e in np.eye(p.d)]).T, -p.slope(np.zeros(p.d))
    )[0]
    assert p.error(step) < 1e-18 and p.gap(step) < 1e-12
    x, y = (
        np.pad(np.ones(k), pad)
        for k, pad in ((p.players, (0, p.d - p.players)), (p.d - p.players, (p.players, 0)))
    )
    whole = lambda z: p.values(z[None], np.arange(p.n)).mean()  # noqa: E731
    assert whole(step + x) >= whole(step) - 1e-12 >= whole(step + y) - 2e-12


def test_minima_are_reached_and_nothing_is_below_them() -> None:
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(covariance()))
    factors = PROBLEMS["factors"]()
    assert abs(factors.error((vectors[:, :2] * np.sqrt(values[:2])).ravel())) < 1e-12
    pca, procrustes = PROBLEMS["pca"](), PROBLEMS["procrustes"]()
    best = vectors[:, :3].ravel()
    assert abs(pca.error(best)) < 1e-12 and pca.gap(best) < 1e-12
    assert procrustes.error(procrustes.start()) > 0.0
    saddle = PROBLEMS["saddle"]()
    assert saddle.error(np.eye(30)[-1]) == 0.0 and saddle.gap(saddle.start()) == 0.0
    for name in ("levels", "ridge"):
        p = PROBLEMS[name]()
        rng = np.random.default_rng(1)
        assert all(p.error(p.start() + rng.normal(size=p.d)) > -1e-9 for _ in range(200))


def test_a_quick_contest_is_told() -> None:
    found = {
        "quick": True, "seeds": [0], "grid": [1.0], "axis": "log", "base": [], "asked": "evaluations", "measure": "error",
        "problems": {},
    }  # fmt: skip
    for name in ("saddle", "bilinear", "levels"):
        p = PROBLEMS[name]()
        structured.CONTEST._problem(found, p, 0.02, False)
    page = structured.section(found)
    assert "**saddle**, d = 30, 400 evaluations" in page and "zo_bilevel" in page and "|y" not in page
    for label, entrant in structured.ENTRANTS.items():
        for name in found["problems"]:
            assert (label in found["problems"][name]["cells"]) == (name in entrant.on)
