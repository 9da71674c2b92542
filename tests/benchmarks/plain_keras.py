"""What bench_gpu compares with: plain Keras, `fit` and `predict` on arrays in memory, in a process of its own.

    python -m tests.benchmarks.plain_keras fit '{"model": "compact", "batch": 256, ...}'
    python -m tests.benchmarks.plain_keras predict CHECKPOINT DATA

It imports what it needs, and touches no GPU before it reads a line from standard input, so that it can be started while
something else is measured. The last line that it prints is a number: images per second.
"""

import json
import sys
import time
from statistics import median

import numpy as np

from fer_data.batches import ordered_batches
from fer_data.dataset import open_dataset
from fer_data.splits import split
from jobs.training.compilation import set_up_xla
from jobs.training.defaults import DEFAULTS

STEADY_FROM = 2
"""Epochs before this one (from 0) are left out: they trace, compile and warm up."""


def main() -> None:
    what, *arguments = sys.argv[1:]
    set_up_xla(deterministic=False)  # The cache of compiled programs that the jobs have.
    import keras  # noqa: F401

    if not sys.stdin.readline():
        return  # Whoever started this is gone.
    _grow_memory()
    print(fit(**json.loads(arguments[0])) if what == "fit" else predict(*arguments))


def fit(*, model: str, batch: int, options: dict, precision: str, compiled: bool, epochs: int, data: str) -> float:
    """Images per second of `fit` as Keras has it, in its median epoch; without augmentation and validation."""
    import keras

    from fer_models.factory import create_model
    from jobs.training.step import create_optimizer

    pixels, labels = training_arrays(data)
    rows = max(1, len(pixels) // batch) * batch  # A last batch of another size would be compiled for itself.
    targets = np.eye(7, dtype=np.float32)[labels[:rows]]
    network = create_model(model, precision=precision, **options)
    network.compile(
        create_optimizer(DEFAULTS[model].optimizer, precision), "categorical_crossentropy", jit_compile=compiled
    )
    clock = epoch_clock(keras)
    network.fit(pixels[:rows], targets, batch_size=batch, epochs=epochs, verbose=0, callbacks=[clock])
    return len(targets) / median(clock.seconds[STEADY_FROM:])


def epoch_clock(keras):
    """A callback whose `seconds` are those of each epoch, from before its first step to after its last."""

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self._began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self._began)

    return Clock()


def predict(checkpoint: str, data: str) -> float:
    """Images per second of `predict` on the training images, in batches of 256 or of 4,096, whichever is faster."""
    from fer_models.checkpoint import load_model

    network, _ = load_model(checkpoint)
    pixels, _ = training_arrays(data)
    rates = []
    for batch in (256, 4096):
        network.predict(pixels, batch_size=batch, verbose=0)
        for _ in range(2):
            began = time.perf_counter()
            network.predict(pixels, batch_size=batch, verbose=0)
            rates.append(len(pixels) / (time.perf_counter() - began))
    return max(rates)


def training_arrays(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, 48, 48, 1] and labels int [n] of the training split of the prepared data set `data`."""
    dataset = open_dataset(data)
    pixels, labels = zip(*ordered_batches(dataset, split(dataset, "training"), batch_size=4096), strict=True)
    return np.concatenate(pixels).reshape(-1, 48, 48, 1), np.concatenate(labels)


def _grow_memory() -> None:
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


if __name__ == "__main__":
    main()
