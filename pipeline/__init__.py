"""What people and DVC run: one thin file each, started as `python -m pipeline.<name>`.

Importing the package makes this checkout's library the one that is used, whatever is installed and whatever the
working directory, and chooses the fastest kernels before anything imports NumPy.
"""

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from numnist.common import machine  # noqa: E402

machine.choose_kernels()

os.environ["PROJECT_ROOT"] = str(ROOT)  # conf/config.yaml finds params.yaml by it
os.environ.setdefault(
    "NUMNIST_LAUNCH", f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
)  # inherited by worker processes
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
