"""Score images with Ray Data: read tasks feed a pool of actors, and results stream back unit by unit."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.actor import ActorHandle
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.ray_internals import allow_actor_options
from fer_data.errors import UserError
from jobs.evaluation.scoring.actor import About, Scorer, ScoringTask
from jobs.evaluation.scoring.batching import default_batch
from jobs.evaluation.scoring.heartbeat import HeartbeatMonitor
from jobs.evaluation.scoring.packing import unpacked
from jobs.evaluation.scoring.placement import Pool
from jobs.evaluation.scoring.ray_source import AnyUnit, Read, UnitSource
from jobs.evaluation.scoring.units import Unit

MAX_RESTARTS = 3
"""How often each actor may die."""
_DEATHS = (RayActorError, NodeDiedError, WorkerCrashedError, ObjectLostError)


@dataclass(frozen=True)
class Scored:
    """The results of one unit: tables of the task's schema and of CORRUPTED, and what the actor reports."""

    unit: int
    predictions: pa.Table
    corrupted: pa.Table
    about: About


Hear = Callable[[int, int], None]
"""Told every second how many images a pool of actors has to score, and how many went through a network so far."""


def score(
    read: Read[AnyUnit],
    units: Sequence[AnyUnit],
    task: ScoringTask,
    pool: Pool,
    *,
    readers: int | None = None,
    hear: Hear = lambda images, passes: None,
) -> Iterator[Scored]:
    """The results of each of `units` once, in any order. `readers` units are read at once, by default one per worker.

    An actor or a read task that dies is restarted and its unit is repeated; so is an actor without a heartbeat for
    the task's `stall_timeout`. When an actor dies too often, a new pool takes the units that are left, unless the
    last pool scored none. Raises UserError when a contender or the data cannot be used, RuntimeError when a unit is
    missing at the end.
    """
    _quiet()
    allow_actor_options()
    missing = {unit.index: unit for unit in units}
    while missing:
        before = len(missing)
        try:
            for scored in _stream(read, list(missing.values()), task, pool, readers or pool.workers, hear):
                unit = missing.pop(scored.unit)
                images = unit.images_in(scored.predictions)
                if images != unit.rows * len(task.contenders):
                    raise RuntimeError(f"{unit.file_name} came back with {images} images")
                yield scored
        except _DEATHS:
            if len(missing) == before:
                raise
        else:
            break
    if missing:
        rows = sum(unit.rows for unit in missing.values())
        raise RuntimeError(f"{len(missing)} units with {rows} images were never scored")


def units_per_call(task: ScoringTask, units: Sequence[Unit], workers: int) -> int:
    """Units per call of an actor: enough to fill a batch, few enough to leave units for every actor."""
    batch = task.batch_size or default_batch(task.arithmetic.gpu)
    rows = sum(unit.rows for unit in units) / len(units)
    return max(1, min(round(batch / rows), len(units) // workers))


def _stream(
    read: Read[AnyUnit], units: Sequence[AnyUnit], task: ScoringTask, pool: Pool, readers: int, hear: Hear
) -> Iterator[Scored]:
    """The results of `units` from one pool of actors."""
    size = min(pool.workers, len(units))
    # On the driver's machine, so that it does not die with another machine.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    monitor = HeartbeatMonitor.options(scheduling_strategy=here).remote(task.stall_timeout)  # type: ignore[attr-defined]
    scored = ray.data.read_datasource(
        UnitSource(read, units),
        # The actors reserve the CPUs. What reading takes of them, the actors wait for anyway.
        num_cpus=0,
        concurrency=min(readers, len(units)),
        override_num_blocks=len(units),
    ).map_batches(
        Scorer,
        fn_constructor_args=(task, monitor),
        batch_size=units_per_call(task, units, pool.workers),
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        # By default Ray Data restarts actors for ever, which would hide a model that crashes its process.
        max_restarts=MAX_RESTARTS,
        # Each call to an actor on a lost machine counts as a failed try until Ray restarts the actor elsewhere.
        max_task_retries=-1,
    )
    over = threading.Event()
    threading.Thread(target=_follow, args=(monitor, sum(unit.rows for unit in units), hear, over), daemon=True).start()
    try:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            numbers, abouts, *packs = batch.columns
            for unit, said, predictions, corrupted in zip(numbers, abouts, *map(unpacked, packs), strict=True):
                about = About(**json.loads(said.as_py()))
                if about.mistake:
                    raise UserError(about.mistake)
                yield Scored(unit.as_py(), predictions, corrupted, about)
    finally:
        over.set()
        ray.kill(monitor)  # It holds references to the actors, which would keep them alive.


def _follow(monitor: ActorHandle, images: int, hear: Hear, over: threading.Event) -> None:
    while not over.wait(1):
        with suppress(RayError):  # The driver finds out itself if the cluster is gone.
            passes: Any = ray.get(monitor.images.remote(), timeout=10)
            hear(images, passes)


def _quiet() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
