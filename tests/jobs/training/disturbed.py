"""One rank of whole runs without Ray: one that nothing disturbs, then some that are killed and resumed at random steps.

python disturbed.py RANK WORLD_SIZE DATASET FOLDER NETWORK KILLS SEED    (TF_CONFIG in the environment)

The folder must be shared by all ranks. After each disturbed run, its last checkpoint and its history must be those of
the first run, bit for bit.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray
import ray.train

from fer_data.augment_draws import AugmentationConfig
from fer_data.dataset import open_dataset
from fer_models.checkpoint import load_training_state
from jobs.training import feed
from jobs.training import worker as worker_module
from jobs.training.board import Order
from jobs.training.checks import resolved
from jobs.training.collectives import Collectives
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import BackboneConfig, DistillationConfig, OptimizerConfig, ScheduleConfig
from jobs.training.run_folder import RunFolder
from jobs.training.task import Task

EPOCHS = 2
NOT_COMPUTED = ["seconds", "training_seconds", "validation_seconds", "writing_seconds", "between_seconds"]
NOT_COMPUTED += ["images_per_second", "tflops", "mfu", "communication_share", "workers"]


class Killed(BaseException):
    """The run ends as if its process had been killed: nothing is written any more."""


class Board:
    """A progress board without Ray. Positions are saved before the calls `saves`, and the run ends before `end`."""

    def __init__(self, saves: set[tuple[int, int]], end: tuple[int, int] | None, *, politely: bool) -> None:
        self.saves, self.end, self.politely = saves, end, politely
        self.lines: list[str] = []
        self.standing: str | None = None

    def next_call(self, epoch: int, step: int, machine_goes: bool) -> Order:
        if self.end is not None and (epoch, step) >= self.end:
            if not self.politely:
                raise Killed
            return "leave"
        return "save" if step and (epoch, step) in self.saves else "on"

    def stand(self, where: str) -> None:
        self.standing = where

    def say(self, message: str, *, once: bool = False) -> None:
        self.lines.append(message)

    def is_left(self) -> bool:
        """In the middle of validation: after the last step."""
        return self.politely and self.end is not None and self.end[1] < 0

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: True

    def remote(self) -> Any:
        board = self

        class Remote:
            def __getattr__(self, name: str) -> Any:
                return SimpleNamespace(remote=getattr(board, name))

        return Remote()


def configured(network: str, folder: Path) -> TrainConfig:
    augmentation = AugmentationConfig(rotation=10, erase_probability=0.5, mixup=0.3, noise=0.1)
    if network.startswith("compact"):
        views = network == "compact-views"  # The second epoch repeats the first, with what the teachers said there.
        return replace(
            DEFAULTS["compact"],
            epochs=EPOCHS,
            batch_size=19,
            select="all",
            width=0.25,
            ema=0.9,
            dropout=0.3,
            augmentation=replace(augmentation, mixup=0) if views else augmentation,
            schedule=ScheduleConfig(schedule="cosine", warmup_epochs=0.5),
            distillation=DistillationConfig(teacher=("fer_models/released",), views=int(views)),
            backbone=BackboneConfig(start_share=0.3),
        )
    if network == "cnn":
        return replace(DEFAULTS["cnn"], epochs=EPOCHS, batch_size=10, select="all", augmentation=augmentation)
    return TrainConfig(
        model="resnet50",
        epochs=EPOCHS,
        batch_size=6,
        micro_batch=2,
        select="all",
        dropout=0.3,
        optimizer=OptimizerConfig(optimizer="sgd", learning_rate=0.01),
        backbone=BackboneConfig(freeze=("stem=1", "conv2=1"), stage_rate=0.5),
    )


def train(task: Task, board: Board, collectives: Collectives) -> int:
    """One worker's life: to the end of the run, or of `board`. Returns the steps of an epoch."""
    worker = worker_module._Worker(replace(task, progress=board.remote()), collectives)
    try:
        worker.run()
    except Killed:
        worker.saver.wait()  # What was begun before is written, as it may be before a kill.
    return worker.rank.batches.steps_per_epoch


def assert_same(run: RunFolder, reference: RunFolder) -> None:
    expected, weights = (load_training_state(folder.checkpoint(EPOCHS)) for folder in (reference, run))
    assert weights[0].keys() == expected[0].keys()
    for name, array in expected[0].items():
        np.testing.assert_array_equal(weights[0][name], array, err_msg=name)
    for one, other in zip(run.history_rows(), reference.history_rows(), strict=True):
        assert {k: v for k, v in one.items() if k not in NOT_COMPUTED} == {
            k: v for k, v in other.items() if k not in NOT_COMPUTED
        }
    assert not run.positions()


def main(rank: int, world_size: int, data: str, folder: Path, network: str, kills: int, seed: int) -> None:
    ray.get = lambda answer, **_: answer
    ray.train.report = lambda metrics: None
    worker_module.machine_is_to_go = lambda: False
    worker_module._ASKED_SECONDS = 0
    collectives = Collectives(rank, world_size)
    config = resolved(configured(network, folder))

    def task(name: str) -> Task:
        return Task(name, config, str(folder / name), open_dataset(data), 1, 2, 600.0, None)

    undisturbed = task("undisturbed")
    steps = train(undisturbed, Board(set(), None, politely=False), collectives)
    reference = RunFolder(undisturbed.run_uri)
    random = np.random.default_rng(seed)
    for number in range(kills):
        run = task(f"run-{number}")
        # The same on all ranks. Two positions are saved; some steps after them are lost, unless it is left politely.
        at = sorted(random.choice(np.arange(1, EPOCHS * steps), 3, replace=False).tolist())
        *saves, end = [(step // steps + 1, step % steps) for step in at]
        politely = number % 2 == 0
        feed._CALL_SECONDS = 0  # A step in each call, so that each of them is asked for.
        train(run, Board(set(saves), end, politely=politely), collectives)
        feed._CALL_SECONDS = 0.5
        found = RunFolder(run.run_uri).latest() or SimpleNamespace(card=SimpleNamespace(epoch=0), step=0)
        collectives.gather_ints([0])  # No rank goes on before all have looked.
        resumed = Board(set(), None, politely=False)
        if rank == 0:
            newest = end if politely else max(*saves, (end[0], 0))
            assert (found.card.epoch + 1, found.step) == newest
        train(run, resumed, collectives)
        if rank == 0:
            assert_same(RunFolder(run.run_uri), reference)
            print(network, world_size, "saved", saves, "left" if politely else "killed", end, *resumed.lines)
        collectives.gather_ints([0])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5], *map(int, sys.argv[6:]))
