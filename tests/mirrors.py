"""A mirror on 127.0.0.1 that behaves as the first part of a request's path says, and the files that it serves."""

import contextlib
import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONTENTS = {
    "train-images-idx3-ubyte": struct.pack(">4I", 0x803, 4, 28, 28) + bytes(4 * 784),
    "train-labels-idx1-ubyte": struct.pack(">2I", 0x801, 4) + bytes([0, 1, 2, 3]),
    "t10k-images-idx3-ubyte": struct.pack(">4I", 0x803, 2, 28, 28) + bytes(2 * 784),
    "t10k-labels-idx1-ubyte": struct.pack(">2I", 0x801, 2) + bytes([8, 9]),
}
FILES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}  # the pins of the gzips
PINS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


class Mirror:
    """Where the server is, and what it was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[str] = []
        self.over = threading.Event()  # ends every answer that would not end

    def url(self, behaviour: str) -> str:
        return f"{self.address}/{behaviour}/"


@contextlib.contextmanager
def serve() -> Iterator[Mirror]:
    """Run the server for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    mirror = server.mirror = Mirror(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.mirror: Mirror = self.server.mirror  # type: ignore[attr-defined]
        self.mirror.requests.append(self.path)
        _, behaviour, name = self.path.split("/")
        with contextlib.suppress(OSError):  # the client has gone
            getattr(self, behaviour)(name, (FILES | CONTENTS)[name])

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def right(self, name: str, content: bytes) -> None:
        self.answer(content, length=len(content))

    def encoded(self, name: str, content: bytes) -> None:
        """Serve the file as some servers label every .gz."""
        self.answer(content, length=len(content), Content_Encoding="gzip")

    def other(self, name: str, content: bytes) -> None:
        self.answer(content[:-1] + bytes([content[-1] ^ 1]), length=len(content))

    def page(self, name: str, content: bytes) -> None:
        self.answer(b"<!DOCTYPE html><title>Sign in to the hotel's network</title>")

    def missing(self, name: str, content: bytes) -> None:
        self.answer(b"no such file", 404)

    def broken(self, name: str, content: bytes) -> None:
        self.answer(b"sorry", 500)

    def redirect(self, name: str, content: bytes) -> None:
        self.answer(b"", 302, Location=self.mirror.url("right") + name)

    def moved(self, name: str, content: bytes) -> None:
        """Redirect on the same server."""
        self.answer(b"", 301, Location=f"/right/{name}")

    def circle(self, name: str, content: bytes) -> None:
        self.answer(b"", 302, Location=f"/circle/{name}")

    def truncated(self, name: str, content: bytes) -> None:
        self.answer(content[:-5], length=len(content))

    def unmeasured(self, name: str, content: bytes) -> None:
        """Truncate the file without a word on how long it should be."""
        self.answer(content[:-5])

    def endless(self, name: str, content: bytes) -> None:
        self.answer(b"")
        while not self.mirror.over.is_set():
            self.wfile.write(bytes(1 << 16))

    def hang(self, name: str, content: bytes) -> None:
        self.mirror.over.wait()

    def stall(self, name: str, content: bytes) -> None:
        """Hang in the middle."""
        self.answer(content[:10], length=len(content))
        self.mirror.over.wait()

    def drip(self, name: str, content: bytes) -> None:
        """Send a body byte by byte, each soon enough for a time-out between two pieces."""
        self.answer(b"", length=10**6)
        self._drip()

    def drip_header(self, name: str, content: bytes) -> None:
        """Send a header that goes on and on."""
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        self._drip()

    def nonsense(self, name: str, content: bytes) -> None:
        self.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")

    def _drip(self) -> None:
        while not self.mirror.over.wait(0.05):
            self.wfile.write(b"x")


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory that fetch has made, without its record."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "fetched.json"}
