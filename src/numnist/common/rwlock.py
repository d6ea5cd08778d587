"""DVC's rwlock: its list of the files that its processes read and write.

DVC writes it in place. If DVC is killed while it does, the list is cut off, and DVC refuses to start from then on.
"""

import contextlib
import json
from pathlib import Path

from filelock import FileLock, Timeout

NAME = Path(".dvc", "tmp", "rwlock")


def is_cut_off(root: Path) -> bool:
    """Whether the list is there and cannot be read."""
    try:
        json.loads((root / NAME).read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def mend(root: Path) -> None:
    """Remove the list if it is cut off: DVC then begins a new one. One that DVC is just writing is left alone."""
    if is_cut_off(root):
        with contextlib.suppress(Timeout), FileLock(f"{root / NAME}.lock", timeout=0):  # DVC takes the same lock
            if is_cut_off(root):
                (root / NAME).unlink()
