"""Measure the latencies of a run in constant memory, and summarise them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

STAGES = ("track", "detect", "classify", "draw", "total")
_EDGES = np.geomspace(1e-3, 1e6, 1 + 9 * 120)
"""Edges of the histogram in milliseconds, 2 % apart."""


class Latencies:
    """The durations of each stage, as a histogram with bins of 2 %."""

    def __init__(self) -> None:
        self._counts = {stage: np.zeros(len(_EDGES) + 1, np.int64) for stage in STAGES}

    def add(self, stage: str, milliseconds: float) -> None:
        self._counts[stage][np.searchsorted(_EDGES, milliseconds)] += 1

    def quantile(self, stage: str, share: float) -> float:
        """The `share` quantile of the stage's durations in milliseconds, accurate to 2 %; nan without any."""
        counts = self._counts[stage].cumsum()
        if not counts[-1]:
            return float("nan")
        return float(_EDGES[min(int(np.searchsorted(counts, share * counts[-1])), len(_EDGES) - 1)])

    def table(self) -> list[str]:
        """A heading, and a line per stage that ran: its median and 95th percentile."""
        lines = [f"{'stage':10}{'50 %':>10}{'95 %':>10}"]
        for stage in STAGES:
            if self._counts[stage].any():
                lines.append(f"{stage:10}{self.quantile(stage, 0.5):7.1f} ms{self.quantile(stage, 0.95):7.1f} ms")
        return lines


@contextmanager
def timed(spent: dict[str, float], stage: str) -> Iterator[None]:
    """Sets `spent[stage]` to the milliseconds that the block took."""
    began = time.perf_counter()
    yield
    spent[stage] = (time.perf_counter() - began) * 1e3
