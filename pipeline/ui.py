"""Open MLflow's pages on the runs of this checkout: `python -m pipeline.ui [--port 5000]`, ended by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

from numnist.common.errors import TrackingError
from numnist.config import cli
from pipeline import ROOT, local
from pipeline.local import HOST

if TYPE_CHECKING:
    from numnist.tracking.store import Store

START_SECONDS = 60.0


def main() -> None:
    """Serve the pages until Ctrl-C, after printing the address that shows the newest sweep's curves."""
    from numnist.tracking import champion, runs

    port = local.port("ui", "Browse the runs in MLflow.", 5000)
    tracker = runs.connect(ROOT)
    link = tracker.sweep_link(champion.sweep_here(tracker, ROOT))
    if tracker.store.uri.startswith("http"):
        print(f"The runs are on a server of their own:\n\n  {tracker.store.name.rstrip('/')}/{link}\n")
        return
    local.listen(port).close()
    address = f"http://{HOST}:{port}"
    server = _serve(tracker.store, port)
    try:
        _wait_until_ready(address, server)
        print(f"The sweep's learning curves (Ctrl-C ends the server):\n\n  {address}/{link}\n", flush=True)
        server.wait()
    finally:
        _stop(server)


def _serve(store: "Store", port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server in a session of its own, so that Ctrl-C reaches it through us alone."""
    options = {
        "artifacts-destination": str(store.artifacts),
        "host": HOST,
        "port": str(port),
        "allowed-hosts": f"{HOST}:{port},localhost:{port}",  # a foreign site that leads its name here is refused
        "workers": "1",
        "uvicorn-opts": "--log-level=warning",
    }
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # not among the options, where `ps` shows its password
        "MLFLOW_REGISTRY_STORE_URI": os.environ.get("MLFLOW_REGISTRY_URI") or store.uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.Popen(command, env={**os.environ, **settings}, start_new_session=True)  # noqa: S603


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
