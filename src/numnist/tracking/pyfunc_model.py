"""The registered model: what MLflow loads and serves, from weights.npz, this file, and the network's own code.

In: pixels, numbers of any type from 0 (paper) to 255 (ink), as an array or a frame of shape (m, 784), row by row as
MNIST's pictures, or (m, 28, 28).
Out: one row per image: `digit`, the most probable one (or `class`, its name, if the classes are no digits), the
`probabilities` of all classes, and `doubt`, empty if there is none.
MLflow keeps a copy of this file beside the weights, and of what it imports of numnist: `registry.CODE`.
"""

import itertools
import numbers
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from numnist import network
from numnist.network import Parameters

SURE = 0.9  # an answer of lower probability is doubtful: docs/pictures.md has the measurement
FAINTEST_INK = 25  # an image whose pixels differ by less is blank


class Classifier(PythonModel):
    """The network, as MLflow calls it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights and execute nothing; ValueError if they are not a network's."""
        with np.load(context.artifacts["weights"], allow_pickle=False) as archive:
            p = Parameters(*(archive[name] for name in Parameters._fields))
        if not network.is_network(p) or not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in p):
            found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in p._asdict().items())
            raise ValueError(f"weights.npz holds {found}: expected the finite numbers of one network")
        self.network = Parameters(*(array[np.newaxis] for array in p))
        self.names = (context.model_config or {}).get("classes", ())

    def predict(self, context: PythonModelContext, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:
        """Classify images; ValueError if the input is not pixels (module docstring)."""
        return pd.DataFrame(self.answers(check(model_input)))

    def answers(self, pixels: np.ndarray) -> dict[str, list[Any]]:
        """Classify pixels (m, 784) that were checked: by name, the columns of `predict`."""
        probabilities = network.probabilities(self.network, np.rint(pixels))  # whole numbers: their sums are exact
        labels = probabilities.argmax(axis=1).tolist()
        answers = {"class": [self.names[label] for label in labels]} if self.names else {"digit": labels}
        return answers | {"probabilities": probabilities.tolist(), "doubt": doubts(pixels, probabilities, self.names)}


def check(pixels: Any) -> np.ndarray:
    """Return the pixels as float32 (m, 784), or raise a ValueError that says what is wrong."""
    pixels = np.asarray(pixels.toarray() if hasattr(pixels, "toarray") else _in_order(pixels))
    if pixels.dtype == object and all(isinstance(pixel, numbers.Real) for pixel in pixels.flat):  # pandas' Int64, say
        pixels = pixels.astype(np.float64)
    if pixels.shape[1:] == (28, 28):
        pixels = pixels.reshape(-1, 784)
    if pixels.dtype.kind not in "uif":
        raise ValueError(
            f"pixels have the type {pixels.dtype}, expected numbers from 0 to 255, such as uint8 or float32"
        )
    if pixels.ndim != 2 or pixels.shape[1] != 784:
        raise ValueError(f"pixels have the shape {pixels.shape}, expected (m, 784) or (m, 28, 28)")
    if not np.isfinite(pixels).all():
        raise ValueError("pixels hold NaN or infinity, expected numbers from 0 to 255")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 255):
        raise ValueError(f"pixels lie from {pixels.min():g} to {pixels.max():g}, expected 0 to 255")
    if (brightest := pixels.max(axis=1, initial=0)[pixels.any(axis=1)]).size and brightest.min() <= 1:
        raise ValueError("an image's brightest pixel is 1 or less, expected 0 (paper) to 255 (ink): multiply by 255")
    return np.asarray(pixels, np.float32)


def _in_order(pixels: Any) -> Any:
    """Refuse a table whose columns are numbered in another order than the pixels, row after row."""
    named = [re.fullmatch(r"(?:pixel)?(\d+)", str(name)) for name in getattr(pixels, "columns", ())]
    found = [int(match[1]) for match in named if match]
    if len(found) == len(named) and any(later - one != 1 for one, later in itertools.pairwise(found)):
        raise ValueError("the table's columns are numbered in another order than pixel0 to pixel783: sort them first")
    return pixels


def doubts(pixels: np.ndarray, probabilities: np.ndarray, names: Sequence[str] = ()) -> list[str]:
    """Say of each image (m, 784) whether it is blank or inverted, else which two answers are likely; "" if one is sure.

    `names` are those of the classes, if they are not 0, 1, 2 ...
    """
    said = []
    for image, shares in zip(pixels, probabilities):
        first, second = np.argsort(-shares, kind="stable")[:2]
        either = (f"{names[k] if names else k} ({shares[k]:.1%})" for k in (first, second))
        if np.ptp(image) < FAINTEST_INK:
            said.append("blank: nothing is written there")
        elif (np.delete(image.reshape(28, 28), np.s_[1:-1], axis=0) > 127).mean() > 0.5 < (image > 127).mean():
            said.append("inverted: dark ink on light paper; send 255 minus each pixel")
        else:
            said.append("" if shares[first] >= SURE else f"unsure: {' or '.join(either)}")
    return said


set_model(Classifier())
