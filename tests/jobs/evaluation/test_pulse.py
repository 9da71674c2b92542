"""When an actor that scores tells that it lives."""

import time
from types import SimpleNamespace

import ray

from jobs.evaluation.pulse import Pulse


def test_a_batch_that_takes_too_long_silences_the_actor_until_it_is_done(monkeypatch):
    heard: list[float] = []
    monitor = SimpleNamespace(hear=SimpleNamespace(remote=lambda actor, pid: heard.append(time.monotonic())))
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(current_actor="me"))
    pulse = Pulse(monitor, 0.2)
    with pulse.batch():
        time.sleep(1)
        silence = time.monotonic() - heard[-1]
    told = len(heard)
    deadline = time.monotonic() + 60
    while len(heard) == told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert silence > 0.3
    assert len(heard) > told
