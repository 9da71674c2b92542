"""What a run reports while it goes on."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import ray

from cluster.connect import WorkerResources, start_local
from fer_data.dataset import open_dataset
from jobs.training.board import ProgressBoard
from jobs.training.defaults import DEFAULTS
from jobs.training.driver import run_workers
from jobs.training.progress import epoch_line
from jobs.training.run_folder import RunFolder
from jobs.training.task import Task
from tests.processes import PATIENCE_SECONDS, descendants, kill, until


@pytest.fixture
def own_ray() -> Iterator[None]:
    start_local()
    yield
    ray.shutdown()


def test_a_line_per_epoch_tells_the_accuracy_on_unseen_images_where_it_is_known():
    row = {"epoch": 1, "seconds": 2, "images_per_second": 50, "training_loss": 2, "training_accuracy": 0.1}
    row |= {"validation_loss": 1.88, "validation_accuracy": 0.212, "validation_macro_f1": 0.1}
    of_all = "validation loss 1.880 accuracy 21.2% macro-F1 0.100"
    assert epoch_line(row, 3).endswith(of_all)  # As in the history of an older run.
    assert epoch_line(row | {"validation_accuracy_unseen": None}, 3).endswith(of_all)
    told = epoch_line(row | {"validation_accuracy_unseen": 0.201}, 3)
    assert told.endswith("validation loss 1.880 accuracy 21.2% (unseen 20.1%) macro-F1 0.100")


def test_a_line_per_epoch_tells_what_its_time_went_into():
    row = {"epoch": 1, "seconds": 20.4, "images_per_second": 50, "training_loss": 2, "training_accuracy": 0.1}
    row |= {"validation_loss": 1.88, "validation_accuracy": 0.212, "validation_macro_f1": 0.1}
    assert epoch_line(row, 3).startswith("epoch 1/3  20 s  50 images/s")  # As in the history of an older run.
    row |= {"training_seconds": 8.0, "validation_seconds": 11.0, "writing_seconds": 3.0}
    assert epoch_line(row, 3).startswith("epoch 1/3  20 s (training 8, validation 11, writing 3)  50 images/s")


@pytest.mark.cluster
@pytest.mark.soak
def test_an_epoch_that_was_saved_but_not_reported_is_reported_by_the_next_worker(drawn_few, tmp_path, own_ray):
    reached, killed = tmp_path / "reached", tmp_path / "killed"

    class Deaf(ProgressBoard):
        """Does not hear the first report; meanwhile the worker is killed."""

        def finish_epochs(self, history: list) -> None:
            if killed.exists():
                return super().finish_epochs(history)
            reached.touch()
            while not killed.exists():
                time.sleep(0.01)

    dataset = open_dataset(drawn_few)
    config = replace(DEFAULTS["compact"], data=drawn_few, epochs=2, batch_size=50, select="all")
    run = RunFolder(str(tmp_path / "run"))
    run.start(config, dataset.manifest.fingerprint, overwrite=False)
    board = ray.remote(num_cpus=0)(Deaf).remote("run", finished=0, minutes=5, gated=True)
    task = Task("run", config, run.uri, dataset, threads=1, keep=2, stall_timeout=600, progress=board)
    options = {"workers": (1, 1), "max_failures": 1}
    running = threading.Thread(target=run_workers, args=(task, WorkerResources(1, 0)), kwargs=options, daemon=True)

    def reported() -> list[int]:
        lines, _ = ray.get(board.take.remote(0))
        return [line["epoch"] for line in lines if isinstance(line, dict)]

    board.allow.remote(1)
    running.start()
    until(reached.exists)
    kill(pid for pid, command in descendants(os.getpid()).items() if "ray::RayTrainWorker" in command)
    killed.touch()
    until(lambda: reported() == [1])
    board.allow.remote(2)
    running.join(PATIENCE_SECONDS)
    assert reported() == [1, 2]
    said, _ = ray.get(board.take.remote(0))
    assert "worker 1 of 1 lost; waiting for room, then on from epoch 1" in said  # As far as the board had heard.
