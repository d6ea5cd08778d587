"""Fetch the data set that params.yaml names: `python -m pipeline.fetch`.

Where MNIST_MIRROR=<directory or URL> is set, that is asked first.
"""

import os

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Make data/raw hold the data set's files."""
    from numnist.data import fetching

    params = cli.params()
    raw = ROOT / "data" / "raw"
    fetching.fetch(params.source, params.data.name, raw, os.environ.get("MNIST_MIRROR"), root=ROOT)


if __name__ == "__main__":
    cli.run(main)
