"""Progress while images are scored: a live line on a terminal, elsewhere a line per minute."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_QUIET_SECONDS = 60.0


class ScoringProgress:
    """Shows how many of `total` images are scored; a context manager. Each goes through a network `passes` times."""

    def __init__(self, console: Console, total: int, *, passes: int = 1) -> None:
        self._console, self._total, self._passes, self._done = console, total, passes, 0
        self._first: tuple[float, int] | None = None
        self._last_time = self._last_line = time.monotonic()
        self._shown: tuple[float, float] | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting the workers", total=total, speed="")

    def __enter__(self) -> "ScoringProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, images: int) -> None:
        """Count `images` more as scored."""
        self._done += images
        self._last_time = time.monotonic()
        if self._first is None:  # Until then Ray and the models were starting.
            self._first = (self._last_time, self._done)
        self._show(self._done)

    def hear(self, left: int, passes: int) -> None:
        """Of the last `left` images, which are being scored, so many went through a network, counting each pass."""
        if passes:
            self._show(max(self._done, self._total - left + min(left, passes / self._passes)))

    def _show(self, images: float) -> None:
        now = time.monotonic()
        began, before = self._shown = self._shown or (now, images)
        rate = (images - before) / (now - began) if now > began else 0.0
        speed = f"{rate:,.{0 if rate >= 10 else 1}f} images/s" if rate else ""
        self._bar.update(self._task, description="scoring", completed=images, speed=speed)
        if not self._console.is_terminal and now - self._last_line > _QUIET_SECONDS:
            self._last_line = now
            self._console.out(f"{images:,.0f} of {self._total:,} images" + (f"  {speed}" if speed else ""))

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
