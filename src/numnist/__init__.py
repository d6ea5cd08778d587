"""A reproducible experiment pipeline around a neural network written in NumPy.

Importing the package imports nothing else: NumPy's kernels are chosen (`numerics.pin`) before NumPy is imported.
"""
