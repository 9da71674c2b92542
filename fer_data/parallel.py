"""Run a function on many items in parallel, with the results in order. `jobs.ray_parallel` does so on a cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

# Jobs under way per worker: one runs and one waits. More would only take memory.
AHEAD = 2

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Run(Protocol):
    """Calls a function of what all calls share and of an item, for each item. The results are in the items' order."""

    def __call__(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Iterable[Item]
    ) -> Iterator[Result]: ...


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


def run_on_threads(
    function: Callable[[Shared, Item], Result], shared: Shared, items: Iterable[Item]
) -> Iterator[Result]:
    """A `Run` on all cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(cores)
    try:
        yield from in_order(
            items, lambda item: pool.submit(function, shared, item), lambda job: job.result(), workers=cores
        )
    finally:
        pool.shutdown(cancel_futures=True)
