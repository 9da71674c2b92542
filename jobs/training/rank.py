"""Set up or restore one rank of a run: its rows, the model in training, the loop and the serving model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fer_data.batches import TrainingBatches, labels_in
from fer_data.splits import share, split
from fer_models.base_weights import load_base_weights
from fer_models.card import Card
from fer_models.checkpoint import load_model, load_training_state
from fer_models.factory import create_model, set_precision
from jobs.training.answers import Answers
from jobs.training.collectives import Collectives
from jobs.training.compilation import is_compiled
from jobs.training.config import TrainConfig
from jobs.training.feed import Feed, device, window_rows
from jobs.training.layers import for_training
from jobs.training.loop import TrainingLoop
from jobs.training.position import Position
from jobs.training.precision import POLICIES, common_policy, fastest_policy
from jobs.training.run_folder import RunFolder
from jobs.training.serving import ServingModel
from jobs.training.state import TrainingState
from jobs.training.step import TrainingStep, create_optimizer
from jobs.training.targets import vote_codes
from jobs.training.task import Task


class Rank:
    """Everything that `worker` trains with, restored from the newest intact checkpoint or position.

    `history` has the rows of the epochs before it. `position` is set if the run resumes inside an epoch.

    Raises UserError for data, weights, teachers or checkpoints that cannot be used.
    """

    def __init__(self, task: Task, collectives: Collectives, folder: RunFolder, say: Callable[[str], None]) -> None:
        config = task.config
        self._config, self._collectives = config, collectives
        training = share(task.dataset, split(task.dataset, "training", config.protocol), config.train_fraction)
        self.batches = TrainingBatches(
            task.dataset,
            training,
            global_batch=config.batch_size,
            seed=config.seed,
            rank=collectives.rank,
            world_size=collectives.world_size,
            columns=("label", "votes", "pixels") if config.soft_labels else ("label", "pixels"),
            encode=vote_codes if config.soft_labels else labels_in,
        )
        saved, latest, step = _latest(folder, collectives, task)
        self.history: list[dict[str, Any]] = list(latest.metrics) if latest else []
        self.precision = latest.precision if latest else _agreed_precision(config, collectives)

        keras.utils.set_random_seed(config.seed)
        model = _new_model(config, self.precision)
        if not latest:
            load_base_weights(model, config.backbone.weights)
        model = for_training(model)
        self.state = TrainingState(
            *(model, create_optimizer(config.optimizer, self.precision)),
            ema=config.ema > 0,
            start_share=config.backbone.start_share,
        )
        teachers = [for_training(load_model(uri)[0]) for uri in config.distillation.teacher]
        for teacher in teachers:
            set_precision(teacher, self.precision)
        self._step = TrainingStep(config, self.state, teachers)
        self.answers = Answers(
            *(config, folder, collectives),
            rows=self.batches.rows,
            steps=self.batches.steps_per_epoch,
            data_fingerprint=task.dataset.manifest.fingerprint,
            epochs_done=len(self.history),
        )
        self._start_step(len(self.history) + 1)  # Before the loop traces it.
        # The same on all ranks, because the number of steps in a call must be the same.
        rows = int(collectives.gather_ints([window_rows(say)]).min())
        self.feed = Feed(config, self.batches, rows)
        to_go = (config.epochs - len(self.history)) * self.batches.steps_per_epoch
        self.loop = TrainingLoop(
            config.augmentation,
            self._step,
            collectives,
            class_weights(config.class_weights, training.class_counts),
            rows=self.feed.rows,
            most_steps=self.feed.most_steps,
            compiled=is_compiled(task.compile, on_gpu=device() == "GPU:0", steps=to_go),
            soft_labels=config.soft_labels,
        )
        self.serving = ServingModel(
            _new_model(config, "float32"),
            task.dataset,
            split(task.dataset, "validation", config.protocol),
            collectives,
            unseen=task.unseen,
        )
        self.position: Position | None = None
        if latest:
            if step:
                self.position, saved = Position.split(saved, latest.epoch + 1)
            self.state.restore(saved)

    def start_epoch(self, epoch: int) -> Position | None:
        """Seed dropout, and freeze or unfreeze stages, for `epoch`. Returns the position that it goes on from."""
        self.state.seed_dropout(self._config.seed, epoch, self._collectives.rank)
        if self._start_step(epoch):
            self.loop.trace()
        position, self.position = self.position, None
        if position:
            position.restore_own(self.state, self._collectives, self._config.seed)
        return position

    def _start_step(self, epoch: int) -> bool:
        return self._step.start_epoch(epoch, asks=not self.answers.known(epoch))


def _new_model(config: TrainConfig, precision: str) -> keras.Model:
    return create_model(config.model, precision=precision, **config.builder_arguments())


def _latest(folder: RunFolder, collectives: Collectives, task: Task) -> tuple[dict[str, np.ndarray], Card | None, int]:
    """What rank 0 found to resume from, the same on every rank: arrays, card, and steps after the card's epoch."""

    def warn(message: str) -> None:  # Every restart of the workers finds the same damage.
        task.progress.say.remote(f"warning: {message}", once=True)

    found = folder.latest(warn) if collectives.rank == 0 else None
    mine = [found.card.epoch, found.step] if found else [-1, 0]
    epoch, step = collectives.gather_ints(mine)[0].tolist()
    if epoch < 0:
        return {}, None, 0
    uri = folder.position(epoch + 1, step) if step else folder.checkpoint(epoch)
    return *load_training_state(uri), step


def _agreed_precision(config: TrainConfig, collectives: Collectives) -> str:
    if config.precision != "auto":
        return config.precision
    codes = collectives.gather_ints([POLICIES.index(fastest_policy())])[:, 0]
    return common_policy([POLICIES[code] for code in codes])


def class_weights(kind: str, counts: np.ndarray) -> np.ndarray:
    """Weight of each class in the loss, float [7], with mean 1 over the rows; unless `kind` is none, rare classes weigh
    more.
    """
    exponent = {"none": 0, "cube_root": 1 / 3, "square_root": 1 / 2, "balanced": 1}[kind]
    weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0) ** exponent
    return weights * counts.sum() / (weights * counts).sum()
