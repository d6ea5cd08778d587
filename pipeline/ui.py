"""Open MLflow's pages on the runs of this checkout: `python -m pipeline.ui [--port 5000]`, ended by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from numnist.common.errors import TrackingError
from numnist.config import cli
from pipeline import ROOT, local
from pipeline.local import HOST

START_SECONDS = 60.0


def main() -> None:
    """Serve the pages until Ctrl-C, after printing the address that shows the newest sweep's curves."""
    from numnist.tracking import mlflow_runs

    port = local.port("ui", "Browse the runs in MLflow.", 5000)
    tracker = mlflow_runs.connect(ROOT)
    if tracker.uri.startswith("http"):
        print(f"The runs are on a server of their own:\n\n  {tracker.uri.rstrip('/')}/{tracker.sweep_link()}\n")
        return
    local.listen(port).close()
    address = f"http://{HOST}:{port}"
    server = _serve(tracker.uri, port)
    try:
        _wait_until_ready(address, server)
        link = f"{address}/{tracker.sweep_link()}"
        print(f"The newest sweep's learning curves (Ctrl-C ends the server):\n\n  {link}\n", flush=True)
        server.wait()
    finally:
        _stop(server)


def _serve(uri: str, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server in a session of its own, so that Ctrl-C reaches it through us alone."""
    options = {
        "backend-store-uri": uri,
        "registry-store-uri": uri,
        "artifacts-destination": str(Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"),
        "host": HOST,
        "port": str(port),
        "allowed-hosts": f"{HOST}:{port},localhost:{port}",  # a foreign site that leads its name here is refused
        "workers": "1",
        "uvicorn-opts": "--log-level=warning",
    }
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}  # jobs: eight more processes
    return subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)  # noqa: S603


def _wait_until_ready(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)
    raise TrackingError(f"MLflow's server does not answer on {address}; its messages stand above")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    cli.run(main)
