"""The driver of a sweep: data and folder first, then Ray Tune, then what came of it."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import BasicVariantGenerator
from rich.console import Console

from cluster.connect import WorkerResources, connect, room, wait_for_room, worker_resources
from fer_data.errors import StorageError, UserError
from fer_data.splits import split
from fer_data.storage import absolute, delete_folder, join, one_line, redacted, resolve
from jobs.data import open_data
from jobs.gpus import check_gpus
from jobs.telemetry import Telemetry
from jobs.training.checks import check_sources, resolved
from jobs.training.config import TrainConfig
from jobs.training.schedule import why_finished
from jobs.tuning.options import SchedulerConfig, SweepOptions
from jobs.tuning.report import commands, publish, summary
from jobs.tuning.search import create_scheduler, create_search, metric_and_mode, mutable
from jobs.tuning.spaces import open_space
from jobs.tuning.sweep_folder import Outcome, SweepFolder, settings
from jobs.tuning.trial import TRIAL_KEY, TrialRun, TrialSetup, parameters_of


class SweepFailedError(Exception):
    """No trial has finished an epoch."""


@dataclass(frozen=True)
class SweepResult:
    """Where a sweep's files are."""

    folder: str
    checkpoint: str
    config: str
    report: str


def sweep(options: SweepOptions, console: Console) -> SweepResult:
    """Run or resume the sweep that `options` describe; the same call again continues or repeats nothing.

    Raises UserError for bad input, and SweepFailedError when all trials fail.
    """

    def say(message: str) -> None:
        console.print(message, highlight=False, markup=False, soft_wrap=True)

    base = resolved(options.train)
    space = open_space(options.search.space, base)
    dataset = open_data(base.data, console)
    for name in ("training", "validation"):
        split(dataset, name, base.protocol)  # Refused here, once, if the data have no such rows.
    check_sources(base, dataset.manifest.fingerprint)
    identity = settings(
        base,
        space,
        search=options.search.search,
        scheduler=asdict(options.scheduler),
        data_fingerprint=dataset.manifest.fingerprint,
    )
    folder = SweepFolder(join(absolute(options.where.storage), options.where.name or _default_name(base, identity)))
    resolve(folder.uri)  # A scheme that nothing serves is refused before Ray starts.

    connect()
    where = options.where
    resources = wait_for_room(
        lambda nodes: worker_resources(
            nodes,
            workers=where.workers_per_trial,
            device=where.device,
            cpus_per_worker=where.cpus_per_worker,
            option="--workers-per-trial",
        ),
        minutes=where.wait,
        wanted=[WorkerResources(where.cpus_per_worker, int(where.device == "gpu")).bundle] * where.workers_per_trial,
        say=say,
    )
    at_a_time = room(ray.nodes(), resources) // options.where.workers_per_trial
    population = options.scheduler.scheduler == "pbt"
    if population and not mutable(space, base):
        raise UserError("--scheduler pbt needs a number in the space that a run can change half-way: there is none")
    if population and at_a_time < options.search.trials:
        raise UserError(
            f"--scheduler pbt trains all trials at once, and the cluster has room for {at_a_time} of "
            f"--trials {options.search.trials}: ask for fewer, or take asha"
        )
    if resources.gpus:
        check_gpus(ray.nodes(), resources.gpus, say)
    folder.start(identity, overwrite=options.where.overwrite)
    past = folder.trials()
    over = [trial for trial in past if trial.outcome]
    due = max(options.search.trials, len(past)) - len(over)
    console.print(
        f"{base.model}: {options.search.trials} trials over {len(space)} parameters, {at_a_time} at a time",
        f"sweep {redacted(folder.uri)}",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
    if past:
        console.print(f"resuming: {len(over)} trials are over, {len(past) - len(over)} go on", highlight=False)
    if due:
        setup = TrialSetup(
            sweep_uri=folder.uri,
            base=base,
            dataset=dataset,
            workers=options.where.workers_per_trial,
            resources=resources,
            max_failures=options.where.max_failures,
            stall_timeout=options.where.stall_timeout,
            keep=base.epochs + 1 if population else 2,
            compile=where.compile,
            deterministic=where.deterministic,
        )
        _tune(options, setup, space, past, due, at_a_time, folder, console)
    best = publish(folder, base, space, options.scheduler)
    if best is None:
        errors = [trial.outcome.error for trial in folder.trials() if trial.outcome and trial.outcome.error]
        raise SweepFailedError(f"no trial has finished an epoch; the first error: {errors[0] if errors else 'none'}")
    for line in [*summary(folder.trials(), best, base), *commands(folder, base)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return SweepResult(
        folder.uri, *(join(folder.uri, name) for name in ("best/checkpoint", "best/config.json", "report.html"))
    )


def _default_name(base: TrainConfig, identity: Mapping[str, Any]) -> str:
    values = json.loads(json.dumps(identity))
    values["base"]["data"] = None
    return f"sweep-{base.model}-{sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]}"


def _tune(
    options: SweepOptions,
    setup: TrialSetup,
    space: Any,
    past: Any,
    due: int,
    at_a_time: int,
    folder: SweepFolder,
    console: Console,
) -> None:
    # Tune's own record of a sweep is not what it resumes from: that is the folder of the trials.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # The board tells of them.
    }
    budget = options.search.time_budget and options.search.time_budget * 60
    board = _SweepBoard(folder, setup.base, options.scheduler, budget, console)
    search: Any = create_search(space, setup.base, options.search.search, past)
    places: dict[str, Any] = {}
    if options.scheduler.scheduler == "pbt":  # It takes no advice on later trials: the whole population begins at once.
        own = {name: setup.base.flat()[name] for name in mutable(space, setup.base)}
        points: list[dict[str, Any]] = [own | search.suggest(str(i)) for i in range(due)]
        places = {name: None for point in points for name in point}
        search = BasicVariantGenerator(points_to_evaluate=points)
    tuner = tune.Tuner(
        # No CPU of its own, which its workers would lack; Tune insists on something.
        tune.with_resources(tune.with_parameters(TrialRun, setup=setup), {"CPU": 0, "memory": 1}),
        param_space=places,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=create_scheduler(options.scheduler, space, setup.base, past),
            num_samples=due,
            max_concurrent_trials=at_a_time,
            time_budget_s=budget,
        ),
        run_config=tune.RunConfig(
            name="ray_tune",
            storage_path=folder.uri,
            callbacks=[board],
            stop=board,
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    tune_files = join(folder.uri, "ray_tune")
    delete_folder(tune_files)
    with board.telemetry:
        try:
            tuner.fit()
        except Exception as error:
            if board.refusal:  # Tune's own files are cut short then too, over which it fails in its own ways.
                raise board.refusal from error
            raise
    if board.refusal:
        raise board.refusal
    delete_folder(tune_files)
    for trial in folder.trials():  # Under population-based training another might have gone on from them until now.
        if trial.outcome:
            folder.clear(trial.name)


class _SweepBoard(tune.Callback, tune.Stopper):
    """Hears of every epoch and every end: shows them, records how trials ended, and stops all when storage refuses.

    A trial that a full disk ended is not over: it goes on when the sweep does.
    """

    def __init__(
        self,
        folder: SweepFolder,
        base: TrainConfig,
        scheduler: SchedulerConfig,
        budget: float | None,
        console: Console,
    ) -> None:
        self._folder, self._base, self._scheduler, self._console = folder, base, scheduler, console
        self._deadline = time.monotonic() + budget if budget else float("inf")
        self._metric, mode = metric_and_mode(base)
        self._sign = -1 if mode == "min" else 1
        self._best: tuple[float, str] | None = None
        self._trials_over = 0
        self.refusal: StorageError | None = None
        self.telemetry = Telemetry(run=folder.uri.rpartition("/")[2], model=base.model, metric=self._metric)
        for trial in folder.trials():
            self._trials_over += trial.outcome is not None
            if (row := trial.best(base)) is not None:
                self._take(trial.name, row[self._metric])
        self.telemetry.set(sweep_trials_over=self._trials_over)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves what it is given, and a console cannot be; nothing is restored from it.

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.refusal is not None

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict, **info: Any
    ) -> None:
        name, value = trial.config[TRIAL_KEY], result[self._metric]
        self._take(name, value)
        assert self._best is not None
        self._print(
            f"trial {name}  epoch {result['epoch']}/{self._base.epochs}  {self._metric.replace('_', ' ')} {value:.4f}  "
            f"(best {self._best[0]:.4f}, trial {self._best[1]})"
        )

    def _take(self, name: str, value: float) -> None:
        if self._best is None or self._sign * value > self._sign * self._best[0]:
            self._best = value, name
            self.telemetry.set(sweep_best=value)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        name = trial.config[TRIAL_KEY]
        history = self._folder.history(name)
        why = why_finished(self._base, history)
        if why is None:
            if time.monotonic() >= self._deadline or self.refusal:
                return  # Not over: it goes on when the sweep does.
            why = f"stopped by {self._scheduler.scheduler} after epoch {len(history)}"
        self._over(trial, Outcome(why))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        error = _error_of(trial)
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, OSError):  # Tune's own files are in the sweep's folder too.
            cause = StorageError(f"cannot write {redacted(self._folder.uri)}: {one_line(cause)}")
        if isinstance(cause, StorageError):
            self.refusal = cause
            return
        if not isinstance(cause, UserError):
            self._print(str(error))  # With its traceback.
        self._over(trial, Outcome("failed", f"{type(cause).__name__}: {one_line(cause)}"))

    def _over(self, trial: TuneTrial, outcome: Outcome) -> None:
        name = trial.config[TRIAL_KEY]
        try:
            if not self._folder.has_begun(name):  # It failed before it could say so itself.
                self._folder.begin(name, parameters_of(trial.config))
            self._folder.finish(name, outcome)
        except StorageError as error:
            self.refusal = error
            return
        self._trials_over += 1
        self.telemetry.set(sweep_trials_over=self._trials_over)
        if self._scheduler.scheduler != "pbt":
            self._folder.clear(name)
        self._print(f"trial {name}  {outcome.why}" + (f": {outcome.error}" if outcome.error else ""))

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _error_of(trial: TuneTrial) -> BaseException:
    """What ended the trial, as Tune has just written it down here; its copy in storage may be late, or cut short."""
    if trial.pickled_error_file:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return RuntimeError(Path(trial.error_file).read_text().rstrip().rpartition("\n")[2])
