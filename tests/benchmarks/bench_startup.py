"""Where the time of a tiny run goes: one epoch of `compact` on 190 drawn faces, from the command to its end.

    python -m tests.benchmarks.bench_startup [--rounds 3] [--against CHECKOUT]

`--against` runs the same command of another checkout in turns, and prints the ratio. Takes two minutes on two cores.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PHASES = ("driver, Ray and data", "workers, until the epoch", "epoch and checkpoint", "after it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="a checkout of an older version")
    options = parser.parse_args()
    from fer_data.drawn_faces import prepared_drawn_faces

    checkouts = {"this": REPOSITORY} | ({"other": options.against} if options.against else {})
    times: dict[str, list[list[float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        data = prepared_drawn_faces(training=150, public_test=40, private_test=0, cache=Path(folder)).uri
        for turn in range(options.rounds):
            for name, checkout in checkouts.items():
                times[name].append(phases(checkout.resolve(), data, Path(folder) / f"{name}-{turn}"))
    totals = {name: statistics.median(map(sum, found)) for name, found in times.items()}
    for name, found in times.items():
        print(f"{name}: {totals[name]:.1f} s from command to end")
        for phase, values in zip(PHASES, zip(*found, strict=True), strict=True):
            print(f"  {statistics.median(values):6.1f} s  {phase}")
    if options.against:
        print(f"this / other: {totals['this'] / totals['other']:.2f}")


def phases(checkout: Path, data: str, storage: Path) -> list[float]:
    """The seconds of each of PHASES in one run of the training command of `checkout`."""
    command = [sys.executable, "jobs/train_cnn.py", "--model", "compact", "--epochs", "1", "--data", data]
    command += ["--storage", str(storage), "--name", "run"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began, run, epoch, taken = time.perf_counter(), 0.0, 0.0, 0.0
    with subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            now = time.perf_counter() - began
            if line.startswith("run "):
                run = now
            elif found := re.match(r"epoch 1/1 +(\d+) s(?:.* writing (\d+)\))?", line):
                epoch, taken = now, float(found[1]) + float(found[2] or 0)
    if process.returncode:
        raise RuntimeError("".join(printed))
    return [run, epoch - taken - run, taken, time.perf_counter() - began - epoch]


if __name__ == "__main__":
    main()
