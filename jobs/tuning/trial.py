"""One trial: a training run in its own folder, in an actor of Ray Tune, to which it reports its epochs."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from pyarrow import fs
from ray import tune

from cluster.connect import WorkerResources
from fer_data.dataset import PreparedDataset
from fer_data.storage import resolve
from jobs.training.board import start_board
from jobs.training.checks import check_shares, resolved
from jobs.training.config import Monitor, TrainConfig
from jobs.training.driver import run_workers
from jobs.training.schedule import why_finished
from jobs.training.task import Task
from jobs.tuning.options import SweepRunOptions
from jobs.tuning.spaces import Parameters, configured
from jobs.tuning.sweep_folder import SweepFolder

TRIAL_KEY = "trial"
"""The key of the trial's name in the point that Tune passes to a trial; the other keys are options."""
_POINTER = "pointer.json"


@dataclass(frozen=True)
class TrialSetup:
    """What all trials of a sweep share.

    `base` is the unresolved configuration, because the value of `auto` depends on what a trial changes. `unseen` is as
    in `Task`.
    """

    sweep_uri: str
    base: TrainConfig
    dataset: PreparedDataset
    resources: WorkerResources
    options: SweepRunOptions
    keep: int
    unseen: np.ndarray | None = None


class TrialRun(tune.Trainable):
    """One trial as Ray Tune sees it: a step is an epoch, and no epoch begins before Tune asks for it.

    A stopped trial therefore ends between two epochs, as a finished run does, and frees its workers' resources.
    """

    _PATIENCE_SECONDS = 60.0

    def setup(self, config: dict[str, Any], setup: TrialSetup | None = None) -> None:
        assert setup is not None
        self._setup = setup
        self._name = config[TRIAL_KEY]
        self._parameters = parameters_of(config)
        self._config = resolved(configured(setup.base, self._parameters))
        self._donor: dict[str, Any] | None = None
        self._replayed: list[dict[str, Any]] | None = None
        self._history: list[dict[str, Any]] = []
        self._training: threading.Thread | None = None
        self._failures: list[BaseException] = []

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the next trial: another process would take seconds to start."""
        self.cleanup()
        self.setup(new_config)  # Tune adds the rest.
        return True

    def step(self) -> dict[str, Any]:
        """The next epoch's row. A resumed trial first repeats the rows of its finished epochs."""
        if self._replayed is None:
            self._replayed = self._begin()
        row = self._replayed.pop(0) if self._replayed else self._train_epoch()
        self._history.append(row)
        result = {self._config.metric: worst(self._config.monitor)} | {k: v for k, v in row.items() if v is not None}
        over = not self._replayed and why_finished(self._config, self._history) is not None
        return result | {tune.result.DONE: over}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Record the checkpoint from which this trial or another one may continue."""
        note = {"trial": self._name, "epoch": self._history[-1]["epoch"]}
        Path(checkpoint_dir, _POINTER).write_text(json.dumps(note))

    def load_checkpoint(self, checkpoint_dir: str | None) -> None:  # type: ignore[override]
        assert checkpoint_dir is not None
        pointer = json.loads(Path(checkpoint_dir, _POINTER).read_text())
        self._donor = None if pointer["trial"] == self._name else pointer

    def cleanup(self) -> None:
        if self._training is not None:
            self._board.stop.remote()
            self._training.join(self._PATIENCE_SECONDS)

    def _begin(self) -> list[dict[str, Any]]:
        """Claim the trial's folder. Returns the rows of finished epochs that Tune does not know yet."""
        setup, name = self._setup, self._name
        check_shares(self._config, setup.options.workers_per_trial)
        sweep = SweepFolder(setup.sweep_uri)
        self._run = sweep.run(name)
        if self._donor is not None or not sweep.has_begun(name):
            sweep.discard(name)
        self._run.start(self._config, setup.dataset.manifest.fingerprint, overwrite=False)
        if self._donor:
            donor = sweep.run(self._donor["trial"])
            for epoch in donor.epochs():  # Earlier epochs too, since one of them may be the best.
                if epoch <= self._donor["epoch"]:
                    _copy(donor.checkpoint(epoch), self._run.checkpoint(epoch))
        sweep.begin(name, self._parameters)
        saved = self._run.latest()
        rows = list(saved.card.metrics) if saved else []
        if self._donor:
            self._history, rows = rows, []
        return rows

    def _train_epoch(self) -> dict[str, Any]:
        if self._training is None:
            self._start()
        epoch = len(self._history) + 1
        ray.get(self._board.allow.remote(epoch))
        while True:
            over = not self._training.is_alive()  # type: ignore[union-attr]
            lines, _ = ray.get(self._board.take.remote(self._seen))
            self._seen += len(lines)
            rows = [line for line in lines if isinstance(line, dict)]
            if rows:
                return rows[0]
            if over:
                raise self._failures[0] if self._failures else RuntimeError(f"the run ended before epoch {epoch}")
            time.sleep(0.25)

    def _start(self) -> None:
        setup = self._setup
        name = f"{setup.sweep_uri.rpartition('/')[2]}-{self._name}"
        minutes = setup.options.checkpoint_minutes
        self._board: Any = start_board(name, finished=len(self._history), minutes=minutes, gated=True)
        self._seen = 0
        task = Task(
            name,
            self._config,
            self._run.uri,
            setup.dataset,
            threads=setup.resources.cpus,
            keep=setup.keep,
            stall_timeout=setup.options.stall_timeout,
            progress=self._board,
            compile=setup.options.compile,
            deterministic=setup.options.deterministic,
            unseen=setup.unseen,
        )

        workers, max_failures = setup.options.workers_per_trial, setup.options.max_failures

        def fit() -> None:
            try:
                run_workers(task, setup.resources, workers=(workers, workers), max_failures=max_failures)
            except BaseException as error:
                self._failures.append(error)

        # A daemon, so that this process can end even if the run hangs.
        self._training = threading.Thread(target=fit, daemon=True)
        self._training.start()


def parameters_of(point: dict[str, Any]) -> Parameters:
    """The options that a trial at `point` changes. A value of None means that the option is unchanged."""
    return {option: value for option, value in point.items() if option != TRIAL_KEY and value is not None}


def worst(monitor: Monitor) -> float:
    """The value to report in place of an undefined metric, such as a loss of NaN."""
    return 1e9 if monitor == "loss" else 0.0


def _copy(source: str, target: str) -> None:
    one, path = resolve(source)
    other, destination = resolve(target)
    other.create_dir(destination, recursive=True)
    fs.copy_files(path, destination, source_filesystem=one, destination_filesystem=other)
