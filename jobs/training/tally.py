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

    `saved` is what `arrays` returned at an earlier position of the same epoch, on any number of ranks.
    """

    def __init__(self, rows: slice, global_batch: int, saved: dict[str, np.ndarray] | None = None) -> None:
        # Counted in steps, so that the result does not depend on the number of steps in a call.
        self._kept_steps = -(-METRIC_ROWS // global_batch)
        self._rows = rows.stop - rows.start
        self._losses: list[Any] = []
        self._communication: list[Any] = []
        self._kept: deque[tuple[np.ndarray, Any]] = deque()
        self.steps = 0
        self.learning_rate = 0.0
        self.seconds_before = 0.0
        if saved is not None:
            self._losses.append(saved["losses"])
            self._kept.append((saved["labels"][:, rows].ravel(), saved["probabilities"][:, rows]))
            self.steps = len(saved["losses"])
            self.learning_rate, self.seconds_before, communication = saved["rate_and_seconds"].tolist()
            self._communication.append(np.array([communication]))

    def add(self, call: Call, learning_rate: float, outcome: Outcome) -> None:
        """Add a finished call; `learning_rate` is that of its last step."""
        self.steps += call.steps
        self.learning_rate = learning_rate
        self._losses.append(outcome.losses)
        self._communication.append(outcome.communication)
        self._kept.append((call.labels, outcome.probabilities))
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
        batches of B rows; `rate_and_seconds` float64 [3].
        """
        labels, probabilities = self._last()
        labels, probabilities = gathered(collectives, labels, probabilities)
        steps = min(self.steps, self._kept_steps)
        bounds = steps * np.array(share_bounds(len(labels) // steps, collectives.world_size)[1:-1], int)
        batches = [rows.reshape(steps, -1) for rows in np.split(labels, bounds)]
        predicted = [rows.reshape(steps, -1, rows.shape[-1]) for rows in np.split(probabilities, bounds)]
        return {
            "losses": self._all_losses(),
            "labels": np.concatenate(batches, axis=1),
            "probabilities": np.concatenate(predicted, axis=1),
            "rate_and_seconds": np.array([self.learning_rate, seconds, self.communication_seconds()]),
        }

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
