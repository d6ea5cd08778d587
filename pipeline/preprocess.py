"""Turn a data set's files into arrays, split for training, validation and test: `python -m pipeline.preprocess`."""

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Write data/processed."""
    from numnist.data import dataset

    params = cli.params()
    dataset.preprocess(
        ROOT / "data" / "raw" / params.data.name, ROOT / "data" / "processed", params.data, params.source.classes
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
