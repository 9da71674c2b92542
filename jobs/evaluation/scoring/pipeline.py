"""Score shards with Ray Data: read tasks feed a pool of actors, and results stream back shard by shard."""

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
from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from jobs.evaluation.scoring.actor import About, Scorer, ScoringTask
from jobs.evaluation.scoring.batching import default_batch
from jobs.evaluation.scoring.heartbeat import HeartbeatMonitor
from jobs.evaluation.scoring.packing import unpacked
from jobs.evaluation.scoring.placement import Pool
from jobs.evaluation.scoring.ray_source import ShardSource
from jobs.evaluation.scoring.shards import Shard

MAX_RESTARTS = 3
"""How often each actor may die."""
_DEATHS = (RayActorError, NodeDiedError, WorkerCrashedError, ObjectLostError)


@dataclass(frozen=True)
class Scored:
    """The results of one shard: tables of SCORED and CORRUPTED, and what the actor reports."""

    shard: int
    predictions: pa.Table
    corrupted: pa.Table
    about: About


Hear = Callable[[int, int], None]
"""Told every second how many images a pool of actors has to score, and how many went through a network so far."""


def score(
    dataset: PreparedDataset,
    shards: Sequence[Shard],
    task: ScoringTask,
    pool: Pool,
    hear: Hear = lambda images, passes: None,
) -> Iterator[Scored]:
    """The results of each of `shards` once, in any order.

    An actor or a read task that dies is restarted and its shard is repeated; so is an actor without a heartbeat for
    the task's `stall_timeout`. When an actor dies too often, a new pool takes the shards that are left, unless the
    last pool scored none. Raises UserError when a contender or the data cannot be used, RuntimeError when a shard is
    missing at the end.
    """
    _quiet()
    allow_actor_options()
    missing = {shard.index: shard for shard in shards}
    while missing:
        before = len(missing)
        try:
            for scored in _stream(dataset, list(missing.values()), task, pool, hear):
                rows = missing.pop(scored.shard).rows * len(task.contenders)
                if scored.predictions.num_rows != rows:
                    raise RuntimeError(f"shard {scored.shard} came back with {scored.predictions.num_rows} rows")
                yield scored
        except _DEATHS:
            if len(missing) == before:
                raise
        else:
            break
    if missing:
        rows = sum(shard.rows for shard in missing.values())
        raise RuntimeError(f"{len(missing)} shards with {rows} rows were never scored")


def shards_per_call(task: ScoringTask, shards: Sequence[Shard], workers: int) -> int:
    """Shards per call of an actor: enough to fill a batch, few enough to leave shards for every actor."""
    batch = task.batch_size or default_batch(task.arithmetic.gpu)
    rows = sum(shard.rows for shard in shards) / len(shards)
    return max(1, min(round(batch / rows), len(shards) // workers))


def _stream(
    dataset: PreparedDataset, shards: Sequence[Shard], task: ScoringTask, pool: Pool, hear: Hear
) -> Iterator[Scored]:
    """The results of `shards` from one pool of actors."""
    size = min(pool.workers, len(shards))
    # On the driver's machine, so that it does not die with another machine.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    monitor = HeartbeatMonitor.options(scheduling_strategy=here).remote(task.stall_timeout)  # type: ignore[attr-defined]
    scored = ray.data.read_datasource(
        ShardSource(dataset, shards),
        # The actors reserve the CPUs. Reading takes a fraction of their time.
        num_cpus=0,
        concurrency=size,
        override_num_blocks=len(shards),
    ).map_batches(
        Scorer,
        fn_constructor_args=(task, monitor),
        batch_size=shards_per_call(task, shards, pool.workers),
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
    threading.Thread(target=_follow, args=(monitor, sum(s.rows for s in shards), hear, over), daemon=True).start()
    try:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            numbers, abouts, *packs = batch.columns
            for shard, said, predictions, corrupted in zip(numbers, abouts, *map(unpacked, packs), strict=True):
                about = About(**json.loads(said.as_py()))
                if about.mistake:
                    raise UserError(about.mistake)
                yield Scored(shard.as_py(), predictions, corrupted, about)
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
