"""MLflow: experiments, runs, the registry and the registered model. Is told numbers and files, and knows no training.

May import: common, config. Start reading in `mlflow_runs.py`; the champion is registered in `registry.py`.
"""
