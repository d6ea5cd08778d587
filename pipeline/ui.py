"""Open MLflow's pages on the runs of this checkout: `python -m pipeline.ui [--port 5000]`, ended by Ctrl-C."""

import warnings
from pathlib import Path

from numnist.common import servers
from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Serve the pages until Ctrl-C, after printing the address that shows the newest sweep's curves."""
    from numnist.tracking import mlflow_runs

    tracker = mlflow_runs.connect(ROOT)
    if tracker.uri.startswith("http"):
        print(f"The runs are on a server of their own:\n\n  {tracker.uri.rstrip('/')}/{tracker.sweep_link()}\n")
        return
    with servers.listen("ui", "Browse the runs in MLflow.", 5000) as listening:
        warnings.simplefilter("ignore")
        from numnist.tracking import pages

        port = listening.getsockname()[1]
        artifacts = str(Path(tracker.uri.removeprefix("sqlite:///")).parent / "mlartifacts")
        app = pages.app(tracker.uri, tracker.uri, artifacts, [f"{name}:{port}" for name in servers.NAMES])
        link = f"http://{servers.HOST}:{port}/{tracker.sweep_link()}"
        print(f"The newest sweep's learning curves (Ctrl-C ends the server):\n\n  {link}\n", flush=True)
        servers.run(app, listening)


if __name__ == "__main__":
    cli.run(main)
