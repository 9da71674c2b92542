"""Writes an epoch's checkpoint, and what follows from it, while the next epoch is trained."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from jobs.training.config import TrainConfig
from jobs.training.run_folder import RunFolder


class EpochWriter:
    """One write at a time, by a thread; for rank 0 alone. An epoch counts once its checkpoint is durable."""

    def __init__(self, folder: RunFolder, config: TrainConfig, keep: int) -> None:
        self._folder, self._config, self._keep = folder, config, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future | None = None

    def begin(
        self, model: keras.Model, card: Card, state: dict[str, np.ndarray], done: Callable[[dict[str, Any]], None]
    ) -> None:
        """Write `model`, which must not change meanwhile; `done` is then given the epoch's row of the history."""
        assert self._writing is None

        def write() -> None:
            save_checkpoint(self._folder.checkpoint(card.epoch), model, card, state)
            self._folder.publish(self._config, card.metrics, self._keep)
            done(card.metrics[-1])

        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raises what ended the write that was begun last, if anything has."""
        if self._writing is not None and self._writing.done():
            self._writing.result()

    def wait(self) -> None:
        """Return once all is durable; raises as `check` does."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
