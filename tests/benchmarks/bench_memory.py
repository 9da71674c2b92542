"""Peak memory of preparing 30,000 and 1,000,000 rows, and of training on them: it must not grow with the data.

    python -m tests.benchmarks.bench_memory [--rows 1000000]

Draws the faces first (some minutes, 2.4 GB in a temporary folder), then trains a small network for 400 steps of 256
images, about two shuffling windows. Each is a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ALLOWED_MIB = 300
SMALL = 30_000
STEPS = 400
BATCH = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--in", dest="cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        from jobs.memory import peak_mib

        data = prepared(options.rows, options.cache)
        if options.train:
            train(data)
        print(round(peak_mib()))
        return

    peaks = {}
    for rows in (SMALL, options.rows):
        with tempfile.TemporaryDirectory() as cache:
            for what, more in (("preparing", []), ("training", ["--train"])):
                command = [sys.executable, "-m", "tests.benchmarks.bench_memory", "--in", cache, "--rows", str(rows)]
                output = subprocess.run(command + more, check=True, capture_output=True, text=True).stdout
                peaks[what, rows] = int(output.split()[-1])
                print(f"{what} {rows:,} rows: {peaks[what, rows]:,} MiB at the peak", flush=True)
    for what in ("preparing", "training"):
        growth = peaks[what, options.rows] - peaks[what, SMALL]
        print(f"{what} {options.rows / SMALL:.0f} × the rows: {growth:+,} MiB (allowed: {ALLOWED_MIB})")


def prepared(rows: int, cache: Path) -> str:
    """The data set of so many drawn faces in `cache`."""
    from fer_data.drawn_faces import prepared_drawn_faces

    return prepared_drawn_faces(training=rows, public_test=1000, private_test=0, cache=cache).uri


def train(data: str) -> None:
    """Train on `data` for so many STEPS."""
    import keras
    import numpy as np

    from fer_data.batches import TrainingBatches
    from fer_data.dataset import open_dataset
    from fer_data.splits import split
    from jobs.training.config import TrainConfig
    from jobs.training.feed import Feed, window_rows
    from tests.jobs.training.loops import Loop

    config = TrainConfig(batch_size=BATCH, epochs=STEPS)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3, strides=4), keras.layers.Flatten()]
    pixels = keras.Input((48, 48, 1), dtype="uint8")
    loop = Loop(config, keras.Sequential([pixels, *layers, keras.layers.Dense(7, activation="softmax")]))
    dataset = open_dataset(data)
    batches = TrainingBatches(dataset, split(dataset, "training"), global_batch=BATCH, seed=0)
    feed = Feed(config, batches, window_rows(print))
    feed.resize(feed.most_steps)
    done = 0
    for epoch in range(1, STEPS + 1):
        step = 0
        while step < batches.steps_per_epoch:
            call = feed.next(epoch, step)
            rates, decays = [1e-3] * call.steps, np.zeros(call.steps)
            loop.loop(call.window, call.row, call.device_labels, call.draws, rates, decays).losses.numpy()
            step += call.steps
            done += call.steps
            if done >= STEPS:
                feed.close()
                return
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()
