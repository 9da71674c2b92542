"""The Ray actor that scores: it holds the network of every contender and turns images into predictions."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from ray.actor import ActorHandle

from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_data.errors import UserError
from fer_data.rows import pixels_of
from jobs.evaluation.predictions import CORRUPTED, PROBABILITIES, SCORED
from jobs.evaluation.scoring.batching import Batches
from jobs.evaluation.scoring.contenders import ENSEMBLE, KERAS_KINDS, Contender
from jobs.evaluation.scoring.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from jobs.evaluation.scoring.heartbeat import Heartbeat
from jobs.evaluation.scoring.networks import Arithmetic, Network, load_network
from jobs.evaluation.scoring.packing import packed, unpacked
from jobs.gpus import keep_to_reserved_gpus, missing_gpu
from jobs.memory import peak_mib
from jobs.telemetry import Telemetry
from jobs.tensorflow_environment import tensorflow_environment

NOT_FINITE = "the model gave probabilities that are not finite"


@dataclass(frozen=True)
class ScoringTask:
    """What every actor of a run does. `name` is that of the report; `stall_timeout` is in seconds.

    `batch_size` None means the default of the device. `schema` is that of the predictions: what it has beside the
    contender and its results is a column of the images.
    """

    name: str
    contenders: tuple[Contender, ...]
    arithmetic: Arithmetic
    batch_size: int | None
    tta: str
    corruptions: bool
    stall_timeout: float
    schema: pa.Schema = SCORED


@dataclass(frozen=True)
class About:
    """What an actor reports with every unit: `parameters` and `warnings` by contender, and its peak memory.

    `mistake` is the error of the user's that keeps it from scoring.
    """

    parameters: dict[str, int | None]
    warnings: dict[str, list[str]]
    mistake: str | None = None
    pid: int = 0
    peak_mib: float = 0.0


class Scorer:
    """Scores units, which are rows of `ray_source.UnitSource`; the callable class of Ray Data's `map_batches`."""

    def __init__(self, task: ScoringTask, monitor: ActorHandle) -> None:
        # Ray Data would restart an actor that raises here, in vain where the user has made a mistake. So a mistake
        # travels with the first unit.
        os.environ |= tensorflow_environment()
        self._task = task
        self._heartbeat = Heartbeat(monitor, task.stall_timeout)
        self._telemetry = Telemetry(run=task.name)
        self._last: float | None = None
        self._mistake: str | None = None
        self._networks: dict[str, Network] = {}
        try:
            self._check_gpu()
            for contender in task.contenders:
                if contender.kind != ENSEMBLE:
                    self._networks[contender.name] = load_network(contender, task.arithmetic)
        except UserError as mistake:
            self._mistake = str(mistake)
        self._batches = {name: Batches(network, task.batch_size) for name, network in self._networks.items()}

    def _check_gpu(self) -> None:
        keep_to_reserved_gpus()
        if any(contender.kind in KERAS_KINDS for contender in self._task.contenders) and (message := missing_gpu()):
            raise UserError(message)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """A row for each unit: its index, `about` (JSON), and packed tables of `predictions` and `corrupted`."""
        self._mistake = self._mistake or next((m for m in batch.column("mistake").to_pylist() if m), None)
        scored = [(self._task.schema.empty_table(), CORRUPTED.empty_table())] * batch.num_rows
        if not self._mistake:
            blocks = list(unpacked(batch.column("images")))
            scored = self._score(blocks)
            self._report(sum(block.num_rows for block in blocks))
        return pa.table(
            {
                "unit": batch.column("unit"),
                "about": pa.array([json.dumps(asdict(self._about()))] * batch.num_rows),
                "predictions": packed([predictions for predictions, _ in scored]),
                "corrupted": packed([corrupted for _, corrupted in scored]),
            }
        )

    def _report(self, images: int) -> None:
        """Set the gauge of images per second since the previous call ended, which includes waiting for input."""
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

    def _score(self, blocks: list[pa.Table]) -> list[tuple[pa.Table, pa.Table]]:
        """The predictions of each block and its results on corrupted images; all blocks share the forward passes."""
        images = pa.concat_tables(blocks)
        pixels = pixels_of(images)
        ends = np.cumsum([block.num_rows for block in blocks])[:-1]
        predictions: list[list[pa.Table]] = [[] for _ in blocks]
        for name, probabilities in self._all_probabilities(pixels).items():
            for block, own, tables in zip(blocks, np.split(probabilities, ends), predictions, strict=True):
                tables.append(_predictions(block, name, own, self._task.schema, self._missing(name)))
        corrupted: list[list[dict[str, Any]]] = [[] for _ in blocks]
        for row in self._corrupted(images, pixels):
            for own, rows in zip(np.split(row["predicted"], ends), corrupted, strict=True):
                rows.append(row | {"predicted": own})
        return [
            (pa.concat_tables(tables), pa.Table.from_pylist(rows, schema=CORRUPTED))
            for tables, rows in zip(predictions, corrupted, strict=True)
        ]

    def _missing(self, name: str) -> list[int]:
        """The labels that a contender cannot give, or any member of the ensemble."""
        networks = list(self._networks.values()) if name == ENSEMBLE else [self._networks[name]]
        return sorted({label for network in networks for label in network.missing})

    def _corrupted(self, images: pa.Table, pixels: np.ndarray) -> Iterator[dict[str, Any]]:
        """Rows of CORRUPTED for all of `images`; none unless the task has corruptions."""
        if not self._task.corruptions:
            return
        seeds = images.column("pixels_hash").to_numpy()
        damaged = images.column("error").is_valid().to_numpy()
        labels = images.column("label").to_numpy()
        for corruption in CORRUPTIONS:
            for strength in STRENGTHS:
                changed = corrupt(pixels, corruption, strength, seeds)
                for name, probabilities in self._all_probabilities(changed).items():
                    unusable = damaged | ~np.isfinite(probabilities).all(axis=1) | np.isin(labels, self._missing(name))
                    predicted = np.where(unusable, -1, probabilities.argmax(axis=1)).astype(np.int8)
                    yield {"checkpoint": name, "corruption": corruption, "strength": strength, "predicted": predicted}

    def _all_probabilities(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """By contender, the probabilities of `pixels`: float32 [n, 7]."""
        found = {}
        for name, batches in self._batches.items():
            found[name] = batches.probabilities(pixels, self._task.tta, self._heartbeat.batch)
            self._heartbeat.scored(len(pixels))
        if self._task.contenders[-1].kind == ENSEMBLE:
            found[ENSEMBLE] = np.mean([p.astype(np.float64) for p in found.values()], axis=0).astype(np.float32)
        return found


def _predictions(
    block: pa.Table, name: str, probabilities: np.ndarray, schema: pa.Schema, lacking: Sequence[int]
) -> pa.Table:
    """Rows of `schema`. Those of a class that the model is `lacking` have an error: it could not be right on them."""
    errors: list[str | None] = block.column("error").to_pylist()
    if lacking and "label" in block.column_names:
        for row in np.flatnonzero(np.isin(block.column("label").to_numpy(), lacking)):
            errors[row] = errors[row] or f"the model has no class {CLASSES[block.column('label')[int(row)].as_py()]}"
    # Where no face was found there is nothing to predict, and no error.
    empty = block.column("face").is_null().to_numpy() if "face" in block.column_names else np.zeros(len(errors), bool)
    for row in np.flatnonzero(~np.isfinite(probabilities).all(axis=1) & ~empty):
        errors[row] = errors[row] or NOT_FINITE
    missing = np.array([error is not None for error in errors], bool) | empty
    # Rounding in a runtime can leave 0 to 1 by a little.
    probabilities = np.clip(probabilities, 0, 1)
    found: dict[str, Any] = {
        "checkpoint": pa.array([name] * len(errors), pa.string()),
        "predicted": pa.array(probabilities.argmax(axis=1).astype(np.int8), mask=missing),
        "error": pa.array(errors, pa.string()),
    }
    for c in range(NUM_CLASSES):
        found[PROBABILITIES[c]] = pa.array(np.ascontiguousarray(probabilities[:, c]), mask=missing)
    columns = [found[n] if n in found else block.column(n).combine_chunks() for n in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)
