"""Open MLflow's pages on the runs of this checkout: `python -m pipeline.ui [--port 5000]`, ended by Ctrl-C."""

import warnings

from numnist.common import servers
from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Serve the pages until Ctrl-C, after printing the address that shows the sweep's curves."""
    with servers.listen("ui", "Browse the runs in MLflow.", 5000) as listening:
        from numnist.tracking import champion, pages, runs

        tracker = runs.connect(ROOT)
        link = pages.sweep_link(tracker.store.experiment, champion.sweep_here(tracker, ROOT))
        if tracker.store.uri.startswith("http"):
            print(f"The runs are on a server of their own:\n\n  {tracker.store.name.rstrip('/')}/{link}\n")
            return
        port = listening.getsockname()[1]
        warnings.simplefilter("ignore")
        app = pages.app(tracker.store, [f"{name}:{port}" for name in servers.NAMES])
        address = f"http://{servers.HOST}:{port}/{link}"
        print(f"The sweep's learning curves (Ctrl-C ends the server):\n\n  {address}\n", flush=True)
        servers.run(app, listening)


if __name__ == "__main__":
    cli.run(main)
