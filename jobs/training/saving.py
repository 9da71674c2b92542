"""Write checkpoints and positions while training goes on."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from jobs.training.position import Position
from jobs.training.rank import Rank
from jobs.training.run_folder import RunFolder
from jobs.training.schedule import History
from jobs.training.task import Task


class Saver:
    """Writes one thing after another in a thread of its own; for rank 0 only.

    `done` is called with the row of each epoch whose checkpoint is written; then the epoch counts.
    """

    def __init__(self, task: Task, folder: RunFolder, rank: Rank, done: Callable[[list[dict[str, Any]]], None]) -> None:
        self._task, self._folder, self._rank, self._done = task, folder, rank, done
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: deque[Future] = deque()

    def begin_epoch(self, history: History, answers: np.ndarray | None) -> None:
        """Start to write the checkpoint of the last epoch of `history`, and the files that depend on it.

        Before it, the teachers' `answers` of this epoch are written, if there are any to keep. The serving model must
        not change meanwhile.
        """
        card, arrays = self._card(history), self._rank.state.arrays()
        row = card.metrics[-1]

        def write() -> None:
            began = time.perf_counter()
            if answers is not None:
                self._rank.answers.write(card.epoch, answers)
            save_checkpoint(self._folder.checkpoint(card.epoch), self._rank.serving.model, card, arrays)
            row["writing_seconds"] = time.perf_counter() - began  # The card of the checkpoint itself cannot say this.
            self._folder.publish(self._task.config, card.metrics, self._task.keep)
            self._done([row])

        self._writing.append(self._thread.submit(write))

    def begin_position(self, history: History, position: Position) -> None:
        """Start to write `position`, after the epochs of `history`, once everything before it is written.

        It waits for that, because each is held in memory.
        """
        self.wait()
        card, arrays = self._card(history), position.with_state(self._rank.state)

        def write() -> None:
            self._folder.save_position(position.step, card, arrays)
            self._task.progress.hold.remote(position.epoch, position.step)

        self._writing.append(self._thread.submit(write))

    def check(self) -> None:
        """Raise the exception of a write that has failed."""
        while self._writing and self._writing[0].done():
            self._writing.popleft().result()

    def wait(self) -> None:
        """Wait until everything is written; raises as `check` does."""
        while self._writing:
            self._writing.popleft().result()

    def _card(self, history: History) -> Card:
        config = self._task.config
        return Card(
            model=config.model,
            epoch=len(history),
            parameters=self._rank.serving.model.count_params(),
            precision=self._rank.precision,
            protocol=config.protocol,
            data_fingerprint=self._task.dataset.manifest.fingerprint,
            configuration=asdict(config),
            metrics=list(history),
        )
