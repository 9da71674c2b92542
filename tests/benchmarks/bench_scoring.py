"""How fast checkpoints are scored against plain `predict`, and what time and memory do as rows grow.

    python -m tests.benchmarks.bench_scoring [speed|growth] [--rows 10000 100000 1000000]

`speed` scores the original project's CNN (a minute on 2 quiet cores; expect a ratio of 1 or more). `growth` scores
a tiny network, so that everything but the network is what is measured (a few minutes, 2.5 GB of disk for a million
rows; expect equal microseconds for an image, from 100,000 rows on, and memory within some 5 %).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fer_data.dataset_writer import write_dataset
from fer_data.rows import rows_table
from jobs.tensorflow_environment import tensorflow_environment
from tests.conftest import REPOSITORY

SPEED_ROWS = 6 * 1024
_PREDICT = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from fer_models.checkpoint import load_model
model, _ = load_model(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (2048, 48, 48, 1), np.uint8)
model.predict(pixels[:512], batch_size=256, verbose=0)
started = time.perf_counter()
for _ in range(2):
    model.predict(pixels, batch_size=256, verbose=0)
print(2 * len(pixels) / (time.perf_counter() - started))
"""
_SAVE = """
import sys, keras
from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from fer_models.factory import create_model
from tests.jobs.evaluation.tiny import tiny_checkpoint
if sys.argv[1] == "tiny":
    tiny_checkpoint(sys.argv[2])
else:
    save_checkpoint(sys.argv[2], create_model("cnn"), Card("cnn", 1, 489_735, "float32", "challenge", "", {}, []))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "growth", "both"), nargs="?", default="both")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-scoring-") as folder:
        if options.what != "growth":
            speed(Path(folder), options.repeats)
        if options.what != "speed":
            growth(Path(folder), options.rows)


def speed(folder: Path, repeats: int) -> None:
    """Alternates, so that what else the machine does falls on both alike."""
    checkpoint, data = save(folder, "cnn"), write_noise(folder, SPEED_ROWS)
    print("predict images/s  scoring images/s  ratio")
    for repeat in range(repeats):
        predict = float(python(_PREDICT, checkpoint))
        scoring = evaluate(checkpoint, data, folder / f"report{repeat}")["scoring"]["images_per_second"]
        print(f"{predict:16.0f}  {scoring:16.0f}  {scoring / predict:5.2f}", flush=True)


def growth(folder: Path, sizes: list[int]) -> None:
    checkpoint = save(folder, "tiny")
    print("     rows  whole run s  scoring µs/image  driver MiB  actor MiB")
    for rows in sizes:
        data = write_noise(folder, rows)
        started = time.perf_counter()
        run = evaluate(checkpoint, data, folder / f"report{rows}")
        seconds, rate = time.perf_counter() - started, run["scoring"]["images_per_second"]
        peaks = f"{run['driver_peak_mib']:10.0f}  {run['scoring']['actor_peak_mib']:9.0f}"
        print(f"{rows:9,}  {seconds:11.1f}  {1e6 / rate:16.1f}  {peaks}", flush=True)


def evaluate(checkpoint: str, data: str, out: Path) -> dict:
    """Runs the job in a process of its own; the report's run.json."""
    arguments = ("--checkpoint", checkpoint, "--data", data, "--split", "public_test", "--out", str(out))
    subprocess.run([sys.executable, "jobs/evaluate.py", *arguments], cwd=REPOSITORY, check=True, capture_output=True)
    return json.loads((out / "run.json").read_text())


def save(folder: Path, network: str) -> str:
    python(_SAVE, network, str(folder / network))
    return str(folder / network)


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        env=os.environ | tensorflow_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def write_noise(folder: Path, rows: int) -> str:
    """A prepared data set of `rows` blotches with labels drawn at random."""

    def tables() -> Iterator[pa.Table]:
        random = np.random.default_rng(rows)
        for start in range(0, rows, 8192):
            count = min(8192, rows - start)
            pixels = random.integers(0, 256, (count, 8, 8), np.uint8).repeat(6, axis=1).repeat(6, axis=2)
            ids = [f"noise-{i:08d}" for i in range(start, start + count)]
            yield rows_table(ids, "public_test", random.integers(0, 7, count), pixels)

    out = str(folder / f"data{rows}")
    write_dataset(tables(), out, "noise")
    return out


if __name__ == "__main__":
    main()
