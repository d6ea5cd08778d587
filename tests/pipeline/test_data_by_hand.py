"""Data that people put somewhere, through DVC; and a checkout that no mirror can be reached from."""

import shutil
import subprocess
from pathlib import Path

import checkout
import mirrors
import pytest
import yaml

pytestmark = pytest.mark.slow


def with_data(directory: Path, **source: object) -> Path:
    """Make a copy of this checkout whose data set is one of tiny files."""
    copy = checkout.make(directory, {"hidden_size": [3], "learning_rate": [0.1], "iterations": [2], "seed": [0]})
    params = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
    params["data"] |= {"name": "mnist", "validation_one_in": 4}
    params["datasets"]["mnist"] = source
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "Tiny data"], cwd=copy, check=True)
    return copy


def test_dvc_leaves_what_somebody_put_into_data_raw_and_one_lock_comes_out(tmp_path: Path) -> None:
    copy = with_data(tmp_path / "checkout", mirrors=["https://127.0.0.1:9/"], sha256=mirrors.PINS)
    raw = copy / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "notes.txt").write_text("mine")
    for name, content in mirrors.FILES.items():
        (raw / name).write_bytes(content)
    done = checkout.run(copy, "dvc", "repro", "preprocess")
    assert done.returncode == 0, done.stdout + done.stderr
    lock = (copy / "dvc.lock").read_bytes()
    assert {path.name for path in raw.iterdir()} == {"notes.txt", "mnist", *mirrors.FILES}
    (raw / "mnist" / "mine").write_text("mine too")
    refused = checkout.run(copy, "dvc", "repro", "preprocess")
    assert refused.returncode != 0 and f"{raw / 'mnist' / 'mine'} is not what fetch made" in refused.stderr
    assert (raw / "mnist" / "mine").read_text() == "mine too"
    (raw / "mnist" / "mine").rename(raw / "mine")  # the remedy, tried
    (copy / "dvc.lock").unlink()
    shutil.rmtree(raw / "mnist")
    for path in raw.glob("*.gz"):
        path.unlink()
    (copy / "elsewhere").mkdir()
    for name, content in mirrors.CONTENTS.items():
        (copy / "elsewhere" / name.replace("-idx", ".idx")).write_bytes(content)
    done = checkout.run(copy, "dvc", "repro", "preprocess", MNIST_MIRROR=str(copy / "elsewhere"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / "dvc.lock").read_bytes() == lock


def test_without_network_one_command_makes_all_others_work_in_the_checkout(tmp_path: Path) -> None:
    copy = with_data(tmp_path, mirrors=["https://127.0.0.1:9/"], sha256=mirrors.PINS)
    done = checkout.run(copy, "pipeline.run")
    assert done.returncode == 0 and "data set  mnist-5k" in done.stdout, done.stdout + done.stderr
    again = checkout.run(copy, "pipeline.run")
    assert again.returncode == 0 and "Everything is up to date." in again.stdout, again.stdout + again.stderr
    command = "dvc repro preprocess"
    for tried in (["pipeline.train"], ["pipeline.train", "data.name=mnist-5k"], ["dvc", "repro"]):
        refused = checkout.run(copy, *tried)
        assert refused.returncode != 0 and f"`{command}`" in refused.stderr, refused.stdout + refused.stderr
        assert "set data.name to mnist-5k in params.yaml" in refused.stderr
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("name: mnist\n", "name: mnist-5k\n"))
    assert checkout.run(copy, *command.split()).returncode == 0
    for tried in (["pipeline.train", "iterations=2"], ["pipeline.train", "data.name=mnist-5k", "iterations=3"]):
        worked = checkout.run(copy, *tried)
        assert worked.returncode == 0, worked.stdout + worked.stderr
    worked = checkout.run(copy, "dvc", "repro")
    assert worked.returncode == 0, worked.stdout + worked.stderr
