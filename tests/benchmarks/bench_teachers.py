"""What a large teacher costs, and what --views saves: the time of an epoch of `compact` with and without.

    python -m tests.benchmarks.bench_teachers

A `large` that has hardly been trained teaches on drawn faces. Prints the time of an epoch in which it computes, and of
one that repeats a view, as ratios to an epoch without a teacher. Takes three minutes on two cores.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from fer_data.drawn_faces import prepared_drawn_faces
from tests.conftest import REPOSITORY

VIEWS = 3


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-teachers-") as folder:
        data = prepared_drawn_faces(2048, 64, 0, cache=Path(folder)).uri
        common = ("--data", data, "--storage", folder, "--patience", 0, "--precision", "auto")
        train(*common, "--name", "large", "--model", "large", "--train-fraction", 0.05, "--epochs", 1)
        compact = (*common, "--model", "compact", "--mixup", 0, "--epochs", 2 * VIEWS)
        train(*compact, "--name", "alone")
        train(*compact, "--name", "taught", "--teacher", f"{folder}/large/best", "--views", VIEWS)
        # The first epoch of each step's graph traces it.
        alone, taught = (seconds(folder, name) for name in ("alone", "taught"))
        without = alone[1:].median()
        asked, repeated = taught[1:VIEWS].median(), taught[VIEWS + 1 :].median()
        print(f"an epoch in which the teacher computes / without a teacher: {asked / without:.2f}")
        print(f"one that repeats a view / without a teacher:                {repeated / without:.2f}")


def train(*arguments: object) -> None:
    command = [sys.executable, "jobs/train_cnn.py", *arguments]
    subprocess.run([str(part) for part in command], cwd=REPOSITORY, check=True, capture_output=True)


def seconds(folder: str, name: str) -> pd.Series:
    """The training time of each epoch."""
    return pd.read_csv(Path(folder, name, "history.csv"))["training_seconds"]


if __name__ == "__main__":
    main()
