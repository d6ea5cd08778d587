"""This project against its peers: `python -m benchmarks.run`, in a virtual environment of its own (`make bench`).

Importing the package puts this checkout's library on the path, and imports no NumPy: each measurement is a process of
its own (`benchmarks.measure`), which decides on threads and kernels first.
"""

import os

_before = dict(os.environ)

import pipeline  # noqa: E402, F401

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE"):
    if _name not in _before:
        os.environ.pop(_name, None)  # chosen for numnist: the peers choose for themselves
