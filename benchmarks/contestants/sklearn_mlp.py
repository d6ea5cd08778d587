"""scikit-learn's MLPClassifier, told to do plain full-batch descent from given weights."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.problem import Problem, Stepper, Weights


def prepare(problem: Problem, variant: str) -> Stepper:
    """Prepare one network: fitted once for its shapes, then given the first weights; each step(k) is a warm `fit`."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop after k steps, converged or not
    X, labels = problem.X, problem.labels
    W1, b1, W2, b2 = (array[0] for array in problem.start)
    model = MLPClassifier(
        (W1.shape[0],),
        solver="sgd",
        batch_size=len(X),
        momentum=0,
        nesterovs_momentum=False,
        alpha=0,
        shuffle=False,
        learning_rate_init=float(problem.learning_rates[0]),
        warm_start=True,
        max_iter=1,
        n_iter_no_change=10**9,
    )
    model.fit(X, labels)
    model.coefs_, model.intercepts_ = [W1.T.copy(), W2.T.copy()], [b1[:, 0].copy(), b2[:, 0].copy()]

    def step(k: int) -> Weights:
        model.set_params(max_iter=k).fit(X, labels)
        (W1, W2), (b1, b2) = (np.array(array.T) for array in model.coefs_), model.intercepts_
        return W1[None], b1[None, :, None], W2[None], b2[None, :, None]

    return step
