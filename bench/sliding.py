"""Games of finite sums where gradients exist: what evaluations alone are held against.

    F_i(z) = (grad_x f_i, -grad_y f_i),   F = mean of n,   G_i = F_i - F_1        component 1 is the server's, here index 0

Where the components are alike G is small and smooth, though F is not: `svogs` samples G, and asks F_1, which one component
answers, as often as it likes.  A gradient of one component at one point counts as one; a contest that counts component
queries puts it at d + 1, what forward differences would need.

What it is not: a part of the package, whose methods are told values only; games (`games`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from bench.games import Array, Parts, Sum

Walk = Iterator[tuple[int, Array]]  # component gradients so far, and (d,) where it stands
CLOSE = 0.1  # how far a subproblem's answer may be off, in lengths of the step it makes
ROUNDS = 1000  # of a subproblem, at most


def extragradient(game: Sum, z: Array, lr: float, *, land: Callable[[Array], Array] = np.asarray) -> Walk:
    """z' = Pi(z - lr F(z));  z <- Pi(z - lr F(z')).

    Cost: 2 n component gradients a step; no memory.  Reference: Korpelevich 1976.
    """
    everything, spent = list(range(game.n)), 0
    while True:
        ahead = land(z - lr * game.operators(z, everything).mean(axis=0))
        z = land(z - lr * game.operators(ahead, everything).mean(axis=0))
        spent += 2 * game.n
        yield spent, z


def svogs(
    game: Sum, z: Array, lr: float, *, seed: int = 0, land: Callable[[Array], Array] = np.asarray
) -> Walk:
    """Stochastic variance-reduced optimistic gradient sliding.

        v       = (1 - gamma) z^k + gamma w^k - lr delta^k,    delta^k as `estimate` has it, j_1 .. j_b drawn with replacement
        z^{k+1} ~ saddle of f_1(x, y) + |x - v_x|^2 / (2 lr) - |y - v_y|^2 / (2 lr)                                     `slid`
        w^{k+1} = z^{k+1} with probability p, else w^k

    b, gamma, p and alpha are those of theorem 2 (strongly convex, strongly concave), lr is the caller's: the theorem takes
    min(sqrt(alpha gamma b) / (4 delta), 1 / (32 delta)), its experiments tune it.  The paper asks more and more of a
    subproblem's answer; here it is off by at most a tenth of the step, always.  Its snapshot in delta^k is w^{k-1}.

    Args:
        game: with `similarity`, `modulus` and `smooth`, which the settings need.
        z: (d,) the start.
        lr: eta, of the order of 1 / delta.
        land: (d,) to the nearest point of the set.

    Cost: 2 (b + 1) component gradients a step, n where w moved, and what `slid` asks; memory: n + 4 vectors, the components'
    gradients at w.  Reference: arXiv 2405.16126, algorithm 1.
    """
    b, p, alpha = settings(game, lr)
    rng, everything = np.random.default_rng(seed), list(range(game.n))
    old = w = before = z
    held, spent = game.operators(w, everything), game.n
    while True:
        drawn = rng.integers(game.n, size=b)
        v = (1 - p) * z + p * w - lr * estimate(game, held, z, before, drawn, alpha)
        new, asked = slid(game, v, z, lr, land)
        spent += 2 * (b + 1) + asked
        before, z = z, new
        if w is not old:
            old, held, spent = w, game.operators(w, everything), spent + game.n
        w = z if rng.random() < p else w
        yield spent, z


def settings(game: Sum, lr: float) -> tuple[int, float, float]:
    """(b, p = gamma, alpha) of theorem 2."""
    mu, share = game.modulus, min(math.sqrt(game.n), max(1.0, game.similarity / game.modulus))
    p = 1.0 / (share + 8.0)
    slow = 1 - min(lr * mu / (6 * (1 - p)), p * lr * mu / (2 * p + lr * mu))
    return math.ceil(share), p, max(0.0, slow)


def estimate(game: Sum, held: Array, z: Array, before: Array, drawn: Parts, alpha: float) -> Array:
    """delta = G(w) + mean over drawn j of G_j(z) - G_j(w) + alpha (G_j(z) - G_j(before)).

    Its mean over the draws is G(z) + alpha (G(z) - G(before)): an optimistic step's, with no trace of w.

    Args:
        held: (n, d) all F_i(w).
        z, before: (d,) this place and the last.
        drawn: (b,) components, of which each costs two gradients; two more are the server's.
    """
    asked = [0, *drawn]
    here, last = game.operators(z, asked), game.operators(before, asked)
    here, last, there = here[1:] - here[0], last[1:] - last[0], held[drawn] - held[0]
    step = here - there + alpha * (here - last)
    return np.asarray(held.mean(axis=0) - held[0] + step.mean(axis=0))


def slid(
    game: Sum, v: Array, z: Array, lr: float, land: Callable[[Array], Array] = np.asarray
) -> tuple[Array, int]:
    """(u, gradients asked of component 1): the zero of H(u) = F_1(u) + (u - v) / lr, by extragradient from z.

    H is (L + 1 / lr)-smooth and (1 / lr)-strongly monotone, so the answer is within lr |H(u)| of u, and about
    (1 + lr L) rounds bring it e times nearer.
    """
    step = 1.0 / (game.smooth + 1.0 / lr)
    u = z
    for k in range(ROUNDS):
        ahead = land(u - step * (game.operators(u, [0])[0] + (u - v) / lr))
        off = lr / step * float(np.linalg.norm(ahead - u))
        if off <= CLOSE * float(np.linalg.norm(u - z)):
            return u, 2 * k + 1
        u = land(u - step * (game.operators(ahead, [0])[0] + (ahead - v) / lr))
    return u, 2 * ROUNDS
