"""What fine-tuning the released checkpoint on 500 pictures gains over training from scratch on them.

    python -m tests.benchmarks.bench_fine_tune --data data/fer2013

The pictures are rows of FER-2013's public test, which the released checkpoint was not trained on, although its epoch
and its recipe were chosen by them. Rows that show a photograph of a training row are left out. 400 of the 500 train,
100 choose the best epoch, and the rest of the rows, unseen by anyone, score. Two kinds of pictures: the rows as they
are, on which fine-tuning has little to teach a network that knows 28,709 such rows, and the same rows through another
camera (motion blur and noise), on which it has. Takes ten minutes on two cores.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from fer_data.batches import ordered_batches
from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.rows import rows_table
from fer_data.splits import split
from jobs.evaluation.scoring.corruptions import corrupt
from jobs.training.selection import unseen_rows
from tests.benchmarks.bench_ablation import job

TRAINING, VALIDATION = 400, 100
RELEASED = "fer_models/released"
FINE_TUNING = ("--weights", RELEASED, "--epochs", "10", "--learning-rate", "0.0003", "--batch-size", "32")
FROM_SCRATCH = ("--epochs", "60", "--batch-size", "32")


def as_they_are(pixels: np.ndarray) -> np.ndarray:
    return pixels


def another_camera(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], blurred and noisy."""
    seeds = np.arange(len(pixels), dtype=np.uint64)
    return corrupt(corrupt(pixels, "motion_blur", 3, seeds), "gaussian_noise", 2, seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="FER-2013, prepared with near copies")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pixels, labels = unseen_public_test(options.data)
    order = np.random.default_rng(options.seed).permutation(len(labels))
    pixels, labels = pixels[order], labels[order]
    print(
        "| pictures | released | fine-tuned | from scratch | gain over scratch (95 % interval) |\n|---|---|---|---|---|"
    )
    for name, camera in (("as they are", as_they_are), ("through another camera", another_camera)):
        correct = trained_and_scored(pixels, labels, camera, options.seed)
        gain = 100 * (correct["tuned"] - correct["scratch"])
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        cells = [f"{100 * correct[each].mean():.1f} %" for each in ("released", "tuned", "scratch")]
        interval = f"{gain.mean() - half:+.1f} – {gain.mean() + half:+.1f}"
        print(f"| {name} | {' | '.join(cells)} | {gain.mean():+.1f} ({interval}) |", flush=True)


def unseen_public_test(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of the public test's rows of which no training row shows the photograph."""
    dataset = open_dataset(data)
    rows = split(dataset, "public_test")
    unseen = unseen_rows(dataset, split(dataset, "training"), rows)
    if unseen is None:
        sys.exit(f"{data} has no near copies: prepare it with --near-copies on")
    pixels, labels = map(np.concatenate, zip(*ordered_batches(dataset, rows, batch_size=1024), strict=True))
    return pixels[unseen], labels[unseen]


def trained_and_scored(
    pixels: np.ndarray, labels: np.ndarray, camera: Callable[[np.ndarray], np.ndarray], seed: int
) -> pd.DataFrame:
    """Whether each network is right on each row that scores."""
    usages = np.full(len(labels), "private_test", object)
    usages[: TRAINING + VALIDATION] = "public_test"
    usages[:TRAINING] = "training"
    ids = [f"{i:05d}" for i in range(len(labels))]
    with tempfile.TemporaryDirectory(prefix="bench-fine-tune-") as folder:
        data = str(Path(folder, "data"))
        write_dataset([rows_table(ids, list(usages), labels, camera(pixels))], data, "own pictures")
        for name, arguments in (("tuned", FINE_TUNING), ("scratch", FROM_SCRATCH)):
            common = ("--data", data, "--seed", seed, "--storage", folder, "--name", name)
            job("train_cnn.py", "--model", "compact", *arguments, *common)
        named = [f"released={RELEASED}", *(f"{name}={folder}/{name}/best" for name in ("tuned", "scratch"))]
        report = Path(folder, "report")
        job("evaluate.py", "--checkpoint", *named, "--data", data, "--split", "test", "--out", report)
        predictions = pd.read_parquet(report / "predictions")
    predictions["correct"] = predictions["predicted"] == predictions["label"]
    return predictions.pivot_table(index="image_id", columns="checkpoint", values="correct").astype(float)


if __name__ == "__main__":
    main()
