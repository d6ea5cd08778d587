"""The winner of a sweep, chosen on validation data, and the one look at the test set.

May import: common, config, data, network, training. Start reading in `selection.py`; `evaluate.py` opens the test set.
"""
