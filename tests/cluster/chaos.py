"""Faults, drawn by seed, while real jobs run on a rehearsal cluster; every job must end as it would have without.

    python -m tests.cluster.chaos --faults 50 --seed 1 --out chaos.json

Trains, sweeps and evaluates through `ray job submit` on two nodes of one CPU each. Faults are kill -9 of a process
that works, of a node, of the head; a process that stops without dying; a node that joins, or gets notice that it ends;
SIGTERM to the job; storage that is full (where a small file system can be mounted, as root can). After a head is killed
the cluster is restarted and the job submitted again; after storage was full, once there is room; after SIGTERM, at
once. Weights are compared bit for bit, tables byte for byte, with those of jobs that nothing disturbed. Exits 1 when
anything differs, is left behind, hangs or is not told; the report says what was done when, and how long recovery took.
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

from cluster.rehearsal import HEAD, Rehearsal
from tests.cluster.chaos_jobs import Job, job_of
from tests.conftest import REPOSITORY, write_drawn_set

PATIENCE_SECONDS = 900
"""No job may take longer to show progress after a fault, nor a process to go away after a job."""
_WHOLE_JOB_SECONDS = 1800
_STORAGE_BYTES = 1 << 30


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


class Chaos:
    """Runs jobs on a cluster of its own until the clock of faults has run out."""

    def __init__(self, folder: Path, *, faults: int, per_job: int, seed: int, say: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._folder, self._wanted, self._per_job, self._say = folder, faults, per_job, say
        self._random = random.Random(seed)
        self._began = time.monotonic()
        self._nodes_added = 2
        self._took_worker = False
        self._log = folder / "job.log"
        self._storage = folder / "storage"
        self._storage.mkdir()
        self._filler = self._storage / "filler"
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_STORAGE_BYTES}", "tmpfs", self._storage)
        self._is_mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
        self._kinds = _FAULTS if self._is_mounted else [kind for kind in _FAULTS if kind[0] != "disk"]
        if not self._is_mounted:
            say("no small file system could be mounted: storage will not be full")
        self._trained = write_drawn_set(folder / "train", training=190, validation=33)
        self._scored = write_drawn_set(folder / "score", training=8, validation=8192)

    def run(self) -> Report:
        """All of it. The report's `problems` are empty when nothing was lost, differs, hangs or is left behind."""
        with contextlib.ExitStack() as stack:
            if self._is_mounted:
                stack.callback(subprocess.run, ["umount", self._storage], check=True)
            self._cluster = Rehearsal.up(self._folder / "cluster", nodes=2, cpus=1)
            stack.callback(self._cluster.down)
            references = {kind: self._job(kind, f"reference-{kind}") for kind in ("train", "evaluate", "sweep")}
            kinds = list(reversed(references))
            for job in references.values():
                if not self.report.problems:  # The evaluation scores what the training has left.
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
        return self.report

    def _job(self, kind: str, name: str) -> Job:
        return job_of(kind, name, self._storage, trained=self._trained, scored=self._scored)

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
            if fatal in _SAID and process.returncode:
                if not re.search(_SAID[fatal], self._said(), re.MULTILINE):
                    self.report.problems.append(f"{job.name} did not say what ended it ({fatal}): {self._said()}")
                    return
                if job.is_done():
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
        fault, since, told = None, job.progress(job.output), 0
        while process.poll() is None and (fault or len(self.report.faults) < last):
            if not self._until(lambda since=since: job.progress(job.output) > since, process):
                if process.poll() is None:
                    self.report.problems.append(f"{job.name} made no progress in {PATIENCE_SECONDS} s after {fault}")
                    process.kill()
                break
            if fault:
                fault.recovery_seconds = round(time.monotonic() - self._began - fault.at_seconds, 1)
                if told and not self._until(lambda told=told: self._losses_told() >= told, process):
                    self.report.problems.append(f"{job.name} did not say that {fault} took a worker: {self._said()}")
                    break
            if len(self.report.faults) >= last:
                break
            time.sleep(self._random.uniform(0, 3))
            kind = self._random.choices(*zip(*self._kinds, strict=True))[0]
            since = job.progress(job.output)
            told = self._losses_told() + 1
            if process.poll() is not None or not self._do(kind, job):
                continue
            now = round(time.monotonic() - self._began, 1)
            fault = Fault(len(self.report.faults) + 1, job.name, kind, now)
            self.report.faults.append(fault)
            told = told if self._took_worker and job.tells_of_losses else 0
            self._say(f"fault {fault.number}: {kind}, {job.name} at {since}")
            if kind in ("head", "disk", "stop"):
                return kind
        return None

    def _do(self, kind: str, job: Job) -> bool:
        """Whether the fault could be done: there was something to do it to."""
        nodes, self._took_worker = sorted(set(self._cluster.nodes) - {HEAD}), kind == "worker"
        if kind == "head":
            self._cluster.kill(HEAD)
            return True
        if kind == "disk":
            self._fill()
            return True
        if kind == "add":
            return len(nodes) <= 2 and self._add_node()
        if kind == "stop":
            drivers = job.drivers(self._cluster.processes(HEAD))
            for pid in drivers:
                os.kill(pid, signal.SIGTERM)
            return bool(drivers)
        if kind in ("node", "notice"):
            name = self._random.choice(nodes)
            if kind == "notice":
                self._cluster.preempt(name)
                self._until(lambda: not self._cluster.is_running(name))
            self._took_worker = bool(job.workers(self._cluster.processes(name)))
            self._cluster.kill(name)
            return len(nodes) > 2 or self._add_node()
        workers = sorted(pid for name in nodes for pid in job.workers(self._cluster.processes(name)))
        if not workers:
            return False
        os.kill(self._random.choice(workers), signal.SIGKILL if kind == "worker" else signal.SIGSTOP)
        return True

    def _losses_told(self) -> int:
        """How many lines about lost workers the job has printed."""
        return len(re.findall("^workers? .* lost; waiting", self._log.read_text(errors="replace"), re.MULTILINE))

    def _fill(self) -> None:
        """Leave no room on the storage, though jobs may be freeing and taking some."""
        with self._filler.open("ab") as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1 << 20))
                filler.flush()

    def _add_node(self) -> bool:
        self._nodes_added += 1
        self._cluster.add(str(self._nodes_added), cpus=1)
        return True

    @staticmethod
    def _until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (process is None or process.poll() is None) and time.monotonic() < deadline:
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


_FAULTS = [("worker", 8), ("node", 4), ("stopped", 2), ("add", 2), ("head", 2), ("disk", 2), ("stop", 4), ("notice", 2)]
"""Kinds, and how often each is drawn beside the others."""
_SAID = {"stop": "^interrupted", "disk": "^error: .*No space left"}  # What a job says that such a fault ends.


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
