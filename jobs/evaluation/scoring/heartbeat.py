"""Actors that stop responding, or hang in a batch, are detected and killed, so that Ray restarts them."""

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


class Heartbeat:
    """Signals a `HeartbeatMonitor` from a thread, and stops while a batch takes longer than `seconds`."""

    def __init__(self, monitor: ActorHandle, seconds: float) -> None:
        self._monitor, self._seconds = monitor, seconds
        self._batch_began: float | None = None
        self._images = 0
        here = ray.get_runtime_context()
        self._me = here.get_actor_id(), here.current_actor, os.getpid()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Context of one batch, which must finish within `seconds`."""
        self._batch_began = time.monotonic()
        try:
            yield
        finally:
            self._batch_began = None

    def scored(self, images: int) -> None:
        """So many more images went through a network."""
        self._images += images

    def _beat(self) -> None:
        while True:
            began = self._batch_began
            if began is None or time.monotonic() - began < self._seconds:
                self._monitor.beat.remote(*self._me, self._images)
            time.sleep(_interval(self._seconds))


@ray.remote(num_cpus=0)
class HeartbeatMonitor:
    """Kills every actor that has signalled once and then not for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last_beats: dict[str, tuple[float, ActorHandle, int]] = {}
        self._images: dict[int, int] = {}
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def beat(self, actor_id: str, actor: ActorHandle, pid: int, images: int) -> None:
        """The actor is alive, in the process `pid`, in which so many images went through a network."""
        self._last_beats[actor_id] = time.monotonic(), actor, pid
        self._images[pid] = images

    def images(self) -> int:
        """How many images went through a network, in all processes; what died is in it."""
        return sum(self._images.values())

    def _watch(self) -> None:
        while True:
            time.sleep(_interval(self._seconds))
            for actor_id, (last, actor, pid) in list(self._last_beats.items()):
                if time.monotonic() - last < self._seconds:
                    continue
                try:
                    if runs_in(actor_id, pid):  # Otherwise Ray is restarting it already.
                        ray.kill(actor, no_restart=False)
                except Exception:  # No one else watches the actors: try again next time.
                    logging.getLogger(__name__).exception("cannot kill an actor that does not respond")
                else:
                    self._last_beats.pop(actor_id, None)
