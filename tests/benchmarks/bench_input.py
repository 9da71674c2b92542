"""Images per second of the input pipeline on one core: reading, shuffling and every augmentation.

python -m tests.benchmarks.bench_input
"""

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TARGET = 10_000
ROWS = 30_000
BATCH = 256
STEPS = 4
"""In a call of the device."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    import numpy as np
    import tensorflow as tf

    from fer_data.augment import augment, with_noise
    from fer_data.augment_draws import AugmentationConfig, draw
    from fer_data.batches import TrainingBatches
    from fer_data.drawn_faces import prepared_drawn_faces
    from fer_data.splits import split

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    configurations = {
        "the original project's augmentation": AugmentationConfig(),
        "every augmentation at once": AugmentationConfig(
            rotation=12, shear=5, brightness=0.1, contrast=0.2, gamma=0.3, erase_probability=0.5, mixup=0.2, noise=0.1
        ),
    }
    with tempfile.TemporaryDirectory() as cache:
        dataset = prepared_drawn_faces(training=ROWS, cache=Path(cache))
        batches = TrainingBatches(dataset, split(dataset, "training"), global_batch=BATCH, seed=0)
        for name, config in configurations.items():

            @partial(tf.function, reduce_retracing=True)
            def apply(pixels, targets, draws, config=config):
                *changes, noise = draws
                images, _ = augment(config, pixels, targets, *changes)
                return with_noise(images, noise) if config.noise else images

            rates = []
            for epoch in range(3):
                began = time.perf_counter()
                for window in batches.windows(epoch, STEPS):
                    steps = range(window.first, window.first + len(window.labels))
                    draws = draw(config, seed=0, epoch=epoch, steps=steps, global_batch=BATCH, rows=slice(0, BATCH))
                    targets = np.eye(7, dtype=np.float32)[window.labels.ravel()]
                    apply(window.pixels.reshape(-1, 48, 48, 1), targets, draws.arrays()).numpy()
                rates.append(batches.steps_per_epoch * BATCH / (time.perf_counter() - began))
            best = max(rates[1:])  # The first epoch traces the graph.
            print(f"{name}: {best:,.0f} images/s on one core ({best / TARGET:.1f} × the target of {TARGET:,})")


if __name__ == "__main__":
    main()
