"""When a scoring actor signals that it is alive."""

import time
from types import SimpleNamespace

import ray

from jobs.evaluation.scoring.heartbeat import Heartbeat


def test_a_batch_that_takes_too_long_silences_the_actor_until_it_is_done(monkeypatch):
    beats: list[float] = []
    monitor = SimpleNamespace(beat=SimpleNamespace(remote=lambda actor, pid: beats.append(time.monotonic())))
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(current_actor="me"))
    heartbeat = Heartbeat(monitor, 0.2)
    with heartbeat.batch():
        time.sleep(1)
        silence = time.monotonic() - beats[-1]
    before = len(beats)
    deadline = time.monotonic() + 60
    while len(beats) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert silence > 0.3
    assert len(beats) > before
