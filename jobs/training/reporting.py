"""Report a rank's progress and speed to Prometheus and to the progress board."""

from typing import Any

import ray

from jobs.telemetry import Telemetry
from jobs.training.collectives import Collectives
from jobs.training.schedule import training_seconds
from jobs.training.task import Task
from jobs.training.throughput import tflops, this_peak

_SHOWN = [
    *("epoch", "workers", "images_per_second", "training_loss", "training_accuracy"),
    *("validation_loss", "validation_accuracy", "validation_macro_f1"),
]
"""The columns of a finished epoch that are also gauges of the run."""


class Reporter:
    """Reports one rank's progress; `multiply_adds` are those of the network for one image."""

    def __init__(
        self, task: Task, collectives: Collectives, *, steps_per_epoch: int, multiply_adds: int, precision: str
    ) -> None:
        self._task, self._rank, self._steps_per_epoch = task, collectives.rank, steps_per_epoch
        self._multiply_adds = multiply_adds
        peak = this_peak(precision)
        self._peak = peak and peak * collectives.world_size
        self._gauges = Telemetry(run=task.name, model=task.config.model)
        self._rank_gauges = Telemetry(run=task.name, model=task.config.model, rank=str(collectives.rank))

    def speed(self, images_per_second: float) -> dict[str, float | None]:
        """Of all ranks together: images per second, TFLOP/s, and their share of the GPUs' peak, None if unknown."""
        rate = tflops(self._multiply_adds, images_per_second)
        return {
            "images_per_second": images_per_second,
            "tflops": rate,
            "mfu": rate / self._peak if self._peak else None,
        }

    def steps(self, epoch: int, done: int, *, seconds: float, communication: float, loss: float) -> None:
        """Report that `done` steps of `epoch` took `seconds`, of which summing gradients took `communication`."""
        self.communication_share(communication / seconds)
        if self._rank:
            return
        each = seconds / done
        speed = self.speed(self._task.config.batch_size / each)
        self._gauges.set(step_seconds=each, images_per_second=speed["images_per_second"], training_loss=loss)
        self._task.progress.update.remote(
            epoch=epoch, step=done, steps=self._steps_per_epoch, loss=loss, seconds=seconds, mfu=speed["mfu"]
        )

    def communication_share(self, share: float) -> None:
        self._rank_gauges.set(communication_share=share)

    def epochs(self, rows: list[dict[str, Any]]) -> None:
        """Report finished epochs, whose checkpoints are written, and set the gauges of the last; for rank 0."""
        row = rows[-1]
        step = training_seconds(row) / self._steps_per_epoch
        self._gauges.set(step_seconds=step, **{name: row[name] for name in _SHOWN})
        ray.get(self._task.progress.finish_epochs.remote(rows))

    def fail(self, mistake: Exception) -> None:
        ray.get(self._task.progress.fail.remote(mistake))

    def say(self, message: str) -> None:
        self._task.progress.say.remote(message)
