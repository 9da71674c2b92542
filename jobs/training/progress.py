"""Show the progress of a run: a live line on a terminal, and a line per epoch everywhere."""

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_data.errors import UserError


class ProgressBoard:
    """The class of an actor through which rank 0 reports to the driver, and the driver allows or stops further epochs.

    With `gated`, no epoch begins before `allow` permits it. `name` is the run's; the driver knows the rows of its first
    `finished` epochs.
    """

    def __init__(self, name: str, *, finished: int, gated: bool = False) -> None:
        self._name = name
        self._allowed: int | None = 0 if gated else None
        self._stopped = False
        self._lines: list[str | dict[str, Any]] = []
        self._now: dict[str, Any] | None = None
        self._mistake: UserError | None = None
        self._finished = finished

    def __repr__(self) -> str:
        return f"ProgressBoard({self._name})"  # The actor's name in Ray's dashboard.

    def say(self, message: str) -> None:
        self._lines.append(message)

    def lose(self, ranks: list[int], workers: int | None) -> None:
        """Say that the workers of `ranks` died, of so many if their number is fixed."""
        names = " and ".join(str(rank + 1) for rank in ranks) + (f" of {workers}" if workers else "")
        self.say(
            f"worker{'s' * (len(ranks) > 1)} {names} lost; waiting for room, then on from epoch {self._finished + 1}"
        )

    def fail(self, mistake: UserError) -> None:
        """Record a mistake of the user, which ends the run."""
        self._mistake = mistake

    def allow(self, epoch: int) -> None:
        """Permit the epochs up to `epoch`."""
        self._allowed = epoch

    def stop(self) -> None:
        """End the run after the current epoch."""
        self._stopped = True

    def may_begin(self, epoch: int) -> bool | None:
        """Whether `epoch` may begin; None while it is undecided."""
        if self._stopped:
            return False
        return True if self._allowed is None or epoch <= self._allowed else None

    def mistake(self) -> UserError | None:
        return self._mistake

    def update(self, **now: Any) -> None:
        self._now = now

    def finish_epochs(self, rows: list[dict[str, Any]]) -> None:
        """Take the rows of finished epochs, of which some may be known."""
        self._lines += [row for row in rows if row["epoch"] > self._finished]
        self._now = None
        self._finished = max(self._finished, rows[-1]["epoch"])

    def finished(self) -> int:
        """The last finished epoch; 0 for none."""
        return self._finished

    def take(self, seen: int) -> tuple[list[str | dict[str, Any]], dict[str, Any] | None]:
        """The lines after the first `seen`, and the progress of the current epoch."""
        return self._lines[seen:], self._now


class ProgressDisplay:
    """Shows a board on the console; a context manager. Calls `on_epoch` with the row of each finished epoch."""

    _QUIET_SECONDS = 60.0

    def __init__(
        self,
        board: Any,
        console: Console,
        *,
        epochs: int,
        batch_size: int,
        on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        self._board, self._console, self._on_epoch = board, console, on_epoch
        self._epochs, self._batch_size = epochs, batch_size
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._seen = 0
        self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._show(live=False)

    def _follow(self) -> None:
        if self._console.is_terminal:
            with self._bar:
                task = self._bar.add_task("starting the workers", total=None, loss=float("nan"), speed="")
                while not self._stop.wait(0.3):
                    self._show(live=True, task=task)
        else:
            while not self._stop.wait(2):
                self._show(live=True)

    def _show(self, *, live: bool, task: Any = None) -> None:
        try:
            lines, now = ray.get(self._board.take.remote(self._seen), timeout=10)
        except (ray.exceptions.RayError, TimeoutError):
            return  # The cluster is shutting down; the driver reports why.
        self._seen += len(lines)
        for line in lines:
            self._print(line if isinstance(line, str) else epoch_line(line, self._epochs))
            if isinstance(line, dict):
                self._on_epoch(line)
        if now is None or not live:
            return
        speed = speed_text(now["step"] * self._batch_size / now["seconds"], now["mfu"])
        if task is not None:
            self._bar.update(
                task,
                description=f"epoch {now['epoch']}/{self._epochs}",
                completed=now["step"],
                total=now["steps"],
                loss=now["loss"],
                speed=speed,
            )
        elif time.monotonic() - self._last_line > self._QUIET_SECONDS:
            self._print(
                f"epoch {now['epoch']}/{self._epochs}  step {now['step']}/{now['steps']}  "
                f"loss {now['loss']:.3f}  {speed}"
            )

    def _print(self, line: str) -> None:
        self._console.out(line)
        self._last_line = time.monotonic()


def speed_text(images_per_second: float, mfu: float | None) -> str:
    """The speed, and on GPUs with a known peak the share of it that is used."""
    return f"{images_per_second:,.0f} images/s" + ("" if mfu is None else f"  MFU {mfu:.0%}")


def _time_text(row: dict[str, Any]) -> str:
    """The wall time of an epoch and, in a row that has them, its parts."""
    parts = [(name, row.get(f"{name}_seconds")) for name in ("training", "validation", "writing")]
    shown = ", ".join(f"{name} {seconds:.0f}" for name, seconds in parts if seconds is not None)
    return f"{row['seconds']:.0f} s" + (f" ({shown})" if shown else "")


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """The figures of an epoch on one line."""
    unseen = row.get("validation_accuracy_unseen")  # No column in the history of an older run.
    return (
        f"epoch {row['epoch']}/{epochs}  {_time_text(row)}  "
        f"{speed_text(row['images_per_second'], row.get('mfu'))}  "
        f"training loss {row['training_loss']:.3f} accuracy {row['training_accuracy']:.1%}  "
        f"validation loss {row['validation_loss']:.3f} accuracy {row['validation_accuracy']:.1%} "
        + ("" if unseen is None else f"(unseen {unseen:.1%}) ")
        + f"macro-F1 {row['validation_macro_f1']:.3f}"
    )
