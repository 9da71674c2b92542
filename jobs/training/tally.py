"""Collect the results of an epoch's calls, which stay on the device until the epoch's end."""

from collections import deque
from typing import Any

import numpy as np

from fer_data.batches import share_bounds
from fer_models.metrics import summarise
from jobs.training.collectives import Collectives
from jobs.training.feed import Call
from jobs.training.loop import Outcome
from jobs.training.serving import gathered

METRIC_ROWS = 65_536
"""Training metrics are computed from at most this many of an epoch's last predictions, to limit memory."""


class EpochTally:
    """Losses, predictions and times of one epoch; `rows` is this rank's part of a global batch.

    With `keeps_answers` it also collects what the teachers say. `saved` is what `arrays` returned at an earlier
    position of the same epoch, on any number of ranks.
    """

    def __init__(
        self,
        rows: slice,
        global_batch: int,
        saved: dict[str, np.ndarray] | None = None,
        *,
        keeps_answers: bool = False,
    ) -> None:
        # Counted in steps, so that the result does not depend on the number of steps in a call.
        self._kept_steps = -(-METRIC_ROWS // global_batch)
        self._rows = rows.stop - rows.start
        self._losses: list[Any] = []
        self._communication: list[Any] = []
        self._kept: deque[tuple[np.ndarray, Any]] = deque()
        self._answers: list[Any] | None = [] if keeps_answers else None
        self.steps = 0
        self.learning_rate = 0.0
        self.seconds_before = 0.0
        if saved is not None:
            self._losses.append(saved["losses"])
            self._kept.append((saved["labels"][:, rows].ravel(), saved["probabilities"][:, rows]))
            self.steps = len(saved["losses"])
            self.learning_rate, self.seconds_before, communication = saved["rate_and_seconds"].tolist()
            self._communication.append(np.array([communication]))
            if keeps_answers:
                # There are none when the file of a view was lost inside an epoch that repeats it.
                self._answers = [saved["answers"][:, rows]] if "answers" in saved else None

    def add(self, call: Call, learning_rate: float, outcome: Outcome) -> None:
        """Add a finished call; `learning_rate` is that of its last step."""
        self.steps += call.steps
        self.learning_rate = learning_rate
        self._losses.append(outcome.losses)
        self._communication.append(outcome.communication)
        self._kept.append((call.labels, outcome.probabilities))
        if self._answers is not None:
            self._answers.append(outcome.answers)
        while sum(len(labels) for labels, _ in self._kept) - len(self._kept[0][0]) >= self._kept_steps * self._rows:
            self._kept.popleft()

    def last_loss(self) -> float:
        """The loss of the last step so far."""
        return float(np.asarray(self._losses[-1])[-1])

    def communication_seconds(self) -> float:
        """Seconds spent so far on summing gradients over the ranks, including waiting for the slowest."""
        return float(sum(np.asarray(seconds).sum() for seconds in self._communication))

    def arrays(self, collectives: Collectives, seconds: float) -> dict[str, np.ndarray]:
        """All that a later tally needs to go on from here. Every rank must call it; `seconds` is the time so far.

        `losses` float32 [steps]; `labels` int64 [k, B] and `probabilities` float32 [k, B, 7] of the last k global
        batches of B rows; `rate_and_seconds` float64 [3]; and `answers`, what the teachers said so far, float32
        [steps, B, 7], if all of it was collected.
        """
        labels, probabilities = self._last()
        labels, probabilities = gathered(collectives, labels, probabilities)
        steps = min(self.steps, self._kept_steps)
        answers = self._gathered_answers(collectives)
        return {
            "losses": self._all_losses(),
            "labels": _by_step(labels[:, None], steps, collectives)[:, :, 0],
            "probabilities": _by_step(probabilities, steps, collectives),
            "rate_and_seconds": np.array([self.learning_rate, seconds, self.communication_seconds()]),
        } | ({} if answers is None else {"answers": answers})

    def _gathered_answers(self, collectives: Collectives) -> np.ndarray | None:
        if self._answers is None:
            return None
        own = np.concatenate([np.asarray(rows) for rows in self._answers])
        return _by_step(collectives.gather_rows(own.reshape(-1, own.shape[-1])), self.steps, collectives)

    def metrics(self, collectives: Collectives) -> dict[str, float | None]:
        """Metrics of all ranks' last predictions, and the mean of the minimised loss over the whole epoch."""
        losses = self._all_losses().astype(np.float64)
        return summarise(*gathered(collectives, *self._last())) | {"loss": float(losses.mean())}

    def _last(self) -> tuple[np.ndarray, np.ndarray]:
        """This rank's labels int64 [n] and probabilities float32 [n, 7] of the last steps."""
        last = self._kept_steps * self._rows
        labels = np.concatenate([labels for labels, _ in self._kept])[-last:]
        parts = [np.asarray(rows) for _, rows in self._kept]
        return labels, np.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in parts])[-last:]

    def _all_losses(self) -> np.ndarray:
        return np.concatenate([np.asarray(losses) for losses in self._losses])


def _by_step(rows: np.ndarray, steps: int, collectives: Collectives) -> np.ndarray:
    """The rows of all ranks, one rank after the other, [steps · B, k], as global batches, [steps, B, k]."""
    bounds = steps * np.array(share_bounds(len(rows) // steps, collectives.world_size)[1:-1], int)
    return np.concatenate([own.reshape(steps, -1, rows.shape[-1]) for own in np.split(rows, bounds)], axis=1)
