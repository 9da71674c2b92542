"""Decode chunks in parallel and hand the results back in order: on threads here, or over a Ray cluster.

Whatever the number of threads or workers, the results are the same, in the same order.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fer_data.errors import UserError
from fer_data.rows import Decoded
from fer_data.sources import Chunk

# Chunks under way per worker: one being decoded, one waiting. More would only hold memory.
AHEAD = 2

Job = TypeVar("Job")


def decode_all(chunks: Iterable[Chunk], workers: int | None = None) -> Iterator[Decoded]:
    """The rows of each chunk, in order: on the cores at hand, or on `workers` CPUs of a Ray cluster.

    The cluster is the one this process is connected to, else RAY_ADDRESS, else one started here, on
    the loopback address, and ended afterwards. Raises UserError when it has fewer CPUs than `workers`.
    """
    return _on_threads(chunks) if workers is None else _on_ray(chunks, workers)


def _on_threads(chunks: Iterable[Chunk]) -> Iterator[Decoded]:
    cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(cores)
    try:
        yield from _in_order(chunks, lambda chunk: pool.submit(chunk.decode), lambda job: job.result(), cores * AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(chunks: Iterable[Chunk], workers: int) -> Iterator[Decoded]:
    import ray

    with _cluster(ray):
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if not 1 <= workers <= cpus:
            raise UserError(f"--workers {workers}: the Ray cluster has {cpus} CPUs; ask for 1 to {cpus}")
        decoder: Any = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Decoder)
        actors = deque(decoder.remote() for _ in range(workers))

        def submit(chunk: Chunk) -> Any:
            actors.rotate(-1)
            return actors[0].decode.remote(chunk)

        def result(job: Any) -> Decoded:
            try:
                return ray.get(job)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise UserError(str(error.cause)) from error
                raise

        yield from _in_order(chunks, submit, result, workers * AHEAD)


class _Decoder:
    """A process on the cluster: it lives through many chunks, so that an archive is opened once."""

    def decode(self, chunk: Chunk) -> Decoded:
        return chunk.decode()


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _check_reachable(address)
    here = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    except ConnectionError as error:
        raise UserError(f"no Ray cluster answers at RAY_ADDRESS={address}: start it or unset it") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises UserError when nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at RAY_ADDRESS={address}: start it or unset it") from error


def _in_order(
    chunks: Iterable[Chunk],
    submit: Callable[[Chunk], Job],
    result: Callable[[Job], Decoded],
    window: int,
) -> Iterator[Decoded]:
    under_way: deque[Job] = deque()
    for chunk in chunks:
        under_way.append(submit(chunk))
        if len(under_way) >= window:
            yield result(under_way.popleft())
    while under_way:
        yield result(under_way.popleft())
