"""The widely copied NumPy notebook: float64, one image a column, plain operations on whole arrays.

Two things are mended, so that results can be compared: db1 and db2 are summed over images only, and the mean is over
the training images. They cost the same.
"""

import numpy as np

from benchmarks.problem import Problem, Stepper, Weights


def prepare(problem: Problem, variant: str) -> Stepper:
    """Hold one network as the notebook does: 2-dimensional float64 arrays."""
    X = np.ascontiguousarray(problem.X.T, dtype=np.float64)  # (784, m)
    Y = np.ascontiguousarray(problem.Y.T, dtype=np.float64)  # (10, m)
    m = X.shape[1]
    W1, b1, W2, b2 = (array[0].astype(np.float64) for array in problem.start)
    alpha = float(problem.learning_rates[0])

    def step(k: int) -> Weights:
        nonlocal W1, b1, W2, b2
        for _ in range(k):
            Z1 = W1.dot(X) + b1
            A1 = np.maximum(Z1, 0)
            Z2 = W2.dot(A1) + b2
            E = np.exp(Z2 - Z2.max(axis=0))  # the notebook's own exp(Z2) / sum overflows at high rates
            A2 = E / E.sum(axis=0)
            dZ2 = A2 - Y
            dW2 = 1 / m * dZ2.dot(A1.T)
            db2 = 1 / m * np.sum(dZ2, axis=1, keepdims=True)
            dZ1 = W2.T.dot(dZ2) * (Z1 > 0)
            dW1 = 1 / m * dZ1.dot(X.T)
            db1 = 1 / m * np.sum(dZ1, axis=1, keepdims=True)
            W1 = W1 - alpha * dW1
            b1 = b1 - alpha * db1
            W2 = W2 - alpha * dW2
            b2 = b2 - alpha * db2
        return W1[np.newaxis], b1[np.newaxis], W2[np.newaxis], b2[np.newaxis]

    return step
