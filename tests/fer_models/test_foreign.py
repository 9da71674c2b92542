"""Models that others wrote: with Keras 2 (tf_keras is Keras 2.15 and later) and with Keras 3."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from fer_models.factory import create_model
from fer_models.foreign import in_our_order, load_any, read_foreign
from fer_models.reading import Reading

REPOSITORY = Path(__file__).parent.parent.parent
TO_OURS = permutation_from(FOLDER_ORDER)


@pytest.fixture(scope="module")
def keras2():
    import tf_keras

    return tf_keras


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)


def as_trained(pixels, channels=3):
    """What the original project's networks were shown."""
    return np.repeat(pixels.astype("float32") / 255, channels, axis=-1)


def small(k=keras, *, size=48, channels=3, classes=7, activation="softmax", extra=()):
    layers = [k.layers.Conv2D(4, 3, strides=4, activation="relu"), *extra, k.layers.Flatten()]
    return k.Sequential([k.Input((size, size, channels)), *layers, k.layers.Dense(classes, activation=activation)])


def trained_weights(model):
    """Random weights everywhere, BatchNorm statistics included, and an optimizer with state."""
    random = np.random.default_rng(1)
    model.compile("adam", "categorical_crossentropy")
    model.train_on_batch(random.random((2, 48, 48, 3)), np.eye(7)[:2])
    model.set_weights([w + random.random(w.shape).astype(w.dtype) / 10 for w in model.get_weights()])
    return model


def nested(k):
    """Nested and shared models, branches, and layers whose configuration changed between Keras 2 and 3."""
    layers, image, inner = k.layers, k.Input((48, 48, 3)), k.Input((48, 48, 3))
    first = layers.Conv2D(4, 3, strides=4, activation="swish", name="renamed")(inner)
    x = layers.Add()([first, layers.Conv2D(4, 1, kernel_regularizer="l2")(first)])
    x = layers.BatchNormalization(trainable=False)(x)
    functional = k.Model(inner, layers.Concatenate()([x, first]), name="inner")
    sequence = k.Sequential(
        [
            k.Input((48, 48, 3)),
            layers.Conv2D(4, 3, strides=4),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.LeakyReLU(0.2),
            layers.DepthwiseConv2D(3),
            layers.PReLU(shared_axes=[1, 2]),
            layers.SeparableConv2D(4, 3),
        ]
    )
    one = layers.GlobalAveragePooling2D()(functional(image, training=False))
    other = layers.GlobalMaxPooling2D()(sequence(image))
    x = layers.LayerNormalization(axis=1)(layers.Concatenate()([one, other]))
    return k.Model(image, layers.Dense(7, activation="softmax")(layers.Dropout(0.3)(x)))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("make", [small, nested])
def test_models_of_keras_2_give_their_own_predictions_in_our_order(keras2, make, suffix, pixels, tmp_path):
    theirs = trained_weights(make(keras2))
    theirs.save(tmp_path / f"model.{suffix}")
    model, card, warnings = load_any(str(tmp_path / f"model.{suffix}"))
    assert (model.input.dtype, model.input.shape, card) == ("uint8", (None, 48, 48, 1), None)
    expected = np.asarray(theirs(as_trained(pixels)))[:, TO_OURS]
    np.testing.assert_allclose(np.asarray(model(pixels)), expected, atol=1e-5)
    (warning,) = warnings
    assert "folder (alphabetical) class order is assumed" in warning


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("make", [small, nested])
def test_models_of_keras_3_do_too(make, suffix, pixels, tmp_path):
    theirs = trained_weights(make(keras))
    theirs.save(tmp_path / f"model.{suffix}")
    model, _, _ = load_any(str(tmp_path / f"model.{suffix}"))
    expected = np.asarray(theirs(as_trained(pixels)))[:, TO_OURS]
    np.testing.assert_allclose(np.asarray(model(pixels)), expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_layers_of_keras_2_may_have_slashes_in_their_names(keras2, suffix, pixels, tmp_path):
    """Also where one is called as the end of another, in a nested model, and in what refers to it."""
    layers, inner = keras2.layers, keras2.Input((48, 48, 3), name="in/side")
    x = layers.Conv2D(4, 3, strides=4, name="conv")(inner)
    y = layers.SeparableConv2D(4, 1, name="block1/conv")(1.0 - x)
    y = layers.BatchNormalization(name="block1/conv/bn")(layers.Add(name="block1/add")([x, y]))
    image = keras2.Input((48, 48, 3))
    x = keras2.Model(inner, y, name="back/bone")(image)
    x = layers.Conv2D(4, 3, name="block1/last")(layers.BatchNormalization(name="block1")(x))
    theirs = trained_weights(
        keras2.Model(image, layers.Dense(7, activation="softmax", name="head/out")(layers.Flatten()(x)))
    )
    theirs.save(tmp_path / f"model.{suffix}")
    model, _, _ = load_any(str(tmp_path / f"model.{suffix}"))
    expected = theirs.predict(as_trained(pixels), verbose=0)[:, TO_OURS]
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-5)


def test_the_published_resnet_file_loads_with_every_parameter(keras2, pixels, tmp_path):
    """`resnetfinetune.h5`: a whole model in HDF5, the layers under Keras 2's names, Adam's state included."""
    layers = keras2.layers
    backbone = keras2.applications.ResNet50(include_top=False, weights=None, input_shape=(48, 48, 3))
    x = backbone.output
    for units in (32, 64, 128):
        x = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(x)
    x = layers.Flatten()(layers.Dropout(0.6)(x))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(32, kernel_initializer="he_uniform")(x)))
    theirs = keras2.Model(backbone.input, layers.Dense(7, activation="softmax")(x))
    random = np.random.default_rng(2)
    theirs.set_weights([w * (1 + random.random(w.shape) / 10) for w in theirs.get_weights()])
    theirs.compile("adam", "categorical_crossentropy", metrics=["accuracy", keras2.metrics.AUC()])
    theirs.optimizer.build(theirs.trainable_variables)
    path = tmp_path / "resnetfinetune.h5"
    theirs.save(path)
    with h5py.File(path) as file:
        assert {"model_weights", "optimizer_weights"} <= set(file)
    raw = read_foreign(str(path))
    assert raw.count_params() == 23_680_487
    for layer in theirs.layers:
        for ours, value in zip(raw.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, value, err_msg=layer.name)
    model, _, _ = load_any(str(path), "folder")
    expected = np.asarray(theirs(as_trained(pixels)))[:, TO_OURS]
    np.testing.assert_allclose(np.asarray(model(pixels)), expected, atol=1e-5)


def test_classes_says_the_order_and_silences_the_warning(pixels, tmp_path):
    theirs = small()
    theirs.save(tmp_path / "model.keras")
    expected = np.asarray(theirs(as_trained(pixels)))
    for classes, order in (("folder", TO_OURS), ("csv", list(range(7)))):
        model, _, warnings = load_any(str(tmp_path / "model.keras"), classes, input_range="unit")
        np.testing.assert_allclose(np.asarray(model(pixels)), expected[:, order], atol=1e-5)
        assert warnings == []
    with pytest.raises(UserError, match="choose one of folder, csv"):
        load_any(str(tmp_path / "model.keras"), "alphabetical")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_bare_model_of_ours_is_taken_in_our_order_with_a_warning(suffix, pixels, tmp_path):
    ours = create_model("compact")
    ours.save(tmp_path / f"model.{suffix}")
    model, card, warnings = load_any(str(tmp_path / f"model.{suffix}"))
    np.testing.assert_allclose(np.asarray(model(pixels)), np.asarray(ours(pixels)), atol=1e-5)
    assert card is None
    assert "takes raw grey pixels: our own (csv) class order" in warnings[0]


def test_a_checkpoint_comes_with_its_card_and_without_warnings(pixels, tmp_path):
    ours = create_model("compact")
    card = Card("compact", 1, ours.count_params(), "float32", "challenge", "f00d", {}, [])
    save_checkpoint(str(tmp_path / "checkpoint"), ours, card)
    model, its_card, warnings = load_any(str(tmp_path / "checkpoint"))
    np.testing.assert_array_equal(np.asarray(model(pixels)), np.asarray(ours(pixels)))
    assert its_card.model == "compact"
    assert warnings == []
    assert "is ignored" in load_any(str(tmp_path / "checkpoint"), "folder")[2][0]


def test_grey_and_integer_inputs_are_fed_as_they_expect(pixels, tmp_path):
    grey = small(channels=1)
    grey.save(tmp_path / "grey.keras")
    raw = keras.Input((48, 48, 3), dtype="uint8")
    integer = keras.Model(raw, small()(keras.layers.Rescaling(1 / 255)(raw)))
    integer.save(tmp_path / "integer.keras")
    for name, expected in (
        ("grey", grey(as_trained(pixels, 1))),
        ("integer", integer(np.repeat(pixels, 3, axis=-1))),
    ):
        model, _, _ = load_any(str(tmp_path / f"{name}.keras"), "csv")
        np.testing.assert_allclose(np.asarray(model(pixels)), np.asarray(expected), atol=1e-5)


def test_an_imported_model_saves_as_ordinary_layers_and_loads_in_safe_mode(pixels, tmp_path):
    small().save(tmp_path / "model.keras")
    model, _, _ = load_any(str(tmp_path / "model.keras"), "folder")
    model.save(tmp_path / "imported.keras")
    again = keras.models.load_model(tmp_path / "imported.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(again(pixels)), np.asarray(model(pixels)))
    reimported, _, _ = load_any(str(tmp_path / "imported.keras"))
    np.testing.assert_array_equal(np.asarray(reimported(pixels)), np.asarray(model(pixels)))


def test_outputs_of_any_order_are_put_in_ours_exactly():
    theirs = [CLASSES[i] for i in np.random.default_rng(3).permutation(7)]
    inputs = keras.Input((7,))
    columns = Reading(class_names=tuple(theirs)).columns(7, "it", ours=False)
    model = in_our_order(keras.Model(inputs, keras.layers.Activation("linear")(inputs)), columns)
    values = np.random.default_rng(0).random((4, 7), np.float32)
    np.testing.assert_array_equal(np.asarray(model(values)), values[:, permutation_from(theirs)])


def test_the_original_cnn_predicts_as_its_raw_network(original_cnn, pixels):
    model, card, (warning,) = load_any(original_cnn)
    raw = read_foreign(original_cnn)
    assert raw.count_params() == 489_735
    assert card is None
    assert "folder (alphabetical) class order is assumed" in warning
    expected = np.asarray(raw(as_trained(pixels)))[:, TO_OURS]
    np.testing.assert_allclose(np.asarray(model(pixels)), expected, atol=1e-5)
