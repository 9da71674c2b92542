"""Training and sweeps on a cluster with rehearsed GPUs: what they reserve, and what is refused before they begin."""

import csv
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from fer_data.commands import exit_with_code
from jobs import sweep, train_cnn
from jobs.gpus import REHEARSED
from tests.gpus import no_real_gpu, ray_with_gpus

pytestmark = pytest.mark.cluster
PLAIN = ("--rotation", "0", "--shift", "0", "--zoom", "0", "--shear", "0", "--no-flip", "--batch-size", "60")
QUICK = ("--model", "cnn", "--epochs", "1", *PLAIN)


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    with ray_with_gpus(2, cpus=2):
        yield


@pytest.fixture
def reserved() -> Iterator[Callable[[], float]]:
    """The most GPUs that were reserved at a time since the test began."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            free = ray.available_resources().get("GPU", 0.0)
            most[0] = max(most[0], ray.cluster_resources().get("GPU", 0.0) - free)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield lambda: most[0]
    over.set()
    watcher.join()


def history(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys, job: Callable, *arguments: str) -> str:
    """The one line that a job ends with because of the user's mistake."""
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: job(arguments))
    told = capsys.readouterr().err
    assert stop.value.code == 2, told
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(("workers", "device", "gpus"), [("2", "auto", 2), ("1", "cpu", 0)])
def test_each_worker_has_a_gpu_unless_processors_are_asked_for(
    two_gpus, reserved, drawn_few, tmp_path, capsys, workers, device, gpus
):
    where = ("--storage", str(tmp_path), "--name", "run", "--workers", workers, "--device", device)
    train_cnn.main([*QUICK, "--data", drawn_few, *where])
    assert reserved() == gpus
    printed = capsys.readouterr().out
    assert ("and a GPU" in printed) == (REHEARSED in printed) == (gpus > 0)
    (row,) = history(tmp_path / "run")
    assert row["workers"] == workers
    assert float(row["tflops"]) > 0
    assert row["mfu"] == ""  # A rehearsed card has no peak.


def test_trials_of_a_sweep_run_side_by_side_on_a_gpu_each(two_gpus, reserved, drawn_few, tmp_path):
    where = ("--storage", str(tmp_path), "--name", "sweep", "--device", "gpu")
    search = ("--trials", "2", "--scheduler", "none", "--space", "learning-rate", "--search", "random")
    sweep.main([*QUICK, "--data", drawn_few, *where, *search])
    assert reserved() == 2
    began = [run.stat().st_ctime for run in (tmp_path / "sweep/trials").glob("*/config.json")]
    ended = [run.stat().st_mtime for run in (tmp_path / "sweep/trials").glob("*/history.csv")]
    assert len(began) == len(ended) == 2
    assert max(began) < min(ended)


def test_more_gpus_than_there_are_are_refused_in_a_line(two_gpus, drawn_few, tmp_path, capsys):
    where = ("--data", drawn_few, "--storage", str(tmp_path / "runs"), "--device", "gpu")
    assert "--workers 3 --device gpu needs 3 GPUs" in refused(capsys, train_cnn.main, *where, "--workers", "3")
    assert "needs 3 GPUs" in refused(capsys, sweep.main, *where, "--workers-per-trial", "3")
    assert not (tmp_path / "runs").exists()


@no_real_gpu
def test_a_gpu_that_tensorflow_does_not_find_ends_the_job_before_its_folder_is_begun(drawn_few, tmp_path, capsys):
    with ray_with_gpus(1, rehearsed=False):
        for job, device in ((train_cnn.main, "gpu"), (train_cnn.main, "auto"), (sweep.main, "auto")):
            where = ("--data", drawn_few, "--storage", str(tmp_path / "runs"), "--device", device)
            line = refused(capsys, job, *where)
            assert "TensorFlow finds no GPU on machine 127.0.0.1" in line
            assert line.endswith("--device cpu")
            assert not (tmp_path / "runs").exists()
