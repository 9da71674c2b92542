"""Scoring with Ray Data: read tasks feed a pool of actors; what they predict streams back, shard by shard."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.connect import wait_for_room, worker_resources
from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.pulse import PulseMonitor
from jobs.evaluation.scorer import About, Scorer, ScoringTask, from_bytes
from jobs.evaluation.shards import Shard
from jobs.evaluation.source import ShardSource

MAX_RESTARTS = 3
"""How often each actor may die."""
_DEATHS = (RayActorError, NodeDiedError, WorkerCrashedError, ObjectLostError)


@dataclass(frozen=True)
class Share:
    """What each actor reserves: whole CPUs, and GPUs, which may be a fraction."""

    cpus: int
    gpus: float


@dataclass(frozen=True)
class Scored:
    """What came of one shard: its predictions (`schemas.PREDICTIONS`), those on corrupted images

    (`scorer.CORRUPTED`), and what the actor says about itself.
    """

    shard: int
    predictions: pa.Table
    corrupted: pa.Table
    about: About


def share_of(options: EvaluateOptions, say: Callable[[str], None]) -> Share:
    """What each of the options' workers gets of the cluster. Raises UserError when it has too little."""
    each = {"CPU": options.cpus_per_worker or 1} | ({"GPU": 1} if options.device == "gpu" else {})
    return wait_for_room(
        lambda nodes: _share_of(options, nodes), minutes=options.wait, wanted=[each] * options.workers, say=say
    )


def _share_of(options: EvaluateOptions, nodes: list[dict]) -> Share:
    gpus = sum(node["Resources"].get("GPU", 0) for node in nodes if node["Alive"])
    if options.device == "gpu" and not gpus:
        raise UserError("--device gpu: the cluster has no GPU")
    on_gpu = gpus and options.device != "cpu"
    each = (options.gpus_per_worker or min(1.0, gpus / options.workers)) if on_gpu else 0.0
    if each * options.workers > gpus:
        raise UserError(f"--workers {options.workers} of {each:g} GPUs each, but the cluster has {gpus:g}")
    found = worker_resources(nodes, workers=options.workers, device="cpu", cpus_per_worker=options.cpus_per_worker)
    return Share(found.cpus, each)


def score(
    dataset: PreparedDataset, shards: Sequence[Shard], task: ScoringTask, workers: int, share: Share
) -> Iterator[Scored]:
    """What comes of each of `shards`, in any order, each once.

    An actor or a read task that dies is started again and its shard done anew, and so is an actor that has not been
    heard of for the task's `stall_timeout`; when too many have died, all begin again with what is left, as long as
    something was scored meanwhile. Raises UserError when a checkpoint cannot be used or the data cannot be read,
    RuntimeError when a shard is missing at the end.
    """
    _quiet()
    # Ray will drop these two options, and has no others yet for how often an actor may restart.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
    missing = {shard.index: shard for shard in shards}
    while missing:
        before = len(missing)
        try:
            for scored in _stream(dataset, list(missing.values()), task, workers, share):
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


def _stream(
    dataset: PreparedDataset, shards: Sequence[Shard], task: ScoringTask, workers: int, share: Share
) -> Iterator[Scored]:
    """What actors of one pool say of `shards`."""
    # With the driver, so that no machine that goes away takes it along.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    monitor = PulseMonitor.options(scheduling_strategy=here).remote(task.stall_timeout)  # type: ignore[attr-defined]
    scored = ray.data.read_datasource(
        ShardSource(dataset, shards),
        # The actors hold the processors; reading ahead is a fraction of their work.
        num_cpus=0,
        concurrency=max(1, min(workers, len(shards))),
        override_num_blocks=len(shards),
    ).map_batches(
        Scorer,
        fn_constructor_args=(task, monitor),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=min(workers, len(shards)), max_tasks_in_flight_per_actor=2),
        num_cpus=share.cpus,
        num_gpus=share.gpus or None,
        # Ray Data's own default, restarting for ever, would never tell of a model that crashes its process.
        max_restarts=MAX_RESTARTS,
        # A machine that is gone is no longer reached for a while before its actors restart, and each call that does
        # not reach one counts.
        max_task_retries=-1,
    )
    try:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                about = About(**json.loads(row["about"]))
                if about.mistake:
                    raise UserError(about.mistake)
                yield Scored(row["shard"], from_bytes(row["predictions"]), from_bytes(row["corrupted"]), about)
    finally:
        ray.kill(monitor)  # It knows the actors, and what is known does not end.


def _quiet() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
