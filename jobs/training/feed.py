"""Prepare the training loop's calls ahead of the device: read rows, send them to the device, draw random numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fer_data.augment_draws import Draws, draw
from fer_data.batches import TrainingBatches, Window, prefetched
from fer_data.rows import PIXELS
from jobs.training.config import TrainConfig
from jobs.training.targets import labels_of

_WINDOW_ROWS = {"CPU": 4_096, "GPU": 49_152}
"""Rows of a window on the device. The next window is loaded while one is trained on: 9 and 113 MB each."""
_CALL_ROWS = 16_384
_CALL_STEPS = 256
_CALL_SECONDS = 0.5
"""The maximum rows and steps of a call and its target time, so that progress and interruptions are prompt."""


@dataclass(frozen=True)
class Call:
    """`steps` steps of an epoch, starting at step `first`, with their inputs on the device.

    Their rows start at `row` of `window`, uint8 [rows, 48, 48, 1]. `labels`, int64 [steps · n], are on the host, and
    `device_labels` are their codes, as in `targets`, on the device. `draws` holds tensors of as many rows.
    """

    epoch: int
    first: int
    steps: int
    window: tf.Tensor
    row: int
    labels: np.ndarray
    device_labels: tf.Tensor
    draws: Draws


class Feed:
    """The calls of a run in order, prepared by two threads: one reads windows, the other draws random numbers.

    `window_rows` is the maximum number of rows in a window, `rows` the rank's share of a global batch.
    """

    def __init__(self, config: TrainConfig, batches: TrainingBatches, window_rows: int) -> None:
        self._config, self._batches = config, batches
        self._steps_per_window = max(1, min(window_rows // self.rows, batches.steps_per_epoch))
        self.most_steps = max(1, min(_CALL_ROWS // self.rows, _CALL_STEPS, self._steps_per_window))
        self._steps_per_call = 1
        self._calls: Iterator[Call] | None = None

    @property
    def rows(self) -> int:
        """Rows of a step on this rank."""
        return self._batches.rows.stop - self._batches.rows.start

    def steps_in(self, seconds_per_step: float) -> int:
        """How many steps a call should have, 1 to `most_steps`."""
        return int(np.clip(round(_CALL_SECONDS / max(seconds_per_step, 1e-6)), 1, self.most_steps))

    def resize(self, steps_per_call: int) -> None:
        """Change the number of steps per call, starting with the next call. All ranks must choose the same."""
        if steps_per_call != self._steps_per_call:
            self.close()
            self._steps_per_call = steps_per_call

    def next(self, epoch: int, step: int) -> Call:
        """The call that begins at `step` of `epoch`, where the previous call must have ended."""
        if self._calls is None:
            windows = prefetched(self._windows(epoch, step), depth=1)
            self._calls = prefetched(self._made(windows), depth=2)
        call = next(self._calls)
        assert (call.epoch, call.first) == (epoch, step)
        return call

    def close(self) -> None:
        """End the threads."""
        if self._calls is not None:
            self._calls.close()  # type: ignore[attr-defined]
            self._calls = None

    def _windows(self, epoch: int, step: int) -> Iterator[tuple[int, Window, tf.Tensor]]:
        # Continue into the next epoch, whose order is known, so that the device need not wait between epochs.
        while epoch <= self._config.epochs:
            view = self._config.distillation.view(epoch)
            for window in self._batches.windows(view, self._steps_per_window, step):
                with tf.device(device()):
                    pixels = tf.constant(window.pixels.reshape(-1, 48, 48, 1))
                yield epoch, window, pixels
            epoch, step = epoch + 1, 0

    def _made(self, windows: Iterator[tuple[int, Window, tf.Tensor]]) -> Iterator[Call]:
        for epoch, window, pixels in windows:
            for at in range(0, len(window.labels), self._steps_per_call):
                labels = window.labels[at : at + self._steps_per_call]
                first = window.first + at
                draws = draw(
                    self._config.augmentation,
                    seed=self._config.seed,
                    epoch=epoch,
                    steps=range(first, first + len(labels)),
                    global_batch=self._config.batch_size,
                    rows=self._batches.rows,
                    view=self._config.distillation.view(epoch),
                )
                with tf.device(device()):
                    sent = Draws(*(tf.constant(array) for array in draws.arrays()))
                    device_labels = tf.constant(labels.ravel())
                kept = labels_of(labels.ravel())
                yield Call(epoch, first, len(labels), pixels, at * self.rows, kept, device_labels, sent)


def device() -> str:
    """TensorFlow's name of the device on which this worker computes."""
    return "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"


def window_rows(say: Callable[[str], None], allocate: Callable[[int], object] | None = None) -> int:
    """The rows of a window such that two fit in the device's free memory; `say` gets a message if they are reduced."""
    wanted = _WINDOW_ROWS[device()[:3]]
    rows = wanted
    while rows > 1:
        try:
            (allocate or _allocate)(2 * rows)
            break
        except tf.errors.ResourceExhaustedError:
            rows //= 2
    if rows < wanted:
        say(f"windows are reduced from {wanted:,} to {rows:,} rows, so that two fit in the GPU's free memory")
    return rows


def _allocate(rows: int) -> None:
    with tf.device(device()):
        tf.zeros((rows, PIXELS), tf.uint8)
