"""2-RSGF (arXiv 1309.5549): several short noisy searches, and the end with the smallest measured gradient.

    python examples/two_phase.py

A search that ends at a random one of its places has a small gradient there in the mean, not surely.  The paper's second
phase makes it sure: S searches, then T fresh samples at each end, and the end whose mean sample is shortest is taken.
Both phases pay from one budget.  The loss is the paper's sigmoid-loss support vector machine, on made-up examples:

    f(x) = E [1 - tanh(y <a, x>)] + lambda |x|^2,   asked on one batch at a time
"""

import numpy as np

import zoptim
from zoptim import noise

KEY, D, BATCH, LAMBDA, EPS = noise.key_from_seed(11), 20, 10, 0.01, 1e-4


def draws(t: int, *shape: int) -> np.ndarray:
    """Named normal numbers."""
    return noise.normals(KEY, t, 0, 0, 0, int(np.prod(shape))).reshape(shape).astype(np.float64)


A = draws(0, 2000, D)
Y = np.sign(A @ draws(1, D) + 0.5 * draws(2, 2000))


def components(x: np.ndarray, i: np.ndarray) -> np.ndarray:
    """(b,) losses of some examples."""
    return 1 - np.tanh(Y[i] * (A[i] @ x)) + LAMBDA * x @ x


def gradient(x: np.ndarray) -> np.ndarray:
    """The exact one, to judge by."""
    slope = -Y / np.cosh(Y * (A @ x)) ** 2
    return A.T @ slope / len(A) + 2 * LAMBDA * x


def sampled(x: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """The mean of forward differences along normals, each on a batch of its own; costs 2 BATCH components a sample."""
    total = np.zeros(D)
    for s, z in enumerate(draws(1000 + seed, samples, D)):
        i = noise.permutation(KEY, samples * seed + s, len(A))[:BATCH]
        total += (components(x + EPS * z, i) - components(x, i)).mean() / EPS * z
    return total / samples


def two_phase(budget: int, searches: int = 5, share: float = 0.5) -> tuple[np.ndarray, list[np.ndarray], int]:
    """(the chosen end, all ends, components asked): `share` of the budget is for the searches."""
    each = int(share * budget) // searches
    found = [
        zoptim.minimize(
            components, np.zeros(D), method="rsgf", n=len(A), batch=BATCH, budget=each, seed=s, output="random",
            settings={"lr": 0.01, "eps": EPS, "schedule": "constant"},
        )
        for s in range(searches)
    ]  # fmt: skip
    spent = sum(result.nfev for result in found)
    samples = (budget - spent) // (2 * BATCH * searches)
    ends = [result.x for result in found]
    lengths = [np.linalg.norm(sampled(x, samples, s)) for s, x in enumerate(ends)]
    return ends[int(np.argmin(lengths))], ends, spent + samples * 2 * BATCH * searches


if __name__ == "__main__":
    chosen, ends, spent = two_phase(400_000)
    said = ", ".join(f"{np.linalg.norm(gradient(x)):.3f}" for x in ends)
    print(
        f"exact gradients at the ends: {said}; chosen: {np.linalg.norm(gradient(chosen)):.3f}; {spent:,} components"
    )
