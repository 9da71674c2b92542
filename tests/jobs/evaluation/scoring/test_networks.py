"""Whatever wrote a model, it is a function from raw pixels to probabilities, or a mistake told in a line."""

import keras
import numpy as np
import pyarrow as pa
import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_data.rows import rows_table
from fer_models.factory import create_model, set_precision
from jobs.evaluation.predictions import SCORED
from jobs.evaluation.scoring.contenders import contenders_from
from jobs.evaluation.scoring.networks import Arithmetic, load_network
from tests.fer_models.test_foreign_inputs import PREPROCESSING, plain
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


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
@pytest.mark.parametrize(("side", "channels", "kind"), [(64, 1, "signed"), (96, 3, "imagenet"), (48, 3, "unit")])
def test_float_files_of_other_programs_score_as_in_their_own_pipeline(tmp_path, ending, side, channels, kind):
    model = plain(side, channels)
    large = np.asarray(keras.ops.image.resize(FACES.astype("float32"), (side, side), interpolation="bilinear"))
    expected = model.predict(PREPROCESSING[kind](np.repeat(large, channels, axis=-1)), verbose=0)
    model.export(tmp_path / f"a.{ending}", format={"tflite": "litert", "onnx": "onnx"}[ending], verbose=False)
    network = load(str(tmp_path / f"a.{ending}"), Arithmetic(1, "float32", "csv", input_range=kind))
    for count in (9, 1):
        np.testing.assert_allclose(network.predict(FACES[:count]), expected[:count], atol=1e-5)
    assert network.warnings == []
    (warning,) = load(str(tmp_path / f"a.{ending}")).warnings
    assert "folder (alphabetical) class order is assumed" in warning
    assert "0 to 1, which is assumed" in warning


def test_an_onnx_file_with_channels_first_and_room_for_one_image_scores_too(tmp_path):
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(0)
    weights = random.normal(size=(3 * 8 * 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["small"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph(nodes, "g", [image], [out], [numpy_helper.from_array(weights, "weights")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "a.onnx")
    names = (*FOLDER_ORDER, "contempt")
    network = load(str(tmp_path / "a.onnx"), Arithmetic(1, "float32", class_names=names, input_range="torch"))
    large = np.asarray(keras.ops.image.resize(FACES.astype("float32"), (64, 64), interpolation="bilinear"))
    given = np.moveaxis(PREPROCESSING["torch"](np.repeat(large, 3, axis=-1)), -1, 1)
    logits = given.reshape(9, 3, 8, 8, 8, 8).mean(axis=(3, 5)).reshape(9, -1) @ weights
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))[:, :7]
    expected = (exponentials / exponentials.sum(axis=1, keepdims=True))[:, permutation_from(FOLDER_ORDER)]
    np.testing.assert_allclose(network.predict(FACES), expected, atol=1e-5)


def test_a_class_that_a_model_lacks_is_an_error_of_its_rows_and_not_a_mistake(tmp_path):
    from jobs.evaluation.scoring.actor import _predictions

    plain(48, 1, classes=6).save(tmp_path / "six.keras")
    names = tuple(name for name in CLASSES if name != "disgust")
    network = load(str(tmp_path / "six.keras"), Arithmetic(1, "float32", class_names=names, input_range="unit"))
    assert network.missing == (1,)
    block = rows_table([str(i) for i in range(7)], "test", np.arange(7), FACES[:7])
    block = block.append_column("error", pa.nulls(7, pa.string()))
    table = _predictions(block, "six", network.predict(FACES[:7]), SCORED, network.missing)
    assert table.column("error").to_pylist() == [None, "the model has no class disgust", *[None] * 5]
    assert table.column("predicted").to_pylist()[1] is None
    assert table.column("p_disgust").to_pylist()[0] == 0
