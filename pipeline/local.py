"""What the servers for people have in common: this machine alone, a port of one's choice, a word if it is taken."""

import argparse
import socket

from numnist.common.errors import NumnistError

HOST = "127.0.0.1"


def port(command: str, description: str, default: int) -> int:
    """Read --port from the command line of `python -m pipeline.<command>`."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{command}", description=description)
    parser.add_argument("--port", type=int, default=default, help=f"port on {HOST} (default: {default})")
    return int(parser.parse_args().port)


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of this machine alone; NumnistError where the port cannot be had."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise NumnistError(f"cannot serve on {HOST}:{port} ({error}); give another: --port {port + 1}") from None
    return listening
