"""The driver of a recipe: its runs in order, side by side where there is room, and then a table of them."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cluster.connect import connect, room, worker_resources
from fer_data.commands import stop_checked
from fer_data.errors import UserError
from fer_data.storage import absolute, exists, join, read_file, redacted, resolve, write_file
from fer_data.text import for_spreadsheet, plain
from jobs.console import PlainConsole
from jobs.data import open_data
from jobs.run_options import NAME
from jobs.training.checks import check_shares
from jobs.training.config import TrainConfig
from jobs.training.driver import reserve, train
from jobs.training.options import TrainRunOptions
from jobs.training.plan import plan_run
from jobs.training.recipe import Stage, read_recipe
from jobs.training.run_folder import CONFIG_FILE, RunFolder, claim
from jobs.training.schedule import best_row, why_finished
from jobs.training.stopping import save_runs

RECIPE_FILE = "recipe.toml"
TABLE_FILE = "stages.csv"
_METRICS = ("accuracy_unseen", "accuracy", "macro_f1")


@dataclass(frozen=True)
class RecipeResult:
    """The best checkpoint of the last stage, the table of all stages, and the prepared data set."""

    checkpoint: str
    table: str
    data: str


def train_recipe(
    recipe: str, data: str | None, options: TrainRunOptions, console: Console, *, resize: bool = False
) -> RecipeResult:
    """Train those stages of `recipe`, a path or URI, that are not finished, each in a folder of its name in --name.

    Raises UserError for bad input, before any stage begins, and what `train` raises.
    """
    stages = read_recipe(recipe)
    name = options.name or PurePosixPath(recipe).stem
    if not re.fullmatch(NAME, name):
        raise UserError(f"{redacted(recipe)}: its runs cannot be in a folder {name!r}: give --name")
    folder = join(absolute(options.storage), name)
    resolve(folder)  # Refuses an unknown scheme before Ray starts.
    dataset = open_data(data, console, resize=resize)
    runs = {stage.name: _Run(stage, folder, dataset.uri, console) for stage in stages}
    for run in runs.values():
        check_shares(run.config, options.worker_range[1])
    claim(
        *(folder, RECIPE_FILE, read_file(recipe), "recipe"),
        changed=lambda: [f"stage {name}: {what}" for name, run in runs.items() for what in run.changed()],
        read=read_recipe,
        own=(TABLE_FILE, *runs),
        overwrite=options.overwrite,
    )
    _check_order(runs)
    if not all(run.is_finished for run in runs.values()):
        connect()
        _train_all(runs, replace(options, storage=folder, overwrite=False), console)
    table = pd.DataFrame([run.result() for run in runs.values()])
    path = join(folder, TABLE_FILE)
    write_file(path, table.map(for_spreadsheet).to_csv(index=False).encode())
    _print(table, console)
    return RecipeResult(runs[stages[-1].name].folder.best, path, dataset.uri)


class _Run:
    """The run of one stage in the recipe's `folder`."""

    def __init__(self, stage: Stage, folder: str, data: str, console: Console) -> None:
        self.stage = stage
        self.folder = RunFolder(join(folder, stage.name))
        config = stage.configuration(folder, data)
        # The weights of another stage may not be there yet; its network was compared when the recipe was read.
        checked = replace(config, backbone=replace(config.backbone, weights="none")) if stage.start else config
        plan = plan_run(checked, console)
        self.config = replace(plan.config, backbone=config.backbone) if stage.start else plan.config
        self._fingerprint = plan.fingerprint

    @property
    def has_begun(self) -> bool:
        return exists(join(self.folder.uri, CONFIG_FILE))

    @property
    def is_finished(self) -> bool:
        saved = self.folder.latest()
        return saved is not None and why_finished(self.config, saved.card.metrics) is not None

    def changed(self) -> list[str]:
        return self.folder.changed(self.config, self._fingerprint) if self.has_begun else []

    def result(self) -> dict[str, Any]:
        """The stage's row in the table; of its metrics, those of its best epoch."""
        saved = self.folder.latest()
        assert saved is not None
        card = saved.card
        best = best_row(self.config, card.metrics)
        return {
            "stage": self.stage.name,
            "model": self.config.model,
            "parameters": card.parameters,
            "teachers": " ".join(self.stage.teachers),
            "start": self.stage.start or "",
            "epochs": len(card.metrics),
            "best_epoch": best["epoch"],
            **{metric: best.get(f"validation_{metric}") for metric in _METRICS},
        }


def _check_order(runs: Mapping[str, _Run]) -> None:
    """Raises UserError when a stage has begun before one that it needs is finished: it learned from another."""
    for run in runs.values():
        for needed in run.stage.needs:
            if run.has_begun and not runs[needed].is_finished:
                raise UserError(
                    f"{redacted(run.folder.uri)} learned from another stage {needed!r} than the one that is still to "
                    "be trained: delete it, or start again with --overwrite"
                )


def _train_all(runs: Mapping[str, _Run], options: TrainRunOptions, console: Console) -> None:
    """Train the runs that are not finished, each after those that it needs. After a failure, no other run begins."""
    at_a_time, options = _at_a_time(runs, options, console)
    waiting = []
    for name, run in runs.items():
        if run.is_finished:
            console.out(f"stage {name}: finished before")
        else:
            waiting.append(name)
    if at_a_time > 1:
        _train_beside(runs, waiting, at_a_time, options, console)
        return
    for name in waiting:
        console.out(_title(name, runs))
        train(runs[name].config, replace(options, name=name), console)


def _title(name: str, runs: Mapping[str, _Run]) -> str:
    return f"stage {name}, {list(runs).index(name) + 1} of {len(runs)}"


def _train_beside(
    runs: Mapping[str, _Run], waiting: list[str], at_a_time: int, options: TrainRunOptions, console: Console
) -> None:
    """Train the runs in `waiting`, up to `at_a_time` of them at once. What they print follows their name."""
    own_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    beside: Any = ray.remote(_Beside)
    training: dict[Any, tuple[str, Any]] = {}
    left = set(waiting)
    failure: BaseException | None = None
    try:
        with stop_checked() as check_stop:
            while training or (waiting and failure is None):
                check_stop()
                ready = [name for name in waiting if left.isdisjoint(runs[name].stage.needs)]
                for name in ready[: at_a_time - len(training)] if failure is None else ():
                    waiting.remove(name)
                    console.out(_title(name, runs))
                    actor = beside.options(num_cpus=0, max_concurrency=2, scheduling_strategy=own_node).remote()
                    training[actor.train.remote(runs[name].config, replace(options, name=name))] = (name, actor)
                over, _ = ray.wait(list(training), timeout=1)
                for name, actor in training.values():
                    for line in ray.get(actor.take.remote()):
                        console.out(f"{name}  {line}")
                for each in over:
                    left.remove(training.pop(each)[0])
                    try:
                        ray.get(each)
                    except ray.exceptions.RayTaskError as error:
                        failure = failure or error.cause
    except KeyboardInterrupt as stopped:
        save_runs(console.out)
        stopped.args = ("saved; the same command goes on",)
        raise
    if failure is not None:
        raise failure


class _Beside(PlainConsole):
    """The class of an actor that trains one run and keeps what it prints. A thread would outlive Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(force_terminal=False)
        self._lines: list[str] = []

    def train(self, config: TrainConfig, options: TrainRunOptions) -> None:
        train(config, options, self)

    def out(self, *objects: Any, sep: str = " ", **more: Any) -> None:
        self._lines += sep.join(plain(str(each)) for each in objects).split("\n")

    def take(self) -> list[str]:
        """The lines since the last call."""
        taken, self._lines = self._lines, []
        return taken


def _at_a_time(runs: Mapping[str, _Run], options: TrainRunOptions, console: Console) -> tuple[int, TrainRunOptions]:
    """How many runs have room at once, at most as many as need not wait for one another; and the options for each.

    GPUs are shared out. Where there are none, a run that is alone on its machine gets all of its CPUs.
    """
    depth: dict[str, int] = {}
    for name, run in runs.items():
        depth[name] = 1 + max((depth[needed] for needed in run.stage.needs), default=0)
    widest = max(list(depth.values()).count(level) for level in depth.values())
    workers = options.worker_range[1]
    for count in range(widest, 1, -1):
        with suppress(UserError):
            resources = worker_resources(
                ray.nodes(),
                workers=count * workers,
                device=options.device,
                cpus_per_worker=options.cpus_per_worker,
            )
            if resources.gpus:
                return count, replace(options, device="gpu", cpus_per_worker=resources.cpus)
    resources = reserve(options, console.out)
    return max(1, min(widest, room(ray.nodes(), resources.cpus, resources.gpus) // workers)), options


def _print(table: pd.DataFrame, console: Console) -> None:
    """The table on the terminal, with accuracies on the validation split in percent."""
    shown = Table(title="validation, best epochs", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("stage", "taught by", "model"):
        shown.add_column(heading, overflow="fold", min_width=9)
    for heading in ("epoch", "unseen %", "all images", "macro F1"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        unseen, accuracy, macro_f1 = (row[metric] for metric in _METRICS)
        figures = ("" if pd.isna(unseen) else f"{100 * unseen:.1f}", f"{100 * accuracy:.1f}", f"{macro_f1:.3f}")
        epoch = f"{row['best_epoch']}/{row['epochs']}"
        shown.add_row(row["stage"], row["teachers"], row["model"], epoch, *figures)
    console.print(shown)
