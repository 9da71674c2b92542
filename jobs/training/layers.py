"""Keras's batch norm and dropout as they are trained here: the same function, by other operations of TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

_LANES = 16
"""On processors oneDNN takes more than ten times as long where the channels are no multiple of this."""


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
        lacking = 0 if _on_gpu() else -channels % _LANES
        padded = [
            tf.pad(v, [[0, lacking]]) for v in (self.gamma.value, self.beta.value, *(v.value for v in statistics))
        ]
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.pad(inputs, [[0, 0]] * 3 + [[0, lacking]]), *padded, epsilon=self.epsilon, is_training=not statistics
        )
        # Not outputs[..., :channels], whose gradient takes a fifth of a training step.
        return tf.slice(outputs, [0] * 4, [-1, -1, -1, channels]), mean[:channels], variance[:channels]


class PortableDropout(keras.layers.Dropout):
    """Keras's dropout with the same mask on every device, compiled or not.

    TensorFlow's own draws floats, which XLA makes of the same random bits in another way.
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
    """A copy of `model`, weights included, that computes the same with the layers of this module where it can."""
    copy = keras.models.clone_model(model, clone_function=_clone)
    copy.set_weights(model.get_weights())
    return copy


def _clone(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = layer.__class__
    # The fused operation is over the last axis, with weights, and of one machine's batch alone.
    if kind is keras.layers.BatchNormalization and layer.axis in (-1, 3) and layer.scale and layer.center:
        kind = kind if layer.renorm or layer.synchronized else FusedBatchNormalization
    if kind is keras.layers.Dropout:
        kind = PortableDropout
    return kind.from_config(layer.get_config())


def _on_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
