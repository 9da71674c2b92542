"""What others see of a run: Prometheus while it trains, MLflow after it was killed and has ended all the same."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pandas as pd
import pytest

from fer_data.commands import exit_with_code
from jobs.telemetry import METRICS, TRAINING, Telemetry
from jobs.train_cnn import main
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_SECONDS, assert_all_end, descendants, kill, listening_ports, until

pytestmark = pytest.mark.cluster
LINE = re.compile(r"ray_(fer_\w+)\{(.*)\} (\S+)")


def told(port: int) -> dict[tuple[str, str], float]:
    """The values at a node's endpoint by metric and run."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = map(LINE.fullmatch, answer.read().decode().splitlines())
    return {(m[1], re.search('run="(.*?)"', m[2])[1]): float(m[3]) for m in lines if m}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the node of a Ray in this process tells its metrics, each second."""
    import ray

    from cluster.connect import connect

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_metrics_report_interval_ms", "1000")
        connect()
        try:
            yield ray.nodes()[0]["MetricsExportPort"]
        finally:
            ray.shutdown()


def test_what_is_told_once_stays_until_it_is_taken_back_or_closed(port):
    one, other = Telemetry(run="one", model="m"), Telemetry(run="other", model="m")
    with one, other:
        one.set(epoch=7, validation_loss=0.5)
        other.set(epoch=2)
        until(lambda: len(told(port)) == 3)
        time.sleep(4)  # Twice as long as Ray keeps what is not said again.
        assert told(port) == {("fer_epoch", "one"): 7, ("fer_validation_loss", "one"): 0.5, ("fer_epoch", "other"): 2}
        one.set(epoch=8, validation_loss=None)
        until(lambda: told(port) == {("fer_epoch", "one"): 8, ("fer_epoch", "other"): 2})
    until(lambda: not told(port))
    with pytest.raises(KeyError):
        one.set(no_such_metric=1.0)
    assert all(re.fullmatch(r"fer_[a-z0-9_]+", name) for name in METRICS)


def told_by(pid: int) -> dict[tuple[str, str], float]:
    """What the agent of the Ray that process `pid` started tells, once it does."""
    agents = [child for child, command in descendants(pid).items() if "DashboardAgent" in command]
    for port in listening_ports(agents):
        try:
            if values := told(port):
                return values
        except (OSError, HTTPException):  # Another of its ports, which speaks something else.
            continue
    return {}


def command(data: str, storage: Path, *options: str) -> list[str]:
    train = (sys.executable, "jobs/train_cnn.py", "--model", "compact", "--batch-size", "50", "--data", data)
    return [*train, "--storage", str(storage), "--name", "run", *options]


def finish(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(drawn_few, tmp_path_factory) -> tuple[list[str], Path, dict[tuple[str, str], float], str]:
    """A run that is killed once Prometheus has read it and MLflow has an epoch, and ends after it is started again.

    Its command, its folder, what Prometheus read, and what the second start printed.
    """
    storage = tmp_path_factory.mktemp("watched")
    # So many epochs that it is still running when it is looked at, also on a fast machine.
    options = ("--epochs", "15", "--mlflow", f"sqlite:///{storage}/ml.db")
    environment = os.environ | {"RAY_metrics_report_interval_ms": "1000"}
    values: dict[tuple[str, str], float] = {}
    process = subprocess.Popen(
        command(drawn_few, storage, *options),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def seen() -> bool:
        assert process.poll() is None, process.stdout.read()
        values.update(told_by(process.pid))
        return {name for name, _ in values} == set(TRAINING) and len(mlflow_steps(storage)) > 0

    try:
        until(seen)
    finally:
        killed = kill([process.pid, *descendants(process.pid)])
        process.communicate()
    assert_all_end(killed)
    again = command(drawn_few, storage, *options)
    return again, storage / "run", values, finish(again)


def mlflow_steps(storage: Path) -> list[int]:
    """The epochs of which MLflow has the validation accuracy."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{storage}/ml.db?mode=ro", uri=True) as database:
            rows = database.execute("SELECT step FROM metrics WHERE key = 'validation_accuracy' ORDER BY step")
            return [step for (step,) in rows]
    except sqlite3.OperationalError:  # Not there yet.
        return []


@pytest.mark.slow
def test_prometheus_reads_what_the_run_does(run):
    _, folder, values, _ = run
    assert {name for _, name in values} == {"run"}
    history = pd.read_csv(folder / "history.csv")
    assert values["fer_epoch", "run"] in history["epoch"].to_list()
    assert values["fer_workers", "run"] == 1
    # Bit for bit the figure of some epoch: the two may be read on either side of an epoch's end.
    assert values["fer_validation_accuracy", "run"] in history["validation_accuracy"].to_list()


@pytest.mark.slow
def test_mlflow_holds_one_run_with_every_epoch_once(run):
    from mlflow import MlflowClient

    _, folder, _, printed = run
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.parent}/ml.db")
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.run_id in printed
    assert (kept.info.run_name, kept.info.status) == ("run", "FINISHED")
    assert (kept.data.params["batch_size"], kept.data.params["model"]) == ("50", "compact")
    assert kept.data.tags["folder"] == str(folder)
    history = pd.read_csv(folder / "history.csv")
    for name in ("validation_accuracy", "training_loss", "images_per_second"):
        logged = client.get_metric_history(kept.info.run_id, name)
        assert [m.step for m in logged] == history["epoch"].to_list()
        assert [m.value for m in logged] == pytest.approx(history[name].to_list())
    card = client.download_artifacts(kept.info.run_id, "card.json", str(folder))
    assert Path(card).read_text() == (folder / "best/card.json").read_text()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_said_once_without_its_password(run):
    again, folder, _, _ = run
    at = again.index("--mlflow") + 1
    printed = finish([*again[:at], "http://me:TOPsecret@127.0.0.1:1", *again[at + 1 :]])
    assert "nothing to do" in printed
    assert str(folder / "best") in printed
    (warning,) = (line for line in printed.splitlines() if line.startswith("warning: "))
    assert "MLflow at http://127.0.0.1:1 fails" in warning
    assert "TOPsecret" not in printed
    assert not [path for path in folder.rglob("*") if path.is_file() and b"TOPsecret" in path.read_bytes()]


@pytest.mark.parametrize(
    ("uri", "message"),
    [("./mlruns", "--mlflow must be the URI"), ("http://127.0.0.1:1", r"pip install -c constraints.txt '.[mlflow]'")],
)
def test_what_mlflow_cannot_do_gets_one_line_and_exit_code_two(uri, message, drawn_few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # As where it is not installed.
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: main(["--data", drawn_few, "--storage", str(tmp_path), "--mlflow", uri]))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
