"""Fetch the data set that params.yaml names: `python -m pipeline.fetch`.

MNIST_MIRROR=<directory or URL> is asked first, if it is set; then data/raw, if somebody has put something there.
"""

import os
from pathlib import Path

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Make data/raw/<name of the data set> hold its files."""
    from numnist.data import fetching

    params = cli.params()
    raw = ROOT / "data" / "raw"
    fetching.fetch(params.source, params.data.name, raw / params.data.name, places(raw), root=ROOT)


def places(raw: Path) -> list[str]:
    """Return where a data set may have been put by hand."""
    from numnist.data import forms

    by_hand = raw.is_dir() and any(not (path / forms.RECORD).exists() for path in raw.iterdir())
    return [*filter(None, [os.environ.get("MNIST_MIRROR")]), *([str(raw)] if by_hand else [])]


if __name__ == "__main__":
    cli.run(main)
