"""Thresholds of two rewards, tuned while the policy trains: the outer loop of constrained RLHF (arXiv 2310.04373) in numbers.

    python examples/thresholds.py

The policy is a vector w that learns a task and is held to thresholds theta_i of two rewards by multipliers.  A reward says
what is good up to a point p_i only, and that point moves as the policy gets better:

    inner    w += eta (pace (w* - w) + sum_i (mu_i + theta_i - r_i) a_i),   mu_i += eta (theta_i - r_i),   r_i = a_i'w
    score    -sum_i (r_i - p_i)^2,   p_i = P_i (1 - |w - w*|^2 / |w*|^2)
    outer    theta by `nelder_mead`: a question is 40 more inner steps towards it, the answer what the score is then

There is one run, nothing is trained twice, and an answer is out of date as soon as it is given: `stale=3` asks again.
Simpler than the paper: made-up numbers for a language model, exact slopes for PPO.
"""

import numpy as np

from zoptim import Search, noise

KEY = noise.key_from_seed(7)
POINTS = np.array([2.0, -1.0])  # P


def draws(t: int, *shape: int) -> np.ndarray:
    """Named normal numbers."""
    return noise.normals(KEY, t, 0, 0, 0, int(np.prod(shape))).reshape(shape).astype(np.float64)


class Policy:
    """The one run."""

    def __init__(self, d: int = 20) -> None:
        self.aim, self.a = draws(0, d), draws(1, 2, d) / d**0.5
        self.w, self.mu = np.zeros(d), np.zeros(2)

    def score(self, theta: np.ndarray, eta: float = 0.05, pace: float = 0.01) -> float:
        """After 40 more steps."""
        for _ in range(40):
            short = theta - self.a @ self.w
            self.w += eta * (pace * (self.aim - self.w) + (self.mu + short) @ self.a)
            self.mu += eta * short
        better = 1 - ((self.w - self.aim) ** 2).sum() / (self.aim @ self.aim)
        return -float(((self.a @ self.w - POINTS * better) ** 2).sum())


def scores(stale: int | None, questions: int = 120) -> list[float]:
    """Of one run whose thresholds are tuned, a number a question."""
    policy, found = Policy(), list[float]()
    search = Search([0.0, 0.0], "nelder_mead", budget=questions, settings={"size": 0.5, "stale": stale})
    while not search.done:
        said = [policy.score(theta) for theta in search.ask()]
        search.tell([-s for s in said])
        found += said
    return found


def held(questions: int = 120) -> list[float]:
    """Of one run whose thresholds stay where they are."""
    policy = Policy()
    return [policy.score(np.zeros(2)) for _ in range(questions)]


if __name__ == "__main__":
    runs = {"thresholds as they are": held(), "nelder_mead": scores(None), "nelder_mead, stale=3": scores(3)}
    for name, found in runs.items():
        print(f"{name:24s} score {np.mean(found[-40:]):6.2f} on average over the last 40 questions")
