"""A scoring actor signals that it is alive; one that falls silent is killed and restarted."""

import os
import time
from collections.abc import Iterator

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from cluster.connect import start_local
from jobs.evaluation.scoring.heartbeat import Heartbeat, HeartbeatMonitor

pytestmark = pytest.mark.cluster
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def one_machine() -> Iterator[None]:
    ray.shutdown()
    start_local(num_cpus=2)
    yield
    ray.shutdown()


@ray.remote(num_cpus=0)
class Listener:
    """Notes when it hears, in seconds of the clock that all processes of this machine share."""

    def __init__(self) -> None:
        self._heard: list[float] = []

    def beat(self, *_: object) -> None:
        self._heard.append(time.monotonic())

    def heard(self) -> list[float]:
        return self._heard


@ray.remote(num_cpus=0, max_restarts=1)
class Worker:
    def __init__(self, monitor: ActorHandle, seconds: float) -> None:
        self._heartbeat = Heartbeat(monitor, seconds)

    def pid(self) -> int:
        return os.getpid()

    def work(self, seconds: float) -> tuple[float, float]:
        """When a batch of so many seconds began, and when it ended."""
        with self._heartbeat.batch():
            began = time.monotonic()
            time.sleep(seconds)
            return began, time.monotonic()


def test_a_batch_that_takes_too_long_silences_the_actor_until_it_is_done():
    listener = Listener.remote()
    ray.get(listener.heard.remote(), timeout=PATIENCE_SECONDS)  # It has started.
    worker = Worker.remote(listener, 0.2)
    began, ended = ray.get(worker.work.remote(2), timeout=PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while max(heard := ray.get(listener.heard.remote()), default=0) < ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # What was sent in time may arrive late.
    assert not [moment for moment in heard if began + 1 < moment < ended]


def test_an_actor_that_hangs_in_a_batch_is_killed_and_started_again():
    monitor = HeartbeatMonitor.remote(2.0)
    worker = Worker.remote(monitor, 2.0)
    before = ray.get(worker.pid.remote(), timeout=PATIENCE_SECONDS)
    with pytest.raises(RayActorError):
        ray.get(worker.work.remote(10 * PATIENCE_SECONDS), timeout=PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (after := pid_of(worker)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert after != before


def pid_of(worker: ActorHandle) -> int | None:
    """The process id; None while the actor is being started again."""
    try:
        return ray.get(worker.pid.remote(), timeout=PATIENCE_SECONDS)
    except RayActorError:
        return None
