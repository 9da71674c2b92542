"""Foreign networks are shown what they were trained on: their size, their channels, their range, their classes."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_models.foreign import load_any
from fer_models.input_form import InputForm

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)
TO_OURS = permutation_from(FOLDER_ORDER)


def shown(side: int, channels: int) -> np.ndarray:
    """The faces as Keras loads them for a network of this input: float32 [n, side, side, channels], 0 to 255."""
    large = keras.ops.image.resize(PIXELS.astype("float32"), (side, side), interpolation="bilinear")
    return np.repeat(np.asarray(large), channels, axis=-1)


def network(inputs: keras.KerasTensor, x: keras.KerasTensor, classes: int = 7) -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="tanh")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def plain(side: int, channels: int, classes: int = 7) -> keras.Model:
    inputs = keras.Input((side, side, channels))
    return network(inputs, inputs, classes)


def saved(model: keras.Model, folder: Path, suffix: str = "keras") -> str:
    model.save(folder / f"theirs.{suffix}")
    return str(folder / f"theirs.{suffix}")


PREPROCESSING = {
    "unit": lambda images: images / 255,
    "raw": lambda images: images,
    "signed": keras.applications.mobilenet_v2.preprocess_input,
    "imagenet": keras.applications.resnet50.preprocess_input,
    "torch": keras.applications.densenet.preprocess_input,
}


@pytest.mark.parametrize("input_range", PREPROCESSING)
@pytest.mark.parametrize(("side", "channels"), [(48, 3), (64, 1), (96, 3), (40, 3), (224, 3)])
def test_a_network_of_any_size_and_range_predicts_as_in_its_own_pipeline(side, channels, input_range, tmp_path):
    if channels == 1 and input_range in ("imagenet", "torch"):
        with pytest.raises(UserError, match=f"--input-range {input_range} is for three channels"):
            load_any(saved(plain(side, channels), tmp_path), "csv", input_range=input_range)
        return
    theirs = plain(side, channels)
    given = PREPROCESSING[input_range](shown(side, channels).copy())
    model, _, warnings = load_any(saved(theirs, tmp_path), "csv", input_range=input_range)
    np.testing.assert_allclose(model.predict(PIXELS, verbose=0), theirs.predict(given, verbose=0), atol=1e-5)
    assert warnings == []
    np.testing.assert_allclose(InputForm(side, side, channels, input_range, "it")(PIXELS), given, atol=1e-3, rtol=1e-5)


def rescaling(x):
    return keras.layers.Rescaling(1 / 127.5, -1)(x)


def normalization(x):
    layer = keras.layers.Normalization()
    layer.adapt(shown(64, 3))
    return layer(x)


def stated_normalization(x):
    return keras.layers.Normalization(mean=[120.0, 121.0, 122.0], variance=[3600.0] * 3)(x)


def augmented_first(x):
    return keras.layers.Rescaling(1 / 255)(keras.layers.RandomFlip()(x))


def nested(x):
    inputs = keras.Input((64, 64, 3))
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 255)(inputs)))(x)


@pytest.mark.parametrize(
    "own",
    [
        *(rescaling, normalization, stated_normalization, augmented_first, nested),
        *(PREPROCESSING[mode] for mode in ("signed", "imagenet", "torch")),
    ],
)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_preprocessing_inside_a_network_is_found_and_not_repeated(own, suffix, tmp_path):
    inputs = keras.Input((64, 64, 3))
    theirs = network(inputs, own(inputs))
    model, _, (warning,) = load_any(saved(theirs, tmp_path, suffix), "csv")
    expected = theirs.predict(shown(64, 3), verbose=0)
    np.testing.assert_allclose(model.predict(PIXELS, verbose=0), expected, atol=1e-5)
    assert "pixels resized to 64×64, 0 to 255, which its first layers expect" in warning
    model.save(tmp_path / "imported.keras")
    again = keras.models.load_model(tmp_path / "imported.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(again.predict(PIXELS, verbose=0), expected, atol=1e-5)


def test_first_layers_that_centre_on_a_half_expect_0_to_1(tmp_path):
    inputs = keras.Input((48, 48, 3))
    theirs = network(inputs, keras.layers.Rescaling(2.0, -1.0)(inputs))
    model, _, (warning,) = load_any(saved(theirs, tmp_path), "csv")
    np.testing.assert_allclose(
        model.predict(PIXELS, verbose=0), theirs.predict(shown(48, 3) / 255, verbose=0), atol=1e-5
    )
    assert "0 to 1, which its first layers expect" in warning


def test_what_is_assumed_is_said_in_a_line_with_the_options_that_mend_it(tmp_path):
    (warning,) = load_any(saved(plain(64, 1), tmp_path))[2]
    assert warning.endswith(
        "theirs.keras has no card: folder (alphabetical) class order is assumed; it is given pixels resized to 64×64, "
        "0 to 1, which is assumed; if that is wrong, give --classes or --class-names and --input-range"
    )


@pytest.mark.parametrize(("name", "side"), [("EfficientNetB0", 64), ("MobileNetV3Small", 96), ("MobileNetV2", 96)])
def test_keras_s_own_networks_load(name, side, tmp_path):
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    theirs = build(weights=None, input_shape=(side, side, 3), classes=7)
    given = shown(side, 3)
    options = {}
    if name == "MobileNetV2":
        given, options = PREPROCESSING["signed"](given.copy()), {"input_range": "signed"}
    model, _, _ = load_any(saved(theirs, tmp_path), "csv", **options)
    np.testing.assert_allclose(model.predict(PIXELS, verbose=0), theirs.predict(given, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "suffix"), [("mobilenet_v2", "keras"), ("mobilenet_v2", "h5"), ("resnet50", "h5"), ("densenet", "h5")]
)
def test_operations_of_keras_2_become_those_of_keras_3(module, suffix, tmp_path):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((64, 64, 3))
    x = 1.0 - getattr(tf_keras.applications, module).preprocess_input(inputs)
    x = tf_keras.layers.GlobalAveragePooling2D()(tf_keras.layers.Conv2D(4, 3, activation="tanh")(x))
    theirs = tf_keras.Model(inputs, tf_keras.layers.Dense(7, activation="softmax")(x))
    model, _, (warning,) = load_any(saved(theirs, tmp_path, suffix), "csv")
    expected = theirs.predict(shown(64, 3), verbose=0)
    np.testing.assert_allclose(model.predict(PIXELS, verbose=0), expected, atol=1e-5)
    assert "0 to 255, which its first layers expect" in warning


EIGHT = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SIX = ("angry", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize("names", [EIGHT, SIX, (*CLASSES, "contempt")])
def test_six_classes_or_eight_are_scored_on_what_they_share_with_ours(names, tmp_path):
    theirs = plain(48, 1, len(names))
    path = saved(theirs, tmp_path)
    with pytest.raises(UserError, match=f"gives {len(names)} outputs per image, not 7 classes: name each with"):
        load_any(path)
    model, _, _ = load_any(path, class_names=names, input_range="unit")
    expected = theirs.predict(shown(48, 1) / 255, verbose=0)
    known = [name for name in CLASSES if name in {_ours(each) for each in names}]
    columns = [[_ours(each) for each in names].index(name) for name in known]
    shared = expected[:, columns] / expected[:, columns].sum(axis=1, keepdims=True)
    given = model.predict(PIXELS, verbose=0)
    np.testing.assert_allclose(given[:, [CLASSES.index(name) for name in known]], shared, atol=1e-5)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)


def _ours(name: str) -> str:
    return {"happiness": "happy", "sadness": "sad", "anger": "angry"}.get(name, name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("hapy", "sad"), "'hapy' is no class: give angry"),
        (("happy", "joy", "sad"), "each once"),
        (("contempt", "contempt"), "two or more of angry"),
    ],
)
def test_names_that_cannot_be_are_refused(names, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_any(saved(plain(48, 1), tmp_path), class_names=names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_name": "MatMul"}, "is of the class MatMul, which may hold code or is unknown here: refused"),
        ({"module": "os", "class_name": "TrueDivide"}, "TrueDivide is a custom class, which is code: refused"),
        ({"registered_name": "os>system"}, "os>system is a custom class, which is code: refused"),
    ],
)
def test_operations_that_are_not_plain_arithmetic_are_refused(change, message, tmp_path):
    inputs = keras.Input((48, 48, 3))
    path = saved(network(inputs, inputs / 255), tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    next(entry for entry in config["config"]["layers"] if entry["class_name"] == "TrueDivide").update(
        {"registered_name": change.get("class_name", "TrueDivide"), **change}
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=message):
        load_any(path)
