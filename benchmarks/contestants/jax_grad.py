"""JAX: the gradient of the loss, jitted, with lax.fori_loop around the steps (measured faster than one jitted step)."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import Problem, Stepper, Weights

Tree = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # as Weights, without b1's and b2's last axis


def prepare(problem: Problem, variant: str) -> Stepper:
    """Prepare one network (`jit`) or a stack in one program (`vmap`)."""
    X, Y = jnp.asarray(problem.X), jnp.asarray(problem.Y)
    W1, b1, W2, b2 = (jnp.asarray(array) for array in problem.start)
    parameters: Tree = (W1, b1[:, :, 0], W2, b2[:, :, 0])
    alphas = jnp.asarray(problem.learning_rates)

    def update(p: Tree, alpha: jax.Array, X: jax.Array, Y: jax.Array) -> Tree:
        gradient = jax.grad(_mean_loss)(p, X, Y)
        return jax.tree.map(lambda value, derivative: value - alpha * derivative, p, gradient)

    def alone(p: Tree, alpha: jax.Array, X: jax.Array, Y: jax.Array) -> Tree:
        return jax.tree.map(lambda array: array[None], update(jax.tree.map(lambda array: array[0], p), alpha[0], X, Y))

    one_step = jax.vmap(update, in_axes=(0, 0, None, None)) if variant == "vmap" else alone
    steps = jax.jit(lambda p, X, Y, k: jax.lax.fori_loop(0, k, lambda _, p: one_step(p, alphas, X, Y), p))

    def step(k: int) -> Weights:
        nonlocal parameters
        parameters = steps(parameters, X, Y, k)
        W1, b1, W2, b2 = (np.asarray(array) for array in parameters)
        return W1, b1[:, :, None], W2, b2[:, :, None]

    return step


def _mean_loss(p: Tree, X: jax.Array, Y: jax.Array) -> jax.Array:
    W1, b1, W2, b2 = p
    scores = jax.nn.relu(X @ W1.T + b1) @ W2.T + b2
    return -(jax.nn.log_softmax(scores) * Y).sum() / len(X)
