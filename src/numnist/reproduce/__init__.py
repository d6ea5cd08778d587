"""Doing it again: a whole pipeline against its dvc.lock, or one run against what is kept of it.

May import: all but report and inference. Start reading in `verify.py`.
"""
