"""`make run`: the pipeline on the data set of params.yaml or, if that cannot be reached, on the packaged sample.

The sample's run has a workspace of its own, .sample/: params.yaml, dvc.lock and the results of the checkout stay as
they are, so the next run with a mirror in reach is that of the real data set.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from numnist.common import dvc_lock, files, processes, rwlock
from numnist.common.errors import FetchError, NumnistError
from numnist.config import cli
from numnist.tracking import champion, provenance, runs
from pipeline import ROOT, fetch

SAMPLE_WORKSPACE = ROOT / ".sample"
FOLDERS = ("conf", "docs", "pipeline", "src")  # of what git would list
NOT_COPIED = {"dvc.lock", "params.yaml"}  # the workspace has its own


def main() -> None:
    """Run the pipeline, and say where its results are."""
    lock = FileLock(ROOT / ".dvc" / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("Waiting for another `make run` in this checkout to end.", flush=True)
        lock.acquire()
    with lock:
        os.environ["MNIST_MIRROR"] = fetch.mirror()
        _configure_git()
        workspace = ROOT if _data_is_available() else _sample_workspace()
        dvc_lock.check(workspace, edits_allowed=True)
        up_to_date = _dvc(workspace, "status", "--quiet", quiet=True) == 0
        if not up_to_date and _dvc(workspace, "repro") != 0:
            raise NumnistError(
                "the pipeline stopped; the reason stands above. What is done is kept: `make run` goes on"
            )
    dvc_lock.check(workspace)
    print("Everything is up to date." if up_to_date else "Done.")
    _show_results(workspace)
    if not (up_to_date and champion.is_up_to_date(workspace)):
        print(f"  champion  {champion.champion(runs.connect(workspace), workspace).words}")


def _configure_git() -> None:
    """Let DVC work without git if there is none, as in an unpacked ZIP, and with it once there is."""
    local, git = ROOT / ".dvc" / "config.local", provenance.has_git(ROOT)
    without = local.is_file() and "no_scm" in local.read_text(encoding="utf-8")
    if not git:
        print("This is no git repository: DVC runs without it, but keeps no experiments.", flush=True)
    if git == without:
        _dvc(ROOT, "config", "--local", *(["--unset", "core.no_scm"] if git else ["core.no_scm", "true"]))


def _data_is_available() -> bool:
    """Whether the data set of params.yaml is there or can be fetched; if not, say so."""
    from numnist.data import fetching

    params = cli.params()
    if any(_dvc(ROOT, *command, "--quiet", "fetch", quiet=True) == 0 for command in (["status"], ["checkout"])):
        return True
    mirrors = params.source.mirrors
    if fetch.places(ROOT / "data" / "raw") or not mirrors or not all(map(fetching.is_url, mirrors)):
        return True  # if it is not there, `dvc repro` is to say so
    with contextlib.suppress(FetchError):
        fetch.main()
        return True
    print(
        f"No mirror of {params.data.name} can be reached, so this is a run on {fetching.SAMPLE}, the packaged sample "
        f"(in {SAMPLE_WORKSPACE.name}/). MNIST_MIRROR=<directory or URL> names a mirror of your own. For other "
        "commands, `dvc exp run -S data.name=mnist-5k preprocess` takes the sample in this checkout.",
        flush=True,
    )
    return False


def _sample_workspace() -> Path:
    """Make or refresh the sample's workspace: this checkout's files, with data.name changed."""
    from numnist.data import fetching

    for name in _sources():
        original, copy = ROOT / name, SAMPLE_WORKSPACE / name
        if name in NOT_COPIED or not original.is_file():
            continue
        if not copy.is_file() or copy.read_bytes() != original.read_bytes():
            files.write_bytes(copy, original.read_bytes())
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["data"]["name"] = fetching.SAMPLE
    files.write_text(SAMPLE_WORKSPACE / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    files.write_text(SAMPLE_WORKSPACE / ".dvc" / "config.local", "[core]\n    no_scm = true\n")
    return SAMPLE_WORKSPACE


def _sources() -> Iterator[str]:
    """Yield the files that the pipeline is made of, relative to the checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if provenance.has_git(ROOT):
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()  # noqa: S603
        yield from filter(None, listed.split("\0"))
        return
    for top in (*ROOT.glob("*.*"), ROOT / ".dvcignore", ROOT / ".dvc" / "config", *map(ROOT.joinpath, FOLDERS)):
        for path in top.rglob("*") if top.is_dir() else [top]:
            yield path.relative_to(ROOT).as_posix()


def _dvc(workspace: Path, *arguments: str, quiet: bool = False) -> int:
    """Run DVC in a workspace and return its exit code."""
    rwlock.mend(workspace)
    output = subprocess.DEVNULL if quiet else None
    return processes.run([sys.executable, "-m", "dvc", *arguments], cwd=workspace, stdout=output, stderr=output)


def _show_results(workspace: Path) -> None:
    metrics = files.read_json(workspace / "reports" / "metrics.json")
    winner, test = metrics["winner"], metrics["test"]
    print(
        f"  data set  {metrics['dataset']['name']}\n"
        f"  winner    {winner['hidden_size']} hidden units, learning rate {winner['learning_rate']:g}, "
        f"{winner['iterations']} iterations: {metrics['validation']['accuracy']:.2%} on validation data, "
        f"{test['accuracy']:.2%} on the test set ({test['n']:,} images)\n"
        f"  report    {workspace / 'reports' / 'index.html'}\n"
        f"  runs      make ui"
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
