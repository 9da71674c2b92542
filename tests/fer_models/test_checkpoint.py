import hashlib
import json
import zipfile

import keras
import numpy as np
import pytest

from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.checkpoint import load_model, load_training_state, save_checkpoint
from fer_models.checkpoint_files import CARD_FILE, MODEL_FILE, STATE_FILE, verify
from fer_models.factory import create_model


def card(**changes) -> Card:
    values = {
        "model": "compact",
        "epoch": 3,
        "parameters": 408_249,
        "precision": "float32",
        "protocol": "challenge",
        "data_fingerprint": "f00d",
        "configuration": {"model": "compact", "optimizer": {"learning_rate": 0.1}},
        "metrics": [{"epoch": 1, "validation_auc": None, "validation_accuracy": 0.5}],
    }
    return Card(**(values | changes))


@pytest.fixture(scope="module")
def model():
    return create_model("compact")


@pytest.fixture
def checkpoint(tmp_path, model):
    uri = str(tmp_path / "checkpoint")
    save_checkpoint(uri, model, card(), {"model/0000": np.arange(3.0), "optimizer/0000": np.int64(7)})
    return tmp_path / "checkpoint"


def test_a_checkpoint_gives_back_model_card_and_state(checkpoint, model):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), np.uint8)
    loaded, its_card = load_model(str(checkpoint))
    np.testing.assert_array_equal(np.asarray(loaded(pixels)), np.asarray(model(pixels)))
    arrays, _ = load_training_state(str(checkpoint))
    np.testing.assert_array_equal(arrays["model/0000"], np.arange(3.0))
    assert its_card.classes[3] == "happy"
    assert its_card.metrics == card().metrics
    assert set(its_card.sha256) == {MODEL_FILE, STATE_FILE}
    assert its_card.versions.keys() >= {"keras", "tensorflow", "ray"}


def test_the_card_says_what_it_promises(checkpoint):
    fields = json.loads((checkpoint / CARD_FILE).read_text())
    assert fields["format_version"] == 1
    assert fields["input"] == {"shape": [48, 48, 1], "dtype": "uint8", "range": [0, 255], "channels": "grey"}
    assert fields["classes"] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


@pytest.mark.parametrize("name", [MODEL_FILE, STATE_FILE])
def test_a_file_that_does_not_match_the_card_is_refused(checkpoint, name):
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} does not match its card"):
        verify(str(checkpoint))


def test_a_truncated_or_missing_file_is_refused(checkpoint):
    (checkpoint / STATE_FILE).write_bytes((checkpoint / STATE_FILE).read_bytes()[:100])
    with pytest.raises(UserError, match="does not match its card"):
        load_training_state(str(checkpoint))
    (checkpoint / MODEL_FILE).unlink()
    with pytest.raises(UserError, match="does not exist"):
        load_model(str(checkpoint))


def test_a_folder_without_a_card_is_no_checkpoint(checkpoint):
    (checkpoint / CARD_FILE).unlink()
    with pytest.raises(UserError, match=r"is not a checkpoint: it has no card\.json"):
        load_model(str(checkpoint))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "cnn"}', '{"surprise": 1}'])
def test_a_card_that_is_none_is_refused_by_name(checkpoint, text):
    (checkpoint / CARD_FILE).write_text(text)
    with pytest.raises(UserError, match=r"card\.json: not a checkpoint card"):
        load_model(str(checkpoint))


def test_a_card_of_a_newer_format_is_refused(checkpoint):
    fields = json.loads((checkpoint / CARD_FILE).read_text()) | {"format_version": 99}
    (checkpoint / CARD_FILE).write_text(json.dumps(fields))
    with pytest.raises(UserError, match="newer version"):
        load_model(str(checkpoint))


def test_a_card_cannot_name_files_outside_the_checkpoint(checkpoint):
    fields = json.loads((checkpoint / CARD_FILE).read_text())
    fields["sha256"]["../outside"] = "0" * 64
    (checkpoint / CARD_FILE).write_text(json.dumps(fields))
    with pytest.raises(UserError, match="names a file outside of the folder"):
        verify(str(checkpoint))


def test_a_model_with_code_in_it_is_refused(tmp_path):
    inputs = keras.Input((48, 48, 1), dtype="uint8")
    outputs = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(keras.layers.Rescaling(1.0)(inputs))
    save_checkpoint(str(tmp_path / "evil"), keras.Model(inputs, outputs), card())
    with pytest.raises(UserError, match="Keras cannot load the model"):
        load_model(str(tmp_path / "evil"))


def test_training_state_with_pickled_objects_is_refused(tmp_path, model):
    uri = str(tmp_path / "evil")
    save_checkpoint(uri, model, card(), {"model/0000": np.zeros(1)})
    with zipfile.ZipFile(tmp_path / "evil" / STATE_FILE, "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    fields = json.loads((tmp_path / "evil" / CARD_FILE).read_text())
    fields["sha256"][STATE_FILE] = hashlib.sha256((tmp_path / "evil" / STATE_FILE).read_bytes()).hexdigest()
    (tmp_path / "evil" / CARD_FILE).write_text(json.dumps(fields))
    with pytest.raises(UserError, match="cannot be read"):
        load_training_state(uri)


def test_saving_again_replaces_the_old_checkpoint_whole(checkpoint, model):
    save_checkpoint(str(checkpoint), model, card(epoch=4))
    assert verify(str(checkpoint)).epoch == 4
    assert not (checkpoint / STATE_FILE).exists()
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint"]


def test_a_failed_write_says_where_and_leaves_nothing(tmp_path, model):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write a checkpoint to"):
        save_checkpoint(str(tmp_path / "file" / "checkpoint"), model, card())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
