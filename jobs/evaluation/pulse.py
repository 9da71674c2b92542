"""Notice actors that stop without dying or hang in a batch, and kill them, so that Ray starts them again."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.actor import ActorHandle

from cluster.ray_internals import runs_in


def _interval(seconds: float) -> float:
    return min(1.0, seconds / 4)


class Pulse:
    """Reports to a `PulseMonitor`, from a thread, that this actor lives: no longer once a batch has taken `seconds`."""

    def __init__(self, monitor: ActorHandle, seconds: float) -> None:
        self._monitor, self._seconds = monitor, seconds
        self._batch_began: float | None = None
        here = ray.get_runtime_context()
        self._me = here.get_actor_id(), here.current_actor, os.getpid()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """The block is a batch. While it takes longer than `seconds`, nothing is reported."""
        self._batch_began = time.monotonic()
        try:
            yield
        finally:
            self._batch_began = None

    def _beat(self) -> None:
        while True:
            began = self._batch_began
            if began is None or time.monotonic() - began < self._seconds:
                self._monitor.hear.remote(*self._me)
            time.sleep(_interval(self._seconds))


@ray.remote(num_cpus=0)
class PulseMonitor:
    """Kills an actor that has reported before, and then not for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._heard: dict[str, tuple[float, ActorHandle, int]] = {}
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def hear(self, actor_id: str, actor: ActorHandle, pid: int) -> None:
        """The actor lives, in the process `pid`."""
        self._heard[actor_id] = time.monotonic(), actor, pid

    def _watch(self) -> None:
        while True:
            time.sleep(_interval(self._seconds))
            for actor_id, (heard, actor, pid) in list(self._heard.items()):
                if time.monotonic() - heard < self._seconds:
                    continue
                try:
                    if runs_in(actor_id, pid):  # Else it has died, and Ray is starting it again.
                        ray.kill(actor, no_restart=False)
                except Exception:  # Nobody else watches: whatever it was, the next look tries again.
                    logging.getLogger(__name__).exception("cannot end an actor that is stuck")
                else:
                    self._heard.pop(actor_id, None)
