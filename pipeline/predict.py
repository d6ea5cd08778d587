"""Read digits with a trained network: `python -m pipeline.predict picture.png [more...] [--show] [--run RUN_ID]`.

Kaggle's digit-recognizer: `python -m pipeline.predict --kaggle test.csv submission.csv`. For the model server
(`make serve`): `python -m pipeline.predict --json picture.png [more...]` prints the pixels as it takes them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from numnist.common.errors import DataError
from numnist.config import cli
from numnist.config.schema import DIGITS
from pipeline import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numnist.network import Parameters


def main() -> None:
    """Print what the network sees in each picture, or answer Kaggle's test.csv."""
    arguments = _arguments()
    if arguments.json:
        print_json(arguments.pictures)
        return
    from numnist.data import dataset
    from numnist.training import results

    with tempfile.TemporaryDirectory() as directory:
        path, data = weights_of(arguments.run, Path(directory))
        network = results.read_weights(path)
    names = dataset.classes_of(ROOT / "data" / "processed", data)
    if arguments.kaggle:
        if names not in ((), DIGITS):
            raise DataError(f"Kaggle's competition is for digits, and this network reads {', '.join(names)[:60]}")
        answer_kaggle(network, *arguments.kaggle)
        return
    failed = [path for path in arguments.pictures if not read_picture(network, path, names, show=arguments.show)]
    if failed:
        raise SystemExit(1)


def print_json(paths: list[Path]) -> None:
    """Print what the network would see in each picture, in the form that the model server takes."""
    from numnist.inference import digit_images

    print(json.dumps({"inputs": [digit_images.read(path).tolist() for path in paths]}))


def weights_of(run: str, directory: Path) -> tuple[Path, str]:
    """Copy the weights file of the champion or of an MLflow run into a directory, and say which network answers.

    Returned are the copy and the digest of the data set that the network was trained on.
    """
    from numnist.tracking import champion, recorded, registry, runs

    tracker = runs.connect(ROOT)
    if run != registry.CHAMPION:
        trial = recorded.read_trial(tracker.store, run)
        return recorded.copy_weights(tracker.store, trial, directory), trial.data_digest
    found = champion.champion(tracker, ROOT)
    print(f"asking {found.words}", file=sys.stderr)
    return registry.weights_of(tracker.store, found.version, directory), found.version.tags.get(registry.DATA, "")


def read_picture(weights: "Parameters", path: Path, names: "Sequence[str]", *, show: bool) -> bool:
    """Print what a picture shows and the classes' probabilities, or why there are none; return whether there were."""
    from numnist import network
    from numnist.inference import digit_images, prediction

    try:
        pixels = digit_images.read(path)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    probability = network.probabilities(weights, pixels[None])[0]
    print(f"{path}: {prediction.verdict(pixels, probability, names)}\n{prediction.chart(probability, names)}")
    if show:
        print(prediction.blocks(pixels))
    return True


def answer_kaggle(weights: "Parameters", test: Path, submission: Path) -> None:
    """Write the digit of each row of test.csv in the form that Kaggle scores."""
    from numnist import network
    from numnist.data import kaggle

    kaggle.check_submission(submission)  # before the work, and again when it is written
    digits = network.probabilities(weights, kaggle.read_test(test)).argmax(axis=1)
    kaggle.write_submission(submission, digits)
    print(f"{submission}: {len(digits):,} digits")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pipeline.predict", description="Read digits with a trained network.")
    add = parser.add_argument
    add("pictures", nargs="*", type=Path, help="files in PNG, JPEG, WebP, BMP, TIFF or GIF, one digit each")
    add("--show", action="store_true", help="draw what the network sees, 28 x 28 pixels")
    add("--json", action="store_true", help="ask no network: print the pixels in the form that the model server takes")
    add("--run", default="champion", metavar="RUN_ID", help="the MLflow run whose network is asked (else the champion)")
    add("--kaggle", nargs=2, type=Path, metavar=("TEST", "SUBMISSION"), help="answer test.csv with submission.csv")
    arguments = parser.parse_args()
    if bool(arguments.pictures) == bool(arguments.kaggle) or (arguments.json and arguments.kaggle):
        parser.error("give pictures, or --kaggle test.csv submission.csv")
    return arguments


if __name__ == "__main__":
    cli.run(main)
