"""Decode the chunks of a raw data set on the CPUs of a Ray cluster."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import ray

from cluster.connect import connect
from fer_data.decoding import in_order
from fer_data.errors import UserError
from fer_data.rows import Decoded
from fer_data.sources import Chunk


def decode_on_ray(chunks: Iterable[Chunk], workers: int) -> Iterator[Decoded]:
    """The rows of each chunk, in order, decoded on `workers` CPUs of the cluster that `connect` starts or joins.

    Ray restarts a worker that dies. Raises UserError when no cluster answers, when it has fewer CPUs than `workers`,
    and for a mistake in the data that a worker finds.
    """
    connect()
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if not 1 <= workers <= cpus:
        raise UserError(f"--workers {workers}: the Ray cluster has {cpus} CPUs; ask for 1 to {cpus}")
    decoder: Any = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Decoder)
    actors = deque(decoder.remote() for _ in range(workers))

    def submit(chunk: Chunk) -> ray.ObjectRef:
        actors.rotate(-1)
        return actors[0].decode.remote(chunk)

    yield from in_order(chunks, submit, _result, workers=workers)


class _Decoder:
    """A process on the cluster. It decodes many chunks, so that it opens each archive only once."""

    def decode(self, chunk: Chunk) -> Decoded:
        return chunk.decode()


def _result(job: ray.ObjectRef) -> Decoded:
    try:
        return ray.get(job)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from error
        raise
