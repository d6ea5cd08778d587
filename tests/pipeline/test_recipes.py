"""docs/recipes.md, done as it stands in a copy of this checkout: its differences applied, its commands run."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import checkout
import numpy as np
import pandas as pd
import pytest
import yaml

from numnist.common import files
from numnist.data import dataset, idx
from numnist.tracking import registry, runs

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


def write_emnist(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write made-up letters as EMNIST has them, on their side and counted from 1; return the upright test images."""
    rng = np.random.Generator(np.random.PCG64(3))
    letters = (rng.random((26, 28, 28)) > 0.7) * np.uint8(200)
    for name, count in (("train", 26 * 24), ("test", 26 * 6)):
        labels = np.arange(count) % 26
        upright = letters[labels] * (rng.random((count, 28, 28)) > 0.2)
        for kind, array in (("images-idx3", upright.transpose(0, 2, 1).reshape(-1, 784)), ("labels-idx1", labels + 1)):
            content = gzip.compress(idx.pack(array.astype(np.uint8)))
            files.write_bytes(directory / "emnist" / f"emnist-letters-{name}-{kind}-ubyte.gz", content)
    return upright.astype(np.uint8), labels


def test_letters_of_26_classes_run_through_all_stages_upright_and_by_name(tmp_path: Path) -> None:
    copy = small(tmp_path, "mnist")
    upright, labels = write_emnist(copy)
    follow(copy, "Letters: 26 classes")
    refused = checkout.run(copy, "pipeline.fetch")
    assert refused.returncode == 1
    pins = refused.stderr[refused.stderr.index("sha256:\n") :]
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    before, count = re.subn(r"sha256: \{\}  # python.*", lambda _: pins.strip(), params)
    assert count == 1
    (copy / "params.yaml").write_text(before, encoding="utf-8")
    done = checkout.run(copy, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    test = dataset.load_test(copy / "data" / "processed")
    assert np.array_equal(test.pixels, upright.reshape(-1, 784)) and np.array_equal(test.labels, labels)
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert dataset.load(copy / "data" / "processed").classes == names
    confusion = pd.read_csv(copy / "reports" / "tables" / "confusion.csv", index_col=0)
    assert confusion.shape == (26, 26) and confusion.to_numpy().sum() == len(labels)
    assert list(confusion.columns) == list(confusion.index) == list(names)
    page = re.sub(r"(?s)<(style|script).*?</\1>", "", (copy / "reports" / "index.html").read_text(encoding="utf-8"))
    assert "digit" not in re.sub(r"<[^>]*>", " ", page).lower()
    [weights] = (copy / "runs").glob("*/weights.npz")
    with np.load(weights) as arrays:
        assert 26 in {array.shape[-2] for array in arrays.values()}
    store = runs.connect(copy).store
    answer = registry.model(store, registry.champion(store)).predict(upright[:5])
    assert set(answer["class"]) <= set(names) and len(answer["probabilities"][0]) == 26


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


SERVED = """
from pathlib import Path
import numpy as np
import pipeline
from numnist.tracking import champion, registry, runs

root = Path.cwd()
tracker = runs.connect(root)
answer = registry.model(tracker.store, champion.champion(tracker, root).version).predict(np.zeros((2, 784), "uint8"))
print(len(answer), len(answer["probabilities"][0]))
"""


def test_another_network_is_trained_resumed_tracked_reported_predicts_and_is_served(tmp_path: Path) -> None:
    copy = small(tmp_path, "mnist-5k")
    params = (copy / "params.yaml").read_text(encoding="utf-8")
    (copy / "params.yaml").write_text(params.replace("  iterations: [5]", "  iterations: [3, 5]"), encoding="utf-8")
    printed = follow(copy, "Another network")
    assert "docs/three.png: " in printed and (copy / "reports" / "index.html").is_file()
    made = {path: path.read_bytes() for path in (copy / "runs").glob("*/weights.npz")}
    assert len(made) == 2
    for path in made:
        with np.load(path) as arrays:
            assert arrays["W3"].shape == (10, 16)
    for path in copy.glob(".checkpoints/*/5.npz"):  # as a training that was killed leaves it: it goes on from 3
        path.unlink()
    assert checkout.run(copy, "dvc", "repro", "--force", "--single-item", "train").returncode == 0
    assert made == {path: path.read_bytes() for path in made}
    served = subprocess.run([sys.executable, "-c", SERVED], cwd=copy, capture_output=True, text=True)
    assert served.stdout == "2 10\n", served.stderr
