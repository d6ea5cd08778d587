"""MLflow's pages on a tracking store, in this process: nothing of them is left behind when it ends."""

import os
from typing import Any
from urllib.parse import quote, urlencode

from numnist.tracking.runs import PARENT
from numnist.tracking.store import Store


def app(store: Store, hosts: list[str]) -> Any:
    """Return MLflow's app on a store, set up as `mlflow server` sets it up; `hosts` are its names, with ports."""
    os.environ |= {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes
    }
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store.uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: os.environ.get("MLFLOW_REGISTRY_URI") or store.uri,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(store.artifacts),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    from mlflow.server import fastapi_app

    return fastapi_app.app


def sweep_link(experiment: str, parent: str | None) -> str:
    """Return the part of the UI's address, from # on, that shows the curves of a sweep, or of all runs."""
    condition = f"tags.`{PARENT}` = '{parent}'" if parent else ""
    return runs_link(experiment, condition, compareRunsMode="CHART", orderByAsc="false")


def runs_link(experiment: str, condition: str, **more: str) -> str:
    """Return the part of the UI's address, from # on, that lists the runs that meet a condition."""
    view = {
        "workflowType": "machine_learning",
        "searchFilter": condition,
        "orderByKey": "metrics.`validation_accuracy`",  # sorted by a metric, child runs show beside their parents
        **more,
    }
    return f"#/experiments/{experiment}/runs?{urlencode(view, quote_via=quote)}"
