"""The gauges that jobs export to Prometheus through Ray; cluster/grafana_dashboard.json plots them."""

import threading
from contextlib import AbstractContextManager

from ray.util.metrics import Gauge

TRAINING = {
    "fer_images_per_second": "Images trained in a second, over all workers",
    "fer_step_seconds": "Seconds of a training step",
    "fer_training_loss": "Loss of the last step that was reported",
    "fer_epoch": "Epochs that are finished",
    "fer_workers": "Workers of the last epoch",
    "fer_training_accuracy": "Accuracy on the last epoch's augmented training images",
    "fer_validation_accuracy": "Accuracy on the validation images after the last epoch",
    "fer_validation_macro_f1": "Macro-F1 on the validation images after the last epoch",
    "fer_validation_loss": "Log loss on the validation images after the last epoch",
    "fer_communication_share": "Share of an epoch's time in which a rank sums gradients over the workers, or waits",
}
"""Of a run or trial, labelled with its name and model; the last also with the rank: the slowest rank waits least."""
SWEEP = {
    "fer_sweep_best": "Best value so far of the metric by which a sweep compares trials",
    "fer_sweep_trials_over": "Trials of a sweep that have ended",
}
SCORING = {"fer_scoring_images_per_second": "Images that one scoring process scores per second"}
"""Of an evaluation; Ray's own label WorkerId distinguishes its processes."""

METRICS = TRAINING | SWEEP | SCORING
"""Gauges by name; in Prometheus their names begin with Ray's prefix `ray_`."""


class Telemetry(AbstractContextManager):
    """A set of gauges with the same labels, exported until closed; a context manager.

    Ray exports a gauge once each time it is set, and drops it two reports later. A thread therefore sets every gauge
    again and again, so that a value lasts for the minutes of an epoch.
    """

    _EVERY_SECONDS = 1.0

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[str, float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="telemetry", daemon=True)

    def set(self, **values: float | None) -> None:
        """Set these gauges, named without `fer_`; None removes one."""
        for name, value in values.items():
            name = f"fer_{name}"
            if value is None:
                self._values.pop(name, None)
                continue
            if name not in self._gauges:
                gauge = Gauge(name, METRICS[name], tag_keys=tuple(self._labels))
                self._gauges[name] = gauge.set_default_tags(self._labels)
            self._values[name] = float(value)
            self._gauges[name].set(float(value))
        if not self._thread.is_alive() and not self._closed.is_set():
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def _repeat(self) -> None:
        while not self._closed.wait(self._EVERY_SECONDS):
            for name, value in list(self._values.items()):
                self._gauges[name].set(value)
