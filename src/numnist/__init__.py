"""A reproducible experiment pipeline around a neural network written in NumPy.

Importing the package imports nothing else.
"""
