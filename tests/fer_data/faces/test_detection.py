"""The detectors find faces that are held upright or at a slant, and none where there are none."""

import cv2
import numpy as np
import pytest

from fer_data.errors import UserError
from fer_data.faces.blazeface import BlazeFaceDetector
from fer_data.faces.detection import create_detector
from fer_data.faces.haar import HaarDetector
from live.checkpoint import RELEASED
from tests.live.scenes import BACKGROUND, PHOTOGRAPHED_FACE, photograph

X, Y, WIDTH, HEIGHT = PHOTOGRAPHED_FACE
CENTRE = X + WIDTH / 2, Y + HEIGHT / 2
each_detector = pytest.mark.parametrize("name", ["haar", "auto"], ids=["haar", "blazeface"])


def slanted(degrees: float) -> np.ndarray:
    """The photograph turned around the face."""
    turn = cv2.getRotationMatrix2D(CENTRE, degrees, 1.0)
    return cv2.warpAffine(photograph(), turn, photograph().shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_blazeface_ships_with_the_package_and_haar_is_another_choice():
    assert isinstance(create_detector("auto"), BlazeFaceDetector)
    assert isinstance(create_detector("haar"), HaarDetector)


def test_a_file_that_is_not_blazeface_is_refused(tmp_path):
    (tmp_path / "text.tflite").write_text("none")
    with pytest.raises(UserError, match=r"text\.tflite is not a LiteRT model"):
        create_detector(str(tmp_path / "text.tflite"))
    with pytest.raises(UserError, match="is not the 256-pixel BlazeFace"):
        create_detector(str(RELEASED / "model.tflite"))


@each_detector
@pytest.mark.parametrize("degrees", [-28, -18, 0, 18, 28])
def test_a_face_is_found_in_an_image_however_it_is_held(name, degrees):
    boxes = create_detector(name, 960, still=True)(slanted(degrees))
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0, :2] + boxes[0, 2:] / 2, CENTRE, atol=0.12 * WIDTH)
    np.testing.assert_allclose(boxes[0, 2:], WIDTH, rtol=0.2)


@each_detector
@pytest.mark.parametrize("degrees", [-20, 0, 20])
def test_of_four_looks_at_a_video_one_at_least_finds_the_face(name, degrees):
    detector = create_detector(name)
    found = [detector(slanted(degrees)) for _ in range(4)]
    boxes = np.concatenate(found)
    assert len(boxes) > 0
    assert max(map(len, found)) == 1
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, np.broadcast_to(CENTRE, (len(boxes), 2)), atol=30)


@each_detector
@pytest.mark.parametrize("still", [True, False])
def test_no_face_is_found_where_there_is_none(name, still):
    noise = np.random.default_rng(0).integers(0, 256, BACKGROUND.shape, np.uint8)
    for frame in (BACKGROUND, noise, np.full_like(BACKGROUND, 128)):
        detector = create_detector(name, still=still)
        assert all(len(detector(frame)) == 0 for _ in range(4))


@each_detector
@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (23, 900), (24, 24), (25, 3000)])
def test_frames_too_small_for_a_face_have_none(name, still, size):
    detector = create_detector(name, 960, still=still)
    assert all(detector(np.zeros((*size, 3), np.uint8)).shape == (0, 4) for _ in range(4))


def test_every_face_of_a_large_picture_is_found_once():
    whole = np.full((2160, 3840, 3), 128, np.uint8)
    face = photograph()[Y - 60 : Y + HEIGHT + 60, X - 60 : X + WIDTH + 60]
    places = [(60, 50, 100), (1280, 700, 260), (1900, 60, 900), (3600, 1900, 140)]
    for x, y, side in places:
        whole[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    boxes = create_detector("auto", 960, still=True)(whole)
    centres = sorted((boxes[:, :2] + boxes[:, 2:] / 2).tolist())
    assert len(centres) == len(places)
    for (x, y, side), centre in zip(sorted(places), centres, strict=True):
        np.testing.assert_allclose(centre, (x + side / 2, y + side / 2), atol=0.15 * side)
