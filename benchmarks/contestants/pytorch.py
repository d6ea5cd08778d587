"""PyTorch as its users write it: modules and autograd, or one function under vmap for a stack."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, relu

from benchmarks.problem import CLASSES, PIXELS, Problem, Stepper, Weights


def prepare(problem: Problem, variant: str) -> Stepper:
    """Prepare one network (`eager`, `compile`) or a stack (`vmap`)."""
    torch.set_num_threads(problem.threads)
    X, labels = torch.from_numpy(problem.X), torch.from_numpy(problem.labels).long()
    return (
        _stack(problem, X, labels) if variant == "vmap" else _single(problem, X, labels, compiled=variant == "compile")
    )


def _single(problem: Problem, X: torch.Tensor, labels: torch.Tensor, *, compiled: bool) -> Stepper:
    W1, b1, W2, b2 = (torch.from_numpy(array[0]) for array in problem.start)
    first, second = nn.Linear(PIXELS, W1.shape[0]), nn.Linear(W1.shape[0], CLASSES)
    with torch.no_grad():
        for parameter, value in (
            (first.weight, W1),
            (first.bias, b1[:, 0]),
            (second.weight, W2),
            (second.bias, b2[:, 0]),
        ):
            parameter.copy_(value)
    model = nn.Sequential(first, nn.ReLU(), second)
    optimizer = torch.optim.SGD(model.parameters(), lr=float(problem.learning_rates[0]))

    def mean_loss() -> torch.Tensor:
        return cross_entropy(model(X), labels)

    loss = torch.compile(mean_loss) if compiled else mean_loss

    def step(k: int) -> Weights:
        for _ in range(k):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        arrays = (first.weight, first.bias[:, None], second.weight, second.bias[:, None])
        return tuple(array.detach().numpy()[None].copy() for array in arrays)

    return step


def _stack(problem: Problem, X: torch.Tensor, labels: torch.Tensor) -> Stepper:
    W1, b1, W2, b2 = (torch.from_numpy(array) for array in problem.start)
    parameters = [W1, b1[:, :, 0], W2, b2[:, :, 0]]
    alphas = torch.from_numpy(problem.learning_rates)

    def mean_loss(p: list[torch.Tensor]) -> torch.Tensor:
        return cross_entropy(linear(relu(linear(X, p[0], p[1])), p[2], p[3]), labels)

    gradients = torch.vmap(torch.func.grad(mean_loss))

    def step(k: int) -> Weights:
        nonlocal parameters
        for _ in range(k):
            pairs = zip(parameters, gradients(parameters))
            parameters = [p - alphas.view(-1, *[1] * (p.dim() - 1)) * d for p, d in pairs]
        W1, b1, W2, b2 = (array.numpy() for array in parameters)
        return W1, b1[:, :, None], W2, b2[:, :, None]

    return step
