"""Turn data/raw into validated arrays, split for training, validation and test: `python -m pipeline.preprocess`."""

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Write data/processed."""
    from numnist.data import dataset

    dataset.preprocess(ROOT / "data" / "raw", ROOT / "data" / "processed", cli.params().data)


if __name__ == "__main__":
    cli.run(main)
