"""What Prometheus reads at a node while something runs there."""

import re
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from jobs.telemetry import METRICS, Telemetry

pytestmark = pytest.mark.cluster
LINE = re.compile(r"ray_(fer_\w+)\{(.*)\} (\S+)")


def told(port: int) -> dict[tuple[str, str], float]:
    """The values at a node's endpoint by metric and run."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = map(LINE.fullmatch, answer.read().decode().splitlines())
    return {(m[1], re.search('run="(.*?)"', m[2])[1]): float(m[3]) for m in lines if m}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the node of a Ray in this process tells its metrics, each second."""
    import ray

    from cluster.connect import connect

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_metrics_report_interval_ms", "1000")
        connect()
        try:
            yield ray.nodes()[0]["MetricsExportPort"]
        finally:
            ray.shutdown()


def test_what_is_told_once_stays_until_it_is_taken_back_or_closed(port):
    one, other = Telemetry(run="one", model="m"), Telemetry(run="other", model="m")
    with one, other:
        one.set(epoch=7, validation_loss=0.5)
        other.set(epoch=2)
        until(lambda: len(told(port)) == 3)
        time.sleep(4)  # Twice as long as Ray keeps what is not said again.
        assert told(port) == {("fer_epoch", "one"): 7, ("fer_validation_loss", "one"): 0.5, ("fer_epoch", "other"): 2}
        one.set(epoch=8, validation_loss=None)
        until(lambda: told(port) == {("fer_epoch", "one"): 8, ("fer_epoch", "other"): 2})
    until(lambda: not told(port))
    with pytest.raises(KeyError):
        one.set(no_such_metric=1.0)
    assert all(re.fullmatch(r"fer_[a-z0-9_]+", name) for name in METRICS)
