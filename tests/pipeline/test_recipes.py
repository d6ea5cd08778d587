"""docs/recipes.md, done as it stands in a copy of this checkout: its differences applied, its commands run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import checkout
import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.slow
TEXT = (checkout.ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
SMALL = {"hidden_size": "[4]", "learning_rate": "[0.5]", "iterations": "[5]", "seed": "[0]"}


def small(directory: Path, data: str) -> Path:
    """Make a copy of this checkout, its params.yaml as it is but for a small sweep and the data set."""
    copy = checkout.make(directory)
    params = (checkout.ROOT / "params.yaml").read_text(encoding="utf-8")
    for name, values in SMALL.items():
        params, count = re.subn(rf"(?m)^(  {name}: )\[.*?\]", rf"\g<1>{values}", params)
        assert count == 1, name
    (copy / "params.yaml").write_text(params.replace("  name: mnist ", f"  name: {data} "), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "A small sweep"], cwd=copy, check=True)
    return copy


def follow(copy: Path, title: str) -> str:
    """Do every block of a recipe; return what its commands printed."""
    ours = ("MLFLOW_", "MNIST_", "NUMNIST_", "DVC_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "true",
    }
    section = re.split(r"(?m)^## ", TEXT)[1:]
    [recipe] = [text for text in section if text.startswith(title)]
    printed = ""
    for kind, block in re.findall(r"(?ms)^```(sh|diff)\n(.*?)^```$", recipe):
        command = ["bash", "-ec", block] if kind == "sh" else ["git", "apply", "-"]
        done = subprocess.run(
            command, input=None if kind == "sh" else block, cwd=copy, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


def test_another_data_set_is_fetched_trained_on_and_named(tmp_path: Path) -> None:
    follow(small(tmp_path, "mnist"), "Another data set")
    metrics = json.loads((tmp_path / "reports" / "metrics.json").read_text())
    assert metrics["dataset"]["name"] == "own" and metrics["test"]["n"] == 300  # every sixth of 1,797
    assert "own" in (tmp_path / "reports" / "index.html").read_text()


def test_another_hyperparameter_changes_what_depends_on_it(tmp_path: Path) -> None:
    printed = follow(small(tmp_path, "mnist-5k"), "Another hyperparameter")
    assert re.search(r"data\.paper_below .* 128", printed)
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["data"]["paper_below"] == 128
    with np.load(tmp_path / "data" / "processed" / "train.npz") as arrays:
        pixels = arrays["pixels"]
    assert pixels[pixels > 0].min() == 128


def test_another_stage_writes_its_table(tmp_path: Path) -> None:
    printed = follow(small(tmp_path, "mnist-5k"), "Another stage")
    assert printed.splitlines()[-3] == "image,label,read,probability"
    stage = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]["mistakes"]
    assert "pipeline/mistakes.py" in stage["deps"] and stage["outs"] == ["reports/mistakes.csv"]
    rows = [line.split(",") for line in (tmp_path / "reports" / "mistakes.csv").read_text().splitlines()[1:]]
    assert rows and all(label != read for _, label, read, _ in rows)
