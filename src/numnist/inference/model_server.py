"""A model server that is asked as MLflow's: for this machine alone, bounded in time and memory, errors in words.

MLflow's app neither looks at the Host header nor bounds a body, casts texts to numbers, and answers what it cannot use
with a traceback. It also takes 8 ms for an image, of which the network needs less than 1. So the images are judged and
answered here, in MLflow's form; all else (/ping, /health, /version) is MLflow's.
"""

import asyncio
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.pyfunc import scoring_server
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from numnist.tracking import pyfunc_model

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

PATH = "/invocations"
MAX_BYTES = 4_000_000  # of a body: a thousand images, and at most some 200 MB once parsed
HELD_BYTES = 8 * MAX_BYTES  # of all bodies that are not answered yet
BODY_SECONDS = 10.0  # until a body is here
REQUEST_SECONDS = 30.0  # from one answer's end, or the connection's beginning, to the end of the next
CONNECTIONS = 256  # from then on uvicorn answers with 503; twice as many are not kept open
_JSON = "application/json"
_FORM = 'expected {"inputs": [[...], ...]}: a row of 784 numbers an image'


class Refused(Exception):
    """A request that is answered with a status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def app(model: "PyFuncModel", hosts: list[str]) -> ASGIApp:
    """Return the app that serves a model; `hosts` are the names under which it may be asked."""
    served: Any = model.unwrap_python_model()  # type: ignore[no-untyped-call]
    predict: Any = model.predict  # one that earlier code registered answers with a frame alone, which takes 1 ms more
    answers = getattr(served, "answers", lambda pixels: predict(pixels).to_dict("list"))
    guard = Guard(scoring_server.init(model), answers)
    return TrustedHostMiddleware(guard, allowed_hosts=hosts, www_redirect=False)


def check(body: bytes) -> np.ndarray:
    """Return the pixels of {"inputs": pixels} as `pyfunc_model.check` does; refuse all else (status 400)."""
    try:
        content = json.loads(body, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON ({error}); {_FORM}") from None
    if not isinstance(content, dict) or list(content) != ["inputs"]:
        found = f"the keys {', '.join(content) or '(none)'}"[:100] if isinstance(content, dict) else "no mapping"
        raise Refused(400, f"the body holds {found}; {_FORM}")
    try:
        pixels = np.array(content["inputs"])
    except ValueError:
        raise Refused(400, f"the rows of inputs differ in length; {_FORM}") from None
    try:
        return pyfunc_model.check(pixels)
    except ValueError as error:
        raise Refused(400, str(error)) from None


class Connection(H11Protocol):
    """A connection that is given up if an answer is not over in time, or if there are too many others.

    uvicorn bounds the time between two requests alone: not that of a head or a body, nor of one who does not read.
    """

    answers = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first answer."""
        super().connection_made(transport)
        if len(self.connections) > 2 * CONNECTIONS:
            transport.abort()
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next answer."""
        super().on_response_complete()
        self.answers += 1
        self._wait()

    def _wait(self) -> None:
        self.loop.call_later(REQUEST_SECONDS, self._give_up, self.answers)

    def _give_up(self, answers: int) -> None:
        if self.answers == answers:
            self.transport.abort()


SETTINGS = {"http": Connection, "limit_concurrency": CONNECTIONS, "lifespan": "off"}  # of uvicorn


class Guard:
    """Answers what is to be predicted, once the whole body is here and was judged; `others` answers all else."""

    def __init__(self, others: ASGIApp, answers: Callable[[np.ndarray], dict[str, list[Any]]]) -> None:
        self.others = others
        self.answers = answers
        self.held = 0  # bytes of bodies that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.others(scope, receive, send)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._read(body, Request(scope, receive))
            columns = self.answers(check(bytes(body)))
            predictions = [dict(zip(columns, row)) for row in zip(*columns.values())]
            await JSONResponse({"predictions": predictions})(scope, receive, send)
        except Refused as error:
            await _answer(error)(scope, receive, send)
        except TimeoutError:
            late = Refused(408, f"the body was not here within {BODY_SECONDS:g} s; send fewer images at a time")
            await _answer(late)(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            self.held -= len(body)

    async def _read(self, body: bytearray, request: Request) -> None:
        """Read a body of JSON, up to MAX_BYTES, while all of them together stay below HELD_BYTES."""
        if (got := request.headers.get("content-type", "none").partition(";")[0].strip().lower()) != _JSON:
            raise Refused(415, f"the Content-Type is {got[:100]}; expected {_JSON}")
        async for part in request.stream():
            body += part
            self.held += len(part)
            if len(body) > MAX_BYTES:
                raise Refused(413, f"the body is longer than {MAX_BYTES:,} bytes; send fewer images at a time")
            if self.held > HELD_BYTES:
                raise Refused(503, "too many requests at once; send this one again")


def _whole(digits: str) -> float:
    """Read a whole number; one of very many digits, which int() would refuse in words of its own, as infinity."""
    return int(digits) if len(digits) < 20 else math.inf


def _answer(error: Refused) -> Response:
    content: dict[str, Any] = {"error": str(error).encode(errors="backslashreplace").decode()}  # a client's own words
    return JSONResponse(content, error.status, headers={"Connection": "close"})  # what is left of a body is not read
