"""Faults, drawn by seed, while real jobs run on a rehearsal cluster; every job must end as it would have without.

    python -m tests.cluster.chaos --faults 50 --seed 1 --out chaos.json

Trains, sweeps and evaluates through `ray job submit` on two nodes of one CPU each. Faults are kill -9 of a process
that works, of a node, of the head; a process that stops without dying; a node that joins; storage that is full (where
a small file system can be mounted, as root can). After a head is killed the cluster is restarted and the job submitted
again; after storage was full, once there is room. Weights are compared bit for bit, tables byte for byte, with those
of jobs that nothing disturbed. Exits 1 when anything differs, is left behind or hangs; the report says what was done
when, and how long recovery took.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from cluster.rehearsal import HEAD, Rehearsal
from fer_models.checkpoint_files import STATE_FILE
from tests.conftest import REPOSITORY, write_drawn_set

PATIENCE_SECONDS = 240
"""No job may take longer to show progress after a fault, nor a process to go away after a job."""
_WHOLE_JOB_SECONDS = 900
STALL_SECONDS = 15
_STORAGE_BYTES = 1 << 30
EPOCHS = 20
_TRAIN = (
    *("jobs/train_cnn.py", "--model", "compact", "--workers", "2", "--cpus-per-worker", "1", "--seed", "7"),
    *("--batch-size", "50", "--ema", "0.9", "--stall-timeout", STALL_SECONDS, "--wait", 5),
)
_SWEEP = (
    *("jobs/sweep.py", "--model", "compact", "--search", "random", "--scheduler", "none", "--trials", 3, "--seed", "3"),
    *("--batch-size", "50", "--epochs", 4, "--stall-timeout", STALL_SECONDS, "--wait", 5),
)
_EVALUATE = (
    *("jobs/evaluate.py", "--workers", 2, "--cpus-per-worker", 1, "--tta", "flip"),
    *("--stall-timeout", STALL_SECONDS, "--wait", 5),
)


@dataclass
class Fault:
    """What was done to which job, when, and how long the job took to go on."""

    number: int
    job: str
    kind: str
    at_seconds: float
    recovery_seconds: float | None = None


@dataclass
class Report:
    """What came of a chaos run."""

    seed: int
    faults: list[Fault] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    submissions: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A command, how far it is, and whether its results equal the undisturbed ones'."""

    name: str
    command: tuple[object, ...]
    output: Path
    progress: Callable[[Path], int]
    difference: Callable[[Path, Path], str | None]
    worker: str
    is_done: Callable[[], bool] = lambda: False
    """Whether the output is there, where the same command again would refuse to replace it."""


def epochs_done(run: Path) -> int:
    """Epochs of a training run that are saved."""
    return max((int(card.parent.name[6:]) for card in run.glob("checkpoints/epoch-*/card.json")), default=0)


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


class Chaos:
    """Runs jobs on a cluster of its own until the clock of faults has run out."""

    def __init__(self, folder: Path, *, faults: int, per_job: int, seed: int, say: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._folder, self._wanted, self._per_job, self._say = folder, faults, per_job, say
        self._random = random.Random(seed)
        self._began = time.monotonic()
        self._nodes_added = 2
        self._log = folder / "job.log"
        self._storage = folder / "storage"
        self._storage.mkdir()
        self._filler = self._storage / "filler"
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_STORAGE_BYTES}", "tmpfs", self._storage)
        self._is_mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
        self._kinds = _FAULTS if self._is_mounted else [kind for kind in _FAULTS if kind[0] != "disk"]
        if not self._is_mounted:
            say("no small file system could be mounted: storage will not be full")
        training = write_drawn_set(folder / "train", training=190, validation=33)
        scored = write_drawn_set(folder / "score", training=8, validation=8192)
        runs = ("--storage", self._storage / "runs")
        self._train = (*_TRAIN, "--data", training, *runs)
        self._sweep = (*_SWEEP, "--data", training, *runs)
        checkpoint = self._storage / "runs/reference-train/best"
        self._evaluate = (*_EVALUATE, "--data", scored, "--split", "public_test", "--checkpoint", checkpoint)

    def run(self) -> Report:
        """All of it. The report's `problems` are empty when nothing was lost, differs, hangs or is left behind."""
        self._cluster = Rehearsal.up(self._folder / "cluster", nodes=2, cpus=1)
        try:
            references = {kind: self._job(kind, f"reference-{kind}") for kind in ("train", "evaluate", "sweep")}
            kinds = list(reversed(references))
            for job in references.values():
                self._finish(job, disturbed=False)
            count = 0
            while len(self.report.faults) < self._wanted and not self.report.problems:
                kind = kinds[count % len(kinds)]
                count += 1
                job = self._job(kind, f"{kind}-{count}")
                self._finish(job, disturbed=True)
                if self.report.problems:
                    break
                if difference := job.difference(job.output, references[kind].output):
                    self.report.problems.append(f"{job.name} differs: {difference}")
                self.report.jobs[kind] = self.report.jobs.get(kind, 0) + 1
                shutil.rmtree(job.output, ignore_errors=True)
            self._check_nothing_is_left()
        finally:
            self._cluster.down()
            if self._is_mounted:
                subprocess.run(["umount", self._storage], check=True)
        return self.report

    def _job(self, kind: str, name: str) -> Job:
        runs = self._storage / "runs"
        if kind == "train":
            command = (*self._train, "--epochs", EPOCHS, "--name", name)
            return Job(name, command, runs / name, epochs_done, weights_differ, "ray::RayTrainWorker")
        if kind == "sweep":
            command = (*self._sweep, "--name", name)
            return Job(name, command, runs / name, sweep_epochs_done, trials_differ, "ray::RayTrainWorker")
        out = self._storage / name / "report"
        out.parent.mkdir(exist_ok=True)
        return Job(name, (*self._evaluate, "--out", out), out, shards_done, tables_differ, "MapWorker", out.exists)

    def _finish(self, job: Job, *, disturbed: bool) -> None:
        """Submit the job, as often as its head dies, and disturb it on its way if it is to be."""
        self._say(f"{job.name} begins")
        last = min(self._wanted, len(self.report.faults) + self._per_job) if disturbed else 0
        while True:
            process = self._submit(job)
            fatal = self._disturb(job, process, last)
            try:
                process.wait(timeout=_WHOLE_JOB_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                self.report.problems.append(f"{job.name} hangs: {self._said()}")
                return
            if fatal == "head":
                self._cluster.restart()
                if job.is_done():
                    return
                continue
            if fatal == "disk":
                self._filler.unlink()
            if fatal == "disk" and process.returncode:
                if not re.search("^error: .*No space left", self._said(), re.MULTILINE):
                    self.report.problems.append(f"{job.name} did not say that storage is full: {self._said()}")
                    return
                continue
            if process.returncode:
                self.report.problems.append(f"{job.name} ended with {process.returncode}: {self._said()}")
            return

    def _submit(self, job: Job) -> subprocess.Popen:
        self.report.submissions += 1
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "job", "submit", "--working-dir", REPOSITORY, "--", sys.executable, *job.command]
        with self._log.open("w") as log:
            return subprocess.Popen(
                [str(part) for part in command],
                env=os.environ | self._cluster.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _said(self) -> str:
        """The end of what the last job printed."""
        return self._log.read_text(errors="replace")[-3000:]

    def _disturb(self, job: Job, process: subprocess.Popen, last: int) -> str | None:
        """Faults up to the `last`, each once the job has gone on after the one before; the kind that ended it."""
        fault, since = None, job.progress(job.output)
        while process.poll() is None and (fault or len(self.report.faults) < last):
            if not self._until(lambda since=since: job.progress(job.output) > since, process):
                if process.poll() is None:
                    self.report.problems.append(f"{job.name} made no progress in {PATIENCE_SECONDS} s after {fault}")
                    process.kill()
                break
            if fault:
                fault.recovery_seconds = round(time.monotonic() - self._began - fault.at_seconds, 1)
            if len(self.report.faults) >= last:
                break
            time.sleep(self._random.uniform(0, 3))
            kind = self._random.choices(*zip(*self._kinds, strict=True))[0]
            since = job.progress(job.output)
            if process.poll() is not None or not self._do(kind, job):
                continue
            now = round(time.monotonic() - self._began, 1)
            fault = Fault(len(self.report.faults) + 1, job.name, kind, now)
            self.report.faults.append(fault)
            self._say(f"fault {fault.number}: {kind}, {job.name} at {since}")
            if kind in ("head", "disk"):
                return kind
        return None

    def _do(self, kind: str, job: Job) -> bool:
        """Whether the fault could be done: there was something to do it to."""
        nodes = sorted(set(self._cluster.nodes) - {HEAD})
        if kind == "head":
            self._cluster.kill(HEAD)
            return True
        if kind == "disk":
            self._fill()
            return True
        if kind == "add":
            if len(nodes) > 2:
                return False
            self._add_node()
            return True
        if kind == "node":
            self._cluster.kill(self._random.choice(nodes))
            if len(nodes) <= 2:
                self._add_node()
            return True
        workers = sorted(
            pid for name in nodes for pid, command in self._cluster.processes(name).items() if job.worker in command
        )
        if not workers:
            return False
        os.kill(self._random.choice(workers), signal.SIGKILL if kind == "worker" else signal.SIGSTOP)
        return True

    def _fill(self) -> None:
        """Leave no room on the storage, though jobs may be freeing and taking some."""
        with self._filler.open("ab") as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1 << 20))
                filler.flush()

    def _add_node(self) -> None:
        self._nodes_added += 1
        self._cluster.add(str(self._nodes_added), cpus=1)

    @staticmethod
    def _until(condition: Callable[[], bool], process: subprocess.Popen) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.1)
        return False

    def _check_nothing_is_left(self) -> None:
        """No process of a job may be left once the jobs are over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            left = {
                pid: command
                for name in self._cluster.nodes
                for pid, command in self._cluster.processes(name).items()
                if "RayTrainWorker" in command or "jobs/" in command
            }
            if not left:
                return
            time.sleep(1)
        self.report.problems.append(f"left behind: {left}")


_FAULTS = [("worker", 10), ("node", 6), ("stopped", 2), ("add", 2), ("head", 2), ("disk", 2)]
"""Kinds, and how often each is drawn beside the others."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the clock and write its report; the exit code is 1 when there were problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--per-job", type=int, default=6, help="faults that one job has to bear, at most (6)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("chaos.json"))
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(
            Path(folder),
            faults=options.faults,
            per_job=options.per_job,
            seed=options.seed,
            say=lambda line: print(line, flush=True),
        )
        report = chaos.run()
    options.out.write_text(json.dumps(asdict(report), indent=1))
    kinds = [fault.kind for fault in report.faults]
    recovered = [fault.recovery_seconds for fault in report.faults if fault.recovery_seconds is not None]
    print(
        f"{len(kinds)} faults ({', '.join(f'{kinds.count(kind)} {kind}' for kind, _ in _FAULTS)}) in "
        f"{sum(report.jobs.values())} jobs of {report.submissions} submissions; recovery took "
        f"{np.median(recovered or [0]):.0f} s at the median, {max(recovered or [0]):.0f} at most; report {options.out}"
    )
    for problem in report.problems:
        print(f"PROBLEM {problem}")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
