"""Follow a sweep: show every epoch, record how trials end, and stop the sweep when storage fails."""

import time
from collections.abc import Callable
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
from jobs.tuning.sweep_folder import Outcome, Sweep
from jobs.tuning.trial import TRIAL_KEY, parameters_of


class SweepBoard(tune.Callback, tune.Stopper):
    """Ray Tune calls it after every epoch and at the end of every trial.

    A trial that ended because storage failed (a full disk) is not over: it continues when the sweep is resumed.
    `storage_error` is that failure.
    """

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self._sweep, self._console = sweep, console
        self._deadline = time.monotonic() + 60 * (sweep.search.time_budget or float("inf"))
        self._sign = -1 if sweep.base.mode == "min" else 1
        self._best: tuple[float, str] | None = None
        self._trials_over = 0
        self.storage_error: StorageError | None = None
        self.check_stop: Callable[[], None] = lambda: None
        name = sweep.folder.uri.rpartition("/")[2]
        self.telemetry = Telemetry(run=name, model=sweep.base.model, metric=sweep.base.metric)
        for trial in sweep.folder.trials():
            self._trials_over += trial.outcome is not None
            if (row := trial.best(sweep.base)) is not None:
                self._take(trial.name, row[sweep.base.metric])
        self.telemetry.set(sweep_trials_over=self._trials_over)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks, but a console cannot be pickled. Nothing is restored from this.

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        self.check_stop()
        return self.storage_error is not None

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict, **info: Any
    ) -> None:
        base = self._sweep.base
        name, value = trial.config[TRIAL_KEY], result[base.metric]
        self._take(name, value)
        assert self._best is not None
        self._console.out(
            f"trial {name}  epoch {result['epoch']}/{base.epochs}  {base.metric_in_words} {value:.4f}  "
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
            if time.monotonic() >= self._deadline or self.storage_error:
                return  # Not over: it continues when the sweep is resumed.
            why = f"stopped by {self._sweep.scheduler.scheduler} after epoch {len(history)}"
        self._over(trial, Outcome(why))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        error = _error_of(trial)
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, OSError):  # From Tune's own files, which are in the sweep's folder too.
            cause = StorageError(f"cannot write {redacted(self._sweep.folder.uri)}: {one_line(cause)}")
        if isinstance(cause, StorageError):
            self.storage_error = cause
            return
        if not isinstance(cause, UserError):
            self._console.out(*str(error).splitlines(), sep="\n")  # It contains the traceback.
        self._over(trial, Outcome("failed", f"{type(cause).__name__}: {one_line(cause)}"))

    def _over(self, trial: TuneTrial, outcome: Outcome) -> None:
        name, folder = trial.config[TRIAL_KEY], self._sweep.folder
        try:
            if not folder.has_begun(name):  # It failed before it recorded its start.
                folder.begin(name, parameters_of(trial.config))
            folder.finish(name, outcome)
        except StorageError as error:
            self.storage_error = error
            return
        self._trials_over += 1
        self.telemetry.set(sweep_trials_over=self._trials_over)
        if self._sweep.scheduler.scheduler != "pbt":
            folder.clear(name)
        self._console.out(f"trial {name}  {outcome.why}" + (f": {outcome.error}" if outcome.error else ""))


def _error_of(trial: TuneTrial) -> BaseException:
    """The error that ended the trial, from Tune's local file; the copy in storage may be late or truncated."""
    if trial.pickled_error_file:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return RuntimeError(Path(trial.error_file).read_text().rstrip().rpartition("\n")[2])
