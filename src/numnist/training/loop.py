"""Gradient descent for a stack of networks, on several threads: forward, backward, step, again and again.

Full-batch: the threads share out shards of images (`blank_pixels`). In batches: they share out the networks
(`minibatches`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from numnist import network
from numnist.network import Array, Parameters
from numnist.training import blank_pixels, minibatches, optimizer
from numnist.training.arithmetic import EXACT, Arithmetic
from numnist.training.blank_pixels import Shard
from numnist.training.minibatches import joined
from numnist.training.threads import Threads

if TYPE_CHECKING:
    from numnist.config.schema import TrainingConfig
    from numnist.data.dataset import Split

DIVERGENCE_LOSS = 1_000.0  # a mean loss (nats) that no network comes back from; guessing has 2.3
TRAIN_CURVES = ("train_loss", "train_accuracy")
CURVES = (*TRAIN_CURVES, "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class State:
    """One network after some iterations: all that its further training depends on, and its curves so far."""

    parameters: Parameters  # a stack of one
    curves: Array  # (iterations + 1, 4) float64, in the order of CURVES
    velocity: Parameters | None = None  # if there is momentum

    @property
    def iteration(self) -> int:
        """How many iterations it has had."""
        return len(self.curves) - 1

    @property
    def diverged(self) -> bool:
        """Whether a loss was no longer a number, or beyond hope: then its last row is NaN."""
        return bool(np.isnan(self.curves[-1, 0]))


@dataclass(frozen=True)
class Images:
    """What networks are trained and measured on, laid out."""

    train: Sequence[Shard]
    validation: Sequence[Shard]
    split: "Split"  # the training images as they are, for batches
    arithmetic: Arithmetic
    classes: int

    @property
    def share(self) -> float:
        """The training images' share of all rows, over which the notebook takes its means."""
        m = _count(self.train)
        return m / (m + _count(self.validation))


def lay_out(
    train: "Split", validation: "Split", arithmetic: Arithmetic = EXACT, classes: int = network.CLASSES
) -> Images:
    """Cut the images of both splits into shards."""
    shards, others = (blank_pixels.layout(split, arithmetic, classes) for split in (train, validation))
    return Images(shards, others, train, arithmetic, classes)


@dataclass(frozen=True)
class TrainingTask:
    """A network to be trained up to `config.iterations`, from its first weights or from a state on the way."""

    config: "TrainingConfig"
    start: State | None = None

    @property
    def iteration(self) -> int:
        """Where it starts."""
        return self.start.iteration if self.start else 0


def first_weights(config: "TrainingConfig", dtype: str = "float64", classes: int = network.CLASSES) -> Parameters:
    """Draw a network's first weights from the stream that its seed sets aside for them."""
    stream = np.random.SeedSequence(config.seed).spawn(1)[0]
    drawn = network.initialize(config, rng=np.random.Generator(np.random.PCG64(stream)), classes=classes)
    return Parameters(*(array.astype(dtype) for array in drawn))


@dataclass(frozen=True)
class Stack:
    """Networks with the same stack key after the same number of iterations, trained together."""

    configs: Sequence["TrainingConfig"]
    parameters: Parameters
    velocity: Parameters | None  # if one of them has momentum
    iteration: int  # how many iterations they have had
    curves: Sequence[list[Array]]  # for each network its rows so far, each (4,)

    def state(self, i: int) -> State:
        """Copy network i out of the stack."""
        velocity = _copied(self.velocity, i) if self.velocity and self.configs[i].momentum else None
        return State(_copied(self.parameters, i), np.array(self.curves[i]), velocity)

    def diverged(self, i: int) -> bool:
        """Whether network i's last row is NaN."""
        return bool(np.isnan(self.curves[i][-1][0]))

    def unfinished(self) -> list[int]:
        """Which networks still have iterations to go and a loss that is finite."""
        return [
            i for i, config in enumerate(self.configs) if config.iterations > self.iteration and not self.diverged(i)
        ]

    def selected(self, networks: list[int]) -> "Stack":
        """Return some of the networks; all are not copied."""
        parameters, velocity = selected(self.parameters, networks), self.velocity and selected(self.velocity, networks)
        configs, curves = [self.configs[i] for i in networks], [self.curves[i] for i in networks]
        return Stack(configs, parameters, velocity, self.iteration, curves)

    def record(self, train: "Means", validation: "Means") -> None:
        """Set the row of this iteration in every network's curves: NaN if a loss is beyond hope."""
        for rows, *measured in zip(self.curves, *train, *validation):
            hope = measured[0] < DIVERGENCE_LOSS and measured[2] < DIVERGENCE_LOSS
            rows[self.iteration :] = [np.array(measured) if hope else np.full(len(CURVES), np.nan)]


Means = tuple[Array, Array]  # loss and accuracy, each (n,)


def train_stack(tasks: Sequence[TrainingTask], images: Images, pool: Threads) -> Iterator[Stack]:
    """Train networks with the same stack key together, and yield the stack after every iteration.

    All start after the same number of iterations. A network leaves the stack when it has had its iterations, or when
    its loss is not finite. A yielded stack is valid until the next iteration; `Stack.state` makes copies.

    Row k of the curves is measured after k iterations; in batches, its training loss and accuracy are the means met in
    iteration k.
    """
    stack = _start(tasks, images)
    return (_in_batches if stack.configs[0].batch_size else _full_batch)(stack, images, pool)


def _full_batch(stack: Stack, images: Images, pool: Threads) -> Iterator[Stack]:
    """Take one step an iteration, over all images; the pass that finds the gradient measures the weights before it."""
    while True:
        stack = replace(stack, parameters=Parameters(*map(blank_pixels.pixel_major, stack.parameters)))
        differentiate = any(config.iterations > stack.iteration for config in stack.configs)
        train, validation = _pass(stack.parameters, images, pool, differentiate=differentiate)
        stack.record(train.means(), validation.means())
        yield stack
        going_on = stack.unfinished()
        if not going_on or train.gradient is None:
            return
        d = Parameters(*(images.arithmetic.value(total) for total in train.gradient))
        stack, d = stack.selected(going_on), selected(d, going_on)
        d = optimizer.apply_notebook_bugs(d, stack.configs, images.share)
        [size] = optimizer.step_sizes(stack.configs, stack.iteration, 1, d[0].dtype)
        p, v = optimizer.step(stack.parameters, d, stack.velocity, size)
        stack = replace(stack, parameters=p, velocity=v, iteration=stack.iteration + 1)


def _in_batches(stack: Stack, images: Images, pool: Threads) -> Iterator[Stack]:
    """Take one step a batch, and one pass over all images an iteration."""
    if not stack.curves[0]:
        train, validation = _pass(stack.parameters, images, pool)
        stack.record(train.means(), validation.means())
    yield stack
    while going_on := stack.unfinished():
        stack = stack.selected(going_on)
        p, v, loss, hits = minibatches.descend(stack, images, pool)
        stack = replace(stack, parameters=p, velocity=v, iteration=stack.iteration + 1)
        _, validation = _pass(p, replace(images, train=[]), pool)
        m = len(images.split.labels)
        stack.record((loss / m, hits / m), validation.means())
        yield stack


@dataclass
class _Total:
    """What is added up over the images of shards: losses and hits, each (n,), and the gradient if it is wanted."""

    shards: Sequence[Shard]
    differentiate: bool = False
    loss: Array = field(default_factory=lambda: np.zeros(1))
    hits: Array = field(default_factory=lambda: np.zeros(1))
    gradient: Parameters | None = None

    def add(self, losses: Array, hits: Array, gradient: Parameters | None) -> None:
        """Add a shard's, the gradient in the place of the first one's."""
        self.loss, self.hits = self.loss + losses, self.hits + hits
        if self.gradient and gradient:
            for total, more in zip(self.gradient, gradient):
                total += more
        else:
            self.gradient = gradient

    def means(self) -> Means:
        """Return mean loss and accuracy, each (n,)."""
        m = _count(self.shards)
        return self.loss / m, self.hits / m


def _pass(p: Parameters, images: Images, pool: Threads, *, differentiate: bool = False) -> tuple[_Total, _Total]:
    """Go forward over all images, and backward over those that are trained on if asked to."""
    weights = Parameters(*map(images.arithmetic.weights, p))
    train, validation = _Total(images.train, differentiate), _Total(images.validation)

    def work(piece: tuple[_Total, Shard]) -> tuple[_Total, tuple[Array, Array, Parameters | None]]:
        total, shard = piece
        return total, _over_shard(
            weights, shard, _count(total.shards), images.arithmetic, differentiate=total.differentiate
        )

    pieces = [(total, shard) for total in (train, validation) for shard in total.shards]
    pool.share_out(pieces, work, lambda done: done[0].add(*done[1]))
    return train, validation


def _over_shard(
    p: Parameters, shard: Shard, m: int, arithmetic: Arithmetic, *, differentiate: bool
) -> tuple[Array, Array, Parameters | None]:
    """Return the sums over a shard of losses, hits and, for the mean over m images, the gradient."""
    with np.errstate(all="ignore"):  # a network that diverges is noticed by its loss
        activations = network.forward(p, shard.X)
        losses, hits = network.measure(activations, shard.labels)
        gradient = network.backward(p, activations, shard.X, shard.Y, m) if differentiate else None
    return arithmetic.sum_losses(losses, m), np.count_nonzero(hits, axis=-1), gradient


def _start(tasks: Sequence[TrainingTask], images: Images) -> Stack:
    configs = [task.config for task in tasks]
    dtype, classes = images.arithmetic.dtype, images.classes
    starts = [task.start.parameters if task.start else first_weights(task.config, dtype, classes) for task in tasks]
    curves = [list(task.start.curves) if task.start else [] for task in tasks]
    velocity = None
    if any(config.momentum for config in configs):
        kept = [task.start.velocity if task.start else None for task in tasks]
        velocity = joined([v or Parameters(*map(np.zeros_like, start)) for v, start in zip(kept, starts)])
    return Stack(configs, joined(starts), velocity, tasks[0].iteration, curves)


def selected(p: Parameters, networks: list[int]) -> Parameters:
    """Copy some networks out of a stack; all of them are not copied."""
    return p if len(networks) == len(p[0]) else Parameters(*(array[networks] for array in p))


def _copied(p: Parameters, i: int) -> Parameters:
    return Parameters(*(array[i : i + 1].copy() for array in p))


def _count(shards: Sequence[Shard]) -> int:
    return sum(len(shard.labels) for shard in shards)
