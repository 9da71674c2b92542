"""Run an epoch's steps, many in each call of the device, and say between calls where the epoch stands."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from jobs.training import schedule
from jobs.training.collectives import Collectives
from jobs.training.compilation import user_mistake
from jobs.training.feed import Call, device
from jobs.training.loop import Outcome
from jobs.training.profiling import Profiler
from jobs.training.rank import Rank
from jobs.training.schedule import plateau_reductions
from jobs.training.task import Task

_TRIAL_CALLS = 2
"""The first calls have one step each; the second measures how long a step takes."""

Done = tuple[Call, float, Outcome]
"""A finished call, the learning rate of its last step, and its outcome."""


class Calls:
    """The calls of one rank. A GPU computes one while the host prepares the next."""

    def __init__(self, task: Task, rank: Rank, collectives: Collectives, say: Callable[[str], None]) -> None:
        self._task, self._config, self._rank, self._collectives, self._say = task, task.config, rank, collectives, say
        self._profiler = Profiler(task.profile if collectives.rank == 0 else None, say)
        self._made = 0

    def close(self) -> None:
        """End the profile and the threads that prepare calls."""
        self._profiler.close()
        self._rank.feed.close()

    def of(
        self, epoch: int, step: int, history: Sequence[dict[str, Any]], *, goes_on: Callable[[int, bool], bool]
    ) -> Iterator[Done]:
        """The calls of `epoch` from `step` on, as they finish.

        Before each call, `goes_on(step, idle)` is asked, where `idle` says that no call is under way. If it denies that
        while one is, it is asked again once none is; then the calls end.
        """
        steps = self._rank.batches.steps_per_epoch
        reductions = plateau_reductions(self._config, history)
        under_way: deque[Done] = deque()
        while step < steps or under_way:
            waits = step < steps and not goes_on(step, not under_way)
            if waits and not under_way:
                return
            began = time.perf_counter()
            if step < steps and not waits:
                call = self._rank.feed.next(epoch, step)
                rates = [self._learning_rate(epoch, step + i, reductions) for i in range(call.steps)]
                self._profiler.before_call()
                under_way.append((call, rates[-1], self._run(call, rates)))
                step += call.steps
                self._made += 1
            at_once = device() == "CPU:0" or self._made <= _TRIAL_CALLS or step == steps or waits
            if at_once or len(under_way) > 1:
                done = under_way.popleft()
                self._wait_for(done[2])
                if self._made == _TRIAL_CALLS:
                    self._resize_calls(time.perf_counter() - began)
                self._profiler.after_call()
                yield done

    def _run(self, call: Call, rates: list[float]) -> Outcome:
        """One call. Raises UserError when memory is too small or XLA lacks an operation."""
        while True:
            compiled = self._rank.loop.compiled
            try:
                return self._rank.loop(
                    *(call.window, call.row, call.device_labels, call.draws, rates),
                    *(self._ema_decays(call), self._rank.answers.of(call)),
                )
            except tf.errors.OpError as error:
                mistake = user_mistake(error, compiled=compiled)
                if mistake is None:
                    raise
                if not compiled or self._task.compile == "on" or self._made or "memory" in str(mistake):
                    raise mistake from error
                self._say(f"{mistake}; this run continues without XLA")
                self._rank.loop.compiled = False
                self._rank.loop.trace()

    def _wait_for(self, outcome: Outcome) -> None:
        try:
            outcome.losses.numpy()
        except tf.errors.OpError as error:
            raise user_mistake(error, compiled=self._rank.loop.compiled) or error from error

    def _resize_calls(self, seconds_per_step: float) -> None:
        """Choose the number of steps per call from the time of a step; the same on all ranks."""
        wanted = self._rank.feed.steps_in(seconds_per_step)
        self._rank.feed.resize(int(self._collectives.gather_ints([wanted]).min()))

    def _learning_rate(self, epoch: int, step: int, reductions: int) -> float:
        steps = self._rank.batches.steps_per_epoch
        return schedule.learning_rate(
            self._config.schedule,
            self._config.optimizer.learning_rate,
            epochs=self._config.epochs,
            progress=((epoch - 1) * steps + step + 1) / steps,
            reductions=reductions,
        )

    def _ema_decays(self, call: Call) -> np.ndarray:
        """Lower decays at the start, so that the average forgets the initial weights."""
        done = (call.epoch - 1) * self._rank.batches.steps_per_epoch + call.first + np.arange(call.steps)
        return np.minimum(self._config.ema, (1 + done) / (10 + done))
