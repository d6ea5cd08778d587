"""Serve the champion as MLflow's model server does: `python -m pipeline.serve [--port 8000]`, ended by Ctrl-C."""

from numnist.common import servers
from numnist.config import cli
from pipeline import ROOT


def main() -> None:
    """Answer on 127.0.0.1 until Ctrl-C, after printing the address and a line that asks it."""
    with servers.listen("serve", "Serve the champion as MLflow's model server does.", 8000) as listening:
        from numnist.inference import model_server
        from numnist.tracking import champion, registry, runs

        tracker = runs.connect(ROOT)
        found = champion.champion(tracker, ROOT)
        app = model_server.app(registry.model(tracker.store, found.version), servers.NAMES)
        address = f"http://{servers.HOST}:{listening.getsockname()[1]}{model_server.PATH}"
        print(
            f"{found.words} answers at {address} (Ctrl-C ends it). Ask it:\n\n"
            "  python -m pipeline.predict --json docs/three.png | "
            f"curl -H 'Content-Type: application/json' -d @- {address}\n",
            flush=True,
        )
        servers.run(app, listening, **model_server.SETTINGS)


if __name__ == "__main__":
    cli.run(main)
