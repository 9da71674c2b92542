"""Actors that stop without dying, or hang in a batch, are noticed and killed, so that Ray starts them again."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import state
from ray.actor import ActorHandle


def _interval(seconds: float) -> float:
    return min(1.0, seconds / 4)


class Pulse:
    """Tells a `PulseMonitor` that this actor lives, from a thread, unless a batch has taken `seconds` already."""

    def __init__(self, monitor: ActorHandle, seconds: float) -> None:
        self._monitor, self._seconds = monitor, seconds
        self._batch_began: float | None = None
        self._actor = ray.get_runtime_context().current_actor
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is done inside must not take too long."""
        self._batch_began = time.monotonic()
        try:
            yield
        finally:
            self._batch_began = None

    def _beat(self) -> None:
        while True:
            began = self._batch_began
            if began is None or time.monotonic() - began < self._seconds:
                self._monitor.hear.remote(self._actor, os.getpid())
            time.sleep(_interval(self._seconds))


@ray.remote(num_cpus=0)
class PulseMonitor:
    """Kills the actors of which it has heard once, and then not for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._heard: dict[Any, tuple[float, ActorHandle, int]] = {}
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def hear(self, actor: ActorHandle, pid: int) -> None:
        self._heard[actor._actor_id] = time.monotonic(), actor, pid

    def _watch(self) -> None:
        while True:
            time.sleep(_interval(self._seconds))
            for actor_id, (heard, actor, pid) in list(self._heard.items()):
                if time.monotonic() - heard < self._seconds:
                    continue
                try:
                    # One that has died meanwhile is being started again, which takes a while.
                    now = state.actors(actor_id.hex())
                    if now.get("State") == "ALIVE" and now.get("Pid") == pid:
                        ray.kill(actor, no_restart=False)
                except Exception:  # Whatever it was, nobody else watches: it is tried again at the next look.
                    logging.getLogger(__name__).exception("cannot end an actor that is stuck")
                else:
                    self._heard.pop(actor_id, None)
