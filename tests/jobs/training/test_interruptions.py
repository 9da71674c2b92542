"""Kill a run anywhere; the same command again ends with the same weights, bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_models.checkpoint_files import STATE_FILE
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_SECONDS, assert_all_end, descendants, kill, until

pytestmark = pytest.mark.cluster
EPOCHS = 4


class Run:
    """One training command, as often as it is started, and what it leaves in its folder."""

    def __init__(self, data: str, storage: Path, name: str) -> None:
        self.folder = storage / name
        # Dropout, augmentation, batch norm, moving average, schedule and optimizer must all resume.
        self.command = [
            *(sys.executable, "jobs/train_cnn.py", "--model", "compact", "--data", data, "--workers", "2"),
            *("--epochs", str(EPOCHS), "--batch-size", "100", "--ema", "0.9", "--seed", "7"),
            *("--storage", str(storage), "--name", name),
        ]

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> str:
        """Run the command to its end; returns what it printed."""
        done = subprocess.run(
            self.command,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def has_epoch(self, epoch: int) -> bool:
        return (self.folder / f"checkpoints/epoch-{epoch:04d}/card.json").exists()

    def weights(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / f"checkpoints/epoch-{EPOCHS:04d}" / STATE_FILE))


def assert_same_weights(run: Run, reference: Run) -> None:
    expected, weights = reference.weights(), run.weights()
    assert weights.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


@pytest.fixture(scope="module")
def reference(drawn_set, tmp_path_factory) -> Run:
    """A run that nothing disturbs."""
    run = Run(drawn_set, tmp_path_factory.mktemp("undisturbed"), "run")
    run.finish()
    return run


def test_a_killed_worker_costs_at_most_an_epoch_and_no_second_command(drawn_set, tmp_path, reference):
    run = Run(drawn_set, tmp_path, "run")
    process = run.start()
    until(lambda: run.has_epoch(1), process)
    (victim, *_) = [pid for pid, command in descendants(process.pid).items() if "ray::RayTrainWorker" in command]
    kill([victim])
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert "resuming after epoch" in output
    assert_same_weights(run, reference)


def test_a_killed_driver_and_a_damaged_checkpoint_are_both_survived(drawn_set, tmp_path, reference):
    run = Run(drawn_set, tmp_path, "run")
    process = run.start()
    until(lambda: run.has_epoch(2), process)
    others = descendants(process.pid)
    process.kill()
    process.wait()
    assert_all_end(others)
    newest = sorted((run.folder / "checkpoints").glob("epoch-*"))[-1]
    state = newest / STATE_FILE
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])

    output = run.finish()
    assert f"passed over checkpoint {newest.name}" in output
    assert "resuming after epoch" in output
    assert_same_weights(run, reference)


def test_when_all_of_ray_is_killed_the_command_ends_and_the_next_one_goes_on(drawn_set, tmp_path, reference):
    run = Run(drawn_set, tmp_path, "run")
    process = run.start()
    until(lambda: run.has_epoch(1), process)
    others = descendants(process.pid)
    kill(others)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode not in (0, 2)
    assert_all_end(others)

    assert "resuming after epoch" in run.finish()
    assert_same_weights(run, reference)
    assert "nothing to do: all 4 epochs done" in run.finish()


def test_the_same_name_with_other_settings_is_refused(reference):
    reference.command += ["--learning-rate", "0.5"]
    try:
        done = subprocess.run(reference.command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    finally:
        del reference.command[-2:]
    assert done.returncode == 2
    assert "holds a run with other settings (learning_rate 0.003 -> 0.5)" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1
