"""Write an epoch's checkpoint and the files that depend on it while the next epoch is trained."""

import time
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
    """Writes one checkpoint at a time in a thread; for rank 0 only. An epoch counts once its checkpoint is written."""

    def __init__(self, folder: RunFolder, config: TrainConfig, keep: int) -> None:
        self._folder, self._config, self._keep = folder, config, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future | None = None

    def begin(
        self, model: keras.Model, card: Card, state: dict[str, np.ndarray], done: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        """Start to write `model`, which must not change meanwhile; then call `done` with its row.

        The row learns how long that took, which the card of the checkpoint itself cannot say.
        """
        assert self._writing is None

        def write() -> None:
            began = time.perf_counter()
            save_checkpoint(self._folder.checkpoint(card.epoch), model, card, state)
            card.metrics[-1]["writing_seconds"] = time.perf_counter() - began
            self._folder.publish(self._config, card.metrics, self._keep)
            done(card.metrics[-1:])

        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raise the exception of the current write, if it has failed."""
        if self._writing is not None and self._writing.done():
            self._writing.result()

    def wait(self) -> None:
        """Wait for the current write; raises as `check` does."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
