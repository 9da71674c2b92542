"""The driver of a sweep: data and folder first, then Ray Tune, then the report."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import ray
from ray import tune
from ray.tune.search import BasicVariantGenerator
from rich.console import Console

from cluster.connect import WorkerResources, connect, room, wait_for_room, worker_resources
from fer_data.commands import counted, stop_checked
from fer_data.errors import UserError
from fer_data.splits import share, split
from fer_data.storage import absolute, delete_folder, join, redacted, resolve
from jobs.data import open_data
from jobs.gpus import check_gpus
from jobs.training.checks import absolute_paths, check_sources, missing_lines, resolved
from jobs.training.config import TrainConfig
from jobs.training.selection import decided, unseen_rows
from jobs.training.starting_weights import check_weights
from jobs.training.stopping import save_runs
from jobs.tuning.board import SweepBoard
from jobs.tuning.comparison import compare
from jobs.tuning.options import SweepOptions, SweepRunOptions
from jobs.tuning.report import commands, publish, summary
from jobs.tuning.search import create_scheduler, create_search, mutable
from jobs.tuning.spaces import Space, configured, open_space
from jobs.tuning.sweep_folder import Sweep, SweepFolder, Trial, settings
from jobs.tuning.tables import best_trial, initial_trial
from jobs.tuning.trial import TrialRun, TrialSetup


class SweepFailedError(Exception):
    """No trial has finished an epoch."""


def sweep(options: SweepOptions, console: Console) -> dict[str, str]:
    """Run the sweep that `options` describe, or resume it if it was interrupted; the paths of its results by name.

    Raises UserError for bad input, and SweepFailedError when all trials fail.
    """

    given = absolute_paths(options.train)
    base = resolved(given)
    space = open_space(options.search.space, base)
    dataset = open_data(base.data, console, resize=base.resize)
    fingerprint = dataset.manifest.fingerprint
    # Refuses data without such rows before any trial starts.
    training, validation = (split(dataset, name, base.protocol) for name in ("training", "validation"))
    unseen = unseen_rows(dataset, share(dataset, training, base.train_fraction), validation)
    given, base = decided(given, unseen), decided(base, unseen)
    for line in missing_lines(training, validation):
        console.out(line)
    for start in _starts(space, given):
        check_weights(start)
        check_sources(start, fingerprint)
    identity = settings(
        base,
        space,
        search=options.search.search,
        scheduler=asdict(options.scheduler),
        data_fingerprint=fingerprint,
    )
    folder = SweepFolder(join(absolute(options.run.storage), options.run.name or _default_name(base, identity)))
    this = Sweep(folder, base, space, options.search, options.scheduler)
    resolve(folder.uri)  # Refuses an unknown scheme before Ray starts.

    connect()
    resources = _resources(options.run, console.out)
    at_a_time = room(ray.nodes(), resources.cpus, resources.gpus) // options.run.workers_per_trial
    if options.scheduler.scheduler == "pbt":
        _check_population(this, at_a_time)
    if resources.gpus:
        check_gpus(ray.nodes(), resources.gpus, console.out)
    folder.start(identity, overwrite=options.run.overwrite)
    trials = options.search.trials
    console.out(
        f"{base.model}: {counted(trials, 'trial')} over {counted(len(space), 'parameter')}, {at_a_time} at a time"
    )
    console.out(f"sweep {redacted(folder.uri)}")
    if trials < 2 * len(space):
        console.out(f"few trials for the parameters: give --trials {2 * len(space)} or more, or a narrower --space")
    past = folder.trials()
    over = sum(trial.outcome is not None for trial in past)
    if past:
        console.out(f"resuming: {over} trials are over, {len(past) - over} continue")
    if due := max(trials, len(past)) - over:
        keep = base.epochs + 1 if options.scheduler.scheduler == "pbt" else 2
        setup = TrialSetup(folder.uri, given, dataset, resources, options.run, keep, unseen)
        _set_up_tune()
        board = SweepBoard(this, console)
        try:
            _tune(board, _tuner(this, setup, board, past, due, at_a_time), folder)
        except KeyboardInterrupt as stopped:
            save_runs(console.out)
            over = sum(trial.outcome is not None for trial in folder.trials())
            stopped.args = (f"{over} of {trials} trials over; the same command goes on",)
            raise
    past = folder.trials()
    best = best_trial(past, base)
    if best is None:
        publish(this, past, None, None)
        errors = [trial.outcome.error for trial in past if trial.outcome and trial.outcome.error]
        raise SweepFailedError(f"no trial has finished an epoch; the first error: {errors[0] if errors else 'none'}")
    comparison = compare(
        *(folder, past, initial_trial(past, base), best),
        dataset=dataset,
        validation=validation,
        unseen=unseen if base.select == "unseen" else None,
        resources=resources,
    )
    publish(this, past, best, comparison)
    again, in_full = commands(folder, base)
    for line in [*summary(past, best, base, comparison), f"train it again: {again}", f"and in full: {in_full}"]:
        console.out(line)
    files = {"checkpoint": "best/checkpoint", "config": "best/config.json", "report": "report.html"}
    return {name: join(folder.uri, file) for name, file in files.items()}


def _starts(space: Space, given: TrainConfig) -> list[TrainConfig]:
    """A configuration for each choice of initial weights in the space."""
    choices = space["weights"].extremes() if "weights" in space else [given.backbone.weights]
    return [resolved(configured(given, {"weights": weights})) for weights in choices]


def _default_name(base: TrainConfig, identity: Mapping[str, Any]) -> str:
    text = json.dumps({**identity, "base": base.for_names()}, sort_keys=True)
    return f"sweep-{base.model}-{sha256(text.encode()).hexdigest()[:8]}"


def _resources(options: SweepRunOptions, say: Callable[[str], None]) -> WorkerResources:
    """What each worker of a trial reserves; waits until the cluster has room for a trial."""
    return wait_for_room(
        lambda nodes: worker_resources(
            nodes,
            workers=options.workers_per_trial,
            device=options.device,
            cpus_per_worker=options.cpus_per_worker,
            option="--workers-per-trial",
        ),
        minutes=options.wait,
        wanted=[WorkerResources(options.cpus_per_worker, int(options.device == "gpu")).bundle]
        * options.workers_per_trial,
        say=say,
    )


def _check_population(this: Sweep, at_a_time: int) -> None:
    """Raises UserError unless population-based training has a parameter to change and room for all of its trials."""
    if not mutable(this.space, this.base):
        raise UserError("--scheduler pbt needs a number in the space that can change during a run: there is none")
    if at_a_time < this.search.trials:
        raise UserError(
            f"--scheduler pbt trains all trials at once, and the cluster has room for {at_a_time} of "
            f"--trials {this.search.trials}: give fewer, or --scheduler asha"
        )


def _tuner(
    this: Sweep, setup: TrialSetup, board: SweepBoard, past: list[Trial], due: int, at_a_time: int
) -> tune.Tuner:
    """Ray Tune's tuner for `due` trials after those of the `past`, `at_a_time` at once."""
    search: Any = create_search(this.space, this.base, this.search.search, past, max(this.search.trials, len(past)))
    places: dict[str, Any] = {}
    if this.scheduler.scheduler == "pbt":  # The whole population starts at once, so the search cannot adapt.
        own = {name: this.base.flat()[name] for name in mutable(this.space, this.base)}
        points: list[dict[str, Any]] = [own | search.suggest(str(i)) for i in range(due)]
        places = {name: None for point in points for name in point}
        search = BasicVariantGenerator(points_to_evaluate=points)
    return tune.Tuner(
        # No CPU, which a worker would then lack. Tune requires some resource.
        tune.with_resources(tune.with_parameters(TrialRun, setup=setup), {"CPU": 0, "memory": 1}),
        param_space=places,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=create_scheduler(this.scheduler, this.space, this.base, past),
            num_samples=due,
            max_concurrent_trials=at_a_time,
            reuse_actors=True,
            time_budget_s=this.search.time_budget and 60 * this.search.time_budget,
        ),
        run_config=tune.RunConfig(
            name="ray_tune",
            storage_path=this.folder.uri,
            callbacks=[board],
            stop=board,
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def _set_up_tune() -> None:
    # Tune warns that its own records cannot be restored, but a sweep resumes from the folders of its trials.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # The board prints them.
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # The handler would end the sweep as if its trials were over.
    }


def _tune(board: SweepBoard, tuner: tune.Tuner, folder: SweepFolder) -> None:
    tune_files = join(folder.uri, "ray_tune")
    delete_folder(tune_files)
    with board.telemetry, stop_checked() as board.check_stop:
        try:
            tuner.fit()
        except Exception as error:
            if board.storage_error:  # Tune's own files are incomplete then, which causes errors of its own.
                raise board.storage_error from error
            raise
    if board.storage_error:
        raise board.storage_error
    delete_folder(tune_files)
    for trial in folder.trials():  # Until now, other trials might have copied them in population-based training.
        if trial.outcome:
            folder.clear(trial.name)
