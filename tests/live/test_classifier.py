"""The released checkpoint as a library, and what is said of checkpoints that cannot be run."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER, permutation_from
from fer_data.errors import UserError
from fer_models.litert import with_classes
from fer_models.reading import Reading
from live import ExpressionClassifier
from live.checkpoint import RELEASED, open_model
from tests import pictures
from tests.live.scenes import PEOPLE, PHOTOGRAPHED_FACE, photograph


@pytest.fixture
def copied(tmp_path) -> Path:
    """A copy of the released checkpoint."""
    return Path(shutil.copytree(RELEASED, tmp_path / "checkpoint"))


@pytest.fixture(scope="module")
def released() -> ExpressionClassifier:
    return ExpressionClassifier()


def test_faces_get_probabilities_in_the_order_of_the_classes(released):
    assert released.classes == CLASSES
    given = released.predict(PEOPLE)
    assert given.shape == (7, 7)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(released.predict(PEOPLE[2:3, :, :, None]), given[2:3], atol=1e-5)
    assert released.predict(PEOPLE[:0]).shape == (0, 7)


@pytest.mark.parametrize(("shape", "dtype"), [((2, 47, 48), "uint8"), ((2, 48, 48), "float64"), ((48, 48), "uint8")])
def test_faces_of_another_shape_or_type_are_refused(released, shape, dtype):
    with pytest.raises(ValueError, match="uint8"):
        released.predict(np.zeros(shape, dtype))


def test_the_face_in_a_photograph_is_found(released):
    faces = released.analyze(photograph())
    assert len(faces) == 1
    assert np.abs(np.array(faces[0].box) - PHOTOGRAPHED_FACE).max() < 30
    assert faces[0].expression in CLASSES
    assert sum(faces[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    (grey,) = released.analyze(photograph()[:, :, 1])
    assert grey.box == pytest.approx(faces[0].box, abs=12)
    assert released.analyze(np.zeros((1, 1, 3), np.uint8)) == []
    with pytest.raises(ValueError, match="not an image"):
        released.analyze(np.zeros((3, 3, 2), np.uint8))
    with pytest.raises(ValueError, match="not an image: str"):
        released.analyze("photograph.jpg")
    with pytest.raises(ValueError, match=r"image is None, which is what cv2\.imread returns"):
        released.analyze(None)


def test_a_file_alone_is_the_checkpoint_s_equal_whatever_its_class_order(released, tmp_path):
    alone = ExpressionClassifier(RELEASED / "model.tflite")
    np.testing.assert_array_equal(alone.predict(PEOPLE), released.predict(PEOPLE))
    bare = (RELEASED / "model.tflite").read_bytes()
    turned = tmp_path / "turned.tflite"
    turned.write_bytes(with_classes(bare[: bare.rindex(b"PK\x03\x04")], CLASSES[::-1]))
    np.testing.assert_array_equal(ExpressionClassifier(turned).predict(PEOPLE), released.predict(PEOPLE)[:, ::-1])


def test_int8_answers_much_as_float32(released):
    int8 = ExpressionClassifier(precision="int8").predict(PEOPLE)
    assert np.abs(int8 - released.predict(PEOPLE)).max() < 0.25


def refused(path, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        open_model(path)
    assert "\n" not in str(raised.value)


def test_checkpoints_that_cannot_be_run_are_refused_with_the_mend(copied, tmp_path):
    refused(tmp_path / "nowhere", "does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no card.json")
    (tmp_path / "empty/best").mkdir()
    (tmp_path / "empty/best/card.json").touch()
    refused(tmp_path / "empty", "no card.json: give .*/best")
    refused(copied / "model.keras", rf"`python jobs/export.py {copied}/model.keras --out {copied}/model`")
    spaced = (copied / "model.keras").rename(copied / "my net.h5")
    refused(spaced, rf"`python jobs/export.py '{copied}/my net.h5' --out '{copied}/my net'`")
    refused(copied / "card.json", "is not a .tflite or .onnx file")
    (tmp_path / "text.tflite").write_text("hello")
    refused(tmp_path / "text.tflite", "not a LiteRT model")


def test_what_a_file_does_not_say_is_said_or_assumed_aloud(copied, released, tmp_path):
    bare = (copied / "model.tflite").read_bytes()
    (tmp_path / "bare.tflite").write_bytes(bare[: bare.rindex(b"PK\x03\x04")])
    assumed = ExpressionClassifier(tmp_path / "bare.tflite")
    assert "our own (csv) class order is assumed" in assumed.warnings[0]
    np.testing.assert_array_equal(assumed.predict(PEOPLE), released.predict(PEOPLE))
    told = ExpressionClassifier(tmp_path / "bare.tflite", reading=Reading("folder"))
    assert told.warnings == []
    np.testing.assert_array_equal(told.predict(PEOPLE), released.predict(PEOPLE)[:, permutation_from(FOLDER_ORDER)])


def test_a_card_that_does_not_match_is_refused(copied):
    card = json.loads((copied / "card.json").read_text())

    def with_card(**changes) -> None:
        (copied / "card.json").write_text(json.dumps(card | changes))

    with_card(sha256={name: digest for name, digest in card["sha256"].items() if name == "model.keras"})
    refused(copied, rf"has no model.tflite: write it with `python jobs/export.py {copied}`")
    with_card(classes=sorted(CLASSES))
    refused(copied, "do not name the same classes")
    (copied / "card.json").write_text("{")
    refused(copied, "not the card of a checkpoint")
    with_card()
    content = bytearray((copied / "model.tflite").read_bytes())
    content[5000] ^= 1
    (copied / "model.tflite").write_bytes(content)
    refused(copied, "does not match its card")
    (copied / "model.tflite").unlink()
    refused(copied, "is missing")


def test_the_picture_in_the_documents_shows_what_the_released_checkpoint_says():
    stored = cv2.imread(str(pictures.LIVE)).astype(int)
    different = np.abs(stored - pictures.live_picture()).max(axis=-1) > 60  # The file has 256 colours only.
    assert different.mean() < 1e-4, "python -m tests.pictures"
