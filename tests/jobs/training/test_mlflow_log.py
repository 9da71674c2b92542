"""Against a real tracking store; that a training uses it so is seen in tests/jobs/test_observability.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.training.defaults import DEFAULTS
from jobs.training.mlflow_log import MlflowLog
from jobs.training.run_folder import RunFolder


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "validation_accuracy": epoch / 10, "validation_auc": None}


class Case:
    """A run's folder, a store beside it, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/ml.db"
        self.folder = RunFolder(str(folder / "run"))
        Path(self.folder.best).mkdir(parents=True)
        Path(self.folder.best, "card.json").write_text('{"epoch": 4}')
        self.said: list[str] = []

    def log(self, finished: int, uri: str | None = None) -> MlflowLog:
        rows = [row(epoch) for epoch in range(1, finished + 1)]
        return MlflowLog(uri or self.uri, self.folder, "run", DEFAULTS["compact"], rows, self.said.append)

    def runs(self) -> list[Any]:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri).search_runs(["1"])

    def epochs(self) -> list[int]:
        from mlflow import MlflowClient

        (run,) = self.runs()
        history = MlflowClient(tracking_uri=self.uri).get_metric_history(run.info.run_id, "validation_accuracy")
        assert [m.value for m in history] == [m.step / 10 for m in history]
        return [m.step for m in history]


@pytest.fixture
def case(tmp_path) -> Case:
    return Case(tmp_path)


def test_a_run_that_was_killed_goes_on_in_the_same_mlflow_run(case, tmp_path):
    killed = case.log(0).__enter__()
    killed.add(row(1))
    killed.add(row(2))
    assert case.runs()[0].info.status == "RUNNING"
    with case.log(2) as log:
        log.add(row(3))
    (run,) = case.runs()
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["learning_rate"] == str(DEFAULTS["compact"].optimizer.learning_rate)
    assert "validation_auc" not in run.data.metrics
    assert case.epochs() == [1, 2, 3]
    assert [path.read_text() for path in (tmp_path / "mlflow_artifacts").rglob("card.json")] == ['{"epoch": 4}']


def test_what_a_store_missed_it_gets_when_it_is_back_and_is_complained_of_once(case, monkeypatch):
    with case.log(0) as log:
        log.add(row(1))
        with monkeypatch.context() as broken:
            broken.setattr(log._client, "log_batch", lambda *_, **__: 1 / 0)
            log.add(row(2))
            log.add(row(3))
    assert case.epochs() == [1, 2, 3]
    link, warning = case.said
    assert "division by zero" in warning
    assert link.startswith("MLflow run ")


def test_a_run_that_mlflow_no_longer_has_begins_anew(case):
    with case.log(1):
        pass
    Path(case.folder.uri, "mlflow.json").write_text(json.dumps({"uri": case.uri, "run_id": "0" * 32}))
    with case.log(2):
        pass
    assert len(case.runs()) == 2
    assert len(case.said) == 2


def test_a_server_that_does_not_answer_stops_nothing_and_its_password_is_not_said(case, capfd):
    with case.log(1, "http://me:secret@127.0.0.1:1") as log:
        log.add(row(2))
    (warning,) = case.said
    assert "MLflow at http://127.0.0.1:1 fails" in warning
    assert "secret" not in warning
    assert capfd.readouterr() == ("", "")


def test_a_training_that_fails_is_a_failed_run(case):
    with pytest.raises(RuntimeError), case.log(1):
        raise RuntimeError
    assert case.runs()[0].info.status == "FAILED"
