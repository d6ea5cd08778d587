"""How every command starts and ends: numerics pinned, failures told in a sentence, exit codes as a shell expects."""

import re
import signal
import sys
from collections.abc import Callable
from types import FrameType

from numnist import config, numerics
from numnist.config import Params
from numnist.errors import NumnistError
from pipeline import ROOT

TERMINATED = 128 + signal.SIGTERM


def params() -> Params:
    """Read and check this checkout's params.yaml."""
    return config.load_params(ROOT / "params.yaml")


def run(command: Callable[[], None]) -> None:
    """Run a command: exit 1 with one message for what a person can mend, 130 after Ctrl-C, 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        numerics.pin(_requested_numerics())
        command()
    except NumnistError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _requested_numerics() -> str:
    """Return the mode given as numerics=... on the command line, else the one in params.yaml."""
    for argument in sys.argv[1:]:
        if match := re.fullmatch(r"\+{0,2}numerics=(.*)", argument):
            return config.parse_numerics(match[1], "the command line")
    return params().numerics


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
