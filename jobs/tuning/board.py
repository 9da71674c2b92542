"""The board of a sweep: it shows every epoch, records how trials ended, and stops the sweep when storage refuses."""

import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console

from fer_data.errors import StorageError, UserError
from fer_data.storage import one_line, redacted
from jobs.telemetry import Telemetry
from jobs.training.schedule import why_finished
from jobs.tuning.sweep import Sweep
from jobs.tuning.sweep_folder import Outcome
from jobs.tuning.trial import TRIAL_KEY, parameters_of


class SweepBoard(tune.Callback, tune.Stopper):
    """What Ray Tune calls after every epoch and every end of a trial.

    A trial that a full disk ended is not over: it goes on when the sweep does. `refusal` is what storage said.
    """

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self._sweep, self._console = sweep, console
        budget = sweep.budget_seconds
        self._deadline = time.monotonic() + budget if budget else float("inf")
        self._sign = -1 if sweep.mode == "min" else 1
        self._best: tuple[float, str] | None = None
        self._trials_over = 0
        self.refusal: StorageError | None = None
        name = sweep.folder.uri.rpartition("/")[2]
        self.telemetry = Telemetry(run=name, model=sweep.base.model, metric=sweep.metric)
        for trial in sweep.folder.trials():
            self._trials_over += trial.outcome is not None
            if (row := trial.best(sweep.base)) is not None:
                self._take(trial.name, row[sweep.metric])
        self.telemetry.set(sweep_trials_over=self._trials_over)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves its callbacks, and a console cannot be saved; nothing is restored from it.

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.refusal is not None

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict, **info: Any
    ) -> None:
        metric = self._sweep.metric
        name, value = trial.config[TRIAL_KEY], result[metric]
        self._take(name, value)
        assert self._best is not None
        self._print(
            f"trial {name}  epoch {result['epoch']}/{self._sweep.base.epochs}  {metric.replace('_', ' ')} {value:.4f}  "
            f"(best {self._best[0]:.4f}, trial {self._best[1]})"
        )

    def _take(self, name: str, value: float) -> None:
        if self._best is None or self._sign * value > self._sign * self._best[0]:
            self._best = value, name
            self.telemetry.set(sweep_best=value)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        history = self._sweep.folder.history(trial.config[TRIAL_KEY])
        why = why_finished(self._sweep.base, history)
        if why is None:
            if time.monotonic() >= self._deadline or self.refusal:
                return  # Not over: it goes on when the sweep does.
            why = f"stopped by {self._sweep.scheduler.scheduler} after epoch {len(history)}"
        self._over(trial, Outcome(why))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        error = _error_of(trial)
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, OSError):  # Tune's own files are in the sweep's folder too.
            cause = StorageError(f"cannot write {redacted(self._sweep.folder.uri)}: {one_line(cause)}")
        if isinstance(cause, StorageError):
            self.refusal = cause
            return
        if not isinstance(cause, UserError):
            self._print(str(error))  # With its traceback.
        self._over(trial, Outcome("failed", f"{type(cause).__name__}: {one_line(cause)}"))

    def _over(self, trial: TuneTrial, outcome: Outcome) -> None:
        name, folder = trial.config[TRIAL_KEY], self._sweep.folder
        try:
            if not folder.has_begun(name):  # It failed before it could record its beginning.
                folder.begin(name, parameters_of(trial.config))
            folder.finish(name, outcome)
        except StorageError as error:
            self.refusal = error
            return
        self._trials_over += 1
        self.telemetry.set(sweep_trials_over=self._trials_over)
        if self._sweep.scheduler.scheduler != "pbt":
            folder.clear(name)
        self._print(f"trial {name}  {outcome.why}" + (f": {outcome.error}" if outcome.error else ""))

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _error_of(trial: TuneTrial) -> BaseException:
    """What ended the trial, from Tune's local file; its copy in storage may be late, or cut short."""
    if trial.pickled_error_file:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return RuntimeError(Path(trial.error_file).read_text().rstrip().rpartition("\n")[2])
