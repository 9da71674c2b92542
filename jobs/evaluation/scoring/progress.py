"""Progress while images are scored: a live line on a terminal, elsewhere a line per minute."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_QUIET_SECONDS = 60.0


class ScoringProgress:
    """Shows how many of `total` images are scored; a context manager."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._first: tuple[float, int] | None = None
        self._last_time = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting the workers", total=total, rate=0.0)

    def __enter__(self) -> "ScoringProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, images: int) -> None:
        """Count `images` more as scored."""
        now = time.monotonic()
        self._done += images
        self._last_time = now
        if self._first is None:  # Until then Ray and the models were starting.
            self._first = (now, self._done)
        self._bar.update(self._task, description="scoring", completed=self._done, rate=self.rate())
        rate = self.rate()
        if not self._console.is_terminal and now - self._last_line > _QUIET_SECONDS:
            self._last_line = now
            speed = f"  {rate:.0f} images/s" if rate else ""
            self._console.out(f"{self._done:,} of {self._total:,} images{speed}")

    def rate(self) -> float:
        """Images per second since the first call of `advance`; 0 until the second."""
        if self._first is None or self._last_time <= self._first[0]:
            return 0.0
        return (self._done - self._first[1]) / (self._last_time - self._first[0])


def print_warnings(about: Mapping[str, Any], console: Console) -> None:
    """Print what the actors warned of."""
    for name, warnings in about.get("warnings", {}).items():
        for warning in warnings:
            console.out(f"warning: {name}: {warning}")
