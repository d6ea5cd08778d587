"""Serve the champion with MLflow's model server: `python -m pipeline.serve [--port 8000]`, ended by Ctrl-C."""

from numnist.config import cli
from pipeline import ROOT, local

STOP_SECONDS = 5  # that an answer under way may take after Ctrl-C


def main() -> None:
    """Answer on 127.0.0.1 until Ctrl-C, after printing the address and a line that asks it."""
    port = local.port("serve", "Serve the champion with MLflow's model server.", 8000)
    with local.listen(port) as listening:  # from here on requests queue
        import uvicorn

        from numnist.inference import model_server
        from numnist.tracking import champion, registry, runs

        tracker = runs.connect(ROOT)
        found = champion.champion(tracker, ROOT)
        guarded = model_server.app(registry.model(tracker.store, found.version), [local.HOST, "localhost"])
        server = uvicorn.Server(
            uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=STOP_SECONDS, lifespan="off")
        )
        address = f"http://{local.HOST}:{port}{model_server.PATH}"
        print(
            f"{found.words} reads digits at {address} (Ctrl-C ends it). Ask it:\n\n"
            "  python -m pipeline.predict --json docs/three.png | "
            f"curl -H 'Content-Type: application/json' -d @- {address}\n",
            flush=True,
        )
        server.run(sockets=[listening])


if __name__ == "__main__":
    cli.run(main)
