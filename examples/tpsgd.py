"""tpSGD (arXiv 2208.08503): each layer is trained towards its own random projection of the label.

    python examples/tpsgd.py

No gradient passes from layer to layer: y_i = tanh(x_{i-1} W_i), target P_i y*, and
W_i += eta x_{i-1}' [(P_i y* - y_i) tanh'(.)], layer after layer.  Not a zeroth-order method: each layer
uses its own derivative.  The data are made up: noisy views of ten fixed patterns.
"""

import numpy as np

from zoptim import noise

KEY = noise.key_from_seed(7)


def draws(t: int, *shape: int) -> np.ndarray:
    """Named normal numbers."""
    return noise.normals(KEY, t, 0, 0, 0, int(np.prod(shape))).reshape(shape).astype(np.float64)


def data(n: int, part: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """n noisy views of ten patterns of 64 pixels, and their classes."""
    classes = np.arange(n) % 10
    return draws(0, 10, 64)[classes] + spread * draws(1 + part, n, 64), classes


def train(n: int = 2000, epochs: int = 10, width: int = 128, eta: float = 0.003) -> float:
    """The share of held-out views classified rightly."""
    (x, classes), (x_test, classes_test) = data(n, 0), data(1000, 1)
    labels = np.eye(10)[classes]
    sizes = [(64, width), (width, width), (width, 10)]
    for i, (d_in, d_out) in enumerate(sizes):
        last = i == len(sizes) - 1
        target = labels if last else labels @ np.sign(draws(10 + i, 10, d_out))  # P_i y*; the last has labels
        w = draws(20 + i, d_in, d_out) / d_in
        for k in range(epochs * n // 20):
            rows = np.arange(k * 20, k * 20 + 20) % n
            y = np.tanh(x[rows] @ w)
            w += eta * x[rows].T @ ((target[rows] - y) * (1 - y**2))
        x, x_test = np.tanh(x @ w), np.tanh(x_test @ w)
    return float(np.mean(x_test.argmax(1) == classes_test))


if __name__ == "__main__":
    print(f"accuracy {train():.3f} (chance 0.100)")
