"""Decode raw rows in parallel, with the results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fer_data.rows import Decoded
from fer_data.sources import Chunk

# Jobs under way per worker: one runs and one waits. More would only take memory.
AHEAD = 2

Item = TypeVar("Item")
Job = TypeVar("Job")
Result = TypeVar("Result")

Decode = Callable[[Iterable[Chunk]], Iterator[Decoded]]
"""Decodes chunks in parallel. The results are in the order of the chunks, whatever the number of workers."""


def in_order(
    items: Iterable[Item], submit: Callable[[Item], Job], result: Callable[[Job], Result], *, workers: int
) -> Iterator[Result]:
    """The result of each item, in order.

    `submit` starts the job of an item, and `result` waits for it. At most AHEAD jobs per worker are under way.
    """
    under_way: deque[Job] = deque()
    for item in items:
        under_way.append(submit(item))
        if len(under_way) >= workers * AHEAD:
            yield result(under_way.popleft())
    while under_way:
        yield result(under_way.popleft())


def decode_on_threads(chunks: Iterable[Chunk]) -> Iterator[Decoded]:
    """The rows of each chunk, in order, decoded on all cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(cores)
    try:
        yield from in_order(chunks, lambda chunk: pool.submit(chunk.decode), lambda job: job.result(), workers=cores)
    finally:
        pool.shutdown(cancel_futures=True)
