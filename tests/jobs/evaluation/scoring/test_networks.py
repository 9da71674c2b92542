"""Whatever wrote a model, it is a function from raw pixels to probabilities, or a mistake told in a line."""

import keras
import numpy as np
import pytest

from fer_data.emotions import FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_models.factory import create_model, set_precision
from jobs.evaluation.scoring.contenders import contenders_from
from jobs.evaluation.scoring.networks import Arithmetic, load_network
from tests.jobs.evaluation.tiny import tiny_checkpoint, tiny_network

FACES = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 1), np.uint8)
PLAIN = Arithmetic(threads=1, precision="float32")


def load(path: str, arithmetic: Arithmetic = PLAIN):
    (contender,) = contenders_from([path])
    return load_network(contender, arithmetic)


def test_a_checkpoint_scores_as_keras_does(tmp_path):
    network = load(tiny_checkpoint(str(tmp_path / "a"), seed=3))
    given = network.predict(FACES)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, tiny_network(3).predict(FACES, verbose=0), atol=1e-6)
    assert network.parameters == 259


def test_a_bare_keras_file_scores_too_and_its_class_order_can_be_told(tmp_path):
    path = str(tmp_path / "a.keras")
    model = tiny_network(3)
    model.save(path)
    want = model.predict(FACES, verbose=0)
    folder = load(path, Arithmetic(1, "float32", "folder")).predict(FACES)
    np.testing.assert_allclose(folder, want[:, permutation_from(FOLDER_ORDER)], atol=1e-6)


@pytest.mark.parametrize("name", ["cnn", "compact"])
def test_precision_changes_the_arithmetic_and_not_the_weights(name):
    keras.utils.set_random_seed(0)
    mixed = create_model(name, precision="mixed_bfloat16")
    plain = create_model(name, precision="float32")
    plain.set_weights(mixed.get_weights())
    want = plain.predict(FACES, verbose=0)
    in_bfloat16 = mixed.predict(FACES, verbose=0)
    set_precision(mixed, "float32")
    mixed.predict_function = None
    np.testing.assert_allclose(mixed.predict(FACES, verbose=0), want, atol=1e-6)
    set_precision(mixed, "mixed_bfloat16")
    mixed.predict_function = None
    np.testing.assert_array_equal(mixed.predict(FACES, verbose=0), in_bfloat16)
    assert mixed.output.dtype == "float32"


def test_logits_are_no_probabilities(tmp_path):
    model = tiny_network(0)
    model.layers[-1].activation = keras.activations.linear
    model.save(tmp_path / "logits.keras")
    with pytest.raises(UserError, match="not probabilities"):
        load(str(tmp_path / "logits.keras"))


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_bytes(b"not a model")
    with pytest.raises(UserError, match=f"a.{ending} is not") as raised:
        load(str(tmp_path / f"a.{ending}"))
    assert "\n" not in str(raised.value)


def test_litert_models_score_as_keras_does(tmp_path):
    import tensorflow as tf

    model = tiny_network(3)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (tmp_path / "a.tflite").write_bytes(converter.convert())
    network = load(str(tmp_path / "a.tflite"))
    for count in (9, 4):
        np.testing.assert_allclose(network.predict(FACES[:count]), model.predict(FACES[:count], verbose=0), atol=1e-5)


def test_names_are_the_paths_as_given_and_labels_their_shortest_ends(tmp_path):
    paths = [tiny_checkpoint(str(tmp_path / run / "best")) for run in ("x", "y")]
    found = contenders_from([*paths, f"mine={paths[0]}"], ensemble=True)
    assert [c.name for c in found] == [*paths, "mine", "ensemble"]
    assert [c.label for c in found[1:]] == ["y/best", "mine", "ensemble of 3"]
    assert found[0].digest == found[2].digest


def test_a_name_in_use_is_refused(tmp_path):
    path = tiny_checkpoint(str(tmp_path / "a"))
    with pytest.raises(UserError, match="two checkpoints are called ensemble"):
        contenders_from([f"ensemble={path}", path], ensemble=True)
