"""The actor that scores: it holds every checkpoint's network and turns blocks of pixels into predictions."""

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from ray.actor import ActorHandle

from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.rows import pixels_of
from jobs.evaluation.contenders import ENSEMBLE, Contender
from jobs.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from jobs.evaluation.networks import Arithmetic, Network, load_network
from jobs.evaluation.pulse import Pulse
from jobs.evaluation.schemas import PREDICTIONS
from jobs.evaluation.views import views
from jobs.memory import peak_mib
from jobs.telemetry import Telemetry
from jobs.tensorflow_environment import tensorflow_environment

CORRUPTED: pa.Schema = pa.schema(
    [
        ("checkpoint", pa.string()),
        ("corruption", pa.string()),
        ("strength", pa.int8()),
        ("predicted", pa.list_(pa.int8())),
    ]
)
"""What is kept of corrupted images: the predicted classes of a shard's rows, -1 where there is an error."""
NOT_FINITE = "the model gave probabilities that are not finite"


@dataclass(frozen=True)
class ScoringTask:
    """What every actor of a run does; `name` is the report's, `stall_timeout` is in seconds."""

    name: str
    contenders: tuple[Contender, ...]
    arithmetic: Arithmetic
    batch_size: int
    tta: str
    corruptions: bool
    stall_timeout: float


@dataclass(frozen=True)
class About:
    """What an actor says about itself with every block: parameters and warnings by checkpoint; a mistake

    of the user's, if one keeps it from working; its process id and peak memory in MiB.
    """

    parameters: dict[str, int | None]
    warnings: dict[str, list[str]]
    mistake: str | None = None
    pid: int = 0
    peak_mib: float = 0.0


class Scorer:
    """Scores blocks of `reading.BLOCK_SCHEMA`; for use with Ray Data's map_batches."""

    def __init__(self, task: ScoringTask, monitor: ActorHandle) -> None:
        # Ray Data would retry an actor that raises here; a mistake of the user's stays one. It travels with
        # the first block instead.
        os.environ |= tensorflow_environment()
        self._task = task
        self._pulse = Pulse(monitor, task.stall_timeout)
        self._telemetry = Telemetry(run=task.name)
        self._last: float | None = None
        self._mistake: str | None = None
        self._networks: dict[str, Network] = {}
        try:
            for contender in task.contenders:
                if contender.kind != ENSEMBLE:
                    self._networks[contender.name] = load_network(contender, task.arithmetic)
        except UserError as mistake:
            self._mistake = str(mistake)

    def __call__(self, block: pa.Table) -> pa.Table:
        """A row for the shard in `block`: its number, `about` (JSON), and tables as Arrow IPC streams."""
        shard = block.column("shard")[0].as_py()
        self._mistake = self._mistake or block.column("mistake")[0].as_py()
        predictions, corrupted = b"", b""
        if not self._mistake:
            predictions, corrupted = (_to_bytes(table) for table in self._score(block))
            self._report(block.num_rows)
        return pa.table(
            {
                "shard": pa.array([shard], pa.int32()),
                "about": pa.array([json.dumps(asdict(self._about()))]),
                "predictions": pa.array([predictions], pa.binary()),
                "corrupted": pa.array([corrupted], pa.binary()),
            }
        )

    def _report(self, images: int) -> None:
        """Tell the rate since the block before, waiting for this one included."""
        now = time.perf_counter()
        if self._last is not None:
            self._telemetry.set(scoring_images_per_second=images / (now - self._last))
        self._last = now

    def _about(self) -> About:
        return About(
            {name: network.parameters for name, network in self._networks.items()},
            {name: network.warnings for name, network in self._networks.items() if network.warnings},
            self._mistake,
            os.getpid(),
            peak_mib(),
        )

    def _score(self, block: pa.Table) -> tuple[pa.Table, pa.Table]:
        pixels = pixels_of(block)
        errors: list[str | None] = block.column("error").to_pylist()
        predictions = []
        for name, probabilities in self._all_probabilities(pixels).items():
            predictions.append(_predictions(block, name, probabilities, list(errors)))
        return pa.concat_tables(predictions), self._corrupted(block, pixels, errors)

    def _corrupted(self, block: pa.Table, pixels: np.ndarray, errors: list[str | None]) -> pa.Table:
        if not self._task.corruptions:
            return CORRUPTED.empty_table()
        seeds = block.column("pixels_hash").to_numpy()
        damaged = np.array([error is not None for error in errors])
        rows = []
        for corruption in CORRUPTIONS:
            for strength in STRENGTHS:
                changed = corrupt(pixels, corruption, strength, seeds)
                for name, probabilities in self._all_probabilities(changed).items():
                    unusable = damaged | ~np.isfinite(probabilities).all(axis=1)
                    predicted = np.where(unusable, -1, probabilities.argmax(axis=1)).astype(np.int8)
                    rows.append(
                        {"checkpoint": name, "corruption": corruption, "strength": strength, "predicted": predicted}
                    )
        return pa.Table.from_pylist(rows, schema=CORRUPTED)

    def _all_probabilities(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """By checkpoint, float32 [n, 7]; each image is in memory once for all of them."""
        found = {name: self._probabilities(network, pixels) for name, network in self._networks.items()}
        if self._task.contenders[-1].kind == ENSEMBLE:
            found[ENSEMBLE] = np.mean([p.astype(np.float64) for p in found.values()], axis=0).astype(np.float32)
        return found

    def _probabilities(self, network: Network, pixels: np.ndarray) -> np.ndarray:
        result = np.empty((len(pixels), NUM_CLASSES), np.float32)
        for start in range(0, len(pixels), self._task.batch_size):
            rows = slice(start, start + self._task.batch_size)
            with self._pulse.batch():
                seen = [network.predict(view) for view in views(pixels[rows], self._task.tta)]
            result[rows] = np.mean(seen, axis=0, dtype=np.float64) if len(seen) > 1 else seen[0]
        return result


def _predictions(block: pa.Table, name: str, probabilities: np.ndarray, errors: list[str | None]) -> pa.Table:
    for row in np.flatnonzero(~np.isfinite(probabilities).all(axis=1)):
        errors[row] = errors[row] or NOT_FINITE
    missing = np.array([error is not None for error in errors])
    # Runtimes round: nothing outside 0 to 1 is a probability.
    probabilities = np.clip(probabilities, 0, 1)
    columns: list[Any] = [
        pa.array([name] * len(errors), pa.string()),
        *(block.column(column).combine_chunks() for column in ("image_id", "usage", "label")),
        pa.array(probabilities.argmax(axis=1).astype(np.int8), mask=missing),
        *(pa.array(np.ascontiguousarray(probabilities[:, c]), mask=missing) for c in range(NUM_CLASSES)),
        pa.array(errors, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=PREDICTIONS)


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(content: bytes) -> pa.Table:
    """The table that a scored block holds."""
    return pa.ipc.open_stream(content).read_all()
