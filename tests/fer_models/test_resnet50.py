import keras
import numpy as np
import pytest

from fer_data.errors import UserError
from fer_models.catalogue import NETWORKS
from fer_models.factory import create_model
from fer_models.resnet50 import preprocessing_of
from fer_models.stages import stages
from tests.jobs.evaluation.tiny import tiny_network


@pytest.fixture(scope="module")
def published():
    return create_model("resnet50")


@pytest.fixture(scope="module")
def tuned():
    """The options that go with ImageNet weights."""
    return create_model("resnet50", input_size=64, head="pooled", preprocessing="imagenet", precision="mixed_bfloat16")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), np.uint8)


def test_it_has_the_published_layers_and_parameters(published):
    assert published.count_params() == 23_680_487
    assert sum(int(np.prod(v.shape)) for v in published.trainable_variables) == 23_627_303
    head = [layer for layer in stages(published)["head"] if layer.weights]
    assert [layer.output.shape[1:] for layer in head] == [(2, 2, 32), (2, 2, 64), (2, 2, 128), (32,), (32,), (7,)]
    assert all(layer.kernel_initializer.__class__ is keras.initializers.HeUniform for layer in head[:4])
    assert [layer.activation.__name__ for layer in head[:4]] == ["relu", "relu", "relu", "linear"]
    assert published.get_layer("dropout").rate == 0.6
    assert published.get_layer("flatten").output.shape == (None, 512)


def test_the_backbone_is_keras_resnet50_under_its_own_layer_names(published, pixels):
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(48, 48, 3))
    for layer in backbone.layers[1:]:
        layer.set_weights(published.get_layer(layer.name).get_weights())
    ours = keras.Model(published.input, published.get_layer("conv5_block3_out").output)
    rgb = np.repeat(pixels.astype("float32") / 255, 3, axis=-1)
    np.testing.assert_allclose(np.asarray(ours(pixels)), np.asarray(backbone(rgb)), rtol=1e-5, atol=1e-5)


def test_imagenet_preprocessing_is_that_of_keras_after_upsampling(tuned, pixels):
    ours = keras.Model(tuned.input, tuned.get_layer("subtract_imagenet_mean").output)
    large = keras.ops.image.resize(pixels.astype("float32"), (64, 64), interpolation="bilinear")
    theirs = keras.applications.resnet.preprocess_input(np.repeat(np.asarray(large), 3, axis=-1))
    np.testing.assert_allclose(np.asarray(ours(pixels)), theirs, atol=1e-3)
    assert ours.output.dtype == "float32"  # Under mixed precision too.


def test_the_small_stem_keeps_the_resolution_and_the_shapes_of_all_weights(tuned, pixels):
    options = {"input_size": 64, "head": "pooled", "preprocessing": "imagenet"}
    small = create_model("resnet50", stem="small", precision="mixed_bfloat16", **options)
    sides = {name: layers[-1].output.shape[1] for name, layers in stages(small).items() if name != "head"}
    assert sides == {"stem": 64, "conv2": 64, "conv3": 32, "conv4": 16, "conv5": 8}
    assert [weight.shape for weight in small.weights] == [weight.shape for weight in tuned.weights]
    assert small.get_layer("conv1_conv").compute_dtype == "bfloat16"
    small.set_weights(tuned.get_weights())
    # At every second position its convolution gives what the published one gives.
    first, other = (keras.Model(model.input, model.get_layer("conv1_relu").output) for model in (tuned, small))
    one, two = (np.asarray(model(pixels), np.float32) for model in (first, other))
    np.testing.assert_allclose(two[:, ::2, ::2], one, atol=0.05 * one.max())


def test_the_preprocessing_of_a_model_can_be_told(published, tuned):
    assert preprocessing_of(published) == "divide_by_255"
    assert preprocessing_of(tuned) == "imagenet"


def test_the_pooled_head_is_pooling_dropout_and_softmax(tuned):
    assert [layer.name for layer in stages(tuned)["head"]] == ["pool", "dropout", "emotion"]
    assert tuned.get_layer("pool").output.shape == (None, 2048)


def test_saved_and_loaded_in_safe_mode_it_gives_the_same(tuned, pixels, tmp_path):
    tuned.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded(pixels)), np.asarray(tuned(pixels)))
    assert preprocessing_of(loaded) == "imagenet"


def test_the_stages_hold_every_layer_once_and_in_order(published):
    found = stages(published)
    assert list(found) == ["stem", "conv2", "conv3", "conv4", "conv5", "head"]
    assert [layer for layers in found.values() for layer in layers] == published.layers
    assert [sum(isinstance(layer, keras.layers.Add) for layer in found[name]) for name in found] == [0, 3, 4, 6, 3, 0]
    for name in ("conv2", "conv3", "conv4", "conv5"):
        assert all(layer.name.startswith(f"{name}_block") for layer in found[name])
    assert [layer.name for layer in found["stem"] if layer.weights] == ["conv1_conv", "conv1_bn"]


@pytest.mark.parametrize("name", ["cnn", "compact", "large"])
def test_other_networks_have_stages_too(name):
    found = stages(create_model(name))
    assert list(found) == [*NETWORKS[name].stages, "head"]
    for stage, layers in found.items():
        trained = [layer.name for layer in layers if layer.weights]
        assert trained
        assert stage == "head" or all(layer.startswith(stage) for layer in trained)


def test_a_stranger_has_none():
    with pytest.raises(ValueError, match="none of our networks"):
        stages(tiny_network(0))
    with pytest.raises(ValueError, match="it is no cnn: it has no stage conv2"):
        stages(keras.Sequential(tiny_network(0).layers, name="cnn"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 47}, "48 to 224, not 47"),
        ({"input_size": 225}, "48 to 224, not 225"),
        ({"head": "best"}, "choose one of published, pooled"),
        ({"preprocessing": "none"}, "choose one of divide_by_255, imagenet"),
    ],
)
def test_unknown_options_are_refused_by_name(options, message):
    with pytest.raises(UserError, match=message):
        create_model("resnet50", **options)
