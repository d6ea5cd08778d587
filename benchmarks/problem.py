"""What every contestant is given: images, first weights, learning rates, and the number of threads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PIXELS, CLASSES = 784, 10

Weights = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # W1 (n, h, 784), b1 (n, h, 1), W2 (n, 10, h), b2 (n, 10, 1)
Stepper = Callable[[int], Weights]  # takes k more steps of full-batch descent, returns the weights


@dataclass(frozen=True)
class Problem:
    """n networks of h hidden units, to be trained on the same m images."""

    pixels: np.ndarray  # (m, 784) uint8
    labels: np.ndarray  # (m,) uint8
    start: Weights  # float32
    learning_rates: np.ndarray  # (n,) float32
    threads: int

    @property
    def X(self) -> np.ndarray:
        """The images, (m, 784) float32 in [0, 1]."""
        return self.pixels / np.float32(255)

    @property
    def Y(self) -> np.ndarray:
        """The labels, (m, 10) float32, one-hot."""
        return np.eye(CLASSES, dtype=np.float32)[self.labels]

    def alone(self, i: int) -> "Problem":
        """Return the problem of the i-th network alone."""
        W1, b1, W2, b2 = (array[i : i + 1] for array in self.start)
        return Problem(self.pixels, self.labels, (W1, b1, W2, b2), self.learning_rates[i : i + 1], self.threads)


def load(path: Path, *, images: int, hidden_size: int, networks: int, threads: int) -> Problem:
    """Read the images (repeated where there are fewer than asked for) and draw He's first weights from seed 0."""
    with np.load(path) as archive:
        which = np.arange(images) % len(archive["labels"])
        pixels, labels = archive["pixels"][which], archive["labels"][which]
    rng = np.random.Generator(np.random.PCG64(0))
    W1 = np.sqrt(6 / PIXELS) * (2 * rng.random((networks, hidden_size, PIXELS)) - 1)
    W2 = np.sqrt(6 / hidden_size) * (2 * rng.random((networks, CLASSES, hidden_size)) - 1)
    b1, b2 = np.zeros((networks, hidden_size, 1)), np.zeros((networks, CLASSES, 1))
    start = (W1.astype("f4"), b1.astype("f4"), W2.astype("f4"), b2.astype("f4"))
    return Problem(pixels, labels, start, np.linspace(0.1, 0.5, networks, dtype="f4"), threads)
