"""How every command starts and ends: failures said in a sentence, exit codes as a shell expects."""

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from numnist.common import dvc_lock
from numnist.common.errors import ConfigError, InputError, NumnistError
from numnist.config import reader
from numnist.config.schema import Params

ROOT = Path(os.environ["PROJECT_ROOT"])  # set by the package `pipeline`
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGHUP)  # exit codes after these signals
_REMEDIES = {  # what helps with an error of the operating system, by its number
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Give access"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "Something else lies there: move it away"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit on open files (`ulimit -n`)"),
    errno.ENAMETOOLONG: "Give a shorter name",
}
_UNUSABLE = "?%{}"
_NO_MEMORY_ERRORS = (MemoryError, SystemError)  # SystemError: what compiled code without memory leaves, as pandas
_NO_MEMORY = ("Cannot allocate memory", "can't start new thread", "failed to map segment")  # of any kind of error


def params() -> Params:
    """Read and check this checkout's params.yaml."""
    return reader.load_params(ROOT / "params.yaml")


def run(command: Callable[[], None], about: str | None = None) -> None:
    """Run a command: exit 1 with one message for what a person can mend, 128 and its number after a signal.

    `about` describes a command without arguments. If what reads our output ends early, as in `| head -1`, or has no
    room, the command does its work all the same. Then it ends in silence with 141, as a shell expects, or says what it
    could not print; a stage, whose output DVC does not need, with 0.
    """
    outlive_readers()
    if about is not None:
        _refuse_arguments(command, about)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _terminate)
    described: dict[str, Any] = {}
    try:
        _check_path()
        described = stage()
        dvc_lock.check(ROOT, described.get("deps", []))
        before = inputs(described)
        command()
        _check_unchanged(before, inputs(described))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if (message := _message(error)) is None:
            raise
        sys.exit(f"error: {message}")
    sys.stdout.flush()
    if _lost and not described:
        [reason, *_] = _lost.values()
        if isinstance(reason, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        sys.exit(f"error: the work is done, but what it prints cannot be written ({reason.strerror})")


def _refuse_arguments(command: Callable[[], None], about: str) -> None:
    """Print the usage of a command without arguments for --help, and refuse everything else (exit 2)."""
    name = command.__globals__["__spec__"].name
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m {name}", description=about, formatter_class=formatter)
    if given := parser.parse_known_args()[1]:
        parser.error(f"{' '.join(given)}: this command takes no arguments; values stand in params.yaml")


def _check_path() -> None:
    """Refuse a checkout whose path MLflow would cut or decode as an address, or DVC cannot write down."""
    path = str(ROOT)
    found = [letter for letter in path if letter in _UNUSABLE or not letter.isprintable()]
    if found:
        raise ConfigError(
            f"{path!r}: MLflow or DVC cannot work below {', '.join(map(repr, found))} in its path; rename it"
        )


def _message(error: Exception) -> str | None:
    """Say in a sentence what a person can mend; None of a defect, which is shown whole."""
    text = str(error)
    if isinstance(error, NumnistError):
        return text
    if isinstance(error, OSError) and "temporary directory" in text:
        return f"{error.strerror}. Make room in one of them, or name another by TMPDIR; then run the same command again"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}. {_REMEDIES[error.errno]}; then run the same command again"
    if isinstance(error, _NO_MEMORY_ERRORS) or any(sign in text for sign in _NO_MEMORY):
        return (
            f"there is too little memory ({text or 'it is used up'}). Close other programs, raise the limit "
            "(`ulimit -v`), or train fewer or smaller networks; then run the same command again"
        )
    return None


class _Output(io.FileIO):
    """Standard output or error; what cannot be written, as its reader has gone, is dropped without an error."""

    def write(self, content: Any) -> int:
        """Write, or note why not."""
        try:
            return super().write(content)
        except OSError as error:
            _lost[self.fileno()] = error
            return len(content)


_lost: dict[int, OSError] = {}  # the outputs that did not take all, by their number


def outlive_readers() -> None:
    """Let what is printed vanish if nothing takes it, and replace the letters that a terminal does not have."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as cron may have it; another file must not get its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False))
        stream = getattr(sys, name)
        if mode == "w" and type(stream) is io.TextIOWrapper:  # not a test's
            stream.flush()
            raw = _Output(stream.fileno(), "w", closefd=False)
            lines, at_once = stream.line_buffering, stream.write_through
            text = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "replace", None, lines, at_once)
            setattr(sys, name, text)


def stage() -> dict[str, Any]:
    """Return what dvc.yaml says of the stage that DVC runs this process for; nothing if a person started it."""
    if not (name := os.environ.get("DVC_STAGE")):
        return {}
    described = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("${data.name}", params().data.name)
    return yaml.safe_load(described)["stages"].get(name, {})


def inputs(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digest of every file or directory that a stage depends on, and the values of its parameters."""
    values = reader.read_yaml(ROOT / "params.yaml") if stage else {}
    parameters = {name.partition(".")[0] for name in stage.get("params", [])}
    return {name: dvc_lock.md5(ROOT / name) for name in stage.get("deps", [])} | {
        f"{name} (params.yaml)": values.get(name) for name in parameters
    }


def _check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse what a stage made of inputs that were edited meanwhile: DVC would record it as made of the new ones."""
    if changed := sorted(name for name in before if before[name] != after[name]):
        raise InputError(
            f"changed while the stage ran: {', '.join(changed)}. What it made belongs to neither state; "
            "run `dvc repro` again, which keeps the trials that are finished"
        )


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
