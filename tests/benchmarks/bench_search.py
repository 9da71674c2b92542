"""What a sweep of a few trials finds on drawn faces, over several seeds, beside that of an older version.

    python -m tests.benchmarks.bench_search [--seeds 5] [--trials 12] [--epochs 4] [--against CHECKOUT]

Every seed has its own faces and its own points. The sweep begins at a learning rate that is far too low, as one may be
for a new data set. The best trial's checkpoint scores 2,000 faces that no trial has seen. `--against` runs the same
sweep of another checkout, and prints the mean difference with its 95 % interval over the seeds. Each sweep takes two to
four minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from fer_data.batches import ordered_batches
from fer_data.drawn_faces import prepared_drawn_faces
from fer_data.splits import split
from fer_models.checkpoint import load_model
from tests.conftest import REPOSITORY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", default="1e-4")
    parser.add_argument("--space", default="learning-rate")
    parser.add_argument("--against", type=Path, help="a checkout of an older version")
    options = parser.parse_args()
    checkouts = {"this": REPOSITORY} | ({"other": options.against} if options.against else {})
    rows = []
    print("seed  sweep  epochs  trial 0000 %  best %  % right of 2,000 unseen faces", flush=True)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
            dataset = prepared_drawn_faces(600, 500, 2000, seed=seed, cache=Path(folder))
            batches = ordered_batches(dataset, split(dataset, "private_test"), batch_size=500)
            pixels, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
            for name, checkout in checkouts.items():
                trials, accuracy = found(
                    checkout.resolve(), dataset.uri, Path(folder) / name, seed, options, (pixels, labels)
                )
                reached = 100 * trials["validation_accuracy"]
                epochs = int(trials["epochs"].sum())
                rows.append({"seed": seed, "sweep": name, "epochs": epochs, "accuracy": 100 * accuracy})
                print(
                    f"{seed:4}  {name:5}  {epochs:6}  {reached[0]:12.1f}  {reached.max():6.1f}  {100 * accuracy:6.1f}",
                    flush=True,
                )
    table = pd.DataFrame(rows).set_index(["sweep", "seed"])
    print("mean", *(f"{name}: {table.loc[name]['accuracy'].mean():.1f} %" for name in checkouts))
    if options.against:
        this, other = table.loc["this"], table.loc["other"]
        difference = this["accuracy"] - other["accuracy"]
        reach = t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / len(difference) ** 0.5
        print(
            f"this - other: {difference.mean():+.1f} points (95 % interval {difference.mean() - reach:+.1f} to "
            f"{difference.mean() + reach:+.1f} over {len(difference)} seeds), with "
            f"{this['epochs'].sum() / other['epochs'].sum():.2f} of the epochs"
        )


def found(
    checkout: Path,
    data: str,
    storage: Path,
    seed: int,
    options: argparse.Namespace,
    unseen: tuple[np.ndarray, np.ndarray],
) -> tuple[pd.DataFrame, float]:
    """The table of trials of a sweep by `checkout`, and the accuracy of its best checkpoint on `unseen`."""
    command = [
        *(sys.executable, "jobs/sweep.py", "--model", "compact", "--data", data, "--seed", seed),
        *("--learning-rate", options.learning_rate, "--space", options.space, "--trials", options.trials),
        *("--epochs", options.epochs, "--batch-size", 25, "--storage", storage, "--name", "sweep"),
    ]
    subprocess.run(
        [str(part) for part in command],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
    )
    trials = pd.read_parquet(storage / "sweep/trials.parquet")
    model, _ = load_model(str(storage / "sweep/best/checkpoint"))
    pixels, labels = unseen
    return trials, float((model(pixels).numpy().argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    main()
