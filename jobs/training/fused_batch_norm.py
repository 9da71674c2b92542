"""Batch norm in one pass: what Keras computes in a dozen operations over every pixel, TensorFlow has as one."""

from typing import Any

import keras
import tensorflow as tf

_LANES = 16
"""oneDNN takes more than ten times as long where the channels are no multiple of this."""


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm as TensorFlow's fused operation (oneDNN's on processors, cuDNN's on GPUs).

    It differs from Keras's own by rounding alone: under a 16-bit policy the
    activations stay in 16 bits, while statistics are float32 as there.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> Any:
        if mask is not None or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        moving = self.moving_mean, self.moving_variance
        if not (training and self.trainable):
            return self._fused(inputs, *moving)[0]
        outputs, mean, variance = self._fused(inputs)
        # The operation gives the sample's unbiased variance; Keras's moving variance is of the biased one.
        values = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
        variance *= (values - 1) / values
        for variable, new in zip(moving, (mean, variance), strict=True):
            variable.assign(variable * self.momentum + new * (1 - self.momentum))
        return outputs

    def _fused(self, inputs: tf.Tensor, *statistics: keras.Variable) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Outputs, mean and variance; by the moving mean and variance where they are given, else by the batch's."""
        channels = inputs.shape[-1]
        lacking = -channels % _LANES
        padded = [
            tf.pad(v, [[0, lacking]]) for v in (self.gamma.value, self.beta.value, *(v.value for v in statistics))
        ]
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.pad(inputs, [[0, 0]] * 3 + [[0, lacking]]), *padded, epsilon=self.epsilon, is_training=not statistics
        )
        # Not outputs[..., :channels], whose gradient takes a fifth of a training step.
        return tf.slice(outputs, [0] * 4, [-1, -1, -1, channels]), mean[:channels], variance[:channels]


def with_fused_batch_norm(model: keras.Model) -> keras.Model:
    """A copy of `model`, weights included, that computes the same with every batch norm that can be fused."""
    fused = keras.models.clone_model(model, clone_function=_clone)
    fused.set_weights(model.get_weights())
    return fused


def _clone(layer: keras.layers.Layer) -> keras.layers.Layer:
    plain = type(layer) is keras.layers.BatchNormalization
    # The fused operation is over the last axis, with weights, and of one machine's batch alone.
    if plain and layer.axis in (-1, 3) and layer.scale and layer.center and not (layer.renorm or layer.synchronized):
        return FusedBatchNormalization.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())
