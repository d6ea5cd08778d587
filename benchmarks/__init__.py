"""This project against its peers: `python -m benchmarks.run`, in a virtual environment of its own (`make bench`).

Importing the package puts this checkout's library on the path, and imports no NumPy: each measurement is a process of
its own (`benchmarks.measure`), which decides on threads and kernels first.
"""

import pipeline  # noqa: F401
