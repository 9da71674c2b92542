"""The training loop of one rank without the worker around it, for tests and benchmarks of what a step does."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from fer_data.augment_draws import draw
from jobs.training.collectives import Collectives
from jobs.training.config import TrainConfig
from jobs.training.loop import TrainingLoop
from jobs.training.state import TrainingState
from jobs.training.step import TrainingStep, create_optimizer


class Loop:
    """Trains `model` as `config` says; `rows` of each global batch are this rank's."""

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        teachers: Sequence[keras.Model] = (),
        *,
        collectives: Collectives | None = None,
        rows: slice | None = None,
        compiled: bool = False,
        most_steps: int = 8,
    ) -> None:
        self.config = config
        self.collectives = collectives or Collectives(0, 1)
        self.rows = rows or slice(0, config.batch_size)
        self.state = TrainingState(model, create_optimizer(config.optimizer, config.precision), ema=config.ema > 0)
        self.step = TrainingStep(config, self.state, teachers)
        self.loop = TrainingLoop(
            config.augmentation,
            self.step,
            self.collectives,
            np.ones(7),
            rows=self.rows.stop - self.rows.start,
            most_steps=most_steps,
            compiled=compiled,
            soft_labels=config.soft_labels,
        )

    def start_epoch(self, epoch: int, *, asks: bool = True) -> None:
        self.state.seed_dropout(self.config.seed, epoch, self.collectives.rank)
        if self.step.start_epoch(epoch, asks=asks):
            self.loop.trace()

    def run(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        *,
        epoch: int = 1,
        first: int = 0,
        steps_per_call: int = 8,
        answers: np.ndarray | None = None,
    ) -> list[float]:
        """Train on `pixels` uint8 [steps, n, 48, 48, 1] from step `first` of an epoch on; the loss of each step.

        `answers` float32 [steps, n, 7] if the step was started without asking; those it had are in `self.answers`.
        """
        window, n = tf.constant(pixels.reshape(-1, 48, 48, 1)), labels.shape[1]
        losses: list[float] = []
        said: list[np.ndarray] = []
        for at in range(0, len(labels), steps_per_call):
            taken = labels[at : at + steps_per_call]
            draws = draw(
                self.config.augmentation,
                seed=self.config.seed,
                epoch=epoch,
                steps=range(first + at, first + at + len(taken)),
                global_batch=self.config.batch_size,
                rows=self.rows,
            )
            rates = [self.config.optimizer.learning_rate] * len(taken)
            decays = np.full(len(taken), self.config.ema)
            given = None if answers is None else answers[at : at + steps_per_call]
            outcome = self.loop(window, at * n, tf.constant(taken.ravel()), draws, rates, decays, given)
            said.append(outcome.answers.numpy())
            losses += outcome.losses.numpy().tolist()
        self.answers = np.concatenate(said)
        return losses
