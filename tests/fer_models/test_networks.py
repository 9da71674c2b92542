import keras
import numpy as np
import pytest

from fer_models.catalogue import NETWORKS, networks_with
from fer_models.compact import MAX_MULTIPLY_ADDS, MAX_PARAMETERS
from fer_models.factory import create_model, multiply_adds


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_the_original_network_has_its_published_layers_and_parameters():
    model = create_model("cnn")
    assert model.count_params() == 489_735
    assert trainable_parameters(model) == 489_671
    shapes = [layer.output.shape[1:] for layer in model.layers if layer.weights]
    assert shapes == [(46, 46, 32), (44, 44, 64), (42, 42, 128), (40, 40, 32), (40, 40, 32), (40, 40, 32), (7,)]
    assert model.get_layer("dropout").rate == 0.4
    assert model.get_layer("dense").kernel_initializer.__class__ is keras.initializers.HeUniform
    assert model.get_layer("conv1").kernel_initializer.__class__ is keras.initializers.GlorotUniform


def test_the_compact_network_stays_within_its_budget():
    model = create_model("compact")
    assert model.count_params() <= MAX_PARAMETERS
    assert multiply_adds(model) <= MAX_MULTIPLY_ADDS


@pytest.mark.parametrize("name", networks_with("width"))
def test_width_multiplies_the_filters(name):
    one, two = (create_model(name, width=width) for width in (1, 2))
    assert two.get_layer("stage2_block2_b_conv").filters == 2 * one.get_layer("stage2_block2_b_conv").filters
    assert multiply_adds(two) == pytest.approx(4 * multiply_adds(one), rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_grey_bytes_and_returns_float32_probabilities(name, precision):
    model = create_model(name, precision=precision)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    probabilities = np.asarray(model(pixels))
    assert model.input.dtype == "uint8"
    assert model.input.shape == (None, 48, 48, 1)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (3, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    assert keras.config.dtype_policy().name == "float32"  # As before the call.


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_round_trips_through_its_configuration(name):
    model = create_model(name, dropout=0.1)
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    np.testing.assert_array_equal(np.asarray(model(pixels)), np.asarray(again(pixels)))
    assert again.get_layer("dropout").rate == 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_initial_weights(name):
    keras.utils.set_random_seed(5)
    first = create_model(name).get_weights()
    keras.utils.set_random_seed(5)
    for one, other in zip(first, create_model(name).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
