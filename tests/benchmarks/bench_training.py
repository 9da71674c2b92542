"""What Ray and this project's loop cost: images per second of whole training runs, compared in one run.

    python -m tests.benchmarks.bench_training [--model cnn] [--rounds 2]

Steady state: the fastest epoch after the first. Each figure is the best of
`--rounds`, taken in turns, since machines are noisy. Takes about ten minutes
on two cores.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

REPOSITORY = Path(__file__).parents[2]
ROWS, BATCH, EPOCHS = 1024, 128, 3
JOBS = {
    "job, one worker of two threads, float32": ("float32", 1, 2),
    "job, two workers of one thread, float32": ("float32", 2, 1),
    "job, one worker of two threads, --precision auto": ("auto", 1, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn", choices=["cnn", "compact"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--fit", choices=["arrays", "generator"], help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        print(plain_fit(options.model, options.fit, options.data))
        return

    from fer_data.drawn_faces import prepared_drawn_faces
    from jobs.tensorflow_environment import tensorflow_environment

    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepared_drawn_faces(training=ROWS, public_test=256, private_test=0, cache=Path(folder))
        write_tree(dataset, Path(folder) / "tree")
        for turn in range(options.rounds):
            for name, (precision, workers, cpus) in JOBS.items():
                run = f"{precision}-{workers}-{turn}"
                measure(rates, name, job(folder, run, options.model, dataset.uri, precision, workers, cpus))
            for kind in ("arrays", "generator"):
                command = [sys.executable, __file__, "--model", options.model, "--fit", kind, "--data", folder]
                # The original pipeline as TensorFlow is by default; the network alone under the job's conditions.
                environment = os.environ | (tensorflow_environment() if kind == "arrays" else {})
                output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                measure(rates, f"plain Keras fit on {kind}", float(output.split()[-1]))
    one, two, auto = (rates[name] for name in JOBS)
    arrays, generator = rates["plain Keras fit on arrays"], rates["plain Keras fit on generator"]
    print(f"one worker / plain Keras fit, float32, no augmentation: {one / arrays:.2f} (at least 0.95)")
    print(f"two workers of one thread / one of two: {two / one:.2f} (at least 0.9)")
    print(f"job with the original's augmentation / the original's pipeline: {auto / generator:.2f} (at least 1.5)")


def measure(rates: dict[str, float], name: str, rate: float) -> None:
    rates[name] = max(rates.get(name, 0), rate)
    print(f"{name}: {rate:.0f} images/s", flush=True)


def job(storage: str, run: str, model: str, data: str, precision: str, workers: int, cpus: int) -> float:
    """Images per second of a training job. With float32 without augmentation, with `auto` with the original's."""
    plain = ["--rotation", "0", "--shift", "0", "--zoom", "0", "--shear", "0", "--no-flip"]
    original = ["--rotation", "2", "--shift", "0.2", "--zoom", "0.2", "--shear", "0.2", "--flip"]
    command = [
        *(sys.executable, "jobs/train_cnn.py", "--model", model, "--data", data, "--epochs", str(EPOCHS)),
        *("--batch-size", str(BATCH), "--precision", precision, "--storage", storage, "--name", run),
        *("--workers", str(workers), "--cpus-per-worker", str(cpus), *(plain if precision == "float32" else original)),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    with open(f"{storage}/{run}/history.csv", newline="") as file:
        return max(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def write_tree(dataset, folder: Path) -> None:
    """The training rows as the class-folder tree of JPEG files that the original project reads."""
    import cv2

    from fer_data.batches import ordered_batches
    from fer_data.emotions import CLASSES
    from fer_data.splits import split

    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    number = 0
    for pixels, labels in ordered_batches(dataset, split(dataset, "training"), batch_size=512):
        for image, label in zip(pixels, labels, strict=True):
            cv2.imwrite(str(folder / CLASSES[label] / f"{number:06d}.jpg"), image)
            number += 1


def plain_fit(model_name: str, kind: str, folder: str) -> float:
    """Images per second of `keras.Model.fit`, float32, two threads: on arrays, or as the original project did it."""
    import cv2
    import keras
    import numpy as np
    import tensorflow as tf
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from fer_models.factory import create_model

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    model = create_model(model_name)
    tree = Path(folder) / "tree"
    if kind == "generator":
        generator = ImageDataGenerator(
            rescale=1 / 255,
            rotation_range=2,
            width_shift_range=0.2,
            height_shift_range=0.2,
            shear_range=0.2,
            zoom_range=0.2,
            horizontal_flip=True,
            fill_mode="nearest",
        )
        x = generator.flow_from_directory(tree, target_size=(48, 48), batch_size=BATCH, class_mode="categorical")
        # The original's network takes RGB that is scaled already.
        inputs = keras.Input((48, 48, 3))
        outputs = inputs
        for layer in model.layers[3:]:
            outputs = layer(outputs)
        model, y = keras.Model(inputs, outputs), None
    else:
        files = sorted(tree.glob("*/*.jpg"))
        x = np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files])[..., None]
        classes = sorted({file.parent.name for file in files})
        y = np.eye(7, dtype=np.float32)[[classes.index(file.parent.name) for file in files]]
    model.compile(keras.optimizers.Adam(), "categorical_crossentropy")
    ends = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(x, y, batch_size=None if kind == "generator" else BATCH, epochs=EPOCHS, verbose=0, callbacks=[note])
    return ROWS / min(np.diff(ends))


if __name__ == "__main__":
    main()
