"""Gradient descent for a stack of networks, on several threads, with the same bits always.

Full-batch: the threads share out shards of images (`blocks`); each shard's sums are added to the total in the shards'
order. In batches: the threads share out the networks (`minibatches`). BLAS itself uses one thread (`numerics`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from numnist import network
from numnist.config.schema import TrainingConfig
from numnist.data.dataset import Split
from numnist.network import Parameters
from numnist.training import blank_pixels, minibatches, optimizer
from numnist.training.blank_pixels import Shard
from numnist.training.optimizer import arrays, members
from numnist.training.threads import Threads

DIVERGENCE_LOSS = 1_000.0  # a mean loss (nats) that no network comes back from; guessing has 2.3
TRAIN_CURVES = ("train_loss", "train_accuracy")
CURVES = (*TRAIN_CURVES, "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class State:
    """One network after some iterations: all that its further training depends on, and its curves so far."""

    parameters: Parameters  # a stack of one
    curves: np.ndarray  # (iterations + 1, 4) float64, in the order of CURVES
    velocity: Parameters | None = None  # where there is momentum

    @property
    def iteration(self) -> int:
        """How many iterations it has had."""
        return len(self.curves) - 1

    @property
    def diverged(self) -> bool:
        """Whether its loss was no longer a number, or beyond hope: then its last row is NaN."""
        return bool(np.isnan(self.curves[-1, 0]))


@dataclass(frozen=True)
class Images:
    """What networks are trained and measured on, laid out."""

    train: Sequence[Shard]
    validation: Sequence[Shard]
    split: Split  # the training images as they are, for batches

    @property
    def share(self) -> float:
        """The training images' share of all rows, over which the notebook takes its means."""
        m = _count(self.train)
        return m / (m + _count(self.validation))


def lay_out(train: Split, validation: Split, dtype: str = "float32") -> Images:
    """Cut the images of both splits into shards of blocks."""
    return Images(blank_pixels.layout(train, dtype), blank_pixels.layout(validation, dtype), train)


@dataclass(frozen=True)
class TrainingTask:
    """A network to be trained up to `config.iterations`, from its first weights or from a state on the way."""

    config: TrainingConfig
    start: State | None = None

    @property
    def iteration(self) -> int:
        """Where it starts."""
        return self.start.iteration if self.start else 0


def first_weights(config: TrainingConfig, dtype: str = "float32") -> Parameters:
    """Draw a network's first weights from the stream that its seed sets aside for them."""
    stream = np.random.SeedSequence(config.seed).spawn(1)[0]
    rng = np.random.Generator(np.random.PCG64(stream))
    return network.initialize(config.hidden_size, rng=rng, scheme=config.initialization, dtype=dtype)


@dataclass(frozen=True)
class Stack:
    """Networks of one hidden size after the same number of iterations, trained together."""

    configs: Sequence[TrainingConfig]
    parameters: Parameters  # with padded hidden units
    velocity: Parameters | None  # where one of them has momentum
    curves: Sequence[list[np.ndarray]]  # for each network its rows so far, each (4,)

    def state(self, i: int) -> State:
        """Copy network i out of the stack, without its padding."""
        velocity = self._member(self.velocity, i) if self.velocity and self.configs[i].momentum else None
        return State(self._member(self.parameters, i), np.array(self.curves[i]), velocity)

    def _member(self, p: Parameters, i: int) -> Parameters:
        one, hidden = slice(i, i + 1), self.configs[i].hidden_size
        return Parameters(
            p.W1[one, :hidden].copy(), p.b1[one, :hidden].copy(), p.W2[one, :, :hidden].copy(), p.b2[one].copy()
        )

    @property
    def iteration(self) -> int:
        """How many iterations its networks have had."""
        return len(self.curves[0]) - 1

    def diverged(self, i: int) -> bool:
        """Whether network i's last row is NaN."""
        return bool(np.isnan(self.curves[i][-1][0]))

    def unfinished(self) -> list[int]:
        """Which networks still have iterations to go and a loss that is finite."""
        return [
            i for i, config in enumerate(self.configs) if config.iterations > self.iteration and not self.diverged(i)
        ]

    def selected(self, networks: list[int]) -> "Stack":
        """Keep some of the networks."""
        velocity = members(self.velocity, networks) if self.velocity else None
        configs, curves = [self.configs[i] for i in networks], [self.curves[i] for i in networks]
        return Stack(configs, members(self.parameters, networks), velocity, curves)

    def record(self, train: "Means", validation: "Means") -> None:
        """Add a row to every network's curves, in their place: NaN where the loss is beyond hope."""
        for rows, *measured in zip(self.curves, *train, *validation):
            rows.append(np.array(measured) if measured[0] < DIVERGENCE_LOSS else np.full(len(CURVES), np.nan))


Means = tuple[np.ndarray, np.ndarray]  # loss and accuracy, each (n,)


def train_stack(
    tasks: Sequence[TrainingTask], images: Images, pool: Threads, *, rows_per_network: int = 1, dtype: str = "float32"
) -> Iterator[Stack]:
    """Train networks with the same stack key together, and yield the stack after every iteration.

    All start after the same number of iterations. A network leaves the stack when it has had its iterations, or when
    its loss is not finite. Hidden units are filled up to a multiple of `rows_per_network`: such a unit has no weights,
    no activation and no gradient. A stack holds until the next one is asked for; `Stack.state` makes copies.

    Row k of the curves is measured after k iterations; in batches, its training loss and accuracy are the means met in
    iteration k.
    """
    stack = _start(tasks, rows_per_network, dtype)
    return (_in_batches if stack.configs[0].batch_size else _full_batch)(stack, images, pool)


def _full_batch(stack: Stack, images: Images, pool: Threads) -> Iterator[Stack]:
    """Take one step an iteration, over all images; what a pass measures is that of the weights before its step."""
    for rows in stack.curves:
        del rows[-1:]  # measured again, on the way to the gradient
    stack = replace(stack, parameters=_pixel_major(stack.parameters))
    while True:
        descend = any(config.iterations > len(rows) for config, rows in zip(stack.configs, stack.curves))
        train, validation = _sums(stack.parameters, (images.train, descend), (images.validation, False), pool=pool)
        stack.record(train.means(), validation.means())
        yield stack
        going_on = stack.unfinished()
        if not going_on or train.gradient is None:
            return
        stack, gradient = stack.selected(going_on), members(train.gradient, going_on)
        gradient = optimizer.of_recipe(gradient, stack.configs, images.share)
        [rates] = optimizer.rates(stack.configs, stack.iteration, 1, stack.parameters.W1.dtype)
        parameters, velocity = optimizer.step(stack.parameters, gradient, stack.velocity, rates)
        stack = replace(stack, parameters=parameters, velocity=velocity)


def _in_batches(stack: Stack, images: Images, pool: Threads) -> Iterator[Stack]:
    """Take one step a batch, and one pass over all images an iteration."""

    def measured(shards: Sequence[Shard]) -> Means:
        [total] = _sums(stack.parameters, (shards, False), pool=pool)
        return total.means()

    if not stack.curves[0]:
        stack.record(measured(images.train), measured(images.validation))
    yield stack
    while going_on := stack.unfinished():
        stack = stack.selected(going_on)
        parameters, velocity, loss, accuracy = minibatches.iterate(
            stack.configs, stack.parameters, stack.velocity, stack.iteration, images.split, images.share, pool
        )
        stack = replace(stack, parameters=parameters, velocity=velocity)
        stack.record((loss, accuracy), measured(images.validation))
        yield stack


def _start(tasks: Sequence[TrainingTask], rows_per_network: int, dtype: str) -> Stack:
    configs = [task.config for task in tasks]
    padding = -configs[0].hidden_size % rows_per_network
    starts = [task.start.parameters if task.start else first_weights(task.config, dtype) for task in tasks]
    curves = [list(task.start.curves) if task.start else [] for task in tasks]
    velocity = None
    if any(config.momentum for config in configs):
        kept = [task.start.velocity if task.start else None for task in tasks]
        velocity = _joined([v or optimizer.zeros(start) for v, start in zip(kept, starts)], padding)
    return Stack(configs, _joined(starts, padding), velocity, curves)


def _joined(networks: Sequence[Parameters], padding: int) -> Parameters:
    """Put networks into one stack, each with so many hidden units more whose weights are all zero."""
    padded = [_padded(one, padding) for one in networks]
    return Parameters(*(np.concatenate(each) for each in zip(*map(arrays, padded))))


@dataclass(frozen=True)
class _Sums:
    """What is added up over images: losses and hits, each (n,), and the gradient where it is wanted."""

    images: int
    loss: np.ndarray
    hits: np.ndarray
    gradient: Parameters | None

    def means(self) -> Means:
        """Return mean loss and accuracy, each (n,)."""
        return self.loss / self.images, self.hits / self.images

    def plus(self, other: "_Sums") -> "_Sums":
        """Add another's, the gradient in the place of this one's."""
        if self.gradient and other.gradient:
            for whole, more in zip(arrays(self.gradient), arrays(other.gradient)):
                whole += more
        return _Sums(self.images + other.images, self.loss + other.loss, self.hits + other.hits, self.gradient)


def _sums(p: Parameters, *passes: tuple[Sequence[Shard], bool], pool: Threads) -> list[_Sums]:
    """Measure each pass's shards, differentiate where the pass comes with True, and add up in the shards' order."""
    totals: dict[int, _Sums] = {}

    def work(piece: tuple[int, Shard, int, bool]) -> tuple[int, _Sums]:
        number, shard, m, descend = piece
        return number, _over_shard(p, shard, m, descend=descend)

    def add(done: tuple[int, _Sums]) -> None:
        number, sums = done
        totals[number] = totals[number].plus(sums) if number in totals else sums

    pieces = []
    for number, (shards, descend) in enumerate(passes):
        m = _count(shards)
        pieces += [(number, shard, m, descend) for shard in shards]
    pool.share_out(pieces, work, add)
    return list(totals.values())


def _count(shards: Sequence[Shard]) -> int:
    return sum(len(shard.labels) for shard in shards)


def _over_shard(p: Parameters, shard: Shard, m: int, *, descend: bool) -> _Sums:
    """Add up over a shard, the gradient for the mean over m images."""
    with np.errstate(all="ignore"):  # a network that diverges is noticed by its loss
        activations = network.forward(p, shard.X)
        losses, hits = network.measure(activations, shard.labels)
        loss, hits = losses.sum(axis=-1, dtype=np.float64), np.count_nonzero(hits, axis=-1)
        gradient = network.backward(p, activations, shard.X, shard.Y, m) if descend else None
    return _Sums(len(shard.labels), loss, hits, gradient)


def _pixel_major(p: Parameters) -> Parameters:
    """Lay W1 out in memory by pixels: then a block's are copied in long rows, ten times as fast. Shapes stay."""
    W1 = np.moveaxis(np.ascontiguousarray(np.moveaxis(p.W1, -1, 0)), 0, -1)
    return Parameters(W1, p.b1, p.W2, p.b2)


def _padded(p: Parameters, units: int) -> Parameters:
    """Append hidden units whose weights are all zero."""

    def rows(array: np.ndarray, axis: int) -> np.ndarray:
        return np.pad(array, [(0, units if i == axis else 0) for i in range(3)])

    return Parameters(rows(p.W1, 1), rows(p.b1, 1), rows(p.W2, 2), p.b2)
