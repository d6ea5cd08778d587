"""A Slurm of one node on 127.0.0.1, of Debian's packages slurmctld, slurmd and munge, its files in a directory."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stores import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "scancel")
CONFIGURATION = """
ClusterName=numnist
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What keeps this machine from running it; nothing where it can."""
    if os.geteuid() != 0:
        return "a Slurm of our own needs root"
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    return f"needs {', '.join(absent)} (apt-get install slurmctld slurmd munge slurm-client)" if absent else ""


@contextmanager
def running(directory: Path) -> Iterator[Path]:
    """Start it, wait until its node is idle, yield its configuration file, and stop it."""
    for name in ("state", "spool"):
        (directory / name).mkdir()
    key = directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    configuration = directory / "slurm.conf"
    host = platform.node().partition(".")[0]
    text = CONFIGURATION.format(
        directory=directory, host=host, controller_port=free_port(), node_port=free_port(), cores=os.cpu_count()
    )
    configuration.write_text(text, encoding="utf-8")
    munge = [f"--{name}={directory}/munge.{name.partition('-')[0]}" for name in ("pid-file", "log-file", "seed-file")]
    commands = [
        ["munged", "-F", "--force", f"--key-file={key}", f"--socket={directory}/munge.socket", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    with ExitStack() as stack:
        log = stack.enter_context((directory / "log").open("wb"))
        environment = os.environ | {"SLURM_CONF": str(configuration)}
        for command in commands:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if command[0] == "munged":
                wait_for(lambda: (directory / "munge.socket").exists(), directory)
        ask = ["sinfo", "--noheader", "--format=%T"]
        wait_for(
            lambda: subprocess.run(ask, env=environment, capture_output=True, check=False).stdout == b"idle\n",
            directory,
        )
        yield configuration


def wait_for(condition: Callable[[], bool], directory: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, (directory / "log").read_text(errors="replace")
        time.sleep(0.1)
