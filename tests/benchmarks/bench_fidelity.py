"""Whether a cheaper sweep puts trials into the order of the full one: fewer epochs or images, or a narrower network.

    python -m tests.benchmarks.bench_fidelity [--trials 16] [--epochs 6] [--data DATA]

Every sweep has the same points, spread over the space, and trains all of them to their end. Prints for each the rank
correlation (Spearman) of its trials' validation accuracies with those of the full sweep, with its 95 % interval over
trials by bootstrap; the place in the full sweep of the trial that it finds best, and by how many points that one is
worse there than the full sweep's best; and its training time as a share of the full sweep's. Drawn faces come a second
time, drawn anew: no cheaper sweep can be expected to agree better than that one. Takes half an hour on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from fer_data.drawn_faces import prepared_drawn_faces
from tests.conftest import REPOSITORY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a prepared data set; by default drawn faces")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--space", default="learning-rate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-fidelity-") as folder:
        drawn, anew = ("" if options.data else faces(seed, folder) for seed in (0, 1))
        data = options.data or drawn
        cheaper = {
            "half of the epochs": (data, "--epochs", options.epochs // 2),
            "a third of the epochs": (data, "--epochs", options.epochs // 3),
            "half of the images": (data, "--train-fraction", 0.5),
            "a quarter of the images": (data, "--train-fraction", 0.25),
            "half of the width": (data, "--width", 0.5),
        } | ({"other faces": (anew,)} if anew else {})
        full = sweep(Path(folder, "full"), options, data)
        print(f"full sweep: {percent(full).min():.1f} to {percent(full).max():.1f} %")
        print("sweep                    correlation (95 %)    place of its best   points worse   training time")
        for number, (name, arguments) in enumerate(cheaper.items()):
            print(f"{name:24} {compared(full, sweep(Path(folder, str(number)), options, *arguments))}", flush=True)


def faces(seed: int, cache: str) -> str:
    return prepared_drawn_faces(600, 500, 0, seed=seed, cache=Path(cache)).uri


def sweep(storage: Path, options: argparse.Namespace, data: str, *more: object) -> pd.DataFrame:
    """A row for each trial."""
    command = [
        *(sys.executable, "jobs/sweep.py", "--model", "compact", "--data", data, "--batch-size", options.batch_size),
        *("--space", options.space, "--search", "quasi-random", "--scheduler", "none", "--trials", options.trials),
        *("--epochs", options.epochs, *more, "--storage", storage, "--name", "sweep"),
    ]
    subprocess.run([str(part) for part in command], cwd=REPOSITORY, check=True, capture_output=True)
    return pd.read_parquet(storage / "sweep/trials.parquet")


def percent(trials: pd.DataFrame) -> np.ndarray:
    """The validation accuracy of each trial's best epoch."""
    return 100 * trials["validation_accuracy"].to_numpy()


def compared(full: pd.DataFrame, cheap: pd.DataFrame) -> str:
    exact, guessed = percent(full), percent(cheap)
    random = np.random.default_rng(0)
    drawn = (random.integers(0, len(exact), len(exact)) for _ in range(2000))
    low, high = np.nanpercentile([spearmanr(exact[rows], guessed[rows])[0] for rows in drawn], [2.5, 97.5])
    chosen = exact[guessed.argmax()]
    return (
        f"{spearmanr(exact, guessed)[0]:.2f} ({low:.2f} to {high:.2f})   "
        f"{1 + (exact > chosen).sum():9} of {len(exact)}   {exact.max() - chosen:12.1f}   "
        f"{cheap['training_seconds'].sum() / full['training_seconds'].sum():13.2f}"
    )


if __name__ == "__main__":
    main()
