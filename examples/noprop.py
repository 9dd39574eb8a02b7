"""NoProp (arXiv 2503.24322): blocks that each learn, alone, to clean a noisy label, given the input.

    python examples/noprop.py

Block t sees x and z_{t-1} ~ N(sqrt(abar_{t-1}) u_y, 1 - abar_{t-1}) and predicts the label's embedding u_y (here
one-hot); used one after the other they turn noise into the label.  Gradients stay inside a block, so this is
neither backpropagation through the stack nor a zeroth-order method.  Simpler than the paper: a block is one
hidden layer trained by plain SGD (its loss's SNR weight only scales its own step, so it is left out), and the
answer is the largest entry of z_T, with no last layer.  The data are made up: noisy views of ten fixed patterns.
"""

import numpy as np

from zoptim import noise

KEY = noise.key_from_seed(7)
T = 10
ABAR = np.sin(np.pi / 2 * (np.arange(T + 1) + 0.5) / (T + 1)) ** 2  # increasing: z_T is nearly the label


def draws(t: int, *shape: int) -> np.ndarray:
    """Named normal numbers."""
    return noise.normals(KEY, t, 0, 0, 0, int(np.prod(shape))).reshape(shape).astype(np.float64)


def data(n: int, part: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """n noisy views of ten patterns of 64 pixels, and their classes."""
    classes = np.arange(n) % 10
    return draws(0, 10, 64)[classes] + spread * draws(1 + part, n, 64), classes


def train_block(t: int, x: np.ndarray, u: np.ndarray, steps: int, width: int, eta: float) -> tuple:
    """Block t's two matrices, from |u_hat_t(z_{t-1}, x) - u_y|^2 alone."""
    v, w = draws(10 + t, 74, width) / 16, np.zeros((width, 10))
    for k in range(steps):
        rows = np.arange(k * 20, k * 20 + 20) % len(x)
        z = ABAR[t - 1] ** 0.5 * u[rows] + (1 - ABAR[t - 1]) ** 0.5 * draws(1000 + t * steps + k, 20, 10)
        xz = np.hstack([x[rows], z])
        h = np.tanh(xz @ v)
        error = u[rows] - h @ w
        v += eta * xz.T @ (error @ w.T * (1 - h**2))
        w += eta * h.T @ error
    return v, w


def train(n: int = 2000, epochs: int = 5, width: int = 64, eta: float = 0.003) -> float:
    """The share of held-out views classified rightly."""
    (x, classes), (x_test, classes_test) = data(n, 0), data(1000, 1)
    u = np.eye(10)[classes]
    z = draws(5, 1000, 10)  # z_0 ~ N(0, I)
    for t in range(1, T + 1):
        v, w = train_block(t, x, u, epochs * n // 20, width, eta)
        u_hat = np.tanh(np.hstack([x_test, z]) @ v) @ w
        before, after = ABAR[t - 1], ABAR[t]
        alpha = before / after
        a = after**0.5 * (1 - alpha) / (1 - before)
        b = alpha**0.5 * (1 - after) / (1 - before)
        c = (1 - after) * (1 - alpha) / (1 - before)
        z = a * u_hat + b * z + c**0.5 * draws(30 + t, 1000, 10)
    return float(np.mean(z.argmax(1) == classes_test))


if __name__ == "__main__":
    print(f"accuracy {train():.3f} (chance 0.100)")
