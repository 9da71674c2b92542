"""What each ingredient of a training recipe is worth by itself, on FER-2013.

    python -m tests.benchmarks.bench_ablation --data data/fer2013 --storage ~/fer_ablation \\
        --teacher ~/fer_runs/second/best

Trains `compact` on the training images with flips alone, then with one more ingredient at a time, then with the whole
recipe; scores the last epoch of each on the public test. What a row has over the baseline is the difference of the
mean accuracies over its seeds and the baseline's; its 95 % interval is over images, paired, and knows nothing of how
far other seeds would go: for that, see the lowest and the highest. The same command resumes. Takes an hour and a half
on two cores with bfloat16.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import REPOSITORY

BASELINE = "baseline: AdamW, cosine, flips"
PLAIN = (
    *("--model", "compact", "--batch-size", "64", "--patience", "0", "--precision", "auto", "--dropout", "0"),
    *("--optimizer", "adamw", "--learning-rate", "0.003", "--weight-decay", "0.01"),
    *("--schedule", "cosine", "--warmup-epochs", "1", "--rotation", "0", "--shift", "0", "--zoom", "0", "--shear", "0"),
)
RECIPE = (
    *(*PLAIN, "--dropout", "0.1", "--label-smoothing", "0.06308567018483678", "--calibrate"),
    *("--rotation", "10", "--shift", "0.083", "--zoom", "0.15", "--brightness", "0.1315804540386961"),
    *("--contrast", "0.2", "--erase-probability", "0.25", "--erase-area", "0.2", "--monitor", "accuracy"),
)
TEACHER = ("--teacher", "{teacher}")
INGREDIENTS = {
    BASELINE: (3, PLAIN),
    "Adam at a constant rate of 1e-3 instead": (
        1,
        (*PLAIN, "--optimizer", "adam", "--learning-rate", "0.001", "--schedule", "constant", "--weight-decay", "0"),
    ),
    "SGD with Nesterov momentum instead": (
        1,
        (*PLAIN, "--optimizer", "sgd", "--learning-rate", "0.05", "--weight-decay", "0.0005"),
    ),
    "rotation, shift, zoom": (1, (*PLAIN, "--rotation", "10", "--shift", "0.083", "--zoom", "0.15")),
    "brightness, contrast": (1, (*PLAIN, "--brightness", "0.13", "--contrast", "0.2")),
    "erasing": (1, (*PLAIN, "--erase-probability", "0.25", "--erase-area", "0.2")),
    "mixup": (1, (*PLAIN, "--mixup", "0.2")),
    "label smoothing": (1, (*PLAIN, "--label-smoothing", "0.06")),
    "dropout": (1, (*PLAIN, "--dropout", "0.1")),
    "weight average (EMA)": (1, (*PLAIN, "--ema", "0.999")),
    "class weights (square root)": (1, (*PLAIN, "--class-weights", "square_root")),
    "distillation from --teacher": (2, (*PLAIN, *TEACHER)),
    "the recipe, without a teacher": (1, RECIPE),
    "the recipe, with --teacher": (1, (*RECIPE, *TEACHER)),
}
"""Seeds and options of each row; {teacher} stands for --teacher's checkpoint."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="a checkpoint to learn from")
    parser.add_argument("--storage", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpus-per-worker", type=int, default=2)
    options = parser.parse_args()
    storage = options.storage.expanduser().resolve()
    teacher = options.teacher.expanduser().resolve()
    checkpoints: dict[str, Path] = {}
    for seed in range(3):
        for number, (seeds, arguments) in enumerate(INGREDIENTS.values()):
            if seed >= seeds:
                continue
            name = f"{number}-{seed}"
            job(
                "train_cnn.py",
                *(argument.format(teacher=teacher) for argument in arguments),
                *("--data", options.data, "--epochs", options.epochs, "--seed", seed),
                *("--workers", options.workers, "--cpus-per-worker", options.cpus_per_worker),
                *("--storage", storage, "--name", name),
            )
            checkpoints[name] = storage / name / f"checkpoints/epoch-{options.epochs:04d}"
            print(f"trained {name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-ablation-") as folder:
        named = [f"{name}={checkpoint}" for name, checkpoint in checkpoints.items()]
        report = Path(folder, "report")
        job(
            "evaluate.py",
            *("--checkpoint", *named, "--data", options.data, "--split", "public_test", "--out", report),
        )
        predictions = pd.read_parquet(report / "predictions")
    predictions["correct"] = predictions["predicted"] == predictions["label"]
    correct = predictions.pivot_table(index="image_id", columns="checkpoint", values="correct").astype(float)
    print(f"| {options.epochs} epochs | seeds | public test | over the baseline (95 % interval) |\n|---|---|---|---|")
    baseline = mean_of(correct, 0)
    for number, (name, (seeds, _)) in enumerate(INGREDIENTS.items()):
        mine = [100 * correct[f"{number}-{seed}"].mean() for seed in range(seeds)]
        spread = f" ({min(mine):.1f} – {max(mine):.1f})" if seeds > 1 else ""
        gain = 100 * (mean_of(correct, number) - baseline)
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        over = "" if name == BASELINE else f"{gain.mean():+.1f} ({gain.mean() - half:+.1f} – {gain.mean() + half:+.1f})"
        print(f"| {name} | {seeds} | {np.mean(mine):.1f} %{spread} | {over} |")


def mean_of(correct: pd.DataFrame, number: int) -> pd.Series:
    """How often a row's networks were right on each image, 0 to 1."""
    return correct[[name for name in correct if name.startswith(f"{number}-")]].mean(axis=1)


def job(script: str, *arguments: object) -> None:
    """Run one of the project's jobs; its output is shown when it fails."""
    command = [sys.executable, f"jobs/{script}", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


if __name__ == "__main__":
    main()
