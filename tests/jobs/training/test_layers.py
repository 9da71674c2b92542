"""Fused batch norm computes what Keras's own does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from jobs.training.fused_batch_norm import FusedBatchNormalization, with_fused_batch_norm

from fer_models.factory import create_model

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 1), np.uint8)


def gradients(model: keras.Model) -> tuple[list[np.ndarray], np.ndarray]:
    with tf.GradientTape() as tape:
        probabilities = model(PIXELS, training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(np.arange(6), probabilities))
    return [g.numpy() for g in tape.gradient(loss, model.trainable_variables)], probabilities.numpy()


@pytest.mark.parametrize("name", ["cnn", "compact", "resnet50"])
def test_a_fused_network_has_the_gradients_and_statistics_of_the_original(name):
    keras.utils.set_random_seed(0)
    plain = create_model(name, dropout=0.0)
    fused = with_fused_batch_norm(plain)
    norms = [layer for layer in plain.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert sum(isinstance(layer, FusedBatchNormalization) for layer in fused.layers) == len(norms)
    assert [layer.name for layer in fused.layers] == [layer.name for layer in plain.layers]
    (expected, said), (found, fused_said) = gradients(plain), gradients(fused)
    # Fifty norms of six images, one after the other, amplify rounding.
    np.testing.assert_allclose(fused_said, said, atol=1e-3)
    if name != "resnet50":  # Whose gradients change as much when a millionth is added to its first kernel.
        for one, other in zip(expected, found, strict=True):
            assert np.linalg.norm(other - one) <= 1e-2 * np.linalg.norm(one) + 1e-5
    for one, other in zip(plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(fused(PIXELS, training=False), plain(PIXELS, training=False), atol=1e-3)


def test_a_frozen_one_keeps_its_statistics():
    fused = with_fused_batch_norm(create_model("compact"))
    for layer in fused.layers:
        layer.trainable = not isinstance(layer, FusedBatchNormalization)
    before = fused.get_layer("stem_norm").get_weights()
    fused(PIXELS, training=True)
    for old, new in zip(before, fused.get_layer("stem_norm").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
