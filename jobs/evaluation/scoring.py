"""Scoring with Ray Data: read tasks feed a pool of actors; what they predict streams back, shard by shard."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.connect import capacity, room_for, wait_for_room, worker_resources
from cluster.ray_internals import allow_actor_options
from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from jobs.evaluation.batching import default_batch
from jobs.evaluation.contenders import ENSEMBLE, Contender
from jobs.evaluation.networks import can_use_gpu
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.packing import unpacked
from jobs.evaluation.pulse import PulseMonitor
from jobs.evaluation.scorer import About, Scorer, ScoringTask
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


def share_of(options: EvaluateOptions, contenders: Sequence[Contender], say: Callable[[str], None]) -> Share:
    """What each of the options' workers gets of the cluster to score `contenders`; `say` hears of those without a GPU.

    Raises UserError when the cluster has too little, and when a GPU is asked for that no contender can use.
    """
    models = [contender for contender in contenders if contender.kind != ENSEMBLE]
    helpless = [contender.label for contender in models if not can_use_gpu(contender)]
    none_can = len(helpless) == len(models)
    if none_can and options.device == "gpu":
        raise UserError(
            f"--device gpu, but {', '.join(helpless)} can compute on processors alone (LiteRT files always, ONNX files "
            "without onnxruntime-gpu): leave --device out, or give Keras checkpoints"
        )
    cpus, gpus = options.cpus_per_worker or 1, options.gpus_per_worker or 1
    wanted: dict[str, float] = {"CPU": cpus} | ({"GPU": gpus} if options.device == "gpu" else {})
    share = wait_for_room(
        lambda nodes: place(nodes, options, use_gpus=not none_can),
        minutes=options.wait,
        wanted=[wanted] * options.workers,
        say=say,
    )
    if share.gpus and helpless:
        say(f"{', '.join(helpless)}: computes on processors, beside the others' GPUs")
    return share


def place(nodes: list[dict], options: EvaluateOptions, *, use_gpus: bool = True) -> Share:
    """What each of the options' workers gets on `nodes` (as from `ray.nodes()`), such that all fit at a time.

    Each has its CPUs and GPUs on one machine, and a part of a GPU on one GPU. Raises UserError when they do not fit.
    """
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"])
    if options.device == "gpu" and not gpus:
        raise UserError("--device gpu: the cluster has no GPU")
    if not gpus or not use_gpus or options.device == "cpu":
        found = worker_resources(nodes, workers=options.workers, device="cpu", cpus_per_worker=options.cpus_per_worker)
        return Share(found.cpus, 0.0)
    cpus = sum(int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"])
    fewest = options.cpus_per_worker or 1
    # Of Ray's ten-thousandths, rounded down: three times 0.3334 of a GPU is more than it has.
    shares = [10_000 // parts / 10_000 for parts in range(1, options.workers + 1)]
    for share in [options.gpus_per_worker] if options.gpus_per_worker else shares:
        most = options.cpus_per_worker or max(1, cpus // options.workers)
        for count in range(most, fewest - 1, -1):
            if room_for(nodes, count, share) >= options.workers:
                return Share(count, share)
    each = f"{options.gpus_per_worker:g} GPU(s)" if options.gpus_per_worker else "a share of a GPU"
    raise UserError(
        f"--workers {options.workers} needs {fewest} CPU(s) and {each} on one machine for each worker, but "
        f"{capacity(nodes)}: ask for fewer workers, or compute on processors: --device cpu"
    )


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
    allow_actor_options()
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


def shards_per_call(task: ScoringTask, shards: Sequence[Shard], workers: int) -> int:
    """How many shards an actor takes at a time: enough to fill a batch, but not so many that actors have none."""
    batch = task.batch_size or default_batch(task.arithmetic.gpu)
    rows = sum(shard.rows for shard in shards) / len(shards)
    return max(1, min(round(batch / rows), len(shards) // workers))


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
        batch_size=shards_per_call(task, shards, workers),
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
            numbers, abouts, *packs = batch.columns
            for shard, said, predictions, corrupted in zip(numbers, abouts, *map(unpacked, packs), strict=True):
                about = About(**json.loads(said.as_py()))
                if about.mistake:
                    raise UserError(about.mistake)
                yield Scored(shard.as_py(), predictions, corrupted, about)
    finally:
        ray.kill(monitor)  # It knows the actors, and what is known does not end.


def _quiet() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
