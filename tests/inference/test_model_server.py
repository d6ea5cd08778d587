"""The champion behind MLflow's model server, asked over a real connection; faults 17 and 18 of such a server."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkout
import mlflow
import numpy as np
import psutil
import pytest
import soak
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from starlette.types import ASGIApp
from stores import copy_store, printed_port, register

from numnist.inference import model_server
from numnist.tracking import registry
from numnist.tracking import runs as tracked
from pipeline import ROOT

BLANK = [0] * 784


@dataclass(frozen=True)
class Server:
    """A model server, and what it printed before it was ready."""

    root: Path
    port: int
    process: "subprocess.Popen[str]"
    printed: str

    def ask(self, body: bytes, content_type: str = "application/json", host: str = "") -> tuple[int, str]:
        headers = {"Content-Type": content_type} | ({"Host": host} if host else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/invocations", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a network of which unit j sees pixel j alone, and speaks for digit j."""
    root = tmp_path_factory.mktemp("store")
    copy_store(empty_store, root)
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
        tracker = tracked.connect(root)
        registry.set_champion(tracker.store, register(tracker, root / "trial").version, {})
    process = checkout.start(checkout.make(root / "checkout"), "-m", "pipeline.serve", "--port", "0", **environment)
    try:
        printed = "".join(line for line, _ in zip(process.stdout or (), range(3)))
        yield Server(root, printed_port([printed]), process, printed)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def test_the_champion_answers_with_digit_and_probabilities(server: Server) -> None:
    images = np.zeros((2, 784), int)
    images[0, 3] = images[1, 7] = 255
    status, answer = server.ask(json.dumps({"inputs": images.tolist()}).encode())
    assert status == 200
    predictions = json.loads(answer)["predictions"]
    assert [one["digit"] for one in predictions] == [3, 7]
    assert [one["doubt"] for one in predictions] == ["", ""]
    assert predictions[0]["probabilities"][3] == pytest.approx(np.exp(10) / (np.exp(10) + 9))


def test_a_blank_an_inverted_and_a_doubtful_image_are_answered_with_the_doubt(server: Server) -> None:
    images = np.zeros((4, 784), int)
    images[1:3] = 255
    images[2].reshape(28, 28)[10:20, 12:16] = 0
    images[3, [3, 7]] = 255
    status, answer = server.ask(json.dumps({"inputs": images.tolist()}).encode())
    assert status == 200
    doubts = [one["doubt"] for one in json.loads(answer)["predictions"]]
    assert doubts[:2] == ["blank: nothing is written there"] * 2
    assert doubts[2] == "inverted: dark ink on light paper; send 255 minus each pixel"
    assert doubts[3].startswith("unsure: 3 (50.0%) or 7 (50.0%)")


@pytest.mark.parametrize("version", ["of this code", "of earlier code"])
def test_images_are_answered_as_mlflows_own_server_answers_them(server: Server, tmp_path: Path, version: str) -> None:
    copy = shutil.copytree(model_directory(server), tmp_path / "model")
    if version == "of earlier code":
        code = copy / "pyfunc_model.py"
        code.write_text(code.read_text().replace("answers(", "_answers("))
    model = mlflow.pyfunc.load_model(str(copy))
    images = np.random.default_rng(0).integers(0, 256, (5, 784)).tolist()
    body = json.dumps({"inputs": [*images, BLANK]}).encode()
    status, answer = ask_app(model_server.app(model, ["here"]), body)
    expected = scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema())
    assert (status, json.loads(answer)) == (expected.status, json.loads(expected.response))


def ask_app(app: ASGIApp, body: bytes) -> tuple[int, bytes]:
    """Ask an app without a connection."""
    headers = [(b"host", b"here"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_what_asks_for_health_and_version_is_answered_by_mlflow(server: Server) -> None:
    for path, expected in ("ping", "\n"), ("health", "\n"), ("version", mlflow.__version__):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{path}", timeout=30) as answer:
            assert answer.read().decode() == expected


def test_images_of_rows_and_columns_are_taken_too(server: Server) -> None:
    image = np.zeros((28, 28), int)
    image[0, 3] = 255
    status, answer = server.ask(json.dumps({"inputs": [image.tolist()]}).encode())
    assert status == 200 and json.loads(answer)["predictions"][0]["digit"] == 3


@pytest.mark.skipif(shutil.which("curl") is None, reason="the line is curl's")
def test_the_line_that_readme_and_server_give_reads_the_picture_as_predict_sees_it(server: Server) -> None:
    [line] = re.findall(r"^ *(python -m pipeline\.predict --json .*)$", server.printed, re.MULTILINE)
    assert line.replace(str(server.port), "8000") in " ".join(
        (ROOT / "docs" / "serving.md").read_text(encoding="utf-8").split()
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, env=environment, cwd=ROOT, capture_output=True, check=True)
    [prediction] = json.loads(done.stdout)["predictions"]
    assert len(prediction["probabilities"]) == 10 and sum(prediction["probabilities"]) == pytest.approx(1)


WRONG = {
    "no JSON": (b"{", 400, "the body is not JSON"),
    "no text": (b"\xff\xfe", 400, "the body is not JSON"),
    "nested without end": (b'{"inputs": ' + b"[" * 100_000, 400, "the body is not JSON"),
    "no mapping": (b"[1]", 400, r'holds no mapping; expected {"inputs"'),
    "another key": (json.dumps({"instances": [BLANK]}).encode(), 400, "the keys instances"),
    "one key more": (json.dumps({"inputs": [BLANK], "params": {}}).encode(), 400, "the keys inputs, params"),
    "no image": (b'{"inputs": []}', 400, r"the shape \(0,\), expected \(m, 784\)"),
    "one pixel less": (json.dumps({"inputs": [BLANK[1:]]}).encode(), 400, r"the shape \(1, 783\), expected \(m, 784\)"),
    "rows of two lengths": (json.dumps({"inputs": [BLANK, BLANK[1:]]}).encode(), 400, "differ in length"),
    "half of a letter": (b'{"\\ud800": 1}', 400, r"the keys \\ud800;"),
    "too small": (json.dumps({"inputs": [[[0] * 27] * 27]}).encode(), 400, r"the shape \(1, 27, 27\)"),
    "texts": (json.dumps({"inputs": [["255"] * 784]}).encode(), 400, "the type <U3, expected numbers"),
    "truths": (json.dumps({"inputs": [[True] * 784]}).encode(), 400, "the type bool, expected numbers"),
    "nothing": (json.dumps({"inputs": [[None] * 784]}).encode(), 400, "the type object, expected numbers"),
    "NaN": (json.dumps({"inputs": [[float("nan")] * 784]}).encode(), 400, "NaN or infinity"),
    "infinity": (json.dumps({"inputs": [[float("inf")] * 784]}).encode(), 400, "NaN or infinity"),
    "a number of 10,000 digits": (b'{"inputs": [[%s]]}' % b",".join([b"9" * 10_000] * 9), 400, "the shape"),
    "256": (json.dumps({"inputs": [[256] * 784]}).encode(), 400, "lie from 256 to 256, expected 0 to 255"),
    "-1": (json.dumps({"inputs": [[-1] * 784]}).encode(), 400, "lie from -1 to -1, expected 0 to 255"),
    "shares": (json.dumps({"inputs": [[0.5] * 784]}).encode(), 400, "multiply by 255"),
    "too long": (b'{"inputs": [[' + b" " * model_server.MAX_BYTES + b"0]]}", 413, "longer than 4,000,000 bytes"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_not_pixels_is_refused_in_words_alone(server: Server, fault: str) -> None:
    body, expected, words = WRONG[fault]
    status, answer = server.ask(body)
    content = json.loads(answer)
    assert (status, list(content)) == (expected, ["error"])
    assert re.search(words, content["error"]) and len(content["error"]) < 300


@pytest.mark.parametrize("kind", ["text/csv", "application/vnd.apache.parquet", "application/x-www-form-urlencoded"])
def test_another_form_than_json_is_refused(server: Server, kind: str) -> None:
    assert server.ask(b"0", kind) == (415, f'{{"error":"the Content-Type is {kind}; expected application/json"}}')


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_a_body_without_end_is_cut_off_in_little_memory(server: Server) -> None:
    before = memory(server, "VmHWM")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 200_000_000:
                client.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
        except OSError:
            pass  # the server has hung up
    assert sent < 50_000_000
    assert memory(server, "VmHWM") - before < 50_000  # kilobytes


def memory(server: Server, kind: str) -> int:
    """Kilobytes of a server, VmRSS now or VmHWM at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+)", status)[1])  # type: ignore[index]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize(
    "requests", [pytest.param(3_200, marks=pytest.mark.slow), pytest.param(64_000, marks=pytest.mark.soak)]
)
def test_a_server_that_is_asked_by_64_clients_answers_all_in_memory_that_stays_flat(
    server: Server, requests: int
) -> None:
    soak.ask(server.port, 1_280, 64)  # what is allocated once
    before = memory(server, "VmRSS")
    figures = soak.ask(server.port, requests, 64)
    after = memory(server, "VmRSS")
    print(f"\n{requests:,} requests: {figures}, {before:,} to {after:,} kB")
    assert figures.failed == 0
    assert after - before < 15_000


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "evil.example:{}", "10.0.0.1"])
def test_the_model_server_refuses_foreign_names(server: Server, name: str) -> None:
    body = json.dumps({"inputs": [BLANK]}).encode()
    assert server.ask(body, host=f"localhost:{server.port}")[0] == 200
    assert server.ask(body, host=name.format(server.port)) == (400, "Invalid host header")


def test_the_model_server_listens_on_this_machine_alone(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    family = [process, *process.children(recursive=True)]
    assert {c.laddr.ip for one in family for c in one.net_connections() if c.status == "LISTEN"} == {"127.0.0.1"}


def model_directory(server: Server) -> Path:
    [found] = server.root.rglob("MLmodel")
    return found.parent


@pytest.mark.parametrize("content", ["a pickle", "no weights"])
def test_a_champion_that_is_damaged_is_not_served_and_nothing_of_it_executed(
    server: Server, tmp_path: Path, content: str
) -> None:
    copy = shutil.copytree(model_directory(server), tmp_path / "model")
    array = np.array([Trap(tmp_path / "executed")], object) if content == "a pickle" else np.zeros(3, np.float32)
    with (copy / "artifacts" / "weights.npz").open("wb") as file:
        np.savez(file, W1=array, b1=array, W2=array, b2=array)
    with pytest.raises(ValueError, match=r"weights\.npz|allow_pickle"):
        mlflow.pyfunc.load_model(str(copy))
    assert not (tmp_path / "executed").exists()


def test_a_model_that_is_itself_a_pickle_is_not_loaded(server: Server, tmp_path: Path) -> None:
    copy = shutil.copytree(model_directory(server), tmp_path / "model")
    described = (copy / "MLmodel").read_text()
    (copy / "MLmodel").write_text(re.sub(r"model_code_path: .*", "python_model: model.pkl", described))
    (copy / "model.pkl").write_bytes(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(MlflowException, match="using pickle is disallowed"):
        mlflow.pyfunc.load_model(str(copy))


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_model_server_ends_with_ctrl_c_and_has_written_no_traceback(server: Server) -> None:
    server.process.send_signal(signal.SIGINT)
    _, errors = server.process.communicate()
    assert (server.process.returncode, errors) == (130, "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
