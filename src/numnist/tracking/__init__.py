"""MLflow: the store, its runs, the registered model. It logs numbers and files, and knows no training.

May import: common, network. Start reading in `champion.py`, which says what the store owes to the workspace;
`store.py` opens it, `runs.py` logs, `recorded.py` reads back, `registry.py` keeps the networks.
"""
