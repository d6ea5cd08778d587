"""This project against its peers: `python -m benchmarks.run`, in a virtual environment of its own (`make bench`).

Importing the package imports nothing else: each measurement is a process of its own (`benchmarks.measure`), which
decides on threads and kernels before NumPy is imported.
"""
