"""One short training on made-up pictures, and the hash of all its bits: `python tests/short_training.py` prints it.

It needs NumPy and nothing else, so that it runs on any machine. Options turn what must change no bit:
--threads 3, --shards 4 (of how many images about), --reversed (the images in the other order).
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "src")]

import numpy as np  # noqa: E402

from numnist.training import blank_pixels, loop  # noqa: E402
from numnist.training.loop import State, TrainingTask  # noqa: E402
from numnist.training.threads import Threads  # noqa: E402


class Pictures(NamedTuple):
    """As a data set's split."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Config:
    """As a TrainingConfig, which needs more than NumPy."""

    hidden_size: int = 10
    learning_rate: float = 0.5
    iterations: int = 4
    seed: int = 0
    initialization: str = "he"
    batch_size: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    recipe: str = "note"
    train_on: str = "training"


PLAIN = Config()
STACKS = (  # full batch, momentum, decay, cosine, the notebook's recipe, another size, batches; one network diverges
    (PLAIN, Config(seed=1, learning_rate=1.0), Config(momentum=0.9), Config(weight_decay=0.01, schedule="cosine"),
     Config(recipe="notebook", initialization="uniform"), Config(learning_rate=1e8)),
    (Config(hidden_size=64),),
    (Config(batch_size=100, momentum=0.9, weight_decay=0.01, schedule="cosine"), Config(batch_size=100, seed=2)),
)  # fmt: skip


def pictures(images: int, seed: int) -> Pictures:
    """Make up pictures by whole numbers: ten patterns of ink, each picture with most of its pattern, some moved."""
    raw = np.random.PCG64(seed).random_raw(images * 784).reshape(images, 784) >> np.uint64(40)
    labels = (raw[:, 0] % 10).astype(np.uint8)
    patterns = np.random.PCG64(99).random_raw(7840).reshape(10, 784) % 10 > 6
    ink = patterns[labels] & (raw % 5 > 0)
    square = ink.reshape(images, 28, 28)
    square[:, :4] = square[:, 24:] = square[:, :, :4] = square[:, :, 24:] = False
    moved = np.where((labels % 2 == 0)[:, np.newaxis, np.newaxis], np.roll(square, 3, axis=2), square)
    return Pictures((moved.reshape(images, 784) * (100 + raw % 156)).astype(np.uint8), labels)


def states(*, threads: int = 2, reversed_images: bool = False) -> Iterator[State]:
    """Train all stacks, and yield each network as it leaves its own."""
    train, validation = pictures(1000, 1), pictures(100, 2)
    if reversed_images:  # in batches, the order of the images matters
        train = Pictures(train.pixels[::-1], train.labels[::-1])
    images = loop.lay_out(train, validation)
    with Threads(threads) as pool:
        for configs in STACKS[:2] if reversed_images else STACKS:
            left: dict[Config, State] = {}
            for stack in loop.train_stack([TrainingTask(config) for config in configs], images, pool):
                left |= {config: stack.state(i) for i, config in enumerate(stack.configs)}
            yield from left.values()


def digest(found: Iterator[State]) -> str:
    """Hash every weight and curve, in the byte order of most machines."""
    sha = hashlib.sha256()
    for state in found:
        arrays = (state.curves[:-1],) if state.diverged else (*state.parameters, state.curves)
        for array in arrays:
            sha.update(np.ascontiguousarray(array, "<f8").tobytes())
    return sha.hexdigest()


def data_digest() -> str:
    """Hash the pictures."""
    return hashlib.sha256(b"".join(array.tobytes() for array in (*pictures(1000, 1), *pictures(100, 2)))).hexdigest()


def main() -> None:
    """Print the hash."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shards", type=int, default=blank_pixels.SHARD_IMAGES)
    parser.add_argument("--reversed", action="store_true")
    options = parser.parse_args()
    blank_pixels.SHARD_IMAGES = options.shards
    print(digest(states(threads=options.threads, reversed_images=options.reversed)))


if __name__ == "__main__":
    main()
