"""The note: a network 784-h-10 with ReLU and softmax, trained by gradient descent, for a stack of n networks at once.

| symbol    | shape              | meaning                                                  |
|-----------|--------------------|----------------------------------------------------------|
| X         | (784, m)           | images, one a column, pixels in [0, 1]                   |
| Y         | (10, m)            | labels, one-hot                                          |
| W1, b1    | (n, h, 784), (n, h, 1) | first layer                                          |
| Z1, A1    | (n, h, m)          | before and after ReLU                                    |
| W2, b2    | (n, 10, h), (n, 10, 1) | second layer                                         |
| Z2, A2    | (n, 10, m)         | scores, and class probabilities                          |
| dW1, ...  | as W1, ...         | derivative of the mean cross-entropy by W1, ...          |
| alpha     | (n, 1, 1)          | learning rates                                           |

A single network is a stack of one. Roman numbers are the note's. X is shared by the whole stack.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Array = np.ndarray
SIDE, CLASSES = 28, 10
PIXELS = SIDE * SIDE


class Factor(Protocol):
    """What stands at the right of a product: an array, or what multiplies like one."""

    def __rmatmul__(self, A: Array, /) -> Array:
        """A @ self."""


class Matrix(Factor, Protocol):
    """What the equations ask of X."""

    @property
    def T(self) -> Factor:
        """The transpose."""


@dataclass(frozen=True)
class Parameters:
    """A stack's weights and biases, or their derivatives."""

    W1: Array  # (n, h, 784)
    b1: Array  # (n, h, 1)
    W2: Array  # (n, 10, h)
    b2: Array  # (n, 10, 1)


@dataclass(frozen=True)
class Activations:
    """What the forward pass leaves for the loss and for the backward pass."""

    A1: Array  # (n, h, m)
    Z2: Array  # (n, 10, m)
    A2: Array  # (n, 10, m)
    peak: Array  # (n, 1, m) the highest of each image's scores
    total: Array  # (n, 1, m) sum of the exponentials of its scores, each less the peak


def initialize(h: int, *, rng: np.random.Generator, scheme: str = "he", dtype: str = "float32") -> Parameters:
    """Draw one network's first weights, a stack of one.

    he: uniform within sqrt(6 / fan-in), biases 0 (He et al. 2015). uniform: all within 0.5, as the note's.
    """
    reach1, reach2, reach_b = (np.sqrt(6 / PIXELS), np.sqrt(6 / h), 0.0) if scheme == "he" else (0.5, 0.5, 0.5)
    W1 = reach1 * _between_minus_one_and_one((1, h, PIXELS), rng)
    b1 = reach_b * _between_minus_one_and_one((1, h, 1), rng)
    W2 = reach2 * _between_minus_one_and_one((1, CLASSES, h), rng)
    b2 = reach_b * _between_minus_one_and_one((1, CLASSES, 1), rng)
    return Parameters(W1.astype(dtype), b1.astype(dtype), W2.astype(dtype), b2.astype(dtype))


def forward(p: Parameters, X: Matrix) -> Activations:
    """Compute the class probabilities of m images."""
    Z1 = _times_shared(p.W1, X)  # (ii) W1 A0, with A0 = X (i)
    Z1 += p.b1  # (ii) + b1 (n, h, m)
    zeros = np.zeros(Z1.shape[-1], Z1.dtype)  # NumPy is twice as fast with a row of them as with one
    A1 = np.maximum(Z1, zeros, out=Z1)  # (iii) ReLU (n, h, m), in the place of Z1
    Z2 = p.W2 @ A1  # (iv)
    Z2 += p.b2  # (iv) (n, 10, m)
    peak = Z2.max(axis=-2, keepdims=True)  # softmax is unchanged by subtracting a constant from a column
    A2 = np.subtract(Z2, peak)
    np.exp(A2, out=A2)
    total = A2.sum(axis=-2, keepdims=True)
    A2 /= total  # (v) softmax(Z2) (n, 10, m)
    return Activations(A1, Z2, A2, peak, total)


def backward(p: Parameters, a: Activations, X: Matrix, Y: Array, m: int) -> Parameters:
    """Compute the derivatives of the mean cross-entropy over m images, of which X may be a part. Overwrites a.A2."""
    dZ2 = np.subtract(a.A2, Y, out=a.A2)  # (n, 10, m)
    dZ2 /= m  # the 1/m of all four derivatives
    dW2 = dZ2 @ a.A1.mT  # (n, 10, h)
    db2 = dZ2.sum(axis=-1, keepdims=True)  # (n, 10, 1)
    dZ1 = p.W2.mT @ dZ2  # (n, h, m)
    dZ1 *= a.A1 > 0  # ReLU'(Z1): A1 > 0 just where Z1 > 0
    dW1 = _times_shared(dZ1, X.T)  # (n, h, 784)
    db1 = dZ1.sum(axis=-1, keepdims=True)  # (n, h, 1)
    return Parameters(dW1, db1, dW2, db2)


def update(p: Parameters, d: Parameters, alpha: Array) -> Parameters:
    """Take one step of gradient descent: W1 := W1 - alpha dW1, and so on."""
    return Parameters(
        p.W1 - alpha * d.W1,
        p.b1 - alpha * d.b1,
        p.W2 - alpha * d.W2,
        p.b2 - alpha * d.b2,
    )


def measure(a: Activations, labels: Array) -> tuple[Array, Array]:
    """Return each image's cross-entropy and whether its label has the highest score, each (n, m).

    The cross-entropy, -log A2 of the label, is log(total) + peak - Z2 of the label.
    """
    n, _, m = a.Z2.shape
    score = np.take(a.Z2.reshape(n, -1), labels * m + np.arange(m), axis=1)  # Z2 of each image's label
    peak = a.peak[:, 0]
    return np.log(a.total[:, 0]) + peak - score, score == peak


def probabilities(p: Parameters, pixels: Array, batch: int = 1_000) -> Array:
    """Compute one network's class probabilities, (m, classes), of images (m, 784) with pixels from 0 to 255."""
    batches = (pixels[first : first + batch] for first in range(0, len(pixels), batch))
    columns = [forward(p, images.T.astype(np.float32) / 255).A2[0] for images in batches]
    return np.concatenate([np.empty((p.W2.shape[-2], 0), np.float32), *columns], axis=1).T


def foremost_weights(p: Parameters, count: int) -> Array:
    """Return what one network's hidden units weigh pixels by, (units, 784): `count`, largest outgoing weights first."""
    influence = np.abs(p.W2[0]).max(axis=0)
    foremost: Array = p.W1[0][np.argsort(-influence, kind="stable")[:count]]
    return foremost


def _times_shared(A: Array, B: Factor) -> Array:
    """A @ B for a stack A (n, r, k) and one B (k, c): the same as, and faster than, n products of r rows."""
    n, r, k = A.shape
    return (A.reshape(n * r, k) @ B).reshape(n, r, -1)


def _between_minus_one_and_one(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform float64, from the bit generator's integers: NumPy promises those across versions, not rng.uniform()."""
    integers = rng.bit_generator.random_raw(int(np.prod(shape)))
    return ((integers >> np.uint64(11)) * 2.0**-52 - 1).reshape(shape)
