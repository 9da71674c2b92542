"""Place scoring workers on the cluster: what each reserves, such that all fit at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.connect import capacity, room, wait_for_room, worker_resources
from fer_data.commands import counted
from fer_data.errors import UserError
from jobs.evaluation.options import NetworkOptions
from jobs.evaluation.scoring.contenders import ENSEMBLE, Contender
from jobs.evaluation.scoring.networks import can_use_gpu
from jobs.gpus import OTHERWISE


@dataclass(frozen=True)
class Pool:
    """The number of workers, and what each reserves: whole CPUs, and GPUs, which may be a fraction."""

    workers: int
    cpus: int
    gpus: float


def find_room(options: NetworkOptions, contenders: Sequence[Contender], say: Callable[[str], None]) -> Pool:
    """The workers of `options`, placed on the cluster; waits for room as long as the options allow.

    `say` is told which contenders do not use the GPUs. Raises UserError when the cluster is too small, and when
    --device gpu is given but no contender can use a GPU.
    """
    models = [contender for contender in contenders if contender.kind != ENSEMBLE]
    helpless = [contender.label for contender in models if not can_use_gpu(contender)]
    none_can = len(helpless) == len(models)
    if none_can and options.device == "gpu":
        raise UserError(
            f"--device gpu, but {', '.join(helpless)} can compute on CPUs only (LiteRT files always, ONNX files "
            "without onnxruntime-gpu): leave --device out, or give Keras checkpoints"
        )
    cpus, gpus = options.cpus_per_worker or 1, options.gpus_per_worker or 1
    wanted: dict[str, float] = {"CPU": cpus} | ({"GPU": gpus} if options.device == "gpu" else {})
    pool = wait_for_room(
        lambda nodes: place(nodes, options, use_gpus=not none_can),
        minutes=options.wait,
        wanted=[wanted] * options.workers,
        say=say,
    )
    if pool.gpus and helpless:
        say(f"{', '.join(helpless)}: computes on CPUs; the others use GPUs")
    return pool


def place(nodes: list[dict], options: NetworkOptions, *, use_gpus: bool = True) -> Pool:
    """The workers of `options`, with the largest equal share of `nodes` (as from `ray.nodes()`) that fits for all.

    A worker has its CPUs and GPUs on one machine, and a fraction of a GPU on one GPU. Raises UserError when the workers
    do not fit.
    """
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"])
    if options.device == "gpu" and not gpus:
        raise UserError("--device gpu: the cluster has no GPU")
    if not gpus or not use_gpus or options.device == "cpu":
        found = worker_resources(nodes, workers=options.workers, device="cpu", cpus_per_worker=options.cpus_per_worker)
        return Pool(options.workers, found.cpus, 0.0)
    cpus = sum(int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"])
    fewest = options.cpus_per_worker or 1
    # Ray counts GPUs in ten-thousandths. Rounded down, because three times 0.3334 is more than one.
    shares = [10_000 // parts / 10_000 for parts in range(1, options.workers + 1)]
    for share in [options.gpus_per_worker] if options.gpus_per_worker else shares:
        most = options.cpus_per_worker or max(1, cpus // options.workers)
        for count in range(most, fewest - 1, -1):
            if room(nodes, count, share) >= options.workers:
                return Pool(options.workers, count, share)
    asked = options.gpus_per_worker
    each = f"{asked:g} GPU{'s' * (asked > 1)}" if asked else "a share of a GPU"
    raise UserError(
        f"--workers {options.workers} needs {counted(fewest, 'CPU')} and {each} on one machine for each worker, but "
        f"{capacity(nodes)}: ask for fewer workers, {OTHERWISE}"
    )
