"""What every rank of a training run does: epochs, validation, checkpoints."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
import ray.train
import tensorflow as tf

from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.factory import multiply_adds
from jobs.gpus import missing_gpu
from jobs.tensorflow_environment import set_up_tensorflow
from jobs.training import schedule
from jobs.training.collectives import Collectives
from jobs.training.compilation import user_mistake
from jobs.training.feed import Call, device
from jobs.training.loop import Outcome
from jobs.training.profiling import Profiler
from jobs.training.rank import Rank
from jobs.training.reporting import Reporter
from jobs.training.run_folder import RunFolder
from jobs.training.saving import EpochWriter
from jobs.training.schedule import plateau_reductions, why_finished
from jobs.training.tally import EpochTally
from jobs.training.task import Task
from jobs.training.watchdog import Watchdog

_TRIAL_CALLS = 2
"""The first calls have one step each; the second measures how long a step takes."""


def run_worker(task: Task) -> None:
    """One rank of the run: set the process up, then train to the end or to the early stop.

    A user's mistake (a damaged part, weights that do not fit, a full disk) goes to the progress board, and all ranks
    return without an exception. Ray would treat an exception as a crash and retry in vain.
    """
    context = ray.train.get_context()
    mistake, worker = ray.get(task.progress.mistake.remote()), None
    if mistake is None and (missing := missing_gpu()):
        mistake = UserError(missing)
        ray.get(task.progress.fail.remote(mistake))
    set_up_tensorflow(threads=task.threads, operations=2, deterministic=task.deterministic)
    collectives = Collectives(context.get_world_rank(), context.get_world_size())
    if mistake is None:
        try:
            worker = _Worker(task, collectives)
        except UserError as error:
            mistake = error
            ray.get(task.progress.fail.remote(error))
    if collectives.gather_ints([worker is None]).any():
        return
    assert worker is not None
    try:
        worker.run()
    except UserError as error:
        ray.get(task.progress.fail.remote(error))
        raise  # The other ranks wait for this one. Ray ends them, and the next attempt returns above.


class _Worker:
    """The epochs of one rank, which compute with a `Rank`."""

    def __init__(self, task: Task, collectives: Collectives) -> None:
        config = task.config
        self.task, self.config, self.collectives = task, config, collectives
        self.watchdog = Watchdog(task.stall_timeout, lambda why: self._say(f"rank {collectives.rank}: {why}"))
        self.folder = RunFolder(task.run_uri)
        self.rank = Rank(task, collectives, self.folder, self._say)
        self.history = list(self.rank.history)
        self.report = Reporter(
            task,
            collectives,
            steps_per_epoch=self.rank.batches.steps_per_epoch,
            multiply_adds=multiply_adds(self.rank.serving.model),
            precision=self.rank.precision,
        )
        self.writer = EpochWriter(self.folder, config, task.keep)
        self.unsettled: dict[str, Any] | None = None
        self.profiler = Profiler(task.profile if collectives.rank == 0 else None, self._say)
        self.calls_made = 0
        self.last_step_at: float | None = None

    def run(self) -> None:
        if self.history and self.collectives.rank == 0:
            self._say(f"resuming after epoch {len(self.history)}")
            self.folder.publish(self.config, self.history, self.task.keep)
            self.report.epochs(self.history)  # The worker before may have saved the last without reporting it.
        try:
            while not why_finished(self.config, self.history):
                epoch = len(self.history) + 1
                if not self._may_begin(epoch):
                    break
                began = time.perf_counter()
                with self.watchdog:
                    row = self._train_epoch(epoch)
                    self.rank.state.synchronise_statistics(self.collectives)
                    self._check_ranks_agree(epoch)
                    if not self._settle():
                        return
                    self.rank.serving.set_weights(self.rank.state.serving_weights())
                    trained = time.perf_counter()
                    row |= self.rank.serving.validate(
                        calibrate=self.config.select if self.config.calibrate else None, beat=self.watchdog.beat
                    )
                    now = time.perf_counter()
                    row |= {"seconds": now - began, "validation_seconds": now - trained}
                    self.history.append(row)
                    self._begin_save(row)
            with self.watchdog:
                self._settle()
        finally:
            self.profiler.close()
            self.rank.feed.close()

    def _may_begin(self, epoch: int) -> bool:
        """Whether the run continues; waits while a sweep has not decided."""
        answer: bool | None = True
        if self.collectives.rank == 0:
            while (answer := ray.get(self.task.progress.may_begin.remote(epoch))) is None:
                self.writer.check()  # If the write has failed, the sweep would wait forever.
                time.sleep(0.05)
        return bool(self.collectives.gather_ints([int(bool(answer))])[0, 0])

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        self.rank.start_epoch(epoch)
        tally = EpochTally(self.rank.feed.rows, self.collectives.world_size)
        began = shown = time.perf_counter()
        between = None if self.last_step_at is None else began - self.last_step_at
        for call, learning_rate, outcome in self._calls(epoch):
            tally.add(call, learning_rate, outcome)
            if (now := time.perf_counter()) - shown > 1:
                shown = now
                self.report.steps(
                    epoch,
                    tally.steps,
                    seconds=now - began,
                    communication=tally.communication_seconds(),
                    loss=tally.last_loss(),
                )
        self.last_step_at = time.perf_counter()
        seconds = self.last_step_at - began
        share = tally.communication_seconds() / seconds
        self.report.communication_share(share)
        return {
            "epoch": epoch,
            "seconds": None,
            "training_seconds": seconds,
            "validation_seconds": None,
            "writing_seconds": None,
            "between_seconds": between,
            **self.report.speed(tally.steps * self.config.batch_size / seconds),
            "workers": self.collectives.world_size,
            "communication_share": share,
            "learning_rate": tally.learning_rate,
            **{f"training_{name}": value for name, value in tally.metrics(self.collectives).items()},
        }

    def _calls(self, epoch: int) -> Iterator[tuple[Call, float, Outcome]]:
        """The epoch's finished calls, with the last learning rate of each and its outcome.

        A GPU computes the next call meanwhile.
        """
        step, steps = 0, self.rank.batches.steps_per_epoch
        reductions = plateau_reductions(self.config, self.history)
        under_way: deque[tuple[Call, float, Outcome]] = deque()
        while step < steps or under_way:
            began = time.perf_counter()
            if step < steps:
                call = self.rank.feed.next(epoch, step)
                rates = [self._learning_rate(epoch, step + i, reductions) for i in range(call.steps)]
                self.profiler.before_call()
                under_way.append((call, rates[-1], self._run(call, rates)))
                step += call.steps
                self.calls_made += 1
            at_once = device() == "CPU:0" or self.calls_made <= _TRIAL_CALLS or step == steps
            if at_once or len(under_way) > 1:
                done = under_way.popleft()
                self._wait_for(done[2])
                if self.calls_made == _TRIAL_CALLS:
                    self._resize_calls(time.perf_counter() - began)
                self.profiler.after_call()
                self.watchdog.beat()
                self.writer.check()
                yield done

    def _run(self, call: Call, rates: list[float]) -> Outcome:
        """One call. Raises UserError when memory is too small or XLA lacks an operation."""
        while True:
            compiled = self.rank.loop.compiled
            try:
                return self.rank.loop(
                    call.window, call.row, call.device_labels, call.draws, rates, self._ema_decays(call)
                )
            except tf.errors.OpError as error:
                mistake = user_mistake(error, compiled=compiled)
                if mistake is None:
                    raise
                if not compiled or self.task.compile == "on" or self.calls_made or "memory" in str(mistake):
                    raise mistake from error
                self._say(f"{mistake}; this run continues without XLA")
                self.rank.loop.compiled = False
                self.rank.loop.trace()

    def _wait_for(self, outcome: Outcome) -> None:
        try:
            outcome.losses.numpy()
        except tf.errors.OpError as error:
            raise user_mistake(error, compiled=self.rank.loop.compiled) or error from error

    def _resize_calls(self, seconds_per_step: float) -> None:
        """Choose the number of steps per call from the time of a step; the same on all ranks."""
        wanted = self.rank.feed.steps_in(seconds_per_step)
        self.rank.feed.resize(int(self.collectives.gather_ints([wanted]).min()))

    def _learning_rate(self, epoch: int, step: int, reductions: int) -> float:
        steps = self.rank.batches.steps_per_epoch
        return schedule.learning_rate(
            self.config.schedule,
            self.config.optimizer.learning_rate,
            epochs=self.config.epochs,
            progress=((epoch - 1) * steps + step + 1) / steps,
            reductions=reductions,
        )

    def _ema_decays(self, call: Call) -> np.ndarray:
        """Lower decays at the start, so that the average forgets the initial weights."""
        done = (call.epoch - 1) * self.rank.batches.steps_per_epoch + call.first + np.arange(call.steps)
        return np.minimum(self.config.ema, (1 + done) / (10 + done))

    def _begin_save(self, row: dict[str, Any]) -> None:
        """Start to write the checkpoint of the epoch of `row`, which counts once that is done."""
        self.unsettled = row
        if self.collectives.rank:
            return
        card = Card(
            model=self.config.model,
            epoch=row["epoch"],
            parameters=self.rank.serving.model.count_params(),
            precision=self.rank.precision,
            protocol=self.config.protocol,
            data_fingerprint=self.task.dataset.manifest.fingerprint,
            configuration=asdict(self.config),
            metrics=list(self.history),
        )
        self.writer.begin(self.rank.serving.model, card, self.rank.state.arrays(), self.report.epochs)

    def _settle(self) -> bool:
        """Wait until the last epoch's checkpoint is written; False when storage failed, which the board then reports.

        All ranks learn the result together. Ray would treat an exception as a crash and retry in vain.
        """
        if self.unsettled is None:
            return True
        mistake = None
        try:
            self.writer.wait()
        except UserError as error:
            mistake = error
        if self.collectives.gather_ints([mistake is not None]).any():
            if mistake:
                self.report.fail(mistake)
            return False
        ray.train.report(self.unsettled)
        self.unsettled = None
        return True

    def _check_ranks_agree(self, epoch: int) -> None:
        """Raises RuntimeError unless all ranks hold the same weights, bit for bit."""
        if self.collectives.world_size == 1:
            return
        digests = self.collectives.gather_ints(self.rank.state.digest())
        if (digests != digests[0]).any():
            raise RuntimeError(f"the ranks hold different weights after epoch {epoch}: {digests.tolist()}")

    def _say(self, message: str) -> None:
        self.task.progress.say.remote(message)
