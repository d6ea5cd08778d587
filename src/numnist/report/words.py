"""What the page says in words, so that each sentence follows from the values of a configuration."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from numnist.config.schema import SWEEP_AXES, Common
from numnist.tracking import pages
from numnist.tracking.entities import DIGEST_LENGTH
from numnist.tracking.registry import MODEL

Trial = Mapping[str, Any]  # name and configuration
USUAL = {item.name: item.default for item in fields(Common)}
UI = "http://127.0.0.1:5000"  # where `make ui` serves MLflow's pages
_EXPERIMENT = "1"  # what a store calls the first experiment that is made in it
_PHRASES: dict[str, Callable[[Any], str]] = {
    "initialization": "from {} first weights".format,
    "batch_size": "in batches of {:,} images".format,
    "momentum": "with Nesterov momentum {:g}".format,
    "weight_decay": "with weight decay {:g}".format,
    "schedule": "at a rate that falls to 0 along a {}".format,
    "recipe": "with the {}'s slips".format,
    "arithmetic": "in {} arithmetic".format,
    "train_on": "on {} images that are not for testing".format,
}


def unusual(trial: Trial) -> dict[str, Any]:
    """Return the values that are not the usual ones: plain descent over all training images, from He's weights."""
    return {key: trial[key] for key, usual in USUAL.items() if trial.get(key, usual) != usual}


def setup(trial: Trial) -> str:
    """Name each value that is not the usual one, as the end of a sentence; "" if there is none."""
    phrases = (_PHRASES.get(key, f"with {key} {{}}".format)(value) for key, value in unusual(trial).items())
    return "".join(f", {phrase}" for phrase in phrases)


def iteration(trial: Trial) -> str:
    """Say what an iteration is."""
    if batch := trial["batch_size"]:
        return f"An iteration is a pass over the training images in batches of {batch:,}."
    return "An iteration is one step of descent over all training images at once."


def shorter(trial: Trial) -> str:
    """Say whether trials with fewer iterations are stops on the way of longer ones."""
    if trial["schedule"] == "constant":
        return "Those with fewer are stops on the same way."
    return "Those with fewer are no stops on the same way: their rate falls to 0 sooner."


def command(trial: Trial) -> str:
    """Write the command that trains a network alone."""
    values = {axis: trial[axis] for axis in SWEEP_AXES} | {"initialization": trial["initialization"]} | unusual(trial)
    return " ".join(["python -m pipeline.train", *(f"{key}={value}" for key, value in values.items())])


def links(trial: Trial, digest: str) -> dict[str, str]:
    """Return the addresses of MLflow's pages on a trial's runs and on the registered model.

    They are searches: ids differ from store to store, and a page with them would not be the same everywhere.
    """
    of_trial = f"attributes.run_name = '{trial['name']}' and datasets.digest = '{digest[:DIGEST_LENGTH]}'"
    return {"runs": f"{UI}/{pages.runs_link(_EXPERIMENT, of_trial)}", "model": f"{UI}/#/models/{MODEL}"}


def probability(p: float) -> str:
    """Write a p-value as prose does."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
