"""Ask a model server again and again from many connections: `ask(port, requests, clients)` says how it went."""

import asyncio
import json
import time
from dataclasses import dataclass

BODY = json.dumps({"inputs": [[0] * 300 + [255] * 40 + [0] * 444]}).encode()
HEAD = (
    b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@dataclass(frozen=True)
class Figures:
    """How a load was borne."""

    per_second: float
    p99: float  # seconds
    failed: int


def ask(port: int, requests: int, clients: int) -> Figures:
    """Send so many requests of one image over so many connections at once, each the next when one is answered."""
    return asyncio.run(_ask(port, requests, clients))


async def _ask(port: int, requests: int, clients: int) -> Figures:
    seconds: list[float] = []
    failed = 0

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // clients):
            began = time.perf_counter()
            writer.write(HEAD + BODY)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.split(b"content-length: ")[1].split(b"\r\n")[0]
            answer = await reader.readexactly(int(length))
            failed += not (head.startswith(b"http/1.1 200") and b'"digit"' in answer)
            seconds.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    total = time.perf_counter() - began
    return Figures(len(seconds) / total, sorted(seconds)[int(0.99 * len(seconds))], failed)
