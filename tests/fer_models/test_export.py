"""Exported files answer as the checkpoint does, say so in its card, and are not written otherwise."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_data.dataset import open_dataset
from fer_data.drawing import draw
from fer_data.emotions import CLASSES, FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_models import export as exporting
from fer_models.checkpoint import load_model, load_training_state, save_checkpoint
from fer_models.checkpoint_files import read_card, verify
from fer_models.export import FORMATS, ExportDiffersError, export, spread
from fer_models.litert import INT8_FILE, LABELS, LiteRTModel, classes_in, with_classes
from jobs.evaluation.scoring.contenders import contenders_from, trained_on
from jobs.evaluation.scoring.networks import Arithmetic, load_network
from jobs.export import main
from live import ExpressionClassifier
from tests.fer_models.test_foreign import small
from tests.jobs.evaluation.tiny import tiny_checkpoint, tiny_network

FACES = draw(np.arange(9), seed=1)[0].reshape(-1, 48, 48, 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, drawn_few) -> str:
    """A checkpoint with everything exported."""
    folder = tiny_checkpoint(str(tmp_path_factory.mktemp("exported") / "best"), seed=3)
    card = read_card(folder)
    save_checkpoint(folder, tiny_network(3), card, {"step": np.arange(3)})
    export(folder, tuple(FORMATS), open_dataset(drawn_few))
    return folder


def test_the_checkpoint_gains_files_and_keeps_its_own(exported):
    card = verify(exported)
    assert set(card.sha256) == {"model.keras", "training_state.npz", *FORMATS.values()}
    np.testing.assert_array_equal(load_training_state(exported)[0]["step"], np.arange(3))
    assert not list(Path(exported).parent.glob(".*"))


def test_the_card_says_what_was_measured(exported, drawn_few):
    card = read_card(exported)
    rows = open_dataset(drawn_few).manifest.rows("public_test")
    for file in ("model.tflite", "model.onnx"):
        assert card.exports[file]["faces"] == rows
        assert 0 <= card.exports[file]["largest_difference"] <= 1e-4
    int8 = card.exports["model.int8.tflite"]
    assert int8["validation_rows"] == rows
    assert int8["lost"] == pytest.approx(int8["float32_accuracy"] - int8["accuracy"])


@pytest.mark.parametrize(("file", "tolerance"), [("model.tflite", 1e-5), ("model.onnx", 1e-5), (INT8_FILE, 0.05)])
@pytest.mark.parametrize("classes", [None, "folder"])
def test_an_exported_file_scores_as_the_checkpoint_by_the_order_it_names(exported, file, tolerance, classes):
    (contender,) = contenders_from([f"{exported}/{file}"])
    network = load_network(contender, Arithmetic(1, "float32", classes))
    expected = load_model(exported)[0].predict(FACES, verbose=0)
    for count in (9, 4, 1):
        np.testing.assert_allclose(network.predict(FACES[:count]), expected[:count], atol=tolerance)


def test_exporting_leaves_a_checkpoint_the_same_contender(exported, tmp_path):
    (before,) = contenders_from([tiny_checkpoint(str(tmp_path / "a"), seed=3)])
    files = {name: digest for name, digest in read_card(exported).sha256.items() if name == "model.keras"}
    (after,) = contenders_from([exported])
    assert after.digest == files["model.keras"]
    assert before.digest == read_card(before.uri).sha256["model.keras"]


@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_a_file_that_answers_otherwise_is_not_written(tmp_path, drawn_few, monkeypatch, format):
    folder = tiny_checkpoint(str(tmp_path / "a"), seed=3)
    before = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    convert = f"to_{format}"
    original, other = getattr(exporting, convert), tiny_network(4)
    other.predict(FACES, verbose=0)
    monkeypatch.setattr(exporting, convert, lambda model, about: original(other, about))
    with pytest.raises(ExportDiffersError, match="another class than in Keras"):
        export(folder, (format,), open_dataset(drawn_few))
    assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == before


def test_faces_are_taken_from_all_over_a_split(drawn_few):
    from fer_data.splits import split

    dataset = open_dataset(drawn_few)
    rows = split(dataset, "training")
    every, few = spread(dataset, rows, 10**6), spread(dataset, rows, 7)
    assert every.shape == (190, 48, 48, 1)
    np.testing.assert_array_equal(few, every[np.linspace(0, 189, 7).astype(int)])


def test_the_job_exports_and_says_what_it_measured(tmp_path, drawn_few, capsys):
    folder = tiny_checkpoint(str(tmp_path / "a"), seed=3)
    main([folder, "--data", drawn_few])
    out = capsys.readouterr().out
    assert "was trained on other data" in out
    assert "equals Keras on 33 validation faces" in out
    assert "model.int8.tflite  accuracy 0." in out
    assert set(json.loads((tmp_path / "a" / "card.json").read_text())["exports"]) == {"model.tflite", INT8_FILE}


def test_a_model_without_a_card_becomes_a_checkpoint(tmp_path, drawn_few, capsys):
    theirs = small(size=64, channels=1)
    theirs.save(tmp_path / "theirs.keras")
    out = str(tmp_path / "ours")
    main([str(tmp_path / "theirs.keras"), "--out", out, "--data", drawn_few, "--input-range", "signed"])
    said = capsys.readouterr().out
    assert "folder (alphabetical) class order is assumed; if that is wrong, give --classes" in said
    assert "was trained on other data" not in said
    card = verify(out)
    assert (card.model, card.protocol, card.configuration["source"]) == ("imported", "", "theirs.keras")
    given = keras.ops.image.resize(FACES.astype("float32"), (64, 64)) / 127.5 - 1
    expected = theirs.predict(given, verbose=0)[:, permutation_from(FOLDER_ORDER)]
    (contender,) = contenders_from([out])
    assert trained_on(contender, ["training"], "challenge") == []
    np.testing.assert_allclose(load_network(contender, Arithmetic(1, "float32")).predict(FACES), expected, atol=1e-5)
    np.testing.assert_allclose(ExpressionClassifier(out).predict(FACES), expected, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs.keras"]
    with pytest.raises(UserError, match="exists: choose another --out, or give --overwrite"):
        main([str(tmp_path / "theirs.keras"), "--out", out])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["CHECKPOINT", "--out", "x"], "--out is for a model without a card"),
        (["CHECKPOINT/model.keras"], "--out is missing"),
        (["CHECKPOINT", "--class-names", "joyful", "sad"], "'joyful' is no class"),
        (["nowhere"], "nowhere"),
        (["CHECKPOINT", "--formats", "tensorrt"], "tensorrt"),
        (["CHECKPOINT", "--formats", "onnx", "onnx"], "each once"),
        (["CHECKPOINT", "--data", "nowhere.zip"], "nowhere.zip"),
    ],
)
def test_a_mistake_is_told_in_a_line(tmp_path, arguments, says):
    folder = tiny_checkpoint(str(tmp_path / "a"))
    with pytest.raises(UserError, match=says) as raised:
        main([argument.replace("CHECKPOINT", folder) for argument in arguments])
    assert "\n" not in str(raised.value)


def test_names_of_classes_travel_in_a_litert_file(exported):
    model = (Path(exported) / "model.tflite").read_bytes()
    assert classes_in(model) == CLASSES
    bare = model[: model.rindex(b"PK\x03\x04")]
    assert classes_in(bare) is None
    assert LiteRTModel(bare, "bare").classes is None
    turned = with_classes(bare, FOLDER_ORDER)
    assert turned == with_classes(bare, FOLDER_ORDER)
    assert LiteRTModel(turned, "turned").classes == FOLDER_ORDER
    theirs = LiteRTModel(turned, "turned")(FACES)
    np.testing.assert_array_equal(theirs, LiteRTModel(bare, "bare")(FACES)[:, permutation_from(FOLDER_ORDER)])


def test_an_onnx_file_that_names_other_classes_is_refused(exported, tmp_path):
    import onnx

    model = onnx.load(Path(exported) / "model.onnx")
    onnx.helper.set_model_props(model, {"classes": "cat,dog"})
    onnx.save(model, tmp_path / "animals.onnx")
    (contender,) = contenders_from([str(tmp_path / "animals.onnx")])
    with pytest.raises(UserError, match="does not name the seven classes"):
        load_network(contender, Arithmetic(1, "float32"))


@pytest.mark.parametrize("names", [("angry",), (*CLASSES, "angry"), tuple("abcdefg")])
def test_names_that_are_not_the_seven_are_refused(exported, names):
    bare = (Path(exported) / "model.tflite").read_bytes()
    with pytest.raises(UserError, match=LABELS):
        LiteRTModel(with_classes(bare[: bare.rindex(b"PK\x03\x04")], names), "a.tflite")


def test_a_name_file_of_any_size_is_no_danger(exported):
    assert classes_in(with_classes(b"model", ["x" * 10**6])) is None
