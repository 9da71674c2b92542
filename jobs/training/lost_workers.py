"""Say in the job's own output that a worker or its machine has died."""

from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train import UserCallback


class LostWorkers(UserCallback):
    """Ray Train's controller calls it with the exceptions of a group of `workers`; it tells `board`, a ProgressBoard.

    Exceptions in a worker that lives are not its business: they end in a traceback, or in a mistake on the board.
    """

    def __init__(self, board: ActorHandle, workers: tuple[int, int]) -> None:
        self._board, self._workers = board, workers

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        lost = sorted(rank for rank, error in worker_exceptions.items() if _is_death(error))
        if lost:
            least, most = self._workers
            self._board.lose.remote(lost, most if least == most else None)


def _is_death(error: BaseException | None) -> bool:
    """Whether the worker's process is gone. Ray wraps that in an exception of its own."""
    while error is not None:
        if isinstance(error, RayActorError):
            return True
        error = getattr(error, "health_check_failure", None) or error.__cause__
    return False
