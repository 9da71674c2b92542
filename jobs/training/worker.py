"""What every rank of a training run does: epochs, validation, checkpoints. It knows ranks, not Ray's driver."""

import time
from collections import deque
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import ray.train
import tensorflow as tf

from fer_data.augment_draws import draw
from fer_data.batches import TrainingBatches, ordered_batches
from fer_data.errors import UserError
from fer_data.splits import share, split
from fer_models.base_weights import load_base_weights
from fer_models.calibration import apply_temperature, fit_temperature, tempered
from fer_models.card import Card
from fer_models.checkpoint import load_model, load_training_state, save_checkpoint
from fer_models.factory import create_model, set_precision, weights_of
from fer_models.metrics import summarise
from jobs.telemetry import Telemetry
from jobs.training.collectives import Collectives
from jobs.training.fused_batch_norm import with_fused_batch_norm
from jobs.training.precision import POLICIES, common_policy, fastest_policy
from jobs.training.run_folder import RunFolder
from jobs.training.schedule import learning_rate, plateau_reductions, why_finished
from jobs.training.step import TrainingStep, create_optimizer
from jobs.training.task import Task
from jobs.training.watchdog import Watchdog

VALIDATION_BATCH = 256
METRIC_ROWS = 65_536
"""Training metrics describe at most this many of an epoch's last predictions, so that memory stays bounded."""


_TOLD = [
    *("epoch", "workers", "images_per_second", "training_loss", "training_accuracy"),
    *("validation_loss", "validation_accuracy", "validation_macro_f1"),
]
"""What of a finished epoch the run's metrics show."""


def run_worker(task: Task) -> None:
    """One rank of the run: set the process up, then train to the end or to the early stop.

    A user's mistake (a damaged part, weights that do not fit, a full disk)
    goes to the progress board, and all ranks leave without an exception, which
    Ray would take for a crash and try again in vain.
    """
    context = ray.train.get_context()
    _configure_tensorflow(task.threads)
    collectives = Collectives(context.get_world_rank(), context.get_world_size())
    mistake, worker = ray.get(task.progress.mistake.remote()), None
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
        raise  # The other ranks are waiting for this one: Ray ends them, and the next attempt leaves above.


class _Worker:
    def __init__(self, task: Task, collectives: Collectives) -> None:
        config, rank, world_size = task.config, collectives.rank, collectives.world_size
        self.task, self.config, self.collectives = task, config, collectives
        self.folder = RunFolder(task.run_uri)
        self.telemetry = Telemetry(run=task.name, model=config.model)
        self.rank_telemetry = Telemetry(run=task.name, model=config.model, rank=str(rank))
        self.watchdog = Watchdog(task.stall_timeout, lambda why: self._say(f"rank {rank}: {why}"))
        whole = split(task.dataset, "training", config.protocol)
        self.training = share(task.dataset, whole, config.train_fraction)
        self.validation = split(task.dataset, "validation", config.protocol)
        self.batches = TrainingBatches(
            task.dataset,
            self.training,
            global_batch=config.batch_size,
            seed=config.seed,
            rank=rank,
            world_size=world_size,
        )
        latest = self._latest_checkpoint()
        self.history: list[dict[str, Any]] = list(latest.metrics) if latest else []
        self.precision = latest.precision if latest else self._agree_on_precision()

        keras.utils.set_random_seed(config.seed)
        model = self._create_model(self.precision)
        if not latest:
            load_base_weights(model, config.backbone.weights)
        model = with_fused_batch_norm(model)
        optimizer = create_optimizer(config.optimizer, self.precision)
        weights = class_weights(config.class_weights, self.training.class_counts)
        teachers = [with_fused_batch_norm(load_model(uri)[0]) for uri in config.distillation.teacher]
        for teacher in teachers:
            set_precision(teacher, self.precision)
        self.step = TrainingStep(config, model, optimizer, collectives, weights, teachers)
        # Validated and saved in float32, whatever the precision of training: what is measured is what is kept.
        self.serving = self._create_model("float32")
        self._serving_weights = weights_of(self.serving)
        self._predict = tf.function(lambda pixels: self.serving(pixels, training=False))
        if latest:
            self.step.restore(load_training_state(self.folder.checkpoint(latest.epoch))[0])

    def _create_model(self, precision: str) -> keras.Model:
        backbone = self.config.backbone
        options: dict[str, Any] = {}
        if self.config.model == "compact":
            options = {"width": self.config.width}
        elif self.config.model == "resnet50":
            preprocessing = "divide_by_255" if backbone.preprocessing == "auto" else backbone.preprocessing
            options = {"input_size": backbone.input_size, "head": backbone.head, "preprocessing": preprocessing}
        return create_model(self.config.model, dropout=self.config.dropout, precision=precision, **options)

    def run(self) -> None:
        if self.history and self.collectives.rank == 0:
            self._say(f"resuming after epoch {len(self.history)}")
            self.folder.publish(self.config, self.history, self.task.keep)
            self._report_epoch()
        while not why_finished(self.config, self.history):
            epoch = len(self.history) + 1
            if not self._may_begin(epoch):
                return
            with self.watchdog:
                row = self._train_epoch(epoch)
                self.step.synchronise_statistics()
                self._check_ranks_agree(epoch)
                for variable, value in zip(self._serving_weights, self.step.serving_weights(), strict=True):
                    variable.assign(value)
                row |= self._validate()
                self.history.append(row)
                mistake = self._save(epoch) if self.collectives.rank == 0 else None
                # All ranks leave together; an exception would be taken for a crash, and tried again in vain.
                if self.collectives.gather_ints([mistake is not None]).any():
                    if mistake:
                        ray.get(self.task.progress.fail.remote(mistake))
                    return
                ray.train.report(row)

    def _may_begin(self, epoch: int) -> bool:
        """Whether the run is to go on; waits, where a sweep has not decided yet."""
        answer: bool | None = True
        if self.collectives.rank == 0:
            while (answer := ray.get(self.task.progress.may_begin.remote(epoch))) is None:
                time.sleep(0.05)
        return bool(self.collectives.gather_ints([int(bool(answer))])[0, 0])

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        config, steps = self.config, self.batches.steps_per_epoch
        reductions = plateau_reductions(config, self.history)
        self.step.start_epoch(epoch)
        kept: deque[tuple[np.ndarray, tf.Tensor]] = deque()
        kept_rows, losses = 0, []
        began = last_report = time.perf_counter()
        rate = config.optimizer.learning_rate
        for batch in self.batches.epoch(epoch):
            done = (epoch - 1) * steps + batch.step
            rate = learning_rate(
                config.schedule,
                config.optimizer.learning_rate,
                epochs=config.epochs,
                progress=(done + 1) / steps,
                reductions=reductions,
            )
            draws = draw(
                config.augmentation,
                seed=config.seed,
                epoch=epoch,
                step=batch.step,
                global_batch=config.batch_size,
                rows=batch.rows,
            )
            loss, probabilities = self.step(batch.pixels, batch.labels, draws, rate, done)
            self.watchdog.beat()
            losses.append(loss)
            kept.append((batch.labels, probabilities))
            kept_rows += len(batch.labels)
            if kept_rows - len(kept[0][0]) >= METRIC_ROWS // self.collectives.world_size:
                kept_rows -= len(kept.popleft()[0])
            if time.perf_counter() - last_report > 1:
                last_report = time.perf_counter()
                self._report(epoch, batch.step + 1, loss, last_report - began)
        mean_loss = float(np.mean([float(loss) for loss in losses]))
        seconds = time.perf_counter() - began
        labels = np.concatenate([rows for rows, _ in kept])
        probabilities = np.concatenate([rows.numpy() for _, rows in kept])
        metrics = _summarise(*self._gather(labels, probabilities))
        row = {
            "epoch": epoch,
            "seconds": seconds,
            "images_per_second": steps * config.batch_size / seconds,
            "workers": self.collectives.world_size,
            "communication_share": self.step.communication_seconds / seconds,
            "learning_rate": rate,
        }
        self.rank_telemetry.set(communication_share=row["communication_share"])
        # The loss that was minimised (smoothed, weighted, mixed), over the whole epoch.
        return row | {f"training_{name}": value for name, value in (metrics | {"loss": mean_loss}).items()}

    def _report(self, epoch: int, step: int, loss: tf.Tensor, seconds: float) -> None:
        """Tell whoever watches that `step` steps of the epoch took `seconds`."""
        self.rank_telemetry.set(communication_share=self.step.communication_seconds / seconds)
        if self.collectives.rank == 0:
            each = seconds / step
            self.telemetry.set(
                step_seconds=each, images_per_second=self.config.batch_size / each, training_loss=float(loss)
            )
            steps = self.batches.steps_per_epoch
            self.task.progress.update.remote(epoch=epoch, step=step, steps=steps, loss=float(loss), seconds=seconds)

    def _report_epoch(self) -> None:
        row = self.history[-1]
        self.telemetry.set(
            step_seconds=row["seconds"] / self.batches.steps_per_epoch, **{name: row[name] for name in _TOLD}
        )

    def _validate(self) -> dict[str, float | None]:
        """Metrics over every validation row, each scored once, by one rank, untouched; calibrates the serving model."""
        labels, probabilities = [], []
        shares = ordered_batches(
            self.task.dataset,
            self.validation,
            batch_size=VALIDATION_BATCH,
            rank=self.collectives.rank,
            world_size=self.collectives.world_size,
        )
        for pixels, truth in shares:
            # One shape for all batches, so that one graph serves them.
            padded = np.pad(pixels, ((0, VALIDATION_BATCH - len(pixels)), (0, 0), (0, 0), (0, 0)))
            labels.append(truth)
            probabilities.append(self._predict(padded).numpy()[: len(pixels)])
            self.watchdog.beat()
        truth, said = self._gather(
            np.concatenate(labels or [np.empty(0, np.int64)]),
            np.concatenate(probabilities or [np.empty((0, 7), np.float32)]),
        )
        temperature = {}
        if self.config.calibrate:
            fitted = fit_temperature(truth, said)
            apply_temperature(self.serving, fitted)
            said = tempered(said, fitted)
            temperature = {"validation_temperature": fitted}
        return {f"validation_{name}": value for name, value in _summarise(truth, said).items()} | temperature

    def _gather(self, labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of all ranks, the same on each."""
        rows = np.concatenate([labels[:, None].astype(np.float32), probabilities], axis=1)
        rows = self.collectives.gather_rows(rows)
        return rows[:, 0].astype(np.int64), rows[:, 1:]

    def _save(self, epoch: int) -> UserError | None:
        """Write the checkpoint and all that follows from it; returns why storage refused, if it did."""
        card = Card(
            model=self.config.model,
            epoch=epoch,
            parameters=self.serving.count_params(),
            precision=self.precision,
            protocol=self.config.protocol,
            data_fingerprint=self.task.dataset.manifest.fingerprint,
            configuration=asdict(self.config),
            metrics=self.history,
        )
        try:
            save_checkpoint(self.folder.checkpoint(epoch), self.serving, card, self.step.state())
            self.folder.publish(self.config, self.history, self.task.keep)
        except UserError as mistake:
            return mistake
        if self.task.tensorboard:
            _write_tensorboard(self.task.run_uri, self.history[-1])
        self._report_epoch()
        self.task.progress.finish_epoch.remote(self.history[-1])
        return None

    def _latest_checkpoint(self) -> Card | None:
        """The checkpoint that rank 0 found, on every rank: they must all start from the same."""
        latest = self.folder.latest(self._say) if self.collectives.rank == 0 else None
        epoch = int(self.collectives.gather_ints([latest.epoch if latest else 0])[0, 0])
        if epoch == 0:
            return None
        return load_training_state(self.folder.checkpoint(epoch))[1]

    def _agree_on_precision(self) -> str:
        if self.config.precision != "auto":
            return self.config.precision
        codes = self.collectives.gather_ints([POLICIES.index(fastest_policy())])[:, 0]
        return common_policy([POLICIES[code] for code in codes])

    def _check_ranks_agree(self, epoch: int) -> None:
        """Raises RuntimeError unless all ranks hold the same weights, bit for bit."""
        digests = self.collectives.gather_ints(self.step.digest())
        if (digests != digests[0]).any():
            raise RuntimeError(f"the ranks hold different weights after epoch {epoch}: {digests.tolist()}")

    def _say(self, message: str) -> None:
        self.task.progress.say.remote(message)


def _summarise(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Each metric; None where one is not defined."""
    metrics = summarise(labels, probabilities)
    return {name: value if np.isfinite(value) else None for name, value in metrics.items()}


def class_weights(kind: str, counts: np.ndarray) -> np.ndarray:
    """Weight of each class in the loss, float [7]: 1, or rarer classes more, with mean 1 over the rows."""
    exponent = {"none": 0, "cube_root": 1 / 3, "square_root": 1 / 2, "balanced": 1}[kind]
    weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0) ** exponent
    return weights * counts.sum() / (weights * counts).sum()


def _configure_tensorflow(threads: int) -> None:
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(2)


def _write_tensorboard(run_uri: str, row: dict[str, Any]) -> None:
    writer = tf.summary.create_file_writer(f"{run_uri}/tensorboard")
    with writer.as_default(step=row["epoch"]):
        for name, value in row.items():
            if isinstance(value, float):
                tf.summary.scalar(name, value)
    writer.close()
