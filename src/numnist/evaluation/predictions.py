"""What a network says about the images of a split."""

from dataclasses import dataclass

import numpy as np

from numnist import network
from numnist.data.dataset import Split
from numnist.network import Array, Parameters


@dataclass(frozen=True)
class Predictions:
    """Of m images: the classes predicted, the probabilities given to them, and whether they are right, all (m,)."""

    predicted: Array
    confidence: Array
    right: Array

    @property
    def count(self) -> int:
        """How many are right."""
        return int(self.right.sum())


def predict(parameters: Parameters, split: Split) -> Predictions:
    """Ask one network about every image of a split."""
    probabilities = network.probabilities(parameters, split.pixels)
    predicted = probabilities.argmax(axis=1).astype(np.uint8)
    return Predictions(predicted, probabilities.max(axis=1).astype(np.float64), predicted == split.labels)
