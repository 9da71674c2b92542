"""The layers of training compute what Keras's own do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_models.catalogue import NETWORKS
from fer_models.factory import create_model
from jobs.training.layers import FusedBatchNormalization, PortableDropout, for_training

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 1), np.uint8)


def gradients(model: keras.Model) -> tuple[list[np.ndarray], np.ndarray]:
    with tf.GradientTape() as tape:
        probabilities = model(PIXELS, training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(np.arange(6), probabilities))
    return [g.numpy() for g in tape.gradient(loss, model.trainable_variables)], probabilities.numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_network_has_the_gradients_and_statistics_of_the_original(name):
    keras.utils.set_random_seed(0)
    plain = create_model(name, dropout=0.0)
    fused = for_training(plain)
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
    fused = for_training(create_model("compact"))
    for layer in fused.layers:
        layer.trainable = not isinstance(layer, FusedBatchNormalization)
    before = fused.get_layer("stem_norm").get_weights()
    fused(PIXELS, training=True)
    for old, new in zip(before, fused.get_layer("stem_norm").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_dropout_has_the_same_mask_compiled_or_not_and_drops_its_share():
    images = tf.ones((64, 12, 12, 32))
    dropped = []
    for compiled in (False, True):
        layer = PortableDropout(0.3, seed=5)
        layer(images)  # Built outside the graph.
        dropped.append(
            tf.function(lambda x, layer=layer: layer(x, training=True), jit_compile=compiled)(images).numpy()
        )
    np.testing.assert_array_equal(*dropped)
    assert np.unique(dropped[0]) == pytest.approx([0, 1 / 0.7])
    assert (dropped[0] == 0).mean() == pytest.approx(0.3, abs=0.005)  # Of 295,000: three standard deviations.


def test_a_network_for_training_drops_at_the_rate_of_the_original_and_not_when_it_serves():
    network = for_training(create_model("compact", dropout=0.25))
    (dropout,) = (layer for layer in network.layers if isinstance(layer, keras.layers.Dropout))
    assert isinstance(dropout, PortableDropout)
    assert dropout.rate == 0.25
    np.testing.assert_array_equal(network(PIXELS, training=False), network(PIXELS, training=False))
