"""Save the runs of a job when it is stopped."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray

from jobs.training.board import PREFIX


def saved_when_stopped(work: Callable[[], None], say: Callable[[str], None]) -> None:
    """Do `work`, which trains runs of this job, and save all of them when it is interrupted.

    For the main thread: `work` runs in another one. What stops the job is raised again, with where the runs stand,
    once each run is saved. A second signal ends the process.
    """
    failure: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    # A daemon, so that the process can end while it waits for Ray.
    thread = threading.Thread(target=do, name="training", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.5)
    except KeyboardInterrupt as stopped:
        places = save_runs(say)
        if places:
            stopped.args = (f"saved {', '.join(places)}; the same command goes on",)
        raise
    if failure:
        raise failure[0]


def save_runs(say: Callable[[str], None]) -> list[str]:
    """Let every run of this job save its position and return; where those stand that were training."""
    boards = []
    for name in ray.util.list_named_actors():
        if name.startswith(PREFIX):
            with suppress(ValueError):  # It has just ended.
                boards.append(ray.get_actor(name))
    training = [board for board in boards if _answer(board.leave.remote())]
    if training:
        say("saving; a second signal ends at once")
    places = []
    for board in training:
        while _answer(board.is_training.remote()):
            time.sleep(0.1)
        places.append(_answer(board.stands.remote()))
    return [place for place in places if place]


def _answer(question: Any) -> Any:
    """The answer of a board, or None when it is gone."""
    with suppress(ray.exceptions.RayError):
        return ray.get(question)
    return None
