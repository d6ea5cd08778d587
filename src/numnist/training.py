"""Gradient descent for a stack of networks: full passes over lanes of images, on several threads, the same bits always.

The threads share out the lanes; each lane's sums are added to the total in the lanes' order. BLAS itself uses one
thread (`numerics`).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np

from numnist import network
from numnist.blocks import Lane
from numnist.config import TrainingConfig
from numnist.network import Parameters

BEYOND_HOPE = 1_000.0  # a mean loss (nats) that no network comes back from; guessing has 2.3
CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class State:
    """One network after some iterations: all that its further course depends on, and its curves so far."""

    parameters: Parameters  # a stack of one
    curves: np.ndarray  # (iterations + 1, 4) float64, in the order of CURVES; row k is measured after k updates

    @property
    def iteration(self) -> int:
        """How many updates it has had."""
        return len(self.curves) - 1

    @property
    def diverged(self) -> bool:
        """Whether its loss was no longer a number, or beyond hope: then its last row is NaN."""
        return bool(np.isnan(self.curves[-1, 0]))


@dataclass(frozen=True)
class Images:
    """The two parts of a data set, laid out."""

    train: Sequence[Lane]
    validation: Sequence[Lane]


@dataclass(frozen=True)
class Course:
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
    curves: Sequence[list[np.ndarray]]  # for each network its rows so far, each (4,)

    def state(self, i: int) -> State:
        """Copy network i out of the stack, without its padding."""
        p, hidden = self.parameters, self.configs[i].hidden_size
        one = slice(i, i + 1)
        member = Parameters(
            p.W1[one, :hidden].copy(), p.b1[one, :hidden].copy(), p.W2[one, :, :hidden].copy(), p.b2[one].copy()
        )
        return State(member, np.array(self.curves[i]))

    @property
    def iteration(self) -> int:
        """How many updates its networks have had."""
        return len(self.curves[0]) - 1

    def diverged(self, i: int) -> bool:
        """Whether network i's last row is NaN."""
        return bool(np.isnan(self.curves[i][-1][0]))

    def unfinished(self) -> list[int]:
        """Which networks still have iterations to go and a loss that is finite."""
        return [
            i for i, config in enumerate(self.configs) if config.iterations > self.iteration and not self.diverged(i)
        ]


def train_stack(
    courses: Sequence[Course], images: Images, pool: Executor, *, rows_per_network: int = 1, dtype: str = "float32"
) -> Iterator[Stack]:
    """Train networks of one hidden size and starting point together, and yield the stack after every iteration.

    A network leaves the stack when it has had its iterations, or when its loss is not finite. Hidden units are filled
    up to a multiple of `rows_per_network`: such a unit has no weights, no activation and no gradient.
    """
    stack = _start(courses, rows_per_network, dtype)
    while True:
        descend = any(config.iterations >= len(rows) + 1 for config, rows in zip(stack.configs, stack.curves))
        passes = [
            _begin(stack.parameters, images.train, pool, descend=descend),
            _begin(stack.parameters, images.validation, pool, descend=False),
        ]
        train, validation = map(_total, passes)
        for rows, *measured in zip(stack.curves, *train.means(), *validation.means()):
            rows.append(np.array(measured) if measured[0] < BEYOND_HOPE else np.full(len(CURVES), np.nan))
        yield stack
        going_on = stack.unfinished()
        if not going_on or train.gradient is None:
            return
        stack, gradient = _selected(stack, going_on), _members(train.gradient, going_on)
        alpha = np.array([config.learning_rate for config in stack.configs], dtype)[:, np.newaxis, np.newaxis]
        stack = replace(stack, parameters=network.update(stack.parameters, gradient, alpha))


def _start(courses: Sequence[Course], rows_per_network: int, dtype: str) -> Stack:
    configs = [course.config for course in courses]
    padding = -configs[0].hidden_size % rows_per_network
    starts = [course.start.parameters if course.start else first_weights(course.config, dtype) for course in courses]
    curves = [list(course.start.curves[:-1]) if course.start else [] for course in courses]
    members = [_padded(start, padding) for start in starts]
    return Stack(configs, Parameters(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, members)))), curves)


@dataclass(frozen=True)
class _Sums:
    """What is added up over images: losses and hits, each (n,), and the gradient where it is wanted."""

    images: int
    loss: np.ndarray
    hits: np.ndarray
    gradient: Parameters | None

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean loss and accuracy, each (n,)."""
        return self.loss / self.images, self.hits / self.images


def _begin(p: Parameters, lanes: Sequence[Lane], pool: Executor, *, descend: bool) -> "list[Future[_Sums]]":
    """Hand the lanes to the pool, to be measured and, if `descend`, differentiated."""
    m = sum(len(block.labels) for lane in lanes for block in lane)
    return [pool.submit(_over_lane, p, lane, m, descend=descend) for lane in lanes]


def _total(lanes: "list[Future[_Sums]]") -> _Sums:
    """Add up the lanes, in their order, in the place of the first one's gradient."""
    first, *others = (lane.result for lane in lanes)
    total = first()
    for result in others:
        part = result()
        total = _Sums(total.images + part.images, total.loss + part.loss, total.hits + part.hits, total.gradient)
        if total.gradient and part.gradient:
            for whole, more in zip(_arrays(total.gradient), _arrays(part.gradient)):
                whole += more
    return total


def _over_lane(p: Parameters, lane: Lane, m: int, *, descend: bool) -> _Sums:
    """Add up over a lane, the gradient for the mean over m images."""
    images, loss, hits = 0, np.zeros(len(p.W1)), np.zeros(len(p.W1))
    gradient = Parameters(*map(np.zeros_like, _arrays(p))) if descend else None
    for block in lane:
        inked = Parameters(np.take(p.W1, block.pixels, axis=-1), p.b1, p.W2, p.b2)
        with np.errstate(all="ignore"):  # a network that diverges is noticed by its loss
            activations = network.forward(inked, block.X)
            block_losses, block_hits = network.measure(activations, block.labels)
            images += len(block.labels)
            loss += block_losses.sum(axis=-1, dtype=np.float64)
            hits += block_hits.sum(axis=-1)
            if gradient:
                _add(gradient, network.backward(inked, activations, block.X, block.Y, m), block.pixels)
    return _Sums(images, loss, hits, gradient)


def _add(total: Parameters, part: Parameters, pixels: np.ndarray) -> None:
    """Add a block's gradient to the total, in the total's place."""
    total.W1[..., pixels] += part.W1
    for whole, more in zip(_arrays(total)[1:], _arrays(part)[1:]):
        whole += more


def _padded(p: Parameters, units: int) -> Parameters:
    """Append hidden units whose weights are all zero."""

    def rows(array: np.ndarray, axis: int) -> np.ndarray:
        return np.pad(array, [(0, units if i == axis else 0) for i in range(3)])

    return Parameters(rows(p.W1, 1), rows(p.b1, 1), rows(p.W2, 2), p.b2)


def _selected(stack: Stack, networks: list[int]) -> Stack:
    configs, curves = [stack.configs[i] for i in networks], [stack.curves[i] for i in networks]
    return Stack(configs, _members(stack.parameters, networks), curves)


def _members(p: Parameters, networks: list[int]) -> Parameters:
    return Parameters(*(array[networks] for array in _arrays(p)))


def _arrays(p: Parameters) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return p.W1, p.b1, p.W2, p.b2
