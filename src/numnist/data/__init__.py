"""The data set: the forms that it comes in, where it is fetched from, and the split that training may see.

May import: common, config. Start reading in `dataset.py`; `fetching.py` gets the files.
"""
