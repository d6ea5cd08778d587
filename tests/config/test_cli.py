"""How commands end when what reads their output ends first."""

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from numnist.common.errors import DataError
from numnist.config import cli
from pipeline import ROOT


def ended_with_no_reader(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run Python with a standard output that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, *arguments], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ("ending", "code", "told"),
    [("", 141, ""), ("raise SystemExit(1)", 1, ""), ("raise DataError('this, too')", 1, "error: this, too\n")],
)
@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("buffered", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_command_whose_reader_has_gone_ends_in_silence(
    lines: int, ending: str, code: int, told: str, buffered: list[str]
) -> None:
    program = f"""
from pipeline import ROOT
from numnist.common.errors import DataError
from numnist.config import cli
def command():
    for _ in range({lines}):
        print("a line")
    {ending}
cli.run(command)
"""
    ended = ended_with_no_reader(*buffered, "-c", program)
    assert (ended.returncode, ended.stderr.decode()) == (code, told)


def test_predict_into_a_pipe_that_is_closed_ends_in_silence() -> None:
    ended = ended_with_no_reader("-m", "pipeline.predict", "--json", "docs/three.png")
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (">&-", ""),
        (">&- 2>&- <&-", ""),
        ("> /dev/full", "error: the work is done, but what it prints cannot be written (No space left on device)\n"),
    ],
)
@pytest.mark.parametrize("flush", [True, False])
def test_a_command_whose_output_is_closed_or_full_does_its_work_and_says_so(
    output: str, told: str, flush: bool, tmp_path: Path
) -> None:
    if "full" in output and not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    program = f"""
import os
from pathlib import Path
from pipeline import ROOT
from numnist.config import cli
def command():
    print("a line", flush={flush})
    assert os.open(os.devnull, os.O_RDONLY) > 2, "a file has the number of an output"
    Path({str(tmp_path / "done")!r}).touch()
cli.run(command)
"""
    shell = ["sh", "-c", f'exec "$0" -c "$1" {output}', sys.executable, program]
    ended = subprocess.run(shell, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stderr) == (1 if told else 0, told)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("name", ["fetch", "preprocess", "evaluate", "report", "doctor", "run", "published"])
def test_a_command_without_arguments_prints_its_usage_and_refuses_all_others(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin() -> None:
        raise DataError("it began")

    monkeypatch.setattr(cli, "_check_path", begin)
    for argument, code in (("--help", 0), ("data.name=x", 2)):
        monkeypatch.setattr(sys, "argv", [name, argument])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"pipeline.{name}", run_name="__main__")
        assert ended.value.code == code
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: python -m pipeline.{name} [-h]\n")
    assert "error: data.name=x: this command takes no arguments; values stand in params.yaml" in said.err


def test_another_pipe_that_breaks_is_no_silent_end() -> None:
    program = """
from pipeline import ROOT
from numnist.config import cli
def command():
    raise BrokenPipeError
cli.run(command)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False)
    assert ended.returncode == 1 and b"BrokenPipeError" in ended.stderr


@pytest.mark.parametrize("letter", ["?", "%20", "{", "\n", "\udc80"])
def test_a_path_that_mlflow_or_dvc_cannot_take_is_refused_at_once(
    letter: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "ROOT", tmp_path / f"a{letter}b")
    with pytest.raises(SystemExit, match=r"cannot work below .* in its path; rename it"):
        cli.run(lambda: None)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), ImportError("x.so: Cannot allocate memory")]
)
def test_too_little_memory_is_told_in_words_wherever_it_is_noticed(error: Exception) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit, match=r"error: there is too little memory .*ulimit -v"):
        cli.run(command)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda here: (here / "file").mkdir(), r"file: File exists. Something else lies there: move it away"),
        (lambda here: (here / "file" / "below").touch(), r"below: Not a directory. Something else lies there"),
        (lambda here: here.read_bytes(), r"Is a directory. Something else lies there"),
        (lambda here: (here / ("a" * 300)).exists(), r"File name too long. Give a shorter name"),
        (lambda here: tempfile._get_default_tempdir(), r"No usable temporary directory .* by TMPDIR"),
    ],
)
def test_what_the_system_refuses_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], object], told: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "file")])
    with pytest.raises(SystemExit, match=f"error: .*{told}.* run the same command again"):
        cli.run(lambda: fault(tmp_path) and None)
