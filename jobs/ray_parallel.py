"""Run a function on many items on the CPUs of a Ray cluster: `fer_data.parallel.Run` with processes for threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from cluster.connect import connect
from fer_data.errors import UserError
from fer_data.parallel import Item, Result, Shared, in_order


def run_on_ray(
    function: Callable[[Shared, Item], Result], shared: Shared, items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """A `Run` on `workers` CPUs of the cluster that `connect` starts or joins.

    Each machine keeps one copy of the arrays in `shared`. Ray restarts a worker that dies. Raises UserError when no
    cluster answers, when it has fewer CPUs than `workers`, and for a mistake in the data that a worker finds.
    """
    connect()
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if not 1 <= workers <= cpus:
        raise UserError(f"--workers {workers}: the Ray cluster has {cpus} CPUs; ask for 1 to {cpus}")
    worker: Any = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Worker)
    # In a list, because Ray does not restart an actor whose arguments are objects of its store.
    one_copy = [ray.put(shared)]
    actors = deque(worker.remote(function, one_copy) for _ in range(workers))

    def submit(item: Item) -> ray.ObjectRef:
        actors.rotate(-1)
        return actors[0].run.remote(item)

    yield from in_order(items, submit, result_of, workers=workers)


class _Worker:
    """A process on the cluster. It runs many items, so that it opens each archive only once."""

    def __init__(self, function: Callable[[Any, Any], Any], shared: list[ray.ObjectRef]) -> None:
        self._function, self._shared = function, ray.get(shared[0])

    def run(self, item: Any) -> Any:
        return self._function(self._shared, item)


def result_of(job: ray.ObjectRef) -> Any:
    """What a task of Ray returns. A UserError that it raised is raised here as it was."""
    try:
        return ray.get(job)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from error
        raise
