"""What every rank of a training run does: epochs, validation, checkpoints."""

import time
from typing import Any

import ray
import ray.train

from cluster.ray_internals import machine_is_to_go
from fer_data.errors import UserError
from fer_models.factory import multiply_adds
from jobs.gpus import missing_gpu
from jobs.tensorflow_environment import set_up_tensorflow
from jobs.training.calls import Calls
from jobs.training.collectives import Collectives
from jobs.training.position import Position
from jobs.training.rank import Rank
from jobs.training.reporting import Reporter
from jobs.training.run_folder import RunFolder
from jobs.training.saving import Saver
from jobs.training.schedule import why_finished
from jobs.training.tally import EpochTally
from jobs.training.task import Task
from jobs.training.watchdog import Watchdog

_ASKED_SECONDS = 0.5
"""How often validation asks whether the run is to be left."""


class _Left(Exception):
    """The run is to be left during validation."""


def run_worker(task: Task) -> None:
    """One rank of the run: set the process up, then train to the end or to the early stop.

    A user's mistake (a damaged part, weights that do not fit, a full disk) goes to the progress board, and all ranks
    return without an exception. Ray would treat an exception as a crash and retry in vain.
    """
    context = ray.train.get_context()
    if context.get_world_rank() == 0:
        ray.get(task.progress.begin.remote())  # Before any rank can ask for more.
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
        self.saver = Saver(task, self.folder, self.rank, self.report.epochs)
        self.unsettled: dict[str, Any] | None = None
        self.calls = Calls(task, self.rank, collectives, self._say)
        self.began = self.asked_at = 0.0
        self.last_step_at: float | None = None
        self.between: float | None = None

    def run(self) -> None:
        if self.collectives.rank == 0:
            self._resume()
        try:
            while not why_finished(self.config, self.history):
                epoch = len(self.history) + 1
                if not self._may_begin(epoch):
                    break
                with self.watchdog:
                    if not self._epoch(epoch):
                        return
            with self.watchdog:
                if self._settle():
                    self._stand(f"after epoch {len(self.history)}")
        finally:
            self.calls.close()

    def _resume(self) -> None:
        """Say where the run goes on, and bring the run's folder up to date."""
        position = self.rank.position
        if position:
            steps = self.rank.batches.steps_per_epoch
            self._say(f"resuming in epoch {position.epoch}, after step {position.step} of {steps}")
        elif self.history:
            self._say(f"resuming after epoch {len(self.history)}")
        if self.history:
            self.folder.publish(self.config, self.history, self.task.keep)
            self.report.epochs(self.history)  # The worker before may have saved the last without reporting it.

    def _epoch(self, epoch: int) -> bool:
        """Train and validate one epoch. False when the run is left."""
        began = time.perf_counter()
        tally = self._train(epoch)
        if tally is None:
            return False
        before = tally.seconds_before
        row = self._training_row(epoch, tally)
        # Before the ranks' statistics are averaged, as at every other position.
        position = Position.take(epoch, tally, row["training_seconds"], self.rank.state, self.collectives)
        self.rank.state.synchronise_statistics(self.collectives)
        self._check_ranks_agree(epoch)
        if not self._settle():
            return False
        self.rank.serving.set_weights(self.rank.state.serving_weights())
        trained = time.perf_counter()
        try:
            row |= self.rank.serving.validate(
                calibrate=self.config.select if self.config.calibrate else None, beat=self._beat
            )
        except _Left:
            self.saver.begin_position(self.history, position)
            self._stand(self._where(position))
            return False
        now = time.perf_counter()
        row |= {"seconds": before + now - began, "validation_seconds": now - trained}
        self.history.append(row)
        self.unsettled = row
        answers = position.arrays.get("answers")
        if answers is not None:
            self.rank.answers.keep(epoch, answers)
        if self.collectives.rank == 0:
            self.saver.begin_epoch(self.history, answers)
        return True

    def _may_begin(self, epoch: int) -> bool:
        """Whether the run continues; waits while a sweep has not decided."""
        answer: bool | None = True
        if self.collectives.rank == 0:
            while (answer := ray.get(self.task.progress.may_begin.remote(epoch))) is None:
                self.saver.check()  # If the write has failed, the sweep would wait forever.
                time.sleep(0.05)
        return bool(self.collectives.gather_ints([int(bool(answer))])[0, 0])

    def _train(self, epoch: int) -> EpochTally | None:
        """All steps of `epoch` that are not done yet; None when the run is left before the last."""
        position = self.rank.start_epoch(epoch)
        tally = EpochTally(
            *(self.rank.batches.rows, self.config.batch_size, position.arrays if position else None),
            keeps_answers=self.rank.answers.wanted(epoch),
        )
        self.began = shown = time.perf_counter()
        self.between = None if self.last_step_at is None else self.began - self.last_step_at
        self.began -= tally.seconds_before

        def goes_on(step: int, idle: bool) -> bool:
            return self._goes_on(epoch, step, idle, tally)

        for call, learning_rate, outcome in self.calls.of(epoch, tally.steps, self.history, goes_on=goes_on):
            tally.add(call, learning_rate, outcome)
            self.watchdog.beat()
            self.saver.check()
            if (now := time.perf_counter()) - shown > 1:
                shown = now
                self.report.steps(
                    epoch,
                    tally.steps,
                    seconds=now - self.began,
                    communication=tally.communication_seconds(),
                    loss=tally.last_loss(),
                )
        self.last_step_at = time.perf_counter()
        return tally if tally.steps == self.rank.batches.steps_per_epoch else None

    def _training_row(self, epoch: int, tally: EpochTally) -> dict[str, Any]:
        assert self.last_step_at is not None
        seconds = self.last_step_at - self.began
        share = tally.communication_seconds() / seconds
        self.report.communication_share(share)
        return {
            "epoch": epoch,
            "seconds": None,
            "training_seconds": seconds,
            "validation_seconds": None,
            "writing_seconds": None,
            "between_seconds": self.between,
            **self.report.speed(tally.steps * self.config.batch_size / seconds),
            "workers": self.collectives.world_size,
            "communication_share": share,
            "learning_rate": tally.learning_rate,
            **{f"training_{name}": value for name, value in tally.metrics(self.collectives).items()},
        }

    def _goes_on(self, epoch: int, step: int, idle: bool, tally: EpochTally) -> bool:
        """Whether the call at `step` may begin; saves the position before it if that is due and the device `idle`."""
        order = ray.get(self.task.progress.next_call.remote(epoch, step, machine_is_to_go()))
        if order == "on":
            return True
        if not idle:
            return False
        where = f"after epoch {epoch - 1}"
        if step:
            seconds = time.perf_counter() - self.began
            position = Position.take(epoch, tally, seconds, self.rank.state, self.collectives)
            if self.collectives.rank == 0:
                self.saver.begin_position(self.history, position)
            where = self._where(position)
        if order == "save":
            return True
        self._stand(where)
        while order == "rest":  # Ray ends this process, to start another number of workers.
            time.sleep(1)
        return False

    def _where(self, position: Position) -> str:
        return f"in epoch {position.epoch}, after step {position.step} of {self.rank.batches.steps_per_epoch}"

    def _stand(self, where: str) -> None:
        """Tell the board, once all is written, that this run is saved and not trained further for now."""
        if self.collectives.rank == 0:
            self.saver.wait()
            ray.get(self.task.progress.stand.remote(where))

    def _beat(self) -> None:
        """Called between batches of validation. Raises _Left, on rank 0 alone, when the run is to be left."""
        self.watchdog.beat()
        if self.collectives.rank == 0 and time.monotonic() - self.asked_at > _ASKED_SECONDS:
            self.asked_at = time.monotonic()
            if ray.get(self.task.progress.is_left.remote()):
                raise _Left

    def _settle(self) -> bool:
        """Wait until the last epoch's checkpoint is written; False when storage failed, which the board then reports.

        All ranks learn the result together. Ray would treat an exception as a crash and retry in vain.
        """
        if self.unsettled is None:
            return True
        mistake = None
        try:
            self.saver.wait()
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
