"""The servers for people: the port, and what is left of them when what started them is gone."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from stores import copy_store, printed_port

from numnist.common import servers
from numnist.common.errors import NumnistError
from pipeline import ROOT

SERVER = """
from pipeline import ROOT
from numnist.common import servers
from numnist.config import cli
async def app(scope, receive, send):
    pass
def main():
    with servers.listen("ui", "A test.", 5000) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
        servers.run(app, listening, lifespan="off")
cli.run(main)
"""
PARENT = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"


def started(*command: str, **how: object) -> tuple["subprocess.Popen[str]", psutil.Process, int]:
    """Start a command by a parent, and return the parent, the server once it listens, and its port."""
    arguments = [sys.executable, "-c", PARENT, sys.executable, *command, "--port", "0"]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT, **how)  # type: ignore[call-overload]
    port = printed_port(parent.stdout or ())
    [server] = psutil.Process(parent.pid).children()
    return parent, server, port


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_its_signal_and_frees_its_port(number: signal.Signals) -> None:
    parent, server, port = started("-c", SERVER)
    server.send_signal(number)
    assert parent.wait() == 128 + number
    servers._listen(port).close()


@pytest.mark.parametrize("name", ["a server", pytest.param("pipeline.ui", marks=pytest.mark.slow)])
def test_a_server_whose_parent_is_killed_ends_and_frees_its_port(name: str, empty_store: Path, tmp_path: Path) -> None:
    copy_store(empty_store, tmp_path)
    command = ["-c", SERVER] if name == "a server" else ["-m", name]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    parent, server, port = started(*command, env=environment)
    family = [server, *server.children(recursive=True)]
    parent.kill()
    assert not psutil.wait_procs(family, timeout=60)[1]
    servers._listen(port).close()


def test_under_nohup_a_server_lives_on() -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    parent, server, _ = started("-c", SERVER, preexec_fn=ignore)
    try:
        parent.kill()
        parent.wait()
        with pytest.raises(psutil.TimeoutExpired):
            server.wait(timeout=2)  # it looks for its parent twice a second
    finally:
        server.terminate()


def refused(monkeypatch: pytest.MonkeyPatch, port: int) -> str:
    monkeypatch.setattr(sys, "argv", ["ui", "--port", str(port)])
    with pytest.raises(NumnistError) as raised:
        servers.listen("ui", "A test.", 5000)
    return str(raised.value)


def test_a_port_that_is_taken_is_told_with_what_make_takes_and_another_that_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = refused(monkeypatch, port)
    assert words.startswith(
        f"cannot serve on 127.0.0.1:{port} (Address already in use); give another, such as `make ui"
    )
    free = int(words.rpartition("--port ")[2])
    assert f"`make ui PORT={free}`" in words
    servers._listen(free).close()


@pytest.mark.parametrize("port", [100_000, -1])
def test_a_number_that_is_no_port_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    assert f"127.0.0.1:{port} (a port is a number from 1 to 65535)" in refused(monkeypatch, port)


@pytest.mark.parametrize("target", ["ui", "serve"])
@pytest.mark.parametrize(("given", "expected"), [((), ""), (("PORT=5001",), " --port 5001")])
def test_make_takes_a_port(target: str, given: tuple[str, ...], expected: str, run_make: Callable[..., str]) -> None:
    assert run_make("--dry-run", target, *given).splitlines()[-1] == f"python -m pipeline.{target}{expected}"


@pytest.fixture
def run_make(tmp_path: Path) -> Callable[..., str]:
    """Give a make in a directory where everything is installed."""
    for name in ("Makefile", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()

    def run(*arguments: str) -> str:
        return subprocess.run(["make", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    return run
