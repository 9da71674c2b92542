"""One training step inside a graph: the gradients of a batch and the update. It deals only with tensors."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fer_data.augment import with_noise
from jobs.training.config import TrainConfig
from jobs.training.option_groups import OptimizerConfig
from jobs.training.stages import StageSchedule
from jobs.training.state import TrainingState


def create_optimizer(config: OptimizerConfig, precision: str) -> keras.Optimizer:
    """The configured optimizer; its learning rate is set before every step."""
    common: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
    }
    if config.optimizer == "sgd":
        common |= {"momentum": config.momentum, "nesterov": config.momentum > 0}
    elif config.optimizer == "adamw":
        common["weight_decay"] = config.weight_decay  # None would be AdamW's own default, which is not 0.
    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    optimizer = kinds[config.optimizer](**common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def softened(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """`probabilities`, float32 [n, 7], recomputed from their logits divided by `temperature`."""
    return keras.ops.softmax(keras.ops.log(keras.ops.clip(probabilities, 1e-7, 1)) / temperature, axis=-1)


class TrainingStep:
    """Gradients of the variables of `state`, and their update."""

    def __init__(self, config: TrainConfig, state: TrainingState, teachers: Sequence[keras.Model] = ()) -> None:
        self._config, self._state, self._teachers = config, state, teachers
        self._asks = bool(teachers)
        self._stages = StageSchedule(config, state.model)
        self._choose_variables()

    def start_epoch(self, epoch: int, *, asks: bool = True) -> bool:
        """Freeze and unfreeze stages for `epoch` (from 1). With `asks`, the teachers compute; else answers are given.

        Returns whether graphs of this step must be traced again.
        """
        asks = asks and bool(self._teachers)
        frozen, asked = self._stages.start_epoch(epoch), asks != self._asks
        if frozen:
            self._choose_variables()
        self._asks = asks
        return frozen or asked

    def _choose_variables(self) -> None:
        self.trained = self._state.model.trainable_variables
        self._rates = self._stages.rate_factors(self.trained)

    def gradients(
        self, images: tf.Tensor, noise: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, answers: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """The gradients of `trained` followed by the loss, the probabilities, float32 [n, 7], and the teachers' mean.

        The loss is this rank's part of the mean over the global batch. `images` uint8 [n, 48, 48, 1], `noise` as in
        `Draws` float32 [n, 2], `targets` float32 [n, 7], `weights` of the rows float32 [n]; `answers` float32 [n, 7]
        are the teachers' mean if they are not asked. With `micro_batch`, that many images are computed at a time, and
        their gradients are added up.
        """
        rows = images.shape[0]
        size = min(self._config.micro_batch or rows, rows)
        whole, rest = divmod(rows, size)
        if whole == 1 and not rest:
            return self._part(images, noise, targets, weights, answers)
        arrays = (images, noise, targets, weights, answers)
        start = [tf.zeros(v.shape, tf.float32) for v in self.trained] + [tf.zeros((), tf.float32)]
        found = [tf.TensorArray(tf.float32, size=whole, element_shape=(size, targets.shape[1])) for _ in range(2)]

        def accumulate(i: tf.Tensor, total: list[tf.Tensor], found: list[tf.TensorArray]) -> tuple:
            part = [_rows(array, i * size, size) for array in arrays]
            computed, *said = self._part(*part)
            return i + 1, _sums(total, computed), [each.write(i, rows) for each, rows in zip(found, said, strict=True)]

        _, total, found = tf.while_loop(
            lambda i, *_: i < whole, accumulate, (tf.constant(0), start, found), parallel_iterations=1
        )
        parts = [each.concat() for each in found]
        if rest:
            computed, *last = self._part(*(_rows(array, whole * size, rest) for array in arrays))
            total = _sums(total, computed)
            parts = [tf.concat(both, axis=0) for both in zip(parts, last, strict=True)]
        probabilities, answers = (tf.ensure_shape(each, (rows, targets.shape[1])) for each in parts)
        return total, probabilities, answers

    def _part(
        self, images: tf.Tensor, noise: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, answers: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Gradients and loss of some of a step's images, their probabilities, and the teachers' mean."""
        distillation = self._config.distillation
        if self._asks:
            # They see the same augmented images as the student, but without noise, of which they may know nothing.
            answers = sum(teacher(images, training=False) for teacher in self._teachers) / len(self._teachers)
        if self._config.augmentation.noise:
            images = with_noise(images, noise)
        with tf.GradientTape() as tape:
            probabilities = self._state.model(images, training=True)
            losses = keras.losses.categorical_crossentropy(
                targets, probabilities, label_smoothing=self._config.label_smoothing
            )
            if self._teachers:
                soft = keras.losses.categorical_crossentropy(
                    softened(answers, distillation.temperature), softened(probabilities, distillation.temperature)
                )
                # Gradients of softened probabilities shrink with the square of the temperature.
                share = distillation.distillation
                losses = (1 - share) * losses + share * distillation.temperature**2 * soft
            # Divided by the global batch, so that gradients of all ranks add up to its mean.
            loss = keras.ops.sum(weights * losses) / self._config.batch_size
            scaled = self._state.optimizer.scale_loss(loss)
        return [*tape.gradient(scaled, self.trained), loss], probabilities, answers

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, ema_decay: tf.Tensor) -> None:
        """Update the weights with the summed `gradients` of all ranks, and then their moving average."""
        optimizer = self._state.optimizer
        optimizer.learning_rate = learning_rate
        before = [v + 0.0 if factor != 1 else None for v, factor in zip(self.trained, self._rates, strict=True)]
        optimizer.apply(list(gradients), self.trained)
        # Scale the step rather than the gradient, whose scale Adam removes.
        for variable, old, factor in zip(self.trained, before, self._rates, strict=True):
            if old is not None:
                variable.assign(old + factor * (variable - old))
        for average, variable in zip(self._state.averaged, self._state.weights, strict=False):
            average.assign(average + (1 - ema_decay) * (variable - average))


def _rows(array: tf.Tensor, first: Any, count: int) -> tf.Tensor:
    """`count` rows of `array`, starting at `first`. The shape is static, as XLA requires."""
    rest = array.shape[1:]
    return tf.ensure_shape(tf.slice(array, [first] + [0] * len(rest), [count, *rest]), (count, *rest))


def _sums(one: Sequence[tf.Tensor], other: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [a + b for a, b in zip(one, other, strict=True)]
