"""Made-up digits for tests: ten blurred patterns with noise, blank borders and rare stray pixels, as MNIST has them."""

import numpy as np

from numnist.data.dataset import Dataset, Split


def split(images: int, seed: int = 0) -> Split:
    rng = np.random.Generator(np.random.PCG64(seed))
    patterns = np.random.Generator(np.random.PCG64(99)).random((10, 20, 20)) > 0.7
    labels = rng.integers(0, 10, images).astype(np.uint8)
    pixels = np.zeros((images, 28, 28), np.uint8)
    ink = patterns[labels] & (rng.random((images, 20, 20)) > 0.2)
    pixels[:, 4:24, 4:24] = ink * rng.integers(100, 256, (images, 20, 20))
    stray = rng.integers(0, 28, (images, 2))
    pixels[np.arange(images), stray[:, 0], stray[:, 1]] = 200
    return Split(pixels.reshape(images, 784), labels)


def dataset(train: int = 600, validation: int = 100) -> Dataset:
    return Dataset("made-up", f"digest of {train} and {validation}", split(train, 1), split(validation, 2))
