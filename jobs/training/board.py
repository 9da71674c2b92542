"""The board of a run: rank 0 reports to it, the driver reads it, and all ranks get their orders from it."""

import time
from typing import Any, Literal
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_data.errors import UserError

PREFIX = "progress-"
"""Begins the names of all boards among the actors of a job."""
Order = Literal["on", "save", "rest", "leave"]
"""What ranks do before a call of the training loop. rest: save the position and wait to be ended by Ray; leave: save
the position and return."""


class ProgressBoard:
    """The class of an actor through which rank 0 reports to the driver, and the driver gives orders to all ranks.

    With `gated`, no epoch begins before `allow` permits it. `name` is the run's; the driver knows the rows of its first
    `finished` epochs. A position is saved `minutes` after the last checkpoint or position.
    """

    _ANSWERS = 8

    def __init__(self, name: str, *, finished: int, minutes: float, gated: bool = False) -> None:
        self._name = name
        self._seconds = 60 * minutes
        self._saved_at = time.monotonic()
        self._answers: dict[tuple[int, int], Order] = {}
        self._training = self._left = self._machine_goes = False
        self._wish: Order = "on"
        self._stood: str | None = None
        self._allowed: int | None = 0 if gated else None
        self._stopped = False
        self._lines: list[str | dict[str, Any]] = []
        self._now: dict[str, Any] | None = None
        self._mistake: UserError | None = None
        self._finished = finished
        self._position: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"ProgressBoard({self._name})"  # The actor's name in Ray's dashboard.

    def begin(self) -> None:
        """New workers start: orders to those before are over, except for `leave`."""
        self._answers.clear()
        self._training = self._machine_goes = False
        self._wish = "leave" if self._left else "on"
        self._stood = None
        self._saved_at = time.monotonic()

    def next_call(self, epoch: int, step: int, machine_goes: bool) -> Order:
        """The order before the call at `step` of `epoch`, the same for all ranks; `step` is 0 at the epoch's start.

        `machine_goes` says that Ray has announced the end of a worker's machine.
        """
        self._training = True
        now = time.monotonic()
        if machine_goes and self._wish == "on":
            self._wish, self._machine_goes = "leave", True
        if (epoch, step) not in self._answers:
            due = step > 0 and now - self._saved_at >= self._seconds
            if step == 0 or due:
                self._saved_at = now
            self._answers[epoch, step] = "save" if due and self._wish == "on" else self._wish
            while len(self._answers) > self._ANSWERS:
                del self._answers[next(iter(self._answers))]
        return self._answers[epoch, step]

    def leave(self) -> bool:
        """Let the run save its position and return. False if there is nothing to save."""
        self._left, self._wish = True, "leave"
        return self.is_training()

    def is_left(self) -> bool:
        return self._left

    def rest(self) -> bool:
        """Let the ranks save their position and wait. False as for `leave`."""
        if self._wish == "on":
            self._wish = "rest"
        return self.is_training()

    def is_training(self) -> bool:
        """Whether ranks train something that is not saved yet."""
        return self._training and self._stood is None and self._mistake is None

    def stand(self, where: str) -> None:
        """The run is saved, at `where`, and trains no further for now."""
        self._stood = where

    def stands(self) -> str | None:
        """Where the run is saved, once it trains no further."""
        return self._stood

    def machine_goes(self) -> bool:
        """Whether the run returned because a machine goes, and is to be started anew."""
        return self._machine_goes and not self._left

    def say(self, message: str, *, once: bool = False) -> None:
        """Show `message`; with `once`, not if it has been shown before."""
        if not (once and message in self._lines):
            self._lines.append(message)

    def lose(self, ranks: list[int], workers: int | None) -> None:
        """Say that the workers of `ranks` died, of so many if their number is fixed."""
        names = " and ".join(str(rank + 1) for rank in ranks) + (f" of {workers}" if workers else "")
        epoch, step = self._finished + 1, 0
        if self._position and self._position[0] == epoch:
            step = self._position[1]
        where = f"epoch {epoch}" + (f", after step {step}" if step else "")
        self.say(f"worker{'s' * (len(ranks) > 1)} {names} lost; waiting for room, then on from {where}")

    def hold(self, epoch: int, step: int) -> None:
        """Know that the position after `step` of `epoch` is written."""
        self._position = epoch, step

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
        if self._stopped or self._left:
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


def start_board(name: str, **options: Any) -> Any:
    """The handle of a new `ProgressBoard` for the run `name`; `options` are its arguments."""
    # On this machine, so that the board survives the loss of any other machine.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0)(ProgressBoard)
    return board.options(name=f"{PREFIX}{uuid4().hex}", scheduling_strategy=here).remote(name, **options)
