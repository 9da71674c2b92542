"""What a run tells Ray's Prometheus endpoint; cluster/grafana_dashboard.json draws it."""

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

METRICS = {
    "fer_images_per_second": "Images trained in a second, over all workers",
    "fer_step_seconds": "Seconds of a training step",
    "fer_training_loss": "Loss of the last step that was looked at",
    "fer_epoch": "Epochs that are finished",
    "fer_communication_share": "Share of the last epoch's time that went into summing gradients over the workers",
    "fer_workers": "Workers of the last epoch",
    "fer_training_accuracy": "Accuracy on the last epoch's augmented training images",
    "fer_validation_accuracy": "Accuracy on the validation images after the last epoch",
    "fer_validation_macro_f1": "Macro-F1 on the validation images after the last epoch",
    "fer_validation_loss": "Log loss on the validation images after the last epoch",
}
"""Gauges by name, which Prometheus sees with Ray's `ray_` before it; each has the labels `run` and `model`."""


class Telemetry:
    """The gauges of one run; set by its first rank alone."""

    def __init__(self, run: str, model: str) -> None:
        self._gauges = {name: Gauge(name, text, tag_keys=("run", "model")) for name, text in METRICS.items()}
        for gauge in self._gauges.values():
            gauge.set_default_tags({"run": run, "model": model})

    def report_step(self, *, seconds: float, batch_size: int, loss: float) -> None:
        """A step of `batch_size` images took `seconds` on average since the epoch began."""
        self._set("step_seconds", seconds)
        self._set("images_per_second", batch_size / seconds)
        self._set("training_loss", loss)

    def report_epoch(self, row: Mapping[str, Any]) -> None:
        """A row of the history."""
        for name in ("epoch", "images_per_second", "communication_share", "workers", "training_accuracy"):
            self._set(name, row[name])
        for name in ("validation_accuracy", "validation_macro_f1", "validation_loss"):
            if row[name] is not None:
                self._set(name, row[name])

    def _set(self, name: str, value: float) -> None:
        self._gauges[f"fer_{name}"].set(float(value))
