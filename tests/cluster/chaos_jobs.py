"""The jobs that chaos disturbs: their commands, how far they are, and whether they ended as they should."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fer_models.checkpoint_files import STATE_FILE
from jobs.training.run_folder import RunFolder

_STALL_SECONDS = 60
_EPOCHS = 12
_TRAIN = (
    *("jobs/train_cnn.py", "--model", "compact", "--workers", "2", "--cpus-per-worker", "1", "--seed", "7"),
    *("--batch-size", "10", "--ema", "0.9", "--stall-timeout", _STALL_SECONDS, "--wait", 5),
    *("--checkpoint-minutes", 0.02),
)
_SWEEP = (
    *("jobs/sweep.py", "--model", "compact", "--search", "random", "--scheduler", "none", "--trials", 3, "--seed", "3"),
    *("--batch-size", "50", "--epochs", 4, "--stall-timeout", _STALL_SECONDS, "--wait", 5),
)
_EVALUATE = (
    *("jobs/evaluate.py", "--workers", 2, "--cpus-per-worker", 1, "--tta", "flip"),
    *("--stall-timeout", _STALL_SECONDS, "--wait", 5),
)


@dataclass(frozen=True)
class Job:
    """A command, how far it is, and whether its results equal the undisturbed ones'.

    `worker` names its workers' processes; a job that `tells_of_losses` prints a line when one dies.
    """

    name: str
    command: tuple[object, ...]
    output: Path
    progress: Callable[[Path], int]
    difference: Callable[[Path, Path], str | None]
    worker: str
    tells_of_losses: bool
    is_done: Callable[[], bool] = lambda: False
    """Whether the output is there, where the same command again would refuse to replace it."""

    def workers(self, processes: dict[int, str]) -> list[int]:
        """Its workers among `processes`, command lines by process id."""
        return [pid for pid, command in processes.items() if self.worker in command]

    def drivers(self, processes: dict[int, str]) -> list[int]:
        """The processes that run its script; not the shells around it."""
        mine = {pid: command for pid, command in processes.items() if " jobs/" in command and self.name in command}
        return [pid for pid, command in mine.items() if "python" in command.split()[0]]


def epochs_done(run: Path) -> int:
    """Epochs of a training run that are saved."""
    return max(RunFolder(str(run)).epochs(), default=0)


def steps_done(run: Path) -> int:
    """A number that grows with every checkpoint and position of a training run."""
    positions = RunFolder(str(run)).positions()
    return max([1000 * epochs_done(run), *(1000 * (epoch - 1) + step for epoch, step in positions)])


def sweep_epochs_done(sweep: Path) -> int:
    """Epochs of all trials of a sweep; what a trial that is over has left is its history."""
    return sum(len(history.read_text().splitlines()) - 1 for history in sweep.glob("trials/*/history.csv"))


def shards_done(report: Path) -> int:
    """Files that an evaluation has written so far, in its unfinished or its finished report."""
    return sum(1 for _ in report.parent.rglob("*.parquet"))


def weights_differ(run: Path, reference: Path) -> str | None:
    """The first array that differs between the last states of two runs, if any does."""
    found, expected = (dict(np.load(max(r.glob("checkpoints/epoch-*")) / STATE_FILE)) for r in (run, reference))
    if epochs_done(run) != epochs_done(reference):
        return f"{epochs_done(run)} epochs instead of {epochs_done(reference)}"
    return next((n for n in expected if found[n].tobytes() != expected[n].tobytes()), None)


def trials_differ(sweep: Path, reference: Path) -> str | None:
    """What differs between the trials of two sweeps, apart from how long they took."""
    found, expected = (pq.read_table(s / "trials.parquet").to_pandas() for s in (sweep, reference))
    timing = [name for name in expected.columns if "second" in name or "share" in name]
    found, expected = (
        table.drop(columns=timing).sort_values("trial", ignore_index=True) for table in (found, expected)
    )
    return None if found.equals(expected) else f"{found.compare(expected)}"


def tables_differ(report: Path, reference: Path) -> str | None:
    """The first Parquet table whose bytes differ between two reports, if any does."""
    names = sorted(str(path.relative_to(reference)) for path in reference.rglob("*.parquet"))
    if names != sorted(str(path.relative_to(report)) for path in report.rglob("*.parquet")):
        return "other tables"
    return next((n for n in names if (report / n).read_bytes() != (reference / n).read_bytes()), None)


def job_of(kind: str, name: str, storage: Path, *, trained: str, scored: str) -> Job:
    """A job that keeps everything in `storage`; an evaluation scores what the training `reference-train` left there."""
    runs = storage / "runs"
    options = ("--data", trained, "--storage", runs, "--name", name)
    if kind == "train":
        command = (*_TRAIN, "--epochs", _EPOCHS, *options)
        return Job(name, command, runs / name, steps_done, weights_differ, "ray::RayTrainWorker", True)
    if kind == "sweep":
        return Job(
            name, (*_SWEEP, *options), runs / name, sweep_epochs_done, trials_differ, "ray::RayTrainWorker", False
        )
    out = storage / name / "report"
    out.parent.mkdir(exist_ok=True)
    options = ("--data", scored, "--split", "public_test", "--checkpoint", runs / "reference-train/best", "--out", out)
    return Job(name, (*_EVALUATE, *options), out, shards_done, tables_differ, "MapWorker", False, out.exists)
