"""A Dask worker that computes as the launcher does: `python -m pipeline.worker ADDRESS`, with `dask worker`'s options.

It is Dask's own worker: this pins the arithmetic before that imports NumPy, and gives it one stack at a time. The
numerics are those of params.yaml, or of numerics=... among the arguments.
"""

import sys

from numnist.errors import ExecutorError
from pipeline import cli


def main() -> None:
    """Start the worker, and its nanny, which starts another where it dies."""
    try:
        from distributed.cli.dask_worker import main as worker
    except ModuleNotFoundError:
        raise ExecutorError("a worker needs the package distributed; run `pip install -e '.[dask]'`") from None
    worker(["--nthreads", "1", "--no-dashboard", *(it for it in sys.argv[1:] if not it.startswith("numerics="))])


if __name__ == "__main__":
    cli.run(main)
