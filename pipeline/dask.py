"""Dask's own command line, on this checkout's code: `python -m pipeline.dask scheduler`, `... worker ADDRESS`.

It gives a worker one stack at a time. All other arguments are Dask's.
"""

import sys

from numnist.common.errors import ExecutorError
from numnist.config import cli

_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"  # Dask's setting of what its workers find in their environment


def main() -> None:
    """Start a scheduler, or a worker and the nanny that starts another if it dies."""
    try:
        import dask
        import distributed  # noqa: F401  (whose settings are there once it is imported)
        from dask.cli import run_cli
    except ModuleNotFoundError:
        raise ExecutorError("this needs the package distributed; run `pip install -e '.[dask]'`") from None
    command, *rest = sys.argv[1:] or ["--help"]
    sys.argv = [sys.argv[0], command, *(["--nthreads", "1", "--no-dashboard"] if command == "worker" else []), *rest]
    environment = dict(dask.config.get(_ENVIRONMENT, {}))
    environment.pop("MALLOC_TRIM_THRESHOLD_", None)  # Dask's costs 40%: every array would be mapped anew
    dask.config.set({_ENVIRONMENT: environment})
    try:
        run_cli()  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # such as a worker without an address
        raise ExecutorError(f"Dask's {command}: {error}") from None


if __name__ == "__main__":
    cli.run(main)
