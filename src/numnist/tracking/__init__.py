"""MLflow: the store, its runs, the registered model. It logs numbers and files, and knows no training.

May import: common, network. Start reading in `runs.py`, which logs. `store.py` opens the store, `recorded.py` reads it,
`registry.py` keeps models, and `champion.py` brings the store in line with the workspace.
"""
