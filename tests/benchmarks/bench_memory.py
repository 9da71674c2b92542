"""Peak memory of a training process on 30,000 and on 1,000,000 rows: it must not grow with the data.

    python -m tests.benchmarks.bench_memory [--rows 1000000]

Draws the faces first (a minute or two, 2.4 GB in a temporary folder), then
trains a small network for 400 steps of 256 images, about two shuffling windows.
"""

import argparse
import os
import resource
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
    parser.add_argument("--train-on", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_on:
        print(peak_mib_of_training(options.train_on))
        return

    from fer_data.drawn_faces import prepared_drawn_faces

    peaks = {}
    for rows in (SMALL, options.rows):
        with tempfile.TemporaryDirectory() as cache:
            dataset = prepared_drawn_faces(training=rows, public_test=1000, private_test=0, cache=Path(cache))
            command = [sys.executable, __file__, "--train-on", dataset.uri]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks[rows] = int(output.split()[-1])
            print(f"{rows:,} rows: {peaks[rows]:,} MiB at the peak", flush=True)
    growth = peaks[options.rows] - peaks[SMALL]
    print(f"{options.rows / SMALL:.0f} × the rows: {growth:+,} MiB (allowed: {ALLOWED_MIB})")


def peak_mib_of_training(data: str) -> int:
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
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()
