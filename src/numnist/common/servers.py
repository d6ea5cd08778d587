"""What the servers for people have in common: this machine alone, a port of one's choice, no life of their own."""

import argparse
import os
import signal
import socket
import threading
import time
from typing import Any

from numnist.common.errors import NumnistError

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]  # under which a server may be asked; a foreign site that leads its name here is refused
_PARENT = os.getppid()  # asked early: it may be killed before anything is served
STOP_SECONDS = 5  # that an answer under way may take after Ctrl-C


def listen(command: str, description: str, default: int) -> socket.socket:
    """Read --port from the command line of `python -m pipeline.<command>`, and listen there, on this machine alone.

    From here on requests queue. NumnistError, with a port that is free, if this one cannot be had.
    """
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{command}", description=description)
    parser.add_argument("--port", type=int, default=default, help=f"port on {HOST}, 1 to 65535 (default: {default})")
    port = parser.parse_args().port
    try:
        return _listen(port)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a port is a number from 1 to 65535"
    with _listen(0) as other:
        free = other.getsockname()[1]
    raise NumnistError(
        f"cannot serve on {HOST}:{port} ({reason}); give another, such as `make {command} PORT={free}` or --port {free}"
    )


def run(app: Any, listening: socket.socket, **limits: Any) -> None:
    """Serve an ASGI app until Ctrl-C, SIGTERM, or the end of the process that started this one."""
    import uvicorn

    _end_with_parent()
    settings = {"log_level": "error", "timeout_graceful_shutdown": STOP_SECONDS, **limits}
    uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening


def _end_with_parent() -> None:
    """Tell this process to end when its parent has ended: make or a terminal that was killed tells nobody.

    Under nohup, which makes a process ignore SIGHUP, it is meant to live on.
    """

    def watch() -> None:
        while os.getppid() == _PARENT:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        threading.Thread(target=watch, daemon=True).start()
