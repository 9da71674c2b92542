"""What the training jobs make of one GPU: images per second, TFLOP/s and MFU, beside plain Keras on the same card.

    python -m tests.benchmarks.bench_gpu
    python -m tests.benchmarks.bench_gpu --only compact-256 resnet50-48 --data fer2013.zip
    python -m tests.benchmarks.bench_gpu --minutes 15

Each line comes from a run of `jobs/train_cnn.py` or `jobs/train_resnet.py` in bfloat16 with the augmentation of its
recipe, compiled by XLA: the median of its epochs after the second. Beside it is `fit` of plain Keras, compiled too, on
the same network, batch and precision, with the images in memory and without augmentation. *Between* is the time from
the last step of an epoch to the first of the next: validation, metrics, checkpoint, report. *First step* is the time
from the start of a job to the end of its first step, where Python and Ray are up; it is known to half a second.

Lines are printed as they are measured, those that have a target first, and no part is begun that would take longer than
what is left of `--minutes` (5). XLA takes 20 to 45 s for a program, one for every line and one for every `fit`, and
keeps them in ~/.cache/fer_jobs: do not expect the whole table in five minutes the first time on a machine; the same
command again goes faster. Needs one GPU and `pip install -c constraints.txt '.[gpu]'`; no network, and no data: without
`--data` it draws as many faces as FER-2013 has.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from fer_data.commands import Parser, exit_with_code
from fer_data.drawn_faces import prepared_drawn_faces
from fer_data.errors import UserError
from fer_data.prepare import open_or_prepare
from fer_models import catalogue
from jobs.tensorflow_environment import tensorflow_environment
from tests.benchmarks.gpu_parts import (
    BETWEEN,
    HEADER,
    NETWORKS,
    PARTS,
    RATES,
    RATIOS,
    REFERENCE,
    STEADY_AFTER,
    Network,
    Run,
    row,
)
from tests.benchmarks.isolation import Seen, XlaCache, plain, quiet
from tests.conftest import REPOSITORY


class Bench:
    """Measures parts by name, and prints each line when it is known."""

    def __init__(self, options: argparse.Namespace, folder: Path, data: str) -> None:
        self._tiny, self._epochs, self._folder, self._data = options.on_processors, options.epochs, folder, data
        self._device = "cpu" if self._tiny else "gpu"
        # XLA has no bfloat16 for processors that is worth waiting for.
        self._precision = "float32" if self._tiny else "mixed_bfloat16"
        self._cache = XlaCache(folder)
        self._reference: Run | None = None

    def measure(self, part: str) -> None:
        """Raises whatever the job or plain Keras failed with."""
        if part in NETWORKS:
            self._network(part)
        else:
            {"scoring": self._scoring, "compile-off": self._compile_off, "deterministic": self._deterministic}[part]()

    def _network(self, part: str) -> None:
        network = self._sized(NETWORKS[part])
        with plain("fit", self._plain_fit(network)) as plain_fit:
            if part == REFERENCE:
                with self._cache.empty():
                    run = self._reference = self._train(part, network)
                    self._print_run(part, run)
                    print(f"    first step after {run.first_step_at:.1f} s with nothing in XLA's cache", flush=True)
                    again = self._train(f"{part}-again", network)
                    print(f"    first step after {again.first_step_at:.1f} s with the cache that it left", flush=True)
            else:
                run = self._train(part, network)
                self._print_run(part, run)
            rate = plain_fit()
        ratio = run.median("images_per_second") / rate
        print(f"    plain fit: {rate:,.0f} images/s; job / plain fit {ratio:.2f}", flush=True)
        if part in RATIOS:
            print(RATIOS[part].verdict(ratio), flush=True)

    def _print_run(self, part: str, run: Run) -> None:
        print(row(part, run), flush=True)
        if part in RATES:
            print(RATES[part].verdict(run.median("images_per_second")), flush=True)
        if part == REFERENCE:
            print(BETWEEN.verdict(run.median("between_seconds")), flush=True)

    def _compile_off(self) -> None:
        self._against_reference("compile-off", "compiled / not", "--compile", "off")

    def _deterministic(self) -> None:
        self._against_reference("deterministic", f"{REFERENCE} / deterministic", "--deterministic")

    def _against_reference(self, part: str, ratio: str, *arguments: str) -> None:
        """`arguments` win over those that every run has."""
        reference = self._of_reference()
        run = self._train(part, self._sized(NETWORKS[REFERENCE]), *arguments)
        print(row(part, run), flush=True)
        times = reference.median("images_per_second") / run.median("images_per_second")
        print(f"    {ratio}: {times:.2f} times as fast", flush=True)

    def _scoring(self) -> None:
        from jobs import evaluate

        checkpoint, report = self._of_reference().checkpoint, self._folder / "report"
        with plain("predict", checkpoint, self._data) as plain_predict:
            arguments = ("--checkpoint", checkpoint, "--data", self._data, "--split", "training")
            with quiet(self._folder / "scoring.log"):
                evaluate.main([*arguments, "--device", self._device, "--out", str(report)])
            said = json.loads((report / "run.json").read_text())["scoring"]
            # A single shard, as tiny data have, has no rate but that of the whole, start and all.
            rate = said["images_per_second"] or said["images"] / said["seconds"]
            print(f"{'scoring':14} {rate:10,.0f}  jobs/evaluate.py, {said['images']:,} images", flush=True)
            predict = plain_predict()
        print(f"    plain predict: {predict:,.0f} images/s; job / plain predict {rate / predict:.2f}", flush=True)

    def _of_reference(self) -> Run:
        """The run of compact-256: the one there is, or one for this purpose."""
        if self._reference is None:
            self._reference = self._train(REFERENCE, self._sized(NETWORKS[REFERENCE]))
            print(row(REFERENCE, self._reference), flush=True)
        return self._reference

    def _train(self, name: str, network: Network, *arguments: str) -> Run:
        """Run a training job to its end on the Ray that this process has."""
        job = import_module(f"jobs.{catalogue.NETWORKS[network.model].job}")
        storage = self._folder / "runs"
        command = [
            *(*network.arguments, "--data", self._data, "--precision", self._precision),
            *("--compile", "on" if self._is_compiled(network) else "off"),
            *("--epochs", str(self._epochs), "--patience", "0", "--device", self._device),
            *("--storage", str(storage), "--name", name, *arguments),
        ]
        history = storage / name / "history.csv"
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            with quiet(self._folder / f"{name}.log"), Seen(history) as seen:
                job.main(command)
        finally:
            signal.signal(signal.SIGINT, interrupt)  # Ray leaves one behind that knows this run alone.
        return Run(pd.read_csv(history).iloc[STEADY_AFTER:], str(storage / name / "best"), seen.after())

    def _plain_fit(self, network: Network) -> str:
        return json.dumps(
            {
                "model": network.model,
                "batch": network.batch,
                "options": network.options,
                "precision": self._precision,
                "compiled": self._is_compiled(network),
                "epochs": self._epochs,
                "data": self._data,
            }
        )

    def _is_compiled(self, network: Network) -> bool:
        """On processors XLA takes minutes for a step of the larger networks."""
        return not self._tiny or network.model == "compact"

    def _sized(self, network: Network) -> Network:
        return network.tiny() if self._tiny else network


_PROBE = """
import json, keras, tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
name = tf.config.experimental.get_device_details(gpus[0]).get("device_name") if gpus else None
print(json.dumps({"gpu": name, "tensorflow": tf.__version__, "keras": keras.__version__}))
"""


def probe() -> dict[str, Any]:
    """What TensorFlow finds here, asked in a process that gives the GPU back: `gpu` (or None), and versions."""
    command, environment = [sys.executable, "-c", _PROBE], os.environ | tensorflow_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"TensorFlow does not start here: {(done.stderr.strip() or 'no word of why').splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def driver_version() -> str:
    """NVIDIA's, as its kernel module gives it; `none` without one."""
    try:
        said = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "none"
    numbers = re.findall(r"\b\d+\.\d+(?:\.\d+)?\b", said)
    return numbers[0] if numbers else "unknown"


def parse() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--data", help="a prepared data set, or FER-2013 in any form; by default drawn faces")
    parser.add_argument("--epochs", type=int, default=6, help=f"of each run; the first {STEADY_AFTER} do not count (6)")
    parser.add_argument("--minutes", type=float, default=5.0, help="begin no part that would take longer (5)")
    parser.add_argument("--on-processors", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs <= STEADY_AFTER:
        parser.error(f"--epochs must be {STEADY_AFTER + 1} or more")
    return options


def main() -> None:
    """Ends with exit code 1 if a part failed, and 2 if there is nothing to measure with."""
    began = time.monotonic()
    options = parse()
    found = probe()
    if options.on_processors:
        found["gpu"] = "TINY NETWORKS ON PROCESSORS: these figures say nothing"
    elif not found["gpu"]:
        raise UserError(
            f"TensorFlow {found['tensorflow']} finds no GPU here (NVIDIA driver: {driver_version()}): bench_gpu needs "
            "one, with its driver and pip install -c constraints.txt '.[gpu]'"
        )
    print(f"{found['gpu']}, driver {driver_version()}, TensorFlow {found['tensorflow']}, Keras {found['keras']}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-gpu-", ignore_cleanup_errors=True) as folder:
        dataset = data_set(options, Path(folder))
        print(f"{dataset.manifest.source}, {options.epochs} epochs\n\n{HEADER}", flush=True)
        bench = Bench(options, Path(folder), dataset.uri)
        start_ray()
        longest = 0.0
        parts = [part for part in PARTS if part in (options.only or PARTS)]
        for number, part in enumerate(parts):
            started = time.monotonic()
            if started - began + longest > 60 * options.minutes:
                left = " ".join(parts[number:])
                print(f"\nnot measured, for lack of time: --only {left}, or --minutes {3 * options.minutes:g}")
                break
            try:
                bench.measure(part)
            except Exception as error:  # The other parts can still be measured.
                failed.append(part)
                print(f"{part:14} failed: {last_line(error)}", flush=True)
                if not isinstance(error, UserError):
                    print(str(error)[-3000:], file=sys.stderr, flush=True)
            longest = max(longest, time.monotonic() - started)
        print(f"\n{time.monotonic() - began:.0f} s in all" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


def data_set(options: argparse.Namespace, folder: Path) -> Any:
    """The prepared data set to train on, with as many rows as FER-2013 has where none is given."""
    if options.data:
        return open_or_prepare(options.data)
    rows, validation = (64, 48) if options.on_processors else (28_709, 3_589)
    return prepared_drawn_faces(training=rows, public_test=validation, private_test=0, cache=folder)


def start_ray() -> None:
    """One Ray of this process's own for all jobs; it ends with this process."""
    os.environ.pop("RAY_ADDRESS", None)
    # What is measured is this checkout, whatever is installed.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    from cluster.connect import connect
    from jobs.training import driver  # noqa: F401 # Loaded now, it does not count as the first job's time.

    connect()


def last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"[:300]


if __name__ == "__main__":
    exit_with_code(main)
