"""Say on one screen what somebody who is to help must know: `python -m pipeline.doctor`. Changes nothing."""

from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Print versions, paths, store, lock, what is stale, and what to mend (after a !)."""
    from numnist.reproduce import doctor

    for name, text in doctor.examine(ROOT):
        print(f"{name:<10}{text}".replace("\n", f"\n{'':<10}"), flush=True)


if __name__ == "__main__":
    cli.run(main, __doc__)
