"""What a sweep finds and what stopping early saves, on drawn faces, around a learning rate that is far too low.

    python -m tests.benchmarks.bench_sweep [--trials 20] [--epochs 9]

Sweeps the same points twice, drawn at random: with ASHA, and with every trial trained to its end. Expect the best
trial to beat the first, which is the configuration itself, by a wide margin, and ASHA to find as good a one in at
most half of the epochs. Takes some 20 minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from fer_data.drawn_faces import prepared_drawn_faces
from tests.conftest import REPOSITORY

SPACE = "[learning_rate]\nlow = 1e-6\nhigh = 1e-1\nlog = true\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--schedulers", nargs="+", default=["asha", "none"], choices=["asha", "none"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        data = prepared_drawn_faces(training=600, public_test=500, private_test=0, cache=Path(folder)).uri
        Path(folder, "space.toml").write_text(SPACE)
        print("scheduler  minutes  epochs  configuration itself %  best %", flush=True)
        for scheduler in options.schedulers:
            started = time.perf_counter()
            command = [
                *(sys.executable, "jobs/sweep.py", "--model", "compact", "--data", data, "--learning-rate", "2e-6"),
                *("--space", f"{folder}/space.toml", "--search", "random", "--scheduler", scheduler),
                *("--trials", str(options.trials), "--epochs", str(options.epochs), "--batch-size", "25"),
                *("--storage", folder, "--name", scheduler),
            ]
            subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
            minutes = (time.perf_counter() - started) / 60
            trials = pd.read_parquet(f"{folder}/{scheduler}/trials.parquet")
            first, best = (
                100 * value for value in (trials["validation_accuracy"][0], trials["validation_accuracy"].max())
            )
            print(
                f"{scheduler:9}  {minutes:7.1f}  {trials['epochs'].sum():6}  {first:22.1f}  {best:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
