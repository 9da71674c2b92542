"""Collect the results of an epoch's calls, which stay on the device until the epoch's end."""

from collections import deque

import numpy as np
import tensorflow as tf

from fer_models.metrics import summarise
from jobs.training.collectives import Collectives
from jobs.training.feed import Call
from jobs.training.loop import Outcome
from jobs.training.serving import gathered

METRIC_ROWS = 65_536
"""Training metrics are computed from at most this many of an epoch's last predictions, to limit memory."""


class EpochTally:
    """Losses, predictions and communication time of one epoch; `rows` is this rank's share of a step."""

    def __init__(self, rows: int, world_size: int) -> None:
        # Counted in steps, so that the result does not depend on the number of steps in a call.
        self._kept_steps = -(-(METRIC_ROWS // world_size) // rows)
        self._rows = rows
        self._losses: list[tf.Tensor] = []
        self._communication: list[tf.Tensor] = []
        self._kept: deque[tuple[np.ndarray, tf.Tensor]] = deque()
        self.steps = 0
        self.learning_rate = 0.0

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
        return float(self._losses[-1][-1])

    def communication_seconds(self) -> float:
        """Seconds spent so far on summing gradients over the ranks, including waiting for the slowest."""
        return float(sum(seconds.numpy().sum() for seconds in self._communication))

    def metrics(self, collectives: Collectives) -> dict[str, float | None]:
        """Metrics of all ranks' last predictions, and the mean of the minimised loss over the whole epoch."""
        last = self._kept_steps * self._rows
        labels = np.concatenate([labels for labels, _ in self._kept])[-last:]
        probabilities = np.concatenate([rows.numpy().reshape(-1, rows.shape[-1]) for _, rows in self._kept])[-last:]
        losses = np.concatenate([losses.numpy() for losses in self._losses]).astype(np.float64)
        return summarise(*gathered(collectives, labels, probabilities)) | {"loss": float(losses.mean())}
