"""MLflow's model server with a guard before it: for this machine alone, of bounded memory, errors in words.

MLflow's app neither looks at the Host header nor bounds a body, casts texts to numbers, and answers what it cannot use
with a traceback. So each request is judged here first, and what reaches MLflow is pixels.
"""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.pyfunc import scoring_server
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from numnist.tracking import pyfunc_model

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

PATH = "/invocations"
MAX_BYTES = 4_000_000  # of a body: a thousand images, and at most some 200 MB once parsed
_JSON = "application/json"
_FORM = 'expected {"inputs": [[...], ...]}: a row of 784 numbers an image'


class Refused(Exception):
    """A request that is answered with a status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def app(model: "PyFuncModel", hosts: list[str]) -> ASGIApp:
    """Return MLflow's app for a model, guarded; `hosts` are the names under which it may be asked."""
    return TrustedHostMiddleware(_Guard(scoring_server.init(model)), allowed_hosts=hosts, www_redirect=False)


def check(body: bytes) -> None:
    """Refuse (status 400) what is not {"inputs": pixels}, pixels as `served.check` wants them."""
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
        pyfunc_model.check(pixels)
    except ValueError as error:
        raise Refused(400, str(error)) from None


class _Guard:
    """Judges the whole body of what is to be predicted, then hands it on."""

    def __init__(self, guarded: ASGIApp) -> None:
        self.guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.guarded(scope, receive, send)
            return
        try:
            body = await _body(Request(scope, receive))
            check(body)
        except Refused as error:
            await _answer(error)(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.guarded(scope, again, send)


async def _body(request: Request) -> bytes:
    """Read a body of JSON, up to MAX_BYTES."""
    if (got := request.headers.get("content-type", "none").partition(";")[0].strip().lower()) != _JSON:
        raise Refused(415, f"the Content-Type is {got[:100]}; expected {_JSON}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Refused(413, f"the body is longer than {MAX_BYTES:,} bytes; send fewer images at a time")
    return bytes(body)


def _whole(digits: str) -> float:
    """Read a whole number; one of very many digits, which int() would refuse in words of its own, as infinity."""
    return int(digits) if len(digits) < 20 else math.inf


def _answer(error: Refused) -> Response:
    content: dict[str, Any] = {"error": str(error)}
    return JSONResponse(content, error.status, headers={"Connection": "close"})  # what is left of a body is not read
