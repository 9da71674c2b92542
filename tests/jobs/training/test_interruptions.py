"""Kill a run anywhere; the same command again ends with the same weights, bit for bit."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_models.checkpoint_files import STATE_FILE
from tests.conftest import REPOSITORY, write_drawn_set
from tests.processes import PATIENCE_SECONDS, assert_all_end, descendants, kill, run_to_end, until

pytestmark = [pytest.mark.cluster, pytest.mark.soak]
EPOCHS = 4
# Dropout, augmentation, batch norm, moving average, schedule and optimizer must all resume.
COMPACT = ("jobs/train_cnn.py", "--model", "compact", "--epochs", str(EPOCHS), "--batch-size", "50", "--ema", "0.9")
RESNET50 = ("jobs/train_resnet.py", "--epochs", "2", "--batch-size", "12", "--optimizer", "sgd", "--freeze", "stem=1")
HASTE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "15"}
"""For how long a driver hopes that a Ray that was killed comes back: a minute, by default."""


class Run:
    """One training command, as often as it is started, and what it leaves in its folder."""

    def __init__(
        self, data: str, storage: Path, name: str, job: tuple[str, ...] = COMPACT, *, workers: int = 2
    ) -> None:
        self.folder = storage / name
        self.command = [
            *(sys.executable, *job, "--data", data, "--workers", str(workers), "--seed", "7"),
            *("--storage", str(storage), "--name", name),
        ]

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command,
            cwd=REPOSITORY,
            env=os.environ | HASTE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> str:
        """Run the command to its end; returns what it printed."""
        return run_to_end(self.command, REPOSITORY)

    @staticmethod
    def descendants(process: subprocess.Popen) -> list[tuple[int, str]]:
        """Process ids and command lines of all that `process` started."""
        return list(descendants(process.pid).items())

    def has_epoch(self, epoch: int) -> bool:
        return (self.folder / f"checkpoints/epoch-{epoch:04d}/card.json").exists()

    def weights(self) -> dict[str, np.ndarray]:
        """The training state after the last epoch that has been saved."""
        return dict(np.load(max((self.folder / "checkpoints").glob("epoch-*")) / STATE_FILE))


def assert_same_weights(run: Run, reference: Run) -> None:
    expected, weights = reference.weights(), run.weights()
    assert weights.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


@pytest.fixture
def temporary(monkeypatch) -> Iterator[Path]:
    """The folder for the temporary files of the processes that a test starts."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:  # Short enough for Ray's sockets.
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_a_run_that_is_stopped_and_whose_worker_driver_and_checkpoint_die_ends_with_the_same_weights(
    drawn_few, tmp_path, temporary
):
    undisturbed, run = (Run(drawn_few, tmp_path, name) for name in ("undisturbed", "run"))
    undisturbed.finish()
    process = run.start()
    until(lambda: run.has_epoch(1), process)
    killed = kill(pid for pid, command in run.descendants(process) if "ray::RayTrainWorker" in command)
    until(lambda: run.has_epoch(2), process)  # Without a second command.
    stopped = run.descendants(process)
    process.terminate()
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143, said
    assert re.search("^interrupted: saved (in|after) epoch .*; the same command goes on$", said, re.MULTILINE)
    assert "Traceback" not in said
    assert_all_end(pid for pid, _ in stopped)

    process = run.start()
    until(lambda: run.has_epoch(3), process)
    orphans = run.descendants(process)
    process.kill()
    process.communicate()
    assert_all_end(killed)
    assert_all_end(pid for pid, command in orphans if "ray::RayTrainWorker" in command)
    newest = sorted((run.folder / "checkpoints").glob("epoch-*"))[-1]
    state = newest / STATE_FILE
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])

    output = run.finish()
    assert output.count(f"skipped checkpoint {newest.name}") == 1
    assert "resuming after epoch" in output
    assert_same_weights(run, undisturbed)
    assert_all_end(pid for pid, _ in orphans)
    assert not any(temporary.iterdir())


def test_a_worker_alone_that_stops_without_dying_is_started_anew(drawn_few, tmp_path):
    run = Run(drawn_few, tmp_path, "run", (*COMPACT, "--stall-timeout", "15"), workers=1)
    process = run.start()
    until(lambda: run.has_epoch(1), process)
    (stopped,) = (pid for pid, command in run.descendants(process) if "ray::RayTrainWorker" in command)
    os.kill(stopped, signal.SIGSTOP)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert not Path(f"/proc/{stopped}").exists()
    assert run.has_epoch(EPOCHS)


def test_resnet50_ends_with_the_same_weights_when_all_of_ray_was_killed(tmp_path):
    import tf_keras

    data = write_drawn_set(tmp_path / "set", training=24, validation=7)
    weights = str(tmp_path / "resnet50_notop.h5")
    tf_keras.applications.ResNet50(include_top=False, weights=None).save_weights(weights)
    job = (*RESNET50, "--weights", weights)
    undisturbed, run = (Run(data, tmp_path, name, job, workers=1) for name in ("undisturbed", "killed"))
    undisturbed.finish()
    process = run.start()
    until(lambda: run.has_epoch(1), process)
    killed = kill(pid for pid, _ in run.descendants(process))
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode not in (0, 2)
    assert_all_end(killed)
    assert not run.has_epoch(2)
    assert "resuming after epoch 1" in run.finish()
    assert run.has_epoch(2)
    assert_same_weights(run, undisturbed)
