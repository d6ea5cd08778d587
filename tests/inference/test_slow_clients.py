"""Clients that take their time: what a model server waits for, holds in memory and says."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn

from numnist.common import servers
from numnist.inference import model_server

IMAGE = b'{"inputs": [' + b"[" + b",".join([b"0"] * 784) + b"]]}"
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": model_server.PATH,
    "headers": [(b"content-type", b"application/json")],
}


async def answered(scope: Any, receive: Any, send: Any) -> None:
    """Stand for MLflow's app."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def blank(pixels: np.ndarray) -> dict[str, list[Any]]:
    """Stand for the network."""
    return {"digit": [0] * len(pixels)}


class Client:
    """What a client sends, piece by piece, and what it gets."""

    def __init__(self, *pieces: dict[str, Any]) -> None:
        self.pieces = list(pieces)
        self.got: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            return self.pieces.pop(0)
        return await asyncio.Future()  # nothing more comes

    async def send(self, message: Any) -> None:
        self.got.append(message)

    @property
    def status(self) -> int | None:
        return self.got[0]["status"] if self.got else None


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def ask(guard: Any, client: Client) -> Any:
    return guard(SCOPE, client.receive, client.send)


def test_a_body_that_never_ends_is_waited_for_so_long_and_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "BODY_SECONDS", 0.01)
    client = Client(part(IMAGE[:100]))
    asyncio.run(ask(model_server.Guard(answered, blank), client))
    assert client.status == 408 and b"the body was not here within 0.01 s" in client.got[1]["body"]


def test_a_body_that_is_aborted_is_no_error() -> None:
    client = Client(part(IMAGE[:100]), {"type": "http.disconnect"})
    asyncio.run(ask(model_server.Guard(answered, blank), client))
    assert client.got == []


def test_of_many_bodies_held_open_no_more_than_a_bound_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "HELD_BYTES", 3 * len(IMAGE))
    monkeypatch.setattr(model_server, "BODY_SECONDS", 3600.0)
    guard = model_server.Guard(answered, blank)

    async def scene() -> tuple[list[int | None], int | None]:
        holding = [Client(part(IMAGE)) for _ in range(3)]
        tasks = [asyncio.create_task(ask(guard, one)) for one in holding]
        await asyncio.sleep(0)
        refused = Client(part(IMAGE, False))
        await ask(guard, refused)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        taken = Client(part(IMAGE, False))
        await ask(guard, taken)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [one.status for one in (*holding, refused)], taken.status

    assert asyncio.run(scene()) == ([None, None, None, 503], 200)
    assert guard.held == 0


@pytest.fixture
def serve() -> Iterator[Callable[[Any], int]]:
    """Serve an app in a thread as the model server is served; give its port."""
    running = []

    def start(app: Any) -> int:
        listening = servers._listen(0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", **model_server.SETTINGS))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        return int(listening.getsockname()[1])

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


@pytest.mark.parametrize("begun", [b"", b"POST /invocations HTTP/1.1\r\nX-Slow: "], ids=["nothing", "half a head"])
def test_a_client_that_sends_no_whole_head_is_given_up(
    begun: bytes, serve: Callable[[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_server, "REQUEST_SECONDS", 0.2)
    with connect(serve(answered)) as client, contextlib.suppress(ConnectionError):  # or it hangs up before all is sent
        client.sendall(begun)
        assert client.recv(1) == b""  # the server has hung up


def test_a_client_that_does_not_read_its_answer_is_given_up(
    serve: Callable[[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_server, "REQUEST_SECONDS", 0.2)
    ended = threading.Event()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1 << 26)})
        ended.set()

    port = serve(large)
    while not ended.is_set():  # on a busy machine the time may be over before all is sent
        with connect(port) as client, contextlib.suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            ended.wait(10)


def test_of_very_many_connections_some_are_closed_at_once(
    serve: Callable[[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_server, "CONNECTIONS", 1)
    port = serve(answered)
    clients = [connect(port) for _ in range(3)]
    assert clients[2].recv(1) == b""
    for client in clients:
        client.close()
