"""The note: a network 784-h-10 with ReLU and softmax, trained by gradient descent, for a stack of n networks at once.

| symbol    | shape              | meaning                                                  |
|-----------|--------------------|----------------------------------------------------------|
| X         | (784, m)           | images, one a column, pixels in [0, 1]                   |
| Y         | (10, m)            | labels, one-hot                                          |
| W1, b1    | (n, h, 784), (n, h, 1) | first layer                                          |
| Z1, A1    | (n, h, m)          | before and after ReLU                                    |
| W2, b2    | (n, 10, h), (n, 10, 1) | second layer                                         |
| Z2, A2    | (n, 10, m)         | logits, and class probabilities                          |
| dW1, ...  | as W1, ...         | derivative of the mean cross-entropy by W1, ...          |
| alpha     | (n, 1, 1)          | learning rates                                           |

A single network is a stack of one. Roman numbers are the note's. X is shared by the whole stack. The equations run on
NumPy's arrays, float32 or float64, and on exact numbers (`exact`).
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from numnist import exact

Array = np.ndarray
Numbers = Any  # an Array, or exact numbers


class Parameters(NamedTuple):
    """A stack's weights and biases, or their derivatives."""

    W1: Numbers  # (n, h, 784)
    b1: Numbers  # (n, h, 1)
    W2: Numbers  # (n, 10, h)
    b2: Numbers  # (n, 10, 1)


class Activations(NamedTuple):
    """What the forward pass leaves for the loss and for the backward pass."""

    A1: Numbers  # (n, h, m)
    Z2: Numbers  # (n, 10, m)
    A2: Numbers  # (n, 10, m)
    max_logit: Numbers  # (n, 1, m) the highest of each image's logits
    sum_exp: Numbers  # (n, 1, m) sum of the exponentials of its logits, each less the highest


def forward(p: Parameters, X: Numbers) -> Activations:
    """Compute the class probabilities of m images."""
    Z1 = p.W1 @ X + p.b1  # (ii), with A0 = X (i)  (n, h, m)
    A1 = relu(Z1)  # (iii) (n, h, m)
    Z2 = p.W2 @ A1 + p.b2  # (iv) (n, 10, m)
    A2, max_logit, sum_exp = softmax(Z2)  # (v) (n, 10, m)
    return Activations(A1, Z2, A2, max_logit, sum_exp)


def backward(p: Parameters, a: Activations, X: Numbers, Y: Array, m: int) -> Parameters:
    """Compute the derivatives of the mean cross-entropy over m images, of which X may be a part."""
    dZ2 = (a.A2 - Y) / m  # (n, 10, m), with the 1/m of all four derivatives
    dW2 = dZ2 @ a.A1.mT  # (n, 10, h)
    db2 = dZ2.sum(axis=-1, keepdims=True)  # (n, 10, 1)
    dZ1 = p.W2.mT @ dZ2 * (a.A1 > 0)  # (n, h, m), ReLU'(Z1): A1 > 0 just where Z1 > 0
    dW1 = dZ1 @ X.mT  # (n, h, 784)
    db1 = dZ1.sum(axis=-1, keepdims=True)  # (n, h, 1)
    return Parameters(dW1, db1, dW2, db2)


def update(p: Parameters, d: Parameters, alpha: Array) -> Parameters:
    """Take one step of gradient descent: W1 := W1 - alpha dW1, and so on."""
    return Parameters(*(weights - alpha * derivative for weights, derivative in zip(p, d)))


def relu(Z: Numbers) -> Numbers:
    """Replace what is negative by 0."""
    return np.maximum(Z, np.zeros(Z.shape[-1], Z.dtype))  # NumPy is faster with a row of zeros than with one


def softmax(Z: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return each column's probabilities, its highest logit, and the sum of its exponentials less that logit."""
    max_logit = Z.max(axis=-2, keepdims=True)  # softmax is unchanged by subtracting a constant from a column
    exponentials = np.exp(Z - max_logit)
    sum_exp = exponentials.sum(axis=-2, keepdims=True)
    return exponentials / sum_exp, max_logit, sum_exp


def measure(a: Activations, labels: Array) -> tuple[Numbers, Array]:
    """Return each image's cross-entropy and whether its label has the highest logit, each (n, m).

    The cross-entropy, -log A2 of the label, is log(sum_exp) + max_logit - Z2 of the label.
    """
    n, classes, m = a.Z2.shape
    logit = a.Z2.reshape(n, classes * m).take(labels.astype(np.intp) * m + np.arange(m), axis=1)
    max_logit = a.max_logit.reshape(n, m)
    return np.log(a.sum_exp.reshape(n, m)) + max_logit - logit, logit == max_logit


# Around the equations: shapes, first weights, and what else depends on the layers.

SIDE, CLASSES = 28, 10
PIXELS = SIDE * SIDE
IS_WEIGHT = Parameters(W1=True, b1=False, W2=True, b2=False)  # weights decay, and biases do not


class Settings(Protocol):
    """What a configuration says about a network and its first weights."""

    @property
    def hidden_size(self) -> int:
        """The number of hidden units, h."""

    @property
    def initialization(self) -> str:
        """he: uniform within sqrt(6 / fan-in), biases 0 (He et al. 2015). uniform: all within 0.5, as the note's."""


def shapes(settings: Settings, classes: int = CLASSES) -> Parameters:
    """Return the shapes of one network's arrays."""
    return _shapes(settings.hidden_size, classes)


def units(settings: Settings) -> int:
    """Return the number of hidden units that see the pixels: an iteration's cost grows with it."""
    return settings.hidden_size


def initialize(settings: Settings, *, rng: np.random.Generator, classes: int = CLASSES) -> Parameters:
    """Draw one network's first weights, a stack of one, in float64."""
    limits = Parameters(0.5, 0.5, 0.5, 0.5)
    if settings.initialization == "he":
        limits = Parameters(np.sqrt(6 / PIXELS), 0.0, np.sqrt(6 / settings.hidden_size), 0.0)
    return Parameters(*(limit * _uniform((1, *shape), rng) for limit, shape in zip(limits, shapes(settings, classes))))


def foremost_weights(p: Parameters, count: int) -> Array:
    """Return `count` hidden units' weights of pixels, float32 (units, 784), the largest outgoing weights first."""
    influence = np.abs(p.W2[0]).max(axis=0)
    return p.W1[0][np.argsort(-influence, kind="stable")[:count]].astype(np.float32)


def is_network(p: Parameters) -> bool:
    """Whether arrays have the shapes of one network."""
    return p.W2.ndim == 2 and tuple(array.shape for array in p) == _shapes(p.W2.shape[1], len(p.W2))


def one_hot(labels: Array, classes: int = CLASSES, dtype: str = "float64") -> Array:
    """Return Y of labels of any integer type."""
    return (labels == np.arange(classes)[:, np.newaxis]).astype(dtype)


def probabilities(p: Parameters, pixels: Array, batch: int = 1_000) -> Array:
    """Compute one network's class probabilities, float64 (m, classes), of images (m, 784) with pixels from 0 to 255.

    They are exact, whatever arithmetic trained the network: the same on every machine.
    """
    weights = Parameters(*(exact.Weights(array.astype(np.float64)) for array in p))
    batches = (pixels[first : first + batch] for first in range(0, len(pixels), batch))
    columns = [forward(weights, exact.pixels(images.T.astype(np.float64))).A2.array[0] for images in batches]
    return np.concatenate([np.empty((p.W2.shape[-2], 0)), *columns], axis=1).T


def _shapes(h: int, classes: int) -> Parameters:
    return Parameters(W1=(h, PIXELS), b1=(h, 1), W2=(classes, h), b2=(classes, 1))


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform float64 from -1 to 1, from the bit generator's integers: NumPy promises those, not rng.uniform()."""
    integers = rng.bit_generator.random_raw(int(np.prod(shape)))
    return ((integers >> np.uint64(11)) * 2.0**-52 - 1).reshape(shape)
