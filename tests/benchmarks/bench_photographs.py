"""What photographs that occur several times in training are best used for: on photographs that were not trained on.

    python -m tests.benchmarks.bench_photographs --data data/fer2013 --storage ~/fer_photographs

`data` is FER-2013, prepared with --near-copies on. Trains `compact` at half its width by the released recipe, without
teachers: as it is; with one label distribution for all images of a photograph; with one image of each photograph in an
epoch (and more epochs, for as many steps); with both. Scores the last epochs on the unseen rows of the public test. The
95 % interval of a difference is by bootstrap over images and over seeds. The same command resumes. Takes an hour on two
cores with bfloat16.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.bench_ablation import RECIPE, job

SHARED, ONCE = ("--photograph-labels", "shared"), ("--photographs", "once")
SETTINGS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "shared labels": SHARED,
    "once in an epoch": ONCE,
    "both": (*SHARED, *ONCE),
}
STEPS, STEPS_ONCE = 449, 365
"""Steps of an epoch with all images and with one image of each photograph."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--storage", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.5)
    options = parser.parse_args()
    storage = options.storage.expanduser().resolve()
    checkpoints: dict[str, Path] = {}
    for seed in range(options.seeds):
        for number, arguments in enumerate(SETTINGS.values()):
            name = f"{number}-{seed}"
            epochs = round(options.epochs * STEPS / STEPS_ONCE) if ONCE[0] in arguments else options.epochs
            job(
                "train_cnn.py",
                *(*RECIPE, *arguments, "--width", options.width, "--data", options.data),
                *("--epochs", epochs, "--seed", seed, "--storage", storage, "--name", name),
            )
            checkpoints[name] = storage / name / f"checkpoints/epoch-{epochs:04d}"
            print(f"trained {name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-photographs-") as folder:
        named = [f"{name}={checkpoint}" for name, checkpoint in checkpoints.items()]
        report = Path(folder, "report")
        job(
            "evaluate.py",
            *("--checkpoint", *named, "--data", options.data, "--split", "public_test", "--out", report),
        )
        predictions = pd.read_parquet(report / "predictions")
    predictions["correct"] = predictions["predicted"] == predictions["label"]
    for title, chosen in (
        ("unseen", predictions["copy"] == ""),
        ("exact and near copies", predictions["copy"] != ""),
    ):
        correct = predictions[chosen].pivot_table(index="image_id", columns="checkpoint", values="correct")
        print(f"| {len(correct):,} images: {title} | public test | over the first (95 % interval) |\n|---|---|---|")
        right = {
            number: correct[[f"{number}-{seed}" for seed in range(options.seeds)]].to_numpy(float)
            for number in range(len(SETTINGS))
        }
        for number, name in enumerate(SETTINGS):
            mine = 100 * right[number].mean(axis=0)
            low, high = interval(right[number], right[0])
            gain = 100 * (right[number].mean() - right[0].mean())
            over = f"{gain:+.1f} ({low:+.1f} – {high:+.1f})" if number else ""
            print(f"| {name} | {mine.mean():.1f} % ({mine.min():.1f} – {mine.max():.1f}) | {over} |")


def interval(mine: np.ndarray, others: np.ndarray, draws: int = 5000) -> np.ndarray:
    """The 95 % interval, in points, of the difference of two mean accuracies, float [images, seeds], drawn anew."""
    random = np.random.default_rng(0)
    images, seeds = mine.shape
    gains = [
        mine[rows][:, random.integers(seeds, size=seeds)].mean()
        - others[rows][:, random.integers(seeds, size=seeds)].mean()
        for rows in (random.integers(images, size=images) for _ in range(draws))
    ]
    return 100 * np.quantile(gains, [0.025, 0.975])


if __name__ == "__main__":
    main()
