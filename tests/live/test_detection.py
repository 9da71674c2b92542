"""The cascade finds faces that are held upright or at a slant, and none where there are none."""

import cv2
import numpy as np
import pytest

from live.detection import HaarDetector
from tests.live.scenes import BACKGROUND, PHOTOGRAPHED_FACE, photograph

X, Y, WIDTH, HEIGHT = PHOTOGRAPHED_FACE
CENTRE = X + WIDTH / 2, Y + HEIGHT / 2


def slanted(degrees: float) -> np.ndarray:
    """The photograph turned around the face."""
    turn = cv2.getRotationMatrix2D(CENTRE, degrees, 1.0)
    return cv2.warpAffine(photograph(), turn, photograph().shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("degrees", [-28, -18, 0, 18, 28])
def test_a_face_is_found_in_an_image_however_it_is_held(degrees):
    boxes = HaarDetector(960, still=True)(slanted(degrees))
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0, :2] + boxes[0, 2:] / 2, CENTRE, atol=0.12 * WIDTH)
    np.testing.assert_allclose(boxes[0, 2:], WIDTH, rtol=0.2)


@pytest.mark.parametrize("degrees", [-20, 0, 20])
def test_of_four_looks_at_a_video_one_at_least_finds_the_face(degrees):
    detector = HaarDetector()
    found = [detector(slanted(degrees)) for _ in range(4)]
    boxes = np.concatenate(found)
    assert len(boxes) > 0
    assert max(map(len, found)) == 1
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, np.broadcast_to(CENTRE, (len(boxes), 2)), atol=30)


@pytest.mark.parametrize("still", [True, False])
def test_no_face_is_found_where_there_is_none(still):
    noise = np.random.default_rng(0).integers(0, 256, BACKGROUND.shape, np.uint8)
    for frame in (BACKGROUND, noise, np.full_like(BACKGROUND, 128)):
        detector = HaarDetector(still=still)
        assert all(len(detector(frame)) == 0 for _ in range(4))


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (23, 900), (24, 24), (25, 3000)])
def test_frames_too_small_for_a_face_have_none(still, size):
    detector = HaarDetector(960, still=still)
    assert all(detector(np.zeros((*size, 3), np.uint8)).shape == (0, 4) for _ in range(4))
