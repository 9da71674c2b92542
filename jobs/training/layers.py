"""Keras's batch norm and dropout for training, computed by faster or more portable operations of TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

_LANES = 16
"""On CPUs oneDNN takes over ten times as long if the number of channels is not a multiple of this."""


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm as TensorFlow's fused operation (oneDNN's on CPUs, cuDNN's on GPUs).

    Results differ from Keras's own only by rounding. Under a 16-bit policy activations stay in 16 bits, and statistics
    are float32, as in Keras.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> Any:
        if mask is not None or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        moving = self.moving_mean, self.moving_variance
        if not (training and self.trainable):
            return self._fused(inputs, *moving)[0]
        outputs, mean, variance = self._fused(inputs)
        # The operation returns the unbiased variance, but Keras averages the biased one.
        values = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
        variance *= (values - 1) / values
        for variable, new in zip(moving, (mean, variance), strict=True):
            variable.assign(variable * self.momentum + new * (1 - self.momentum))
        return outputs

    def _fused(self, inputs: tf.Tensor, *statistics: keras.Variable) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Outputs, mean and variance. Normalises by the mean and variance in `statistics`, or by the batch's own."""
        channels = inputs.shape[-1]
        lacking = 0 if _on_gpu() else -channels % _LANES
        gamma, beta, *given = (tf.pad(v.value, [[0, lacking]]) for v in (self.gamma, self.beta, *statistics))
        given_mean, given_variance = given or (tf.zeros(0),) * 2
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.pad(inputs, [[0, 0]] * 3 + [[0, lacking]]),
            scale=gamma,
            offset=beta,
            mean=given_mean,
            variance=given_variance,
            epsilon=self.epsilon,
            is_training=not statistics,
        )
        # Not outputs[..., :channels], whose gradient takes a fifth of a training step.
        return tf.slice(outputs, [0] * 4, [-1, -1, -1, channels]), mean[:channels], variance[:channels]


class PortableDropout(keras.layers.Dropout):
    """Keras's dropout with the same mask on every device, compiled or not.

    TensorFlow's dropout draws floats, which XLA derives from the same random bits in a different way.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> Any:
        if not training or self.rate == 0 or self.noise_shape is not None:
            return super().call(inputs, training=training)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        bits = tf.random.stateless_uniform(
            tf.shape(inputs), seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
        kept = bits >= tf.constant(min(round(self.rate * 2**32), 2**32 - 1), tf.uint32)
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros((), inputs.dtype))


def for_training(model: keras.Model) -> keras.Model:
    """A copy of `model` and its weights that uses the layers of this module where possible."""
    copy = keras.models.clone_model(model, clone_function=_clone)
    copy.set_weights(model.get_weights())
    return copy


def _clone(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = layer.__class__
    # The fused operation always normalises over the last axis, scales and shifts, and sees only one rank's batch.
    if kind is keras.layers.BatchNormalization and layer.axis in (-1, 3) and layer.scale and layer.center:
        kind = kind if layer.renorm or layer.synchronized else FusedBatchNormalization
    if kind is keras.layers.Dropout:
        kind = PortableDropout
    return kind.from_config(layer.get_config())


def _on_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
