"""MLflow: the store, its runs, the registered model. Is told numbers and files, and knows no training.

May import: common, network. Start reading in `champion.py`, which says what the store owes to the workspace;
`store.py` opens it, `runs.py` logs, `registry.py` keeps the networks.
"""
