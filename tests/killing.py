"""Kill a sweep at random moments, and start it again after each, until that has happened often enough.

Run in a checkout made by `checkout`: `python -m killing SEED KILLS`. Each round starts from nothing and ends with a
sweep that came through; its files are moved to rounds/<number>. Rounds 0 and 1 are undisturbed, and the latter says how
long a sweep takes; moments lie within three quarters of that. Processes are forked off this one, which has imported
everything, so that the moments fall into the work. The last line printed is {"kills": ..., "rounds": ..., ...}.
"""

import importlib
import json
import multiprocessing
import random
import shutil
import signal
import sys
import time

from numnist.config import cli
from pipeline import ROOT

IMPORTED = (
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "numnist.training.session",
    "pandas",
    "pipeline.train",
)


def work() -> None:
    """Do what `python -m pipeline.train -m +experiment=grid` does, with checkpoints all the time."""
    from numnist.training import scheduling
    from pipeline import train

    sys.argv = ["pipeline.train", "-m", "+experiment=grid"]
    scheduling.CHECKPOINT_SECONDS = 0.02  # type: ignore[assignment]
    cli.run(train.main)


def start_and_kill(seconds: float | None) -> bool:
    """Start the sweep and kill it after so many seconds; return whether it had come through by then."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        sys.exit(f"a sweep ended with {process.exitcode}")
    return process.exitcode == 0


def keep_round(number: int) -> None:
    """Move away what a round made, so that the next one starts from nothing; the tracked runs stay."""
    kept = ROOT / "rounds" / str(number)
    kept.mkdir(parents=True)
    for name in ("runs", "sweep.csv", ".checkpoints"):
        shutil.move(ROOT / name, kept / name)


def main(seed: int, wanted: int) -> None:
    for number in (0, 1):  # the first creates the tracking store
        began = time.monotonic()
        start_and_kill(None)
        seconds = time.monotonic() - began
        keep_round(number)
    moments = random.Random(seed)
    kills, rounds = 0, 2
    while kills < wanted:
        while not start_and_kill(moments.uniform(0, 0.75 * seconds) if kills < wanted else None):
            kills += 1
        keep_round(rounds)
        rounds += 1
    print(json.dumps({"kills": kills, "rounds": rounds, "seconds": seconds}))


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    main(int(sys.argv[1]), int(sys.argv[2]))
