"""The problems of structure, each with an exact answer: saddle points, manifolds, games, problems in problems.

    saddle       sum_{i<d} x_i^2 / 2 - x_d^2 / 2 + x_d^4 / 4, begun at its strict saddle x = 0       d = 30, minimum -1/4
    factors      |U U' - C|^2 / 4 from U = 0, C the covariance of digits' pixels                     U (64, 2)
    pca          - tr(X' C X), the leading subspace of C on a Stiefel manifold                       X (64, 3)
    procrustes   |A X - B|^2, B = A X* on a Stiefel manifold                                         X (15, 5), A (10, 15)
    quadratic    x' P x / 2 + x' B y - y' Q y / 2 and linear terms: min over x, max over y           10 + 10
    bilinear     x' B y and linear terms                                                             5 + 5
    sum          a quadratic game that is the mean of n others, mostly noise                         8 + 8, n = 64
    similar      the same of n that are alike, each of 400 samples (`games.sampled`)                 8 + 8, n = 64
    levels       F = |y - t|^2 / 2 + |x|^2 / 20,  G = (y - B x)' H (y - B x) / 2                     4 + 6
    ridge        x = log of each weight's penalty, y = ridge weights: validation loss over training  diabetes, 10 + 10

Sections of the papers' experiments: 2210.01496 and 2209.13555 (saddles), 2003.11238 (manifolds), 2001.07819 and 2006.09361
(games), 2404.00158 (levels).  The error is exact: loss above the minimum; of games |x - x*|^2 + |y - y*|^2; of levels
F(x, y*(x)) above its minimum.  No method of the package is told more than values.  What it is not: methods and runs
(`structured`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bench import contest, games
from bench.contest import Array, Entrant
from zoptim import Search
from zoptim.manifolds import Stiefel

BOTH = 10.0  # weight of the lower level where both are added
LOW, HIGH = -9.0, 3.0  # logarithms of the least and the largest penalty of a weight


def _nothing(x: Array) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Problem(contest.Problem):
    """f with an exact error.

    Args:
        error: (d,) to how far from the answer.
        at: (d,) the start.
        kwargs: of the search: a manifold, a second player.
        players: numbers of the first player, where there are two.
        said: (d,) to what else is told of a point.
        components: of a sum, for what is told gradients.
    """

    error: Callable[[Array], float]
    at: Array
    kwargs: Mapping[str, Any]
    players: int = 0
    said: Callable[[Array], Mapping[str, float]] = _nothing
    components: games.Sum | None = None

    def start(self) -> Array:
        return self.at.ravel().copy()

    def loss(self, x: Array) -> float:
        return self.error(x)

    def gap(self, x: Array) -> float:
        return float(np.linalg.norm(self.slope(x)))

    def seen(self, x: Array) -> Mapping[str, float]:
        return self.said(np.asarray(x))

    def search(self, entrant: Entrant, settings: Mapping[str, Any], budget: int, seed: int) -> Search:
        single = entrant.method in SINGLE
        given = {} if single else dict(self.kwargs)
        x0 = self.at.ravel() if single else self.at
        if self.players and not single:
            x0, given["y0"] = self.at[: self.players], self.at[self.players :]
        if single and self.players and not self.n:
            budget //= 2  # a value of both functions
        if self.n:
            given |= {"n": self.n, "batch": entrant.batch(self)}
        return Search(
            x0, entrant.method, budget=budget, seed=seed, failures="skip", settings=settings, **given
        )

    def answers(self, x: Array, parts: Sequence[np.ndarray[Any, Any]] | None) -> Array:
        if parts is None:
            return self.values(x, np.empty(0))
        if self.n:
            return super().answers(x, parts)
        return np.array([self.values(p[None], i)[0] for p, i in zip(x, parts, strict=True)])  # of two levels


SINGLE = ("zo_sgd", "fd_spectral", "openai_es")  # of one player in plain space: asked on an extension of f


def _problem(
    name: str, values: Callable[..., Array], error: Callable[[Array], float], slope: Callable[[Array], Array],
    at: Array, budget: int, smooth: float, n: int = 0, **more: Any,
) -> Problem:  # fmt: skip
    more = {"kwargs": {}, **more}
    return Problem(
        name=name, n=n, d=at.size, values=values, slope=slope, smooth=smooth, budget=budget, best=0.0, certified=0.0,
        error=error, at=at, **more,
    )  # fmt: skip


# -- saddle points -------------------------------------------------------------------------------------


@cache
def saddle() -> Problem:
    d = 30

    def values(x: Array, _: Any = None) -> Array:
        last = x[:, -1] ** 2
        return np.asarray(0.5 * (x[:, :-1] ** 2).sum(axis=1) - 0.5 * last + 0.25 * last**2)

    def slope(x: Array) -> Array:
        return np.append(x[:-1], x[-1] ** 3 - x[-1])

    def said(x: Array) -> Mapping[str, float]:
        return {"curvature": min(1.0, 3 * float(x[-1]) ** 2 - 1)}

    def error(x: Array) -> float:
        return float(values(x[None])[0]) + 0.25

    return _problem("saddle", values, error, slope, np.zeros(d), 20_000, 2.0, said=said)


def covariance() -> Array:
    """Of the digits' pixels, (64, 64), its largest eigenvalue 1."""
    from sklearn.datasets import load_digits

    c = np.cov(load_digits().data, rowvar=False)
    return np.asarray(c / np.linalg.norm(c, 2))


@cache
def factors() -> Problem:
    c, r = covariance(), 2
    values_of = np.linalg.eigvalsh(c)[::-1]
    least = 0.25 * float((values_of[r:] ** 2).sum())

    def values(x: Array, _: Any = None) -> Array:
        u = x.reshape(-1, 64, r)
        return np.asarray(0.25 * ((u @ u.transpose(0, 2, 1) - c) ** 2).sum(axis=(1, 2)))

    def slope(x: Array) -> Array:
        u = x.reshape(64, r)
        return np.asarray(((u @ u.T - c) @ u).ravel())

    def said(x: Array) -> Mapping[str, float]:
        """The least eigenvalue of the exact Hessian, V -> (U U' - C) V + (V U' + U V') U."""
        u, whole = x.reshape(64, r), np.empty((x.size, x.size))
        for k, e in enumerate(np.eye(x.size)):
            v = e.reshape(64, r)
            whole[k] = ((u @ u.T - c) @ v + (v @ u.T + u @ v.T) @ u).ravel()
        return {"curvature": float(np.linalg.eigvalsh(whole)[0])}

    def error(x: Array) -> float:
        return float(values(x[None])[0]) - least

    return _problem("factors", values, error, slope, np.zeros(64 * r), 60_000, 3.0, said=said)


# -- manifolds -----------------------------------------------------------------------------------------


def polar(x: Array) -> Array:
    """The nearest matrices with orthonormal columns to x (..., rows, cols)."""
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return np.asarray(u @ v)


def _on_stiefel(
    name: str, f: Callable[[Array], Array], grad: Callable[[Array], Array], least: float, at: Array, budget: int, smooth: float
) -> Problem:  # fmt: skip
    """f of matrices (m, rows, cols); where one is asked off the manifold, the value is that of its polar factor."""
    rows, cols = at.shape
    where = Stiefel(rows, cols)

    def values(x: Array, _: Any = None) -> Array:
        return f(polar(x.reshape(-1, rows, cols)))

    def error(x: Array) -> float:
        return float(values(x[None])[0]) - least

    def slope(x: Array) -> Array:
        here = polar(x.reshape(rows, cols))
        return where.project(here.ravel(), grad(here).ravel())

    return _problem(name, values, error, slope, at, budget, smooth, kwargs={"manifold": where})


@cache
def pca() -> Problem:
    c, r = covariance(), 3
    least = -float(np.linalg.eigvalsh(c)[::-1][:r].sum())
    at = polar(np.random.default_rng(1).normal(size=(64, r)))

    def f(x: Array) -> Array:
        return np.asarray(-np.einsum("mij,ik,mkj->m", x, c, x, optimize=True))

    return _on_stiefel("pca", f, lambda x: -2 * c @ x, least, at, 60_000, 4.0)


@cache
def procrustes() -> Problem:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(10, 15)) / np.sqrt(15)
    truth, at = (polar(rng.normal(size=(15, 5))) for _ in range(2))
    b = a @ truth

    def f(x: Array) -> Array:
        return np.asarray(((a @ x - b) ** 2).sum(axis=(1, 2)))

    smooth = 2 * float(np.linalg.norm(a, 2) ** 2)
    return _on_stiefel("procrustes", f, lambda x: 2 * a.T @ (a @ x - b), 0.0, at, 40_000, smooth)


# -- games ---------------------------------------------------------------------------------------------


def _game(
    name: str, p: Array, b: Array, q: Array, r: Array, s: Array, budget: int, n: int = 0, values: Any = None, **more: Any
) -> Problem:  # fmt: skip
    """x' P x / 2 + x' B y - y' Q y / 2 + r' x + s' y, from x = y = 1; its saddle solves one linear system."""
    k = len(r)
    answer = np.linalg.solve(np.block([[p, b], [b.T, -q]]), -np.concatenate([r, s]))

    def whole(z: Array, _: Any = None) -> Array:
        x, y = z[:, :k], z[:, k:]
        quadratic = np.einsum("mi,ij,mj->m", x, p, x) - np.einsum("mi,ij,mj->m", y, q, y)
        return np.asarray(0.5 * quadratic + np.einsum("mi,ij,mj->m", x, b, y) + x @ r + y @ s)

    def slope(z: Array) -> Array:
        x, y = z[:k], z[k:]
        return np.concatenate([p @ x + b @ y + r, b.T @ x - q @ y + s])

    def error(z: Array) -> float:
        return float(((z - answer) ** 2).sum())

    smooth = float(np.linalg.norm(np.block([[p, b], [-b.T, q]]), 2))
    at = np.ones(k + len(s))
    return _problem(name, values or whole, error, slope, at, budget, smooth, n, players=k, **more)


def _positive(rng: np.random.Generator, d: int, low: float, high: float) -> Array:
    """A symmetric matrix with eigenvalues from low to high."""
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.asarray(turn * np.geomspace(low, high, d) @ turn.T)


@cache
def quadratic() -> Problem:
    rng, d = np.random.default_rng(3), 10
    p, q = _positive(rng, d, 0.1, 1.0), _positive(rng, d, 0.3, 1.0)
    b = rng.normal(size=(d, d)) / np.sqrt(d)
    return _game("quadratic", p, b, q, rng.normal(size=d), rng.normal(size=d), 60_000)


@cache
def bilinear() -> Problem:
    rng, d = np.random.default_rng(4), 5
    b, zero = _positive(rng, d, 0.5, 1.0), np.zeros((d, d))
    return _game("bilinear", zero, b, zero, rng.normal(size=d), rng.normal(size=d), 40_000)


@cache
def noisy_sum() -> Problem:
    rng, d, n = np.random.default_rng(5), 8, 64
    p, q = _positive(rng, d, 0.2, 1.0), _positive(rng, d, 0.3, 1.0)
    b = rng.normal(size=(d, d)) / np.sqrt(d)
    r, s = rng.normal(size=(2, d))
    apart = rng.normal(size=(n, 2 * d))  # component i: the game and z' apart_i
    apart -= apart.mean(axis=0)
    whole = _game("sum", p, b, q, r, s, 400_000)

    def values(z: Array, parts: np.ndarray[Any, Any]) -> Array:
        return np.asarray(whole.values(z)[:, None] + z @ apart[parts].T)

    return _game("sum", p, b, q, r, s, 400_000, n, values)


@cache
def similar() -> Problem:
    g = games.sampled(400)
    k, form, line = g.players, g.form, g.lines.mean(axis=0)
    return _game(
        "similar", form[:k, :k], form[:k, k:], -form[k:, k:], line[:k], line[k:], 400_000, g.n, g.values, components=g
    )  # fmt: skip


# -- problems in problems ------------------------------------------------------------------------------


def _levels(
    name: str, upper: Callable[[Array, Array], Array], lower: Callable[[Array, Array], Array],
    solved: Callable[[Array], Array], psi_slope: Callable[[Array], Array], answer: Array, x0: Array, y0: Array, budget: int,
    smooth: float,
) -> Problem:  # fmt: skip
    """`solved(x)` is y*(x) exactly; a question is of F or of G, and with no choice of F + BOTH G, which counts as both."""
    k = x0.size

    def values(z: Array, which: np.ndarray[Any, Any]) -> Array:
        x, y = z[:, :k], z[:, k:]
        if not len(which):
            return upper(x, y) + BOTH * lower(x, y)
        return upper(x, y) if which[0] == 0 else lower(x, y)

    def psi(x: Array) -> float:
        return float(upper(x[None], solved(x)[None])[0])

    least = psi(answer)
    return _problem(
        name, values, lambda z: psi(z[:k]) - least, lambda z: psi_slope(z[:k]), np.concatenate([x0, y0]), budget, smooth,
        players=k, said=lambda z: {"below": float(np.linalg.norm(z[k:] - solved(z[:k])))},
    )  # fmt: skip


@cache
def levels() -> Problem:
    rng, dx, dy = np.random.default_rng(6), 4, 6
    b, h, t = rng.normal(size=(dy, dx)) / 2, _positive(rng, dy, 0.3, 1.0), rng.normal(size=dy)

    def upper(x: Array, y: Array) -> Array:
        return np.asarray(0.5 * ((y - t) ** 2).sum(axis=1) + 0.05 * (x**2).sum(axis=1))

    def lower(x: Array, y: Array) -> Array:
        off = y - x @ b.T
        return np.asarray(0.5 * np.einsum("mi,ij,mj->m", off, h, off))

    curve = b.T @ b + 0.1 * np.eye(dx)
    answer = np.linalg.solve(curve, b.T @ t)
    return _levels(
        "levels", upper, lower, lambda x: b @ x, lambda x: curve @ x - b.T @ t, answer, np.zeros(dx), np.zeros(dy), 100_000,
        float(np.linalg.norm(curve, 2)),
    )  # fmt: skip


@cache
def ridge() -> Problem:
    from sklearn.datasets import load_diabetes

    a, target = load_diabetes(return_X_y=True)
    a, target = a / a.std(axis=0), (target - target.mean()) / target.std()
    order = np.random.default_rng(7).permutation(len(a))
    train, valid = order[:60], order[60:]
    d, m = a.shape[1], len(train)

    def fit(which: np.ndarray[Any, Any], y: Array) -> Array:
        return np.asarray(0.5 * ((y @ a[which].T - target[which]) ** 2).mean(axis=1))

    def penalty(x: Array) -> Array:
        return np.exp(np.clip(x, LOW, HIGH))

    def lower(x: Array, y: Array) -> Array:
        return fit(train, y) + 0.5 * (penalty(x) * y**2).sum(axis=1)

    gram, moment = a[train].T @ a[train] / m, a[train].T @ target[train] / m

    def solved(x: Array) -> Array:
        return np.linalg.solve(gram + np.diag(penalty(x)), moment)

    def slope(x: Array) -> Array:
        y = solved(x)
        back = a[valid].T @ (a[valid] @ y - target[valid]) / len(valid)
        inside = (x > LOW) & (x < HIGH)
        return -penalty(x) * inside * y * np.linalg.solve(gram + np.diag(penalty(x)), back)

    x0 = np.full(d, -2.0)
    answer = descended(slope, lambda x: float(fit(valid, solved(x)[None])[0]), x0)
    return _levels(
        "ridge", lambda x, y: fit(valid, y), lower, solved, slope, answer, x0, np.zeros(d), 400_000, 0.02
    )


def descended(slope: Callable[[Array], Array], value: Callable[[Array], float], x: Array) -> Array:
    """Down an exact gradient by steps that are halved where they fail and doubled where they do not."""
    step = 1.0
    for _ in range(20_000):
        new = x - step * slope(x)
        if value(new) <= value(x) - 1e-17:
            x, step = new, 2.0 * step
        elif step < 1e-12:
            break
        else:
            step /= 2.0
    return x


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "saddle": saddle, "factors": factors, "pca": pca, "procrustes": procrustes, "quadratic": quadratic, "bilinear": bilinear,
    "sum": noisy_sum, "similar": similar, "levels": levels, "ridge": ridge,
}  # fmt: skip
