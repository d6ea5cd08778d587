"""Fetch the data set that params.yaml names: `python -m pipeline.fetch`.

MNIST_MIRROR=<directory or URL> is asked first, if it is set; then data/raw, if somebody has put something there.
"""

import os
from itertools import chain
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

    others = [path for path in raw.glob("*") if not (path / forms.RECORD).exists()]
    found = chain.from_iterable(chain([path], path.rglob("*")) for path in others)
    by_hand = any(path.is_file() and not path.name.startswith(".") for path in found)
    return [*filter(None, [mirror()]), *([str(raw)] if by_hand else [])]


def mirror() -> str:
    """Return MNIST_MIRROR, empty if it is not set; a path is made absolute, since DVC runs stages in the checkout."""
    from numnist.data import fetching

    given = os.environ.get("MNIST_MIRROR", "")
    return given if not given or fetching.is_url(given) else os.path.abspath(given)


if __name__ == "__main__":
    cli.run(main, __doc__)
