"""The notebook runs from its first cell to its last, and prints what is kept in it."""

import os
from pathlib import Path

import checkout
import nbclient
import nbformat
import pytest

PATH = Path("notebooks") / "from_the_note_to_the_pipeline.ipynb"
MIRROR = os.environ.get("MNIST_MIRROR")

pytestmark = pytest.mark.slow


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """The text that each cell printed."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.skipif(not MIRROR, reason="the notebook's outputs are of MNIST: set MNIST_MIRROR to a place that has it")
def test_the_notebook_runs_and_prints_what_is_kept_in_it(tmp_path: Path) -> None:
    copy = checkout.make(tmp_path, data="mnist")
    for stage in ("fetch", "preprocess"):
        done = checkout.run(copy, f"pipeline.{stage}", MNIST_MIRROR=MIRROR or "")
        assert done.returncode == 0, done.stderr
    kept = nbformat.read(checkout.ROOT / PATH, as_version=4)
    notebook = nbformat.read(checkout.ROOT / PATH, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": copy / "notebooks"}}).execute()
    assert printed(notebook) == printed(kept)
