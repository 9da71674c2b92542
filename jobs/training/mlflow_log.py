"""`--mlflow URI`: log a run's configuration, its metrics by epoch and the best checkpoint's card to MLflow."""

import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fer_data.errors import UserError
from fer_data.storage import exists, join, one_line, read_file, redacted, write_file
from fer_models.checkpoint_files import CARD_FILE
from jobs.training.config import TrainConfig
from jobs.training.run_folder import RunFolder

_NOTE = "mlflow.json"
_PATIENCE_SECONDS = 60.0
"""How long to wait before asking a server again that did not answer."""
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # On by default.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # The URL may contain a password.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # Retried with the next epoch.
}


def check_mlflow(uri: str) -> None:
    """Raises UserError when the packages that `uri` needs are not installed."""
    needed = ["mlflow"] + ([] if uri.startswith("http") else ["sqlalchemy", "alembic"])
    if any(importlib.util.find_spec(name) is None for name in needed):
        raise UserError("--mlflow needs MLflow: pip install -c constraints.txt '.[mlflow]'")


class MlflowLog:
    """Copies a run's history to the MLflow at `uri`, if there is one; a context manager, entered once.

    `rows` are the epochs that are already finished. The run's folder holds the id of the MLflow run, so that a resumed
    run continues it. A failure of MLflow is reported once and does not stop training: missing epochs are sent with a
    later one, or at the end.
    """

    def __init__(
        self,
        uri: str | None,
        folder: RunFolder,
        name: str,
        config: TrainConfig,
        rows: Iterable[Mapping[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self._enabled, self._uri = uri is not None, uri or ""
        self._folder, self._name, self._config, self._say = folder, name, config, say
        self._rows = list(rows)
        self._logged = 0
        self._run: str | None = None
        self._client: Any = None
        self._not_before = 0.0
        self._warned = False

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of a finished epoch."""
        self._rows.append(row)
        self._copy()

    def __enter__(self) -> "MlflowLog":
        self._copy()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._not_before = 0.0
        self._copy("FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def _copy(self, status: str | None = None) -> None:
        """Send the missing rows, and with a `status` end the MLflow run."""
        if not self._enabled or time.monotonic() < self._not_before:
            return
        try:
            self._client = self._client or _connect(self._uri)
            self._run = self._run or self._begin()
            for row in [row for row in self._rows if row["epoch"] > self._logged]:
                self._client.log_batch(self._run, metrics=_metrics(row))
                self._logged = row["epoch"]
            if status and exists(card := join(self._folder.best, CARD_FILE)):
                self._client.log_text(self._run, read_file(card).decode(), CARD_FILE)
            if status:
                self._client.set_terminated(self._run, status)
        except Exception as error:  # Each kind of store has its own exceptions, and none may end the training.
            self._not_before = time.monotonic() + _PATIENCE_SECONDS
            if not self._warned:
                self._warned = True
                why = one_line(error, 200)
                self._say(
                    f"warning: MLflow at {redacted(self._uri)} fails; missing epochs are sent later, or when "
                    f"this command is run again: {why}"
                )

    def _begin(self) -> str:
        """The id of this run's MLflow run: that in its folder, if MLflow still has it, or a new one."""
        from mlflow.entities import Param, RunTag

        note, run = join(self._folder.uri, _NOTE), None
        if exists(note):
            before = json.loads(read_file(note))
            if before["uri"] == redacted(self._uri):
                run = self._found(before["run_id"])
        if run is None:
            run = self._client.create_run(self._experiment(), run_name=self._name)
            write_file(note, json.dumps({"uri": redacted(self._uri), "run_id": run.info.run_id}).encode())
        else:
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._logged = int(run.data.metrics.get("epoch", 0))
        # The path of the data may change when a run resumes, but a parameter in MLflow may not.
        values = self._config.flat()
        data = redacted(values.pop("data") or "drawn faces")
        self._client.log_batch(
            run.info.run_id,
            params=[Param(name, str(value)) for name, value in values.items()],
            tags=[RunTag("folder", redacted(self._folder.uri)), RunTag("data", data)],
        )
        self._say(f"MLflow {self._link(run.info)}")
        return str(run.info.run_id)

    def _found(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run if run.info.lifecycle_stage == "active" else None

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "facial expressions")
        if (experiment := self._client.get_experiment_by_name(name)) is not None:
            return str(experiment.experiment_id)
        location = None  # A server chooses where its files go. Without one they would go to the working directory.
        if self._uri.startswith("sqlite:///"):
            location = str(Path(self._uri.removeprefix("sqlite:///")).absolute().with_name("mlflow_artifacts"))
        return str(self._client.create_experiment(name, artifact_location=location))

    def _link(self, info: Any) -> str:
        where = redacted(self._uri)
        if self._uri.startswith("http"):
            return f"{where.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
        return f"run {info.run_id} in {where}"


def _connect(uri: str) -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def _metrics(row: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    return [Metric(name, float(value), now, row["epoch"]) for name, value in row.items() if value is not None]
