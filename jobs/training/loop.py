"""Run many training steps in one call of the device: augment all their images, then compute step after step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fer_data.augment import augment
from fer_data.augment_draws import DRAWN, AugmentationConfig, Draws
from fer_data.emotions import NUM_CLASSES
from jobs.training.collectives import Collectives
from jobs.training.step import TrainingStep
from jobs.training.targets import targets_of


@dataclass(frozen=True)
class Outcome:
    """The results of a call of K steps, still on the device.

    `losses` float32 [K], each the mean over a global batch; `probabilities` and `answers` float32 [K, n, 7], what the
    network and its teachers say of this rank's rows, in which `answers` is what was given if no teacher was asked;
    `communication` float64 [K], the seconds that each step took to sum gradients over the ranks, including waiting.
    """

    losses: tf.Tensor
    probabilities: tf.Tensor
    answers: tf.Tensor
    communication: tf.Tensor


class TrainingLoop:
    """Runs up to `most_steps` steps in one call. The result is the same, bit for bit, for any number of steps per call.

    `rows` is this rank's share of a global batch. With `compiled`, XLA compiles the steps. For one rank they are one
    program. For several, gradients and update are compiled separately, since XLA cannot sum over the ranks.
    """

    def __init__(
        self,
        augmentation: AugmentationConfig,
        step: TrainingStep,
        collectives: Collectives,
        class_weights: np.ndarray,
        *,
        rows: int,
        most_steps: int,
        compiled: bool = False,
        soft_labels: bool = False,
    ) -> None:
        self._soft_labels = soft_labels
        self._augmentation, self._step, self._collectives = augmentation, step, collectives
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._rows, self._most_steps = rows, most_steps
        self.compiled = compiled
        self.trace()

    def trace(self) -> None:
        """Trace the graphs. Call it again when the trained variables or `compiled` change."""
        self._whole = self.compiled and self._collectives.world_size == 1
        parts = self.compiled and not self._whole
        self._gradients: Callable = tf.function(self._step.gradients, autograph=False, jit_compile=parts)
        self._update: Callable = tf.function(self._step.update, autograph=False, jit_compile=parts)
        self._steps: Callable = tf.function(self._stepped, autograph=False, jit_compile=self._whole)
        # One graph for any number of steps.
        call = tf.function(self._called, autograph=False, input_signature=_SIGNATURE)
        # Traced now, not at the first call: names in the graph contain a count of all tensors made so far, including
        # those of the feed's threads, and XLA's cache finds programs by these names.
        self._call: Callable = call.get_concrete_function()

    def __call__(
        self,
        window: tf.Tensor,
        first: int,
        labels: tf.Tensor,
        draws: Draws,
        learning_rates: Sequence[float],
        ema_decays: np.ndarray,
        answers: np.ndarray | None = None,
    ) -> Outcome:
        """Train K steps on the rows `first` to `first + K·n` of `window`, uint8 [rows, 48, 48, 1].

        `labels` int64 [K·n], codes as in `targets`, and `draws` belong to these K·n rows; `learning_rates` and
        `ema_decays` float32 [K]. `answers` float32 [K, n, 7] are needed if the step does not ask the teachers.
        """
        if answers is None:
            answers = np.zeros((len(learning_rates), self._rows, NUM_CLASSES), np.float32)
        arrays = tuple(tf.convert_to_tensor(array) for array in draws.arrays())
        return Outcome(
            *self._call(
                window,
                tf.constant(first, tf.int32),
                labels,
                arrays,
                tf.constant(answers),
                tf.constant(learning_rates, tf.float32),
                tf.constant(ema_decays, tf.float32),
            )
        )

    def _called(
        self,
        window: tf.Tensor,
        first: tf.Tensor,
        labels: tf.Tensor,
        draws: tuple[tf.Tensor, ...],
        answers: tf.Tensor,
        learning_rates: tf.Tensor,
        ema_decays: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        steps = tf.shape(learning_rates)[0]
        pixels = tf.slice(window, [first, 0, 0, 0], [steps * self._rows, 48, 48, 1])
        targets, labels = targets_of(labels, self._soft_labels)
        *changes, noise = draws
        images, targets = augment(self._augmentation, pixels, targets, *changes)
        weights = keras.ops.take(self._class_weights, labels)
        inputs = (
            tf.reshape(images, [-1, self._rows, 48, 48, 1]),
            tf.reshape(noise, [-1, self._rows, 2]),
            tf.reshape(targets, [-1, self._rows, NUM_CLASSES]),
            tf.reshape(weights, [-1, self._rows]),
            tf.ensure_shape(answers, (None, self._rows, NUM_CLASSES)),
            learning_rates,
            ema_decays,
        )
        if self._whole:
            # An XLA program has a fixed shape. Inputs are padded to `most_steps`, and the padding is not computed.
            inputs = tuple(_padded(array, self._most_steps) for array in inputs)
        outputs = self._steps(steps, *inputs)
        return tuple(output[:steps] for output in outputs)

    def _stepped(self, steps: tf.Tensor, *inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`steps` steps, one after the other: what an `Outcome` holds."""
        size = inputs[0].shape[0] or steps
        shapes: list[tuple[Any, tuple[int, ...]]] = [
            (tf.float32, ()),
            (tf.float32, (self._rows, NUM_CLASSES)),
            (tf.float32, (self._rows, NUM_CLASSES)),
            (tf.float64, ()),
        ]
        found = [tf.TensorArray(dtype, size=size, element_shape=shape) for dtype, shape in shapes]

        def body(i: tf.Tensor, found: list[tf.TensorArray]) -> tuple:
            given = self._one(*(array[i] for array in inputs))
            return i + 1, [array.write(i, value) for array, value in zip(found, given, strict=True)]

        _, found = tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), found), parallel_iterations=1)
        return tuple(array.stack() for array in found)

    def _one(
        self,
        images: tf.Tensor,
        noise: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        answers: tf.Tensor,
        learning_rate: tf.Tensor,
        ema_decay: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        tensors, probabilities, answers = self._gradients(images, noise, targets, weights, answers)
        seconds = tf.zeros((), tf.float64)
        if self._collectives.world_size > 1:
            tensors, seconds = self._collectives.sum_timed(tensors)
        *gradients, loss = tensors
        self._update(gradients, learning_rate, ema_decay)
        return loss, probabilities, answers, seconds


_SIGNATURE = (
    tf.TensorSpec((None, 48, 48, 1), tf.uint8),
    tf.TensorSpec((), tf.int32),
    tf.TensorSpec((None,), tf.int64),
    tuple(tf.TensorSpec((None, *shape), dtype) for shape, dtype in DRAWN),
    tf.TensorSpec((None, None, NUM_CLASSES), tf.float32),
    tf.TensorSpec((None,), tf.float32),
    tf.TensorSpec((None,), tf.float32),
)
"""The arguments of `TrainingLoop`, with the draws as a tuple of arrays."""


def _padded(array: tf.Tensor, length: int) -> tf.Tensor:
    lacking = length - tf.shape(array)[0]
    padded = tf.pad(array, [[0, lacking]] + [[0, 0]] * (len(array.shape) - 1))
    return tf.ensure_shape(padded, (length, *array.shape[1:]))
