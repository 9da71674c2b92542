"""The driver of a training run: data and folder first, then Ray Train, then the results."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from rich.console import Console

from cluster.connect import WorkerResources, connect, wait_for_room, worker_resources
from cluster.ray_internals import WORKER_HEALTH_VARIABLE, before_resize, data_parallel_trainer
from fer_data.commands import counted
from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.storage import absolute, is_remote, join, redacted, resolve, write_file
from jobs.gpus import check_gpus
from jobs.tensorflow_environment import tensorflow_environment
from jobs.training.backend import CollectivesConfig
from jobs.training.board import start_board
from jobs.training.checks import check_profile, check_shares, check_sources, missing_lines
from jobs.training.config import TrainConfig
from jobs.training.entry import train_loop_per_worker
from jobs.training.lost_workers import LostWorkers
from jobs.training.mlflow_log import MlflowLog, check_mlflow
from jobs.training.options import TrainRunOptions
from jobs.training.plan import plan_run
from jobs.training.progress import ProgressDisplay, epoch_line
from jobs.training.run_folder import RunFolder
from jobs.training.schedule import best_row, why_finished
from jobs.training.selection import seen_line
from jobs.training.stopping import saved_when_stopped
from jobs.training.task import Task
from jobs.training.tensorboard_log import TensorboardLog

_RESIZE_SECONDS = 30.0
"""How often Ray checks whether a run with --workers MIN:MAX can have another number of workers."""
_REST_SECONDS = 120.0
"""How long a new number of workers waits for the position of those before. Validation takes none."""


@dataclass(frozen=True)
class TrainResult:
    """The files of a finished run; `data` is its prepared data set, `best` the history row of its best epoch."""

    run: str
    checkpoint: str
    history: str
    curves: str
    data: str
    protocol: str
    best: dict[str, Any]


def train(config: TrainConfig, options: TrainRunOptions, console: Console) -> TrainResult:
    """Run the training that `config` describes, or resume it if it was interrupted.

    Raises UserError for bad input and for storage that fails, and `ray.train.TrainingFailedError` when workers keep
    failing.
    """

    plan = plan_run(config, console)
    config = plan.config
    name = options.name or f"{config.model}-{config.identity(plan.fingerprint)}"
    folder = RunFolder(join(absolute(options.storage), name))
    resolve(folder.uri)  # Refuses an unknown scheme before Ray starts.
    tensorboard = TensorboardLog(folder.uri, enabled=options.tensorboard)
    if options.profile and is_remote(folder.uri):
        raise UserError("--profile writes local files: give a local --storage")
    if options.mlflow:
        check_mlflow(options.mlflow)
    least, most = options.worker_range
    check_shares(config, most)
    check_sources(config, plan.fingerprint)

    connect()
    resources = reserve(options, console.out)
    further = [] if options.overwrite else folder.extended(config)
    folder.start(config, plan.fingerprint, overwrite=options.overwrite)
    console.out(
        f"{config.model} on {plan.training.num_rows:,} training and {plan.validation.num_rows:,} validation images"
        + f", {counted(most, 'worker') if most == least else f'{least} to {most} workers'}"
        + f" of {counted(resources.cpus, 'CPU')}"
        + (" and a GPU" if resources.gpus else ""),
        *missing_lines(plan.training, plan.validation),
        *seen_line(plan.unseen),
        f"run {redacted(folder.uri)}",
        *further,
        sep="\n",
    )
    latest = folder.latest()  # Rank 0 warns of damage.
    rows = latest.card.metrics if latest else []
    if options.profile:
        check_profile(config, rows, plan.training.num_rows)
    with MlflowLog(options.mlflow, folder, name, config, rows, console.out) as mlflow, tensorboard:

        def log(row: dict[str, Any]) -> None:
            mlflow.add(row)
            tensorboard.add(row)

        if reason := why_finished(config, rows):
            console.out(f"nothing to do: {reason}")
            folder.publish(config, rows, options.keep)
        else:
            board = start_board(name, finished=len(rows), minutes=options.checkpoint_minutes)
            task = Task(
                name,
                config,
                folder.uri,
                plan.dataset,
                threads=resources.cpus,
                keep=options.keep,
                stall_timeout=options.stall_timeout,
                progress=board,
                compile=options.compile,
                deterministic=options.deterministic,
                profile=join(folder.uri, "profile") if options.profile else None,
                unseen=plan.unseen,
            )
            # Matplotlib takes a second to load. Before Ray nothing could begin, and now the workers take several.
            threading.Thread(target=import_module, args=("jobs.training.curves",), daemon=True).start()
            with ProgressDisplay(board, console, epochs=config.epochs, batch_size=config.batch_size, on_epoch=log):
                saved_when_stopped(
                    lambda: run_workers(task, resources, workers=(least, most), max_failures=options.max_failures),
                    console.out,
                )
    return _result(config, folder, plan.dataset, console)


def reserve(options: TrainRunOptions, say: Callable[[str], None]) -> WorkerResources:
    """What each worker of a run reserves, as `options` say; waits until the cluster has room."""
    least, most = options.worker_range
    # Workers that join later must find room for as many CPUs on their machines as the first ones reserved.
    threads = options.cpus_per_worker or (1 if most > least else None)
    resources = wait_for_room(
        lambda nodes: worker_resources(nodes, workers=least, device=options.device, cpus_per_worker=threads),
        minutes=options.wait,
        wanted=[WorkerResources(threads or 1, int(options.device == "gpu")).bundle] * least,
        say=say,
    )
    if resources.gpus:
        check_gpus(ray.nodes(), resources.gpus, say)
    return resources


def run_workers(task: Task, resources: WorkerResources, *, workers: tuple[int, int], max_failures: int) -> None:
    """Train `task` to its end on as many workers as fit, between the least and the most of `workers`.

    Workers may die any number of times, but at most `max_failures` times before another epoch is finished. Raises
    UserError and `ray.train.TrainingFailedError` as `train` does.
    """
    while True:
        finished = ray.get(task.progress.finished.remote())
        try:
            _fit(task, resources, workers=workers, max_failures=max_failures)
        except ray.train.TrainingFailedError:
            mistake, now = ray.get([task.progress.mistake.remote(), task.progress.finished.remote()])
            if not mistake and now > finished:
                continue  # Ray counts all failures of a run, but only failures without progress matter here.
            if not mistake:
                raise
        if mistake := ray.get(task.progress.mistake.remote()):
            raise mistake
        if not ray.get(task.progress.machine_goes.remote()):
            return
        ray.get(task.progress.say.remote("a machine of this run is about to end: its workers move"))


def _fit(task: Task, resources: WorkerResources, *, workers: tuple[int, int], max_failures: int) -> None:
    # No other rank notices when a single worker hangs; Ray's controller does.
    os.environ[WORKER_HEALTH_VARIABLE] = str(task.stall_timeout)
    least, most = workers
    trainer = data_parallel_trainer()(
        train_loop_per_worker,
        backend_config=CollectivesConfig(),
        train_loop_config={"task": task, "environment": tensorflow_environment()},
        scaling_config=ScalingConfig(  # type: ignore[call-arg]
            num_workers=workers if most > least else least,  # type: ignore[arg-type]
            use_gpu=bool(resources.gpus),
            resources_per_worker=resources.bundle,
            elastic_resize_monitor_interval_s=_RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            name=task.name,
            storage_path=join(task.run_uri, "ray_train"),
            failure_config=FailureConfig(max_failures=max_failures),
            callbacks=[LostWorkers(task.progress, workers), before_resize(partial(_rest, task.progress))],  # type: ignore[list-item]
        ),
    )
    trainer.fit()


def _rest(board: Any) -> None:
    """Let the ranks save their position before Ray ends them, to start another number of them."""
    deadline = time.monotonic() + _REST_SECONDS
    while ray.get(board.rest.remote()) and time.monotonic() < deadline:
        time.sleep(0.1)


def _result(config: TrainConfig, folder: RunFolder, dataset: PreparedDataset, console: Console) -> TrainResult:
    from jobs.training.curves import draw_curves

    history = folder.read_history()
    rows = folder.history_rows()
    best = best_row(config, rows)
    title = f"{config.model}, run {folder.uri.rpartition('/')[2]}"
    write_file(folder.curves, draw_curves(history, title, best["epoch"], taught=bool(config.distillation.teacher)))
    console.out(f"best {epoch_line(best, config.epochs)}")
    return TrainResult(folder.uri, folder.best, folder.history, folder.curves, dataset.uri, config.protocol, best)
