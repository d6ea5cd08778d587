"""How every command starts and ends: failures told in a sentence, exit codes as a shell expects."""

import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from numnist.common import files
from numnist.common.errors import InputError, NumnistError
from numnist.config import reader
from numnist.config.schema import Params

ROOT = Path(os.environ["PROJECT_ROOT"])  # set by the package `pipeline`
TERMINATED = 128 + signal.SIGTERM
_NO_ROOM_OR_ACCESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def params() -> Params:
    """Read and check this checkout's params.yaml."""
    return reader.load_params(ROOT / "params.yaml")


def run(command: Callable[[], None]) -> None:
    """Run a command: exit 1 with one message for what a person can mend, 130 after Ctrl-C, 143 after SIGTERM.

    If what reads our output ends early, as in `| head -1`, the command ends in silence with 141, as a shell expects.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        described = stage()
        before = inputs(described)
        try:
            command()
        finally:
            print(end="", flush=True)  # a reader that has gone is noticed now, and not while Python shuts down
        _check_unchanged(before, inputs(described))
    except NumnistError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        if _has_reader():  # another pipe
            raise
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _NO_ROOM_OR_ACCESS:
            raise
        sys.exit(
            f"error: {error.filename}: {error.strerror}. Make room or give access; then run the same command again"
        )
    except KeyboardInterrupt:
        sys.exit(130)


def stage() -> dict[str, Any]:
    """Return what dvc.yaml says of the stage that DVC runs this process for; nothing where a person started it."""
    name = os.environ.get("DVC_STAGE")
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")) if name else {}
    return described.get("stages", {}).get(name, {})


def inputs(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digest of every file or directory that a stage depends on, and the values of its parameters."""
    values = reader.read_yaml(ROOT / "params.yaml") if stage else {}
    parameters = {name.partition(".")[0] for name in stage.get("params", [])}
    return {name: files.digest(ROOT / name) for name in stage.get("deps", [])} | {
        f"{name} (params.yaml)": values.get(name) for name in parameters
    }


def _check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse what a stage made of inputs that were edited meanwhile: DVC would record it as made of the new ones."""
    if changed := sorted(name for name in before if before[name] != after[name]):
        raise InputError(
            f"changed while the stage ran: {', '.join(changed)}. What it made belongs to neither state; "
            "run `dvc repro` again, which keeps the trials that are finished"
        )


def _has_reader() -> bool:
    """Whether somebody still reads our standard output; if not, give it up, so that Python can shut down in silence."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if not output.poll(0):  # poll tells of errors alone: it was asked for nothing else
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return False


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
